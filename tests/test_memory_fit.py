"""Constants and bands of memory: what a left-out publisher's points may not touch, and how publishers weigh."""

from __future__ import annotations

from dataclasses import replace

import pytest

from core.memory_check import Compared
from core.memory_fit import Ratio, bands_of, constants, held_out, leave_out, publisher, ratios, residuals
from core.memory_points import Point
from core.scenario import from_flat
from core.units import GIB

SCENARIO = from_flat({"model": "Qwen/Qwen3-8B", "device": "RTX 4090", "device_memory_gib": 1000})


def peak(source: str, context: float, measured: float, origin: str = "") -> Compared:
    """A peak of 10 GiB of weights beside a context that we take for `context` GiB."""
    point = Point(source, "peak", "llama.cpp", "cuda", measured * GIB, SCENARIO, origin=origin)
    return Compared(point, (10 + context) * GIB, exact=10 * GIB, context=context * GIB)


ONE_EACH = [peak("one", 1, 12), peak("one", 1, 12), peak("two", 1, 13)]


def test_a_left_out_peak_has_the_constants_of_the_others() -> None:
    left = leave_out(residuals(ONE_EACH))
    assert {(at.group, round(at.constants / GIB, 6)) for at in left} == {("one", 3.0), ("two", 2.0)}
    assert all(at.ours == pytest.approx(10 * GIB + at.constants) for at in left)
    changed = leave_out(residuals([*ONE_EACH[:2], peak("two", 1, 90)]))
    assert [at.constants for at in changed if at.group == "two"] == [at.constants for at in left if at.group == "two"]


def test_errors_of_sources_are_those_of_their_left_out_peaks() -> None:
    found = held_out(residuals(ONE_EACH))
    assert found["one"] == [pytest.approx(1 / 12)] * 2 and found["two"] == [pytest.approx(-1 / 13)]


def test_sources_of_one_origin_are_left_out_together() -> None:
    both = [replace(one, point=replace(one.point, origin="same")) for one in ONE_EACH]
    assert {publisher(one) for one in both} == {"same"}
    found = constants(residuals(both))
    assert all(at.constants not in [amount for amount, _, _ in found.values()] for at in leave_out(residuals(both)))


def test_a_peak_that_is_all_weights_says_nothing_of_the_rest() -> None:
    left = leave_out(residuals([*ONE_EACH, peak("none", 0, 10), peak("none", 0, 10)]))
    assert any(at.ours - at.one.exact <= 0.02 * at.ours for at in left)
    assert len(ratios(left)) == sum(at.ours - at.one.exact > 0.02 * at.ours for at in left)


def test_each_publisher_weighs_the_same_in_a_band() -> None:
    many = [Ratio("a", "one", "one", 1.0)] * 98
    low, high = bands_of([*many, Ratio("b", "two", "two", 3.0), Ratio("b", "two", "two", 3.0)])["any"]
    assert low == 1.0 and high == pytest.approx(3.0)


def test_a_runtime_has_a_band_of_its_own_when_three_publishers_speak_of_it() -> None:
    two = [Ratio("a", name, name, 2.0) for name in ("one", "two") for _ in range(5)]
    assert set(bands_of(two)) == {"any"}
    assert bands_of([*two, Ratio("a", "three", "three", 2.0)])["a"] == (1.0, 2.0)  # 1 stays inside
