"""Memory that was measured: each case with its source, tolerance and reason. More than 10 % off fails whatever a case allows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from core.memory_check import compare
from core.memory_points import Point
from core.scenario import scenario
from core.units import GIB

CASES = json.loads((Path(__file__).parents[1] / "data" / "golden" / "memory.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_measured_memory(case: dict[str, Any]) -> None:
    point = Point(
        source=case["source"],
        kind=case["kind"],
        runtime=case["scenario"].get("runtime", "llama.cpp"),
        backend=case["backend"],
        measured=case["expected_gib"] * GIB,
        scenario=scenario(case["scenario"]),
        cards=case["cards"],
        copies=case.get("copies", 1),
        outside=case.get("outside_gib", 0.0) * GIB,
        file_bits=case.get("file_bits"),
    )
    assert case["reason"] and case["tolerance"] <= 0.10
    assert abs(compare(point).error) <= case["tolerance"], case["reason"]


def test_cases_are_many_and_of_every_kind() -> None:
    assert len(CASES) >= 25
    assert {case["kind"] for case in CASES} >= {"weights", "kv", "state", "compute", "torch_peak", "gpu_peak", "peak", "pool", "taken"}
