"""Telemetry beside a run: sources read ten times a second, as a summary and as a trace.

A source that is not there (no such device, no right to read it) is left out; one that breaks while it is read falls silent.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Protocol

import numpy as np
import psutil

from harness import telemetry_devices, telemetry_host

RATE_HZ = 10.0
DIGITS = 4  # of a sample in the trace
MOST = 36_000  # samples of a trace: an hour; longer runs are thinned


class Source(Protocol):
    """Named numbers at one moment. `counters` are those that only grow: energy, bytes."""

    name: str
    counters: frozenset[str]

    def read(self) -> Mapping[str, float]: ...


Processes = Callable[[], Sequence[psutil.Process]]


def sources(processes: Processes | None = None) -> list[Source]:
    """Everything that can be read here. `processes`: the engine's, whose memory is watched."""
    found: list[Source] = []
    for make in (*telemetry_devices.MAKERS, *telemetry_host.MAKERS):
        try:
            found += make()
        except Exception:  # a driver's library may raise anything at all, KeyError included
            continue
    if processes is not None:
        found.append(telemetry_host.Engine(processes))
    return found


class Telemetry:
    """Reads sources in a thread of its own while its block runs; then `summary` and `trace`."""

    def __init__(self, found: Iterable[Source], rate_hz: float = RATE_HZ) -> None:
        self.sources, self.interval = list(found), 1.0 / rate_hz
        self._growing = {f"{source.name}.{name}" for source in self.sources for name in source.counters}
        self._times: list[float] = []
        self._samples: dict[str, list[float | None]] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="telemetry", daemon=True)
        self._start = 0.0

    def __enter__(self) -> Telemetry:
        self._start = time.monotonic()
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join(10)

    def _run(self) -> None:
        due = self._start
        while True:
            self.sample()
            due += self.interval
            if self._stop.wait(max(0.0, due - time.monotonic())):
                break
        self.sample()  # so that counters cover the whole run

    def sample(self) -> None:
        """Reads every source once."""
        self._times.append(time.monotonic() - self._start)
        found: dict[str, float] = {}
        for source in list(self.sources):
            try:
                found.update({f"{source.name}.{name}": float(amount) for name, amount in source.read().items()})
            except Exception:  # as in `sources`
                self.sources.remove(source)
        for name in {*found, *self._samples}:
            column = self._samples.setdefault(name, [None] * (len(self._times) - 1))
            column.append(found.get(name))

    def summary(self) -> dict[str, dict[str, float]]:
        """By name: mean, p50, p95, max and min of what goes up and down; total and rate a second of what only grows."""
        told = {}
        for name, column in sorted(self._samples.items()):
            pairs = [(at, amount) for at, amount in zip(self._times, column, strict=False) if amount is not None and np.isfinite(amount)]
            if not pairs:
                continue
            times, values = np.array([p[0] for p in pairs]), np.array([p[1] for p in pairs])
            if name in self._growing:
                total, seconds = float(np.maximum(np.diff(values), 0).sum()), float(times[-1] - times[0])
                told[name] = {"total": total, **({"per_s": total / seconds} if seconds > 0 else {})}
            else:
                p50, p95 = np.percentile(values, (50, 95))
                told[name] = {"mean": values.mean(), "p50": p50, "p95": p95, "max": values.max(), "min": values.min()}
        return {name: {key: float(f"{amount:.6g}") for key, amount in found.items()} for name, found in told.items()}

    def trace(self) -> dict[str, list[float | None]]:
        """Samples by name, and "t": seconds since the start."""
        step = -(-len(self._times) // MOST) or 1
        columns: dict[str, list[float | None]] = {"t": list(self._times), **self._samples}
        return {name: [_short(amount) for amount in column[::step]] for name, column in columns.items()}


def _short(amount: float | None) -> float | None:
    return None if amount is None or not np.isfinite(amount) else float(f"{amount:.{DIGITS}g}")
