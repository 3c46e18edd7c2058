"""Numbers that remember where they come from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from core.quantity import FORMULAS, Quantity, Source, explain, formula, leaf, total, value
from core.units import ByteRate, Bytes, Count, Seconds

DOCUMENT = Source("paper", "A paper", note="table 1")
GUESS = Source("guess", "General knowledge", guess=True, low=1.0, high=4.0)


@pytest.fixture(autouse=True)
def scratch() -> Iterator[None]:
    """Formulas made in a test do not stay among the real ones."""
    before = dict(FORMULAS)
    yield
    FORMULAS.clear()
    FORMULAS.update(before)


def reading() -> Any:
    @formula("paper", eq="eq. 3")
    def reading_time(*, size: Bytes, rate: ByteRate, share: Count = 1.0) -> Seconds:
        """Time to read."""
        return np.maximum(size, 0.0) / (rate * share)

    return reading_time


def test_floats_in_float_out() -> None:
    result = reading()(size=8.0, rate=2.0, share=0.5)
    assert isinstance(result, float)
    assert result == 8.0


def test_arrays_in_array_out() -> None:
    result = reading()(size=np.array([2.0, 4.0]), rate=2.0, share=1.0)
    assert isinstance(result, np.ndarray)
    assert result.tolist() == [1.0, 2.0]


def test_any_quantity_in_quantity_out() -> None:
    size = leaf("size", 8.0, "B", "datasheet", DOCUMENT)
    result = reading()(size=size, rate=2.0, share=1.0, named="time to read the weights")
    assert isinstance(result, Quantity)
    assert (result.name, result.value, result.unit) == ("time to read the weights", 4.0, "s")
    assert result.inputs["size"] is size
    assert result.inputs["rate"] == 2.0
    assert result.kind is None and result.source is None


def test_a_name_is_no_input() -> None:
    assert reading()(size=8.0, rate=2.0, share=1.0, named="ignored for plain numbers") == 4.0


def test_positional_numbers_are_refused() -> None:
    with pytest.raises(TypeError):
        reading()(8.0, 2.0)


@pytest.mark.parametrize("operation", ["a + b", "a - b", "a * b", "a / b", "a * 2", "2 * a", "-a", "a ** 2", "a < b", "sum([a, b])"])
def test_no_arithmetic_outside_formulas(operation: str) -> None:
    a, b = (leaf(name, 1.0, "B", "datasheet", DOCUMENT) for name in "ab")
    with pytest.raises(TypeError):
        eval(operation, {"a": a, "b": b, "sum": sum})


def test_a_quantity_is_no_condition() -> None:
    with pytest.raises(TypeError, match="cited quantity"):
        bool(leaf("a", 1.0, "B", "datasheet", DOCUMENT))


def test_a_quantity_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        leaf("a", 1.0, "B", "datasheet", DOCUMENT).value = 2.0  # type: ignore[misc]


def test_the_text_is_the_source() -> None:
    record = reading().formula
    assert record.text == "maximum(size, 0.0) / (rate * share)"
    assert record.units == {"size": "B", "rate": "B/s", "share": ""}
    assert (record.unit, record.reference, record.equation, record.meaning) == ("s", "paper", "eq. 3", "Time to read.")


def test_two_statements_are_refused() -> None:
    with pytest.raises(TypeError, match="one return"):

        @formula("definition")
        def two(*, a: Count) -> Count:
            b = a + 1
            return b * 2


def test_branches_and_nothing_are_refused() -> None:
    with pytest.raises(TypeError, match="one return"):

        @formula("definition")
        def branch(*, a: Count) -> Count:
            if a > 1:
                return a
            return 1.0

    with pytest.raises(TypeError, match="one return"):

        @formula("definition")
        def nothing(*, a: Count) -> Count:
            """Says nothing."""


def test_totals() -> None:
    parts = [leaf(name, amount, "B", "datasheet", DOCUMENT) for name, amount in (("a", 1.0), ("b", 2.0), ("b", 4.0))]
    whole = total(parts, "all")
    assert isinstance(whole, Quantity)
    assert whole.value == 7.0 and whole.unit == "B"
    assert list(whole.inputs) == ["a", "b", "b (2)"]
    assert total([1.0, 2.0]) == 3.0
    assert isinstance(total([1.0, parts[0]]), Quantity)
    assert total([]) == 0.0


def test_walk_and_leaves() -> None:
    size = leaf("size", 8.0, "B", "datasheet", DOCUMENT)
    share = leaf("share", 0.5, "", "assumption", GUESS)
    time = reading()(size=size, rate=2.0, share=share)
    both = total([time, reading()(size=size, rate=4.0, share=share)], "both")
    assert next(iter(both.walk())) is both
    assert sum(node is size for node in both.walk()) == 1
    assert {leaf.name for leaf in both.leaves()} == {"size", "share"}


def test_explain() -> None:
    size = leaf("size", 2.0**30, "B", "datasheet", DOCUMENT)
    share = leaf("share", 2.0, "", "assumption", GUESS)
    time = reading()(size=size, rate=2.0**30, share=share, named="time")
    text = explain(total([time, time], "twice"))
    assert text.startswith("twice = 1.00 s")
    assert "= maximum(size, 0.0) / (rate * share)    [paper, eq. 3]" in text
    assert "size = 1.00 GiB" in text
    assert "[datasheet] A paper; table 1" in text
    assert "[assumption] General knowledge — a guess, plausible 1.00 to 4.00" in text
    assert text.count("(explained above)") == 1
    assert "deeper parts" in explain(total([time], "shallow"), depth=0)


def test_values_and_texts() -> None:
    size = leaf("size", 2048.0, "B", "datasheet", DOCUMENT)
    assert value(size) == 2048.0 and value(3) == 3
    assert float(size) == 2048.0
    assert str(size) == "size = 2.00 KiB"
