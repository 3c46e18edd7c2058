"""The answer in words: one sentence that pages and the command line share, and the names of things for people."""

from __future__ import annotations

import contextlib
import math

from core.answer import Estimate
from core.catalog.hardware import device
from core.errors import CatalogError
from core.quantity import value
from core.scenario import Scenario, System
from core.units import show

FITS = {
    "in_vram": "Fits in device memory",
    "with_offload": "Runs with part of it in host memory",
    "insufficient_memory": "Does not fit",
}

_COUNTS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_CULPRITS = {
    "weight_bandwidth": "memory bandwidth",
    "kv_bandwidth": "reading the KV cache",
    "activation_bandwidth": "moving activations through memory",
    "compute": "compute",
    "interconnect": "the link between devices",
    "slowest_device": "the slowest device",
    "host_memory": "host memory bandwidth",
    "pcie": "the link to the host",
    "overhead": "fixed costs",
    "waiting": "the queue",
}


def model_name(name: str) -> str:
    """A model's name without its organisation."""
    return name.rsplit("/", 1)[-1]


def device_name(name: str) -> str:
    """A device's name as people say it."""
    with contextlib.suppress(CatalogError):
        name = device(name).name
    for word in ("NVIDIA ", "GeForce "):
        name = name.removeprefix(word)
    return name


def own_runs(estimate: Estimate) -> str:
    """How many of the user's own runs the times rest on."""
    return f"Shifted by {estimate.own_runs:,} of your own runs on this machine" if estimate.own_runs > 1 else "Shifted by a run of your own"


def machine(estimate: Estimate) -> str:
    """The devices in words: "one RTX 4090", "two RTX 3090"."""
    return machine_name(estimate.scenario)


def machine_name(scenario: Scenario) -> str:
    """The devices of a scenario in words: "two RTX 3090 and one Tesla P40"."""
    system = scenario.system
    kinds = [(system.count, system.device), *((cards.count, cards.device) for cards in system.others)]
    if scenario.deployment.split == "none":
        kinds = [(1, _card_at(system, scenario.deployment.main_gpu or 0))]
    told = [f"{_COUNTS[count] if count < len(_COUNTS) else f'{count:,}'} {device_name(name)}" for count, name in kinds]
    if (system.sockets or 1) > 1 and len(told) == 1 and _is_cpu(system.device):
        return f"{_COUNTS[system.sockets or 1]} {device_name(system.device)}"
    return " and ".join([", ".join(told[:-1]), told[-1]] if len(told) > 1 else told)


def _is_cpu(name: str) -> bool:
    with contextlib.suppress(CatalogError):
        return device(name).kind == "cpu"
    return False


def _card_at(system: System, at: int) -> str:
    """The device of this number, from 0."""
    names = [system.device] * system.count + [cards.device for cards in system.others for _ in range(cards.count)]
    return names[min(at, len(names) - 1)]


def quant(estimate: Estimate) -> str:
    """The quantisation that was used."""
    return str(estimate.resolved.get("quant") or estimate.scenario.deployment.quant or "its own precision")


def culprit(estimate: Estimate) -> str | None:
    """The key of BOUNDS that takes the largest share of a decode step; None where the times are unknown."""
    shares = estimate.decode.step.shares()
    return max(shares, key=lambda key: shares[key]) if shares else None


def shortfall(estimate: Estimate) -> float:
    """Bytes that are missing where the scenario does not fit, over the tightest memory; 0 where it fits."""
    short = [-float(value(m.headroom)) for m in (estimate.device, estimate.host) if m is not None]
    return max([0.0, *short])


def answer_sentence(estimate: Estimate) -> str:
    """The answer in one sentence: does it fit, how fast, and what holds it back."""
    what = f"{model_name(estimate.scenario.model)} at {quant(estimate)}"
    where = machine(estimate)
    if estimate.feasibility == "insufficient_memory":
        short = shortfall(estimate)
        missing = f": {show(short, 'B')} short" if short > 0 else ""
        each = _on_each(estimate) if missing else ""
        return f"{what} does not fit {where}{missing}{each}."
    room = float(value(estimate.device.headroom))
    if estimate.feasibility == "with_offload":
        held = f", {show(float(value(estimate.host.needed)), 'B')} of it in host memory" if estimate.host else ""
        start = f"{what} runs on {where}{held}"
    else:
        spare = f" with {show(room, 'B')} to spare{_on_each(estimate)}" if room >= 0 else ", with less room for the cache than is asked"
        start = f"{what} fits {where}{spare}"
    return f"{start}: {_speed(estimate)}{_back(estimate)}."


def _on_each(estimate: Estimate) -> str:
    """Where it is that a room or a lack is meant, where there are several devices."""
    if estimate.cards:
        tight = estimate.device.name.partition(" (each of ")
        return f" on {'each ' if tight[1] else 'the '}{device_name(tight[0])}" if len(estimate.cards) > 1 else " on each"
    return " on each" if estimate.resolved["count"] > 1 else ""


def span(estimate: Estimate, metric: str, unit: str, *, digits: int = 2, among: int = 1) -> str:
    """The range of a metric from its 10th to its 90th percentile, "14–18"; empty without one. `among`: devices that share it.

    The unit stands where it is another than that of the metric as shown, "950 ms–1.2 s".
    """
    if metric not in estimate.bands:
        return ""
    ends = [show(_rounded(end / among, unit, digits), unit, digits).rsplit(" ", 1) for end in estimate.bands[metric]]
    shown = show(estimate.metric(metric) / among, unit).rsplit(" ", 1)
    if all(end[1:] == shown[1:] for end in ends):
        return "–".join(end[0] for end in ends)
    return "–".join(" ".join(end) for end in ends)


def _rounded(end: float, unit: str, digits: int) -> float:
    """An end of a range to so many digits: "2,700–25,000", not "2,667–24,838". Bytes keep theirs, they scale by 1,024."""
    return end if unit == "B" else float(f"{end:.{digits}g}")


def ranged(estimate: Estimate, metric: str, unit: str) -> str:
    """A metric with its range: "16.2 tok/s (14–18)"; without a correction the metric alone."""
    found = span(estimate, metric, unit)
    return show(estimate.metric(metric), unit) + (f" ({found})" if found else "")


def _speed(estimate: Estimate) -> str:
    rate, first, whole = (estimate.metric(name) for name in ("decode_rate", "ttft", "output_rate"))
    load = estimate.scenario.workload
    many = load.concurrency > 1 or load.arrival in ("open", "saturated")
    if math.isnan(rate) and math.isnan(first):
        return "its speed is unknown, for nobody published what the device reaches"
    each = " for each user" if many else ""
    parts = [f"{ranged(estimate, 'decode_rate', 'tok/s')}{each}" if not math.isnan(rate) else "an unknown speed of writing"]
    if many and not math.isnan(whole):
        parts[0] += f", {ranged(estimate, 'output_rate', 'tok/s')} in all" if estimate.bands else f" ({show(whole, 'tok/s')} in all)"
    if math.isinf(first):
        parts.append("more asked than it can serve, so the queue grows without end")
    elif math.isnan(first):
        parts.append("first token after an unknown time")
    else:
        parts.append(f"first token in {ranged(estimate, 'ttft', 's')}")
    return ", ".join(parts)


def _back(estimate: Estimate) -> str:
    key = culprit(estimate)
    if key is None:
        return ""
    verb = "hold" if key == "overhead" else "holds"
    return f"; {_CULPRITS[key]} {verb} it back"
