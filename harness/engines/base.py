"""What every engine shares: the point that it is to measure, what it found, and what it may use meanwhile."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import psutil

from core.errors import RunError
from harness.stats import Repeats

# What a point may say beside the columns of core.runs.
OPTIONS = ("engine", "file", "url", "api_model", "program", "args", "trust_remote_code", "random_weights", "timeout_s", "trace", "bucket",
           "max_context", "max_sequences", "requests")  # fmt: skip
TIMEOUT_S = 1800.0  # for one point, model loading included


@dataclass(frozen=True, slots=True)
class Point:
    """One cell of a sweep: columns of core.runs, and OPTIONS. `key` names it among the study's points."""

    study: str
    key: str
    cells: Mapping[str, Any]

    def text(self, name: str, default: str = "") -> str:
        found = self.cells.get(name)
        return default if found is None else str(found)

    def whole(self, name: str, default: int = 0) -> int:
        found = self.cells.get(name)
        return default if found is None else round(float(found))

    def number(self, name: str) -> float | None:
        found = self.cells.get(name)
        return None if found is None else float(found)

    def flag(self, name: str) -> bool | None:
        found = self.cells.get(name)
        return None if found is None or found == "" else str(found).lower() in ("1", "1.0", "true", "on", "yes")

    def needed(self, name: str, example: str) -> str:
        """A cell that the engine cannot do without. Raises RunError."""
        if not self.text(name):
            raise RunError(f"The point '{self.key}' needs {name}, such as {example}.")
        return self.text(name)

    @property
    def args(self) -> list[str]:
        """Further words of the engine's command line, as the study has them."""
        found = self.cells.get("args") or ()
        return [found] if isinstance(found, str) else [str(word) for word in found]

    @property
    def timeout(self) -> float:
        return self.number("timeout_s") or TIMEOUT_S


@dataclass(slots=True)
class Result:
    """What an engine found. `rows`: by the columns of core.records, each with its figures; memory points have a memory_kind."""

    rows: list[dict[str, Any]]
    tool: str
    command: tuple[str, ...] = ()
    extra: dict[str, float] = field(default_factory=dict)
    repeats: dict[str, tuple[float, ...]] = field(default_factory=dict)
    spread: dict[str, float] = field(default_factory=dict)


@dataclass(slots=True)
class Session:
    """What a measurement may use. `tell`: progress, done of how many; `watch`: hears which processes are the engine's."""

    repeats: Repeats = field(default_factory=Repeats)
    seed: int = 0
    tell: Callable[[int, int], None] = lambda done, of: None
    watch: Callable[[Callable[[], Sequence[psutil.Process]]], None] = lambda processes: None


class Engine(Protocol):
    """One way to measure. `needs`: the cells that a point must have."""

    name: str
    about: str
    runtime: str  # of core.runs; "" where the point says it

    def missing(self) -> str:
        """Why it cannot be used here; "" where it can."""

    def measure(self, point: Point, session: Session) -> Result:
        """Measures a point. Raises Failure where the engine failed, RunError where the point is wrong."""


def free_port() -> int:
    """A port of loopback that nobody uses at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def model_name(point: Point) -> dict[str, Any]:
    """How a run's model is told: by its id where the point has one, and by the file's name."""
    file = point.text("file")
    name = Path(file).name.replace("-synthetic", "") if file else point.text("model_name_raw")
    return {"model_id": point.text("model_id"), "model_name_raw": name}
