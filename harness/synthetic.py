"""Models of a real one's geometry with random weights: as GGUF in any of several quantisations, or as a checkpoint's folder.

An engine's speed hangs on shapes and types, not on what the weights say, so such files can be measured where no model may be
fetched. Their names hold "-synthetic", and the runs they give say "random weights".
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from core.catalog.models import ir, model
from core.catalog.quants import quant
from core.errors import RoofcastError, RunError
from core.gguf import FILE_TYPES, TYPES
from core.ir import ModelIR
from core.predict import write_whole
from core.weights import tensor_formats
from harness.prompts import WORDS
from harness.record import bench_folder

SIZES = {
    "135m": "HuggingFaceTB/SmolLM2-135M",
    "1b": "TinyLlama/TinyLlama-1.1B-Chat-v1.0",
    "3b": "meta-llama/Llama-3.2-3B",
}
QUANTS = ("F16", "Q8_0", "Q4_0", "Q4_K_M")
SPREAD = 0.02  # standard deviation of a weight, as models are initialised
# Where 16-bit scales stand in a block, and which make its weights spread by SPREAD around zero when all other bits are random.
_SCALES: dict[str, tuple[tuple[int, float], ...]] = {
    "q4_0": ((0, SPREAD / 4.61),), "q5_0": ((0, SPREAD / 9.23),), "q8_0": ((0, SPREAD / 73.9),),
    "q4_1": ((0, SPREAD / 4.61), (2, -7.5 * SPREAD / 4.61)), "q5_1": ((0, SPREAD / 9.23), (2, -15.5 * SPREAD / 9.23)),
    "q4_k": ((0, SPREAD / 259), (2, 7.5 * SPREAD / 259)), "q5_k": ((0, SPREAD / 532), (2, 15.5 * SPREAD / 532)),
    "q6_k": ((208, SPREAD / 1365),),
}  # fmt: skip
_UNKNOWN, _CONTROL, _NORMAL, _BYTE = 2, 3, 1, 6  # kinds of tokens
_ARCHITECTURE = "llama"


def folder() -> Path:
    """Where synthetic models stand."""
    return bench_folder() / "models"


def model_of(size: str) -> str:
    """The catalog's model that a size or a name means. Raises RunError where it is not of the architecture that is written."""
    if size in SIZES:
        return SIZES[size]
    found = model(size)
    if ir(found.id).model_type != _ARCHITECTURE:
        raise RunError(
            f"Synthetic files are written for models of type llama; {found.id} is {ir(found.id).model_type}. Take {', '.join(SIZES)}."
        )
    return found.id


def file_of(model_id: str, quant_id: str) -> Path:
    """Where a synthetic GGUF file stands."""
    return folder() / f"{model_id.split('/')[-1]}-synthetic-{quant_id}.gguf"


def write_synthetic(size: str, quant_id: str, *, seed: int = 0, tell: Callable[[int, int], None] | None = None) -> Path:
    """Writes the GGUF file of a size (or llama model) in a quantisation, unless it is there. Raises RunError."""
    model_id = model_of(size)
    out = file_of(model_id, quant_id)
    if not out.exists():
        geometry, config = ir(model_id), model(model_id).config
        write_gguf(out, geometry, config, quant_id, seed=seed, tell=tell)
    return out


