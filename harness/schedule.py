"""When requests are sent: by users who wait for their answers, at random times, or as a trace recorded them."""

from __future__ import annotations

import csv
import json
import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from core.errors import RunError

# Columns of traces: ours, and those of published ones (Azure's LLM inference trace, Mooncake's).
_TIMES, _PROMPTS, _OUTPUTS = (
    ("at_s", "timestamp", "time"),
    ("prompt_tokens", "contexttokens", "input_length", "input_tokens"),
    ("output_tokens", "generatedtokens", "output_length"),
)
MOST = 1_000_000  # requests of a trace


@dataclass(frozen=True, slots=True)
class Request:
    """One request; `at`: seconds after the start, None for as soon as a user is free."""

    prompt_tokens: int
    output_tokens: int
    at: float | None = None


@dataclass(frozen=True, slots=True)
class Schedule:
    """The load of one run. `users`: of a closed loop; `rate`: requests a second of an open one."""

    kind: str  # "closed", "open" or "trace"
    requests: tuple[Request, ...]
    users: int = 1
    rate: float | None = None


def closed(users: int, requests: int, prompt_tokens: int, output_tokens: int) -> Schedule:
    """`users` who ask again as soon as they are answered."""
    return Schedule("closed", (Request(prompt_tokens, output_tokens),) * requests, users)


def opened(rate: float, requests: int, prompt_tokens: int, output_tokens: int, seed: int) -> Schedule:
    """Requests that come at random (Poisson), `rate` a second on average, whether others are answered or not."""
    drawn, at = random.Random(seed), 0.0
    made = []
    for _ in range(requests):
        made.append(Request(prompt_tokens, output_tokens, at))
        at += drawn.expovariate(rate)
    return Schedule("open", tuple(made), rate=rate)


def trace(path: Path, speed: float = 1.0, most: int = MOST) -> Schedule:
    """A recorded trace (CSV or JSON lines: time, prompt and output tokens), `speed` times as fast. Raises RunError."""
    rows = []
    try:
        for number, row in enumerate(_rows(path), 1):
            rows.append((_time(row), _length(row, _PROMPTS), _length(row, _OUTPUTS)))
            if number >= most:
                break
    except (OSError, UnicodeDecodeError) as error:
        raise RunError(f"{path} cannot be read ({error}); give a trace as CSV or JSON lines.") from error
    except (ValueError, TypeError, KeyError, csv.Error) as error:
        raise RunError(
            f"{path.name}, row {len(rows) + 1}, is no request ({error}); a trace needs {_TIMES[0]}, {_PROMPTS[0]} and {_OUTPUTS[0]}."
        ) from error
    if not rows:
        raise RunError(f"{path.name} holds no requests; a trace needs {_TIMES[0]}, {_PROMPTS[0]} and {_OUTPUTS[0]}.")
    start, end = min(row[0] for row in rows), max(row[0] for row in rows)
    requests = tuple(Request(prompt, output, (at - start) / speed) for at, prompt, output in sorted(rows))
    return Schedule("trace", requests, rate=(len(rows) - 1) * speed / (end - start) if end > start else None)


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        if path.suffix == ".csv":
            yield from ({str(k).strip().lower(): v for k, v in row.items()} for row in csv.DictReader(file))
        else:
            yield from ({str(k).lower(): v for k, v in json.loads(line).items()} for line in file if line.strip())


def _time(row: dict[str, Any]) -> float:
    """Seconds of a row's time: a number of seconds, of milliseconds where it is called a timestamp, or a date."""
    name = next(name for name in (*_TIMES, "") if name in row or not name)
    cell = row[name]
    try:
        amount = float(cell)
    except ValueError:
        return datetime.fromisoformat(str(cell)[:26]).timestamp()
    if not math.isfinite(amount):
        raise ValueError(f"{name} is {cell}")
    return amount / 1e3 if name == "timestamp" else amount


def _length(row: dict[str, Any], names: tuple[str, ...]) -> int:
    name = next((name for name in names if name in row), names[0])
    return max(1, round(float(row[name])))
