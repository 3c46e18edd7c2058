"""Measured memory points against the estimate: weights, KV cache, compute buffers, peaks and reservations, each by itself.

`python -m core.memory_check FILE` prints the error by kind, runtime and source, and why the other points were left out.
"""

from __future__ import annotations

import functools
import re
import statistics
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.columns import columns
from core.errors import RoofcastError
from core.memory import Fit, fit
from core.memory_points import Point, point_of, read_points
from core.plan import make_plan
from core.quantity import Quantity, value
from core.scenario import Scenario
from core.setting import Setting, settle
from core.weights import weight_table


@dataclass(frozen=True, slots=True)
class Compared:
    """A point and our number for it."""

    point: Point
    ours: float

    @property
    def error(self) -> float:
        """Signed relative error."""
        return self.ours / self.point.measured - 1


@dataclass(frozen=True, slots=True)
class Checked:
    """All points that could be compared, and why the others could not (reason → points)."""

    compared: tuple[Compared, ...]
    left_out: Mapping[str, int]


# ---- Our numbers


@functools.lru_cache(maxsize=2048)
def _fit(scenario: Scenario) -> tuple[Setting, Fit, Any]:
    setting = settle(scenario, strict=False)
    c = columns(setting)
    return setting, fit(make_plan(setting.ir, c), c), c


def _named(found: Fit, *names: str) -> float:
    return sum(float(value(p.amount)) for p in found.parts if p.name in names)


def _state(found: Fit, c: Any) -> float:
    parts = {id(q): q for q in found.kv_needed.walk() if isinstance(q, Quantity) and q.name.startswith("state of")}
    each = sum(float(q.value) for q in parts.values())
    return each if value(c.unified_kv) else each * float(value(found.slots))


def our(point: Point) -> float:
    """Our number for a point, in bytes. Raises ScenarioError or CatalogError where the scenario cannot be."""
    setting, found, c = _fit(point.scenario)
    host = {p.name: float(value(p.amount)) for p in found.host_parts}
    weights = _named(found, "weights") + host.get("weights", 0.0) + host.get("embedding table", 0.0)
    table = weight_table(setting.ir, setting.quant.id)
    file = table.bytes if point.file_bits is None else table.elements * point.file_bits / 8
    state = _state(found, c)
    once = int(value(c.count)) == 1 and point.cards > 1  # one roomy device stands for them: what each has for itself is added
    each = sum(float(value(p.amount)) for p in found.fixed)
    peak = float(value(found.peak)) + (point.cards - 1) * each if once else float(value(found.peak)) * point.cards
    if point.kind == "weights":
        return file if point.runtime != "vllm" else weights
    if point.kind == "kv":
        return _named(found, "KV cache") + host.get("KV cache", 0.0) - state
    if point.kind == "state":
        return state
    if point.kind in ("compute", "activations"):
        return float(value(found.activations))
    if point.kind == "non_torch":
        return float(value(c.non_torch)) + float(value(c.context_memory))
    if point.kind == "graphs":
        return float(value(c.graph_memory))
    if point.kind == "pool":
        return float(value(found.pool))
    if point.kind == "taken":
        return float(value(found.taken)) * point.cards
    if point.kind == "torch_peak":
        return peak - float(value(c.context_memory)) * point.cards
    if point.kind == "gpu_peak":  # what the driver handed out: an untied embedding table lies in the mapped file beside it
        # Vulkan pins the table in memory that the driver counts, and copies a tied one.
        lone = table.where(group="embedding") * (file / table.bytes)
        peak += 0.0 if setting.ir.tied_embeddings != (point.backend == "vulkan") else lone if setting.ir.tied_embeddings else -lone
    return peak + (file - weights if point.file_bits is not None else 0.0) + point.outside


def _log(row: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(row[name] for name in ("source", "source_path", "model_id", "gpu_name", "backend_version"))


def check(rows: Iterable[Mapping[str, str]]) -> Checked:
    """Every point that can be compared, with our number, and the reasons of the others."""
    compared: list[Compared] = []
    left_out: dict[str, int] = {}
    rows = list(rows)
    # A server's log is several rows, and one of them says what fraction of the card it took.
    fractions = {_log(row): found[0] for row in rows if (found := re.search(r"util [\d.]+", row["notes"]))}
    for row in rows:
        if _log(row) in fractions:
            row = {**row, "notes": f"{row['notes']}; {fractions[_log(row)]}"}
        try:
            point = point_of(row)
            compared.append(Compared(point, our(point)))
        except RoofcastError as error:
            reason = re.sub(r"'[^']*'", "…", str(error))
            left_out[reason] = left_out.get(reason, 0) + 1
    return Checked(tuple(compared), dict(sorted(left_out.items(), key=lambda item: -item[1])))


def summary(errors: Iterable[float]) -> dict[str, float]:
    """Points, median and mean absolute error and bias in %, share within 5 and 10 %."""
    signed = [100 * e for e in errors]
    sizes = [abs(e) for e in signed]
    return {
        "n": len(sizes),
        "median": statistics.median(sizes),
        "mean": statistics.fmean(sizes),
        "bias": statistics.median(signed),
        "within_5": sum(e <= 5 for e in sizes) / len(sizes),
        "within_10": sum(e <= 10 for e in sizes) / len(sizes),
    }


def table(checked: Checked) -> str:
    """The errors by kind, runtime and source as text, and what was left out."""
    groups: dict[tuple[str, str, str], list[float]] = {}
    for one in checked.compared:
        for source in ("all", one.point.source):
            groups.setdefault((one.point.kind, one.point.runtime if source != "all" else "", source), []).append(one.error)
    lines = [f"{'kind':12} {'runtime':14} {'source':36} {'n':>4} {'median':>7} {'mean':>7} {'bias':>7} {'≤5 %':>5} {'≤10 %':>5}"]
    for (kind, runtime, source), errors in sorted(groups.items()):
        s = summary(errors)
        lines.append(
            f"{kind:12} {runtime:14} {source[:36]:36} {s['n']:4.0f} {s['median']:7.1f} {s['mean']:7.1f} {s['bias']:+7.1f} "
            f"{s['within_5']:5.0%} {s['within_10']:5.0%}"
        )
    lines.append("")
    lines.extend(f"left out {count:4} × {reason}" for reason, count in checked.left_out.items())
    return "\n".join(lines)


if __name__ == "__main__":
    print(table(check(read_points(Path(sys.argv[1])))))
