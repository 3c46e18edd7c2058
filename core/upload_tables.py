"""Own runs as tables for people: measured beside predicted, what is stored, and a file to take away."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from core.records import RunRecord
from core.report import share
from core.run_artifact import NOISY
from core.units import significant
from core.upload import Judged
from core.upload_columns import targets
from core.upload_table import as_csv
from core.words import device_name, model_name

UNITS = {"toks_sec": "tok/s", "ms": "ms", "gib": "GiB", "w": "W"}
_KEPT = (
    "run_date", "model_id", "model_name_raw", "quant", "runtime", "runtime_version", "gpu_name", "gpu_count", "cpu_name", "threads",
    "flash_attn", "load_kind", "concurrency", "request_rate", "prompt_tokens", "output_tokens", "context_depth", "prefill_toks_sec",
    "decode_toks_sec", "output_toks_sec", "ttft_ms_p50", "tpot_ms_p50", "latency_ms_p50", "vram_peak_gib", "power_w", "failure", "notes",
)  # fmt: skip
EXPORT_NAME = "my-runs.csv"


def title(column: str) -> str:
    """A figure's name for people."""
    found = targets().get(column)
    return found.title if found else column


def unit(column: str) -> str:
    """The unit that a record's column counts in."""
    return next((shown for ending, shown in UNITS.items() if column.endswith(f"_{ending}") or f"_{ending}_" in column), "")


def run_name(record: RunRecord) -> str:
    """A run in a few words: model, quantisation, machine, engine."""
    return f"{_model(record)} on {_machine(record)}, {record.engine or record.runtime}"


def _model(record: RunRecord) -> str:
    return f"{model_name(record.model or record.model_id or record.model_name_raw)} {record.scheme or record.quant}".strip()


def _machine(record: RunRecord) -> str:
    cards = f"{record.gpu_count:.0f} × " if record.gpu_count and record.gpu_count > 1 else ""
    return f"{cards}{device_name(record.device).split('?')[0]}"


def load_name(record: RunRecord) -> str:
    """A run's load in a few words."""
    lengths = [f"{amount:,.0f} {word}" for amount, word in ((record.prompt_tokens, "in"), (record.output_tokens, "out")) if amount]
    depth = [f"{record.context_depth:,.0f} deep"] if record.context_depth else []
    many = record.concurrency if (record.concurrency or 1) > 1 else None
    users = [] if many is None else [f"batch of {many:,.0f}" if record.load_kind == "static_batch" else f"{many:,.0f} users"]
    rate = [f"{record.request_rate:,.4g} requests/s"] if record.request_rate else []
    return ", ".join([*lengths, *depth, *(rate or users)]) or "one user"


def beside(lines: Sequence[Judged]) -> list[dict[str, Any]]:
    """Rows of measured beside predicted, for a table and for a chart: `ratio`, `low` and `high` are over what was measured."""
    rows, shared = [], shared_by(lines)
    for line in lines:
        span = "" if line.low is None or line.high is None else f"{significant(line.low, 3)} to {significant(line.high, 3)}"
        rows.append({
            "run": run_name(line.record), "load": load_name(line.record), "what": title(line.column),
            "measured": f"{significant(line.measured, 4)} {unit(line.column)}",
            "predicted": f"{significant(line.predicted, 3)} {unit(line.column)}", "span": span,
            "off": _off(line.off),
            "inside": {True: "✓ inside", False: "✗ outside", None: "–"}[line.inside],
            "ratio": line.predicted / line.measured,
            "low": None if line.low is None else line.low / line.measured,
            "high": None if line.high is None else line.high / line.measured,
            "label": " · ".join(part for part in (*_parts(line.record), title(line.column)) if part not in shared),
        })  # fmt: skip
    return rows


def _off(off: float) -> str:
    told = share(abs(off))
    return told if told.startswith("×") else f"{'+' if off > 0 else '−'}{told}"


def _parts(record: RunRecord) -> tuple[str, ...]:
    """What tells a run from others, in words."""
    return _model(record), _machine(record), record.engine or record.runtime, load_name(record)


def shared_by(lines: Sequence[Judged]) -> tuple[str, ...]:
    """Of model, machine, engine and load what all lines have in common; of a single one nothing."""
    if len(lines) < 2:
        return ()
    return tuple(sides[0] for sides in zip(*(_parts(line.record) for line in lines), strict=True) if len(set(sides)) == 1)


def most_off(rows: Sequence[dict[str, Any]], most: int) -> list[dict[str, Any]]:
    """At most so many rows of `beside`: where there are more, those whose prediction is farthest from what was measured."""
    return list(rows) if len(rows) <= most else sorted(rows, key=lambda row: -abs(math.log(row["ratio"])))[:most]


