"""The library of devices as people read it: a table, one device with every fact's source, several side by side, and roofs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from core.catalog import files, hardware, instances, links, own_hardware
from core.catalog.hardware import FACTS, Device
from core.catalog.own_hardware import FIELDS, title
from core.errors import CatalogError
from core.units import TFLOP, significant

MOST = 4  # devices side by side
KINDS = {"gpu": "GPU", "cpu": "CPU", "npu": "NPU"}
_PLAIN = ("vendor", "device_class", "kind", "arch", "family", "compute_capability", "memory_type", "unified", "interconnect", "pcie_link",
          "launch_year")  # fmt: skip
_PEAKS = ("bf16_tflops", "fp16_tflops", "fp32_tflops")  # the first that is known is the roof
_LOW, _HIGH, _STEPS = 0.25, 4096.0, 57  # FLOP for each byte


@dataclass(frozen=True, slots=True)
class Said:
    """One figure as one source says it."""

    shown: str
    source: str
    url: str | None
    licence: str | None
    note: str | None
    guess: bool


@dataclass(frozen=True, slots=True)
class Fact:
    """One line about a device: what the record takes (None: nobody published it), and what others say of it."""

    field: str
    title: str
    used: Said | None
    others: tuple[Said, ...] = ()


@dataclass(frozen=True, slots=True)
class Compared:
    """One line of a comparison: a cell a device, and which of them differ from the first."""

    title: str
    cells: tuple[str, ...]
    marks: tuple[bool, ...]


def find(names: Iterable[str]) -> tuple[list[Device], list[str]]:
    """The devices that names mean, each once and at most MOST, and a sentence for each name that means none."""
    found: dict[str, Device] = {}
    wrong = []
    for name in names:
        try:
            device = hardware.device(name)
            found.setdefault(device.id, device)
        except CatalogError as error:
            wrong.append(str(error))
    if len(found) > MOST:
        wrong.append(f"At most {MOST} devices stand side by side; the first {MOST} are shown.")
    return list(found.values())[:MOST], wrong


def everything(session: Iterable[str] = ()) -> list[Device]:
    """All devices: those of the session, the user's stored ones, then the shipped ones, newest first and CPUs last."""
    own = {device.id: device for device in [*find_all(session), *own_hardware.saved().values()]}
    shipped = sorted(hardware.devices().values(), key=lambda d: (d.kind == "cpu", -(d.launch_year or 0), d.name))
    return [*own.values(), *shipped]


def find_all(names: Iterable[str]) -> list[Device]:
    """The devices that names mean; what means none is passed over."""
    found = []
    for name in names:
        try:
            found.append(hardware.device(name))
        except CatalogError:
            continue
    return found


def matching(devices: Iterable[Device], text: str, vendors: Sequence[str] = (), classes: Sequence[str] = ()) -> list[Device]:
    """Devices whose name, alias, maker, class or architecture hold every word of `text`; empty filters let all pass."""
    words = text.casefold().split()
    return [
        device
        for device in devices
        if (not vendors or device.vendor in vendors)
        and (not classes or device.device_class in classes)
        and all(word in _searched(device) for word in words)
    ]


def _searched(device: Device) -> str:
    told = (device.id, device.name, device.vendor, device.device_class, device.arch, device.family, device.compute_capability or "")
    return " ".join((*told, *device.aliases)).casefold()


# ---------------------------------------------------------------- table


def row(device: Device) -> dict[str, Any]:
    """A line of the table: numbers as numbers, in the units of their headings."""
    price, per = hourly(device)
    return {
        "Device": device.name,
        "GB": device.memory_gb,
        "GB/s": device.measured_bandwidth_gb_s or device.memory_bandwidth_gb_s,
        "Vendor": device.vendor,
        "Class": device.device_class,
        "FP32": device.fp32_tflops,
        "FP16": device.fp16_tflops,
        "BF16": device.bf16_tflops,
        "FP8": device.fp8_tflops,
        "INT8": device.int8_tops,
        "FP4": device.fp4_tflops,
        "W": device.tdp_w,
        "Launch $": device.price_usd,
        "Year": device.launch_year,
        "$/h": price,
        "Whose price, when": per,
        "Link": device.interconnect or device.pcie_link or "",
    }


