"""The solver's answers in words."""

from __future__ import annotations

from dataclasses import replace

from core.catalog.models import ir
from core.catalog.quality import tiers
from core.catalog.runtimes import runtime
from core.goal import Goal
from core.solved import Candidate
from core.units import show
from core.words import model_name

_AT = {"mean": "", "p90": " at the 90th percentile", "p95": " at the 95th percentile", "p99": " at the 99th percentile"}


def machines(candidate: Candidate) -> str:
    """What to buy or rent: "3 × RunPod 1x_L40S_SECURE: L40S"."""
    many = f"{candidate.machines} × " if candidate.machines > 1 else ""
    return f"{many}{candidate.machine.name}"


def way(candidate: Candidate) -> str:
    """A candidate in words: "2 × RTX 3090 in a desktop PC, running Q4_K_M in llama.cpp"."""
    return f"{machines(candidate)}, running {candidate.quant} in {runtime(candidate.scenario.runtime).name}"


def how_many(candidate: Candidate) -> str:
    """Devices as replicas × what one takes: "3 replicas × (TP 2 × PP 1) = 6 devices"."""
    spare = candidate.devices - candidate.replicas * candidate.devices_per_replica
    used = candidate.replicas * candidate.devices_per_replica
    replicas = f"{candidate.replicas} replica{'s' if candidate.replicas > 1 else ''}"
    whole = f"{replicas} × (TP {candidate.tp} × PP {candidate.pp}) = {used} device{'s' if used > 1 else ''}"
    return f"{whole}, {spare} idle" if spare else whole


def _or_nan(amount: float | None) -> float:
    return float("nan") if amount is None else amount


def missed(goal: Goal, gate: str, candidate: Candidate, short: float, ratio: float) -> str:
    """By how much a candidate misses a gate, in a sentence."""
    what = f"{model_name(candidate.scenario.model)} on {way(candidate)}"
    if gate in ("memory", "quality"):  # however many machines there are
        what = f"{model_name(candidate.scenario.model)} on {way(replace(candidate, machines=1))}"
    if gate == "context":
        made = ir(candidate.scenario.model).max_context
        return f"{model_name(candidate.scenario.model)} was made for {made:,} tokens of context, not {goal.context:,}."
    if gate == "memory":
        return f"{what} is {show(short, 'B')} short of memory." if short > 0 else f"{what} fits, but not at the full end of its range."
    if gate == "quality":
        if candidate.quality is None:
            return f"{what}: nobody measured what {candidate.quant} loses."
        allowed = 100 * tiers()[goal.quality_floor]
        return f"{what} loses {100 * candidate.quality:.1f} points of a task's score where less than {allowed:.0f} are asked."
    end = " at the slow end of its range" if goal.sure else ""
    at = _AT[goal.times_at] + end
    times = {name: time * (candidate.bound(name) / candidate.metrics[name] if goal.sure else 1.0) for name, time in candidate.times.items()}
    first, last = (f"takes {show(times[name], 's')} to the {which} token{at}" for name, which in (("ttft", "first"), ("latency", "last")))
    cost, price = show(candidate.usd_per_month, "USD"), show(_or_nan(candidate.purchase_usd), "USD")
    said = {
        "ttft": f"{first}, not {show(_or_nan(goal.max_ttft_s), 's')}",
        "tpot": f"writes {show(1 / times['tpot'], 'tok/s')} for each user{end}, not {show(1 / _or_nan(goal.tpot_s), 'tok/s')}",
        "latency": f"{last}, not {show(_or_nan(goal.max_latency_s), 's')}",
        "throughput": f"writes {show(candidate.output_rate, 'tok/s')} in all, not {show(_or_nan(goal.min_output_tok_s), 'tok/s')}",
        "load": f"is {candidate.load:.0%} busy, not {goal.share:.0%} or less",
        "month": f"costs {cost} a month, not {show(_or_nan(goal.max_usd_per_month), 'USD')}",
        "purchase": f"costs {price}, not {show(_or_nan(goal.max_purchase_usd), 'USD')}",
        "power": f"draws {show(candidate.power_w, 'W')}, not {show(_or_nan(goal.max_power_w), 'W')}",
    }[gate]
    return f"{what} {said}."
