"""Every run as a fit says it that has not seen the run's fold: scales, the forests' words and what was known, split by split."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any

import numpy as np

from core import folds
from core.batch import Group
from core.correction import PARTS
from core.features import TERMS
from core.fit_core import fit_core, middle
from core.observations import Observations, column_values


@dataclass(slots=True)
class LeftOut:
    """One split. Arrays along the lines that were tested: `line` (position), `fold`, `group`; what the fold's fit says of each:
    `scales[term]`, `words[part]` (log, untrusted), `near`, `doubt` (lines, features), `support`."""

    split: str
    line: np.ndarray
    fold: np.ndarray
    group: np.ndarray
    scales: dict[str, np.ndarray]
    words: dict[str, np.ndarray]
    near: np.ndarray
    doubt: np.ndarray
    support: np.ndarray

    def predicted(self, seen: Observations, parts: list[Group], trust: Mapping[str, Any] | None) -> np.ndarray:
        """The lines' columns as the folds' fits predict them, arrays along the lines. `trust[part]`: the share of a word taken,
        by nearness or by line and nearness; None takes none."""
        size = len(seen.scenarios)
        found = np.full(len(self.line), np.nan)
        lines = seen.lines.iloc[self.line]
        place = lines["place"].to_numpy()
        # Where lines of one scenario lie in several folds (the row split) each fold has a pass of its own.
        for fold in np.unique(self.fold) if self.split == "row" else [None]:
            ours = np.ones(len(self.line), dtype=bool) if fold is None else self.fold == fold
            scales, steps = {}, {}
            for term in TERMS:
                scales[term] = np.ones(size)
                scales[term][place[ours]] = self.scales[term][ours]
            for part in PARTS if trust is not None else ():
                assert trust is not None
                share = np.asarray(trust[part])
                taken = share[self.near] if share.ndim == 1 else share[np.arange(len(self.line)), self.near]
                steps[part] = np.zeros(size)
                steps[part][place[ours]] = (taken * self.words[part])[ours]
            found[ours] = column_values(lines[ours], middle(parts, size, scales, steps))
        return found


# What the workers of a pool share; set before they are forked, so nothing is copied.
_SHARED: dict[str, Any] = {}


def leave_out(
    seen: Observations, parts: list[Group], named: Mapping[str, np.ndarray], tell: Callable[[str], None], *, first: int | None = None,
    jobs: int = 2,
) -> dict[str, LeftOut]:  # fmt: skip
    """Fits every fold (or the `first` so many) of every split of `named` (split → group of each line) and keeps what each says of
    its own lines."""
    tested = {split: set(folds.assign(group, split).tolist()) for split, group in named.items()}
    tasks = [(split, fold) for split in named for fold in range(folds.FOLDS[split])[:first] if fold in tested[split]]
    _SHARED.update(seen=seen, parts=parts, named=named)
    found: dict[str, list[dict[str, Any]]] = {split: [] for split in named}
    try:
        with ProcessPoolExecutor(jobs, mp_context=get_context("fork")) as pool:
            for (split, fold), answer in zip(tasks, pool.map(_fold, tasks), strict=True):
                found[split].append(answer)
                tell(f"{split}, fold {fold + 1} of {folds.FOLDS[split]}: {answer.pop('seconds'):.0f} s")
    finally:
        _SHARED.clear()
    return {split: _joined(split, answers) for split, answers in found.items()}


def _fold(task: tuple[str, int]) -> dict[str, Any]:
    started = time.monotonic()
    split, number = task
    seen, group = _SHARED["seen"], _SHARED["named"][split]
    fold = folds.assign(group, split)
    line = np.flatnonzero(fold == number)
    fitted = fit_core(seen, _SHARED["parts"], fold != number)
    places, back = np.unique(seen.lines["place"].to_numpy()[line], return_inverse=True)
    table = seen.table.take(places)
    factors = fitted.factors(table)
    levels = [fitted.known.support(t, {k: v[i] for k, v in table.numbers.items()}).level for i, t in enumerate(table.traits)]
    return {
        "line": line, "fold": np.full(len(line), number), "group": group[line].astype(str),
        "scales": {term: scale[back] for term, scale in factors.scales.items()},
        "words": {part: factors.steps[part][back, 1] for part in PARTS},
        "near": factors.near[back], "doubt": factors.doubt[back].astype(np.float32), "support": np.array(levels, dtype=object)[back],
        "seconds": time.monotonic() - started,
    }  # fmt: skip


def _joined(split: str, answers: list[dict[str, Any]]) -> LeftOut:
    def whole(name: str) -> np.ndarray:
        return np.concatenate([answer[name] for answer in answers])

    def each(name: str) -> dict[str, np.ndarray]:
        return {key: np.concatenate([answer[name][key] for answer in answers]) for key in answers[0][name]}

    return LeftOut(split, whole("line"), whole("fold"), whole("group"), each("scales"), each("words"), whole("near"),
                   whole("doubt"), whole("support"))  # fmt: skip
