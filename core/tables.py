"""The answer as rows for tables and charts, in the units in which people read them. No new physics: sorting and scaling only."""

from __future__ import annotations

import math
from typing import Any

from core.answer import BOUNDS, Estimate, Memory, Phase
from core.quantity import Quantity, value
from core.units import GIB, TFLOP, show

# A part's place in the memory bar: what is held, what comes and goes, what the engine sets aside.
WHEN = {"now": "needed now", "peak": "transient peak", "reserved": "engine will take"}
KINDS = {
    "datasheet": "datasheet",
    "model_config": "model's config",
    "user": "you",
    "assumption": "assumption",
    "measured": "measured",
    "fitted": "fitted",
    "solved": "solved",
    "constant": "definition",
}

Row = dict[str, Any]


def number(x: Any) -> float:
    return float(value(x))


def memory_rows(memory: Memory) -> list[Row]:
    """Parts of a memory's bar from left to right, in GiB: what is needed, then the peak, then what is set aside."""
    rows: list[Row] = []
    at = 0.0
    for when in WHEN:
        for part in memory.parts:
            amount = number(part.amount) / GIB
            if part.when != when or not amount > 0:
                continue
            rows.append({"part": part.name, "when": WHEN[when], "start": at, "end": at + amount, "GiB": amount})
            at += amount
    return rows


def memory_limit(memory: Memory) -> float:
    """The limit in GiB."""
    return number(memory.limit) / GIB


def memory_scale(memory: Memory) -> float:
    """GiB at which the bar's axis ends: a little beyond the limit or what is needed."""
    ends = [row["end"] for row in memory_rows(memory)]
    return 1.08 * max([memory_limit(memory), number(memory.taken) / GIB, *ends])


def memory_summary(memory: Memory) -> list[Row]:
    """The three sums, the limit and what is left, each a cited number."""
    return [
        {"name": "Needed now", "number": memory.needed, "help": "What this load holds while it runs."},
        {"name": "Engine will take", "number": memory.taken,
         "help": "What the engine claims at start. Servers such as vLLM take a fixed share of the card whatever the model needs."},
        {"name": "Transient peak", "number": memory.peak, "help": "The most that is held for a moment, while a prompt is read."},
        {"name": "Limit", "number": memory.limit, "help": "What programs can use of this memory."},
        {"name": "Headroom", "number": memory.headroom, "help": "The limit less the larger of needed and peak. Negative: short."},
    ]  # fmt: skip


def part_rows(memory: Memory) -> list[Row]:
    """Every part as a line: its GiB and the share of the limit."""
    limit = number(memory.limit)
    return [
        {
            "Part": part.name,
            "GiB": number(part.amount) / GIB,
            "Share of limit": 100 * number(part.amount) / limit if limit > 0 else math.nan,
            "Held": WHEN[part.when],
        }
        for part in memory.parts
    ]


def share_rows(estimate: Estimate) -> list[Row]:
    """What holds back each phase, in percent; each phase sums to 100."""
    rows: list[Row] = []
    phases = {"Each next token": estimate.decode.step.shares(), "First token": dict(estimate.first_token_shares)}
    for phase, shares in phases.items():
        at = 0.0
        for order, key in enumerate(BOUNDS):
            share = 100 * float(shares.get(key, 0.0))
            if not share > 0.05:
                continue
            rows.append({"phase": phase, "bound": key, "what": BOUNDS[key][0].upper() + BOUNDS[key][1:], "order": order,
                         "share": share, "start": at, "end": at + share})  # fmt: skip
            at += share
    return rows


def _peak_and_bandwidth(phase: Phase) -> tuple[float, float]:
    """The roof's two lines: from the ridge's own inputs where it is cited, else back from what was achieved."""
    if isinstance(phase.ridge, Quantity) and {"peak", "bandwidth"} <= set(phase.ridge.inputs):
        return number(phase.ridge.inputs["peak"]), number(phase.ridge.inputs["bandwidth"])
    time = number(phase.step.time)
    mbu = number(phase.mbu)
    bandwidth = number(phase.bytes) / time / mbu if time > 0 and mbu > 0 else math.nan
    return bandwidth * number(phase.ridge), bandwidth


def roofline(estimate: Estimate) -> dict[str, list[Row]]:
    """The roofline plot: "roofs" (points of each roof's line) and "phases" (where this scenario's phases stand).

    Empty lists where peak or bandwidth is unknown.
    """
    phases: list[Row] = []
    limits: dict[str, tuple[float, float]] = {}
    for name, phase in (("Prefill (reading the prompt)", estimate.prefill), ("Decode (writing the answer)", estimate.decode)):
        peak, bandwidth = _peak_and_bandwidth(phase)
        time, intensity = number(phase.step.time), number(phase.intensity)
        if not (peak > 0 and bandwidth > 0 and time > 0 and intensity > 0 and math.isfinite(time)):
            continue
        limits[f"{show(peak, 'FLOP/s')} and {show(bandwidth, 'B/s')}"] = (peak, bandwidth)
        phases.append({
            "phase": name,
            "intensity": intensity,
            "tflops": number(phase.flop) / time / TFLOP,
            "roof": min(peak, bandwidth * intensity) / TFLOP,
            "ridge": peak / bandwidth,
            "side": "limited by compute" if intensity > peak / bandwidth else "limited by memory",
        })  # fmt: skip
    if not phases:
        return {"roofs": [], "phases": []}
    low = min([0.25, *(p["intensity"] / 4 for p in phases)])
    high = max(p["ridge"] for p in phases) * 16
    high = max([high, *(p["intensity"] * 3 for p in phases)])
    roofs = [
        {"roof": name, "intensity": x, "tflops": min(peak, bandwidth * x) / TFLOP}
        for name, (peak, bandwidth) in limits.items()
        for x in (low, peak / bandwidth, high)
    ]
    return {"roofs": roofs, "phases": phases}


def assumption_rows(estimate: Estimate) -> list[Row]:
    """Every assumption, guess and choice of the user's below the shown numbers: its value, range and source."""
    rows = []
    for leaf in estimate.assumptions():
        source = leaf.source
        low, high = (source.low, source.high) if source else (None, None)
        guess = bool(source and source.guess)
        amount = number(leaf)
        if math.isnan(amount):
            continue
        rows.append({
            "What": leaf.name,
            "Value": show(amount, leaf.unit),
            "Plausible range": f"{show(low, leaf.unit)} – {show(high, leaf.unit)}" if low is not None and high is not None else "",
            "Kind": "guess" if guess and leaf.kind != "user" else KINDS.get(leaf.kind or "", ""),
            "Source": source.title if source else "",
            "Note": (source.note or "") if source else "",
        })  # fmt: skip
    return sorted(rows, key=lambda row: (row["Kind"] != "guess", row["Kind"] == "you", row["What"]))


def op_rows(phase: Phase) -> list[Row]:
    """One step's operations: time, work and what limits each."""
    whole = number(phase.step.time)
    return [
        {
            "Operation": op.name,
            "Layers": op.layers,
            "Time (ms)": 1e3 * number(op.time),
            "Share (%)": 100 * number(op.time) / whole if whole > 0 else math.nan,
            "GFLOP": number(op.flop) / 1e9,
            "Read (MiB)": number(op.bytes) / 2.0**20,
            "Sent (MiB)": number(op.sent) / 2.0**20,
            "Limited by": BOUNDS.get(op.bound, op.bound),
        }
        for op in phase.step.ops
    ]
