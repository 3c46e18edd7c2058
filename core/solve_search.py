"""The search among the candidates of one model: gates from cheap to dear, machines sized to the load, the promising ones exactly."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from core.batch import CHUNK
from core.candidates import MODES, Space
from core.correction import Correction
from core.ranking import order_keys, ranked
from core.solve_gates import Ratios, first_missed, load_ratios, losses, money_ratios, passes, purchase_of, quality_ratios
from core.solve_machines import Machine
from core.solve_passes import Arrays, Exact, Rough, exact_pass, memory_pass, usd_per_h
from core.solved import GATES

PLACES = {gate: place for place, gate in enumerate(GATES)}
OPEN, PRUNED, PASSED = -1, -2, -3  # where a candidate stands that no gate turned away
ENOUGH = 24  # machines of each side that are looked at exactly
EACH = 6  # candidates of each of them
ALL = 512  # as few candidates as that are all looked at exactly

Tell = Callable[[float], None]


@dataclass(slots=True)
class Looked:
    """Candidates that were looked at exactly, arrays along `index`."""

    index: np.ndarray
    machines: np.ndarray
    table: Arrays
    bands: list[object]
    support: list[str]
    usd_per_h: np.ndarray
    reason: np.ndarray  # PASSED, or the place of the gate that each misses

    @property
    def passed(self) -> np.ndarray:
        return np.flatnonzero(self.reason == PASSED)


@dataclass(slots=True)
class Result:
    """What the search found in a space. `reason`: for every candidate PASSED, PRUNED, OPEN (not looked at exactly, though it may
    pass), or the place of its gate; `near`: gate → the candidate that missed it by least, with its machines and its ratio."""

    space: Space
    looked: Looked
    reason: np.ndarray
    near: dict[str, tuple[int, int, float]]
    rough: int  # estimated roughly
    exact: int
    seconds: dict[str, float] = field(default_factory=dict)


def search(space: Space, correction: Correction, tell: Tell | None = None, *, each: bool = False) -> Result:
    """Everything that is to know of a space's candidates. `each`: all that may pass are looked at exactly."""
    clock = time.perf_counter()
    seconds: dict[str, float] = {}
    told = tell or (lambda share: None)

    def lap(stage: str, share: float) -> None:
        nonlocal clock
        now = time.perf_counter()
        seconds[stage] = seconds.get(stage, 0.0) + now - clock
        clock = now
        told(share)

    everyone = np.arange(len(space))
    reason = np.full(len(space), OPEN)
    near: dict[str, tuple[int, int, float]] = {}
    most = most_machines(space)
    too_long = space.goal.context / space.ir.max_context
    if too_long > 1:
        reason[:] = PLACES["context"]
        _remember(near, "context", everyone, most, np.full(len(space), too_long))
    memory = memory_pass(space, everyone, most) if len(space) and too_long <= 1 else None
    if memory is not None:
        # The estimate has one host for each tensor rank, where there is one for all.
        impossible = memory.offloaded & (space.tp > 1)
        reason[impossible] = PRUNED
        reason[~memory.fits & ~impossible] = PLACES["memory"]
        _remember(near, "memory", everyone, most, np.where(memory.fits, np.inf, memory.short))
        worse = quality_ratios(space)[space.quant]
        fails = (reason == OPEN) & (worse > 1)
        reason[fails] = PLACES["quality"]
        _remember(near, "quality", everyone, most, np.where(fails, worse, np.inf))
        reason[_needless(space, reason == OPEN, memory.offloaded)] = PRUNED
    lap("memory and quality", 0.2)

    alive = np.flatnonzero(reason == OPEN)
    rough = Rough(space, correction, alive[np.argsort(floor_price(space, alive), kind="stable")])
    seen, count = _roughly(space, rough, alive, most, reason, near, lambda share: lap("rough estimate", 0.2 + 0.5 * share))
    lap("rough estimate", 0.7)
    looked, exact = _exactly(space, correction, seen, most, each=each)
    reason[looked.index] = looked.reason
    for place, gate in enumerate(GATES):
        missed = looked.reason == place
        if missed.any():
            ratio = _ratios(space, looked.index, looked.table, looked.machines, looked.usd_per_h).get(gate)
            if ratio is not None:
                _remember(near, gate, looked.index, looked.machines, np.where(missed, ratio, np.inf))
    lap("exact estimate", 1.0)
    return Result(space, looked, reason, near, count, exact, seconds)


