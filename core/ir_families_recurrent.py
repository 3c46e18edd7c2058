"""The families whose layers are recurrent, all or some of them: Mamba and its hybrids, lightning attention, Griffin, RWKV."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from core.ir_family import Family


# A table is read by its rows: the formatter would give every word a line.
# fmt: off
def mamba2_names(place: str) -> dict[str, str]:
    return {
        "ssm_in": f"{place}.in_proj", "ssm_conv1d": f"{place}.conv1d", "ssm_dt": f"{place}.dt_bias",
        "ssm_a": f"{place}.A_log", "ssm_d": f"{place}.D", "ssm_norm": f"{place}.norm", "ssm_out": f"{place}.out_proj",
    }


def _mamba_names(place: str) -> dict[str, str]:
    return {**mamba2_names(place), "ssm_dt": f"{place}.dt_proj", "ssm_x": f"{place}.x_proj"}


_BACKBONE = {"token_embd": "backbone.embeddings", "output_norm": "backbone.norm_f", "attn_norm": "norm"}
_mamba = Family(attends=False, tied=True, mixer="mamba", prefix="backbone.layers.{i}.", names={**_mamba_names("mixer"), **_BACKBONE})
_FEED_FORWARD = {
    "output_norm": "model.final_layernorm", "ffn_norm": "pre_ff_layernorm", "ffn_gate": "feed_forward.gate_proj",
    "ffn_up": "feed_forward.up_proj", "ffn_down": "feed_forward.down_proj",
}
_TIME = {"r": "receptance", "k": "key", "v": "value", "g": "gate", "output": "output", "decay": "time_decay"}
_RWKV_NAMES = {
    "token_embd": "rwkv.embeddings", "token_embd_norm": "rwkv.blocks.0.pre_ln", "output_norm": "rwkv.ln_out", "output": "head",
    "attn_norm": "ln1", "ffn_norm": "ln2", "ffn_up": "feed_forward.key", "ffn_down": "feed_forward.value",
    "channel_mix_receptance": "feed_forward.receptance", "channel_mix_lerp_k": "feed_forward.time_mix_key",
    "channel_mix_lerp_r": "feed_forward.time_mix_receptance", "time_mix_first": "attention.time_faaaa", "time_mix_ln": "attention.ln_x",
    **{f"time_mix_{role}": f"attention.{name}" for role, name in _TIME.items()},
    **{f"time_mix_lerp_{part}": f"attention.time_mix_{_TIME[part]}" for part in "kvrg"},
}
_rwkv = Family(attends=False, mixer="rwkv", gated=False, norm="layer", prefix="rwkv.blocks.{i}.", names=_RWKV_NAMES)

RECURRENT: Mapping[str, Family] = {
    "mamba": _mamba,
    "falcon_mamba": _mamba,
    "mamba2": replace(_mamba, tied=False, mixer="mamba2", names={**mamba2_names("mixer"), **_BACKBONE},
                      defaults={"n_groups": 8, "ssm_state_size": 128, "conv_kernel": 4}),
    "jamba": Family(
        mixer="mamba", moe="period", names={
            **_mamba_names("mamba"), **_FEED_FORWARD, "ssm_dt_norm": "mamba.dt_layernorm", "ssm_b_norm": "mamba.b_layernorm",
            "ssm_c_norm": "mamba.c_layernorm", "ffn_gate_inp": "feed_forward.router",
            **{f"ffn_{part}_exps": f"feed_forward.experts.{part}_proj" for part in ("gate", "up", "down")},
        },
        defaults={"attn_layer_period": 8, "attn_layer_offset": 4, "expert_layer_period": 2, "expert_layer_offset": 1},
    ),
    # Every layer runs attention and Mamba-2 side by side on what one norm gives.
    "falcon_h1": Family(
        qkv_bias="attention_bias", out_bias="attention_bias", mlp_bias="mlp_bias", mixer="mamba2", mixer_beside=True,
        mixer_norm="mamba_rms_norm", names={**mamba2_names("mamba"), **_FEED_FORWARD},
        defaults={"n_groups": 1, "ssm_state_size": 256, "conv_kernel": 4},
    ),
    "zamba2": Family(
        tied=True, mixer="mamba2", prefix="model.layers.{i}.", names={
            **mamba2_names("mamba"), **_FEED_FORWARD, "shared_out": "linear", "ffn_up": "feed_forward.gate_up_proj",
        },
        defaults={"n_groups": 1, "ssm_state_size": 64, "conv_kernel": 4},
    ),
    "minimax": Family(
        mixer="lightning", moe="all", names={
            "attn_qkv": "self_attn.qkv_proj", "attn_gate": "self_attn.output_gate", "ssm_norm": "self_attn.norm",
            "ssm_out": "self_attn.out_proj", "ffn_gate_inp": "block_sparse_moe.gate", "ffn_gate_exps": "block_sparse_moe.experts.w1",
            "ffn_down_exps": "block_sparse_moe.experts.w2", "ffn_up_exps": "block_sparse_moe.experts.w3",
        },
    ),
    # Griffin: two recurrent layers, then one that sees a window.
    "recurrent_gemma": Family(
        tied=True, qkv_bias="attention_bias", out_bias=True, mlp_bias=True, mixer="rg_lru",
        defaults={"sliding_window": 2048, "conv1d_width": 4, "block_types": ["recurrent", "recurrent", "attention"]},
        names={
            "output_norm": "model.final_norm", "attn_norm": "temporal_pre_norm", "ffn_norm": "channel_pre_norm",
            **{f"attn_{role}": f"temporal_block.{name}_proj" for role, name in zip(("q", "k", "v", "output"), "qkvo", strict=True)},
            "lru_x": "temporal_block.linear_x", "lru_y": "temporal_block.linear_y", "ssm_out": "temporal_block.linear_out",
            "ssm_conv1d": "temporal_block.conv_1d", "lru_param": "temporal_block.rg_lru.recurrent_param",
            **{f"lru_{gate}_gate": f"temporal_block.rg_lru.{gate}_gate_weight" for gate in ("input", "recurrent")},
            **{f"lru_{gate}_gate_bias": f"temporal_block.rg_lru.{gate}_gate_bias" for gate in ("input", "recurrent")},
            **{f"ffn_{part}": f"mlp_block.{part}_proj" for part in ("gate", "up", "down")},
        },
    ),
    "rwkv": replace(_rwkv, names={**_RWKV_NAMES, "time_mix_first": "attention.time_first"}),
    "rwkv5": _rwkv,
    "rwkv6": replace(_rwkv, names={
        **_RWKV_NAMES, **{f"time_mix_lerp_{part}": f"attention.time_maa_{part}" for part in "xwkvrg"},
        "time_mix_w1": "attention.time_maa_w1", "time_mix_w2": "attention.time_maa_w2",
        "time_mix_decay_w1": "attention.time_decay_w1", "time_mix_decay_w2": "attention.time_decay_w2",
        "channel_mix_lerp_k": "feed_forward.time_maa_k", "channel_mix_lerp_r": "feed_forward.time_maa_r",
    }),
    "rwkv7": replace(_rwkv, prefix="model.layers.{i}.", names={
        "token_embd": "model.embeddings", "token_embd_norm": "model.layers.0.pre_norm", "output_norm": "model.norm",
        "attn_norm": "attn_norm", "ffn_norm": "ffn_norm", "ffn_up": "ffn.key", "ffn_down": "ffn.value", "channel_mix_lerp_k": "ffn.x_k",
        "time_mix_k_k": "attn.k_k", "time_mix_k_a": "attn.k_a", "time_mix_r_k": "attn.r_k", "time_mix_ln": "attn.g_norm",
        "time_mix_output": "attn.o_proj", **{f"time_mix_{part}": f"attn.{part}_proj" for part in "rkv"},
        **{f"time_mix_lerp_{part}": f"attn.x_{part}" for part in "rwkvag"},
        **{f"time_mix_{part}1": f"attn.{part}_lora.lora.0" for part in "wavg"},
        **{f"time_mix_{part}2": f"attn.{part}_lora.lora.2" for part in "wavg"},
    }),
}
# fmt: on
