"""The inputs of a scenario as people change them: knobs that belong together, what each says in words, and swapping them.

Two scenarios are told apart, compared and explained input by input; an input holds all knobs that make no sense alone.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Any

from core.cards import Cards, flat, write_cards
from core.catalog import hardware, own_hardware, quants, runtimes
from core.errors import RoofcastError
from core.scenario import PARTS, Costs, Deployment, Scenario, System, Workload, scenario
from core.setting import settle
from core.words import device_name, model_name


@dataclass(frozen=True, slots=True)
class Input:
    """Knobs that are swapped together. `kind`: what pairs of measured runs call it (core.pairs), where they know it."""

    key: str
    title: str
    knobs: tuple[str, ...]
    kind: str | None = None


# In the order in which they are swapped: what is asked, what it runs on, how it is run, what is asked of it.
INPUTS = (
    Input("model", "Model", ("model",), "model"),
    Input("device", "Device", (
        "device", "profile", "instance", "link", "host_link", "device_memory_gib", "device_bandwidth_gb_s", "measured_bandwidth_gb_s",
        "device_power_w", "cpu", "sockets", "ram_gb", "ram_bandwidth_gb_s", "measured_ram_bandwidth_gb_s", "gpu_share_gib",
        "pcie_gb_s"), "device"),
    Input("count", "Number of devices and split", (
        "count", "others", "devices_per_node", "tp", "mlp_tp", "pp", "dp", "ep", "cp", "sp", "split", "tensor_split", "main_gpu"), "count"),
    Input("runtime", "Runtime", ("runtime", "backend", "runtime_version", "runtime_date"), "runtime"),
    Input("quant", "Quantisation", ("quant",), "quant"),
    Input("cache", "KV cache type", ("kv_dtype", "mla_cache"), "cache"),
    Input("offload", "Kept in host memory", ("gpu_layers", "experts_on_cpu"), "offload"),
    Input("engine", "Engine settings", (
        "flash_attention", "max_context", "max_sequences", "memory_fraction", "token_budget", "micro_batch", "cuda_graphs",
        "threads", "numa", "vision", "held_steps"), "options"),
    Input("length", "Prompt and answer", (
        "prompt_tokens", "output_tokens", "context_depth", "prefix_cached_tokens", "images", "image_size"), "length"),
    Input("users", "Users", ("concurrency", "request_rate_per_s", "arrival", "equal_lengths"), "users"),
    Input("costs", "Prices", ("usd_per_h", "purchase_usd", "life_years", "use", "electricity_usd_per_kwh")),
)  # fmt: skip
BY_KEY = {entry.key: entry for entry in INPUTS}


def knob_of(asked: Scenario, knob: str) -> Any:
    """The value of a flat knob."""
    return getattr(getattr(asked, PARTS[knob]) if knob in PARTS else asked, knob)


def written(item: Any) -> Any:
    """A list of a scenario (cards, shares) as the text of its flat form; anything else as it is."""
    return write_cards(item) if isinstance(item, tuple) and item and isinstance(item[0], Cards) else flat(item)


@functools.lru_cache(maxsize=4096)
def stated(asked: Scenario) -> Scenario:
    """The scenario with names as the catalog writes them, and its quantisation said where it was left to the runtime.

    So no alias is taken for a difference, and a swapped runtime changes no quantisation unseen. Unchanged where it cannot be settled.
    """
    try:
        found = settle(asked)
        names = {"model": found.ir.id, "runtime": found.runtime.id, "quant": found.quant.id}
        device, cpu = hardware.device(asked.system.device), asked.system.cpu
        names |= {"device": own_hardware.listed(device)}
        names |= {"cpu": own_hardware.listed(hardware.device(cpu, "cpu"))} if cpu else {}
        return asked.with_(**names)
    except RoofcastError:
        return asked


def differing(one: Scenario, other: Scenario) -> tuple[Input, ...]:
    """The inputs in which two scenarios differ, in the order of INPUTS."""
    return tuple(entry for entry in INPUTS if any(knob_of(one, knob) != knob_of(other, knob) for knob in entry.knobs))


def swapped(one: Scenario, other: Scenario, taken: Collection[Input]) -> Scenario:
    """`one` with some inputs taken from `other`. Raises ScenarioError where the two cannot go together."""
    raw, theirs = one.model_dump(), other.model_dump()
    for entry in taken:
        for knob in entry.knobs:
            if knob in PARTS:
                raw[PARTS[knob]][knob] = theirs[PARTS[knob]][knob]
            else:
                raw[knob] = theirs[knob]
    return scenario(raw)


# ---- In words

_UNITS = {
    "max_context": "tokens of context", "max_sequences": "sequences at most", "token_budget": "tokens a step",
    "micro_batch": "tokens a micro-batch", "threads": "threads", "ram_gb": "GB of RAM", "ram_bandwidth_gb_s": "GB/s of RAM",
    "measured_ram_bandwidth_gb_s": "GB/s of RAM measured", "gpu_share_gib": "GiB of RAM for the GPU", "pcie_gb_s": "GB/s to the host",
    "measured_bandwidth_gb_s": "GB/s measured", "sockets": "sockets", "device_memory_gib": "GiB each",
    "device_bandwidth_gb_s": "GB/s each", "device_power_w": "W each", "life_years": "years of life",
}  # fmt: skip
_DEFAULTS = {name: field.default for part in (System, Deployment, Workload, Costs) for name, field in part.model_fields.items()}


def said(asked: Scenario, entry: Input) -> str:
    """What a scenario says of an input, in a few words; "default" where it leaves all of it to the runtime."""
    if entry.key in _WORDS:
        return _WORDS[entry.key](asked)
    return _listed(asked, entry.knobs) or "default"


def _listed(asked: Scenario, knobs: Iterable[str]) -> str:
    """The knobs that are not as they stand unasked."""
    amounts = {knob: knob_of(asked, knob) for knob in knobs}
    return ", ".join(_spoken(knob, amount) for knob, amount in amounts.items() if amount != _DEFAULTS.get(knob))


def _spoken(knob: str, amount: Any) -> str:
    name = knob.removesuffix("_usd").replace("_", " ")
    if isinstance(amount, bool):
        return f"{name} {'on' if amount else 'off'}"
    shown = f"{amount:,}" if isinstance(amount, int) else f"{amount:g}" if isinstance(amount, float) else str(written(amount))
    return f"{shown} {_UNITS[knob]}" if knob in _UNITS else f"{name} {shown}"


def _device(asked: Scenario) -> str:
    rest = [knob for knob in BY_KEY["device"].knobs if knob not in ("device", "profile")]
    return ", ".join(filter(None, (device_name(asked.system.device), _listed(asked, rest))))


def _count(asked: Scenario) -> str:
    deploy = asked.deployment
    degrees = [f"{name.upper()} {degree}" for name in ("tp", "pp", "dp", "ep", "cp") if (degree := getattr(deploy, name))]
    degrees += [f"feed-forward TP {deploy.mlp_tp}"] if deploy.mlp_tp else []
    split = {"layer": ["by layer"], "tensor": ["within layers"], "none": ["one card alone"]}.get(deploy.split or "", [])
    others = [f"and {write_cards(asked.system.others)}"] if asked.system.others else []
    return ", ".join(
        [" ".join([f"{asked.system.count:,}", *others]), *degrees, *split, *filter(None, [_listed(asked, ("tensor_split", "main_gpu"))])]
    )


def _runtime(asked: Scenario) -> str:
    try:
        name = runtimes.runtime(asked.runtime).name
    except RoofcastError:
        name = asked.runtime
    return " ".join(filter(None, (name, asked.runtime_version, asked.runtime_date, f"({asked.backend})" if asked.backend else "")))


def _cache(asked: Scenario) -> str:
    wanted = asked.deployment.kv_dtype
    return "default" if wanted in (None, "auto") else quants.kv_dtype(str(wanted)).name


def _offload(asked: Scenario) -> str:
    deploy = asked.deployment
    layers = "" if deploy.gpu_layers is None else f"{deploy.gpu_layers} layers on the device"
    experts = "" if deploy.experts_on_cpu is None else f"experts of {deploy.experts_on_cpu} layers on the CPU"
    return ", ".join(filter(None, (layers, experts))) or "what does not fit"


def _length(asked: Scenario) -> str:
    load = asked.workload
    before = f", {load.context_depth:,} cached before" if load.context_depth else ""
    kept = f", {load.prefix_cached_tokens:,} of it kept" if load.prefix_cached_tokens else ""
    images = f" and {load.images} image{'s' if load.images > 1 else ''} of {load.image_size.replace('x', ' × ')}" if load.images else ""
    return f"{load.prompt_tokens:,} tokens in{kept}{images}, {load.output_tokens:,} out{before}"


def _users(asked: Scenario) -> str:
    load = asked.workload
    if load.arrival == "open":
        return f"{load.request_rate_per_s:g} requests/s"
    if load.arrival == "saturated":
        return "as many as fit"
    users = f"{load.concurrency:,} user{'s' if load.concurrency > 1 else ''}"
    return f"{users} in one batch" if load.arrival == "static" else users


_WORDS: dict[str, Callable[[Scenario], str]] = {
    "model": lambda asked: model_name(asked.model), "device": _device, "count": _count, "runtime": _runtime,
    "quant": lambda asked: asked.deployment.quant or "default", "cache": _cache, "offload": _offload, "length": _length, "users": _users,
}  # fmt: skip
