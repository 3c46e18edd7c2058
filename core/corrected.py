"""What the fitted correction makes of scenarios: columns with what it learned, p10 and p90 of every metric, and the support.

`learned` serves the cited answer of one scenario (`core.estimate`), `answers` gives the same numbers for many as arrays.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from core.answer import Level, Support
from core.bands import BAND_OF, KINDS, LEAST
from core.batch import Group, groups, run
from core.catalog.files import source
from core.catalog.fitted_memory import memory_band
from core.constants import EFFICIENCIES, refit
from core.correction import Correction, Factors
from core.features import Table, Traits, table_of, tabulate, total_of, traits
from core.formulas.correction import with_own_runs
from core.machine import Columns
from core.memory import Fit
from core.pipeline import metrics_from
from core.quantity import Source, leaf, value
from core.scenario import Scenario
from core.serving import Served

PAST_PEAK = 1.1  # how far arithmetic may pass the datasheet's peak: clocks boost, and some peaks are guessed
TIMES = ("ttft", "tpot", "latency")
EXACT = ("weights", "KV cache")  # parts of memory that are counted; all others are estimated
# Part of the correction → the column it acts on, what it is a factor of, and what that is computed by.
FACTORS = {
    "decode": ("decode_factor", "decode step", "the physics with fitted constants"),
    "prefill": ("prefill_factor", "prefill step", "the physics with fitted constants"),
    "first_token": ("ttft_factor", "first token", "serving with the corrected steps"),
}

Ends = dict[str, tuple[Any, Any]]  # metric → p10 and p90, numbers or arrays


@dataclass(frozen=True, slots=True)
class Answer:
    """One scenario's metrics in base units, their p10 and p90 where a fit gives them, and its support."""

    metrics: Mapping[str, float]
    bands: Mapping[str, tuple[float, float]]
    support: Level


@dataclass(frozen=True, slots=True)
class Learned:
    """What a correction says of one scenario."""

    correction: Correction
    scales: Mapping[str, float]  # term of a step → how many times as long as assumed
    factors: Mapping[str, float]  # column → factor
    word: Factors  # all of it, arrays of one
    traits: Traits
    support: Support

    @property
    def version(self) -> str:
        return self.correction.version

    @property
    def own_runs(self) -> int:
        """How many of the user's own runs stand behind it."""
        return 0 if self.correction.own is None else self.correction.own.runs_of(self.traits.device)

    def own_shift(self, part: str) -> float:
        """How many times as long a part takes as without the user's own runs."""
        return float(np.exp(self.word.own[part][0])) if part in self.word.own else 1.0

    def columns(self, c: Columns) -> Columns:
        """The cited columns with fitted efficiencies, fixed costs and factors in place of what was assumed, cited."""
        found = refit(c, self.scales, self.version)
        seen = sum(self.correction.core.known.counts["engine"].values())
        for part, (name, what, basis) in FACTORS.items():
            shift = self.own_shift(part)
            fleet = self.factors[name] / shift
            says = f"this {what} takes {fleet:.3g} times as long as {basis} says"
            cited = source("corpus-fit", note=f"learned from measured runs of {seen:,} scenarios (version {self.version}): {says}")
            learned_factor = leaf(f"learned factor of the {what}", fleet, "", "fitted", cited)
            if shift != 1.0:
                count = f"your {self.own_runs:,} run{'s' if self.own_runs > 1 else ''} on this machine"
                note = f"its {what} takes {shift:.3g} times as long as others' runs say, drawn toward 1 as far as yours leave doubt"
                own = leaf(f"factor of {count}", shift, "", "measured", Source("own-runs", "Your own runs", note=note))
                learned_factor = with_own_runs(learned_factor=learned_factor, own_factor=own, named=f"factor of the {what}")
            setattr(found, name, learned_factor)
        return found

    def bands(self, c: Columns, found: Fit, metrics: Mapping[str, float]) -> dict[str, tuple[float, float]]:
        """p10 and p90 of the metrics in base units, of those that are finite and have a range. `c` are plain columns."""
        ends = _bands(self.correction, metrics, self.word, np.array([0]), c, estimated_bytes(c, found), _memory_band(self.traits))
        one = {name: (np.asarray(low).item(), np.asarray(high).item()) for name, (low, high) in ends.items()}
        return {name: pair for name, pair in one.items() if _is_range(*pair)}


def learned(scenario: Scenario, correction: Correction, *, strict: bool = True) -> Learned | None:
    """What the correction says of a scenario; None where it cannot be told."""
    table = tabulate([scenario], strict=strict)
    if not len(table.index):
        return None
    factors = correction.factors(table)
    return Learned(
        correction,
        {term: float(scale[0]) for term, scale in factors.scales.items()},
        {name: float(factor[0]) for name, factor in factors_at(factors, np.array([0])).items()},
        factors,
        table.traits[0],
        support_of(correction, table, 0),
    )


@dataclass(frozen=True, slots=True)
class Corrected:
    """What a correction makes of a group: arrays along it. `c` are the corrected columns, `found` and `served` what came of them."""

    metrics: Mapping[str, np.ndarray]
    ends: Mapping[str, tuple[np.ndarray, np.ndarray]]  # p10 and p90; the same number twice, or one that is not finite, is no range
    table: Table
    c: Columns
    found: Fit
    served: Served

    def bands(self, n: int) -> dict[str, tuple[float, float]]:
        """The ranges of one scenario of the group."""
        return {name: (float(low[n]), float(high[n])) for name, (low, high) in self.ends.items() if _is_range(low[n], high[n])}


