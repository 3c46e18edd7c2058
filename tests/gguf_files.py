"""Headers of GGUF files for tests: any metadata and tensors, and a model's as llama.cpp's converter writes them."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from typing import Any

from fake_hub import Served

from core.catalog.quants import quant
from core.gguf import TYPES
from core.gguf_config import ARCHITECTURES
from core.ir import ModelIR, Tensor
from core.weights import tensor_formats

NUMBERS = {kind.name: number for number, kind in TYPES.items()}
Info = tuple[str, tuple[int, ...], str]  # name, shape (…, out, in), type

# llama.cpp's names where they are not the role's (its tensor_mapping.py).
_POST = {"ffn_norm": "post_attention_norm"}
_LINEAR = {"linear_qkv": "attn_qkv", **{f"linear_{part}": f"attn_{part}" for part in "qkv"}}
_TIME = {"r": "receptance", "k": "key", "v": "value", "g": "gate"}
_RWKV = {
    "ffn_norm": "attn_norm_2", "ffn_up": "channel_mix_key", "ffn_down": "channel_mix_value",
    **{f"time_mix_{role}": f"time_mix_{name}" for role, name in _TIME.items()},
}  # fmt: skip
FAMILY_NAMES: Mapping[str, Mapping[str, str]] = {
    **dict.fromkeys(("seed_oss", "gpt_oss", "glm4_moe", "qwen3_next"), _POST),
    **{kind: {**_POST, **_LINEAR} for kind in ("qwen3_5", "qwen3_5_moe")}, "lfm2": {"output_norm": "token_embd_norm"},
    "lfm2_moe": {"output_norm": "token_embd_norm"}, "kimi_linear": {**_LINEAR, "ssm_out": "attn_output"},
    "minimax": {"ssm_norm": "attn_norm_2", "ssm_out": "attn_output"}, "nemotron_h": {"ffn_norm": "attn_norm"},
    "rwkv6": _RWKV, "rwkv7": _RWKV,
}  # fmt: skip
NAMES = {
    "layer_out_scale": "layer_output_scale", "per_layer_inp_gate": "inp_gate", "per_layer_proj": "proj", "per_layer_post_norm": "post_norm",
    **{f"shortconv_{part}": f"shortconv.{part}" for part in ("in_proj", "conv", "out_proj")},
    **{f"indexer_{part}": f"indexer.{part}" for part in ("attn_q_b", "attn_k", "q_norm", "k_norm", "proj")},
    "indexer_q": "indexer.q_proj", "indexer_k": "indexer.k_proj", "ffn_hash": "ffn_gate_tid2eid",
    **{f"hc_head_{part}": f"output_hc_{part}" for part in ("fn", "base", "scale")},
}  # fmt: skip
# Written before or behind the layers, or among the keys.
OUTSIDE = {"per_layer_model_proj", "per_layer_proj_norm", "altup_proj", "altup_unembd_proj"}
AMONG_KEYS = {"ffn_alpha_p", "ffn_alpha_n"}


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
    streams: dict[str, int] = {}  # Gemma 3n's matrices of the further streams are stacked
    for tensor in ir.tensors:
        streams[tensor.role] = streams.get(tensor.role, 0) + tensor.role.startswith("altup_") * tensor.role.endswith("proj")
    for tensor, kind in zip(ir.tensors, tensor_formats(ir, quant(quant_id, "gguf")), strict=True):
        role, bias = tensor.role.removesuffix("_bias"), tensor.name.endswith(".bias")
        if tensor.group == "mtp" or role in AMONG_KEYS or (streams[tensor.role] and not tensor.name.endswith(".0.weight")):
            continue
        shape = (streams[role], *tensor.shape) if streams[tensor.role] else tensor.shape
        yield name_of(tensor, ir.model_type, role, bias), shape, kind


def name_of(tensor: Tensor, kind: str, role: str, bias: bool) -> str:
    """What llama.cpp's converter calls a tensor."""
    place = "" if tensor.layer is None or role in OUTSIDE else f"blk.{tensor.layer}."
    if role == "exp_probs_b" or (role == "ssm_dt" and len(tensor.shape) == 1):
        bias = True
    if kind == "kimi_linear" and role.startswith("ffn_latent_"):
        role = role.replace("latent", "routed")
    if kind == "rwkv7" and bias and role in ("time_mix_w2", "time_mix_a2", "time_mix_v2"):
        role, bias = role[:-1] + "0", False
    if role in ("ffn_gate_inp_scale", "ffn_exps_scale"):
        return place + {"ffn_gate_inp_scale": "ffn_gate_inp", "ffn_exps_scale": "ffn_down_exps"}[role] + ".scale"
    role = FAMILY_NAMES.get(kind, {}).get(role) or NAMES.get(role, role)
    return f"{place}{role}.{'bias' if bias else 'weight'}"


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
        wide = (
            "feed_forward_length" if arch in ("llama", "granitehybrid", "phimoe", "olmoe", "minimax-01") else "expert_feed_forward_length"
        )
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
    if windows and arch not in ("llama", "llama4", "starcoder2"):  # of these the converter leaves the window out
        keys["attention.sliding_window"] = windows.pop()
    keys.update(_recurrent(ir, raw, arch))
    keys.update(_own(ir, raw, arch, dense))
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
    if arch == "minicpm3":  # its converter writes no width of the values
        keys = {key: item for key, item in keys.items() if not key.startswith(("attention.value_length", "attention.key_length_mla"))}
        keys.update({"attention.key_length": attending.head_dim, "attention.head_count_kv": attending.heads})
    tokens = [f"t{n}" for n in range(vocabulary)]
    return {"general.architecture": arch, "general.type": "model", "general.name": ir.id, **{f"{arch}.{k}": v for k, v in keys.items()},
            "tokenizer.ggml.model": "gpt2", "tokenizer.ggml.tokens": tokens}  # fmt: skip


