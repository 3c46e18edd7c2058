"""Fit everything and say how wrong it is: scores of runs whose fold was left out, the intervals they call for, the final fit.

Nothing here looks at a result to choose what is judged: a rule that looked at a residual may keep a run from fitting only.
"""

from __future__ import annotations

import hashlib
import io
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from core import folds
from core.batch import Group
from core.batch import groups as passes
from core.constants_fit import BALANCE, ITERATIONS, SCALE, STRENGTH
from core.corpus import runs_table
from core.correction import BAND_OF, FOLDER, PARTS, Bands, Correction, save, shipped
from core.fit_core import corrected_metrics, fit_core, middle
from core.forests import LEAF, TREES
from core.observations import Observations, column_values, observe_runs
from core.predict import write_bytes_whole
from core.support import NEARNESS

LEAST_GROUPS = 20  # below so many groups a kind of evidence borrows its parent's widths
COVERED = (0.1, 0.9)
SHARES = np.linspace(0.0, 1.0, 11)  # of a forest's word, from which trust is chosen
_SPEED_OF = {"prefill": "prefill_rate", "decode": "decode_rate", "TTFT": "ttft", "TPOT": "tpot", "latency": "latency",
             "output rate": "output_rate", "total rate": "total_rate"}  # fmt: skip
_TIMES = ("TTFT", "TPOT", "latency")


def out_of_fold(seen: Observations, parts: Sequence[Group], split: str, group: np.ndarray, tell: Callable[[str], None]) -> pd.DataFrame:
    """Every line of a split as a fit predicts it that has not seen its fold: the log residual (slower is above 0) of the
    constants alone and with the forests, how near the evidence was, fold and group. Lines that are never tested are left out."""
    fold = folds.assign(group, split)
    size, found = len(seen.scenarios), []
    for number in range(folds.FOLDS[split]):
        test = fold == number
        started = time.monotonic()
        fitted = fit_core(seen, parts, fold != number)
        lines = seen.lines[test]
        place = lines["place"].to_numpy()
        factors = fitted.factors(seen.table)
        alone = column_values(lines, middle(parts, size, factors.scales, {}))
        with_forests = column_values(lines, {k: v[1] for k, v in corrected_metrics(parts, size, factors).items()})
        found.append(pd.DataFrame({
            "line": np.flatnonzero(test), "split": split, "fold": number, "group": group[test].astype(str),
            "near": factors.near[place], "constants": alone, "forests": with_forests,
            "support": [fitted.known.support(seen.table.traits[i], {k: v[i] for k, v in seen.table.numbers.items()}).level for i in place],
        }))  # fmt: skip
        tell(f"{split}, fold {number + 1} of {folds.FOLDS[split]}: {time.monotonic() - started:.0f} s")
    return pd.concat(found, ignore_index=True)


