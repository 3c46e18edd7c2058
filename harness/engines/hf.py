"""transformers in a process of ours, so that what goes wrong there ends there."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.engines.base import Point, Result, Session
from harness.engines.server import lengths
from harness.failures import Failure, failure
from harness.process import Finished, started
from harness.record import last_words
from harness.stats import spread

_WORKER = Path(__file__).with_name("hf_worker.py")


@dataclass(frozen=True)
class Transformers:
    """Prefill and decode of a static batch by transformers' own forward pass and its cache."""

    name: str = "transformers"
    about: str = "transformers in a process of its own: prefill and decode of a static batch"
    runtime: str = "transformers"

    def missing(self) -> str:
        absent = [name for name in ("torch", "transformers") if importlib.util.find_spec(name) is None]
        return f"{' and '.join(absent)} not installed: pip install 'roofcast[transformers]'" if absent else ""

    def measure(self, point: Point, session: Session) -> Result:
        prompt, output = lengths(point)
        batch = point.whole("concurrency", 1)
        asked = {
            "model": point.text("file") or point.needed("model_id", "Qwen/Qwen3-0.6B"), "prompt": prompt, "output": output, "batch": batch,
            "dtype": point.text("quant", "BF16"), "threads": point.whole("threads"), "repeats": session.repeats.least, "seed": session.seed,
            "trust_remote_code": bool(point.flag("trust_remote_code")), "random_weights": bool(point.flag("random_weights")),
        }  # fmt: skip
        with started([sys.executable, str(_WORKER), json.dumps(asked)]) as running:
            session.watch(running.processes)
            in_time = running.wait(point.timeout)
            found = running.stop()
        if not in_time:
            raise failure(Finished(124, found.out, found.err, found.seconds, timed_out=True))
        if found.code:
            raise failure(found)
        try:
            told = json.loads(found.out.strip().splitlines()[-1])
        except (ValueError, IndexError):
            raise Failure("other", last_words(found.said)) from None
        return _result(told, point, prompt, output, batch)


def _result(told: dict[str, Any], point: Point, prompt: int, output: int, batch: int) -> Result:
    first, rest = sorted(told["first_s"]), sorted(told["rest_s"])
    ttft, after = first[len(first) // 2], rest[len(rest) // 2]
    tpot = after / max(output - 1, 1)
    row = {
        "runtime_version": told["version"], "model_id": point.text("model_id"), "load_kind": "static_batch" if batch > 1 else "concurrency",
        "concurrency": batch, "prompt_tokens": prompt, "output_tokens": output, "ttft_ms_p50": 1e3 * ttft, "tpot_ms_p50": 1e3 * tpot,
        "prefill_toks_sec": batch * prompt / ttft, "decode_toks_sec": 1 / tpot, "output_toks_sec": batch * output / (ttft + after),
        "latency_ms_p50": 1e3 * (ttft + after), "vram_peak_gib": told.get("peak_gib"), "stddev_rel": spread(told["rest_s"]),
        "notes": "random weights" if point.flag("random_weights") else "", "quality_tier": "A",
    }  # fmt: skip
    repeats = {"ttft_ms": tuple(1e3 * s for s in told["first_s"]), "tpot_ms": tuple(1e3 * s / max(output - 1, 1) for s in told["rest_s"])}
    return Result([row], "transformers", repeats=repeats, spread={name: spread(one) for name, one in repeats.items()})


ENGINES: tuple[Callable[[], Any], ...] = (Transformers,)
