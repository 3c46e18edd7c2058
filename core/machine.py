"""The machine as numbers: what each processor reaches, what joins the devices, what the host holds, what it costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np

from core.catalog import hardware, instances, links, own_hardware
from core.catalog.assumptions import assume, runtimes_named
from core.catalog.files import source
from core.catalog.hardware import Device
from core.catalog.kernels import kernel
from core.errors import CatalogError
from core.quantity import LeafKind, Quantity, Source, leaf
from core.setting import Setting
from core.units import GB, GIB, KWH, TFLOP

_PEAK_FIELDS = {"fp32": "fp32_tflops", "fp16": "fp16_tflops", "bf16": "bf16_tflops", "fp8": "fp8_tflops",
                "int8": "int8_tops", "fp4": "fp4_tflops"}  # fmt: skip


class Columns(SimpleNamespace):
    """Named numbers of one scenario (or arrays of many), see `core.columns.columns` for the names."""


def user(name: str, amount: Any, unit: str, default: float | None = None) -> Quantity:
    return leaf(name, float(amount), unit, "user", Source("user", "You said so", default=default))


def said(part: Any, field: str, name: str, amount: Any, unit: str) -> Quantity:
    """A knob as a leaf: the user's where it differs from what stands there unasked, else a default."""
    default = type(part).model_fields[field].default
    if getattr(part, field) != default:
        return user(name, amount, unit, None if default is None else float(default) * (amount / getattr(part, field) if amount else 1.0))
    return leaf(name, float(amount), unit, "assumption", Source("default", "Roofcast's default, unless you say otherwise", guess=True))


def constant(name: str, amount: float, unit: str = "") -> Quantity:
    return leaf(name, amount, unit, "constant", source("nameplate"))


def unknown(name: str, unit: str) -> Quantity:
    return leaf(name, float("nan"), unit, "assumption", source("nameplate", note="nobody published it: unknown, not guessed"))


def or_else(found: Quantity | None, otherwise: Quantity) -> Quantity:
    return otherwise if found is None else found


def facts_of(setting: Setting, device: Device, backend: str) -> dict[str, Any]:
    return {
        "runtime": setting.runtime.id if setting.runtime.id in runtimes_named() else setting.engine,
        "prompts_in_chunks": setting.runtime.chunked_prefill,
        "audience": setting.runtime.audience,
        "engine": setting.runtime.engine,
        "backend": backend,
        "family": device.family,
        "arch": device.arch,
        "vendor": device.vendor,
        "kind": device.kind,
        "device_class": device.device_class,
        "kernel_class": setting.quant.kernel_class,
        "kv": "16bit" if setting.kv.bytes_per_element >= 2 else "fp8",
        "graphs": setting.graphs,
    }


def _peak(device: Device, names: Sequence[str], share: float = 1.0, cap: float | None = None) -> Quantity:
    """The first of these peaks that somebody published, as a leaf; NaN where none is known."""
    for name in names:
        fact = device.fact(_PEAK_FIELDS[name])
        if fact is not None and fact.source is not None:
            amount = fact.value * share if cap is None else min(fact.value * share, cap * TFLOP)
            if share != 1.0:
                cited = source(fact.source.key, guess=True, note=f"{share:g} operations where the figure counts one")
                return leaf(f"{fact.name} × {share:g}", amount, "FLOP/s", "assumption", cited)
            return leaf(fact.name, amount, "FLOP/s", fact.kind or "datasheet", fact.source)
    return unknown(f"peak of {device.name}", "FLOP/s")


_RATES = ("weights_efficiency", "activation_efficiency", "kv_efficiency", "kv_half", "experts_efficiency", "compute_efficiency",
          "compute_half", "experts_compute_efficiency", "experts_half", "attention_efficiency", "attention_half",
          "decode_attention_efficiency", "layer_overhead", "moe_layer_overhead", "routing_traffic")  # fmt: skip


def place_of(setting: Setting, device: Device, backend: str) -> Columns:
    """One kind of processor with its memory: rates and what is reached of them."""
    facts = facts_of(setting, device, backend)
    rule = kernel(**facts)
    bandwidth = or_else(device.fact("memory_bandwidth_gb_s"), unknown(f"memory bandwidth of {device.name}", "B/s"))
    place = Columns(
        name=device.name,
        bandwidth=bandwidth,
        peak=_peak(device, [rule.compute, *rule.otherwise], rule.share, rule.cap_tflops),
        attention_peak=_peak(device, ["bf16", "fp16", "fp32"]),
        few_limit=constant("tokens up to which the vector kernel runs", rule.few_up_to, "tok"),
        kernel=rule.note or rule.compute,
    )
    few = place.peak if rule.few_compute is None else _peak(device, [rule.few_compute], rule.few_share)
    place.peak_few = place.peak if np.isnan(few.value) else few
    for name in _RATES:
        setattr(place, name, assume(name, **facts))
    # Recurrent mixers start from what attention and weights reach; a fit may move them apart.
    place.state_compute_efficiency, place.state_efficiency = place.attention_efficiency, place.weights_efficiency
    place.bandwidth_ceiling, place.peak_ceiling = _ceiling(place.bandwidth), _ceiling(place.peak)
    return place


