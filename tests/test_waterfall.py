"""The waterfall: bars sum to the difference, each end is a real estimate, illegal middle steps are stepped over together."""

from __future__ import annotations

import math
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core import waterfall as module
from core.errors import ScenarioError
from core.inputs import BY_KEY, differing, swapped
from core.scenario import from_flat
from core.sweep import point
from core.waterfall import waterfall

HOME = from_flat({"model": "Llama-3.1-8B-Instruct", "device": "RTX 3090", "quant": "Q4_K_M"})
OTHER = HOME.with_(device="RTX 4060 Ti 16GB", quant="Q8_0", concurrency=4)
SERVER = HOME.with_(device="H100 SXM5 80GB", runtime="vllm", quant="FP8", concurrency=16)


@pytest.mark.parametrize("order", [None, ("users", "quant")])
@pytest.mark.parametrize("metric", ["decode_rate", "memory_peak", "usd_per_million"])
def test_bars_sum_to_the_difference(metric: str, order: tuple[str, ...] | None) -> None:
    found = waterfall(HOME, OTHER, metric, order)
    assert found.start == point(HOME)[metric] and found.end == point(OTHER)[metric]
    assert math.isclose(sum(bar.amount for bar in found.bars), found.end - found.start, rel_tol=1e-9, abs_tol=1e-9)
    assert math.isclose(math.prod(bar.factor for bar in found.bars), found.end / found.start, rel_tol=1e-9)
    assert found.averaged == (order is None)


def test_the_mean_over_orders_is_what_swapping_in_every_order_gives() -> None:
    keys = [entry.key for entry in differing(HOME, OTHER)]
    averaged = {bar.inputs[0].key: bar for bar in waterfall(HOME, OTHER).bars}
    walks = [{bar.inputs[0].key: bar.amount for bar in waterfall(HOME, OTHER, order=order).bars} for order in permutations(keys)]
    for key in keys:
        amounts = [walk[key] for walk in walks]
        assert math.isclose(averaged[key].amount, sum(amounts) / len(amounts), rel_tol=1e-9)
        assert averaged[key].least == min(amounts) and averaged[key].most == max(amounts)


def test_a_stated_order_is_kept_and_each_step_is_an_estimate() -> None:
    found = waterfall(HOME, OTHER, order=["users", "device"])
    assert [bar.inputs[0].key for bar in found.bars] == ["users", "device", "quant"]
    after = swapped(HOME, OTHER, [BY_KEY["users"]])
    assert found.bars[0].amount == point(after)["decode_rate"] - found.start


def test_inputs_that_cannot_be_parted_are_swapped_together() -> None:
    """vLLM runs no GGUF and llama.cpp no FP8: neither goes without the other."""
    for order in (None, ["runtime", "quant"]):
        found = waterfall(HOME, SERVER, order=order)
        assert [entry.key for bar in found.bars for entry in bar.inputs if len(bar.inputs) > 1] == ["runtime", "quant"]
        assert found.joined == (
            "Runtime and quantisation are swapped together, for not every step between has an answer: "
            "vLLM does not run GGUF Q4_K_M (a GGUF quantisation).",
        )


def test_many_inputs_are_swapped_in_the_stated_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_FOR_ALL_ORDERS", 2)
    found = waterfall(HOME, OTHER)
    assert not found.averaged and found.estimates == 4


def test_small_bars_are_not_claimed() -> None:
    bars = {bar.inputs[0].key: bar for bar in waterfall(HOME, HOME.with_(quant="Q4_K_S", concurrency=32)).bars}
    assert not bars["quant"].sure and bars["users"].sure


def test_equal_scenarios_have_no_bars() -> None:
    assert waterfall(HOME, HOME).bars == ()


@pytest.mark.parametrize(
    ("other", "metric", "order", "said"),
    [
        (OTHER, "colour", None, "no metric 'colour'"),
        (OTHER, "ttft", ["colour"], "no input 'colour'"),
        (HOME.with_(model="Llama-3.3-70B-Instruct", ram_gb=8), "ttft", None, "second of the two has no such number"),
    ],
)  # fmt: skip
def test_what_cannot_be_explained_gets_a_sentence(other: object, metric: str, order: list[str] | None, said: str) -> None:
    with pytest.raises(ScenarioError, match=said):
        waterfall(HOME, other, metric, order)  # type: ignore[arg-type]


@settings(max_examples=8)
@given(
    st.sampled_from(["RTX 3090", "RTX 4090", "Apple M4 Max (40-core GPU)"]),
    st.sampled_from(["Q4_K_M", "Q8_0", "Q2_K"]),
    st.sampled_from([1, 2, 8]),
    st.sampled_from(["llama.cpp", "Ollama"]),
)
def test_there_and_back_is_the_same_way(device: str, quant: str, users: int, runtime: str) -> None:
    """What an input gains from A to B it loses from B to A."""
    other = HOME.with_(device=device, quant=quant, concurrency=users, runtime=runtime)
    there, back = waterfall(HOME, other), waterfall(other, HOME)
    for one, two in zip(there.bars, back.bars, strict=True):
        assert one.inputs == two.inputs and math.isclose(one.amount, -two.amount, rel_tol=1e-9, abs_tol=1e-9)
