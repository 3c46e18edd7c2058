"""Which machines a goal may use: the one that is owned, builds that can be bought, cloud instances."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from core.catalog import hardware, instances, own_hardware
from core.catalog.hardware import Device, SystemProfile
from core.errors import RoofcastError
from core.goal import Goal, Side
from core.pricing import Whole, build_price, host_for, prices, whole_price
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
            return Costs()
        paid = 0.0 if self.side == "owned" else self.purchase_usd
        return Costs(purchase_usd=paid, use=1.0, life_years=goal.life_years, electricity_usd_per_kwh=goal.electricity_usd_per_kwh)


def machines(goal: Goal) -> list[Machine]:
    """Every machine that the goal allows, cheapest of its kind first where several are alike. Raises CatalogError for a name."""
    wanted = {hardware.device(name).id for name in goal.devices}
    found: list[Machine] = []
    if "owned" in goal.hardware and goal.owned is not None:
        found.append(_owned(goal.owned))
    if "build" in goal.hardware:
        found += [m for m in _builds(goal) if not wanted or hardware.device(m.system.device).id in wanted]
    if "cloud" in goal.hardware:
        found += [m for m in _cloud(goal) if not wanted or hardware.device(m.system.device).id in wanted]
    return found


def _owned(system: System) -> Machine:
    hardware.device(system.device)
    many = f"{system.count} × " if system.count > 1 else ""
    return Machine("owned", f"{many}{device_name(system.device)}", system, price_is="yours already")


def _builds(goal: Goal) -> Iterator[Machine]:
    for whole in prices().machines:
        yield _whole(whole)
    own = {device.id: device for device in own_hardware.saved().values()}
    replaced = {base.id for device in own.values() if (base := own_hardware.base_of(device)) is not None}
    shipped = {key: device for key, device in hardware.devices().items() if key not in replaced}
    for device in (*own.values(), *shipped.values()):
        if device.kind == "gpu" and device.device_class in _CARD_CLASSES and device.price_usd is not None and not device.unified:
            yield from _of_cards(device, goal)


def _of_cards(device: Device, goal: Goal) -> Iterator[Machine]:
    for cards in CARDS:
        host = host_for(device, cards)
        if cards > goal.max_devices or host is None:
            continue
        many = f"{cards} × " if cards > 1 else ""
        said = "launch price" if not own_hardware.is_own(device) else "your price"
        system = System(device=own_hardware.listed(device), count=cards, ram_gb=host.ram_gb, cpu=host.cpu, link=host.link)
        yield Machine(
            "build",
            f"{many}{device_name(device.id)}, {host.name}",
            system,
            build_price(device, cards, None if goal.have_host else host),
            price_is=f"{said}{' of the cards alone' if goal.have_host else ' of the cards, and a guess for the rest'}",
        )


def _whole(whole: Whole) -> Machine:
    if whole.system:
        profile = hardware.system(whole.system)
        return Machine("build", profile.name, profiled(profile), whole_price(whole), price_is="list price")
    device = hardware.device(str(whole.device))
    ram = f", {whole.ram_gb:g} GB" if whole.ram_gb and f"{whole.ram_gb:g} ?GB" not in device.name else ""
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
