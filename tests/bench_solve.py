"""How fast the solver is, and where the time goes: `python tests/bench_solve.py`. Not collected by pytest.

The aims are 100,000 candidates a second on one core without a load's fixed point and 50,000 with it, and one model over the whole
catalog of machines in less than 2 s on two cores, warm. Seconds of the processor tell what others on the machine do not blur.
"""

from __future__ import annotations

import cProfile
import pstats
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from core.candidates import space
from core.correction import shipped
from core.goal import Goal, goal
from core.solve import solve
from core.solve_machines import machines, undominated
from core.solve_passes import Rough, exact_pass, memory_pass

AIMS = {1: 100_000, 32: 50_000}  # candidates a second by users
WHOLE = 2.0  # s for one model over the whole catalog, on two cores
MODELS = ("meta-llama/Llama-3.1-8B-Instruct", "Qwen/Qwen3-30B-A3B", "deepseek-ai/DeepSeek-R1")
GOALS: dict[str, dict[str, Any]] = {
    "8B for one, the whole catalog": {"models": MODELS[0], "min_decode_tok_s": 10},
    "70B for 50 users, the whole catalog": {
        "models": "meta-llama/Llama-3.3-70B-Instruct", "users": 50, "max_ttft_s": 2.0, "min_decode_tok_s": 10,
    },
    "32B at 4 requests/s, the whole catalog": {"models": "Qwen/Qwen3-32B", "request_rate_per_s": 4.0, "max_ttft_s": 2.0},
    "DeepSeek-R1 for 8, rented": {"models": MODELS[2], "users": 8, "min_decode_tok_s": 20, "hardware": ["cloud"]},
    "8B for 16, most tokens a second, rented": {"models": MODELS[0], "users": 16, "objective": "throughput", "hardware": ["cloud"]},
}  # fmt: skip
MODULES = ("solve_", "candidates", "ranking", "serving", "phases", "memory", "plan", "forests", "features", "correct", "constants",
           "formulas", "quantity")  # fmt: skip


def timed(work: Callable[[], Any], times: int = 3) -> tuple[float, float]:
    """The least seconds of the processor and of the clock of some runs."""
    cpu, wall = [], []
    for _ in range(times):
        c, w = time.process_time(), time.perf_counter()
        work()
        cpu.append(time.process_time() - c)
        wall.append(time.perf_counter() - w)
    return min(cpu), min(wall)


def passes(model: str, users: int) -> None:
    """Candidates a second of each pass, on one core."""
    asked: Goal = goal({"models": model, "users": users})
    start = time.process_time()
    found = space(asked, model, undominated(machines(asked), asked))
    cold = time.process_time() - start
    laid, _ = timed(lambda: space(asked, model, found.machines), 2)
    everyone, one = np.arange(len(found)), np.ones(len(found))
    memory, _ = timed(lambda: memory_pass(found, everyone, one))
    fits = np.flatnonzero(memory_pass(found, everyone, one).fits)[:32_768]
    correction = shipped()
    assert correction is not None
    rough = Rough(found, correction, fits)
    ones = np.ones(len(fits))
    roughly, _ = timed(lambda: rough.outcome(fits, ones))
    some = fits[np.linspace(0, len(fits) - 1, 1024).astype(int)]
    exactly, _ = timed(lambda: exact_pass(found, correction, some, np.ones(len(some))))
    rate = len(fits) / roughly
    print(
        f"{model:<36} {users:>3} users  {len(found):>7,} candidates laid out in {laid:.2f} s ({cold:.1f} s at first), memory "
        f"{len(found) / memory:>9,.0f}/s, rough {rate:>8,.0f}/s ({rate / AIMS[users]:.2f} × the aim), exact {len(some) / exactly:>6,.0f}/s"
    )


def whole(title: str, raw: dict[str, Any]) -> None:
    """A goal, warm: time, funnel, and where the processor's time goes."""
    asked = goal(raw)
    solve(asked)
    cpu, wall = timed(lambda: solve(asked))
    f = solve(asked).funnel
    print(
        f"{title:<42} {cpu:5.2f} s of the processor, {wall:5.2f} s ({WHOLE / wall:.1f} × as fast as the aim): {f.enumerated:,} "
        f"candidates on {f.machines} machines, {f.pruned:,} pruned, {f.estimated:,} estimated, {f.exact:,} exactly, {f.passed:,} pass; "
        f"{f.enumerated / wall:,.0f}/s"
    )
    profile = cProfile.Profile()
    profile.runcall(solve, asked)
    costs: dict[str, float] = {}
    for (path, _, _), (_, _, own, _, _) in pstats.Stats(profile).stats.items():  # type: ignore[attr-defined]
        place = next((name.strip("_") for name in MODULES if f"core/{name}" in path), "numpy and Python")
        costs[place] = costs.get(place, 0.0) + own
    told = ", ".join(f"{place} {cost / sum(costs.values()):.0%}" for place, cost in sorted(costs.items(), key=lambda x: -x[1])[:7])
    print(f"   by stage: {', '.join(f'{stage} {took:.2f} s' for stage, took in f.seconds.items())}")
    print(f"   own time by module: {told}")


if __name__ == "__main__":
    for name in MODELS:
        for many in AIMS:
            passes(name, many)
    for words, goal_raw in GOALS.items():
        whole(words, goal_raw)
