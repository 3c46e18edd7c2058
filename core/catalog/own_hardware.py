"""Devices of a user's own: a shipped one with fields set by hand, or a new one, each written out in its own name.

"GeForce RTX 4090?memory_bandwidth_gb_s=950" is that card with another bandwidth, "My card?base=GeForce RTX 4090&…" is one with a
name of its own, and "My card?base=&vendor=…" a new device. Such a name is the whole record: a link carries it, and nothing has to be
stored. With consent it is stored in the folder `hardware` of
ROOFCAST_HOME, a file a device that holds every version; then its plain name means the newest.
"""

from __future__ import annotations

import functools
import json
import math
import os
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote

from pydantic import Field, ValidationError

from core.catalog import files, hardware, links
from core.catalog.files import CatalogRecord
from core.catalog.hardware import OWN, Device
from core.errors import CatalogError, RunError

# What a person can set, in the order of a form.
FIELDS = (
    "name", "vendor", "device_class", "kind", "arch", "family", "compute_capability", "memory_gb", "memory_decimal",
    "memory_usable_gib", "memory_type", "unified", "memory_bandwidth_gb_s", "measured_bandwidth_gb_s", "fp32_tflops", "fp16_tflops",
    "fp16_acc16_tflops", "bf16_tflops", "fp8_tflops", "int8_tops", "fp4_tflops", "interconnect", "interconnect_gb_s",
    "pcie_generation", "pcie_lanes", "cpu_cores", "thread_bandwidth_gb_s", "tdp_w", "launch_year", "price_usd", "cloud_usd_per_h",
)  # fmt: skip
NEEDED = ("name", "vendor", "device_class", "kind", "arch", "family")
# A figure that follows another: where only the other is set, it is unknown again.
_FOLLOWS = {
    "memory_usable_gib": "memory_gb",
    "interconnect_gb_s": "interconnect",
    "measured_bandwidth_gb_s": "memory_bandwidth_gb_s",
    "thread_bandwidth_gb_s": "memory_bandwidth_gb_s",
}
_MOST, _LEAST, _LONGEST = 1e7, 1e-3, 80
_SAY = {
    "greater_than": "must be more than {gt:g}", "float_parsing": "must be a number", "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number", "literal_error": "must be one of {expected}", "missing": "is missing",
    "bool_parsing": "must be true or false", "string_type": "must be text",
}  # fmt: skip


class Version(CatalogRecord):
    """One stored state of a device: when, and its name, which is the whole record."""

    saved: str = Field(pattern=r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}")
    device: str


# ---------------------------------------------------------------- names that are records


def built(base: str, fields: Mapping[str, Any]) -> Device:
    """The device that is `base` (a shipped device's name; "" for a new one) with these fields; None and "" take a figure away.

    Its id is the name that is its whole record. What was set is cited to the user; where that is a figure, the base's guesses
    and disagreements about it are gone. Raises CatalogError, one sentence, for what is unknown, missing or impossible.
    """
    start = hardware.shipped_device(base) if base.strip() else None
    stripped = {field: amount.strip() if isinstance(amount, str) else amount for field, amount in fields.items()}
    given = {field: (None if amount == "" else amount) for field, amount in stripped.items()}
    for field in given:
        if field not in FIELDS:
            raise CatalogError(f"A device has no field '{field}'; it has {', '.join(FIELDS)}.")
    raw = {} if start is None else start.model_dump()
    raw |= {follower: None for follower, leader in _FOLLOWS.items() if leader in given and follower not in given}
    raw |= {field: amount for field, amount in given.items() if amount is not None or field not in NEEDED}
    if start is None:
        missing = [title(field) for field in NEEDED if not raw.get(field)]
        if missing:
            raise CatalogError(
                f"A new device needs {', '.join(missing)}; give {'it' if len(missing) == 1 else 'them'}, or start from another."
            )
        raw |= {"source": OWN, "id": "new"}
    checked = _checked(raw)
    changed = {f: getattr(checked, f) for f in FIELDS if start is None or getattr(checked, f) != getattr(start, f)}
    if start is None:
        changed = {field: amount for field, amount in changed.items() if amount != Device.model_fields[field].default}
    elif not changed:
        return start
    elif "name" not in changed:
        checked = checked.model_copy(update={"name": f"{start.name}, changed"})
    figures = {field for field in changed if field in hardware.FACTS}
    return checked.model_copy(
        update={
            "id": _written(start.name if start else "", changed),
            "aliases": [],
            "sources": {**checked.sources, **dict.fromkeys(figures, OWN)},
            "guess": [field for field in checked.guess if field not in figures],
            "notes": {field: note for field, note in checked.notes.items() if field not in figures},
            "alternatives": [other for other in checked.alternatives if other.field not in figures],
        }
    )