# ---------------------------------------------------------------- without an estimate


def most_machines(space: Space) -> np.ndarray:
    """How many machines each candidate may be given: what is owned is one, unless more of it can be had at a price."""
    goal = space.goal
    most = goal.max_machines if goal.request_rate_per_s is not None else min(goal.max_machines, goal.users)
    each = np.array([1 if m.side == "owned" and m.usd_per_h is None else most for m in space.machines], dtype=float)
    return each[space.machine]


def floor_price(space: Space, index: np.ndarray) -> np.ndarray:
    """USD an hour that one machine costs at least: rent, or the purchase over its life; an unknown price comes last."""
    hours = space.goal.life_years * 365.25 * 24

    def least(machine: Machine) -> float:
        if machine.usd_per_h is not None:
            return machine.usd_per_h
        return 0.0 if machine.side == "owned" else np.inf if machine.purchase_usd is None else machine.purchase_usd / hours

    return np.array([least(machine) for machine in space.machines])[space.machine[index]]


def _needless(space: Space, alive: np.ndarray, offloaded: np.ndarray) -> np.ndarray:
    """Candidates that another is as good as in every respect: more on the host than must be, and a dearer host around the same
    devices where nothing lies on it."""
    places = np.flatnonzero(alive)
    names = {m: n for n, m in enumerate(dict.fromkeys((m.system.device, m.system.link if m.system.count > 1 else "", m.side == "build")
                                                      for m in space.machines))}  # fmt: skip
    kind = np.array([names[(m.system.device, m.system.link if m.system.count > 1 else "", m.side == "build")] for m in space.machines])
    runtimes = {name: n for n, name in enumerate(dict.fromkeys((runtime, kv) for _, runtime, kv in space.rows))}
    engine = np.array([runtimes[(runtime, kv)] for _, runtime, kv in space.rows], dtype=int)
    keys = np.column_stack([
        engine[space.row[places]], space.quant[places], space.tp[places], space.pp[places], space.dp[places], space.ep[places],
    ])  # fmt: skip
    drop = np.zeros(len(alive), dtype=bool)
    as_needed = (space.mode[places] == MODES.index("as needed")) & ~offloaded[places]
    _, same = np.unique(np.column_stack([space.machine[places], keys]), axis=0, return_inverse=True)
    whole = np.zeros(same.max() + 1 if len(same) else 0, dtype=bool)
    whole[same.reshape(-1)[as_needed]] = True
    drop[places] = whole[same.reshape(-1)] & ~as_needed if len(places) else False

    build = np.array([m.side == "build" for m in space.machines], dtype=bool)
    left = places[as_needed & build[space.machine[places]]]
    if len(left):
        rows = np.column_stack([kind[space.machine[left]], space.count[left], keys[as_needed & build[space.machine[places]]]])
        _, alike = np.unique(rows, axis=0, return_inverse=True)
        alike = alike.reshape(-1)
        order = np.lexsort((floor_price(space, left), alike))
        first = np.ones(len(order), dtype=bool)
        first[1:] = alike[order][1:] != alike[order][:-1]
        drop[left[order[~first]]] = True
    return drop


def _remember(near: dict[str, tuple[int, int, float]], gate: str, index: np.ndarray, machines: np.ndarray, ratio: np.ndarray) -> None:
    """Keep the candidate with the smallest ratio, if it is smaller than what is known."""
    if len(ratio):
        n = int(np.argmin(ratio))
        if np.isfinite(ratio[n]) and (gate not in near or ratio[n] < near[gate][2]):
            near[gate] = (int(index[n]), int(machines[n]), float(ratio[n]))


def _ratios(space: Space, index: np.ndarray, table: Arrays, machines: np.ndarray, rate: np.ndarray, *, hopeful: bool = False) -> Ratios:
    """Every gate after quality, in order."""
    return {
        "memory": np.where(table["fits"], 0.0, 2.0),
        **load_ratios(space.goal, table, machines, hopeful=hopeful),
        **money_ratios(space.goal, space, index, table, machines, rate),
    }


# ---------------------------------------------------------------- roughly


@dataclass(slots=True)
class _Seen:
    """Candidates that may pass, with what the rough estimate says of them."""

    index: np.ndarray
    machines: np.ndarray
    table: Arrays
    usd_per_h: np.ndarray