def hourly(device: Device) -> tuple[float | None, str]:
    """The lowest price on demand of one device in a cloud instance, US dollars an hour, and whose and of when it is."""
    if own_hardware.is_own(device):
        return device.cloud_usd_per_h, ""
    known = [
        row
        for row in instances.instances()
        if row.device == device.id and row.count and row.usd_per_h and row.terms == "on demand" and not row.host_extra
    ]
    if not known:
        return None, ""
    best = min(known, key=lambda row: (row.usd_per_h or 0.0) / (row.count or 1))
    return (best.usd_per_h or 0.0) / (best.count or 1), ", ".join(filter(None, (best.provider, best.type, best.date)))


# ---------------------------------------------------------------- one device


def facts(device: Device) -> list[Fact]:
    """Every fact of a device with its source, in the order of reading; figures first, then what kind of thing it is."""
    return [_figure(device, field) for field in FACTS if _applies(device, field)] + [_plain(device, field) for field in _PLAIN]


def _applies(device: Device, field: str) -> bool:
    """Rates nobody published stand as unknown; the rest only where there is something to say."""
    asked = (
        "memory_gb",
        "memory_bandwidth_gb_s",
        "fp32_tflops",
        "fp16_tflops",
        "bf16_tflops",
        "fp8_tflops",
        "int8_tops",
        "fp4_tflops",
        "tdp_w",
    )
    return field in asked or getattr(device, field) is not None


def _figure(device: Device, field: str) -> Fact:
    written = FACTS[field][3]
    others = tuple(
        _said(f"{significant(other.value)} {written}", other.source, other.note, guess=False)
        for other in device.alternatives
        if other.field == field
    )
    fact = device.fact(field)
    if fact is None or fact.source is None:
        return Fact(field, heading(field), None, others)
    amount = getattr(device, field)
    shown = f"{significant(fact.value / FACTS[field][2]) if amount is None else _number(amount)} {written}"
    if field == "memory_bandwidth_gb_s" and device.measured_bandwidth_gb_s is not None:
        shown = f"{significant(fact.value / FACTS[field][2])} {written}"
        note = fact.source.note
    else:
        note = "; ".join(filter(None, (device.notes.get(field), files.sources()[fact.source.key].note)))
    used = Said(shown, fact.source.title, fact.source.url, fact.source.licence, note or None, bool(fact.source.guess))
    return Fact(field, heading(field), used, others)


def heading(field: str) -> str:
    """What a fact is called at the head of a line: "Memory bandwidth"."""
    name = _PLAIN_TITLES.get(field, title(field))
    return name[0].upper() + name[1:]


def _plain(device: Device, field: str) -> Fact:
    amount = getattr(device, field)
    if isinstance(amount, bool):
        shown = "yes" if amount else "no"
    elif field == "kind":
        shown = KINDS[amount]
    elif field in ("interconnect", "pcie_link") and amount:
        shown = link_name(str(amount))
    else:
        shown = "" if amount is None else str(amount)
    if not shown:
        return Fact(field, heading(field), None)
    said = _said(shown, device.sources.get(field, device.source), device.notes.get(field), guess=field in device.guess)
    return Fact(field, heading(field), said)


_PLAIN_TITLES = {"pcie_link": "PCI Express"}


def link_name(name: str) -> str:
    """A link between devices as people call it; what is no link of the catalog as it stands."""
    try:
        return links.link(name).name
    except CatalogError:
        return name


def _said(shown: str, key: str, note: str | None, *, guess: bool) -> Said:
    cited = files.source(key)
    return Said(
        shown, cited.title, cited.url, cited.licence, "; ".join(filter(None, (note, cited.note))) or None, guess or bool(cited.guess)
    )


