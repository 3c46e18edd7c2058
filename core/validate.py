"""How far the analytic estimate lies from measured runs: errors by row and metric, and their summary by slice.

Which rows are judged is decided by inputs alone: a rule that looked at the residual would flatter the error.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from core.cards import JOIN
from core.catalog.hardware import device
from core.predict import Prediction, predict_rows, read_table
from core.runs import METRIC_COLUMNS

# What is compared: the median where a row has it, else the mean.
METRICS: dict[str, tuple[str, ...]] = {
    "prefill": ("prefill_toks_sec",),
    "decode": ("decode_toks_sec",),
    "output rate": ("output_toks_sec",),
    "total rate": ("total_toks_sec",),
    "TTFT": ("ttft_ms_p50", "ttft_ms_mean"),
    "TPOT": ("tpot_ms_p50", "tpot_ms_mean"),
    "latency": ("latency_ms_p50", "latency_ms_mean"),
    "memory": ("vram_peak_gib",),
    "power": ("power_w",),
}

# Flags that name a fact of the run. Those that name an improbable result are no reason to leave a row out.
_INPUT_FLAGS = re.compile(r"speculative|offload|nsys|cold start|cold run|think time|vram>device")
COLUMNS = ("row", "source", "model", "device", "device_class", "runtime", "quant", "arrival", "concurrency",
           "metric", "measured", "predicted", "ape", "log_ratio")  # fmt: skip

RULES = (
    "sanity_flag that names a fact of the run (speculative decoding, offload, tracing, cold start); "
    "flags that name an improbable result are kept",
    "quality_tier C",
    "notes that begin SPECDEC or AGENTIC",
    "runs with the KV cache off",
    "TTFT and latency of prompts that are likely cached (llmperf's shared preamble, later turns of a conversation)",
    "TTFT, latency and system rates of disaggregated runs: only a decode worker is estimated",
    "latency of Qwen2 and Qwen2.5 in the Qwen documentation with prompts above one token: their speed is output over "
    "time, but the latency was derived as (prompt + output) over speed",
)


def excluded(row: Mapping[str, Any]) -> str:
    """Why a row is left out of the table, from inputs and the source's own labels; empty when it is not."""
    notes, flag = str(row.get("notes") or ""), str(row.get("sanity_flag") or "")
    if re.match(r"SPECDEC|AGENTIC", notes):
        return notes[:7]
    if re.search(r"(?i)KV cache (?:disabled|off)", notes):
        return "KV cache off"
    if row.get("quality_tier") == "C":
        return "tier C"
    return f"flag: {flag}" if _INPUT_FLAGS.search(flag) else ""


def excluded_metrics(row: Mapping[str, Any]) -> tuple[str, ...]:
    """Metrics of a row that do not measure what is estimated."""
    notes = str(row.get("notes") or "")
    if "prefill" in notes and re.search(r"decode \d+x\(tp", notes):
        return ("TTFT", "latency", "output rate", "total rate")
    if re.search(r"= \(prompt\+\d+\)/time", notes) and re.match(r"Qwen/Qwen2[.-]", str(row.get("model_id") or "")):
        return ("latency",) if str(row.get("prompt_tokens") or "") not in ("1", "1.0") else ()
    if re.search(r"prefix caching of the shared|later turns may reuse prompt cache", notes):
        return ("TTFT", "latency")
    return ()


def analytic_errors(path: str | Path) -> pd.DataFrame:
    """One line per row and metric of a file of runs: measured, predicted, absolute error (a share), log ratio.

    The log ratio is ln(predicted / measured): above 0 the estimate is too high. `attrs` of the table hold the counts:
    "rows", "excluded" by reason, "errors" by sentence, "rules". Raises RunError for a bad file.
    """
    header, rows = read_table(path)
    left_out: dict[str, int] = {}
    failed: dict[str, int] = {}
    records: list[dict[str, Any]] = []
    for number, (cells, prediction) in enumerate(zip(rows, predict_rows(header, rows), strict=True)):
        row = dict(zip(header, cells, strict=True))
        if reason := excluded(row):
            left_out[reason] = left_out.get(reason, 0) + 1
            continue
        if prediction.error:
            failed[prediction.error] = failed.get(prediction.error, 0) + 1
            continue
        records.extend(_errors_of(number, row, prediction))
    table = pd.DataFrame.from_records(records, columns=list(COLUMNS))
    table.attrs = {"rows": len(rows), "excluded": left_out, "errors": failed, "rules": list(RULES)}
    return table


