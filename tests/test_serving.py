"""Under load: limits that any closed form must keep, and the cases where others go wrong."""

from __future__ import annotations

import itertools

import pytest

from core.estimate import estimate, numbers
from core.quantity import value
from core.scenario import from_flat

KNOBS = {
    "model": "meta-llama/Llama-3.1-8B",
    "device": "H100",
    "runtime": "vllm",
    "quant": "BF16",
    "prompt_tokens": 1024,
    "output_tokens": 256,
}


def ask(**knobs) -> dict[str, float]:
    return numbers(from_flat({**KNOBS, **knobs}))


def test_little_s_law_holds_in_a_closed_loop():
    for users in (1, 8, 64, 512):
        m = ask(concurrency=users)
        assert m["output_rate"] == pytest.approx(users * 256 / m["latency"])


def test_latency_is_first_token_and_the_others():
    m = ask(concurrency=16)
    assert m["latency"] == pytest.approx(m["ttft"] + 255 * m["tpot"])


def test_an_idle_open_loop_is_one_user_alone():
    idle, alone = ask(arrival="open", request_rate_per_s=0.01), ask(concurrency=1)
    assert idle["tpot"] == pytest.approx(alone["tpot"], rel=0.02)
    assert idle["ttft"] == pytest.approx(alone["ttft"], rel=0.2)


def test_an_overloaded_open_loop_has_no_end_and_gives_its_capacity():
    answer = estimate(from_flat({**KNOBS, "arrival": "open", "request_rate_per_s": 500}))
    assert answer.metric("ttft") == float("inf")
    assert any(w.code == "overloaded" for w in answer.warnings)
    saturated = ask(arrival="saturated")
    assert answer.metric("output_rate") == pytest.approx(saturated["output_rate"], rel=0.15)


def test_open_loop_waits_grow_toward_the_capacity():
    waits = [ask(arrival="open", request_rate_per_s=rate)["ttft"] for rate in (1, 5, 10, 20, 23)]
    assert waits == sorted(waits)


def test_more_users_share_one_card_without_free_lunch():
    rates = [ask(concurrency=n) for n in (1, 2, 4, 8, 16, 32, 64, 128)]
    for few, many in itertools.pairwise(rates):
        assert many["output_rate"] >= few["output_rate"] * 0.999
        assert many["tpot"] >= few["tpot"] * 0.999
        assert many["ttft"] >= few["ttft"] * 0.999


def test_continuous_batching_is_not_amdahl():
    # Seed 004's Amdahl form predicts that eight users get 1.3 times one user's rate; its own engines gave more than three times.
    assert ask(concurrency=8)["output_rate"] / ask(concurrency=1)["output_rate"] > 5


def test_prefix_hits_save_prefill_but_not_attention_over_the_prefix():
    cold = ask(prompt_tokens=8192)
    warm = ask(prompt_tokens=8192, prefix_cached_tokens=7168)
    short = ask(prompt_tokens=1024)
    assert short["ttft"] < warm["ttft"] < cold["ttft"] / 3


def test_answers_of_one_length_move_waiting_before_the_first_token():
    for runtime in ("vllm", "sglang"):
        mixed, equal = (ask(runtime=runtime, concurrency=32, equal_lengths=same) for same in (False, True))
        assert equal["ttft"] > 1.1 * mixed["ttft"] and equal["tpot"] < mixed["tpot"]
        assert equal["output_rate"] == pytest.approx(mixed["output_rate"], rel=0.02)


def test_prompts_that_stop_decoding_make_users_of_one_length_ask_together():
    beside, first = (ask(runtime=runtime, concurrency=64, equal_lengths=True) for runtime in ("vllm", "sglang"))
    assert first["ttft"] > 4 * beside["ttft"]


def test_a_request_held_back_waits_for_decode_steps():
    free, held = ask(concurrency=16), ask(concurrency=16, held_steps=20)
    assert held["ttft"] - free["ttft"] == pytest.approx(20 * free["tpot"], rel=0.2)
    assert ask(held_steps=20) == ask()  # nobody alone is waited with


def test_a_layer_split_overlaps_prompts_but_never_tokens():
    one = numbers(from_flat({"model": "meta-llama/Llama-3.1-8B", "device": "RTX 3090", "quant": "Q4_K_M", "prompt_tokens": 4096}))
    two = numbers(
        from_flat({"model": "meta-llama/Llama-3.1-8B", "device": "RTX 3090", "quant": "Q4_K_M", "prompt_tokens": 4096, "count": 2})
    )
    assert two["decode_rate"] <= one["decode_rate"]
    assert two["prefill_rate"] > 1.5 * one["prefill_rate"]


def test_users_beyond_the_slots_wait():
    m = numbers(from_flat({**KNOBS, "concurrency": 64, "max_sequences": 16}))
    assert m["batch"] <= 16
    assert m["ttft"] > 2 * numbers(from_flat({**KNOBS, "concurrency": 16, "max_sequences": 16}))["ttft"]


def test_more_of_the_same_devices_never_lower_what_saturates():
    knobs = {"model": "deepseek-ai/DeepSeek-V3", "device": "GB200", "runtime": "tensorrt-llm", "quant": "NVFP4", "arrival": "saturated"}
    rates = [numbers(from_flat({**knobs, "count": n}))["output_rate"] for n in (4, 8, 16, 32, 64, 72)]
    assert rates == sorted(rates)


def test_stages_of_a_pipeline_work_on_several_prompts_at_once():
    knobs = {"model": "meta-llama/Llama-3.3-70B-Instruct", "device": "H100", "count": 4, "runtime": "vllm", "quant": "FP8"}
    load = {"prompt_tokens": 2048, "output_tokens": 64, "arrival": "saturated"}
    one = numbers(from_flat({**knobs, **load, "tp": 1, "pp": 2}))
    four = numbers(from_flat({**knobs, **load, "tp": 1, "pp": 4}))
    assert four["output_rate"] > 1.6 * one["output_rate"]


def test_an_open_load_holds_the_memory_of_those_in_flight():
    knobs = {"model": "meta-llama/Llama-3.3-70B-Instruct", "device": "H100", "count": 4, "runtime": "vllm", "quant": "FP8"}
    busy = estimate(from_flat({**knobs, "prompt_tokens": 1024, "output_tokens": 1024, "arrival": "open", "request_rate_per_s": 5}))
    idle = estimate(from_flat({**knobs, "prompt_tokens": 1024, "output_tokens": 1024, "arrival": "open", "request_rate_per_s": 0.01}))
    in_flight = busy.metric("batch")
    assert in_flight > 50
    grown = float(value(busy.device.needed)) - float(value(idle.device.needed))
    assert grown == pytest.approx((in_flight - 1) * 2048 * 327_680 / 4, rel=0.05)
