"""How each supported `model_type` lays out its layers: biases, norms, names, defaults that its config leaves unsaid.

One entry a family. What differs between two models of one family stands in their configs, not here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from core.ir_families_experts import EXPERTS
from core.ir_families_recurrent import RECURRENT, mamba2_names
from core.ir_family import LLAMA_NAMES, SPARSE_BLOCK, Family

# A table is read by its rows: the formatter would give every word a line.
# fmt: off
_SANDWICH = {"ffn_norm": "pre_feedforward_layernorm"}
_FUSED_UP = {"ffn_up": "mlp.gate_up_proj"}
_GPT2_NAMES = {
    "token_embd": "transformer.wte",
    "position_embd": "transformer.wpe",
    "output_norm": "transformer.ln_f",
    "attn_norm": "ln_1",
    "attn_qkv": "attn.c_attn",
    "attn_output": "attn.c_proj",
    "ffn_norm": "ln_2",
    "ffn_up": "mlp.c_fc",
    "ffn_down": "mlp.c_proj",
}
_BLOOM_NAMES = {
    "token_embd": "transformer.word_embeddings",
    "token_embd_norm": "transformer.word_embeddings_layernorm",
    "output_norm": "transformer.ln_f",
    "attn_qkv": "self_attention.query_key_value",
    "attn_output": "self_attention.dense",
    "ffn_up": "mlp.dense_h_to_4h",
    "ffn_down": "mlp.dense_4h_to_h",
}

_llama = Family(qkv_bias="attention_bias", out_bias="attention_bias", mlp_bias="mlp_bias")
_mistral = Family(window="plain")
_qwen2 = Family(qkv_bias=True, window="qwen")
_qwen3 = replace(_llama, mlp_bias=False, qk_norm=True, window="qwen", defaults={"head_dim": 128})
_deepseek_moe = Family(
    qkv_bias="attention_bias", out_bias="attention_bias", moe="after_dense", correction_bias=True, mtp="deepseek"
)
_deepseek_v3 = replace(_deepseek_moe, qkv="mla")
_gemma = Family(tied=True, defaults={"head_dim": 256}, qkv_bias="attention_bias", out_bias="attention_bias")
_gpt = Family(
    tied=True, qkv="fused", qkv_bias=True, out_bias=True, mlp_bias=True, gated=False, norm="layer",
    prefix="transformer.h.{i}.",
)
_olmo2 = Family(layout="post", qk_norm=True, qk_norm_over="all", qkv_bias="attention_bias", out_bias="attention_bias")
_cohere = Family(
    tied=True, norm="layer_no_bias", layout="parallel", qkv_bias="attention_bias", out_bias="attention_bias"
)
_phi = Family(
    qkv_bias=True, out_bias=True, mlp_bias=True, head_bias=True, gated=False, norm="layer", layout="parallel",
    names={
        "attn_output": "self_attn.dense", "ffn_up": "mlp.fc1", "ffn_down": "mlp.fc2",
        "output_norm": "model.final_layernorm",
    },
)
_hunyuan = Family(
    qkv_bias="attention_bias", out_bias="attention_bias", mlp_bias="mlp_bias", qk_norm="use_qk_norm=True",
    names={
        "attn_q_norm": "self_attn.query_layernorm", "attn_k_norm": "self_attn.key_layernorm",
        "ffn_gate_inp": "mlp.gate.wg", "ffn_gate_shexp": "mlp.shared_mlp.gate_proj",
        "ffn_up_shexp": "mlp.shared_mlp.up_proj", "ffn_down_shexp": "mlp.shared_mlp.down_proj",
    },
)

_SHARED_EXPERT = {
    "ffn_gate_shexp": "mlp.shared_expert.gate_proj", "ffn_up_shexp": "mlp.shared_expert.up_proj",
    "ffn_down_shexp": "mlp.shared_expert.down_proj",
}
_DELTA_NET = {
    "ssm_in": "linear_attn.in_proj_qkvz", "ssm_ba": "linear_attn.in_proj_ba", "linear_qkv": "linear_attn.in_proj_qkv",
    "attn_gate": "linear_attn.in_proj_z", "ssm_beta": "linear_attn.in_proj_b", "ssm_alpha": "linear_attn.in_proj_a",
    "ssm_conv1d": "linear_attn.conv1d", "ssm_dt": "linear_attn.dt_bias", "ssm_a": "linear_attn.A_log",
    "ssm_norm": "linear_attn.norm", "ssm_out": "linear_attn.out_proj",
}
_qwen3_next = Family(
    qkv_bias="attention_bias", out_bias="attention_bias", qk_norm=True, attn_gate=True, mixer="gated_delta", moe="step",
    shared_gate=True, mtp="qwen", names={**_SHARED_EXPERT, **_DELTA_NET},
    defaults={"head_dim": 256, "linear_num_key_heads": 16, "linear_num_value_heads": 32, "linear_key_head_dim": 128,
              "linear_value_head_dim": 128, "linear_conv_kernel_dim": 4},
)
_dsa = replace(_deepseek_v3, indexer="tokens")


# Every layer is one part with one norm before it.
_nemotron_h = Family(
    gated=False, mlp_bias="mlp_bias", mixer="mamba2", moe="named", correction_bias=True, mtp="nemotron",
    prefix="backbone.layers.{i}.",
    names={
        **mamba2_names("mixer"), "token_embd": "backbone.embeddings", "output_norm": "backbone.norm_f",
        "attn_norm": "norm", "ffn_norm": "norm",
        **{f"attn_{role}": f"mixer.{name}_proj" for role, name in zip(("q", "k", "v", "output"), "qkvo", strict=True)},
        "ffn_up": "mixer.up_proj", "ffn_down": "mixer.down_proj", "ffn_gate_inp": "mixer.gate",
        "exp_probs_b": "mixer.gate.e_score_correction_bias", "ffn_up_exps": "mixer.experts.up_proj",
        "ffn_down_exps": "mixer.experts.down_proj", "ffn_up_shexp": "mixer.shared_experts.up_proj",
        "ffn_down_shexp": "mixer.shared_experts.down_proj", "ffn_latent_down": "mixer.fc1_latent_proj",
        "ffn_latent_up": "mixer.fc2_latent_proj",
    },
    defaults={"head_dim": 128, "mamba_num_heads": 128, "mamba_head_dim": 64, "n_groups": 8, "ssm_state_size": 128, "conv_kernel": 4},
)
_gemma4 = replace(
    _gemma, layout="sandwich", window="gemma4", qk_norm=True, moe="named",
    defaults={"head_dim": 256, "sliding_window": 512, "global_head_dim": 512},
    names={
        **_SANDWICH, "per_layer_token_embd": "model.embed_tokens_per_layer",
        "per_layer_model_proj": "model.per_layer_model_projection", "per_layer_proj_norm": "model.per_layer_projection_norm",
        "per_layer_inp_gate": "per_layer_input_gate", "per_layer_proj": "per_layer_projection",
        "per_layer_post_norm": "post_per_layer_input_norm", "layer_out_scale": "layer_scalar",
        "post_ffw_norm_1": "post_feedforward_layernorm_1", "pre_ffw_norm_2": "pre_feedforward_layernorm_2",
        "post_ffw_norm_2": "post_feedforward_layernorm_2", "ffn_gate_inp": "router.proj",
        "ffn_gate_inp_scale": "router.scale", "ffn_exps_scale": "router.per_expert_scale",
        "ffn_gate_exps": "experts.gate_proj", "ffn_up_exps": "experts.up_proj", "ffn_down_exps": "experts.down_proj",
    },
)
# Step keeps a gate a head, and experts stacked as they are computed.
_STEP_NAMES = {
    "attn_gate": "self_attn.g_proj", "ffn_gate_inp": "moe.gate", "exp_probs_b": "moe.router_bias",
    **{f"ffn_{part}_exps": f"moe.{part}_proj" for part in ("gate", "up", "down")},
    **{f"ffn_{part}_shexp": f"share_expert.{part}_proj" for part in ("gate", "up", "down")},
}
_lfm2 = Family(
    tied=True, qk_norm=True, mixer="short_conv", defaults={"conv_L_cache": 3},
    names={
        "output_norm": "model.embedding_norm", "attn_norm": "operator_norm", "ffn_norm": "ffn_norm",
        "attn_output": "self_attn.out_proj", "attn_q_norm": "self_attn.q_layernorm", "attn_k_norm": "self_attn.k_layernorm",
        "shortconv_in_proj": "conv.in_proj", "shortconv_conv": "conv.conv", "shortconv_out_proj": "conv.out_proj",
        "ffn_gate": "feed_forward.w1", "ffn_up": "feed_forward.w3", "ffn_down": "feed_forward.w2",
        "ffn_gate_inp": "feed_forward.gate", "exp_probs_b": "feed_forward.expert_bias",
        "ffn_gate_exps": "feed_forward.experts.w1", "ffn_up_exps": "feed_forward.experts.w3",
        "ffn_down_exps": "feed_forward.experts.w2",
    },
)

_COMPRESSOR = {"kv": "kv_proj", "gate": "gate_proj", "ape": "position_bias", "norm": "kv_norm"}

FAMILIES: Mapping[str, Family] = {
    "llama": _llama,
    "qwen3_next": _qwen3_next,
    "qwen3_5": replace(_qwen3_next, moe="no"),
    "qwen3_5_moe": _qwen3_next,
    "deepseek_v32": _dsa,
    "deepseek_v4": Family(
        qkv="compressed", moe="after_dense", correction_bias=True, mtp="v4",
        names={
            "attn_kv": "self_attn.kv_proj", "attn_kv_a_norm": "self_attn.kv_norm", "attn_q_a_norm": "self_attn.q_a_norm",
            "attn_output_a": "self_attn.o_a_proj", "attn_output_b": "self_attn.o_b_proj", "ffn_hash": "mlp.gate.tid2eid",
            "indexer_attn_q_b": "self_attn.compressor.indexer.q_b_proj",
            "indexer_proj": "self_attn.compressor.indexer.scorer.weights_proj",
            **{f"attn_compressor_{role}": f"self_attn.compressor.{name}" for role, name in _COMPRESSOR.items()},
            **{f"indexer_compressor_{role}": f"self_attn.compressor.indexer.{name}" for role, name in _COMPRESSOR.items()},
            **{f"hc_{part}_{name}": f"{part}_hc.{name}" for part in ("attn", "ffn") for name in ("fn", "base", "scale")},
            **{f"hc_head_{name}": f"model.hc_head.hc_{name}" for name in ("fn", "base", "scale")},
        },
    ),
    "glm_moe_dsa": replace(_dsa, mtp="glm"),  # the module shares embedding and head
    "nemotron_h": _nemotron_h,
    "gemma4_text": _gemma4,
    "gemma3n_text": replace(
        _gemma4, moe="no", defaults={"head_dim": 256, "sliding_window": 512}, names={
            **{role: name for role, name in _gemma4.names.items() if role != "layer_out_scale"},
            "altup_proj": "model.altup_projections", "altup_unembd_proj": "model.altup_unembed_projections",
            "altup_correct_scale": "altup.correct_output_scale", "altup_correct_coef": "altup.correction_coefs",
            "altup_predict_coef": "altup.prediction_coefs", "altup_router": "altup.modality_router",
            "altup_router_norm": "altup.router_norm", "laurel_l": "laurel.linear_left", "laurel_r": "laurel.linear_right",
            "laurel_post_norm": "laurel.post_laurel_norm",
        },
    ),
    # A layer has two halves, each with attention and a feed-forward part; beside the first half run the experts.
    "longcat_flash": replace(
        _deepseek_v3, moe="shortcut", mtp="no", prefix="model.layers.{pair}.", names={
            **{role: name.replace("self_attn", "self_attn.{half}") for role, name in LLAMA_NAMES.items() if "self_attn" in name},
            "attn_norm": "input_layernorm.{half}", "ffn_norm": "post_attention_layernorm.{half}",
            **{f"ffn_{part}": f"mlps.{{half}}.{part}_proj" for part in ("gate", "up", "down")},
            **{f"ffn_{part}_shexp": f"mlps.{{half}}.{part}_proj" for part in ("gate", "up", "down")},
            "ffn_gate_inp": "mlp.router.classifier", "exp_probs_b": "mlp.router.e_score_correction_bias",
        },
    ),
    "step3_text": Family(
        qkv="narrow", moe="listed", names={
            **_STEP_NAMES, "attn_q_a": "self_attn.q_proj", "attn_q_a_norm": "self_attn.inter_norm", "attn_q": "self_attn.wq",
        },
    ),
    "step3p5": Family(
        window="step", qk_norm=True, moe="listed", correction_bias=True, mtp="step", defaults={"sliding_window": 512}, names=_STEP_NAMES,
    ),
    **RECURRENT,
    **EXPERTS,
    "lfm2": _lfm2,
    "lfm2_moe": replace(_lfm2, moe="after_dense", correction_bias=True),
    "granitemoehybrid": Family(
        mixer="mamba2", moe="named", names={
            **mamba2_names("mamba"), "ffn_gate_inp": "block_sparse_moe.router.layer",
            "ffn_gate_exps": "block_sparse_moe.input_linear.gate", "ffn_up_exps": "block_sparse_moe.input_linear.up",
            "ffn_down_exps": "block_sparse_moe.output_linear", "ffn_gate": "shared_mlp.input_linear.gate",
            "ffn_up": "shared_mlp.input_linear.up", "ffn_down": "shared_mlp.output_linear",
            "ffn_gate_shexp": "shared_mlp.input_linear.gate", "ffn_up_shexp": "shared_mlp.input_linear.up",
            "ffn_down_shexp": "shared_mlp.output_linear",
        },
        tied=True, defaults={"n_groups": 1, "ssm_state_size": 128, "conv_kernel": 4}),
    "kimi_linear": replace(
        _deepseek_v3, mixer="kda", mtp="no", gate_beside="mla_use_output_gate", names={
            **{f"linear_{part}": f"self_attn.{part}_proj" for part in "qkv"},
            **{f"ssm_conv1d_{part}": f"self_attn.{part}_conv1d" for part in "qkv"},
            "ssm_a": "self_attn.A_log", "ssm_f_a": "self_attn.f_a_proj", "ssm_f_b": "self_attn.f_b_proj",
            "ssm_dt": "self_attn.dt_bias", "ssm_beta": "self_attn.b_proj", "ssm_g_a": "self_attn.g_a_proj",
            "ssm_g_b": "self_attn.g_b_proj", "ssm_g": "self_attn.g_proj", "ssm_norm": "self_attn.o_norm", "ssm_out": "self_attn.o_proj",
            "ffn_gate_inp": "block_sparse_moe.gate", "exp_probs_b": "block_sparse_moe.gate.e_score_correction_bias",
            **{f"ffn_latent_{part}": f"block_sparse_moe.latent_{part}" for part in ("down", "up", "norm")},
        },
    ),
    "granite": _llama,
    "smollm3": replace(_llama, tied=True, window="qwen"),
    "arcee": replace(_llama, gated=False),
    "minicpm": replace(_llama, tied=True, mlp_bias=False),
    "internlm3": Family(qkv_bias="qkv_bias", out_bias="bias", mlp_bias="bias"),
    "seed_oss": Family(qkv_bias="attention_bias=True", out_bias="attention_out_bias", mlp_bias="mlp_bias",
                       defaults={"head_dim": 128}),
    "bitnet": Family(qkv_bias="attention_bias", out_bias="attention_bias", sub_norms=True),
    "mistral": replace(_mistral, defaults={"sliding_window": 4096}),
    "ministral3": _mistral,
    "mixtral": replace(_mistral, moe="all", names=SPARSE_BLOCK),
    "qwen": Family(
        qkv="fused", qkv_bias=True, prefix="transformer.h.{i}.",
        names={**_GPT2_NAMES, "ffn_gate": "mlp.w2", "ffn_up": "mlp.w1"},
    ),
    "qwen2": _qwen2,
    "qwen2_moe": replace(
        _qwen2, qkv_bias="qkv_bias=True", moe="step", shared_gate=True,
        names=_SHARED_EXPERT,
    ),
    "qwen3": _qwen3,
    "qwen3_moe": replace(_qwen3, moe="step"),
    "mimo": replace(_qwen2, qkv_bias="attention_bias=True", mtp="mimo"),
    "mimo_v2_flash": Family(moe="after_dense", correction_bias=True, window="mimo_v2"),
    "gemma": _gemma,
    "gemma2": replace(_gemma, layout="sandwich", window="even", names=_SANDWICH, defaults={
        "head_dim": 256, "sliding_window": 4096}),
    "gemma3_text": replace(_gemma, layout="sandwich", window="pattern", qk_norm=True, names=_SANDWICH, defaults={
        "head_dim": 256, "sliding_window": 4096, "sliding_window_pattern": 6}),
    "phi": _phi,
    "phi3small": Family(
        tied=True, qkv="fused", qkv_bias=True, out_bias=True, mlp_bias=True, fused_gate=True, norm="layer", names={
            "output_norm": "model.final_layernorm", "attn_qkv": "self_attn.query_key_value", "attn_output": "self_attn.dense",
            "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj",
        },
    ),
    "phi3": Family(qkv="fused", fused_gate=True, window="plain", names=_FUSED_UP),
    "phimoe": replace(_mistral, qkv_bias="attention_bias", out_bias="attention_bias", head_bias="lm_head_bias",
                      norm="layer", moe="all", names=SPARSE_BLOCK),
    "deepseek": replace(_deepseek_moe, correction_bias=False, mtp="no"),
    "deepseek_v2": replace(_deepseek_v3, correction_bias=False, mtp="no"),
    "deepseek_v3": _deepseek_v3,
    "kimi_k2": _deepseek_v3,
    "minicpm3": replace(_deepseek_v3, tied=True, moe="no", correction_bias=False, mtp="no"),
    "glm4_moe_lite": _deepseek_v3,
    "glm4_moe": replace(_deepseek_moe, out_bias=False, qk_norm="use_qk_norm"),
    "dots1": replace(_deepseek_moe, qk_norm=True, mtp="no"),
    "glm": Family(qkv_bias="attention_bias=True", fused_gate=True, names=_FUSED_UP, defaults={"head_dim": 128}),
    "glm4": Family(
        qkv_bias="attention_bias=True", fused_gate=True, layout="sandwich", defaults={"head_dim": 128},
        names={**_FUSED_UP, "post_attention_norm": "post_self_attn_layernorm", "post_ffw_norm": "post_mlp_layernorm"},
    ),
    "chatglm": Family(
        qkv="fused", qkv_bias="add_qkv_bias", out_bias="add_bias_linear", mlp_bias="add_bias_linear", fused_gate=True,
        prefix="transformer.encoder.layers.{i}.",
        names={
            "token_embd": "transformer.embedding.word_embeddings", "output": "transformer.output_layer",
            "output_norm": "transformer.encoder.final_layernorm", "attn_qkv": "self_attention.query_key_value",
            "attn_output": "self_attention.dense", "ffn_up": "mlp.dense_h_to_4h", "ffn_down": "mlp.dense_4h_to_h",
        },
    ),
    "ernie4_5": Family(tied=True, qkv_bias="use_bias", out_bias="use_bias", mlp_bias="use_bias"),
    "ernie4_5_moe": Family(
        tied=True, qkv_bias="use_bias", out_bias="use_bias", mlp_bias="use_bias", moe="span", correction_bias=True,
        names={"exp_probs_b": "mlp.moe_statics.e_score_correction_bias"},
    ),
    "hunyuan_v1_dense": _hunyuan,
    "hunyuan_v1_moe": replace(_hunyuan, moe="all"),
    "olmo": Family(norm="none", qkv_bias="attention_bias", out_bias="attention_bias"),
    "olmo2": _olmo2,
    "olmo3": replace(_olmo2, window="pattern", defaults={"sliding_window": 4096, "sliding_window_pattern": 4}),
    "olmoe": replace(_olmo2, layout="pre", moe="all"),
    "exaone4": Family(layout="post", qk_norm=True, window="pattern",
                      defaults={"sliding_window": 4096, "sliding_window_pattern": 4}),
    "starcoder2": Family(
        tied=True, qkv_bias="use_bias=True", out_bias="use_bias=True", mlp_bias="use_bias=True", gated=False,
        norm="layer", window="plain", names={"ffn_up": "mlp.c_fc", "ffn_down": "mlp.c_proj"},
    ),
    "cohere": _cohere,
    "cohere2": replace(_cohere, window="pattern", defaults={"sliding_window": 4096, "sliding_window_pattern": 4}),
    "orion": Family(norm="layer"),
    "stablelm": Family(norm="layer", qkv_bias="use_qkv_bias"),
    "nemotron": Family(qkv_bias="attention_bias", out_bias="attention_bias", mlp_bias="mlp_bias", gated=False,
                       norm="layer"),
    "apertus": Family(
        qkv_bias="attention_bias", out_bias="attention_bias", gated=False, qk_norm=True,
        names={"attn_norm": "attention_layernorm", "ffn_norm": "feedforward_layernorm"},
    ),
    "internlm": Family(qkv_bias="bias=True", out_bias="bias=True"),
    "internlm2": Family(
        qkv="fused", qkv_bias="bias", out_bias="bias",
        names={
            "token_embd": "model.tok_embeddings", "output": "output", "attn_norm": "attention_norm",
            "attn_qkv": "attention.wqkv", "attn_output": "attention.wo", "ffn_norm": "ffn_norm",
            "ffn_gate": "feed_forward.w1", "ffn_down": "feed_forward.w2", "ffn_up": "feed_forward.w3",
        },
    ),
    "baichuan": Family(qkv="fused", names={"attn_qkv": "self_attn.W_pack"}),
    "gpt2": replace(_gpt, positions=True, names=_GPT2_NAMES),
    "gpt_bigcode": replace(_gpt, positions=True, names=_GPT2_NAMES),
    "gptj": Family(
        mlp_bias=True, head_bias=True, gated=False, norm="layer", layout="parallel", prefix="transformer.h.{i}.",
        names={
            **_GPT2_NAMES, "attn_q": "attn.q_proj", "attn_k": "attn.k_proj", "attn_v": "attn.v_proj",
            "attn_output": "attn.out_proj", "ffn_up": "mlp.fc_in", "ffn_down": "mlp.fc_out",
        },
    ),
    "gpt_neox": Family(
        qkv="fused", qkv_bias="attention_bias=True", out_bias="attention_bias=True", mlp_bias=True, gated=False,
        norm="layer", prefix="gpt_neox.layers.{i}.",
        names={
            "token_embd": "gpt_neox.embed_in", "output": "embed_out", "output_norm": "gpt_neox.final_layer_norm",
            "attn_qkv": "attention.query_key_value", "attn_output": "attention.dense",
            "ffn_up": "mlp.dense_h_to_4h", "ffn_down": "mlp.dense_4h_to_h",
        },
    ),
    "bloom": replace(_gpt, names=_BLOOM_NAMES),
    "falcon": replace(_gpt, qkv_bias="bias", out_bias="bias", mlp_bias="bias", layout="parallel", names=_BLOOM_NAMES),
    "mpt": Family(
        tied=True, qkv="fused", gated=False, norm="layer_no_bias", prefix="transformer.blocks.{i}.",
        names={
            "token_embd": "transformer.wte", "output_norm": "transformer.norm_f", "attn_norm": "norm_1",
            "attn_qkv": "attn.Wqkv", "attn_output": "attn.out_proj", "ffn_norm": "norm_2",
            "ffn_up": "ffn.up_proj", "ffn_down": "ffn.down_proj",
        },
    ),
    "opt": Family(
        tied=True, qkv_bias="enable_bias=True", out_bias="enable_bias=True", mlp_bias="enable_bias=True", gated=False,
        norm="layer", positions=True, prefix="model.decoder.layers.{i}.",
        names={
            "token_embd": "model.decoder.embed_tokens", "position_embd": "model.decoder.embed_positions",
            "output_norm": "model.decoder.final_layer_norm", "attn_norm": "self_attn_layer_norm",
            "attn_output": "self_attn.out_proj", "ffn_norm": "final_layer_norm", "ffn_up": "fc1", "ffn_down": "fc2",
        },
    ),
    "deci": replace(_llama, names={"attn_linear": "self_attn.linear_attn", "ffn_linear": "mlp.linear_mlp"}),
}
# fmt: on

# Multimodal and renamed types -> the family of their text part. A `text_config.model_type` goes first.
TEXT_TYPES: Mapping[str, str] = {
    "phi-msft": "phi",
    "llama4": "llama4_text",
    "deepseek_ref": "deepseek_v4",
    "interns1": "qwen3_moe",
    "kimi_k3": "kimi_linear",
    "llava": "llama",
    "minimax_m3_vl": "minimax_m3",
    "nemotron-nas": "deci",
    "bailing_moe_v2": "bailing_moe",
    "phi3_v": "phi3",
    "phi4mm": "phi3",
    "gemma3": "gemma3_text",
    "mistral3": "mistral",
    "qwen2_vl": "qwen2",
    "qwen2_vl_text": "qwen2",
    "qwen2_5_vl": "qwen2",
    "qwen2_5_vl_text": "qwen2",
    "qwen3_vl": "qwen3",
    "qwen3_vl_text": "qwen3",
    "qwen3_vl_moe": "qwen3_moe",
    "qwen3_vl_moe_text": "qwen3_moe",
    "kimi_k25": "kimi_k2",
    "kimi_vl": "deepseek_v3",
    "hunyuan": "hunyuan_v1_moe",
    "qwen3_5_text": "qwen3_5",
    "qwen3_5_moe_text": "qwen3_5_moe",
    "gemma3n": "gemma3n_text",
    "longcat": "longcat_flash",
    "minimax_text_01": "minimax",
    "step3_vl": "step3_text",
    "step3p7": "step3p5",
    "gemma4": "gemma4_text",
    "gemma4_unified": "gemma4_text",
    "gemma4_unified_text": "gemma4_text",
}
