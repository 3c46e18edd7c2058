"""Comparisons, waterfalls and sweeps at the edge: plain data for JSON and rows for CSV, with units in the names."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

from core.compare import Build, Comparison
from core.response import SPEEDS, plain
from core.sweep import ALWAYS, METRICS, MONEY
from core.units import GB, HOUR
from core.waterfall import Waterfall

COMPARISON_FILE, SWEEP_FILE = "comparison.csv", "sweep.csv"  # what a download is called
# Metric → its name outside, and the unit there in base units.
EDGE = {metric: (key, unit) for key, (metric, unit) in SPEEDS.items()} | {
    "batch": ("sequences_together", 1.0),
    "needed": ("device_peak_gb", GB),
    "headroom": ("device_headroom_gb", GB),
    "memory_peak": ("memory_gb", GB),
    "max_context": ("max_context_tokens", 1.0),
    "max_batch": ("max_users", 1.0),
    "power": ("power_w", 1.0),
    "energy_per_token": ("energy_j_per_output_token", 1.0),
    "price": ("devices_usd", 1.0),
    "usd_per_h": ("usd_per_h", 1.0 / HOUR),
    "usd_per_month": ("usd_per_month", 1.0),
    "usd_per_million": ("usd_per_million_output_tokens", 1.0),
    "quality": ("quality_loss_share", 1.0),
}


def _out(metric: str, amount: float) -> float | None:
    return plain(amount / EDGE[metric][1])


# ---------------------------------------------------------------- a comparison


def comparison_dict(found: Comparison) -> dict[str, Any]:
    """The comparison as plain data: builds, what differs, and every line with p10, p50 and p90 by build."""
    return {
        "sentence": found.sentence,
        "builds": [_build_dict(one) for one in found.builds],
        "differs": {entry.key: dict(zip(_names(found), texts, strict=True)) for entry, texts in found.inputs},
        "lines": {
            EDGE[line.key][0]: {
                "title": line.title,
                "builds": {
                    one.name: {"p10": _out(line.key, cell.low), "p50": _out(line.key, cell.amount), "p90": _out(line.key, cell.high)}
                    for one, cell in zip(found.builds, line.cells, strict=True)
                },
                "better": line.better,
                "best": [found.builds[place].name for place in line.best],
                "verdict": line.verdict,
            }
            for line in found.lines
        },
    }


def _build_dict(one: Build) -> dict[str, Any]:
    return {
        "name": one.name,
        "what": one.what,
        "feasibility": None if one.found is None else one.found.feasibility,
        "why": one.why,
        "cost_basis": None if one.found is None else one.found.resolved["cost_basis"],
        "scenario": one.scenario.to_dict(),
        "query": one.scenario.to_query(),
    }


def _names(found: Comparison) -> list[str]:
    return [one.name for one in found.builds]


def comparison_csv(found: Comparison) -> str:
    """A row for every number of every build: metric, build, p10, p50, p90, whether nothing beats it for sure; then the inputs."""
    rows = [
        {
            "metric": EDGE[line.key][0], "build": one.name, "what": one.what, "p10": _out(line.key, cell.low),
            "p50": _out(line.key, cell.amount), "p90": _out(line.key, cell.high), "best": place in line.best, "verdict": line.verdict,
        }
        for line in found.lines
        for place, (one, cell) in enumerate(zip(found.builds, line.cells, strict=True))
    ]  # fmt: skip
    rows += [
        {"metric": entry.key, "build": one.name, "what": one.what, "value": text}
        for entry, texts in found.inputs
        for one, text in zip(found.builds, texts, strict=True)
    ]
    return _csv(rows, ("metric", "build", "what", "p10", "p50", "p90", "best", "verdict", "value"))


# ---------------------------------------------------------------- a waterfall


def waterfall_dict(found: Waterfall) -> dict[str, Any]:
    """The waterfall as plain data, amounts in the unit of its name."""
    return {
        "metric": EDGE[found.metric][0],
        "from": _out(found.metric, found.start),
        "to": _out(found.metric, found.end),
        "averaged_over_orders": found.averaged,
        "bars": [
            {
                "inputs": [entry.key for entry in bar.inputs],
                "before": bar.before,
                "after": bar.after,
                "amount": _out(found.metric, bar.amount),
                "least": _out(found.metric, bar.least),
                "most": _out(found.metric, bar.most),
                "factor": plain(bar.factor),
                "more_than_two_estimates_may_be_off": bar.sure,
            }
            for bar in found.bars
        ],
        "swapped_together": list(found.joined),
        "estimates": found.estimates,
    }


# ---------------------------------------------------------------- a sweep


def sweep_rows(records: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The records of a sweep with names and units as outside: the build, the knobs, whether it fits, then every metric."""
    return [_sweep_row(record) for record in records]


def _sweep_row(record: Mapping[str, Any]) -> dict[str, Any]:
    own = {name for metric in (*METRICS, *ALWAYS, *MONEY) for name in (metric, f"{metric}_p10", f"{metric}_p90")}
    row = {key: item for key, item in record.items() if key not in own and key not in ("fits", "error", "feasibility")}
    row |= {"fits": record["fits"], "feasibility": record.get("feasibility"), "error": record["error"]}
    for metric in (*METRICS, *ALWAYS, *MONEY):
        name = EDGE[metric][0]
        row[name] = _out(metric, float(record[metric]))
        for end in ("p10", "p90"):
            if metric not in MONEY and metric not in ("batch", "power", "energy_per_token"):
                row[f"{name}_{end}"] = _out(metric, float(record.get(f"{metric}_{end}", math.nan)))
    return row


def sweep_csv(records: Sequence[Mapping[str, Any]]) -> str:
    rows = sweep_rows(records)
    return _csv(rows, tuple(rows[0]) if rows else ())


def _csv(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: _safe(item) for key, item in row.items()} for row in rows)
    return out.getvalue()


def _safe(item: Any) -> Any:
    """Text that no spreadsheet takes for a formula: names may come from a link that someone else made."""
    return f"'{item}" if isinstance(item, str) and item[:1] in ("=", "+", "-", "@", "\t") else item