def _number(amount: float) -> str:
    """A figure as its source writes it, thousands separated."""
    return f"{amount:,.10g}"


def summary(device: Device) -> str:
    """A device in one line."""
    parts = [
        f"{_number(device.memory_gb)} GB" if device.memory_gb else "",
        f"{_number(device.measured_bandwidth_gb_s or device.memory_bandwidth_gb_s or 0)} GB/s",
        f"{_number(peak[0])} TFLOP/s {peak[1]}" if (peak := _peak(device)) else "no peak published",
        f"{_number(device.tdp_w)} W" if device.tdp_w else "",
    ]
    return " · ".join(part for part in (device.vendor, device.device_class, *parts) if part)


def estimate_knobs(device: Device) -> dict[str, str]:
    """The knobs in the address of an estimate on this device."""
    return {"device": own_hardware.listed(device)}


# ---------------------------------------------------------------- side by side


def compared(devices: Sequence[Device]) -> list[Compared]:
    """A line for every fact that one of the devices has."""
    tables = [{fact.field: fact for fact in facts(device)} for device in devices]
    order = [*FACTS, *_PLAIN]
    lines = []
    for field in order:
        known = [table.get(field) for table in tables]
        if any(fact and fact.used for fact in known):
            cells = tuple(fact.used.shown if fact and fact.used else "unknown" for fact in known)
            name = next(fact.title for fact in known if fact)
            lines.append(Compared(name, cells, tuple(cell != cells[0] for cell in cells)))
    return lines


def changed(newer: Device, older: Device) -> list[tuple[str, str, str]]:
    """The fields in which two records differ: (title, as it was, as it is)."""
    return [
        (title(field), _text(field, getattr(older, field)), _text(field, getattr(newer, field)))
        for field in FIELDS
        if getattr(older, field) != getattr(newer, field)
    ]


def _text(field: str, amount: Any) -> str:
    if amount is None:
        return "unknown"
    if isinstance(amount, bool):
        return "yes" if amount else "no"
    if field == "interconnect":
        return link_name(str(amount))
    plain = field in ("launch_year", "pcie_generation", "pcie_lanes")
    return str(amount) if plain or isinstance(amount, str) else " ".join(filter(None, (_number(amount), unit(field))))


def unit(field: str) -> str:
    """In what a field is written, "" where it counts or names."""
    return FACTS[field][3] if field in FACTS else "GB/s" if field in ("measured_bandwidth_gb_s", "thread_bandwidth_gb_s") else ""


# ---------------------------------------------------------------- roofs


def _peak(device: Device) -> tuple[float, str] | None:
    for field in _PEAKS:
        amount = getattr(device, field)
        if amount is not None:
            return float(amount), FACTS[field][0].split()[0]
    return None


def roofs(devices: Sequence[Device]) -> list[dict[str, Any]]:
    """Points of each device's roof: what memory and the dense 16-bit peak allow at so many FLOP for each byte, TFLOP/s.

    A device without a peak or a bandwidth has none.
    """
    points = []
    grid = [_LOW * (_HIGH / _LOW) ** (step / (_STEPS - 1)) for step in range(_STEPS)]
    for device in devices:
        peak, bandwidth = _peak(device), device.fact("memory_bandwidth_gb_s")
        if peak is None or bandwidth is None:
            continue
        slope = bandwidth.value / TFLOP
        ridge = peak[0] / slope
        for intensity in sorted({*grid, *([ridge] if _LOW < ridge < _HIGH else [])}):
            reach = min(peak[0], slope * intensity)
            limit = "memory" if intensity < ridge else "compute"
            points.append({"device": device.name, "intensity": intensity, "tflops": reach, "limit": limit, "peak": peak[1], "ridge": ridge})
    return [point for point in points if math.isfinite(point["tflops"])]
