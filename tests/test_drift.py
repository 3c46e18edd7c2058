"""Drift of a machine's errors, with its test against chance, and how often "fits" was right."""

from __future__ import annotations

import functools
from datetime import date, timedelta

import numpy as np
import pytest

from core import registry
from core.correction import shipped
from core.drift import FROM, LIMITS, WINDOW, _by_chance, drift, feasibility, watch
from core.importers import finished
from core.predict import predict_runs
from core.records import RunRecord
from core.report import share
from core.runs import read_run

ROW = {"model_id": "Qwen/Qwen3-8B", "gpu_name": "RTX 4090", "runtime": "llama.cpp", "quant": "Q4_K_M", "output_tokens": 128}


@pytest.fixture(autouse=True)
def _home(tmp_path, monkeypatch):
    monkeypatch.setenv("ROOFCAST_HOME", str(tmp_path))


@functools.cache
def said(depth: int) -> float:
    return predict_runs([read_run({**ROW, "context_depth": depth})], shipped())[0].metrics["decode_toks_sec"]


def runs(version: str, count: int, times: float, day: int, noise: float = 0.02) -> list[RunRecord]:
    """Runs of one version on successive days, so many times as fast as the fleet says."""
    rng = np.random.default_rng(day)
    return [
        finished({**ROW, "context_depth": 64 * n, "runtime_version": version, "run_date": str(date(2026, 1, 1) + timedelta(day + n)),
                  "decode_toks_sec": float(said(64 * n) * times * np.exp(noise * rng.normal()))}, {}, "made for a test")
        for n in range(count)
    ]  # fmt: skip


def test_nothing_is_said_of_a_few_runs():
    assert drift(shipped(), runs("b1", FROM - 1, 0.5, 0)) == []


def test_a_machine_that_stays_as_it_is_gives_no_alarm():
    streams = drift(shipped(), [*runs("b1", 16, 0.8, 0), *runs("b2", 12, 0.8, 40)])
    assert {s.version for s in streams} == {"b1", "b2"} and not any(s.alarm for s in streams)
    assert next(s for s in streams if s.version == "b2").error < LIMITS["decode"]


def test_a_version_that_is_slower_gives_an_alarm_and_asks_for_a_refit():
    records = [*runs("b1", 16, 0.8, 0), *runs("b2", 14, 0.5, 40)]
    first = watch(shipped(), records)[0]
    assert first.alarm and first.version == "b2" and first.metric == "decode" and first.error > LIMITS["decode"]
    assert "half of the last 14 runs" in first.sentence
    assert registry.wanted() == [f"decode on RTX 4090 with llama.cpp b2 is off by more than {share(0.12)}"]
    assert first.rolling[-1][2] == pytest.approx(first.error)


def test_two_bad_runs_are_chance():
    records = [*runs("b1", 20, 0.8, 0), *runs("b2", 5, 0.8, 40), *runs("b2", 2, 0.4, 60)]
    assert not any(s.alarm for s in drift(shipped(), records))


def test_the_test_against_chance_counts_coin_flips():
    assert _by_chance(0, 10) == 1
    assert _by_chance(10, 10) == pytest.approx(2**-10)
    assert _by_chance(15, WINDOW) < 0.05 < _by_chance(13, WINDOW)


def test_feasibility_counts_both_mistakes():
    small = finished({**ROW, "decode_toks_sec": 100.0}, {}, "t")
    huge = {**ROW, "model_id": "Qwen/Qwen3-32B", "quant": "F16", "n_gpu_layers": 99}
    failed = finished({**ROW, "failure": "out_of_memory"}, {}, "t")
    died = finished({**ROW, "failure": "server_died"}, {}, "t")
    large = finished({**huge, "runtime": "vllm", "quant": "BF16", "failure": "out_of_memory"}, {}, "t")
    odd = finished({**huge, "runtime": "vllm", "quant": "BF16", "decode_toks_sec": 20.0}, {}, "t")
    found = feasibility([small, failed, died, large, odd])
    assert (found.fitted, found.refused, found.false_positive, found.false_negative) == (1, 1, 1, 1)
    assert len(found.wrong) == 2 and "said to fit, ran out of memory" in found.wrong[0]


def test_all_layers_on_the_card_do_not_fall_back_on_the_host():
    """llama.cpp would hold a part of this model in RAM; told to put all of it on the card it fails."""
    row = {**ROW, "model_id": "Qwen/Qwen3-32B", "quant": "Q8_0", "failure": "out_of_memory"}
    told, left = (finished({**row, **more}, {}, "t") for more in ({"n_gpu_layers": 99}, {}))
    assert (feasibility([told]).refused, feasibility([left]).false_positive) == (1, 1)
