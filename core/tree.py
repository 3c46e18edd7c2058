"""A number's tree, one level at a time: what a page shows when a number is clicked."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from core.catalog.files import sources
from core.quantity import Quantity, Source, value
from core.tables import KINDS
from core.units import show

MOST_INPUTS = 60  # lines that one level shows


@dataclass(frozen=True, slots=True)
class Line:
    """One input of a formula."""

    key: str  # its name in the formula
    name: str  # its own name
    shown: str  # the value as people read it
    kind: str  # "" for what a formula made, else where the number stands
    guess: bool
    source: str
    share: float | None  # of the sum, where the formula is one
    opens: bool  # whether there is more below


@dataclass(frozen=True, slots=True)
class Level:
    """One number with what made it."""

    name: str
    shown: str
    meaning: str
    formula: str  # as it ran, "" for a source
    numbers: str  # the same with the numbers in it
    reference: str
    reference_url: str | None
    lines: tuple[Line, ...]
    left_out: int
    kind: str
    source: Source | None
    span: str  # plausible range of an assumption
    default: str  # what it would be if the user had said nothing


def amount(x: Any, unit: str = "") -> str:
    """A value with its unit; an array by its length."""
    bare = value(x)
    if np.ndim(bare) > 0:
        return f"{np.size(bare)} values"
    number = float(bare)
    if unit in ("", "tok") and number == round(number) and abs(number) < 1e15:
        return f"{number:,.0f} {unit}".rstrip()
    return show(number, unit, 4)


def title(name: str) -> str:
    """A name for people: formulas are named as functions are."""
    return name.replace("_", " ") if name.isidentifier() else name


def at(root: Quantity, path: Sequence[str]) -> Quantity:
    """The number below `root` that the keys lead to; as far as they lead."""
    node = root
    for key in path:
        child = node.inputs.get(key)
        if not isinstance(child, Quantity):
            break
        node = child
    return node


def _line(key: str, child: Any, whole: float | None) -> Line:
    if not isinstance(child, Quantity):
        return Line(key, title(key), amount(child), "number", False, "", None, False)
    share = float(value(child)) / whole if whole and np.ndim(child.value) == 0 else None
    source = child.source
    return Line(
        key=key,
        name=title(child.name),
        shown=amount(child, child.unit),
        kind="" if child.formula else KINDS.get(child.kind or "", ""),
        guess=bool(source and source.guess),
        source=source.title if source else "",
        share=share,
        opens=True,
    )


def _with_numbers(node: Quantity) -> str:
    """The formula's text with every input replaced by its value."""
    assert node.formula is not None
    given = {key: amount(child, child.unit if isinstance(child, Quantity) else "") for key, child in node.inputs.items()}
    names = "|".join(re.escape(key) for key in sorted(given, key=len, reverse=True))
    return re.sub(rf"\b({names})\b", lambda match: given[match[1]], node.formula.text) if names else ""


def level(node: Quantity) -> Level:
    """What to show of one number: its formula with inputs, or its source."""
    found, source = node.formula, node.source
    span = default = reference = ""
    url = None
    lines: list[Line] = []
    is_sum = found is not None and found.name == "total"
    if found is not None:
        whole = float(node.value) if is_sum and np.ndim(node.value) == 0 and math.isfinite(node.value) else None
        lines = [_line(key, child, whole) for key, child in node.inputs.items()]
        if is_sum:
            lines.sort(key=lambda line: -(line.share or 0.0))
        cited = sources().get(found.reference)
        reference = (cited.title if cited else found.reference) + (f", {found.equation}" if found.equation else "")
        url = cited.url if cited else None
    if source is not None:
        if source.low is not None and source.high is not None:
            span = f"{show(source.low, node.unit)} to {show(source.high, node.unit)}"
        if node.kind == "user" and source.default is not None and not math.isnan(source.default):
            default = show(source.default, node.unit)
    return Level(
        name=title(node.name),
        shown=amount(node, node.unit),
        meaning=found.meaning if found else "",
        formula="" if found is None else "the sum of its parts" if is_sum else found.text,
        numbers="" if found is None or is_sum else _with_numbers(node),
        reference=reference,
        reference_url=url,
        lines=tuple(lines[:MOST_INPUTS]),
        left_out=max(len(lines) - MOST_INPUTS, 0),
        kind=KINDS.get(node.kind or "", ""),
        source=source,
        span=span,
        default=default,
    )


def guesses(root: Quantity) -> list[Quantity]:
    """The assumptions and guesses below a number, each once by name and value, marked guesses first."""
    found: dict[tuple[str, float], Quantity] = {}
    for leaf in root.leaves():
        if (leaf.kind == "assumption" or (leaf.source and leaf.source.guess)) and np.ndim(leaf.value) == 0:
            found.setdefault((leaf.name, float(leaf.value)), leaf)
    return sorted(found.values(), key=lambda leaf: (not (leaf.source and leaf.source.guess), leaf.name))
