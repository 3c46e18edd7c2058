"""The solver's answers in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from core.catalog.models import ir
from core.catalog.quality import tiers
from core.catalog.runtimes import runtime
from core.goal import Goal, Side
from core.quality import quality
from core.solved import Candidate, Solved
from core.units import show
from core.words import model_name

SIDE_NAMES: dict[Side, str] = {"owned": "Yours", "build": "To buy", "cloud": "To rent"}
OBJECTIVES: dict[str, str] = {
    "cost": "Lowest cost",
    "throughput": "Most tokens a second",
    "latency": "Quickest answers",
    "model_size": "Largest model",
    "throughput_per_usd": "Most for the money",
    "throughput_per_w": "Most for the power",
    "context": "Longest context",
}
_AT = {"mean": "", "p90": " at the 90th percentile", "p95": " at the 95th percentile", "p99": " at the 99th percentile"}


def machines(candidate: Candidate) -> str:
    """What to buy or rent: "3 × RunPod 1x_L40S_SECURE: L40S", "2 machines, each 2 × RTX 5090"."""
    name, many = candidate.machine.name, candidate.machines
    if many == 1:
        return name
    return f"{many} machines, each {name}" if name[0].isdigit() else f"{many} × {name}"


def running(candidate: Candidate) -> str:
    """What runs on it: "Q4_K_M in llama.cpp", with the cache where that is not the engine's own."""
    entry = runtime(candidate.scenario.runtime)
    cache = f", KV cache in {candidate.kv_dtype}" if candidate.kv_dtype != entry.default_kv_dtype else ""
    return f"{candidate.quant} in {entry.name}{cache}"


def way(candidate: Candidate) -> str:
    """A candidate in words: "2 × RTX 3090 in a desktop PC, running Q4_K_M in llama.cpp"."""
    return f"{machines(candidate)}, running {running(candidate)}"


def caps(goal: Goal, candidate: Candidate) -> str:
    """What was found of what the goal leaves open: "64 users at once on each, room for 32,768 tokens"; empty where it says all."""
    load, room = candidate.scenario.workload.concurrency, candidate.scenario.deployment.max_context
    said = []
    if goal.open_users:
        many = f"{load:,} users at once" if load > 1 else "one user"
        said.append(f"{many}{' on each' if candidate.machines > 1 else ''}")
    if goal.objective == "context" and room is not None:
        said.append(f"room for {room:,} tokens{'' if goal.users == 1 and not goal.open_users else ' each'}")
    return ", ".join(said)


def how_many(candidate: Candidate) -> str:
    """Devices as replicas × what one takes: "3 replicas × (TP 2 × PP 1) = 6 devices"."""
    spare = candidate.devices - candidate.replicas * candidate.devices_per_replica
    used = candidate.replicas * candidate.devices_per_replica
    replicas = f"{candidate.replicas} replica{'s' if candidate.replicas > 1 else ''}"
    whole = f"{replicas} × (TP {candidate.tp} × PP {candidate.pp}) = {used} device{'s' if used > 1 else ''}"
    return f"{whole}, {spare} idle" if spare else whole


def _or_nan(amount: float | None) -> float:
    return float("nan") if amount is None else amount


def missed(goal: Goal, gate: str, candidate: Candidate, short: float) -> str:
    """By how much a candidate misses a gate, in a sentence."""
    what = f"{model_name(candidate.scenario.model)} on {way(candidate)}"
    found = caps(goal, candidate)
    if gate in ("memory", "quality"):  # however many machines there are
        what = f"{model_name(candidate.scenario.model)} on {way(replace(candidate, machines=1))}"
    if gate in ("ttft", "tpot", "latency") and goal.request_rate_per_s is None and 1 < goal.users <= candidate.machines:
        what = f"{model_name(candidate.scenario.model)} on {way(replace(candidate, machines=1))}, with one user alone,"
    if found:
        what = f"{what}, with {found},"
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


def asked_words(goal: Goal) -> str:
    """The goal in a sentence."""
    models = " or ".join(model_name(name) for name in goal.models) if len(goal.models) < 4 else f"One of {len(goal.models)} models"
    who = f"{goal.users:,} users at once" if goal.users > 1 else "one user"
    if goal.open_users:
        who = "as many users at once as a machine serves"
    if goal.request_rate_per_s is not None:
        who = f"{goal.request_rate_per_s:g} requests a second"
    said = [f"{models} for {who}", f"{goal.prompt_tokens:,} tokens in, {goal.output_tokens:,} out, room for {goal.context:,}"
            f"{' or more' if goal.objective == 'context' else ''}"]  # fmt: skip
    at = _AT[goal.times_at]
    if goal.max_ttft_s is not None:
        said.append(f"first token within {show(goal.max_ttft_s, 's')}{at}")
    if goal.tpot_s is not None:
        said.append(f"{show(1 / goal.tpot_s, 'tok/s')} or more for each")
    if goal.max_latency_s is not None:
        said.append(f"whole answer within {show(goal.max_latency_s, 's')}{at}")
    if goal.min_output_tok_s is not None:
        said.append(f"{show(goal.min_output_tok_s, 'tok/s')} or more in all")
    limits = ((goal.max_usd_per_month, "USD", " a month"), (goal.max_purchase_usd, "USD", " to buy"), (goal.max_power_w, "W", ""))
    said += [f"at most {show(limit, unit)}{of}" for limit, unit, of in limits if limit is not None]
    if goal.quality_floor != "any":
        said.append(f"{goal.quality_floor} loss of quality")
    return f"{'; '.join(said)}."


