"""Families whose layers route tokens to experts and that share no layout with a dense family of their maker."""

from __future__ import annotations

from collections.abc import Mapping

from core.ir_family import SPARSE_BLOCK, Family

# A table is read by its rows: the formatter would give every word a line.
# fmt: off
EXPERTS: Mapping[str, Family] = {
    "gpt_oss": Family(
        qkv_bias="attention_bias=True", out_bias="attention_bias=True", sinks=True, window="even", moe="all",
        router_bias=True, expert_bias=True, names={"ffn_gate_inp": "mlp.router"},
        defaults={"head_dim": 64, "sliding_window": 128},
    ),
    "minimax_m2": Family(qk_norm="use_qk_norm=True", qk_norm_over="all", moe="all", correction_bias=True, names=SPARSE_BLOCK),
    "llama4_text": Family(
        qkv_bias="attention_bias", out_bias="attention_bias", window="chunked", moe="interleaved",
        defaults={"attention_chunk_size": 8192, "interleave_moe_layer_step": 1, "head_dim": 128},
        names={
            "ffn_gate": "feed_forward.gate_proj", "ffn_up": "feed_forward.up_proj",
            "ffn_down": "feed_forward.down_proj",
            "ffn_gate_inp": "feed_forward.router", "ffn_gate_exps": "feed_forward.experts.gate_proj",
            "ffn_up_exps": "feed_forward.experts.up_proj", "ffn_down_exps": "feed_forward.experts.down_proj",
            "ffn_gate_shexp": "feed_forward.shared_expert.gate_proj",
            "ffn_up_shexp": "feed_forward.shared_expert.up_proj",
            "ffn_down_shexp": "feed_forward.shared_expert.down_proj",
        },
    ),
    # Three layers see a window, then one sees everything; a matrix of its own gates what attention gives.
    "afmoe": Family(
        layout="sandwich", qk_norm=True, gate_beside=True, window="pattern", moe="after_dense", correction_bias=True,
        defaults={"sliding_window_pattern": 4, "n_shared_experts": 1},
        names={
            "ffn_norm": "pre_mlp_layernorm", "post_ffw_norm": "post_mlp_layernorm", "attn_gate": "self_attn.gate_proj",
            "ffn_gate_inp": "mlp.router.gate", "exp_probs_b": "mlp.expert_bias",
        },
    ),
    "bailing_moe": Family(
        qkv="fused", qkv_bias="use_qkv_bias", out_bias="use_bias", mlp_bias="use_bias", qk_norm="use_qk_norm", moe="after_dense",
        correction_bias="moe_router_enable_expert_bias", mtp="glm",
        names={
            "token_embd": "model.word_embeddings", "attn_qkv": "attention.query_key_value", "attn_output": "attention.dense",
            "attn_q_norm": "attention.query_layernorm", "attn_k_norm": "attention.key_layernorm", "exp_probs_b": "mlp.gate.expert_bias",
        },
    ),
    "minimax_m3": Family(
        qk_norm="use_qk_norm=True", moe="after_dense", correction_bias=True, indexer="blocks",
        names={
            **SPARSE_BLOCK, "indexer_q": "self_attn.index_q_proj", "indexer_k": "self_attn.index_k_proj",
            "indexer_q_norm": "self_attn.index_q_norm", "indexer_k_norm": "self_attn.index_k_norm",
            **{f"ffn_{part}_shexp": f"block_sparse_moe.shared_experts.{part}_proj" for part in ("gate", "up", "down")},
        },
    ),
}
# fmt: on
