"""The machine at hand as the harness found it: facts in ROOFCAST_HOME/machine.json, a system of them, and a run's columns.

Nothing in it names a person or tells one machine from another but `machine`, a hash under a salt that never leaves it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from core.cards import Cards, flat, write_cards
from core.catalog import files, hardware, own_hardware
from core.catalog.hardware import Device
from core.errors import CatalogError, RunError
from core.predict import write_whole
from core.scenario import System
from core.words import device_name

FILE = "machine.json"
_VENDORS = (("Intel", "intel"), ("AMD", "amd"), ("AMD", "epyc"), ("AMD", "ryzen"), ("Apple", "apple"), ("Ampere", "ampere"), ("ARM", "arm"))


class _Facts(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Gpu(_Facts):
    """One accelerator as its driver names it."""

    name: str
    memory_gib: float | None = Field(None, gt=0)
    power_limit_w: float | None = Field(None, gt=0)
    pcie_generation: int | None = Field(None, ge=1)
    pcie_lanes: int | None = Field(None, ge=1)


class MachineFacts(_Facts):
    """What was found. None: it could not be read; `measured_*` only where a micro probe ran."""

    machine: str = Field("", pattern=r"^([0-9a-f]{16})?$")
    os: str = ""
    cpu: str = ""
    cores: int | None = Field(None, ge=1)  # physical ones that may be used
    threads: int | None = Field(None, ge=1)
    ram_gb: float | None = Field(None, gt=0)  # as vendors count: 16 for 16 GiB
    gpus: tuple[Gpu, ...] = ()
    driver: str = ""
    cuda: str = ""
    rocm: str = ""
    container: bool = False
    engines: dict[str, str] = {}  # name -> version
    measured_bandwidth_gb_s: float | None = Field(None, gt=0)  # of host memory, by reading
    measured_thread_bandwidth_gb_s: float | None = Field(None, gt=0)  # what one thread reads of it
    measured_tflops: dict[str, float] = {}  # of the CPU, by dtype
    measured_pcie_gb_s: float | None = Field(None, gt=0)  # host to one device
    measured_doubt: str = ""  # why what was measured is not to be trusted: what kept the machine from being quiet


def path() -> Path:
    """Where the facts stand."""
    return files.home() / FILE


def read_machine() -> MachineFacts | None:
    """The facts as last detected; None where nobody has. Raises CatalogError for a file that is wrong."""
    try:
        return MachineFacts.model_validate_json(path().read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError, ValidationError) as error:
        why = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
        raise CatalogError(f"{path()} cannot be read ({why}); detect the machine again with `roofcast bench machine`.") from error


def write_machine(facts: MachineFacts) -> Path:
    """Stores the facts. Raises CatalogError where they cannot be written."""
    out = path()
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_whole(out, json.dumps(facts.model_dump(exclude_defaults=True), indent=1, ensure_ascii=False) + "\n")
    except (OSError, RunError) as error:
        raise CatalogError(f"{out} cannot be written ({error}); set ROOFCAST_HOME to another folder.") from error
    return out


def forget_machine() -> None:
    """Deletes the facts. Raises CatalogError where that is not allowed."""
    try:
        path().unlink(missing_ok=True)
    except OSError as error:
        raise CatalogError(f"{path()} cannot be deleted ({error}).") from error


# ---- Set by hand

ENGINE = "engine "  # before an engine's name, where its version is set by hand


def overridden(facts: Mapping[str, Any], overrides: Mapping[str, str]) -> MachineFacts:
    """Facts with some set by hand: fields of MachineFacts, gpu, gpu_count, gpu_memory_gib, and "engine NAME" for its version.

    Empty text takes a fact away. Raises RunError for what is no fact or out of range.
    """
    given = dict(overrides)
    name, count, memory = (given.pop(key, None) for key in ("gpu", "gpu_count", "gpu_memory_gib"))
    versions = {key.removeprefix(ENGINE).strip(): given.pop(key) for key in list(given) if key.startswith(ENGINE)}
    known = [field for field in MachineFacts.model_fields if field not in ("gpus", "engines", "measured_tflops")]
    for key in given:
        if key not in known:
            raise RunError(f"A machine has no fact '{key}'; there are {', '.join([*known, 'gpu', 'gpu_count', 'gpu_memory_gib'])}.")
    set_ = {key: cell if cell != "" else MachineFacts.model_fields[key].default for key, cell in given.items()}
    engines = {key: cell for key, cell in {**(facts.get("engines") or {}), **versions}.items() if cell}
    try:
        gpus: list[Gpu] = [Gpu.model_validate(gpu) for gpu in facts.get("gpus") or ()]
        if name is not None or count is not None or memory is not None:
            one = (gpus[0] if gpus else Gpu(name="")).model_dump() | ({"name": name} if name is not None else {})
            one |= {"memory_gib": float(memory)} if memory else {"memory_gib": None} if name is not None else {}
            many = int(count) if count is not None else max(len(gpus), 1)
            gpus = [Gpu.model_validate(one)] * many if one["name"] else []
        return MachineFacts.model_validate({**facts, "gpus": gpus, "engines": engines, **set_})
    except ValidationError as error:
        first = error.errors()[0]
        where = first["loc"][0] if first["loc"] else "The machine"
        raise RunError(f"{where} is wrong: {first['msg']} (it is {first['input']!r}).") from error
    except ValueError as error:
        raise RunError(f"gpu_count and gpu_memory_gib must be numbers ({error}).") from error


def with_gpus(facts: MachineFacts, rows: Sequence[tuple[str, int, float | None]]) -> MachineFacts:
    """The facts with other accelerators: name, how many, GiB of each (None: as the catalog has it). Links and limits of those that
    keep their name stay. Raises RunError and CatalogError."""
    found: list[Gpu] = []
    before = {gpu.name: gpu for gpu in facts.gpus}
    for name, count, memory in rows:
        hardware.device(name)
        if not 1 <= count <= 4096:
            raise RunError(f"The number of {name} must be between 1 and 4,096 (it is {count}).")
        if memory is not None and not 0 < memory <= 10_000:
            raise RunError(f"The memory of {name} must be more than 0 and at most 10,000 GiB (it is {memory:g}).")
        found += [before.get(name, Gpu(name=name)).model_copy(update={"memory_gib": memory})] * count
    return facts.model_copy(update={"gpus": tuple(found)})


# ---- What a scenario needs


def kinds(facts: MachineFacts) -> list[tuple[Gpu, int]]:
    """The accelerators by kind, in the driver's order, and how many there are of each."""
    names = [gpu.name for gpu in facts.gpus]
    return [(facts.gpus[names.index(name)], names.count(name)) for name in dict.fromkeys(names)]


