"""The answer as rows for tables and charts, in the units people read. No new physics: sorting and scaling only."""

from __future__ import annotations

import math
from typing import Any

from core.answer import BOUNDS, Estimate, Memory, Phase
from core.catalog.files import source
from core.formulas.activations import sequences_that_fit
from core.ir import ModelIR
from core.quantity import Quantity, leaf, value
from core.step_table import named
from core.units import GIB, TFLOP, show
from core.words import device_name

# A part's place in the memory bar: what is held, what comes and goes, what the engine sets aside.
WHEN = {"now": "needed now", "peak": "transient peak", "reserved": "engine will take"}
SET_ASIDE = "set aside by the engine"  # what it takes beyond what this load needs, most of it for more cache
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
    rest = number(memory.taken) / GIB - at
    if rest > 0.005 * memory_limit(memory):
        rows.append({"part": SET_ASIDE, "when": WHEN["reserved"], "start": at, "end": at + rest, "GiB": rest})
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
        {
            "name": "Engine will take",
            "number": memory.taken,
            "help": "What the engine claims at start. Servers take a fixed share of the card whatever the model needs.",
        },
        {
            "name": "Transient peak",
            "number": memory.peak,
            "help": "The most that is held for a moment, while a prompt is read.",
        },
        {"name": "Limit", "number": memory.limit, "help": "What programs can use of this memory."},
        {
            "name": "Headroom",
            "number": memory.headroom,
            "help": "The limit less the larger of needed and peak. Negative: short.",
        },
    ]


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


def bound_names() -> list[str]:
    """Everything that can hold a phase back, as `share_rows` writes it."""
    return ["Fixed costs" if key == "overhead" else text[0].upper() + text[1:] for key, text in BOUNDS.items()]


def limit_rows(estimate: Estimate) -> list[Row]:
    """What would still fit beside the load: each a cited number."""
    limits = estimate.limits
    pool, each = limits.get("kv_pool"), limits.get("kv_per_sequence")
    rows: list[Row] = [
        {
            "name": "Longest context for these users",
            "number": _searched("longest context", limits["max_context"], "tok"),
        },
        {"name": "Tokens the KV cache can hold", "number": _searched("tokens of cache", limits["kv_tokens"], "tok")},
    ]
    if isinstance(pool, Quantity) and isinstance(each, Quantity) and number(each) > 0:
        most = sequences_that_fit(pool=pool, bytes_each=each, named="sequences with this context")
        rows.insert(1, {"name": "Most users with this context", "number": most})
    return rows


def _searched(name: str, amount: Any, unit: str) -> Any:
    if isinstance(amount, Quantity):
        return amount
    return leaf(
        name,
        float(amount),
        unit,
        "solved",
        source("solved", note="searched for with the memory formulas of this scenario"),
    )


def share_rows(estimate: Estimate) -> list[Row]:
    """What holds back each phase, in percent; each phase sums to 100."""
    rows: list[Row] = []
    phases = {"Each next token": estimate.decode.step.shares(), "First token": dict(estimate.first_token_shares)}
    for phase, shares in phases.items():
        at = 0.0
        for key, name in zip(BOUNDS, bound_names(), strict=True):
            share = 100 * float(shares.get(key, 0.0))
            if not share > 0.05:
                continue
            rows.append({"phase": phase, "bound": key, "what": name, "share": share, "start": at, "end": at + share})
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
    """The roofline plot: "roofs" (points of each line) with labels ("peaks", "slopes"), and "phases".

    Empty lists where peak or bandwidth is unknown.
    """
    phases: list[Row] = []
    limits: dict[str, tuple[float, float]] = {}
    for name, phase in (
        ("Prefill (reading the prompt)", estimate.prefill),
        ("Decode (writing the answer)", estimate.decode),
    ):
        peak, bandwidth = _peak_and_bandwidth(phase)
        time, intensity = number(phase.step.time), number(phase.intensity)
        if not (peak > 0 and bandwidth > 0 and time > 0 and intensity > 0 and math.isfinite(time)):
            continue
        limits[f"{show(peak, 'FLOP/s')} and {show(bandwidth, 'B/s')}"] = (peak, bandwidth)
        phases.append(
            {
                "phase": name,
                "intensity": intensity,
                "tflops": number(phase.flop) / time / TFLOP,
                "roof": min(peak, bandwidth * intensity) / TFLOP,
                "ridge": peak / bandwidth,
                "side": "limited by compute" if intensity > peak / bandwidth else "limited by memory",
            }
        )
    if not phases:
        return {"roofs": [], "phases": [], "peaks": [], "slopes": []}
    low = min([0.25, *(p["intensity"] / 4 for p in phases)])
    high = max(16 * max(p["ridge"] for p in phases), *(3 * p["intensity"] for p in phases))
    roofs, labels = [], []
    for name, (peak, bandwidth) in limits.items():
        roofs += [{"roof": name, "intensity": x, "tflops": min(peak, bandwidth * x) / TFLOP} for x in (low, peak / bandwidth, high)]
        labels.append({"intensity": high, "tflops": peak / TFLOP, "text": f"compute: {show(peak, 'FLOP/s')}"})
    bandwidths = dict.fromkeys(bandwidth for _, bandwidth in limits.values())
    slopes = [{"intensity": low, "tflops": b * low / TFLOP, "text": f"memory: {show(b, 'B/s')}"} for b in bandwidths]
    return {"roofs": roofs, "phases": phases, "peaks": labels, "slopes": slopes}


def assumption_rows(estimate: Estimate) -> list[Row]:
    """Every assumption, guess and choice of the user's below the shown numbers: its value, range and source."""
    rows = []
    for found in estimate.assumptions():
        cited, unit, amount = found.source, found.unit, number(found)
        low, high = (cited.low, cited.high) if cited else (None, None)
        guess = bool(cited and cited.guess)
        if math.isnan(amount):
            continue
        rows.append(
            {
                "What": found.name,
                "Value": show(amount, unit),
                "Plausible range": f"{show(low, unit)} – {show(high, unit)}" if low is not None and high is not None else "",
                "Kind": "guess" if guess and found.kind != "user" else KINDS.get(found.kind or "", ""),
                "Source": cited.title if cited else "",
                "Note": (cited.note or "") if cited else "",
            }
        )
    return sorted(rows, key=lambda row: (row["Kind"] != "guess", row["Kind"] == "you", row["What"]))


def op_rows(phase: Phase, ir: ModelIR) -> list[Row]:
    """One step's operations: time, work and what limits each. A factor learned for the whole step is spread over all of them."""
    computed = phase.step.computed
    slower = number(phase.step.time) / computed if computed > 0 else math.nan
    return [
        {
            "Operation": f"{op.name} · {device_name(op.on)}" if op.on else op.name,
            "Layers": op.layers,
            "Time (ms)": 1e3 * number(op.time) * slower,
            "Share (%)": 100 * number(op.time) / computed if computed > 0 else math.nan,
            "GFLOP": number(op.flop) / 1e9,
            "Read (MiB)": number(op.bytes) / 2.0**20,
            "Sent (MiB)": number(op.sent) / 2.0**20,
            "Limited by": BOUNDS.get(op.bound, op.bound),
        }
        for op in (named(op, ir.block(op.block) if op.block else None) for op in phase.step.ops)
    ]
