"""From five own runs: the whole fit again with them in it, each counting as several, and promoted only where honest splits say so.

Two questions decide. Are own runs of configurations that the fit had not seen predicted better than by shifting the present version?
And do the runs of others, left out as in the shipped scores, get no worse? Where not, the version is kept and says why.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from core import folds, registry
from core.batch import Group as Pass
from core.batch import groups as passes
from core.calibrate import own_records, with_runs
from core.catalog.own_hardware import may_store
from core.corpus import SHIPPED, open_corpus, runs_table
from core.correction import FOLDER, PARTS, Core, Correction, shipped
from core.errors import RunError
from core.fit import blocks_of, parameters, slower
from core.fit_core import fit_core, middle
from core.folds import HONEST
from core.observations import SPEEDS, Observations, column_values, observe_runs
from core.records import RunRecord

LEAST = 5  # own runs, before which nothing is refitted
WEIGHT = 5  # how many times an own run counts as much as another's
MOST_FOLDS = 4  # of own configurations
WORSE = 0.01  # by how much the median error of others' runs may rise, as a share of it
CHANCE = 0.05


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a refit came to. `version`: None where nothing was fitted."""

    version: registry.Version | None
    promoted: bool
    why: str


def refit(
    records: Sequence[RunRecord] | None = None, *, tell: Callable[[str], None] = print, corpus: pd.DataFrame | None = None,
    folder: Path = FOLDER, splits: Sequence[str] = HONEST,
) -> Outcome:  # fmt: skip
    """Fits with own runs (None: those that are stored) and promotes the version where that helps; minutes.

    Nothing is done twice: without new runs since the last refit it says so at once. Raises RunError where there is nothing to refit,
    CatalogError where nothing can be stored.
    """
    if not may_store():
        raise RunError("On a shared server nothing is refitted; run Roofcast on your own computer for that.")
    used = [r for r in (own_records() if records is None else records) if r.fit and not r.memory_kind and not r.failure]
    base = shipped(folder)
    if base is None:
        raise RunError("There is no shipped fit to start from; make one with `roofcast validate --full`.")
    if len(used) < LEAST:
        raise RunError(f"A refit needs {LEAST} own runs, and there are {len(used)}; they shift your estimates all the same.")
    inputs = inputs_of(base, used)
    if (before := next((v for v in registry.versions() if v.about.get("inputs") == inputs), None)) is not None:
        registry.done()
        return Outcome(before, before.promoted, f"Nothing is new since version {before.name} was fitted: {before.about.get('why', '')}")
    work = _Work.of(used, corpus, base, folder)
    tell(f"{len(work.seen.lines):,} figures, {work.own.sum():,} of them yours")
    yours = work.own_errors(tell)
    others = work.others_errors(splits, tell)
    good, why = verdict(yours, others)
    core = fit_core(work.weighted(np.ones(len(work.seen.lines), dtype=bool)), work.parts, np.ones(work.size, dtype=bool))
    about = {
        "inputs": inputs, "base": base.version, "own_runs": len(used), "weight": WEIGHT, "promoted": good, "why": why,
        "yours": {name: float(np.median(errors)) for name, errors in yours.items()}, "others": {k: list(v) for k, v in others.items()},
    }  # fmt: skip
    version = registry.keep(Correction("", core, base.trust, base.bands), about)
    if good:
        registry.use(version.name, f"promoted: {why}")
    registry.done()
    return Outcome(version, good, why)


def inputs_of(base: Correction, records: Sequence[RunRecord]) -> str:
    """Hash of what a refit is made of: equal inputs make an equal version."""
    said = [base.version, sorted(record.run_id for record in records), WEIGHT, parameters()]
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:16]


def verdict(yours: Mapping[str, np.ndarray], others: Mapping[str, tuple[float, float]]) -> tuple[bool, str]:
    """Whether a refit is promoted, and why. `yours`: absolute errors of own lines "before" and "after"; `others`: medians by split."""
    before, after = yours["before"], yours["after"]
    now, then = float(np.median(before)), float(np.median(after))
    better, ties = int((after < before).sum()), int((after == before).sum())
    tried = len(before) - ties
    chance = sum(math.comb(tried, n) for n in range(better, tried + 1)) / 2.0**tried if tried else 1.0
    told = f"your runs of configurations that it had not seen: {then:.1%} off instead of {now:.1%}"
    if then >= now or chance > CHANCE:
        return False, f"kept, not used: {told}, which is no more than chance" if then < now else f"kept, not used: {told}"
    for split, (old, new) in others.items():
        if new > old * (1 + WORSE):
            return False, f"kept, not used: {told}, but others' runs of an unseen {split} {new:.1%} instead of {old:.1%}"
    return True, f"{told}; others' runs are predicted as well as before"


