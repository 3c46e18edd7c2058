"""Dimensions of every formula: each body runs once on pint quantities of its units and give the unit it declares."""

from __future__ import annotations

import importlib
import pkgutil
import types
from collections.abc import Iterator
from typing import Any

import numpy as np
import pint
import pytest

import core.formulas
from core.quantity import FORMULAS, Formula, formula
from core.units import Bytes, Count, Seconds, TokenRate, Tokens

for _module in pkgutil.iter_modules(core.formulas.__path__):
    importlib.import_module(f"core.formulas.{_module.name}")

# Tokens, FLOP and counts are numbers of things; money is a dimension of its own.
REGISTRY = pint.UnitRegistry()
REGISTRY.define("USD = [currency]")
REGISTRY.define("tok = []")
REGISTRY.define("FLOP = []")
_KNOWN = "tok,FLOP,FLOP/s,B,bit,B/s,s,tok/s,1/s,FLOP/B,W,J,USD,USD/s,USD/J,"
UNITS = {unit: REGISTRY.parse_units(unit.replace("B", "byte")) for unit in _KNOWN.split(",")}
SAME = [("1/s", "tok/s"), ("", "tok"), ("", "FLOP")]


class _Numpy:
    """numpy for a formula's body. A bare number beside a quantity is a floor or a ceiling in that quantity's unit."""

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)

    @staticmethod
    def _alike(*items: Any) -> list[Any]:
        unit = next((x.units for x in items if isinstance(x, pint.Quantity)), None)
        return [x if unit is None or isinstance(x, pint.Quantity) else REGISTRY.Quantity(x, unit) for x in items]

    def maximum(self, *items: Any) -> Any:
        return np.maximum(*self._alike(*items))

    def minimum(self, *items: Any) -> Any:
        return np.minimum(*self._alike(*items))

    def where(self, condition: Any, *items: Any) -> Any:
        chosen = self._alike(*items)
        if isinstance(chosen[0], pint.Quantity):
            chosen[1].to(chosen[0].units)  # raises where the branches differ
        return np.where(condition, *chosen)

    def asarray(self, item: Any) -> Any:
        return item


def run(record: Formula) -> Any:
    """The formula's body on quantities of its own units. Raises what pint raises for apples and pears."""
    body = record.body
    names = {**body.__globals__, "np": _Numpy()}
    copied = types.FunctionType(body.__code__, names, body.__name__, body.__defaults__, body.__closure__)
    copied.__kwdefaults__ = body.__kwdefaults__
    return copied(**{name: REGISTRY.Quantity(2.0, UNITS[unit]) for name, unit in record.units.items()})


def wrong(record: Formula) -> str:
    """What is wrong with a formula's dimensions; empty when nothing is."""
    try:
        result = run(record)
    except pint.DimensionalityError as error:
        return str(error)
    found = result.dimensionality if isinstance(result, pint.Quantity) else REGISTRY.Quantity(1.0).dimensionality
    declared = REGISTRY.Quantity(1.0, UNITS[record.unit]).dimensionality
    return "" if found == declared else f"gives {found}, declares {declared} ({record.unit})"


@pytest.fixture
def scratch() -> Iterator[None]:
    """Formulas made in a test do not stay among the real ones."""
    before = dict(FORMULAS)
    yield
    FORMULAS.clear()
    FORMULAS.update(before)


REAL = {key: record for key, record in FORMULAS.items() if record.body.__module__.startswith("core.")}


def test_every_module_has_formulas() -> None:
    modules = {record.body.__module__.rsplit(".", 1)[-1] for record in REAL.values()}
    assert modules == {module.name for module in pkgutil.iter_modules(core.formulas.__path__)}
    assert len(REAL) > 50


@pytest.mark.parametrize("name", sorted(REAL))
def test_units_are_known(name: str) -> None:
    assert set(REAL[name].units.values()) | {REAL[name].unit} <= set(UNITS)


@pytest.mark.parametrize("name", sorted(REAL))
def test_dimensions(name: str) -> None:
    assert wrong(REAL[name]) == ""


@pytest.mark.parametrize("pair", SAME)
def test_counts_are_one_dimension(pair: tuple[str, str]) -> None:
    assert UNITS[pair[0]].dimensionality == UNITS[pair[1]].dimensionality


def test_a_time_plus_tokens_times_a_rate_is_caught(scratch: None) -> None:
    @formula("definition")
    def latency(*, first: Seconds, tokens: Tokens, rate: TokenRate) -> Seconds:
        return first + tokens * rate  # another tool's documentation says so: tok²/s is no time

    assert "Cannot convert" in wrong(latency.formula)  # type: ignore[attr-defined]


def test_a_wrong_declared_unit_is_caught(scratch: None) -> None:
    @formula("definition")
    def bytes_read(*, tokens: Tokens, size: Bytes) -> Seconds:
        return tokens * size

    assert "declares" in wrong(bytes_read.formula)  # type: ignore[attr-defined]


def test_branches_of_different_units_are_caught(scratch: None) -> None:
    @formula("definition")
    def either(*, flag: Count, size: Bytes, time: Seconds) -> Bytes:
        return np.where(flag > 0, size, time)

    assert wrong(either.formula) != ""  # type: ignore[attr-defined]


def test_a_maximum_of_different_units_is_caught(scratch: None) -> None:
    @formula("definition")
    def larger(*, size: Bytes, time: Seconds) -> Bytes:
        return np.maximum(size, time)

    assert wrong(larger.formula) != ""  # type: ignore[attr-defined]
