"""Names in runs → catalog: the golden names, what must be refused, and the table of same geometries."""

import json
from pathlib import Path

import pytest

from core.catalog.files import DATA
from core.catalog.models import ir, models
from core.errors import RunError
from core.resolve import (
    aliases,
    backend_in,
    find_device,
    find_kv_dtype,
    find_model,
    find_quant,
    find_runtime,
    name_keys,
    names_unknown_quant,
    quant_in_name,
)

GOLDEN = json.loads(Path(DATA / "golden" / "names.json").read_text())


@pytest.mark.parametrize(("name", "wanted"), GOLDEN["models"].items())
def test_a_model_s_name_finds_its_record(name, wanted):
    found = find_model(name)
    assert [found.id, found.how] == wanted


@pytest.mark.parametrize("name", GOLDEN["refused_models"])
def test_a_name_of_another_geometry_is_refused(name):
    with pytest.raises(RunError, match="No model"):
        find_model(name)


def test_the_first_name_that_resolves_wins_and_the_second_is_tried():
    assert find_model("nobody/unheard-of-7b", "Qwen3-8B-Q8_0.gguf").id == "Qwen/Qwen3-8B"
    assert find_model("Qwen/Qwen3-8B", "Qwen3-4B").id == "Qwen/Qwen3-8B"
    with pytest.raises(RunError, match="names no model"):
        find_model("", " ")


@pytest.mark.parametrize(("name", "wanted"), GOLDEN["devices"].items())
def test_a_device_s_name_finds_its_record(name, wanted):
    kind, device_id = wanted
    assert find_device(name, kind).id == device_id


@pytest.mark.parametrize("name", GOLDEN["refused_devices"])
def test_unknown_and_mixed_devices_are_refused(name):
    with pytest.raises(RunError):
        find_device(name)


@pytest.mark.parametrize(("engine", "label", "wanted"), GOLDEN["quants"])
def test_a_label_means_what_the_runtime_means(engine, label, wanted):
    assert find_quant(label, find_runtime(engine).id).id == wanted


@pytest.mark.parametrize(("name", "wanted"), GOLDEN["runtimes"].items())
def test_runtimes(name, wanted):
    assert find_runtime(name).id == wanted


@pytest.mark.parametrize(("text", "wanted"), GOLDEN["backends"].items())
def test_backends_in_version_texts(text, wanted):
    assert backend_in(text) == wanted


def test_kv_labels():
    assert find_kv_dtype("FP8").id == "fp8"
    assert find_kv_dtype("auto") is None
    assert find_kv_dtype("ssd-paged") is None
    with pytest.raises(RunError):
        find_kv_dtype("nonsense9")


def test_a_quantisation_is_read_from_the_name_only_where_it_stands():
    assert quant_in_name("Qwen3-8B-Q4_K_M.gguf", "llama.cpp").id == "Q4_K_M"
    assert quant_in_name("RedHatAI/Qwen3-8B-FP8", "vllm").id == "FP8"
    assert quant_in_name("Qwen/Qwen3-8B", "vllm") is None


@pytest.mark.parametrize(
    ("name", "quant"),
    [
        ("cyankiwi/Qwen3-30B-A3B-AWQ-4bit", "AWQ-INT4"),
        ("Qwen/Qwen2.5-7B-Instruct-GPTQ-Int8", "GPTQ-INT8"),  # half as many bits would be half the weights
        ("unsloth/Llama-3.3-70B-Instruct-bnb-4bit", "BNB-INT4"),
        ("RedHatAI/Qwen3-8B-quantized.w8a16", "INT8-WO"),
        ("Intel/Qwen3-8B-int4-AutoRound", "AUTOROUND-INT4"),
        ("somebody/Qwen3-8B-4bit", None),  # of which kind is not said
        ("Intel/Qwen3-8B-int8-AutoRound", None),
        ("cyankiwi/GLM-4.5-Air-AWQ-8bit", None),
    ],
)
def test_a_method_and_its_bits_are_one_label(name, quant):
    found = quant_in_name(name, "vllm")
    assert (found.id if found else None) == quant
    assert names_unknown_quant(name) and not names_unknown_quant("Qwen/Qwen3-8B")


def test_every_alias_that_the_catalog_holds_leads_to_it_and_approximations_say_so():
    known = {name.lower() for entry in models().values() for name in (entry.id, *entry.aliases)}
    led = 0
    for alias in aliases():
        assert not alias.approximate or alias.note, alias
        if alias.model.lower() not in known:
            continue
        led += 1
        for name in alias.names:
            assert find_model(name).id, name
    assert led > 40


def test_pruned_and_searched_layouts_are_no_aliases():
    names = " ".join(name.lower() for alias in aliases() for name in alias.names)
    assert "decilm" not in names and "reap" not in names and "ream" not in names


def test_aliases_of_a_listed_model_have_the_same_layers():
    """A finetune that the catalog itself holds must agree with the model it stands for."""
    checked = 0
    for alias in aliases():
        for name in alias.names:
            if name in models() and alias.model in models() and not alias.approximate:
                one, two = ir(name), ir(alias.model)
                assert (one.layers, one.hidden) == (two.layers, two.hidden), name
                checked += 1
    assert checked >= 3


def test_keys_leave_no_storage_format_behind():
    assert name_keys("x/Llama-3.1-8B-Instruct-Q4_K_M-00001-of-00003.gguf") == ("llama-3.1-8b-instruct", "llama-3.1-8b")
    assert name_keys("Llama-2-7B-Chat-AWQ-INT4")[1] == "llama-2-7b"
    assert name_keys("gemma-2b")[1] != name_keys("gemma-2-2b")[1]
