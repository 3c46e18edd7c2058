"""The one resolver of names in measured runs to the catalog: models, devices, quantisations, KV types, runtimes.

Runs name things as people and tools write them: Hugging Face ids, GGUF file names, Ollama tags, marketing names.
A finetune resolves to the model whose geometry it has; which that is stands as data in data/catalog/model_aliases.toml.
A name that fits nothing raises RunError: a wrong geometry is worse than none.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from core.catalog.files import CATALOG, CatalogRecord, read, record
from core.catalog.hardware import Kind, device
from core.catalog.models import models
from core.catalog.quants import Container, kv_dtype, quant
from core.catalog.runtimes import runtime
from core.errors import CatalogError, RunError
from core.hub_store import find_named

How = Literal["exact", "normalised", "alias"]


@dataclass(frozen=True, slots=True)
class Match:
    """What a name resolved to. `note` says what is approximate or assumed about it."""

    id: str
    how: How
    note: str | None = None


class Alias(CatalogRecord):
    """Names whose model has the geometry of `model`; where only nearly (`approximate`), `note` says in what not."""

    model: str
    names: list[str] = Field(min_length=1)
    approximate: bool = False
    note: str | None = None


# ---- Names of models

_EDGE, _END = r"(?<![a-z0-9])", r"(?![a-z0-9])"
# How a file is quantised or stored: never part of the architecture.
_FORMAT = re.compile(
    _EDGE
    + "(?:"
    + "|".join(
        (
            r"(?:ud[-_ ]+)?(?:i1[-_ ]+)?(?:iq|tq|q)[1-8]"
            r"(?:(?:[-_ ]| - )(?:k|p|[01]|nl|xxs|xs|s|m|l|xl|kt|ks|kss|r4|r8|medium|small|large))*",
            r"mxfp4(?:[-_ ]moe)?|mxfp8|nvfp4|fp4",
            r"fp8(?:[-_ ](?:dynamic|static|block|kv|pertensor|per[-_ ]tensor|per[-_ ]channel))*",
            r"bf16|fp16|fp32|f16|f32|(?:qat[-_ ]?)?int[248](?:/[248])*|w\d+a\d+(?:[-_ ]g\d+)?",
            r"awq(?:[-_ ]v\d[-_ ]fixed)?|gptq|auto[-_ ]?round|bnb|hqq|gguf|ggml|quantized|qat|ud|ct",
            r"mlx(?:[-_ ](?:lm|vlm|community))?|exl[23]|mul1|mcg|kv[248]",
            r"\d+(?:\.\d+)?[-_ ]?bpw|[2-8][-_ ]?bits?",
        )
    )
    + ")"
    + _END
)
_SHARD = re.compile(r"-\d{5}-of-\d{5}$")
_TOKEN = re.compile(r"\d+x\d+(?:\.\d+)?b|(?<![a-z])[ae]\d+(?:\.\d+)?b(?![a-z0-9])|\d+(?:\.\d+)*[bmk](?![a-z0-9])|[a-z]+|\d+(?:\.\d+)*")
_DATE = re.compile(r"(?:2[3-9](?:0[1-9]|1[0-2])|(?:0[1-9]|1[0-2])(?:[0-2]\d|3[01])|20\d{6})")
# Words that say how a model was trained or published, not how it is built.
_TAGS = frozenset(
    [
        "instruct", "instruction", "chat", "it", "base", "hf", "inst", "preview", "sft", "dpo", "thinking", "reasoning",
        "latest", "text", "v", "model", "models", "uncensored", "abliterated", "distilled", "release", "moe", "dense",
        "omni", "test", "think", "original", "tools", "dynamic", "pt",
    ]
)  # fmt: skip
# Written before the name by some, without a slash.
_PUBLISHERS = frozenset(
    [
        "meta", "nvidia", "google", "microsoft", "mistralai", "openai", "unsloth", "bartowski", "thebloke", "quanttrio",
        "redhatai", "lmstudio",
    ]
)  # fmt: skip
_CONTEXT = re.compile(r"\d+k")  # "128k": the context, a matter of positions only


@functools.lru_cache(maxsize=65536)
def name_keys(name: str) -> tuple[str, str]:
    """Two keys of a model's name: without its storage format, and without the words of training and date besides."""
    text = re.split(r"[/\\]", name.strip().lower().rstrip("/\\"))[-1]
    text = re.sub(r"\.(?:gguf|bin|safetensors|llamafile)$", "", text)
    text = re.sub(r"\([^)]*\)", " ", _SHARD.sub("", text))
    text = re.sub(r"(?<=\d)_(?=\d)", ".", _FORMAT.sub(" ", text.replace(":", " ")))
    words = _TOKEN.findall(_FORMAT.sub(" ", text))
    if len(words) > 1 and words[0] in _PUBLISHERS and words[1].isalpha():
        words = words[1:]
    plain = [w for w in words if w not in _TAGS and not _DATE.fullmatch(w) and not _CONTEXT.fullmatch(w)]
    return "-".join(words), "-".join(plain)


