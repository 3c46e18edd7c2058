"""Copies to, from and within accelerators, by the driver that is there: CUDA's driver API or HIP, through ctypes alone."""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from core.units import GB, MIB

SIZE = int(256 * MIB)
_REPEATS = 8  # copies a pass, so that starting one does not count


class Driver(Protocol):
    """What the probes need of a driver; addresses are plain numbers."""

    def devices(self) -> int: ...
    def use(self, device: int) -> None: ...
    def pinned(self, size: int) -> int: ...
    def allocated(self, size: int) -> int: ...
    def copy(self, to: int, source: int, size: int, way: str) -> None: ...
    def wait(self) -> None: ...
    def free(self, address: int, host: bool) -> None: ...


class DriverError(Exception):
    """A driver refused; the probe is left out."""


class _Library:
    """A C library whose functions answer 0 where all is well."""

    def __init__(self, names: tuple[str, ...]) -> None:
        for name in names:
            try:
                self.library: Any = ctypes.CDLL(name)
                return
            except OSError:
                continue
        raise DriverError(f"no {names[0]}")

    def call(self, name: str, *arguments: Any) -> None:
        code = getattr(self.library, name)(*arguments)
        if code:
            raise DriverError(f"{name} answered {code}")


class Cuda(_Library):
    """NVIDIA, by the driver's own library."""

    def __init__(self, names: tuple[str, ...] = ("libcuda.so.1", "libcuda.so", "nvcuda.dll")) -> None:
        super().__init__(names)
        self.call("cuInit", 0)
        self._contexts: dict[int, ctypes.c_void_p] = {}

    def devices(self) -> int:
        count = ctypes.c_int()
        self.call("cuDeviceGetCount", ctypes.byref(count))
        return count.value

    def use(self, device: int) -> None:
        if device not in self._contexts:
            handle, context = ctypes.c_int(), ctypes.c_void_p()
            self.call("cuDeviceGet", ctypes.byref(handle), device)
            self.call("cuDevicePrimaryCtxRetain", ctypes.byref(context), handle)
            self._contexts[device] = context
        self.call("cuCtxSetCurrent", self._contexts[device])

    def pinned(self, size: int) -> int:
        address = ctypes.c_void_p()
        self.call("cuMemAllocHost_v2", ctypes.byref(address), ctypes.c_size_t(size))
        return int(address.value or 0)

    def allocated(self, size: int) -> int:
        address = ctypes.c_uint64()
        self.call("cuMemAlloc_v2", ctypes.byref(address), ctypes.c_size_t(size))
        return int(address.value)

    def copy(self, to: int, source: int, size: int, way: str) -> None:
        # Addresses are unified: the driver sees itself where each lies.
        self.call("cuMemcpyAsync", ctypes.c_uint64(to), ctypes.c_uint64(source), ctypes.c_size_t(size), ctypes.c_void_p())

    def wait(self) -> None:
        self.call("cuCtxSynchronize")

    def free(self, address: int, host: bool) -> None:
        self.call("cuMemFreeHost", ctypes.c_void_p(address)) if host else self.call("cuMemFree_v2", ctypes.c_uint64(address))


class Hip(_Library):
    """AMD, by HIP's runtime."""

    _DEFAULT = 4  # hipMemcpyDefault: it sees itself where each lies

    def __init__(self, names: tuple[str, ...] = ("libamdhip64.so", "libamdhip64.so.6", "libamdhip64.so.7", "amdhip64.dll")) -> None:
        super().__init__(names)

    def devices(self) -> int:
        count = ctypes.c_int()
        self.call("hipGetDeviceCount", ctypes.byref(count))
        return count.value

    def use(self, device: int) -> None:
        self.call("hipSetDevice", device)

    def pinned(self, size: int) -> int:
        address = ctypes.c_void_p()
        self.call("hipHostMalloc", ctypes.byref(address), ctypes.c_size_t(size), ctypes.c_uint(0))
        return int(address.value or 0)

    def allocated(self, size: int) -> int:
        address = ctypes.c_void_p()
        self.call("hipMalloc", ctypes.byref(address), ctypes.c_size_t(size))
        return int(address.value or 0)

    def copy(self, to: int, source: int, size: int, way: str) -> None:
        self.call("hipMemcpyAsync", ctypes.c_void_p(to), ctypes.c_void_p(source), ctypes.c_size_t(size), self._DEFAULT, ctypes.c_void_p())

    def wait(self) -> None:
        self.call("hipDeviceSynchronize")

    def free(self, address: int, host: bool) -> None:
        self.call("hipHostFree" if host else "hipFree", ctypes.c_void_p(address))


def drivers() -> Iterator[Driver]:
    """The drivers that are here."""
    for kind in (Cuda, Hip):
        with contextlib.suppress(DriverError):
            yield kind()


def copies(best: Callable[[Callable[[], object]], float], found: Driver | None = None, size: int = SIZE) -> dict[str, float]:
    """GB/s of copies by way; nothing without an accelerator. Within a device each byte is read and written: both count."""
    driver = found if found is not None else next(drivers(), None)
    if driver is None:
        return {}
    told: dict[str, float] = {}
    with contextlib.suppress(DriverError), contextlib.ExitStack() as stack:

        def held(device: int) -> int:
            driver.use(device)
            address = driver.allocated(size)
            stack.callback(driver.free, address, False)
            return address

        if driver.devices() == 0:
            return {}
        one, two = held(0), held(0)
        host = driver.pinned(size)
        stack.callback(driver.free, host, True)
        ways = [("host_to_device", one, host, 1), ("device_to_host", host, one, 1), ("within_device", two, one, 2)]
        if driver.devices() > 1:
            ways.append(("device_to_device", held(1), one, 1))
            driver.use(0)
        for way, to, source, times in ways:
            told[way] = times * _REPEATS * size / best(lambda to=to, source=source, way=way: _pass(driver, to, source, size, way)) / GB  # type: ignore[misc]
    return told


def _pass(driver: Driver, to: int, source: int, size: int, way: str) -> None:
    for _ in range(_REPEATS):
        driver.copy(to, source, size, way)
    driver.wait()
