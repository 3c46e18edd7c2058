"""Whether a machine's errors have grown: rolling medians by machine, runtime and version, with a test against chance.

Each run is predicted by runs that came before its version, or a whole window before it, so that a change is seen and not at once
learned. An alarm asks for a refit; whether that is promoted is decided by its own gate. How often “fits” was right is counted beside.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from core import registry
from core.calibrate import Lines, lines_of
from core.calibrate_own import few_shot
from core.calibrate_prior import Group, posterior
from core.correction import Correction
from core.errors import RoofcastError
from core.judged import TIMES
from core.records import RunRecord
from core.report import share
from core.runs import ALL_LAYERS, read_run
from core.words import device_name

LIMITS = {"decode": 0.12, "TTFT": 0.18, "memory": 0.07}  # median absolute error from which something has changed
FROM = 20  # own runs of a machine, before which nothing is said
WINDOW = 20  # of the newest runs of a stream
LEAST = 5  # in a window, before which it is not judged
CHANCE = 0.05  # over all streams together
LOOKS_BACK = 60  # lines before a run that predict it


@dataclass(frozen=True, slots=True)
class Stream:
    """One machine, runtime, version and metric. `error`: median over the window; `chance`: how likely so many runs beyond the limit
    are while the true median lies at it; `rolling`: (run, date, median up to there)."""

    device: str
    runtime: str
    version: str
    metric: str
    runs: int
    error: float
    limit: float
    chance: float
    alarm: bool
    rolling: tuple[tuple[int, str, float], ...]

    @property
    def sentence(self) -> str:
        """What happened, for people."""
        last = min(self.runs, WINDOW)
        return f"{self._where}: half of the last {last} runs are off by more than {share(self.error)} (limit {share(self.limit)})."

    @property
    def reason(self) -> str:
        """Why a refit is asked for: the same words while the alarm lasts."""
        return f"{self._where} is off by more than {share(self.limit)}"

    @property
    def _where(self) -> str:
        return f"{self.metric} on {device_name(self.device)} with {self.runtime} {self.version}".rstrip()


def drift(correction: Correction, records: Sequence[RunRecord]) -> list[Stream]:
    """The streams of machines with at least FROM own runs, alarms first. Raises CatalogError."""
    ordered = sorted(records, key=lambda record: record.run_date)  # stable: as they came where the date is the same
    found: list[tuple[tuple[str, str, str, str], pd.DataFrame]] = []
    lines = lines_of(correction, ordered)
    if lines is not None:
        for device in lines.devices():
            table = _prequential(lines, device)
            if table["run_id"].nunique() >= FROM:
                found += _streams(device, table)
    found += _memory(correction, ordered)
    judged = [(key, table) for key, table in found if len(table) >= LEAST]
    streams = [_stream(key, table, len(judged)) for key, table in judged]
    return sorted(streams, key=lambda s: (not s.alarm, s.chance, s.device, s.version))


def _prequential(lines: Lines, device: str) -> pd.DataFrame:
    """The lines of a machine in the order of their coming, each with its error as older ones predict it."""
    learned = few_shot()
    at = np.flatnonzero((lines.table["device"] == device).to_numpy())
    table, points = lines.table.iloc[at].reset_index(drop=True), lines.points.take(at)
    off = table["off"].to_numpy().copy()
    order, version = pd.factorize(table["run_id"])[0], table["version"].to_numpy()
    for run in range(order.max() + 1) if learned is not None else ():
        ours = np.flatnonzero(order == run)
        old = (order < run) & ((version != version[ours[0]]) | (order <= run - WINDOW))
        before = np.flatnonzero(old if old.any() else order < run)[-LOOKS_BACK:]
        if len(before) and learned is not None:
            group = Group(points.take(before), table["off"].to_numpy()[before], table["metric"].to_numpy()[before])
            off[ours] -= posterior(group, learned.prior, rounds=2).shift(points.take(ours))
    sign = np.where(table["metric"].isin(TIMES), -1.0, 1.0)
    return table.assign(error=np.abs(np.expm1(sign * off)))


def _streams(device: str, table: pd.DataFrame) -> list[tuple[tuple[str, str, str, str], pd.DataFrame]]:
    kept = table[table["metric"].isin(LIMITS)]
    return [((device, str(r), str(v), str(m)), ours) for (r, v, m), ours in kept.groupby(["runtime", "version", "metric"], sort=False)]


def _memory(correction: Correction, records: Sequence[RunRecord]) -> list[tuple[tuple[str, str, str, str], pd.DataFrame]]:
    """Streams of peaks, which nothing shifts."""
    from core.upload import judged

    peaks = [r for r in records if r.vram_peak_gib and not r.memory_kind and not r.failure]
    rows = [
        {"device": one.record.device, "runtime": one.record.engine, "version": one.record.runtime_version, "run_id": one.record.run_id,
         "date": one.record.run_date, "error": abs(one.off)}
        for one in judged(peaks, correction)[0] if one.column == "vram_peak_gib"
    ]  # fmt: skip
    if not rows:
        return []
    table = pd.DataFrame(rows)
    enough = table.groupby("device")["run_id"].transform("nunique") >= FROM
    groups = table[enough].groupby(["device", "runtime", "version"], sort=False)
    return [((str(d), str(r), str(v), "memory"), ours) for (d, r, v), ours in groups]


def _stream(key: tuple[str, str, str, str], table: pd.DataFrame, tests: int) -> Stream:
    device, runtime, version, metric = key
    errors, limit = table["error"].to_numpy(), LIMITS[metric]
    last = errors[-WINDOW:]
    chance = _by_chance(int((last > limit).sum()), len(last))
    rolling = tuple(
        (n + 1, str(table["date"].iloc[n]), float(np.median(errors[max(0, n + 1 - WINDOW) : n + 1]))) for n in range(LEAST - 1, len(errors))
    )
    error = float(np.median(last))
    return Stream(device, runtime, version, metric, len(errors), error, limit, chance, error > limit and chance < CHANCE / tests, rolling)


def _by_chance(beyond: int, runs: int) -> float:
    """How likely at least so many of the runs lie beyond a limit that half of all lie beyond."""
    return sum(math.comb(runs, n) for n in range(beyond, runs + 1)) / 2.0**runs


def watch(correction: Correction, records: Sequence[RunRecord]) -> list[Stream]:
    """As `drift`; alarms ask for a refit. Raises CatalogError."""
    found = drift(correction, records)
    if alarms := [stream.reason for stream in found if stream.alarm]:
        registry.want(alarms)
    return found


# ---- Does it fit?


@dataclass(frozen=True, slots=True)
class Feasible:
    """Own runs by whether they were said to fit and whether they did. `wrong`: a sentence for each that was said wrongly."""

    fitted: int  # said to fit, ran
    refused: int  # said not to fit, ran out of memory
    false_positive: int  # said to fit, ran out of memory
    false_negative: int  # said not to fit, ran
    wrong: tuple[str, ...]


def feasibility(records: Sequence[RunRecord]) -> Feasible:
    """How often “fits” was right. Runs that failed for another reason than memory, and those that cannot be estimated, do not count."""
    from core.estimate import estimate
    from core.upload_tables import run_name

    counts = {(said, ran): 0 for said in (True, False) for ran in (True, False)}
    wrong = []
    for record in records:
        if record.memory_kind or record.failure not in ("", "out_of_memory"):
            continue
        try:
            found = estimate(read_run(record.model_dump()).scenario, strict=False)
        except RoofcastError:
            continue
        # An engine that was told to hold every layer on its devices does not fall back on the host's memory.
        said = found.feasibility == "in_vram" if (record.n_gpu_layers or 0) >= ALL_LAYERS else found.runs
        ran = not record.failure
        counts[said, ran] += 1
        if said != ran:
            wrong.append(f"{run_name(record)}: said {'to fit' if said else 'not to fit'}, {'ran' if ran else 'ran out of memory'}.")
    return Feasible(counts[True, True], counts[False, False], counts[True, False], counts[False, True], tuple(wrong))
