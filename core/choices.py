"""What a person can choose: the options of every list on a page, and names from a link made exact."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterable
from typing import Any

from pydantic import ValidationError

from core.cards import flat, read_cards, write_cards
from core.catalog import hardware, instances, links, models, own_hardware, quants, runtimes
from core.errors import RoofcastError, ScenarioError
from core.scenario import MAX_TOKENS, from_flat, sentence

AUTO = "auto"
CUSTOM = "Your own"
NONE = "none"
# What pages call how requests arrive and how layers are split; links carry these titles.
ARRIVALS = {"closed": "Users at once", "open": "Requests/s", "static": "One batch", "saturated": "As many as fit"}
SPLITS = {AUTO: "auto", "layer": "by layer", "tensor": "within layers", "none": "one card alone"}
VISION = {AUTO: "as the runtime does", "true": "loaded", "false": "left out"}
NUMA = {AUTO: "not told of them", "distribute": "spread over them", "isolate": "one socket alone", "numactl": "as numactl says"}

# Formats that only a fork of llama.cpp reads.
_FORK_ONLY = "ik-llama-blocks"
_OWN = "MXFP4_MOE"  # published by the model's makers, and in GGUF as it is

# What opens first; also what a link leaves out.
MODEL, DEVICE, RUNTIME = "Llama-3.1-8B-Instruct", "RTX 4090", "llama.cpp"


@functools.cache
def model_names() -> list[str]:
    """Every model of the catalog in alphabetical order, without its organisation where that is clear."""
    short = Counter(_short(name) for name in models.models())
    return sorted((_short(name) if short[_short(name)] == 1 else name for name in models.models()), key=str.lower)


def _short(name: str) -> str:
    return name.rsplit("/", 1)[-1]


def _listed_model(name: str) -> str:
    full = models.model(name).id
    return _short(full) if _short(full) in model_names() else full


@functools.cache
def default_model() -> str:
    return _listed_model(MODEL)


def device_names(others: Iterable[str | None] = ()) -> list[str]:
    """What a list of devices offers: `others` (of this session, or from a link), the user's stored ones, then the catalog."""
    shipped = _shipped_devices()
    first = [name for name in others if name and "?" in name] + [device.id for device in own_hardware.saved().values()]
    return [*dict.fromkeys(name for name in first if _is_device(name)), *shipped]


def _is_device(name: str) -> bool:
    try:
        return hardware.device(name).id == name
    except RoofcastError:
        return False


@functools.cache
def _shipped_devices() -> list[str]:
    """Every device of the catalog: GPUs and their like first, newest first, then CPUs."""
    listed = sorted(hardware.devices().values(), key=lambda d: (d.kind == "cpu", -(d.launch_year or 0), d.name))
    return [d.name for d in listed]


@functools.cache
def default_device() -> str:
    return hardware.device(DEVICE).name


@functools.cache
def cpu_names() -> list[str]:
    return [AUTO, *(d.name for d in hardware.devices().values() if d.kind == "cpu")]


@functools.cache
def profile_names() -> list[str]:
    """The shipped machines, after "Your own"."""
    return [CUSTOM, *(p.name for p in hardware.systems().values())]


def profile_knobs(name: str) -> dict[str, Any]:
    """The knobs that a shipped machine sets."""
    profile = hardware.system(name)
    return {"device": hardware.device(profile.device).name, "count": profile.count, "ram_gb": profile.ram_gb}


def instance_names() -> list[str]:
    """The cloud instances that can be estimated, after "none"."""
    return [NONE, *(row.label for row in instances.instances() if not row.unsupported)]


def instance_knobs(name: str) -> dict[str, Any]:
    """The knobs that a cloud instance sets; None where nothing is known, which leaves them to the default."""
    rented = instances.usable(name)
    found = {"device": hardware.device(str(rented.device)).name, "count": rented.count}
    return {**found, "ram_gb": rented.ram_gb, "usd_per_h": rented.usd_per_h}


def exact_cards(text: str) -> str:
    """Further cards in the catalog's names ("2x 3060 via tb4" → "2x GeForce RTX 3060 via thunderbolt-4-egpu").

    Raises RoofcastError for an unknown device or link, and for a text that cannot be read.
    """
    try:
        found = read_cards(text)
    except ValidationError as error:
        raise ScenarioError(sentence(error)) from error
    except ValueError as error:
        raise ScenarioError(f"{str(error)[0].upper()}{str(error)[1:]}.") from error
    named = [
        cards.model_copy(
            update={
                "device": own_hardware.listed(hardware.device(cards.device)),
                "host_link": links.host_link(cards.host_link).id if cards.host_link else None,
            }
        )
        for cards in found
    ]
    return write_cards(named)


def read_kind(text: str) -> tuple[str, int]:
    """A device and its number from "2x RTX 3090". Raises RoofcastError."""
    found = read_cards(exact_cards(text))
    return (found[0].device, found[0].count) if found else (text, 1)


