"""An estimate as plain data, for JSON: what `roofcast estimate --json` prints. Unknown numbers are None."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from core.answer import Estimate, Memory, Step
from core.errors import RoofcastError
from core.estimate import launch
from core.quantity import value
from core.units import GB, HOUR, MS
from core.words import answer_sentence

if TYPE_CHECKING:
    from core.evidence import NearRun

# Key in the response → metric of the estimate and its unit there.
SPEEDS = {
    "decode_toks_sec": ("decode_rate", 1.0),
    "prefill_toks_sec": ("prefill_rate", 1.0),
    "ttft_ms": ("ttft", MS),
    "tpot_ms": ("tpot", MS),
    "latency_ms": ("latency", MS),
    "output_toks_sec": ("output_rate", 1.0),
    "total_toks_sec": ("total_rate", 1.0),
}
TAILED = ("ttft_ms", "tpot_ms", "latency_ms")  # metrics that also have a 95th percentile, once it is known
SMALL_SHARE = 0.01  # what holds a step back less than this is no bottleneck


def plain(x: Any) -> float | None:
    """A number with six digits, None where it is unknown or without end."""
    bare = float(value(x))
    return float(f"{bare:.6g}") if math.isfinite(bare) else None


def _whole(x: Any) -> int | None:
    bare = float(value(x))
    return int(bare) if math.isfinite(bare) else None


def _spread(answer: Estimate, metric: str, amount: float | None, unit: float, *, tail: bool = False) -> dict[str, float | None]:
    """The median with the percentiles that only a fitted correction can give."""
    low, high = answer.bands.get(metric, (None, None)) if amount is not None else (None, None)
    ends = {"p10": None if low is None else plain(low / unit), "p90": None if high is None else plain(high / unit)}
    return {"p50": amount, **ends, **({"p95": None} if tail else {})}


def response(answer: Estimate) -> dict[str, Any]:
    """The answer in the shape of the specification's POST /v1/estimate, plain data that JSON can hold.

    Speeds are None where the scenario does not fit; p10, p90 and p95 until a correction is fitted. Raises as
    `core.evidence.nearest`.
    """
    from core.evidence import nearest  # late: only whole answers need the runs
    from core.quality import quality, quality_dict
    from core.trust import what_to_trust

    near = nearest(answer.scenario, corrected=answer.version is not None)
    return {
        "feasibility": answer.feasibility,
        "reason_codes": [reason.code for reason in answer.reasons],
        "estimates": estimates(answer),
        "bottlenecks": bottlenecks(answer),
        "bottleneck_shares": _shares(answer),
        "recommended_configs": [],
        "explanations": [answer_sentence(answer), *(reason.text for reason in answer.reasons)],
        "warnings": [{"code": reason.code, "text": reason.text} for reason in answer.warnings],
        "memory": {"device": _memory(answer.device), "cards": [_memory(card) for card in answer.cards], "host": _memory(answer.host)},
        "loading_s": None if answer.loading is None else plain(answer.loading),
        "limits": {
            "max_batch": _whole(answer.limits["max_batch"]),
            "max_context_tokens": _whole(answer.limits["max_context"]),
            "kv_tokens": _whole(answer.limits["kv_tokens"]),
        },
        "phases": {"prefill": _phase(answer, "prefill"), "decode": _phase(answer, "decode")} if answer.runs else None,
        "power_w": plain(answer.metrics["power"]) if answer.runs else None,
        "energy_j_per_output_token": plain(answer.metrics["energy_per_token"]) if answer.runs else None,
        "money": _money(answer) if answer.runs else None,
        "quality": quality_dict(quality(answer.ir.id, answer.resolved["quant"])),
        "launch": launch_or_none(answer),
        "support": {"level": answer.support.level, "by": dict(answer.support.by)} if answer.support else None,
        "nearest_runs": [near_run(run) for run in near],
        "what_to_trust": asdict(what_to_trust(answer, near)),
        "correction_version": answer.version,
        "label": answer.label,
        "resolved": finite(answer.resolved),
        "scenario": answer.scenario.to_dict(),
    }


def estimates(answer: Estimate) -> dict[str, Any]:
    """The main numbers with their ranges, in the units that their keys name."""
    found: dict[str, Any] = {}
    for key, (metric, unit) in SPEEDS.items():
        amount = plain(answer.metric(metric) / unit) if answer.runs else None
        found[key] = _spread(answer, metric, amount, unit, tail=key in TAILED)
    on_cpu = answer.resolved.get("backend") == "cpu"
    devices = answer.metric("memory_peak")
    host = float(value(answer.host.peak)) if answer.host else 0.0
    banded = "memory_peak"
    found["vram_peak_gb"] = _spread(answer, "" if on_cpu else banded, plain(0.0 if on_cpu else devices / GB), GB)
    found["ram_peak_gb"] = _spread(answer, banded if on_cpu else "", plain((devices if on_cpu else host) / GB), GB)
    return found


def near_run(run: NearRun) -> dict[str, Any]:
    """A measured run beside an estimate; `measured` in the units of the keys, `ours_over_measured` as ratios."""
    units = {metric: (key, unit) for key, (metric, unit) in SPEEDS.items()} | {
        "memory_peak": ("vram_peak_gb", GB),
        "power": ("power_w", 1.0),
    }
    return {
        "run_id": run.run_id,
        "distance": round(run.distance, 3),
        "what": run.what,
        "differs": [item.text for item in run.differences],
        "measured": {units[name][0]: plain(amount / units[name][1]) for name, amount in run.measured.items()},
        "ours_over_measured": {units[name][0]: plain(ratio) for name, ratio in run.ratios.items()},
        "source": run.source,
        "url": run.url,
        "place": run.place,
        "licence": run.licence,
        "date": run.date or None,
        "doubt": run.doubt or None,
    }


def bottlenecks(answer: Estimate) -> list[str]:
    """What holds a decode step back, largest first; before it the memory that is short, where one is."""
    short = {"insufficient_memory": ["vram_capacity"], "with_offload": ["vram_capacity"]}.get(answer.feasibility, [])
    if any(reason.code == "host_memory_short" for reason in answer.reasons):
        short = [*short, "ram_capacity"]
    if not answer.runs:
        return short
    shares = answer.decode.step.shares()
    return [*short, *sorted((k for k in shares if shares[k] >= SMALL_SHARE), key=lambda k: -shares[k])]


def _shares(answer: Estimate) -> dict[str, dict[str, float]]:
    if not answer.runs:
        return {"decode_step": {}, "first_token": {}}
    shares = {"decode_step": answer.decode.step.shares(), "first_token": answer.first_token_shares}
    return {name: {key: round(share, 6) for key, share in found.items()} for name, found in shares.items()}


def _memory(memory: Memory | None) -> dict[str, Any] | None:
    if memory is None:
        return None

    def gb(x: Any) -> float | None:
        return plain(float(value(x)) / GB)

    return {
        "name": memory.name,
        "parts": [{"name": p.name, "gb": gb(p.amount), "when": p.when} for p in memory.parts],
        "needed_gb": gb(memory.needed),
        "engine_takes_gb": gb(memory.taken),
        "peak_gb": gb(memory.peak),
        "limit_gb": gb(memory.limit),
        "headroom_gb": gb(memory.headroom),
    }


def _phase(answer: Estimate, name: str) -> dict[str, Any]:
    phase = getattr(answer, name)
    step: Step = phase.step
    return {
        "step_ms": plain(float(value(step.time)) / MS),
        "flop": plain(phase.flop),
        "bytes": plain(phase.bytes),
        "flop_per_byte": plain(phase.intensity),
        "ridge_flop_per_byte": plain(phase.ridge),
        "mfu": plain(phase.mfu),
        "mbu": plain(phase.mbu),
    }


def _money(answer: Estimate) -> dict[str, Any]:
    return {
        "usd_per_h": plain(float(value(answer.money["usd_per_h"])) * HOUR),
        "usd_per_million_output_tokens": plain(answer.money["usd_per_million"]),
        "usd_per_month": plain(answer.money["usd_per_month"]),
        "basis": answer.resolved["cost_basis"],
    }


def launch_or_none(answer: Estimate) -> str | None:
    """The launch command; None where the scenario does not run or no command can be written."""
    if not answer.runs:
        return None
    try:
        return launch(answer)
    except RoofcastError:
        return None


def finite(item: Any) -> Any:
    """Plain data as JSON holds it: numbers that are unknown or without end become None."""
    if isinstance(item, Mapping):
        return {str(key): finite(inner) for key, inner in item.items()}
    if isinstance(item, (list, tuple)):
        return [finite(inner) for inner in item]
    if item is None or isinstance(item, (bool, int, str)):
        return item
    return plain(item)
