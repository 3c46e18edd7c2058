"""Where the catalog's files stand, how they are read, and the table of sources."""

from __future__ import annotations

import difflib
import functools
import hashlib
import json
import os
import re
import tomllib
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import platformdirs
from pydantic import BaseModel, ConfigDict, ValidationError

from core.errors import CatalogError
from core.quantity import Source

DATA = Path(__file__).resolve().parents[2] / "data"
CATALOG = DATA / "catalog"


def home() -> Path:
    """The folder of everything that is a user's own: ROOFCAST_HOME, else the platform's place for data."""
    set_by_hand = os.environ.get("ROOFCAST_HOME")
    return Path(set_by_hand) if set_by_hand else _platform_home(os.environ.get("HOME"), os.environ.get("XDG_DATA_HOME"))


@functools.lru_cache(maxsize=4)
def _platform_home(*decided_by: str | None) -> Path:
    """Asked at every look-up of a device, and slow to find."""
    return Path(platformdirs.user_data_dir("roofcast", appauthor=False))


Record = TypeVar("Record", bound=BaseModel)


class CatalogRecord(BaseModel):
    """Base of every catalog record: unknown fields are refused, so a typing error cannot hide."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class SourceRecord(CatalogRecord):
    """One entry of data/catalog/sources/*.toml."""

    title: str
    url: str | None = None
    licence: str | None = None
    note: str | None = None
    guess: bool = False  # "general knowledge", not a document


def read(path: Path) -> Any:
    """The content of a TOML or JSON file. Raises CatalogError when it is missing or cannot be parsed."""
    try:
        text = path.read_text(encoding="utf-8")
        return tomllib.loads(text) if path.suffix == ".toml" else json.loads(text)
    except FileNotFoundError as error:
        raise CatalogError(f"The catalog file {path.name} is missing; restore it from the repository.") from error
    except ValueError as error:
        raise CatalogError(f"The catalog file {path.name} cannot be read: {error}. Correct it and try again.") from error


def record(kind: type[Record], raw: Any, where: str) -> Record:
    """`raw` as a validated record. Raises CatalogError naming the place, the field and what was expected."""
    try:
        return kind.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        spot = ".".join(str(part) for part in first["loc"]) or "the record"
        if first["type"] == "missing":
            raise CatalogError(f"{where}: the field '{spot}' is missing; add it.") from error
        if first["type"] == "extra_forbidden":
            near = difflib.get_close_matches(str(first["loc"][-1]), list(kind.model_fields), 1)
            hint = f"did you mean '{near[0]}'?" if near and len(first["loc"]) == 1 else "take it out, or correct its name."
            raise CatalogError(f"{where}: there is no field '{spot}'; {hint}") from error
        raise CatalogError(
            f"{where}: field '{spot}' is wrong ({first['msg']}; it is {first['input']!r:.60}). Correct it in data/catalog."
        ) from error


class Edition(NamedTuple):
    """Which catalog this is: the hash of all its files, and the newest date that stands in them."""

    name: str
    newest: str


@functools.cache
def edition() -> Edition:
    """The edition of the shipped catalog. Raises CatalogError where a file cannot be read."""
    told, newest = hashlib.sha256(), ""
    try:
        for path in sorted(path for path in CATALOG.rglob("*") if path.is_file()):
            raw = path.read_bytes()
            told.update(path.relative_to(CATALOG).as_posix().encode() + b"\0" + raw)
            newest = max([newest, *(found.decode() for found in re.findall(rb"(?<!\d)20\d\d-[01]\d-[0-3]\d(?!\d)", raw))])
    except OSError as error:
        raise CatalogError(f"The catalog cannot be read ({error}); restore it from the repository.") from error
    return Edition(told.hexdigest()[:12], newest)


@functools.cache
def sources() -> dict[str, SourceRecord]:
    """Every source that the catalog cites, by key."""
    found: dict[str, SourceRecord] = {}
    for path in sorted((CATALOG / "sources").glob("*.toml")):
        for key, raw in read(path).items():
            if key in found:
                raise CatalogError(f"The source key '{key}' stands in two files under data/catalog/sources; rename one.")
            found[key] = record(SourceRecord, raw, f"{path.name}, source '{key}'")
    return found


@functools.lru_cache(maxsize=65536)
def source(key: str, **changes: Any) -> Source:
    """The source of a fact, with `changes` (note, low, high, guess …) for this fact. Raises CatalogError for an unknown key."""
    try:
        entry = sources()[key]
    except KeyError:
        raise CatalogError(f"No source '{key}' in data/catalog/sources; add it there before citing it.") from None
    return Source(**{"key": key, **entry.model_dump(), **changes})