def headline(goal: Goal, found: Mapping[Side, Candidate | None]) -> str:
    """The answer in a sentence: the least that meets the goal on each side; which model of a shortlist, and what the goal left open."""
    said = []
    wins = {side: model_name(one.scenario.model) for side, one in found.items() if one is not None and len(goal.models) > 1}
    opened = {side: f", {text}" for side, one in found.items() if one is not None and (text := caps(goal, one))}
    one_model = len(set(wins.values())) == 1
    for side, candidate in found.items():
        if candidate is None or side == "owned":
            continue
        for_which = f"{f' for {wins[side]}' if side in wins and not one_model else ''}{opened.get(side, '')}"
        if side == "build":
            said.append(f"buy {machines(candidate)} ({show(_or_nan(candidate.purchase_usd), 'USD')}){for_which}")
        else:
            said.append(f"rent {machines(candidate)} ({show(candidate.usd_per_month, 'USD')} a month){for_which}")
    others = " or ".join(said)
    if (mine := found.get("owned")) is not None:
        runs = f"runs {wins['owned']}" if wins else "does it"
        return f"Your {mine.machine.name} {runs}{opened.get('owned', '')}{f'; else {others}' if others else ''}"
    if not others:
        return "Nothing in the catalog meets this"
    return f"{next(iter(wins.values()))}: {others}" if one_model else f"{others[0].upper()}{others[1:]}"


def quality_words(candidate: Candidate) -> str:
    """What the quantisation costs in quality, and what that does not tell."""
    said = quality(candidate.scenario.model, candidate.quant).sentence
    small = candidate.kv_dtype != runtime(candidate.scenario.runtime).default_kv_dtype
    return f"{said} What the smaller KV cache loses is not in it." if small else said


def order_words(goal: Goal) -> str:
    """By what candidates are ranked, in a sentence."""
    end = "the bad end of their ranges (p10 of speeds, p90 of memory)" if goal.pessimistic else "their medians"
    first = OBJECTIVES[goal.objective].lower()
    yours = "number of users at once" if goal.open_users else "quantisation"
    return (
        f"Ordered by {first}, then by speed, at {end}; a point of quality weighs as much as a fifth of the speed. Of each machine and "
        f"model the best way to run it is listed, of what is yours every runtime and {yours}. The objective cannot tell a tie apart."
    )


def funnel_words(solved: Solved) -> str:
    """How many candidates there were and how long it took."""
    f = solved.funnel
    took = sum(f.seconds.values())
    where = f"{f.machines:,} machine{'s' if f.machines != 1 else ''}"
    return (
        f"{f.enumerated:,} legal ways on {where}; {f.pruned:,} were beaten by one alike, {f.estimated:,} estimates were "
        f"rough and {f.exact:,} exact, in {show(took, 's', 2)}: {f.per_second:,.0f} candidates a second."
    )


def differs(one: Candidate, other: Candidate) -> str:
    """How one way parts from another in cost, speed, time and quality, at their bad ends, in words; empty where it does not."""
    said = []
    cost = one.usd_per_month - other.usd_per_month
    if abs(cost) >= 0.5:
        said.append(f"costs {show(abs(cost), 'USD')} a month {'more' if cost > 0 else 'less'}")
    rate = one.bound("output_rate") * one.machines / (other.bound("output_rate") * other.machines) - 1
    if abs(rate) >= 0.05:
        said.append(f"writes {abs(rate):.0%} {'more' if rate > 0 else 'fewer'} tokens a second")
    late = one.bound("ttft") / other.bound("ttft") - 1
    if abs(late) >= 0.05:
        said.append(f"begins {abs(late):.0%} {'later' if late > 0 else 'sooner'}")
    if one.quality is not None and other.quality is not None and abs(one.quality - other.quality) >= 0.005:
        lost = 100 * (one.quality - other.quality)
        said.append(f"loses {abs(lost):.1f} points {'more' if lost > 0 else 'less'} of a task's score")
    return f"{', '.join(said[:-1])} and {said[-1]}" if len(said) > 1 else "".join(said)
