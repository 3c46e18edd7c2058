"""A user's own runs and the correction that they make of the shipped one.

`in_effect` is the correction that people are shown: the promoted version of the registry, else the shipped one, with the shifts of
the runs that are stored here (on a shared server: of the visitor's session alone). `with_runs` makes it of any correction and runs.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import numpy as np
import pandas as pd

from core import registry
from core.calibrate_kernel import Points, points_of
from core.calibrate_own import FewShot, Own, few_shot
from core.calibrate_prior import Group, Posterior, left_one_out, posterior
from core.catalog.own_hardware import may_store
from core.corpus import open_corpus, runs_table, user_folder
from core.correction import Correction, shipped
from core.errors import CatalogError
from core.judged import TIMES
from core.observations import SPEEDS, Observations, observe_runs
from core.predict import predict_runs
from core.records import RunRecord, read_record
from core.runs import Run
from core.this_machine import read_machine, system_of

_P = ParamSpec("_P")
_R = TypeVar("_R")
MOST_LINES = 300  # of a machine that its shifts rest on, the newest
BENDS = 2  # times that shifts are held against runs anew
_Key = tuple[str, tuple[tuple[str, str], ...]]  # a version, and runs with their devices
_MOST_KEPT = 16
_SESSION: list[Callable[[], Sequence[RunRecord]]] = []


def of_session(records: Callable[[], Sequence[RunRecord]]) -> None:
    """Says where the runs of the visitor's session are; the pages set it once."""
    _SESSION[:] = [records]


# ---- The user's own runs


def own_records() -> tuple[RunRecord, ...]:
    """The runs that are the user's own: stored ones first (none on a shared server), then those of the session."""
    stored = _here(_stored(*_stamp())) if may_store() else ()
    kept = {record.run_id: record for record in (*stored, *(record for of in _SESSION for record in of()))}
    return tuple(kept.values())


def _here(records: Sequence[RunRecord]) -> tuple[RunRecord, ...]:
    """Runs of this very machine as ones of what is known of it by now: a bandwidth that was measured anew is no other machine."""
    try:
        facts = read_machine() if records else None
        now = "" if facts is None or facts.gpus else system_of(facts).device
    except CatalogError:
        return tuple(records)  # its own page says what is wrong with it
    if facts is None or not now:
        return tuple(records)
    ours = {"cpu_name": now, "device": now}
    return tuple(r.model_copy(update=ours) if r.machine == facts.machine and not r.gpu_name and r.cpu_name else r for r in records)


def _stamp() -> tuple[str, tuple[tuple[str, int], ...]]:
    folder = user_folder()
    files = (path for path in sorted(folder.rglob("*")) if path.is_file()) if folder.is_dir() else ()
    return str(folder), tuple((str(path), path.stat().st_mtime_ns) for path in files)


@functools.lru_cache(maxsize=4)
def _stored(folder: str, stamp: tuple[tuple[str, int], ...]) -> tuple[RunRecord, ...]:
    if not stamp:
        return ()
    corpus = open_corpus((Path(folder),))
    try:
        table = runs_table(corpus, "records")
    finally:
        corpus.close()
    plain = table.astype(object).where(table.notna(), None)
    return tuple(read_record({str(key): cell for key, cell in row.items()}) for row in plain.to_dict("records"))


def _kept(
    held: dict[_Key, _R], correction: Correction, records: tuple[RunRecord, ...], make: Callable[[Correction, tuple[RunRecord, ...]], _R]
) -> _R:
    """What `make` says of these runs, remembered in `held`: a correction is too large to be a key."""
    key = (correction.version, tuple((record.run_id, record.device) for record in records))
    if key not in held:
        while len(held) >= _MOST_KEPT:
            held.pop(next(iter(held)))
        held[key] = make(correction, records)
    return held[key]


# ---- What they say of their machines


@dataclass(frozen=True, slots=True)
class Lines:
    """Own runs held against a correction, one line per run and figure. `table`: run_id, device, metric, column, measured, predicted,
    off (log, slower above 0), date, version, runtime, model, scenario (place in `runs`); `points` along it."""

    table: pd.DataFrame
    points: Points
    runs: Sequence[Run]

    def of(self, device: str) -> Group:
        """The lines of one machine."""
        at = np.flatnonzero((self.table["device"] == device).to_numpy())
        return Group(self.points.take(at), self.table["off"].to_numpy()[at], self.table["metric"].to_numpy()[at])

    def against(self, correction: Correction, at: np.ndarray) -> np.ndarray:
        """`off` of some lines held against another correction; NaN where it has nothing to say."""
        ours = self.table.iloc[at]
        return _off(ours, _predicted(self.runs, ours, correction))

    def devices(self) -> list[str]:
        return sorted(set(self.table["device"]))