def cpu_device(facts: MachineFacts) -> Device:
    """The processor as a device: the catalog's, with what was measured here; else one of the user's own from what was measured.

    Raises CatalogError where the catalog does not know it and nothing was measured.
    """
    try:
        known = hardware.device(facts.cpu, "cpu")
    except CatalogError:
        known = None
    peaks = {f"{kind}_tflops": rate for kind, rate in facts.measured_tflops.items() if f"{kind}_tflops" in own_hardware.FIELDS}
    measured = {
        **peaks,
        "memory_gb": facts.ram_gb,
        "measured_bandwidth_gb_s": facts.measured_bandwidth_gb_s,
        # Of a processor that the catalog knows, its cores count only where it says that they are alike.
        "cpu_cores": facts.cores if known is None or known.cpu_cores is not None else None,
        "thread_bandwidth_gb_s": facts.measured_thread_bandwidth_gb_s,
    }
    if known is not None:
        if facts.measured_bandwidth_gb_s is None:
            return known
        return own_hardware.built(known.name, {name: amount for name, amount in measured.items() if amount is not None})
    if facts.measured_bandwidth_gb_s is None or facts.ram_gb is None:
        raise CatalogError(
            f"The processor '{facts.cpu}' is not in the catalog; measure it with `roofcast bench machine --measure`, or name another."
        )
    vendor = next((name for name, word in _VENDORS if word in facts.cpu.lower()), "other")
    arm = vendor in ("Apple", "Ampere", "ARM")
    name = f"{facts.cpu}, {facts.cores} cores" if facts.cores else facts.cpu
    family = {"arch": "CPU", "family": "CPU-ARM" if arm else "CPU-x86", "vendor": vendor, "device_class": "cpu", "kind": "cpu"}
    # No document says what this memory could do, so what was read stands for both.
    return own_hardware.built(
        "",
        {
            **family,
            "name": name,
            "unified": True,
            "interconnect": "none",
            "memory_bandwidth_gb_s": facts.measured_bandwidth_gb_s,
            **measured,
        },
    )


