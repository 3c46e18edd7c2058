"""Zamba 2: Mamba-2 layers, and one or two transformer blocks whose weights serve at many places among them.

A place is counted as a layer of its own, in front of the Mamba layer it belongs to: it has a cache, but only the first
one that a block serves at holds its weights.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.ir import Attention, Mlp
from core.ir_fields import Fields

if TYPE_CHECKING:
    from core.ir_write import Writer


def places(fields: Fields) -> list[int]:
    """The layers of the config in front of which a shared block works. Raises ScenarioError where none is named."""
    listed = fields.get("layers_block_type")
    found = [n for n, kind in enumerate(listed) if kind == "hybrid"] if isinstance(listed, list) else fields.indices("hybrid_layer_ids")
    if not found:
        raise fields.wrong("hybrid_layer_ids", found, "a list of the layers with a shared block")
    return found


def stacked(fields: Fields, layers: int) -> list[tuple[int, bool]]:
    """Every counted layer as the config's layer and whether it is a place of a shared block."""
    chosen = set(places(fields))
    if len(chosen) >= layers or max(chosen) >= layers:
        raise fields.wrong("hybrid_layer_ids", sorted(chosen), f"a part of the {layers} layers")
    fields.assumed["num_hidden_layers"] = (
        f"{layers} layers, and before them {len(chosen)} places of {blocks(fields)} shared block(s), which count as layers here"
    )
    return [part for layer in range(layers) for part in (((layer, True), (layer, False)) if layer in chosen else ((layer, False),))]


def blocks(fields: Fields) -> int:
    return fields.size("num_mem_blocks", 1)


def write_shared(to: Writer, a: Attention, m: Mlp, layer: int) -> None:
    """The block at a place, where its weights have not been written yet: it reads hidden state and embedding side by side."""
    place = places(to.fields).index(layer)
    if place >= blocks(to.fields):
        return
    _, number, block, group = to.place
    to.place = (f"model.layers.{layer}.shared_transformer.", number, block, group)
    hidden, width = to.shape.hidden, a.heads * a.head_dim
    to.norm("attn_norm", 2 * hidden)
    for role in ("attn_q", "attn_k", "attn_v"):
        to.add(role, (width, 2 * hidden), "attention", "heads" if role == "attn_q" else "kv_heads")
    to.add("attn_output", (hidden, width), "attention", "heads")
    to.norm("ffn_norm", hidden)
    to.add("ffn_up", (2 * m.intermediate, hidden), "mlp", "columns")
    to.add("ffn_down", (hidden, m.intermediate), "mlp", "columns")


def write_joint(to: Writer, layer: int, width: int, intermediate: int) -> None:
    """What joins a place to its Mamba layer, and the low-rank changes to the shared block that only this place has."""
    place, hidden, rank = places(to.fields).index(layer), to.shape.hidden, to.fields.size("adapter_rank", 128)
    owner = places(to.fields)[place % blocks(to.fields)]
    _, number, block, group = to.place
    to.place = (f"model.layers.{layer}.", number, block, group)
    to.add("shared_out", (hidden, hidden), "attention", "replicated")
    to.place = (f"model.layers.{owner}.shared_transformer.", number, block, group)
    adapted = [("feed_forward.gate_up_proj", hidden, 2 * intermediate)]
    if to.fields.switch("use_shared_attention_adapter"):
        adapted += [(f"self_attn.linear_{part}", 2 * hidden, width) for part in "qkv"]
    for name, across, out in adapted:
        for end, shape in enumerate(((rank, across), (out, rank))):
            to.names["shared_adapter"] = f"{name}_adapter_list.{place}.{end}"
            to.add("shared_adapter", shape, "attention", "replicated")
    to.place = (f"model.layers.{layer}.mamba_decoder.", number, block, group)
