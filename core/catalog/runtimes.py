"""Runtimes of the catalog: what each supports, what it reserves and the defaults it starts with, by version.

The files hold the newest defaults; `[[versions]]` tell what held `before` a change, so `Runtime.at` can look back.
A runtime that is "treated_as" another takes its record with a marked guess, unless it is described: then only what its file
leaves out is taken so, and the constants of speed, which few runs of it stand behind.
"""

from __future__ import annotations

import functools
import re
from typing import Any, Literal

from pydantic import Field, model_validator
from rapidfuzz import fuzz, process, utils

from core.catalog.files import CATALOG, CatalogRecord, read, record, source
from core.catalog.quants import Container, KernelClass
from core.errors import CatalogError, ScenarioError
from core.quantity import Quantity, leaf
from core.units import GIB

Backend = Literal["cuda", "rocm", "vulkan", "metal", "cpu", "sycl", "tpu", "npu", "rdu", "hpu"]

# Every number a runtime brings, with its unit in the core and its name for people.
FACTS: dict[str, tuple[str, str]] = {
    "memory_fraction": ("", "memory fraction"),  # of what: see reserve_of
    "block_tokens": ("tok", "KV block"),  # the cache is handed out in whole blocks (llama.cpp: padded to)
    "max_sequences": ("", "most sequences at once"),
    "max_context": ("tok", "context length"),  # absent: the model's own
    "token_budget": ("tok", "token budget of a step"),
    "micro_batch": ("tok", "micro-batch"),
    "context_memory": ("B", "device context"),  # per process and device
    "non_torch_memory": ("B", "communication and library buffers"),  # per device, beside context_memory
    "graph_memory": ("B", "captured graphs"),  # per device, when graphs are on
    "activation_memory": ("B", "activations"),  # per device, only where no rule computes them
    "stream_tokens": ("tok", "tokens from which host weights are streamed"),  # fewer: computed on the CPU
    "fit_margin": ("B", "margin left free"),  # per device, when the runtime lays the layers out itself
}

# Which backend suits a device: the first of these that the runtime has.
_SUITS: dict[str, tuple[Backend, ...]] = {
    "nvidia": ("cuda", "vulkan"),
    "amd": ("rocm", "vulkan"),
    "intel": ("sycl", "vulkan"),
    "apple": ("metal",),
    "google": ("tpu",),
    "rockchip": ("npu", "vulkan"),
    "sambanova": ("rdu",),
    "aws": (),
}
_UNSUPPORTED = {"aws": "Neuron"}  # whose accelerators none of our runtimes runs on, and what does


class Case(CatalogRecord):
    """Another value on devices with at least `min_memory_gib`: those whose name holds one of `on`, where given, but none of `not_on`."""

    min_memory_gib: float = Field(gt=0)
    value: float = Field(ge=0)
    on: tuple[str, ...] = ()
    not_on: tuple[str, ...] = ()
    note: str | None = None


class Fact(CatalogRecord):
    """One number in base units. `low`/`high` is the plausible range of what no document states."""

    value: float = Field(ge=0)
    source: str
    low: float | None = None
    high: float | None = None
    guess: bool = False
    flag: str | None = None  # the launch flag that changes it
    note: str | None = None
    cases: tuple[Case, ...] = ()  # ascending in memory; the last that applies holds

    @model_validator(mode="after")
    def _range(self) -> Fact:
        if self.low is not None and self.high is not None and not self.low <= self.value <= self.high:
            raise ValueError("the value lies outside low and high")
        return self


class Support(CatalogRecord):
    """What a runtime runs on one backend: containers of weights and their kernel classes."""

    containers: tuple[Container, ...]
    kernels: tuple[KernelClass, ...]
    note: str | None = None


class Version(CatalogRecord):
    """What held `before` this version. `from_version` or `from_date` (YYYY-MM-DD) says when it changed."""

    from_version: str | None = None
    from_date: str | None = None
    source: str
    before: dict[str, Any]  # fields of Runtime; a fact of null means that there was none
    note: str | None = None


