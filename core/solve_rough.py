"""The rough part of the search: how many machines each candidate takes, and which candidates may pass, the cheapest first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from core.batch import CHUNK
from core.candidates import LEAST, Space
from core.goal import Goal
from core.solve_gates import Ratios, first_missed, load_ratios, money_ratios, passes
from core.solve_machines import Machine
from core.solve_passes import TIMES, Arrays, Rough, usd_per_h
from core.solve_sizes import Bracket, sizes
from core.solved import GATES

PLACES = {gate: place for place, gate in enumerate(GATES)}
OPEN, PRUNED, PASSED = -1, -2, -3  # where a candidate stands that no gate turned away
ENOUGH = 24  # machines of each side that are looked at exactly
SLOWER = 1.2  # times a target, at the fast end of its range: who takes as long with one user alone never meets it under load

Tell = Callable[[float], None]
Near = dict[str, tuple[int, int, float]]  # gate → the candidate that missed it by least, with its machines and its ratio


@dataclass(slots=True)
class Seen:
    """Candidates that may pass, with what the rough estimate says of them."""

    index: np.ndarray
    machines: np.ndarray
    table: Arrays
    usd_per_h: np.ndarray


def roughly(
    space: Space, rough: Rough, alive: np.ndarray, most: np.ndarray, reason: np.ndarray, near: Near, tell: Tell
) -> tuple[Seen, int]:
    """The candidates that may pass. Where the cheapest are wanted, none is estimated that costs more than enough that do."""
    goal, parts, count = space.goal, [], 0
    loaded = goal.several
    sides = np.array([m.side for m in space.machines])[space.machine[alive]]
    for number, side in enumerate(dict.fromkeys(m.side for m in space.machines)):
        ours = alive[sides == side]
        price = floor_price(space, ours)
        order = np.argsort(price, kind="stable")
        ours, price = ours[order], price[order]
        cheapest: dict[int, float] = {}  # machine → what it costs at least to meet the goal with it
        for first in range(0, len(ours), CHUNK):
            if price[first] > _ceiling(goal, cheapest):
                reason[ours[first:]] = PRUNED
                break
            index = ours[first : first + CHUNK]
            if loaded:
                count += len(index)
                index = _in_time_alone(rough, index, most, reason, near)
            if not len(index):
                continue
            machines, table, tried, too_dear = _sized(rough, index, most[index], floor_price(space, index), cheapest)
            count += tried
            rate = usd_per_h(space, index, table["power"])
            over = ratios(space, index, table, machines, rate, hopeful=True)
            missed, names = first_missed(over, len(index))
            reason[index] = np.where(missed < 0, OPEN, np.array([PLACES[name] for name in names])[missed])
            reason[index[too_dear]] = PRUNED
            for place, gate in enumerate(names[1:], 1):
                remember(near, gate, index, machines, np.where((missed == place) & ~too_dear, over[gate], np.inf))
            kept = np.flatnonzero((missed < 0) & ~too_dear)
            parts.append(Seen(index[kept], machines[kept], {k: v[kept] for k, v in table.items()}, rate[kept]))
            _note_costs(space, index[kept], machines[kept], parts[-1].table, cheapest)
            tell((number + min(first + CHUNK, len(ours)) / len(ours)) / 3)
    return _together(parts), count


def _note_costs(space: Space, index: np.ndarray, machines: np.ndarray, table: Arrays, cheapest: dict[int, float]) -> None:
    """Remembers of each machine what it costs at least to meet the goal with it, of those that do so surely enough."""
    rate = usd_per_h(space, index, table["power"])
    meets = np.flatnonzero(passes(ratios(space, index, table, machines, rate), len(index)))
    for machine, cost in zip(space.machine[index[meets]].tolist(), (rate * machines)[meets].tolist(), strict=True):
        cheapest[machine] = min(cost, cheapest.get(machine, np.inf))


def _ceiling(goal: Goal, cheapest: dict[int, float]) -> float:
    """USD an hour beyond which nothing need be known, for enough machines meet the goal for less; endless unless cost is what counts."""
    known = len(cheapest) >= ENOUGH and goal.objective == "cost"
    return sorted(cheapest.values())[ENOUGH - 1] if known else np.inf


def _together(parts: list[Seen]) -> Seen:
    if not parts:
        return Seen(np.zeros(0, dtype=int), np.zeros(0), {}, np.zeros(0))
    table = {name: np.concatenate([part.table[name] for part in parts]) for name in parts[0].table}
    index, machines, rate = (np.concatenate([getattr(part, name) for part in parts]) for name in ("index", "machines", "usd_per_h"))
    return Seen(index, machines, table, rate)


def _in_time_alone(rough: Rough, index: np.ndarray, most: np.ndarray, reason: np.ndarray, near: Near) -> np.ndarray:
    """Those that keep the targets on times, or nearly so, with one user alone: the others keep them under no load."""
    goal, one = rough.space.goal, np.ones(len(index))
    if not {goal.max_ttft_s, goal.tpot_s, goal.max_latency_s} - {None}:
        return index
    table = rough.outcome(index, one, alone=True)
    fast = load_ratios(goal.with_(sure=False), table, one, hopeful=True)
    missed, names = first_missed({gate: fast[gate] / SLOWER for gate in TIMES if gate in fast}, len(index))
    late = missed >= 0
    reason[index[late]] = np.array([PLACES[name] for name in names])[missed[late]]
    told = load_ratios(goal, table, one, hopeful=True)
    for place, gate in enumerate(names):
        remember(near, gate, index, most[index], np.where(missed == place, told[gate], np.inf))
    return index[~late]


def _sized(
    rough: Rough, index: np.ndarray, most: np.ndarray, price: np.ndarray, cheapest: dict[int, float]
) -> tuple[np.ndarray, Arrays, int, np.ndarray]:
    """The fewest machines with which each candidate meets the targets of the load, by bisection, and what becomes of it then; with as
    many as it may have where none does. Then how many were estimated, and whose machines, each at least `price`, come to more than
    enough others: their number is left open."""
    goal = rough.space.goal
    machines = np.ones(len(index))
    table = rough.outcome(index, machines)
    tried = len(index)
    if goal.request_rate_per_s is not None:
        with np.errstate(all="ignore"):
            machines = np.clip(np.nan_to_num(np.ceil(table["load"] / goal.share), nan=1.0, posinf=1.0), 1, most)
        again = np.flatnonzero(machines > 1)
        _put(table, again, rough.outcome(index[again], machines[again]))
        tried += len(again)

    def good(found: Arrays, many: np.ndarray) -> np.ndarray:
        return found["fits"] & passes(load_ratios(goal, found, many), len(many))

    listed = sizes(goal, int(most.max(initial=1)))
    top = np.searchsorted(listed, most)
    bracket = Bracket.at(np.searchsorted(listed, machines), good(table, machines), top)
    short = np.flatnonzero((bracket.low >= 0) & (bracket.low < top))
    if len(short):
        one = np.flatnonzero(bracket.low < 0)
        _note_costs(rough.space, index[one], machines[one], {name: amounts[one] for name, amounts in table.items()}, cheapest)
        best = rough.outcome(index[short], most[short])
        tried += len(short)
        _put(table, short, best)
        machines[short] = most[short]
        holds = good(best, most[short])
        bracket.high[short[holds]] = top[short[holds]]
        bracket.low[short[~holds]] = top[short[~holds]]

    def too_dear(at: np.ndarray) -> np.ndarray:
        return price[at] * (listed[bracket.low[at]] + 1) > _ceiling(goal, cheapest)

    def unsettled() -> np.ndarray:
        """Those whose number is open; what holds with as few as the arrivals need is not pressed."""
        at = bracket.open
        return at[bracket.low[at] >= 0]

    while len(at := (left := unsettled())[~too_dear(left)]):
        points = bracket.points(at, int(np.clip(LEAST // len(at), 1, 7)))
        each = np.repeat(index[at], points.shape[1])
        many = listed[points.reshape(-1)].astype(float)
        found = rough.outcome(each, many)
        tried += len(each)
        better, where = bracket.learn(at, points, good(found, many).reshape(points.shape))
        _put(table, better, {name: amounts[where] for name, amounts in found.items()})
        machines[better] = many[where]
    given_up = np.zeros(len(index), dtype=bool)
    given_up[left] = True
    return machines, table, tried, given_up


def _put(table: Arrays, at: np.ndarray, found: Arrays) -> None:
    for name, amounts in found.items() if len(at) else ():
        table[name][at] = amounts


def remember(near: Near, gate: str, index: np.ndarray, machines: np.ndarray, ratio: np.ndarray) -> None:
    """Keep the candidate with the smallest ratio, if it is smaller than what is known."""
    if len(ratio):
        n = int(np.argmin(ratio))
        if np.isfinite(ratio[n]) and (gate not in near or ratio[n] < near[gate][2]):
            near[gate] = (int(index[n]), int(machines[n]), float(ratio[n]))


def ratios(space: Space, index: np.ndarray, table: Arrays, machines: np.ndarray, rate: np.ndarray, *, hopeful: bool = False) -> Ratios:
    """Every gate after quality, in order."""
    return {
        "memory": np.where(table["fits"], 0.0, 2.0),
        **load_ratios(space.goal, table, machines, hopeful=hopeful),
        **money_ratios(space.goal, space, index, table, machines, rate),
    }


def floor_price(space: Space, index: np.ndarray) -> np.ndarray:
    """USD an hour that one machine costs at least: rent, or the purchase over its life; an unknown price comes last."""
    hours = space.goal.life_years * 365.25 * 24

    def least(machine: Machine) -> float:
        if machine.usd_per_h is not None:
            return machine.usd_per_h
        return 0.0 if machine.side == "owned" else np.inf if machine.purchase_usd is None else machine.purchase_usd / hours

    return np.array([least(machine) for machine in space.machines])[space.machine[index]]
