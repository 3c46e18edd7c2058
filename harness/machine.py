"""Detects the machine: processor, memory, accelerators, drivers, engines. Whatever is found can be set by hand instead."""

from __future__ import annotations

import contextlib
import json
import math
import platform
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

from core.this_machine import Gpu, MachineFacts, overridden
from core.units import GIB
from harness import micro
from harness.engines.llama_cpp import program
from harness.sign import hashed

Ask = Callable[[list[str]], str]  # what a program prints; "" where it is not there or fails
PACKAGES = ("vllm", "sglang", "transformers", "torch", "mlx-lm", "llama-cpp-python")
_PROGRAMS = {"llama.cpp": ["llama-server", "--version"], "ollama": ["ollama", "--version"]}
_VERSION = re.compile(r"version:?\s*(?:is\s*)?v?(\d[\w.]*(?: \(\w+\))?)", re.I)


def ask(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, errors="replace", check=False)
    except (OSError, subprocess.SubprocessError):
        return ""
    return f"{done.stdout}\n{done.stderr}" if done.returncode == 0 else ""


def detect(overrides: Mapping[str, str] | None = None, *, asking: Ask = ask) -> MachineFacts:
    """The facts of this machine, with what is set by hand. Raises RunError for an override that is no fact or out of range."""
    gpus, driver, cuda = nvidia(asking)
    rocm = ""
    if not gpus:
        gpus, rocm = amd(asking), _text(Path("/opt/rocm/.info/version")).split("-")[0]
    cpu = cpu_name(asking)
    if not gpus and sys.platform == "darwin" and cpu.startswith("Apple"):
        gpus = [apple(cpu, asking)]
    facts: dict[str, Any] = {
        "machine": hashed(_identity(asking)), "os": _os(), "cpu": cpu, "cores": min(psutil.cpu_count(logical=False) or 1, _allowed()),
        "threads": _allowed(), "ram_gb": nominal(_memory() / GIB), "gpus": gpus, "driver": driver, "cuda": cuda, "rocm": rocm,
        "container": _container(), "engines": engines(asking),
    }  # fmt: skip
    return overridden(facts, overrides or {})


def measured(facts: MachineFacts) -> MachineFacts:
    """The facts with what micro probes reach: memory, matrix units, copies to a device. Takes some seconds."""
    rates = micro.matrix_rates()
    copies = micro.links()
    read = micro.read_bandwidth()
    return facts.model_copy(
        update={
            "measured_bandwidth_gb_s": _round(max(read.values())),
            "measured_thread_bandwidth_gb_s": _round(read[1]),
            "measured_tflops": {name: _round(rate) for name, rate in rates.items()},
            "measured_pcie_gb_s": _round(copies["host_to_device"]) if "host_to_device" in copies else None,
        }
    )


def _round(amount: float) -> float:
    return float(f"{amount:.3g}")


# ---- Accelerators


def nvidia(asking: Ask) -> tuple[list[Gpu], str, str]:
    """NVIDIA devices, their driver and the CUDA version that it speaks; by NVML, else by nvidia-smi."""
    with contextlib.suppress(Exception):  # the library raises errors of its own where there is no driver
        import pynvml as n

        n.nvmlInit()
        version = n.nvmlSystemGetCudaDriverVersion()
        found = [_by_nvml(n, n.nvmlDeviceGetHandleByIndex(i)) for i in range(n.nvmlDeviceGetCount())]
        return found, _plain(n.nvmlSystemGetDriverVersion()), f"{version // 1000}.{version % 1000 // 10}"
    query = "name,memory.total,driver_version,power.limit,pcie.link.gen.max,pcie.link.width.max"
    rows = asking(["nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader,nounits"]).strip().splitlines()
    cells = [[cell.strip() for cell in row.split(",")] for row in rows if row.count(",") == 5]
    gpus = [
        Gpu(name=c[0], memory_gib=_number(c[1], 1024), power_limit_w=_number(c[3]), pcie_generation=_whole(c[4]), pcie_lanes=_whole(c[5]))
        for c in cells
    ]
    cuda = re.search(r"CUDA Version:\s*([\d.]+)", asking(["nvidia-smi"])) if gpus else None
    return gpus, cells[0][2] if cells else "", cuda[1] if cuda else ""


def _by_nvml(n: Any, device: Any) -> Gpu:
    def tell(read: Callable[[], float]) -> float | None:
        try:
            return read() or None
        except Exception:  # "not supported" of this device
            return None

    generation, lanes = (tell(lambda f=f: f(device)) for f in (n.nvmlDeviceGetMaxPcieLinkGeneration, n.nvmlDeviceGetMaxPcieLinkWidth))  # type: ignore[misc]
    return Gpu(
        name=_plain(n.nvmlDeviceGetName(device)),
        memory_gib=tell(lambda: n.nvmlDeviceGetMemoryInfo(device).total / GIB),
        power_limit_w=tell(lambda: n.nvmlDeviceGetEnforcedPowerLimit(device) / 1e3),
        pcie_generation=None if generation is None else int(generation),
        pcie_lanes=None if lanes is None else int(lanes),
    )


