"""How far apart two of our estimates must lie for their order to be trusted: what pairs of measured runs show that differ in the same.

Two estimates share much of their error (the same card, the same person who measured), so their order is mostly surer than their ranges
say. Every pair is of one source, predicted by a fit that had not seen that source; each source weighs alike.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from core.errors import RunError
from core.scores import Scores, scores
from core.trust import SCORED

KINDS = ("model", "device", "count", "runtime", "quant", "length", "users")  # what a score file tells runs apart by
SHARE = 0.8  # of pairs whose ratio is off by less
RIGHT = 0.9  # of pairs further apart that must be in the right order
FEWEST = 0.05  # share of the pairs that must lie so far apart
LEAST_PAIRS, LEAST_SOURCES = 60, 2  # fewer tell nothing
# 1.9 times the median parting of errors that core.distance states for what score files do not tell; guesses, for pairs are few.
GUESSED = {"options": 0.15, "cache": 0.1, "offload": 0.57}
# Costs and energy go with the output of all users: what they are divided by is known.
LIKE = {"usd_per_million": "output_rate", "energy_per_token": "output_rate"}

_PAIRS = """
WITH told AS (
  SELECT
    "row" AS place, source, log_ratio, p50, measured, geometry, device, device_count, runtime || backend AS engine, quant,
    concat_ws('|', prompt_tokens, output_tokens, context_depth) AS length, concat_ws('|', arrival, concurrency) AS users,
    concat_ws(
      '|',
      CASE WHEN $model THEN '' ELSE geometry END,
      CASE WHEN $device THEN '' ELSE device END,
      CASE WHEN $count THEN 0 ELSE device_count END,
      CASE WHEN $runtime THEN '' ELSE engine END,
      CASE WHEN $quant THEN '' ELSE quant END,
      CASE WHEN $length THEN '' ELSE length END,
      CASE WHEN $users THEN '' ELSE users END
    ) AS same
  FROM judged
  WHERE split = 'source' AND metric = $metric AND fitted
)
SELECT
  a.source,
  abs(a.log_ratio - b.log_ratio) AS parted,
  abs(ln(a.p50 / b.p50)) AS apart,
  sign(ln(a.p50 / b.p50)) = sign(ln(a.measured / b.measured)) AS ordered
FROM told a JOIN told b ON a.source = b.source AND a.same = b.same AND a.place < b.place
WHERE (NOT $model OR a.geometry <> b.geometry)
  AND (NOT $device OR a.device <> b.device)
  AND (NOT $count OR a.device_count <> b.device_count)
  AND (NOT $runtime OR a.engine <> b.engine)
  AND (NOT $quant OR a.quant <> b.quant)
  AND (NOT $length OR a.length <> b.length)
  AND (NOT $users OR a.users <> b.users)
"""


@dataclass(frozen=True, slots=True)
class Paired:
    """`spread`: |ln ratio| beyond which two estimates' order is trusted: 8 of 10 ratios are off by less, and 9 of 10 pairs further apart
    were in the right order; infinite where no distance is enough. `pairs`, `sources`: how many show it, 0 where it was put together.
    """

    spread: float
    pairs: int
    sources: int

    @property
    def factor(self) -> float:
        return math.exp(self.spread)


def paired(metric: str, kinds: Collection[str]) -> Paired | None:
    """How far apart two estimates of a metric must lie that differ in these kinds of things (KINDS and GUESSED).

    Where too few pairs differ in just these, what single kinds show is added as independent errors are. None where nothing tells.
    """
    asked = tuple(sorted(kinds))
    try:
        return _paired(scores(), SCORED.get(LIKE.get(metric, metric), ""), asked) if asked else Paired(0.0, 0, 0)
    except RunError:
        return None


@functools.lru_cache(maxsize=1024)
def _paired(found: Scores, metric: str, kinds: tuple[str, ...]) -> Paired | None:
    whole = _seen(found, metric, kinds) if all(kind in KINDS for kind in kinds) else None
    if len(kinds) == 1:
        return whole or (Paired(GUESSED[kinds[0]], 0, 0) if kinds[0] in GUESSED else None)
    parts = [_paired(found, metric, (kind,)) for kind in kinds]
    known = [part.spread for part in parts if part is not None]
    if whole is not None:  # a few sources may agree by luck: nothing is surer for differing in more
        return Paired(max([whole.spread, *(one for one in known if math.isfinite(one))]), whole.pairs, whole.sources)
    return Paired(math.hypot(*known), 0, 0) if len(known) == len(parts) else None


def _seen(found: Scores, metric: str, kinds: tuple[str, ...]) -> Paired | None:
    """What pairs show; None where they are too few."""
    asked: Mapping[str, bool] = {kind: kind in kinds for kind in KINDS}
    table = found.ask(_PAIRS, metric=metric, **asked)
    sources, owner = np.unique(table["source"].to_numpy(dtype=str), return_inverse=True)
    if len(table) < LEAST_PAIRS or len(sources) < LEAST_SOURCES:
        return None
    weight = 1.0 / np.bincount(owner)[owner]
    off = _quantile(table["parted"].to_numpy(), weight)
    return Paired(max(off, _trusted(table["apart"].to_numpy(), table["ordered"].to_numpy(dtype=float), weight)), len(table), len(sources))


def _quantile(parted: np.ndarray, weight: np.ndarray) -> float:
    order = np.argsort(parted)
    below = weight[order].cumsum()
    return float(parted[order][np.searchsorted(below, SHARE * below[-1])])


def _trusted(apart: np.ndarray, ordered: np.ndarray, weight: np.ndarray) -> float:
    """The least distance such that of all pairs at least so far apart RIGHT are in the right order; infinite where none is."""
    order = np.argsort(-apart)
    beyond, right = weight[order].cumsum(), (weight * ordered)[order].cumsum()
    enough = (right >= RIGHT * beyond) & (beyond >= FEWEST * beyond[-1])
    return float(apart[order][np.flatnonzero(enough)[-1]]) if enough.any() else math.inf
