"""Links between devices, and collective operations as measured over them."""

from __future__ import annotations

import functools
from typing import Literal

from pydantic import Field

from core.catalog import files
from core.catalog.files import CatalogRecord
from core.errors import CatalogError
from core.quantity import LeafKind, Quantity, leaf
from core.units import GB, US

Operation = Literal[
    "all_reduce",
    "all_gather",
    "reduce_scatter",
    "all_to_all",
    "moe_dispatch",
    "moe_combine",
    "moe_dispatch_low_latency",
    "moe_combine_low_latency",
]


class Link(CatalogRecord):
    """What joins two devices, or a device and its host. Bandwidth: one direction, all lanes of a device together."""

    id: str
    name: str
    kind: str
    bandwidth_gb_s: float | None = Field(gt=0)
    direction: Literal["per direction"]
    latency_us: float | None = Field(gt=0)
    max_devices: int | None = Field(default=None, ge=2)
    source: str
    sources: dict[str, str] = Field(default_factory=dict)
    guess: list[str] = Field(default_factory=list)
    aliases: list[str] = Field(default_factory=list)
    note: str | None = None

    def fact(self, field: Literal["bandwidth_gb_s", "latency_us"]) -> Quantity | None:
        """Bandwidth (bytes per second, one direction) or latency (seconds) as a cited leaf; None for "none"."""
        amount = getattr(self, field)
        if amount is None:
            return None
        label, unit, factor = ("bandwidth", "B/s", GB) if field == "bandwidth_gb_s" else ("latency", "s", US)
        cited = files.source(self.sources.get(field, self.source))
        guess = cited.guess or field in self.guess
        cited = files.source(cited.key, guess=guess, note=self.note or cited.note)
        return leaf(f"{label} of {self.name}", amount * factor, unit, "assumption" if guess else "datasheet", cited)


# Field -> (what it is called, unit inside the core, factor to that unit, where it comes from).
_FIGURES: dict[str, tuple[str, str, float, LeafKind]] = {
    "traffic_factor": ("traffic per byte", "", 1.0, "constant"),
    "latency_us": ("latency", "s", US, "fitted"),
    "bus_bandwidth_gb_s": ("asymptotic bus bandwidth", "B/s", GB, "fitted"),
    "half_bytes": ("message size at half bandwidth", "B", 1.0, "fitted"),
    "exponent": ("saturation exponent", "", 1.0, "fitted"),
    "straight_latency_us": ("latency, straight form", "s", US, "fitted"),
    "straight_bus_bandwidth_gb_s": ("bus bandwidth, straight form", "B/s", GB, "fitted"),
    "measured_floor_us": ("shortest time", "s", US, "measured"),
    "measured_at_1_mib_us": ("time of 1 MiB", "s", US, "measured"),
    "measured_peak_bus_bandwidth_gb_s": ("highest bus bandwidth", "B/s", GB, "measured"),
}


class Collective(CatalogRecord):
    """One operation over `devices` devices of a measured system, with its best library.

    time = latency + traffic_factor × bytes ÷ bus_bandwidth × (1 + (half_bytes ÷ bytes)^exponent); the straight form
    leaves the bracket out. `bytes` is the whole buffer; for MoE, tokens of a rank × experts a token × hidden × 2.
    """

    system: str
    device: str
    family: str
    link: str
    op: Operation
    devices: int = Field(ge=2)
    library: str
    traffic_factor: float = Field(gt=0)
    latency_us: float = Field(gt=0)
    bus_bandwidth_gb_s: float = Field(gt=0)
    half_bytes: float = Field(ge=0)
    exponent: float = Field(gt=0)
    median_error: float = Field(ge=0)
    straight_latency_us: float = Field(gt=0)
    straight_bus_bandwidth_gb_s: float = Field(gt=0)
    straight_median_error: float = Field(ge=0)
    measured_floor_us: float = Field(gt=0)
    measured_at_1_mib_us: float | None = Field(default=None, gt=0)
    measured_peak_bus_bandwidth_gb_s: float | None = Field(default=None, gt=0)
    smallest_bytes: int = Field(gt=0)
    largest_bytes: int = Field(gt=0)
    poor_topology: bool = False  # the node measured had no useful peer access
    source: str

    def fact(self, field: str) -> Quantity | None:
        """A figure as a cited leaf in base units (seconds, bytes, bytes per second), or None where it was not measured.

        Raises CatalogError for a field that is not a figure.
        """
        if field not in _FIGURES:
            raise CatalogError(f"A collective has no figure '{field}'; choose one of {', '.join(_FIGURES)}.")
        amount = getattr(self, field)
        if amount is None:
            return None
        label, unit, factor, kind = _FIGURES[field]
        note = f"{self.library} on {self.devices} × {self.device}"
        if kind == "fitted":
            error = self.straight_median_error if field.startswith("straight") else self.median_error
            note += f"; the fit's median error is {error:.0%}"
        if self.poor_topology:
            note += "; this node lacks useful peer access"
        name = f"{label} of {self.op.replace('_', ' ')} over {self.devices} devices"
        return leaf(name, amount * factor, unit, kind, files.source(self.source, note=note))


