"""Devices (GPUs, NPUs, CPUs) and whole systems, with the source of every figure.

What is shipped stands here; a user's own devices, and shipped ones with fields set by hand, in core.catalog.own_hardware.
"""

from __future__ import annotations

import functools
from typing import Literal

from pydantic import Field

from core.catalog import files
from core.catalog.device_names import Named, Resolver
from core.catalog.files import CatalogRecord
from core.errors import CatalogError
from core.quantity import LeafKind, Quantity, leaf
from core.units import GB, GIB, HOUR, TFLOP, significant

Kind = Literal["gpu", "cpu", "npu"]

# File field -> (what it is called, unit inside the core, factor to that unit, unit as people write it).
FACTS: dict[str, tuple[str, str, float, str]] = {
    "memory_gb": ("memory", "B", GIB, "GB"),
    "memory_usable_gib": ("usable memory", "B", GIB, "GiB"),
    "memory_bandwidth_gb_s": ("memory bandwidth", "B/s", GB, "GB/s"),
    "fp32_tflops": ("FP32 peak", "FLOP/s", TFLOP, "TFLOP/s"),
    "fp16_tflops": ("FP16 peak", "FLOP/s", TFLOP, "TFLOP/s"),
    "fp16_acc16_tflops": ("FP16 peak with FP16 accumulation", "FLOP/s", TFLOP, "TFLOP/s"),
    "bf16_tflops": ("BF16 peak", "FLOP/s", TFLOP, "TFLOP/s"),
    "fp8_tflops": ("FP8 peak", "FLOP/s", TFLOP, "TFLOP/s"),
    "int8_tops": ("INT8 peak", "FLOP/s", TFLOP, "TOP/s"),
    "fp4_tflops": ("FP4 peak", "FLOP/s", TFLOP, "TFLOP/s"),
    "interconnect_gb_s": ("interconnect bandwidth, one direction", "B/s", GB, "GB/s"),
    "cpu_cores": ("cores", "", 1.0, ""),
    "tdp_w": ("rated power", "W", 1.0, "W"),
    "price_usd": ("launch price", "USD", 1.0, "USD"),
    "cloud_usd_per_h": ("cloud price", "USD/s", 1.0 / HOUR, "USD/h"),
}


OWN = "user-hardware"  # the source of what a user says of a device
READ_SHARE = 0.92  # of a datasheet's bandwidth that pure reads reach: 921 of 1008 GB/s on an RTX 4090, 184 of 200 on an M1 Pro


class Alternative(CatalogRecord):
    """What another source says of the same field, in the field's own unit; the record's value is the one used."""

    field: str
    value: float
    source: str
    note: str | None = None