@dataclass(frozen=True, slots=True)
class _Index:
    exact: dict[str, str]
    full: dict[str, str]
    plain: dict[str, str]


@functools.cache
def _index() -> _Index:
    """Every model of the catalog by id and alias, by both keys.

    Of models that share a key, one published unquantised wins, then the shortest id.
    """
    exact: dict[str, str] = {}
    full: dict[str, str] = {}
    plain: dict[str, str] = {}
    ordered = sorted(_records(), key=lambda e: (bool(_FORMAT.search(e[0].lower())), len(e[0]), e[0]))
    for model_id, names in ordered:
        for name in (model_id, *names):
            exact.setdefault(name.strip().lower(), model_id)
    for model_id, names in ordered:
        for name in (model_id, *names):
            one, two = name_keys(name)
            full.setdefault(one, model_id)
            if name == model_id or two == one:
                plain.setdefault(two, model_id)
    return _Index(exact, full, plain)


def _records() -> list[tuple[str, tuple[str, ...]]]:
    return [(entry.id, tuple(entry.aliases)) for entry in models().values()]


def _by_name(name: str) -> tuple[str, How] | None:
    index = _index()
    if hit := index.exact.get(name.strip().lower()):
        return hit, "exact"
    one, two = name_keys(name)
    if not two or two.isdigit():
        return None
    hit = index.full.get(one) or index.full.get(two) or index.plain.get(two)
    return (hit, "normalised") if hit else None


@functools.cache
def aliases() -> tuple[Alias, ...]:
    """The table of same geometries, in the file's order. Raises CatalogError for a wrong file."""
    raw = read(CATALOG / "model_aliases.toml").get("alias", [])
    return tuple(record(Alias, entry, f"model_aliases.toml, entry {i + 1}") for i, entry in enumerate(raw))


@functools.cache
def _alias_index() -> dict[str, Alias]:
    table: dict[str, Alias] = {}
    for alias in aliases():
        for name in alias.names:
            for key in (name.lower(), name_keys(name)[0]):
                other = table.setdefault(key, alias)
                if other.model != alias.model:
                    raise CatalogError(f"model_aliases.toml gives '{name}' two models: {other.model} and {alias.model}; remove one.")
    return table


@functools.lru_cache(maxsize=65536)
def find_model(*names: str) -> Match:
    """The catalog's model for the first of these names that resolves (Hugging Face id, then what a tool wrote).

    Raises RunError when none does.
    """
    given = [name for name in names if name and name.strip()]
    if not given:
        raise RunError("The run names no model; give model_id or model_name_raw.")
    for name in given:
        if "@" in name and (held := find_named(name)):
            return Match(held.id, "exact", "as fetched from the Hub")
        if hit := _by_name(name):
            return Match(*hit)
        table = _alias_index()
        one, two = name_keys(name)
        alias = table.get(name.strip().lower()) or table.get(one) or table.get(two)
        if alias and (target := _by_name(alias.model)):
            note = alias.note or f"taken as {alias.model}, which has the same geometry"
            return Match(target[0], "alias", note)
    shown = " / ".join(f"'{name}'" for name in dict.fromkeys(given))
    raise RunError(f"No model {shown} in the catalog, and none known to have its geometry; give a Hugging Face id that is in it.")


# ---- Devices, quantisations, runtimes


@functools.lru_cache(maxsize=16384)
def find_device(name: str, kind: Kind | None = None) -> Match:
    """The catalog's device. Raises RunError for an unknown name."""
    try:
        found = device(name, kind)
    except CatalogError as error:
        raise RunError(str(error)) from error
    exact = name.strip().lower() in {text.lower() for text in (found.id, found.name)}
    alias = name.strip().lower() in {text.lower() for text in found.aliases}
    return Match(found.id, "exact" if exact else "alias" if alias else "normalised")


