"""Rows for the charts of a comparison, in the units that people read. No new estimates: scaling and sorting only."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from core.answer import Estimate
from core.compare import BY_KEY, Build, Comparison, Line, shown, spread
from core.crossing import DRAWN, runs_up_to
from core.evidence import MEASURED, beside
from core.grid import Axis
from core.hosted import Hosted, against_api
from core.quantity import value
from core.units import GIB, HOUR, significant
from core.waterfall import Waterfall
from core.waterfall_words import UNITS, amount, factor

Row = dict[str, Any]
# Unit in the core → how an axis counts it, and what it is called there.
_AXES = {"B": (GIB, "GiB"), "USD/s": (1.0 / HOUR, "$ an hour"), "USD": (1.0, "$"), "": (1.0, "")}
_PICTURED = ("decode_rate", "ttft", "output_rate", "needed", "usd_per_million", "power")
_LESS = {"ttft", "latency", "tpot", "memory_peak", "power", "energy_per_token", "usd_per_h", "usd_per_month", "usd_per_million"}
_USES = tuple(n / 20 for n in range(1, 21))
_BESIDE = {"concurrency": "users", "prompt_tokens": "prompt"}


def axis_unit(unit: str) -> tuple[float, str]:
    """By what an amount in a core unit is divided for an axis, and the axis's unit."""
    return _AXES.get(unit, (1.0, unit))


# ---------------------------------------------------------------- side by side


def range_rows(found: Comparison, line: Line) -> list[Row]:
    """A number's median and range for each build that has it."""
    scale, _ = axis_unit(line.unit)
    return [
        {
            "build": one.name, "what": one.what, "amount": cell.amount / scale, "text": cell.text, "span": cell.span or "no range",
            "low": (cell.low if math.isfinite(cell.low) else cell.amount) / scale,
            "high": (cell.high if math.isfinite(cell.high) else cell.amount) / scale,
        }
        for one, cell in zip(found.builds, line.cells, strict=True)
        if math.isfinite(cell.amount)
    ]  # fmt: skip


def pictured(found: Comparison) -> list[tuple[str, str, list[Row]]]:
    """Title, unit and rows of the numbers that a picture shows."""
    lines = [found.line(key) for key in _PICTURED if any(line.key == key for line in found.lines)]
    groups = [(line.title, axis_unit(line.unit)[1], range_rows(found, line)) for line in lines]
    return [group for group in groups if group[2]]


# ---------------------------------------------------------------- the waterfall


def waterfall_rows(found: Waterfall, names: tuple[str, str]) -> list[Row]:
    """Bars from the first build to the second, each beginning where the one before it ended."""
    scale, _ = axis_unit(UNITS[found.metric])
    rows = [_whole(names[0], found.start / scale, amount(found, found.start))]
    at = found.start
    for bar in found.bars:
        end = at + bar.amount
        better = (bar.amount < 0) == (found.metric in _LESS)
        spread_over = f"{amount(found, bar.least, sign=True)} to {amount(found, bar.most, sign=True)}" if found.averaged else "one order"
        rows.append(
            {
                "label": bar.title, "start": at / scale, "end": end / scale, "middle": (at + end) / 2 / scale,
                "kind": "better" if better else "worse", "sure": bar.sure, "change": f"{bar.before} → {bar.after}",
                "text": f"{amount(found, bar.amount, sign=True)} ({factor(bar.factor)})", "note": spread_over,
            }
        )  # fmt: skip
        at = end
    return [*rows, _whole(names[1], found.end / scale, amount(found, found.end))]


def _whole(name: str, end: float, text: str) -> Row:
    said = {"change": "", "text": text, "note": ""}
    return {"label": name, "start": 0.0, "end": end, "middle": end / 2, "kind": "whole", "sure": True, **said}


# ---------------------------------------------------------------- sweeps


def _point(record: Mapping[str, Any], metric: str) -> Row | None:
    """A record's metric with its range on the axis; None where it does not run."""
    drawn = DRAWN[metric]
    middle = float(record[metric])
    if not record["fits"] or not math.isfinite(middle):
        return None
    scale, _ = axis_unit(drawn.unit)
    low, high = float(record.get(f"{metric}_p10", middle)), float(record.get(f"{metric}_p90", middle))
    if metric == "usd_per_million" and "output_rate_p10" in record:
        low, high = (middle * record["output_rate"] / record[f"output_rate_{end}"] for end in ("p90", "p10"))
    span = f"{shown(low, drawn.unit)} to {shown(high, drawn.unit)}" if low < high else "no range"
    return {"amount": middle / scale, "low": low / scale, "high": high / scale, "text": shown(middle, drawn.unit), "span": span}


def line_rows(records: Sequence[Mapping[str, Any]], axis: Axis, metric: str) -> list[Row]:
    """Points of every build over one knob."""
    found = []
    for record in records:
        point = _point(record, metric)
        if point is not None:
            found.append({"build": record["build"], "x": record[axis.knob], **point})
    return found