def verdict(lines: Sequence[Judged]) -> str:
    """How the predictions did, in one sentence; "" without any."""
    if not lines:
        return ""
    errors = sorted(abs(line.off) for line in lines)
    middle = errors[(len(errors) - 1) // 2]  # of two the smaller: half of them lie within it
    ranged = [line for line in lines if line.inside is not None]
    held = sum(bool(line.inside) for line in ranged)
    told = f", and {held} of {len(ranged)} lie inside their range" if ranged else ""
    return f"Half of these {len(lines)} figures are predicted within {share(middle)}{told}." if len(lines) > 1 else (
        f"Predicted {share(errors[0])} off{', inside its range' if held else ', outside its range' if ranged else ''}."
    )  # fmt: skip


KINDS_SHOWN = {"decode": "Decode", "prefill": "Prefill", "serving": "Serving", "first token": "First token"}


def promise_rows(found: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """What own runs bring, as rows for people: by kind and number of runs the median and the mean machine, and how often ranges held."""
    told = {(line["split"], line["kind"], line["how"], line["models"], line["k"]): line for line in found}
    rows = []
    for kind in KINDS_SHOWN:
        for k in sorted({line["k"] for line in found}):
            if (drawn := told.get(("source", kind, "drawn", "any", k))) is None:
                continue
            other, chosen = (told.get(("source", kind, *way, k)) for way in (("drawn", "other"), ("chosen", "any")))
            rows.append({
                "What": kind, "Own runs": str(k), "Median machine": share(drawn["median"]), "Mean": share(drawn["mean"]),
                "Other models": f"{share(other['median'])} (from {share(other['before'])})" if other and k else "",
                "Chosen runs": share(chosen["median"]) if chosen else "",
                "Ranges held": share(drawn["covered"]), "Range": f"×{drawn['width']:.2f}", "Machines": str(drawn["machines"]),
            })  # fmt: skip
    return rows


def promise_lines(found: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The same for a chart: kind, k, median, and which runs."""
    ways = {("drawn", "any"): "runs drawn at random", ("chosen", "any"): "runs as proposed",
            ("drawn", "other"): "drawn at random, scored on other models"}  # fmt: skip
    lines = [
        {"kind": line["kind"], "k": line["k"], "median": line["median"], "runs": ways[line["how"], line["models"]]}
        for line in found
        if line["split"] == "source" and (line["how"], line["models"]) in ways and line["kind"] in KINDS_SHOWN
    ]
    order = (list(KINDS_SHOWN), list(ways.values()))
    return sorted(lines, key=lambda line: (order[0].index(line["kind"]), order[1].index(line["runs"]), line["k"]))


def stored_rows(records: Sequence[RunRecord]) -> list[dict[str, Any]]:
    """Own runs as rows of a table, newest first, with their run_id. `state`: why a run shifts nothing, in a word."""
    return [
        {
            "run_id": record.run_id, "state": state(record), "model": _model(record), "engine": record.engine or record.runtime,
            "load": load_name(record), "figures": figures(record), "date": record.run_date, "machine": _machine(record),
            "doubt": record.sanity_flag or record.fit_reason, "from": record.source_path,
        }
        for record in sorted(records, key=lambda r: r.run_date, reverse=True)
    ]  # fmt: skip


STATES = {"noisy": "⚠ noisy", "failed": "✗ failed", "memory": "memory", "doubtful": "⚠ doubtful", "used": ""}


def state(record: RunRecord) -> str:
    """What a run is good for: "" where it shifts estimates."""
    kind = "failed" if record.failure else "memory" if record.memory_kind else "used" if record.fit else "doubtful"
    return STATES["noisy" if kind == "doubtful" and record.sanity_flag.startswith(NOISY) else kind]


def states(records: Sequence[RunRecord]) -> str:
    """How many of the runs shift no estimate, and why, in one sentence; "" where all do."""
    held = [state(record) for record in records]
    told = {"noisy": "{} taken on a machine that was not quiet", "doubtful": "{} doubtful", "failed": "{} that failed",
            "memory": "{} of memory alone"}  # fmt: skip
    parts = [text.format(f"{held.count(STATES[kind]):,}") for kind, text in told.items() if STATES[kind] in held]
    return f"These shift no estimate of speed: {', '.join(parts)}." if parts else ""


_SHORT = {
    "decode_toks_sec": "decode {} tok/s", "prefill_toks_sec": "prefill {} tok/s", "ttft_ms_p50": "TTFT {} ms", "tpot_ms_p50": "TPOT {} ms",
    "output_toks_sec": "{} tok/s in all", "latency_ms_p50": "latency {} ms", "vram_peak_gib": "{} GiB at the peak", "power_w": "{} W",
}  # fmt: skip


def figures(record: RunRecord) -> str:
    """What a run measured, in a few words: its main figures, or else all of them; of one that failed, how."""
    if record.memory_kind:
        what = record.memory_kind.replace("_", " ").replace("ram", "RAM").replace("vram", "VRAM").replace("kv", "KV")
        return f"{what} {significant(record.memory_gib or 0.0, 3)} GiB"
    if record.failure:
        return record.failure.replace("_", " ")
    main = [form.format(significant(amount, 3)) for name, form in _SHORT.items() if (amount := getattr(record, name)) is not None]
    others = (f"{title(c)} {significant(a, 3)} {unit(c)}" for c in targets() if (a := _figure(record, c)) is not None)
    return ", ".join(main) or "; ".join(others)


def _figure(record: RunRecord, column: str) -> float | None:
    found = getattr(record, column) if targets()[column].units and column not in ("ram_gb", "power_limit_w") else None
    return found if isinstance(found, float) else None


def export(records: Sequence[RunRecord]) -> str:
    """Own runs as CSV that the page reads again. A cell that a spreadsheet would run as a formula is quoted."""
    return as_csv(_KEPT, [[_safe(getattr(record, column)) for column in _KEPT] for record in records])


def _safe(cell: Any) -> str:
    text = "" if cell is None else f"{cell:.10g}" if isinstance(cell, float) else str(cell)
    return f"'{text}" if text[:1] in "=+@\t" and text else text