def _own(ir: ModelIR, raw: Mapping[str, Any], arch: str, dense: list[int]) -> dict[str, Any]:
    """Keys of single architectures."""
    layers = [next(block.attention for block in ir.blocks if n in block.layers) for n in range(ir.layers)]
    slides = [attention.kind == "sliding" for attention in layers]
    match arch:
        case "qwen":
            return {"feed_forward_length": 2 * max(dense)}  # of gate and up together
        case "deci":
            return {"attention.head_count": [a.heads for a in layers], "attention.head_count_kv": [a.kv_heads for a in layers],
                    "feed_forward_length": dense}  # fmt: skip
        case "mimo2":
            return {"attention.sliding_window_pattern": [int(flag) for flag in slides]}
        case "step35":
            return {"attention.head_count": [a.heads for a in layers], "attention.sliding_window_pattern": slides}
        case "kimi-k3":
            return {"expert_latent_length": raw["routed_expert_hidden_size"], "expert_shared_count": raw["num_shared_experts"]}
        case "nemotron_h" if raw.get("moe_latent_size"):
            return {"moe_latent_size": raw["moe_latent_size"]}
        case "minimax-m3":
            own = raw["sparse_attention_config"]
            return {"attention.indexer.head_count": own["sparse_num_index_heads"], "attention.indexer.key_length": own["sparse_index_dim"],
                    "attention.indexer.top_k": own["sparse_topk_blocks"], "attention.indexer.block_size": own["sparse_block_size"],
                    "attention.indexer.local_blocks": own["sparse_local_block"], "expert_shared_count": 1}  # fmt: skip
        case "deepseek4":
            return {"attention.q_lora_rank": raw["q_lora_rank"], "attention.key_length": raw["head_dim"], "attention.head_count_kv": 1,
                    "attention.value_length": raw["head_dim"], "attention.compress_ratios": raw["compress_ratios"],
                    "attention.output_group_count": raw["o_groups"], "attention.output_lora_rank": raw["o_lora_rank"],
                    "attention.indexer.head_count": raw["index_n_heads"], "attention.indexer.key_length": raw["index_head_dim"],
                    "attention.indexer.top_k": raw["index_topk"],
                    "hyper_connection.count": raw["hc_mult"], "hash_layer_count": raw["num_hash_layers"]}  # fmt: skip
        case "olmo2" | "exaone4" if any(slides):
            return {"attention.sliding_window_pattern": slides}
    return {}


