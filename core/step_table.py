"""One step operation by operation, gathered by kind of layer: work, bytes, messages and time, with sums that add up to the step."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from core.answer import BOUNDS, Estimate, Op, Step
from core.catalog.files import source
from core.formulas.ops import bytes_of_layer, flop_of_layer, time_of_layer
from core.ir import Block
from core.model_cache import ranges
from core.model_stack import kind_names
from core.quantity import Quantity, leaf, total, value
from core.words import device_name

OUTSIDE = "Outside the layers"
LEARNED = "Learned from measured runs"
_FEED_FORWARD = "feed-forward"
PHASES = {"prefill": "Prefill", "decode": "Decode"}


@dataclass(frozen=True, slots=True)
class Line:
    """One line: an operation, a sum, or what measured runs change. Numbers are cited where there is something to cite."""

    name: str
    flop: Any
    bytes: Any
    sent: Any
    time: Any  # s; of LEARNED the whole step with its factor, of which `seconds` is the difference
    seconds: float
    share: float  # of the step's time, percent
    bound: str

    @property
    def numbers(self) -> dict[str, Any]:
        return {"flop": self.flop, "bytes": self.bytes, "sent": self.sent, "time": self.time}


@dataclass(frozen=True, slots=True)
class Section:
    """All layers of one kind on one device, or what lies outside the layers."""

    name: str
    layers: int
    lines: tuple[Line, ...]
    sum: Line
    which: str = ""  # their numbers


@dataclass(frozen=True, slots=True)
class Table:
    """A step: its sections, what measured runs add or take away (None where nothing was learned), and the whole."""

    step: str
    sections: tuple[Section, ...]
    learned: Line | None
    whole: Line


def step_table(estimate: Estimate, phase: str, *, one_layer: bool = False) -> Table:
    """The table of one phase, "prefill" or "decode"; with `one_layer` the numbers of the layers are those of one of each kind."""
    step: Step = getattr(estimate, phase).step
    seconds, names = float(value(step.time)), kind_names(estimate.ir)
    sections = []
    for block in [*estimate.ir.blocks, None]:
        if ops := [named(op, block) for op in step.ops if op.block == (block.name if block else None)]:
            name = OUTSIDE if block is None else names[block.name]
            layers = len(block.layers) if block else 0
            shown = [_of_one(op, layers) for op in ops] if one_layer and layers > 1 else ops
            lines = tuple(_line(op, seconds) for op in shown)
            sections.append(Section(name, layers, lines, _sum(name, shown, seconds), ranges(block.layers) if block else ""))
    added = seconds - step.computed
    learned = None
    if math.isfinite(added) and abs(added) > 1e-12 * max(step.computed, 0.0):
        learned = Line(LEARNED, 0.0, 0.0, 0.0, step.time, added, _percent(added, seconds), "")
    whole = _sum(step.name, step.ops, seconds)
    whole = Line("Whole step", whole.flop, whole.bytes, whole.sent, step.time, seconds, _percent(seconds, seconds), "")
    return Table(step.name, tuple(sections), learned, whole)


def named(op: Op, block: Block | None) -> Op:
    """The operation by what it is in such a layer: a mixture's feed-forward part is its router and the experts that all tokens share."""
    if block is None or block.mlp.kind != "moe" or not op.name.startswith(_FEED_FORWARD):
        return op
    what = "shared experts and router" if block.mlp.shared_intermediate else "router"
    return replace(op, name=what + op.name.removeprefix(_FEED_FORWARD))


def _of_one(op: Op, layers: int) -> Op:
    """The mean layer's part of an operation that was counted for all layers of a kind together."""
    count: Any = leaf("layers of this kind", float(layers), "", "model_config", source("tensor-shapes"))

    def part(formula: Any, name: str, whole: Any) -> Any:
        return formula(**{name: whole, "layers": count}) if isinstance(whole, Quantity) else whole / layers

    return replace(
        op, flop=part(flop_of_layer, "flop", op.flop), bytes=part(bytes_of_layer, "moved", op.bytes),
        sent=part(bytes_of_layer, "moved", op.sent), time=part(time_of_layer, "time", op.time),
    )  # fmt: skip


def _line(op: Op, whole: float) -> Line:
    seconds = float(value(op.time))
    name = f"{op.name} · {device_name(op.on)}" if op.on else op.name
    return Line(name, op.flop, op.bytes, op.sent, op.time, seconds, _percent(seconds, whole), BOUNDS.get(op.bound, op.bound))


def _sum(name: str, ops: Sequence[Op], whole: float) -> Line:
    time = _total((op.time for op in ops), f"time: {name}")
    seconds = float(value(time))
    slowest = max(ops, key=lambda op: float(value(op.time)))
    return Line(
        name, _total((op.flop for op in ops), f"FLOP: {name}"), _total((op.bytes for op in ops), f"bytes: {name}"),
        _total((op.sent for op in ops), f"sent: {name}"), time, seconds, _percent(seconds, whole),
        f"mostly {BOUNDS.get(slowest.bound, slowest.bound)}" if seconds > 0 else "",
    )  # fmt: skip


def _total(parts: Iterable[Any], name: str) -> Any:
    listed = [part for part in parts if isinstance(part, Quantity) or part]
    return total(listed, name) if listed else 0.0


def _percent(part: float, whole: float) -> float:
    return 100 * part / whole if whole > 0 else math.nan
