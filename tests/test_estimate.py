"""Laws that every estimate keeps, whatever the constants are, and figures that follow by hand."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from core.answer import Estimate, Step
from core.batch import candidates
from core.catalog import models
from core.columns import columns, plain
from core.errors import ScenarioError
from core.estimate import estimate, numbers
from core.formulas.economics import cost_per_million
from core.formulas.ops import attended_pairs, attention_flop, distinct_experts, linear_flop
from core.formulas.queueing import closed_rate, open_wait
from core.ir_build import build_ir
from core.memory import cache_of_sequence
from core.plan import legal_tp, make_plan
from core.quantity import value
from core.scenario import Scenario, from_flat
from core.setting import settle
from core.units import HOUR

LLAMA, SMALL = "meta-llama/Llama-3.1-8B-Instruct", "TinyLlama/TinyLlama-1.1B-Chat-v1.0"
WINDOWED, MIXTURE, LATENT = "google/gemma-2-9b-it", "Qwen/Qwen3-30B-A3B", "deepseek-ai/DeepSeek-V2-Lite"
LARGE = "meta-llama/Llama-3.3-70B-Instruct"
MODELS = (LLAMA, SMALL, WINDOWED, MIXTURE, LATENT)
CARDS = ("RTX 4090", "RTX 3090", "H100 SXM5 80GB", "A100 SXM4 80GB", "Tesla T4")
# Runtime and a quantisation of it.
LOCALS = (("llama.cpp", "Q4_K_M"), ("llama.cpp", "Q8_0"), ("llama.cpp", "F16"), ("ollama", "Q4_K_M"))
SERVERS = (("vllm", "BF16"), ("sglang", "BF16"))
ENGINES = LOCALS + SERVERS

SLACK = 1e-9

model_names = st.sampled_from(MODELS)
cards = st.sampled_from(CARDS)
engines, servers = st.sampled_from(ENGINES), st.sampled_from(SERVERS)
arrivals = st.sampled_from(("closed", "static", "saturated"))
prompts = st.integers(1, 4096)
outputs = st.integers(2, 1024)
users = st.sampled_from((1, 2, 3, 5, 8, 17, 32, 64, 128, 300))


def ask(model: str, device: str = "H100 SXM5 80GB", engine: tuple[str, str] = ("vllm", "BF16"), **knobs: Any) -> Scenario:
    runtime, quant = engine
    if runtime in ("vllm", "sglang") and device == "Tesla T4":
        quant = "FP16"  # Turing has no BF16
    return from_flat({"model": model, "device": device, "runtime": runtime, "quant": quant, **knobs})


def num(x: Any) -> float:
    return float(value(x))


def near(a: float, b: float, rel: float = 1e-9) -> bool:
    return a == b or (math.isnan(a) and math.isnan(b)) or math.isclose(a, b, rel_tol=rel, abs_tol=1e-12)


# ---------------------------------------------------------------- memory


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


# ---------------------------------------------------------------- time


@given(model_names, cards, engines, prompts, st.floats(100, 4000), st.floats(1.0, 8.0), st.sampled_from((1, 4, 32)))
@settings(max_examples=60, deadline=None)
def test_more_bandwidth_never_raises_a_steps_time(
    model: str, card: str, engine: tuple[str, str], prompt: int, bandwidth: float, factor: float, n: int
) -> None:
    asked = ask(model, card, engine, prompt_tokens=prompt, concurrency=n, arrival="static")
    slow, fast = (estimate(asked.with_(device_bandwidth_gb_s=b)) for b in (bandwidth, bandwidth * factor))
    for step in ("prefill", "decode"):
        assert num(getattr(fast, step).step.time) <= num(getattr(slow, step).step.time) * (1 + SLACK)


@given(model_names, cards, engines, prompts, users, arrivals, st.sampled_from((1, 2)))
@settings(max_examples=60, deadline=None)
def test_times_and_shares_sum_to_the_whole(
    model: str, card: str, engine: tuple[str, str], prompt: int, n: int, arrival: str, count: int
) -> None:
    answer = estimate(ask(model, card, engine, prompt_tokens=prompt, concurrency=n, arrival=arrival, count=count))
    for phase in (answer.prefill, answer.decode):
        step: Step = phase.step
        assert near(num(step.time), sum(num(op.time) for op in step.ops))
        assert near(num(phase.flop), sum(num(op.flop) for op in step.ops))
        assert near(num(phase.bytes), sum(num(op.bytes) for op in step.ops))
        shares = step.shares()
        assert near(sum(shares.values()), 1.0)
        assert all(share >= 0 for share in shares.values())
        assert all(num(op.time) >= 0 for op in step.ops)
        assert num(phase.mfu) <= 1 and num(phase.mbu) <= 1
    assert near(sum(answer.first_token_shares.values()), 1.0)


@given(model_names, cards, engines, prompts, users)
@settings(max_examples=30, deadline=None)
def test_one_rank_sends_nothing(model: str, card: str, engine: tuple[str, str], prompt: int, n: int) -> None:
    answer = estimate(ask(model, card, engine, prompt_tokens=prompt, concurrency=n, tp=1))
    for phase in (answer.prefill, answer.decode):
        assert all(num(op.sent) == 0 for op in phase.step.ops)
        assert "interconnect" not in phase.step.shares()


@pytest.mark.parametrize("runtime", ["vllm", "sglang"])
def test_two_ranks_send(runtime: str) -> None:
    answer = estimate(ask(LLAMA, engine=(runtime, "BF16"), count=2, tp=2))
    assert sum(num(op.sent) for op in answer.decode.step.ops) > 0
    assert answer.decode.step.shares()["interconnect"] > 0


@given(model_names, cards, st.sampled_from(("Q4_K_M", "Q8_0")), st.integers(2, 8), prompts)
@settings(max_examples=40, deadline=None)
def test_a_layer_split_never_beats_one_card_on_one_stream(model: str, card: str, quant: str, count: int, prompt: int) -> None:
    asked = ask(model, card, ("llama.cpp", quant), prompt_tokens=prompt)
    one = estimate(asked)
    assume(one.feasibility == "in_vram")
    many = estimate(asked.with_(count=count))
    assert many.resolved["pp"] == count
    assert many.metric("decode_rate") <= one.metric("decode_rate") * (1 + SLACK)


@given(st.integers(2, 512), st.integers(1, 64), st.integers(1, 100_000), st.integers(1, 1000))
def test_distinct_experts(experts: int, chosen: int, tokens: int, more: int) -> None:
    chosen = min(chosen, experts)
    found = distinct_experts(experts=float(experts), chosen=float(chosen), tokens=float(tokens))
    assert chosen * (1 - SLACK) <= found <= min(experts, chosen * tokens) * (1 + SLACK)
    assert distinct_experts(experts=float(experts), chosen=float(chosen), tokens=float(tokens + more)) >= found


def test_a_mixture_reads_what_it_chooses_and_holds_all() -> None:
    answer = estimate(ask(MIXTURE, engine=("vllm", "BF16")))
    held = sum(num(p.amount) for p in answer.device.parts if p.name == "weights")
    assert held > 2 * answer.ir.parameters * 0.99
    assert num(answer.decode.bytes) < 2 * answer.ir.active_parameters * 1.1


@given(model_names, cards, st.integers(0, 30_000), st.integers(0, 30_000))
@settings(max_examples=30, deadline=None)
def test_deeper_contexts_never_decode_faster(model: str, card: str, a: int, b: int) -> None:
    shallow, deep = (numbers(ask(model, card, ("llama.cpp", "Q4_K_M"), context_depth=d, gpu_layers=999)) for d in sorted((a, b)))
    assert deep["tpot"] >= shallow["tpot"] * (1 - SLACK)


# ---------------------------------------------------------------- under load


@given(model_names, cards, engines, prompts, outputs, users, arrivals)
@settings(max_examples=60, deadline=None)
def test_metrics_agree_with_each_other(
    model: str, card: str, engine: tuple[str, str], prompt: int, output: int, n: int, arrival: str
) -> None:
    load = {"prompt_tokens": prompt, "output_tokens": output, "concurrency": n, "arrival": arrival}
    found = numbers(ask(model, card, engine, **load))
    assert near(found["decode_rate"], 1 / found["tpot"])
    assert near(found["latency"], found["ttft"] + found["tpot"] * (output - 1))
    assert near(found["total_rate"], found["output_rate"] * (prompt + output) / output)
    assert near(found["energy_per_token"], found["power"] / found["output_rate"])
    assert 1 <= found["batch"] <= max(n, 1) * (1 + SLACK) or arrival == "saturated"


@given(model_names, cards, engines, prompts, outputs, users, st.sampled_from(("closed", "static", "saturated", "open")))
@example(LLAMA, "RTX 4090", ("llama.cpp", "Q4_K_M"), 1, 2, 5, "saturated")  # slots follow the users asked, not those in flight
@example(LLAMA, "RTX 4090", ("transformers", "BF16"), 512, 128, 17, "open")  # those in flight hold the memory
@settings(max_examples=50, deadline=None)
def test_the_cited_answer_is_the_plain_one(
    model: str, card: str, engine: tuple[str, str], prompt: int, output: int, n: int, arrival: str
) -> None:
    asked = ask(model, card, engine, prompt_tokens=prompt, output_tokens=output, concurrency=n, arrival=arrival,
                request_rate_per_s=0.5)  # fmt: skip
    answer, found = estimate(asked), numbers(asked)
    assert found.keys() == answer.metrics.keys()
    for name, amount in found.items():
        assert near(answer.metric(name), amount), name


depths, degrees = st.sampled_from((0, 100, 5000)), st.sampled_from((1, 2, 4))
candidate = st.tuples(st.integers(0, 5), users, prompts, outputs, depths, degrees)


@given(model_names, st.sampled_from((LOCALS, (*SERVERS, ("vllm", "FP8")))), arrivals, st.lists(candidate, min_size=2))
@settings(max_examples=40, deadline=None)
def test_many_candidates_are_each_as_one(model: str, kinds: tuple[tuple[str, str], ...], arrival: str, rows: list[tuple[int, ...]]) -> None:
    options = [
        ask(model, card, kind, count=4, tp=1, pp=1, arrival=arrival)
        for kind in kinds
        for card in ("H100 SXM5 80GB", "RTX 3090")
        if not (kind[1] == "FP8" and card == "RTX 3090")
    ]
    if kinds is LOCALS:
        options = [o.with_(gpu_layers=999) for o in options]
    index = np.array([row[0] % len(options) for row in rows])
    names = ("users", "prompt", "output", "depth", "tp")
    table = {name: np.array([row[i + 1] for row in rows], dtype=float) for i, name in enumerate(names)}
    if not all(legal_tp(models.ir(model), int(t)) for t in set(table["tp"])) or kinds is LOCALS:
        table["tp"] = np.ones(len(rows))
    found = candidates(options, index, table)
    for i, row in enumerate(rows):
        load = dict(zip(("concurrency", "prompt_tokens", "output_tokens", "context_depth"), row[1:5], strict=True))
        one = numbers(options[index[i]].with_(**load, tp=int(table["tp"][i])))
        for name, amount in one.items():
            assert near(float(found[name][i]), amount, 1e-6), (i, name)


@given(model_names, cards, servers, prompts, outputs)
@example(SMALL, "Tesla T4", ("vllm", "BF16"), 3923, 105)
@example(SMALL, "RTX 4090", ("vllm", "BF16"), 3293, 47)
@example(LATENT, "H100 SXM5 80GB", ("vllm", "BF16"), 8, 89)
@settings(max_examples=40, deadline=None)
def test_more_users_give_more_tokens_and_wait_longer(model: str, card: str, engine: tuple[str, str], prompt: int, output: int) -> None:
    """Up to what memory and the runtime serve at once: the system's rate never falls, no user's gets better.

    The closed form holds means to a few per cent; a prompt or an answer of a few tokens is no load it is made for.
    """
    assume(prompt >= 64 and output >= 16)
    asked = ask(model, card, engine, prompt_tokens=prompt, output_tokens=output)
    answer = estimate(asked)
    assume(answer.runs)
    cap = min(num(answer.limits["max_batch"]), answer.resolved["max_sequences"] or 256)
    steps = [n for n in (1, 2, 4, 8, 16, 32, 64, 128, 256) if n <= cap]
    found = [numbers(asked.with_(concurrency=n)) for n in steps]
    mixture = any(block.mlp.kind == "moe" for block in answer.ir.blocks)
    for few, many in itertools.pairwise(found):
        assert many["output_rate"] >= few["output_rate"] * (1 - 0.05)
        # Prompts that share a step read the experts once for all, so a mixture's first token may come sooner in company.
        assert many["ttft"] >= few["ttft"] * (1 - (0.3 if mixture else 0.05))
        assert many["tpot"] >= few["tpot"] * (1 - 0.05)
        assert many["latency"] >= few["latency"] * (1 - 0.05)


@given(model_names, cards, servers, prompts, outputs, users)
@example(MIXTURE, "H100 SXM5 80GB", ("vllm", "BF16"), 6, 167, 256)
@settings(max_examples=40, deadline=None)
def test_a_closed_loop_stays_below_what_saturates(model: str, card: str, engine: tuple[str, str], prompt: int, output: int, n: int) -> None:
    assume(prompt >= 64 and output >= 16)
    asked = ask(model, card, engine, prompt_tokens=prompt, output_tokens=output, concurrency=n)
    assume(estimate(asked).runs)
    closed, full = numbers(asked), numbers(asked.with_(arrival="saturated"))
    assert closed["output_rate"] <= full["output_rate"] * 1.05
    assert closed["output_rate"] <= n * closed["decode_rate"] * output / (output - 1) * (1 + SLACK)


@given(model_names, st.floats(0.01, 100.0), st.floats(1.0, 20.0))
@settings(max_examples=30, deadline=None)
def test_an_open_loop_delivers_what_arrives_or_its_capacity(model: str, rate: float, factor: float) -> None:
    asked = ask(model, arrival="open", request_rate_per_s=rate)
    slow, fast = numbers(asked), numbers(asked.with_(request_rate_per_s=rate * factor))
    assert slow["output_rate"] <= rate * 128 * (1 + SLACK)
    assert fast["output_rate"] >= slow["output_rate"] * (1 - 0.02)
    assert fast["ttft"] >= slow["ttft"] * (1 - 0.02)
    assert near(slow["output_rate"], rate * 128) or math.isinf(slow["ttft"])


# ---------------------------------------------------------------- answers


def test_what_is_wrong_is_named() -> None:
    with pytest.raises(ScenarioError, match="must divide the 32 attention heads"):
        estimate(ask(LLAMA, count=7, tp=7))
    with pytest.raises(ScenarioError, match="needs 16 devices"):
        estimate(ask(LLAMA, count=8, tp=8, pp=2))
    with pytest.raises(ScenarioError, match="does not run"):
        estimate(ask(LLAMA, engine=("vllm", "Q4_K_M")))


def test_classes() -> None:
    assert estimate(ask(SMALL, "RTX 4090", ("llama.cpp", "Q4_K_M"))).feasibility == "in_vram"
    offloaded = estimate(ask(LARGE, "RTX 3090", ("llama.cpp", "Q4_K_M"), ram_gb=64))
    assert offloaded.feasibility == "with_offload" and offloaded.host is not None
    assert [reason.code for reason in offloaded.reasons] == ["offloaded"]
    short = estimate(ask(LARGE, "RTX 3090", ("llama.cpp", "Q4_K_M"), ram_gb=8))
    assert short.feasibility == "insufficient_memory"
    assert "host_memory_short" in [reason.code for reason in short.reasons]
    whole = estimate(ask(LARGE, "RTX 3090", ("vllm", "BF16")))
    assert whole.feasibility == "insufficient_memory" and num(whole.device.headroom) < 0
    assert whole.reasons[0].code == "weights_exceed_device"


def test_offload_costs_speed() -> None:
    asked = ask(LLAMA, "RTX 4090", ("llama.cpp", "Q8_0"), ram_gb=64)
    rates = [numbers(asked.with_(gpu_layers=n))["decode_rate"] for n in (0, 8, 16, 24, 32)]
    assert rates == sorted(rates) and rates[-1] > 3 * rates[0]


def test_every_number_leads_to_its_sources() -> None:
    answer = estimate(ask(MIXTURE, "RTX 4090", ("llama.cpp", "Q4_K_M"), concurrency=4))
    device = answer.device
    shown = [*answer.metrics.values(), device.needed, device.peak, device.headroom, *(m for m in answer.money.values() if m is not None)]
    for number in shown:
        assert all(leaf.kind and leaf.source and leaf.source.title for leaf in number.leaves()), number.name
    kinds = {leaf.kind for leaf in answer.assumptions()}
    assert kinds >= {"user", "assumption"}


# ---------------------------------------------------------------- golden cases


def _layer_elements(model: str) -> float:
    return sum(t.elements for t in models.ir(model).tensors if t.layer is not None and t.group not in ("norm", "mtp"))


def _attention_flop(model: str, pairs: float) -> float:
    found = 0.0
    for block in models.ir(model).blocks:
        a, layers = block.attention, len(block.layers)
        found += layers * attention_flop(pairs=pairs, heads=a.heads, key_width=a.head_dim, value_width=a.v_head_dim)
    return found


def _kv(model: str, kv_dtype: str, tp: int = 1, tokens: int = 4096) -> float:
    """Bytes of one sequence on one rank, as the estimator's memory has it."""
    scenario = ask(model, "H200 SXM 141GB", count=16, tp=tp, kv_dtype=kv_dtype)
    c = plain(columns(settle(scenario)))
    return float(cache_of_sequence(make_plan(models.ir(model), c), c, tokens, ""))


