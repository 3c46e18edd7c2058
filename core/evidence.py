"""The evidence beside an estimate: the nearest measured runs, what differs in them, and what they measured.

The index of all runs is built once a process (and again where the user's own runs have changed). A question is
answered by branch and bound: configurations stand in order of their distance, and runs are read only as far as one of
them can still be nearer than what was found.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from core import distance
from core.calibrate import in_effect, remembered
from core.cards import JOIN
from core.catalog.hardware import device
from core.catalog.models import ir
from core.catalog.quants import quant
from core.catalog.runtimes import runtime
from core.corpus import SHIPPED, open_corpus, user_folder
from core.distance import Configuration, Difference
from core.errors import RoofcastError
from core.predict import predict_runs
from core.run_sources import RunSource, read_sources
from core.runs import INPUT_COLUMNS, METRIC_COLUMNS, Run, read_run
from core.scenario import Scenario
from core.units import GIB, MS
from core.validate import excluded, excluded_metrics
from core.words import device_name, model_name

# Metric of an estimate → the columns of a run that measure it, the median before the mean, and their unit.
MEASURED: dict[str, tuple[tuple[str, ...], float]] = {
    "decode_rate": (("decode_toks_sec",), 1.0),
    "prefill_rate": (("prefill_toks_sec",), 1.0),
    "ttft": (("ttft_ms_p50", "ttft_ms_mean"), MS),
    "tpot": (("tpot_ms_p50", "tpot_ms_mean"), MS),
    "output_rate": (("output_toks_sec",), 1.0),
    "latency": (("latency_ms_p50", "latency_ms_mean"), MS),
    "memory_peak": (("vram_peak_gib",), GIB),
    "power": (("power_w",), 1.0),
}
SHARED = ("output_rate", "memory_peak", "power")  # over all systems that ran side by side
_EXCLUDED = {"TTFT": "ttft", "latency": "latency", "output rate": "output_rate"}  # names of core.validate → ours
_KEPT = (
    "run_id", "source", "origin", "source_path", "licence", "quality_tier", "sanity_flag", "fit", "fit_reason",
    "model", "device", "engine", "backend", "scheme", *INPUT_COLUMNS, *METRIC_COLUMNS,
)  # fmt: skip
_NAMES = ("model", "device", "engine", "backend", "scheme")
_AT_ONCE = 8  # configurations whose runs are read together
# Marks of doubt that the corpus abbreviates, of runs that `core.validate.excluded` lets pass.
_DOUBTS = {
    "low_bw_util<8%": "below 8 % of the memory bandwidth",
    "bw_util>1.3": "faster than the memory can be read",
    "multi_gpu_bw_util>1.3": "faster than the memory can be read",
    "bw_util>1.3(size estimated)": "faster than the memory can be read",
}
ALIKE = 1.0  # distance, but for the knob of the axis, within which a run stands beside a predicted line


@dataclass(frozen=True, slots=True)
class NearRun:
    """One measured run beside an estimate. Metrics in base units (s, tok/s, bytes, W); `ratios` are ours over measured."""

    run_id: str
    distance: float  # 1: our errors on such runs typically part by a tenth
    differences: tuple[Difference, ...]  # largest first; empty where nothing that counts differs
    scenario: Scenario
    measured: Mapping[str, float]
    ratios: Mapping[str, float]
    source: str
    url: str | None
    licence: str
    place: str  # where in the source
    date: str
    doubt: str  # in words; empty where nothing is

    @property
    def ours(self) -> dict[str, float]:
        """Our own estimate of what the run measured, where there is one."""
        return {metric: self.measured[metric] * ratio for metric, ratio in self.ratios.items() if metric in self.measured}

    @property
    def differs(self) -> str:
        """What differs, in words."""
        return _in_words(self.differences)

    @property
    def same_configuration(self) -> bool:
        """Whether only the load differs: same model, device, runtime, quantisation, split and options."""
        return _same_configuration(self.differences)

    @property
    def what(self) -> str:
        """The run in a few words."""
        system, deploy = self.scenario.system, self.scenario.deployment
        kinds = [(system.count, system.device), *((cards.count, cards.device) for cards in system.others)]
        cards = JOIN.join(f"{count} × {device_name(name)}" if count > 1 else device_name(name) for count, name in kinds)
        return f"{model_name(self.scenario.model)} {deploy.quant or ''}".rstrip() + f" on {cards}, {runtime(self.scenario.runtime).name}"


def _in_words(differences: Sequence[Difference]) -> str:
    return "; ".join(item.text for item in differences) or "nothing that counts"


def _same_configuration(differences: Sequence[Difference]) -> bool:
    return all(item.part in ("load", "software") for item in differences)


@dataclass(frozen=True, slots=True)
class _Found:
    """A run with its distance, before its metrics are read."""

    distance: float
    differences: tuple[Difference, ...]
    row: Mapping[str, Any]
    run: Run

    @property
    def order(self) -> tuple[float, str]:
        return self.distance, str(self.row["run_id"])

    @property
    def key(self) -> tuple[Any, ...]:
        """Equal for the points of one sweep: who measured which configuration, and which phase."""
        system = self.run.scenario.system
        return (distance.geometry(self.run.scenario.model), system.device, system.count, system.others,
                *(self.row[name] for name in ("engine", "backend", "scheme", "origin")), self.run.asks)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Index:
    """All runs, sorted into configurations. `codes[c]` are a configuration's places in `parts`; `rows[c]` its runs' in `table`."""

    table: pa.Table
    names: dict[str, list[str]]
    codes: dict[str, np.ndarray]
    rows: list[np.ndarray]
    sources: Mapping[str, RunSource]


def _stamp() -> tuple[tuple[str, int], ...]:
    """Changes when the user's own runs do; the shipped ones stay as they are."""
    folder = user_folder()
    files = (path for path in sorted(folder.rglob("*")) if path.is_file()) if folder.is_dir() else ()
    return tuple((str(path), path.stat().st_mtime_ns) for path in files)


