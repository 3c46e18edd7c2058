"""Fit everything and say how wrong it is: runs predicted without their fold, the trust and the intervals they call for, the final fit.

Nothing here looks at a result to choose what is judged: a rule that looked at a residual may keep a run from fitting only. What
is chosen from left-out runs (trust, intervals) is chosen for each of them from runs of other origins.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from core import bands, folds, forests
from core.bands import BAND_OF, Bands, Residuals, fit_bands, trust_for
from core.batch import Group
from core.batch import groups as passes
from core.constants_fit import BALANCE, ITERATIONS, SCALE, STRENGTH
from core.corpus import SHIPPED, open_corpus, runs_table
from core.correction import FOLDER, PARTS, Correction, save, shipped
from core.fit_core import CLEAR, fit_core
from core.fit_files import write_scores
from core.judged import TIMES, rows_table
from core.judged_memory import memory_rows, memory_scores
from core.observations import ESTIMATED, SPEEDS, Observations, observe_runs
from core.out_of_fold import LeftOut, leave_out
from core.support import NEARNESS

BLOCKS = 5  # origins that are kept apart when trust and intervals are chosen
SHARES = tuple(float(share) for share in np.linspace(0.0, 1.0, 11))  # of a forest's word, from which trust is chosen
_LEVELS = len(NEARNESS) + 1

Trust = dict[str, Any]  # part → share of its word by nearness, shape (levels,) or (lines, levels)


def fit_all(folder: Path = FOLDER, splits: Sequence[str] = tuple(folds.FOLDS), tell: Callable[[str], None] = print) -> None:
    """Fits every fold of every split and the final correction; writes the correction and the score files below `folder` (minutes)."""
    started = time.monotonic()
    seen, parts, named = observe()
    left = leave_out(seen, parts, {split: named[split] for split in splits}, tell)
    finish(seen, parts, left, named, folder, started, tell)


def finish(
    seen: Observations, parts: list[Group], left: Mapping[str, LeftOut], named: Mapping[str, np.ndarray], folder: Path,
    started: float, tell: Callable[[str], None],
) -> None:  # fmt: skip
    """From left-out runs to files: trust and intervals, scores, the final fit."""
    block = blocks_of(seen.lines)
    honest = {split: left[split] for split in folds.HONEST if split in left}
    alone = {split: out.predicted(seen, parts, None) for split, out in honest.items()}
    each = [choose_trust(seen, honest, alone, block != number) for number in range(BLOCKS)]
    trust = choose_trust(seen, honest, alone, np.ones(len(block), dtype=bool))
    tell(f"trust: {trust}")
    predicted = predict_left_out(seen, parts, left, each)
    found = residuals(seen, honest, predicted, block)
    by_block = [fit_bands({kind: r.where(r.block != number) for kind, r in found.items()}) for number in range(BLOCKS)]
    whole = fit_bands(found)
    tell(f"factors on intervals: {whole.factors}")
    scores = score_table(seen, left, predicted, block, by_block)
    version = version_of(seen)
    core = fit_core(seen, parts, np.ones(len(seen.lines), dtype=bool))
    fitted = time.monotonic() - started
    made = Correction(version, core, trust, whole)
    save(made, folder)
    shipped.cache_clear()
    about = {
        "version": version, "date": date.today().isoformat(), "seconds_fit": round(fitted, 1),
        "seconds_predict": round(seconds_to_predict(seen, made), 2), "runs": len(seen.runs), "rows": len(seen.lines),
        "trust_by_block": each, "left_out": {**seen.left_out, **seen.failed}, "parameters": parameters(), "libraries": libraries(),
    }  # fmt: skip
    rows = rows_table(seen, parts, named["configuration"])
    memory = memory_rows(len(rows))
    rows = pd.concat([rows[rows["metric"] != "memory"], memory], ignore_index=True)
    write_scores(folder, rows, pd.concat([scores, memory_scores(memory, tuple(left))], ignore_index=True), about)


def predict_left_out(
    seen: Observations, parts: list[Group], left: Mapping[str, LeftOut], by_block: Sequence[Trust]
) -> dict[str, np.ndarray]:
    """p50 of left-out lines by split, each with the trust that was chosen without its origin."""
    block = blocks_of(seen.lines)
    by_line = {part: np.array([choice[part] for choice in by_block])[block] for part in PARTS}
    return {split: out.predicted(seen, parts, {part: share[out.line] for part, share in by_line.items()}) for split, out in left.items()}


def observe() -> tuple[Observations, list[Group], dict[str, np.ndarray]]:
    """What is fitted: the shipped runs, the groups that array passes take them in, and every line's group by split."""
    seen = observe_runs(runs_table(open_corpus((SHIPPED,))))
    parts, _ = passes(seen.scenarios, strict=False)
    return seen, parts, folds.groups(seen.lines, seen.table.traits, [s.runtime_version or "" for s in seen.scenarios])


