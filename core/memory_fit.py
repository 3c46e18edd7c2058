"""Fits the few constants of memory that no document states, from the corpus's points, and says how they do on unseen sources.

`python -m core.memory_fit` writes data/fitted/memory.toml and prints the errors of peaks in sample and with each source held
out. A constant is a median over points, its range their p10 and p90; a runtime with few points is drawn to its family.
"""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from core.catalog.fitted_memory import FITTED, fitted, fitted_constant
from core.catalog.runtimes import runtimes
from core.memory_check import Compared, check, layout, summary
from core.memory_points import read_points, read_run_peaks
from core.predict import write_whole

SHRINK = 4.0  # points that the family's median counts for
FEW = 8  # points below which no band is stated
PUBLISHERS = 3  # below which a runtime has no band of its own
LEAST_SHARE = 0.02  # of a peak: a smaller estimated part is no measure for what was measured beside weights and cache
_WHOLE = ("llama.cpp", "transformers")  # families whose fragmentation is fitted
PEAKS = ("peak", "gpu_peak", "torch_peak")
_HEAD = """# Written by `python -m core.memory_fit` from the corpus's points of memory: do not edit.
# Base units; a constant's low and high are p10 and p90 of what single points say. Bands are those of peaks of publishers that the
# constants had not seen, each publisher weighing the same.

"""
_HOW = {
    "fragmentation": "slope of the peaks over the exact parts, none below zero",
    "activation_memory": "median of PyTorch's peak less weights, cache and the prompt's activations",
    "context_memory": "median a device of the peak less weights, cache, buffers and workspace",
    "mask_size": "the whole number of bytes a token and cached token with the least mean error",
    "mla_scores": "median of the buffer less what is expanded, for micro-batches up to 1024",
}


@dataclass(frozen=True, slots=True)
class Residual:
    """What a peak leaves for the fitted constants: measured less everything else, and what the constants are now. Bytes."""

    one: Compared
    rest: float
    now: float

    @property
    def source(self) -> str:
        return self.one.point.source

    def error(self, constants: float) -> float:
        """The relative error with these constants instead."""
        return (self.one.ours - self.now + constants) / self.one.point.measured - 1


def _family(runtime: str) -> str:
    above = runtimes()[runtime].treated_as
    return runtime if above is None or above == "vllm" else _family(above)


def _source_name(source: str) -> str:
    return source.split(" @")[0].split(" (")[0].strip()


def _quantiles(amounts: Sequence[float]) -> tuple[float, float]:
    low, high = np.quantile(np.asarray(amounts), [0.1, 0.9])
    return float(low), float(high)


def _names(residuals: Iterable[Residual]) -> list[str]:
    return sorted({_source_name(r.source) for r in residuals})


Key = tuple[str, str]  # runtime, back end


def residuals(compared: Iterable[Compared]) -> dict[Key, list[Residual]]:
    """Peaks by runtime and back end, with what they leave for context and workspace once fragmentation is none."""
    found: dict[Key, list[Residual]] = defaultdict(list)
    for one in compared:
        p = one.point
        if p.kind in PEAKS:
            now = one.context + one.workspace + (one.fragments if _family(p.runtime) in _WHOLE else 0.0)
            found[(p.runtime, p.backend)].append(Residual(one, p.measured - (one.ours - now), now))
    return found


def _workspace(rows: Sequence[Residual]) -> float | None:
    torch = [r.rest / r.one.point.cards for r in rows if r.one.point.kind == "torch_peak"]
    return max(0.0, statistics.median(torch)) if torch else None


def constants(groups: Mapping[Key, Sequence[Residual]]) -> dict[tuple[str, Key], tuple[float, list[float], list[Residual]]]:
    """Workspace and context by runtime and back end: the value, what single points say, and the points."""
    found: dict[tuple[str, Key], tuple[float, list[float], list[Residual]]] = {}
    for key, rows in groups.items():
        if (amount := _workspace(rows)) is not None:
            torch = [r for r in rows if r.one.point.kind == "torch_peak"]
            found["activation_memory", key] = (amount, [r.rest / r.one.point.cards for r in torch], torch)
    seen: dict[Key, list[float]] = {}
    for key, rows in groups.items():
        works = found.get(("activation_memory", key)) or found.get(("activation_memory", (_family(key[0]), key[1])))
        workspace = works[0] if works else 0.0
        seen[key] = [r.rest / r.one.point.cards - workspace for r in rows if r.one.point.kind != "torch_peak"]
    for key, single in seen.items():
        if not single:
            continue
        family = [a for other, amounts in seen.items() if (_family(other[0]), other[1]) == (_family(key[0]), key[1]) for a in amounts]
        low, high = _quantiles(single)
        own = statistics.median(single)
        # Points that disagree by more than they say speak for nothing but the family.
        n = len(single) if key[0] == _family(key[0]) or high - low <= own else 0
        value = (n * own + SHRINK * statistics.median(family)) / (n + SHRINK)
        found["context_memory", key] = (max(0.0, value), single, [r for r in groups[key] if r.one.point.kind != "torch_peak"])
    return found


