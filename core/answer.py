"""The answer: what `estimate` returns. Plain records; every number is a `Quantity` that explains itself (or a float in array passes)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from core.ir import ModelIR
from core.quantity import Quantity, value
from core.scenario import Scenario

Level = Literal["seen", "near", "far"]
Feasibility = Literal["in_vram", "with_offload", "insufficient_memory"]

# What holds a phase back, in the order in which pages list them.
BOUNDS = {
    "weight_bandwidth": "memory bandwidth (weights)",
    "kv_bandwidth": "memory bandwidth (KV cache)",
    "activation_bandwidth": "memory bandwidth (activations)",
    "compute": "compute",
    "interconnect": "interconnect",
    "slowest_device": "waiting for the slowest device",
    "host_memory": "host memory (offloaded weights)",
    "pcie": "host link (streamed weights)",
    "overhead": "fixed costs (launches, scheduling, sampling)",
    "waiting": "waiting for other users",
}

LABEL = "analytic, uncorrected"


def label(version: str | None) -> str:
    """What an answer says of itself: the version of the correction behind it, or that there is none."""
    if version is None:
        return LABEL
    fleet, _, own = version.partition("+")
    return f"corrected by measurements, version {fleet}{' and your own runs' if own else ''}"


@dataclass(frozen=True, slots=True)
class Reason:
    """Why the answer is what it is: a code for programs and a sentence for people."""

    code: str  # e.g. "weights_exceed_device", "kv_exceeds_pool", "host_memory_short", "above_90_percent", "peak_unknown"
    text: str


@dataclass(frozen=True, slots=True)
class Part:
    """One line of a memory's bill, in bytes. `when`: held now, only at the transient peak, or reserved by the engine."""

    name: str  # "weights", "KV cache", "compute buffer", "device context", "CUDA graphs", …
    amount: Any  # Quantity in bytes
    when: Literal["now", "peak", "reserved"] = "now"


@dataclass(frozen=True, slots=True)
class Memory:
    """One kind of memory (the fullest device, or the host): its parts, what is taken, what is left. Bytes."""

    place: str  # "device" or "host"
    name: str  # "GeForce RTX 3090 (each of 2)"
    parts: tuple[Part, ...]
    limit: Any  # usable bytes
    needed: Any  # needed now for this load
    taken: Any  # what the engine will take (equals needed where it takes only what it needs)
    peak: Any  # needed plus transient peak
    headroom: Any  # limit - max(needed, peak); negative when short

    @property
    def fits(self) -> bool:
        return bool(value(self.headroom) >= 0)


@dataclass(frozen=True, slots=True)
class Op:
    """One group of operations in one step, on the slowest rank."""

    name: str  # "attention projections", "attention", "feed-forward", "experts", "output head", "all-reduce", "fixed costs" …
    block: str | None
    layers: float
    flop: Any
    bytes: Any
    sent: Any  # bytes sent to other devices
    compute: Any  # s, were compute the only limit
    memory: Any  # s, were memory the only limit
    time: Any  # s
    kind: str  # which memory bound applies when memory wins: "weight_bandwidth" or "kv_bandwidth"; else the bound itself
    on: str = ""  # the kind of device that it runs on, where they are not alike

    @property
    def bound(self) -> str:
        """The key of BOUNDS that limits this operation."""
        if self.kind in ("weight_bandwidth", "kv_bandwidth"):
            return "compute" if float(value(self.compute)) > float(value(self.memory)) else self.kind
        return self.kind


@dataclass(frozen=True, slots=True)
class Step:
    """One pass through the whole model: its operations and its time."""

    name: str  # "decode step", "prefill step", "mixed step"
    ops: tuple[Op, ...]
    time: Any
    stages: Any = None  # of unlike devices: how many stages as slow as the slowest the time is worth; None: as many as there are

    @property
    def computed(self) -> float:
        """Seconds of all operations: the time, but for the factor that a correction puts on the whole step."""
        return float(sum(float(value(op.time)) for op in self.ops))

    def shares(self) -> dict[str, float]:
        """Share of the step's time by what limits it; sums to 1. Empty where the time is unknown."""
        whole = self.computed
        if not whole > 0 or whole == float("inf"):
            return {}
        found: dict[str, float] = {}
        for op in self.ops:
            found[op.bound] = found.get(op.bound, 0.0) + float(value(op.time))
        return {key: found[key] / whole for key in BOUNDS if key in found}


@dataclass(frozen=True, slots=True)
class Phase:
    """One phase with what a user of the roofline plot needs."""

    step: Step
    intensity: Any  # FLOP per byte moved
    ridge: Any  # FLOP per byte at which the device passes to compute bound
    mfu: Any
    mbu: Any
    flop: Any
    bytes: Any


@dataclass(frozen=True, slots=True)
class Support:
    """How much of a scenario the measured runs know: "seen", "near" or "far", as a whole and by kind of thing."""

    level: Level
    by: Mapping[str, Level]  # "device", "model", "runtime", "quant", "load"


@dataclass(frozen=True, slots=True)
class Estimate:
    """Everything there is to say about one scenario. Metrics in base units (s, tok/s, bytes, W, J, USD); NaN means unknown."""

    scenario: Scenario  # as asked
    resolved: Mapping[str, Any]  # every knob as it was used, plain values (tp, gpu_layers, max_context, …)
    ir: ModelIR
    feasibility: Feasibility
    reasons: tuple[Reason, ...]
    warnings: tuple[Reason, ...]
    device: Memory
    host: Memory | None
    limits: Mapping[str, Any]  # "kv_tokens", "max_batch" (sequences of this context), "max_context" (this many users)
    # "ttft", "tpot", "latency" s; "prefill_rate", "decode_rate" tok/s of one sequence; "output_rate", "total_rate" tok/s of the
    # system; "batch" sequences decoding together; "memory_peak" bytes over all devices; "power" W; "energy_per_token" J
    metrics: Mapping[str, Any]
    prefill: Phase
    decode: Phase
    first_token_shares: Mapping[str, float]  # of TTFT, incl. waiting
    money: Mapping[str, Any]  # "usd_per_h" (USD/s inside), "usd_per_million", "usd_per_month"
    notes: tuple[str, ...] = field(default_factory=tuple)
    cards: tuple[Memory, ...] = ()  # of devices that are not alike each kind's; `device` is the tightest
    loading: Any = None  # s to copy the weights to the devices, where a link to the host was named
    # With a correction: metric → (p10, p90) in base units around the p50 that `metrics` holds; what the runs know; its version.
    bands: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    support: Support | None = None
    version: str | None = None
    own_runs: int = 0  # of the user's own runs on this machine that the times rest on

    @property
    def label(self) -> str:
        return label(self.version)

    @property
    def runs(self) -> bool:
        return self.feasibility != "insufficient_memory"

    def metric(self, name: str) -> float:
        """A metric as a plain number in its base unit."""
        return float(value(self.metrics[name]))

    def assumptions(self) -> list[Quantity]:
        """Every leaf of kind assumption below the shown numbers, each once by name and value."""
        found: dict[tuple[str, float], Quantity] = {}
        shown = [*self.metrics.values(), self.device.needed, self.device.taken, self.device.peak, *self.money.values()]
        for number in shown:
            if isinstance(number, Quantity):
                for leaf in number.leaves():
                    if leaf.kind in ("assumption", "user") or (leaf.source and leaf.source.guess):
                        found[(leaf.name, float(value(leaf)))] = leaf
        return list(found.values())
