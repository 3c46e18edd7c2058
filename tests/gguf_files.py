"""Headers of GGUF files for tests: any metadata and tensors, and a model's as llama.cpp's converter writes them."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from typing import Any

from fake_hub import Served

from core.catalog.quants import quant
from core.gguf import TYPES
from core.gguf_config import ARCHITECTURES
from core.ir import ModelIR
from core.weights import tensor_formats

NUMBERS = {kind.name: number for number, kind in TYPES.items()}
Info = tuple[str, tuple[int, ...], str]  # name, shape (…, out, in), type

# llama.cpp's names where they are not the role's (its tensor_mapping.py).
POST = {"seed_oss", "gpt_oss", "qwen3_next", "qwen3_5", "qwen3_5_moe", "glm4_moe"}
NAMES = {
    "layer_out_scale": "layer_output_scale", "linear_qkv": "attn_qkv", "linear_q": "attn_q", "linear_k": "attn_k", "linear_v": "attn_v",
    **{f"shortconv_{part}": f"shortconv.{part}" for part in ("in_proj", "conv", "out_proj")},
    **{f"indexer_{part}": f"indexer.{part}" for part in ("attn_q_b", "attn_k", "k_norm", "proj")},
}  # fmt: skip


def text(value: str) -> bytes:
    raw = value.encode()
    return struct.pack("<Q", len(raw)) + raw


def value(item: Any) -> bytes:
    """A value with its kind before it."""
    match item:
        case bool():
            return struct.pack("<I?", 7, item)
        case int():
            return struct.pack("<Iq", 11, item) if item < 0 or item >= 2**32 else struct.pack("<II", 4, item)
        case float():
            return struct.pack("<Id", 12, item)
        case str():
            return struct.pack("<I", 8) + text(item)
        case list():
            kinds = [value(part) for part in item]
            first = kinds[0][:4] if kinds else struct.pack("<I", 4)
            return struct.pack("<I", 9) + first + struct.pack("<Q", len(item)) + b"".join(kind[4:] for kind in kinds)
    raise AssertionError(item)


def size_of(shape: tuple[int, ...], kind: str) -> int:
    known = TYPES[NUMBERS[kind]]
    count = 1
    for size in shape:
        count *= size
    return count // known.elements * known.bytes


def gguf(metadata: Mapping[str, Any], tensors: Iterable[Info], version: int = 3) -> Served:
    """A GGUF file; its tensors are zeros behind the header."""
    infos, at = [], 0
    alignment = metadata.get("general.alignment", 32)
    for name, shape, kind in tensors:
        infos.append(text(name) + struct.pack("<I", len(shape)) + b"".join(struct.pack("<Q", n) for n in reversed(shape))
                     + struct.pack("<IQ", NUMBERS[kind], at))  # fmt: skip
        at += -(-size_of(shape, kind) // alignment) * alignment
    head = b"GGUF" + struct.pack("<IQQ", version, len(infos), len(metadata))
    head += b"".join(text(key) + value(item) for key, item in metadata.items()) + b"".join(infos)
    start = -(-len(head) // alignment) * alignment
    return Served(head + bytes(start - len(head)), start + at)


def gguf_of(ir: ModelIR, config: Mapping[str, Any], quant_id: str = "Q4_K_M", vocabulary: int = 300) -> Served:
    """The model in a GGUF quantisation, by llama.cpp's names. `vocabulary` tokens stand in the header."""
    tensors = list(infos_of(ir, quant_id))
    return gguf(metadata_of(ir, config, vocabulary), tensors)


def infos_of(ir: ModelIR, quant_id: str) -> Iterable[Info]:
    for tensor, kind in zip(ir.tensors, tensor_formats(ir, quant(quant_id, "gguf")), strict=True):
        if tensor.group == "mtp":
            continue
        role, bias = tensor.role.removesuffix("_bias"), tensor.name.endswith(".bias")
        place = "" if tensor.layer is None else f"blk.{tensor.layer}."
        if role == "ffn_norm" and ir.model_type in POST:
            role = "post_attention_norm"
        role = NAMES.get(role, role)
        yield f"{place}{role}.{'bias' if bias or role == 'exp_probs_b' else 'weight'}", tensor.shape, kind


