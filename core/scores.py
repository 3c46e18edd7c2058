"""The shipped scores: predictions made without the fold that a run belongs to, held against what was measured.

Two Parquet files are read in place: `rows` (one line per judged run and metric, with its analytic estimate and
baselines) and `scores` (one line per row and split, with p10, p50, p90 made without that fold).
"""

from __future__ import annotations

import functools
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd

from core import scores_sql as sql
from core.catalog.files import DATA
from core.corpus import SHIPPED, Corpus, open_corpus
from core.errors import RoofcastError, RunError
from core.runs import read_run
from core.scenario import from_flat

FOLDER = DATA / "fitted" / "validation"
VERSIONS = DATA / "fitted" / "versions"

# From easy to hard. The first is no honest split: near neighbours of a row stay in the fit.
SPLITS = ("row", "configuration", "model", "device", "device family", "source", "time")
METRICS = ("decode", "prefill", "TTFT", "TPOT", "output rate", "total rate", "latency", "memory", "power")
TIMES = ("TTFT", "TPOT", "latency")  # more is worse; the other speeds are rates
FILTERS = ("metric", "load", "source", "model", "device", "device_class", "runtime", "quant", "size", "support")
SLICES = ("size", "batch", "context", "device", "device_class", "runtime", "backend", "quant", "year", "source", "model",
          "support", "metric", "load", "kernel_class", "device_family")  # fmt: skip
TERMS = ("weights", "kv", "activations", "compute", "interconnect", "host", "overhead", "waiting")
BASELINES = ("mean", "roofline", "bandwidth", "planner", "analytic")
MOST_POINTS = 5000  # that a chart gets

_ROW_COLUMNS = {
    "row", "run_id", "metric", "unit", "measured", "analytic", "source", "source_path", "model", "geometry", "parameters_b",
    "active_b", "device", "device_family", "device_class", "device_count", "runtime", "backend", "quant", "kernel_class",
    "arrival", "concurrency", "prompt_tokens", "output_tokens", "context_depth", "year", "configuration", "fitted",
    "roofline", "bandwidth", "mean", "planner", "feasibility", *(f"share_{term}" for term in TERMS),
}  # fmt: skip
_SCORE_COLUMNS = {"row", "split", "fold", "group", "p10", "p50", "p90", "support"}

Row = dict[str, Any]


@dataclass(frozen=True)
class Choice:
    """Which scores: one split, and for a filter's column the values to keep (a column without values keeps all)."""

    split: str = "model"
    filters: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        wrong = sorted(set(self.filters) - set(FILTERS))
        if wrong:
            raise RunError(f"Scores cannot be filtered by '{wrong[0]}'; choose from {', '.join(FILTERS)}.")

    def bound(self) -> dict[str, Any]:
        """The parameters of a query."""
        return {"split": self.split, "filters": {name: list(self.filters.get(name) or ()) or None for name in FILTERS}}

    def with_(self, **filters: Sequence[str]) -> Choice:
        """A copy with more filters."""
        return Choice(self.split, {**self.filters, **filters})


