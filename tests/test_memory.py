"""Memory: each rule that other tools get wrong, as a case with its reason."""

from __future__ import annotations

import pytest

from core.estimate import estimate
from core.quantity import value
from core.scenario import from_flat
from core.units import GIB


def answer(**knobs):
    return estimate(from_flat(knobs))


def part(memory, name: str) -> float:
    return sum(float(value(p.amount)) for p in memory.parts if p.name == name)


def test_llama_cpp_keeps_the_embedding_table_on_the_host():
    # Llama-3.1-8B Q4_K_M is 4.58 GiB as a file (llama.cpp README); the token table (Q4_K, 128256 x 4096) stays in host memory.
    e = answer(model="meta-llama/Llama-3.1-8B", device="RTX 4090", quant="Q4_K_M")
    assert part(e.device, "weights") / GIB == pytest.approx(4.58 - 0.275, abs=0.02)
    assert e.host is not None and part(e.host, "embedding table") / GIB == pytest.approx(0.275, abs=0.01)


def test_tied_embeddings_are_held_twice_when_table_and_head_lie_apart():
    e = answer(model="meta-llama/Llama-3.2-1B", device="RTX 4090", quant="Q8_0")
    table = 128256 * 2048 * 34 / 32
    assert part(e.host, "embedding table") == pytest.approx(table, rel=1e-3)
    assert part(e.device, "weights") == pytest.approx(1_235_814_400 * 34 / 32, rel=0.01)  # the head is the same table again


def test_a_server_reserves_a_fraction_whatever_the_model_needs():
    small = answer(model="meta-llama/Llama-3.2-1B", device="H100", runtime="vllm")
    large = answer(model="meta-llama/Llama-3.1-8B", device="H100", runtime="vllm")
    assert float(value(small.device.taken)) == float(value(large.device.taken))
    assert float(value(small.device.needed)) < 0.1 * float(value(small.device.taken))


def test_a_full_pool_makes_users_wait_and_does_not_overflow():
    e = answer(model="meta-llama/Llama-3.1-8B", device="RTX 4090", runtime="vllm", concurrency=500, prompt_tokens=4096)
    assert e.feasibility == "in_vram" and e.device.fits
    assert any(w.code == "users_wait" for w in e.warnings)
    assert e.metric("batch") < 100


def test_llama_cpp_divides_its_context_over_slots():
    one = answer(model="meta-llama/Llama-3.1-8B", device="RTX 4090", quant="Q4_K_M", concurrency=1, prompt_tokens=3968)
    four = answer(model="meta-llama/Llama-3.1-8B", device="RTX 4090", quant="Q4_K_M", concurrency=4, prompt_tokens=3968)
    assert part(one.device, "KV cache") == 4096 * 131_072  # 2 x 32 layers x 8 heads x 128 x 2 B a token
    assert part(four.device, "KV cache") == 4 * part(one.device, "KV cache")
    assert four.resolved["max_context"] == 4096 and four.resolved["max_sequences"] == 4


def test_sliding_layers_keep_a_window_and_a_micro_batch():
    # gpt-oss: half of the layers see 128 tokens; llama.cpp keeps the window and one micro-batch of 512.
    e = answer(model="openai/gpt-oss-20b", device="RTX 4090", quant="MXFP4", prompt_tokens=16256)
    per_layer = 2 * 8 * 64 * 2
    assert part(e.device, "KV cache") == pytest.approx(12 * per_layer * 16384 + 12 * per_layer * 768, rel=0.02)


def test_quantised_cache_is_smaller_by_its_format():
    knobs = {"model": "meta-llama/Llama-3.1-8B", "device": "RTX 4090", "quant": "Q4_K_M", "prompt_tokens": 8064}
    full, small = answer(**knobs), answer(**knobs, kv_dtype="q8_0")
    assert part(small.device, "KV cache") / part(full.device, "KV cache") == pytest.approx(34 / 64)


def test_one_card_offloads_layers_and_two_hold_the_model():
    knobs = {"model": "meta-llama/Llama-3.3-70B-Instruct", "device": "RTX 3090", "quant": "Q4_K_M", "prompt_tokens": 3968}
    one, two = answer(**knobs, ram_gb=64), answer(**knobs, count=2)
    assert one.feasibility == "with_offload" and 30 <= one.resolved["gpu_layers"] <= 50
    assert two.feasibility == "in_vram" and two.resolved["gpu_layers"] == 80
    # A 42.5 GB file on two cards of 24 GiB: some GiB must be left on the fuller one.
    assert 0.5 < float(value(two.device.headroom)) / GIB < 4


def test_experts_go_to_the_cpu_before_layers_do():
    e = answer(model="openai/gpt-oss-120b", device="RTX 4090", quant="MXFP4", ram_gb=128)
    assert e.feasibility == "with_offload"
    assert e.resolved["gpu_layers"] == 36 and 20 <= e.resolved["experts_on_cpu"] <= 36


def test_what_fits_nowhere_says_how_much_is_short():
    e = answer(model="meta-llama/Llama-3.3-70B-Instruct", device="RTX 4090", quant="Q4_K_M", ram_gb=16)
    assert e.feasibility == "insufficient_memory"
    assert [r.code for r in e.reasons] == ["host_memory_short"]
    server = answer(model="meta-llama/Llama-3.3-70B-Instruct", device="H100", runtime="vllm", quant="BF16")
    assert [r.code for r in server.reasons] == ["weights_exceed_device"]
    assert "62." in server.reasons[0].text  # 131.4 GiB of weights and 10 GiB of activations, logits and buffers on 79.2


def test_unified_memory_has_a_budget_and_no_host():
    e = answer(model="Qwen/Qwen3-30B-A3B", device="M4 Max", quant="Q4_K_M", ram_gb=64)
    assert e.host is None
    assert float(value(e.device.limit)) == pytest.approx(48 * GIB)


def test_limits_are_where_it_just_fits():
    knobs = {"model": "meta-llama/Llama-3.1-8B", "device": "RTX 4090", "quant": "Q8_0"}
    longest = answer(**knobs).limits["max_context"]
    assert answer(**knobs, max_context=int(longest * 0.98), prompt_tokens=512).feasibility == "in_vram"
    if longest < 131_072:
        assert answer(**knobs, max_context=int(longest * 1.05), prompt_tokens=512).feasibility != "in_vram"
