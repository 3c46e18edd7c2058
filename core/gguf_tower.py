"""The vision tower of a GGUF model: a file of its own (mmproj), whose header says how it is built and what it takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from core.gguf import GgufHeader

# llama.cpp's kinds of projector (clip-impl.h): our kind of tower, by the model_type of a vision_config.
_KINDS: Mapping[str, str] = {
    "gemma3": "siglip_vision_model", "qwen2vl_merger": "qwen2_vl", "qwen2.5vl_merger": "qwen2_5_vl", "qwen3vl_merger": "qwen3_vl",
    "pixtral": "pixtral", "internvl": "internvl", "kimivl": "kimi_vl", "mlp": "clip_vision_model",
}  # fmt: skip
_SIZES = {
    "image_size": "image_size", "patch_size": "patch_size", "hidden_size": "embedding_length", "intermediate_size": "feed_forward_length",
    "num_hidden_layers": "block_count", "num_attention_heads": "attention.head_count", "spatial_merge_size": "spatial_merge_size",
    "window_size": "window_size",
}  # fmt: skip


def tower_file(files: Sequence[str]) -> str | None:
    """Which of several tower files an engine would be given: one of 16 bits."""
    ranked = sorted(files, key=lambda file: ("f16" not in file.lower(), "bf16" in file.lower(), PurePosixPath(file).name))
    return ranked[0] if ranked else None


def tower_config(header: GgufHeader) -> dict[str, Any]:
    """Config fields of the tower as Hugging Face names them, for the model's own config; empty where the header describes none."""
    said = header.metadata
    name = said.get("clip.vision.projector_type") or said.get("clip.projector_type")
    vision = {field: said[f"clip.vision.{key}"] for field, key in _SIZES.items() if isinstance(said.get(f"clip.vision.{key}"), int)}
    if "hidden_size" not in vision:
        return {}
    kind = _KINDS.get(str(name), str(name))
    vision["model_type"] = kind
    if kind in ("qwen2_vl", "qwen2_5_vl", "qwen3_vl"):
        vision |= {"temporal_patch_size": 2, "spatial_merge_size": vision.get("spatial_merge_size", 2)}
    if kind == "qwen2_vl":
        vision["embed_dim"] = vision["hidden_size"]
        vision["mlp_ratio"] = max(1, vision.get("intermediate_size", 0) // vision["hidden_size"])
    if kind == "qwen3_vl":
        vision["num_position_embeddings"] = _rows(header, "v.position_embd.weight")
        marked = said.get("clip.vision.is_deepstack_layers")
        vision["deepstack_visual_indexes"] = [n for n, on in enumerate(marked) if on] if isinstance(marked, list) else []
    if kind == "qwen2_5_vl" and isinstance(every := said.get("clip.vision.n_wa_pattern"), int) and every > 0:
        vision["fullatt_block_indexes"] = list(range(every - 1, vision.get("num_hidden_layers", 0), every))
    outer: dict[str, Any] = {"vision_config": vision}
    if kind == "pixtral":
        outer["spatial_merge_size"] = vision.get("spatial_merge_size", 1)
    if kind == "siglip_vision_model":
        outer["mm_tokens_per_image"] = 256
    return outer


def _rows(header: GgufHeader, name: str) -> int | None:
    """Rows of a table of positions."""
    return next((tensor.shape[0] for tensor in header.tensors if tensor.name == name and len(tensor.shape) == 2), None)
