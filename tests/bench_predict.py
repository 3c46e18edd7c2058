"""How fast files are predicted: `python tests/bench_predict.py [FILE]`. Not collected by pytest.

The floor is 5,000 rows in 15 s on one core, warm, with three values of the step times for each row.
"""

from __future__ import annotations

import csv
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from core.batch import groups, metrics_of
from core.catalog.models import models
from core.estimate import numbers
from core.predict import load_table, predict_file, predict_rows

ROWS, SECONDS = 5_000, 15.0
ONE_BY_ONE = 200  # scenarios answered alone, for comparison
CARDS = ("RTX 3090", "RTX 4090", "A100 SXM4 80GB", "H100 SXM5 80GB", "M2 Ultra", "EPYC 9354")
ENGINES = (("llama.cpp", "Q4_K_M"), ("llama.cpp", "Q8_0"), ("vllm", "BF16"), ("sglang", "FP8"))
HEADER = ("model_id", "quant", "runtime", "gpu_name", "cpu_name", "load_kind", "concurrency", "prompt_tokens", "output_tokens")


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds of this process's own time, and what came of it."""
    start = time.process_time()
    found = work()
    return time.process_time() - start, found


def invent(path: Path) -> None:
    """Rows of many models, devices, engines and loads (synthetic)."""
    draw = np.random.default_rng(0)
    names = sorted(models())
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(HEADER)
        for _ in range(ROWS):
            card, (engine, quant) = CARDS[draw.integers(len(CARDS))], ENGINES[draw.integers(len(ENGINES))]
            gpu, cpu = ("", card) if card.startswith("EPYC") else (card, "")
            load = ("static_batch", "concurrency")[draw.integers(2)]
            tokens = draw.integers(1, 8192), draw.integers(2, 1024)
            writer.writerow((names[draw.integers(len(names))], quant, engine, gpu, cpu, load, draw.integers(1, 65), *tokens))


def report(path: Path, out: Path) -> None:
    cold, summary = timed(lambda: predict_file(path, out))
    warm, _ = timed(lambda: predict_file(path, out))
    for title, seconds in (("cold", cold), ("warm", warm)):
        share = seconds / summary.rows * ROWS / SECONDS
        print(f"{title:<22} {summary.rows:,} rows in {seconds:.2f} s: {summary.rows / seconds:,.0f}/s, {share:.0%} of the time allowed")

    table = load_table(path)
    runs = [prediction.run for prediction in predict_rows(table.header, table.rows, table.ragged)]
    scenarios = list(dict.fromkeys(run.scenario for run in runs if run is not None and not run.unmodelled))
    sorting, (found, _) = timed(lambda: groups(scenarios, strict=False))
    once, _ = timed(lambda: [metrics_of(group) for group in found])
    thrice, _ = timed(lambda: [metrics_of(group.repeat(3)) for group in found])
    answered = [scenarios[position] for group in found for position in group.index]
    some = answered[:: max(1, len(answered) // ONE_BY_ONE)]
    alone, _ = timed(lambda: [numbers(scenario, strict=False) for scenario in some])
    print(f"{'groups':<22} {len(answered):,} scenarios in {len(found)} groups: {sorting:.2f} s")
    print(f"{'one pass over them':<22} {once:.2f} s; of three values each {thrice:.2f} s, {thrice / once:.2f} × as long")
    print(f"{'one by one':<22} {alone / len(some) * len(answered) / (sorting + once):.1f} × as long as together")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        given = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(folder) / "runs.csv"
        if len(sys.argv) < 2:
            invent(given)
        report(given, Path(folder) / "predicted.csv")
