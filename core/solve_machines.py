"""Which machines a goal may use: the one that is owned, builds that can be bought, cloud instances."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from core.catalog import hardware, instances, links, own_hardware
from core.catalog.hardware import Device, SystemProfile
from core.errors import RoofcastError
from core.goal import Goal, Side
from core.pricing import Whole, build_price, hosts_for, prices, whole_price
from core.quantity import Quantity
from core.scenario import Costs, System
from core.words import device_name

CARDS = (1, 2, 3, 4, 6, 8)  # of one build
_CARD_CLASSES = ("consumer", "workstation")


@dataclass(frozen=True, slots=True)
class Machine:
    """One kind of machine. `price` is the purchase (USD, cited) or None; `usd_per_h` the rent."""

    side: Side
    name: str
    system: System
    price: Quantity | None = None
    usd_per_h: float | None = None
    price_is: str = ""  # which price it is, in words
    note: str = ""

    @property
    def purchase_usd(self) -> float | None:
        return None if self.price is None else float(self.price.value)

    def costs(self, goal: Goal) -> Costs:
        """What it costs to run around the clock: rent, or the purchase spread over its life and electricity."""
        if self.side == "cloud":
            return Costs() if self.system.instance else Costs(usd_per_h=self.usd_per_h)
        paid = 0.0 if self.side == "owned" else self.purchase_usd
        return Costs(purchase_usd=paid, use=1.0, life_years=goal.life_years, electricity_usd_per_kwh=goal.electricity_usd_per_kwh)


def machines(goal: Goal) -> list[Machine]:
    """Every machine that the goal allows, cheapest of its kind first where several are alike. Raises CatalogError for a name."""
    wanted = {hardware.device(name).id for name in goal.devices}
    found: list[Machine] = []
    if "owned" in goal.hardware and goal.owned is not None:
        found.append(_owned(goal.owned, goal.owned_usd_per_h))
    if "build" in goal.hardware:
        found += _builds(goal)
    if "cloud" in goal.hardware:
        found += _cloud(goal)
    return [m for m in found if not wanted or m.side == "owned" or hardware.device(m.system.device).id in wanted]


# What a machine is bought for, of each device and of all together. A figure that nobody published is no reason to buy.
_MORE = ("memory_gb", "memory_bandwidth_gb_s", "fp16_tflops", "bf16_tflops", "fp8_tflops", "int8_tops", "fp4_tflops")


def undominated(listed: Sequence[Machine], goal: Goal) -> list[Machine]:
    """Without machines that another of the same provider, or build, beats: no more devices, of the same maker, none of whose figures
    is lower, at no higher price. What the goal does not ask for is no figure. Machines without a price stay, and of equals the first."""
    if not listed:
        return []
    kinds = [(m.side, m.name.split(" ")[0] if m.side == "cloud" else "", hardware.device(m.system.device).vendor) for m in listed]
    figures = np.array([_figures(m, goal) for m in listed])  # more is better in every column
    kept = []
    for n, machine in enumerate(listed):
        alike = np.array([kind == kinds[n] for kind in kinds]) & (figures >= figures[n]).all(axis=1)
        better = alike & ((figures > figures[n]).any(axis=1) | (np.arange(len(listed)) < n))
        if machine.side == "owned" or np.isnan(figures[n, 0]) or not better.any():
            kept.append(machine)
    return kept


def _figures(machine: Machine, goal: Goal) -> list[float]:
    device, count = hardware.device(machine.system.device), machine.system.count
    price = machine.usd_per_h if machine.side == "cloud" else machine.purchase_usd
    each = [float(getattr(device, name) or 0.0) for name in _MORE]
    if device.unified and machine.system.ram_gb:
        each[0] = machine.system.ram_gb
    found = [float("nan") if price is None else -price, -count, _capability(device), link_of_system(machine.system)]
    if goal.offload:  # who rents buys no memory of hosts to compute there
        found.append(0.0 if machine.side == "cloud" else machine.system.ram_gb or 0.0)
    if goal.max_power_w is not None or goal.objective == "throughput_per_w":
        found.append(-(device.tdp_w or 0.0) * count)
    return [*found, *each, *(amount * count for amount in each)]


def link_of_system(system: System) -> float:
    """GB/s between devices of a machine, one direction; without end where there is only one."""
    device = hardware.device(system.device)
    name = system.link or (hardware.system(system.profile).link if system.profile else device.interconnect)
    if system.count == 1:
        return float("inf")
    return 0.0 if name is None else float(links.link(name).bandwidth_gb_s or 0.0)


def _capability(device: Device) -> float:
    try:
        return float(device.compute_capability or 0)
    except ValueError:  # another maker's name for it
        return 0.0


def _owned(system: System, usd_per_h: float | None) -> Machine:
    hardware.device(system.device)
    many = f"{system.count} × " if system.count > 1 else ""
    price_is = "yours already" if usd_per_h is None else "your price"
    return Machine("owned", f"{many}{device_name(system.device)}", system, usd_per_h=usd_per_h, price_is=price_is)


def _builds(goal: Goal) -> Iterator[Machine]:
    for whole in prices().machines:
        yield _whole(whole)
    own = {device.id: device for device in own_hardware.saved().values()}
    replaced = {base.id for device in own.values() if (base := own_hardware.base_of(device)) is not None}
    shipped = [device for key, device in hardware.devices().items() if key not in replaced]
    for device in (*own.values(), *shipped):
        if device.kind == "gpu" and device.device_class in _CARD_CLASSES and device.price_usd is not None and not device.unified:
            yield from _of_cards(device, goal)


def _of_cards(device: Device, goal: Goal) -> Iterator[Machine]:
    for cards in CARDS:
        hosts = hosts_for(device, cards) if cards <= goal.max_devices else []
        for host in hosts[:1] if goal.have_host else hosts:
            many = f"{cards} × " if cards > 1 else ""
            said = "launch price" if not own_hardware.is_own(device) else "your price"
            system = System(device=own_hardware.listed(device), count=cards, ram_gb=host.ram_gb, cpu=host.cpu, link=host.link)
            yield Machine(
                "build",
                f"{many}{device_name(device.id)}" + ("" if goal.have_host else f" in a {host.name}"),
                system,
                build_price(device, cards, None if goal.have_host else host),
                price_is=f"{said}{' of the cards alone' if goal.have_host else ' of the cards, and a guess for the rest'}",
            )


def _whole(whole: Whole) -> Machine:
    if whole.system:
        profile = hardware.system(whole.system)
        return Machine("build", profile.name, profiled(profile), whole_price(whole), price_is="list price")
    device = hardware.device(str(whole.device))
    said = whole.ram_gb is not None and re.search(rf"\b{whole.ram_gb:g} ?GB", device.name)
    ram = f", {whole.ram_gb:g} GB" if whole.ram_gb and not said else ""
    kind = f"{whole.note}, " if whole.note and device.device_class == "apple" else ""
    system = System(device=device.name, ram_gb=whole.ram_gb)
    return Machine("build", f"{kind}{device_name(device.id)}{ram}", system, whole_price(whole), price_is="list price")


def profiled(profile: SystemProfile) -> System:
    """The system that a shipped machine is."""
    return System(device=hardware.device(profile.device).name, count=profile.count, ram_gb=profile.ram_gb, profile=profile.id)


def _cloud(goal: Goal) -> list[Machine]:
    """Instances with a price; of those of one provider that are alike the cheapest."""
    best: dict[tuple[object, ...], Machine] = {}
    for row in instances.instances():
        if row.unsupported or row.usd_per_h is None or row.device is None or row.count is None or row.host_extra:
            continue
        if row.terms not in goal.terms or row.count > goal.max_devices:
            continue
        if goal.providers and row.provider.casefold() not in {name.casefold() for name in goal.providers}:
            continue
        if goal.region and row.region and row.region != "any" and goal.region.casefold() not in row.region.casefold():
            continue
        try:
            device = hardware.device(row.device)
        except RoofcastError:
            continue
        many = f"{row.count} × " if row.count > 1 else ""
        machine = Machine(
            "cloud",
            f"{row.provider} {row.type}: {many}{device_name(device.id)}",
            System(device=device.name, count=row.count, ram_gb=row.ram_gb, instance=row.label),
            usd_per_h=row.usd_per_h,
            price_is=row.price_is,
            note=row.note or "",
        )
        key = (row.provider, row.device, row.count, row.ram_gb, row.terms)
        if key not in best or machine.usd_per_h < (best[key].usd_per_h or 0):  # type: ignore[operator]
            best[key] = machine
    return list(best.values())
