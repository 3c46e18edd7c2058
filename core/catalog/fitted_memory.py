"""What was fitted to measured memory: constants by runtime and back end, and the spread of the estimated parts.

data/fitted/memory.toml is written by `python -m core.memory_fit`; each row names how many points of which sources made it.
"""

from __future__ import annotations

import functools
from typing import Any

from pydantic import Field

from core.catalog.files import DATA, CatalogRecord, read, record
from core.quantity import Quantity, Source, leaf

FITTED = DATA / "fitted" / "memory.toml"


class Constant(CatalogRecord):
    """One fitted constant, in base units, for a runtime (and one back end of it)."""

    name: str
    runtime: str
    backend: str | None = None
    unit: str = "B"
    value: float
    low: float  # p10 and p90 of what single points say
    high: float
    points: int = Field(ge=1)
    sources: list[str] = Field(min_length=1)
    how: str


class Band(CatalogRecord):
    """p10 and p90 of measured over estimated, of the parts that are estimated (buffers, contexts, activations)."""

    runtime: str
    low: float = Field(gt=0)
    high: float = Field(gt=0)
    points: int = Field(ge=1)
    sources: list[str]


class Fitted(CatalogRecord):
    """The file."""

    constants: list[Constant] = Field(default_factory=list)
    bands: list[Band] = Field(default_factory=list)


@functools.cache
def fitted() -> Fitted:
    """Everything that was fitted to memory; nothing where the file is not there. Raises CatalogError for a wrong file."""
    raw: Any = read(FITTED) if FITTED.exists() else {}
    return record(Fitted, raw, FITTED.name)


@functools.lru_cache(maxsize=4096)
def fitted_constant(name: str, runtimes: tuple[str, ...], backend: str) -> Quantity | None:
    """The constant for the first of these runtimes (itself, then what it is treated as) that has one; None where none has."""
    for runtime in runtimes:
        rows = [row for row in fitted().constants if row.name == name and row.runtime == runtime and row.backend in (None, backend)]
        if rows:
            row = max(rows, key=lambda r: r.backend is not None)
            note = f"{row.how}; {row.points} points of {', '.join(row.sources)}"
            where = Source("fitted-memory", f"Fitted to measured memory of {row.runtime}", note=note, low=row.low, high=row.high)
            return leaf(f"{name.replace('_', ' ')} of {row.runtime}", row.value, row.unit, "fitted", where)
    return None


def memory_band(runtime: str, backend: str = "") -> tuple[float, float]:
    """Multipliers (p10, p90) on the estimated parts of this runtime's memory; weights and cache are exact and take none.

    A runtime without points takes that of all points together. `backend` is accepted for callers that know it; the points do
    not suffice to tell back ends apart.
    """
    bands = {band.runtime: band for band in fitted().bands}
    found = bands.get(runtime) or bands.get("any")
    return (found.low, found.high) if found else (0.5, 2.0)
