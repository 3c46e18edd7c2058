"""A config, as Hugging Face writes them, from the metadata of a GGUF file: one layout for both.

Sizes come from the architecture's keys; what they leave unsaid (biases, norms, which layers recur) from the tensors.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from core.errors import HubError
from core.gguf import GgufHeader, Length
from core.ir_families import FAMILIES
from core.ir_family import Family

# llama.cpp's architectures and the model type with the same layout; some decide between two below.
ARCHITECTURES: Mapping[str, str] = {
    "llama": "llama", "mistral3": "ministral3", "arcee": "arcee", "granite": "granite", "smollm3": "smollm3", "minicpm": "minicpm",
    "seed_oss": "seed_oss", "bitnet": "bitnet", "qwen": "qwen", "qwen2": "qwen2", "qwen2vl": "qwen2", "qwen2moe": "qwen2_moe",
    "qwen3": "qwen3", "qwen3vl": "qwen3", "qwen3moe": "qwen3_moe", "qwen3vlmoe": "qwen3_moe", "qwen3next": "qwen3_next",
    "qwen35": "qwen3_5", "qwen35moe": "qwen3_5_moe", "gemma": "gemma", "gemma2": "gemma2", "gemma3": "gemma3_text",
    "gemma4": "gemma4_text", "phi2": "phi", "phi3": "phi3", "phimoe": "phimoe", "deepseek": "deepseek", "deepseek2": "deepseek_v3",
    "glm-dsa": "glm_moe_dsa", "glm4": "glm4", "glm4moe": "glm4_moe", "dots1": "dots1", "chatglm": "chatglm", "gpt-oss": "gpt_oss",
    "minimax-m2": "minimax_m2", "llama4": "llama4_text", "ernie4_5": "ernie4_5", "ernie4_5-moe": "ernie4_5_moe",
    "hunyuan-dense": "hunyuan_v1_dense", "hunyuan-moe": "hunyuan_v1_moe", "olmo": "olmo", "olmo2": "olmo2", "olmoe": "olmoe",
    "exaone4": "exaone4", "starcoder": "gpt_bigcode", "starcoder2": "starcoder2", "command-r": "cohere", "cohere2": "cohere2",
    "orion": "orion", "stablelm": "stablelm", "nemotron": "nemotron", "apertus": "apertus", "internlm2": "internlm2",
    "baichuan": "baichuan", "gpt2": "gpt2", "gptj": "gptj", "gptneox": "gpt_neox", "bloom": "bloom", "falcon": "falcon", "mpt": "mpt",
    "lfm2": "lfm2", "lfm2moe": "lfm2_moe", "granitehybrid": "granitemoehybrid", "nemotron_h": "nemotron_h",
    "nemotron_h_moe": "nemotron_h", "kimi-linear": "kimi_linear", "mamba": "mamba", "mamba2": "mamba2", "jamba": "jamba",
    "falcon-h1": "falcon_h1", "gemma3n": "gemma3n_text", "rwkv6": "rwkv6", "rwkv7": "rwkv7",
}  # fmt: skip

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
    "qk_norm": ("attn_q_norm.weight",), "router_bias": ("ffn_gate_inp.bias",),
}  # fmt: skip

# Families whose `intermediate_size` is one expert's.
_EXPERT_WIDTH = frozenset({"minimax_m2", "gpt_oss", "llama4_text", "phimoe", "olmoe", "hunyuan_v1_moe", "granitemoehybrid", "jamba"})


class _File:
    """A header's keys without the architecture, and its tensors by layer."""

    def __init__(self, header: GgufHeader, name: str) -> None:
        self.header, self.name = header, name
        self.shapes = {tensor.name: tensor.shape for tensor in header.tensors}
        self.parts: dict[int, set[str]] = {}
        for tensor in header.tensors:
            block, _, rest = tensor.name.partition(".")
            number, _, part = rest.partition(".")
            if block == "blk" and number.isdigit():
                self.parts.setdefault(int(number), set()).add(part)

    def number(self, key: str) -> Any:
        value = self.header.get(key)
        if isinstance(value, list):
            return next((item for item in value if item), None)
        return None if isinstance(value, Length) else value

    def need(self, key: str) -> int:
        value = self.number(key)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise HubError(
                f"'{self.name}' lacks the key '{self.header.architecture}.{key}', without which its layout is unknown; "
                "convert it again with a current llama.cpp."
            )
        return value

    def has(self, *parts: str) -> bool:
        return any(part in held for held in self.parts.values() for part in parts)

    def holds(self, layer: int, *prefixes: str) -> bool:
        return any(part.startswith(prefixes) for part in self.parts.get(layer, ()))


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
    file = _File(header, name)
    config: dict[str, Any] = {field: found for field, key in _FIELDS.items() if (found := file.number(key)) is not None}
    config["model_type"] = kind = _model_type(file)
    embedding = file.shapes.get("token_embd.weight")
    vocab = embedding[0] if embedding else file.number("vocab_size") or header.metadata.get("tokenizer.ggml.tokens")
    if vocab is not None:
        config["vocab_size"] = int(vocab) if isinstance(vocab, int) else len(vocab)
    config["num_hidden_layers"] = file.need("block_count") - (file.number("nextn_predict_layers") or 0)
    config["tie_word_embeddings"] = "output.weight" not in file.shapes
    config["torch_dtype"] = "float16"
    width = file.number("attention.value_length")
    if width and width != config.get("head_dim"):
        config["v_head_dim"] = width
    family = FAMILIES.get(kind)
    if family is not None and not family.attends:
        config.pop("head_dim", None)
        config.pop("v_head_dim", None)
    if family is not None:
        _switches(config, family, file)
        _special(config, family, file)
    else:
        # Recurrent layers of an architecture that is not known must not be taken for attention.
        start = f"{header.architecture}."
        recurrent = ("ssm.", "wkv.", "kda.", "shortconv.")
        keys = {key.removeprefix(start): item for key, item in header.metadata.items() if key.startswith(start)}
        config.update({key.replace(".", "_"): item for key, item in keys.items() if key.startswith(recurrent)})
    return config


