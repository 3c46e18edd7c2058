"""Numbers as people read them."""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.units import GB, GIB, HOUR, KWH, show, significant


@pytest.mark.parametrize(
    ("amount", "unit", "text"),
    [
        (0, "B", "0 B"),
        (1023, "B", "1,023 B"),
        (1024, "B", "1.00 KiB"),
        (24 * GIB, "B", "24.0 GiB"),
        (-2.5 * GIB, "B", "-2.50 GiB"),
        (1008 * GB, "B/s", "1.01 TB/s"),
        (165.2e12, "FLOP/s", "165 TFLOP/s"),
        (291.38e12, "FLOP", "291 TFLOP"),
        (0.00734, "s", "7.34 ms"),
        (8.2e-6, "s", "8.20 µs"),
        (1.5, "s", "1.50 s"),
        (0, "s", "0 s"),
        (2.5, "USD", "$2.50"),
        (2 / HOUR, "USD/s", "$2.00/h"),
        (0.15 / KWH, "USD/J", "$0.150/kWh"),
        (136.3, "tok/s", "136 tok/s"),
        (12345, "tok", "12,345 tok"),
        (0.5, "", "0.500"),
        (math.nan, "B", "unknown"),
        (math.inf, "s", "∞ s"),
        (-math.inf, "tok/s", "-∞ tok/s"),
    ],
)
def test_shown(amount: float, unit: str, text: str) -> None:
    assert show(amount, unit) == text


@given(st.floats(1e-6, 1e14))
def test_three_digits_are_kept(amount: float) -> None:
    shown = float(significant(amount).replace(",", ""))
    assert shown == pytest.approx(amount, rel=0.006)
    assert "e" not in significant(amount)


@given(st.floats(allow_nan=False, allow_infinity=False), st.sampled_from(["B", "B/s", "FLOP", "s", "tok/s", "USD", ""]))
def test_everything_has_a_text(amount: float, unit: str) -> None:
    assert re.fullmatch(r"\$?-?[\d.,e+-]+( ?[^\d\s]+)?", show(amount, unit))


@given(st.floats(1.0, 1e15))
def test_larger_is_never_shown_smaller(amount: float) -> None:
    def read(text: str) -> float:
        number, unit = text.split(" ")
        return float(number.replace(",", "")) * 1024.0 ** ("B", "KiB", "MiB", "GiB", "TiB").index(unit)

    assert read(show(amount, "B")) <= read(show(amount * 1.1, "B"))