def amd(asking: Ask, drm: Path = Path("/sys/class/drm")) -> list[Gpu]:
    """AMD devices: memory by the kernel, names by rocm-smi."""
    totals = [
        float(_text(card / "mem_info_vram_total") or 0) / GIB
        for card in sorted(drm.glob("card[0-9]*/device"))
        if _text(card / "vendor") == "0x1002" and _text(card / "mem_info_vram_total")
    ]
    try:
        said = json.loads(asking(["rocm-smi", "--showproductname", "--json"]).strip() or "{}")
    except ValueError:
        said = {}
    cards = [said[key] for key in sorted(said) if key.startswith("card") and isinstance(said[key], dict)]
    names = [str(card.get("Card Series") or card.get("Card series") or card.get("Card model") or "") for card in cards]
    names = [re.sub(r"^AMD (?=Instinct|Radeon)", "", name) or "AMD GPU" for name in names]
    return [Gpu(name=name, memory_gib=totals[at] if at < len(totals) else None) for at, name in enumerate(names)]


def apple(chip: str, asking: Ask) -> Gpu:
    """The GPU of an Apple chip, with its number of cores, which the chip's name does not tell."""
    found = re.search(r'"sppci_cores"\s*:\s*"(\d+)"', asking(["system_profiler", "SPDisplaysDataType", "-json"]))
    return Gpu(name=f"{chip} {found[1]}-core" if found else chip)


# ---- The host


def cpu_name(asking: Ask) -> str:
    if sys.platform == "darwin":
        return asking(["sysctl", "-n", "machdep.cpu.brand_string"]).strip()
    info = _text(Path("/proc/cpuinfo"))
    named = re.search(r"^(?:model name|Model)\s*:\s*(.+)$", info, re.M)
    if named:
        return " ".join(named[1].split())
    # Kernels of ARM leave the name to lscpu.
    listed = re.search(r"^Model name:\s*(.+)$", asking(["lscpu"]), re.M)
    return " ".join(listed[1].split()) if listed else platform.processor()


def nominal(gib: float) -> float:
    """The size that was bought: the kernel and the firmware keep up to a twentieth to themselves."""
    for step in (256, 128, 64, 32, 16, 8, 4, 2):
        size = math.ceil(gib / step) * step
        if size <= 1.05 * gib:
            return float(size)
    return round(gib, 1)


def _memory() -> float:
    """Bytes of memory that may be used: of the machine, or of the container."""
    limit = _text(Path("/sys/fs/cgroup/memory.max"))
    whole = psutil.virtual_memory().total
    return min(float(limit), whole) if limit.isdigit() else whole


def _allowed() -> int:
    """Threads that may run at once: of the machine, or of the container."""
    quota = _text(Path("/sys/fs/cgroup/cpu.max")).split()
    limit = math.ceil(int(quota[0]) / int(quota[1])) if len(quota) == 2 and quota[0].isdigit() else micro.cores()
    return max(1, min(limit, micro.cores()))


def _os() -> str:
    named = re.search(r'^PRETTY_NAME="?([^"\n]+)', _text(Path("/etc/os-release")), re.M)
    kernel = ".".join(platform.release().split(".")[:2])
    return f"{platform.system()} {kernel}" + (f" ({named[1]})" if named else "")


def _container() -> bool:
    return Path("/.dockerenv").exists() or Path("/run/.containerenv").exists() or "kubepods" in _text(Path("/proc/1/cgroup"))


def _identity(asking: Ask) -> str:
    """What tells this machine from others; only its salted hash is kept."""
    if found := _text(Path("/etc/machine-id")):
        return found
    if sys.platform == "darwin":
        found = asking(["ioreg", "-rd1", "-c", "IOPlatformExpertDevice"])
        return (re.search(r'"IOPlatformUUID" = "([^"]+)"', found) or [found])[0]
    import uuid

    return str(uuid.getnode())


def engines(asking: Ask) -> dict[str, str]:
    """Versions of the engines that are installed, as runs name them."""
    found = {}
    for package in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    for name, command in _PROGRAMS.items():
        version = _VERSION.search(asking([program(command[0]) or command[0], *command[1:]]))
        if version:
            found[name] = f"b{version[1]}" if name == "llama.cpp" else version[1]
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def _plain(name: Any) -> str:
    return name.decode() if isinstance(name, bytes) else str(name)


def _number(text: str, over: float = 1.0) -> float | None:
    try:
        return float(text) / over or None
    except ValueError:  # "[N/A]"
        return None


def _whole(text: str) -> int | None:
    return int(text) if text.isdigit() and int(text) else None


__all__ = ["amd", "apple", "ask", "cpu_name", "detect", "engines", "measured", "nominal", "nvidia", "overridden"]