QUANTITIES = {
    "layers_flop_full_square": lambda model, tokens: (
        linear_flop(tokens=tokens, elements=_layer_elements(model)) + _attention_flop(model, tokens**2)
    ),
    "layers_flop_causal": lambda model, tokens: (
        linear_flop(tokens=tokens, elements=_layer_elements(model))
        + _attention_flop(model, attended_pairs(start=0.0, tokens=float(tokens), window=1e12))
    ),
    "kv_bytes_per_token": lambda model, kv_dtype: _kv(model, kv_dtype) / 4096,
    "kv_bytes_at": lambda model, kv_dtype, tokens: _kv(model, kv_dtype, tokens=tokens),
    "kv_rank_bytes_per_token": lambda model, kv_dtype, tp: _kv(model, kv_dtype, tp) / 4096,
    "distinct_experts": distinct_experts,
    "all_reduce_sent": lambda model, device, tp: sum(
        num(op.sent) for op in estimate(ask(model, device, count=8, tp=tp)).decode.step.ops if op.name == "all-reduce"
    ),
    "sent": lambda model, device, tp: sum(num(op.sent) for op in estimate(ask(model, device, tp=tp)).decode.step.ops),
    "open_wait": open_wait,
    "cost_per_million": lambda usd_per_h, tokens_per_s: cost_per_million(rate=usd_per_h / HOUR, tokens=tokens_per_s),
    "closed_rate": closed_rate,
    "largest_pool_share": lambda model, device, fraction: (lambda answer: num(answer.device.taken) / num(answer.device.limit))(
        estimate(ask(model, device, ("vllm", "FP8"), memory_fraction=fraction))
    ),
}
GOLDEN = json.loads((Path(__file__).parents[1] / "data" / "golden" / "estimates.json").read_text())["cases"]


@pytest.mark.parametrize("case", GOLDEN, ids=lambda c: "-".join(map(str, (c["quantity"], *c["inputs"].values()))))
def test_golden(case: dict[str, Any]) -> None:
    found = float(QUANTITIES[case["quantity"]](**case["inputs"]))
    assert math.isclose(found, case["expected"], rel_tol=case["tolerance"], abs_tol=0.0), case["why"]
