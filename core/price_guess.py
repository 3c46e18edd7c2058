"""What a build's machine might cost where the catalog has no price of its devices: whole machines that hold such a device."""

from __future__ import annotations

from dataclasses import dataclass

from core.catalog import hardware
from core.compare import ALONE, Build
from core.pricing import Whole, prices
from core.scenario import Scenario


@dataclass(frozen=True, slots=True)
class Guess:
    """A price to count for a build's machine, in US dollars, and what it is of."""

    usd: float
    of: str

    def counted(self, asked: Scenario) -> Scenario:
        """The scenario with this price, as one that the user gives."""
        return asked.with_(purchase_usd=self.usd)


def guess(one: Build) -> Guess | None:
    """A price for a build whose costs leave the machine out; None where they do not, or where no such machine is known."""
    if one.found is None or one.found.resolved["cost_basis"] != ALONE or one.scenario.system.count != 1:
        return None
    device = hardware.device(one.scenario.system.device)
    wanted = one.scenario.system.ram_gb or 0.0
    fits = [whole for whole in prices().machines if _device(whole).id == device.id and (_ram(whole) or wanted) >= wanted]
    cheapest = min(fits, key=lambda whole: whole.price_usd, default=None)
    return None if cheapest is None else Guess(cheapest.price_usd, _name(cheapest))


def _device(whole: Whole) -> hardware.Device:
    return hardware.device(hardware.system(whole.system).device if whole.system else str(whole.device))


def _ram(whole: Whole) -> float | None:
    return hardware.system(whole.system).ram_gb if whole.system else whole.ram_gb


def _name(whole: Whole) -> str:
    if whole.system:
        return hardware.system(whole.system).name
    ram = f", {whole.ram_gb:g} GB" if whole.ram_gb else ""
    return f"{whole.note + ', ' if whole.note else ''}{_device(whole).name}{ram}"
