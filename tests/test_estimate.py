"""Laws that every estimate keeps: of its times, and of its answers."""

from __future__ import annotations

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from laws import LARGE, LLAMA, MIXTURE, SLACK, SMALL, arrivals, ask, cards, engines, model_names, near, num, prompts, users

from core.answer import Step
from core.errors import ScenarioError
from core.estimate import estimate, numbers
from core.formulas.ops import distinct_experts

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
