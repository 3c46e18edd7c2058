"""Corrected answers: the cited one is the array one, and what a correction says is bounded, ordered and told."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.answer import Estimate
from core.constants import Constants, keys
from core.corrected import BAND_OF, EXACT, FACTORS, TIMES, Answer, answers
from core.correction import PARTS, Correction, shipped
from core.estimate import estimate
from core.features import TERMS, traits
from core.quantity import Quantity, explain, value
from core.scenario import Scenario, from_flat
from core.support import TOGETHER, Known

LLAMA, LARGE, MIXTURE = "meta-llama/Llama-3.1-8B-Instruct", "meta-llama/Llama-3.3-70B-Instruct", "Qwen/Qwen3-30B-A3B"
LATENT, WINDOWED = "deepseek-ai/DeepSeek-V2-Lite", "google/gemma-2-9b-it"
MACHINES: tuple[dict[str, Any], ...] = (
    {"model": LLAMA, "device": "RTX 4090", "runtime": "llama.cpp", "quant": "Q4_K_M"},
    {"model": WINDOWED, "device": "RTX 3090", "count": 2, "runtime": "ollama", "quant": "Q4_K_M"},
    {"model": LARGE, "device": "RTX 3090", "runtime": "llama.cpp", "quant": "Q4_K_M", "ram_gb": 64},  # partly in host memory
    {"model": MIXTURE, "device": "RTX 3090", "runtime": "llama.cpp", "quant": "Q8_0", "ram_gb": 64},  # experts in host memory
    {"model": LLAMA, "device": "Ryzen 9 7950X", "runtime": "llama.cpp", "quant": "Q4_K_M"},
    {"model": LLAMA, "device": "M4 Max", "runtime": "mlx"},
    {"model": LLAMA, "device": "H100 SXM5 80GB", "runtime": "vllm", "quant": "FP8"},
    {"model": LARGE, "device": "H100 SXM5 80GB", "count": 8, "runtime": "vllm", "quant": "BF16", "tp": 4, "dp": 2},
    {"model": LATENT, "device": "A100 SXM4 80GB", "runtime": "sglang", "quant": "BF16"},
    {"model": LLAMA, "device": "H100 SXM5 80GB", "runtime": "tensorrt-llm", "quant": "FP8"},
    {"model": LLAMA, "device": "RTX 4090", "runtime": "transformers", "quant": "BF16"},
)  # fmt: skip
ARRIVALS = ("closed", "static", "saturated", "open")

scenarios = st.builds(
    lambda machine, prompt, output, users, arrival, rate: from_flat(
        {**machine, "prompt_tokens": prompt, "output_tokens": output, "concurrency": users, "arrival": arrival}
        | ({"request_rate_per_s": rate} if arrival == "open" else {})
    ),
    st.sampled_from(MACHINES), st.integers(1, 4096), st.integers(2, 1024), st.sampled_from((1, 2, 5, 17, 64)),
    st.sampled_from(ARRIVALS), st.sampled_from((0.02, 0.5, 4.0)),
)  # fmt: skip


@cache
def correction() -> Correction:
    found = shipped()
    assert found is not None
    return found


def changed(**core: Any) -> Correction:
    """The shipped correction with other parts."""
    return replace(correction(), core=replace(correction().core, **core))


def same(a: float, b: float) -> bool:
    return a == b or (math.isnan(a) and math.isnan(b)) or math.isclose(a, b, rel_tol=1e-9)


def assert_same_numbers(one: Estimate, other: Estimate) -> None:
    for name in one.metrics:
        assert same(one.metric(name), other.metric(name)), name


# ---------------------------------------------------------------- one law: cited and array answers agree


@given(scenarios)
@settings(max_examples=60, deadline=None)
def test_the_cited_answer_is_the_array_answer(asked: Scenario) -> None:
    found = estimate(asked, correction(), strict=False)
    (same_again,) = answers([asked], correction())
    assert isinstance(same_again, Answer)
    assert found.metrics.keys() == same_again.metrics.keys() and found.bands.keys() == same_again.bands.keys()
    for name, amount in same_again.metrics.items():
        assert same(found.metric(name), amount), name
    for name, ends in same_again.bands.items():
        assert all(map(same, found.bands[name], ends)), name
    assert found.support is not None and found.support.level == same_again.support


def test_scenarios_answered_together_are_as_each_alone() -> None:
    asked = [from_flat({**machine, "concurrency": 4}) for machine in MACHINES]
    for one, alone in zip(answers(asked, correction()), asked, strict=True):
        (again,) = answers([alone], correction())
        assert isinstance(one, Answer) and isinstance(again, Answer)
        assert all(same(one.metrics[name], amount) for name, amount in again.metrics.items())
        assert one.bands.keys() == again.bands.keys() and one.support == again.support


# ---------------------------------------------------------------- ranges


@given(scenarios)
@settings(max_examples=30, deadline=None)
def test_ranges_hold_the_median_and_only_what_is_finite_has_one(asked: Scenario) -> None:
    found = estimate(asked, correction(), strict=False)
    for name, (low, high) in found.bands.items():
        assert 0 < low <= found.metric(name) <= high < math.inf
    assert {name for name in BAND_OF if name not in found.bands} == {name for name in BAND_OF if not math.isfinite(found.metric(name))}


def test_only_the_estimated_parts_of_memory_have_a_range() -> None:
    found = estimate(from_flat({**MACHINES[1], "concurrency": 2}), correction())
    exact = sum(float(value(part.amount)) for part in found.device.parts if part.name in EXACT) * 2
    low, high = found.bands["memory_peak"]
    assert exact < low < found.metric("memory_peak") < high
    engine_decides = estimate(from_flat(MACHINES[6]), correction())
    assert "memory_peak" not in engine_decides.bands  # vLLM takes its share of the card whatever the model needs


def test_memory_is_as_it_was_without_a_correction() -> None:
    for machine in MACHINES:
        asked = from_flat(machine)
        with_it, without = estimate(asked, correction()), estimate(asked)
        assert with_it.metric("memory_peak") == without.metric("memory_peak")
        assert with_it.feasibility == without.feasibility and with_it.limits.keys() == without.limits.keys()


# ---------------------------------------------------------------- what it acts on


@pytest.mark.parametrize("machine", MACHINES, ids=lambda m: f"{m['runtime']}-{m['device']}")
def test_nothing_learned_changes_nothing(machine: dict[str, Any]) -> None:
    asked = from_flat({**machine, "concurrency": 4})
    assert_same_numbers(estimate(asked, changed(constants=Constants(), forests={})), estimate(asked))


@pytest.mark.parametrize("machine", (MACHINES[0], MACHINES[6], MACHINES[7]), ids=lambda m: m["runtime"])
def test_constants_scale_the_steps_they_are_fitted_to(machine: dict[str, Any]) -> None:
    """Every term twice as long: so are both steps, whichever of rivals counts."""
    asked = from_flat(machine)
    kind = keys([traits(asked)])["engine"][0]
    twice = Constants({term: {"engine": {kind: math.log(2)}} for term in TERMS})
    slow, plain = estimate(asked, changed(constants=twice, forests={})), estimate(asked)
    for name in ("decode", "prefill"):
        assert float(value(getattr(slow, name).step.time)) == pytest.approx(2 * float(value(getattr(plain, name).step.time)))


def test_an_engine_without_evidence_is_left_to_the_constants() -> None:
    """Where a forest's word counts for nothing the answer is the physics with its constants; nothing known is far."""
    asked = from_flat({**MACHINES[6], "concurrency": 8})
    silent = replace(correction(), trust={part: np.zeros_like(share) for part, share in correction().trust.items()})
    assert_same_numbers(estimate(asked, silent), estimate(asked, changed(forests={})))
    strange = estimate(asked, changed(known=Known({name: {} for name in TOGETHER}, {})))
    assert strange.support is not None and strange.support.level == "far" and set(strange.support.by.values()) == {"far"}