def container_of(runtime_id: str) -> Container | None:
    """Which container of weights a runtime reads, where a label such as "F16" or "MXFP4" means several. None: any."""
    base = runtime(runtime_id)
    if base.id == "mlx":
        return "mlx"
    if base.id.startswith("exllama"):
        return "exl"
    return "gguf" if "llama.cpp" in (base.id, base.treated_as) or base.id == "ollama" else "safetensors"


@functools.lru_cache(maxsize=4096)
def find_quant(label: str, runtime_id: str) -> Match:
    """The catalog's quantisation for a label as this runtime means it. Raises RunError."""
    try:
        found = quant(label, container_of(runtime_id))
    except CatalogError as error:
        raise RunError(str(error)) from error
    return Match(found.id, "exact" if found.id.lower() == label.strip().lower() else "normalised")


# A method together with its bits is one label, so that "AWQ-4bit" is no 4 bits of another kind and "GPTQ-Int8" no GPTQ of 4.
_NAMED_QUANTS = re.compile(
    _EDGE
    + r"((?:ud[-_])?i?q[1-8][-_][a-z0-9_]+|mxfp4|nvfp4|fp8|(?:awq|gptq|bnb)[-_ ]?(?:int)?[2-8](?:[-_ ]?bits?)?|awq|gptq"
    + r"|(?:int\d[-_])?auto[-_]?round(?:[-_](?:int)?\d(?:[-_]?bits?)?)?|bf16|fp16|f16|w\d+a\d+|(?:mlx[-_ ]?)?[2-8]bit)"
    + _END
)
_OTHER_QUANTS = re.compile(_EDGE + r"(?:int[2-8]|[a-z]*fp4\w*|mxfp8|exl[23]|aqlm|hqq|quip|vptq|[2-8][-_]?bits?|quantized)" + _END)


def quant_in_name(name: str, runtime_id: str) -> Match | None:
    """The quantisation that a model's name states ("…-FP8", "….Q4_K_M.gguf"), or None."""
    text = re.sub(r"\.(?:gguf|llamafile)$", "", name.strip().lower())
    servers = container_of(runtime_id) == "safetensors"
    for label in reversed(_NAMED_QUANTS.findall(text)):
        try:
            found = find_quant(label, runtime_id)
        except RunError:
            continue
        if servers and found.id.startswith("MLX-") and "mlx" not in text:
            continue  # "4bit" alone says of how many bits, not how they are laid out
        return Match(found.id, found.how, "quantisation read from the model's name")
    return None


def names_unknown_quant(name: str) -> bool:
    """Whether a model's name speaks of a quantisation, for names in which `quant_in_name` finds none of the catalog's."""
    text = name.strip().lower()
    return bool(_NAMED_QUANTS.search(text) or _OTHER_QUANTS.search(text))


# What runs write in a KV column that is no storage type: modes of caching, or the default by another name.
_NO_KV_DTYPE = frozenset({"auto", "default", "ssd-paged", "think", "clear-idle"})


@functools.lru_cache(maxsize=1024)
def find_kv_dtype(label: str) -> Match | None:
    """The catalog's KV cache type, or None where the label is no type but the runtime's default. Raises RunError."""
    text = label.strip().lower()
    if text in _NO_KV_DTYPE or re.fullmatch(r"cache\d+k", text):
        return None
    try:
        found = kv_dtype(text)
    except CatalogError as error:
        raise RunError(str(error)) from error
    return Match(found.id, "exact" if found.id == text else "normalised")


@functools.lru_cache(maxsize=1024)
def find_runtime(name: str) -> Match:
    """The catalog's runtime. Raises RunError."""
    try:
        found = runtime(name)
    except CatalogError as error:
        raise RunError(str(error)) from error
    exact = name.strip().lower() in (found.id.lower(), found.name.lower())
    note = f"{found.name} is treated as {found.treated_as}" if found.treated_as else None
    return Match(found.id, "exact" if exact else "alias", note)


_BACKENDS = (
    ("vulkan", r"vulkan"),
    ("rocm", r"rocm|\bhip\b|[-_]hip\b"),
    ("sycl", r"sycl"),
    ("metal", r"metal|\bmtl\b|darwin"),
    ("cuda", r"cuda|\bcu1\d\d\b"),
    ("cpu", r"\bcpu\b"),
)


def backend_in(text: str) -> str | None:
    """The back end that a version text names ("Vulkan b7423 [vulkan_radv]" → "vulkan"), or None."""
    low = text.lower()
    return next((backend for backend, pattern in _BACKENDS if re.search(pattern, low)), None)