@functools.lru_cache(maxsize=512)
def written_out(name: str) -> Device:
    """The device that a name with "?" writes out. Raises CatalogError, one sentence."""
    return built(*parts(name))


def parts(name: str) -> tuple[str, dict[str, str]]:
    """A written-out name as its base and the fields set by hand. Raises CatalogError."""
    base, _, query = name.partition("?")
    try:
        pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=2 * len(FIELDS))
    except ValueError as error:
        raise CatalogError(f"The device '{name[:80]}' sets too many fields; there are {len(FIELDS)}.") from error
    fields = dict(pairs)
    return (fields.pop("base").strip(), {"name": base.strip(), **fields}) if "base" in fields else (base.strip(), fields)


def is_own(device: Device) -> bool:
    """Whether a device is not one as shipped."""
    return "?" in device.id


def listed(device: Device) -> str:
    """What names a device in a scenario: its name, or where it is the user's own the name that is its whole record."""
    return device.id if is_own(device) else device.name


def base_of(device: Device) -> Device | None:
    """The shipped device that one of the user's own started from."""
    base = parts(device.id)[0] if is_own(device) else ""
    return hardware.shipped_device(base) if base else None


def title(field: str) -> str:
    """What a field is called."""
    return hardware.FACTS[field][0] if field in hardware.FACTS else _TITLES.get(field, field.replace("_", " "))


_TITLES = {"device_class": "class", "arch": "architecture", "measured_bandwidth_gb_s": "measured memory bandwidth",
           "thread_bandwidth_gb_s": "measured bandwidth of one thread",
           "memory_decimal": "memory in GB of 10⁹ bytes", "unified": "memory shared with the CPU", "launch_year": "year",
           "family": "kernel family", "interconnect": "fastest link",
           "pcie_generation": "PCIe generation", "pcie_lanes": "PCIe lanes"}  # fmt: skip


def _written(base: str, changed: Mapping[str, Any]) -> str:
    fields = [f"{field}={_text(changed[field])}" for field in FIELDS if field in changed and field != "name"]
    if "name" in changed:  # first, so that people know it in a list
        return f"{changed['name']}?" + "&".join([f"base={_text(base)}", *fields])
    return f"{base}?" + "&".join(fields)


def _text(amount: Any) -> str:
    """A field's value as a name holds it."""
    if amount is None:
        return ""
    if isinstance(amount, bool):
        return str(amount).lower()
    return quote(f"{amount:.10g}" if isinstance(amount, float) else str(amount), safe=" ,()/:")


def _checked(raw: Mapping[str, Any]) -> Device:
    try:
        found = Device.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        field = str(first["loc"][0]) if first["loc"] else "device"
        known = _SAY.get(first["type"])
        rule = known.format(**first.get("ctx", {})) if known else f"is wrong: {first['msg'].lower()}"
        given = "" if first["type"] == "missing" else f" (it is {first['input']!r})"
        raise CatalogError(f"{_capital(title(field))} {rule}{given}.") from error
    for field in FIELDS:
        amount = getattr(found, field)
        if isinstance(amount, float | int) and not isinstance(amount, bool) and not _LEAST <= amount <= _MOST:
            raise CatalogError(f"{_capital(title(field))} must lie between {_LEAST:g} and {_MOST:,.0f} (it is {amount:g}).")
        if isinstance(amount, str) and (len(amount) > _LONGEST or not amount.isprintable() or "?" in amount):
            raise CatalogError(f"{_capital(title(field))} must be a line of at most {_LONGEST} characters without a question mark.")
    if found.interconnect is not None:
        links.link(found.interconnect)
    if not any(math.isfinite(x) for x in (found.memory_bandwidth_gb_s or math.nan, found.measured_bandwidth_gb_s or math.nan)):
        raise CatalogError("Memory bandwidth is missing; without it no speed can be told.")
    if found.memory_gb is None:
        raise CatalogError("Memory is missing; without it nobody can tell what fits.")
    return found


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