class Runtime(CatalogRecord):
    """One inference runtime."""

    id: str
    name: str
    aliases: tuple[str, ...] = ()
    treated_as: str | None = None  # what is not said below is this runtime's, and so are the constants of speed
    described: bool = False  # with treated_as: the record is its own, only speed is not
    as_of: str | None = None  # the version or date that the record describes
    guess: bool = False
    note: str | None = None
    audience: Literal["single", "server"]
    engine: Literal["ggml", "mlx", "torch", "tensorrt"]  # whose kernels run
    backends: dict[Backend, Support]
    runs: list[str]  # quantisations as people name them
    dense_only: tuple[str, ...] = ()  # no mixture of experts is known to run in these, so none is offered them
    kv_dtypes: list[str]  # ids of data/catalog/quants/kv_dtypes.toml
    default_kv_dtype: str
    default_quant: str
    device_split: Literal["layer", "tensor", "none"]  # several devices without an explicit degree
    splits: tuple[Literal["layer", "row", "tp", "pp", "dp", "ep", "cp", "sp"], ...] = ()
    attention_apart: Literal["any", "whole", "no"] = "no"  # attention in fewer tensor ranks than the feed-forward part; "whole": in one
    apart_note: str | None = None  # what it does instead
    pipelined_decode: bool = False  # several micro-batches in flight over pipeline stages while decoding
    offload: Literal["layers", "stream", "none"] = "none"
    offload_flag: str | None = None
    experts_offload: bool = False  # only the experts of some layers in host memory
    reserve: Literal["fraction", "needs"]
    reserve_of: Literal["device", "free"] = "device"  # fraction of the card, or of what is free after the weights
    kv_allocation: Literal["upfront", "pool", "grows"]
    swa_extra: Literal["ubatch", "none"] = "none"  # tokens kept beside a sliding window
    swa_full: bool = False  # sliding-window layers cache the whole context
    unified_kv: bool = False  # sequences share one buffer of max_context tokens instead of one each
    chunked_prefill: bool
    prompts_first: bool = False  # a step takes prompts or decodes, prompts first: they stop decoding until none waits
    cuda_graphs: bool
    flash_attention: bool
    activations: Literal["llama_compute_buffer", "profiled", "whole_prompt", "simple"]
    prompts_whole: bool = False  # a step takes a prompt of the full context, whatever the budget
    prompt_logits: bool = False  # a whole prompt's logits are computed, not only its last token's
    prompt_scores: bool = False  # a whole prompt's scores are held: no flash attention
    mla_cache: Literal["latent", "latent_and_values", "full"] = "latent"  # what an MLA layer keeps of a token
    mla_expands: bool = False  # a prompt's MLA attention expands keys and values of the whole context
    sparse_attention: bool = False  # reads only the tokens that an indexer chose; else all, with the others masked
    sparse_source: str | None = None
    embeddings_on_host: bool = False  # the input embedding stays in host memory; tied ones are held twice
    shards_vocabulary: bool = False  # tensor parallel splits embedding and head
    vision: Literal["default", "flag", "no"] = "no"  # whether it loads a model's vision tower: unasked, when told to, or never
    vision_flag: str | None = None  # that loads it, or leaves it out
    vision_shards: bool = False  # tensor parallel cuts the tower
    vision_source: str | None = None
    vision_note: str | None = None
    sources: list[str]  # of what above is no number
    facts: dict[str, Fact]
    versions: tuple[Version, ...] = ()

    @model_validator(mode="after")
    def _known(self) -> Runtime:
        unknown = sorted(set(self.facts) - set(FACTS))
        if unknown:
            raise ValueError(f"no fact is called {', '.join(unknown)}")
        if self.reserve == "fraction" and "memory_fraction" not in self.facts:
            raise ValueError("a runtime that reserves a fraction needs the fact memory_fraction")
        return self

    def get(self, field: str, *, device: str = "", device_memory: float | None = None) -> Quantity | None:
        """A default as a cited leaf in base units, or None where the runtime has none (`max_context`: the model's).

        `device` (name) and `device_memory` (bytes of one card) choose where the default depends on the card.
        """
        fact = self.facts.get(field)
        if fact is None:
            return None
        unit, title = FACTS[field]
        value, notes = fact.value, [fact.note] if fact.note else []
        for case in fact.cases:
            if device_memory is not None and device_memory >= case.min_memory_gib * GIB:
                named = device.lower()
                if any(name.lower() in named for name in case.not_on) or (case.on and not any(name.lower() in named for name in case.on)):
                    continue
                value = case.value
                notes = [case.note] if case.note else notes
        if fact.flag:
            notes.append(f"changed with {fact.flag}")
        if self.treated_as and not self.described:
            notes.append(f"{self.name} is not described yet: treated as {self.treated_as}")
        cited = source(fact.source)
        guess = fact.guess or self.guess or cited.guess
        full = source(fact.source, guess=guess, low=fact.low, high=fact.high, note="; ".join(notes) or cited.note)
        stated = not guess and fact.low is None
        return leaf(f"{title} of {self.name}", value, unit, "constant" if stated else "assumption", full)

    def fact(self, field: str, *, device: str = "", device_memory: float | None = None) -> Quantity:
        """As `get`, but raises CatalogError where the runtime has no such default."""
        found = self.get(field, device=device, device_memory=device_memory)
        if found is None:
            raise CatalogError(f"{self.name} has no default for '{field}'; add it to data/catalog/runtimes or give it.")
        return found

    def at(self, version: str | None = None, date: str | None = None) -> Runtime:
        """This runtime as it was at a version or, where the version says nothing, at a date (YYYY[-MM[-DD]]).

        Without either, or when neither can be read: the newest. Versions are found inside longer text ("ROCm b7423").
        """
        number = version_number(version)
        earlier = [v for v in self.versions if _before(v, number, date)]
        if not earlier:
            return self
        raw = self.model_dump()
        for change in sorted(earlier, key=_age, reverse=True):
            for key, old in change.before.items():
                if key == "facts":
                    raw["facts"] = {k: f for k, f in {**raw["facts"], **old}.items() if f}
                else:
                    raw[key] = old
        return record(Runtime, raw, f"runtime '{self.id}' at {version or date}")


