"""Measured memory points against the estimate: weights, KV cache, compute buffers, peaks and reservations, each by itself.

`python -m core.memory_check` prints the error by kind, runtime and source, and why the other points were left out.
"""

from __future__ import annotations

import functools
import re
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from core.columns import columns
from core.errors import RoofcastError
from core.memory import Fit, fit
from core.memory_points import Point, point_of, read_points, read_run_peaks
from core.plan import make_plan
from core.quantity import Quantity, value
from core.scenario import Scenario
from core.setting import Setting, settle
from core.weights import WeightTable, weight_table


@dataclass(frozen=True, slots=True)
class Compared:
    """A point and our number for it."""

    point: Point
    ours: float
    exact: float = 0.0  # of a peak or what is taken: weights, cache, and what the engine's set share says
    context: float = 0.0  # of it, device contexts
    workspace: float = 0.0  # of it, the runtime's workspace beside activations
    fragments: float = 0.0
    expands: bool = False  # MLA expanded for prompts
    expanded: float = 0.0  # what it expands to, with the mask
    micro_batch: float = 0.0
    mask_size: float = 0.0
    mask_cells: float = 0.0

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
def layout(scenario: Scenario) -> tuple[Setting, Fit, Any]:
    """What the scenario names, how it lies in memory, and its columns. Raises ScenarioError or CatalogError."""
    setting = settle(scenario, strict=False)
    c = columns(setting)
    return setting, fit(make_plan(setting.ir, c), c), c


def _named(found: Fit, *names: str) -> float:
    return sum(float(value(p.amount)) for p in found.parts if p.name in names)


def _state(found: Fit, c: Any) -> float:
    parts = {id(q): q for q in found.kv_needed.walk() if isinstance(q, Quantity) and q.name.startswith("state of")}
    each = sum(float(q.value) for q in parts.values())
    return each if value(c.unified_kv) else each * float(value(found.slots))


def compare(point: Point) -> Compared:
    """Our number for a point, with what the fit needs to know of it. Raises ScenarioError or CatalogError."""
    setting, found, c = layout(point.scenario)
    host = {p.name: float(value(p.amount)) for p in found.host_parts}
    weights = _named(found, "weights") + host.get("weights", 0.0) + host.get("embedding table", 0.0)
    table = weight_table(setting.ir, setting.quant.id)
    file = table.bytes if point.file_bits is None else table.elements * point.file_bits / 8
    state, cache = _state(found, c), _named(found, "KV cache") + host.get("KV cache", 0.0)
    each = sum(float(value(p.amount)) for p in found.fixed)
    here = int(value(c.count))
    # One roomy device may stand for several cards: what each has for itself is added.
    whole = float(value(found.peak))
    peak = (whole + (point.cards // point.copies - 1) * each) * point.copies if here == 1 else whole * point.cards
    times = point.cards if point.kind in ("peak", "gpu_peak", "torch_peak") else 0
    context = 0.0 if point.kind == "torch_peak" else float(value(c.context_memory)) * times
    extra: dict[str, Any] = {
        "context": context,
        "workspace": float(value(c.activation_memory)) * times if not value(c.buffered) and not value(c.profiled) else 0.0,
        "fragments": _named(found, "fragmentation") * (times if here > 1 else min(times, 1)),
        "expands": bool(value(c.mla_expands) and value(c.expanded) and not value(c.mla_full)),
        "micro_batch": float(value(c.micro_batch)),
        "mask_size": float(value(c.mask_size)),
        "mask_cells": float(value(c.micro_batch)) * float(value(found.slot_context)),
    }
    extra["expanded"] = (
        float(value(found.slot_context)) * float(value(found.slots)) * (float(value(c.expanded)) * 2 + extra["micro_batch"] * 6)
    )
    if point.kind in ("peak", "gpu_peak", "torch_peak"):
        loose = _loose_table(point, setting, table, file)
        ours = peak - float(value(c.context_memory)) * point.cards if point.kind == "torch_peak" else peak
        ours += loose + point.outside + (file - weights if point.file_bits is not None else 0.0)
        estimated = (each - (float(value(c.context_memory)) if point.kind == "torch_peak" else 0.0)) * point.cards + extra["fragments"]
        return Compared(point, ours, ours - estimated, **extra)
    ours = {
        "weights": weights if point.runtime == "vllm" else file,
        "kv": cache - state,
        "state": state,
        "compute": value(found.activations),
        "activations": value(found.activations),
        "non_torch": float(value(c.non_torch)) + float(value(c.context_memory)),
        "graphs": value(c.graph_memory),
        "pool": value(found.pool),
        "taken": float(value(found.taken)) * point.cards,
    }[point.kind]
    exact = float(ours) - each * point.cards * _moves(c) if point.kind == "taken" else 0.0
    return Compared(point, float(ours), exact, **extra)


def _moves(c: Any) -> float:
    """Share of the estimated parts by which what an engine takes moves: none of a card's set share, else what no pool makes up for."""
    return float(np.where(value(c.of_free), 1 - value(c.fraction), 0.0) if value(c.pooled) else 1.0)


def _loose_table(point: Point, setting: Setting, table: WeightTable, file: float) -> float:
    """Of a driver's count on unified memory: an untied embedding table lies in the mapped file beside it.

    Vulkan pins the table in memory that the driver counts, and copies a tied one.
    """
    if point.kind != "gpu_peak" or setting.ir.tied_embeddings != (point.backend == "vulkan"):
        return 0.0
    held = table.where(group="embedding") * (file / table.bytes)
    return held if setting.ir.tied_embeddings else -held


def _log(row: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(row.get(name, "") for name in ("source", "source_path", "model_id", "gpu_name", "backend_version"))


def check(rows: Iterable[Mapping[str, str]]) -> Checked:
    """Every point that can be compared, with our number, and the reasons of the others."""
    compared: list[Compared] = []
    left_out: dict[str, int] = {}
    rows = list(rows)
    # A server's log is several rows, and one of them says what fraction of the card it took.
    fractions = {
        _log(row): found[0] for row in rows if "transcribed" in row["notes"] and (found := re.search(r"util [\d.]+", row["notes"]))
    }
    for row in rows:
        if _log(row) in fractions:
            row = {**row, "notes": f"{row['notes']}; {fractions[_log(row)]}"}
        try:
            compared.append(compare(point_of(row)))
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
    print(table(check([*read_points(), *read_run_peaks()])))