def prior(r: Residual) -> float:
    """The constants as the runtime's record guesses them."""
    p, facts = r.one.point, runtimes()[r.one.point.runtime].facts
    names = ["activation_memory"] if p.kind == "torch_peak" else ["activation_memory", "context_memory"]
    return sum(facts[name].value for name in names if name in facts) * p.cards


def _total(found: Mapping[tuple[str, Key], tuple[float, list[float], list[Residual]]], r: Residual) -> float:
    """The constants that a point takes: fitted for its runtime or its family, else the runtime's guesses."""
    p = r.one.point
    whole, known = 0.0, False
    for name in ("activation_memory", "context_memory"):
        if name == "context_memory" and p.kind == "torch_peak":
            continue
        for key in ((p.runtime, p.backend), (_family(p.runtime), p.backend)):
            if (name, key) in found:
                whole, known = whole + found[name, key][0] * p.cards, True
                break
    return whole if known else prior(r)


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A peak with constants fitted without its group: what they come to for it (bytes), and our number with them."""

    one: Compared
    group: str
    constants: float
    ours: float

    @property
    def error(self) -> float:
        """Signed relative error."""
        return self.ours / self.one.point.measured - 1


def publisher(one: Compared) -> str:
    """Who measured a point: sources of one origin are one."""
    return one.point.origin or _source_name(one.point.source)


def leave_out(groups: Mapping[Key, Sequence[Residual]], group_of: Callable[[Compared], str] = publisher) -> list[LeftOut]:
    """Every peak with constants fitted to the other groups' points, guesses where those say nothing of its runtime."""
    rows = [r for found in groups.values() for r in found]
    found = []
    for name in sorted({group_of(r.one) for r in rows}):
        fit = constants({key: kept for key, each in groups.items() if (kept := [r for r in each if group_of(r.one) != name])})
        for r in rows:
            if group_of(r.one) == name:
                amount = _total(fit, r)
                found.append(LeftOut(r.one, name, amount, r.one.ours - r.now + amount))
    return found


def held_out(groups: Mapping[Key, Sequence[Residual]]) -> dict[str, list[float]]:
    """Errors of each source's peaks with constants fitted to the other sources."""
    found: dict[str, list[float]] = defaultdict(list)
    for one in leave_out(groups, lambda one: _source_name(one.point.source)):
        found[one.group].append(one.error)
    return dict(found)


def _mask(compared: Iterable[Compared], runtime: str) -> tuple[float, int, list[str]] | None:
    rows = [c for c in compared if c.point.kind == "compute" and c.point.runtime == runtime and not c.expands]
    if len(rows) < FEW:
        return None

    def loss(size: float) -> float:
        return statistics.fmean(abs((c.ours + (size - c.mask_size) * c.mask_cells) / c.point.measured - 1) for c in rows)

    sizes = (0.0, 2.0, 4.0, 6.0)  # none, half, float, both
    return min(sizes, key=loss), len(rows), sorted({_source_name(c.point.source) for c in rows})


def _scores(compared: Iterable[Compared], runtime: str) -> tuple[list[float], list[str]]:
    rows = [c for c in compared if c.point.kind == "compute" and c.point.runtime == runtime and c.expands and c.point.backend != "cpu"]
    rows = [c for c in rows if c.micro_batch <= 1024 and c.expanded > 0.5 * c.point.measured]
    return [c.point.measured - c.expanded for c in rows], sorted({_source_name(c.point.source) for c in rows})


def _row(name: str, runtime: str, backend: str | None, value: float, spread: Sequence[float], points: int, sources: list[str]) -> str:
    low, high = _quantiles(spread) if spread else (value, value)
    unit = "" if name == "fragmentation" else "B"
    digits = 4 if name == "fragmentation" else 0
    where = f'\nbackend = "{backend}"' if backend else ""
    quoted = ", ".join(f'"{s}"' for s in sources)
    return (
        f'[[constants]]\nname = "{name}"\nruntime = "{runtime}"{where}\nunit = "{unit}"\nvalue = {value:.{digits}f}\n'
        f'low = {low:.{digits}f}\nhigh = {high:.{digits}f}\npoints = {points}\nsources = [{quoted}]\nhow = "{_HOW[name]}"\n'
    )


@dataclass(frozen=True, slots=True)
class Ratio:
    """Measured over estimated, of what is no weights and no cache, by a fit that had not seen who measured it."""

    runtime: str
    group: str
    source: str
    ratio: float