def blocks_of(lines: pd.DataFrame) -> np.ndarray:
    """A block for each line: all lines of one origin in one, origins spread evenly by size."""
    size = lines["origin"].value_counts()
    held, block = np.zeros(BLOCKS), {}
    for origin, count in sorted(size.items(), key=lambda item: (-item[1], str(item[0]))):
        block[origin] = int(np.argmin(held))
        held[block[origin]] += np.sqrt(count)
    return lines["origin"].map(block).to_numpy()


def slower(lines: pd.DataFrame, predicted: np.ndarray) -> np.ndarray:
    """ln of how much slower lines were than predicted, whether the metric is a time or a rate."""
    with np.errstate(all="ignore"):
        off = np.log(lines["measured"].to_numpy() / predicted)
    return np.where(lines["metric"].isin(TIMES), off, -off)


def choose_trust(seen: Observations, left: Mapping[str, LeftOut], alone: Mapping[str, np.ndarray], used: np.ndarray) -> Trust:
    """How much of each forest's word is taken by nearness, from the lines of `used`: prefill first, then decode, then the first token."""
    lines = pd.concat([seen.lines.iloc[out.line] for out in left.values()])
    ours = np.concatenate([used[out.line] for out in left.values()])
    near = np.concatenate([out.near for out in left.values()])
    split = np.concatenate([np.full(len(out.line), name) for name, out in left.items()])
    group = np.concatenate([out.group for out in left.values()])
    words = {part: np.concatenate([out.words[part] for out in left.values()]) for part in PARTS}
    with np.errstate(all="ignore"):
        off = np.log(lines["measured"].to_numpy() / np.concatenate([alone[name] for name in left]))
    weight = Residuals(off, near[:, None], split, group, near).weights()
    elastic = {"prefill": lines["prefill"].to_numpy(), "decode": lines["decode"].to_numpy()}
    first = (lines["metric"] == "TTFT").to_numpy()
    found: Trust = {}
    for part in ("prefill", "decode", "first_token"):
        clear = first if part == "first_token" else (np.abs(elastic[part]) > CLEAR[part]) & ~first
        word = words[part] * elastic.get(part, 1.0)
        at = ours & clear
        found[part] = trust_for(off[at], word[at], near[at], weight[at], _LEVELS, SHARES)
        off = off - np.asarray(found[part])[near] * (word if part != "first_token" else np.where(first, word, 0.0))
    return {part: found[part] for part in PARTS}


def kinds_of(lines: pd.DataFrame) -> np.ndarray:
    """The class of metric whose intervals a line takes; empty for memory and power."""
    return np.array([BAND_OF.get(ESTIMATED[metric], "") for metric in lines["metric"]])


