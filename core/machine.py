"""The machine as numbers: what each processor reaches and what the machine costs. Links: core.joins; memory and host: core.host."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np

from core.catalog import hardware, instances, own_hardware
from core.catalog.assumptions import assume, runtimes_named
from core.catalog.files import source
from core.catalog.hardware import Device
from core.catalog.kernels import kernel
from core.quantity import Quantity, Source, leaf, total
from core.setting import Setting
from core.units import KWH, TFLOP

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


def rented(setting: Setting) -> instances.Instance | None:
    """The cloud instance that the machine is; None where device or count are no longer its own."""
    system = setting.scenario.system
    if system.instance is None:
        return None
    found, device = instances.instance(system.instance), hardware.device(system.device)
    same = (own_hardware.base_of(device) or device).id == found.device and system.count == found.count and not system.others
    return found if same else None


def money_of(setting: Setting, c: Columns) -> None:
    costs, device, system = setting.scenario.costs, setting.device, setting.scenario.system
    c.tariff = leaf("electricity", (costs.electricity_usd_per_kwh if costs.electricity_usd_per_kwh is not None else 0.15) / KWH,
                    "USD/J", "user" if costs.electricity_usd_per_kwh is not None else "assumption",
                    Source("user", "You said so") if costs.electricity_usd_per_kwh is not None
                    else source("general-knowledge-physics", guess=True, note="0.15 USD/kWh", low=0.05 / KWH, high=0.45 / KWH))  # fmt: skip
    c.life = said(costs, "life_years", "useful life", costs.life_years * 365.25 * 24 * 3600, "s")
    c.use = said(costs, "use", "share of its life in use", costs.use, "")
    instance = rented(setting)
    c.rental = None if instance is None else instance.paid(costs.usd_per_h)
    if c.rental is None and costs.usd_per_h is not None:
        c.rental = user("rent", costs.usd_per_h / 3600, "USD/s")
    kinds = [(system.count * (system.sockets or 1 if setting.on_cpu else 1), device)]
    kinds += [(further.cards.count, further.device) for further in setting.others]
    prices = [_times(count, one.fact("price_usd"), f"price of {one.name}", "the devices alone") for count, one in kinds]
    if costs.purchase_usd is not None:
        c.price = user("purchase price", costs.purchase_usd, "USD")
    elif (known := _all(prices, "price of the devices")) is not None:
        c.price = known
    else:
        c.price = None
        rents = [_times(count, one.fact("cloud_usd_per_h"), "rent", "") for count, one in kinds]
        if c.rental is None:
            c.rental = _all(rents, "rent")


def _times(count: int, figure: Quantity | None, name: str, what: str) -> Quantity | None:
    """A list price times the number of devices; None where there is none."""
    if figure is None or figure.source is None:
        return None
    note = f"list price × {count}, {what}" if what else f"one accelerator's list price × {count}; {figure.source.note or ''}".rstrip("; ")
    cited = source(figure.source.key, guess=figure.source.guess, note=note)
    return leaf(name, figure.value * count, figure.unit, figure.kind or "datasheet", cited)


def _all(prices: list[Quantity | None], name: str) -> Quantity | None:
    """Prices together; None where one is not known."""
    known = [price for price in prices if price is not None]
    if len(known) < len(prices):
        return None
    found: Quantity = known[0] if len(known) == 1 else total(known, name)
    return found
