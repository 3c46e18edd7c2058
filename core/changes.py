"""Single changes to a scenario that might help, each in words and as knobs: what costs nothing. What is bought is in `core.upgrades`.

Nothing here says whether a change helps: `core.advice` and `core.troubleshoot` estimate each of them.
"""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from core import choices
from core.answer import Estimate
from core.catalog import quants, runtimes
from core.errors import RoofcastError
from core.faster_split import faster_split
from core.nearest import smaller_quants
from core.quality import quality
from core.quantity import Quantity, value
from core.scenario import Scenario
from core.setting import Setting, settle
from core.units import show
from core.vision import tokens_needed
from core.weights import weight_table

Per = Literal["purchase", "hour"]
# Kinds of change, as tables call them.
LEVERS = {
    "quant": "Smaller quantisation", "cache": "Smaller KV cache", "offload": "What stays in host memory", "experts": "Experts on the CPU",
    "runtime": "Another runtime", "backend": "Another back end", "split": "Another split", "engine": "Engine setting",
    "prefix": "Prefix cache", "context": "Shorter context", "users": "Fewer users", "more_users": "More users at once",
    "device": "Another device", "cards": "More devices", "machine": "Another machine", "ram": "More RAM",
}  # fmt: skip
_ALIKE = 0.12  # relative bytes within which two quantisations of two runtimes are the same choice
_MOST_QUANTS = 4
_TOO_LOSSY = ("concerning", "unacceptable")  # tiers of quality that nobody is advised to accept


@dataclass(frozen=True, slots=True)
class Price:
    """What a change costs, in US dollars, once or an hour; `words` say which price it is."""

    usd: float
    per: Per
    words: str
    number: Quantity | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """One change. `less`: it asks less, so the answer is to another question. `price` None: free, or unknown where `bought`."""

    lever: str
    text: str
    knobs: Mapping[str, Any]
    less: bool = False
    bought: bool = False
    price: Price | None = None
    note: str = ""


def settings(scenario: Scenario, found: Estimate) -> Iterator[Change]:
    """Everything free that asks no less: quantisation, cache, offload, runtime, split, engine settings."""
    yield from offloads(scenario, found)
    yield from quantisations(scenario)
    yield from caches(scenario)
    yield from other_runtimes(scenario)
    yield from splits(scenario)
    yield from engine_settings(scenario, found)


# ---------------------------------------------------------------- weights and cache


def quantisations(scenario: Scenario) -> Iterator[Change]:
    """Some smaller quantisations of the same container, largest first: those that no smaller one beats in quality."""
    try:
        setting = settle(scenario)
        listed = [(size, name) for size, name in smaller_quants(scenario) if usual(name, setting.runtime, setting.ir.native_quant)]
    except RoofcastError:
        return
    kept: list[tuple[float, str]] = []
    least = math.inf
    for size, name in reversed(listed):
        told = quality(setting.ir.id, name)
        if told.tier in _TOO_LOSSY:
            continue
        lost = float(value(told.loss))
        if lost < least or (math.isnan(lost) and not kept):
            kept.append((size, name))
            least = min(least, lost)
    kept.reverse()
    for size, name in kept[:: max(1, math.ceil(len(kept) / _MOST_QUANTS))]:
        yield Change("quant", f"Store the weights as {name} ({show(size, 'B')})", {"quant": name})


def usual(name: str, entry: runtimes.Runtime, native: str | None) -> bool:
    """Whether people meet a quantisation: one that a server names, or a file for llama.cpp that is made of any model."""
    if quants.quants()[name].container != "gguf":
        return name in _named(entry.id) or name == native
    return not name.endswith("_MOE") or (native or "").startswith("MXFP4")


@functools.cache
def _named(runtime: str) -> frozenset[str]:
    found = set()
    for name in runtimes.runtime(runtime).runs:
        with contextlib.suppress(RoofcastError):
            found.add(quants.quant(name).id)
    return frozenset(found)


def caches(scenario: Scenario) -> Iterator[Change]:
    """Smaller types of the KV cache that the runtime has."""
    entry = runtimes.runtime(scenario.runtime)
    wanted = scenario.deployment.kv_dtype
    own = quants.kv_dtype("f16" if wanted in (None, "auto") else str(wanted)).bytes_per_element
    for name in ("q8_0", "fp8", "q4_0"):
        if name in entry.kv_dtypes and (kind := quants.kv_dtype(name)).bytes_per_element < own:
            yield Change("cache", f"Store the KV cache as {kind.name}", {"kv_dtype": name})