class Device(CatalogRecord):
    """One GPU, NPU or CPU socket. Peaks are dense; a figure that nobody published is None."""

    id: str
    name: str
    vendor: str
    arch: str
    family: str  # kernels behave alike within a family
    device_class: Literal["consumer", "laptop", "workstation", "datacenter", "desktop", "embedded", "apple", "apu", "npu", "cpu"]
    kind: Kind
    compute_capability: str | None = None
    memory_gb: float | None = Field(default=None, gt=0)  # as marketed; for shared memory the largest configuration
    memory_decimal: bool = False  # the marketing figure counts 10^9 bytes
    memory_usable_gib: float | None = Field(default=None, gt=0)
    memory_type: str | None = None
    memory_bandwidth_gb_s: float | None = Field(default=None, gt=0)
    measured_bandwidth_gb_s: float | None = Field(default=None, gt=0)  # what a benchmark read on the user's own; goes before the datasheet
    fp32_tflops: float | None = Field(default=None, gt=0)
    fp16_tflops: float | None = Field(default=None, gt=0)  # FP32 accumulation
    fp16_acc16_tflops: float | None = Field(default=None, gt=0)
    bf16_tflops: float | None = Field(default=None, gt=0)
    fp8_tflops: float | None = Field(default=None, gt=0)
    int8_tops: float | None = Field(default=None, gt=0)
    fp4_tflops: float | None = Field(default=None, gt=0)
    interconnect: str | None = None  # fastest card-to-card link it supports; a bridge has to be bought
    interconnect_gb_s: float | None = Field(default=None, gt=0)  # one direction; None: the link's own figure
    pcie_generation: float | None = Field(default=None, gt=0)
    pcie_lanes: int | None = Field(default=None, gt=0)
    cpu_cores: int | None = Field(default=None, ge=1, le=4096)  # of a processor whose cores are alike
    thread_bandwidth_gb_s: float | None = Field(default=None, gt=0)  # what a benchmark with one thread read on the user's own
    tdp_w: float | None = Field(default=None, gt=0)
    launch_year: int | None = None
    price_usd: float | None = Field(default=None, gt=0)
    cloud_usd_per_h: float | None = Field(default=None, gt=0)
    unified: bool = False  # GPU and CPU share one memory
    source: str
    sources: dict[str, str] = Field(default_factory=dict)
    guess: list[str] = Field(default_factory=list)
    notes: dict[str, str] = Field(default_factory=dict)
    alternatives: list[Alternative] = Field(default_factory=list)
    aliases: list[str] = Field(default_factory=list)

    @property
    def pcie_link(self) -> str | None:
        """The id of the PCIe link of this card, which joins cards where no faster link was bought."""
        if self.pcie_generation is None or self.pcie_lanes is None:
            return None
        return f"pcie-{self.pcie_generation:.1f}-x{self.pcie_lanes}"

    def fact(self, field: str) -> Quantity | None:
        """A figure as a cited leaf in base units, or None where nobody published it.

        `field` is a key of FACTS. The leaf is a "datasheet", or an "assumption" where the figure is a guess; its note
        lists what other sources say. Raises CatalogError for another field.
        """
        if field not in FACTS:
            raise CatalogError(f"A device has no figure '{field}'; choose one of {', '.join(FACTS)}.")
        if field == "memory_bandwidth_gb_s" and self.measured_bandwidth_gb_s is not None:
            return self._measured_bandwidth(self.measured_bandwidth_gb_s)
        amount = getattr(self, field)
        if amount is None:
            return None
        label, unit, factor, written = FACTS[field]
        if field == "memory_gb" and self.memory_decimal:
            factor = GB
        others = [
            f"{files.source(a.source).title} says {significant(a.value)} {written}" + (f" ({a.note})" if a.note else "")
            for a in self.alternatives
            if a.field == field
        ]
        note = "; ".join(([self.notes[field]] if field in self.notes else []) + others) or None
        cited = files.source(self.sources.get(field, self.source))
        guess = cited.guess or field in self.guess
        cited = files.source(cited.key, guess=guess, note="; ".join(filter(None, (note, cited.note))) or None)
        kind: LeafKind = "assumption" if guess else "user" if cited.key == OWN else "datasheet"
        return leaf(f"{label} of {self.name}", amount * factor, unit, kind, cited)

    def _measured_bandwidth(self, read: float) -> Quantity:
        """The datasheet's figure that a measured one stands for, since the efficiencies are shares of a datasheet's figure."""
        note = f"measured {significant(read)} GB/s; reads reach about {READ_SHARE:.0%} of what a datasheet states"
        return leaf(f"memory bandwidth of {self.name}", read / READ_SHARE * GB, "B/s", "user", files.source(OWN, note=note))

    def usable_memory(self) -> Quantity:
        """Bytes that the driver offers before any program runs: the known figure, else the marketing one.

        The marketing "GB" of a memory are GiB, except where a record says it is decimal. For unified memory it is the
        largest RAM sold: the RAM bought, and the share a GPU may take, are the scenario's.
        Raises CatalogError when the size is not known.
        """
        known = self.fact("memory_usable_gib")
        if known is not None:
            return known
        marketed = self.fact("memory_gb")
        if marketed is None or marketed.source is None or marketed.kind is None:
            raise CatalogError(f"The catalog does not say how much memory '{self.name}' has; give it yourself.")
        reading = f"marketing figure{'' if self.memory_decimal else ' read as GiB'}, driver reserve not taken off"
        note = "; ".join(filter(None, (reading, marketed.source.note)))
        base = marketed.source
        cited = files.source(base.key, guess=base.guess, note=note)
        return leaf(f"usable memory of {self.name}", marketed.value, "B", marketed.kind, cited)


