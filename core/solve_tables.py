"""The solver's answers as figures and rows: what pages and files show of candidates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from core.answer import Estimate
from core.catalog.runtimes import runtime
from core.formulas.economics import fleet_cost, fleet_power, fleet_rate
from core.goal import Goal
from core.quantity import value
from core.ranking import losing, tied
from core.solve_machines import Machine
from core.solve_words import SIDE_NAMES, how_many, machines
from core.solved import GATES, Candidate, Solved
from core.sweep import answer
from core.units import show
from core.words import model_name, span

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Figure:
    """A number of a candidate as people see it: cited, with its range and a note."""

    key: str
    label: str
    number: Any
    shown: str
    span: str = ""
    note: str = ""


def figures(goal: Goal, candidate: Candidate) -> list[Figure]:
    """Cost, first token, speed of each and of all, memory, power; of all machines together where they add up."""
    found = answer(candidate.scenario)
    many = candidate.machines
    month, power = found.money["usd_per_month"], found.metrics["power"]
    rate = found.metrics["output_rate"]
    if many > 1:
        month, power = fleet_cost(each=month, machines=float(many), named="per month"), fleet_power(each=power, machines=float(many))
        rate = fleet_rate(each=rate, machines=float(many), named="tokens a second of all machines")
    users = goal.several
    first, each = found.metrics["ttft"], found.metrics["decode_rate"]
    late = f"{goal.times_at} {show(candidate.times['ttft'], 's')}, by a closed form" if goal.times_at != "mean" else ""
    return [
        Figure("month", "A month", month, show(float(value(month)), "USD"), note=_price(candidate)),
        Figure("ttft", "First token", first, show(found.metric("ttft"), "s"), _span(found, "ttft", "s"), late),
        Figure("decode", "Decode, each" if users else "Decode", each, show(found.metric("decode_rate"), "tok/s"),
               _span(found, "decode_rate", "tok/s"), f"TPOT {show(found.metric('tpot'), 's')}"),
        Figure("output", "All together", rate, show(float(value(rate)), "tok/s"), _whole_span(found, many), _load(candidate)),
        Figure("memory", "Memory, each" if found.scenario.system.count > 1 else "Memory", found.device.peak,
               show(float(value(found.device.peak)), "B"), note=f"of {show(float(value(found.device.limit)), 'B')}"),
        Figure("power", "Power", power, show(float(value(power)), "W"), note="under this load"),
    ]  # fmt: skip


def _span(found: Estimate, metric: str, unit: str) -> str:
    text = span(found, metric, unit)
    return f"{text} {unit}" if text and " " not in text and unit != "s" else text


def _whole_span(found: Estimate, many: int) -> str:
    if "output_rate" not in found.bands:
        return ""
    low, high = (show(end * many, "tok/s", 2).removesuffix(" tok/s") for end in found.bands["output_rate"])
    return f"{low}–{high} tok/s"


def _price(candidate: Candidate) -> str:
    if candidate.purchase_usd is not None:
        return f"{show(candidate.purchase_usd, 'USD')} to buy, over its life, and electricity"
    return "electricity alone" if candidate.machine.usd_per_h is None else f"{show(candidate.usd_per_h / 3600, 'USD/s')} each, 720 h"


def _load(candidate: Candidate) -> str:
    load = candidate.load
    return f"{load:.0%} of what it can serve" if load == load else ""


# ---------------------------------------------------------------- rows


def on_host(candidate: Candidate) -> str:
    """What lies in host memory, where not all fits the devices; empty where all does."""
    if candidate.fits == "in_vram":
        return ""
    used = answer(candidate.scenario).resolved
    if experts := used.get("experts_on_cpu"):
        return f"the experts of {experts:g} layers in host memory"
    return "part of the weights in host memory"


def listed_rows(solved: Solved) -> list[Row]:
    """Every way that meets the goal, best first: what it is, what it does, and what it loses against the best. A side, a model and a
    price have a column only where they tell rows apart."""
    goal, rows = solved.goal, []
    tells = {
        "Side": len({c.side for c in solved.ranked}) > 1,
        "Model": len(goal.models) > 1,
        "Users at once": goal.open_users,
        "Room, tokens": goal.objective == "context",
        "$ to buy": any(c.purchase_usd is not None for c in solved.ranked),
    }
    before: Candidate | None = None
    for place, c in enumerate(solved.ranked, 1):
        row = {
            "Place": f"{place} (tie)" if before is not None and tied(goal, before, c) else f"{place}",
            "Side": SIDE_NAMES[c.side],
            "Machines": machines(c),
            "Model": model_name(c.scenario.model),
            "Weights": c.quant,
            "Runtime": runtime(c.scenario.runtime).name,
            "Users at once": c.scenario.workload.concurrency * c.machines,
            "Room, tokens": c.scenario.deployment.max_context,
            "Decode each, tok/s": c.metrics["decode_rate"],
            "Decode each, p10": c.bound("decode_rate"),
            "First token, s": c.metrics["ttft"],
            "All, tok/s": c.output_rate,
            "$ a month": c.usd_per_month,
            "$ to buy": c.purchase_usd,
            "Loss, points": None if c.quality is None else 100 * c.quality,
            "Power, W": c.power_w,
            "KV cache": c.kv_dtype,
            "Devices": how_many(c),
            "Loses": losing(goal, c, solved.front),
        }
        rows.append({name: item for name, item in row.items() if tells.get(name, True)})
        before = c
    return rows


ALIKE = 1.01  # costs of which the higher is at most so many times the lower are the same on a chart


def front_rows(solved: Solved) -> list[Row]:
    """Cost against throughput of all that meets the goal; `best`: nothing beats it in cost, throughput, latency and quality.

    None where all costs the same: of that the list tells all.
    """
    on_front = {id(c) for c in solved.front}
    costs = [c.usd_per_month for c in solved.ranked if c.usd_per_month == c.usd_per_month]
    if not costs or max(costs) < ALIKE * min(costs):
        return []
    return [
        {
            "place": place,
            "cost": c.usd_per_month,
            "rate": c.bound("output_rate", pessimistic=solved.goal.pessimistic) * c.machines,
            "latency": c.bound("latency", pessimistic=solved.goal.pessimistic),
            "side": SIDE_NAMES[c.side],
            "best": "beaten by none" if id(c) in on_front else "beaten by another",
            "what": f"{machines(c)}, {model_name(c.scenario.model)} in {c.quant}",
        }
        for place, c in enumerate(solved.ranked)
        if c.usd_per_month == c.usd_per_month
    ]


def funnel_rows(solved: Solved) -> list[Row]:
    """How many candidates are left after each step, from all that are legal to those that meet the goal."""
    f = solved.funnel
    left = f.enumerated
    rows = [{"step": "legal ways to run it", "left": left, "gone": 0}]
    for gone in solved.rejected:
        if gone.count:
            left -= gone.count
            rows.append({"step": f"after {GATES[gone.gate]}", "left": left, "gone": gone.count})
    left -= f.pruned
    rows.append({"step": "not beaten by a cheaper one alike", "left": left, "gone": f.pruned})
    rows.append({"step": "meet the goal, looked at exactly", "left": f.passed, "gone": f.left})
    return rows


def price_note(machine: Machine) -> str:
    """Which price it is, and what its source says of it."""
    return "; ".join(filter(None, (machine.price_is, machine.note)))
