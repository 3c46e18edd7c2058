"""What a model keeps of the tokens it has seen: bytes by type of cache, by kind of layer, layer by layer, and by context."""

from __future__ import annotations

import itertools
from typing import Any

from core.catalog.files import source
from core.catalog.quants import kv_dtype
from core.formulas.kv_cache import kv_bytes, tokens_held
from core.formulas.ops import state_bytes
from core.inspect_model import Row
from core.ir import Block, ModelIR
from core.machine import user
from core.model_stack import kind_names
from core.plan import NO_WINDOW
from core.quantity import Quantity, leaf, total, value
from core.units import GIB

CACHES = ("f16", "fp8", "q8_0", "q4_0")  # types that are compared


def cache_per_token(model: ModelIR, kind: str) -> Quantity:
    """Bytes that a token adds to the cache of keys and values before any split; sliding layers stop growing at their window."""
    return _cache(model, kind, 1.0, f"KV cache of a token, {kv_dtype(kind).name}")


def cache_of_sequence(model: ModelIR, kind: str, tokens: float) -> Quantity:
    """Bytes of one sequence's cache and recurrent state at a context of so many tokens, before any split or block."""
    return _cache(model, kind, tokens, f"cache of {tokens:,.0f} tokens, {kv_dtype(kind).name}", state=True)


def _cache(model: ModelIR, kind: str, tokens: float, name: str, *, state: bool = False) -> Quantity:
    names = kind_names(model)
    parts = [part for block in model.blocks if value(part := _block_cache(model, block, kind, tokens, names[block.name])) > 0]
    if state:
        parts += [_block_state(model, block, names[block.name]) for block in model.blocks if block.attention.state_elements]
    found: Quantity = total(parts, name) if parts else leaf(name, 0.0, "B", "model_config", source("tensor-shapes", note=model.id))
    return found


def _block_cache(model: ModelIR, block: Block, kind: str, tokens: float, name: str) -> Any:
    cited = source("tensor-shapes", note=model.id)

    def config(what: str, amount: float, unit: str = "") -> Quantity:
        return leaf(what, float(amount), unit, "model_config", cited)

    asked = user("context", tokens, "tok")
    attention = block.attention
    window = config("window", attention.window, "tok") if attention.window else config("no window", NO_WINDOW, "tok")
    one = leaf("not split", 1.0, "", "constant", source("nameplate"))
    held = tokens_held(context=asked, window=window, extra=0.0, block=1.0, named="tokens held")
    elements = config("cache elements of a token in one layer", attention.kv_elements_per_token)
    layers = config("layers of this kind", len(block.layers))
    return kv_bytes(tokens=held, sequences=one, elements=elements, element_size=kv_dtype(kind).cited, layers=layers, split=one, named=name)


def _block_state(model: ModelIR, block: Block, name: str) -> Any:
    cited = source("tensor-shapes", note=model.id)
    size = leaf("bytes of a state's element", block.attention.state_bytes_each, "B", "assumption",
                source("nameplate", note="engines keep the state in FP32 unless told otherwise"))  # fmt: skip
    return state_bytes(
        sequences=leaf("sequences", 1.0, "", "constant", source("nameplate")),
        state=leaf("state of one layer", float(block.attention.state_elements), "", "model_config", cited),
        element_size=size, layers=leaf("layers of this kind", float(len(block.layers)), "", "model_config", cited),
        named=f"state of {name}",
    )  # fmt: skip


def held_rows(model: ModelIR, kind: str, tokens: int) -> list[Row]:
    """Layer by layer: what its cache holds of each token, of how many, and the bytes at a context of `tokens`."""
    size, names = kv_dtype(kind).bytes_per_element, kind_names(model)
    rows: list[Row] = []
    for block in model.blocks:
        attention = block.attention
        kept = 0 if attention.kind in ("linear", "none") or attention.kv_shared else min(tokens, attention.window or tokens)
        amount = kept * attention.kv_elements_per_token * size + attention.state_elements * attention.state_bytes_each
        rows += [
            {"Layer": layer, "Kind of layer": names[block.name], "Holds": _holds(block), "Tokens": kept,
             "Window": attention.window, "Bytes a token": attention.kv_elements_per_token * size, "MiB": amount / 2.0**20}
            for layer in block.layers
        ]  # fmt: skip
    return sorted(rows, key=lambda row: row["Layer"])


