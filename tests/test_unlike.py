"""Cards that are not alike: sums over the cards, paces of the slowest, each card's own fit; and nothing moves where all are alike."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core import stages
from core.answer import Estimate
from core.batch import candidates, numbers_of
from core.catalog.quants import quant
from core.catalog.runtimes import runtime
from core.columns import columns, plain
from core.distance import OTHER_CARDS, run_differences
from core.errors import RunError, ScenarioError
from core.estimate import estimate, launch, numbers
from core.launch_parse import parse
from core.placement import WEIGHTS, placement
from core.plan import make_plan
from core.runs import read_run, scenario_from_run
from core.scenario import Scenario, from_flat
from core.setting import settle
from core.slices import layers_of_stages
from core.sweep import answer
from core.weights import weight_table
from core.words import answer_sentence

QWEN = "Qwen/Qwen3-32B"
MOE = "Qwen/Qwen3-235B-A22B"


def asked(**knobs: Any) -> Scenario:
    return from_flat({"model": QWEN, "device": "RTX 3090", "quant": "Q4_K_M", **knobs})


def met(answer: Estimate, name: str) -> float:
    return answer.metric(name)


# ---------------------------------------------------------------- time


def test_a_card_of_the_same_kind_is_no_other_card() -> None:
    """Two 3090 written as one beside another are two 3090; only that their 33 and 31 layers, with the head, are no even halves."""
    for knobs in ({}, {"concurrency": 8}, {"prompt_tokens": 8192}):
        two, beside = numbers(asked(count=2, **knobs)), numbers(asked(others="RTX 3090", **knobs))
        for name in ("ttft", "tpot", "prefill_rate", "power"):
            assert beside[name] == pytest.approx(two[name], rel=0.04)
        assert beside["tpot"] == pytest.approx(two["tpot"], rel=1e-3) or "concurrency" in knobs


def test_a_token_takes_the_sum_over_the_cards() -> None:
    """Weights of 64 layers on 936 and 360 GB/s, at 75 % of each, one third on the slower card."""
    answer = estimate(asked(others="RTX 3060"))
    layers = answer.resolved["layers_of_cards"]
    assert sum(layers) == 64
    table = weight_table(answer.ir, "Q4_K_M")
    each = table.where(group=("attention", "mlp", "norm")) / 64
    reading = sum(count * each / (rate * 1e9 * 0.75) for count, rate in zip(layers, (936.2, 360.0), strict=True))
    took = sum(op.time.value for op in answer.decode.step.ops if op.name in ("feed-forward", "attention projections"))
    assert took == pytest.approx(reading, rel=0.01)
    assert met(estimate(asked(count=2)), "tpot") < met(answer, "tpot") < met(estimate(asked(device="RTX 3060", count=2)), "tpot")


@settings(max_examples=8)
@given(share=st.integers(1, 63))
def test_more_layers_on_the_faster_card_are_never_slower(share: int) -> None:
    faster, slower = (numbers(asked(others="RTX 3060", tensor_split=f"{n},{64 - n}", gpu_layers=64)) for n in (share + 1, share))
    assert faster["tpot"] <= slower["tpot"] * (1 + 1e-9)


def test_prefill_goes_at_the_pace_of_the_slowest_stage() -> None:
    """The first chunk passes all stages, each further one adds the slowest stage: 16 chunks through 936 and 360 GB/s cards."""
    answer = estimate(asked(others="RTX 3060", prompt_tokens=8192))
    step = answer.prefill.step
    slowest = max(sum(op.time.value for op in step.ops if op.on == name) for name in ("GeForce RTX 3090", "GeForce RTX 3060 12GB"))
    whole = step.time.value
    assert 1 < step.stages.value < 2
    assert whole / step.stages.value == pytest.approx(slowest, rel=0.01)
    assert 8192 / met(answer, "prefill_rate") == pytest.approx(whole + 15 * whole / step.stages.value, rel=1e-6)


def test_a_server_s_stages_wait_for_the_slowest() -> None:
    knobs = {
        "device": "RTX 4090",
        "others": "RTX 3060",
        "runtime": "vllm",
        "quant": "AWQ-INT4",
        "pp": 2,
        "concurrency": 8,
        "max_context": 1024,
    }
    even, partition = estimate(asked(**knobs)), estimate(asked(**knobs, tensor_split="46,18"))
    assert "slowest_device" in even.decode.step.shares()
    assert met(partition, "output_rate") > 1.2 * met(even, "output_rate")
    assert "VLLM_PP_LAYER_PARTITION=46,18 vllm serve" in launch(partition)
    alone = estimate(asked(**{**knobs, "concurrency": 1}))
    assert "slowest_device" not in alone.decode.step.shares(), "one sequence waits for nobody"


def test_tensor_ranks_work_at_the_pace_of_the_slowest() -> None:
    knobs = {"runtime": "vllm", "quant": "AWQ-INT4", "tp": 2, "max_context": 1024}
    mixed, slow = estimate(asked(others="RTX 3060", **knobs)), estimate(asked(device="RTX 3060", count=2, **knobs))
    assert met(mixed, "tpot") == pytest.approx(met(slow, "tpot"), rel=0.01)
    assert mixed.device.limit.value == slow.device.limit.value
    assert "slowest_card" in [warning.code for warning in mixed.warnings]


# ---------------------------------------------------------------- layers and memory


@pytest.mark.parametrize(("layers", "count"), [(64, 2), (61, 3), (80, 7), (36, 4)])
def test_equal_cards_get_what_llama_cpp_deals_out(layers: int, count: int) -> None:
    model = {64: QWEN, 61: "deepseek-ai/DeepSeek-R1", 80: "meta-llama/Llama-3.3-70B-Instruct", 36: "Qwen/Qwen3-8B"}[layers]
    setting = settle(asked(model=model, others=" + ".join(["RTX 3090"] * (count - 1)), gpu_layers=layers))
    c = plain(columns(setting))
    assert layers_of_stages(make_plan(setting.ir, c), c, float(layers), 0.0) == stages.like_llama_cpp(layers, count)


def test_fit_is_checked_on_each_card() -> None:
    """26 of 35 GiB would do for both together; told to take half, the small card is short."""
    knobs = {"others": "RTX 3060", "prompt_tokens": 30000}
    fair, half = estimate(asked(**knobs)), estimate(asked(**knobs, tensor_split="1,1", gpu_layers=64))
    assert fair.feasibility == "in_vram" and len(fair.cards) == 2
    assert half.feasibility == "insufficient_memory" and half.device.name == "GeForce RTX 3060 12GB"
    assert "short on the RTX 3060" in answer_sentence(half)
    assert met(fair, "memory_peak") == pytest.approx(sum(card.taken.value for card in fair.cards))


def test_logits_are_computed_on_the_last_card_alone() -> None:
    first, last = estimate(asked(others="RTX 3060")).cards
    sizes = [next(part.amount.value for part in card.parts if part.name == "compute buffers") for card in (first, last)]
    assert sizes[1] > 10 * sizes[0]


@pytest.mark.parametrize(
    "knobs",
    [
        {"others": "RTX 3060"},
        {"others": "2x RTX 3060 + Tesla P40", "tensor_split": "3,1,0,2"},
        {"model": "meta-llama/Llama-3.3-70B-Instruct", "others": "RTX 3060", "ram_gb": 64},
        {"model": MOE, "others": "RTX 3060", "ram_gb": 256},
        {"runtime": "vllm", "quant": "AWQ-INT4", "count": 2, "others": "2x RTX 4090", "tp": 2, "pp": 2, "max_context": 1024},
    ],
    ids=["two", "told", "layers away", "experts away", "server"],
)
def test_nothing_is_lost_and_the_pasted_command_is_the_same_machine(knobs: dict[str, Any]) -> None:
    """Every byte lies somewhere, and what is written to start it means the same estimate."""
    scenario = asked(**knobs)
    found, answer = placement(scenario), estimate(scenario)
    places = [*(rank.parts for rank in found.ranks), *([found.host.parts] if found.host else [])]
    held = sum(parts.get(name, 0.0) for parts in places for name in WEIGHTS.values())
    whole = weight_table(found.ir, quant(answer.resolved["quant"]).id).bytes
    assert held == pytest.approx(whole + sum(found.copies.values()), rel=1e-9)
    for stage, layers in enumerate(answer.resolved["layers_of_cards"]):
        assert next(len(rank.layers) for rank in found.ranks if rank.stage == stage) == layers
    again = parse(launch(answer)).scenario(
        device="RTX 3090", others=knobs["others"], count=knobs.get("count", 1), ram_gb=knobs.get("ram_gb")
    )
    assert met(estimate(again), "tpot") == pytest.approx(met(answer, "tpot"), rel=1e-9)


def test_experts_leave_the_first_layers_and_every_card_keeps_its_share() -> None:
    answer = estimate(asked(model=MOE, others="RTX 3060", ram_gb=256))
    first, last = answer.resolved["layers_of_cards"]
    assert answer.feasibility == "with_offload" and first > 5 * last, "the first layers are light: their experts lie elsewhere"
    assert all(card.headroom.value >= 0 for card in answer.cards)


def test_one_card_alone() -> None:
    alone = asked(others="RTX 3060", split="none", main_gpu=1, model="Qwen/Qwen3-8B")
    answer = estimate(alone)
    assert met(answer, "tpot") == met(estimate(asked(device="RTX 3060", model="Qwen/Qwen3-8B")), "tpot")
    assert "-sm none -mg 1" in launch(answer) and "one RTX 3060" in answer_sentence(answer)
    assert parse(launch(answer)).scenario(device="RTX 3090", others="RTX 3060").deployment.main_gpu == 1
    with pytest.raises(ScenarioError, match="numbered 0 to 1"):
        estimate(asked(others="RTX 3060", split="none", main_gpu=2))


# ---------------------------------------------------------------- machines


def test_makers_meet_at_a_backend_that_runs_on_all() -> None:
    answer = estimate(asked(others="RX 7900 XTX"))
    assert answer.resolved["backend"] == "vulkan" and any("vulkan" in note for note in answer.notes)
    with pytest.raises(ScenarioError, match="no backend that runs on all"):
        estimate(asked(others="RX 7900 XTX", runtime="vllm", quant="BF16"))
    with pytest.raises(ScenarioError, match="A CPU is no card among cards"):
        estimate(asked(others="EPYC 9654"))


def test_an_integrated_gpu_takes_half_of_the_ram_and_is_named() -> None:
    answer = estimate(asked(device="RTX 4060", others="Radeon 780M", ram_gb=64, model="Qwen/Qwen3-14B"))
    assert answer.cards[1].limit.value == pytest.approx(32 * 2**30)
    assert "integrated_left_out" in [warning.code for warning in answer.warnings]


def test_shares_are_as_many_as_stages() -> None:
    with pytest.raises(ScenarioError, match="3 shares for 2 pipeline stages"):
        estimate(asked(others="RTX 3060", tensor_split="1,1,1"))


# ---------------------------------------------------------------- measured runs


BOTH = "Radeon AI PRO R9700 + RX 9060 XT"
PAIR = {"model_id": "Qwen/Qwen3.5-27B", "quant": "Q8_0", "runtime": "ollama", "gpu_name": BOTH, "gpu_count": 2}


def test_a_run_names_cards_of_several_kinds() -> None:
    system = scenario_from_run(PAIR).system
    assert (system.device, system.count, [cards.device for cards in system.others]) == ("radeon-ai-pro-r9700", 1, ["rx-9060-xt-16gb"])
    assert scenario_from_run({**PAIR, "gpu_name": "2x RTX 3090 + RTX 3060", "gpu_count": 3}).system.devices == 3
    with pytest.raises(RunError, match="names 2 cards, but gpu_count is 3"):
        scenario_from_run({**PAIR, "gpu_count": 3})


@pytest.mark.parametrize(("prompt", "measured"), [(36, 14.9), (16000, 13.9)])
def test_the_one_measured_pair_is_met(prompt: int, measured: float) -> None:
    """The only unlike cards of the corpus: dk9643's R9700 beside a 9060 XT, near an empty cache and a full one."""
    scenario = scenario_from_run({**PAIR, "prompt_tokens": prompt, "output_tokens": 256, "load_kind": "static_batch"})
    assert answer(scenario).metric("decode_rate") == pytest.approx(measured, rel=0.2)


