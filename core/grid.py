"""Sweeps of several builds over one or two knobs: which knobs there are, what values each takes unasked, and the records.

Every record is an estimate as people are shown it (`core.sweep.point`); a value that makes no legal scenario has its error.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from core import choices
from core.catalog import hardware, models
from core.cli_options import OPTIONS
from core.errors import RoofcastError, ScenarioError
from core.scenario import PARTS, Scenario
from core.sweep import ALWAYS, METRICS, MONEY, point
from core.vision import tokens_needed

Kind = Literal["whole", "number", "choice"]
MOST = 400  # estimates of one sweep
_STEPS = 9  # values of a knob that are spread between two ends


@dataclass(frozen=True, slots=True)
class Axis:
    """One knob with the values to take. `log`: the values lie evenly on a logarithmic scale."""

    knob: str
    title: str
    kind: Kind
    values: tuple[Any, ...]
    log: bool = True

    @property
    def numeric(self) -> bool:
        return self.kind != "choice"


@dataclass(frozen=True, slots=True)
class _Swept:
    """A knob that can be swept: its name on an axis, and its values for a scenario unasked."""

    title: str
    kind: Kind
    usual: Callable[[Scenario], Sequence[Any]]
    log: bool = True


def _powers(low: float, high: float) -> list[int]:
    return [1 << n for n in range(32) if low <= 1 << n <= high]


def _room(asked: Scenario) -> int:
    """Tokens of the model's context that images leave."""
    model = models.ir(asked.model)
    return model.max_context - (tokens_needed(asked, model) - asked.workload.context)


def _prompts(asked: Scenario) -> list[int]:
    load = asked.workload
    room = _room(asked) - load.output_tokens - load.context_depth
    return _powers(128, room) or [max(int(room), 1)]


def _depths(asked: Scenario) -> list[int]:
    load = asked.workload
    room = _room(asked) - load.output_tokens - load.prompt_tokens
    return [0, *_powers(512, max(room, 512))]


def _even(high: int) -> list[int]:
    return sorted({round(high * n / (_STEPS - 1)) for n in range(_STEPS)})


def _experts(asked: Scenario) -> list[int]:
    return _even(sum(len(block.layers) for block in models.ir(asked.model).blocks if block.mlp.kind == "moe"))


def _around(amount: float | None) -> list[float]:
    """A quarter to four times an amount."""
    return [float(f"{(amount or 100.0) * 2 ** (n / 2):.3g}") for n in range(-4, 5)]


def _bandwidths(asked: Scenario) -> list[float]:
    device = hardware.device(asked.system.device)
    return _around(asked.system.device_bandwidth_gb_s or device.measured_bandwidth_gb_s or device.memory_bandwidth_gb_s)


def _quants(asked: Scenario) -> list[str]:
    return [name for name in choices.quant_names(asked.runtime, choices.suiting_backend(asked.runtime, asked.system.device))
            if name != choices.AUTO]  # fmt: skip


