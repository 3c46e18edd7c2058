"""Tokens of an image, by each family's rule written out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.catalog.models import ir
from core.image_rules import ImageRule, image_grid
from core.scenario import from_flat
from core.vision import image_tokens

# Model, width x height, tokens; each by the family's rule written out.
CASES = [
    ("Qwen/Qwen3-VL-8B-Instruct", "1024x1024", 32 * 32),  # sides of 32 pixels
    ("Qwen/Qwen3-VL-8B-Instruct", "100x50", 12 * 6),  # enlarged to 64 tokens at least
    ("Qwen/Qwen2.5-VL-7B-Instruct", "1024x768", 37 * 27),  # 28 pixels, to the nearest
    ("Qwen/Qwen2.5-VL-7B-Instruct", "8000x6000", 147 * 110),  # shrunk below 16,384
    ("google/gemma-3-4b-it", "640x480", 256),  # whatever the size
    ("google/gemma-4-31B-it", "1024x1024", 16 * 16),  # at most 280, sides cut down
    ("google/gemma-4-31B-it", "1920x1080", 22 * 12),
    ("meta-llama/Llama-4-Scout-17B-16E-Instruct", "336x336", 144),  # one tile, no overview
    ("meta-llama/Llama-4-Scout-17B-16E-Instruct", "1024x1024", 17 * 144),  # 4 x 4 tiles and the overview
    ("mistralai/Mistral-Small-3.1-24B-Instruct-2503", "1540x1540", 55 * 56),  # a token ends each row
    ("mistralai/Mistral-Small-3.1-24B-Instruct-2503", "3080x1540", 28 * 56),  # its longer side becomes 1,540
    ("moonshotai/Kimi-K2.5", "1024x1024", 37 * 37),  # padded up
]


@pytest.mark.parametrize(("model", "size", "tokens"), CASES)
def test_tokens_of_an_image(model: str, size: str, tokens: int) -> None:
    asked = from_flat({"model": model, "device": "H100", "image_size": size})
    assert image_tokens(asked, ir(model)) == tokens


def test_tiles_nearest_in_shape() -> None:
    rule = ImageRule("ratio", 448, most=12, each=256, overview=True)
    assert image_grid(rule, 1024, 1024).tiles == 10  # 3 x 3, for half of them is filled, and the overview
    assert image_grid(rule, 448, 448).tiles == 1
    assert image_grid(rule, 896, 448).tiles == 3


RULES = [
    ImageRule("round", 28, most=16384, least=4), ImageRule("fit", 48, most=280), ImageRule("pad", 28, most=4096, longest=7168, patch=14),
    ImageRule("fixed", 896, each=256), ImageRule("canvas", 336, most=16, each=144, overview=True),
    ImageRule("ratio", 448, most=12, each=256, overview=True),
]  # fmt: skip


@given(st.sampled_from(RULES), st.integers(1, 20_000), st.integers(1, 20_000))
def test_every_image_becomes_some_tokens_and_no_more_than_the_rule_allows(rule: ImageRule, width: int, height: int) -> None:
    grid = image_grid(rule, width, height)
    tokens = grid.tiles * grid.rows * grid.columns
    most = {"fixed": rule.each, "canvas": rule.each * (rule.most + 1), "ratio": rule.each * (rule.most + 1)}.get(rule.kind)
    assert tokens >= 1
    if most is not None:
        assert tokens <= most
    elif max(width, height) <= 50 * min(width, height):
        # Padding and rounding up may pass the limit by less than a row and a column.
        assert tokens <= rule.most + grid.rows + grid.columns + 1
