"""Columns of what candidates are made of, laid out once: a row for each kind of machine with a runtime, a kind of weights and a cache.

Building columns from the catalog takes about half a millisecond, a thousand times as long as estimating one candidate of an array
pass. What they say of the machine hangs neither on the model nor on the layout, so rows are kept for the life of the process;
model, weights, layout and load are put in by `core.candidates`.
"""

from __future__ import annotations

import threading
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from core.columns import columns, plain
from core.errors import RoofcastError
from core.features import Traits, traits_of
from core.machine import Bus, Columns
from core.scenario import Scenario
from core.setting import settle

# Columns that a model decides, its weights, and money: rows hold none of them.
OF_MODEL = ("layers", "hidden", "vocab", "heads", "expanded", "absorbed", "inner")
_ELSEWHERE = {*OF_MODEL, "weights", "elements", "price", "rental", "life", "use"}

_Path = tuple[Any, ...]


def _leaves(x: Any, path: _Path = ()) -> Iterator[tuple[_Path, Any]]:
    """Every number below plain columns with its place; `None` and text are numbers to nobody and are passed over."""
    if isinstance(x, Columns):
        for name, item in vars(x).items():
            if path or name not in _ELSEWHERE:
                yield from _leaves(item, (*path, name))
    elif isinstance(x, dict):
        for key, item in x.items():
            yield from _leaves(item, (*path, key))
    elif isinstance(x, Bus):
        for name in Bus.__slots__:
            yield from _leaves(getattr(x, name), (*path, name))
    elif isinstance(x, (int, float)):
        yield path, float(x)


@dataclass(slots=True)
class _Shape:
    """Rows whose columns have the same places: those with a host beside the device, and those without."""

    paths: tuple[_Path, ...]
    like: Columns  # where text and None come from
    rows: list[list[float]] = field(default_factory=list)
    packed: _Packed | None = None

    def pack(self) -> _Packed:
        if self.packed is None or self.packed.size < len(self.rows):
            self.packed = _Packed.of(np.array(self.rows))
        return self.packed


@dataclass(frozen=True, slots=True)
class _Packed:
    """Rows as columns: most hold one number throughout, and many of the others are alike."""

    size: int
    fixed: np.ndarray  # the first row: what the columns that never change hold
    column: np.ndarray  # place in `matrix` of each path's column, -1 where it never changes
    matrix: np.ndarray  # shape (distinct columns, rows)

    @classmethod
    def of(cls, rows: np.ndarray) -> _Packed:
        same = np.all((rows == rows[0]) | (np.isnan(rows) & np.isnan(rows[0])), axis=0)
        distinct, where = np.unique(rows.T[~same], axis=0, return_inverse=True)
        column = np.full(rows.shape[1], -1)
        column[~same] = where.reshape(-1)
        return cls(len(rows), rows[0], column, np.ascontiguousarray(distinct))


@dataclass(frozen=True, slots=True)
class Row:
    """Where a kind's columns stand, and what kind of thing it is."""

    shape: int
    place: int
    kind: Traits


class OptionTable:
    """Rows by what decides them. Threads may share a table."""

    def __init__(self) -> None:
        self._rows: dict[Hashable, Row | str] = {}
        self._shapes: list[_Shape] = []
        self._lock = threading.Lock()

    def row(self, key: Hashable, scenario: Scenario) -> Row | str:
        """The row of `key`, made from `scenario` where it is new; a sentence where that cannot be."""
        found = self._rows.get(key)
        if found is None:
            try:
                setting = settle(scenario)
                made: Columns | str = plain(columns(setting))
                kind = traits_of(setting)
            except RoofcastError as error:
                made = str(error)
            with self._lock:
                found = self._rows[key] = made if isinstance(made, str) else self._add(made, kind)
        return found

    def _add(self, c: Columns, kind: Traits) -> Row:
        leaves = list(_leaves(c))
        paths = tuple(path for path, _ in leaves)
        number = next((n for n, shape in enumerate(self._shapes) if shape.paths == paths), len(self._shapes))
        if number == len(self._shapes):
            self._shapes.append(_Shape(paths, c))
        rows = self._shapes[number].rows
        rows.append([amount for _, amount in leaves])
        return Row(number, len(rows) - 1, kind)

    def columns(self, shape: int, places: np.ndarray) -> Columns:
        """Columns of these rows of one shape: arrays along `places`, numbers where all are alike. A new object at every call, but
        for its arrays, which several columns may share: nobody writes into them."""
        held = self._shapes[shape]
        with self._lock:
            packed = held.pack()
        some: list[Any] = []
        for found in packed.matrix[:, places]:
            alike = (found == found[0]).all() or np.isnan(found).all()
            some.append(float(found[0]) if alike else found)
        numbers = {path: float(fixed) if n < 0 else some[n] for path, n, fixed in zip(held.paths, packed.column, packed.fixed, strict=True)}
        return _filled(held.like, numbers, ())


def _filled(x: Any, numbers: dict[_Path, Any], path: _Path) -> Any:
    if isinstance(x, Columns):
        return Columns(**{n: _filled(item, numbers, (*path, n)) for n, item in vars(x).items() if path or n not in _ELSEWHERE})
    if isinstance(x, dict):
        return {key: _filled(item, numbers, (*path, key)) for key, item in x.items()}
    if isinstance(x, Bus):
        return Bus(*(_filled(getattr(x, n), numbers, (*path, n)) for n in Bus.__slots__))
    return numbers[path] if isinstance(x, (int, float)) else x


TABLE = OptionTable()