def slower(lines: pd.DataFrame, at: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """ln of how much slower lines were than predicted, whether the metric is a time or a rate."""
    with np.errstate(all="ignore"):
        off = np.log(lines["measured"].to_numpy()[at] / predicted)
    return np.where(lines["metric"].isin(_TIMES).to_numpy()[at], off, -off)


def group_weights(scores: pd.DataFrame) -> np.ndarray:
    """Each group of a split weighs 1, each split alike."""
    size = scores.groupby(["split", "group"])["line"].transform("size").to_numpy()
    weight = 1.0 / size
    whole = pd.Series(weight).groupby(scores["split"].to_numpy()).transform("sum").to_numpy()
    return np.asarray(weight / whole)


def choose_trust(scores: pd.DataFrame, off: np.ndarray, word: np.ndarray) -> list[float]:
    """The share of the forests' word that lessens the median error most, by nearness, never rising as evidence gets farther.

    `off`: log residual of the constants; `word`: what the forests would take off it.
    """
    weight, shares, last = group_weights(scores), [], 1.0
    for near in range(len(NEARNESS) + 1):
        ours = (scores["near"].to_numpy() == near) & np.isfinite(off) & np.isfinite(word)
        if ours.sum() >= 50:
            errors = [np.sum(weight[ours] * np.abs(off[ours] - share * word[ours])) for share in SHARES]
            last = min(last, float(SHARES[int(np.argmin(errors))]))
        shares.append(last)
    return shares


def choose_bands(scores: pd.DataFrame, kinds: np.ndarray, off: np.ndarray) -> dict[str, list[tuple[float, float]]]:
    """Quantiles of `off` by class of metric and nearness; a class with too few groups takes those of nearer evidence, too."""
    weight, table = group_weights(scores), {}
    near, group = scores["near"].to_numpy(), scores["group"].to_numpy()
    for kind in sorted(set(BAND_OF.values())):
        rows = []
        for level in range(len(NEARNESS) + 1):
            first = level
            while True:
                ours = (kinds == kind) & (near >= first) & (near <= level) & np.isfinite(off)
                if len(set(group[ours])) >= LEAST_GROUPS or first == 0:
                    break
                first -= 1
            low, high = weighted_quantiles(off[ours], weight[ours], COVERED)
            rows.append((round(min(low, -0.02), 4), round(max(high, 0.02), 4)))
        table[kind] = rows
    return table


def weighted_quantiles(values: np.ndarray, weights: np.ndarray, quantiles: Sequence[float]) -> list[float]:
    """Quantiles of weighted values; 0 where there are none."""
    if not len(values):
        return [0.0 for _ in quantiles]
    order = np.argsort(values)
    mass = np.cumsum(weights[order])
    return [float(values[order][min(np.searchsorted(mass, q * mass[-1]), len(order) - 1)]) for q in quantiles]


def version_of(seen: Observations) -> str:
    """Hash of what was fitted: the measured lines, their analytic estimates, the parameters and the libraries' versions."""
    import quantile_forest
    import sklearn

    digest = hashlib.sha256()
    for column in ("measured", "analytic", "decode", "prefill"):
        digest.update(np.ascontiguousarray(seen.lines[column].to_numpy(dtype="<f8")).tobytes())
    digest.update(
        json.dumps([BALANCE, ITERATIONS, SCALE, STRENGTH, LEAF, TREES, sklearn.__version__, quantile_forest.__version__]).encode()
    )
    return digest.hexdigest()[:12]


def fit_final(scores: pd.DataFrame, seen: Observations, parts: Sequence[Group]) -> Correction:
    """The correction from all runs, trusted and bounded by what the folds' `scores` call for."""
    honest = scores[scores["split"].isin(folds.HONEST)].reset_index(drop=True)
    at = honest["line"].to_numpy()
    alone, words = honest["constants"].to_numpy(), honest["forests"].to_numpy()
    off = slower(seen.lines, at, alone)
    share = choose_trust(honest, off, off - slower(seen.lines, at, words))
    taken = np.asarray(share)[honest["near"].to_numpy()]
    predicted = np.exp(np.log(alone) * (1 - taken) + np.log(words) * taken)
    kinds = np.array([BAND_OF.get(_SPEED_OF.get(metric, ""), "") for metric in seen.lines["metric"].to_numpy()[at]])
    table = choose_bands(honest, kinds, slower(seen.lines, at, predicted))
    fitted = fit_core(seen, parts, np.ones(len(seen.lines), dtype=bool))
    return Correction(version_of(seen), fitted, dict.fromkeys(PARTS, share), Bands(table))


def fit_all(folder: Path = FOLDER, splits: Sequence[str] = tuple(folds.FOLDS), tell: Callable[[str], None] = print) -> None:
    """Fits every fold of every split and the final correction, and writes them into `folder` (minutes)."""
    seen = observe_runs(runs_table())
    parts, _ = passes(seen.scenarios, strict=False)
    named = folds.groups(seen.lines, seen.table.traits, [s.runtime_version or "" for s in seen.scenarios])
    scores = pd.concat([out_of_fold(seen, parts, split, named[split], tell) for split in splits], ignore_index=True)
    save(fit_final(scores, seen, parts), folder)
    raw = io.BytesIO()
    scores.to_parquet(raw, compression="zstd", index=False)
    write_bytes_whole(folder / "out_of_fold.parquet", raw.getvalue())
    shipped.cache_clear()
