"""GGUF headers: every value and tensor as written, families as from their config, and sentences for broken files."""

from __future__ import annotations

import functools
import io
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from gguf_files import architecture, gguf, gguf_of, infos_of, metadata_of, size_of
from hypothesis import given
from hypothesis import strategies as st

from core.catalog.models import ir, models
from core.catalog.quants import formats, quants
from core.errors import HubError, RoofcastError
from core.gguf import FILE_TYPES, KEPT, TYPES, GgufHeader, Length, read_gguf
from core.gguf_config import _FIELDS, ARCHITECTURES, config_of
from core.hub_model import HubModel
from core.ir import ModelIR
from core.ir_build import build_ir
from core.stored import StoredTensor
from core.weights import weight_table

NAMES = st.text(min_size=1, max_size=30)
SCALARS = st.one_of(
    st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False), st.text(max_size=40), st.integers(0, 2**32 - 1)
)
LISTS = st.one_of(st.lists(st.text(max_size=9), max_size=6), st.lists(st.integers(0, 99), max_size=6), st.lists(st.booleans(), max_size=6))
KEYS = st.dictionaries(NAMES.filter(lambda k: k != "general.alignment"), st.one_of(SCALARS, LISTS), max_size=8)
KINDS = st.sampled_from(sorted(kind.name for kind in TYPES.values()))
TENSORS = st.lists(st.tuples(NAMES, st.lists(st.integers(1, 5), max_size=3), st.integers(1, 3), KINDS), max_size=8)
# Architectures that llama.cpp's converter has and its package's last release lacks.
NEWER = {"deepseek32", "deepseek4", "kimi-k3", "minimax-01", "minimax-m3"}


def header(file: Any) -> GgufHeader:
    return read_gguf(io.BytesIO(file.head), "x.gguf")


@given(KEYS, TENSORS, st.sampled_from([None, 8, 32, 64]))
def test_a_header_comes_back_as_it_was_written(keys: dict[str, Any], tensors: list[Any], alignment: int | None) -> None:
    block = {kind.name: kind.elements for kind in TYPES.values()}
    infos = [(name, (*outer, rows * block[kind]), kind) for name, outer, rows, kind in tensors]
    metadata = {**keys, **({"general.alignment": alignment} if alignment else {})}
    file = gguf(metadata, infos)
    found = header(file)
    assert found.metadata == metadata
    assert [(t.name, t.shape, t.type) for t in found.tensors] == infos
    assert [t.bytes for t in found.tensors] == [size_of(shape, kind) for _, shape, kind in infos]
    assert found.data_start <= found.file_bytes <= file.size < found.file_bytes + (alignment or 32)


@given(st.data())
def test_a_cut_or_changed_header_is_a_sentence(data: st.DataObject) -> None:
    raw = bytearray(gguf({"general.architecture": "llama", "a": ["x", "y"], "n": 3}, [("t", (4, 32), "q8_0"), ("u", (3,), "f32")]).head)
    if data.draw(st.booleans()):
        raw = raw[: data.draw(st.integers(0, len(raw) - 20))]
    for _ in range(data.draw(st.integers(0, 4))):
        if raw:
            raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        read_gguf(io.BytesIO(bytes(raw)), "x.gguf")
    except HubError as error:
        assert "x.gguf" in str(error)


@pytest.mark.parametrize("raw, word", [
    (b"", "begin with 'GGUF'"), (b"GGML" + bytes(40), "begin with 'GGUF'"), (b"GGUF" + struct.pack(">I", 3) + bytes(40), "big-endian"),
    (b"GGUF" + struct.pack("<I", 9) + bytes(40), "version 9"), (b"GGUF" + struct.pack("<IQQ", 3, 2**60, 0), "more than any file"),
    (b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 2**62), "more than 256 MiB"), (b"GGUF" + struct.pack("<IQ", 3, 0), "truncated"),
])  # fmt: skip
def test_what_is_no_gguf_file(raw: bytes, word: str) -> None:
    with pytest.raises(HubError, match=word):
        read_gguf(io.BytesIO(raw), "x.gguf")


