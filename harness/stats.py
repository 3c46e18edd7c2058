"""How repeats are judged: percentiles, spread, and whether a median is known well enough to stop."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

PERCENTILES = (50, 95, 99)


@dataclass(frozen=True, slots=True)
class Repeats:
    """How often: `least` times, up to `most` where the median is not known to ± `tight` (relative) before."""

    least: int = 10
    most: int = 30
    tight: float = 0.02

    def enough(self, *metrics: Sequence[float]) -> bool:
        """Whether no more repeats are needed: the most are done, or the least and every metric's median is tight."""
        done = max((len(samples) for samples in metrics), default=0)
        if done >= self.most:
            return True
        return done >= self.least and all(halfwidth(samples) <= self.tight for samples in metrics if len(samples) > 0)


def halfwidth(samples: Sequence[float]) -> float:
    """Half the 95 % interval of the median (by order statistics), relative to it; infinite below 6 samples."""
    ordered = np.sort(np.asarray(samples, dtype=float))
    n, middle = len(ordered), float(np.median(ordered)) if len(ordered) else 0.0
    below, tail = 0, 0.5**n
    while below < n // 2 and tail <= 0.025:  # P(fewer than `below` of n fall under the median)
        below += 1
        tail += math.comb(n, below) * 0.5**n
    if below == 0 or middle == 0:
        return math.inf
    return float(ordered[n - below] - ordered[below - 1]) / 2 / abs(middle)


def spread(samples: Sequence[float]) -> float:
    """Coefficient of variation; 0 for a single sample."""
    values = np.asarray(samples, dtype=float)
    mean = float(values.mean()) if len(values) else 0.0
    return float(values.std(ddof=1)) / abs(mean) if len(values) > 1 and mean else 0.0


def summary(name: str, samples: Sequence[float]) -> dict[str, float]:
    """Mean, median and tails as the columns `name`_mean, _p50, _p95, _p99; empty without samples."""
    if not len(samples):
        return {}
    values = np.asarray(samples, dtype=float)
    found = {f"{name}_mean": float(values.mean())}
    return found | {f"{name}_p{p}": float(np.percentile(values, p)) for p in PERCENTILES}
