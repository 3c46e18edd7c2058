"""Telemetry of accelerators: NVIDIA by NVML, AMD by amdsmi, Apple by what every user may read."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from core.units import GIB

_APPLE_EVERY_S = 1.0  # ioreg is a program of its own: not ten times a second


def _each(read: dict[str, Callable[[], float]]) -> dict[str, float]:
    """What of this can be read; a figure that a device does not have is left out."""
    found = {}
    for name, one in read.items():
        try:
            found[name] = float(one())
        except Exception:  # each library has errors of its own for "not supported"
            continue
    return found


class Nvml:
    """One NVIDIA device. `nvml` is the module pynvml of nvidia-ml-py."""

    counters = frozenset({"energy_j"})

    def __init__(self, nvml: Any, index: int) -> None:
        self._nvml, self._device, self.name = nvml, nvml.nvmlDeviceGetHandleByIndex(index), f"nvml.{index}"

    def read(self) -> dict[str, float]:
        n, d = self._nvml, self._device
        return _each({
            "util_percent": lambda: n.nvmlDeviceGetUtilizationRates(d).gpu,
            "memory_util_percent": lambda: n.nvmlDeviceGetUtilizationRates(d).memory,
            "memory_used_gib": lambda: n.nvmlDeviceGetMemoryInfo(d).used / GIB,
            "power_w": lambda: n.nvmlDeviceGetPowerUsage(d) / 1e3,
            "energy_j": lambda: n.nvmlDeviceGetTotalEnergyConsumption(d) / 1e3,
            "sm_mhz": lambda: n.nvmlDeviceGetClockInfo(d, n.NVML_CLOCK_SM),
            "memory_mhz": lambda: n.nvmlDeviceGetClockInfo(d, n.NVML_CLOCK_MEM),
            "temperature_c": lambda: n.nvmlDeviceGetTemperature(d, n.NVML_TEMPERATURE_GPU),
            "throttled": lambda: bool(n.nvmlDeviceGetCurrentClocksThrottleReasons(d) & ~n.nvmlClocksThrottleReasonGpuIdle),
            "pcie_tx_gb_s": lambda: n.nvmlDeviceGetPcieThroughput(d, n.NVML_PCIE_UTIL_TX_BYTES) * 1024 / 1e9,
            "pcie_rx_gb_s": lambda: n.nvmlDeviceGetPcieThroughput(d, n.NVML_PCIE_UTIL_RX_BYTES) * 1024 / 1e9,
        })  # fmt: skip


def nvidia() -> list[Nvml]:
    """Every NVIDIA device. Raises what the library raises where there is none."""
    import pynvml

    pynvml.nvmlInit()
    return [Nvml(pynvml, index) for index in range(pynvml.nvmlDeviceGetCount())]


class AmdSmi:
    """One AMD device. `smi` is the module amdsmi."""

    counters = frozenset({"energy_j"})

    def __init__(self, smi: Any, handle: Any, index: int) -> None:
        self._smi, self._device, self.name = smi, handle, f"amdsmi.{index}"

    def read(self) -> dict[str, float]:
        s, d = self._smi, self._device
        return _each({
            "util_percent": lambda: s.amdsmi_get_gpu_activity(d)["gfx_activity"],
            "memory_util_percent": lambda: s.amdsmi_get_gpu_activity(d)["umc_activity"],
            "memory_used_gib": lambda: s.amdsmi_get_gpu_memory_usage(d, s.AmdSmiMemoryType.VRAM) / GIB,
            "power_w": lambda: _watts(s.amdsmi_get_power_info(d)),
            "energy_j": lambda: _joules(s.amdsmi_get_energy_count(d)),
            "sm_mhz": lambda: _clock(s.amdsmi_get_clock_info(d, s.AmdSmiClkType.GFX)),
            "memory_mhz": lambda: _clock(s.amdsmi_get_clock_info(d, s.AmdSmiClkType.MEM)),
            "temperature_c": lambda: s.amdsmi_get_temp_metric(d, s.AmdSmiTemperatureType.HOTSPOT, s.AmdSmiTemperatureMetric.CURRENT),
        })  # fmt: skip


def _watts(info: dict[str, Any]) -> float:
    """Of the two figures the one that the device has ("N/A" for the other)."""
    return next(float(w) for w in (info.get("current_socket_power"), info.get("average_socket_power")) if isinstance(w, int | float))


def _clock(info: dict[str, Any]) -> float:
    return float(info["clk"] if "clk" in info else info["cur_clk"])


def _joules(info: dict[str, Any]) -> float:
    return float(info["energy_accumulator"] if "energy_accumulator" in info else info["power"]) * float(info["counter_resolution"]) / 1e6


def amd() -> list[AmdSmi]:
    """Every AMD device. Raises what the library raises where there is none; even its import does."""
    import amdsmi

    amdsmi.amdsmi_init()
    return [AmdSmi(amdsmi, handle, index) for index, handle in enumerate(amdsmi.amdsmi_get_processor_handles())]


class Apple:
    """An Apple GPU by ioreg, which every user may run: its use and its memory. Power needs an administrator."""

    name = "apple"
    counters: frozenset[str] = frozenset()

    def __init__(self, ask: Callable[[], str]) -> None:
        self._ask, self._told, self._again = ask, {}, 0.0  # type: ignore[var-annotated]
        if not self.read():
            raise OSError("no accelerator")

    def read(self) -> dict[str, float]:
        import time

        if time.monotonic() >= self._again:
            self._told, self._again = apple_figures(self._ask()), time.monotonic() + _APPLE_EVERY_S
        return self._told


def apple_figures(said: str) -> dict[str, float]:
    """Figures in what `ioreg -r -c IOAccelerator` says."""
    names = {"Device Utilization %": ("util_percent", 1.0), "In use system memory": ("memory_used_gib", 1 / GIB)}
    found = {}
    for name, (label, factor) in names.items():
        amounts = [float(a) for a in re.findall(rf'"{re.escape(name)}"\s*=\s*(\d+)', said)]
        if amounts:
            found[label] = max(amounts) * factor
    return found


def apple() -> list[Apple]:
    if sys.platform != "darwin":
        raise OSError("no Apple device")
    command = ["ioreg", "-r", "-d", "1", "-w", "0", "-c", "IOAccelerator"]
    return [Apple(lambda: subprocess.run(command, capture_output=True, text=True, timeout=2).stdout)]


MAKERS: tuple[Callable[[], list[Any]], ...] = (nvidia, amd, apple)