def test_cards_beside_a_card_are_another_machine() -> None:
    alone = scenario_from_run({**PAIR, "gpu_name": "Radeon AI PRO R9700", "gpu_count": 1})
    assert [d.distance for d in run_differences(alone, runtime("ollama"), read_run(PAIR)) if "beside it" in d.text] == [OTHER_CARDS]


# ---------------------------------------------------------------- many at once


def test_arrays_say_what_single_scenarios_say() -> None:
    some = [asked(others="RTX 3060", concurrency=users, max_context=context, model=model, ram_gb=128)
            for users in (1, 4) for context in (1024, 16384) for model in (QWEN, "Qwen/Qwen3-30B-A3B")]  # fmt: skip
    some += [asked(others="RTX 3060", tensor_split="2,1"), asked(others="Tesla P40"), asked(count=2), asked(count=2, tensor_split="3,1")]
    for scenario, found in zip(some, numbers_of(some, strict=True), strict=True):
        one = numbers(scenario)
        assert isinstance(found, dict) and found == pytest.approx(one, rel=1e-9, nan_ok=True)


def test_candidates_vary_along_one_axis() -> None:
    options = [asked(others=card) for card in ("RTX 3060", "Tesla P40", "RTX 4090")]
    index = np.repeat(np.arange(3), 2)
    found = candidates(options, index, {"users": np.tile([1.0, 4.0], 3)})
    for place in range(6):
        one = numbers(options[index[place]].with_(concurrency=(1, 4)[place % 2]))
        assert found["tpot"][place] == pytest.approx(one["tpot"], rel=1e-9)
