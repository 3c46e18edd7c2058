"""The front door of the solver: a goal in, the best ways to meet it out, and why the others do not."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from core.calibrate import in_effect
from core.candidates import Space, space
from core.catalog import instances, own_hardware, runtimes
from core.catalog.instances import Instance
from core.correction import Correction
from core.errors import CatalogError
from core.goal import Goal
from core.quality import tier_of
from core.ranking import front, order_keys, ranked
from core.solve_gates import losses
from core.solve_machines import Machine, machines, undominated
from core.solve_passes import TIMES, Rough, exact_pass, usd_per_h
from core.solve_search import OPEN, PASSED, PLACES, PRUNED, Looked, Result, search
from core.solve_words import missed
from core.solved import GATES, Candidate, Funnel, Rejection, Solved

Progress = Callable[[float, str], None]  # share that is done, and what is being done
MOST = 60  # ways of each side that an answer lists


def solve(goal: Goal, progress: Progress | None = None, *, each: bool = False, shared: dict[object, Rough] | None = None) -> Solved:
    """The ways to run the goal's models that meet it, best first, and why the others do not. `each` looks at all that may meet it, and
    lists every engine and quantisation on each machine, not the best alone. Goals that differ in `sure` alone may hand on estimates in
    `shared`.

    Raises CatalogError for an unknown name, or where no fitted correction can be read.
    """
    tell = progress or (lambda share, what: None)
    correction = in_effect()
    if correction is None:
        raise CatalogError("The fitted correction is missing from data/fitted; restore it from the repository.")
    clock = time.perf_counter()
    tell(0.0, "Listing machines")
    known, listed = _machines(goal)
    seconds = {"machines": time.perf_counter() - clock}
    results = []
    for number, model in enumerate(goal.models):
        clock = time.perf_counter()
        tell(number / len(goal.models), f"Laying out {model}")
        laid_out = _space(goal, model, listed)
        seconds["laying out"] = seconds.get("laying out", 0.0) + time.perf_counter() - clock

        def told(share: float, number: int = number, model: str = model) -> None:
            tell((number + share) / len(goal.models), f"Estimating {model}")

        results.append(search(laid_out, correction, told, each=each, shared=shared))
        for stage, took in results[-1].seconds.items():
            seconds[stage] = seconds.get(stage, 0.0) + took
    clock = time.perf_counter()
    best = _best(goal, results, each=each)
    rejected = _rejections(goal, results, correction)
    seconds["ranking"] = time.perf_counter() - clock
    tell(1.0, "Done")
    return Solved(goal, tuple(best), tuple(front(goal, best)), rejected, _funnel(known, results, seconds), correction.version)


def _machines(goal: Goal) -> tuple[int, tuple[Machine, ...]]:
    """How many machines the goal allows, and those that are worth a look. Files of one's own are read again when they change."""
    same = {name: getattr(goal, name) for name in ("hardware", "owned", "owned_usd_per_h", "devices", "providers", "region", "terms",
                                                   "have_host", "max_devices", "offload")}  # fmt: skip
    # Of the rest only whether power matters tells machines apart.
    power = 1.0 if goal.max_power_w is not None or goal.objective == "throughput_per_w" else None
    return _listed(Goal(models=("any",), max_power_w=power, **same), instances.instances(), tuple(own_hardware.saved()))


@functools.lru_cache(maxsize=16)
def _listed(goal: Goal, rented: tuple[Instance, ...], own: tuple[str, ...]) -> tuple[int, tuple[Machine, ...]]:
    every = machines(goal)
    return len(every), tuple(undominated(every, goal))


@functools.lru_cache(maxsize=16)
def _kept(asked: Goal, model: str, listed: tuple[Machine, ...]) -> Space:
    return space(asked, model, listed)


def _space(goal: Goal, model: str, listed: tuple[Machine, ...]) -> Space:
    """The candidates of a model; another goal over the same machines and configurations shares the arrays."""
    users = goal.users if goal.request_rate_per_s is None else None
    asked = Goal(models=(model,), users=users or 1, request_rate_per_s=None if users else 1.0, runtimes=goal.runtimes, quants=goal.quants,
                 kv_dtypes=goal.kv_dtypes, offload=goal.offload, open_users=goal.open_users)  # fmt: skip
    if goal.objective == "context":
        asked = asked.with_(objective="context", prompt_tokens=1, output_tokens=1, context_tokens=goal.context)
    return replace(_kept(asked, model, listed), goal=goal)


