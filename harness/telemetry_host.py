"""Telemetry of the host: processor, memory, load, disks, network, temperatures, energy by RAPL, and the engine's own processes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

from core.units import GIB

RAPL = Path("/sys/class/powercap")
_LOOK_EVERY_S = 1.0  # for new processes: to list them takes longer than to read them
_LOOPBACK = ("lo", "docker", "veth", "br-")


class Host:
    """Processor, memory and load of the whole machine."""

    name = "host"
    counters = frozenset({"disk_read_bytes", "disk_write_bytes", "net_sent_bytes", "net_received_bytes"})

    def __init__(self) -> None:
        psutil.cpu_percent()  # the first reading has nothing to compare with

    def read(self) -> dict[str, float]:
        memory, swap = psutil.virtual_memory(), psutil.swap_memory()
        found = {
            "cpu_percent": psutil.cpu_percent(),
            "ram_used_gib": (memory.total - memory.available) / GIB,
            "swap_used_gib": swap.used / GIB,
        }
        if hasattr(os, "getloadavg"):
            found["load"] = os.getloadavg()[0]
        frequency = psutil.cpu_freq() if hasattr(psutil, "cpu_freq") else None
        if frequency is not None and frequency.current:
            found["cpu_mhz"] = frequency.current
        disks = psutil.disk_io_counters()
        if disks is not None:
            found |= {"disk_read_bytes": disks.read_bytes, "disk_write_bytes": disks.write_bytes}
        cards = [c for name, c in psutil.net_io_counters(pernic=True).items() if not name.startswith(_LOOPBACK)]
        return found | {"net_sent_bytes": sum(c.bytes_sent for c in cards), "net_received_bytes": sum(c.bytes_recv for c in cards)}


class Thermals:
    """The hottest sensor of each chip, °C."""

    name = "thermal"
    counters: frozenset[str] = frozenset()

    def __init__(self) -> None:
        if not self.read():
            raise OSError("no sensors")

    def read(self) -> dict[str, float]:
        read = getattr(psutil, "sensors_temperatures", dict)
        return {f"{chip}_c": max(s.current for s in sensors) for chip, sensors in read().items() if sensors}


class Rapl:
    """Energy of processor packages and memory by the kernel's powercap interface, in joules; its counters wrap."""

    name = "rapl"

    def __init__(self, folder: Path = RAPL) -> None:
        self._zones: dict[str, tuple[Path, float]] = {}
        for zone in sorted(folder.glob("intel-rapl:*")):
            name = (zone / "name").read_text().strip().replace("-", "_")
            package = zone.name.split(":")[1]
            label = f"{name}_j" if name.startswith("package") else f"package_{package}_{name}_j"
            self._zones[label] = (zone / "energy_uj", float((zone / "max_energy_range_uj").read_text()) / 1e6)
        self.counters = frozenset(self._zones)
        self._last: dict[str, float] = {}
        self._wrapped = dict.fromkeys(self._zones, 0.0)
        if not self.read():  # raises PermissionError where only root may read it
            raise OSError("no zones")

    def read(self) -> dict[str, float]:
        found = {}
        for label, (path, whole) in self._zones.items():
            joules = float(path.read_text()) / 1e6
            if joules < self._last.get(label, 0.0):
                self._wrapped[label] += whole
            self._last[label] = joules
            found[label] = joules + self._wrapped[label]
        return found


class Engine:
    """Memory and processor time of the engine's processes together."""

    name = "engine"
    counters = frozenset({"cpu_s"})

    def __init__(self, processes: Callable[[], Sequence[psutil.Process]]) -> None:
        self._processes = processes
        self._seconds: dict[int, float] = {}
        self._known: Sequence[psutil.Process] = ()
        self._again = 0.0

    def read(self) -> Mapping[str, float]:
        alone, shared, alive = 0.0, 0.0, 0
        if time.monotonic() >= self._again:
            self._known, self._again = self._processes(), time.monotonic() + _LOOK_EVERY_S
        for process in self._known:
            try:
                memory, times = process.memory_info(), process.cpu_times()
            except psutil.Error:
                continue
            common = getattr(memory, "shared", 0)  # weights mapped from a file, and what processes hold together
            alone, shared, alive = alone + memory.rss - common, max(shared, common), alive + 1
            self._seconds[process.pid] = times.user + times.system
        return {"ram_gib": (alone + shared) / GIB, "cpu_s": sum(self._seconds.values()), "processes": float(alive)}


MAKERS: tuple[Callable[[], list[Any]], ...] = (lambda: [Host()], lambda: [Thermals()], lambda: [Rapl()])
