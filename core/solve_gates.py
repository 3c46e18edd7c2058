"""What a candidate must pass, in order of what it costs to ask, and which of them missed by least."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np

from core.candidates import Space
from core.catalog.quality import tiers
from core.goal import Goal
from core.solved import slowest
from core.suited import loss
from core.units import MONTH_HOURS
from core.weights import weight_table

UNMEASURED_BITS = 4.0  # a weight: below it quantisations part widely, and what nobody measured is not taken
_ENOUGH = 1 + 1e-9  # a ratio of what is to what may be, with room for rounding

Ratios = dict[str, np.ndarray]  # gate → what is over what may be, arrays along candidates; endless where it is unknown


def losses(space: Space) -> np.ndarray:
    """What each of the space's quantisations loses, share of a task's score; NaN where nobody measured it."""
    return np.array([loss(space.ir.id, name) for name in space.quants])


def quality_ratios(space: Space) -> np.ndarray:
    """Loss over what the floor allows, along the space's quantisations."""
    goal = space.goal
    if goal.quality_floor == "any":
        return np.zeros(len(space.quants))
    found = losses(space) / tiers()[goal.quality_floor]
    bits = np.array([weight_table(space.ir, name).bits_per_weight for name in space.quants])
    taken = goal.accept_unknown_quality & (bits >= UNMEASURED_BITS)
    return np.where(np.isnan(found), np.where(taken, 0.0, np.inf), np.where(found < 1, found, np.maximum(found, _ENOUGH + 1e-6)))


End = Literal["low", "", "high"]  # of a range: the fast end of times, the median, the slow end


def load_ratios(goal: Goal, table: Mapping[str, np.ndarray], machines: np.ndarray, *, hopeful: bool = False) -> Ratios:
    """The targets under load, at the median or, for a goal that wants to be sure, at the slow end of ranges. `hopeful` takes the next
    faster end, so that none falls by a rough estimate that may pass."""
    end: End = ("" if hopeful else "high") if goal.sure else ("low" if hopeful else "")

    def late(name: str) -> np.ndarray:
        return table[f"{name} asked"] * (ends(table, name, end, goal.output_tokens) / table[name] if end else 1.0)

    found: Ratios = {}
    limits = {"ttft": goal.max_ttft_s, "tpot": goal.tpot_s, "latency": goal.max_latency_s}
    with np.errstate(all="ignore"):
        for gate, limit in limits.items():
            if limit is not None:
                found[gate] = late(gate) / limit
        faster = ends(table, "latency", end, goal.output_tokens) / table["latency"]
        if goal.min_output_tok_s is not None:
            found["throughput"] = goal.min_output_tok_s * faster / np.maximum(table["output_rate"] * machines, 1e-12)
        if goal.request_rate_per_s is not None:
            found["load"] = table["load"] * np.where(np.isnan(faster), 1.0, faster) / goal.share
    return {gate: np.nan_to_num(ratio, nan=np.inf, posinf=np.inf) for gate, ratio in found.items()}


def ends(table: Mapping[str, np.ndarray], name: str, end: End, output: float) -> np.ndarray:
    """One of the three times at an end of its range, the median where there is none."""
    whole = table.get(f"{name} {end}") if end else None
    found = table[name] if whole is None else np.where(np.isnan(whole), table[name], whole)
    if end == "high" and name == "latency":
        return np.asarray(slowest(found, ends(table, "ttft", end, output), ends(table, "tpot", end, output), output))
    return found


def money_ratios(
    goal: Goal, space: Space, index: np.ndarray, table: Mapping[str, np.ndarray], machines: np.ndarray, usd_per_h: np.ndarray
) -> Ratios:
    """Budget and power, of all machines together."""
    found: Ratios = {}
    if goal.max_usd_per_month is not None:
        found["month"] = usd_per_h * machines * MONTH_HOURS / goal.max_usd_per_month
    if goal.max_purchase_usd is not None:
        found["purchase"] = purchase_of(space, index) * machines / goal.max_purchase_usd
    if goal.max_power_w is not None:
        found["power"] = table["power"] * machines / goal.max_power_w
    return {gate: np.nan_to_num(ratio, nan=np.inf) for gate, ratio in found.items()}


def purchase_of(space: Space, index: np.ndarray) -> np.ndarray:
    """USD to pay at once for one machine: nothing for what is owned or rented, NaN where the price is unknown."""
    price = [0.0 if m.side != "build" else np.nan if m.purchase_usd is None else m.purchase_usd for m in space.machines]
    return np.array(price, dtype=float)[space.machine[index]]


def passes(ratios: Ratios, size: int) -> np.ndarray:
    """Whether every ratio is within its limit."""
    held = np.ones(size, dtype=bool)
    for ratio in ratios.values():
        held &= ratio <= _ENOUGH
    return held


def first_missed(ratios: Ratios, size: int) -> tuple[np.ndarray, list[str]]:
    """For each candidate the place of the first gate that it misses, -1 where it passes all; and the gates."""
    reason = np.full(size, -1)
    names = list(ratios)
    for place in range(len(names) - 1, -1, -1):
        reason[ratios[names[place]] > _ENOUGH] = place
    return reason, names
