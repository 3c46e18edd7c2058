"""Few, shrunken constants: how much longer each term of a step takes than assumed, by kinds of runtime, device and weights.

A term's scale is exp of a sum over levels (the engine, its runtime, the device's family …), each shrunk toward nothing, so an
unknown kind falls back to its parents. Scales act on the efficiencies and fixed costs of the columns, bounded by what is physical.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from core.catalog.files import source
from core.features import TERMS, Traits
from core.machine import Bus, Columns
from core.quantity import Quantity, value

# What kinds a scenario belongs to, from the general to the particular.
LEVELS: dict[str, Callable[[Traits], str]] = {
    "audience": lambda t: t.audience,
    "maker": lambda t: f"{_side(t)} {t.vendor} {t.backend}",
    "engine": lambda t: f"{t.engine} {t.backend}",
    "runtime": lambda t: f"{t.runtime} {t.backend}",
    "family": lambda t: f"{_side(t)} {t.backend} {t.family}",
    "architecture": lambda t: f"{_side(t)} {t.backend} {t.architecture}",
    "kernel": lambda t: f"{t.engine} {t.backend} {t.kernel_class}",
    "quant": lambda t: f"{t.engine} {t.quant}",
    "attention": lambda t: f"{t.engine} {t.backend} {t.attention}",
    "graphs": lambda t: f"{t.engine} {t.graphs}",
    "flavour": lambda t: f"{t.engine} {t.backend} {t.flavour}",
    "year": lambda t: f"{t.runtime} {t.backend} {t.year}",
    "device": lambda t: f"{t.engine} {t.backend} {t.device}",
}
# How far a level may move a term: the standard deviation of its prior, in log time.
SPREAD = {"audience": 0.2, "maker": 0.15, "engine": 0.35, "runtime": 0.2, "family": 0.2, "architecture": 0.2, "kernel": 0.15,
          "quant": 0.1, "attention": 0.15, "graphs": 0.15, "flavour": 0.2, "year": 0.3, "device": 0.16}  # fmt: skip
# Terms that hide behind others where they matter, so that the runs tell little of them: their priors are tighter by this factor.
TIGHTER = {"activations": 0.4, "recurrent": 0.5, "recurrent_memory": 0.5, "decode_attention": 0.5}
# Levels that act per year of the software's age: its year is a prior with spread, since it is confounded with the source.
PER_YEAR = ("audience", "maker")

_ALL = tuple(LEVELS)
_NO_ATTENTION = tuple(level for level in _ALL if level != "attention")
_CACHE = ("audience", "maker", "engine", "runtime", "family", "architecture", "attention", "flavour", "year")
TERM_LEVELS: dict[str, tuple[str, ...]] = {
    "weights": _ALL,
    "compute": _ALL,
    "experts": _NO_ATTENTION,
    "experts_compute": _NO_ATTENTION,
    "kv": _CACHE,
    "attention": ("maker", "engine", "runtime", "family", "architecture", "attention", "flavour"),
    "decode_attention": ("engine", "family", "attention"),
    "recurrent": ("engine", "family", "architecture"),
    "recurrent_memory": ("engine", "family"),
    "activations": ("engine", "family"),
    "network": ("audience", "engine", "family", "year"),
    "layer": ("audience", "maker", "engine", "runtime", "family", "architecture", "attention", "graphs", "flavour", "year"),
    "step": ("audience", "engine", "runtime", "graphs", "year"),
}
FURTHEST = 3.0  # log scale beyond which no sum of levels goes


def _side(t: Traits) -> str:
    """Servers share what they reach on a device; local engines have their own kernels."""
    return t.audience if t.audience == "server" else t.engine


def keys(traits: Sequence[Traits]) -> dict[str, list[str]]:
    """For each level the kind that each scenario belongs to."""
    return {level: [of(t) for t in traits] for level, of in LEVELS.items()}


def ages(traits: Sequence[Traits]) -> np.ndarray:
    """Years of each scenario's software before the reference."""
    return np.array([t.age for t in traits], dtype=float)


@dataclass(frozen=True, slots=True)
class Constants:
    """Fitted effects in log time: term → level → kind → effect. `counts`: runs behind each kind, by level."""

    effects: Mapping[str, Mapping[str, Mapping[str, float]]] = field(default_factory=dict)
    counts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    def scales(self, traits: Sequence[Traits]) -> dict[str, np.ndarray]:
        """Factor on each term's time for each scenario, arrays along `traits`."""
        kinds, age = keys(traits), ages(traits)
        found = {}
        for term in TERMS:
            log = np.zeros(len(traits))
            for level, effects in sorted(self.effects.get(term, {}).items()):  # sums to the same bit however they were read
                effect = np.array([effects.get(kind, 0.0) for kind in kinds[level]])
                log += effect * age if level in PER_YEAR else effect
            found[term] = np.exp(np.clip(log, -FURTHEST, FURTHEST))
        return found


# Which columns a term's scale divides (efficiencies) or multiplies (fixed costs).
EFFICIENCIES = {
    "weights": "weights_efficiency",
    "experts": "experts_efficiency",
    "kv": "kv_efficiency",
    "compute": "compute_efficiency",
    "experts_compute": "experts_compute_efficiency",
    "decode_attention": "decode_attention_efficiency",
    "attention": "attention_efficiency",
    "recurrent": "state_compute_efficiency",
    "recurrent_memory": "state_efficiency",
    "activations": "activation_efficiency",
}
_OF_BANDWIDTH = ("weights", "experts", "kv", "recurrent_memory", "activations")


def refit(c: Columns, scale: Mapping[str, Any], version: str) -> Columns:
    """The columns with fitted efficiencies and fixed costs in place of assumed ones; floats, arrays or cited leaves as they were."""
    cards = tuple(Columns(**{**vars(card), "gpu": _refit_place(card.gpu, scale, version)}) for card in c.cards)
    found = Columns(**{**vars(c), "gpu": _refit_place(c.gpu, scale, version), "cards": cards})
    for name in ("step_overhead", "sequence_overhead"):
        setattr(found, name, _fitted(getattr(c, name), value(getattr(c, name)) * scale["step"], version))
    slower = scale["network"]
    found.buses = {
        ranks: Bus(
            _fitted(bus.bandwidth, value(bus.bandwidth) / slower, version),
            _fitted(bus.latency, value(bus.latency) * slower, version),
            bus.half,
            bus.exponent,
        )
        for ranks, bus in c.buses.items()
    }
    return found


def _refit_place(place: Columns, scale: Mapping[str, Any], version: str) -> Columns:
    """One kind of device with fitted efficiencies and fixed costs of its layers."""
    found = Columns(**vars(place))
    for term, name in EFFICIENCIES.items():
        assumed = getattr(found, name)
        top = np.maximum(found.bandwidth_ceiling if term in _OF_BANDWIDTH else found.peak_ceiling, value(assumed))
        setattr(found, name, _fitted(assumed, np.minimum(value(assumed) / scale[term], top), version))
    for name in ("layer_overhead", "moe_layer_overhead"):
        setattr(found, name, _fitted(getattr(found, name), value(getattr(found, name)) * scale["layer"], version))
    return found


def _fitted(assumed: Any, amount: Any, version: str) -> Any:
    """The fitted number, as a leaf that names what it replaces where that was one."""
    if not isinstance(assumed, Quantity):
        return amount
    note = f"fitted to measured runs ({version}); assumed before: {assumed.value:.4g} {assumed.unit}".rstrip()
    cited = source("corpus-fit", note=note)
    return replace(assumed, value=float(amount), kind="fitted", source=replace(cited, default=float(assumed.value)))
