"""A number that somebody measured against the range we expect: is it normal, and if not, what would explain it?

Every explanation is a scenario: the same question with one thing otherwise, estimated. Where a thing has a size (layers on the CPU,
tokens in the cache), the size is searched at which the estimate says what was measured.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from core import choices
from core.answer import Estimate
from core.catalog import hardware, runtimes
from core.compare import shown
from core.crossing import DRAWN
from core.errors import RoofcastError, ScenarioError
from core.quantity import value
from core.scenario import Scenario
from core.setting import Setting, settle
from core.sweep import answer, point
from core.units import significant

Word = Literal["expected", "slower", "faster", "impossible"]
MEASURABLE = ("decode_rate", "output_rate", "ttft", "prefill_rate", "latency")
NEAR = 1.35  # factor within which an explanation fits what was measured
PAST_PEAK = 1.15  # how far a memory may seem to read faster than its datasheet
ROUNDS = 18
WEAKER = 4.0  # how much slower than a usual CPU of today one may be
_USUAL_CPU = "Ryzen 9 7950X"
_LOOK = "Look at the file's or the checkpoint's name and size."
MOST = 6


@dataclass(frozen=True, slots=True)
class Suspect:
    """One explanation: what would be otherwise, the metric then (base unit), how to tell, the scenario and its knobs. `off`: |ln| by
    which its estimate misses what was measured."""

    text: str
    check: str
    expected: float
    off: float
    scenario: Scenario
    knobs: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Verdict:
    """Where a measured number lies. `low`, `high`: the expected range, NaN without one."""

    word: Word
    metric: str
    measured: float
    expected: float
    low: float
    high: float
    sentence: str
    suspects: tuple[Suspect, ...]


def judge(scenario: Scenario, metric: str, measured: float) -> Verdict:
    """Judges a measured number of a scenario, in the metric's base unit (tok/s, s).

    Raises ScenarioError for another metric, a number that is none, and a scenario that does not run.
    """
    if metric not in MEASURABLE:
        raise ScenarioError(f"A measured '{metric}' cannot be judged; choose one of {', '.join(MEASURABLE)}.")
    if not (math.isfinite(measured) and measured > 0):
        raise ScenarioError(f"A measured number must be more than 0 (it is {measured:g}).")
    found = answer(scenario)
    if not found.runs:
        raise ScenarioError("By our estimate this does not run, so there is nothing to hold the number against; look at memory first.")
    expected = found.metric(metric)
    if not (math.isfinite(expected) and expected > 0):
        raise ScenarioError("Nobody published what this device reaches, so there is nothing to hold the number against.")
    low, high = found.bands.get(metric, (math.nan, math.nan))
    word = _word(found, metric, measured, expected, low, high)
    suspects = _suspects(scenario, found, metric, measured, word) if word in ("slower", "faster") else ()
    return Verdict(word, metric, measured, expected, low, high, _sentence(found, metric, measured, low, high, word, suspects), suspects)


def _word(found: Estimate, metric: str, measured: float, expected: float, low: float, high: float) -> Word:
    lead = math.log(measured / expected) * (1 if DRAWN[metric].more else -1)
    if metric == "decode_rate" and lead > 0 and _bandwidth_used(found, measured) > PAST_PEAK:
        return "impossible"
    inside = low <= measured <= high if math.isfinite(low) else abs(lead) < math.log(1.3)
    return "expected" if inside else "faster" if lead > 0 else "slower"


def _bandwidth_used(found: Estimate, measured: float) -> float:
    """Share of the memory's bandwidth that decoding at a measured rate would need; 0 where it is not known, where not all is read
    from the device for one sequence, or where devices take turns and might not."""
    if found.feasibility != "in_vram" or found.scenario.workload.concurrency > 1 or (found.resolved["pp"] or 1) > 1:
        return 0.0
    used = float(value(found.decode.mbu)) * measured / found.metric("decode_rate")
    return used if math.isfinite(used) else 0.0


# ---------------------------------------------------------------- explanations


def _suspects(scenario: Scenario, found: Estimate, metric: str, measured: float, word: Word) -> tuple[Suspect, ...]:
    """Explanations that fit, in the order in which they are told: what is met most often comes first, by experience alone."""
    listed = _slower(scenario, found, metric, measured) if word == "slower" else _faster(scenario, found, metric, measured)
    return tuple([one for one in listed if one is not None and one.off <= math.log(NEAR)][:MOST])


def _one(scenario: Scenario, metric: str, measured: float, text: str, check: str, **knobs: Any) -> Suspect | None:
    """An explanation without a size."""
    try:
        changed = scenario.with_(**knobs)
    except RoofcastError:
        return None
    told = point(changed)
    amount = float(told[metric])
    if not told["fits"] or not (math.isfinite(amount) and amount > 0):
        return None
    return Suspect(text, check, amount, abs(math.log(amount / measured)), changed, knobs)


def _sized(
    scenario: Scenario, metric: str, measured: float, knob: str, ends: tuple[float, float], words: Callable[[float], str], check: str,
    *, whole: bool = True, **more: Any,
) -> Suspect | None:  # fmt: skip
    """An explanation with a size, searched between two ends; the far end, where even that does not reach what was measured."""

    def at(size: float) -> Suspect | None:
        return _one(scenario, metric, measured, words(size), check, **{knob: round(size) if whole else float(f"{size:.3g}"), **more})

    first, last = at(ends[0]), at(ends[1])
    if first is None or last is None or (first.expected - measured) * (last.expected - measured) > 0:
        return last
    low, high = ends
    for _ in range(ROUNDS):
        middle = math.sqrt(low * high) if min(low, high) > 0 else (low + high) / 2
        if (whole and abs(high - low) <= 1) or abs(high - low) < 0.01 * max(abs(high), abs(low)):
            break
        between = at(middle)
        if between is None:
            break
        low, high = (middle, high) if (between.expected - measured) * (first.expected - measured) > 0 else (low, middle)
    return min((one for one in (at(low), at(high)) if one is not None), key=lambda one: one.off, default=None)


def _slower(scenario: Scenario, found: Estimate, metric: str, measured: float) -> Iterator[Suspect | None]:
    setting = settle(scenario)
    deploy, load, layers = scenario.deployment, scenario.workload, found.ir.layers
    alone = scenario, metric, measured
    if setting.runtime.offload == "layers" and not setting.on_cpu and not setting.device.unified:
        held = int(found.resolved["gpu_layers"])
        yield _sized(*alone, "gpu_layers", (held, 0), lambda n: f"About {layers - round(n)} of {layers} layers run on the CPU",
                     "The log at the start says how many layers were offloaded to the GPU; set -ngl (num_gpu in Ollama) higher.",
                     experts_on_cpu=None)  # fmt: skip
    if not setting.on_cpu and not setting.device.unified and "cpu" in setting.runtime.backends:
        yield _on_cpu(scenario, setting, metric, measured)
    for backend in setting.runtime.backends:
        if backend not in (setting.backend, "cpu") and _suits(backend, setting.device.vendor):
            yield _one(*alone, f"It runs on the {backend} back end instead of {setting.backend}",
                       "The log at the start names the back end and the device.", backend=backend)  # fmt: skip
    yield from _weak_hardware(scenario, found, metric, measured)
    for name in ("F16", "BF16", "Q8_0", "FP8"):
        if name != setting.quant.id and name in choices.quant_names(setting.runtime.name, setting.backend):
            yield _one(*alone, f"The weights are stored as {name}, not as {setting.quant.id}", _LOOK, quant=name)
    longest = min(found.ir.max_context, deploy.max_context or found.ir.max_context) - load.output_tokens - load.prompt_tokens
    if longest > load.context_depth + 256 and metric in ("decode_rate", "output_rate"):
        yield _sized(*alone, "context_depth", (max(load.context_depth, 1), longest),
                     lambda n: f"About {_round(n)} tokens were in the cache before the prompt",
                     "A long conversation, a system prompt or tools fill it; ask again in a fresh session.", max_context=None)  # fmt: skip
    if metric in ("ttft", "latency") and longest > 64:
        yield _sized(*alone, "prompt_tokens", (load.prompt_tokens, longest), lambda n: f"The prompt had about {_round(n)} tokens",
                     "System prompt, tools and documents count; the log says how many tokens were read.", max_context=None)  # fmt: skip
    if load.arrival == "closed" and metric in ("decode_rate", "ttft", "latency"):
        yield _sized(*alone, "concurrency", (load.concurrency, 512), lambda n: f"About {_round(n)} requests ran at once",
                     "Other clients, parallel tool calls or a retry loop share the server; its metrics count them.")  # fmt: skip
    if load.arrival == "closed" and load.concurrency > 1 and metric == "output_rate":
        yield _sized(
            *alone,
            "concurrency",
            (load.concurrency, 1),
            lambda n: f"Only about {_round(n)} requests were in flight",
            "The client sends too few at once, or something in front of the server limits them; its metrics count running requests.",
        )
    if deploy.flash_attention and setting.runtime.engine == "ggml":
        yield _one(*alone, "Flash attention is off", "The log says so; set -fa on (OLLAMA_FLASH_ATTENTION=1).", flash_attention=False)
    if setting.graphs:
        yield _one(
            *alone, "No graphs are captured (eager mode)", "Look for --enforce-eager or a failed capture in the log.", cuda_graphs=False
        )
    if scenario.system.count > 1:
        yield _one(*alone, "Only one of the devices is used", "Watch the load of each with nvidia-smi while it writes.",
                   count=1, profile=None, instance=None, tp=None, pp=None, dp=None, ep=None)  # fmt: skip


def _on_cpu(scenario: Scenario, setting: Setting, metric: str, measured: float) -> Suspect | None:
    """A run without the device. Where nobody said which CPU, a slower one may explain what is up to WEAKER times slower."""
    text = "It runs on the CPU alone: a build without GPU support, or a driver that is not found"
    check = "The log names the back end; nvidia-smi or rocm-smi shows whether the process holds memory there."
    known = setting.cpu.name if setting.cpu else None
    one = _one(scenario, metric, measured, text, check, backend="cpu", cpu=known or _USUAL_CPU, gpu_layers=None, experts_on_cpu=None)
    if one is None or known is not None:
        return one
    lead = math.log(measured / one.expected) * (1 if DRAWN[metric].more else -1)
    slower = -math.log(WEAKER) <= lead <= 0
    return replace(one, text=f"{text} (with a {_USUAL_CPU}; older ones are slower)", off=0.0 if slower else one.off)


def _round(amount: float) -> str:
    """A searched number, to two digits."""
    return f"{float(f'{amount:.2g}'):,.0f}"


def _suits(backend: str, vendor: str) -> bool:
    return backend == "vulkan" or backend in {"NVIDIA": ("cuda",), "AMD": ("rocm",), "Intel": ("sycl",)}.get(vendor, ())


def _weak_hardware(scenario: Scenario, found: Estimate, metric: str, measured: float) -> Iterator[Suspect | None]:
    """A device that is held back: power, heat, clocks, half of its memory channels."""
    device = hardware.device(scenario.system.device)
    fact = device.fact("memory_bandwidth_gb_s")
    if fact is not None and metric in ("decode_rate", "output_rate"):
        own = scenario.system.device_bandwidth_gb_s or fact.value / 1e9
        why = ("half of the memory channels are empty, or the memory runs below its rated clock" if device.kind == "cpu" or device.unified
               else "heat, a power limit, a laptop's version of the card, or another program that uses it")  # fmt: skip
        yield _sized(scenario, metric, measured, "device_bandwidth_gb_s", (own, own / 3),
                     lambda n: f"The memory delivers about {significant(n, 2)} of {significant(own)} GB/s: {why}",
                     "Measure it with a bandwidth test; nvidia-smi -q -d PERFORMANCE,CLOCK says what throttles.", whole=False)  # fmt: skip
    if device.tdp_w and device.kind == "gpu" and not device.unified:
        yield _sized(scenario, metric, measured, "device_power_w", (device.tdp_w, device.tdp_w * 0.4),
                     lambda n: f"The power is limited to about {n:.0f} of {device.tdp_w:g} W",
                     "nvidia-smi -q -d POWER shows the limit; -pl sets it, if cooling and supply allow.", whole=False)  # fmt: skip


def _faster(scenario: Scenario, found: Estimate, metric: str, measured: float) -> Iterator[Suspect | None]:
    setting = settle(scenario)
    load = scenario.workload
    alone = scenario, metric, measured
    if metric in ("ttft", "latency"):
        yield _sized(*alone, "prefix_cached_tokens", (0, load.prompt_tokens - 1),
                     lambda n: f"About {_round(n)} of the {load.prompt_tokens:,} prompt tokens were still in the prefix cache",
                     "Ask with a prompt that was never sent before.")  # fmt: skip
    if load.concurrency > 1 and metric in ("decode_rate", "ttft", "latency"):
        yield _sized(*alone, "concurrency", (load.concurrency, 1), lambda n: f"Only about {_round(n)} requests ran at once",
                     "The server's metrics count running requests.")  # fmt: skip
    if load.concurrency == 1 and metric == "decode_rate":
        yield _sized(*alone, "concurrency", (1, 256), lambda n: f"It is the output of about {_round(n)} requests together, not of one",
                     "Divide by the requests that ran at once.")  # fmt: skip
    for name in choices.quant_names(setting.runtime.name, setting.backend):
        if name in ("Q4_K_M", "Q4_0", "Q3_K_M", "AWQ-INT4", "FP8"):
            yield _one(*alone, f"The weights are stored as {name}, not as {setting.quant.id}", _LOOK, quant=name)
    if runtimes.runtime(scenario.runtime).audience == "single" and scenario.system.count > 1 and scenario.deployment.split != "tensor":
        yield _one(*alone, "The layers are cut over all devices, not dealt out", "Look for -sm row or -sm tensor.", split="tensor")


# ---------------------------------------------------------------- in words


def _sentence(found: Estimate, metric: str, measured: float, low: float, high: float, word: Word, suspects: tuple[Suspect, ...]) -> str:
    unit = DRAWN[metric].unit
    expected = shown(found.metric(metric), unit)
    ends = f" ({shown(low, unit)} to {shown(high, unit)} in 8 of 10 cases)" if math.isfinite(low) else ""
    start = f"{shown(measured, unit)} measured, {expected} expected{ends}: "
    if word == "expected":
        return start + "that is within what we expect of this setup."
    if word == "impossible":
        needed = _bandwidth_used(found, measured)
        return start + (
            f"that is more than the memory can feed, {needed:.0%} of its bandwidth: it was counted otherwise (several requests, drafted "
            "tokens, another model or quantisation), or the machine is another."
        )
    more = "faster" if word == "faster" else "slower"
    told = "What would explain it, the commonest first:" if suspects else (
        "speculative decoding or a multi-token head, which we do not model, may do that." if word == "faster"
        else "nothing that we can model explains so much; look at swapping, another program on the device, or a thermal limit."
    )  # fmt: skip
    return f"{start}{more} than we expect. {told[0].upper()}{told[1:]}"
