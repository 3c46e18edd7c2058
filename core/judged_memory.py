"""The judged points of memory as the score files hold them, each against the part of our answer that it measured.

Judged are peaks (of a process, of a driver's count, of an allocator) and what an engine takes ahead: the last is what a card's
user sees, and what an estimate of such an engine says. Single buffers are no answer and are looked at in `core.memory_check`.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from core import folds
from core.catalog.fitted_memory import memory_band
from core.features import Traits, traits
from core.memory_check import Compared, check, layout
from core.memory_fit import PEAKS, LeftOut, bands_of, leave_out, prior, publisher, ratios, residuals
from core.memory_points import ROOMY_GIB, read_points, read_run_peaks
from core.quantity import value
from core.scores import TERMS
from core.units import GIB
from core.validate import device_class

KINDS = (*PEAKS, "taken")
HELD_OUT = ("source", "time")  # splits whose constants and bands have not seen who measured the point
IN_SAMPLE = (
    "Memory: only the splits by source and time fit its constants without the point's publisher. The others show the shipped ones, "
    "fitted to all points: a few constants a runtime, for what is neither weights nor KV cache."
)


@dataclass(frozen=True, slots=True)
class Said:
    """What is said of a point: p10, p50, p90 in bytes (no ends where the estimate states none), and what other points knew."""

    low: float
    middle: float
    high: float
    support: str


@dataclass(frozen=True, slots=True)
class Judged:
    """The points, in the order of their rows, and what is said of each with all points and with those of others alone."""

    points: tuple[Compared, ...]
    traits: tuple[Traits, ...]
    guessed: tuple[float, ...]  # our number with the runtime's guesses in place of fitted constants, bytes
    shipped: tuple[Said, ...]
    held_out: tuple[Said, ...]


@functools.cache
def judged() -> Judged:
    """Every point that can be judged. Raises RunError where the corpus cannot be read."""
    compared = check([*read_points(), *read_run_peaks()]).compared
    points = tuple(one for one in compared if one.point.kind in KINDS)
    groups = residuals(points)
    left = {id(out.one): out for out in leave_out(groups)}
    guesses = {id(r.one): r.one.ours - r.now + prior(r) for rows in groups.values() for r in rows}
    return Judged(
        points,
        tuple(traits(one.point.scenario) for one in points),
        tuple(guesses.get(id(one), one.ours) for one in points),
        _shipped(points),
        _held_out(points, left),
    )


def memory_rows(first: int) -> pd.DataFrame:
    """One row per point, with the columns that `core.scores` asks for; `row` counts from `first`. Raises RunError."""
    found = judged()
    points, kinds = [one.point for one in found.points], found.traits
    measured = np.array([p.measured / GIB for p in points])
    irs = [layout(p.scenario)[0].ir for p in points]
    loads = [p.scenario.workload for p in points]
    nothing = np.full(len(points), np.nan)
    rows = {
        "row": first + np.arange(len(points)), "run_id": [p.run_id for p in points], "metric": "memory", "unit": "GiB",
        "measured": measured, "analytic": np.array(found.guessed) / GIB,
        "source": [p.source for p in points], "source_path": [p.path for p in points],
        "model": [t.model for t in kinds], "geometry": [t.geometry for t in kinds],
        "parameters_b": [ir.parameters / 1e9 for ir in irs], "active_b": [ir.active_parameters / 1e9 for ir in irs],
        "device": [t.device for t in kinds], "device_family": [t.family for t in kinds],
        "device_class": [device_class(t.device) for t in kinds], "device_count": [_cards(one) for one in found.points],
        "runtime": [t.runtime for t in kinds], "backend": [t.backend for t in kinds], "quant": [t.quant for t in kinds],
        "kernel_class": [t.kernel_class for t in kinds], "arrival": [load.arrival for load in loads],
        "concurrency": [load.concurrency for load in loads], "prompt_tokens": [load.prompt_tokens for load in loads],
        "output_tokens": [load.output_tokens for load in loads], "context_depth": [load.context_depth for load in loads],
        "year": pd.to_numeric(pd.Series([p.date[:4] for p in points]), errors="coerce").to_numpy(dtype=float),
        "configuration": _groups(found)["configuration"].astype(str), "fitted": [p.kind in PEAKS for p in points],
        "roofline": nothing, "bandwidth": nothing, "mean": measured.mean(), "planner": nothing,
        "feasibility": [_feasibility(one) for one in found.points],
    }  # fmt: skip
    return pd.DataFrame({**rows, **{f"share_{term}": np.zeros(len(points), dtype=np.float32) for term in TERMS}})


def memory_scores(rows: pd.DataFrame, splits: Iterable[str]) -> pd.DataFrame:
    """One line per row of `memory_rows` and split: row, split, fold, group, p10, p50, p90, support; GiB.

    By source and time the constants and bands have not seen who measured the point; see `IN_SAMPLE` for the other splits. The time
    split has no row for a point without a date.
    """
    found = judged()
    named = _groups(found)
    lines = []
    for split in splits:
        fold, group = folds.assign(named[split], split), named[split]
        said = found.held_out if split in HELD_OUT else found.shipped
        for place in np.flatnonzero(fold >= 0):
            s = said[place]
            lines.append((int(rows["row"].iloc[place]), split, int(fold[place]), str(group[place]),
                          s.low / GIB, s.middle / GIB, s.high / GIB, s.support))  # fmt: skip
    return pd.DataFrame(lines, columns=["row", "split", "fold", "group", "p10", "p50", "p90", "support"])


def _groups(found: Judged) -> dict[str, np.ndarray]:
    lines = pd.DataFrame({
        "place": np.arange(len(found.points)), "run_id": [one.point.run_id for one in found.points],
        "origin": [publisher(one) for one in found.points], "date": [one.point.date for one in found.points],
    })  # fmt: skip
    return folds.groups(lines, found.traits, [one.point.scenario.runtime_version or "" for one in found.points])


# ---- What is said of a point


def _shipped(points: Sequence[Compared]) -> tuple[Said, ...]:
    known = _Known.of(points)
    return tuple(_said(one, one.ours, memory_band(one.point.runtime, one.point.backend), known) for one in points)


def _held_out(points: Sequence[Compared], left: Mapping[int, LeftOut]) -> tuple[Said, ...]:
    """With constants, bands and knowledge of other publishers alone."""
    of_all = ratios(left.values())
    bands, known = {}, {}
    for name in {publisher(one) for one in points}:
        bands[name] = bands_of(r for r in of_all if r.group != name)
        known[name] = _Known.of([one for one in points if publisher(one) != name])
    found = []
    for one in points:
        name = publisher(one)
        ours = left[id(one)].ours if id(one) in left else one.ours
        found.append(_said(one, ours, bands[name].get(one.point.runtime, bands[name]["any"]), known[name]))
    return tuple(found)


@dataclass(frozen=True, slots=True)
class _Known:
    engines: frozenset[tuple[str, str]]
    setups: frozenset[tuple[str, str, str]]

    @classmethod
    def of(cls, points: Iterable[Compared]) -> _Known:
        setups = frozenset((p.runtime, p.backend, p.scenario.system.device) for one in points for p in [one.point])
        return cls(frozenset(setup[:2] for setup in setups), setups)

    def support(self, one: Compared) -> str:
        """seen: points of this engine on this device; near: of this engine; far: of neither."""
        p = one.point
        if (p.runtime, p.backend, p.scenario.system.device) in self.setups:
            return "seen"
        return "near" if (p.runtime, p.backend) in self.engines else "far"


def _said(one: Compared, ours: float, band: tuple[float, float], known: _Known) -> Said:
    estimated = ours - one.exact
    low, high = (one.exact + by * estimated for by in band) if abs(estimated) > 1 else (np.nan, np.nan)
    return Said(low, ours, high, known.support(one))


# ---- Facts of a point


def _cards(one: Compared) -> int:
    return max(one.point.scenario.system.count, one.point.cards // one.point.copies)


def _feasibility(one: Compared) -> str:
    """What an estimate says of the cards that the point was measured on; a roomy device may have stood for them."""
    scenario = one.point.scenario
    if scenario.system.device_memory_gib == ROOMY_GIB:
        scenario = scenario.with_(device_memory_gib=None, count=_cards(one))
    _, fit, _ = layout(scenario)
    if value(fit.headroom) < 0:
        return "insufficient_memory"
    return "with_offload" if value(fit.host_layers) > 0 or value(fit.host_experts) > 0 else "in_vram"