def _ceiling(rate: Quantity) -> float:
    """The largest share of a rate that a fit may claim: a little more than all where the rate is a guess."""
    return 1.05 if rate.source is not None and rate.source.guess else 1.0


@dataclass(frozen=True, slots=True)
class Bus:
    """Collectives among some number of ranks: asymptotic bandwidth, latency, and how small messages fall short."""

    bandwidth: Any
    latency: Any
    half: Any
    exponent: Any


def link_of(setting: Setting) -> links.Link:
    """What joins the devices: as said, else the fabric of data-centre parts; other cards speak over PCIe."""
    system, device = setting.scenario.system, setting.device
    if system.link:
        return links.link(system.link)
    if system.profile:
        return links.link(hardware.system(system.profile).link)
    if device.device_class == "datacenter" and device.interconnect not in (None, "none"):
        return links.link(str(device.interconnect))
    return _pcie(device)


def _pcie(device: Device) -> links.Link:
    try:
        return links.link(device.pcie_link or "pcie-4.0-x16")
    except CatalogError:  # an odd number of lanes
        return links.link("pcie-4.0-x16")


def buses(setting: Setting, facts: dict[str, Any]) -> tuple[dict[int, Bus], str]:
    """Collectives by number of ranks (powers of two): measured on this device or link, else the link's figure times a share."""
    link, device = link_of(setting), setting.device
    if link.bandwidth_gb_s is None:
        link = links.link("pcie-4.0-x16")
    known = {**facts, "link_kind": "pcie" if link.id.startswith("pcie") else "fabric"}
    share, wait = assume("collective_efficiency", **known), assume("collective_latency", **known)
    note = f"{link.bandwidth_gb_s:g} GB/s per direction × {share.value:g}"
    bandwidth = leaf(f"{link.name}, reached by collectives", (link.bandwidth_gb_s or 0) * GB * share.value, "B/s", "assumption",
                     source(link.source, guess=True, note=note))  # fmt: skip
    straight = Bus(bandwidth, wait, constant("message at half bandwidth", 0.0, "B"), constant("exponent", 1.0))
    found: dict[int, Bus] = {}
    ranks = 2
    node = setting.scenario.system.devices_per_node or (72 if "nvl72" in (setting.scenario.system.profile or "") else 8)
    while ranks <= 4096:
        measured = None
        for name in (device.id, link.id) if setting.scenario.system.link is None else (link.id,):
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


def device_memory(setting: Setting, facts: dict[str, Any]) -> Quantity:
    """Bytes of one device that programs can use."""
    system, device = setting.scenario.system, setting.device
    if system.device_memory_gib:
        return user(f"memory of {device.name}", system.device_memory_gib * GIB, "B")
    if device.unified or setting.on_cpu:
        share = assume("unified_budget", **facts)
        if system.ram_gb:
            whole, key, guess = system.ram_gb * GIB, "user", False
            cited = Source(key, "You said so")
        elif (fact := device.fact("memory_gb")) is not None and fact.source is not None:
            whole, cited, guess = fact.value, fact.source, fact.source.guess
        else:
            whole, cited, guess = 32 * GIB, source("general-knowledge-physics"), True
        note = f"{whole / GIB:.4g} GiB × {share.value:g} that the system lets the engine use ({cited.title})"
        kind: LeafKind = "assumption"
        return leaf(f"usable memory of {device.name}", whole * share.value, "B", kind,
                    source(share.source.key if share.source else "nameplate", note=note, guess=guess or True))  # fmt: skip
    usable = device.usable_memory()
    if device.memory_usable_gib is None and usable.source is not None:
        share = assume("driver_share", **facts)
        note = f"{usable.value / GIB:.4g} GiB × {share.value:g} after the driver's reserve; {usable.source.title}"
        return leaf(usable.name, usable.value * share.value, "B", "assumption",
                    source(share.source.key if share.source else "nameplate", note=note))  # fmt: skip
    return usable


def _rented(setting: Setting) -> instances.Instance | None:
    """The cloud instance that the machine is; None where device or count are no longer its own."""
    system = setting.scenario.system
    if system.instance is None:
        return None
    found, device = instances.instance(system.instance), hardware.device(system.device)
    same = (own_hardware.base_of(device) or device).id == found.device and system.count == found.count
    return found if same else None


