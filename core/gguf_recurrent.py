"""Which layers of a GGUF file recur and how wide their mixers are, as the config fields that the layout reads."""

from __future__ import annotations

from typing import Any

from core.gguf_parts import Parts
from core.ir_family import Family


def lay_out_recurrent(config: dict[str, Any], family: Family, file: Parts) -> None:
    """Complete `config` of a family with a mixer. Raises HubError where the file lacks what it needs."""
    layers = range(config["num_hidden_layers"])
    match family.mixer:
        case "short_conv":
            config["block_auto_adjust_ff_dim"] = False
            config["full_attn_idxs"] = [layer for layer in layers if file.holds(layer, "attn_q.")]
        case "lightning":
            config["attn_type_list"] = [int(file.holds(layer, "attn_q.")) for layer in layers]
        case "kda":
            config["linear_attn_config"] = {
                "num_heads": config["num_attention_heads"], "head_dim": file.need("kda.head_dim"),
                "short_conv_kernel_size": file.number("ssm.conv_kernel") or 4, "use_full_rank_gate": file.has("ssm_g.weight"),
                "kda_layers": [layer + 1 for layer in layers if file.holds(layer, "ssm_")],
            }  # fmt: skip
        case "mamba" | "mamba2" | "gated_delta":
            _state_space(config, family, file)


def _state_space(config: dict[str, Any], family: Family, file: Parts) -> None:
    layers = range(config["num_hidden_layers"])
    if config["model_type"] == "granitemoehybrid" and not any(file.holds(layer, "ssm_") for layer in layers):
        config["layer_types"] = ["attention"] * len(layers)  # the smallest ones have no recurrent layer
        _granite_shared(config, file)
        return
    kernel = file.number("ssm.conv_kernel") or 4
    heads, inner = file.need("ssm.time_step_rank"), file.need("ssm.inner_size")
    if family.mixer == "mamba":
        config.update(
            conv_kernel=kernel, ssm_state_size=file.need("ssm.state_size"), time_step_rank=heads, expand=inner // config["hidden_size"],
            use_conv_bias=file.has("ssm_conv1d.bias"), use_bias=file.has("ssm_in.bias"),
        )  # fmt: skip
        if not family.attends:
            config["intermediate_size"] = inner
            return
        config["layer_types"] = ["mamba" if file.holds(n, "ssm_") else "attention" for n in layers]
        sparse = [n for n in layers if file.holds(n, "ffn_gate_inp")]
        if len(sparse) > 1:
            config.update(expert_layer_period=sparse[1] - sparse[0], expert_layer_offset=sparse[0])
        return
    if family.mixer == "gated_delta":
        config.update(
            linear_conv_kernel_dim=kernel, linear_key_head_dim=file.need("ssm.state_size"), linear_num_value_heads=heads,
            linear_num_key_heads=file.need("ssm.group_count"), linear_value_head_dim=inner // heads,
            layer_types=["linear_attention" if file.holds(n, "ssm_") else "full_attention" for n in layers],
        )  # fmt: skip
        return
    config.update(
        conv_kernel=kernel, ssm_state_size=file.need("ssm.state_size"), mamba_num_heads=heads, mamba_head_dim=inner // heads,
        n_groups=file.need("ssm.group_count"), use_conv_bias=file.has("ssm_conv1d.bias"), use_bias=file.has("ssm_in.bias"),
    )  # fmt: skip
    if not family.attends:
        config["num_heads"] = heads
    elif family.mixer_beside:
        config["mamba_rms_norm"] = file.has("ssm_norm.weight")
    elif config["model_type"] == "nemotron_h":
        config["hybrid_override_pattern"] = "".join(
            "M" if file.holds(n, "ssm_") else "*" if file.holds(n, "attn_q.") else "E" if file.holds(n, "ffn_gate_inp") else "-"
            for n in layers
        )
        config["moe_shared_expert_intermediate_size"] = config.get("shared_expert_intermediate_size")
        config["n_shared_experts"] = 1 if config.get("shared_expert_intermediate_size") else 0
    else:
        config["layer_types"] = ["mamba" if file.holds(n, "ssm_") else "attention" for n in layers]
        _granite_shared(config, file)


def _granite_shared(config: dict[str, Any], file: Parts) -> None:
    """Where all layers have experts, a feed-forward part beside them is the shared one; else it is the only one."""
    shared = config.get("shared_expert_intermediate_size")
    config["shared_intermediate_size"] = shared or (0 if config.get("num_experts") else file.number("feed_forward_length") or 0)
