"""What single families write into a GGUF file in their own way, as the config fields that the layout reads."""

from __future__ import annotations

from typing import Any

from core.gguf_parts import Parts
from core.gguf_recurrent import lay_out_recurrent
from core.ir_family import Family

# Families whose `intermediate_size` is one expert's.
_EXPERT_WIDTH = frozenset({
    "minimax_m2", "minimax_m3", "gpt_oss", "llama4_text", "phimoe", "olmoe", "hunyuan_v1_moe", "granitemoehybrid", "jamba",
})  # fmt: skip


def lay_out(config: dict[str, Any], family: Family, file: Parts) -> None:
    """Complete `config`. Raises HubError where the file lacks what the layout needs."""
    kind, layers = config["model_type"], config["num_hidden_layers"]
    kv_heads = file.number("attention.head_count_kv") or 0
    if family.qkv == "mla":
        latent_attention(config, file)
    if family.indexer == "tokens" and not all(file.holds(n, "indexer.") for n in range(layers)):
        config["indexer_types"] = ["full" if file.holds(n, "indexer.") else "shared" for n in range(layers)]
    if family.moe == "after_dense" and config.get("num_experts") and "first_k_dense_replace" not in config:
        config["moe_layer_freq"] = [int(file.holds(n, "ffn_gate_inp")) for n in range(layers)]
    if kind in _EXPERT_WIDTH and config.get("num_experts"):
        dense = {"llama4_text": "intermediate_size_mlp", "minimax_m3": "dense_intermediate_size"}.get(kind)
        if dense is not None:
            config[dense] = config.get("intermediate_size")
        config["intermediate_size"] = file.number("expert_feed_forward_length") or config.get("intermediate_size")
    if kind in ("hunyuan_v1_moe", "ernie4_5_moe") and (shared := file.number("expert_shared_feed_forward_length")):
        config["n_shared_experts"] = shared // (file.number("expert_feed_forward_length") or shared)
    if kind == "chatglm":
        config["multi_query_attention"] = True
    if kind == "gpt_bigcode":
        config["multi_query"] = kv_heads == 1
    if kind == "falcon":
        config.update(
            new_decoder_architecture=kv_heads > 1,
            multi_query=True,
            parallel_attn=True,
            num_ln_in_parallel_attn=2 if file.has("attn_norm_2.weight") else 1,
        )
    if kind == "mpt":
        config["expansion_ratio"] = file.need("feed_forward_length") // config["hidden_size"]
    if kind == "stablelm":
        config["use_parallel_residual"] = not file.has("ffn_norm.weight")
    if kind == "cohere":
        config["use_qk_norm"] = file.has("attn_q_norm.weight")
    if kind == "exaone4":
        config.setdefault("sliding_window", None)  # the small one has full attention only, and its file says no window
    if kind == "minimax_m3":
        _minimax_m3(config, file)
    if kind == "deepseek_v4":
        config.update(
            compress_ratios=file.header.get("attention.compress_ratios"), o_groups=file.number("attention.output_group_count"),
            o_lora_rank=file.number("attention.output_lora_rank"), hc_mult=file.number("hyper_connection.count"),
            num_hash_layers=file.number("hash_layer_count") or 0,
        )  # fmt: skip
    if kind == "deci":
        config["block_configs"] = _deci(config, file)
    if kind == "mimo_v2_flash":
        _mimo(config, file)
    if kind == "step3p5":
        _step(config, file)
    if kind in ("kimi_linear", "nemotron_h"):
        # Two names for the space that experts work in.
        config["moe_latent_size"] = file.number("moe_latent_size") or file.number("expert_latent_length") or 0
        config["latent_moe_use_norm"] = file.has("ffn_routed_norm.weight")
    lay_out_recurrent(config, family, file)
    if family.window == "gemma4":
        _gemma4(config, file)


