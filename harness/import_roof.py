"""What a single stream's run is held against before it may be fitted: bounds of the datasheet, with no fitted constant."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from core.errors import RoofcastError
from core.runs import Run, read_run
from core.setting import Setting, settle
from core.units import GIB
from core.weights import weight_table

SLACK_DECODE, SLACK_PREFILL = 1.05, 1.15  # a datasheet's clock is no bound to the percent
IDLE_GPU_FACTOR, IDLE_GPU_S = 5.0, 6e-3  # slower than five rooflines and 6 ms: the card did not do the work
# Cards sold under one name with more memory than the catalog's entry (general knowledge).
SOLD_WITH_MORE = frozenset({"rtx-4060-ti-8gb", "mi50-16gb", "rtx-a2000-laptop"})
_PEAKS = ("fp32_tflops", "fp16_tflops", "fp16_acc16_tflops", "bf16_tflops", "fp8_tflops", "int8_tops", "fp4_tflops")

ABOVE_BANDWIDTH = "decode faster than the weights can be read at the datasheet's bandwidth"
ABOVE_COMPUTE = "prefill faster than the datasheet's compute"
GPU_NOT_USED = "more than five times below the roofline on a card: the GPU was not used, or not alone"
OFFLOADED = "weights>vram (offload)"


@dataclass(frozen=True, slots=True)
class Bounds:
    """Of one run: weight bytes in all and read a token, FLOP a token, and what the devices that share a layer offer."""

    weights: float
    read: float
    flop: float
    memory: float
    bandwidth: float
    compute: float
    discrete: bool


Row = dict[str, Any]


def _number(row: Row, column: str) -> float | None:
    return float(row[column]) if row.get(column) else None


def _held(row: Row) -> tuple[Run, Bounds] | None:
    try:
        run = read_run(row)
    except RoofcastError:
        return None
    found = bounds(run, _number(row, "weights_gib"))
    return (run, found) if found else None


def held_against_memory(row: Row) -> Row:
    """The row, flagged where its weights exceed the cards' memory: part of them lay on the CPU, how much is not said."""
    held = None if row["sanity_flag"] else _held(row)
    return {**row, "sanity_flag": OFFLOADED} if held and beyond_memory(held[1], held[0]) else row


def beyond_datasheet(row: Row) -> str:
    """Why what a row measured cannot be what its labels say; empty where it can, or where no bound is known."""
    if not (held := _held(row)):
        return ""
    decode, prefill = _number(row, "decode_toks_sec"), _number(row, "prefill_toks_sec")
    return impossible(held[1], held[0], decode, prefill, "llamafile" in row["runtime"].lower())


def bounds(run: Run, weights_gib: float | None) -> Bounds | None:
    """The bounds of a run of one sequence; None where the catalog lacks a figure, or many sequences share a step."""
    asked = run.scenario
    if asked.workload.concurrency > 1 or asked.workload.arrival not in ("static", "closed") or run.systems > 1:
        return None
    try:
        setting = settle(asked, strict=False)
        return _bounds(setting, weights_gib, asked.system.count, asked.deployment.tp or 1)
    except RoofcastError:
        return None


def _bounds(setting: Setting, weights_gib: float | None, count: int, tp: int) -> Bounds:
    ir, device = setting.ir, setting.device
    rows = weight_table(ir, setting.quant.id).rows
    total = sum(row.bytes for row in rows if row.group != "mtp")
    read = flop = 0.0
    for row in rows:
        mlp = ir.block(row.block).mlp if row.group == "experts" else None
        share = mlp.top_k / mlp.experts if mlp else 1.0
        head = ir.tied_embeddings and row.role == "token_embd"  # else an embedding is read a row at a time
        if row.group not in ("mtp", "embedding") or head:
            read += row.bytes * share
        if row.group not in ("mtp", "embedding", "head"):  # a prompt's logits are computed for its last token alone
            flop += 2.0 * row.elements * share
    weights = weights_gib * GIB if weights_gib else total
    bandwidth = device.fact("memory_bandwidth_gb_s")
    peaks = [fact.value for name in _PEAKS if (fact := device.fact(name)) is not None]
    shares = tp if tp > 1 else count  # without tensor parallelism the sum over the cards is a bound that no split passes
    return Bounds(
        weights=weights,
        read=read * weights / total,
        flop=flop,
        memory=device.usable_memory().value * count,
        bandwidth=bandwidth.value * shares if bandwidth is not None else math.inf,
        compute=max(peaks) * shares if len(peaks) > 1 else math.inf,
        discrete=device.kind == "gpu" and not device.unified,
    )


def beyond_memory(found: Bounds, run: Run) -> bool:
    """Whether the weights exceed the memory of discrete cards, and the run does not say how much lay on the CPU."""
    asked = run.scenario.deployment
    if run.scenario.system.device in SOLD_WITH_MORE:
        return False
    return found.discrete and asked.gpu_layers is None and not asked.experts_on_cpu and found.weights > found.memory


def impossible(found: Bounds, run: Run, decode: float | None, prefill: float | None, llamafile: bool) -> str:
    """Why what was measured of one sequence (tokens a second) cannot be what the row says; empty when it can."""
    if decode and run.decode_is == "one":
        if decode * found.read > SLACK_DECODE * found.bandwidth:
            return ABOVE_BANDWIDTH
        roof = found.read / found.bandwidth
        if llamafile and found.discrete and 1 / decode > IDLE_GPU_FACTOR * roof + IDLE_GPU_S:
            return GPU_NOT_USED
    if prefill and prefill * found.flop > SLACK_PREFILL * found.compute:
        return ABOVE_COMPUTE
    return ""