_SHARES = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
KNOBS: dict[str, _Swept] = {
    "concurrency": _Swept("users at once", "whole", lambda _: _powers(1, 128)),
    "prompt_tokens": _Swept("prompt tokens", "whole", _prompts),
    "output_tokens": _Swept("answer tokens", "whole", lambda _: _powers(32, 4096)),
    "context_depth": _Swept("tokens cached before", "whole", _depths, log=False),
    "request_rate_per_s": _Swept("requests per second", "number", lambda _: [0.125 * 2**n for n in range(10)]),
    "count": _Swept("devices", "whole", lambda _: _powers(1, 8)),
    "quant": _Swept("quantisation", "choice", _quants),
    "kv_dtype": _Swept("KV cache type", "choice", lambda asked: choices.kv_names(asked.runtime)[1:]),
    "device": _Swept("device", "choice", lambda _: ()),
    "runtime": _Swept("runtime", "choice", lambda _: choices.runtime_names()),
    "model": _Swept("model", "choice", lambda _: ()),
    "tp": _Swept("tensor parallel", "whole", lambda _: _powers(1, 8)),
    "pp": _Swept("pipeline parallel", "whole", lambda _: _powers(1, 8)),
    "gpu_layers": _Swept("layers on the device", "whole", lambda asked: _even(models.ir(asked.model).layers), log=False),
    "experts_on_cpu": _Swept("layers with experts on the CPU", "whole", _experts, log=False),
    "max_sequences": _Swept("most sequences at once", "whole", lambda _: _powers(1, 256)),
    "token_budget": _Swept("tokens a step", "whole", lambda _: _powers(256, 32768)),
    "micro_batch": _Swept("tokens a micro-batch", "whole", lambda _: _powers(32, 4096)),
    "memory_fraction": _Swept("memory fraction", "number", lambda _: (0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95), log=False),
    "max_context": _Swept("tokens of context", "whole", _prompts),
    "device_bandwidth_gb_s": _Swept("device bandwidth, GB/s", "number", _bandwidths),
    "ram_gb": _Swept("RAM, GB", "number", lambda _: [float(n) for n in _powers(8, 512)]),
    "use": _Swept("of its life in use", "number", lambda _: _SHARES, log=False),
    "usd_per_h": _Swept("rent, $ per hour", "number", lambda asked: _around(asked.costs.usd_per_h or 2.0)),
    "electricity_usd_per_kwh": _Swept("electricity, $ per kWh", "number", lambda _: (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5), log=False),
}
_FLAGS = {flag.lstrip("-"): option.knob for option in OPTIONS for flag in option.flags for flag in flag.split("/")}


def knob_named(name: str) -> str:
    """The knob that a name means: its own, or that of a command line's option. Raises ScenarioError that lists them."""
    plain = name.strip().lstrip("-")
    knob = _FLAGS.get(plain, plain.replace("-", "_"))
    if knob not in KNOBS:
        raise ScenarioError(f"'{name}' cannot be swept; choose one of {', '.join(KNOBS)}.")
    return knob


def axis(text: str, asked: Scenario) -> Axis:
    """An axis as people write it: "users", "users=1..64", "quant=Q4_K_M,Q8_0", "gpu-layers=0..32:8" (in steps of 8).

    Two ends are filled with doublings where the knob's scale is logarithmic, else evenly. Raises ScenarioError.
    """
    name, given, listed = text.partition("=")
    knob = knob_named(name)
    swept = KNOBS[knob]
    if not given:
        values: Sequence[Any] = swept.usual(asked)
        if not values:
            raise ScenarioError(f"Say which values of {swept.title} to take, as in {name}=FIRST,SECOND.")
    elif not listed.strip():
        values = ()
    elif swept.kind == "choice":
        values = [exact(knob, item, asked) for item in listed.split(",") if item.strip()]
    else:
        values = list(_numbers(listed, swept))
    if not values:
        raise ScenarioError(f"'{text}' names no value; write {name}=1,2,4 or {name}=1..64.")
    return made(knob, values)


def made(knob: str, values: Sequence[Any]) -> Axis:
    """An axis of exact values, in their order where they are choices, else ascending."""
    swept = KNOBS[knob]
    kept = tuple(dict.fromkeys(values)) if swept.kind == "choice" else tuple(sorted(set(values)))
    if len(kept) > MOST:
        raise ScenarioError(f"A sweep takes at most {MOST} values ({len(kept):,} were asked for).")
    return Axis(knob, swept.title, swept.kind, kept, swept.log and all(isinstance(v, str) or v > 0 for v in kept))


def exact(knob: str, text: str, asked: Scenario) -> Any:
    """A choice as the catalog writes it. Raises RoofcastError for what it does not have."""
    return choices.exact(knob, text.strip(), asked.runtime)