def lines_of(correction: Correction, records: Sequence[RunRecord]) -> Lines | None:
    """Usable runs held against what the correction, without own runs, says of them; None where there are none."""
    used = [r for r in records if r.fit and not r.memory_kind and not r.failure]
    return _lines(replace(correction, own=None), tuple(used)) if used else None


_LINES: dict[_Key, Lines | None] = {}


def _lines(correction: Correction, records: tuple[RunRecord, ...]) -> Lines | None:
    return _kept(_LINES, correction, records, _observed)


def _observed(correction: Correction, records: tuple[RunRecord, ...]) -> Lines | None:
    seen = observe_runs(pd.DataFrame([record.model_dump() for record in records]))
    lines = seen.lines
    if lines.empty or not lines["metric"].isin(SPEEDS).any():
        return None
    lines = lines[lines["metric"].isin(SPEEDS)].reset_index(drop=True)
    place = lines["place"].to_numpy()
    lines = lines.assign(scenario=place)
    predicted = _predicted(seen.runs, lines, correction)
    off = _off(lines, predicted)
    known = {record.run_id: record for record in records}
    table = pd.DataFrame({
        "run_id": lines["run_id"], "device": [seen.table.traits[n].device for n in place], "metric": lines["metric"],
        "column": lines["column"], "measured": lines["measured"], "predicted": predicted, "off": off, "date": lines["date"],
        "runtime": [seen.table.traits[n].runtime for n in place], "version": [known[r].runtime_version for r in lines["run_id"]],
        "model": [seen.table.traits[n].geometry for n in place], "scenario": place,
    })  # fmt: skip
    kept = np.flatnonzero(np.isfinite(off))
    points = line_points(seen, lines, table["run_id"])
    return Lines(table.iloc[kept].reset_index(drop=True), points.take(kept), seen.runs) if len(kept) else None


def _off(lines: pd.DataFrame, predicted: np.ndarray) -> np.ndarray:
    """Log of how much slower the lines are than predicted."""
    with np.errstate(all="ignore"):
        return np.log(lines["measured"].to_numpy() / predicted) * np.where(lines["metric"].isin(TIMES).to_numpy(), 1.0, -1.0)


def line_points(seen: Observations, lines: pd.DataFrame, run: pd.Series) -> Points:
    """Lines of runs as the components see them."""
    at = points_of(seen.table).take(lines["place"].to_numpy())
    on = {
        "decode": np.abs(lines["decode"].to_numpy(dtype=float)), "prefill": np.abs(lines["prefill"].to_numpy(dtype=float)),
        "first": (lines["metric"] == "TTFT").to_numpy(dtype=float),
    }  # fmt: skip
    return Points(at.kinds, at.numbers, at.shares, on, pd.factorize(run)[0])


def _predicted(runs: Sequence[Run], lines: pd.DataFrame, correction: Correction) -> np.ndarray:
    places = sorted(set(lines["scenario"]))
    answers = dict(zip(places, predict_runs([runs[n] for n in places], correction), strict=True))
    return np.array([answers[n].metrics.get(column, np.nan) for n, column in zip(lines["scenario"], lines["column"], strict=True)])


def with_runs(correction: Correction, records: Sequence[RunRecord]) -> Correction:
    """The correction with what these runs say of their machines; as it is where they say nothing. Raises CatalogError."""
    learned = few_shot()
    lines = lines_of(correction, records) if learned and records else None
    if lines is None or learned is None:
        return correction
    newest = lines.table.assign(at=np.arange(len(lines.table))).sort_values(["date", "at"])
    machines, runs = {}, {}
    for device in lines.devices():
        at = np.sort(newest["at"][newest["device"] == device].to_numpy()[-MOST_LINES:])
        machines[device] = _taught(correction, lines, device, at, learned)
        runs[device] = int(lines.table["run_id"].iloc[at].nunique())
    told = "".join(sorted(f"{run} {off:.6f}" for run, off in zip(lines.table["run_id"], lines.table["off"], strict=True)))
    name = hashlib.sha256((told + learned.version).encode()).hexdigest()[:8]
    return replace(correction, version=f"{correction.version}+{name}", own=Own(name, machines, runs, learned.narrowing))


def _taught(correction: Correction, lines: Lines, device: str, at: np.ndarray, learned: FewShot) -> Posterior:
    """What some lines say of their machine. Under load a step's shift bends what a queue makes of it, so the shifted prediction is held
    against the lines again, as an iterated Kalman filter does; the round that leaves least is kept."""
    points, metrics = lines.points.take(at), lines.table["metric"].to_numpy()[at]
    off = lines.table["off"].to_numpy()[at]
    known = posterior(Group(points, off, metrics), learned.prior)
    if (lines.table["metric"].iloc[at].isin(("decode", "prefill"))).all():
        return known  # of one user alone nothing bends
    tried = []
    for _ in range(BENDS + 1):
        left = lines.against(replace(correction, own=Own("", {device: known}, {}, learned.narrowing)), at)
        tried.append((float(np.nanmedian(np.abs(left))), known))
        again = np.where(np.isfinite(left), left + known.shift(points.questions()), off)
        known = posterior(Group(points, again, metrics), learned.prior)
    return min(tried, key=lambda one: one[0])[1]