def latent_attention(config: dict[str, Any], file: Parts) -> None:
    """Multi-head latent attention. Files state the latent as one head; older ones leave the values' width to the tensors."""
    rope, heads = file.need("rope.dimension_count"), file.need("attention.head_count")
    config["qk_rope_head_dim"] = rope
    config["qk_nope_head_dim"] = (file.number("attention.key_length_mla") or file.need("attention.key_length")) - rope
    output = file.shape("attn_output.weight")
    width = file.number("attention.value_length_mla") or file.number("attention.value_length")
    config["v_head_dim"] = width or (output[-1] // heads if output else file.need("attention.value_length"))
    config["num_key_value_heads"] = config["num_attention_heads"]
    config.pop("head_dim", None)
    if not file.has("attn_q_a.weight"):
        config.pop("q_lora_rank", None)


def _minimax_m3(config: dict[str, Any], file: Parts) -> None:
    layers = range(config["num_hidden_layers"])
    config["sparse_attention_config"] = {
        "sparse_num_index_heads": config.get("index_n_heads"), "sparse_index_dim": config.get("index_head_dim"),
        "sparse_topk_blocks": config.get("index_topk"), "sparse_block_size": file.number("attention.indexer.block_size"),
        "sparse_local_block": file.number("attention.indexer.local_blocks") or 0,
        "sparse_attention_freq": [int(file.holds(n, "indexer.")) for n in layers],
    }  # fmt: skip
    config["shared_intermediate_size"] = (file.number("expert_shared_count") or 0) * config["intermediate_size"]


def _deci(config: dict[str, Any], file: Parts) -> list[dict[str, Any]]:
    """Each layer of architecture search: no query heads, no attention; query heads without a key, a matrix in its place."""
    layers, hidden = config["num_hidden_layers"], file.need("embedding_length")
    heads, keys, widths = (
        file.each(key, layers) for key in ("attention.head_count", "attention.head_count_kv", "feed_forward_length")
    )  # fmt: skip
    made = []
    for n in range(layers):
        attention = {"n_heads_in_group": heads[n] // keys[n]} if keys[n] else {"replace_with_linear": True} if heads[n] else {"no_op": True}
        feeding = {"ffn_mult": 3 * widths[n] / (2 * hidden)} if widths[n] else {"no_op": True}
        made.append({"attention": attention, "ffn": feeding})
    return made


def _mimo(config: dict[str, Any], file: Parts) -> None:
    """Layers with a window have key heads of their own, and perhaps sinks."""
    layers = config["num_hidden_layers"]
    slides = file.each("attention.sliding_window_pattern", layers)
    counts = file.each("attention.head_count_kv", layers)
    config.pop("layer_types", None)
    config["hybrid_layer_pattern"] = [int(flag) for flag in slides]
    for flag, field, sinks in ((0, "num_key_value_heads", "add_full_attention_sink_bias"),
                               (1, "swa_num_key_value_heads", "add_swa_attention_sink_bias")):  # fmt: skip
        those = [n for n in range(layers) if int(slides[n]) == flag]
        if those:
            config[field] = counts[those[0]]
        config[sinks] = any(file.holds(n, "attn_sinks") for n in those)


def _step(config: dict[str, Any], file: Parts) -> None:
    """Layers with a window have heads of their own."""
    layers = config["num_hidden_layers"]
    heads, groups = (file.each(key, layers) for key in ("attention.head_count", "attention.head_count_kv"))
    kinds = config.get("layer_types") or ["full_attention"] * layers
    full, slides = (next((n for n, kind in enumerate(kinds) if kind == wanted), None) for wanted in ("full_attention", "sliding_attention"))
    if full is not None:
        config.update(num_attention_heads=heads[full], num_key_value_heads=groups[full])
    if slides is not None:
        config["attention_other_setting"] = {"num_attention_heads": heads[slides], "num_attention_groups": groups[slides]}
    config.update(
        use_head_wise_attn_gate=file.has("attn_gate.weight"),
        moe_layers_enum=[n for n in range(layers) if file.holds(n, "ffn_gate_inp")],
        share_expert_dim=file.number("expert_shared_feed_forward_length") or 0,
    )


def _gemma4(config: dict[str, Any], file: Parts) -> None:
    """Full layers have their own width and heads; `sliding_window_pattern` says which slide."""
    pattern, counts, widths = (file.header.get(f"{key}") for key in (
        "attention.sliding_window_pattern", "attention.head_count_kv", "feed_forward_length"))  # fmt: skip
    config["global_head_dim"] = config.get("head_dim")
    config["head_dim"] = file.number("attention.key_length_swa") or config.get("head_dim")
    config.pop("v_head_dim", None)
    if isinstance(pattern, list):
        full = next((n for n, flag in enumerate(pattern) if not flag), None)
        if full is not None:
            config["attention_k_eq_v"] = not file.holds(full, "attn_v.")
            if isinstance(counts, list):
                config["num_key_value_heads"] = counts[next((n for n, flag in enumerate(pattern) if flag), full)]
                config["num_global_key_value_heads"] = counts[full]
    if isinstance(widths, list):
        config["intermediate_size"], config["use_double_wide_mlp"] = widths[0], widths[-1] > widths[0]
    if config.get("num_experts") and (width := file.number("expert_feed_forward_length")):
        config["moe_intermediate_size"] = width
    table = file.shapes.get("per_layer_token_embd.weight")
    if table is None:
        config["hidden_size_per_layer_input"] = 0  # the key is there whether or not the layers have embeddings
    else:
        config["vocab_size_per_layer_input"] = table[0]
