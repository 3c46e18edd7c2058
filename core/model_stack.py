"""A model's layers in words and in order: what each kind is made of, and the pattern in which the kinds follow each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from core.inspect_model import short
from core.ir import Attention, Block, Mlp, ModelIR

_ATTENTION = {
    "full": "full attention",
    "sliding": "sliding-window attention",
    "chunked": "chunked attention",
    "mla": "latent attention (MLA)",
    "linear": "recurrent mixer",
}
LONGEST_PATTERN = 12  # runs


def kind_name(block: Block) -> str:
    """A kind of layer in words."""
    mlp = {"dense": "feed-forward", "moe": "experts", "none": ""}[block.mlp.kind]
    mixer = "" if block.attention.kind == "none" else _ATTENTION[block.attention.kind]
    shared = ", shared cache" if block.attention.kv_shared else ""
    return " + ".join(part for part in (f"{mixer}{shared}", mlp) if part) or "empty layer"


def kind_names(model: ModelIR) -> dict[str, str]:
    """The kinds of layers in words, by block; kinds that sound alike say in what they differ."""
    names = {block.name: kind_name(block) for block in model.blocks}
    for telling in (_width, _kv_heads, _window, _indexer):
        for name in {name for name in names.values() if list(names.values()).count(name) > 1}:
            alike = [block for block in model.blocks if names[block.name] == name]
            if len({telling(block) for block in alike}) > 1:
                names |= {block.name: ", ".join(filter(None, (name, telling(block)))) for block in alike}
    twice = {name for name in names.values() if list(names.values()).count(name) > 1}
    return {key: f"{name} ({key})" if name in twice else name for key, name in names.items()}


def _width(block: Block) -> str:
    return f"{block.mlp.intermediate:,} wide" if block.mlp.kind != "none" else ""


def _kv_heads(block: Block) -> str:
    return _plural(block.attention.kv_heads, "KV head") if block.attention.kv_heads else ""


def _window(block: Block) -> str:
    return f"window of {block.attention.window:,}" if block.attention.window else ""


def _indexer(block: Block) -> str:
    return "with an indexer" if block.attention.index_elements else ""


def _plural(count: int, word: str) -> str:
    return f"{count:,} {word}{'' if count == 1 else 's'}"


def attention_words(attention: Attention) -> str:
    """The geometry of an attention in a line; "" where a layer has none."""
    kind = attention.kind
    if kind == "none":
        return ""
    said = "Sparse attention" if attention.attended and kind == "full" else _ATTENTION[kind][0].upper() + _ATTENTION[kind][1:]
    if kind == "linear":
        return f"{said}: {attention.heads:,} heads, a state of {attention.state_elements:,} elements a sequence"
    if kind == "mla":
        return f"{said}: {attention.heads} heads, latent of {attention.kv_lora_rank} + {attention.rope_head_dim}{_chosen(attention)}"
    widths = f"{attention.head_dim}" if attention.head_dim == attention.v_head_dim else f"{attention.head_dim}/{attention.v_head_dim}"
    window = f", window of {attention.window:,} tokens" if attention.window else ""
    shared = ", reads an earlier layer's cache" if attention.kv_shared else ""
    if attention.state_elements:
        shared += f"; beside it a recurrent mixer with a state of {attention.state_elements:,} elements a sequence"
    heads = f"{_plural(attention.heads, 'head')} over {_plural(attention.kv_heads, 'KV head')}"
    return f"{said}: {heads} of {widths}{window}{_chosen(attention)}{shared}"


def _chosen(attention: Attention) -> str:
    """Of how many tokens sparse attention reads, and what scores them."""
    if not attention.attended:
        return ""
    own = f"its indexer of {_plural(attention.index_heads, 'head')}" if attention.index_heads else "an earlier layer's indexer"
    return f", attends to {attention.attended:,} tokens that {own} chose"


def mlp_words(mlp: Mlp) -> str:
    """The geometry of a feed-forward part in a line; "" where a layer has none."""
    if mlp.kind == "none":
        return ""
    gated = "gated, " if mlp.gated else ""
    if mlp.kind == "dense":
        return f"Feed-forward: {gated}{mlp.intermediate:,} wide"
    shared = f", shared {mlp.shared_intermediate:,} wide" if mlp.shared_intermediate else ""
    return f"{mlp.experts} experts, {mlp.top_k} a token: {gated}{mlp.intermediate:,} wide{shared}"


def tower_words(model: ModelIR) -> str:
    """The vision tower in a line; "" where there is none."""
    tower = model.tower
    if tower is None:
        return ""
    each = f"patches of {tower.patch} pixels" + (f", {tower.merge} × {tower.merge} to a token" if tower.merge > 1 else "")
    windows = f", {tower.windowed} of them in windows" if tower.windowed else ""
    return f"Vision tower for images: {tower.layers} layers{windows}, {tower.width:,} wide, {tower.heads} heads; {each}"


def embedding_words(model: ModelIR) -> tuple[str, str]:
    """What stands before and after the layers."""
    table = f"{model.vocab:,} tokens × {model.hidden:,}"
    return f"Embedding: {table}", f"Output head: {model.hidden:,} → {model.vocab:,}" + (
        ", tied to the embedding" if model.tied_embeddings else ""
    )


@dataclass(frozen=True, slots=True)
class Run:
    """Layers of one kind in a row. `times` counts them, `kind` is the block's name."""

    kind: str
    times: int


