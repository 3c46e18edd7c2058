"""How alike the errors of two runs on one machine are: a sum of components over what the runs share.

What physics and fleet leave over on a machine (log of how much slower it is) is taken as a Gaussian process over scenarios, one for
each step: decode, prefill, what is left of the first token, and one that both steps share. A component is 1 where two runs share an
engine, a model, a configuration …, or falls with the distance of their loads; `core.calibrate_prior` estimates its variance.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from core.features import RIVALS, TERMS, Table, Traits

STEPS = ("decode", "prefill", "first")
# Shares of a step's analytic time: where a machine is slow in one of them, its error follows that share.
SHARES = {
    "weights": ("weights",), "experts": ("experts",), "cache": ("kv", "decode_attention", "recurrent", "recurrent_memory", "attention"),
    "compute": ("compute", "experts_compute"), "overhead": ("layer", "step"), "network": ("network",), "rest": ("activations", "host"),
}  # fmt: skip
_OF_PREFILL = ("cache", "compute", "overhead")

_OPTIONS = ("flash", "micro_batch", "token_budget", "tensor")
# What two runs may share, by the kinds of things that they are.
KINDS: dict[str, Callable[[Traits, Mapping[str, float]], tuple[Any, ...]]] = {
    "count": lambda t, n: (t.count,),
    "engine": lambda t, n: _engine(t),
    "options": lambda t, n: (*_engine(t), t.flavour, t.year, *(round(n[name], 3) for name in _OPTIONS)),
    "kernel": lambda t, n: (t.runtime, t.kernel_class),
    "quant": lambda t, n: (*_engine(t), t.quant),
    "attention": lambda t, n: (t.attention,),
    "model": lambda t, n: (t.geometry,),
    "configuration": lambda t, n: (*_engine(t), t.flavour, t.quant, t.geometry, t.count, *(round(n[name], 3) for name in _OPTIONS)),
}
_LOAD = {"batch": 1.0, "prompt": 1.0, "depth": 3.0}  # logarithms, and what counts as one step apart
# Components: name → (kind that must be shared, "" for none; what the likeness falls with; over how many steps apart it falls to 1/e).
COMPONENTS: dict[str, tuple[str, str, float]] = {
    "machine": ("", "", 1),
    **{kind: (kind, "", 1) for kind in KINDS},
    "load": ("", "load", 4),
    "near load": ("", "load", 1),
    "engine at load": ("engine", "load", 2),
    "configuration at load": ("configuration", "load", 2),
    "batch": ("", "batch", 2),
    "size": ("engine", "active", 1),
    "run": ("run", "", 1),
}
_SHARED_BY_BOTH = ("machine", "engine", "options", "quant", "model", "configuration", "configuration at load", "size", "run")
_OF_FIRST = ("machine", "engine", "model", "load", "engine at load", "run")


def _engine(t: Traits) -> tuple[str, str]:
    return t.runtime, t.backend


_CODES: dict[Any, int] = {}


def _code(kind: Any) -> int:
    """A number for a kind, the same throughout the process."""
    return _CODES.setdefault(kind, len(_CODES))


@dataclass(frozen=True, slots=True)
class Points:
    """Scenarios, or lines of runs, as the components see them; arrays along them. `on[step]`: how much of a relative change of the
    step shows in the line. `run`: which run a line is of, -1 for a question."""

    kinds: Mapping[str, np.ndarray]
    numbers: Mapping[str, np.ndarray]
    shares: Mapping[str, np.ndarray]  # "decode weights" …
    on: Mapping[str, np.ndarray]
    run: np.ndarray

    def __len__(self) -> int:
        return len(self.run)

    def take(self, at: np.ndarray) -> Points:
        def some(columns: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
            return {name: column[at] for name, column in columns.items()}

        return Points(some(self.kinds), some(self.numbers), some(self.shares), some(self.on), self.run[at])

    def asking(self, **on: float) -> Points:
        """The same scenarios as questions of what hangs on the steps so much; no run of their own."""
        ones = np.ones(len(self))
        return Points(self.kinds, self.numbers, self.shares, {step: ones * on.get(step, 0.0) for step in STEPS}, -ones.astype(int))

    def questions(self) -> Points:
        """The same lines as ones that nobody measured: no run of their own."""
        return Points(self.kinds, self.numbers, self.shares, self.on, np.full(len(self), -1))


def points_of(table: Table, rows: np.ndarray | None = None) -> Points:
    """The scenarios at some rows of a table (None: all), as questions."""
    at = np.arange(len(table.traits)) if rows is None else np.asarray(rows)
    names = {*_OPTIONS, *_LOAD, "active"}
    numbers = {name: np.asarray(table.numbers[name], dtype=float)[at] for name in names}
    plain = [{name: float(table.numbers[name][n]) for name in _OPTIONS} for n in at]
    kinds = {
        name: np.array([_code((name, *of(table.traits[n], p))) for n, p in zip(at, plain, strict=True)], dtype=np.int64)
        for name, of in KINDS.items()
    }
    shares = {f"decode {name}": share for name, share in _shares(table.decode, at).items()}
    shares |= {f"prefill {name}": share for name, share in _shares(table.prefill, at).items() if name in _OF_PREFILL}
    zero = np.zeros(len(at))
    return Points(kinds, numbers, shares, dict.fromkeys(STEPS, zero), np.full(len(at), -1))


def _shares(terms: Mapping[str, np.ndarray], at: np.ndarray) -> dict[str, np.ndarray]:
    held: dict[str, np.ndarray] = {term: np.nan_to_num(np.asarray(terms[term], dtype=float)[at], posinf=0.0) for term in TERMS}
    for one, other in RIVALS:
        first = held[one] >= held[other]
        held[one], held[other] = np.where(first, held[one], 0.0), np.where(first, 0.0, held[other])
    whole = sum(held.values(), np.zeros(len(at)))
    with np.errstate(all="ignore"):
        return {name: np.nan_to_num(sum((held[term] for term in of), np.zeros(len(at))) / whole) for name, of in SHARES.items()}


def names() -> tuple[str, ...]:
    """Every component, as `components` gives them."""
    both = [f"both {name}" for name in _SHARED_BY_BOTH]
    first = [f"first {name}" for name in _OF_FIRST]
    each = [f"{step} {name}" for step in ("decode", "prefill") for name in COMPONENTS]
    shares = [f"decode {name} share{of}" for name in SHARES for of in ("", " of engine")]
    return (*each, *both, *first, *shares, *(f"prefill {name} share" for name in _OF_PREFILL))


def components(a: Points, b: Points, wanted: Mapping[str, float] | None = None) -> Iterator[tuple[str, np.ndarray]]:
    """Each component between two sets of points, shape (a, b); only those of `wanted`, where given."""
    made: dict[str, np.ndarray] = {}

    def base(name: str) -> np.ndarray:
        if name not in made:
            made[name] = _base(a, b, *COMPONENTS[name])
        return made[name]

    on = {step: (a.on[step], b.on[step]) for step in STEPS}
    on["both"] = (a.on["decode"] + a.on["prefill"], b.on["decode"] + b.on["prefill"])
    outer = {step: np.outer(*pair) for step, pair in on.items()}
    for name in names() if wanted is None else wanted:
        step, what = name.split(" ", 1)
        if " share" in what:
            term, _, of = what.partition(" share")
            both = np.outer(a.shares[f"{step} {term}"] * a.on[step], b.shares[f"{step} {term}"] * b.on[step])
            yield name, both * base("engine") if of else both
        else:
            yield name, outer[step] * base(what)


def _base(a: Points, b: Points, kind: str, falls: str, over: float) -> np.ndarray:
    found = np.ones((len(a), len(b)))
    if kind == "run":
        found = (a.run[:, None] == b.run[None, :]) & (a.run[:, None] >= 0)
    elif kind:
        found = a.kinds[kind][:, None] == b.kinds[kind][None, :]
    if falls:
        scales = _LOAD if falls == "load" else {falls: 1.0}
        apart = sum(np.abs(a.numbers[n][:, None] - b.numbers[n][None, :]) / scale for n, scale in scales.items())
        found = found * np.exp(-apart / over)
    return np.asarray(found, dtype=float)


def covariance(a: Points, b: Points, variances: Mapping[str, float]) -> np.ndarray:
    """Of the errors of two sets of points, shape (a, b)."""
    found = np.zeros((len(a), len(b)))
    for name, matrix in components(a, b, variances):
        found += variances[name] * matrix
    return found


def own_variance(a: Points, variances: Mapping[str, float], of_run: bool = False) -> np.ndarray:
    """Each point's own variance; a run's own part only where asked."""
    found = np.zeros(len(a))
    both = a.on["decode"] + a.on["prefill"]
    for name, variance in variances.items():
        step, what = name.split(" ", 1)
        on = both if step == "both" else a.on[step]
        if " share" in what:
            on = on * a.shares[f"{step} {what.partition(' share')[0]}"]
        if what != "run" or of_run:
            found += variance * on**2
    return found


def stacked(parts: Sequence[Points]) -> Points:
    """Points end to end."""

    def joined(of: str) -> dict[str, np.ndarray]:
        return {name: np.concatenate([getattr(part, of)[name] for part in parts]) for name in getattr(parts[0], of)}

    return Points(joined("kinds"), joined("numbers"), joined("shares"), joined("on"), np.concatenate([part.run for part in parts]))
