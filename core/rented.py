"""Cloud instances as people read them: a table, and one of them in a sentence with the way to an estimate on it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from core import choices
from core.catalog import files, hardware, instances, own_hardware
from core.catalog.hardware import Device
from core.catalog.instances import Instance


def rented(device: Device) -> list[dict[str, Any]]:
    """The cloud instances with this device, cheapest for one of them first; those without a price last."""
    id_ = (own_hardware.base_of(device) or device).id
    found = [row for row in instances.instances() if row.device == id_]
    found.sort(key=lambda row: (row.usd_per_h is None, (row.usd_per_h or 0.0) / (row.count or 1)))
    return table(found)


def matching(text: str, providers: Sequence[str] = ()) -> list[Instance]:
    """Instances that hold every word of `text`, those that can be estimated first; empty filters let all pass."""
    found = [row for row in instances.search_instances(text) if not providers or row.provider in providers]
    return sorted(found, key=lambda row: row.unsupported is not None)


def providers() -> list[str]:
    """Who rents the machines out, by name."""
    return sorted({row.provider for row in instances.instances()})


def table(found: Iterable[Instance]) -> list[dict[str, Any]]:
    """A line an instance: US dollars an hour for the whole machine, RAM as marketed."""
    return [
        {
            "Instance": row.label,
            "$/h": row.usd_per_h,
            "Devices": devices_words(row),
            "Provider": row.provider,
            "RAM, GB": row.ram_gb,
            "vCPU": row.vcpus,
            "Terms": row.terms,
            "Region": row.region or "",
            "Price of": row.date or "",
            "Estimate": row.unsupported or "yes",
            "Source": files.source(row.source).title,
        }
        for row in found
    ]


def devices_words(row: Instance) -> str:
    """What the machine computes on: "8 × H100 SXM5 80GB"; "" where it is not known."""
    if row.device is None:
        return ""
    name = hardware.device(row.device).name
    return f"{row.count} × {name}" if row.count else f"a share of one {name}"


def sentence(row: Instance) -> str:
    """The machine and its price, or why no estimate is made on it."""
    parts = [devices_words(row), f"{row.vcpus} vCPU" if row.vcpus else "", f"{row.ram_gb:,.10g} GB of RAM" if row.ram_gb else ""]
    held = ", ".join(part for part in parts if part)
    price = "no price was published where we looked" if row.usd_per_h is None else f"${row.usd_per_h:,.2f} an hour {row.price_is}"
    note = f" ({row.note})" if row.note else ""
    why = f" It cannot be estimated: {row.unsupported}." if row.unsupported else ""
    return f"{row.type} of {row.provider}: {'; '.join(filter(None, (held, price)))}{note}.{why}"


def estimate_knobs(row: Instance) -> dict[str, str]:
    """The knobs in the address of an estimate on this machine; none where it cannot be estimated."""
    if row.unsupported:
        return {}
    known = {knob: amount for knob, amount in choices.instance_knobs(row.label).items() if amount is not None}
    return {"instance": row.label} | {knob: f"{amount}" for knob, amount in known.items()}