@dataclass(slots=True)
class _Work:
    """Corpus and own runs observed together. `own`: which lines are the user's."""

    records: list[RunRecord]
    seen: Observations
    parts: list[Pass]
    own: np.ndarray
    base: Correction
    folder: Path
    size: int = 0

    @classmethod
    def of(cls, records: Sequence[RunRecord], corpus: pd.DataFrame | None, base: Correction, folder: Path) -> _Work:
        runs = runs_table(open_corpus((SHIPPED,))) if corpus is None else corpus
        mine = pd.DataFrame([record.model_dump() for record in records])[list(runs.columns)]
        seen = observe_runs(pd.concat([runs, mine.astype(object)], ignore_index=True))
        parts, _ = passes(seen.scenarios, strict=False)
        own = seen.lines["run_id"].isin({record.run_id for record in records}).to_numpy()
        return cls(list(records), seen, parts, own, base, folder, len(seen.lines))

    def weighted(self, train: np.ndarray) -> Observations:
        """The lines of `train`, each own one WEIGHT times; `size` lines, all to train on."""
        at = np.flatnonzero(train)
        at = np.concatenate([at, np.repeat(at[self.own[at]], WEIGHT - 1)])
        self.size = len(at)
        return replace(self.seen, lines=self.seen.lines.iloc[at].reset_index(drop=True))

    def fitted(self, train: np.ndarray) -> Core:
        seen = self.weighted(train)
        return fit_core(seen, self.parts, np.ones(self.size, dtype=bool))

    def predicted(self, core: Core, at: np.ndarray, trust: Mapping[str, Any]) -> np.ndarray:
        """Some lines by a core; `trust` as in a correction."""
        lines = self.seen.lines.iloc[at]
        places, size = np.unique(lines["place"].to_numpy()), len(self.seen.scenarios)
        factors = core.factors(self.seen.table.take(places), trust)

        def whole(some: np.ndarray, empty: float) -> np.ndarray:
            found = np.full(size, empty)
            found[places] = some
            return found

        scales = {term: whole(scale, 1.0) for term, scale in factors.scales.items()}
        steps = {part: whole(factors.steps[part][:, 1], 0.0) for part in PARTS}
        return column_values(lines, middle(self.parts, size, scales, steps))

    def own_errors(self, tell: Callable[[str], None]) -> dict[str, np.ndarray]:
        """Absolute log errors of own lines, each predicted without any run of its configuration: by the present version shifted by
        the other own runs ("before"), and by a refit with them, shifted likewise ("after")."""
        mine = np.flatnonzero(self.own & self.seen.lines["metric"].isin(SPEEDS).to_numpy())
        traits = [self.seen.table.traits[n] for n in self.seen.lines["place"].to_numpy()[mine]]
        kinds = [f"{t.device}|{t.count}|{t.model}|{t.quant}|{t.runtime}" for t in traits]
        if len(set(kinds)) < 2:
            kinds = self.seen.lines["run_id"].iloc[mine].tolist()
        names = sorted(set(kinds))
        fold = {name: place % min(MOST_FOLDS, len(names)) for place, name in enumerate(names)}
        of_line = np.array([fold[kind] for kind in kinds])
        found: dict[str, list[np.ndarray]] = {"before": [], "after": []}
        for number in sorted(set(of_line)):
            tested = mine[of_line == number]
            train = np.ones(len(self.seen.lines), dtype=bool)
            train[tested] = False
            left = set(self.seen.lines["run_id"].iloc[tested])
            others = [record for record in self.records if record.run_id not in left]
            asked = [record for record in self.records if record.run_id in left]
            refitted = Correction(f"{self.base.version} refitted {number}", self.fitted(train), self.base.trust, self.base.bands)
            for name, correction in (("before", self.base), ("after", refitted)):
                found[name].append(_errors(with_runs(correction, others), asked))
            tell(f"your configurations, part {number + 1} of {len(set(of_line))}")
        return {name: np.concatenate(errors) for name, errors in found.items()}

    def others_errors(self, splits: Sequence[str], tell: Callable[[str], None]) -> dict[str, tuple[float, float]]:
        """Median absolute errors of others' runs in the first fold of each split: as the shipped scores have them, and refitted."""
        lines = self.seen.lines[~self.own]
        scores = pd.read_parquet(self.folder / "validation" / "scores.parquet", columns=["row", "split", "fold", "p50"])
        rows = pd.read_parquet(self.folder / "validation" / "rows.parquet", columns=["row", "run_id", "metric"])
        about = json.loads((self.folder / "validation" / "fit.json").read_text(encoding="utf-8"))
        block = blocks_of(lines)
        found = {}
        for split in splits:
            first = scores[(scores["split"] == split) & (scores["fold"] == 0)].merge(rows, on="row")
            keyed = lines.assign(at=np.flatnonzero(~self.own), block=block).merge(first, on=["run_id", "metric"])
            keyed = keyed[keyed["metric"].isin(SPEEDS)]
            if keyed.empty:
                continue
            at = keyed["at"].to_numpy()
            train = np.ones(len(self.seen.lines), dtype=bool)
            group = folds.groups(self.seen.lines, self.seen.table.traits, [s.runtime_version or "" for s in self.seen.scenarios])[split]
            train[np.isin(group, group[at]) & ~self.own] = False
            core = self.fitted(train)
            after = np.full(len(at), np.nan)
            for number in np.unique(keyed["block"]):
                ours = (keyed["block"] == number).to_numpy()
                after[ours] = self.predicted(core, at[ours], about["trust_by_block"][number])
            errors = [np.abs(np.expm1(-np.abs(slower(keyed, p)))) for p in (keyed["p50"].to_numpy(dtype=float), after)]
            known = np.isfinite(errors[0]) & np.isfinite(errors[1])
            found[split] = (float(np.median(errors[0][known])), float(np.median(errors[1][known])))
            tell(f"runs of others, unseen {split}: {found[split][0]:.1%} before, {found[split][1]:.1%} after")
        return found


def _errors(correction: Correction, records: Sequence[RunRecord]) -> np.ndarray:
    """Absolute errors of the figures of speed of runs, in a fixed order."""
    from core.upload import judged

    lines, _ = judged(records, correction)
    return np.array([abs(one.off) for one in lines if one.column not in ("vram_peak_gib", "power_w")])
