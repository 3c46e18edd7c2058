"""Rows for tables and charts: they add up, and say nothing that the estimate does not."""

from __future__ import annotations

import itertools
import math

import pytest

from core import tables
from core.answer import Estimate
from core.estimate import estimate
from core.quantity import Quantity, value
from core.scenario import from_flat
from core.units import GIB

CASES = (
    {"model": "Llama-3.1-8B-Instruct", "device": "RTX 4090"},
    {"model": "Llama-3.3-70B-Instruct", "device": "RTX 3090", "ram_gb": 64},
    {"model": "Qwen3-8B", "device": "H100 SXM", "runtime": "vllm", "concurrency": 64},
    {"model": "Llama-3.3-70B-Instruct", "device": "RTX 4090", "runtime": "vllm", "quant": "FP8"},
)


@pytest.fixture(params=CASES, ids=lambda case: f"{case['model']} on {case['device']}")
def found(request: pytest.FixtureRequest) -> Estimate:
    return estimate(from_flat(request.param))


def test_memory_bar_is_gapless_and_ends_at_what_is_taken(found: Estimate) -> None:
    rows = tables.memory_rows(found.device)
    for before, after in itertools.pairwise(rows):
        assert after["start"] == pytest.approx(before["end"])
    parts = sum(float(value(part.amount)) for part in found.device.parts) / GIB
    taken = float(value(found.device.taken)) / GIB
    assert rows[-1]["end"] == pytest.approx(max(parts, taken), rel=0.01)
    assert tables.memory_scale(found.device) > max(rows[-1]["end"], tables.memory_limit(found.device))


def test_shares_fill_the_bar(found: Estimate) -> None:
    rows = tables.share_rows(found)
    for phase in {row["phase"] for row in rows}:
        assert sum(row["share"] for row in rows if row["phase"] == phase) == pytest.approx(100, abs=0.5)
    assert {row["what"] for row in rows} <= set(tables.bound_names())


def test_roofline_points_stay_below_their_roof(found: Estimate) -> None:
    drawn = tables.roofline(found)
    assert drawn["phases"]
    for phase in drawn["phases"]:
        assert 0 < phase["tflops"] <= 1.001 * phase["roof"]


def test_summary_and_limits_are_cited(found: Estimate) -> None:
    for row in (*tables.memory_summary(found.device), *tables.limit_rows(found)):
        assert isinstance(row["number"], Quantity), row["name"]


def test_assumptions_have_a_source(found: Estimate) -> None:
    rows = tables.assumption_rows(found)
    assert rows
    assert all(row["Source"] and row["Value"] and row["Kind"] for row in rows)


def test_operations_sum_to_the_step(found: Estimate) -> None:
    shares = [row["Share (%)"] for row in tables.op_rows(found.decode, found.ir)]
    assert math.fsum(shares) == pytest.approx(100, abs=0.5)