def not_running(records: Sequence[Mapping[str, Any]], axis: Axis, builds: Sequence[Build]) -> list[str]:
    """Sentences on builds that do not run over all values: up to which they do, or at which they do not and why."""
    told = []
    for one in builds:
        wrong = [record for record in records if record["build"] == one.name and not record["fits"]]
        _, sentence = runs_up_to(one.name, one.scenario, axis) if wrong else (None, "")
        if sentence:
            told.append(sentence)
        elif wrong:
            values = ", ".join(_text(record[axis.knob]) for record in wrong[:6]) + (" …" if len(wrong) > 6 else "")
            errors = list(dict.fromkeys(record["error"] for record in wrong if record["error"]))
            where = f"{values} {axis.title}" if axis.numeric else values
            told.append(f"{one.name} does not run with {where}{': ' + errors[0] if errors else ''}".rstrip(".") + ".")
    return told


def measured_rows(builds: Sequence[Build], axis: Axis, metric: str) -> list[Row]:
    """Measured points of the very same configurations along the axis, within its ends. Raises as `core.evidence.beside`."""
    knob = _BESIDE.get(axis.knob)
    if knob is None or metric not in MEASURED:
        return []
    scale, _ = axis_unit(DRAWN[metric].unit)
    low, high = axis.values[0], axis.values[-1]
    return [
        {"build": one.name, "x": point[knob], "amount": point[metric] / scale, "text": shown(point[metric], DRAWN[metric].unit),
         "source": point["source"], "differs": point["differs"]}
        for one in builds if one.runs
        for point in beside(one.scenario, knob)  # type: ignore[arg-type]
        if math.isfinite(point[metric]) and low <= point[knob] <= high
    ]  # fmt: skip


def _text(item: Any) -> str:
    return f"{item:,}" if isinstance(item, int) else f"{item:g}" if isinstance(item, float) else str(item)


def labels(axis: Axis) -> list[str]:
    """An axis's values as a map writes them."""
    return [_text(item) for item in axis.values]


def heat_rows(records: Sequence[Mapping[str, Any]], axes: tuple[Axis, Axis], metric: str, build: str) -> list[Row]:
    """Cells of one build's map: its number, and whether the cell is dark."""
    found = []
    for record in records:
        point = _point(record, metric) if record["build"] == build else None
        if point is not None:
            found.append(
                {"x": _text(record[axes[0].knob]), "y": _text(record[axes[1].knob]), **point, "short": significant(point["amount"])}
            )
    amounts = sorted(cell["amount"] for cell in found)
    middle = math.sqrt(amounts[0] * amounts[-1]) if amounts and amounts[0] > 0 else 0.0
    return [{**cell, "dark": cell["amount"] > middle} for cell in found]


def who_rows(records: Sequence[Mapping[str, Any]], axes: tuple[Axis, Axis], metric: str, builds: Sequence[Build]) -> list[Row]:
    """For each pair of values the best build and by which factor over the next; `shade` ends in "?" where that is too close to call."""
    more, found = DRAWN[metric].more, []
    named = {one.name: one for one in builds}
    cells: dict[tuple[str, str], list[tuple[float, str]]] = {}
    for record in records:
        amount_there = float(record[metric])
        place = (_text(record[axes[0].knob]), _text(record[axes[1].knob]))
        if record["fits"] and amount_there > 0 and math.isfinite(amount_there):
            cells.setdefault(place, []).append((amount_there, record["build"]))
    for (x, y), known in cells.items():
        ordered = sorted(known, reverse=more)
        best, name = ordered[0]
        if len(ordered) == 1:
            found.append({"x": x, "y": y, "build": name, "shade": name, "text": "alone"})
            continue
        ratio = max(best / ordered[1][0], ordered[1][0] / best)
        sure = math.log(ratio) > spread(metric, named[name], named[ordered[1][1]])
        found.append({"x": x, "y": y, "build": name, "shade": name if sure else f"{name}?", "text": factor(ratio)})
    return found


# ---------------------------------------------------------------- an API


def api_lines(builds: Sequence[Build], price_in: float, price_out: float, use: float) -> list[tuple[Build, Hosted]]:
    """Every build that runs against the API."""
    return [(one, against_api(one.found, price_in, price_out, use, one.name)) for one in builds if one.runs and one.found is not None]


def api_rows(builds: Sequence[Build], price_in: float, price_out: float) -> list[Row]:
    """Cost of a million output tokens by the share of the time in use."""
    rows = []
    for one in builds:
        if not one.runs or one.found is None:
            continue
        for use in _USES:
            own = float(value(against_api(one.found, price_in, price_out, use).own))
            rows.append({"build": one.name, "x": use, "amount": own, "text": shown(own, "USD")})
    return rows


# ---------------------------------------------------------------- numbers that explain themselves


def cited(one: Build, key: str) -> Any:
    """A build's number by its line, or by its metric; None where it has none."""
    found: Estimate | None = one.found
    if found is None or not one.runs:
        return None
    return BY_KEY[key].read(found) if key in BY_KEY else found.metrics.get(key, found.money.get(key))