def kind_rows(model: ModelIR, kind: str, tokens: int) -> list[Row]:
    """The same summed by kind of layer, with a total."""
    rows, names = held_rows(model, kind, tokens), kind_names(model)
    found = []
    for block in model.blocks:
        own = [row for row in rows if row["Kind of layer"] == names[block.name]]
        found.append({
            "Kind of layer": names[block.name], "Layers": len(own), "Which": ranges(block.layers), "Holds": own[0]["Holds"],
            "Tokens": own[0]["Tokens"], "Bytes a token": sum(row["Bytes a token"] for row in own), "MiB": sum(row["MiB"] for row in own),
        })  # fmt: skip
    sums = {name: sum(row[name] for row in found) for name in ("Layers", "Bytes a token", "MiB")}
    return [*found, {"Kind of layer": "Total", "Which": "", "Holds": "", "Tokens": None, **sums}]


def _holds(block: Block) -> str:
    a = block.attention
    if a.kind == "none":
        return "nothing"
    if a.kind == "linear":
        return f"a state of {a.state_elements:,} elements, whatever the context"
    if a.kv_shared:
        return "nothing of its own: it reads an earlier layer's cache"
    index = f" + {a.index_elements} for the indexer" if a.index_elements else ""
    if a.kind == "mla":
        return f"a latent of {a.kv_lora_rank} and a rotary key of {a.rope_head_dim}{index}"
    widths = f"2 × {a.head_dim}" if a.head_dim == a.v_head_dim else f"({a.head_dim} + {a.v_head_dim})"
    state = f", and a state of {a.state_elements:,} elements, whatever the context" if a.state_elements else ""
    return f"{a.kv_heads} heads × {widths}{index}{state}"


def ranges(layers: tuple[int, ...]) -> str:
    """Layer numbers, runs folded: "0–4, 6–10"; an even step as "5, 11, … 59"."""
    steps = {b - a for a, b in itertools.pairwise(layers)}
    if len(layers) > 3 and len(steps) == 1 and steps != {1}:
        return f"{layers[0]}, {layers[1]}, … {layers[-1]}"
    runs: list[list[int]] = []
    for layer in layers:
        if runs and runs[-1][1] == layer - 1:
            runs[-1][1] = layer
        else:
            runs.append([layer, layer])
    return ", ".join(f"{a}" if a == b else f"{a}–{b}" for a, b in runs)


def growth_rows(model: ModelIR, kind: str) -> list[Row]:
    """Bytes of one sequence's cache by kind of layer, at doubling contexts up to the model's longest."""
    return [
        {"context": tokens, "label": _short(tokens), "kind": row["Kind of layer"], "GiB": row["MiB"] * 2.0**20 / GIB}
        for tokens in contexts(model)
        for row in kind_rows(model, kind, tokens)[:-1]
        if row["MiB"] > 0
    ]


def _short(tokens: int) -> str:
    return f"{tokens / 2**20:.4g}M" if tokens >= 2**20 else f"{tokens / 1024:.4g}k"


def type_rows(model: ModelIR, tokens: int) -> list[Row]:
    """One sequence of `tokens`, as a cited number, and what one token more adds, in bytes, for the usual types of cache."""
    return [
        {"type": kv_dtype(kind).name, "sequence": cache_of_sequence(model, kind, tokens), "more": added(model, kind, tokens)}
        for kind in CACHES
    ]


def added(model: ModelIR, kind: str, tokens: int) -> float:
    """Bytes that one token more adds to a sequence of `tokens`: nothing in layers whose window is full."""
    return float(value(cache_of_sequence(model, kind, tokens + 1)) - value(cache_of_sequence(model, kind, tokens)))


def past_windows(model: ModelIR, kind: str) -> float | None:
    """Bytes that a token adds once all windows are full; None where no layer has one."""
    windows = [block.attention.window for block in model.blocks if block.attention.window]
    return added(model, kind, max(windows)) if windows else None


def contexts(model: ModelIR) -> list[int]:
    """Contexts to choose from: doubling from 1,024 up to the model's longest."""
    longest = max(model.max_context, 1024)
    return [*(1024 * 2**n for n in range(28) if 1024 * 2**n < longest), longest]


def usual_context(model: ModelIR) -> int:
    """8,192 tokens, or the model's longest."""
    return min((n for n in contexts(model) if n >= 8192), default=contexts(model)[-1])