def _age(change: Version) -> tuple[tuple[int, ...], str]:
    return (version_number(change.from_version) or (), change.from_date or "")


def _before(change: Version, number: tuple[int, ...] | None, date: str | None) -> bool:
    """Whether a runtime of this version or date is older than the change."""
    when = version_number(change.from_version)
    if number and when:
        return number + (0,) * (len(when) - len(number)) < when  # "0.18" is 0.18.0
    if date and change.from_date:
        n = min(len(date), len(change.from_date))
        return date[:n] < change.from_date[:n]
    return False


def version_number(text: str | None) -> tuple[int, ...] | None:
    """The version in a text: a build "b7423" as (7423,), "v0.8.1.post2" as (0, 8, 1). None when there is none.

    Numbers that belong to CUDA, ROCm, torch or Python are passed over.
    """
    if not text:
        return None
    text = re.sub(r"(?i)\b(cuda|cu|rocm|torch|python|driver)[ _-]*\d[\w.]*", " ", text)
    build = re.search(r"\bb(\d{3,6})\b", text)
    if build:
        return (int(build[1]),)
    dotted = re.search(r"(?<![\w.])v?(\d+(?:\.\d+)+)", text)
    return tuple(int(n) for n in dotted[1].split(".")) if dotted else None


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _merged(raw: dict[str, Any], all_raw: dict[str, dict[str, Any]]) -> dict[str, Any]:
    base = raw.get("treated_as")
    if base is None:
        return raw
    if base not in all_raw:
        raise CatalogError(f"runtime '{raw.get('id')}': treated_as '{base}' is no runtime. Correct it in data/catalog.")
    inherited = {k: v for k, v in _merged(all_raw[base], all_raw).items() if k not in ("aliases", "note", "described", "as_of")}
    facts = {name: {**fact, "guess": True} for name, fact in inherited["facts"].items()}
    return {**inherited, "versions": [], "guess": not raw.get("described"), "facts": facts, **raw}


@functools.cache
def runtimes() -> dict[str, Runtime]:
    """Every runtime by id, described ones first. Raises CatalogError for a wrong file."""
    raw: dict[str, dict[str, Any]] = {}
    for path in sorted((CATALOG / "runtimes").glob("*.toml")):
        content = read(path)
        for entry in content.get("runtimes", [content]):
            key = entry.get("id", path.stem)
            if key in raw:
                raise CatalogError(f"The runtime '{key}' stands twice under data/catalog/runtimes; remove one.")
            raw[key] = entry
    found = {key: record(Runtime, _merged(entry, raw), f"runtime '{key}'") for key, entry in raw.items()}
    return dict(sorted(found.items(), key=lambda item: (item[1].treated_as is not None, item[0])))


@functools.cache
def _names() -> dict[str, str]:
    """Plain name → id, for ids, names and aliases."""
    table: dict[str, str] = {}
    for key, entry in runtimes().items():
        for name in (key, entry.name, *entry.aliases):
            other = table.setdefault(_plain(name), key)
            if other != key:
                raise CatalogError(f"The runtimes '{other}' and '{key}' share the name '{name}'; remove it from one.")
    return table


def runtime(name: str) -> Runtime:
    """The runtime of this id, name or alias, in any case and punctuation. Raises CatalogError with suggestions."""
    key = _names().get(_plain(name))
    if key is not None:
        return runtimes()[key]
    close = [entry.name for entry in search_runtimes(name)[:3] or runtimes().values() if name or not entry.treated_as]
    raise CatalogError(f"There is no runtime '{name}' in the catalog; did you mean {_either(close)}?")