def metadata_of(ir: ModelIR, config: Mapping[str, Any], vocabulary: int = 300) -> dict[str, Any]:
    """What llama.cpp's converter writes of a model."""
    arch = architecture(ir, config)
    raw = config.get("text_config") or config
    blocks = {layer: block for block in ir.blocks for layer in block.layers}
    first = blocks[0]
    attending = next((b.attention for b in ir.blocks if b.attention.kind not in ("linear", "none")), first.attention)
    keys: dict[str, Any] = {"block_count": ir.layers, "context_length": ir.max_context, "embedding_length": ir.hidden}
    kv_heads = [blocks[n].attention.kv_heads for n in range(ir.layers)]
    keys["attention.head_count"] = attending.heads
    keys["attention.head_count_kv"] = kv_heads[0] if len(set(kv_heads)) == 1 else kv_heads
    keys["attention.key_length"], keys["attention.value_length"] = attending.head_dim, attending.v_head_dim
    dense = [blocks[n].mlp.intermediate if blocks[n].mlp.kind == "dense" else 0 for n in range(ir.layers)]
    if any(dense):
        keys["feed_forward_length"] = max(dense) if ir.model_type != "nemotron_h" else dense
    moe = next((block.mlp for block in ir.blocks if block.mlp.kind == "moe"), None)
    if moe is not None:
        keys.update({"expert_count": moe.experts, "expert_used_count": moe.top_k})
        wide = "feed_forward_length" if arch in ("llama", "granitehybrid", "phimoe", "olmoe") else "expert_feed_forward_length"
        keys[wide] = moe.intermediate
        if moe.shared_intermediate:
            keys["expert_shared_feed_forward_length"] = moe.shared_intermediate
            keys["expert_shared_count"] = raw.get("n_shared_experts") or raw.get("moe_num_shared_experts") or 1
        keys["leading_dense_block_count"] = next(n for n in range(ir.layers) if blocks[n].mlp.kind == "moe")
        if arch == "llama4":
            keys["interleave_moe_layer_step"] = raw["interleave_moe_layer_step"]
    if attending.kind == "mla":
        keys.update({"attention.kv_lora_rank": attending.kv_lora_rank, "rope.dimension_count": attending.rope_head_dim,
                     "attention.key_length": attending.kv_lora_rank + attending.rope_head_dim, "attention.head_count_kv": 1,
                     "attention.value_length": attending.kv_lora_rank, "attention.key_length_mla": attending.head_dim,
                     "attention.value_length_mla": attending.v_head_dim})  # fmt: skip
        if attending.q_lora_rank:
            keys["attention.q_lora_rank"] = attending.q_lora_rank
        if attending.index_elements:
            keys.update({"attention.indexer.head_count": raw["index_n_heads"], "attention.indexer.key_length": raw["index_head_dim"],
                         "attention.indexer.top_k": raw["index_topk"]})  # fmt: skip
    windows = {block.attention.window for block in ir.blocks if block.attention.window}
    if windows and arch != "llama4":
        keys["attention.sliding_window"] = windows.pop()
    keys.update(_recurrent(ir, raw, arch))
    if arch == "gemma4":
        full = next(b.attention for b in ir.blocks if b.attention.kind == "full")
        slide = next(b.attention for b in ir.blocks if b.attention.kind == "sliding")
        keys.update({"attention.key_length": full.head_dim, "attention.value_length": full.head_dim,
                     "attention.key_length_swa": slide.head_dim, "attention.value_length_swa": slide.head_dim,
                     "attention.sliding_window_pattern": [blocks[n].attention.kind == "sliding" for n in range(ir.layers)],
                     "attention.shared_kv_layers": raw.get("num_kv_shared_layers") or 0,
                     "embedding_length_per_layer_input": raw.get("hidden_size_per_layer_input") or 0})  # fmt: skip
        if moe is not None:
            keys["feed_forward_length"] = moe.shared_intermediate
    if arch == "gemma3n":
        keys.update({"attention.sliding_window_pattern": [blocks[n].attention.kind == "sliding" for n in range(ir.layers)],
                     "attention.shared_kv_layers": raw["num_kv_shared_layers"], "altup.num_inputs": raw["altup_num_inputs"],
                     "embedding_length_per_layer_input": raw["hidden_size_per_layer_input"]})  # fmt: skip
    tokens = [f"t{n}" for n in range(vocabulary)]
    return {"general.architecture": arch, "general.type": "model", "general.name": ir.id, **{f"{arch}.{k}": v for k, v in keys.items()},
            "tokenizer.ggml.model": "gpt2", "tokenizer.ggml.tokens": tokens}  # fmt: skip


