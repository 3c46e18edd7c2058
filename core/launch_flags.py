"""The flags of each runtime, from data/catalog/launch: one table that the writer and the parser of commands both read."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from core.catalog.files import CATALOG, CatalogRecord, read, record, source
from core.catalog.runtimes import version_number
from core.errors import CatalogError, ScenarioError

Kind = Literal["whole", "number", "text", "switch", "words"]
HARMLESS = "it changes neither memory nor speed as estimated"


class Flag(CatalogRecord):
    """One setting of a runtime: a flag, an environment variable (upper case) or a key of its file (no dash)."""

    names: tuple[str, ...] = Field(min_length=1)  # the first is written
    knob: str | None = None  # what it sets, in the runtime's own words (core.launch_words translates them)
    kind: Kind = "whole"
    sets: bool = True  # what a switch means
    values: dict[str, Any] = Field(default_factory=dict)  # spelling → meaning; the first of several spellings is written
    other: Any = None  # what any further spelling means
    unset: tuple[str, ...] = ()  # values that mean the default
    heard: tuple[str, ...] = ()  # spellings that are understood and never written
    alone: str | None = None  # its value where none follows
    repeats: bool = False  # every mention counts, not the last alone
    switch: bool = False  # of what is not modelled: takes no value
    why: str | None = None  # known, but the estimate has nothing that it changes
    programs: tuple[str, ...] = ()  # only for these commands; empty: all
    written: bool = True
    from_version: str | None = None  # the first that knows it, where that matters
    to_version: str | None = None  # the last; None: still known
    note: str | None = None

    @field_validator("values", mode="before")
    @classmethod
    def _spelled(cls, given: dict[Any, Any]) -> dict[str, Any]:
        return {str(key): meaning for key, meaning in given.items()}

    @model_validator(mode="after")
    def _one_use(self) -> Flag:
        if (self.knob is None) == (self.why is None):
            raise ValueError("give either 'knob' or 'why'")
        return self

    def known_at(self, version: str | None) -> bool:
        """Whether this version knows the flag; without a version, the newest."""
        number = version_number(version)
        if number is None:
            return self.to_version is None
        first, last = version_number(self.from_version), version_number(self.to_version)
        return (first is None or number >= first) and (last is None or number <= last)

    @property
    def takes(self) -> Literal["nothing", "value", "words"]:
        """What follows it on a command line."""
        return "nothing" if self.switch or self.kind == "switch" else "words" if self.kind == "words" else "value"

    def meaning(self, name: str, spelled: str) -> Any:
        """The value that a spelling means, None for the default. Raises ScenarioError with what was expected."""
        if spelled in self.unset:
            return None
        if spelled in self.values:
            return self.values[spelled]
        if self.other is not None:
            return self.other
        if self.kind == "switch":
            if spelled.lower() in ("true", "1", "on", "yes", ""):
                return self.sets
            if spelled.lower() in ("false", "0", "off", "no"):
                return not self.sets
            raise ScenarioError(f"{name} is on or off (it is '{spelled}').")
        if self.kind == "text":
            if self.values:
                raise ScenarioError(f"{name} {spelled} is not known; it takes {', '.join([*self.values, *self.unset])}.")
            return spelled
        return _number(name, spelled, whole=self.kind == "whole")

    def spelling(self, meaning: Any) -> str | None:
        """How the flag says this, None where it cannot."""
        if self.values and self.kind == "text":
            says = {text: means for text, means in self.values.items() if text not in self.heard}
            return next((text for text, means in says.items() if means == meaning and type(means) is type(meaning)), None)
        return f"{meaning:g}" if isinstance(meaning, float) else str(meaning)


def _number(name: str, spelled: str, *, whole: bool) -> float | int:
    """A number as the servers read it: 32768, 32k (32,000), 32K (32,768), 0.9, 90%."""
    factor = {"k": 1e3, "K": 1024, "m": 1e6, "M": 1024**2, "g": 1e9, "G": 1024**3, "%": 0.01}
    text, times = (spelled[:-1], factor[spelled[-1]]) if spelled[-1:] in factor else (spelled, 1)
    try:
        amount = float(text) * times
        if not abs(amount) < 1e15 or (whole and amount != round(amount)):
            raise ValueError
    except ValueError:
        raise ScenarioError(f"{name} needs a {'whole number' if whole else 'number'} (it is '{spelled}').") from None
    return round(amount) if whole else amount


class Table(CatalogRecord):
    """All that is known of one runtime's command line."""

    runtime: str
    commands: tuple[str, ...]
    source: str  # of the flags
    extends: str | None = None  # the runtime whose flags it has too
    images: tuple[str, ...] = ()  # container images that start it
    model: Literal["positional", "flag"] = "flag"
    negates: bool = False  # every switch --x has a --no-x
    hints: tuple[str, ...] = ()  # flags that only this fork of `extends` has
    folder: str = ""  # of this fork's programs, which have the names of the others
    harmless: tuple[str, ...] = ()  # take a value; "--x=words" takes several
    harmless_switches: tuple[str, ...] = ()
    flags: tuple[Flag, ...] = ()

    def find(self, name: str, program: str) -> tuple[Flag, bool] | None:
        """The flag of this name for a program, and whether the name denies it (--no-x). None for an unknown name."""
        plain = plain_name(name)
        found = self._of(plain, program)
        if found is not None:
            return found, False
        for short, long in (("--no-", "--"), ("-no-", "-"), ("-n", "-")):
            if self.negates and plain.startswith(short):
                denied = self._of(long + plain.removeprefix(short), program)
                if denied is not None and denied.takes == "nothing":
                    return denied, True
        return None

    def _of(self, plain: str, program: str) -> Flag | None:
        options = self._index.get(plain, ())
        return next((flag for flag in options if not flag.programs or program in flag.programs), None)

    @functools.cached_property
    def _index(self) -> dict[str, list[Flag]]:
        table: dict[str, list[Flag]] = {}
        for flag in self._all():
            for name in flag.names:
                table.setdefault(plain_name(name), []).append(flag)
        return table

    def _all(self) -> Iterator[Flag]:
        yield from self.flags
        if self.extends:
            yield from tables()[self.extends]._all()
        for name in self.harmless:
            plain, _, words = name.partition("=")
            yield Flag(names=(plain,), kind="words" if words else "text", why=HARMLESS)
        for name in self.harmless_switches:
            yield Flag(names=(name,), switch=True, why=HARMLESS)

    def to_write(self) -> tuple[Flag, ...]:
        """The flags that a written command may hold, in its order."""
        own = tuple(flag for flag in self.flags if flag.knob and flag.written)
        return own + (tables()[self.extends].to_write() if self.extends else ())


def plain_name(name: str) -> str:
    """A long flag with dashes for underscores, since most runtimes take either; other names as they are."""
    if not name.startswith("--"):
        return name
    head, dot, tail = name.partition(".")  # the keys inside a value keep theirs
    return head.replace("_", "-") + dot + tail


@functools.cache
def tables() -> dict[str, Table]:
    """Every table by its runtime's id. Raises CatalogError for a file that holds nonsense."""
    found: dict[str, Table] = {}
    for path in sorted((CATALOG / "launch").glob("*.toml")):
        table = record(Table, read(path), f"launch/{path.name}")
        if path.stem != table.runtime:
            raise CatalogError(f"launch/{path.name} describes '{table.runtime}'; rename it to {table.runtime}.toml.")
        source(table.source)
        found[table.runtime] = table
    return found


def table_of(runtime_id: str) -> Table | None:
    """The runtime's table, None where its command line is not described."""
    return tables().get(runtime_id)
