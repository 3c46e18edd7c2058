"""A power limit slows arithmetic more than reading, and caps the draw."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import ScenarioError
from core.estimate import estimate
from core.formulas.power import limited_clock
from core.run_notes import read_hints
from core.scenario import Scenario, from_flat


def asked(**knobs: object) -> Scenario:
    return from_flat({"model": "Qwen/Qwen3-8B", "quant": "Q4_K_M", "device": "RTX 3090", "prompt_tokens": 2048, **knobs})


@settings(max_examples=10)
@given(low=st.floats(100, 340), more=st.floats(5, 100))
def test_more_power_is_never_slower(low: float, more: float) -> None:
    tight, loose = (estimate(asked(device_power_w=watts)) for watts in (low, low + more))
    for name in ("decode_rate", "prefill_rate"):
        assert tight.metric(name) <= loose.metric(name) * (1 + 1e-9)
    assert tight.metric("power") <= loose.metric("power") * (1 + 1e-9) <= (low + more) * 1.001


def test_a_limit_at_or_above_the_rating_changes_no_speed() -> None:
    free, limited = estimate(asked()), estimate(asked(device_power_w=400))
    assert [limited.metric(name) for name in ("ttft", "tpot")] == pytest.approx([free.metric(name) for name in ("ttft", "tpot")])


def test_reading_a_prompt_suffers_more_than_writing() -> None:
    """At 220 of 350 W arithmetic keeps (220/350 - 0.15) / 0.85 = 56 % of its clock; memory keeps its own."""
    free, limited = estimate(asked()), estimate(asked(device_power_w=220))
    prefill, decode = (limited.metric(name) / free.metric(name) for name in ("prefill_rate", "decode_rate"))
    assert 0.5 < prefill < decode < 1
    assert limited_clock(limit=220.0, rated=350.0, idle=0.15) == pytest.approx(0.563, abs=0.001)


def test_a_device_of_unknown_power_says_so() -> None:
    with pytest.raises(ScenarioError, match=r"rated power is not known: add `tdp_w`"):
        estimate(asked(device="google-tensor-cpu", device_power_w=10, quant="Q4_0"))


def test_a_run_s_notes_name_its_limit() -> None:
    assert read_hints("power-limited 220W/GPU", "").knobs["device_power_w"] == 220
