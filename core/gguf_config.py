"""A config, as Hugging Face writes them, from the metadata of a GGUF file: one layout for both.

Sizes come from the architecture's keys; what they leave unsaid (biases, norms, which layers recur) from the tensors.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from core.errors import HubError
from core.gguf import GgufHeader
from core.gguf_layouts import latent_attention, lay_out
from core.gguf_parts import Parts
from core.ir_families import FAMILIES
from core.ir_family import Family

# llama.cpp's architectures and the model type with the same layout; some decide between two below.
ARCHITECTURES: Mapping[str, str] = {
    "llama": "llama", "mistral3": "ministral3", "arcee": "arcee", "granite": "granite", "smollm3": "smollm3", "minicpm": "minicpm",
    "seed_oss": "seed_oss", "bitnet": "bitnet", "qwen": "qwen", "qwen2": "qwen2", "qwen2vl": "qwen2", "qwen2moe": "qwen2_moe",
    "qwen3": "qwen3", "qwen3vl": "qwen3", "qwen3moe": "qwen3_moe", "qwen3vlmoe": "qwen3_moe", "qwen3next": "qwen3_next",
    "qwen35": "qwen3_5", "qwen35moe": "qwen3_5_moe", "gemma": "gemma", "gemma2": "gemma2", "gemma3": "gemma3_text",
    "gemma4": "gemma4_text", "phi2": "phi", "phi3": "phi3", "phimoe": "phimoe", "deepseek": "deepseek", "deepseek2": "deepseek_v3",
    "deepseek32": "deepseek_v32", "deepseek4": "deepseek_v4", "glm-dsa": "glm_moe_dsa", "glm4": "glm4", "glm4moe": "glm4_moe",
    "dots1": "dots1", "chatglm": "chatglm", "gpt-oss": "gpt_oss", "minimax-01": "minimax", "minimax-m2": "minimax_m2",
    "minimax-m3": "minimax_m3", "llama4": "llama4_text", "ernie4_5": "ernie4_5", "ernie4_5-moe": "ernie4_5_moe",
    "hunyuan-dense": "hunyuan_v1_dense", "hunyuan_vl": "hunyuan_v1_dense", "hunyuan-moe": "hunyuan_v1_moe", "olmo": "olmo",
    "olmo2": "olmo2", "olmoe": "olmoe", "exaone": "llama", "exaone4": "exaone4", "exaone-moe": "dots1", "xverse": "llama",
    "starcoder": "gpt_bigcode", "starcoder2": "starcoder2", "command-r": "cohere", "cohere2": "cohere2", "orion": "orion",
    "stablelm": "stablelm", "nemotron": "nemotron", "apertus": "apertus", "internlm2": "internlm2", "baichuan": "baichuan",
    "gpt2": "gpt2", "gptj": "gptj", "gptneox": "gpt_neox", "bloom": "bloom", "falcon": "falcon", "mpt": "mpt", "deci": "deci",
    "lfm2": "lfm2", "lfm2moe": "lfm2_moe", "granitehybrid": "granitemoehybrid", "granitemoe": "granitemoehybrid",
    "nemotron_h": "nemotron_h", "nemotron_h_moe": "nemotron_h", "kimi-linear": "kimi_linear", "kimi-k3": "kimi_linear",
    "mamba": "mamba", "mamba2": "mamba2", "jamba": "jamba", "falcon-h1": "falcon_h1", "gemma3n": "gemma3n_text", "rwkv6": "rwkv6",
    "rwkv7": "rwkv7", "afmoe": "afmoe", "bailingmoe": "bailing_moe", "bailingmoe2": "bailing_moe", "minicpm3": "minicpm3",
    "step35": "step3p5", "mimo2": "mimo_v2_flash",
}  # fmt: skip

# What generates no text of its own.
_OTHER_TASKS = frozenset({
    "bert", "modern-bert", "neo-bert", "nomic-bert", "nomic-bert-moe", "jina-bert-v2", "jina-bert-v3", "eurobert", "gemma-embedding",
    "llama-embed", "t5", "t5encoder", "wavtokenizer-dec", "qwen3tts", "pockettts", "eagle3", "dflash", "gemma4-assistant",
})  # fmt: skip

# Config field -> key of the architecture. Arrays of one number a layer give the first that is not 0.
_FIELDS: Mapping[str, str] = {
    "hidden_size": "embedding_length", "num_attention_heads": "attention.head_count", "num_key_value_heads": "attention.head_count_kv",
    "head_dim": "attention.key_length", "intermediate_size": "feed_forward_length", "max_position_embeddings": "context_length",
    "sliding_window": "attention.sliding_window", "num_experts": "expert_count", "num_experts_per_tok": "expert_used_count",
    "moe_intermediate_size": "expert_feed_forward_length", "n_shared_experts": "expert_shared_count",
    "first_k_dense_replace": "leading_dense_block_count", "num_nextn_predict_layers": "nextn_predict_layers",
    "shared_expert_intermediate_size": "expert_shared_feed_forward_length", "q_lora_rank": "attention.q_lora_rank",
    "kv_lora_rank": "attention.kv_lora_rank", "index_n_heads": "attention.indexer.head_count",
    "index_head_dim": "attention.indexer.key_length", "index_topk": "attention.indexer.top_k",
    "interleave_moe_layer_step": "interleave_moe_layer_step",
    "conv_L_cache": "shortconv.l_cache", "num_kv_shared_layers": "attention.shared_kv_layers",
    "hidden_size_per_layer_input": "embedding_length_per_layer_input", "altup_num_inputs": "altup.num_inputs",
    "head_size": "wkv.head_size", "time_mix_extra_dim": "time_mix_extra_dim", "time_decay_extra_dim": "time_decay_extra_dim",
    "decay_low_rank_dim": "attention.decay_lora_rank", "a_low_rank_dim": "attention.iclr_lora_rank",
    "v_low_rank_dim": "attention.value_residual_mix_lora_rank", "gate_low_rank_dim": "attention.gate_lora_rank",
}  # fmt: skip

# Switches of a family that name a config field, and the tensor that answers them.
_SWITCHES: Mapping[str, tuple[str, ...]] = {
    "qkv_bias": ("attn_q.bias", "attn_qkv.bias"), "out_bias": ("attn_output.bias",), "mlp_bias": ("ffn_up.bias", "ffn_down.bias"),
    "qk_norm": ("attn_q_norm.weight",), "router_bias": ("ffn_gate_inp.bias",), "correction_bias": ("exp_probs_b.bias",),
    "gate_beside": ("attn_gate.weight",),
}  # fmt: skip


def config_of(header: GgufHeader, name: str) -> dict[str, Any]:
    """The config that the header describes; `name` is what errors call the file.

    Raises HubError where it is no language model or lacks what a layout needs.
    """
    if not header.architecture:
        raise HubError(f"'{name}' does not name its architecture (general.architecture); convert it again with a current llama.cpp.")
    if header.is_vision:
        raise HubError(f"'{name}' is a vision or audio tower (mmproj), no language model; give the model's own GGUF file.")
    if header.metadata.get("general.type") in ("adapter", "imatrix", "vocab"):
        raise HubError(f"'{name}' is no model but of type '{header.metadata['general.type']}'; give the model's own GGUF file.")
    if header.architecture in _OTHER_TASKS:
        raise HubError(
            f"'{name}' ({header.architecture}) is an encoder, a speech model or a draft for another model, which Roofcast does not "
            "estimate; give the GGUF file of a decoder-only language model."
        )
    file = Parts(header, name)
    config: dict[str, Any] = {field: found for field, key in _FIELDS.items() if (found := file.number(key)) is not None}
    config["model_type"] = kind = _model_type(file)
    embedding = file.shapes.get("token_embd.weight")
    vocab = embedding[0] if embedding else file.number("vocab_size") or header.metadata.get("tokenizer.ggml.tokens")
    if vocab is not None:
        config["vocab_size"] = int(vocab) if isinstance(vocab, int) else len(vocab)
    config["num_hidden_layers"] = layers = file.need("block_count") - (file.number("nextn_predict_layers") or 0)
    config["tie_word_embeddings"] = "output.weight" not in file.shapes
    config["torch_dtype"] = "float16"
    width = file.number("attention.value_length")
    if width and width != config.get("head_dim"):
        config["v_head_dim"] = width
    if config.get("sliding_window") == 0:
        config["sliding_window"] = None  # how files write that nothing slides
    family = FAMILIES.get(kind)
    if family is not None and not family.attends:
        config.pop("head_dim", None)
        config.pop("v_head_dim", None)
    pattern = header.get("attention.sliding_window_pattern")
    if isinstance(pattern, list) and config.get("sliding_window"):
        config["layer_types"] = ["sliding_attention" if flag else "full_attention" for flag in pattern[:layers]]
    if family is not None:
        _switches(config, family, file)
        lay_out(config, family, file)
    else:
        if config.get("kv_lora_rank") and file.number("rope.dimension_count"):
            latent_attention(config, file)
        # Recurrent layers of an architecture that is not known must not be taken for attention.
        start = f"{header.architecture}."
        recurrent = ("ssm.", "wkv.", "kda.", "shortconv.")
        keys = {key.removeprefix(start): item for key, item in header.metadata.items() if key.startswith(start)}
        config.update({key.replace(".", "_"): item for key, item in keys.items() if key.startswith(recurrent)})
    return config


def _model_type(file: Parts) -> str:
    name = file.header.architecture
    kind = ARCHITECTURES.get(name, name)
    if kind == "llama" and (file.number("expert_count") or 0) > 0:
        return "mixtral"
    if kind == "deepseek_v3" and not file.has("exp_probs_b.bias"):
        return "deepseek_v2"
    if kind == "olmo2" and file.number("attention.sliding_window"):
        return "olmo3"
    return kind


def _switches(config: dict[str, Any], family: Family, file: Parts) -> None:
    said: dict[str, bool] = {}
    for switch, parts in _SWITCHES.items():
        if isinstance(field := getattr(family, switch), str):
            field = field.partition("=")[0]
            said[field] = said.get(field, False) or file.has(*parts)
    if isinstance(family.head_bias, str):
        said[family.head_bias.partition("=")[0]] = "output.bias" in file.shapes
    config.update(said)