@dataclass(frozen=True, slots=True)
class Group:
    """A pattern of layers that repeats, from layer `first` to layer `last`."""

    times: int
    runs: tuple[Run, ...]
    first: int
    last: int


def stack(model: ModelIR) -> list[Group]:
    """The layers from first to last, folded where a pattern of kinds repeats."""
    kinds = {layer: block.name for block in model.blocks for layer in block.layers}
    runs: list[Run] = []
    for layer in range(model.layers):
        if runs and runs[-1].kind == kinds[layer]:
            runs[-1] = Run(kinds[layer], runs[-1].times + 1)
        else:
            runs.append(Run(kinds[layer], 1))
    found: list[Group] = []
    at = first = 0
    while at < len(runs):
        length, times = _pattern(runs, at)
        held = sum(run.times for run in runs[at : at + length]) * times
        found.append(Group(times, tuple(runs[at : at + length]), first, first + held - 1))
        at, first = at + length * times, first + held
    return found


def _pattern(runs: Sequence[Run], at: int) -> tuple[int, int]:
    """Length and repetitions of the pattern that covers most runs from here; one run, once, where none repeats."""
    best = (1, 1)
    for length in range(1, min(LONGEST_PATTERN, (len(runs) - at) // 2) + 1):
        times = 1
        while runs[at + times * length : at + (times + 1) * length] == runs[at : at + length]:
            times += 1
        if times > 1 and length * times > best[0] * best[1]:
            best = (length, times)
    return best


@dataclass(frozen=True, slots=True)
class Card:
    """What the diagram says of one kind of layer."""

    title: str
    layers: int
    attention: str
    mlp: str
    size: str  # how many parameters a layer has, in words


def cards(model: ModelIR) -> dict[str, Card]:
    """The kinds of layers, by block."""
    sizes: dict[str, int] = {}
    names = kind_names(model)
    for tensor in model.tensors:
        if tensor.block is not None and tensor.group != "mtp":
            sizes[tensor.block] = sizes.get(tensor.block, 0) + tensor.elements
    return {
        block.name: Card(
            names[block.name], len(block.layers), attention_words(block.attention), mlp_words(block.mlp),
            _size(block, sizes.get(block.name, 0)),
        )
        for block in model.blocks
    }  # fmt: skip


def _size(block: Block, parameters: int) -> str:
    if block.passes == 1:
        return f"{short(parameters // len(block.layers))} parameters" + (" each" if len(block.layers) > 1 else "")
    held = round(len(block.layers) / block.passes)
    return f"which share {held} × {short(parameters // held)} parameters, held once and read by each"