def kind_of(name: str) -> str:
    """What a device is to a machine: "card", "integrated" (its memory is the RAM) or "cpu"."""
    found = hardware.device(name)
    return "cpu" if found.kind == "cpu" else "integrated" if found.unified else "card"


def host_link_names() -> list[str]:
    """What can join a card to the host, after "auto", its own slot."""
    return [AUTO, *(entry.id for entry in links.host_links())]


def link_name(name: str) -> str:
    """A link between a card and its host as people call it."""
    return links.host_link(name).name


def runtime_names() -> list[str]:
    return [entry.name for entry in runtimes.runtimes().values()]


def suiting_backend(runtime: str, device: str) -> str | None:
    """The backend that suits a device; None where the runtime does not run on it."""
    try:
        found = hardware.device(device)
        return runtimes.backend_for(runtimes.runtime(runtime), found.vendor, found.kind)
    except RoofcastError:
        return None


def backend_names(runtime: str) -> list[str]:
    return [AUTO, *runtimes.runtime(runtime).backends]


def quant_names(runtime: str, backend: str | None = None) -> list[str]:
    """Quantisations that the runtime runs (on this backend; None: on any), in the catalog's order.

    Servers start with "auto", which takes the weights as they are published.
    """
    entry = runtimes.runtime(runtime)
    backends = [backend] if backend in entry.backends else list(entry.backends)
    found = [
        q.id
        for q in quants.quants().values()
        if "UNKNOWN" not in q.id
        and (q.source != _FORK_ONLY or entry.id == "ik_llama.cpp")
        and any(
            q.container in entry.backends[b].containers and runtimes.supports(entry, b, q.container, q.kernel_class) for b in backends if b
        )
    ]
    return [AUTO, *found] if entry.audience == "server" or not found else found


def default_quant(runtime: str, backend: str | None = None, model: str | None = None) -> str:
    """What opens first: as published for servers, the runtime's usual one for others, or the model's own where GGUF carries it."""
    names = quant_names(runtime, backend)
    if model is not None and _OWN in names:
        own = models.ir(model).native_quant
        if own and quants.quant(own).kernel_class == "mxfp4":
            return _OWN
    wanted = runtimes.runtime(runtime).default_quant
    return AUTO if names[0] == AUTO else wanted if wanted in names else names[0]


def has_tower(model: str) -> bool:
    """Whether a model reads images, by its vision tower."""
    return models.ir(model).tower is not None


def kv_names(runtime: str) -> list[str]:
    return [AUTO, *runtimes.runtime(runtime).kv_dtypes]


def exact(knob: str, text: str, runtime: str = RUNTIME) -> Any:
    """A knob's value from a link, as the lists on the page write it.

    Names may be aliases. Raises RoofcastError, one sentence, for what cannot be meant.
    """
    if knob == "model":
        return _listed_model(text)
    if knob in ("device", "cpu"):
        return AUTO if text == AUTO else own_hardware.listed(hardware.device(text, "cpu" if knob == "cpu" else None))
    if knob == "profile":
        return CUSTOM if text == CUSTOM else hardware.system(text).name
    if knob == "instance":
        return NONE if text == NONE else instances.usable(text).label
    if knob == "runtime":
        return runtimes.runtime(text).name
    entry = runtimes.runtime(runtime)
    if knob == "quant" and text != AUTO:
        found = quants.quant(text, next(iter(entry.backends.values())).containers[0]).id  # type: ignore[arg-type]
        if found not in quant_names(runtime):
            raise ScenarioError(f"{entry.name} does not run {found}; it runs {', '.join(entry.runs)}.")
        return found
    if knob == "backend" and text not in backend_names(runtime):
        raise ScenarioError(f"{entry.name} has no backend '{text}'; it has {', '.join(entry.backends)}.")
    if knob == "others":
        return exact_cards(text)
    if knob == "host_link":
        return AUTO if text == AUTO else links.host_link(text).id
    if knob == "vision":
        text = {"1": "true", "0": "false"}.get(text, text.lower())
    if knob in ("arrival", "split", "numa", "vision"):
        titles = {"arrival": ARRIVALS, "split": SPLITS, "numa": NUMA, "vision": VISION}[knob]
        return next((name for name, title in titles.items() if text in (name, title)), text)
    if knob == "backend":
        return text
    if knob == "kv_dtype" and text != AUTO:
        return text if text in kv_names(runtime) else quants.kv_dtype(text).id
    if text == AUTO:
        return AUTO
    checked = from_flat({"model": "m", "device": "d", "prompt_tokens": MAX_TOKENS, knob: text})  # a prompt longer than any cached part
    for part in (checked.system, checked.deployment, checked.workload, checked.costs, checked):
        if knob in type(part).model_fields:
            return flat(getattr(part, knob))
    return text
