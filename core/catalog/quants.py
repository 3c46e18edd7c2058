"""Storage formats, named quantisations, GGUF recipes and KV cache types, from data/catalog/quants."""

from __future__ import annotations

import functools
import math
import re
from typing import Annotated, Literal

from pydantic import Field, model_validator
from rapidfuzz import fuzz, process

from core.catalog.files import CATALOG, CatalogRecord, read, record, source
from core.errors import CatalogError
from core.quantity import Quantity, Source, leaf

Container = Literal["gguf", "safetensors", "mlx", "exl"]
KernelClass = Literal[
    "f32",
    "f16",
    "bf16",
    "fp8",
    "fp8_block",
    "int8",
    "w8a16",
    "w4a16",
    "nvfp4",
    "mxfp4",
    "gguf_legacy",
    "gguf_k",
    "gguf_iq",
    "mlx",
]
_FOLDER = CATALOG / "quants"


class Format(CatalogRecord):
    """How numbers are stored: blocks along a row (or tiles of rows), with their scales."""

    id: str
    title: str
    block_elements: int = Field(gt=0)
    block_rows: int = Field(default=1, gt=0)
    block_bytes: float = Field(gt=0)
    element_bits: float | None = None  # width where a short last block is not padded; None: rows hold whole blocks only
    row_bytes: float = 0.0
    column_bytes: float = 0.0
    matrix_bytes: float = 0.0
    source: str
    guess: bool = False
    note: str | None = None

    @property
    def bits(self) -> float:
        """Bits per element of a whole block; what rows and matrices add comes on top."""
        return self.block_bytes * 8 / (self.block_elements * self.block_rows)

    def fits(self, row: int) -> bool:
        """Whether rows of this many elements can be stored."""
        return self.element_bits is not None or row % self.block_elements == 0

    def stored_bytes(self, shape: tuple[int, ...]) -> int:
        """Bytes of a tensor of this shape; the last two dimensions are a matrix, one dimension is one row."""
        columns = shape[-1]
        rows = shape[-2] if len(shape) > 1 else 1
        matrices = math.prod(shape[:-2])
        blocks = matrices * -(-rows // self.block_rows) * -(-columns // self.block_elements)
        amount = blocks * self.block_bytes
        if self.element_bits is not None:
            scales = self.block_bytes - self.block_elements * self.block_rows * self.element_bits / 8
            amount = matrices * rows * columns * self.element_bits / 8 + blocks * scales
        amount += matrices * (rows * self.row_bytes + columns * self.column_bytes + self.matrix_bytes)
        return math.ceil(amount)


Condition = Annotated[str, Field(pattern=r"^!?(more_bits|middle|first_(eighth|sixteenth|\d+)|gqa4|experts[48]?|layers80|falcon)$")]


class Rule(CatalogRecord):
    """One line of a GGUF recipe: tensors of `role`, where every condition holds, take `format`."""

    role: str
    when: tuple[Condition, ...] = ()
    format: str


class LateRule(CatalogRecord):
    """A correction of what the rules chose; `from` limits it to some formats."""

    when: tuple[Condition, ...] = ()
    chosen: tuple[str, ...] = Field(default=(), alias="from")
    format: str


class Recipe(CatalogRecord):
    """Which tensor gets which format in one GGUF file type."""

    base: str
    output: str = "q6_k"
    token_embd: str | None = None
    rules: tuple[Rule, ...] = ()
    late: bool = True


class RecipeBook(CatalogRecord):
    """All recipes, and what they share."""

    recipes: dict[str, Recipe]
    late: dict[str, tuple[LateRule, ...]]
    fallback: dict[str, str]
    full_precision: tuple[str, ...]


class QuantScheme(CatalogRecord):
    """A quantisation that users name: formats by tensor group, or a GGUF recipe."""

    id: str
    name: str
    aliases: tuple[str, ...] = ()
    container: Container
    kernel_class: KernelClass
    tensors: dict[str, str] | None = None
    recipe: str | None = None
    source: str
    guess: bool = False
    note: str | None = None

    @model_validator(mode="after")
    def _one_rule(self) -> QuantScheme:
        if (self.tensors is None) == (self.recipe is None):
            raise ValueError("give either 'tensors' or 'recipe'")
        if self.tensors is not None and not {"linear", "other"} <= self.tensors.keys():
            raise ValueError("'tensors' needs 'linear' and 'other'")
        return self

    def cite(self) -> Source:
        """The document behind this scheme, with the scheme's own note."""
        cited = source(self.source)
        return source(self.source, note=self.note or cited.note, guess=self.guess or cited.guess)


class KvDtype(CatalogRecord):
    """What keys and values are stored in."""

    id: str
    name: str
    aliases: tuple[str, ...] = ()
    format: str
    value_format: str | None = None  # where values differ from keys
    source: str
    guess: bool = False
    note: str | None = None

    @property
    def key_bytes(self) -> float:
        """Bytes per element of the keys (and of MLA's latent)."""
        return format_named(self.format).bits / 8

    @property
    def value_bytes(self) -> float:
        """Bytes per element of the values."""
        return format_named(self.value_format or self.format).bits / 8

    @property
    def bytes_per_element(self) -> float:
        """Bytes per element, the mean of keys and values where they differ."""
        return (self.key_bytes + self.value_bytes) / 2

    @property
    def cited(self) -> Quantity:
        """Bytes per element as a cited constant."""
        return self._leaf(f"KV cache in {self.name}", self.bytes_per_element)

    @property
    def keys_cited(self) -> Quantity:
        """Bytes per element of the keys, and of a latent, as a cited constant."""
        return self._leaf(f"keys in {self.name}", self.key_bytes)

    def _leaf(self, name: str, amount: float) -> Quantity:
        entry = source(self.source)
        note = self.note or entry.note
        return leaf(name, amount, "B", "constant", source(self.source, note=note, guess=self.guess or entry.guess))


def _fold(name: str) -> str:
    return re.sub(r"[\s_\-()]+", "", name).lower()


def _unknown(kind: str, name: str, known: list[str]) -> CatalogError:
    close = [match[0] for match in process.extract(name, known, scorer=fuzz.ratio, limit=3, processor=_fold)]
    return CatalogError(f"No {kind} '{name}' in the catalog; the nearest are {', '.join(close[:-1])} and {close[-1]}. Give one of them.")


@functools.cache
def formats() -> dict[str, Format]:
    """Every storage format by id."""
    raw = read(_FOLDER / "formats.toml")
    return {key: record(Format, {"id": key, **entry}, f"formats.toml, format '{key}'") for key, entry in raw.items()}


@functools.lru_cache(maxsize=1024)
def format_named(name: str) -> Format:
    """A format; "exl3:4.5" is exl3 with elements of 4.5 bits. Raises CatalogError for an unknown name."""
    template, _, width = name.partition(":")
    if template not in formats():
        raise _unknown("storage format", name, list(formats()))
    found = formats()[template]
    if not width:
        return found
    bits = float(width)
    block_bytes = found.block_elements * found.block_rows * bits / 8
    return found.model_copy(update={"id": name, "title": f"{found.title} ({width})", "element_bits": bits, "block_bytes": block_bytes})


@functools.cache
def recipe_book() -> RecipeBook:
    """The GGUF recipes and their shared rules."""
    raw = dict(read(_FOLDER / "recipes.toml"))
    late, fallback, full = raw.pop("late"), raw.pop("fallback"), raw.pop("full_precision")["roles"]
    recipes = {key: record(Recipe, entry, f"recipes.toml, '{key}'") for key, entry in raw.items()}
    shared = {"recipes": recipes, "late": late, "fallback": fallback, "full_precision": full}
    return record(RecipeBook, shared, "recipes.toml")


@functools.cache
def quants() -> dict[str, QuantScheme]:
    """Every named quantisation by id, in the file's order. The patterns "EXL2-Nbpw" and "EXL3-Nbpw" stand at 4 bits."""
    raw = read(_FOLDER / "schemes.toml")
    found = {key: record(QuantScheme, {"id": key, **entry}, f"schemes.toml, '{key}'") for key, entry in raw.items()}
    return {(shown := _at_width(scheme, "4") if "Nbpw" in key else scheme).id: shown for key, scheme in found.items()}


def _at_width(pattern: QuantScheme, width: str) -> QuantScheme:
    short = f"{float(width):g}"
    long = f"{float(width):.1f}" if "." not in short else short
    return pattern.model_copy(
        update={
            "id": pattern.id.replace("N", long, 1),
            "name": pattern.name.replace(" N ", f" {long} "),
            "tensors": {group: fmt.replace(":N", f":{short}") for group, fmt in (pattern.tensors or {}).items()},
        }
    )


@functools.cache
def _names() -> dict[str, list[QuantScheme]]:
    """Schemes by folded name: ids first, then aliases, each in the file's order."""
    index: dict[str, list[QuantScheme]] = {}
    for scheme in quants().values():
        index.setdefault(_fold(scheme.id), []).append(scheme)
    for scheme in quants().values():
        for alias in scheme.aliases:
            schemes = index.setdefault(_fold(alias), [])
            if scheme not in schemes:
                schemes.append(scheme)
    return index


@functools.lru_cache(maxsize=4096)
def quant(name: str, container: Container | None = None) -> QuantScheme:
    """The quantisation of this name or alias. `container` decides where a name means several ("F16", "MXFP4").

    Raises CatalogError with the nearest names when there is none.
    """
    found = _names().get(_fold(name))
    if found:
        return next((scheme for scheme in found if scheme.container == container), found[0])
    match = re.fullmatch(r"(exl[23])[-_ ]?(\d+(?:\.\d+)?)\s*bpw(?:[-_ ]\w+)?", name.strip().lower())
    if match and 1 <= float(match[2]) <= 16:
        raw = read(_FOLDER / "schemes.toml")[f"{match[1].upper()}-Nbpw"]
        return _at_width(record(QuantScheme, {"id": f"{match[1].upper()}-Nbpw", **raw}, "schemes.toml"), match[2])
    raise _unknown("quantisation", name, list(quants()))


def search_quants(text: str, limit: int = 10) -> list[QuantScheme]:
    """Quantisations whose id, name or alias resembles the text, best first."""
    wanted = _fold(text)
    scores = {
        scheme.id: max(fuzz.WRatio(wanted, _fold(label)) for label in (scheme.id, scheme.name, *scheme.aliases))
        for scheme in quants().values()
    }
    best = sorted(scores, key=lambda key: -scores[key])
    return [quants()[key] for key in best if scores[key] >= 60][:limit]


@functools.cache
def kv_dtypes() -> dict[str, KvDtype]:
    """Every KV cache type by id."""
    raw = read(_FOLDER / "kv_dtypes.toml")
    return {key: record(KvDtype, {"id": key, **entry}, f"kv_dtypes.toml, '{key}'") for key, entry in raw.items()}


@functools.lru_cache(maxsize=1024)
def kv_dtype(name: str) -> KvDtype:
    """The KV cache type of this name, alias or pair ("q8_0/q5_1": keys, values).

    Raises CatalogError with the nearest names when there is none.
    """
    wanted = _fold(name)
    for known in kv_dtypes().values():
        if wanted in (_fold(known.id), *map(_fold, known.aliases)):
            return known
    keys, slash, values = name.partition("/")
    if slash and keys.strip() and values.strip():
        first, second = kv_dtype(keys), kv_dtype(values)
        if first == second:
            return first
        return first.model_copy(
            update={
                "id": f"{first.id}/{second.id}",
                "name": f"keys {first.name}, values {second.name}",
                "aliases": (),
                "value_format": second.format,
                "guess": first.guess or second.guess,
            }
        )
    raise _unknown("KV cache type", name, list(kv_dtypes()))