def _best(goal: Goal, results: list[Result], *, each: bool = False) -> list[Candidate]:
    """What passed, in order: of each machine and model the best; with `each` the best of every engine and quantisation; of what is
    owned as `ways` tells them apart."""
    keys: list[list[np.ndarray]] = []
    where: list[tuple[int, int]] = []
    for number, result in enumerate(results):
        looked, laid_out = result.looked, result.space
        at = looked.passed
        if not len(at):
            continue
        table = {name: amounts[at] for name, amounts in looked.table.items()}
        index = looked.index[at]
        lost = losses(laid_out)[laid_out.quant[index]]
        small = np.array([float(kv is not None) for _, _, kv in laid_out.rows])[laid_out.row[index]]
        parameters = float(laid_out.ir.parameters)
        room = None if laid_out.room is None else laid_out.room[index]
        keys.append(order_keys(goal, table, looked.machines[at], looked.usd_per_h[at], lost, parameters, small, room))
        where += [(number, int(n)) for n in at]
    if not keys:
        return []
    order = ranked([np.concatenate(columns) for columns in zip(*keys, strict=True)])
    found: list[Candidate] = []
    taken: set[tuple[object, ...]] = set()
    left = dict.fromkeys(goal.hardware, MOST)
    for place in order.tolist():
        number, n = where[place]
        laid_out, looked = results[number].space, results[number].looked
        i = looked.index[n]
        machine = laid_out.machines[laid_out.machine[i]]
        key = (number, *laid_out.way(i, each=each))
        if key not in taken and (each or left[machine.side]):
            taken.add(key)
            left[machine.side] -= 1
            found.append(candidate(laid_out, looked, n))
    return found


def candidate(laid_out: Space, looked: Looked, n: int) -> Candidate:
    """One that was looked at exactly, as a record with a scenario of its own."""
    i, many = int(looked.index[n]), int(looked.machines[n])
    scenario = laid_out.scenario(i, many)
    lost = float(losses(laid_out)[laid_out.quant[i]])
    table = {name: float(amounts[n]) for name, amounts in looked.table.items()}
    metrics = {name: amount for name, amount in table.items() if " " not in name and name not in ("fits", "offloaded", "short", "load")}
    _, runtime, kv = laid_out.rows[laid_out.row[i]]
    return Candidate(
        scenario=scenario,
        machine=laid_out.machines[laid_out.machine[i]],
        machines=many,
        tp=int(laid_out.tp[i]), pp=int(laid_out.pp[i]), dp=int(laid_out.dp[i]), ep=int(laid_out.ep[i]),
        quant=laid_out.quants[laid_out.quant[i]],
        kv_dtype=kv or runtimes.runtime(runtime).default_kv_dtype,
        fits="with_offload" if table["offloaded"] else "in_vram",
        metrics=metrics,
        bands=looked.bands[n],  # type: ignore[arg-type]
        support=looked.support[n],  # type: ignore[arg-type]
        usd_per_h=float(looked.usd_per_h[n]),
        times={name: table[f"{name} asked"] for name in TIMES},
        load=table["load"],
        quality=None if np.isnan(lost) else lost,
        tier=tier_of(lost),
    )  # fmt: skip


def _rejections(goal: Goal, results: list[Result], correction: Correction) -> tuple[Rejection, ...]:
    """What each gate turned away, and what came nearest to it: looked at exactly, in one pass a model."""
    nearest = {
        gate: min((n for n, r in enumerate(results) if gate in r.near), key=lambda n: results[n].near[gate][2], default=None)
        for gate in GATES
    }
    records: dict[str, tuple[Candidate, float]] = {}
    for number, result in enumerate(results):
        gates = [gate for gate, of in nearest.items() if of == number]
        if not gates:
            continue
        index = np.array([result.near[gate][0] for gate in gates])
        many = np.array([float(result.near[gate][1]) for gate in gates])
        found = exact_pass(result.space, correction, index, many)
        rate = usd_per_h(result.space, index, found.table["power"])
        looked = Looked(index, many, found.table, list(found.bands), found.support, rate, np.array([PLACES[gate] for gate in gates]))
        records |= {gate: (candidate(result.space, looked, n), float(found.table["short"][n])) for n, gate in enumerate(gates)}
    rejected = []
    for gate in GATES:
        count = sum(int((result.reason == PLACES[gate]).sum()) for result in results)
        if count and gate in records:
            record, short = records[gate]
            rejected.append(Rejection(gate, count, record, missed(goal, gate, record, short)))
        else:
            rejected.append(Rejection(gate, count, None, ""))
    return tuple(rejected)


def _funnel(known: int, results: list[Result], seconds: dict[str, float]) -> Funnel:
    return Funnel(
        machines=known,
        enumerated=sum(len(result.space) for result in results),
        illegal=sum(result.space.illegal for result in results),
        pruned=sum(int((result.reason == PRUNED).sum()) for result in results),
        estimated=sum(result.rough for result in results),
        exact=sum(result.exact for result in results),
        passed=sum(int((result.reason == PASSED).sum()) for result in results),
        left=sum(int((result.reason == OPEN).sum()) for result in results),
        seconds=seconds,
    )
