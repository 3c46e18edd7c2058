"""One fit: constants, then forests on what they leave of the prefill step, the decode step and the first token under load."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from core.batch import Group, metrics_of
from core.constants import refit
from core.constants_fit import BALANCE, Targets, balanced, fit_constants
from core.correction import FACTOR_OF, PARTS, Core, Encoding
from core.features import Table
from core.forests import Forest, fit_with_unseen
from core.machine import Columns
from core.observations import SPEEDS, Observations, column_values
from core.support import Known

CLEAR = {"prefill": 0.7, "decode": 0.5}  # elasticity from which a metric speaks for a step
FARTHEST = {"prefill": 2.0, "decode": 2.0, "first_token": 1.0}  # log residual at which one is cut
FOREST_BALANCE = 0.0  # how far the forests' lines are weighed by device and source
QUEUED = 0.15  # how much a first token under load counts for the constants: it hangs on the queue, too


def metrics_at(parts: Sequence[Group], size: int, columns_of: Callable[[Group], Columns]) -> dict[str, np.ndarray]:
    """Metrics of all scenarios with other columns, arrays along the scenarios."""
    found: dict[str, np.ndarray] = {}
    for group in parts:
        for name, amounts in metrics_of(replace(group, c=columns_of(group))).items():
            found.setdefault(name, np.full(size, np.nan))[group.index] = amounts
    return found


def middle(parts: Sequence[Group], size: int, scales: Mapping[str, np.ndarray], steps: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Metrics at given scales of the terms and logs of the factors (by part; none where a part is not named)."""

    def columns_of(group: Group) -> Columns:
        c = refit(group.c, {term: scale[group.index] for term, scale in scales.items()}, "")
        for part, step in steps.items():
            setattr(c, FACTOR_OF[part], np.exp(step[group.index]))
        return c

    return metrics_at(parts, size, columns_of)


def log_residual(lines: pd.DataFrame, metrics: Mapping[str, np.ndarray]) -> np.ndarray:
    """ln(measured / predicted) of each line; NaN where nothing is predicted."""
    with np.errstate(all="ignore"):
        return np.asarray(np.log(lines["measured"].to_numpy() / column_values(lines, metrics)))


def line_weights(lines: pd.DataFrame, table: Table, power: float) -> np.ndarray:
    """How much each line counts, 1 on average. `power` 0: all alike; 1: each device of each source and metric does."""
    devices = [table.traits[place].device for place in lines["place"]]
    return balanced([f"{a}|{b}|{c}" for a, b, c in zip(lines["source"], devices, lines["metric"], strict=True)], power)


def fit_core(seen: Observations, parts: Sequence[Group], train: np.ndarray) -> Core:
    """Everything that a fold refits, from the lines of `train` (a mask over `seen.lines`) that take part in fitting."""
    lines = seen.lines[train & seen.lines["fit"].to_numpy() & seen.lines["metric"].isin(SPEEDS).to_numpy()].reset_index(drop=True)
    table, size = seen.table, len(seen.scenarios)
    place = lines["place"].to_numpy()
    # Constants must hold for everyone, so no device and no source dominates them; what a forest says holds near its runs.
    weight, near_weight = line_weights(lines, table, BALANCE), line_weights(lines, table, FOREST_BALANCE)
    queued = (lines["metric"] == "TTFT").to_numpy() & (table.numbers["users"][place] > 0)
    decode, prefill = lines["decode"].to_numpy(), lines["prefill"].to_numpy()
    log_ratio = np.log(lines["measured"].to_numpy() / lines["analytic"].to_numpy())
    constants = fit_constants(table, Targets(place, log_ratio, decode, prefill, weight * np.where(queued, QUEUED, 1.0)))
    used = np.unique(place)
    encoding = Encoding.of([table.traits[i] for i in used])
    scales = constants.scales(table.traits)
    x = encoding.matrix(table, scales)
    left = log_residual(lines, middle(parts, size, scales, {}))
    forests: dict[str, Forest] = {}
    words = {part: np.zeros(size) for part in PARTS}

    def grow(part: str, ours: np.ndarray, target: np.ndarray) -> None:
        ours = ours & np.isfinite(target)
        if ours.sum() < 50:
            return
        cut = np.clip(target[ours], -FARTHEST[part], FARTHEST[part])
        forests[part], unseen = fit_with_unseen(x[place[ours]], cut, near_weight[ours])
        words[part][used] = forests[part].quantiles(x[used], (0.5,))[:, 0]
        # For its own runs a forest speaks only through trees that have not seen them.
        known = np.isfinite(unseen)
        total = np.bincount(place[ours][known], unseen[known], size)
        count = np.bincount(place[ours][known], minlength=size)
        words[part] = np.where(count > 0, total / np.maximum(count, 1), words[part])

    with np.errstate(all="ignore"):
        grow("prefill", (np.abs(prefill) > CLEAR["prefill"]) & ~queued, left / prefill)
        grow("decode", (np.abs(decode) > CLEAR["decode"]) & ~queued, (left - prefill * words["prefill"][place]) / decode)
    after = log_residual(lines, middle(parts, size, scales, {part: words[part] for part in ("decode", "prefill")}))
    grow("first_token", (lines["metric"] == "TTFT").to_numpy(), after)
    known = Known.of([table.traits[i] for i in used], {name: column[used] for name, column in table.numbers.items()})
    return Core(constants, encoding, forests, known)
