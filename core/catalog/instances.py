"""Cloud instances: whole machines by the hour, shipped and from the user's own files of prices."""

from __future__ import annotations

import csv
import functools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError
from rapidfuzz import fuzz, process

from core.catalog import files, hardware
from core.catalog.files import CatalogRecord
from core.errors import CatalogError
from core.quantity import LeafKind, Quantity, leaf
from core.units import GIB, HOUR

Terms = Literal["on demand", "spot", "reserved", "serverless"]
OWN = "user-instance"  # the source of a price that a user's file states without naming one
_MAX_BYTES = 4_000_000
_LABEL = {"usd_per_h": ("rent", "USD/s", 1.0 / HOUR), "ram_gb": ("RAM", "B", GIB)}


class Instance(CatalogRecord):
    """One type of machine at one price. RAM in GiB, money in US dollars an hour for the whole machine."""

    provider: str = Field(min_length=1)
    type: str = Field(min_length=1)
    device: str | None = None  # id in the catalog of devices
    count: int | None = Field(default=None, ge=1, le=4096)
    vcpus: int | None = Field(default=None, ge=1)
    ram_gb: float | None = Field(default=None, gt=0, le=100_000)
    usd_per_h: float | None = Field(default=None, ge=0, le=1e6)
    terms: Terms = "on demand"
    region: str | None = None
    date: str | None = Field(default=None, pattern=r"^\d{4}(-\d{2}(-\d{2})?)?$")
    source: str = OWN
    guess: tuple[str, ...] = ()
    unsupported: str | None = None  # why no estimate is made for it
    note: str | None = None
    label: str = ""  # what names this row alone: the type, with what tells it from other prices of that type

    @property
    def host_extra(self) -> bool:
        """Whether the price is that of the accelerator alone."""
        return (self.note or "").startswith("accelerator only")

    @property
    def price_is(self) -> str:
        """Which price it is: "on demand, us-east-1, 2026-07-20"."""
        return ", ".join(part for part in (self.terms, self.region, self.date) if part)

    def fact(self, field: Literal["usd_per_h", "ram_gb"]) -> Quantity | None:
        """Price (USD a second) or RAM (bytes) as a cited leaf; None where it is not known."""
        amount = getattr(self, field)
        if amount is None:
            return None
        name, unit, factor = _LABEL[field]
        cited = files.source(self.source)
        guess = cited.guess or field in self.guess
        note = "; ".join(filter(None, (self.price_is if field == "usd_per_h" else None, self.note, cited.note)))
        kind: LeafKind = "user" if self.source == OWN else "assumption" if guess else "datasheet"
        return leaf(f"{name} of {self.type}", amount * factor, unit, kind, files.source(cited.key, guess=guess, note=note or None))

    def paid(self, usd_per_h: float | None) -> Quantity | None:
        """The price as a cited leaf, where that is what is paid: nothing else was said, or the same figure."""
        return self.fact("usd_per_h") if usd_per_h is None or usd_per_h == self.usd_per_h else None


def own_folder() -> Path:
    """Where a user's own files of prices stand."""
    return files.home() / "instances"


def instances() -> tuple[Instance, ...]:
    """Every instance and price, in the order of the files: shipped ones, then the user's own."""
    return _read(_own_files())[0]


def problems() -> tuple[str, ...]:
    """A sentence for each file of the user's that could not be read; such a file is left out as a whole."""
    return _read(_own_files())[1]


def _own_files() -> tuple[tuple[Path, int], ...]:
    return tuple((path, path.stat().st_mtime_ns) for path in sorted(own_folder().glob("*.csv")) if path.is_file())


def instance(name: str) -> Instance:
    """The instance with this label or type; of several prices of a type the newest on demand.

    Raises CatalogError for an unknown one, with suggestions.
    """
    wanted = name.strip().casefold()
    for key in ("label", "type"):
        found = [row for row in instances() if getattr(row, key).casefold() == wanted]
        if found:
            return min(found, key=_preference)
    near = [hit[0] for hit in process.extract(name, [row.label for row in instances()], scorer=fuzz.WRatio, limit=3, score_cutoff=70)]
    hint = f"Did you mean {', '.join(f'“{label}”' for label in near)}?" if near else "`roofcast instances` lists what there is."
    raise CatalogError(f"No cloud instance '{name.strip()}' in the catalog. {hint}")


def usable(name: str) -> Instance:
    """The instance, for an estimate. Raises CatalogError for an unknown one, and for one that cannot be estimated yet."""
    found = instance(name)
    if found.unsupported or found.device is None or found.count is None:
        why = found.unsupported or "its device is not known"
        raise CatalogError(f"{found.type} ({found.provider}) cannot be estimated: {why}.")
    return found