# ---- The correction that people are shown


def fleet() -> Correction | None:
    """The correction without own shifts: the version that is in use here, else the shipped one. Raises CatalogError."""
    return (registry.in_use() if may_store() else None) or shipped()


def in_effect() -> Correction | None:
    """The correction behind every answer; None where nothing is fitted. Raises CatalogError."""
    base = fleet()
    records = own_records()
    return base if base is None or not records else _in_effect(base, records)


_EFFECT: dict[_Key, Correction] = {}


def _in_effect(base: Correction, records: tuple[RunRecord, ...]) -> Correction:
    return _kept(_EFFECT, base, records, with_runs)


def remembered(maxsize: int) -> Callable[[Callable[_P, _R]], Callable[_P, _R]]:
    """As functools.lru_cache, of functions whose answer hangs on the correction in effect: each is remembered with it."""

    def wrap(of: Callable[_P, _R]) -> Callable[_P, _R]:
        @functools.lru_cache(maxsize=maxsize)
        def kept(version: str | None, /, *args: Any, **kwargs: Any) -> _R:
            return of(*args, **kwargs)

        @functools.wraps(of)
        def asked(*args: _P.args, **kwargs: _P.kwargs) -> _R:
            correction = in_effect()
            return kept(None if correction is None else correction.version, *args, **kwargs)  # type: ignore[arg-type]

        return asked

    return wrap


# ---- What calibrating is worth on one's own runs


@dataclass(frozen=True, slots=True)
class Worth:
    """Median absolute errors of own runs of one machine and metric: without calibrating, and each run by the others alone."""

    device: str
    metric: str
    runs: int
    before: float
    after: float | None  # None where no other run could tell


def left_out(correction: Correction, records: Sequence[RunRecord]) -> list[Worth]:
    """Error before and after, leave-one-out, by machine and metric. Raises CatalogError."""
    learned, lines = few_shot(), lines_of(correction, records)
    if learned is None or lines is None:
        return []
    found = []
    for device in lines.devices():
        table = lines.table[lines.table["device"] == device]
        after = left_one_out(lines.of(device), learned.prior)
        alone = table["run_id"].nunique() < 2
        for metric, ours in table.reset_index(drop=True).groupby("metric", sort=False):
            errors = [float(np.median(_ape(off, str(metric)))) for off in (ours["off"].to_numpy(), after[ours.index.to_numpy()])]
            found.append(Worth(device, str(metric), int(ours["run_id"].nunique()), errors[0], None if alone else errors[1]))
    return found


def _ape(off: np.ndarray, metric: str) -> np.ndarray:
    """Absolute error as a share, from log residuals."""
    return np.asarray(np.abs(np.expm1(-off if metric in TIMES else off)))


def curve(
    correction: Correction, records: Sequence[RunRecord], runs: Sequence[int] = (0, 1, 3, 5, 10), draws: int = 20
) -> list[dict[str, Any]]:
    """Median error on the runs that were not used, after so many of a machine's own, drawn at random: device, metric, k, error, n.

    Raises CatalogError.
    """
    learned, lines = few_shot(), lines_of(correction, records)
    if learned is None or lines is None:
        return []
    found: list[dict[str, Any]] = []
    for device in lines.devices():
        group, table = lines.of(device), lines.table[lines.table["device"] == device].reset_index(drop=True)
        names = table["run_id"].unique()
        kept: dict[tuple[int, str], list[float]] = {}
        rng = np.random.default_rng(0)
        for _ in range(draws):
            order = rng.permutation(names)
            for k in (k for k in runs if k + 2 <= len(names)):
                mine = table["run_id"].isin(order[:k]).to_numpy()
                rest, used = np.flatnonzero(~mine), np.flatnonzero(mine)
                off = group.off[rest]
                if k:
                    known = Group(group.points.take(used), group.off[used], group.metrics[used])
                    off = off - posterior(known, learned.prior).shift(group.points.take(rest))
                for metric in set(table["metric"]):
                    ours = (table["metric"].iloc[rest] == metric).to_numpy()
                    if ours.any():
                        kept.setdefault((k, metric), []).append(float(np.median(_ape(off[ours], metric))))
        each = {"device": device, "runs": len(names)}
        found += [{**each, "metric": metric, "k": k, "error": float(np.mean(errors))} for (k, metric), errors in sorted(kept.items())]
    return found