def learn(group: Group, kinds: list[Traits], correction: Correction) -> tuple[Table, Factors]:
    """What a correction says of a group, `kinds` along it: the group as it sees it, and its word."""
    table = table_of(group, kinds)
    return table, correction.factors(table)


def applied(c: Columns, scales: Mapping[str, np.ndarray], factors: Mapping[str, np.ndarray], version: str) -> Columns:
    """Plain columns with fitted efficiencies, fixed costs and factors in place of what was assumed."""
    found = refit(c, scales, version)
    vars(found).update(factors)
    return found


def factors_at(factors: Factors, at: np.ndarray) -> dict[str, np.ndarray]:
    """The factors on steps and first token as columns, of the scenarios `at`."""
    return {name: np.exp(factors.steps[part][at, 1]) for part, (name, *_) in FACTORS.items()}


def correct(group: Group, kinds: list[Traits], correction: Correction) -> Corrected:
    """Metrics and their p10 and p90 for a whole group, `kinds` along it."""
    table, factors = learn(group, kinds, correction)
    c = applied(group.c, factors.scales, factors_at(factors, table.index), correction.version)
    _, found, served = run(replace(group, c=c))
    with np.errstate(all="ignore"):
        metrics = {name: group.spread(amount) for name, amount in metrics_from(c, found, served, group.arrival).items()}
        multipliers = np.array([_memory_band(kind) for kind in kinds]).T
        ends = _bands(correction, metrics, factors, table.index, c, estimated_bytes(c, found), multipliers)
    spread = {name: (group.spread(low), group.spread(high)) for name, (low, high) in ends.items()}
    return Corrected(metrics, spread, table, c, found, served)


def answers(scenarios: Sequence[Scenario], correction: Correction, *, strict: bool = False) -> list[Answer | str]:
    """For each scenario its answer, or the sentence that says why there is none."""
    parts, failed = groups(scenarios, strict=strict)
    found: list[Answer | str] = [failed.get(place, "") for place in range(len(scenarios))]
    for group in parts:
        one = correct(group, [traits(scenarios[place]) for place in group.index], correction)
        for n, place in enumerate(group.index.tolist()):
            metrics = {name: float(amounts[n]) for name, amounts in one.metrics.items()}
            found[place] = Answer(metrics, one.bands(n), support_of(correction, one.table, n).level)
    return found


def support_of(correction: Correction, table: Table, at: int) -> Support:
    return correction.core.known.support(table.traits[at], {name: column[at] for name, column in table.numbers.items()})


def _memory_band(traits: Traits) -> tuple[float, float]:
    return memory_band(traits.runtime, traits.backend)


def _bands(
    correction: Correction, metrics: Mapping[str, Any], factors: Factors, at: np.ndarray, c: Columns, estimated: Any, multipliers: Any
) -> Ends:
    """p10 and p90 of the metrics of scenarios `at`: times and rates as runs did that were left out, but none faster than the
    device can be; memory by its `estimated` bytes times `multipliers`. `c`: plain columns of these scenarios."""
    ends: Ends = {}
    decode, prefill = (_room(factors, step, at, c) for step in ("decode", "prefill"))
    rooms = {"decode_rate": decode, "tpot": decode, "prefill_rate": prefill, "ttft": prefill}
    widths = {kind: correction.bands.widths_of(kind, factors.doubt[at]) for kind in KINDS}
    for name, kind in BAND_OF.items():
        faster, slower = (width * factors.narrow[kind][at] if kind in factors.narrow else width for width in widths[kind])
        faster = np.minimum(np.maximum(faster, -rooms.get(name, np.maximum(decode, prefill))), -LEAST)
        low, high = (faster, slower) if name in TIMES else (-slower, -faster)
        ends[name] = metrics[name] * np.exp(low), metrics[name] * np.exp(high)
    low, high = multipliers
    ends["memory_peak"] = metrics["memory_peak"] + (low - 1) * estimated, metrics["memory_peak"] + (high - 1) * estimated
    return ends


def _room(factors: Factors, step: str, at: np.ndarray, c: Columns) -> np.ndarray:
    """ln of how much faster a step would be that only reads its weights and cache, or only computes, at the datasheet's rates."""
    terms = {term: time[at] for term, time in factors.terms[step].items()}

    def least(*names: str) -> np.ndarray:
        return np.asarray(sum(terms[name] * np.asarray(value(getattr(c.gpu, EFFICIENCIES[name]))) for name in names))

    with np.errstate(all="ignore"):
        bound = np.maximum(least("weights", "experts", "kv"), least("compute", "experts_compute") / PAST_PEAK)
        room = np.log(total_of(terms) * np.exp(factors.steps[step][at, 1]) / bound)
    return np.where(np.isfinite(room), np.maximum(room, LEAST), np.inf)


def estimated_bytes(c: Columns, found: Fit) -> Any:
    """Bytes over all devices that are estimates and move what the engine takes, on plain columns.

    Of a card's set share (vLLM) nothing does; where the share is of what is left (TensorRT-LLM), what the pool does not make up for.
    """
    bills = [(held.parts, card.devices) for held, card in zip(found.cards, c.cards, strict=True)] or [(found.parts, value(c.count))]
    parts = sum(sum((value(part.amount) for part in bill if part.name not in EXACT), 0.0) * devices for bill, devices in bills)
    of_pool = np.where(np.asarray(c.of_free) > 0, 1 - value(c.fraction), 0.0)
    return parts * np.where(np.asarray(c.pooled) > 0, of_pool, 1.0)


def _is_range(low: float, high: float) -> bool:
    return bool(np.isfinite(low) and np.isfinite(high) and low < high)
