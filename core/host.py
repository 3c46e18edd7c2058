"""The host: its memory and processors, for runs without a card and for what the devices do not hold.

A board with several sockets has as many memories. An engine that knows nothing of them reads, at best, as fast as one of them
lets it; one that spreads threads and pages reaches a part of the others too.
"""

from __future__ import annotations

from typing import Any

from core.catalog import hardware
from core.catalog.assumptions import assume
from core.catalog.files import source
from core.catalog.hardware import OWN, READ_SHARE, Device
from core.formulas.sockets import socket_bandwidth, socket_peak
from core.formulas.threads import thread_bandwidth, thread_peak
from core.joins import copies
from core.machine import Columns, place_of, rented, user
from core.quantity import Quantity, leaf, total
from core.setting import Further, Setting
from core.units import GB, GIB, significant


def measured(name: str, read: float, stated: float | None = None) -> Quantity:
    """The nominal figure that a bandwidth as a benchmark read it stands for, since efficiencies are shares of nominal figures."""
    note = f"measured {significant(read)} GB/s; reads reach about {READ_SHARE:.0%} of what a datasheet states"
    if stated is not None:
        note += f", which is {significant(stated / GB)} GB/s here"
    return leaf(name, read / READ_SHARE * GB, "B/s", "user", source(OWN, note=note))


def said_bandwidth(setting: Setting, device: Device, place: Columns) -> Quantity | None:
    """What the user says of a device's memory: as measured, as stated, or that of the RAM that is its memory. None: nothing."""
    system, name, before = setting.scenario.system, f"memory bandwidth of {device.name}", place.bandwidth.value
    if system.measured_bandwidth_gb_s:
        return measured(name, system.measured_bandwidth_gb_s, before)
    if system.device_bandwidth_gb_s:
        return user("memory bandwidth", system.device_bandwidth_gb_s * GB, "B/s", before)
    return said_of_ram(setting, before) if device.unified or device.kind == "cpu" else None


def said_of_ram(setting: Setting, before: float | None = None) -> Quantity | None:
    """What the user says of the RAM's bandwidth, of one socket's where there are several. None: nothing."""
    system, many = setting.scenario.system, setting.scenario.system.sockets or 1
    of = "" if many == 1 else " of one socket"
    if system.measured_ram_bandwidth_gb_s:
        return measured(f"memory bandwidth{of}", system.measured_ram_bandwidth_gb_s / many, before)
    if system.ram_bandwidth_gb_s:
        return user(f"memory bandwidth{of}" if of else "host memory bandwidth", system.ram_bandwidth_gb_s / many * GB, "B/s")
    return None


def sockets(setting: Setting) -> int:
    """How many sockets' memory is used."""
    many = setting.scenario.system.sockets or 1
    return 1 if setting.scenario.deployment.numa == "isolate" else many


def over_sockets(setting: Setting, place: Columns) -> None:
    """Several sockets in place of the one that `place` describes; changed in place. Without `sockets` nothing changes."""
    many = sockets(setting)
    if many == 1:
        return
    numa = setting.scenario.deployment.numa or "none"
    number = user("sockets", many, "")
    share, busy = (assume(name, numa=numa) for name in ("further_socket_bandwidth", "further_socket_compute"))
    place.bandwidth = socket_bandwidth(one=place.bandwidth, sockets=number, share=share, named="memory bandwidth of all sockets")
    for name in ("peak", "peak_few", "attention_peak"):
        setattr(place, name, socket_peak(one=getattr(place, name), sockets=number, share=busy, named="peak of all sockets"))


def cores_used(setting: Setting, device: Device) -> Quantity | None:
    """The cores of all used sockets of a processor; None where nobody says how many there are, or where they are not alike."""
    one, many = device.fact("cpu_cores"), sockets(setting)
    return one if one is None or many == 1 else total([one] * many, f"cores of {device.name} × {many}")


def with_threads(setting: Setting, device: Device, place: Columns) -> None:
    """What the engine's threads reach of a processor, changed in place. Nothing changes unless threads are said and cores known."""
    cores, asked = cores_used(setting, device), setting.scenario.deployment.threads
    if cores is None or asked is None:
        return
    threads = user("threads", asked, "")
    read = device.thread_bandwidth_gb_s
    one = assume("thread_bandwidth", vendor=device.vendor) if read is None else measured("memory bandwidth of one thread", read)
    place.bandwidth = thread_bandwidth(whole=place.bandwidth, threads=threads, one=one, named="memory bandwidth of the threads")
    for name in ("peak", "peak_few", "attention_peak"):
        setattr(place, name, thread_peak(whole=getattr(place, name), threads=threads, cores=cores, named="peak of the threads"))


def of_sockets(setting: Setting, figure: Quantity) -> Quantity:
    """A figure of one CPU times the number of sockets; as it is where there is one."""
    many = setting.scenario.system.sockets or 1
    if many == 1:
        return figure
    cited = figure.source or source("nameplate")
    return leaf(f"{figure.name} × {many}", figure.value * many, figure.unit, figure.kind or "datasheet", cited)


