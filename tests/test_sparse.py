"""Attention to the tokens that an indexer chose: what is read and computed, and by which engines."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.catalog.files import sources
from core.catalog.runtimes import runtimes
from core.estimate import estimate, numbers
from core.quantity import value
from core.scenario import Scenario, from_flat

V32 = {"model": "deepseek-ai/DeepSeek-V3.2", "device": "H200", "count": 8, "tp": 8, "quant": "FP8", "output_tokens": 2}


def asked(**knobs: Any) -> Scenario:
    return from_flat({**V32, "runtime": "vllm", **knobs})


def work(scenario: Scenario, phase: str = "decode") -> tuple[float, float]:
    """Bytes read and FLOP of attention in a step of one rank."""
    ops = [op for op in getattr(estimate(scenario), phase).step.ops if op.name in ("attention", "attention (prompt)")]
    return sum(float(value(op.bytes)) for op in ops), sum(float(value(op.flop)) for op in ops)


def test_decoding_reads_chosen_tokens_and_the_keys_of_all() -> None:
    """61 layers: 2,048 tokens of a latent of 576 elements, and 128 elements of every token, all of two bytes."""
    read, flop = work(asked(prompt_tokens=100_000))
    context = 100_001  # on average over an answer of two tokens
    assert read == pytest.approx(61 * 2 * (2048 * 576 + context * 128))
    # 16 heads of a rank against the latent; 64 heads of the indexer on every rank, in FP8 at half the weight.
    assert flop == pytest.approx(61 * 2 * (2048 * 16 * (576 + 512) + context * 64 * 128 / 2))


def test_an_engine_without_the_kernel_reads_everything_and_says_so() -> None:
    sparse, whole = asked(prompt_tokens=100_000), asked(prompt_tokens=100_000, runtime="transformers")
    assert work(whole)[0] == pytest.approx(61 * 2 * 100_001 * (576 + 128))
    assert "sparse_masked" in {reason.code for reason in estimate(whole).warnings}
    assert "sparse_masked" not in {reason.code for reason in estimate(sparse).warnings}
    assert not any(runtimes()[name].sparse_attention for name in ("llama.cpp", "transformers"))
    assert all(entry.sparse_source in sources() for entry in runtimes().values() if entry.sparse_attention)


@settings(max_examples=10, deadline=None)
@given(st.integers(64, 2_000), st.sampled_from(["deepseek-ai/DeepSeek-V3.2", "MiniMaxAI/MiniMax-M3", "zai-org/GLM-5.2"]))
def test_what_is_shorter_than_the_choice_is_read_whole(prompt: int, model: str) -> None:
    short, whole = (work(asked(model=model, prompt_tokens=prompt, runtime=name)) for name in ("vllm", "transformers"))
    assert short[0] == pytest.approx(whole[0])


@settings(max_examples=10, deadline=None)
@given(st.integers(1_000, 60_000), st.integers(1, 60_000), st.sampled_from(["vllm", "sglang"]))
def test_longer_prompts_are_never_faster(prompt: int, more: int, runtime: str) -> None:
    few, many = (numbers(asked(prompt_tokens=n, runtime=runtime), strict=False) for n in (prompt, prompt + more))
    assert many["ttft"] >= few["ttft"] * (1 - 1e-12) and many["tpot"] >= few["tpot"] * (1 - 1e-12)


def test_a_long_prompt_takes_the_cheaper_of_masked_and_chosen() -> None:
    """Of 512 tokens the masked form in 192 + 128 elements is the cheaper one, of 100,000 the chosen 2,048 in 576 + 512."""
    pairs, scores = 512**2 / 2, 64 * 128 / 2
    assert work(asked(prompt_tokens=512), "prefill")[1] == pytest.approx(61 * 2 * pairs * (16 * 320 + scores), rel=1e-6)
    long = 100_000
    chosen = 2048**2 / 2 + (long - 2048) * 2048
    assert work(asked(prompt_tokens=long, token_budget=long), "prefill")[1] == pytest.approx(
        61 * 2 * (chosen * 16 * 1088 + long**2 / 2 * scores), rel=1e-6
    )