class Scores:
    """The score files of one fit. A session asks through a cursor of its own, so sessions do not wait for each other."""

    def __init__(self, folder: Path = FOLDER, *, threads: int = 2, memory: str = "1GB") -> None:
        """Raises RunError where a file is missing, broken or without a column."""
        self.folder = folder
        self._con = duckdb.connect(config={"threads": threads, "memory_limit": memory})
        for name, columns in (("row", _ROW_COLUMNS), ("score", _SCORE_COLUMNS)):
            path = folder / f"{name}s.parquet"
            if not path.is_file():
                raise RunError(f"There are no scores in {folder}: {path.name} is missing. Make them with `roofcast validate --full`.")
            try:
                found = self._con.read_parquet(str(path))
                missing = sorted(columns - set(found.columns))
            except duckdb.Error as error:
                raise RunError(f"{path} cannot be read as Parquet; make it again with `roofcast validate --full`.") from error
            if missing:
                raise RunError(f"{path} lacks the column {missing[0]}; make it again with `roofcast validate --full`.")
            found.create_view(f"{name}_file")
        for statement in sql.SETUP:
            self._con.execute(statement)
        self.fit = _json(folder / "fit.json")

    def ask(self, query: str, **bound: Any) -> pd.DataFrame:
        """The answer to one of the fixed queries of `core.scores_sql`. Raises RunError."""
        try:
            with self._con.cursor() as cursor:
                return cursor.execute(query, bound or None).df()
        except duckdb.Error as error:
            _opened.cache_clear()  # after an internal fault the database answers nothing more
            raise RunError(f"The scores in {self.folder} cannot be read ({str(error).splitlines()[0]}).") from error

    def rows(self, query: str, **bound: Any) -> list[Row]:
        """As `ask`, as plain rows: None for what is unknown."""
        return [{str(key): _plain(item) for key, item in line.items()} for line in self.ask(query, **bound).to_dict("records")]

    # ---- What there is

    @functools.cached_property
    def splits(self) -> tuple[str, ...]:
        """The splits of these files, from easy to hard."""
        found = {line["split"] for line in self.rows(sql.SPLITS)}
        return (*(split for split in SPLITS if split in found), *sorted(found - set(SPLITS)))

    @functools.cached_property
    def metrics(self) -> tuple[str, ...]:
        found = self.options("metric")
        return tuple(metric for metric in METRICS if metric in found)

    @functools.cached_property
    def counts(self) -> Row:
        """Rows, scores, runs, sources, models, devices, machines, quants, batches, lengths …"""
        return self.rows(sql.COUNTS)[0]

    @functools.lru_cache(maxsize=32)  # noqa: B019 the files do not change while they are open
    def options(self, column: str) -> tuple[str, ...]:
        """The values of a filter's column, the commonest first."""
        return tuple(line["option"] for line in self.rows(sql.OPTIONS, column=column))

    # ---- Errors

    def summary(self, choice: Choice, by: str = "all") -> list[Row]:
        """One line per slice: n, groups, median, mean, p90, bias, near (share within 25 %), r2_log, r2, covered, below,
        above, width, and each_median, each_mean, each_near, each_covered, in which each held-out group weighs 1.

        Errors are shares; bias is the median of ln(predicted / measured); R² is None where units are mixed.
        """
        if by != "all" and by not in SLICES:
            raise RunError(f"Errors cannot be split by '{by}'; choose from {', '.join(SLICES)}.")
        return self.rows(sql.SUMMARY, by=by, **choice.bound())

    def baselines(self, choice: Choice) -> list[Row]:
        """Errors of what is simpler: name, n, median, mean, each_median, and ours on the same rows."""
        found = [self.baseline(choice, name) for name in BASELINES]
        return [line for line in found if line["n"]]

    def baseline(self, choice: Choice, name: str) -> Row:
        return self.rows(sql.BASELINE, name=name, **choice.bound())[0]

    def groups(self, choice: Choice) -> list[Row]:
        """One line per held-out group: group, n (rows with an interval), covered (of them inside), median, bias, width."""
        return self.rows(sql.GROUPS, **choice.bound())

    def worst_slices(self, choice: Choice, n: int = 10, least: int = 20) -> list[Row]:
        """The slices (metric, source, runtime, device class) of at least `least` rows whose predictions are off by the largest factor."""
        return self.rows(sql.WORST_SLICES, limit=n, least=least, **choice.bound())

    def worst_rows(self, choice: Choice, n: int = 50) -> list[Row]:
        """The rows that are off by the largest factor, either way."""
        return self.rows(sql.ROWS, limit=n, **choice.bound())

    def table(self, choice: Choice) -> pd.DataFrame:
        """Every chosen row, for export."""
        return self.ask(sql.ROWS, limit=1 << 62, **choice.bound())

    def sample(self, choice: Choice, most: int = MOST_POINTS) -> pd.DataFrame:
        """At most `most` rows, drawn in turn from each source × runtime × device, the same every time."""
        return self.ask(sql.SAMPLE, limit=min(most, MOST_POINTS), **choice.bound())

    def errors(self, choice: Choice) -> pd.DataFrame:
        """ape, held_out, inside of every chosen row."""
        return self.ask(sql.ERRORS, **choice.bound())

    def shares(self, choice: Choice, most: int = 20_000) -> pd.DataFrame:
        """p50, measured and the share of the step's time by term, of at most `most` rows."""
        return self.ask(sql.SHARES, limit=most, **choice.bound())

    # ---- Runs

    def run(self, row: int) -> Row:
        """Everything about one judged row, with its scores by split under "scores". Raises RunError for an unknown one."""
        found = self.rows(sql.RUN, row=row)
        if not found:
            raise RunError(f"There is no judged row {row}; choose one of the table.")
        return {**found[0], "scores": self.rows(sql.RUN_SCORES, row=row)}

    def feasibility(self, filters: Mapping[str, Sequence[str]] | None = None) -> list[Row]:
        """What was said of runs that all ran: feasibility, runs."""
        return self.rows(sql.FEASIBILITY, filters=Choice(filters=filters or {}).bound()["filters"])

    def refused(self, filters: Mapping[str, Sequence[str]] | None = None) -> list[Row]:
        """Runs that ran although they were said not to fit, one line each."""
        return self.rows(sql.REFUSED, filters=Choice(filters=filters or {}).bound()["filters"])

    def corpus_map(self, filters: Mapping[str, Sequence[str]] | None = None, models: int = 30, devices: int = 30) -> list[Row]:
        """Runs by model and device; what is beyond the commonest stands together."""
        bound = Choice(filters=filters or {}).bound()["filters"]
        return self.rows(sql.CORPUS_MAP, filters=bound, models=models, devices=devices)


