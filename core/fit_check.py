"""Whether the shipped files are what the shipped runs make: the version's hash, and one fold of every split fitted again."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from core.correction import FOLDER, shipped
from core.errors import RunError
from core.fit import observe, predict_left_out, version_of
from core.out_of_fold import leave_out

SAME = 0.01  # log: another machine's arithmetic moves a forest's splits a little, never most runs by more than this


@dataclass(frozen=True, slots=True)
class Refitted:
    """One fold of a split, fitted again: lines, and the median and 90th percentile of |ln(refitted / shipped)|."""

    split: str
    lines: int
    median: float
    p90: float

    @property
    def same(self) -> bool:
        return self.median <= SAME


def refit_first_folds(tell: Callable[[str], None] = print, folder: Path = FOLDER) -> list[Refitted]:
    """The first fold of every split against the shipped scores. Raises RunError where the shipped fit is of other runs."""
    about, scores = _shipped(folder)
    seen, parts, named = observe()
    correction, version = shipped(folder), version_of(seen)
    for name, stands in (("fit.json", about.get("version")), ("correction.json", correction.version if correction else None)):
        if stands != version:
            raise RunError(f"{name} is of version {stands}, but the runs make {version}; make it again with `roofcast validate --full`.")
    left = leave_out(seen, parts, named, tell, first=1)
    predicted = predict_left_out(seen, parts, left, about["trust_by_block"])  # type: ignore[arg-type]
    found = []
    for split, out in left.items():
        stands = scores[scores["split"] == split].set_index("row")["p50"].reindex(out.line).to_numpy(dtype=float)
        with np.errstate(all="ignore"):
            off = np.abs(np.log(predicted[split] / stands))
        off = off[np.isfinite(off)]
        found.append(Refitted(split, len(off), float(np.median(off)), float(np.quantile(off, 0.9))))
    return found


def _shipped(folder: Path) -> tuple[Mapping[str, object], pd.DataFrame]:
    try:
        about = json.loads((folder / "validation" / "fit.json").read_text(encoding="utf-8"))
        return about, pd.read_parquet(folder / "validation" / "scores.parquet", columns=["row", "split", "p50"])
    except (OSError, ValueError) as error:
        raise RunError(f"The shipped scores cannot be read ({error}); make them with `roofcast validate --full`.") from error