def _model_type(file: _File) -> str:
    name = file.header.architecture
    kind = ARCHITECTURES.get(name, name)
    if kind == "llama" and (file.number("expert_count") or 0) > 0:
        return "mixtral"
    if kind == "deepseek_v3" and not file.has("exp_probs_b.bias"):
        return "deepseek_v2"
    if kind == "olmo2" and file.number("attention.sliding_window"):
        return "olmo3"
    return kind


def _switches(config: dict[str, Any], family: Family, file: _File) -> None:
    said: dict[str, bool] = {}
    for switch, parts in _SWITCHES.items():
        if isinstance(field := getattr(family, switch), str):
            field = field.partition("=")[0]
            said[field] = said.get(field, False) or file.has(*parts)
    if isinstance(family.head_bias, str):
        said[family.head_bias.partition("=")[0]] = "output.bias" in file.shapes
    config.update(said)


def _special(config: dict[str, Any], family: Family, file: _File) -> None:
    """What single families write in their own way."""
    kind, layers = config["model_type"], config["num_hidden_layers"]
    kv_heads = file.number("attention.head_count_kv") or 0
    if family.qkv == "mla":
        rope = file.need("rope.dimension_count")
        config["qk_rope_head_dim"] = rope
        config["qk_nope_head_dim"] = (file.number("attention.key_length_mla") or file.need("attention.key_length")) - rope
        config["v_head_dim"] = file.number("attention.value_length_mla") or file.need("attention.value_length")
        config["num_key_value_heads"] = config["num_attention_heads"]  # files state the latent as one head
        config.pop("head_dim", None)
    if kind in _EXPERT_WIDTH and config.get("num_experts"):
        if kind == "llama4_text":
            config["intermediate_size_mlp"] = config.get("intermediate_size")
        config["intermediate_size"] = file.number("expert_feed_forward_length") or config.get("intermediate_size")
    if kind in ("hunyuan_v1_moe", "ernie4_5_moe") and (shared := file.number("expert_shared_feed_forward_length")):
        config["n_shared_experts"] = shared // (file.number("expert_feed_forward_length") or shared)
    if kind == "qwen":
        config["intermediate_size"] = 2 * file.need("feed_forward_length")
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
    if kind in ("lfm2", "lfm2_moe"):
        config["block_auto_adjust_ff_dim"] = False
        config["full_attn_idxs"] = [layer for layer in range(layers) if file.holds(layer, "attn_q.")]
    if kind == "exaone4":
        config.setdefault("sliding_window", None)  # the small one has full attention only, and its file says no window
    if family.mixer in ("mamba", "mamba2", "gated_delta", "kda"):
        _recurrent(config, family, file)
    if family.window == "gemma4":
        _gemma4(config, file)
        if table := file.shapes.get("per_layer_token_embd.weight"):
            config["vocab_size_per_layer_input"] = table[0]


