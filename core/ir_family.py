"""What a family of models can differ in: biases, norms, mixers, experts, tensor names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

# A switch that is fixed for the family, or the config field that holds it ("name" or "name=default").
Switch = bool | str


@dataclass(frozen=True, slots=True)
class Family:
    """The layout of one model type. `names` maps a tensor role to its Hugging Face name, on top of the llama names."""

    tied: bool = False  # tie_word_embeddings when the config is silent
    defaults: Mapping[str, Any] = field(default_factory=dict)  # other fields when the config is silent
    qkv: Literal["split", "fused", "narrow", "mla", "compressed"] = "split"
    qkv_bias: Switch = False
    out_bias: Switch = False
    mlp_bias: Switch = False
    head_bias: Switch = False
    gated: bool = True
    fused_gate: bool = False  # gate and up stored as one tensor
    norm: Literal["rms", "layer", "layer_no_bias", "none"] = "rms"
    # pre: before attention and before the MLP; parallel: one norm feeds both; post: after each; sandwich: both
    layout: Literal["pre", "parallel", "post", "sandwich"] = "pre"
    qk_norm: Switch = False
    qk_norm_over: Literal["head", "all"] = "head"  # one vector a head's width, or one over all heads together
    sub_norms: bool = False
    sinks: bool = False
    positions: bool = False  # learned position embeddings
    window: Literal["none", "plain", "qwen", "even", "pattern", "chunked", "mimo_v2", "step", "gemma4"] = "none"
    # What takes attention's place in some layers, or works beside it in each.
    mixer: Literal["no", "gated_delta", "mamba", "mamba2", "kda", "short_conv", "lightning", "rwkv", "rg_lru"] = "no"
    mixer_beside: bool = False
    mixer_norm: Switch = True  # of Mamba-2's output
    attends: bool = True  # false: no layer has attention
    attn_gate: Switch = False  # query heads bring the gate of their output
    gate_beside: Switch = False  # the gate of their output is a matrix of its own
    # Sparse attention, and what its scorer chooses: DeepSeek's single tokens, MiniMax's blocks of them.
    indexer: Literal["no", "tokens", "blocks"] = "no"
    # named: in all layers where the config counts experts, else in none
    moe: Literal["no", "all", "named", "after_dense", "step", "interleaved", "span", "period", "shortcut", "listed"] = "no"
    router_bias: Switch = False
    correction_bias: Switch = False  # a vector that only steers the choice of experts
    expert_bias: bool = False
    shared_gate: bool = False
    mtp: Literal["no", "deepseek", "glm", "v4", "mimo", "qwen", "nemotron", "step"] = "no"
    prefix: str = "model.layers.{i}."
    names: Mapping[str, str] = field(default_factory=dict)


LLAMA_NAMES: Mapping[str, str] = {
    "token_embd": "model.embed_tokens",
    "position_embd": "model.embed_positions",
    "token_embd_norm": "model.embed_layernorm",
    "output_norm": "model.norm",
    "output": "lm_head",
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_qkv": "self_attn.qkv_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "attn_sinks": "self_attn.sinks",
    "attn_sub_norm": "self_attn.attn_sub_norm",
    "attn_output": "self_attn.o_proj",
    "attn_gate": "self_attn.g_proj",
    "attn_q_a": "self_attn.q_a_proj",
    "attn_q_a_norm": "self_attn.q_a_layernorm",
    "attn_q_b": "self_attn.q_b_proj",
    "attn_kv_a_mqa": "self_attn.kv_a_proj_with_mqa",
    "attn_kv_a_norm": "self_attn.kv_a_layernorm",
    "attn_kv_b": "self_attn.kv_b_proj",
    "post_attention_norm": "post_attention_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "post_ffw_norm": "post_feedforward_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
    "ffn_sub_norm": "mlp.ffn_sub_norm",
    "ffn_gate_inp": "mlp.gate",
    "ffn_gate_exps": "mlp.experts.gate_proj",
    "ffn_up_exps": "mlp.experts.up_proj",
    "ffn_down_exps": "mlp.experts.down_proj",
    "exp_probs_b": "mlp.gate.e_score_correction_bias",
    "ffn_gate_inp_shexp": "mlp.shared_expert_gate",
    "ffn_gate_shexp": "mlp.shared_experts.gate_proj",
    "ffn_up_shexp": "mlp.shared_experts.up_proj",
    "ffn_down_shexp": "mlp.shared_experts.down_proj",
    "indexer_attn_q_b": "self_attn.indexer.wq_b",
    "indexer_attn_k": "self_attn.indexer.wk",
    "indexer_k_norm": "self_attn.indexer.k_norm",
    "indexer_proj": "self_attn.indexer.weights_proj",
}
# Experts as Mixtral's code stores them.
SPARSE_BLOCK: Mapping[str, str] = {
    "ffn_gate_inp": "block_sparse_moe.gate",
    "ffn_gate_exps": "block_sparse_moe.experts.w1",
    "ffn_down_exps": "block_sparse_moe.experts.w2",
    "ffn_up_exps": "block_sparse_moe.experts.w3",
    "exp_probs_b": "block_sparse_moe.e_score_correction_bias",
}
