"""Estimates of many scenarios as the fitted correction has them: p50, p10 and p90 of every metric, and how near the evidence is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from core.answer import Level
from core.batch import groups, metrics_of
from core.constants import refit
from core.correction import BAND_OF, PARTS, Correction
from core.features import tabulate
from core.scenario import Scenario

TIMES = ("ttft", "tpot", "latency")


@dataclass(frozen=True, slots=True)
class Answer:
    """One scenario's metrics in base units, their p10 and p90 where a fit gives them, and its support."""

    metrics: Mapping[str, float]
    bands: Mapping[str, tuple[float, float]]
    support: Level


def answers(scenarios: Sequence[Scenario], correction: Correction, *, strict: bool = False) -> list[Answer | str]:
    """For each scenario its answer, or the sentence that says why there is none."""
    parts, failed = groups(scenarios, strict=strict)
    found: list[Answer | str] = [failed.get(place, "") for place in range(len(scenarios))]
    if not parts:
        return found
    table = tabulate(scenarios, strict=strict)
    row = np.full(len(scenarios), -1)
    row[table.index] = np.arange(len(table.index))
    factors = correction.core.factors(table, correction.trust)
    for group in parts:
        at = row[group.index]
        c = refit(group.c, {term: scale[at] for term, scale in factors.scales.items()}, correction.version)
        knobs = {
            f"{name}_factor": np.exp(factors.steps[part][at, 1]) for part, name in zip(PARTS, ("decode", "prefill", "ttft"), strict=True)
        }
        metrics = metrics_of(replace(group, c=c), knobs)
        metrics.pop("headroom")
        ends = {}
        for name in BAND_OF:
            faster, slower = correction.bands.widths(name, factors.near[at])
            low, high = (faster, slower) if name in TIMES else (-slower, -faster)
            ends[name] = metrics[name] * np.exp(low), metrics[name] * np.exp(high)
        for n, place in enumerate(group.index.tolist()):
            found[place] = Answer(
                {name: float(amounts[n]) for name, amounts in metrics.items()},
                {name: (float(low[n]), float(high[n])) for name, (low, high) in ends.items()},
                correction.support(table, int(at[n])),
            )
    return found
