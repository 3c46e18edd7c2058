"""Whether the machine was quiet: what other programs and the host took while a benchmark ran."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping

import psutil

from core.run_artifact import Noise

BUSY, STEAL, SPREAD = 0.10, 0.02, 0.10  # shares from which a run is not trusted
Processes = Callable[[], Iterable[psutil.Process]]
_LOOK_S = 0.5  # how long is looked before a run


class NoiseWatch:
    """Watches from its making to `found`. Processor time of this process, of everything it started and of the `engine`'s processes,
    whoever started them, is not noise."""

    def __init__(self, look_s: float = _LOOK_S, engine: Processes = lambda: ()) -> None:
        self._engine = engine
        start = _Times.now(engine())
        time.sleep(look_s)
        self.start = _Times.now(engine())
        self.before = self.start.others_since(start)

    def found(self, spread: Mapping[str, float]) -> Noise:
        """What was seen, with the `spread` of the run's own repeats."""
        now = _Times.now(self._engine())
        others, steal = now.others_since(self.start), now.steal_since(self.start)
        flags = []
        if self.before is not None and self.before > BUSY:
            flags.append(f"other programs kept {self.before:.0%} of the processor busy just before")
        if others is not None and others > BUSY:
            flags.append(f"other programs kept {others:.0%} of the processor busy meanwhile")
        if steal is not None and steal > STEAL:
            flags.append(f"the host took away {steal:.0%} of the processor's time")
        flags += [f"its repeats differ by {cv:.0%} ({name})" for name, cv in spread.items() if cv > SPREAD]
        return Noise(load_before=self.before, load_of_others=others, steal=steal, spread=dict(spread), flags=tuple(flags))


class _Times:
    """Processor seconds since boot: all, idle, stolen, and those of our own processes."""

    def __init__(self, total: float, busy: float, stolen: float | None, own: float) -> None:
        self.total, self.busy, self.stolen, self.own = total, busy, stolen, own

    @classmethod
    def now(cls, engine: Iterable[psutil.Process] = ()) -> _Times:
        times = psutil.cpu_times()
        stolen = getattr(times, "steal", None)
        guests = getattr(times, "guest", 0.0) + getattr(times, "guest_nice", 0.0)  # Linux counts them in user and nice, too
        total = sum(times) - guests
        idle = times.idle + getattr(times, "iowait", 0.0) + (stolen or 0.0)
        return cls(total, total - idle, stolen, _own(engine))

    def others_since(self, start: _Times) -> float | None:
        """Share of all cores' time that others were busy; None where too little time has passed to tell."""
        whole = self.total - start.total
        return max(0.0, (self.busy - start.busy) - (self.own - start.own)) / whole if whole > 0 else None

    def steal_since(self, start: _Times) -> float | None:
        whole = self.total - start.total
        return (self.stolen - (start.stolen or 0.0)) / whole if self.stolen is not None and whole > 0 else None


def _own(engine: Iterable[psutil.Process]) -> float:
    """Processor seconds of this process, of its children that live, of those that ended, and of the engine's processes."""
    mine = os.times()
    seconds = mine.user + mine.system + mine.children_user + mine.children_system
    for process in {*psutil.Process().children(recursive=True), *engine}:
        try:
            used = process.cpu_times()
        except psutil.Error:
            continue
        seconds += used.user + used.system + getattr(used, "children_user", 0.0) + getattr(used, "children_system", 0.0)
    return seconds