def ratios(left: Iterable[LeftOut]) -> list[Ratio]:
    """Of left-out peaks; one that is next to all weights and cache is no measure of the rest."""
    found = []
    for at in left:
        p, estimated = at.one.point, at.ours - at.one.exact
        if estimated > LEAST_SHARE * at.ours:
            found.append(Ratio(p.runtime, at.group, _source_name(p.source), max(0.05, (p.measured - at.one.exact) / estimated)))
    return found


def bands_of(rows: Iterable[Ratio]) -> dict[str, tuple[float, float]]:
    """p10 and p90 of ratios by runtime, each publisher weighing the same; "any" is all together. One or two publishers are no band:
    that they agree with themselves says little of others."""
    sorts: dict[str, list[Ratio]] = defaultdict(list)
    for row in rows:
        sorts[row.runtime].append(row)
        sorts["any"].append(row)
    return {
        runtime: (min(1.0, low), max(1.0, high))
        for runtime, kept in sorted(sorts.items())
        if (len(kept) >= FEW and len({r.group for r in kept}) >= PUBLISHERS) or runtime == "any"
        for low, high in [_alike(kept)]
    }


def _alike(rows: Sequence[Ratio]) -> tuple[float, float]:
    """p10 and p90 where each publisher weighs 1."""
    size = Counter(r.group for r in rows)
    ordered = sorted(rows, key=lambda r: r.ratio)
    weight = np.array([1 / size[r.group] for r in ordered])
    low, high = np.interp(np.array([0.1, 0.9]) * weight.sum(), np.cumsum(weight) - weight / 2, [r.ratio for r in ordered])
    return float(low), float(high)


def _band_rows(rows: Sequence[Ratio]) -> list[str]:
    found = []
    for runtime, (low, high) in bands_of(rows).items():
        kept = [r for r in rows if runtime in ("any", r.runtime)]
        quoted = ", ".join(f'"{s}"' for s in sorted({r.source for r in kept}))
        found.append(f'[[bands]]\nruntime = "{runtime}"\nlow = {low:.3f}\nhigh = {high:.3f}\npoints = {len(kept)}\nsources = [{quoted}]\n')
    return found


def fit_file(compared: Sequence[Compared]) -> str:
    """The constants' part of data/fitted/memory.toml."""
    rows = []
    groups = residuals(compared)
    for family in _WHOLE:
        mine = [r for key, found in groups.items() if key[0] == family for r in found]
        exact = np.array([r.one.exact for r in mine])
        slope = float(np.polyfit(exact, [r.rest for r in mine], 1)[0])
        rows.append(_row("fragmentation", family, None, max(0.0, slope), [slope], len(mine), _names(mine)))
    for (name, (runtime, backend)), (value, spread, used) in sorted(constants(groups).items()):
        rows.append(_row(name, runtime, backend, value, spread, len(used), _names(used)))
    for runtime in ("llama.cpp", "ik_llama.cpp"):
        if (mask := _mask(compared, runtime)) is not None:
            rows.append(_row("mask_size", runtime, None, mask[0], [], mask[1], mask[2]))
    spread, sources = _scores(compared, "ik_llama.cpp")
    if spread:
        rows.append(_row("mla_scores", "ik_llama.cpp", None, statistics.median(spread), spread, len(spread), sources))
    return "\n".join(rows)


def _reload() -> None:
    for kept in (fitted, fitted_constant, layout):
        kept.cache_clear()


def main() -> None:
    """Fit, write the file, and print how well it does."""
    points = [*read_points(), *read_run_peaks()]
    for _ in range(2):  # peaks hold the buffers' mask, which the first pass fits
        body = fit_file(check(points).compared)
        write_whole(FITTED, _HEAD + body)
        _reload()
    done = check(points).compared
    groups = residuals(done)
    write_whole(FITTED, _HEAD + body + "\n" + "\n".join(_band_rows(ratios(leave_out(groups)))))
    out = held_out(groups)
    print(f"{'peaks':36} {'n':>4} {'in sample: median':>18} {'mean':>6} {'held out: n':>12} {'median':>7} {'mean':>6}")
    by_source: dict[str, list[float]] = defaultdict(list)
    for rows in groups.values():
        for r in rows:
            by_source[_source_name(r.source)].append(r.one.error)
            by_source["all"].append(r.one.error)
    out["all"] = [e for errors in out.values() for e in errors]
    for name, errors in sorted(by_source.items()):
        s = summary(errors)
        o = summary(out[name]) if out.get(name) else None
        held = f"{o['n']:12.0f} {o['median']:7.1f} {o['mean']:6.1f}" if o else f"{'no other':>12}"
        print(f"{name[:36]:36} {s['n']:4.0f} {s['median']:18.1f} {s['mean']:6.1f} {held}")


if __name__ == "__main__":
    main()
