"""A step as a table: its lines add up to the step's time, in every layout, with a correction and without."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from core.answer import Estimate, Phase
from core.estimate import estimate
from core.formulas.correction import corrected_time
from core.quantity import Quantity, value
from core.scenario import from_flat
from core.step_sheet import steps_sheet
from core.step_table import PHASES, step_table

CASES: dict[str, Mapping[str, Any]] = {
    "one card": {"model": "Qwen3-8B", "device": "RTX 4090", "quant": "Q4_K_M"},
    "tensor parallel": {"model": "DeepSeek-V3", "device": "H200 SXM", "count": 8, "runtime": "vllm", "quant": "FP8", "concurrency": 16},
    "expert parallel": {"model": "gpt-oss-120b", "device": "H100 SXM5 80GB", "count": 4, "tp": 4, "ep": 4, "runtime": "vllm"},
    "two stages": {"model": "llama 3.3 70b", "device": "RTX 3090", "count": 2, "quant": "Q4_K_M"},
    "offloaded": {"model": "gpt-oss-120b", "device": "RTX 4090", "ram_gb": 128},
    "windows": {"model": "gemma-3-27b-it", "device": "RTX 4090", "quant": "Q4_K_M", "context_depth": 8192},
}


@pytest.fixture(scope="module", params=CASES)
def found(request: pytest.FixtureRequest) -> Estimate:
    return estimate(from_flat(dict(CASES[request.param])))


def slower(found: Estimate, factor: float) -> Estimate:
    """The same with a factor on both steps, as a correction puts it."""

    def longer(phase: Phase) -> Phase:
        return replace(phase, step=replace(phase.step, time=corrected_time(time=phase.step.time, learned_factor=factor, named="step")))

    return replace(found, prefill=longer(found.prefill), decode=longer(found.decode))


@pytest.mark.parametrize("factor", [1.0, 1.3, 0.8])
def test_lines_add_up_to_the_step(found: Estimate, factor: float) -> None:
    told = slower(found, factor)
    for phase in PHASES:
        table, step = step_table(told, phase), getattr(told, phase).step
        lines = [line for section in table.sections for line in section.lines]
        learned = table.learned.seconds if table.learned else 0.0
        assert math.fsum(line.seconds for line in lines) + learned == pytest.approx(float(value(step.time)), rel=1e-9)
        assert (table.learned is None) == (factor == 1.0)
        assert sum(section.sum.seconds for section in table.sections) + learned == pytest.approx(table.whole.seconds, rel=1e-9)
        for name in ("flop", "bytes", "sent"):
            amounts = [float(value(getattr(line, name))) for line in lines]
            assert math.fsum(amounts) == pytest.approx(float(value(getattr(table.whole, name))), rel=1e-9)
        assert math.fsum(line.share for line in lines) + (table.learned.share if table.learned else 0) == pytest.approx(100)
        assert len(lines) == len(step.ops)
        assert sum(section.layers for section in table.sections) == told.ir.layers


def test_every_number_that_is_shown_explains_itself(found: Estimate) -> None:
    for phase in PHASES:
        table = step_table(found, phase)
        for line in [line for section in table.sections for line in (*section.lines, section.sum)] + [table.whole]:
            for name, amount in line.numbers.items():
                assert isinstance(amount, Quantity) or not float(value(amount)), (line.name, name)


def test_one_layer_times_the_layers_is_all_of_a_kind(found: Estimate) -> None:
    for phase in PHASES:
        one, whole = step_table(found, phase, one_layer=True), step_table(found, phase)
        assert one.whole.seconds == whole.whole.seconds and float(value(one.whole.flop)) == float(value(whole.whole.flop))
        for section, together in zip(one.sections, whole.sections, strict=True):
            for line, all_of in zip((*section.lines, section.sum), (*together.lines, together.sum), strict=True):
                for name, amount in line.numbers.items():
                    assert float(value(amount)) * max(section.layers, 1) == pytest.approx(float(value(all_of.numbers[name])))
                    assert isinstance(amount, Quantity) or not float(value(amount)), "still explains itself"
                assert line.bound == all_of.bound


def test_a_mixtures_feed_forward_part_is_named_by_what_it_is() -> None:
    told = {model: {line.name for section in step_table(estimate(from_flat({"model": model, "device": "H200 SXM", "count": 8,
            "runtime": "vllm"})), "decode").sections for line in section.lines} for model in ("gpt-oss-120b", "DeepSeek-V3")}  # fmt: skip
    assert "router" in told["gpt-oss-120b"] and "feed-forward" not in told["gpt-oss-120b"]
    assert {"feed-forward", "shared experts and router"} <= told["DeepSeek-V3"], "its first layers are no mixtures"


def test_unknown_times_stay_unknown() -> None:
    """A device without a published peak has no time for a long prompt."""
    told = estimate(from_flat({"model": "Qwen3-8B", "device": "RTX 4090", "quant": "Q4_K_M"}))
    unknown = replace(told, prefill=replace(told.prefill, step=replace(told.prefill.step, ops=tuple(
        replace(op, time=math.nan) for op in told.prefill.step.ops), time=math.nan)))  # fmt: skip
    table = step_table(unknown, "prefill")
    assert math.isnan(table.whole.seconds) and table.learned is None
    assert steps_sheet(unknown)
