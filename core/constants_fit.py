"""Fit the constants: few effects per term and kind, shrunk, so that the steps' times meet what was measured.

A metric's logarithm moves with the logarithms of the two steps by its elasticities (`core.features`), so the loss needs no
further pass. Weights keep any device or source from dominating; the loss is robust, so a wrong label costs little.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import Bounds, minimize

from core.constants import FURTHEST, PER_YEAR, SPREAD, TERM_LEVELS, TIGHTER, Constants, ages, keys
from core.features import RIVALS, TERMS, Table, Traits, total_of

SCALE = 0.25  # log error beyond which a run counts less than by its square
BALANCE = 0.6  # 0: every run counts alike; 1: every device of every source does
STRENGTH = 1.5  # of the runs against the priors
RUNS_POWER = 0.75  # how the weight of all runs grows with their number
ITERATIONS = 120
_PAIRED = {term for pair in RIVALS for term in pair}


@dataclass(slots=True)
class Targets:
    """What was measured, one line a run and metric. Arrays of one length.

    `place`: line → scenario of the table; `log_ratio`: ln(measured / analytic); `decode`, `prefill`: elasticities of the metric
    in the two steps; `weight`: how much the line counts.
    """

    place: np.ndarray
    log_ratio: np.ndarray
    decode: np.ndarray
    prefill: np.ndarray
    weight: np.ndarray


def balanced(groups: Sequence[str], power: float) -> np.ndarray:
    """Weights, 1 on average, that fall with the size of a line's group."""
    sizes = Counter(groups)
    weights = np.array([sizes[group] ** -power for group in groups])
    return np.asarray(weights / weights.mean())


def fit_constants(table: Table, targets: Targets) -> Constants:
    """The effects that meet `targets` best, shrunk by `SPREAD`. Deterministic."""
    used, place = np.unique(targets.place, return_inverse=True)
    traits = [table.traits[i] for i in used]
    kinds, age = keys(traits), ages(traits)
    names = {level: sorted(set(kinds[level])) for level in kinds}
    index = {level: np.searchsorted(names[level], kinds[level]) for level in kinds}
    offsets: dict[tuple[str, str], int] = {}
    size = 0
    for term, levels in TERM_LEVELS.items():
        for level in levels:
            offsets[term, level] = size
            size += len(names[level])
    spread = np.zeros(size)
    for (term, level), first in offsets.items():
        spread[first : first + len(names[level])] = SPREAD[level] * TIGHTER.get(term, 1.0)
    decode = {term: table.decode[term][used] for term in TERMS}
    prefill = {term: table.prefill[term][used] for term in TERMS}
    before = _log(total_of(decode)), _log(total_of(prefill))
    weight = targets.weight * STRENGTH * len(place) ** RUNS_POWER / targets.weight.sum()

    def scales(theta: np.ndarray) -> dict[str, np.ndarray]:
        found = {}
        for term in TERMS:
            log = np.zeros(len(used))
            for level in TERM_LEVELS.get(term, ()):
                first = offsets[term, level]
                effect = theta[first : first + len(names[level])][index[level]]
                log += effect * age if level in PER_YEAR else effect
            found[term] = np.exp(np.clip(log, -FURTHEST, FURTHEST))
        return found

    def objective(theta: np.ndarray) -> tuple[float, np.ndarray]:
        scale = scales(theta)
        sides = [_with_gradient(terms, scale) for terms in (decode, prefill)]
        moved = [_log(side[0]) - start for side, start in zip(sides, before, strict=True)]
        off = targets.decode * moved[0][place] + targets.prefill * moved[1][place] - targets.log_ratio
        z = off / SCALE
        root = np.sqrt(1 + z * z)
        slope = weight * z / root / SCALE
        by_scenario = [np.bincount(place, slope * share, len(used)) for share in (targets.decode, targets.prefill)]
        gradient = theta / spread**2
        for term, levels in TERM_LEVELS.items():
            pull = sum(by * side[1][term] for by, side in zip(by_scenario, sides, strict=True))
            for level in levels:
                first, count = offsets[term, level], len(names[level])
                gradient[first : first + count] += np.bincount(index[level], pull * age if level in PER_YEAR else pull, count)
        return float(np.sum(weight * (root - 1)) + 0.5 * np.sum((theta / spread) ** 2)), gradient

    # Software becomes faster with time, not slower: what looks so is a source that is both late and slow.
    floor = np.full(size, -np.inf)
    for (_, level), first in offsets.items():
        if level in PER_YEAR:
            floor[first : first + len(names[level])] = 0.0
    bounds = Bounds(floor, np.inf)
    theta = minimize(objective, np.zeros(size), jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": ITERATIONS}).x
    counts = {level: Counter(kinds[level][i] for i in place) for level in kinds}
    effects = {
        term: {level: {kind: round(float(theta[offsets[term, level] + n]), 5) for n, kind in enumerate(names[level])} for level in levels}
        for term, levels in TERM_LEVELS.items()
    }
    return Constants(effects, {level: dict(count) for level, count in counts.items()})


def _log(time: np.ndarray) -> np.ndarray:
    return np.log(np.where(np.isfinite(time) & (time > 0), time, 1.0))


def _with_gradient(terms: dict[str, np.ndarray], scale: dict[str, np.ndarray]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """A step's time, and by term the relative change of it with the log of the term's scale."""
    scaled = {term: terms[term] * scale[term] for term in TERMS}
    whole = total_of(terms, scale)
    share = {}
    with np.errstate(all="ignore"):
        for one, other in RIVALS:
            first = scaled[one] >= scaled[other]
            share[one] = np.nan_to_num(np.where(first, scaled[one], 0.0) / whole)
            share[other] = np.nan_to_num(np.where(first, 0.0, scaled[other]) / whole)
        for term in TERMS:
            if term not in _PAIRED:
                share[term] = np.nan_to_num(scaled[term] / whole)
    return whole, share


__all__ = ["Targets", "Traits", "balanced", "fit_constants"]
