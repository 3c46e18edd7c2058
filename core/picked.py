"""Numbers that are one scenario's, cited, or arrays of many: chosen between, searched for, constant."""

from __future__ import annotations

from typing import Any

import numpy as np

from core.catalog.files import source
from core.quantity import Quantity, leaf, value


def pick(flag: Any, yes: Any, no: Any) -> Any:
    """One of two numbers by a 0/1 flag: the number itself for one scenario, element by element for many."""
    if isinstance(flag, np.ndarray):
        return np.where(flag > 0, value(yes), value(no))
    return yes if flag else no


def solved(name: str, amount: Any, unit: str, note: str, like: Any, *inputs: Any) -> Any:
    """A number that was searched for: a `solved` leaf where `like` is cited, else the plain number.

    `inputs` are the cited numbers that it depends on, so that what the user said is found below it.
    """
    if isinstance(like, Quantity):
        known = {x.name: x for x in inputs if isinstance(x, Quantity)}
        return Quantity(name, float(amount), unit, kind="solved", source=source("solved", note=note), inputs=known)
    return amount


def like(amount: float, model: Any, name: str, cites: str = "nameplate") -> Any:
    """A constant: a leaf with the unit of `model` that cites source `cites` where `model` is cited, else the plain number."""
    return leaf(name, amount, model.unit, "constant", source(cites)) if isinstance(model, Quantity) else amount


def plain(x: Any) -> Any:
    """A number as `float`; an array stays one."""
    return x if np.ndim(x) else float(x)