def scores(folder: Path | None = None) -> Scores:
    """The scores of a folder, opened once for as long as its files stay the same. Raises RunError.

    Without a folder: the one that ROOFCAST_SCORES names, else the shipped one.
    """
    folder = folder or Path(os.environ.get("ROOFCAST_SCORES") or FOLDER)
    stamps = tuple(path.stat().st_mtime_ns for path in sorted(folder.glob("*"))) if folder.is_dir() else ()
    return _opened(folder, stamps)


@functools.lru_cache(maxsize=4)
def _opened(folder: Path, stamps: tuple[int, ...]) -> Scores:
    return Scores(folder)


def versions(folder: Path = VERSIONS) -> list[Row]:
    """What earlier fits left behind, oldest first; a file that is no JSON object is passed over."""
    found = [_json(path) for path in sorted(folder.glob("*.json"))] if folder.is_dir() else []
    return sorted((line for line in found if line), key=lambda line: str(line.get("date", "")))


def query_of(run: Mapping[str, Any], runs: Path = SHIPPED) -> str:
    """The address (URL query) of the estimate of a judged run's scenario.

    The run's own record says it exactly; where the record is not shipped, what the score file tells of it must do.
    Raises RoofcastError where neither makes a scenario.
    """
    record = _record(str(run["run_id"]), runs)
    if record:
        return read_run(record).scenario.to_query()
    names = ("model", "device", "runtime", "backend", "quant", "arrival", "concurrency", "prompt_tokens", "output_tokens", "context_depth")
    knobs = {name: run[name] for name in names if run.get(name) not in (None, "default")}
    if knobs.get("arrival") == "open":
        raise RunError("The run's record is not shipped, and its rate of requests is not known here.")
    return from_flat({**knobs, "count": run["device_count"]}).to_query()


def _record(run_id: str, runs: Path) -> Row | None:
    with _corpus(runs).cursor() as cursor:
        found = cursor.execute("SELECT * FROM records WHERE run_id = $run_id", {"run_id": run_id}).df().to_dict("records")
    return {str(key): item for key, item in found[0].items()} if found else None


@functools.lru_cache(maxsize=2)
def _corpus(runs: Path) -> Corpus:
    return open_corpus((runs,))


def link_or_reason(run: Mapping[str, Any], runs: Path = SHIPPED) -> tuple[str, str]:
    """(query, "") or ("", the sentence that says why the run has no estimate to show)."""
    try:
        return query_of(run, runs), ""
    except RoofcastError as error:
        return "", str(error)


def _json(path: Path) -> Row:
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _plain(item: Any) -> Any:
    item = item.item() if hasattr(item, "item") else item
    return None if item is None or item is pd.NA or (isinstance(item, float) and not math.isfinite(item)) else item
