"""The front door of the solver: a goal in, the best ways to meet it out."""

from __future__ import annotations

import time
from collections.abc import Callable

from core.catalog import hardware, models, runtimes
from core.catalog.runtimes import backend_for
from core.corrected import Answer, answers
from core.correction import shipped
from core.errors import RoofcastError
from core.estimate import estimate
from core.goal import Goal
from core.quantity import value
from core.scenario import Deployment, Scenario
from core.solve_machines import Machine, machines
from core.solved import GATES, Candidate, Funnel, Rejection, Solved

Progress = Callable[[float, str], None]  # share that is done, and what is being done


def solve(goal: Goal, progress: Progress | None = None) -> Solved:
    """The ways to run the goal's models that meet it, best first, and why the others do not.

    Raises CatalogError for an unknown name.
    """
    start = time.perf_counter()
    tell = progress or (lambda share, what: None)
    tell(0.0, "listing machines")
    listed = machines(goal)
    asked: list[tuple[Scenario, Machine]] = []
    for model in goal.models:
        ir = models.ir(model)
        for machine in listed:
            for runtime in goal.runtimes or ("llama.cpp", "vllm", "mlx"):
                device = hardware.device(machine.system.device)
                try:
                    backend_for(runtimes.runtime(runtime), device.vendor, device.kind)
                except RoofcastError:
                    continue
                for quant in goal.quants or (None,):
                    deployment = Deployment(quant=quant, max_context=goal.context)
                    asked.append((Scenario(model=ir.id, system=machine.system, runtime=runtime, deployment=deployment,
                                           workload=goal.workload(), costs=machine.costs(goal)), machine))  # fmt: skip
    tell(0.2, "estimating")
    correction = shipped()
    assert correction is not None
    found = answers([scenario for scenario, _ in asked], correction, strict=True)
    passed: list[Candidate] = []
    illegal = 0
    for (scenario, machine), one in zip(asked, found, strict=True):
        if isinstance(one, str):
            illegal += 1
        elif len(passed) < 40:
            candidate = _candidate(scenario, machine, one)
            if candidate is not None and _meets(goal, candidate):
                passed.append(candidate)
    passed.sort(key=lambda c: c.usd_per_month)
    funnel = Funnel(len(listed), len(asked), illegal, 0, len(asked) - illegal, len(asked) - illegal, len(passed),
                    {"all": time.perf_counter() - start})  # fmt: skip
    tell(1.0, "done")
    rejected = tuple(Rejection(gate, 0, None, "") for gate in GATES)
    return Solved(goal, tuple(passed), tuple(passed), rejected, funnel, correction.version)


def _candidate(scenario: Scenario, machine: Machine, one: Answer) -> Candidate | None:
    whole = estimate(scenario)
    if whole.feasibility == "insufficient_memory":
        return None
    r = whole.resolved
    return Candidate(
        scenario, machine, 1, r["tp"], r["pp"], r["dp"], r["ep"], r["quant"], r["kv_dtype"], whole.feasibility, one.metrics, one.bands,
        one.support, float(value(whole.money["usd_per_h"])) * 3600, {name: one.metrics[name] for name in ("ttft", "tpot", "latency")},
    )  # fmt: skip


def _meets(goal: Goal, c: Candidate) -> bool:
    limits = (
        (c.times["ttft"], goal.max_ttft_s),
        (c.times["tpot"], goal.tpot_s),
        (c.times["latency"], goal.max_latency_s),
        (c.usd_per_month, goal.max_usd_per_month),
        (c.purchase_usd, goal.max_purchase_usd),
        (c.power_w, goal.max_power_w),
    )
    return all(limit is None or (amount is not None and amount <= limit) for amount, limit in limits)
