"""Devices to and from JSON: our own form, Mantile's hardware configurations, and `hardware_profiles` of the estimator's specification."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from core.catalog import hardware, own_hardware
from core.catalog.hardware import Device
from core.catalog.own_hardware import FIELDS, built
from core.errors import CatalogError
from core.scenario import System

FORMAT = "roofcast-hardware-1"
MAX_BYTES = 1_000_000
MAX_DEVICES = 200
FILE_NAME = "roofcast-hardware.json"


@dataclass(slots=True)
class Imported:
    """`devices` as read; `systems`: the knobs of whole machines, by name; `notes`: what was assumed or left out, sentences."""

    devices: list[Device] = field(default_factory=list)
    systems: dict[str, dict[str, Any]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def export(devices: Sequence[Device]) -> str:
    """Devices as JSON that `read` takes back: what each started from, what was set, and for other tools the whole record."""
    entries = []
    for device in devices:
        base, changes = own_hardware.parts(device.id) if own_hardware.is_own(device) else (device.name, {})
        record = device.model_dump(include=set(FIELDS), exclude_defaults=True)
        entries.append({"base": base or None, "set": {key: getattr(device, key) for key in changes}, "record": record})
    return json.dumps({"format": FORMAT, "devices": entries}, indent=1, ensure_ascii=False) + "\n"


def read(raw: bytes) -> Imported:
    """The devices of a JSON file in any of the three forms. Raises CatalogError, one sentence, for what cannot be read."""
    if len(raw) > MAX_BYTES:
        raise CatalogError(f"The file has {len(raw):,} bytes; at most {MAX_BYTES:,} are read.")
    try:
        found = json.loads(raw.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise CatalogError("The file is not JSON in UTF-8; export it again and try once more.") from error
    entries = found if isinstance(found, list) else [found]
    if isinstance(found, dict) and found.get("format") == FORMAT:
        listed = found.get("devices")
        if not isinstance(listed, list):
            raise CatalogError(f"A file of the format {FORMAT} needs a list of devices.")
        entries = listed
    if not entries or len(entries) > MAX_DEVICES or not all(isinstance(entry, dict) for entry in entries):
        raise CatalogError(f"The file must hold between 1 and {MAX_DEVICES} devices, each an object with its fields.")
    imported = Imported()
    for entry in entries:
        _reader(entry)(entry, imported)
    return imported


def _reader(entry: Mapping[str, Any]) -> Any:
    if "set" in entry or "record" in entry:
        return _ours
    if isinstance(entry.get("gpus"), list):
        return _profile
    if {"compute", "memory"} <= set(entry) or "hbm_capacity_gb" in entry:
        return _mantile
    raise CatalogError(
        "The file holds none of the forms that are known: Roofcast's own (base, set), Mantile's (compute, memory) "
        "or hardware profiles (gpus, interconnect, cpu)."
    )


def _ours(entry: Mapping[str, Any], imported: Imported) -> None:
    base = _text(entry, "base") or ""
    changes = entry.get("set") or ({} if base else entry.get("record"))
    if not isinstance(changes, dict):
        raise CatalogError("A device's “set” must be an object of fields.")
    imported.devices.append(built(base, changes))


# ---------------------------------------------------------------- Mantile

_COMPUTE = {"fp32": "fp32_tflops", "tf32": None, "fp16": "fp16_tflops", "bf16": "bf16_tflops", "fp8": "fp8_tflops",
            "int8": "int8_tops", "fp4": "fp4_tflops", "nvfp4": "fp4_tflops", "mxfp4": "fp4_tflops"}  # fmt: skip
_MOST_MEMORY = 1000  # GB of one chip; more are many chips counted together
_FLAT = {"fp16_tflops": "fp16_tflops", "bf16_tflops": "bf16_tflops", "fp8_tflops": "fp8_tflops", "int8_tops": "int8_tops",
         "fp32_tflops": "fp32_tflops", "fp4_tflops": "fp4_tflops", "hbm_capacity_gb": "memory_gb",
         "hbm_bandwidth_gbps": "memory_bandwidth_gb_s"}  # fmt: skip


def _mantile(entry: Mapping[str, Any], imported: Imported) -> None:
    """name, manufacturer, compute by type, memory tiers, interconnect; older files have the figures side by side. GB/s throughout."""
    name = _text(entry, "name") or "Imported device"
    figures: dict[str, Any] = {ours: entry[theirs] for theirs, ours in _FLAT.items() if theirs in entry}
    compute = entry.get("compute") or {}
    for kind, amount in compute.items() if isinstance(compute, dict) else ():
        ours = _COMPUTE.get(str(kind).lower(), "")
        if ours:
            figures[ours] = amount
        else:
            imported.notes.append(f"{name}: a rate for {kind} is not modelled; it is left out.")
    tiers = [tier for tier in entry.get("memory") or [] if isinstance(tier, dict)] if isinstance(entry.get("memory"), list) else []
    if tiers:
        first = next((tier for tier in tiers if str(tier.get("type", "")).upper().startswith(("HBM", "GDDR"))), tiers[0])
        figures |= {
            "memory_gb": first.get("capacity_gb"),
            "memory_bandwidth_gb_s": first.get("bandwidth_gbps"),
            "memory_type": first.get("type"),
        }
        if len(tiers) > 1:
            imported.notes.append(f"{name}: only the memory “{first.get('type')}” is taken; {len(tiers) - 1} slower ones are left out.")
    chips = _whole(entry, "chips_per_node")
    figures = {key: amount for key, amount in figures.items() if amount not in (None, 0, 0.0)}  # its forms write 0 for unknown
    if chips > 1 and isinstance(figures.get("memory_gb"), int | float) and figures["memory_gb"] > _MOST_MEMORY:
        figures = {key: amount / chips if isinstance(amount, int | float) else amount for key, amount in figures.items()}
        imported.notes.append(f"{name}: its figures are those of all {chips} chips together; each chip is taken to have an equal share.")
    if entry.get("interconnect_bandwidth_gbps"):
        imported.notes.append(f"{name}: its link is not taken, for the file does not say which it is; choose one under “Edit or add”.")
    base = _same(name)
    kind = {"name": _named(name, base), "vendor": _text(entry, "manufacturer") or (base.vendor if base else "unknown")}
    if base is None:
        kind |= {"device_class": "datacenter", "kind": "gpu", "arch": "unknown", "family": "unknown"}
        imported.notes.append(
            f"{name}: no shipped device has this name, so its class is taken as data centre and its architecture as unknown."
        )
    imported.devices.append(built(base.name if base else "", {**kind, **figures}))
    count = chips * _whole(entry, "nodes_per_cluster")
    if count > 1:
        knobs = {"device": own_hardware.listed(imported.devices[-1]), "count": count}
        imported.systems[name] = {**knobs, "devices_per_node": chips} if chips > 1 else knobs


# ---------------------------------------------------------------- hardware_profiles


_GPU = {"vram_gb": "memory_gb", "mem_bw_gbps": "memory_bandwidth_gb_s", "fp16_tflops": "fp16_tflops", "bf16_tflops": "bf16_tflops",
        "fp8_tflops": "fp8_tflops", "int8_tops": "int8_tops", "pcie_gen": "pcie_generation", "pcie_lanes": "pcie_lanes"}  # fmt: skip


def _profile(entry: Mapping[str, Any], imported: Imported) -> None:
    """hardware_id, gpus (sku, count, vram_gb, mem_bw_gbps, fp16_tflops, pcie), interconnect, cpu, ram_gb. GB/s throughout."""
    title = _text(entry, "hardware_id") or "Imported machine"
    gpus = [gpu for gpu in entry["gpus"] if isinstance(gpu, dict)]
    if not gpus:
        raise CatalogError(f"{title}: the list of gpus is empty; a profile needs at least one.")
    for number, gpu in enumerate(gpus):
        sku = _text(gpu, "sku")
        if not sku:
            raise CatalogError(f"{title}: a GPU has no sku; give its name.")
        base = _same(sku)
        figures: dict[str, Any] = {ours: gpu[theirs] for theirs, ours in _GPU.items() if gpu.get(theirs)}
        kind: dict[str, Any] = {}
        if base is None:
            kind = {"name": sku, "vendor": "unknown", "device_class": "consumer", "kind": "gpu", "arch": "unknown", "family": "unknown"}
            imported.notes.append(f"{sku}: no shipped device has this name, so its class is taken as consumer and its maker as unknown.")
        device = built(base.name if base else "", {**kind, **figures})
        if base is not None and device.id != base.id:
            device = built(base.name, {**figures, "name": f"{base.name} ({title})"})
            imported.notes.append(
                f"{sku}: the file differs from the catalog, so it is taken as a device of your own beside the shipped one."
            )
        imported.devices.append(device)
        if number == 0:
            imported.systems[title] = _machine(entry, device, _whole(gpu, "count"), title, imported)
        else:
            imported.notes.append(f"{title}: a scenario has devices of one kind; the machine is taken with the first alone.")


def _machine(entry: Mapping[str, Any], device: Device, count: int, title: str, imported: Imported) -> dict[str, Any]:
    knobs: dict[str, Any] = {"device": own_hardware.listed(device), "count": count}
    cpu = entry.get("cpu") if isinstance(entry.get("cpu"), dict) else {}
    if isinstance(cpu, dict) and cpu.get("sku"):
        try:
            knobs["cpu"] = hardware.device(str(cpu["sku"]), "cpu").name
        except CatalogError as error:
            imported.notes.append(f"{title}: the CPU is left out: {error}")
    if isinstance(cpu, dict) and cpu.get("mem_bw_gbps"):
        knobs["ram_bandwidth_gb_s"] = cpu["mem_bw_gbps"]
    if entry.get("ram_gb"):
        knobs["ram_gb"] = entry["ram_gb"]
    link = entry.get("interconnect")
    if isinstance(link, dict) and str(link.get("type", "")).lower().startswith("pci") and device.pcie_link:
        knobs["link"] = device.pcie_link
    elif isinstance(link, dict) and link.get("type"):
        imported.notes.append(f"{title}: the link “{link['type']}” is taken as the device's own.")
    for unused in ("storage",):
        if entry.get(unused):
            imported.notes.append(f"{title}: {unused} does not enter an estimate; it is left out.")
    try:
        System.model_validate(knobs)
    except ValueError as error:
        raise CatalogError(f"{title}: RAM and its bandwidth must be numbers between 0 and 100,000.") from error
    return knobs


def _same(name: str) -> Device | None:
    try:
        return hardware.shipped_device(name)
    except CatalogError:
        return None


def _named(name: str, base: Device | None) -> str:
    return f"{name} (imported)" if base is not None else name


def _text(entry: Mapping[str, Any], key: str) -> str | None:
    found = entry.get(key)
    if found is not None and not isinstance(found, str):
        raise CatalogError(f"“{key}” must be text (it is {found!r}).")
    return found


def _whole(entry: Mapping[str, Any], key: str) -> int:
    found = entry.get(key, 1)
    if isinstance(found, bool) or not isinstance(found, int) or not 1 <= found <= 4096:
        raise CatalogError(f"“{key}” must be a whole number between 1 and 4,096 (it is {found!r}).")
    return found