# ---------------------------------------------------------------- stored with consent


def own_folder() -> Path:
    """Where a user's own devices stand."""
    return files.home() / "hardware"


def may_store() -> bool:
    """Whether devices may be stored here: not where ROOFCAST_HOSTED says that strangers share this process."""
    return os.environ.get("ROOFCAST_HOSTED", "").strip().lower() in ("", "0", "false", "no")


def store(device: Device) -> int:
    """Stores a device of the user's own as the newest version of its name; returns the version's number, from 1.

    Raises CatalogError where nothing may be stored, for a shipped device, and for the name of one.
    """
    if not may_store():
        raise CatalogError("Nothing is stored here, for others use this server too; the device lives in this session and in its link.")
    if not is_own(device):
        raise CatalogError(f"{device.name} is shipped as it is; change something, or give it another name, to store it.")
    _refuse_shipped_name(device.name)
    kept = versions(device.name)
    if kept and kept[-1].device == device.id:
        return len(kept)
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    _write(device.name, [*kept, Version(saved=now, device=device.id)])
    return len(kept) + 1


def forget(name: str) -> None:
    """Deletes a stored device with all its versions. Raises CatalogError where there is none."""
    path = _path(name)
    if not may_store() or not path.is_file():
        raise CatalogError(f"No device '{name}' is stored here.")
    path.unlink()
    _load.cache_clear()


def versions(name: str) -> tuple[Version, ...]:
    """The stored versions of a device, oldest first; none where it is not stored. Raises CatalogError for a file that is wrong."""
    path = _path(name)
    return _versions(path) if path.is_file() else ()


def saved() -> dict[str, Device]:
    """The newest version of every stored device by its name; a file that cannot be read is passed over, see `problems`."""
    return _load(*_stamp())[0]


def problems() -> tuple[str, ...]:
    """A sentence for each file of the user's that could not be read."""
    return _load(*_stamp())[1]


def saved_named(name: str) -> Device | None:
    """The stored device of this name, case aside."""
    folded = name.strip().casefold()
    return next((device for key, device in saved().items() if key.casefold() == folded), None)


def _stamp() -> tuple[str, int]:
    folder = str(own_folder())
    if not may_store():
        return folder, -1
    try:
        return folder, os.stat(folder).st_mtime_ns  # every write renames a file in it
    except OSError:
        return folder, -1


@functools.lru_cache(maxsize=4)
def _load(folder: str, stamp: int) -> tuple[dict[str, Device], tuple[str, ...]]:
    found: dict[str, Device] = {}
    wrong = []
    for path in sorted(Path(folder).glob("*.json")) if stamp >= 0 else ():
        try:
            device = written_out(_versions(path)[-1].device)
            found[device.name] = device
        except CatalogError as error:
            wrong.append(f"{path.name}: {error}")
    return found, tuple(wrong)


def _versions(path: Path) -> tuple[Version, ...]:
    raw = files.read(path)
    if not isinstance(raw, list) or not raw:
        raise CatalogError(f"The file {path.name} holds no versions of a device; take it out of {path.parent}.")
    return tuple(files.record(Version, entry, path.name) for entry in raw)


def _path(name: str) -> Path:
    plain = re.sub(r"[^a-z0-9]+", "-", name.casefold()).strip("-")[:60]
    return own_folder() / f"{plain or 'device'}-{_digest(name.casefold().strip())}.json"


def _digest(text: str) -> str:
    import hashlib

    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _refuse_shipped_name(name: str) -> None:
    try:
        other = hardware.shipped_device(name)
    except CatalogError:
        return
    raise CatalogError(f"'{name}' already means {other.name}, which is shipped; give your device another name.")


def _write(name: str, kept: list[Version]) -> None:
    from core.predict import write_whole

    path = _path(name)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, json.dumps([version.model_dump() for version in kept], indent=1, ensure_ascii=False) + "\n")
    except (OSError, RunError) as error:
        raise CatalogError(f"The device cannot be stored in {path.parent} ({error}); set ROOFCAST_HOME to another folder.") from error
    _load.cache_clear()
