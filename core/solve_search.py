"""The search among the candidates of one model: gates from cheap to dear, machines sized to the load, the promising ones exactly."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import numpy as np

from core.candidates import MODES, Space
from core.correction import Correction
from core.ranking import order_keys, ranked
from core.solve_gates import first_missed, load_ratios, losses, passes, purchase_of, quality_ratios
from core.solve_passes import Arrays, Exact, Memories, Rough, exact_pass, memory_pass, usd_per_h
from core.solve_rough import ENOUGH, OPEN, PASSED, PLACES, PRUNED, Near, Seen, Tell, floor_price, ratios, remember, roughly
from core.solve_sizes import Bracket, sizes
from core.solved import GATES
from core.units import MONTH_HOURS

EACH = 6  # candidates of each of them
ALL = 512  # as few candidates as that are all looked at exactly
BEYOND = 1.5  # times a budget: what costs more is no near miss, and not estimated
PROBES = 96  # exact estimates of one pass that cost little more than one
KEPT = 4  # memory passes that a space remembers


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
    near: Near
    rough: int  # estimated roughly
    exact: int
    seconds: dict[str, float] = field(default_factory=dict)


def search(
    space: Space, correction: Correction, tell: Tell | None = None, *, each: bool = False, shared: dict[object, Rough] | None = None
) -> Result:
    """Everything that is to know of a space's candidates. `each`: all that may pass are looked at exactly. `shared`: rough estimates
    that searches under the same load hand on."""
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
    near: Near = {}
    most = most_machines(space)
    too_long = space.goal.context / space.ir.max_context
    if too_long > 1:
        reason[:] = PLACES["context"]
        remember(near, "context", everyone, most, np.full(len(space), too_long))
    memory = _memories(space, everyone, most) if len(space) and too_long <= 1 else None
    if memory is not None:
        # The estimate has one host for each tensor rank, where there is one for all.
        impossible = memory.offloaded & (space.tp > 1)
        reason[impossible] = PRUNED
        reason[~memory.fits & ~impossible] = PLACES["memory"]
        remember(near, "memory", everyone, most, np.where(memory.fits, np.inf, memory.short))
        worse = quality_ratios(space)[space.quant]
        fails = (reason == OPEN) & (worse > 1)
        reason[fails] = PLACES["quality"]
        remember(near, "quality", everyone, most, np.where(fails, worse, np.inf))
        _too_dear(space, reason, most, near)
        reason[_needless(space, reason == OPEN, memory)] = PRUNED
    lap("memory and quality", 0.2)

    alive = np.flatnonzero(reason == OPEN)
    rough = _rough(space, correction, alive, shared)
    seen, count = roughly(space, rough, alive, most, reason, near, lambda share: lap("rough estimate", 0.2 + 0.5 * share))
    lap("rough estimate", 0.7)
    looked, exact = _exactly(space, correction, seen, most, each=each)
    reason[looked.index] = looked.reason
    for place, gate in enumerate(GATES):
        missed = looked.reason == place
        if missed.any():
            ratio = ratios(space, looked.index, looked.table, looked.machines, looked.usd_per_h).get(gate)
            if ratio is not None:
                remember(near, gate, looked.index, looked.machines, np.where(missed, ratio, np.inf))
    lap("exact estimate", 1.0)
    return Result(space, looked, reason, near, count, exact, seconds)


def _rough(space: Space, correction: Correction, alive: np.ndarray, shared: dict[object, Rough] | None) -> Rough:
    """The rough estimates of what is alive, the cheapest of each kind corrected."""
    key = (space.ir.id, space.goal.with_(sure=False))
    known = shared.get(key) if shared is not None else None
    if known is not None:
        return known.of(space)
    made = Rough(space, correction, alive[np.argsort(floor_price(space, alive), kind="stable")])
    if shared is None:
        return made
    shared[key] = made
    return made.of(space)


# ---------------------------------------------------------------- without an estimate


def most_machines(space: Space) -> np.ndarray:
    """How many machines each candidate may be given: what is owned is one, unless more of it can be had at a price."""
    goal = space.goal
    several = goal.request_rate_per_s is not None or (goal.open_users and goal.min_output_tok_s is not None)
    most = sizes(goal, goal.max_machines if several else min(goal.max_machines, goal.users))[-1]
    each = np.array([1 if m.side == "owned" and m.usd_per_h is None else most for m in space.machines], dtype=float)
    return each[space.machine]


def _memories(space: Space, everyone: np.ndarray, most: np.ndarray) -> Memories:
    """The memory pass, remembered while only targets change."""
    goal = space.goal
    key = ("memory", goal.workload(), goal.context, goal.offload, float(most.max()))
    if key not in space.kept:
        if len(space.kept) > KEPT:
            space.kept.clear()
        space.kept[key] = memory_pass(space, everyone, most)
        if space.room is not None:  # whoever has room for all users on one machine has it on several
            space.kept[key].ample = memory_pass(space, everyone, np.ones(len(space))).ample
    found: Memories = space.kept[key]
    space.away[:] = found.offloaded
    return found


def _too_dear(space: Space, reason: np.ndarray, most: np.ndarray, near: Near) -> None:
    """Turns away what costs far more than the budget with one machine, before any estimate."""
    goal = space.goal
    at = np.flatnonzero(reason == OPEN)
    budgets = {
        "month": (floor_price(space, at) * MONTH_HOURS, goal.max_usd_per_month),
        "purchase": (purchase_of(space, at), goal.max_purchase_usd),
    }
    for gate, (price, budget) in budgets.items():
        if budget is not None:
            beyond = np.nan_to_num(price, nan=0.0, posinf=0.0) > BEYOND * budget
            reason[at[beyond & (reason[at] == OPEN)]] = PLACES[gate]
            remember(near, gate, at, np.ones(len(at)), np.where(beyond, price / budget, np.inf))


def _needless(space: Space, alive: np.ndarray, memory: Memories) -> np.ndarray:
    """Candidates that another is as good as in every respect: more on the host than must be, a dearer host around the same devices
    where nothing lies on it, and less room for each user where more costs nothing but memory that is there."""
    offloaded = memory.offloaded
    places = np.flatnonzero(alive)
    names = {m: n for n, m in enumerate(dict.fromkeys((m.system.device, m.system.link if m.system.count > 1 else "", m.side == "build")
                                                      for m in space.machines))}  # fmt: skip
    kind = np.array([names[(m.system.device, m.system.link if m.system.count > 1 else "", m.side == "build")] for m in space.machines])
    runtimes = {name: n for n, name in enumerate(dict.fromkeys((runtime, kv) for _, runtime, kv in space.rows))}
    engine = np.array([runtimes[(runtime, kv)] for _, runtime, kv in space.rows], dtype=int)
    keys = np.column_stack([
        engine[space.row[places]], space.quant[places], space.tp[places], space.pp[places], space.dp[places], space.ep[places],
        *(cap[places] for cap in (space.batch, space.room) if cap is not None),
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
    if space.room is not None and memory.ample is not None:
        ample = places[memory.ample[places]]
        same = _alike(np.column_stack([space.machine[ample], space.mode[ample], keys[memory.ample[places]][:, :-1]]))
        longest = np.zeros(same.max(initial=-1) + 1, dtype=int)
        np.maximum.at(longest, same, space.room[ample])
        drop[ample[space.room[ample] < longest[same]]] = True
    return drop


def _alike(rows: np.ndarray) -> np.ndarray:
    """For each row the number of the sort that it is of: equal rows are of one."""
    return np.unique(rows, axis=0, return_inverse=True)[1].reshape(-1) if len(rows) else np.zeros(0, dtype=int)


# ---------------------------------------------------------------- exactly


def _exactly(space: Space, correction: Correction, seen: Seen, most: np.ndarray, *, each: bool) -> tuple[Looked, int]:
    """The most promising candidates with the correction that is their own, and what they pass; with `each`, all."""
    every = each or len(seen.index) <= ALL
    lost = losses(space)[space.quant] if len(space) else np.zeros(0)
    small = np.array([float(kv is not None) for _, _, kv in space.rows])[space.row] if len(space) else np.zeros(0)
    room = None if space.room is None else space.room[seen.index]
    keys = order_keys(space.goal, seen.table, seen.machines, seen.usd_per_h, lost[seen.index], float(space.ir.parameters),
                      small[seen.index], room) if len(seen.index) else []  # fmt: skip
    order = ranked(keys) if keys else np.zeros(0, dtype=int)
    opened = space.batch is not None or space.room is not None
    waiting: dict[tuple[object, ...], list[int]] = {}  # way → its candidates, best first; ways in the order of their best
    for n in order.tolist():
        i = int(seen.index[n])
        waiting.setdefault(space.way(i) if opened else (int(space.machine[i]),), []).append(n)
    parts: list[Looked] = []
    done: dict[str, int] = {}
    exact = 0
    while waiting:
        batch: list[int] = []
        asked: dict[str, int] = {}
        for way in list(waiting):
            side = space.machines[way[0]].side  # type: ignore[call-overload]
            if not every and asked.get(side, 0) + done.get(side, 0) >= ENOUGH:
                continue
            asked[side] = asked.get(side, 0) + 1
            take = len(waiting[way]) if every else EACH
            batch += waiting[way][:take]
            waiting[way] = waiting[way][take:]
            if not waiting[way]:
                del waiting[way]
        if not batch:
            break
        places = np.array(batch)
        part, tried = _look(space, correction, seen.index[places], seen.machines[places], most)
        exact += tried
        parts.append(part)
        for way in {space.way(i) if opened else (int(space.machine[i]),) for i in part.index[part.passed].tolist()}:
            side = space.machines[way[0]].side  # type: ignore[call-overload]
            done[side] = done.get(side, 0) + 1
            waiting.pop(way, None)
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

    listed = sizes(goal, int(most.max(initial=1)))
    place, top = np.searchsorted(listed, machines), np.searchsorted(listed, most[index])
    bracket = Bracket.at(place, good(found.table, machines), top)
    while len(at := bracket.open):
        points = bracket.points(at, int(np.clip(PROBES // len(at), 1, 4)))
        many = listed[points.reshape(-1)].astype(float)
        one = exact_pass(space, correction, np.repeat(index[at], points.shape[1]), many)
        tried += len(many)
        better, where = bracket.learn(at, points, good(one.table, many).reshape(points.shape))
        _take(found, better, one, where)
        machines[better] = many[where]
    rate = usd_per_h(space, index, found.table["power"])
    missed, names = first_missed(ratios(space, index, found.table, machines, rate), len(index))
    reason = np.where(missed < 0, PASSED, np.array([PLACES[name] for name in names])[missed])
    return Looked(index, machines, found.table, list(found.bands), found.support, rate, reason), tried


def _take(found: Exact, at: np.ndarray, one: Exact, places: np.ndarray) -> None:
    for name, amounts in one.table.items():
        found.table[name][at] = amounts[places]
    for place, n in zip(at.tolist(), places.tolist(), strict=True):
        found.bands[place], found.support[place] = one.bands[n], one.support[n]


__all__ = ["OPEN", "PASSED", "PLACES", "PRUNED", "Looked", "Result", "most_machines", "purchase_of", "search"]