def residuals(
    seen: Observations, left: Mapping[str, LeftOut], predicted: Mapping[str, np.ndarray], block: np.ndarray
) -> dict[str, Residuals]:
    """By class of metric how much slower left-out runs were than predicted, with what was known of them."""
    lines = pd.concat([seen.lines.iloc[out.line] for out in left.values()])
    kind = kinds_of(lines)
    off = slower(lines, np.concatenate([predicted[name] for name in left]))
    whole = Residuals(
        off,
        np.concatenate([out.doubt for out in left.values()]),
        np.concatenate([np.full(len(out.line), name) for name, out in left.items()]),
        np.concatenate([out.group for out in left.values()]),
        np.concatenate([block[out.line] for out in left.values()]),
    )
    return {name: whole.where((kind == name) & np.isfinite(off)) for name in bands.KINDS}


def score_table(
    seen: Observations, left: Mapping[str, LeftOut], predicted: Mapping[str, np.ndarray], block: np.ndarray, by_block: Sequence[Bands]
) -> pd.DataFrame:
    """One line per judged row and split: p10, p50, p90 by a fit, a trust and intervals that know nothing of it. Power has no
    interval; memory is judged by its own points (`core.judged_memory`)."""
    found = []
    for split, out in left.items():
        lines = seen.lines.iloc[out.line]
        kind, metric = kinds_of(lines), lines["metric"].to_numpy()
        low, high = np.full(len(lines), np.nan), np.full(len(lines), np.nan)
        for name in bands.KINDS:
            for number, held in enumerate(by_block):
                at = (kind == name) & (block[out.line] == number)
                if at.any():
                    faster, slow = held.widths_of(name, out.doubt[at])
                    time_like = np.isin(metric[at], TIMES)
                    low[at], high[at] = np.where(time_like, faster, -slow), np.where(time_like, slow, -faster)
        p50 = predicted[split]
        table = pd.DataFrame({"row": out.line, "split": split, "fold": out.fold, "group": out.group, "p10": p50 * np.exp(low), "p50": p50,
                              "p90": p50 * np.exp(high), "support": out.support})  # fmt: skip
        found.append(table[metric != "memory"])
    return pd.concat(found, ignore_index=True)


# ---- What made it


def parameters() -> dict[str, float]:
    """What the fit was told, beside the data."""
    return {"balance": BALANCE, "iterations": ITERATIONS, "scale": SCALE, "strength": STRENGTH, "trees": forests.TREES,
            "leaf": forests.LEAF, "kept of a leaf": forests.KEPT, "interval trees": bands.TREES, "interval leaf": bands.LEAF}  # fmt: skip


def libraries() -> dict[str, str]:
    """Versions of the libraries that decide the result."""
    import quantile_forest
    import scipy
    import sklearn

    return {"numpy": np.__version__, "scipy": scipy.__version__, "scikit-learn": sklearn.__version__,
            "quantile-forest": quantile_forest.__version__}  # fmt: skip


def version_of(seen: Observations) -> str:
    """Hash of what was fitted: the measured lines and their kinds, their analytic estimates and the fit's parameters."""
    digest, lines = hashlib.sha256(), seen.lines[seen.lines["metric"].isin(SPEEDS)]
    for column in ("measured", "analytic", "decode", "prefill", "fit"):
        # Rounded, so that the last bit of another machine's arithmetic makes no other version.
        digest.update(np.char.mod("%.9g", lines[column].to_numpy(dtype=float)).astype("S").tobytes())
    for place in lines["place"]:
        digest.update(repr(seen.table.traits[place]).encode())
    digest.update(json.dumps(parameters(), sort_keys=True).encode())
    return digest.hexdigest()[:12]


def seconds_to_predict(seen: Observations, correction: Correction, rows: int = 5000) -> float:
    """How long a correction takes for so many of the scenarios, warm."""
    from core.corrected import answers

    asked = [seen.scenarios[at] for at in np.random.default_rng(0).permutation(len(seen.scenarios))[:rows]]
    answers(asked[:50], correction)
    started = time.monotonic()
    answers(asked, correction)
    return time.monotonic() - started