def _recurrent(ir: ModelIR, raw: Mapping[str, Any], arch: str) -> dict[str, Any]:
    def get(*names: str) -> Any:
        return next((raw[name] for name in names if raw.get(name) is not None), None)

    if arch in ("lfm2", "lfm2moe"):
        return {"shortconv.l_cache": raw["conv_L_cache"]}
    if arch in ("kimi-linear", "kimi-k3"):
        own = raw["linear_attn_config"]
        return {"kda.head_dim": own["head_dim"], "ssm.conv_kernel": own["short_conv_kernel_size"]}
    if arch.startswith("qwen3") and raw.get("linear_num_value_heads"):
        heads = raw["linear_num_value_heads"]
        return {"ssm.conv_kernel": raw["linear_conv_kernel_dim"], "ssm.state_size": raw["linear_key_head_dim"], "ssm.time_step_rank": heads,
                "ssm.group_count": raw["linear_num_key_heads"], "ssm.inner_size": heads * raw["linear_value_head_dim"]}  # fmt: skip
    if arch == "rwkv6":
        return {"wkv.head_size": raw["head_size"], "time_mix_extra_dim": raw["time_mix_extra_dim"],
                "time_decay_extra_dim": raw["time_decay_extra_dim"]}  # fmt: skip
    if arch == "rwkv7":
        ranks = {"decay": "decay", "a": "iclr", "v": "value_residual_mix", "gate": "gate"}
        return {"wkv.head_size": raw["head_dim"],
                **{f"attention.{name}_lora_rank": raw[f"{field}_low_rank_dim"] for field, name in ranks.items()}}  # fmt: skip
    if narrow := next((tensor for tensor in ir.tensors if tensor.role == "ssm_x"), None):
        rank = next(tensor for tensor in ir.tensors if tensor.role == "ssm_dt").shape[1]
        return {"ssm.conv_kernel": get("conv_kernel", "mamba_d_conv") or 4, "ssm.state_size": get("state_size", "mamba_d_state"),
                "ssm.inner_size": narrow.shape[1], "ssm.time_step_rank": rank}  # fmt: skip
    if any(tensor.role == "ssm_d" for tensor in ir.tensors):
        heads = get("mamba_num_heads", "mamba_n_heads", "num_heads")
        return {"ssm.conv_kernel": get("conv_kernel", "mamba_d_conv"),
                "ssm.state_size": get("ssm_state_size", "mamba_d_state", "state_size"),
                "ssm.time_step_rank": heads, "ssm.group_count": get("n_groups", "mamba_n_groups"),
                "ssm.inner_size": heads * get("mamba_head_dim", "mamba_d_head", "head_dim")}  # fmt: skip
    return {}


def architecture(ir: ModelIR, config: Mapping[str, Any]) -> str:
    """llama.cpp's architecture of a model type."""
    by_type = {"mixtral": "llama", "mistral": "llama", "deepseek_v2": "deepseek2", "kimi_k2": "deepseek2", "glm4_moe_lite": "deepseek2",
               "olmo3": "olmo2"}  # fmt: skip
    if ir.model_type == "kimi_linear" and (config.get("text_config") or config).get("routed_expert_hidden_size"):
        return "kimi-k3"
    names = {kind: arch for arch, kind in reversed(ARCHITECTURES.items())}  # the first of several
    return by_type.get(ir.model_type) or names[ir.model_type]