def search_instances(text: str) -> list[Instance]:
    """Instances of which provider, type, device, terms or what hinders an estimate hold every word of `text`; all for an empty one."""
    words = text.casefold().split()
    return [row for row in instances() if all(word in _searched(row) for word in words)]


def _searched(row: Instance) -> str:
    name = hardware.device(row.device).name if row.device else None
    return " ".join(filter(None, (row.provider, row.label, row.price_is, row.device, name, row.unsupported))).casefold()


def _preference(row: Instance) -> tuple[bool, bool, bool, int]:
    """Smaller comes first: with a price, on demand, shipped, newest."""
    return (row.usd_per_h is None, row.terms != "on demand", row.source == OWN, -int((row.date or "0").replace("-", "").ljust(8, "0")))


@functools.lru_cache(maxsize=4)
def _read(own: tuple[tuple[Path, int], ...]) -> tuple[tuple[Instance, ...], tuple[str, ...]]:
    shipped = [_record(raw, where) for where, raw in _rows(files.CATALOG / "instances.csv")]
    known = {(row.provider.casefold(), row.type.casefold()): row for row in shipped}
    found, wrong = shipped, []
    for path, _ in own:
        try:
            longer = [*found, *(_own(raw, where, known) for where, raw in _rows(path))]
            _labelled(longer)
            found = longer
        except CatalogError as error:
            wrong.append(str(error))
        except csv.Error as error:
            wrong.append(f"The file of instances {path.name} is not CSV ({error}).")
    return tuple(_labelled(found)), tuple(wrong)


def _own(raw: dict[str, Any], where: str, known: Mapping[tuple[str, str], Instance]) -> Instance:
    """A row of a user's file: what it leaves out of the machine's shape is that of the shipped type."""
    like = known.get((raw.get("provider", "").casefold(), raw.get("type", "").casefold()))
    taken = ("device", "count", "vcpus", "ram_gb", "unsupported")
    shape = {} if like is None else {field: getattr(like, field) for field in taken if getattr(like, field) is not None}
    row = _record({**shape, **raw}, where)
    if row.usd_per_h is None:
        raise CatalogError(f"{where}: usd_per_h is missing; give the price of the whole machine in US dollars an hour.")
    return row


def _rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Rows of a file as (place, cells that are not empty); lines that begin with "#" are passed over."""
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise CatalogError(f"{path.name} is larger than {_MAX_BYTES:,} bytes; a file of instance prices is not.")
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise CatalogError(f"The file of instances {path.name} cannot be read ({error}); save it as CSV in UTF-8.") from error
    numbered = [(number, line) for number, line in enumerate(lines, 1) if line.strip() and not line.startswith("#")]
    columns = [cell.strip() for cell in next(csv.reader([numbered[0][1]]))] if numbered else []
    unknown = set(columns) - (set(Instance.model_fields) - {"label"})
    if unknown or not {"provider", "type"} <= set(columns):
        what = f"has a column {sorted(unknown)[0]!r}" if unknown else "needs the columns provider and type"
        allowed = ", ".join(field for field in Instance.model_fields if field != "label")
        raise CatalogError(f"The file of instances {path.name} {what}; its columns may be {allowed}.")
    for number, line in numbered[1:]:
        cells = next(csv.reader([line]))
        if len(cells) > len(columns):
            raise CatalogError(
                f"{path.name}, line {number}: {len(cells)} cells for {len(columns)} columns; put text with commas in quotes."
            )
        found: dict[str, Any] = {column: cell.strip() for column, cell in zip(columns, cells, strict=False) if cell.strip()}
        if "guess" in found:
            found["guess"] = tuple(found["guess"].split())
        yield f"{path.name}, line {number}", found


def _record(raw: Mapping[str, Any], where: str) -> Instance:
    try:
        found = Instance.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        raise CatalogError(f"{where}: {'.'.join(map(str, first['loc']))} is wrong ({first['msg']}; it is {first['input']!r}).") from error
    files.source(found.source)
    if found.device is not None:
        found = found.model_copy(update={"device": hardware.device(found.device).id})
    elif not found.unsupported:
        raise CatalogError(f"{where}: name the device, or say under unsupported why there is none.")
    if found.count is None and not found.unsupported:
        raise CatalogError(f"{where}: count is missing; give the number of devices in the machine.")
    return found


def _labelled(rows: list[Instance]) -> list[Instance]:
    found = []
    by_type: dict[str, list[Instance]] = {}
    for row in rows:
        by_type.setdefault(row.type.casefold(), []).append(row)
    used: set[str] = set()
    for row in rows:
        first = min(by_type[row.type.casefold()], key=_preference)
        label = row.type if row is first else f"{row.type}, {row.price_is}"
        if label in used:
            raise CatalogError(
                f"Two prices stand for “{label}” of {row.provider}; take one of them out, or tell them apart by region or date."
            )
        used.add(label)
        found.append(row.model_copy(update={"label": label}))
    return found