@functools.lru_cache(maxsize=2)
def _index(_: tuple[tuple[str, int], ...]) -> _Index:
    corpus = open_corpus()
    try:
        runs = corpus.cursor().view("runs").filter("scenario_id is not null").project(", ".join(_KEPT))
        table = runs.to_arrow_table()
    finally:
        corpus.close()
    names: dict[str, list[str]] = {}
    codes = np.zeros((table.num_rows, len(_NAMES)), dtype=np.int64)
    for place, name in enumerate(_NAMES):
        encoded = table[name].combine_chunks().fill_null("").dictionary_encode()
        names[name] = encoded.dictionary.to_pylist()
        codes[:, place] = encoded.indices.to_numpy()
    unique, of_row = np.unique(codes, axis=0, return_inverse=True)
    order = np.argsort(of_row.ravel(), kind="stable")
    rows = np.split(order, np.cumsum(np.bincount(of_row.ravel(), minlength=len(unique)))[:-1])
    sources = {name: source for source in read_sources(SHIPPED).values() for name in source.names}
    return _Index(table, names, {name: unique[:, place] for place, name in enumerate(_NAMES)}, rows, sources)


# ---- Distances


def _each(names: list[str], part: Any) -> tuple[np.ndarray, list[Difference | None]]:
    """A part's distance for each name; infinite for a name that the catalog no longer knows."""
    found: list[Difference | None] = []
    for name in names:
        try:
            found.append(part(name))
        except RoofcastError:
            found.append(None)
    return np.array([math.inf if item is None else item.distance for item in found]), found


