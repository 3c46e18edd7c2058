"""What to trust of an answer: measured, interpolated or unmeasured, for speed, tail and memory.

The rules follow what the corpus holds, not what an estimate would like: no usable run has a 95th percentile of TTFT or
latency, none an open loop's latencies, and runs with weights in host memory are few.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from core.answer import Estimate, Memory
from core.errors import RunError
from core.evidence import ALIKE, NearRun
from core.quantity import Quantity
from core.scores import Choice, Scores, scores
from core.units import show

Word = Literal["measured", "interpolated", "unmeasured"]
SPEEDS = ("decode_rate", "tpot", "output_rate", "prefill_rate", "ttft")  # of which a run must have one to speak of speed
UNITS = {"decode_rate": "tok/s", "tpot": "s", "output_rate": "tok/s", "prefill_rate": "tok/s", "ttft": "s", "latency": "s",
         "total_rate": "tok/s", "memory_peak": "B", "power": "W"}  # fmt: skip
NAMES = {"decode_rate": "decode", "tpot": "TPOT", "output_rate": "output of all", "prefill_rate": "prefill", "ttft": "TTFT",
         "latency": "whole answer", "memory_peak": "memory", "power": "power"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Trusted:
    """One word and one sentence."""

    word: Word
    text: str


@dataclass(frozen=True, slots=True)
class Trust:
    """What to trust of one answer."""

    speed: Trusted
    tail: Trusted
    memory: Trusted


def what_to_trust(answer: Estimate, near: Sequence[NearRun]) -> Trust:
    """Judges an answer by its support and the measured runs nearest to it."""
    same = [run for run in near if run.same_configuration]
    own = [run for run in same if run.distance <= ALIKE]
    return Trust(_speed(answer, own, same), _tail(answer), _memory(answer, own))


def _speed(answer: Estimate, own: Sequence[NearRun], same: Sequence[NearRun]) -> Trusted:
    """`own`: runs of this configuration at nearly this load; `same`: at any load that is among the nearest."""
    if answer.scenario.workload.images:
        return Trusted("unmeasured", "No measured run read images: what the vision tower adds is computed from its FLOP and bytes alone.")
    if found := _spoken(own):
        return Trusted("measured", f"This very configuration was measured at nearly this load: {found}.")
    if answer.feasibility == "with_offload":
        return Trusted("unmeasured", "Runs with weights in host memory are too few: this speed is computed from a model of the runtime.")
    by = answer.support.by if answer.support else {}
    if answer.support and answer.support.level == "far":
        far = [name for name, level in by.items() if level == "far"]
        return Trusted("unmeasured", f"Far from every measured run ({', '.join(far)}): it rests on the physics alone.")
    if found := _spoken(same):
        return Trusted("interpolated", f"This configuration was measured, but at another load or with other software: {found}.")
    if not answer.support:
        text = "No run of this configuration, and no measured correction: computed from datasheets and a model of the runtime."
        return Trusted("unmeasured", text)
    if unseen := [name for name, level in by.items() if level != "seen"]:
        return Trusted("interpolated", f"Between measured runs: they hold relatives, not this very {' or '.join(unseen)}.")
    return Trusted("interpolated", "Between measured runs: each part was seen, this combination was not.")


def _spoken(runs: Sequence[NearRun]) -> str:
    """The first speed that one of some runs measured, with who measured it; empty where none did."""
    for run in runs:
        for metric in SPEEDS:
            if metric in run.measured:
                return f"{NAMES[metric]} {show(run.measured[metric], UNITS[metric])} ({run.source})"
    return ""


def _tail(answer: Estimate) -> Trusted:
    if answer.scenario.workload.arrival == "open":
        text = "No usable run measured waiting or latency under an open load: queue and tail are computed from a model of the runtime."
    else:
        text = "No usable run measured 95th percentiles of TTFT or latency: tails are computed from a model of the runtime."
    return Trusted("unmeasured", text)


def _memory(answer: Estimate, own: Sequence[NearRun]) -> Trusted:
    for run in own:
        if "memory_peak" in run.measured:
            return Trusted(
                "measured", f"A run of this very configuration peaked at {show(run.measured['memory_peak'], 'B')} ({run.source})."
            )
    if answer.feasibility == "with_offload":
        text = "Weights and KV cache are counted exactly; what goes to host memory is computed from a model of the runtime."
        return Trusted("unmeasured", text)
    if _fitted(answer.device):
        text = "Weights and KV cache are counted exactly; buffers were fitted to measured peaks of this runtime."
        return Trusted("interpolated", text)
    return Trusted("unmeasured", "Weights and KV cache are counted exactly; nobody's measured peaks stand behind the buffers.")


# Metric of an estimate → its name among the scores.
SCORED = {"decode_rate": "decode", "prefill_rate": "prefill", "ttft": "TTFT", "tpot": "TPOT", "latency": "latency",
          "output_rate": "output rate", "total_rate": "total rate"}  # fmt: skip
_UNSEEN = ("model", "device")  # the splits that a reader means by "never seen"


def held(answer: Estimate, metric: str) -> str:
    """How often ranges of this metric held runs that the fit had not seen, in sentences; empty without a range.

    Without scores, or with broken ones, only what the range is meant to hold.
    """
    if metric not in answer.bands:
        return ""
    meant = "The range is meant to hold 8 of 10 runs."
    try:
        shares = _covered(scores())
    except RunError:
        return meant
    keys = [(split, SCORED.get(metric, "")) for split in _UNSEEN]
    told = [f"{shares[key]:.0%} on {key[0]}s" for key in keys if key in shares]
    return f"{meant} Tested with runs that the fit never saw, it held {' and '.join(told)} new to it." if told else meant


@functools.lru_cache(maxsize=4)
def _covered(found: Scores) -> Mapping[tuple[str, str], float]:
    """Share of runs inside p10–p90 by split and metric, each held-out group weighing 1. Raises RunError."""
    return {
        (split, line["slice"]): line["each_covered"]
        for split in _UNSEEN
        for line in found.summary(Choice(split), by="metric")
        if line["each_covered"] is not None
    }


def _fitted(memory: Memory) -> bool:
    """Whether a part of the peak rests on measured peaks."""
    return isinstance(memory.peak, Quantity) and any(leaf.kind in ("fitted", "measured") for leaf in memory.peak.leaves())
