"""How far from an estimate a run may lie: intervals learned from runs that the fit had not seen, by how much was known of each.

A forest keeps the log residuals of left-out runs by features of doubt (how often each kind of thing was seen, how wide the
correction's own forests spread); one factor a class of metric makes the intervals hold what they claim.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from core.forests import Forest, fit_forest

# Metrics whose errors behave alike share their intervals.
BAND_OF = {
    "decode_rate": "decode", "prefill_rate": "prefill", "ttft": "first token", "tpot": "decode", "latency": "served",
    "output_rate": "served", "total_rate": "served",
}  # fmt: skip
KINDS = tuple(sorted(set(BAND_OF.values())))
SHARE = 0.8  # of runs between p10 and p90
LEAST = 0.02  # log width that no side goes below: no estimate is that sure
FARTHEST = 4.0  # log width that no side exceeds
DRAWN = 6000  # residuals drawn from a split, each of its groups alike
TREES, LEAF = 60, 120


@dataclass(frozen=True, slots=True)
class Bands:
    """By class of metric: a forest of log residuals (slower above 0), and the factors on its widths: where the device was seen with
    the engine, and where it was not."""

    forests: Mapping[str, Forest]
    factors: Mapping[str, Sequence[float]]

    def widths(self, metric: str, doubt: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Log widths toward faster (below 0) and slower of an estimate's metric; `doubt`: shape (scenarios, features)."""
        return self.widths_of(BAND_OF[metric], doubt)

    def widths_of(self, kind: str, doubt: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """As `widths`, by class of metric."""
        ends = self.forests[kind].quantiles(doubt, ((1 - SHARE) / 2, (1 + SHARE) / 2))
        ends *= np.asarray(self.factors[kind])[_strange(doubt)][:, None]
        return np.clip(ends[:, 0], -FARTHEST, -LEAST), np.clip(ends[:, 1], LEAST, FARTHEST)


@dataclass(frozen=True, slots=True)
class Residuals:
    """Left-out runs of one class of metric, arrays along them. `off`: log residual; `doubt`: shape (runs, features); `split`,
    `group`: what was left out; `block`: runs that are kept apart when intervals are judged."""

    off: np.ndarray
    doubt: np.ndarray
    split: np.ndarray
    group: np.ndarray
    block: np.ndarray

    def where(self, kept: np.ndarray) -> Residuals:
        return Residuals(self.off[kept], self.doubt[kept], self.split[kept], self.group[kept], self.block[kept])

    def weights(self) -> np.ndarray:
        """Each group of a split weighs 1, each split alike."""
        _, each = np.unique(np.char.add(np.char.add(self.split.astype(str), "|"), self.group.astype(str)), return_inverse=True)
        weight = 1.0 / np.bincount(each)[each]
        _, split = np.unique(self.split, return_inverse=True)
        return np.asarray(weight / np.bincount(split, weight)[split])


def fit_bands(residuals: Mapping[str, Residuals]) -> Bands:
    """Intervals from left-out runs; the factor is chosen on runs whose block the forest had not seen. Deterministic."""
    forests, factors = {}, {}
    for kind, found in residuals.items():
        drawn = _draw(found)
        forests[kind] = _grow(drawn)
        low, high = np.zeros(len(drawn.off)), np.zeros(len(drawn.off))
        for block in np.unique(drawn.block):
            ours = drawn.block == block
            low[ours], high[ours] = Bands({kind: _grow(drawn.where(~ours))}, {kind: (1.0, 1.0)}).widths_of(kind, drawn.doubt[ours])
        strange = _strange(drawn.doubt)
        factors[kind] = [_factor(drawn.off[at], low[at], high[at]) for at in (strange == 0, strange == 1)]
    return Bands(forests, factors)


def _strange(doubt: np.ndarray) -> np.ndarray:
    """1 where the device was never seen with the engine, else 0: the first feature of doubt."""
    return (doubt[:, 0] > 0.5).astype(int)


def _draw(found: Residuals) -> Residuals:
    """As many runs of each split, and of each of its groups, so that all further steps may weigh them alike."""
    rng, weight = np.random.default_rng(0), found.weights()
    splits = [np.flatnonzero(found.split == split) for split in np.unique(found.split)]
    return found.where(np.concatenate([rng.choice(ours, DRAWN, p=weight[ours] / weight[ours].sum()) for ours in splits]))


def _grow(drawn: Residuals) -> Forest:
    return fit_forest(drawn.doubt, drawn.off, np.ones(len(drawn.off)), trees=TREES, leaf=LEAF)


def _factor(off: np.ndarray, low: np.ndarray, high: np.ndarray) -> float:
    """The factor on widths at which the share of runs inside is SHARE."""
    if len(off) < 100:
        return 1.0
    needed = np.where(off < 0, off / low, off / high)  # the least factor that holds a run
    return round(float(np.quantile(needed, SHARE)), 4)


def trust_for(off: np.ndarray, word: np.ndarray, near: np.ndarray, weight: np.ndarray, levels: int, shares: Sequence[float]) -> list[float]:
    """The share of a forest's word that lessens the mean log error most, by nearness, never rising as evidence gets farther;
    none where no runs tell.

    `off`: log residual of the constants; `word`: what the forest would take off it.
    """
    found, last = [], 1.0
    for level in range(levels):
        ours = (near == level) & np.isfinite(off) & np.isfinite(word)
        errors = [np.sum(weight[ours] * np.abs(off[ours] - share * word[ours])) for share in shares]
        last = min(last, float(shares[int(np.argmin(errors))])) if ours.sum() >= 50 else 0.0
        found.append(round(last, 2))
    return found