def offloads(scenario: Scenario, found: Estimate) -> Iterator[Change]:
    """All layers on the device, what stays in host memory left to the runtime, or only experts there."""
    deploy, layers = scenario.deployment, found.ir.layers
    if deploy.gpu_layers is not None and deploy.gpu_layers < layers:
        yield Change("offload", f"Put all {layers} layers on the device", {"gpu_layers": layers, "experts_on_cpu": None})
    if deploy.gpu_layers is not None or deploy.experts_on_cpu is not None:
        yield Change("offload", "Leave it to the runtime what stays in host memory", {"gpu_layers": None, "experts_on_cpu": None})
    mixture = sum(len(block.layers) for block in found.ir.blocks if block.mlp.kind == "moe")
    entry = runtimes.runtime(scenario.runtime)
    if mixture and entry.experts_offload and not found.resolved["experts_on_cpu"] and found.feasibility != "in_vram":
        for kept in dict.fromkeys((mixture, math.ceil(mixture / 2))):
            text = f"Keep the experts of {'all' if kept == mixture else kept} layers on the CPU, and all else on the device"
            yield Change("experts", text, {"gpu_layers": layers, "experts_on_cpu": kept})


# ---------------------------------------------------------------- runtime, split, engine


def other_runtimes(scenario: Scenario) -> Iterator[Change]:
    """Runtimes of the catalog that run the model on this device, each with the quantisation nearest in size."""
    try:
        setting = settle(scenario)
        own = weight_table(setting.ir, setting.quant.id).bytes
    except RoofcastError:
        return
    for entry in runtimes.runtimes().values():
        backend = choices.suiting_backend(entry.name, scenario.system.device)
        if entry.id == setting.runtime.id or backend is None or entry.treated_as is not None:
            continue
        name = _nearest_quant(setting, entry, backend, own)
        if name is None:
            continue
        knobs = {"runtime": entry.name, "quant": name, **dict.fromkeys(_OF_A_RUNTIME)}
        if entry.audience == setting.runtime.audience:  # the same layout, so that the runtime alone changes
            knobs = {knob: amount for knob, amount in knobs.items() if knob not in _LAYOUT}
        if scenario.deployment.kv_dtype in entry.kv_dtypes:
            del knobs["kv_dtype"]
        yield Change("runtime", f"Run it with {entry.name}, the weights as {name}", knobs)
    try:
        best = choices.suiting_backend(setting.runtime.name, scenario.system.device)
    except RoofcastError:
        return
    if best is not None and scenario.backend not in (None, best):
        yield Change("backend", f"Run {setting.runtime.name}'s build for {best}", {"backend": best})


_OF_A_RUNTIME = (
    "backend", "runtime_version", "runtime_date", "kv_dtype", "tp", "mlp_tp", "pp", "dp", "ep", "cp", "split", "gpu_layers",
    "experts_on_cpu", "memory_fraction", "token_budget", "micro_batch", "cuda_graphs", "max_sequences", "mla_cache", "threads",
)  # fmt: skip


_LAYOUT = ("tp", "mlp_tp", "pp", "dp", "ep", "cp", "gpu_layers", "experts_on_cpu", "max_sequences")


def _nearest_quant(setting: Setting, entry: runtimes.Runtime, backend: str, own: float) -> str | None:
    """Our quantisation where the runtime has it, else the one whose weights are nearest in size; None where none is about as large."""
    sizes = []
    names = [name for name in choices.quant_names(entry.name, backend) if name != choices.AUTO]
    if setting.quant.id in names:
        return setting.quant.id
    for name in names:
        if quants.quants()[name].guess or not usual(name, entry, setting.ir.native_quant):
            continue
        with contextlib.suppress(RoofcastError):
            sizes.append((abs(weight_table(setting.ir, name).bytes / own - 1), name))
    best = min(sizes, default=(math.inf, ""))
    return best[1] if best[0] <= _ALIKE else None


def splits(scenario: Scenario) -> Iterator[Change]:
    """Other ways to lay the model over several devices."""
    count, deploy = scenario.system.devices, scenario.deployment
    if (better := faster_split(scenario) if scenario.system.others else None) is not None:
        yield Change("split", better.change, better.knobs)
    if count < 2:
        return
    entry = runtimes.runtime(scenario.runtime)
    free = dict.fromkeys(("tp", "mlp_tp", "pp", "dp", "ep", "cp", "split"))
    if entry.audience == "single":
        if deploy.split != "tensor" and "row" in entry.splits:
            unsure = "computed alone, for no measured run tells: over PCIe it may gain nothing, so try it"
            text = "Cut every layer over all devices, instead of dealing out whole layers"
            yield Change("split", text, {**free, "split": "tensor"}, note=unsure)
        return
    for tp in (n for n in (1, 2, 4, 8, 16) if count % n == 0 and n <= count):
        rest = count // tp
        ways = [("dp", f"{rest} replicas, each cut over {tp}")] if rest > 1 else [("dp", f"every layer cut over all {count}")]
        if rest > 1 and tp > 1:
            ways.append(("pp", f"{rest} stages of {tp} devices"))
        for knob, text in ways:
            knobs = {**free, "tp": tp, knob: rest if rest > 1 else None}
            if any(getattr(deploy, name) != amount for name, amount in knobs.items()):
                flag = f"TP {tp}" + (f", {knob.upper()} {rest}" if rest > 1 else "")
                yield Change("split", f"Lay it out as {flag}: {text}", knobs)