def _roughly(
    space: Space, rough: Rough, alive: np.ndarray, most: np.ndarray, reason: np.ndarray, near: dict[str, tuple[int, int, float]], tell: Tell
) -> tuple[_Seen, int]:
    """The candidates that may pass. Where the cheapest are wanted, none is estimated that costs more than enough that do."""
    goal, parts, count = space.goal, [], 0
    sides = np.array([m.side for m in space.machines])[space.machine[alive]]
    for number, side in enumerate(dict.fromkeys(m.side for m in space.machines)):
        ours = alive[sides == side]
        price = floor_price(space, ours)
        order = np.argsort(price, kind="stable")
        ours, price = ours[order], price[order]
        cheapest: dict[int, float] = {}  # machine → what it costs at least to meet the goal with it
        for first in range(0, len(ours), CHUNK):
            enough = sorted(cheapest.values())[ENOUGH - 1 : ENOUGH]
            if goal.objective == "cost" and enough and price[first] > enough[0]:
                reason[ours[first:]] = PRUNED
                break
            index = ours[first : first + CHUNK]
            machines, table, tried = _sized(rough, index, most[index])
            count += tried
            rate = usd_per_h(space, index, table["power"])
            ratios = _ratios(space, index, table, machines, rate, hopeful=True)
            missed, names = first_missed(ratios, len(index))
            reason[index] = np.where(missed < 0, OPEN, np.array([PLACES[name] for name in names])[missed])
            for place, gate in enumerate(names[1:], 1):
                _remember(near, gate, index, machines, np.where(missed == place, ratios[gate], np.inf))
            kept = np.flatnonzero(missed < 0)
            parts.append(_Seen(index[kept], machines[kept], {k: v[kept] for k, v in table.items()}, rate[kept]))
            sure = kept[passes(_ratios(space, index[kept], parts[-1].table, machines[kept], rate[kept]), len(kept))]
            for machine, cost in zip(space.machine[index[sure]].tolist(), (rate * machines)[sure].tolist(), strict=True):
                cheapest[machine] = min(cost, cheapest.get(machine, np.inf))
            tell((number + (first + len(index)) / len(ours)) / 3)
    return _together(parts), count


def _together(parts: list[_Seen]) -> _Seen:
    if not parts:
        return _Seen(np.zeros(0, dtype=int), np.zeros(0), {}, np.zeros(0))
    table = {name: np.concatenate([part.table[name] for part in parts]) for name in parts[0].table}
    index, machines, rate = (np.concatenate([getattr(part, name) for part in parts]) for name in ("index", "machines", "usd_per_h"))
    return _Seen(index, machines, table, rate)


def _sized(rough: Rough, index: np.ndarray, most: np.ndarray) -> tuple[np.ndarray, Arrays, int]:
    """The fewest machines with which each candidate meets the targets of the load, by bisection, and what becomes of it then; with as
    many as it may have where none does."""
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

    def good(at: np.ndarray, found: Arrays, many: np.ndarray) -> np.ndarray:
        return found["fits"] & passes(load_ratios(goal, found, many), len(at))

    short = np.flatnonzero(~good(np.arange(len(index)), table, machines) & (machines < most))
    low, high = machines.copy(), most.copy()
    if len(short):
        best = rough.outcome(index[short], most[short])
        tried += len(short)
        _put(table, short, best)
        machines[short] = most[short]
        short = short[good(short, best, most[short])]
    while len(short := short[high[short] - low[short] > 1]):
        middle = np.floor((low[short] + high[short]) / 2)
        found = rough.outcome(index[short], middle)
        tried += len(short)
        holds = good(short, found, middle)
        _put(table, short[holds], {name: amounts[holds] for name, amounts in found.items()})
        machines[short[holds]] = high[short[holds]] = middle[holds]
        low[short[~holds]] = middle[~holds]
    return machines, table, tried


def _put(table: Arrays, at: np.ndarray, found: Arrays) -> None:
    for name, amounts in found.items() if len(at) else ():
        table[name][at] = amounts


# ---------------------------------------------------------------- exactly