def measured_metrics(row: Mapping[str, Any]) -> dict[str, tuple[str, float]]:
    """What a row measured: metric → (column, value), the median before the mean; only positive numbers count."""
    found: dict[str, tuple[str, float]] = {}
    for metric, columns in METRICS.items():
        for column in columns:
            try:
                amount = float(row.get(column) or "nan")
            except ValueError:
                continue
            if math.isfinite(amount) and amount > 0:
                found[metric] = (column, amount)
                break
    return found


def _errors_of(number: int, row: Mapping[str, Any], prediction: Prediction) -> list[dict[str, Any]]:
    assert prediction.run is not None
    scenario = prediction.run.scenario
    skipped = excluded_metrics(row)
    what = {
        "row": number,
        "source": row.get("source") or "not stated",
        "model": scenario.model,
        "device": scenario.system.device,
        "device_class": device_class(scenario.system.device),
        "runtime": scenario.runtime,
        "quant": scenario.deployment.quant or "default",
        "arrival": scenario.workload.arrival,
        "concurrency": scenario.workload.concurrency,
    }
    lines = []
    for metric, (column, measured) in measured_metrics(row).items():
        predicted = prediction.metrics.get(column, math.nan)
        if metric in skipped or not predicted > 0:
            continue
        ratio = predicted / measured
        lines.append({**what, "metric": metric, "measured": measured, "predicted": predicted,
                      "ape": abs(ratio - 1), "log_ratio": math.log(ratio)})  # fmt: skip
    return lines


@functools.lru_cache(maxsize=4096)
def device_class(device_id: str) -> str:
    """Apple, CPU, consumer … : the class in which devices behave alike; of cards of several kinds that of the first."""
    found = device(device_id.partition(JOIN)[0])
    vendor = "" if found.device_class in ("cpu", "apple", "npu", "embedded") else f"{found.vendor} "
    return f"{vendor}{found.device_class}"


def summary(errors: pd.DataFrame, by: Sequence[str] = ("metric",)) -> pd.DataFrame:
    """Count, median and 90th percentile of the error, and median log ratio (bias), by slice; largest slices first."""
    columns = [*by, "n", "median", "p90", "bias"]
    if errors.empty:
        return pd.DataFrame(columns=columns)
    groups = errors.groupby(list(by), sort=False)
    table = groups.agg(
        n=("ape", "size"),
        median=("ape", "median"),
        p90=("ape", lambda s: float(np.quantile(s, 0.9))),
        bias=("log_ratio", "median"),
    ).reset_index()
    return table.sort_values(["n", *by], ascending=[False, *([True] * len(by))], ignore_index=True)[columns]


def worst_slices(
    errors: pd.DataFrame,
    n: int = 10,
    min_rows: int = 20,
    by: Sequence[str] = ("source", "runtime", "device_class", "metric"),
) -> pd.DataFrame:
    """The `n` slices of at least `min_rows` with the largest median error."""
    table = summary(errors, by)
    large = table[table["n"] >= min_rows]
    return large.sort_values("median", ascending=False, ignore_index=True).head(n)


def analytic_report(path: str | Path) -> dict[str, Any]:
    """Everything `roofcast validate --analytic` shows, as plain data: counts, rules, and summaries by slice."""
    errors = analytic_errors(path)

    def plain(table: pd.DataFrame) -> list[dict[str, Any]]:
        return [{str(k): v.item() if hasattr(v, "item") else v for k, v in line.items()} for line in table.to_dict("records")]

    return {
        **{str(key): item for key, item in errors.attrs.items()},
        "judged": int(errors["row"].nunique()),
        "by": {key: plain(summary(errors, ["metric"] if key == "metric" else [key, "metric"]))
               for key in ("metric", "source", "runtime", "device_class")},
        "worst": plain(worst_slices(errors)),
    }  # fmt: skip


assert set(METRIC_COLUMNS) >= {column for columns in METRICS.values() for column in columns}
