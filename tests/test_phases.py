"""Steps: work counted by hand, what devices send, which memory and which arithmetic limits."""

from __future__ import annotations

import pytest

from core.columns import columns, plain
from core.memory import fit
from core.phases import Work
from core.plan import make_plan
from core.quantity import value
from core.scenario import from_flat
from core.setting import settle
from core.steps import step_time


def step(work: Work, **knobs):
    setting = settle(from_flat(knobs))
    c = plain(columns(setting))
    plan = make_plan(setting.ir, c)
    return step_time(plan, c, fit(plan, c), work, "step"), c


def sent(step, name: str) -> float:
    return sum(float(value(op.sent)) for op in step.ops if op.name == name)


def prompt(tokens: float) -> Work:
    return Work(chunk=tokens, prompt=tokens, chunks=1.0, prompts=1.0)


def test_llama_70b_prefill_flop():
    # 68.45 B layer weights x 2 x 2048 = 280.4 TFLOP, causal attention 5.5 TFLOP, the head for one token.
    done, _ = step(prompt(2048.0), model="meta-llama/Llama-3.3-70B-Instruct", device="H100", count=1, runtime="vllm", quant="FP8", tp=1)
    layers = sum(float(value(op.flop)) for op in done.ops if op.name != "output head")
    assert layers == pytest.approx(285.9e12, rel=2e-3)


@pytest.mark.parametrize(("model", "layers", "hidden"), [("meta-llama/Llama-2-7b-hf", 32, 4096), ("meta-llama/Llama-3.1-8B", 32, 4096)])
def test_tensor_parallel_sends_two_all_reduces_a_layer(model: str, layers: int, hidden: int):
    # The same for MHA (Llama 2) and GQA (Llama 3): what is reduced is the hidden state, not the heads.
    done, _ = step(prompt(1024.0), model=model, device="H100", count=4, runtime="vllm", quant="BF16", tp=4)
    assert sent(done, "all-reduce") == pytest.approx(2 * layers * 2 * 3 / 4 * 1024 * hidden * 2)


def test_one_rank_sends_nothing():
    done, _ = step(prompt(1024.0), model="meta-llama/Llama-3.1-8B", device="H100", runtime="vllm", quant="BF16")
    assert sum(float(value(op.sent)) for op in done.ops) == 0


def test_sequence_parallel_sends_as_much_in_two_halves():
    knobs = {"model": "meta-llama/Llama-3.1-8B", "device": "H100", "count": 4, "runtime": "vllm", "quant": "BF16", "tp": 4}
    plain_tp, _ = step(prompt(4096.0), **knobs)
    with_sp, _ = step(prompt(4096.0), **knobs, sp=True)
    assert sent(with_sp, "all-reduce") == sent(plain_tp, "all-reduce")


def test_context_parallel_passes_keys_and_values_round():
    knobs = {"model": "meta-llama/Llama-3.1-8B", "device": "H100", "count": 4, "runtime": "vllm", "quant": "BF16", "tp": 1, "cp": 4}
    done, _ = step(prompt(8192.0), **knobs)
    kv = 8192 * 2 * 8 * 128 * 2
    assert sent(done, "context exchange") == pytest.approx(32 * kv * 3 / 4)


def test_expert_parallel_sends_each_token_to_its_experts_and_back():
    knobs = {"model": "Qwen/Qwen3-30B-A3B", "device": "H100", "count": 8, "runtime": "sglang", "quant": "BF16", "tp": 1, "dp": 8, "ep": 8}
    done, _ = step(Work(batch=32.0, context=1024.0), **knobs)
    assert sent(done, "expert all-to-all") == pytest.approx(2 * 48 * 7 / 8 * 32 * 2048 * 2 * 8)


def test_pipeline_hands_one_activation_to_each_next_stage():
    done, _ = step(Work(batch=4.0, context=1024.0), model="meta-llama/Llama-3.3-70B-Instruct", device="H100", count=4, runtime="vllm",
                   quant="BF16", tp=1, pp=4)  # fmt: skip
    assert sent(done, "stage hand-over") == pytest.approx(3 * 4 * 8192 * 2)


def test_mla_decodes_absorbed():
    # 2 x heads x (576 + 512) FLOP a cached token and layer: 128 heads, 61 layers.
    done, _ = step(Work(batch=1.0, context=4096.0), model="deepseek-ai/DeepSeek-R1", device="H200", count=8, runtime="vllm", tp=8)
    flop = sum(float(value(op.flop)) for op in done.ops if op.name == "attention")
    assert flop == pytest.approx(2 * 128 / 8 * (576 + 512) * 4096 * 61)


def test_head_is_read_every_step_tied_or_not():
    for model, head in (("meta-llama/Llama-3.2-1B", 128256 * 2048 * 2), ("meta-llama/Llama-3.1-8B", 128256 * 4096 * 2)):
        done, _ = step(Work(batch=1.0, context=10.0), model=model, device="H100", runtime="vllm", quant="BF16")
        assert sum(float(value(op.bytes)) for op in done.ops if op.name == "output head") == pytest.approx(head)


def test_few_tokens_touch_few_experts_and_many_touch_all():
    knobs = {"model": "Qwen/Qwen3-30B-A3B", "device": "H100", "runtime": "vllm", "quant": "BF16"}
    one, _ = step(Work(batch=1.0, context=10.0), **knobs)
    many, _ = step(Work(batch=512.0, context=10.0), **knobs)

    def read(s) -> float:
        return sum(float(value(op.bytes)) for op in s.ops if op.name == "experts")

    assert read(many) == pytest.approx(128 * 3 * 2048 * 768 * 48 * 2, rel=1e-3)
    assert read(one) == pytest.approx(read(many) * 8 / 128, rel=1e-3)


def test_offloaded_weights_run_at_their_own_memory_and_stream_for_prompts():
    knobs = {"model": "meta-llama/Llama-3.3-70B-Instruct", "device": "RTX 3090", "quant": "Q4_K_M", "ram_gb": 64}
    decode, _ = step(Work(batch=1.0, context=100.0), **knobs)
    assert {op.bound for op in decode.ops if op.name.endswith("(host)")} == {"host_memory"}
    prefill, _ = step(prompt(512.0), **knobs)
    assert {op.bound for op in prefill.ops if op.name.endswith("(host)")} == {"pcie"}


def test_an_unknown_peak_is_unknown_not_invented():
    setting = settle(from_flat({"model": "meta-llama/Llama-3.1-8B", "device": "RTX 4090", "quant": "Q4_K_M"}))
    c = plain(columns(setting))
    c.gpu.peak = float("nan")
    plan = make_plan(setting.ir, c)
    found = fit(plan, c)
    assert step_time(plan, c, found, prompt(512.0), "prompt").time != step_time(plan, c, found, prompt(512.0), "prompt").time
    # A single token is memory bound whatever the peak.
    assert step_time(plan, c, found, Work(batch=1.0, context=100.0), "decode").time > 0
