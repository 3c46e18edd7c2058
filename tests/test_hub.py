"""Models from a hub on loopback: what is fetched, kept, answered without a network, and said where it fails."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from fake_hub import CONFIGS, TOKEN, FakeHub, FakeRepo, plain, quantised, repo_of, unquantised, whole
from gguf_files import gguf, gguf_of, infos_of, metadata_of

from core.catalog.models import ir, model, models
from core.cli_show import number_named
from core.errors import CatalogError, RoofcastError, RunError, ScenarioError
from core.estimate import estimate
from core.hub import fetch
from core.model_facts import facts
from core.quantity import explain, value
from core.resolve import find_model
from core.scenario import Scenario, System, from_flat
from core.weights import weight_table

SMALL = "Qwen/Qwen2.5-0.5B-Instruct"
CONFIG = models()[SMALL].config


def small(**changes: Any) -> FakeRepo:
    return repo_of({**CONFIG, **changes}, unquantised(ir(SMALL)))


def refused(text: str, *words: str, **options: Any) -> str:
    with pytest.raises(RoofcastError) as caught:
        fetch(text, **options)
    said = str(caught.value)
    assert all(word in said for word in words), said
    assert TOKEN not in said and "Traceback" not in said and "\n" not in said
    return said


# ---------------------------------------------------------------- safetensors


def test_a_repository_becomes_a_model_with_exact_bytes(hub: FakeHub) -> None:
    hub.repos["me/small"] = repo = small()
    found = fetch("me/small")
    assert found.id == f"me/small@{repo.commit[:12]}" and found.file_bytes == repo.files["model.safetensors"].size
    built = ir(found.id)
    assert built.parameters == ir(SMALL).parameters and built.stored_as == "BF16"
    assert weight_table(built, "BF16").bytes == sum(found.dtypes.values()) == 2 * built.parameters
    assert hub.sent < 2**20  # a config and a header, never the tensors


def test_shards_give_what_one_file_gives(hub: FakeHub) -> None:
    hub.repos["me/one"] = small()
    hub.repos["me/many"] = repo_of(CONFIG, unquantised(ir(SMALL)), shards=3)
    one, many = fetch("me/one"), fetch("me/many")
    assert len(many.files) == 3 and sorted(many.tensors) == sorted(one.tensors)
    assert ir(many.id).stored == ir(one.id).stored


def test_experts_are_found_one_by_one(hub: FakeHub) -> None:
    moe = "allenai/OLMoE-1B-7B-0924"
    hub.repos["me/moe"] = repo_of(models()[moe].config, unquantised(ir(moe)), shards=2)
    built = ir(fetch("me/moe").id)
    assert weight_table(built, "BF16").where(group="experts") == weight_table(ir(moe), "BF16").where(group="experts")


@pytest.mark.parametrize("method, wanted, tolerance", [
    ("awq", "AWQ-INT4", 0.001), ("gptq", "GPTQ-INT4", 0.002), ("fp8", "FP8-BLOCK", 0.001), ("compressed-tensors", "W4A16", 0.001),
    ("bitsandbytes", "BNB-INT4", 0.001),
])  # fmt: skip
def test_a_quantised_repository_weighs_what_its_header_says(hub: FakeHub, method: str, wanted: str, tolerance: float) -> None:
    """The bytes are the header's; the catalog's scheme, which knows no header, comes close."""
    llama = "meta-llama/Llama-3.1-8B-Instruct"
    tensors = quantised(ir(llama), method)
    hub.repos["me/quantised"] = repo_of({**models()[llama].config, "quantization_config": CONFIGS[method]}, tensors, shards=4)
    built = ir(fetch("me/quantised").id)
    assert built.native_quant == built.stored_as == wanted
    exact = weight_table(built, wanted).bytes
    assert exact == sum(tensor[3] for tensor in tensors)
    assert exact == pytest.approx(weight_table(ir(llama), wanted).bytes, rel=tolerance)
    assert weight_table(built, "BF16").bytes == weight_table(ir(llama), "BF16").bytes


def test_fused_experts_in_mxfp4(hub: FakeHub) -> None:
    name = "openai/gpt-oss-20b"
    base = ir(name)
    tensors, hidden = [], base.hidden
    for tensor in base.tensors:
        if tensor.role.startswith(("ffn_gate_exps", "ffn_up_exps", "ffn_down_exps")):
            continue
        tensors.append(plain(tensor.name, "BF16", tensor.shape))
    width, many = base.blocks[0].mlp.intermediate, base.blocks[0].mlp.experts
    for layer in range(base.layers):
        at = f"model.layers.{layer}.mlp.experts."
        for part, rows, columns in (("gate_up_proj", 2 * width, hidden), ("down_proj", hidden, width)):
            tensors += [plain(f"{at}{part}_blocks", "U8", (many, rows, columns // 32, 16)),
                        plain(f"{at}{part}_scales", "U8", (many, rows, columns // 32)),
                        plain(f"{at}{part}_bias", "BF16", (many, rows))]  # fmt: skip
    config = {**models()[name].config, "quantization_config": {"quant_method": "mxfp4"}}
    hub.repos["me/oss"] = repo_of(config, tensors)
    built = ir(fetch("me/oss").id)
    assert built.stored_as == "MXFP4" and weight_table(built, "MXFP4").bytes == sum(t[3] for t in tensors)
    assert weight_table(built, "MXFP4").bytes == pytest.approx(weight_table(base, "MXFP4").bytes, rel=1e-4)


def test_a_vision_tower_lies_apart(hub: FakeHub) -> None:
    tensors = [(f"model.language_model.{name.removeprefix('model.')}", *rest) for name, *rest in unquantised(ir(SMALL))]
    tower = [plain("model.visual.blocks.0.attn.qkv.weight", "BF16", (300, 100))]
    hub.repos["me/sees"] = repo_of({"model_type": "qwen2_vl", "text_config": {**CONFIG}, "vision_config": {}}, [*tensors, *tower])
    found = fetch("me/sees")
    built, joined = found.read()
    assert joined is not None and [t.name for t in joined.apart] == [tower[0][0]]
    assert built.parameters == ir(SMALL).parameters and weight_table(built, "BF16").bytes == 2 * built.parameters


def test_a_vision_tower_takes_what_its_header_says(hub: FakeHub) -> None:
    tensors = [(f"model.language_model.{name.removeprefix('model.')}", *rest) for name, *rest in unquantised(ir(SMALL))]
    vision = models()["Qwen/Qwen3-VL-2B-Instruct"].config["vision_config"]
    tower = [plain("model.visual.blocks.0.attn.qkv.weight", "F32", (300, 100)), plain("model.visual.merger.norm.bias", "BF16", (64,))]
    sound = [plain("model.audio_tower.layers.0.weight", "BF16", (10, 10))]
    hub.repos["me/sees"] = repo_of(
        {"model_type": "qwen3_vl", "text_config": {**CONFIG}, "vision_config": vision}, [*tensors, *tower, *sound]
    )
    found = fetch("me/sees")
    built, _ = found.read()
    assert built.tower is not None and built.tower.bytes == 300 * 100 * 4 + 64 * 2
    held = {
        part.name: part.amount for part in estimate(from_flat({"model": found.id, "device": "H100 SXM", "runtime": "vllm"})).device.parts
    }
    assert value(held["vision tower"]) == pytest.approx(300 * 100 * 4 + 64 * 2)
    # A kind that cannot be laid out is left out, with what its files hold.
    hub.repos["me/blind"] = repo_of(
        {"model_type": "qwen3_vl", "text_config": {**CONFIG}, "vision_config": {"model_type": "timm"}}, [*tensors, *tower]
    )
    built, _ = fetch("me/blind").read()
    assert built.tower is None and "left out" in built.assumed["vision_config"] and "of it" in built.assumed["vision_config"]


def test_a_copy_of_the_tied_head_is_beside(hub: FakeHub) -> None:
    head = plain("lm_head.weight", "BF16", (CONFIG["vocab_size"], CONFIG["hidden_size"]))
    hub.repos["me/copy"] = repo_of(CONFIG, [*unquantised(ir(SMALL)), head])
    built, joined = fetch("me/copy").read()
    assert joined is not None and [t.name for t in joined.beside] == ["lm_head.weight"]
    assert weight_table(built, "BF16").bytes == 2 * ir(SMALL).parameters


# ---------------------------------------------------------------- unknown types, fields set by hand


def test_an_unknown_type_is_taken_for_what_it_looks_like(hub: FakeHub) -> None:
    hub.repos["me/new"] = small(model_type="brandnew")
    built = ir(fetch("me/new").id)
    assert built.model_type == "llama" and "'brandnew' is not known" in built.assumed["model_type"]
    assert built.parameters == pytest.approx(ir(SMALL).parameters, rel=0.001)  # without the biases that it cannot know of
    assert "parameters" not in built.assumed and fetch("me/new").file_bytes == small().files["model.safetensors"].size
    extra = plain("model.layers.3.something_else.weight", "BF16", (64 * 896, 896))
    hub.repos["me/more"] = repo_of({**CONFIG, "model_type": "brandnew"}, [*unquantised(ir(SMALL)), extra])
    found = facts("me/more")
    assert any(extra[0] in note for note in found["notes"])


def test_a_quantisation_that_the_catalog_lacks_is_said(hub: FakeHub) -> None:
    """Its bytes are the header's all the same; only what kernels make of them is assumed."""
    for method, alike in (("awq", "W4A16"), ("fp8", "FP8")):
        tensors = quantised(ir(SMALL), method)
        hub.repos[f"me/{method}"] = repo_of({**CONFIG, "quantization_config": {"quant_method": "brandnew"}}, tensors)
        built = ir(fetch(f"me/{method}").id)
        assert built.native_quant == built.stored_as == alike
        assert weight_table(built, alike).bytes == sum(tensor[3] for tensor in tensors)
        assert "not in the catalog" in built.assumed["quantization_config"]