def host_of(setting: Setting, c: Columns, facts: dict[str, Any]) -> None:
    """The host's memory and processor, for what the device does not hold. None on unified memory and CPU runs."""
    system, device = setting.scenario.system, setting.device
    profile = hardware.system(system.profile) if system.profile else None
    datacenter = device.device_class == "datacenter"
    guess = source("general-knowledge-physics", note="typical of such machines; say yours", guess=True)
    instance = _rented(setting)
    rented = None if instance is None else instance.fact("ram_gb")
    if rented is not None and (system.ram_gb is None or system.ram_gb * GIB == rented.value):
        c.host_memory = rented
    elif system.ram_gb:
        c.host_memory = user("host memory", system.ram_gb * GIB, "B")
    elif profile:
        c.host_memory = profile.fact("ram_gb")
    else:
        c.host_memory = leaf("host memory", (128.0 * system.count if datacenter else 32.0) * GIB, "B", "assumption", guess)
    c.host_efficiency = assume("host_weights_efficiency", **facts)
    c.host_budget = assume("unified_budget", **{**facts, "device_class": "cpu"})
    share = assume("host_link_efficiency", **facts)
    if system.pcie_gb_s:
        c.pcie = user("host link", system.pcie_gb_s * GB * share.value, "B/s")
    else:
        link = links.link(profile.host_link) if profile and profile.host_link else _pcie(device)
        c.pcie = leaf(f"{link.name}, reached by copies", (link.bandwidth_gb_s or 31.5) * GB * share.value, "B/s", "assumption",
                      source(link.source, note=f"{link.bandwidth_gb_s:g} GB/s per direction × {share.value:g}"))  # fmt: skip
    if device.unified or setting.on_cpu or setting.runtime.offload == "none":
        return
    cpu = setting.cpu or hardware.device("EPYC 9354" if datacenter else "Ryzen 9 7950X", "cpu")
    host = place_of(setting, cpu, "cpu")
    if system.ram_bandwidth_gb_s:
        host.bandwidth = user("host memory bandwidth", system.ram_bandwidth_gb_s * GB, "B/s")
    elif profile:
        host.bandwidth = profile.fact("ram_bandwidth_gb_s")
    elif setting.cpu is None:
        host.bandwidth = leaf("host memory bandwidth", host.bandwidth.value, "B/s", "assumption",
                              source("general-knowledge-physics", guess=True, note=f"as of a {cpu.name}; say yours"))  # fmt: skip
    host.weights_efficiency = host.experts_efficiency = c.host_efficiency
    c.host = host


def money_of(setting: Setting, c: Columns) -> None:
    costs, device = setting.scenario.costs, setting.device
    c.tariff = leaf("electricity", (costs.electricity_usd_per_kwh if costs.electricity_usd_per_kwh is not None else 0.15) / KWH,
                    "USD/J", "user" if costs.electricity_usd_per_kwh is not None else "assumption",
                    Source("user", "You said so") if costs.electricity_usd_per_kwh is not None
                    else source("general-knowledge-physics", guess=True, note="0.15 USD/kWh", low=0.05 / KWH, high=0.45 / KWH))  # fmt: skip
    c.life = said(costs, "life_years", "useful life", costs.life_years * 365.25 * 24 * 3600, "s")
    c.use = said(costs, "use", "share of its life in use", costs.use, "")
    instance = _rented(setting)
    c.rental = None if instance is None else instance.paid(costs.usd_per_h)
    if c.rental is None and costs.usd_per_h is not None:
        c.rental = user("rent", costs.usd_per_h / 3600, "USD/s")
    price = device.fact("price_usd")
    if costs.purchase_usd is not None:
        c.price = user("purchase price", costs.purchase_usd, "USD")
    elif price is not None and price.source is not None:
        note = f"list price × {setting.scenario.system.count}, the devices alone"
        c.price = leaf(f"price of {device.name}", price.value * setting.scenario.system.count, "USD", price.kind or "datasheet",
                       source(price.source.key, guess=price.source.guess, note=note))  # fmt: skip
    else:
        c.price = None
        hourly = device.fact("cloud_usd_per_h")
        if c.rental is None and hourly is not None and hourly.source is not None:
            note = f"one accelerator's list price × {setting.scenario.system.count}; {hourly.source.note or ''}".rstrip("; ")
            cited = source(hourly.source.key, guess=hourly.source.guess, note=note)
            c.rental = leaf("rent", hourly.value * setting.scenario.system.count, "USD/s", hourly.kind or "datasheet", cited)
