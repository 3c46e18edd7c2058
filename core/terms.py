"""Which term of a step's time explains a slice's error: the term is scaled alone, and the error that is left is read off."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from core.scores import TERMS, TIMES, Choice, Scores

NAMES = {
    "weights": "reading weights",
    "kv": "reading the KV cache",
    "activations": "moving activations",
    "compute": "arithmetic",
    "interconnect": "links between devices",
    "host": "the host's memory and link",
    "overhead": "fixed costs",
    "waiting": "waiting for other requests",
}
# A term may turn out up to 32 times smaller or larger; steps of 3 %.
_FACTORS = np.exp(np.linspace(-np.log(32), np.log(32), 236))


@dataclass(frozen=True, slots=True)
class Freed:
    """One term scaled by the factor that suits a slice best: median |ln(predicted / measured)| before and after."""

    term: str
    factor: float
    before: float
    after: float

    @property
    def removed(self) -> float:
        """The share of the error that goes with the term."""
        return 1 - self.after / self.before if self.before > 0 else 0.0


def free_terms(rows: pd.DataFrame, metric: str) -> list[Freed]:
    """Every term of a slice freed alone, the one that removes most first; empty where times do not make the metric.

    A time becomes p50 × (1 + s (m - 1)) for a term with share s of the step and factor m > 0; a rate is divided by it.
    The shares are those of the analytic step: the factor says where to look, it is not fitted and not shipped.
    """
    if metric in ("memory", "power") or rows.empty:
        return []
    shares = {term: np.nan_to_num(rows[f"share_{term}"].to_numpy(dtype=float)) for term in TERMS}
    found = [_freed(term, share, rows, metric) for term, share in shares.items() if share.any()]
    return sorted(found, key=lambda freed: freed.after)


def free_all(rows: pd.DataFrame, metric: str) -> Freed:
    """The whole step scaled by one factor: what a term must beat to be more than a plain bias."""
    return _freed("all", np.ones(len(rows)), rows, metric)


def _freed(term: str, share: np.ndarray, rows: pd.DataFrame, metric: str) -> Freed:
    log_ratio = np.log(rows["p50"].to_numpy() / rows["measured"].to_numpy())
    sign = 1.0 if metric in TIMES else -1.0
    before = float(np.median(np.abs(log_ratio)))
    left = np.median(np.abs(log_ratio + sign * np.log1p(share * (_FACTORS[:, None] - 1))), axis=1)
    best = int(np.argmin(left))
    return Freed(term, float(_FACTORS[best]), before, min(float(left[best]), before))


def explained_slices(scores: Scores, choice: Choice, n: int = 10, least: int = 20) -> list[dict[str, Any]]:
    """The worst slices, each with the term that explains most of it.

    Adds term, cause (words), factor, before, after (median |ln|), removed (share of the error that goes with the term)
    and removed_all (share that goes with one factor on everything): None where times do not make the metric.
    """
    lines = []
    for line in scores.worst_slices(choice, n, least):
        rows = scores.shares(slice_choice(choice, line), most=5000)
        freed = free_terms(rows, line["metric"])
        best = freed[0] if freed else None
        found = {key: getattr(best, key, None) for key in ("term", "factor", "before", "after", "removed")}
        every = free_all(rows, line["metric"]) if best else None
        lines.append({**line, **found, "removed_all": every.removed if every else None, "cause": cause(best, every)})
    return lines


def slice_choice(choice: Choice, line: dict[str, Any]) -> Choice:
    """The rows of one of the worst slices."""
    return choice.with_(**{key: [line[key]] for key in ("metric", "source", "runtime", "device_class")})


def cause(best: Freed | None, every: Freed | None) -> str:
    """What explains a slice, in words: the best term, unless one factor on everything removes more."""
    if best is None or every is None:
        return "not made of a step's time"
    if max(best.removed, every.removed) < 0.1:
        return f"nothing found (best: {NAMES[best.term]})"
    if every.removed > best.removed:
        return f"everything alike: {_times(every.factor)} what was estimated (best term: {NAMES[best.term]})"
    return f"{NAMES[best.term]}: {_times(best.factor)} what was estimated"


def _times(factor: float) -> str:
    return f"{factor:.2g} times" if factor >= 1 else f"1/{1 / factor:.2g} of"
