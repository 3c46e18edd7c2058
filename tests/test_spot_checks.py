"""Spot checks of a published capacity planner (nine of its ten), corrected: a failure means that something basic broke.

Its own figures are not repeated where its report contradicts itself or measurement (Amdahl's law for batching, above all).
The check on quality waits for measured quality; its gate is listed as not judged until then.
"""

from __future__ import annotations

import pytest

from core.answer import Estimate
from core.estimate import estimate
from core.formulas.economics import cost_per_million, cost_per_month
from core.quantity import value
from core.scenario import from_flat

LAPTOP = {"device": "rtx-4080-laptop", "prompt_tokens": 1920, "output_tokens": 128}
SMALL, MIDDLE, LARGE = (f"meta-llama/Llama-3.{n}-Instruct" for n in ("2-1B", "2-3B", "1-8B"))


def asked(model: str, runtime: str = "llama.cpp", quant: str = "F16", **knobs: object) -> Estimate:
    return estimate(from_flat({**LAPTOP, "model": model, "runtime": runtime, "quant": quant, **knobs}))


def peak_gb(answer: Estimate) -> float:
    return float(value(answer.device.peak)) / 1e9


def test_3b_at_16_bits() -> None:
    """3.21e9 weights of 2 bytes are 6.4 GB; 28 layers × 8 heads × 256 × 2 bytes × 2,048 tokens of cache 0.23 GB; buffers on top."""
    assert 6.65 < peak_gb(asked(MIDDLE)) < 8.0


def test_8b_at_16_bits() -> None:
    """8.03e9 weights are 16.1 GB, of which 1.05 GB of embeddings stay in host memory; 0.27 GB of cache; buffers on top."""
    assert 15.2 < peak_gb(asked(LARGE, device="rtx-4090")) < 18.0


def test_fewer_bits_take_less_memory() -> None:
    assert peak_gb(asked(MIDDLE, quant="Q4_K_M")) < 0.5 * peak_gb(asked(MIDDLE))


def test_a_smaller_model_is_faster() -> None:
    small, middle = (asked(model, "ollama", "Q4_K_M").metric("decode_rate") for model in (SMALL, MIDDLE))
    assert small > 1.5 * middle


def test_one_user_is_no_load() -> None:
    alone, closed = (asked(SMALL, "vllm", "BF16", arrival=arrival, concurrency=1).metric("decode_rate") for arrival in ("static", "closed"))
    assert alone == pytest.approx(closed, rel=0.02)


def test_users_slow_each_other_but_share_the_weights() -> None:
    """The report measured 559 tok/s of eight users where one had 137; its Amdahl law said 169."""
    one, eight = (asked(SMALL, "vllm", "BF16", prompt_tokens=256, concurrency=users) for users in (1, 8))
    assert eight.metric("decode_rate") < one.metric("decode_rate")
    assert eight.metric("output_rate") > 3 * one.metric("output_rate")


def test_faster_is_cheaper_a_token() -> None:
    assert cost_per_million(rate=0.035 / 3600, tokens=100.0) == pytest.approx(0.1 * cost_per_million(rate=0.035 / 3600, tokens=10.0))


def test_dollars_per_million_by_hand() -> None:
    """$0.035 an hour at 50 tok/s: 0.035 / (50 × 3,600) × 10⁶."""
    assert cost_per_million(rate=0.035 / 3600, tokens=50.0) == pytest.approx(0.1944, abs=5e-5)


def test_a_month_has_720_hours() -> None:
    assert cost_per_month(rate=0.035 / 3600, month=720 * 3600.0) == pytest.approx(25.20)
    answer = asked(SMALL, "vllm", "BF16")
    assert float(value(answer.money["usd_per_month"])) == pytest.approx(720 * 3600 * float(value(answer.money["usd_per_h"])))