def _numbers(listed: str, swept: _Swept) -> Iterator[Any]:
    for part in listed.split(","):
        ends = re.fullmatch(r"\s*([\d.eE+-]+?)\s*\.\.\s*([\d.eE+-]+)\s*(?::\s*([\d.eE+-]+)\s*)?", part)
        if ends is None:
            yield _number(part, swept)
            continue
        low, high = (_number(ends[place], swept) for place in (1, 2))
        if not low <= high:
            raise ScenarioError(f"The values of {swept.title} go from {low:g} down to {high:g}; write the smaller one first.")
        if ends[3] is not None:
            step = _number(ends[3], swept)
            if not step > 0 or (high - low) / step > MOST:
                raise ScenarioError(f"Steps of {step:g} from {low:g} to {high:g} are too many; a sweep takes at most {MOST} values.")
            yield from (low + step * n for n in range(int((high - low) / step) + 1))
        elif swept.log and low > 0:
            yield from (low * 2**n for n in range(int(math.log2(high / low)) + 1))
            yield high
        else:
            spread = (low + (high - low) * n / (_STEPS - 1) for n in range(_STEPS))
            yield from (round(amount) if swept.kind == "whole" else float(f"{amount:.4g}") for amount in spread)


def _number(text: str, swept: _Swept) -> Any:
    try:
        amount = float(text)
        if not math.isfinite(amount) or (swept.kind == "whole" and amount != round(amount)):
            raise ValueError
    except ValueError:
        raise ScenarioError(f"'{text.strip()}' is no {'whole ' if swept.kind == 'whole' else ''}number of {swept.title}.") from None
    return round(amount) if swept.kind == "whole" else amount


# ---------------------------------------------------------------- records


def with_value(asked: Scenario, knob: str, amount: Any) -> Scenario:
    """The scenario with a swept knob set, and with what would contradict it left open. Raises ScenarioError."""
    changes: dict[str, Any] = {knob: amount}
    load = asked.workload
    if knob == "concurrency" and load.arrival == "open":
        changes |= {"arrival": "closed", "request_rate_per_s": None}
    elif knob == "request_rate_per_s":
        changes["arrival"] = "open"
    elif knob in ("count", "device"):
        changes |= dict.fromkeys(("profile", "instance", "tp", "mlp_tp", "pp", "dp", "ep", "cp"))
        if knob == "device":
            changes |= dict.fromkeys(("device_memory_gib", "device_bandwidth_gb_s"))
    elif knob == "prompt_tokens":
        changes["prefix_cached_tokens"] = min(load.prefix_cached_tokens, amount)
    fixed = asked.deployment.max_context
    if fixed is not None and knob in ("prompt_tokens", "output_tokens", "context_depth"):
        needed = tokens_needed(asked, models.ir(asked.model)) - getattr(load, knob) + amount
        changes["max_context"] = max(fixed, needed)
    return asked.with_(**changes)


def swept_point(asked: Scenario, *settings: tuple[str, Any]) -> dict[str, Any]:
    """What is estimated with some knobs set; a setting that cannot be has its error."""
    try:
        for knob, amount in settings:
            asked = with_value(asked, knob, amount)
    except RoofcastError as error:
        return {"fits": False, "error": str(error), **dict.fromkeys((*METRICS, *ALWAYS, *MONEY), math.nan)}
    return point(asked)


def records(
    builds: Sequence[tuple[str, Scenario]], first: Axis, second: Axis | None = None, *, progress: Callable[[float], None] | None = None
) -> list[dict[str, Any]]:
    """One record for every build and value (every pair of values with `second`): `build`, the knobs, and what `core.sweep.point` tells.

    Raises ScenarioError for more than MOST estimates.
    """
    others = second.values if second else (None,)
    whole = len(builds) * len(first.values) * len(others)
    if whole > MOST:
        raise ScenarioError(f"A sweep makes at most {MOST} estimates ({whole:,} were asked for); take fewer values.")
    found = []
    for name, asked in builds:
        for amount in first.values:
            for other in others:
                settings = [(first.knob, amount), *([(second.knob, other)] if second else [])]
                found.append({"build": name, **dict(settings), **swept_point(asked, *settings)})
                if progress:
                    progress(len(found) / whole)
    return found


def flat_knobs(record: dict[str, Any]) -> dict[str, Any]:
    """The knobs that a record of a sweep set."""
    return {key: item for key, item in record.items() if key in PARTS or key in ("model", "runtime")}
