"""A few shipped runs of four origins, as a fit sees them: enough to fit, little enough to fit in a second."""

from __future__ import annotations

import functools

import numpy as np
import pandas as pd
import quantile_forest  # noqa: F401 so that workers, which are forked, need not load it one by one

from core import folds
from core.bands import KINDS, Bands
from core.batch import Group, groups
from core.corpus import SHIPPED, open_corpus, runs_table
from core.forests import fit_forest
from core.observations import Observations, observe_runs
from core.out_of_fold import LeftOut, leave_out

SOURCES = ("gparemsky/48gb4090", "LottoLottoLotto/4x3090-llm-benchmarks", "geerlingguy/ai-benchmarks", "nvidia_aiconfigurator_gap_analysis")
EACH = 24  # runs of a source


@functools.cache
def records() -> pd.DataFrame:
    """The runs as they are shipped, spread over each source's files."""
    runs = runs_table(open_corpus((SHIPPED,)))
    return pd.concat([_spread(runs[runs["source"] == source]) for source in SOURCES], ignore_index=True)


def _spread(runs: pd.DataFrame) -> pd.DataFrame:
    return runs.iloc[np.linspace(0, len(runs) - 1, EACH).astype(int)]


@functools.cache
def observed() -> tuple[Observations, list[Group], dict[str, np.ndarray]]:
    """Observations, array passes and every line's group by split, as `core.fit.observe` gives them. Not to be changed."""
    seen = observe_runs(records())
    parts, _ = groups(seen.scenarios, strict=False)
    return seen, parts, folds.groups(seen.lines, seen.table.traits, [s.runtime_version or "" for s in seen.scenarios])


@functools.cache
def left_out(split: str, first: int = len(SOURCES)) -> LeftOut:
    """What the first folds' fits say of the lines that they have not seen; of the source split's all lines. Not to be changed."""
    seen, parts, named = observed()
    return leave_out(seen, parts, {split: named[split]}, lambda _: None, first=first)[split]


@functools.cache
def bands(times: float = 1.0) -> Bands:
    """Intervals of no meaning, wider where the first features of doubt say so, and so many times as wide."""
    doubt = left_out("source").doubt.astype(float)
    off = np.random.default_rng(0).normal(size=len(doubt)) * (1 + doubt[:, 1])
    forest = fit_forest(doubt, off, np.ones(len(doubt)), trees=5, leaf=20)
    return Bands(dict.fromkeys(KINDS, forest), dict.fromkeys(KINDS, (times, 2 * times)))
