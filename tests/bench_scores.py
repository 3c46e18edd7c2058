"""Seconds that each question about 10^7 made-up scores takes: `python tests/bench_scores.py [SCORES]`.

Every line is one question as the page or the report asks it, on one split of seven; best of three.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from fake_scores import SPLITS, write

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from core import gates
from core.scores import SLICES, Choice, Scores


def main(count: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        write(Path(folder), rows=count // len(SPLITS))
        print(f"{count:,} scores written in {time.perf_counter() - start:.0f} s")
        found = Scores(Path(folder))
        every, decode = Choice("source"), Choice("model", {"metric": ["decode"]})
        questions: dict[str, Callable[[], object]] = {
            "summary of all metrics": lambda: found.summary(every),
            "summary of decode": lambda: found.summary(decode),
            "one population of the table": lambda: found.summary(gates.populations()["TPOT and throughput"].choice("device")),
            **{f"errors by {by}": lambda by=by: found.summary(every, by) for by in SLICES},  # type: ignore[misc]
            "baseline, all metrics": lambda: found.baseline(every, "roofline"),
            "groups, all metrics": lambda: found.groups(every),
            "groups of decode by configuration": lambda: found.groups(Choice("configuration", {"metric": ["decode"]})),
            "worst slices": lambda: found.worst_slices(every),
            "worst rows": lambda: found.worst_rows(every),
            "sample for the scatter of decode": lambda: found.sample(decode),
            "sample for the scatter of all metrics": lambda: found.sample(every),
            "corpus map": found.corpus_map,
            "feasibility": found.feasibility,
        }
        slowest = 0.0
        for name, ask in questions.items():
            best = min(_seconds(ask) for _ in range(3))
            slowest = max(slowest, best)
            print(f"{best:6.2f} s  {name}")
        print(
            f"slowest: {slowest:.2f} s; the whole table ({len(gates.populations())} populations, {len(SPLITS)} splits):",
            end=" ",
            flush=True,
        )
        print(f"{_seconds(lambda: gates.table(found)):.1f} s")


def _seconds(ask: Callable[[], object]) -> float:
    start = time.perf_counter()
    ask()
    return time.perf_counter() - start


if __name__ == "__main__":
    main(int(float(sys.argv[1])) if len(sys.argv) > 1 else 10**7)
