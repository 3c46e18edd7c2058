"""What could be bought or rented instead: other devices, more of them, other machines, more RAM, with the catalog's prices."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from core.answer import Estimate
from core.catalog import hardware
from core.catalog.hardware import Device
from core.changes import Change, Price
from core.pricing import prices, whole_price
from core.scenario import Scenario
from core.units import GIB
from core.words import device_name

_SLOTLESS = ("laptop", "apple", "apu", "embedded", "npu")  # nothing can be put into them
_CARDS = ("consumer", "workstation")
_WITH_SLOTS = ("Intel", "AMD")  # whose CPUs stand on boards that take cards, laptops aside
_RAM_GB = (32, 64, 96, 128, 192, 256, 512)
_AS_OTHER = {"profile": None, "instance": None, "device_memory_gib": None, "device_bandwidth_gb_s": None, "device_power_w": None,
             "gpu_layers": None, "experts_on_cpu": None, "backend": None, "usd_per_h": None, "purchase_usd": None}  # fmt: skip
_FREE = {"tp": None, "pp": None, "dp": None, "ep": None, "cp": None}
_OLDEST = 2016


def upgrades(scenario: Scenario, found: Estimate) -> Iterator[Change]:
    """Everything that could be bought: devices that give more for the money, more of the same, other machines, RAM."""
    own = hardware.device(scenario.system.device)
    if own.device_class == "datacenter" or (own.price_usd is None and own.cloud_usd_per_h is not None):
        yield from _rented(scenario, own)
    elif own.device_class not in _SLOTLESS and (own.kind != "cpu" or own.vendor in _WITH_SLOTS):
        yield from _cards(scenario, own, found)
    yield from _more(scenario, own)
    if own.device_class in (*_SLOTLESS, "cpu", "desktop"):
        yield from _machines(scenario, own)
    yield from _ram(scenario, own, found)


# ---------------------------------------------------------------- devices


def _best_for_the_money(listed: list[tuple[float, Device]], needed: float) -> list[tuple[float, Device]]:
    """Those that no cheaper one beats in bandwidth, in arithmetic and in memory up to what is needed, the cheapest first."""
    kept: list[tuple[float, Device]] = []
    for price, device in sorted(listed, key=lambda item: (item[0], -(item[1].memory_bandwidth_gb_s or 0))):
        if not any(_no_worse(other, device, needed) for _, other in kept):
            kept.append((price, device))
    return kept


def _no_worse(one: Device, other: Device, needed: float) -> bool:
    """Whether `one` has all that `other` has, memory beyond `needed` bytes aside."""

    def room(device: Device) -> float:
        return min((device.memory_gb or 0) * GIB, needed)

    peaks = [device.bf16_tflops or device.fp16_tflops or device.fp32_tflops or 0 for device in (one, other)]
    return room(one) >= room(other) and (one.memory_bandwidth_gb_s or 0) >= (other.memory_bandwidth_gb_s or 0) and peaks[0] >= peaks[1]


def _better(own: Device, other: Device) -> bool:
    more = (other.memory_gb or 0) > (own.memory_gb or 0)
    return other.id != own.id and (more or (other.memory_bandwidth_gb_s or 0) > 1.1 * (own.memory_bandwidth_gb_s or 0))


def _cards(scenario: Scenario, own: Device, found: Estimate) -> Iterator[Change]:
    """Graphics cards in place of these, as many."""
    count = scenario.system.count if own.kind == "gpu" else 1
    needed = max(float(found.device.peak), 1.0) if own.kind == "gpu" else 64 * GIB
    listed = [
        (device.price_usd, device)
        for device in hardware.devices().values()
        if device.price_usd is not None and device.kind == "gpu" and not device.unified and device.device_class in _CARDS
        and (device.launch_year or 0) >= _OLDEST and (_better(own, device) or own.kind == "cpu")
    ]  # fmt: skip
    for price, device in _best_for_the_money(listed, needed):
        many = f"{count} × " if count > 1 else ""
        knobs = {**_AS_OTHER, **_FREE, "device": device.name, "count": count, "link": None}
        if own.kind == "cpu":
            knobs |= {"cpu": own.name}
        told = f"launch price of the card{'s' if count > 1 else ''} alone"
        yield Change("device", _device_text(own, device, many), knobs, bought=True, price=Price(price * count, "purchase", told),
                     note="needs a slot that takes it" if own.kind == "cpu" else "")  # fmt: skip


def _device_text(own: Device, other: Device, many: str) -> str:
    parts = [
        f"{other.memory_gb:g} GB" if other.memory_gb else "",
        f"{other.memory_bandwidth_gb_s:,.0f} GB/s" if other.memory_bandwidth_gb_s else "",
    ]
    verb = "Add" if own.kind == "cpu" else "Take"
    return f"{verb} {many}{device_name(other.id)} ({', '.join(filter(None, parts))})"


def _rented(scenario: Scenario, own: Device) -> Iterator[Change]:
    """Other accelerators by the hour, as many; the price is what the hour costs more."""
    if own.cloud_usd_per_h is None:
        return
    count = scenario.system.count
    now = scenario.costs.usd_per_h if scenario.costs.usd_per_h is not None else own.cloud_usd_per_h * count
    listed = [
        (device.cloud_usd_per_h, device)
        for device in hardware.devices().values()
        if device.cloud_usd_per_h is not None and device.kind == own.kind and _better(own, device)
    ]
    for hourly, device in _best_for_the_money(listed, 1e15):
        many = f"{count} × " if count > 1 else ""
        knobs = {**_AS_OTHER, **_FREE, "device": device.name, "link": None}
        told = f"list price of renting, ${hourly * count:,.2f}/h instead of ${now:,.2f}/h"
        yield Change("device", _device_text(own, device, many), knobs, bought=True, price=Price(hourly * count - now, "hour", told))


def _more(scenario: Scenario, own: Device) -> Iterator[Change]:
    """One more of the same, and twice as many."""
    if own.unified or own.kind == "cpu" or own.device_class in _SLOTLESS:
        return
    count = scenario.system.count
    most = 72 if own.device_class == "datacenter" else 8
    for many in dict.fromkeys((count + 1, count * 2)):
        if many > most or (many != count * 2 and own.device_class == "datacenter"):
            continue
        added = many - count
        price = None
        if own.price_usd is not None:
            price = Price(
                own.price_usd * added, "purchase", f"launch price of {added if added > 1 else 'one'} more, without a board that takes them"
            )
        elif own.cloud_usd_per_h is not None:
            price = Price(own.cloud_usd_per_h * added, "hour", f"list price of renting {added} more")
        more = "a second" if (count, added) == (1, 1) else "one more" if added == 1 else f"{added} more"
        knobs = {**_FREE, "profile": None, "instance": None, "count": many, "usd_per_h": None, "purchase_usd": None}
        yield Change("cards", f"Add {more} {device_name(own.id)}, {many} in all", knobs, bought=True, price=price)


# ---------------------------------------------------------------- machines and RAM


def _machines(scenario: Scenario, own: Device) -> Iterator[Change]:
    """Machines that are sold whole."""
    for whole in prices().machines:
        if whole.system:
            profile = hardware.system(whole.system)
            device, name = hardware.device(profile.device), profile.name
            knobs: dict[str, Any] = {"profile": profile.id, "count": profile.count, "ram_gb": profile.ram_gb}
        else:
            device = hardware.device(str(whole.device))
            stated = f"{whole.ram_gb:g}GB" in device.name.replace(" ", "") if whole.ram_gb else True
            ram = "" if stated else f", {whole.ram_gb:g} GB"
            name = f"{whole.note + ', ' if whole.note else ''}{device_name(device.id)}{ram}"
            knobs = {"count": 1, "ram_gb": whole.ram_gb}
        same = device.id == own.id and (knobs["ram_gb"] or 0) <= (scenario.system.ram_gb or own.memory_gb or 0)
        if same or (device.memory_bandwidth_gb_s or 0) < (own.memory_bandwidth_gb_s or 0):
            continue
        price = Price(whole.price_usd, "purchase", "list price of the machine, a guess", whole_price(whole))
        yield Change("machine", f"Take a {name}", {**_AS_OTHER, **_FREE, "device": device.name, "link": None, "cpu": None, **knobs},
                     bought=True, price=price)  # fmt: skip


def _ram(scenario: Scenario, own: Device, found: Estimate) -> Iterator[Change]:
    """More host memory, where some of the model lies there or finds no room."""
    host = found.host
    if host is None or own.unified or found.feasibility == "in_vram":
        return
    now = scenario.system.ram_gb or float(host.limit) / GIB
    for size in _RAM_GB:
        if size > now * 1.2 and not host.fits:
            yield Change("ram", f"Have {size} GB of RAM", {"ram_gb": float(size), "profile": None, "instance": None}, bought=True)