def write_gguf(
    out: Path,
    geometry: ModelIR,
    config: Mapping[str, Any],
    quant_id: str,
    *,
    seed: int = 0,
    tell: Callable[[int, int], None] | None = None,
) -> None:
    """Writes a GGUF file of random weights, whole or not at all; `tell` hears tensors written, of how many. Raises RunError."""
    try:
        import gguf
    except ImportError:
        raise RunError("The package gguf is not installed; pip install 'roofcast[harness]'.") from None
    scheme = quant(quant_id, "gguf")
    formats = tensor_formats(geometry, scheme)
    tensors = [(_name(t), t.shape, kind) for t, kind in zip(geometry.tensors, formats, strict=True) if t.group != "mtp"]
    for name, _, kind in tensors:
        if kind not in _SCALES and kind not in ("f32", "f16", "bf16"):
            raise RunError(f"Random weights cannot be written as {kind} ({name}); take one of {', '.join(QUANTS)}.")
    numbers = {kind.name: number for number, kind in TYPES.items()}
    temporary = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        writer = gguf.GGUFWriter(temporary, _ARCHITECTURE)
        _describe(writer, geometry, config, scheme.id)
        stored = [_stored_shape(shape, kind) for _, shape, kind in tensors]
        for (name, _, kind), (shape, dtype) in zip(tensors, stored, strict=True):
            size = int(np.prod(shape)) * np.dtype(dtype).itemsize
            writer.add_tensor_info(name, shape, np.dtype(dtype), size, raw_dtype=gguf.GGMLQuantizationType(numbers[kind]))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        made: dict[tuple[Any, ...], np.ndarray] = {}
        for at, ((_, _, kind), (shape, dtype)) in enumerate(zip(tensors, stored, strict=True), 1):
            if (kind, shape) not in made:  # layers may be alike: speed does not hang on what weights say
                made[kind, shape] = _random(kind, shape, dtype, np.random.default_rng(seed + at))
            writer.write_tensor_data(made[kind, shape])
            if tell:
                tell(at, len(tensors))
        writer.close()
        os.replace(temporary, out)
    except OSError as error:
        raise RunError(
            f"{out} cannot be written ({error.strerror or error}); it needs room on the disk, or another ROOFCAST_HOME."
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def _name(tensor: Any) -> str:
    place = "" if tensor.layer is None else f"blk.{tensor.layer}."
    return f"{place}{tensor.role.removesuffix('_bias')}.{'bias' if tensor.name.endswith('.bias') else 'weight'}"


def _stored_shape(shape: tuple[int, ...], kind: str) -> tuple[tuple[int, ...], str]:
    """How a tensor lies in memory: numbers, or the bytes of its blocks."""
    if kind in ("f32", "f16"):
        return shape, {"f32": "float32", "f16": "float16"}[kind]
    block = next(t for t in TYPES.values() if t.name == kind)
    return (*shape[:-1], shape[-1] // block.elements * block.bytes), "uint8"


def _random(kind: str, shape: tuple[int, ...], dtype: str, draw: np.random.Generator) -> np.ndarray:
    if kind == "f32":  # norms and biases
        return np.ones(shape, dtype=np.float32)
    if kind == "f16":
        small = draw.integers(-127, 128, size=shape, dtype=np.int8)
        return small.astype(np.float16) * np.float16(SPREAD / 73.6)
    raw = np.frombuffer(draw.bytes(int(np.prod(shape))), dtype=np.uint8).copy()
    if kind == "bf16":
        pairs = raw.view(np.uint16)
        pairs[:] = (pairs & 0x807F) | (121 << 7)  # ± (1 to 2) / 64
        return raw.reshape(shape)
    block = next(t for t in TYPES.values() if t.name == kind).bytes
    blocks = raw.reshape(-1, block)
    for offset, scale in _SCALES[kind]:
        blocks[:, offset : offset + 2] = np.frombuffer(np.float16(scale).tobytes(), dtype=np.uint8)
    return raw.reshape(shape)


def _describe(writer: Any, geometry: ModelIR, config: Mapping[str, Any], quant_id: str) -> None:
    """Metadata as llama.cpp's converter writes it, and a vocabulary that knows the words of our prompts."""
    attention, mlp = geometry.blocks[0].attention, geometry.blocks[0].mlp
    writer.add_name(f"{geometry.id} (random weights)")
    writer.add_description("Random weights in the geometry of this model, to measure speed with; it knows nothing.")
    writer.add_block_count(geometry.layers)
    writer.add_context_length(geometry.max_context)
    writer.add_embedding_length(geometry.hidden)
    writer.add_feed_forward_length(mlp.intermediate)
    writer.add_head_count(attention.heads)
    writer.add_head_count_kv(attention.kv_heads)
    writer.add_key_length(attention.head_dim)
    writer.add_value_length(attention.v_head_dim)
    writer.add_rope_dimension_count(attention.head_dim)
    writer.add_rope_freq_base(float(config.get("rope_theta") or 10_000.0))
    writer.add_layer_norm_rms_eps(float(config.get("rms_norm_eps") or 1e-5))
    writer.add_vocab_size(int(config["vocab_size"]))
    number = next((number for number, name in FILE_TYPES.items() if name == quant_id), None)
    if number is not None:
        writer.add_file_type(number)
    tokens, kinds = vocabulary(int(config["vocab_size"]))
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    # A longer piece is merged before a shorter one, so a word becomes one token.
    writer.add_token_scores([float(len(token)) if kind == _NORMAL else 0.0 for token, kind in zip(tokens, kinds, strict=True)])
    writer.add_token_types(kinds)
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_add_bos_token(True)


def vocabulary(size: int) -> tuple[list[str], list[int]]:
    """Tokens and their kinds: control tokens, bytes, every beginning of every word of our prompts, and what fills the rest."""
    tokens = {"<unk>": _UNKNOWN, "<s>": _CONTROL, "</s>": _CONTROL, **{f"<0x{byte:02X}>": _BYTE for byte in range(256)}}
    for word in WORDS:
        whole = f"▁{word}"
        for end in range(1, len(whole) + 1):
            tokens.setdefault(whole[:end], _NORMAL)
        for letter in word:
            tokens.setdefault(letter, _NORMAL)
    listed = list(tokens.items())[:size]
    listed += [(f"«{at}»", _NORMAL) for at in range(size - len(listed))]
    return [token for token, _ in listed], [kind for _, kind in listed]


def write_checkpoint(size: str, out: Path | None = None) -> Path:
    """A folder with config.json and a tokenizer but no weights, for engines that make random ones themselves. Raises RunError."""
    model_id = model_of(size)
    entry, geometry = model(model_id), ir(model_id)
    place = out or folder() / f"{model_id.split('/')[-1]}-synthetic"
    attention = geometry.blocks[0].attention
    config = {**entry.config, "architectures": ["LlamaForCausalLM"], "head_dim": attention.head_dim, "bos_token_id": 1, "eos_token_id": 2,
              "hidden_act": "silu", "rms_norm_eps": entry.config.get("rms_norm_eps") or 1e-5, "torch_dtype": "bfloat16"}  # fmt: skip
    words = {"<unk>": 0, "<s>": 1, "</s>": 2, **{word: at for at, word in enumerate(WORDS, 3)}}
    vocabulary_size = int(entry.config["vocab_size"])
    words |= {f"t{at}": at for at in range(len(words), vocabulary_size)}
    special = [{"id": at, "content": token, "special": True, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
               for at, token in enumerate(("<unk>", "<s>", "</s>"))]  # fmt: skip
    tokenizer = {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": special, "normalizer": None,
        "pre_tokenizer": {"type": "WhitespaceSplit"}, "post_processor": None, "decoder": None,
        "model": {"type": "WordLevel", "vocab": words, "unk_token": "<unk>"},
    }  # fmt: skip
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>",
                "model_max_length": geometry.max_context}  # fmt: skip
    try:
        place.mkdir(parents=True, exist_ok=True)
        for name, content in (("config.json", config), ("tokenizer.json", tokenizer), ("tokenizer_config.json", settings)):
            write_whole(place / name, json.dumps(content, ensure_ascii=False))
    except (OSError, RoofcastError) as error:
        raise RunError(f"{place} cannot be written ({error}).") from error
    return place
