"""Micro probes: what memory, matrix units and links reach here, measured in seconds and without an engine.

The best of several passes counts, as STREAM does: anything else a neighbour on the machine can only have made worse.
"""

from __future__ import annotations

import concurrent.futures
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import psutil

from core.units import GB, MIB, TFLOP
from harness import micro_gpu

PASSES = 5
_LEAST, _SHARE_OF_RAM = 512 * MIB, 0.2
_MATRIX = 2048


def cores() -> int:
    """Logical cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cache_bytes(folder: Path = Path("/sys/devices/system/cpu/cpu0/cache")) -> float:
    """The largest cache; 0 where nobody tells."""
    found = 0.0
    for size in folder.glob("index*/size"):
        text = size.read_text().strip()
        found = max(found, float(text[:-1]) * {"K": 2**10, "M": 2**20, "G": 2**30}.get(text[-1], 1))
    return found


def array_bytes() -> int:
    """An array that no cache holds, and that leaves the machine its memory."""
    return int(min(max(_LEAST, 4 * cache_bytes()), _SHARE_OF_RAM * psutil.virtual_memory().available))


def best(work: Callable[[], object], passes: int = PASSES) -> float:
    """Seconds of the fastest of several passes."""
    times = []
    for _ in range(passes):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def read_bandwidth(threads: Iterable[int] | None = None, size: int | None = None, passes: int = PASSES) -> dict[int, float]:
    """GB/s of reading host memory, by number of threads (None: powers of two up to all cores)."""
    counts = sorted(set(threads) if threads is not None else {min(2**k, cores()) for k in range(12)})
    data = np.ones((size or array_bytes()) // 4, dtype=np.float32)
    found = {}
    for count in counts:
        parts = np.array_split(data, count)
        with concurrent.futures.ThreadPoolExecutor(count) as pool:
            # The maximum of a part: NumPy lets other threads run meanwhile, and its sum would wait for additions.
            seconds = best(lambda pool=pool, parts=parts: list(pool.map(np.max, parts)), passes)  # type: ignore[misc]
        found[count] = data.nbytes / seconds / GB
    return found


def matrix_rates(size: int = _MATRIX, passes: int = PASSES) -> dict[str, float]:
    """TFLOP/s of a square product on the processor by dtype: by torch where it is installed, else float32 by NumPy.

    float16 is left out: on processors torch runs it without matrix units, for minutes.
    """
    flop = 2.0 * size**3
    try:
        import torch
    except ImportError:
        a = np.ones((size, size), dtype=np.float32)
        return {"fp32": flop / best(lambda: a @ a, passes) / TFLOP}
    found = {}
    for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        b = torch.ones((size, size), dtype=dtype)
        found[name] = flop / best(lambda b=b: b @ b, passes) / TFLOP  # type: ignore[misc]
    return found


def kernel_rate(prefill_toks_sec: float, parameters: float) -> float:
    """TFLOP/s that an engine's own kernels reach, from its prefill rate: two FLOP a weight and token, attention left aside."""
    return 2.0 * parameters * prefill_toks_sec / TFLOP


def links() -> dict[str, float]:
    """GB/s of copies: "host_to_device", "device_to_host", "within_device", "device_to_device" of the accelerators that are here."""
    return micro_gpu.copies(best)


__all__ = ["array_bytes", "best", "cache_bytes", "cores", "kernel_rate", "links", "matrix_rates", "read_bandwidth"]
