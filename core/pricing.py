"""What machines cost: hosts to put cards into and machines that are sold whole, from data/catalog/builds.toml.

Prices of cards stand with the devices (launch prices), those of cloud instances with the instances. A device of one's own with a
price of its own goes before all of them.
"""

from __future__ import annotations

import functools
from typing import Literal

from pydantic import Field, model_validator

from core.catalog import files, hardware
from core.catalog.files import CatalogRecord
from core.catalog.hardware import Device
from core.quantity import Quantity, leaf, total


class Host(CatalogRecord):
    """A machine without cards, as built for its price."""

    id: str
    name: str
    cards: int = Field(ge=1)
    ram_gb: float = Field(gt=0)
    cpu: str
    link: str
    classes: tuple[str, ...]
    price_usd: float = Field(gt=0)
    low: float | None = None
    high: float | None = None
    source: str
    note: str | None = None


class Whole(CatalogRecord):
    """A machine that is sold as it is: a device with its memory, or a system of the catalog."""

    device: str | None = None
    system: str | None = None
    ram_gb: float | None = Field(None, gt=0)
    price_usd: float = Field(gt=0)
    low: float | None = None
    high: float | None = None
    source: str
    note: str | None = None

    @model_validator(mode="after")
    def _one(self) -> Whole:
        if (self.device is None) == (self.system is None):
            raise ValueError("give either 'device' or 'system'")
        return self


class _Prices(CatalogRecord):
    hosts: tuple[Host, ...]
    machines: tuple[Whole, ...]


@functools.cache
def prices() -> _Prices:
    """Every price of data/catalog/builds.toml. Raises CatalogError for a file that is wrong."""
    found = files.record(_Prices, files.read(files.CATALOG / "builds.toml"), "builds.toml")
    for host in found.hosts:
        hardware.device(host.cpu, "cpu")
    for whole in found.machines:
        hardware.device(whole.device) if whole.device else hardware.system(str(whole.system))
    return found


def hosts_for(device: Device, cards: int) -> list[Host]:
    """The hosts that take so many of these cards, cheapest first."""
    fits = [host for host in prices().hosts if host.cards >= cards and device.device_class in host.classes]
    return sorted(fits, key=lambda host: host.price_usd)


def _price(name: str, of: Host | Whole) -> Quantity:
    cited = files.source(of.source, low=of.low, high=of.high)
    if of.note:
        cited = files.source(of.source, low=of.low, high=of.high, note=of.note)
    return leaf(f"price of a {name}", of.price_usd, "USD", "assumption" if cited.guess else "datasheet", cited)


def whole_price(whole: Whole) -> Quantity:
    """What a machine sold whole costs, cited."""
    name = hardware.system(whole.system).name if whole.system else hardware.device(str(whole.device)).name
    return _price(name, whole)


def build_price(device: Device, cards: int, host: Host | None) -> Quantity | None:
    """What cards cost with the host that takes them (None: it is there already), cited; None where the card has no price."""
    card = device.fact("price_usd")
    if card is None or card.source is None:
        return None
    kind: Literal["assumption", "datasheet", "user"] = card.kind if card.kind in ("datasheet", "user") else "assumption"  # type: ignore[assignment]
    cards_price = leaf(f"{cards} × launch price of {device.name}", card.value * cards, "USD", kind, card.source)
    return cards_price if host is None else total([cards_price, _price(host.name, host)], "price of the build")