def search_runtimes(text: str) -> list[Runtime]:
    """Runtimes whose name or alias resembles `text`, best first; all of them for an empty text."""
    if not text.strip():
        return list(runtimes().values())
    names = [(name, key) for key, entry in runtimes().items() for name in (key, entry.name, *entry.aliases)]
    hits = process.extract(text, [n for n, _ in names], scorer=fuzz.WRatio, processor=utils.default_process, limit=None, score_cutoff=60)
    keys = dict.fromkeys(names[index][1] for _, _, index in hits)
    return [runtimes()[key] for key in keys]


def backend_for(entry: Runtime, device_vendor: str, device_kind: str) -> Backend:
    """The backend that suits a device; kind "cpu" means a run without GPU. Raises ScenarioError when none does."""
    on_cpu = device_kind.lower() == "cpu"
    suits = ("cpu",) if on_cpu else _SUITS.get(device_vendor.lower(), ("vulkan",))
    for backend in suits:
        if backend in entry.backends:
            return backend
    _check_supported_maker(device_vendor, device_kind)
    has = ", ".join(_BACKEND_NAMES[b] for b in entry.backends)
    others = [r.name for r in runtimes().values() if not r.treated_as and set(suits) & set(r.backends)]
    advice = f"; choose {_either(others)} instead" if others else ""
    what = "CPUs" if on_cpu else f"{device_vendor} devices"
    raise ScenarioError(f"{entry.name} does not run on {what} (it has {has}){advice}.")


def check_backend(backend: str, device_vendor: str, device_kind: str, device_name: str) -> None:
    """Raises ScenarioError for a backend that the device cannot run, naming those that it can."""
    _check_supported_maker(device_vendor, device_kind)
    suits = ("cpu",) if device_kind.lower() == "cpu" else _SUITS.get(device_vendor.lower(), ("vulkan", "cpu"))
    if backend not in suits and not (backend == "vulkan" and device_kind.lower() == "gpu"):
        can = _either([_BACKEND_NAMES[b] for b in suits])
        raise ScenarioError(f"{device_name} has no {_BACKEND_NAMES.get(backend, backend)}; it runs {can}.")


def _check_supported_maker(vendor: str, kind: str) -> None:
    """Raises ScenarioError for accelerators that only runtimes outside the catalog run on."""
    alone = _UNSUPPORTED.get(vendor.lower()) if kind.lower() != "cpu" else None
    if alone:
        raise ScenarioError(
            f"{vendor}'s accelerators are not supported yet: {alone} runtimes alone run on them, and none of those is estimated."
        )


def _either(names: list[str]) -> str:
    return " or ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


_BACKEND_NAMES: dict[str, str] = {
    "cuda": "CUDA", "rocm": "ROCm", "vulkan": "Vulkan", "metal": "Metal", "cpu": "CPU", "sycl": "SYCL",
    "tpu": "TPU", "npu": "NPU", "rdu": "RDU", "hpu": "Gaudi",
}  # fmt: skip
_CONTAINER_NAMES = {"gguf": "a GGUF quantisation", "mlx": "an MLX quantisation", "exl": "an ExLlama quantisation"}


def supports(entry: Runtime, backend: str, container: str, kernel_class: str) -> bool:
    """Whether the runtime runs weights of this container and kernel class on this backend.

    Unquantised weights are converted from one container to another without loss, so theirs does not count.
    """
    has = next((s for b, s in entry.backends.items() if b == backend), None)
    if has is None or kernel_class not in has.kernels:
        return False
    return kernel_class in ("f32", "f16") or container in has.containers


def check_supported(entry: Runtime, backend: str, container: str, kernel_class: str, quant: str) -> None:
    """Raises ScenarioError, naming what the runtime runs instead, when it cannot run the quantisation."""
    if backend not in entry.backends:
        has = ", ".join(_BACKEND_NAMES[b] for b in entry.backends)
        raise ScenarioError(f"{entry.name} has no {_BACKEND_NAMES.get(backend, backend)} backend; it has {has}.")
    if supports(entry, backend, container, kernel_class):
        return
    kind = f" ({_CONTAINER_NAMES[container]})" if container in _CONTAINER_NAMES else ""
    elsewhere = any(supports(entry, b, container, kernel_class) for b in entry.backends)
    where = f" on {_BACKEND_NAMES[backend]}" if elsewhere else ""
    others = [r.name for r in runtimes().values() if not r.treated_as and supports(r, backend, container, kernel_class)]
    advice = f"Choose one of these or {others[0]}" if others else "Choose one of these"
    raise ScenarioError(f"{entry.name} does not run {quant}{kind}{where}; it runs {', '.join(entry.runs)}. {advice}.")
