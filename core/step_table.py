"""One step operation by operation, gathered by kind of layer: work, bytes, messages and time, with sums that add up to the step."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from core.answer import BOUNDS, Estimate, Op, Step
from core.inspect_model import Row
from core.model_stack import kind_names
from core.model_tensors import as_csv
from core.quantity import Quantity, total, value
from core.words import device_name

OUTSIDE = "Outside the layers"
LEARNED = "Learned from measured runs"
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


@dataclass(frozen=True, slots=True)
class Table:
    """A step: its sections, what measured runs add or take away (None where nothing was learned), and the whole."""

    step: str
    sections: tuple[Section, ...]
    learned: Line | None
    whole: Line


def step_table(estimate: Estimate, phase: str) -> Table:
    """The table of one phase, "prefill" or "decode"."""
    step: Step = getattr(estimate, phase).step
    seconds, names = float(value(step.time)), kind_names(estimate.ir)
    counts = {block.name: len(block.layers) for block in estimate.ir.blocks}
    sections = []
    for block in [*counts, None]:
        if ops := [op for op in step.ops if op.block == block]:
            name = OUTSIDE if block is None else names[block]
            lines = tuple(_line(op, seconds) for op in ops)
            sections.append(Section(name, counts.get(block or "", 0), lines, _sum(name, ops, seconds)))
    added = seconds - step.computed
    learned = None
    if math.isfinite(added) and abs(added) > 1e-12 * max(step.computed, 0.0):
        learned = Line(LEARNED, 0.0, 0.0, 0.0, step.time, added, _percent(added, seconds), "")
    whole = _sum(step.name, step.ops, seconds)
    whole = Line("Whole step", whole.flop, whole.bytes, whole.sent, step.time, seconds, _percent(seconds, seconds), "")
    return Table(step.name, tuple(sections), learned, whole)


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


EXPORT = "roofcast-steps.csv"
COLUMNS = (
    "Phase",
    "Line",
    "Kind of layer",
    "Layers",
    "Operation",
    "FLOP",
    "Bytes moved",
    "Bytes sent",
    "Time (s)",
    "Share (%)",
    "Limited by",
)


def table_rows(estimate: Estimate) -> list[Row]:
    """Both phases for a spreadsheet. `Line` says what a row is: its "operation" and "learned" rows add up to its "total" row."""
    rows: list[Row] = []
    for phase, title in PHASES.items():
        table = step_table(estimate, phase)
        for section in table.sections:
            rows += [_row(title, "operation", section.name, section.layers, line) for line in section.lines]
        if table.learned is not None:
            rows.append(_row(title, "learned", "", None, table.learned))
        rows.append(_row(title, "total", "", None, table.whole))
    return rows


def _row(phase: str, what: str, kind: str, layers: int | None, line: Line) -> Row:
    numbers = (float(value(line.flop)), float(value(line.bytes)), float(value(line.sent)), line.seconds, line.share)
    cells = (phase, what, kind, layers or None, line.name, *(n if math.isfinite(n) else None for n in numbers), line.bound)
    return dict(zip(COLUMNS, cells, strict=True))


def table_csv(estimate: Estimate) -> str:
    """`table_rows` as CSV; unknown numbers are empty."""
    return as_csv(table_rows(estimate), COLUMNS)