def engine_settings(scenario: Scenario, found: Estimate) -> Iterator[Change]:
    """Switches and sizes of the engine that are set below what helps most loads."""
    deploy, load = scenario.deployment, scenario.workload
    entry = runtimes.runtime(scenario.runtime)
    if not deploy.flash_attention and entry.flash_attention:
        yield Change("engine", "Turn flash attention on", {"flash_attention": True})
    if deploy.cuda_graphs is False and entry.cuda_graphs:
        yield Change("engine", "Let it capture graphs (no eager mode)", {"cuda_graphs": True})
    if deploy.max_context is not None and deploy.max_context > (needed := tokens_needed(scenario, found.ir)):
        yield Change("engine", f"Start with a context of {needed:,} tokens, what this load needs", {"max_context": needed})
    users = load.concurrency
    seats = found.resolved["max_sequences"]
    if load.arrival == "closed" and users > seats:
        yield Change("engine", f"Serve up to {users:,} sequences at once", {"max_sequences": users})
    if deploy.max_sequences is not None and deploy.max_sequences > users and load.arrival == "closed":
        yield Change("engine", f"Provide for {users:,} sequences, as many as ask", {"max_sequences": users})
    if entry.reserve == "fraction":
        fraction = found.resolved["memory_fraction"] or 0.0
        for share in (0.9, 0.95):
            if share > fraction + 0.005:
                yield Change("engine", f"Let it take {share:.0%} of the memory", {"memory_fraction": share})
    if entry.audience == "server":
        for budget in (2048, 8192, 16384):
            if budget != found.resolved["token_budget"]:
                yield Change("engine", f"Take up to {budget:,} tokens in a step", {"token_budget": budget})
    elif found.resolved["micro_batch"] is not None:
        for size in (256, 1024, 2048):
            if size != found.resolved["micro_batch"]:
                knobs = {"micro_batch": size, "token_budget": max(size, found.resolved["token_budget"] or 2048)}
                yield Change("engine", f"Read prompts {size:,} tokens at a time", knobs)


# ---------------------------------------------------------------- asking less


def shorter(scenario: Scenario) -> Iterator[Change]:
    """Half and a quarter of what is read before the answer."""
    load = scenario.workload
    for share, word in ((0.5, "Halve"), (0.25, "Quarter")):
        prompt, depth = max(1, int(load.prompt_tokens * share)), int(load.context_depth * share)
        if (prompt, depth) == (load.prompt_tokens, load.context_depth):
            continue
        knobs = {"prompt_tokens": prompt, "context_depth": depth, "prefix_cached_tokens": int(load.prefix_cached_tokens * share),
                 "max_context": None}  # fmt: skip
        context = prompt + depth + load.output_tokens
        yield Change("context", f"{word} what is read: {context:,} tokens of context", knobs, less=True)


def fewer_users(scenario: Scenario) -> Iterator[Change]:
    """Half and a quarter of the users."""
    users = scenario.workload.concurrency
    for few in dict.fromkeys((users // 2, users // 4)):
        if few >= 1 and scenario.workload.arrival != "open":
            yield Change("users", f"Serve {few:,} at once" if few > 1 else "Serve one at a time", {"concurrency": few}, less=True)


def more_users(scenario: Scenario) -> Iterator[Change]:
    """Twice and eight times as many requests in flight, for those who want throughput."""
    users = scenario.workload.concurrency
    if scenario.workload.arrival in ("closed", "static"):
        for times in (2, 4, 8, 16):
            knobs: dict[str, Any] = {"concurrency": users * times}
            if (seats := scenario.deployment.max_sequences) is not None and seats < users * times:
                knobs["max_sequences"] = users * times
            yield Change("more_users", f"Keep {users * times:,} requests in flight", knobs)


def kept_prefix(scenario: Scenario) -> Iterator[Change]:
    """A prompt most of which was read before: system prompt, documents, the conversation so far."""
    load = scenario.workload
    kept = int(load.prompt_tokens * 0.8)
    if kept > load.prefix_cached_tokens and load.prompt_tokens > 64:
        text = f"Keep a shared beginning in the prefix cache, here {kept:,} of {load.prompt_tokens:,} tokens"
        yield Change("prefix", text, {"prefix_cached_tokens": kept}, less=True, note="where prompts begin alike")
