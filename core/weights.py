"""The exact bytes of a model's weights: one storage format per tensor, and the sums by block, group, role and shard.

A safetensors, MLX or ExLlama scheme names formats by tensor group. A GGUF file type is a recipe
(data/catalog/quants/recipes.toml) that looks at the tensor's role, its layer and the model's geometry.
Verified by published sizes (data/golden/gguf_sizes.json): all types of the llama.cpp README to the last digit, which
covers attn_v's bumps by grouped queries, ffn_down's by layer, output and embedding rules; fallbacks of odd row lengths
and tied embeddings by small Qwen and Gemma models; the 80-layer rule by Llama 3.1 70B; MLA and shared experts by
DeepSeek R1. Not verified by a size: Falcon's and the 8-expert rules, TQ1_0, TQ2_0, fused QKV.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from core.catalog.files import source
from core.catalog.quants import QuantScheme, Recipe, RecipeBook, format_named, quant, recipe_book
from core.formulas.weights import stored_bytes
from core.ir import ModelIR, Tensor
from core.quantity import Quantity, leaf

# Embedding and head that a multi-token-prediction module repeats.
_MTP_COPIES = ("token_embd", "output", "nextn.embed_tokens", "nextn.shared_head_head")
_LINEAR = ("attention", "mlp", "experts", "shared_experts")


@dataclass(frozen=True, slots=True)
class WeightRow:
    """Tensors that are stored and split alike. `layers` counts the layers that hold one; `bytes` is exact."""

    block: str | None
    group: str
    role: str
    shard: str
    format: str
    layers: int
    elements: int
    bytes: int


@dataclass(frozen=True, slots=True)
class WeightTable:
    """All weights of one model in one quantisation."""

    model: str
    scheme: QuantScheme
    rows: tuple[WeightRow, ...]
    from_header: bool = False  # the bytes are those of the published file's header

    @property
    def bytes(self) -> float:
        """Bytes of the model without its multi-token-prediction module."""
        return float(sum(row.bytes for row in self.rows if row.group != "mtp"))

    @property
    def elements(self) -> int:
        """Stored parameters without the multi-token-prediction module."""
        return sum(row.elements for row in self.rows if row.group != "mtp")

    @property
    def bits_per_weight(self) -> float:
        """Mean bits a parameter takes, scales counted."""
        return self.bytes * 8 / self.elements

    def where(
        self,
        *,
        group: str | Iterable[str] | None = None,
        block: str | Iterable[str] | None = None,
        shard: str | Iterable[str] | None = None,
        role: str | Iterable[str] | None = None,
    ) -> float:
        """Bytes of the rows that match all given fields (a name or several); "mtp" counts only if `group` names it."""
        wanted = {
            field: {names} if isinstance(names, str) else set(names)
            for field, names in (("group", group), ("block", block), ("shard", shard), ("role", role))
            if names is not None
        }
        return float(
            sum(
                row.bytes
                for row in self.rows
                if (row.group != "mtp" or group is not None) and all(getattr(row, field) in names for field, names in wanted.items())
            )
        )


@functools.lru_cache(maxsize=65536)
def _bytes(shape: tuple[int, ...], format_name: str) -> int:
    return format_named(format_name).stored_bytes(shape)


def tensor_bytes(tensor: Tensor, format_name: str) -> int:
    """Exact bytes of a tensor in this format, with the scales of its blocks, rows and matrices."""
    return _bytes(tensor.shape, format_name)


def tensor_formats(ir: ModelIR, scheme: QuantScheme) -> list[str]:
    """The storage format of each tensor of `ir`, in its order."""
    if scheme.recipe is not None:
        book = recipe_book()
        return _gguf_formats(ir, book, book.recipes[scheme.recipe])
    rule = scheme.tensors or {}
    other, linear = rule["other"], rule["linear"]
    beside = rule.get("beside_experts", linear) if any(t.group == "experts" for t in ir.tensors) else linear

    def chosen(tensor: Tensor) -> str:
        # A convolution's kernel is no linear layer: no quantiser of linear layers touches it.
        if not _is_matrix(tensor) or "conv" in tensor.role:
            return other
        if tensor.group == "mtp":
            if tensor.role in _MTP_COPIES:
                return other
            return linear if tensor.role.endswith("_exps") else beside
        usual = linear if tensor.group == "experts" else beside if tensor.group in _LINEAR else other
        return rule.get(tensor.group, usual)

    return [chosen(tensor) for tensor in ir.tensors]


def _is_matrix(tensor: Tensor) -> bool:
    """Whether llama.cpp and the others see two dimensions: (1, n) and (experts, n) biases are vectors."""
    shape = tensor.shape
    if tensor.role.endswith("_bias"):
        return False
    return len(shape) > 1 and (len(shape) > 2 or shape[0] > 1)


def _gguf_formats(ir: ModelIR, book: RecipeBook, recipe: Recipe) -> list[str]:
    holds = _conditions(ir)
    tied = ir.tied_embeddings or not any(t.role == "output" for t in ir.tensors)
    value_layers = sum(t.role in ("attn_v", "attn_qkv", "attn_kv_b") and _is_matrix(t) for t in ir.tensors)
    seen_values = 0
    found = []
    for tensor in ir.tensors:
        role = tensor.role
        if not _is_matrix(tensor) or _full_precision(role, book.full_precision):
            found.append("f32")
            continue
        index, count = ir.layers - 1 if tensor.layer is None else tensor.layer, ir.layers
        if role == "attn_v":  # counted among layers that have one, not by the layer's number
            index, count, seen_values = seen_values, value_layers, seen_values + 1
        if role == "output" or (role == "token_embd" and tied):
            chosen = "q8_0" if holds("falcon", 0, 1) and recipe.output == "q6_k" else recipe.output
        elif role in ("token_embd", "per_layer_token_embd"):
            chosen = recipe.token_embd or recipe.base
        else:
            chosen = recipe.base
            for rule in recipe.rules:
                if _matches(rule.role, role) and all(holds(c, index, count) for c in rule.when):
                    chosen = rule.format
                    break
            if recipe.late:
                for late in book.late.get(role, ()):
                    if all(holds(c, index, count) for c in late.when) and (not late.chosen or chosen in late.chosen):
                        chosen = late.format
        found.append(_that_fits(chosen, tensor.shape[-1], book.fallback))
    return found


def _matches(wanted: str, role: str) -> bool:
    return wanted in ("*", role) or (wanted.startswith("ffn_") and role.startswith(wanted + "_"))


@functools.lru_cache(maxsize=4096)
def _full_precision(role: str, roles: tuple[str, ...]) -> bool:
    return any(
        role == known or (known.endswith("*") and role.startswith(known[:-1])) or (known.startswith("*") and role.endswith(known[1:]))
        for known in roles
    )


def _that_fits(chosen: str, row: int, fallback: Mapping[str, str]) -> str:
    if format_named(chosen).fits(row):
        return chosen
    second = fallback.get(chosen, "f16")
    return second if format_named(second).fits(row) else "f16"


def _conditions(ir: ModelIR) -> Callable[[str, int, int], bool]:
    """A test of a recipe's condition for layer `i` of `n` of this model."""
    experts = max((block.mlp.experts for block in ir.blocks), default=0)
    attention = ir.blocks[0].attention if ir.blocks else None
    grouping = attention.heads // max(1, attention.kv_heads) if attention else 0
    fixed = {
        "gqa4": grouping >= 4,
        "experts": experts > 0,
        "experts4": experts >= 4,
        "experts8": experts == 8,
        "layers80": ir.layers == 80 and grouping > 1,
        "falcon": ir.model_type == "falcon",
    }

    def by_layer(name: str, i: int, n: int) -> bool:
        first, last = i < n // 8, i >= 7 * n // 8
        if name == "more_bits":
            return first or last or (i - n // 8) % 3 == 2
        if name == "middle":
            return not first and not last
        if name == "first_eighth":
            return first
        if name == "first_sixteenth":
            return i < n // 16
        return i < int(name.removeprefix("first_"))

    def holds(condition: str, i: int, n: int) -> bool:
        name = condition.removeprefix("!")
        truth = fixed[name] if name in fixed else by_layer(name, i, n)
        return truth != condition.startswith("!")

    return holds


def stored_tensors(ir: ModelIR, scheme: QuantScheme) -> tuple[tuple[str, int], ...]:
    """Format and exact bytes of each tensor of `ir`, in its order."""
    if scheme.id == ir.stored_as:  # what the published file's header says goes before what the scheme would make
        return ir.stored
    return tuple((name, tensor_bytes(tensor, name)) for tensor, name in zip(ir.tensors, tensor_formats(ir, scheme), strict=True))


class _Same:
    """A model as a cache key: the same object, not an equal one (an IR holds a mapping and has no hash)."""

    __slots__ = ("ir",)

    def __init__(self, ir: ModelIR) -> None:
        self.ir = ir

    def __hash__(self) -> int:
        return id(self.ir)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.ir is self.ir


@functools.lru_cache(maxsize=256)
def _table(key: _Same, scheme: str) -> WeightTable:
    ir, found = key.ir, quant(scheme)
    exact, stored = found.id == ir.stored_as, stored_tensors(ir, found)
    merged: dict[tuple[str | None, str, str, str, str], list[tuple[Tensor, int]]] = {}
    for tensor, (name, size) in zip(ir.tensors, stored, strict=True):
        merged.setdefault((tensor.block, tensor.group, tensor.role, tensor.shard, name), []).append((tensor, size))
    rows = tuple(
        WeightRow(
            *same,
            layers=len({tensor.layer for tensor, _ in tensors}),
            elements=sum(tensor.elements for tensor, _ in tensors),
            bytes=sum(size for _, size in tensors),
        )
        for same, tensors in merged.items()
    )
    return WeightTable(ir.id, found, rows, exact)


def weight_table(ir: ModelIR, quant_id: str) -> WeightTable:
    """The weights of `ir` in a quantisation (id or alias), tensors that are alike merged; kept for the next call.

    Raises CatalogError for an unknown quantisation.
    """
    return _table(_Same(ir), quant(quant_id).id)


def weight_parts(table: WeightTable) -> list[Quantity]:
    """Each row's bytes as a cited quantity (elements from the model, bits from the format), for `core.quantity.total`.

    The multi-token-prediction module's rows are left out, as in `WeightTable.bytes`.
    """
    shapes = source("tensor-shapes", note=table.model)
    parts = []
    for row in table.rows:
        if row.group == "mtp":
            continue
        stored = format_named(row.format)
        entry = source(stored.source)
        note = f"{stored.title}; {table.scheme.name}" + (f"; {stored.note}" if stored.note else "")
        cited = source(stored.source, note=note, guess=stored.guess or entry.guess or table.scheme.cite().guess)
        if table.from_header:
            cited = source("model-files", note=f"bytes in the header of {table.model}, scales included; {stored.title}")
        label = row.role if row.block is None else f"{row.role} of {row.block}"
        parts.append(
            stored_bytes(
                elements=leaf(f"elements of {label}", float(row.elements), "", "model_config", shapes),
                bits=leaf(
                    f"bits in {row.format}", row.bytes * 8 / row.elements, "bit", "model_config" if table.from_header else "constant", cited
                ),
                named=f"{label} ({row.format})",
            )
        )
    return parts
