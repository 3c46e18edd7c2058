"""How much the runs behind a fit know of a scenario: which kinds they have seen, alone and together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from core.answer import Level, Support
from core.features import Traits

# Kinds of things seen together, from the particular to the general. What is counted is distinct scenarios.
TOGETHER: dict[str, Callable[[Traits], str]] = {
    "setup, model and year": lambda t: f"{_setup(t)}|{t.geometry}|{t.year}",
    "setup and model": lambda t: f"{_setup(t)}|{t.geometry}",
    "setup, weights and year": lambda t: f"{_setup(t)}|{t.kernel_class}|{t.year}",
    "setup, cards and year": lambda t: f"{_setup(t)}|{t.count}|{t.year}",
    "engine, model and weights": lambda t: f"{_engine(t)}|{t.geometry}|{t.quant}",
    "setup": lambda t: _setup(t),
    "engine and architecture": lambda t: f"{_engine(t)}|{t.architecture}",
    "engine and family": lambda t: f"{_engine(t)}|{t.family}",
    "engine and year": lambda t: f"{_engine(t)}|{t.year}",
    "engine": lambda t: _engine(t),
    "device": lambda t: t.device,
    "architecture": lambda t: t.architecture,
    "model": lambda t: t.geometry,
    "kind of model": lambda t: t.attention,
    "origin of engine": lambda t: f"{t.engine}|{t.backend}",
    "weights": lambda t: f"{t.engine}|{t.quant}",
    "kind of weights": lambda t: f"{t.engine}|{t.kernel_class}",
}
# From close to far: the first of these that was seen is how near the evidence is.
NEARNESS = ("setup, weights and year", "setup", "engine and architecture", "engine and family", "engine")
_LOADS = ("users", "prompt", "depth")  # as features name them: natural logarithms
_BEYOND = float(np.log(2.0))  # a load up to twice what was seen is near


def _engine(t: Traits) -> str:
    return f"{t.runtime}|{t.backend}"


def _setup(t: Traits) -> str:
    return f"{t.device}|{_engine(t)}"


@dataclass(frozen=True, slots=True)
class Known:
    """What the runs of a fit have seen: by kinds together their counts, and the largest load by audience."""

    counts: Mapping[str, Mapping[str, int]]
    loads: Mapping[str, Mapping[str, float]]

    @classmethod
    def of(cls, traits: Sequence[Traits], numbers: Mapping[str, np.ndarray]) -> Known:
        counts = {name: dict(sorted(Counter(of(t) for t in traits).items())) for name, of in TOGETHER.items()}
        audience = np.array([t.audience for t in traits])
        loads = {
            kind: {load: round(float(np.max(numbers[load][audience == kind])), 4) for load in _LOADS}
            for kind in sorted(set(audience.tolist()))
        }
        return cls(counts, loads)

    def evidence(self, traits: Sequence[Traits]) -> np.ndarray:
        """ln(1 + scenarios seen) by kinds together, shape (scenarios, len(TOGETHER))."""
        return np.log1p(np.array([[self.counts[name].get(of(t), 0) for name, of in TOGETHER.items()] for t in traits], dtype=float))

    def nearness(self, traits: Sequence[Traits]) -> np.ndarray:
        """How near the evidence is: 0 for the same setup, weights and year, up to len(NEARNESS) for an engine never seen."""
        seen = np.array([[TOGETHER[name](t) in self.counts[name] for name in NEARNESS] for t in traits], dtype=bool)
        return np.where(seen.any(axis=1), seen.argmax(axis=1), len(NEARNESS))

    def support(self, t: Traits, numbers: Mapping[str, Any]) -> Support:
        """The support of one scenario; `numbers` are its features."""

        def level(*names: str) -> Level:
            for name, answer in zip(names, ("seen", "near"), strict=False):
                if TOGETHER[name](t) in self.counts[name]:
                    return answer  # type: ignore[return-value]
            return "far"

        known = self.loads.get(t.audience, {})
        beyond = max((float(numbers[load]) - known.get(load, -np.inf) for load in _LOADS), default=np.inf)
        by: dict[str, Level] = {
            "device": level("device", "architecture"),
            "model": level("model", "kind of model"),
            "runtime": level("engine", "origin of engine"),
            "quant": level("weights", "kind of weights"),
            "load": "seen" if beyond <= 1e-9 else "near" if beyond <= _BEYOND else "far",
        }
        levels = set(by.values())
        whole: Level = "far" if "far" in levels else "near" if "near" in levels else "seen"
        if whole == "seen" and TOGETHER["setup"](t) not in self.counts["setup"]:
            whole = "near"  # each was seen, but never this device with this engine
        return Support(whole, by)