def test_long_arrays_are_only_counted() -> None:
    found = header(gguf({"t": ["a"] * (KEPT + 1), "n": [1.5] * (KEPT + 2), "l": [1] * KEPT}, []))
    assert found.metadata["t"] == Length(KEPT + 1) and found.metadata["n"] == KEPT + 2 and found.metadata["l"] == [1] * KEPT


def test_sizes_of_types_are_the_catalogs() -> None:
    """Two tables, one of ggml's numbers and one of cited formats, say the same. NVFP4 differs by its container."""
    shared = {kind.name: kind for kind in TYPES.values() if kind.name in formats()}
    assert len(shared) > 20
    for name, kind in shared.items():
        if name != "nvfp4":
            assert formats()[name].stored_bytes((7, 512)) == 7 * 512 // kind.elements * kind.bytes, name
    assert set(FILE_TYPES.values()) <= set(quants())


def test_llama_cpps_own_package_agrees(tmp_path: Path) -> None:
    """Types, file types, architectures and keys are llama.cpp's; a file that its writer makes is read as it reads it."""
    theirs = pytest.importorskip("gguf")
    sizes = {kind.value: (kind.name.lower(), *size) for kind, size in theirs.GGML_QUANT_SIZES.items()}
    assert {number: tuple(kind) for number, kind in TYPES.items()}.items() <= sizes.items()
    named = {kind.value: kind.name.removeprefix("MOSTLY_").removeprefix("ALL_") for kind in theirs.LlamaFileType}
    assert {n: q.removeprefix("GGUF-") for n, q in FILE_TYPES.items()}.items() <= named.items()
    assert set(ARCHITECTURES) - NEWER <= set(theirs.MODEL_ARCH_NAMES.values())
    keys: set[str] = set()

    def gather(holder: type) -> None:
        for item in vars(holder).values():
            if isinstance(item, type):
                gather(item)
            elif isinstance(item, str):
                keys.add(item)

    gather(theirs.Keys)
    assert {f"{{arch}}.{key}" for key in _FIELDS.values()} <= keys
    path = tmp_path / "x.gguf"
    writer = theirs.GGUFWriter(path, "qwen2")
    writer.add_block_count(3)
    writer.add_head_count_kv([1, 2, 3])
    writer.add_token_list(["a", "b"])
    numpy = pytest.importorskip("numpy")
    writer.add_tensor("token_embd.weight", numpy.zeros((6, 64), dtype=numpy.float16))
    writer.add_tensor("output_norm.weight", numpy.zeros(64, dtype=numpy.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with path.open("rb") as file:
        found = read_gguf(file, "x.gguf")
    read = theirs.GGUFReader(path)
    assert [(t.name, t.shape, t.bytes) for t in found.tensors] == [
        (t.name, tuple(int(n) for n in reversed(t.shape)), t.n_bytes) for t in read.tensors
    ]
    assert found.data_start == read.data_offset and found.get("attention.head_count_kv") == [1, 2, 3]


# ---------------------------------------------------------------- families


@functools.cache
def families() -> dict[str, str]:
    """One catalog model for each model type that llama.cpp has."""
    found: dict[str, str] = {}
    for entry in models().values():
        kind = "kimi_k3" if entry.id == "moonshotai/Kimi-K3" else ir(entry.id).model_type  # which has a layout of its own
        if kind not in found:
            try:
                architecture(ir(entry.id), entry.config)
            except KeyError:
                continue
            found[kind] = entry.id
    return found


def cache(model: ModelIR) -> list[tuple[Any, ...]]:
    kinds = [(block.attention, block.layers) for block in model.blocks]
    return sorted(
        (a.kind, a.window or 0, a.heads, a.kv_elements_per_token, a.state_elements, a.attended, a.index_heads, layers)
        for a, layers in kinds
    )


def from_gguf(model: ModelIR, config: Mapping[str, Any], quant: str) -> ModelIR:
    found = header(gguf_of(model, config, quant))
    tensors = tuple(StoredTensor(t.name, t.type, t.elements, t.bytes) for t in found.tensors)
    read = config_of(found, "x.gguf")
    return HubModel(repo="me/x", revision="0" * 40, file="x.gguf", container="gguf", config=read, tensors=tensors, quant=quant).ir()


@pytest.mark.parametrize("kind", sorted(families()))
def test_a_gguf_file_gives_the_model_that_its_config_gives(kind: str) -> None:
    name = families()[kind]
    known = ir(name)
    made = from_gguf(known, models()[name].config, "Q4_K_M")
    assert "weights" not in made.assumed  # the bytes are the file's
    assert made.parameters == known.parameters and made.active_parameters == known.active_parameters
    assert made.layers == known.layers and made.tied_embeddings == known.tied_embeddings
    assert weight_table(made, "Q4_K_M").bytes == weight_table(known, "Q4_K_M").bytes and made.stored_as == "Q4_K_M"
    if kind in ("mistral", "starcoder2"):
        # llama.cpp's converter leaves the window of Mistral 7B v0.1 and StarCoder 2 out: the engine attends to everything.
        assert {b.attention.kind for b in made.blocks} == {"full"}
    else:
        assert cache(made) == cache(known)


TINY = {"hidden_size": 256, "num_hidden_layers": 4, "vocab_size": 512, "tie_word_embeddings": False}


@pytest.mark.parametrize("config", [
    {**TINY, "model_type": "mamba2", "num_heads": 8, "head_dim": 64, "state_size": 64, "n_groups": 2, "conv_kernel": 4},
    {**TINY, "model_type": "rwkv6", "head_size": 64, "time_mix_extra_dim": 32, "time_decay_extra_dim": 64, "intermediate_size": 768},
])  # fmt: skip
def test_families_that_the_catalog_has_no_model_of(config: dict[str, Any]) -> None:
    known = build_ir(config, "me/tiny")
    made = from_gguf(known, config, "Q8_0")
    assert made.parameters == known.parameters and cache(made) == cache(known) and "weights" not in made.assumed


@pytest.mark.parametrize("arch, kind, changes", [
    ("granitemoe", "granitemoehybrid", {"expert_count": 4, "expert_used_count": 2, "feed_forward_length": 64}),
    ("exaone-moe", "dots1", {"attention.sliding_window": 128, "attention.sliding_window_pattern": [True, True, True, False],
                             "expert_count": 4, "expert_used_count": 2, "expert_feed_forward_length": 64}),
    ("phimoe", "phimoe", {"attention.sliding_window": 0, "expert_count": 4, "expert_used_count": 2}),
    ("hunyuan_vl", "hunyuan_v1_dense", {}), ("xverse", "llama", {}),
])  # fmt: skip
def test_architectures_that_share_a_layout(arch: str, kind: str, changes: dict[str, Any]) -> None:
    """Of which layers slide and which have experts, the file's keys and tensors decide."""
    keys = {"block_count": 4, "context_length": 4096, "embedding_length": 256, "feed_forward_length": 512, "attention.head_count": 4,
            "attention.head_count_kv": 2, "attention.key_length": 64, "attention.value_length": 64, **changes}  # fmt: skip
    router = [(f"blk.{n}.ffn_gate_inp.weight", (4, 256), "f32") for n in range(1, 4)] if "expert_count" in changes else []
    file = gguf({"general.architecture": arch, **{f"{arch}.{key}": item for key, item in keys.items()}},
                [("token_embd.weight", (512, 256), "f16"), *router])  # fmt: skip
    made = build_ir(config_of(header(file), "x.gguf"), "me/x")
    assert made.model_type == kind
    kinds = {layer: (block.attention.kind, block.mlp.kind) for block in made.blocks for layer in block.layers}
    moe = "moe" if router else "dense"
    if arch == "exaone-moe":
        assert kinds == {0: ("sliding", "dense"), 1: ("sliding", "moe"), 2: ("sliding", "moe"), 3: ("full", "moe")}
    else:
        assert set(kinds.values()) == {("full", moe)}


def test_many_families_are_covered() -> None:
    assert len(families()) >= 80


@pytest.mark.parametrize("changes, word", [
    ({"general.architecture": None}, "does not name its architecture"), ({"general.type": "adapter"}, "of type 'adapter'"),
    ({"general.architecture": "clip"}, "vision or audio tower"),
    ({"llama.block_count": None}, "llama.block_count"),
    ({"llama.embedding_length": None}, "lacks 'hidden_size'"), ({"llama.attention.head_count": None}, "lacks 'num_attention_heads'"),
    ({"general.architecture": "mamba", "mamba.block_count": 4}, "lacks"),
    ({"general.architecture": "mamba9", "mamba9.block_count": 4, "mamba9.ssm.state_size": 16}, "'mamba9'.*not supported"),
    ({"general.architecture": "bert"}, "is an encoder, a speech model or a draft"),
])  # fmt: skip
def test_a_header_without_what_is_needed(changes: dict[str, Any], word: str) -> None:
    name = "meta-llama/Llama-3.1-8B-Instruct"
    metadata = {**metadata_of(ir(name), models()[name].config), **changes}
    file = gguf({k: v for k, v in metadata.items() if v is not None}, list(infos_of(ir(name), "F16"))[:3])
    with pytest.raises(RoofcastError, match=word):
        HubModel(repo="me/x", revision="0" * 40, container="gguf", config=config_of(header(file), "x.gguf")).ir()


def test_an_unknown_architecture_is_named() -> None:
    name = "meta-llama/Llama-3.1-8B-Instruct"
    metadata = {key.replace("llama.", "newarch."): item for key, item in metadata_of(ir(name), models()[name].config).items()}
    file = gguf({**metadata, "general.architecture": "newarch"}, infos_of(ir(name), "F16"))
    made = HubModel(repo="me/x", revision="0" * 40, container="gguf", config=config_of(header(file), "x.gguf")).ir()
    assert "'newarch' is not known" in made.assumed["model_type"] and made.parameters == ir(name).parameters


def test_latent_attention_and_windows_of_an_unknown_architecture() -> None:
    """Files state the latent as one head as wide as it is; taken for a plain head it would be many times the weights."""
    name = "deepseek-ai/DeepSeek-V3.2"
    metadata = {key.replace("deepseek32.", "newarch."): item for key, item in metadata_of(ir(name), models()[name].config).items()}
    file = gguf({**metadata, "general.architecture": "newarch"}, infos_of(ir(name), "F16"))
    made = build_ir(config_of(header(file), "x.gguf"), "me/x")
    assert "laid out as a deepseek_v3 model" in made.assumed["model_type"] and {b.attention.kind for b in made.blocks} == {"mla"}
    assert made.parameters == pytest.approx(ir(name).parameters, rel=0.002)  # all but its indexer
    keys = {"block_count": 4, "context_length": 4096, "embedding_length": 256, "feed_forward_length": 512, "attention.head_count": 4,
            "attention.sliding_window": 64, "attention.sliding_window_pattern": [True, False, True, False]}  # fmt: skip
    file = gguf({"general.architecture": "newarch", **{f"newarch.{key}": item for key, item in keys.items()}},
                [("token_embd.weight", (512, 256), "f16")])  # fmt: skip
    made = build_ir(config_of(header(file), "x.gguf"), "me/x")
    assert {layer: b.attention.kind for b in made.blocks for layer in b.layers} == {0: "sliding", 1: "full", 2: "sliding", 3: "full"}