def _configurations(index: _Index, asked: Configuration) -> Iterator[tuple[int, float, tuple[Difference, ...]]]:
    """Configurations in order of their distance, with what differs."""
    parts = {
        "model": _each(index.names["model"], lambda name: distance.model_difference(asked.model, ir(name))),
        "device": _each(index.names["device"], lambda name: distance.device_difference(asked.device, device(name.partition(JOIN)[0]))),
        "scheme": _each(index.names["scheme"], lambda name: distance.quant_difference(asked.model, asked.quant, quant(name))),
    }
    engines, backends = index.names["engine"], index.names["backend"]
    both = index.codes["engine"] * len(backends) + index.codes["backend"]
    engine = {
        int(pair): distance.runtime_difference(
            (asked.runtime, asked.backend), (runtime(engines[pair // len(backends)]), backends[pair % len(backends)])
        )
        for pair in np.unique(both)
    }
    total = np.array([engine[int(pair)].distance for pair in both])
    for name, (distances, _) in parts.items():
        total = total + distances[index.codes[name]]
    for place in np.argsort(total, kind="stable").tolist():
        if math.isinf(total[place]):
            return
        listed = [parts[name][1][index.codes[name][place]] for name in parts]
        yield place, float(total[place]), tuple(d for d in (*listed, engine[int(both[place])]) if d is not None and d.distance > 0)


def _runs_of(index: _Index, places: list[int]) -> Iterator[tuple[int, Mapping[str, Any], Run]]:
    """The usable runs of some configurations, with the place of their configuration."""
    rows = np.concatenate([index.rows[place] for place in places])
    owners = np.repeat(places, [len(index.rows[place]) for place in places])
    for owner, row in zip(owners.tolist(), index.table.take(rows).to_pylist(), strict=True):
        if excluded(row):
            continue
        try:
            run = read_run(row)
        except RoofcastError:
            continue
        if not run.unmodelled:
            yield owner, row, run


def _found(scenario: Scenario, asked: Configuration, row: Mapping[str, Any], run: Run, known: tuple[Difference, ...]) -> _Found:
    listed = [*known, *distance.run_differences(scenario, asked.runtime, run)]
    if not row["fit"]:
        listed.append(Difference("doubt", distance.DOUBT, f"doubtful: {_doubt(row) or 'kept from the fit'}"))
    listed.sort(key=lambda item: -item.distance)
    return _Found(sum(item.distance for item in listed), tuple(listed), row, run)


def _doubt(row: Mapping[str, Any]) -> str:
    """What is doubtful about a run, in words: its own flags, else why it is kept from fitting; empty where nothing is."""
    marks = str(row["sanity_flag"] or row["fit_reason"] or "").split("; ")
    return "; ".join(_DOUBTS.get(mark, mark) for mark in marks)


# ---- The nearest


def nearest(scenario: Scenario, k: int = 5, *, corrected: bool = False) -> tuple[NearRun, ...]:
    """The `k` nearest measured runs, each of another configuration or by other people, nearest first.

    `corrected`: our estimates of them are those of the correction in effect, not the analytic ones. Raises as
    `core.setting.settle` does.
    """
    return _nearest(scenario, k, corrected, _stamp())


@remembered(maxsize=256)
def _nearest(scenario: Scenario, k: int, corrected: bool, stamp: tuple[tuple[str, int], ...]) -> tuple[NearRun, ...]:
    index, asked = _index(stamp), distance.configuration_of(scenario)
    best: dict[tuple[Any, ...], _Found] = {}
    waiting: dict[int, tuple[Difference, ...]] = {}

    def read() -> None:
        for place, row, run in _runs_of(index, list(waiting)):
            found = _found(scenario, asked, row, run, waiting[place])
            if found.key not in best or found.order < best[found.key].order:
                best[found.key] = found
        waiting.clear()

    for place, bound, known in _configurations(index, asked):
        if len(waiting) == _AT_ONCE:
            read()
        if len(best) >= k and bound > sorted(found.distance for found in best.values())[k - 1]:
            break
        waiting[place] = known
    if waiting:
        read()
    chosen = sorted(best.values(), key=lambda found: found.order)[:k]
    ours = predict_runs([found.run for found in chosen], in_effect() if corrected else None)
    return tuple(_near(found, index, prediction.metrics) for found, prediction in zip(chosen, ours, strict=True))


def _near(found: _Found, index: _Index, ours: Mapping[str, float]) -> NearRun:
    row, source = found.row, index.sources.get(str(found.row["source"]))
    columns = _columns(row)
    path = str(row["source_path"] or "")
    return NearRun(
        run_id=str(row["run_id"]),
        distance=found.distance,
        differences=found.differences,
        scenario=found.run.scenario,
        measured=_measured(row, found.run),
        ratios={m: ours[c] / float(row[c]) for m, c in columns.items() if ours.get(c, 0.0) > 0},
        source=source.title if source else str(row["source"]),
        url=_link(path, source.url) if source else None,
        licence=source.licence if source else str(row["licence"] or "your own"),
        place=path,
        date=str(row["run_date"] or ""),
        doubt=_doubt(row),
    )


def _link(path: str, url: str) -> str:
    """The very file where the path names repository and commit; else the source's own address."""
    exact = re.match(r"([\w.-]+/[\w.-]+)@([0-9a-f]{7,40}):([\w./-]+)$", path)
    return f"https://github.com/{exact[1]}/blob/{exact[2]}/{exact[3]}" if exact else url


def _columns(row: Mapping[str, Any]) -> dict[str, str]:
    """Metric → the column in which the row measures it, where that is what we estimate."""
    skipped = {_EXCLUDED.get(name) for name in excluded_metrics(row)}
    return {
        metric: next(column for column in columns if (row[column] or 0) > 0)
        for metric, (columns, _) in MEASURED.items()
        if metric not in skipped and any((row[column] or 0) > 0 for column in columns)
    }


def _measured(row: Mapping[str, Any], run: Run) -> dict[str, float]:
    """What a row measured, of one system and one sequence, in base units."""
    users = run.scenario.workload.concurrency
    found = {}
    for metric, column in _columns(row).items():
        amount = float(row[column]) * MEASURED[metric][1]
        if metric in SHARED:
            amount /= run.systems
        elif metric == "decode_rate":
            amount /= {"one": 1, "batch": users, "system": users * run.systems}[run.decode_is]
        if metric == "prefill_rate" and users > 1:
            continue  # of the whole batch: another thing than ours
        found[metric] = amount
    return found


# ---- Beside a line


def beside(scenario: Scenario, knob: Literal["users", "prompt"]) -> list[dict[str, Any]]:
    """Measured points of this very configuration along a knob: the knob, metrics in base units (NaN: not measured),
    `source` and `differs`. All else of the load lies within ALIKE. Raises as `nearest`.
    """
    return [dict(point) for point in _beside(scenario, knob, _stamp())]


@functools.lru_cache(maxsize=256)
def _beside(scenario: Scenario, knob: str, stamp: tuple[tuple[str, int], ...]) -> tuple[Mapping[str, Any], ...]:
    index, asked = _index(stamp), distance.configuration_of(scenario)
    places = []
    for place, bound, _ in _configurations(index, asked):
        if bound > 0:
            break
        places.append(place)
    if not places:
        return ()
    points = []
    for _, row, run in _runs_of(index, places):
        if not row["fit"]:
            continue
        there = _at(scenario, knob, run)
        found = _found(there, asked, row, run, ())
        if found.distance > ALIKE or not _same_configuration(found.differences):
            continue
        measured = _measured(row, run)
        if "decode_rate" not in measured and "tpot" in measured:
            measured["decode_rate"] = 1 / measured["tpot"]
        load = run.scenario.workload
        source = index.sources.get(str(row["source"]))
        x = load.concurrency if knob == "users" else load.prompt_tokens
        about = {"source": source.title if source else str(row["source"]), "differs": _in_words(found.differences)}
        points.append({knob: x, **{metric: measured.get(metric, math.nan) for metric in MEASURED}, **about})
    return tuple(points)


def _at(scenario: Scenario, knob: str, run: Run) -> Scenario:
    """The question at the run's place on the axis: what is left differs otherwise."""
    load = run.scenario.workload
    if knob == "users":
        changed = {"concurrency": load.concurrency, "arrival": load.arrival, "request_rate_per_s": load.request_rate_per_s}
    else:
        changed = {"prompt_tokens": load.prompt_tokens, "prefix_cached_tokens": load.prefix_cached_tokens}
    return scenario.model_copy(update={"workload": scenario.workload.model_copy(update=changed)})
