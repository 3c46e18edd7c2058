"""Laws of memory: what grows, what adds up, what offload moves."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from laws import (
    LATENT,
    LLAMA,
    MIXTURE,
    MODELS,
    SERVERS,
    SLACK,
    SMALL,
    WINDOWED,
    ask,
    cards,
    engines,
    model_names,
    near,
    num,
    outputs,
    prompts,
    users,
)

from core.answer import Estimate
from core.catalog import models
from core.columns import columns, plain
from core.estimate import estimate
from core.ir_build import build_ir
from core.memory import cache_of_sequence
from core.plan import make_plan
from core.quantity import value
from core.scenario import from_flat
from core.setting import settle


@given(model_names, cards, engines, prompts, outputs, users, users)
@settings(max_examples=60, deadline=None)
def test_more_users_never_lower_memory(
    model: str, card: str, engine: tuple[str, str], prompt: int, output: int, some: int, more: int
) -> None:
    some, more = sorted((some, more))
    # All layers on the device: otherwise what users take pushes layers to the host, and the device may hold less.
    layers = {"gpu_layers": 999} if engine[0] in ("llama.cpp", "ollama") else {}
    few, many = (
        estimate(ask(model, card, engine, prompt_tokens=prompt, output_tokens=output, concurrency=n, **layers)) for n in (some, more)
    )
    for figure in ("needed", "peak", "taken"):
        assert num(getattr(many.device, figure)) >= num(getattr(few.device, figure)) * (1 - SLACK), figure


@given(model_names, cards, engines, prompts, prompts)
@settings(max_examples=40, deadline=None)
def test_longer_contexts_never_lower_memory(model: str, card: str, engine: tuple[str, str], a: int, b: int) -> None:
    layers = {"gpu_layers": 999} if engine[0] in ("llama.cpp", "ollama") else {}
    short, long = (estimate(ask(model, card, engine, prompt_tokens=n, **layers)) for n in sorted((a, b)))
    assert num(long.device.needed) >= num(short.device.needed) * (1 - SLACK)


@given(model_names, cards, engines, prompts, users, st.sampled_from((1, 2)))
@settings(max_examples=60, deadline=None)
def test_memory_parts_sum_to_the_whole(model: str, card: str, engine: tuple[str, str], prompt: int, n: int, count: int) -> None:
    answer = estimate(ask(model, card, engine, prompt_tokens=prompt, concurrency=n, count=count))
    for memory in filter(None, (answer.device, answer.host)):
        held = sum(num(p.amount) for p in memory.parts if p.when == "now")
        whole = sum(num(p.amount) for p in memory.parts if p.when in ("now", "peak"))
        assert near(num(memory.peak), whole)
        # Engines that allocate their buffers at the start need them now as well.
        assert near(num(memory.needed), held) or near(num(memory.needed), whole)
        if engine not in SERVERS:  # whose limit is their fraction of the card
            assert near(num(memory.headroom), num(memory.limit) - num(memory.peak))
        assert num(memory.needed) <= num(memory.peak) * (1 + SLACK)
        assert all(num(p.amount) >= 0 for p in memory.parts)


@pytest.mark.parametrize("model", MODELS)
def test_offload_moves_weights_and_loses_none(model: str) -> None:
    """Weights on device and host together are the whole model, whatever is offloaded (tables held twice aside)."""
    layers = models.ir(model).layers
    whole = estimate(ask(model, engine=("llama.cpp", "F16"), gpu_layers=layers))
    half = estimate(ask(model, engine=("llama.cpp", "F16"), gpu_layers=layers // 2, ram_gb=512))

    def weights(answer: Estimate) -> float:
        memories = filter(None, (answer.device, answer.host))
        return sum(num(p.amount) for m in memories for p in m.parts if p.name == "weights")

    assert near(weights(half), weights(whole), 1e-6)
    assert half.host is not None and num(half.host.needed) > 0


def test_experts_go_to_the_host_before_layers() -> None:
    answer = estimate(ask(MIXTURE, "RTX 4090", ("llama.cpp", "Q8_0"), ram_gb=128))
    assert answer.feasibility == "with_offload"
    assert answer.resolved["gpu_layers"] == answer.ir.layers
    assert 0 < answer.resolved["experts_on_cpu"] < answer.ir.layers


@pytest.mark.parametrize("model", [LLAMA, WINDOWED, LATENT, MIXTURE])
def test_doubling_layers_doubles_the_cache(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    record = models.models()[model]
    config = json.loads(json.dumps(record.config))
    config["num_hidden_layers"] *= 2
    if "layer_types" in config:
        config["layer_types"] *= 2
    once, real = models.ir(model), models.ir
    twice = build_ir(config, f"{model} twice")
    assert twice.layers == 2 * once.layers
    monkeypatch.setattr(models, "ir", lambda name: twice if name == twice.id else real(name))

    def cache(name: str, tokens: int) -> float:
        scenario = ask(name, "H100 SXM5 80GB")
        setting = settle(scenario)
        c = plain(columns(setting))
        return float(cache_of_sequence(make_plan(setting.ir, c), c, tokens, ""))

    for tokens in (16, 1000, 30_000):
        assert near(cache(twice.id, tokens), 2 * cache(model, tokens))


@pytest.mark.parametrize("tp", [1, 2, 4, 8])
def test_every_rank_holds_the_whole_latent(tp: int) -> None:
    def cache(model: str, tp: int) -> float:
        return num(estimate(ask(model, count=8, tp=tp)).limits["kv_per_sequence"])

    assert cache(LATENT, tp) == cache(LATENT, 1)
    assert near(cache(LLAMA, tp), cache(LLAMA, 1) / tp)


def test_fp8_cache_is_half_of_fp16() -> None:
    sizes = [num(estimate(ask(LLAMA, kv_dtype=kv)).limits["kv_per_sequence"]) for kv in ("fp8", "f16")]
    assert sizes[0] * 2 == sizes[1]


@given(cards, engines, prompts, users)
@settings(max_examples=40, deadline=None)
def test_the_room_that_is_promised_is_there(card: str, engine: tuple[str, str], prompt: int, n: int) -> None:
    """As many sequences as there is room for do fit, and a few more do not."""
    assume(engine[0] == "llama.cpp")
    asked = ask(SMALL, card, engine, prompt_tokens=prompt, concurrency=n)
    answer = estimate(asked)
    most = int(num(answer.limits["max_batch"]))
    assume(answer.feasibility == "in_vram" and 1 <= most < 100_000)
    for times, fits in ((1, True), (1.3, False)):
        many = math.ceil(most * times) + (not fits)
        full = estimate(asked.with_(concurrency=many, gpu_layers=999))
        assert (num(full.device.headroom) >= 0) is fits


def test_weights_copied_for_each_step_leave_the_cache_on_the_card() -> None:
    """vLLM's --cpu-offload-gb moves weights alone: more sequences fit, and nothing of their cache lies in host memory."""
    base = {"model": "meta-llama/Llama-3.1-8B-Instruct", "device": "A100-80GB-SXM", "runtime": "vllm", "max_context": 8192, "ram_gb": 128}
    whole, half = (estimate(from_flat({**base, **knobs})) for knobs in ({}, {"gpu_layers": 16}))
    assert [part.name for part in half.host.parts] == ["weights"]
    assert half.limits["max_batch"] > whole.limits["max_batch"]
    cache = [next(part.amount for part in found.device.parts if part.name == "KV cache") for found in (whole, half)]
    assert value(cache[0]) == value(cache[1])


def test_layers_set_by_hand_leave_no_margin_to_the_runtime() -> None:
    """llama.cpp keeps a margin where it chooses the layers itself; what fits with layers given may be asked for whole."""
    knobs = {"model": "Qwen/Qwen3-30B-A3B", "device": "RTX 4090", "runtime": "llama.cpp", "quant": "Q4_K_M", "max_context": 16384}
    load = {"max_sequences": 4, "concurrency": 4, "prompt_tokens": 8000}
    found = estimate(from_flat({**knobs, **load, "gpu_layers": 48}))
    assert found.feasibility == "in_vram" and found.limits["max_batch"] >= 4