def _recurrent(ir: ModelIR, raw: Mapping[str, Any], arch: str) -> dict[str, Any]:
    def get(*names: str) -> Any:
        return next((raw[name] for name in names if raw.get(name) is not None), None)

    if arch in ("lfm2", "lfm2moe"):
        return {"shortconv.l_cache": raw["conv_L_cache"]}
    if arch == "kimi-linear":
        own = raw["linear_attn_config"]
        return {"kda.head_dim": own["head_dim"], "ssm.conv_kernel": own["short_conv_kernel_size"]}
    if arch.startswith("qwen3") and raw.get("linear_num_value_heads"):
        heads = raw["linear_num_value_heads"]
        return {"ssm.conv_kernel": raw["linear_conv_kernel_dim"], "ssm.state_size": raw["linear_key_head_dim"], "ssm.time_step_rank": heads,
                "ssm.group_count": raw["linear_num_key_heads"], "ssm.inner_size": heads * raw["linear_value_head_dim"]}  # fmt: skip
    if arch == "rwkv7":
        ranks = {"decay": "decay", "a": "iclr", "v": "value_residual_mix", "gate": "gate"}
        return {"wkv.head_size": raw["head_dim"],
                **{f"attention.{name}_lora_rank": raw[f"{field}_low_rank_dim"] for field, name in ranks.items()}}  # fmt: skip
    if narrow := next((tensor for tensor in ir.tensors if tensor.role == "ssm_x"), None):
        rank = next(tensor for tensor in ir.tensors if tensor.role == "ssm_dt").shape[1]
        return {"ssm.conv_kernel": get("conv_kernel", "mamba_d_conv") or 4, "ssm.state_size": get("state_size", "mamba_d_state"),
                "ssm.inner_size": narrow.shape[1], "ssm.time_step_rank": rank}  # fmt: skip
    if any(tensor.role == "ssm_d" for tensor in ir.tensors):
        heads = get("mamba_num_heads", "mamba_n_heads")
        return {"ssm.conv_kernel": get("conv_kernel", "mamba_d_conv"), "ssm.state_size": get("ssm_state_size", "mamba_d_state"),
                "ssm.time_step_rank": heads, "ssm.group_count": get("n_groups", "mamba_n_groups"),
                "ssm.inner_size": heads * get("mamba_head_dim", "mamba_d_head")}  # fmt: skip
    return {}


def architecture(ir: ModelIR, config: Mapping[str, Any]) -> str:
    """llama.cpp's architecture of a model type."""
    by_type = {"mixtral": "llama", "mistral": "llama", "deepseek_v2": "deepseek2", "kimi_k2": "deepseek2", "glm4_moe_lite": "deepseek2",
               "olmo3": "olmo2"}  # fmt: skip
    names = {kind: arch for arch, kind in ARCHITECTURES.items() if arch not in ("qwen2vl", "qwen3vl", "qwen3vlmoe", "nemotron_h_moe")}
    return by_type.get(ir.model_type) or names[ir.model_type]
