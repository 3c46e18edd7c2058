"""The model as the estimator sees it: blocks with counts, tensors with shapes, in order of execution.

Built from `config.json` fields by `core.ir_build.build_ir` (catalog records and Hub configs use the same field names).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from core.ir_tower import Tower

Group = Literal["embedding", "attention", "mlp", "router", "experts", "shared_experts", "norm", "head", "mtp", "vision"]
# How tensor parallelism cuts a tensor: by query heads, by KV heads (at least one head a rank), by the MLP's inner width,
# by vocabulary rows, by expert, or not at all.
Shard = Literal["heads", "kv_heads", "columns", "vocab", "experts", "replicated"]
# "linear" is any recurrent mixer with a state of constant size (gated delta net, Mamba2, short convolution); "none" is
# a layer without a mixer.
AttentionKind = Literal["full", "sliding", "chunked", "mla", "linear", "none"]


@dataclass(frozen=True, slots=True)
class Tensor:
    """One stored tensor. Expert tensors are stacked: shape (experts, out, in)."""

    name: str  # Hugging Face name, e.g. "model.layers.0.self_attn.q_proj.weight"
    shape: tuple[int, ...]  # as stored: (out, in) for a linear layer
    group: Group
    role: str  # llama.cpp's tensor role, e.g. "attn_q", "attn_v", "ffn_down_exps", "token_embd": what quantisation recipes name
    shard: Shard
    layer: int | None = None
    block: str | None = None  # name of the Block it belongs to

    @property
    def elements(self) -> int:
        n = 1
        for size in self.shape:
            n *= size
        return n


@dataclass(frozen=True, slots=True)
class Attention:
    """Geometry of one kind of attention layer. `window` is in tokens; MLA's latent sizes are 0 elsewhere."""

    kind: AttentionKind
    heads: int
    kv_heads: int
    head_dim: int  # of queries and keys (MLA: nope + rope)
    v_head_dim: int
    window: int | None = None
    kv_lora_rank: int = 0
    q_lora_rank: int = 0
    rope_head_dim: int = 0
    # Elements of one sequence's recurrent state in one such layer, before any split: heads x key x value, and the
    # convolution's tail; of a mixer that works beside attention too. "linear" layers have `heads` value heads, no KV heads
    # and no head sizes.
    state_elements: int = 0
    state_bytes_each: float = 4.0  # assumption: engines keep the state in FP32 unless told otherwise
    # The layer attends to the cache of an earlier layer of its kind: it has no key and value weights and adds no elements.
    kv_shared: bool = False
    index_elements: int = 0  # elements a token adds for the indexer of sparse attention, beside the cache itself
    index_heads: int = 0  # of the indexer, which scores every cached token with each
    attended: int = 0  # tokens that an indexer, the layer's own or an earlier one's, leaves to attend to; 0: all

    @property
    def kv_elements_per_token(self) -> int:
        """Elements one token adds to this layer's cache, before any split: K and V heads, or MLA's latent and rope key."""
        if self.kv_shared:
            return 0
        if self.kind == "mla":
            return self.kv_lora_rank + self.rope_head_dim + self.index_elements
        return self.kv_heads * (self.head_dim + self.v_head_dim) + self.index_elements


@dataclass(frozen=True, slots=True)
class Mlp:
    """Geometry of one kind of feed-forward layer. `intermediate` is one expert's width when `experts` > 0."""

    kind: Literal["dense", "moe", "none"]  # "none": a layer without a feed-forward part
    gated: bool
    intermediate: int
    experts: int = 0
    top_k: int = 0
    shared_intermediate: int = 0


@dataclass(frozen=True, slots=True)
class Block:
    """All layers of one kind: same attention, same feed-forward part."""

    name: str  # e.g. "full+dense", "sliding+moe"
    layers: tuple[int, ...]
    attention: Attention
    mlp: Mlp
    passes: float = 1.0  # how often a step passes through its weights: more where layers share them


@dataclass(frozen=True, slots=True)
class ModelIR:
    """A model's architecture. `tensors` are in order of execution; the MTP module's, if any, are in group "mtp"."""

    id: str
    model_type: str
    hidden: int
    vocab: int
    layers: int
    blocks: tuple[Block, ...]
    tensors: tuple[Tensor, ...]
    tied_embeddings: bool
    max_context: int
    native_dtype: str = "bfloat16"
    native_quant: str | None = None  # catalog quant id of the weights as published, None for native_dtype
    assumed: Mapping[str, str] = field(default_factory=dict)  # field -> what was assumed because the config does not say
    # Format and bytes of each tensor, in their order, as the header of the published file has them, and the catalog id of
    # the quantisation that this is. Empty where no header was read.
    stored: tuple[tuple[str, int], ...] = ()
    stored_as: str | None = None
    tower: Tower | None = None  # of vision, in front of the language model; its tensors are its own

    @property
    def parameters(self) -> int:
        """Parameters of the language model without the MTP module; tied embeddings count once."""
        return sum(t.elements for t in self.tensors if t.group != "mtp")

    @property
    def mtp_parameters(self) -> int:
        """Parameters of the multi-token-prediction module, 0 where there is none."""
        return sum(t.elements for t in self.tensors if t.group == "mtp")

    @property
    def active_parameters(self) -> int:
        """Parameters that one token passes through: all but the experts not chosen. The embedding table counts."""
        return self.parameters - sum(
            t.elements * (t.shape[0] - self.block(t.block).mlp.top_k) // t.shape[0] for t in self.tensors if t.group == "experts"
        )

    def block(self, name: str | None) -> Block:
        for block in self.blocks:
            if block.name == name:
                return block
        raise KeyError(name)