def test_mlx_repositories(hub: FakeHub) -> None:
    """MLX packs into U32 with scales and biases a group of 64, embeddings too, and names no method."""
    made = []
    for tensor in ir(SMALL).tensors:
        base = tensor.name.removesuffix(".weight")
        if len(tensor.shape) == 2:
            rows, columns = tensor.shape
            made += [plain(f"{base}.weight", "I32", (rows, columns // 8)), plain(f"{base}.scales", "BF16", (rows, columns // 64)),
                     plain(f"{base}.biases", "BF16", (rows, columns // 64))]  # fmt: skip
        else:
            made.append(plain(tensor.name, "BF16", tensor.shape))
    hub.repos["mlx/four"] = repo_of({**CONFIG, "quantization": {"group_size": 64, "bits": 4}}, made)
    built = ir(fetch("mlx/four").id)
    assert built.stored_as == "MLX-4bit" and weight_table(built, "MLX-4bit").bytes == sum(t[3] for t in made)
    assert weight_table(built, "MLX-4bit").bytes == weight_table(ir(SMALL), "MLX-4bit").bytes


@pytest.mark.parametrize("fields, family", [
    ({"kv_lora_rank": 64, "qk_rope_head_dim": 32, "qk_nope_head_dim": 32, "v_head_dim": 32}, "minicpm3"),
    ({"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 256}, "qwen3_moe"),
    ({"num_experts": 4, "num_experts_per_tok": 2}, "mixtral"),
])  # fmt: skip
def test_experts_and_latents_of_unknown_types(hub: FakeHub, fields: dict[str, int], family: str) -> None:
    hub.repos["me/new"] = FakeRepo({"config.json": whole(json.dumps({**CONFIG, "model_type": "new", **fields}).encode())})
    assert ir(fetch("me/new").id).model_type == family


@pytest.mark.parametrize("field", ["mamba_d_state", "linear_num_value_heads", "rwkv_head_size"])
def test_recurrent_layers_of_unknown_types_are_refused(hub: FakeHub, field: str) -> None:
    hub.repos["me/new"] = small(model_type="brandnew", **{field: 8})
    refused("me/new", "'brandnew'", "not supported")


def test_a_run_may_name_a_fetched_model(hub: FakeHub) -> None:
    hub.repos["me/small"] = small()
    found = fetch("me/small")
    assert find_model(found.id).id == found.id
    with pytest.raises(RunError):
        find_model("me/other@main")


def test_fields_set_by_hand_are_marked_and_travel_in_the_name() -> None:
    name = model(f"{SMALL}?num_hidden_layers=30&n_head=28").id
    asked = Scenario(model=name, system=System(device="RTX 4090"))
    assert Scenario.model_validate_json(asked.to_json()) == asked
    answer = estimate(asked)
    assert answer.ir.layers == 30 and answer.ir.blocks[0].attention.heads == 28
    assert "set by you; the config says 24" in answer.ir.assumed["num_hidden_layers"]
    assert answer.ir.parameters > ir(SMALL).parameters


@pytest.mark.parametrize("tail, word", [
    ("?num_hiden_layers=30", "'num_hiden_layers' is no field"), ("?num_hidden_layers=x", "whole number"), ("?", "sets no field"),
    ("?a b=1", "field=value"), ("?num_hidden_layers=-1", "between 1"),
])  # fmt: skip
def test_a_wrong_field_is_a_sentence(tail: str, word: str) -> None:
    with pytest.raises(ScenarioError, match=word):
        ir(SMALL + tail)


def test_fields_set_by_hand_make_the_bytes_the_layouts(hub: FakeHub) -> None:
    hub.repos["me/small"] = small()
    built = ir(f"{fetch('me/small').id}?num_hidden_layers=12")
    assert built.layers == 12 and not built.stored and "set by hand" in built.assumed["weights"]


# ---------------------------------------------------------------- GGUF


def test_a_gguf_file_weighs_what_its_header_says(hub: FakeHub, tmp_path: Path) -> None:
    name = "meta-llama/Llama-3.1-8B-Instruct"
    file = gguf_of(ir(name), models()[name].config, "Q4_K_M")
    hub.repos["me/llama-gguf"] = FakeRepo({"x-Q4_K_M.gguf": file})
    found = fetch("me/llama-gguf")
    built = ir(found.id)
    assert found.file == "x-Q4_K_M.gguf" and found.quant == built.stored_as == "Q4_K_M" and found.file_bytes == file.size
    assert weight_table(built, "Q4_K_M").bytes == weight_table(ir(name), "Q4_K_M").bytes
    assert built.parameters == ir(name).parameters
    asked = Scenario(model=found.id, system=System(device="RTX 4090"))
    assert estimate(asked).resolved["quant"] == "Q4_K_M"  # as it is, unless something else is asked for
    place = tmp_path / "x-Q4_K_M.gguf"
    place.write_bytes(file.head)
    weights = explain(number_named(estimate(asked), "weights"))
    assert f"bytes in the header of {found.id}" in weights and "GGUF Q4_K_M" not in weights
    refused(str(place), "truncated", f"{file.size:,}"[:3])


def test_a_local_file_is_named_by_its_header(hub: FakeHub, tmp_path: Path) -> None:
    infos = [("token_embd.weight", (64, 32), "f16"), *((f"blk.0.{n}.weight", s, "q4_0") for n, s in (
        ("attn_q", (32, 32)), ("attn_k", (32, 32)), ("attn_v", (32, 32)), ("attn_output", (32, 32)), ("ffn_gate", (64, 32)),
        ("ffn_up", (64, 32)), ("ffn_down", (32, 64)))), ("blk.0.attn_norm.weight", (32,), "f32"),
        ("blk.0.ffn_norm.weight", (32,), "f32"), ("output_norm.weight", (32,), "f32")]  # fmt: skip
    keys = {"block_count": 1, "context_length": 64, "embedding_length": 32, "feed_forward_length": 64, "attention.head_count": 1}
    made = gguf({"general.architecture": "llama", **{f"llama.{key}": number for key, number in keys.items()}}, infos)
    path = tmp_path / "tiny.gguf"
    path.write_bytes(made.part(0, made.size))
    found = fetch(str(path))
    assert found.id.startswith("local/tiny.gguf@") and found.quant == "Q4_0" and not hub.asked
    assert ir(found.id).tied_embeddings and ir(found.id).parameters == sum(t.elements for t in found.tensors)
    assert fetch(found.id).id == found.id
    blob = tmp_path / "sha256:1@2"  # as Ollama keeps its files
    blob.write_bytes(path.read_bytes())
    assert ir(facts(str(blob))["id"]).parameters == ir(found.id).parameters
    refused(str(path), "path", local=False)
    path.write_bytes(made.part(0, 100))
    refused(str(path), "truncated")
    path.write_bytes(b"no gguf at all")
    refused(str(path), "not a GGUF file")
    refused(str(tmp_path / "none.gguf"), "No such file")


def test_a_split_model_is_read_whole(hub: FakeHub) -> None:
    base = ir(SMALL)
    infos, metadata = list(infos_of(base, "Q8_0")), metadata_of(base, CONFIG)
    split = {"split.count": 3, "split.no": 0, "split.tensors.count": len(infos)}
    files = {f"q8/m-Q8_0-{n:05}-of-00003.gguf": gguf(extra, part) for n, extra, part in (
        (1, {**metadata, **split}, []), (2, {"split.no": 1}, infos[::2]), (3, {"split.no": 2}, infos[1::2]))}  # fmt: skip
    hub.repos["me/split"] = FakeRepo(files)
    found = fetch("me/split/q8/m-Q8_0-00002-of-00003.gguf")
    assert found.file == "q8/m-Q8_0-00001-of-00003.gguf" and found.file_bytes == sum(f.size for f in files.values())
    assert weight_table(ir(found.id), "Q8_0").bytes == weight_table(base, "Q8_0").bytes
    assert fetch("hf.co/me/split:Q8_0").id == found.id
    hub.repos["me/lacks"] = FakeRepo(dict(list(files.items())[:2]))
    refused("me/lacks", "lacks", "00003-of-00003")


def test_a_vision_tower_is_named_not_taken(hub: FakeHub) -> None:
    tower = gguf({"general.architecture": "clip", "general.type": "mmproj"}, [])
    file = gguf_of(ir(SMALL), CONFIG, "Q4_0")
    hub.repos["me/sees"] = FakeRepo({"m-Q4_0.gguf": file, "mmproj-F16.gguf": tower})
    assert fetch("me/sees").vision == ("mmproj-F16.gguf",)
    refused("me/sees/mmproj-F16.gguf", "vision", "mmproj")
    hub.repos["me/tower"] = FakeRepo({"mmproj-F16.gguf": tower})
    refused("me/tower", "only vision")


def test_the_tower_of_a_gguf_model_is_a_file_of_its_own(hub: FakeHub) -> None:
    sizes = {"block_count": 27, "embedding_length": 1152, "feed_forward_length": 4304, "attention.head_count": 16, "patch_size": 14,
             "image_size": 896}  # fmt: skip
    said = {"general.architecture": "clip", "clip.projector_type": "gemma3", **{f"clip.vision.{key}": n for key, n in sizes.items()}}
    tower = gguf(said, [("v.blk.0.attn_q.weight", (1152, 1152), "f16"), ("mm.input_projection.weight", (1152, 640), "f32")])
    file = gguf_of(ir(SMALL), CONFIG, "Q4_0")
    hub.repos["me/sees"] = FakeRepo({"m-Q4_0.gguf": file, "mmproj-BF16.gguf": tower, "mmproj-F16.gguf": tower})
    held = fetch("me/sees")
    built = held.ir()
    assert built.tower is not None and built.tower.bytes == 1152 * 1152 * 2 + 1152 * 640 * 4
    assert built.tower.layers == 27 and built.tower.rule.each == 256
    asked = from_flat({"model": held.id, "device": "RTX 4090", "images": 1})
    assert {part.name for part in estimate(asked).device.parts} >= {"vision tower"}
    # A file that is no tower leaves the model without one.
    hub.repos["me/blind"] = FakeRepo({"m-Q4_0.gguf": file, "mmproj-F16.gguf": whole(b"nothing")})
    blind = fetch("me/blind")
    assert blind.ir().tower is None and "left out" in " ".join(blind.notes)


def test_a_header_grows_as_it_is_read(hub: FakeHub) -> None:
    file = gguf_of(ir(SMALL), CONFIG, "Q8_0", vocabulary=150_000)
    hub.repos["me/wide"] = FakeRepo({"m-Q8_0.gguf": file})
    assert fetch("me/wide").config["vocab_size"] == CONFIG["vocab_size"]
    parts = [line for line in hub.asked if "resolve" in line]
    assert len(parts) > 2 and hub.sent < 3 * len(file.head) < file.size


@pytest.mark.parametrize("text", [
    "me/gg/q/m-Q4_0.gguf", "https://huggingface.co/me/gg/blob/main/q/m-Q4_0.gguf", "https://hf.co/me/gg/resolve/main/q/m-Q4_0.gguf?download=true",
    "hf.co/me/gg:Q4_0", "me/gg:q4_0", "me/gg/q/m-Q4_0.gguf@main", "hf://me/gg/q/m-Q4_0.gguf",
])  # fmt: skip
def test_links_and_names_mean_the_same_file(hub: FakeHub, text: str) -> None:
    file = gguf_of(ir(SMALL), CONFIG, "Q4_0")
    hub.repos["me/gg"] = repo = FakeRepo({"q/m-Q4_0.gguf": file, "q/m-Q8_0.gguf": file})
    assert fetch(text).id == f"me/gg/q/m-Q4_0.gguf@{repo.commit[:12]}"
    refused("me/gg", "has 2 GGUF files", "me/gg/q/m-Q4_0.gguf")
    refused("me/gg:Q5_K_M", "0 GGUF files called 'Q5_K_M'")


# ---------------------------------------------------------------- names, revisions, the store


@pytest.mark.parametrize("tail", ["me/small", "https://huggingface.co/me/small/tree/main", "hf.co/me/small", "http://hf.co/me/small/"])
def test_a_link_is_its_repository(hub: FakeHub, tail: str) -> None:
    hub.repos["me/small"] = repo = small()
    assert fetch(tail).id == f"me/small@{repo.commit[:12]}"


@pytest.mark.parametrize("text", [
    "", "a b/c", "../etc/passwd", "/etc/passwd", "~/x.gguf", "me/../x", "me/small@../../x", "https://example.org/x.gguf",
    "https://[::1", "a/b/c/d", "me/x\ny", "https://huggingface.co/datasets/me/x",
    "file:///etc/passwd", "me/x/../../../y.gguf", "x" * 2000, "@", ":", "?", "me/x:a/b",
])  # fmt: skip
def test_what_is_no_name_asks_nothing(hub: FakeHub, text: str) -> None:
    refused(text, local=False)
    assert not hub.asked


def test_a_fetched_model_is_found_wherever_a_catalog_id_is(hub: FakeHub) -> None:
    with pytest.raises(CatalogError, match="roofcast model me/mine@main"):
        ir("me/mine@main")
    hub.repos["me/mine"] = repo = small()
    found = fetch("me/mine")
    for name in ("me/mine", "me/mine@main", f"me/mine@{repo.commit}", found.id):
        assert model(name).id == found.id == ir(name).id
    asked = hub.asked.copy()
    answer = estimate(Scenario(model="me/mine", system=System(device="RTX 4090"), runtime="vllm"))
    assert answer.ir.id == found.id and hub.asked == asked
    assert estimate(Scenario(model=SMALL, system=System(device="RTX 4090"), runtime="vllm")).ir.id == SMALL
    hub.repos["me/mine"] = newer = small(max_position_embeddings=4096)
    assert ir("me/mine").max_context == CONFIG["max_position_embeddings"]  # until it is fetched again
    assert fetch("me/mine").revision == newer.commit and ir("me/mine").max_context == 4096
    assert ir(found.id).max_context == CONFIG["max_position_embeddings"]


def test_a_commit_that_is_here_asks_nothing(hub: FakeHub) -> None:
    hub.repos["me/small"] = repo = small()
    repo.refs["v1"] = repo.commit
    found = fetch("me/small@v1")
    hub.asked.clear()
    assert fetch(found.id) == fetch(f"me/small@{repo.commit}") == found and not hub.asked
    assert fetch("me/small@v1") == found and len(hub.asked) == 1  # a tag may have moved, its files have not


def test_offline_never_asks(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.repos["me/small"] = small()
    refused("me/small", "not on this machine", "without --offline", no_network=True)
    monkeypatch.setenv("ROOFCAST_OFFLINE", "1")
    refused("me/small", "not on this machine", "unset ROOFCAST_OFFLINE")
    assert not hub.asked
    monkeypatch.delenv("ROOFCAST_OFFLINE")
    found = fetch("me/small")
    monkeypatch.setenv("ROOFCAST_OFFLINE", "1")
    hub.asked.clear()
    assert fetch("me/small") == found and not hub.asked


def test_a_damaged_store_is_fetched_again(hub: FakeHub, tmp_path: Path) -> None:
    hub.repos["me/small"] = small()
    found = fetch("me/small")
    (place,) = (tmp_path / "home" / "hub").rglob("*.json.gz")
    for raw in (b"", b"junk", place.read_bytes()[:50]):
        place.write_bytes(raw)
        assert fetch("me/small") == found