def system_of(facts: MachineFacts) -> System:
    """The machine as a scenario's system. Raises CatalogError, one sentence, for a device that nobody knows."""
    by_kind = kinds(facts)
    if not by_kind:
        return System(device=own_hardware.listed(cpu_device(facts)), ram_gb=facts.ram_gb)
    (gpu, count), *rest = by_kind
    device = hardware.device(gpu.name)
    try:
        cpu = own_hardware.listed(cpu_device(facts)) if facts.cpu and not device.unified else None
    except CatalogError:
        cpu = None  # it matters only for what the devices do not hold
    others = tuple(
        Cards(device=own_hardware.listed(hardware.device(other.name)), count=many, memory_gib=_memory(other)) for other, many in rest
    )
    return System(
        device=own_hardware.listed(device), count=count, others=others, cpu=cpu, ram_gb=facts.ram_gb, device_memory_gib=_memory(gpu),
        measured_ram_bandwidth_gb_s=None if device.unified else facts.measured_bandwidth_gb_s, pcie_gb_s=facts.measured_pcie_gb_s,
    )  # fmt: skip


def knobs(facts: MachineFacts) -> dict[str, str]:
    """The machine as knobs of an address, which the form reads. Raises CatalogError as `system_of` does."""
    found = system_of(facts).model_dump(exclude_defaults=True)
    if others := system_of(facts).others:
        found["others"] = write_cards(list(others))
    return {knob: f"{flat(amount)}" for knob, amount in found.items()}


def summary(facts: MachineFacts) -> str:
    """The machine in one line: "2 × H100 80GB HBM3, AMD EPYC 9354, 128 GB RAM"."""
    cards = [f"{count} × {device_name(gpu.name)}" if count > 1 else device_name(gpu.name) for gpu, count in kinds(facts)]
    ram = [f"{facts.ram_gb:,.4g} GB RAM"] if facts.ram_gb else []
    return ", ".join([*cards, *([facts.cpu] if facts.cpu else []), *ram]) or "a machine of which nothing could be read"


def _memory(gpu: Gpu) -> float | None:
    """The memory of an accelerator in GiB; None where it is as the catalog has it, or was not read."""
    known = hardware.device(gpu.name).memory_gb
    return None if gpu.memory_gib is None or (known is not None and abs(gpu.memory_gib / known - 1) < 0.1) else gpu.memory_gib


def _bare(system: System) -> list[Cards]:
    return [Cards(device=cards.device, count=cards.count) for cards in system.others]


def run_columns(facts: MachineFacts) -> dict[str, Any]:
    """What a run on this machine says of it, by the columns of core.records. Raises CatalogError as `system_of` does."""
    system = system_of(facts)
    on_cpu = not facts.gpus
    limits = {gpu.power_limit_w for gpu in facts.gpus}
    return {
        "gpu_name": ""
        if on_cpu
        else write_cards([Cards(device=system.device, count=system.count), *_bare(system)])
        if system.others
        else system.device,
        "gpu_count": None if on_cpu else system.devices,
        "cpu_name": system.device if on_cpu else system.cpu or facts.cpu,
        "ram_gb": facts.ram_gb,
        "driver": facts.driver,
        "os": facts.os,
        "machine": facts.machine,
        "power_limit_w": limits.pop() if len(limits) == 1 else None,
    }


# ---- For people

TITLES = {
    "cpu": "Processor", "cores": "Cores", "threads": "Threads", "ram_gb": "RAM, GB", "os": "Operating system", "driver": "GPU driver",
    "cuda": "CUDA", "rocm": "ROCm", "measured_bandwidth_gb_s": "Memory bandwidth that was measured, GB/s",
    "measured_thread_bandwidth_gb_s": "of which one thread reads, GB/s",
    "measured_pcie_gb_s": "Copies to a device that were measured, GB/s",
}  # fmt: skip


def gpu_rows(facts: MachineFacts) -> list[dict[str, Any]]:
    """The accelerators for people: name, number, GiB of each, and what the catalog takes each for."""
    return [{"Name": gpu.name, "Number": count, "GiB each": gpu.memory_gib, "Taken for": _taken(gpu)} for gpu, count in kinds(facts)]


def _taken(gpu: Gpu) -> str:
    try:
        return hardware.device(gpu.name).name
    except CatalogError:
        return "not in the catalog"


def told_rows(facts: MachineFacts) -> list[tuple[str, str]]:
    """What was found but the accelerators, as title and text; what could not be read is left out."""
    found = [(title, _text(amount)) for field, title in TITLES.items() if (amount := getattr(facts, field)) not in (None, "")]
    found += [(f"Arithmetic that was measured, {kind.upper()}", f"{rate:,.3g} TFLOP/s") for kind, rate in facts.measured_tflops.items()]
    return found + [(f"Engine: {name}", version) for name, version in facts.engines.items()]


def _text(amount: Any) -> str:
    return f"{amount:,.4g}" if isinstance(amount, float) else str(amount)