def _recurrent(config: dict[str, Any], family: Family, file: _File) -> None:
    layers = range(config["num_hidden_layers"])
    kernel = file.number("ssm.conv_kernel") or 4
    if family.mixer == "kda":
        width = file.need("kda.head_dim")
        config["linear_attn_config"] = {
            "num_heads": config["num_attention_heads"], "head_dim": width, "short_conv_kernel_size": kernel,
            "kda_layers": [layer + 1 for layer in layers if file.holds(layer, "ssm_")],
        }  # fmt: skip
        return
    if config["model_type"] == "granitemoehybrid" and not any(file.holds(layer, "ssm_") for layer in layers):
        config["layer_types"] = ["attention"] * len(layers)  # the smallest ones have no recurrent layer
        config["shared_intermediate_size"] = config.get("shared_expert_intermediate_size") or file.number("feed_forward_length") or 0
        return
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
        return
    if family.mixer_beside:
        config["mamba_rms_norm"] = file.has("ssm_norm.weight")
        return
    if config["model_type"] == "nemotron_h":
        config["hybrid_override_pattern"] = "".join(
            "M" if file.holds(n, "ssm_") else "*" if file.holds(n, "attn_q.") else "E" if file.holds(n, "ffn_gate_inp") else "-"
            for n in layers
        )
        config["moe_shared_expert_intermediate_size"] = config.get("shared_expert_intermediate_size")
        config["n_shared_experts"] = 1 if config.get("shared_expert_intermediate_size") else 0
    else:
        config["layer_types"] = ["mamba" if file.holds(n, "ssm_") else "attention" for n in layers]
        config["shared_intermediate_size"] = config.get("shared_expert_intermediate_size") or file.number("feed_forward_length") or 0


def _gemma4(config: dict[str, Any], file: _File) -> None:
    """Full layers have their own width and heads; `sliding_window_pattern` says which slide."""
    pattern, counts, widths = (file.header.get(f"{key}") for key in (
        "attention.sliding_window_pattern", "attention.head_count_kv", "feed_forward_length"))  # fmt: skip
    config["global_head_dim"] = config.get("head_dim")
    config["head_dim"] = file.number("attention.key_length_swa") or config.get("head_dim")
    config.pop("v_head_dim", None)
    if isinstance(pattern, list):
        slides = [bool(flag) for flag in pattern]
        config["layer_types"] = ["sliding_attention" if flag else "full_attention" for flag in slides]
        full = next((n for n, flag in enumerate(slides) if not flag), None)
        if full is not None:
            config["attention_k_eq_v"] = not file.holds(full, "attn_v.")
            if isinstance(counts, list):
                config["num_key_value_heads"] = counts[next((n for n, flag in enumerate(slides) if flag), full)]
                config["num_global_key_value_heads"] = counts[full]
    if isinstance(widths, list):
        config["intermediate_size"], config["use_double_wide_mlp"] = widths[0], widths[-1] > widths[0]
    if config.get("num_experts") and (width := file.number("expert_feed_forward_length")):
        config["moe_intermediate_size"] = width
