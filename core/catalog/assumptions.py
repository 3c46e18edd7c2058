"""What we assume where nobody measured: a value with its plausible range, chosen by the conditions that hold."""

from __future__ import annotations

import functools
from typing import Any

from pydantic import Field

from core.catalog.files import CATALOG, CatalogRecord, read, record, source
from core.errors import CatalogError
from core.quantity import Quantity, leaf
from core.units import GB

# Unit of a file -> unit inside the core and factor to it.
_SCALE = {"µs": ("s", 1e-6), "": ("", 1.0), "tok": ("tok", 1.0), "GB/s": ("B/s", GB)}


class Row(CatalogRecord):
    """One assumed value and where it holds. A list in `when` means any of its entries."""

    value: float
    low: float
    high: float
    source: str
    when: dict[str, str | bool | list[str]] = Field(default_factory=dict)
    note: str | None = None

    @property
    def weight(self) -> int:
        """How particular the row is. What is said of a runtime outweighs what is said of a kind of device."""
        return len(self.when) + 2 * ("runtime" in self.when)

    def holds(self, facts: dict[str, Any]) -> bool:
        return all(facts.get(key) in wanted if isinstance(wanted, list) else facts.get(key) == wanted for key, wanted in self.when.items())


class Assumption(CatalogRecord):
    """One assumed quantity with its rows, the most general first."""

    meaning: str
    unit: str
    rows: list[Row]


@functools.cache
def assumptions() -> dict[str, Assumption]:
    """Every assumption by name."""
    found: dict[str, Assumption] = {}
    for path in sorted((CATALOG / "assumptions").glob("*.toml")):
        for name, raw in read(path).items():
            found[name] = record(Assumption, raw, f"{path.name}, assumption '{name}'")
    return found


@functools.lru_cache(maxsize=65536)
def _choose(name: str, facts: tuple[tuple[str, Any], ...]) -> Quantity:
    entry = assumptions().get(name)
    if entry is None:
        raise CatalogError(f"No assumption '{name}' in data/catalog/assumptions; add it there.")
    known = dict(facts)
    best: Row | None = None
    for row in entry.rows:
        if row.holds(known) and (best is None or row.weight >= best.weight):
            best = row
    if best is None:
        raise CatalogError(f"No row of assumption '{name}' holds for {known}; add a row without conditions.")
    unit, scale = _SCALE[entry.unit]
    cited = source(best.source, low=best.low * scale, high=best.high * scale, note=best.note or entry.meaning)
    return leaf(name.replace("_", " "), best.value * scale, unit, "assumption", cited)


def assume(name: str, **facts: Any) -> Quantity:
    """The assumed value for these conditions, as a cited leaf in base units. Raises CatalogError for an unknown name."""
    return _choose(name, tuple(sorted(facts.items())))


@functools.cache
def runtimes_named() -> frozenset[str]:
    """Runtimes about which some row says something."""
    named: set[str] = set()
    for entry in assumptions().values():
        for row in entry.rows:
            wanted = row.when.get("runtime", [])
            named.update(wanted if isinstance(wanted, list) else [str(wanted)])
    return frozenset(named)
