"""The answer that people are shown, and the same question for many values of one knob."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

from core.answer import Estimate
from core.calibrate import in_effect, remembered
from core.errors import RoofcastError
from core.estimate import estimate
from core.quantity import value
from core.scenario import Scenario

METRICS = ("ttft", "tpot", "decode_rate", "prefill_rate", "output_rate", "latency", "batch", "power", "energy_per_token")
ALWAYS = ("memory_peak",)  # also of what does not run
MONEY = ("usd_per_h", "usd_per_million", "usd_per_month")

USERS = (1, 2, 4, 8, 16, 32, 64, 128)


@remembered(maxsize=128)
def answer(scenario: Scenario, *, analytic: bool = False) -> Estimate:
    """The estimate as people see it: with the shipped correction, shifted by their own runs; remembered, for pages ask at every click.

    `analytic` leaves the correction out. Raises what `estimate` raises, and CatalogError where the correction cannot be read.
    """
    return estimate(scenario, None if analytic else in_effect())


@remembered(maxsize=4096)
def _point(scenario: Scenario) -> tuple[tuple[str, Any], ...]:
    try:
        found = estimate(scenario, in_effect())
    except RoofcastError as error:
        return (("fits", False), ("error", str(error)), *((name, math.nan) for name in (*METRICS, *ALWAYS, *MONEY)))
    told = METRICS if found.runs else ()
    numbers = {name: found.metric(name) for name in (*told, *ALWAYS)}
    numbers |= {name: float(value(found.money[name])) for name in MONEY if found.runs}
    ends = {f"{name}_{end}": amount for name in numbers for end, amount in zip(("p10", "p90"), found.bands.get(name, ()), strict=False)}
    unknown = {name: math.nan for name in (*METRICS, *MONEY) if name not in numbers}
    return (("fits", found.runs), ("error", ""), ("feasibility", found.feasibility), *{**numbers, **unknown, **ends}.items())


def point(scenario: Scenario) -> dict[str, Any]:
    """What a sweep tells of one scenario: `fits`, `error`, METRICS, ALWAYS and MONEY in base units, "NAME_p10" and "NAME_p90" where known.

    NaN where it does not run; what is no legal scenario has its `error`.
    """
    return dict(_point(scenario))


def sweep(scenario: Scenario, knob: str, values: Iterable[Any], *, progress: Callable[[float], None] | None = None) -> list[dict[str, Any]]:
    """One record a value: the knob's value, whether it fits, and the metrics in base units (NaN where it does not run).

    A value that makes no legal scenario becomes a record with its `error`. `progress` hears the share that is done.
    """
    listed = list(values)
    records: list[dict[str, Any]] = []
    for done, item in enumerate(listed, 1):
        try:
            found = point(scenario.with_(**{knob: item}))
        except RoofcastError as error:
            found = {"fits": False, "error": str(error), **dict.fromkeys((*METRICS, *ALWAYS, *MONEY), math.nan)}
        records.append({knob: item, **found})
        if progress:
            progress(done / len(listed))
    return records


def by_users(scenario: Scenario, *, progress: Callable[[float], None] | None = None) -> list[dict[str, Any]]:
    """The sweep over users at once, as a closed loop, with the scenario's own number among them."""
    users = sorted({*USERS, scenario.workload.concurrency})
    closed = scenario.with_(arrival="closed", request_rate_per_s=None)
    return [{"users": r.pop("concurrency"), **r} for r in sweep(closed, "concurrency", users, progress=progress)]


def by_prompt(scenario: Scenario, longest: int, *, progress: Callable[[float], None] | None = None) -> list[dict[str, Any]]:
    """The sweep over prompt lengths up to the model's `longest` context, with the scenario's own among them.

    The context that the runtime is started with grows with the prompt where the scenario fixes it too short.
    """
    load = scenario.workload
    room = max(longest - load.output_tokens - load.context_depth, 1)
    lengths = [n for n in (128 * 2**i for i in range(14)) if n < room]
    lengths = sorted({*lengths, min(load.prompt_tokens, room), room} if room > 128 else {room})
    asked = scenario.with_(prefix_cached_tokens=0)
    fixed = scenario.deployment.max_context
    records = []
    for done, length in enumerate(lengths, 1):
        needed = length + load.output_tokens + load.context_depth
        one = asked.with_(max_context=needed) if fixed is not None and fixed < needed else asked
        records += [{"prompt": r.pop("prompt_tokens"), **r} for r in sweep(one, "prompt_tokens", [length])]
        if progress:
            progress(done / len(lengths))
    return records