def device_memory(setting: Setting, facts: dict[str, Any], further: Further | None = None) -> Quantity:
    """Bytes of one device that programs can use: of the machine's first kind, or of a further one. `facts` are those of that device."""
    system = setting.scenario.system
    device = setting.device if further is None else further.device
    given = system.device_memory_gib if further is None else further.cards.memory_gib
    if given:
        return user(f"memory of {device.name}", given * GIB, "B")
    if device.unified or device.kind == "cpu":
        if system.gpu_share_gib is not None and device.kind != "cpu":
            return user(f"share of RAM of {device.name}", system.gpu_share_gib * GIB, "B")
        share = assume("unified_budget" if further is None else "unasked_share", **facts)
        found = ram_of(setting, device if further is None else None)
        whole, title = (32 * GIB, "general knowledge") if found is None else (found.value, found.source.title if found.source else "")
        note = f"{whole / GIB:.4g} GiB × {share.value:g} that the system lets the engine use ({title})"
        return leaf(f"usable memory of {device.name}", whole * share.value, "B", "assumption",
                    source(share.source.key if share.source else "nameplate", note=note, guess=True))  # fmt: skip
    usable = device.usable_memory()
    if device.memory_usable_gib is None and usable.source is not None:
        share = assume("driver_share", **facts)
        note = f"{usable.value / GIB:.4g} GiB × {share.value:g} after the driver's reserve; {usable.source.title}"
        return leaf(usable.name, usable.value * share.value, "B", "assumption",
                    source(share.source.key if share.source else "nameplate", note=note))  # fmt: skip
    return usable


def ram_of(setting: Setting, device: Device | None) -> Quantity | None:
    """Bytes of RAM that the engine can reach: as said, else the most that a device without memory of its own comes with; None where
    nothing is known."""
    system, many = setting.scenario.system, setting.scenario.system.sockets or 1
    if system.ram_gb:
        return user("RAM", system.ram_gb * GIB / (many if sockets(setting) == 1 else 1), "B")
    fact = None if device is None else device.fact("memory_gb")
    if fact is None or many == 1 or sockets(setting) == 1:
        return fact
    cited = source(fact.source.key, guess=True, note=f"{many} sockets") if fact.source else source("general-knowledge-physics")
    return leaf(fact.name, fact.value * many, "B", "assumption", cited)


def host_of(setting: Setting, c: Columns, facts: dict[str, Any]) -> None:
    """The host's memory and processor, for what the device does not hold. None on CPU runs, and on unified memory unless the
    GPU was given a share of it."""
    system, device = setting.scenario.system, setting.device
    profile = hardware.system(system.profile) if system.profile else None
    datacenter = device.device_class == "datacenter"
    guess = source("general-knowledge-physics", note="typical of such machines; say yours", guess=True)
    instance = rented(setting)
    paid = None if instance is None else instance.fact("ram_gb")
    if paid is not None and (system.ram_gb is None or system.ram_gb * GIB == paid.value):
        c.host_memory = paid
    elif system.ram_gb:
        c.host_memory = user("host memory", system.ram_gb * GIB, "B")
    elif profile:
        c.host_memory = profile.fact("ram_gb")
    else:
        c.host_memory = leaf("host memory", (128.0 * system.devices if datacenter else 32.0) * GIB, "B", "assumption", guess)
    c.host_efficiency = assume("host_weights_efficiency", **facts)
    c.host_budget = assume("unified_budget", **{**facts, "device_class": "cpu"})
    c.pcie = copies(setting, facts)
    shared = device.unified and not setting.on_cpu
    if setting.on_cpu or setting.runtime.offload == "none" or (shared and system.gpu_share_gib is None):
        return
    if shared:
        c.host_memory = _rest_of_ram(setting, device)
    cpu = setting.cpu or hardware.device("EPYC 9354" if datacenter else "Ryzen 9 7950X", "cpu")
    host = place_of(setting, cpu, "cpu")
    said = said_of_ram(setting)
    if said is not None:
        host.bandwidth = said
    elif shared:
        cited = source("general-knowledge-physics", guess=True, note=f"the same memory as that of {device.name}")
        host.bandwidth = leaf("host memory bandwidth", c.gpu.bandwidth.value, "B/s", "assumption", cited)
    elif profile:
        host.bandwidth = profile.fact("ram_bandwidth_gb_s")
    elif setting.cpu is None:
        host.bandwidth = leaf("host memory bandwidth", host.bandwidth.value, "B/s", "assumption",
                              source("general-knowledge-physics", guess=True, note=f"as of a {cpu.name}; say yours"))  # fmt: skip
    over_sockets(setting, host)
    if setting.cpu is not None:  # the cores of a processor that nobody named are not known
        with_threads(setting, cpu, host)
    host.weights_efficiency = host.experts_efficiency = c.host_efficiency
    c.host = host


def _rest_of_ram(setting: Setting, device: Device) -> Quantity:
    """What the GPU's share leaves of the RAM."""
    whole, share = ram_of(setting, device), (setting.scenario.system.gpu_share_gib or 0.0) * GIB
    rest = max((whole.value if whole is not None else 32 * GIB) - share, 0.0)
    note = f"{(rest + share) / GIB:.4g} GiB less the GPU's share of {share / GIB:.4g} GiB"
    return leaf("RAM beside the GPU's share", rest, "B", "user", source(OWN, note=note))