class SystemProfile(CatalogRecord):
    """A machine as shipped: devices, what joins them, the host behind them. Bandwidths in GB/s, one direction."""

    id: str
    name: str
    device: str
    count: int = Field(ge=1)
    link: str  # between devices
    host_link: str | None = None  # between a device and the host
    cpu: str
    cpu_count: int = Field(default=1, ge=1)
    cpu_cores: int | None = Field(default=None, ge=1)
    ram_gb: float = Field(gt=0)  # GiB of modules; for unified memory the whole pool
    ram_bandwidth_gb_s: float = Field(gt=0)  # all sockets together
    storage_read_gb_s: float = Field(gt=0)
    numa_nodes: int = Field(default=1, ge=1)
    nodes: int = Field(default=1, ge=1)
    source: str
    sources: dict[str, str] = Field(default_factory=dict)
    guess: list[str] = Field(default_factory=list)
    notes: dict[str, str] = Field(default_factory=dict)
    aliases: list[str] = Field(default_factory=list)

    def fact(self, field: Literal["ram_gb", "ram_bandwidth_gb_s", "storage_read_gb_s"]) -> Quantity:
        """A figure of the host as a cited leaf in base units (bytes, bytes per second)."""
        label, unit, factor = {
            "ram_gb": ("RAM", "B", GIB),
            "ram_bandwidth_gb_s": ("RAM bandwidth", "B/s", GB),
            "storage_read_gb_s": ("storage read bandwidth", "B/s", GB),
        }[field]
        cited = files.source(self.sources.get(field, self.source))
        guess = cited.guess or field in self.guess
        cited = files.source(cited.key, guess=guess, note=self.notes.get(field, cited.note))
        kind: Literal["assumption", "datasheet"] = "assumption" if guess else "datasheet"
        return leaf(f"{label} of {self.name}", getattr(self, field) * factor, unit, kind, cited)


@functools.cache
def devices() -> dict[str, Device]:
    """Every device by id. Raises CatalogError for a record that is wrong or an id that stands twice."""
    found: dict[str, Device] = {}
    for path in sorted((files.CATALOG / "hardware").glob("*.json")):
        for raw in files.read(path):
            device_record = files.record(Device, raw, f"{path.name}, device '{raw.get('id', '?')}'")
            if device_record.id in found:
                raise CatalogError(f"The device '{device_record.id}' stands twice in the catalog; remove one.")
            found[device_record.id] = device_record
    return found


@functools.cache
def _resolver() -> Resolver:
    return Resolver(Named(d.id, d.name, tuple(d.aliases), d.memory_gb, d.kind == "cpu") for d in devices().values())


def device(name: str, kind: Kind | None = None) -> Device:
    """The device that an id, name or alias means; case, spaces, hyphens and vendor words do not matter.

    `kind` "cpu" looks among CPUs only ("Apple M4 Max" is a GPU without it); CPU names may be as an operating system
    prints them. A name with "?" has fields set by hand, and a user's own saved devices answer to their names. Raises
    CatalogError, with suggestions, for an unknown name and, with the candidates, for one that fits several devices.
    """
    from core.catalog import own_hardware  # it starts from what is shipped

    if "?" in name:
        return own_hardware.written_out(name)
    own = own_hardware.saved_named(name)
    return own if own is not None and (kind is None or (kind == "cpu") == (own.kind == "cpu")) else shipped_device(name, kind)


@functools.lru_cache(maxsize=4096)
def shipped_device(name: str, kind: Kind | None = None) -> Device:
    """The shipped device that a name means, see `device`."""
    return devices()[_resolver().find(name, kind)]


def search_devices(text: str, limit: int = 20, kind: Kind | None = None) -> list[Device]:
    """Devices whose name is close to `text`, best first."""
    return [devices()[key] for key in _resolver().search(text, limit, kind)]


@functools.cache
def systems() -> dict[str, SystemProfile]:
    """Every shipped system by id. Raises CatalogError for a record that is wrong."""
    found: dict[str, SystemProfile] = {}
    for path in sorted((files.CATALOG / "systems").glob("*.toml")):
        raw = {"id": path.stem, **files.read(path)}
        found[path.stem] = files.record(SystemProfile, raw, f"system {path.name}")
    return found


def system(name: str) -> SystemProfile:
    """The system with this id, name or alias. Raises CatalogError naming the systems there are."""
    wanted = name.strip().casefold()
    for profile in systems().values():
        if wanted in {label.casefold() for label in (profile.id, profile.name, *profile.aliases)}:
            return profile
    raise CatalogError(f"No system '{name}' in the catalog; choose one of {', '.join(sorted(systems()))}.")
