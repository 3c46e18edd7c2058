"""Synthetic models: files that read as the model whose geometry they have, with weights that no engine chokes on."""

import json

import gguf
import numpy as np
import pytest

from core.catalog.models import ir
from core.catalog.quants import quant
from core.errors import RunError
from core.gguf import read_gguf
from core.ir_build import build_ir
from core.resolve import find_model
from core.weights import tensor_formats, weight_table
from harness import synthetic
from harness.prompts import text
from harness.synthetic import QUANTS, SIZES, file_of, model_of, vocabulary, write_checkpoint, write_gguf

CONFIG = {"model_type": "llama", "hidden_size": 256, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
          "intermediate_size": 512, "vocab_size": 1024, "max_position_embeddings": 512, "tie_word_embeddings": False}  # fmt: skip
SMALL = build_ir(CONFIG, "small/model", {})


@pytest.fixture(autouse=True)
def _home(tmp_path, monkeypatch):
    monkeypatch.setenv("ROOFCAST_HOME", str(tmp_path))


@pytest.mark.parametrize("name", QUANTS)
def test_a_file_has_the_bytes_and_types_of_its_quantisation(name, tmp_path):
    out = tmp_path / f"{name}.gguf"
    told = []
    write_gguf(out, SMALL, CONFIG, name, tell=lambda done, of: told.append((done, of)))
    with out.open("rb") as file:
        header = read_gguf(file, out.name)
    assert sum(t.bytes for t in header.tensors) == weight_table(SMALL, quant(name, "gguf").id).bytes
    assert [t.type for t in header.tensors] == tensor_formats(SMALL, quant(name, "gguf"))
    assert header.get("block_count") == 2 and header.get("attention.head_count_kv") == 2 and header.file_bytes <= out.stat().st_size
    assert told[-1] == (len(SMALL.tensors), len(SMALL.tensors)) and not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("name", [*QUANTS, "Q5_K_M", "Q5_0", "Q5_1", "Q4_1", "Q6_K"])
def test_weights_spread_as_those_of_a_fresh_model(name, tmp_path):
    """Read back by llama.cpp's own Python package: finite, around zero, about 0.02 wide."""
    write_gguf(tmp_path / "m.gguf", SMALL, CONFIG, name, seed=3)
    for tensor in gguf.GGUFReader(tmp_path / "m.gguf").tensors:
        weights = gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(np.float64)
        if tensor.tensor_type == gguf.GGMLQuantizationType.F32:
            assert np.all(weights == 1)
            continue
        assert np.isfinite(weights).all() and abs(weights.mean()) < 0.003, tensor.name
        assert weights.std() == pytest.approx(synthetic.SPREAD, rel=0.1), tensor.name


def test_what_cannot_be_written_says_so(tmp_path):
    with pytest.raises(RunError, match="take one of F16"):
        write_gguf(tmp_path / "m.gguf", SMALL, CONFIG, "IQ2_XXS")
    with pytest.raises(RunError, match="models of type llama"):
        model_of("Qwen/Qwen3-8B")
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot be written"):
        write_gguf(tmp_path / "file" / "m.gguf", SMALL, CONFIG, "F16")


def test_three_sizes_are_models_of_the_catalog_and_their_files_are_known_as_such():
    for size in SIZES:
        name = file_of(model_of(size), "Q8_0").name
        assert find_model(name.replace("-synthetic", "")).id == SIZES[size] and ir(SIZES[size]).model_type == "llama"


def test_the_vocabulary_knows_the_words_of_our_prompts():
    tokens, kinds = vocabulary(32000)
    assert len(tokens) == len(kinds) == len(set(tokens)) == 32000
    assert all(f"▁{word}" in tokens for word in text(1, 1, 200).split())


def test_a_checkpoint_without_weights():
    place = write_checkpoint("1b")
    config = json.loads((place / "config.json").read_text())
    tokenizer = json.loads((place / "tokenizer.json").read_text())
    assert config["architectures"] == ["LlamaForCausalLM"] and config["num_hidden_layers"] == 22
    assert len(tokenizer["model"]["vocab"]) == config["vocab_size"] and "time" in tokenizer["model"]["vocab"]
