"""Builds of one runtime that run differently (drivers, libraries, forks), as a version's text names them."""

from __future__ import annotations

import functools

from core.catalog.files import CATALOG, CatalogRecord, read, record

_FILE = CATALOG / "flavours.toml"


class Flavour(CatalogRecord):
    """One build. `engine`: what it is a build of; `words`: any of these in the version, in lower case, names it."""

    name: str
    engine: str
    words: list[str]
    what: str


def flavour(engines: tuple[str, ...], version: str | None) -> str:
    """The builds of these engines that `version` names, joined by "+"; empty where it names none."""
    text = (version or "").lower()
    return "+".join(one.name for one in flavours() if one.engine in engines and any(word in text for word in one.words))


@functools.cache
def flavours() -> tuple[Flavour, ...]:
    """All builds, in the file's order. Raises CatalogError for a wrong file."""
    return tuple(record(Flavour, raw, f"{_FILE.name}, entry {n}") for n, raw in enumerate(read(_FILE).get("flavour", []), 1))
