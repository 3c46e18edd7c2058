"""Whether p10–p90 holds 80 % of runs in group after group, and how much of the spread between groups is chance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

NOMINAL = 0.80
_BINS = 10
_LARGEST = 5000  # rows of a group from which on its coverage is no longer a matter of chance


def binomial(n: int, p: float) -> np.ndarray:
    """Probabilities of 0 … n successes of n."""
    log_factorial = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, n + 1)))])
    k = np.arange(n + 1)
    return np.exp(log_factorial[n] - log_factorial[k] - log_factorial[n - k] + k * np.log(p) + (n - k) * np.log1p(-p))


def histogram(groups: Sequence[Mapping[str, Any]], least: int = 5) -> list[dict[str, Any]]:
    """Groups of at least `least` rows by their coverage, in tenths, beside what chance gives: from, to (shares), groups, chance.

    By chance each row falls inside with probability 0.8 on its own: the count that a binomial of each group's size expects.
    Rows of a group share causes, so more spread than this is to be expected; how much more is what the chart shows.
    """
    counted, chance = np.zeros(_BINS), np.zeros(_BINS)
    expected: dict[int, np.ndarray] = {}
    for group in groups:
        n = int(group["n"])
        if n < least:
            continue
        counted[_bin(group["covered"] / n)] += 1
        size = min(n, _LARGEST)
        if size not in expected:
            places = np.minimum((np.arange(size + 1) * _BINS) // size, _BINS - 1)
            expected[size] = np.bincount(places, weights=binomial(size, NOMINAL), minlength=_BINS)
        chance += expected[size]
    return [{"from": i / _BINS, "to": (i + 1) / _BINS, "groups": int(counted[i]), "chance": float(chance[i])} for i in range(_BINS)]


def _bin(share: float) -> int:
    return min(int(share * _BINS + 1e-9), _BINS - 1)
