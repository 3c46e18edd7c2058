"""What joins the devices with each other and with the host: the link, and what collectives and copies reach over it.

A card stands in a slot of its own, unless the scenario says by what it is joined to the host: an eGPU's cable, a riser of few
lanes. What two cards send each other goes by the host then, over the slower of their links.
"""

from __future__ import annotations

from typing import Any

from core.catalog import hardware, links
from core.catalog.assumptions import assume
from core.catalog.files import source
from core.catalog.hardware import Device
from core.errors import CatalogError
from core.machine import Bus, Columns, constant, or_else, user
from core.quantity import Quantity, leaf, total
from core.setting import Setting
from core.units import GB

NODE = 8  # devices that share a fast fabric, unless the system says otherwise


def link_of(setting: Setting) -> links.Link:
    """What joins the devices: as said, else the fabric of data-centre parts; other cards speak over PCIe."""
    system, device = setting.scenario.system, setting.device
    if system.link:
        return links.link(system.link)
    if setting.others or system.host_link:
        return min(
            (slot(device, system.host_link), *(slot(further.device, further.cards.host_link) for further in setting.others)),
            key=lambda link: link.bandwidth_gb_s or 0.0,
        )
    if system.profile:
        return links.link(hardware.system(system.profile).link)
    if device.device_class == "datacenter" and device.interconnect not in (None, "none"):
        return links.link(str(device.interconnect))
    return slot(device)


def slot(device: Device, named: str | None = None) -> links.Link:
    """What joins a device to the host: as named, else the slot that it was made for. Raises CatalogError for an unknown name."""
    if named is not None:
        return links.host_link(named)
    try:
        return links.link(device.pcie_link or "pcie-4.0-x16")
    except CatalogError:  # an odd number of lanes
        return links.link("pcie-4.0-x16")


def buses(setting: Setting, facts: dict[str, Any]) -> tuple[dict[int, Bus], str]:
    """Collectives by number of ranks (powers of two): measured on this device or link, else the link's figure times a share."""
    link, system = link_of(setting), setting.scenario.system
    if link.bandwidth_gb_s is None:
        link = links.link("pcie-4.0-x16")
    by_host = system.link is None and bool(setting.others or system.host_link)
    known = {**facts, "link_kind": "pcie" if by_host or link.id.startswith("pcie") else "fabric"}
    share, wait = assume("collective_efficiency", **known), assume("collective_latency", **known)
    if by_host and (further := link.fact("latency_us")) is not None:
        wait = total([wait, further], f"latency of a collective over {link.name}")
    note = f"{link.bandwidth_gb_s:g} GB/s per direction × {share.value:g}"
    bandwidth = leaf(f"{link.name}, reached by collectives", (link.bandwidth_gb_s or 0) * GB * share.value, "B/s", "assumption",
                     source(link.source, guess=True, note=note))  # fmt: skip
    straight = Bus(bandwidth, wait, constant("message at half bandwidth", 0.0, "B"), constant("exponent", 1.0))
    found: dict[int, Bus] = {}
    ranks = 2
    node = system.devices_per_node or (72 if "nvl72" in (system.profile or "") else NODE)
    while ranks <= 4096:
        measured = None
        for name in () if by_host else (setting.device.id, link.id) if system.link is None else (link.id,):
            measured = measured or links.collective(name, "all_reduce", ranks)
        if measured is not None:
            bus, latency = measured.fact("bus_bandwidth_gb_s"), measured.fact("latency_us")
            half, exponent = measured.fact("half_bytes"), measured.fact("exponent")
            found[ranks] = Bus(bus, latency, half, exponent)
        elif ranks > 8 and ranks <= node and 8 in found:
            found[ranks] = found[8]
        else:
            found[ranks] = straight
        ranks *= 2
    return found, link.name


def copies(setting: Setting, facts: dict[str, Any]) -> Quantity:
    """Bytes a second at which weights reach a device from the host: the user's figure, else a share of the link's."""
    system = setting.scenario.system
    profile = hardware.system(system.profile) if system.profile else None
    if system.pcie_gb_s:
        return user("host link", system.pcie_gb_s * GB * assume("host_link_efficiency", **facts).value, "B/s")
    if system.host_link is None and profile and profile.host_link:
        return over(links.link(profile.host_link), facts)
    return over(slot(setting.device, system.host_link), facts, named=system.host_link is not None)


def over(link: links.Link, facts: dict[str, Any], *, named: bool = False) -> Quantity:
    """What copies reach of a link between host and device; `named` where the scenario says which it is."""
    share = assume("host_link_efficiency", **facts, **({"link_kind": link.kind} if named else {}))
    return leaf(f"{link.name}, reached by copies", (link.bandwidth_gb_s or 31.5) * GB * share.value, "B/s", "assumption",
                source(link.source, note=f"{link.bandwidth_gb_s:g} GB/s per direction × {share.value:g}"))  # fmt: skip


def cable(setting: Setting, facts: dict[str, Any], device: Device, named: str | None) -> Columns | None:
    """Rate and latency of a link that was named, for what passes it in every step; None for a slot of its own, whose part is
    within what a step costs anyway."""
    if named is None:
        return None
    link = slot(device, named)
    system = setting.scenario.system
    rate = user("host link", system.pcie_gb_s * GB, "B/s") if system.pcie_gb_s else over(link, facts, named=True)
    return Columns(rate=rate, latency=or_else(link.fact("latency_us"), constant("latency", 0.0, "s")))