@functools.cache
def links() -> dict[str, Link]:
    """Every link by id. Raises CatalogError for a record that is wrong or an id that stands twice."""
    found: dict[str, Link] = {}
    for raw in files.read(files.CATALOG / "links.json"):
        entry = files.record(Link, raw, f"links.json, link '{raw.get('id', '?')}'")
        if entry.id in found:
            raise CatalogError(f"The link '{entry.id}' stands twice in links.json; remove one.")
        found[entry.id] = entry
    return found


def link(name: str) -> Link:
    """The link with this id or name. Raises CatalogError naming the links there are."""
    wanted = name.strip().casefold()
    for entry in links().values():
        if wanted in (entry.id, entry.name.casefold()):
            return entry
    raise CatalogError(f"No link '{name}' in the catalog; choose one of {', '.join(links())}.")


HOST_KINDS = ("egpu", "pcie", "c2c")  # kinds of link that join a device and its host


def host_links() -> list[Link]:
    """The links that can join a device to its host, those of eGPUs first."""
    return sorted((entry for entry in links().values() if entry.kind in HOST_KINDS), key=lambda entry: HOST_KINDS.index(entry.kind))


def host_link(name: str) -> Link:
    """The link between a device and its host with this id, name or alias ("thunderbolt 4", "oculink", "pcie-3.0-x4").

    Raises CatalogError naming the links there are.
    """
    wanted = name.strip().casefold()
    for entry in host_links():
        if wanted in (entry.id, entry.name.casefold(), *(alias.casefold() for alias in entry.aliases)):
            return entry
    known = ", ".join(entry.aliases[0] if entry.aliases else entry.id for entry in host_links())
    raise CatalogError(f"No link '{name}' between a device and its host; choose one of {known}.")


@functools.cache
def collectives() -> tuple[Collective, ...]:
    """Every measured collective, in the order of the file. Raises CatalogError for a record that is wrong."""
    content = files.read(files.CATALOG / "collectives.json")
    return tuple(
        files.record(
            Collective,
            {"source": content["source"], **raw},
            f"collectives.json, {raw.get('system')} {raw.get('op')} {raw.get('devices')}",
        )
        for raw in content["collectives"]
    )


@functools.cache
def collective(family_or_link: str, op: Operation, n: int) -> Collective | None:
    """What was measured for `op` over exactly `n` devices; None where nothing was.

    `family_or_link` is a device id, a measured system ("h200_sxm"), a family ("Hopper") or a link id ("nvlink-4"),
    tried in that order; of several systems of a family the first in the file speaks. A node with poor topology speaks
    for its device and family, never for a link.
    """
    fitting = [c for c in collectives() if c.op == op and c.devices == n]
    for match in (
        [c for c in fitting if family_or_link in (c.device, c.system)],
        [c for c in fitting if family_or_link == c.family],
        [c for c in fitting if family_or_link == c.link and not c.poor_topology],
    ):
        if match:
            return match[0]
    return None
