"""What the solver answers: candidates with their numbers, why the others fell away, and how many there were."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from core.answer import Level
from core.goal import Goal, Side
from core.scenario import Scenario
from core.solve_machines import Machine

Fits = Literal["in_vram", "with_offload"]
TierName = Literal["minimum", "balanced", "headroom"]

# Gates in order of what they cost to ask: code → what it holds back, in words.
GATES = {
    "context": "context of the model",
    "memory": "memory",
    "quality": "quality floor",
    "ttft": "time to the first token",
    "tpot": "time per token",
    "latency": "time to the whole answer",
    "throughput": "tokens a second of all users",
    "load": "load that it can carry",
    "month": "budget a month",
    "purchase": "purchase budget",
    "power": "power",
}


@dataclass(frozen=True, slots=True)
class Candidate:
    """One way to run a model. `scenario` is one machine with its share of the load: `core.sweep.answer(scenario)` gives the
    same numbers. Metrics are those of one machine in base units (s, tok/s, bytes, W, J); the properties below add machines up."""

    scenario: Scenario
    machine: Machine
    machines: int
    tp: int
    pp: int
    dp: int
    ep: int
    quant: str
    kv_dtype: str
    fits: Fits
    metrics: Mapping[str, float]
    bands: Mapping[str, tuple[float, float]]
    support: Level
    usd_per_h: float  # of one machine, running
    times: Mapping[str, float]  # "ttft", "tpot", "latency" at the goal's percentile by the closed form, s
    load: float = float("nan")  # share of the capacity that random arrivals ask for
    quality: float | None = None  # loss against full precision, share; None: unknown
    tier: str = "unknown"  # of quality: negligible, acceptable, concerning, unacceptable, unknown

    @property
    def side(self) -> Side:
        return self.machine.side

    @property
    def devices_per_replica(self) -> int:
        """TP × PP: the devices that hold one copy of the model."""
        return self.tp * self.pp

    @property
    def replicas(self) -> int:
        """Copies of the model on all machines."""
        return self.dp * self.machines

    @property
    def devices(self) -> int:
        return self.scenario.system.count * self.machines

    @property
    def output_rate(self) -> float:
        """Tokens a second of all machines."""
        return self.metrics["output_rate"] * self.machines

    @property
    def power_w(self) -> float:
        return self.metrics["power"] * self.machines

    @property
    def usd_per_month(self) -> float:
        """Of all machines, running around the clock for 720 hours."""
        return self.usd_per_h * 720 * self.machines

    @property
    def purchase_usd(self) -> float | None:
        price = self.machine.purchase_usd
        return None if price is None else price * self.machines

    @property
    def usd_per_million(self) -> float:
        """For a million output tokens at this load."""
        return self.usd_per_h / 3600 / self.metrics["output_rate"] * 1e6

    def bound(self, metric: str, *, pessimistic: bool = True) -> float:
        """A metric of one machine at its bad end (slow, full) where there is a range and `pessimistic`, else its median.

        The whole answer takes no longer than a late first token and slow further ones: where that is less than the range of the
        latency itself, which few runs tell, it is the bad end, and that of the tokens a second.
        """
        if not pessimistic or metric not in self.bands:
            return self.metrics[metric]
        low, high = self.bands[metric]
        if metric in ("latency", "output_rate") and "latency" in self.bands:
            ttft, tpot = (self.bands.get(name, (0.0, self.metrics[name]))[1] for name in ("ttft", "tpot"))
            late = slowest(self.bands["latency"][1], ttft, tpot, self.scenario.workload.output_tokens)
            return late if metric == "latency" else float(np.maximum(low, self.metrics[metric] * self.metrics["latency"] / late))
        return high if metric in ("ttft", "tpot", "latency", "memory_peak") else low


def slowest(latency: Any, ttft: Any, tpot: Any, output: float) -> Any:
    """The bad end of the time of a whole answer: its own, or what the bad ends of its parts come to. Numbers or arrays."""
    return np.fmin(latency, ttft + tpot * (output - 1))


@dataclass(frozen=True, slots=True)
class Rejection:
    """What one gate turned away. `nearest`: the candidate that missed it by least and passed every gate before."""

    gate: str
    count: int
    nearest: Candidate | None
    sentence: str


@dataclass(frozen=True, slots=True)
class Funnel:
    """How many candidates there were, and where they went. `seconds` by stage."""

    machines: int
    enumerated: int
    illegal: int  # splits or combinations that cannot be
    pruned: int  # another is as good in every respect
    estimated: int  # analytically
    exact: int  # with the correction, as shown
    passed: int
    left: int = 0  # may pass, too, but are not looked at exactly: enough better ones pass
    seconds: Mapping[str, float] = field(default_factory=dict)

    @property
    def per_second(self) -> float:
        whole = sum(self.seconds.values())
        return self.enumerated / whole if whole else float("nan")


@dataclass(frozen=True, slots=True)
class Solved:
    """The answer to a goal. `ranked`: what passed, best first, one for each machine and model (of what is owned, every runtime and
    quantisation). `front`: those of them that no other beats in cost, throughput, latency and quality at once."""

    goal: Goal
    ranked: tuple[Candidate, ...]
    front: tuple[Candidate, ...]
    rejected: tuple[Rejection, ...]
    funnel: Funnel
    version: str | None

    @property
    def best(self) -> tuple[Candidate, ...]:
        return self.ranked[: self.goal.top]