def _exactly(space: Space, correction: Correction, seen: _Seen, most: np.ndarray, *, each: bool) -> tuple[Looked, int]:
    """The most promising candidates with the correction that is their own, and what they pass; with `each`, all."""
    every = each or len(seen.index) <= ALL
    lost = losses(space)[space.quant] if len(space) else np.zeros(0)
    small = np.array([float(kv is not None) for _, _, kv in space.rows])[space.row] if len(space) else np.zeros(0)
    keys = order_keys(space.goal, seen.table, seen.machines, seen.usd_per_h, lost[seen.index], float(space.ir.parameters),
                      small[seen.index]) if len(seen.index) else []  # fmt: skip
    order = ranked(keys) if keys else np.zeros(0, dtype=int)
    waiting: dict[int, list[int]] = {}  # machine → its candidates, best first; machines in the order of their best
    for n in order.tolist():
        waiting.setdefault(int(space.machine[seen.index[n]]), []).append(n)
    parts: list[Looked] = []
    done: dict[str, int] = {}
    exact = 0
    while waiting:
        batch: list[int] = []
        asked: dict[str, int] = {}
        for machine in list(waiting):
            side = space.machines[machine].side
            if not every and asked.get(side, 0) + done.get(side, 0) >= ENOUGH:
                continue
            asked[side] = asked.get(side, 0) + 1
            take = len(waiting[machine]) if every else EACH
            batch += waiting[machine][:take]
            waiting[machine] = waiting[machine][take:]
            if not waiting[machine]:
                del waiting[machine]
        if not batch:
            break
        places = np.array(batch)
        part, tried = _look(space, correction, seen.index[places], seen.machines[places], most)
        exact += tried
        parts.append(part)
        for machine in set(space.machine[part.index[part.passed]].tolist()):
            done[space.machines[machine].side] = done.get(space.machines[machine].side, 0) + 1
            waiting.pop(machine, None)
    return _all_looked(parts), exact


def _all_looked(parts: list[Looked]) -> Looked:
    if not parts:
        return Looked(np.zeros(0, dtype=int), np.zeros(0), {}, [], [], np.zeros(0), np.zeros(0, dtype=int))
    table = {name: np.concatenate([part.table[name] for part in parts]) for name in parts[0].table}
    return Looked(
        np.concatenate([p.index for p in parts]), np.concatenate([p.machines for p in parts]), table,
        [b for p in parts for b in p.bands], [s for p in parts for s in p.support],
        np.concatenate([p.usd_per_h for p in parts]), np.concatenate([p.reason for p in parts]),
    )  # fmt: skip


def _look(space: Space, correction: Correction, index: np.ndarray, machines: np.ndarray, most: np.ndarray) -> tuple[Looked, int]:
    """These candidates exactly, each with the fewest machines with which it meets the targets, near the rough number."""
    goal, machines = space.goal, machines.copy()
    found = exact_pass(space, correction, index, machines)
    tried = len(index)

    def good(table: Arrays, many: np.ndarray) -> np.ndarray:
        return table["fits"] & passes(load_ratios(goal, table, many), len(many))

    holds = good(found.table, machines)
    low = np.where(holds, 0.0, machines)  # fails, as far as known
    high = np.where(holds, machines, np.inf)  # holds
    open_ = np.flatnonzero((high - low > 1) & (most[index] > 1) & (low < most[index]))
    while len(open_):
        top = most[index[open_]]
        up = np.minimum(np.ceil(low[open_] * 1.5), top)
        down = np.maximum(np.floor(np.where(low[open_] > 0, (low[open_] + high[open_]) / 2, high[open_] / 1.5)), 1)
        middle = np.where(np.isinf(high[open_]), up, down)
        one = exact_pass(space, correction, index[open_], middle)
        tried += len(open_)
        holds = good(one.table, middle)
        _take(found, open_[holds], one, np.flatnonzero(holds))
        machines[open_[holds]] = high[open_[holds]] = middle[holds]
        low[open_[~holds]] = middle[~holds]
        open_ = open_[(high[open_] - low[open_] > 1) & (low[open_] < top) & (high[open_] > 1)]
    rate = usd_per_h(space, index, found.table["power"])
    missed, names = first_missed(_ratios(space, index, found.table, machines, rate), len(index))
    reason = np.where(missed < 0, PASSED, np.array([PLACES[name] for name in names])[missed])
    return Looked(index, machines, found.table, list(found.bands), found.support, rate, reason), tried


def _take(found: Exact, at: np.ndarray, one: Exact, places: np.ndarray) -> None:
    for name, amounts in one.table.items():
        found.table[name][at] = amounts[places]
    for place, n in zip(at.tolist(), places.tolist(), strict=True):
        found.bands[place], found.support[place] = one.bands[n], one.support[n]


__all__ = ["OPEN", "PASSED", "PLACES", "PRUNED", "Looked", "Result", "most_machines", "purchase_of", "search"]
