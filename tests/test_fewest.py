"""The fewest devices: what is found runs by the estimate's own gate, and one fewer does not."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.estimate import estimate
from core.fewest import minimum_devices
from core.placement import placement
from core.scenario import from_flat

LLAMA70 = "meta-llama/Llama-3.3-70B-Instruct"
R1 = "deepseek-ai/DeepSeek-R1"


@pytest.mark.parametrize(
    ("knobs", "count", "reason"),
    [
        ({"model": "meta-llama/Llama-3.1-8B-Instruct", "device": "RTX 4090", "quant": "Q4_K_M"}, 1, "is enough"),
        # 39.6 GiB as a file: one card of 24 GiB is too small, two are not.
        ({"model": LLAMA70, "device": "RTX 3090", "quant": "Q4_K_M"}, 2, "With 1 (one device)"),
        # 131 GiB in BF16: two cards of 80 GiB.
        ({"model": LLAMA70, "device": "H100", "runtime": "vllm", "quant": "BF16"}, 2, "With 1 (one device)"),
        # 627 GiB and 72.9 GiB a card are nine cards by division; nine stages of seven layers are not even.
        ({"model": R1, "device": "H100", "count": 8, "runtime": "vllm"}, 10, "With 9 (PP 9): a rank of stage"),
        # Attention in eight replicas needs its own 10.6 GiB on every card: eight are too few, then two stages.
        ({"model": R1, "device": "H100", "runtime": "sglang", "tp": 1, "dp": 8, "ep": 8}, 16, "With 8 (DP 8)"),
        ({"model": LLAMA70, "device": "H100", "runtime": "sglang", "tp": 4, "mlp_tp": 8}, 8, "the chosen split can run on"),
    ],
)  # fmt: skip
def test_known_counts(knobs: dict[str, Any], count: int, reason: str) -> None:
    fewest = minimum_devices(from_flat(knobs))
    assert fewest.count == count and reason in fewest.sentence
    assert (
        fewest.found is not None
        and len(fewest.found.ranks) == count
        and fewest.found.degrees["mlp_tp"] == knobs.get("mlp_tp", fewest.found.degrees["tp"])
    )
    assert not any(t.fits for t in fewest.tried[:-1]) and all(t.why for t in fewest.tried[:-1])


def test_the_split_apart_needs_less_than_whole_replicas() -> None:
    # In BF16 two replicas of four cards of 48 GB do not hold 131 GiB each; the feed-forward part cut in eight does.
    knobs = {"model": LLAMA70, "device": "L40S", "runtime": "sglang", "quant": "BF16", "tp": 2, "dp": 4}
    apart, whole = minimum_devices(from_flat({**knobs, "mlp_tp": 8})), minimum_devices(from_flat(knobs))
    assert apart.count == 8 and whole.count is not None and whole.count > 8


def test_what_no_number_holds_says_so() -> None:
    fewest = minimum_devices(
        from_flat({"model": "meta-llama/Llama-3.1-405B-Instruct", "device": "RTX 4090", "runtime": "vllm", "quant": "BF16"})
    )
    assert fewest.count is None and "does not fit up to 16 RTX 4090: the weights alone take 756 GiB" in fewest.sentence
    unified = minimum_devices(from_flat({"model": LLAMA70, "device": "Apple M3 Max (40-core GPU)"}))
    assert unified.count is None and not unified.tried and "its memory is what there is" in unified.sentence


@settings(max_examples=25, deadline=None)
@given(
    model=st.sampled_from([LLAMA70, "Qwen/Qwen3-30B-A3B", "google/gemma-3-27b-it", R1]),
    device=st.sampled_from(["H100", "H200", "RTX 3090", "A100 80GB"]),
    runtime=st.sampled_from(["vllm", "llama.cpp"]),
    users=st.sampled_from([1, 16, 200]),
)  # fmt: skip
def test_the_answer_agrees_and_one_fewer_does_not_fit(model: str, device: str, runtime: str, users: int) -> None:
    quant = "Q4_K_M" if runtime == "llama.cpp" else None
    scenario = from_flat({"model": model, "device": device, "runtime": runtime, "quant": quant, "concurrency": users, "max_context": 4096})
    fewest = minimum_devices(scenario)
    if fewest.found is None:
        return
    assert estimate(fewest.found.scenario).feasibility == "in_vram"
    assert fewest.found.fullest.room >= 0 or fewest.found.taken
    if fewest.count and fewest.count > 1:
        one_less = scenario.with_(count=fewest.count - 1, tp=1, pp=fewest.count - 1, gpu_layers=fewest.found.ir.layers)
        assert not placement(one_less).fits
    weights = sum(rank.weights for rank in fewest.found.ranks) - sum(fewest.found.copies.values())
    assert (fewest.count or 0) >= math.floor(weights / fewest.found.memory)


@pytest.mark.parametrize(("others", "enough"), [
    ("2x Tesla P40", "One RTX 4090 is enough."),  # 18.4 GiB in Q4_K_M
    ("2x GeForce RTX 3060", "One RTX 4090 is enough."),
])  # fmt: skip
def test_of_cards_of_several_kinds_the_fewest_that_hold_it(others: str, enough: str) -> None:
    found = minimum_devices(from_flat({"model": "Qwen/Qwen3-32B", "device": "GeForce RTX 4090", "others": others, "quant": "Q4_K_M"}))
    assert found.sentence == enough and found.count == 1


def test_of_cards_of_several_kinds_a_larger_model_takes_more_and_says_what_was_tried() -> None:
    """32 GiB in Q8_0: more than one card of 24 GB, less than two."""
    asked = from_flat({"model": "Qwen/Qwen3-32B", "device": "GeForce RTX 4090", "others": "2x Tesla P40", "quant": "Q8_0"})
    found = minimum_devices(asked)
    assert found.count == 2 and found.found is not None and found.found.fits and "are enough" in found.sentence
    assert [tried.count for tried in found.tried] == sorted(tried.count for tried in found.tried) and not found.tried[0].fits
    two = found.found.scenario.system
    assert two.devices == 2 and two.count + sum(cards.count for cards in two.others) == 2
    huge = minimum_devices(asked.with_(model="Qwen/Qwen3-235B-A22B"))
    assert huge.count is None and "do not hold it all" in huge.sentence
