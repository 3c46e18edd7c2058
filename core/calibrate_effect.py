"""What own runs change of estimates on their machine: the same questions by the correction before and after."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from core.corrected import Answer, answers
from core.correction import Correction
from core.errors import RoofcastError
from core.records import RunRecord
from core.runs import read_run
from core.scenario import Scenario
from core.units import show
from core.words import device_name, model_name

SHOWN = {"decode_rate": ("decode", "tok/s"), "prefill_rate": ("prefill", "tok/s"), "ttft": ("first token", "s")}
MOST = 4  # scenarios that are shown
_LOAD = {"prompt_tokens": 2048, "output_tokens": 256, "context_depth": 0, "concurrency": 1, "arrival": "closed",
         "request_rate_per_s": None, "prefix_cached_tokens": 0, "max_context": None, "equal_lengths": True}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Range:
    """A metric's p50 with its p10 and p90, base units."""

    low: float
    middle: float
    high: float

    @property
    def times(self) -> float:
        """The upper end over the lower."""
        return self.high / self.low


@dataclass(frozen=True, slots=True)
class Effect:
    """One metric of one scenario, before and after."""

    scenario: Scenario
    metric: str
    before: Range
    after: Range

    @property
    def what(self) -> str:
        """The question in a few words."""
        system, load = self.scenario.system, self.scenario.workload
        cards = f"{system.count} × " if system.count > 1 else ""
        name = f"{model_name(self.scenario.model)} {self.scenario.deployment.quant or ''}".strip()
        users = f", {load.concurrency} users" if load.concurrency > 1 else ""
        return f"{name} on {cards}{device_name(system.device)}, {load.prompt_tokens:,} tokens in{users}"

    @property
    def moved(self) -> bool:
        """Whether anything changed."""
        return self.before != self.after

    @property
    def narrower(self) -> float:
        """How many times as narrow the range has become, in logarithms."""
        return math.log(self.before.times) / math.log(self.after.times)

    def shown(self) -> dict[str, str]:
        """A row for people."""
        name, unit = SHOWN[self.metric]
        return {"Scenario": self.what, "What": name, "Before": _range(self.before, unit), "After": _range(self.after, unit),
                "Range": f"×{self.before.times:.2f} → ×{self.after.times:.2f}"}  # fmt: skip


def _range(of: Range, unit: str) -> str:
    return f"{show(of.middle, unit)} ({show(of.low, unit)} to {show(of.high, unit)})"


def questions(records: Sequence[RunRecord], asked: Scenario | None = None) -> list[Scenario]:
    """What a person would ask next: `asked`, and for each model and quantisation of the runs a plain load of one user, none of which
    was itself measured."""
    found = [] if asked is None else [asked]
    for record in records:
        if record.memory_kind or record.failure:
            continue
        try:
            plain = read_run(record.model_dump()).scenario.with_(**_LOAD)
        except RoofcastError:
            continue
        alike = (plain.model, plain.system.device, plain.system.count, plain.runtime, plain.deployment.quant)
        if all(alike != (o.model, o.system.device, o.system.count, o.runtime, o.deployment.quant) for o in found):
            found.append(plain)
    return found[:MOST]


def effects(scenarios: Sequence[Scenario], before: Correction, after: Correction) -> list[Effect]:
    """Every shown metric of the scenarios before and after, in their order; what has no range on either side is left out."""
    sides = [answers(list(scenarios), correction, strict=False) for correction in (before, after)]
    found = []
    for scenario, old, new in zip(scenarios, *sides, strict=True):
        if not isinstance(old, Answer) or not isinstance(new, Answer):
            continue
        for metric in SHOWN:
            if metric in old.bands and metric in new.bands:
                found.append(Effect(scenario, metric, *(_of(side, metric) for side in (old, new))))
    return found


def _of(answer: Answer, metric: str) -> Range:
    low, high = answer.bands[metric]
    return Range(low, answer.metrics[metric], high)


def sentence(found: Sequence[Effect]) -> str:
    """What the runs did, in one sentence; "" where they did nothing."""
    told = [effect for effect in found if effect.moved]
    if not told:
        return ""
    best = max(told, key=lambda effect: effect.narrower)
    name, unit = SHOWN[best.metric]
    old, new = (f"{show(side.low, unit)} and {show(side.high, unit)}" for side in (best.before, best.after))
    was = f"{show(best.before.middle, unit)}, between {old}"
    return f"{best.what}: {name} is now {show(best.after.middle, unit)}, between {new} (before: {was})."
