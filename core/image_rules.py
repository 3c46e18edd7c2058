"""How many tokens an image becomes: the sizes that preprocessors bring images to. Whole numbers, pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class ImageRule:
    """One family's way with an image. `side`: pixels along each side of a token, or of a tile or fixed image.

    round   each side to the nearest multiple, then between `least` and `most` tokens (Qwen)
    fit     as large as `most` tokens allow, sides cut down to multiples (Gemma 4)
    pad     never enlarged, to `most` tokens and `longest` pixels a side, padded up to multiples (Pixtral, Kimi)
    fixed   always one square of `each` tokens (Gemma 3, LLaVA)
    canvas  as many tiles, up to `most`, as show it without loss (Llama 4), `each` tokens a tile
    ratio   as many tiles as come nearest to its shape (InternVL)
    """

    kind: Literal["round", "fit", "pad", "fixed", "canvas", "ratio"]
    side: int
    most: int = 1_000_000
    least: int = 1
    longest: int = 1_000_000
    patch: int = 0  # pixels of a patch, whose whole number in the image `most` is held against
    each: int = 0
    row_ends: bool = False  # a token of its own ends each row
    overview: bool = False  # several tiles bring one of the whole image


@dataclass(frozen=True, slots=True)
class ImageGrid:
    """An image as it is cut: `tiles` that attend within themselves, each of `rows` × `columns` tokens."""

    rows: int
    columns: int
    tiles: int = 1


def image_grid(rule: ImageRule, width: int, height: int) -> ImageGrid:
    """The grid of tokens of an image of so many pixels."""
    if rule.kind == "fixed":
        return _square(rule.each, 1)
    if rule.kind in ("canvas", "ratio"):
        tiles = (_canvas if rule.kind == "canvas" else _ratio)(rule, width, height)
        return _square(rule.each, tiles + (rule.overview and tiles > 1))
    return {"round": _round, "fit": _fit, "pad": _pad}[rule.kind](rule, width, height)


def _square(each: int, tiles: int) -> ImageGrid:
    side = math.isqrt(each)
    return ImageGrid(side, side, tiles) if side * side == each else ImageGrid(1, each, tiles)


def _round(rule: ImageRule, width: int, height: int) -> ImageGrid:
    """Hugging Face's `smart_resize` of the Qwen2-VL preprocessor."""
    rows, columns = max(1, round(height / rule.side)), max(1, round(width / rule.side))
    if rows * columns > rule.most:
        shrink = math.sqrt(height * width / (rule.most * rule.side**2))
        rows, columns = (max(1, math.floor(x / shrink / rule.side)) for x in (height, width))
    elif rows * columns < rule.least:
        grow = math.sqrt(rule.least * rule.side**2 / (height * width))
        rows, columns = (math.ceil(x * grow / rule.side) for x in (height, width))
    return ImageGrid(rows, columns)


def _fit(rule: ImageRule, width: int, height: int) -> ImageGrid:
    scale = math.sqrt(rule.most * rule.side**2 / (height * width))
    rows, columns = math.floor(height * scale / rule.side), math.floor(width * scale / rule.side)
    if rows == 0:
        return ImageGrid(1, min(max(1, width // height), rule.most))
    if columns == 0:
        return ImageGrid(min(max(1, height // width), rule.most), 1)
    return ImageGrid(rows, columns)


def _pad(rule: ImageRule, width: int, height: int) -> ImageGrid:
    patch = rule.patch or rule.side
    patches = max(1, height // patch) * max(1, width // patch)
    scale = min(1.0, rule.longest / max(width, height), math.sqrt(rule.most * (rule.side / patch) ** 2 / patches))
    rows, columns = (max(1, math.ceil(math.floor(x * scale) / rule.side)) for x in (height, width))
    return ImageGrid(rows, columns)


def _shapes(most: int) -> list[tuple[int, int]]:
    """Rows and columns of every arrangement of up to `most` tiles."""
    return [(rows, count // rows) for count in range(1, most + 1) for rows in range(1, count + 1) if count % rows == 0]


def _canvas(rule: ImageRule, width: int, height: int) -> int:
    """The smallest canvas that the image need not shrink for, else the one it shrinks least for; of equals the smallest."""
    scales = {(r, c): min(r * rule.side / height, c * rule.side / width) for r, c in _shapes(rule.most)}
    enough = [scale for scale in scales.values() if scale >= 1]
    wanted = min(enough) if enough else max(scales.values())
    return min(r * c for (r, c), scale in scales.items() if scale == wanted)


def _ratio(rule: ImageRule, width: int, height: int) -> int:
    """The arrangement nearest in shape; of equals the largest that the image fills by half."""
    best, off = (1, 1), math.inf
    for rows, columns in _shapes(rule.most):
        distance = abs(width / height - columns / rows)
        if distance < off or (distance == off and width * height > 0.5 * rule.side**2 * rows * columns):
            best, off = (rows, columns), distance
    return best[0] * best[1]
