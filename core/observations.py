"""What the corpus says in the form in which it is fitted and judged: scenarios, and one line per run and metric."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from core.errors import RoofcastError
from core.features import Table, tabulate
from core.predict import metrics_of
from core.runs import Run, read_run
from core.scenario import Scenario
from core.validate import excluded, excluded_metrics, measured_metrics

# Metric as the pages name it → the estimate's metric.
ESTIMATED = {
    "prefill": "prefill_rate", "decode": "decode_rate", "output rate": "output_rate", "total rate": "total_rate",
    "TTFT": "ttft", "TPOT": "tpot", "latency": "latency", "memory": "memory_peak", "power": "power",
}  # fmt: skip
SEVERAL = "cards of several kinds in one machine: one such pair was measured, which is no group to fit or hold out"
SPEEDS = ("prefill", "decode", "output rate", "total rate", "TTFT", "TPOT", "latency")


@dataclass(slots=True)
class Observations:
    """`scenarios[i]` is what `runs[i]` measured. `lines`: one row per run and metric, see `observe_runs`."""

    runs: list[Run]
    scenarios: list[Scenario]
    table: Table
    lines: pd.DataFrame
    left_out: dict[str, int]
    failed: dict[str, int]


def observe_runs(records: pd.DataFrame) -> Observations:
    """Runs of the corpus (`core.corpus.runs_table`) as lines to fit and to judge.

    Lines have: `place` (position in `scenarios`), `run_id`, `source`, `origin`, `metric`, `column`, `measured`, `analytic`, and
    `key`, `factor`, `inverse`: the column is factor × the estimate's metric `key`, or factor ÷ it; `decode`, `prefill`:
    elasticities of the column in the two steps; `fit`: whether it takes part in fitting.
    """
    runs: list[Run] = []
    kept: list[dict[str, Any]] = []
    left_out: dict[str, int] = {}
    failed: dict[str, int] = {}
    plain = records.astype(object).where(records.notna(), None)
    for record in plain.to_dict("records"):
        row = {str(key): item for key, item in record.items()}
        if row.get("memory_kind"):
            continue
        if reason := excluded(row):
            left_out[reason] = left_out.get(reason, 0) + 1
            continue
        try:
            run = read_run(row)
        except RoofcastError as error:
            failed[str(error)] = failed.get(str(error), 0) + 1
            continue
        if reason := run.unmodelled or (SEVERAL if run.scenario.system.others else ""):
            left_out[reason] = left_out.get(reason, 0) + 1
            continue
        runs.append(run)
        kept.append(row)
    table = tabulate([run.scenario for run in runs])
    for sentence in table.failed.values():
        failed[sentence] = failed.get(sentence, 0) + 1
    lines = [line for at, place in enumerate(table.index) for line in _lines(at, runs[place], kept[place], table)]
    ordered = [runs[place] for place in table.index]
    frame = pd.DataFrame.from_records(lines)
    return Observations(ordered, [run.scenario for run in ordered], table, frame, left_out, failed)


def _lines(at: int, run: Run, row: Mapping[str, Any], table: Table) -> list[dict[str, Any]]:
    numbers = {name: float(amounts[at]) for name, amounts in table.metrics.items()}
    columns = metrics_of(run, numbers)
    skipped = excluded_metrics(row)
    lines = []
    for metric, (column, measured) in measured_metrics(row).items():
        predicted = columns.get(column, math.nan)
        if metric in skipped or not (predicted > 0 and math.isfinite(predicted)):
            continue
        key, inverse = _key(metric, run)
        factor = predicted * numbers[key] if inverse else predicted / numbers[key]
        decode, prefill = (float(part[at]) for part in table.elastic[key]) if key in table.elastic else (0.0, 0.0)
        sign = -1.0 if inverse else 1.0
        lines.append({
            "place": at, "run_id": row.get("run_id"), "source": row.get("source"), "metric": metric,
            "origin": row.get("origin") or row.get("source"),
            "column": column, "measured": measured, "analytic": predicted, "key": key, "factor": factor, "inverse": inverse,
            "decode": sign * decode, "prefill": sign * prefill, "fit": bool(row.get("fit", True)),
            "source_path": row.get("source_path"), "date": str(row.get("run_date") or ""),
        })  # fmt: skip
    return lines


def _key(metric: str, run: Run) -> tuple[str, bool]:
    """The estimate's metric that a column follows, and whether it follows one over it."""
    load = run.scenario.workload
    if metric == "prefill" and load.arrival == "static" and load.concurrency > 1:
        return "ttft", True
    if metric == "decode" and run.decode_is == "system":
        return "output_rate", False
    return ESTIMATED[metric], False


def column_values(lines: pd.DataFrame, metrics: Mapping[str, np.ndarray]) -> np.ndarray:
    """The lines' columns from metrics (arrays along the scenarios, base units)."""
    found = np.full(len(lines), np.nan)
    places, factor, inverse = lines["place"].to_numpy(), lines["factor"].to_numpy(), lines["inverse"].to_numpy()
    keys = lines["key"].to_numpy()
    for key in np.unique(keys):
        ours = keys == key
        amount = metrics[str(key)][places[ours]]
        with np.errstate(all="ignore"):
            found[ours] = np.where(inverse[ours], factor[ours] / amount, factor[ours] * amount)
    return found
