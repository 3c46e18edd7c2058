"""How fast the estimator is: `python tests/bench_estimate.py`. Not collected by pytest.

The floor for candidates of one model in one array pass, with the load's fixed point, is 10,000 a second on one core; the aim 50,000.
"""

from __future__ import annotations

import cProfile
import pstats
import sys
import time
import warnings
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
warnings.simplefilter("ignore", RuntimeWarning)

import numpy as np  # noqa: E402

from core.batch import candidates  # noqa: E402
from core.catalog import models  # noqa: E402
from core.estimate import estimate, numbers  # noqa: E402
from core.plan import legal_tp  # noqa: E402
from core.scenario import Scenario, from_flat  # noqa: E402

FLOOR, AIM = 10_000, 50_000
WANTED = 50_000  # candidates of a pass
DEVICES = ("H100 SXM5 80GB", "H200 SXM 141GB", "A100 SXM4 80GB", "L40S", "B200 SXM 180GB")
QUANTS = ("BF16", "FP8", "AWQ-INT4", "GPTQ-INT4")
MODULES = ("serving.py", "phases.py", "memory.py", "plan.py", "columns.py", "estimate.py", "quantity.py", "formulas")


def best(work: Callable[[], Any], times: int) -> float:
    """The shortest of some runs, s."""
    found = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        found.append(time.perf_counter() - start)
    return min(found)


def single(scenario: Scenario, title: str) -> None:
    estimate(scenario), numbers(scenario)  # the first call reads the catalog
    cited, plain = best(lambda: estimate(scenario), 30), best(lambda: numbers(scenario), 30)
    print(f"{title:<44}  estimate {cited * 1e3:7.2f} ms   numbers {plain * 1e3:7.2f} ms")


def grid(model: str) -> tuple[list[Scenario], np.ndarray, dict[str, np.ndarray]]:
    """Candidates of one model: devices × quantisations × tensor parallel × users × prompts."""
    options = [
        from_flat({"model": model, "device": device, "count": 8, "runtime": "vllm", "quant": quant, "tp": 1, "pp": 1})
        for device, quant in product(DEVICES, QUANTS)
        if not (device.startswith("A100") and quant == "FP8")
    ]
    degrees = [tp for tp in (1, 2, 4, 8) if legal_tp(models.ir(model), tp)]
    users = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256]
    prompts = np.unique(np.geomspace(64, 32_768, max(1, WANTED // (len(options) * len(degrees) * len(users)))).astype(int))
    rows = np.array(list(product(range(len(options)), degrees, users, prompts)), dtype=float)
    return options, rows[:, 0].astype(int), {"tp": rows[:, 1], "users": rows[:, 2], "prompt": rows[:, 3]}


def many(model: str) -> None:
    options, index, knobs = grid(model)
    candidates(options, index[:100], {name: values[:100] for name, values in knobs.items()})
    seconds = best(lambda: candidates(options, index, knobs), 3)
    rate = len(index) / seconds
    print(
        f"{model:<44}  {len(index):,} candidates in {seconds:.2f} s: {rate:,.0f}/s, "
        f"{rate / FLOOR:.1f} × the floor, {rate / AIM:.2f} × the aim"
    )
    profile = cProfile.Profile()
    profile.runcall(candidates, options, index, knobs)
    costs: dict[str, float] = {}
    functions: list[tuple[float, str]] = []
    for (path, _, name), (_, calls, own, whole, _) in pstats.Stats(profile).stats.items():  # type: ignore[attr-defined]
        place = next((m for m in MODULES if m in path and "core" in path), "numpy and Python")
        costs[place] = costs.get(place, 0.0) + own
        if place != "numpy and Python":
            functions.append((whole, f"{Path(path).stem}.{name} ({calls:,} calls)"))
    whole = sum(costs.values())
    print("   own time by module:  " + ", ".join(f"{p} {c / whole:.0%}" for p, c in sorted(costs.items(), key=lambda x: -x[1])))
    for seconds, name in sorted(functions, reverse=True)[2:16]:
        print(f"   {seconds / whole:5.0%}  {name}")


if __name__ == "__main__":
    llama = {"model": "meta-llama/Llama-3.3-70B-Instruct", "device": "RTX 3090", "count": 2, "quant": "Q4_K_M"}
    served = {"model": "deepseek-ai/DeepSeek-R1", "device": "H200", "count": 8, "runtime": "vllm", "quant": "FP8"}
    single(from_flat(llama), "Llama-3.3-70B, 2 × RTX 3090, one user")
    single(from_flat({**served, "concurrency": 64}), "DeepSeek-R1, 8 × H200, 64 users")
    for name in ("meta-llama/Llama-3.3-70B-Instruct", "Qwen/Qwen3-30B-A3B", "deepseek-ai/DeepSeek-V3"):
        many(name)