# ---------------------------------------------------------------- what it says of itself


def test_a_number_leads_through_the_learned_factor_to_what_each_constant_replaced() -> None:
    found = estimate(from_flat({**MACHINES[7], "concurrency": 16}), correction())
    leaves = {leaf.name: leaf for leaf in found.metrics["ttft"].leaves() if leaf.kind == "fitted"}
    for name, what, _ in FACTORS.values():
        leaf = leaves[f"learned factor of the {what}"]
        assert leaf.source is not None and correction().version in str(leaf.source.note) and "scenarios" in str(leaf.source.note)
        assert float(value(leaf)) > 0, name
    efficiency = leaves["weights efficiency"]
    before = next(leaf for leaf in estimate(found.scenario).metrics["ttft"].leaves() if leaf.name == "weights efficiency")
    assert efficiency.source is not None and efficiency.source.default == before.value
    assert f"assumed before: {before.value:.4g}" in str(efficiency.source.note)
    text = explain(found.metrics["ttft"], 30)
    assert "time * learned_factor" in text and "[fitted]" in text


def test_an_answer_names_its_version_and_support() -> None:
    asked = from_flat(MACHINES[0])
    found, without = estimate(asked, correction()), estimate(asked)
    assert found.version == correction().version and found.label == f"corrected by measurements, version {found.version}"
    assert found.support is not None and found.support.level in ("seen", "near", "far")
    assert without.version is None and without.support is None and not without.bands and without.label == "analytic, uncorrected"


@given(scenarios)
@settings(max_examples=20, deadline=None)
def test_shares_are_of_the_whole_however_long_it_takes(asked: Scenario) -> None:
    found = estimate(asked, correction(), strict=False)
    for shares in (found.decode.step.shares(), found.prefill.step.shares(), found.first_token_shares):
        assert not shares or math.isclose(sum(shares.values()), 1.0, rel_tol=1e-6)


def test_first_token_shares_do_not_book_the_learned_factor_as_fixed_costs() -> None:
    asked = from_flat(MACHINES[0])
    slow = estimate(asked, correction())
    time, factor = slow.metrics["ttft"].inputs["time"], slow.metrics["ttft"].inputs["learned_factor"]
    assert isinstance(time, Quantity) and slow.metric("ttft") == pytest.approx(time.value * factor.value)
    fixed = float(value(time.inputs["fixed"]))
    assert slow.first_token_shares["overhead"] * time.value >= fixed * (1 - 1e-9)
    own = float(value(time.inputs["prefill"]))
    whole = own * slow.prefill.step.shares().get("overhead", 0.0) + fixed
    assert slow.first_token_shares["overhead"] * time.value == pytest.approx(whole)


def test_times_and_rates_are_told_apart() -> None:
    assert set(TIMES) < set(BAND_OF) and set(FACTORS) == set(PARTS)


def test_no_end_of_a_range_is_faster_than_the_device_can_read() -> None:
    """Q4_K_M of 8 B is 4.58 GiB a token, less the host's table: 1,008 GB/s read it 219 times a second at most."""
    asked = from_flat({"model": "meta-llama/Llama-3.1-8B-Instruct", "device": "rtx-4090", "runtime": "llama.cpp", "quant": "Q4_K_M"})
    correction = shipped()
    assert correction is not None
    (found,) = answers([asked], correction)
    assert not isinstance(found, str)
    assert found.metrics["decode_rate"] < found.bands["decode_rate"][1] <= 220
