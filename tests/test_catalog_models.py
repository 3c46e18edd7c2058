"""The model catalog: parameters against published totals, names, citations."""

from __future__ import annotations

import subprocess
import sys

import pytest

from core.catalog.files import CATALOG, sources
from core.catalog.models import config_quantity, ir, model, models, search_models
from core.catalog.quants import quant
from core.errors import CatalogError
from core.weights import tensor_formats

TOLERANCE = 0.005


def off(model_id: str) -> float:
    """How far the IR is from the published total, which may or may not hold the prediction modules."""
    entry, built = models()[model_id], ir(model_id)
    assert entry.published_parameters
    totals = (built.parameters, built.parameters + built.mtp_parameters)
    return min((total / entry.published_parameters - 1 for total in totals), key=abs)


def published(*covers: str) -> list[str]:
    return [e.id for e in models().values() if e.published_parameters and e.published_covers in covers]


def test_the_catalog_is_large_and_cited() -> None:
    entries = models()
    assert len(entries) >= 200
    known = sources()
    for entry in entries.values():
        cited = {entry.source, *(a.other_source for a in entry.alternatives)}
        cited |= {key for key in (entry.published_source, entry.published_active_source) if key}
        assert cited <= set(known), entry.id
        assert (entry.published_parameters is None) == (entry.published_covers is None), entry.id
        assert (entry.published_active is None) == (entry.published_active_source is None), entry.id
        assert set(entry.derived) <= set(entry.config), entry.id
        assert all(a.used == entry.config[a.field] for a in entry.alternatives), entry.id


def test_parameters_match_every_total_that_counts_the_same_thing() -> None:
    comparable = published("weights")
    misses = {model_id: f"{off(model_id):+.2%}" for model_id in comparable if abs(off(model_id)) > TOLERANCE}
    assert len(comparable) > 250
    assert not misses


def test_totals_match_to_the_last_element() -> None:
    """What is left is known: scales beside FP8 and INT4 weights, rotary tables, one module without its copies."""
    inexact = {model_id: off(model_id) for model_id in published("weights") if off(model_id)}
    assert 1 - len(inexact) / len(published("weights")) > 0.9
    assert "openai/gpt-oss-120b" not in inexact
    copies = inexact.pop("zai-org/GLM-4.6")
    glm = ir("zai-org/GLM-4.6")
    assert copies * (models()[glm.id].published_parameters or 0) == pytest.approx(2 * glm.vocab * glm.hidden)
    for model_id in [i for i in inexact if ir(i).model_type in ("nemotron_h", "lfm2_moe")]:
        # The vectors that steer the choice of experts stand in no count of theirs.
        built, rest = ir(model_id), inexact.pop(model_id) * (models()[model_id].published_parameters or 0)
        assert rest == pytest.approx(sum(t.elements for t in built.tensors if t.role == "exp_probs_b"))
    for model_id, rest in inexact.items():
        assert -(1e-4 if ir(model_id).native_quant else 4e-7) < rest < 0, model_id


def test_totals_that_count_something_else_differ_in_the_way_they_say() -> None:
    for model_id in published(
        "text and vision",
        "text, vision and audio",
        "a copy of the tied head",
        "attention masks stored as tensors",
        "an undeclared prediction module",
        "undeclared prediction modules",
    ):
        assert -0.32 < off(model_id) < 0, model_id
    for model_id in published("a copy of the tied head"):
        built, total = ir(model_id), models()[model_id].published_parameters or 0
        assert total == pytest.approx(built.parameters + built.vocab * built.hidden, rel=1e-3), model_id
    # "an estimate" says nothing to check; the list must not grow unseen.
    assert len(published("an estimate")) <= 10


def test_packed_totals_count_two_weights_of_four_bits_as_one() -> None:
    """Some count the scales beside them as elements too, some leave out the module that predicts tokens."""
    packed = published("packed elements")
    assert len(packed) >= 15
    for model_id in packed:
        built, total = ir(model_id), models()[model_id].published_parameters or 0
        formats = tensor_formats(built, quant(built.native_quant or ""))
        four = sum(t.elements for t, name in zip(built.tensors, formats, strict=True) if name == "nvfp4")
        whole = built.parameters + built.mtp_parameters + (built.tower.parameters if built.tower else 0)
        assert four > whole / 2, model_id
        plain, scaled = whole - four / 2, whole - four / 2 + four / 16
        assert min(abs(plain / total - 1), abs(scaled / total - 1)) < 0.025, model_id


def test_the_rest_of_a_multimodal_total_is_the_same_tower() -> None:
    def rest(model_id: str) -> int:
        return (models()[model_id].published_parameters or 0) - ir(model_id).parameters

    sizes = ["google/gemma-3-4b-it", "google/gemma-3-12b-it", "google/gemma-3-27b-it"]
    # The projector is 1,152 x hidden; what is left is one vision tower.
    assert len({rest(size) - 1152 * ir(size).hidden for size in sizes}) == 1
    scout, maverick = "meta-llama/Llama-4-Scout-17B-16E-Instruct", "meta-llama/Llama-4-Maverick-17B-128E-Instruct"
    assert rest(scout) == rest(maverick)
    gemma4 = "google/gemma-4-26B-A4B-it", "google/gemma-4-31B-it"
    assert len({rest(size) - 1152 * ir(size).hidden for size in gemma4}) == 1
    # Its tower hands over four patches at a time, with a bias; the total holds the prediction module.
    large = [
        i
        for i in published("text and vision")
        if ir(i).model_type.startswith("qwen3_5") and ir(i).hidden != 2560 and (models()[i].published_parameters or 0) > 9e9
    ]
    assert len(large) >= 7
    assert len({rest(i) - ir(i).mtp_parameters - (4 * 1152 + 1) * ir(i).hidden for i in large}) == 1
    assert rest("Qwen/Qwen3-VL-8B-Instruct") == rest("Qwen/Qwen3-VL-235B-A22B-Instruct")


def test_gemma4_of_one_tower_and_its_unused_key_and_value_weights() -> None:
    def rest(model_id: str) -> int:
        """Elements beyond the text part, without the key and value weights of layers that share a cache."""
        built = ir(model_id)
        shared = [(len(b.layers), b.attention) for b in built.blocks if b.attention.kv_shared]
        unused = sum(n * (2 * a.kv_heads * built.hidden + 1) * a.head_dim for n, a in shared)
        return (models()[model_id].published_parameters or 0) - built.parameters - unused

    small, large = "google/gemma-4-E2B-it", "google/gemma-4-E4B-it"
    # Both have the towers of vision (768 wide) and sound (1,536 wide) before their projections.
    assert len({rest(size) - (768 + 1536) * ir(size).hidden for size in (small, large)}) == 1
    # The 12B has no tower: patches of 48 x 48 x 3 pass a layer between two norms and get a position; sound is projected.
    patch, hidden = 48 * 48 * 3, 3840
    projections = 2 * patch + (patch + 1) * hidden + 4 * hidden + 2 * 1120 * hidden + hidden * hidden + 640 * hidden
    assert rest("google/gemma-4-12B-it") == projections


def test_active_parameters_are_near_what_vendors_say() -> None:
    """Vendors round, and some leave out the embedding table, or the head too: one count must be within 8 %."""
    for entry in models().values():
        if entry.published_active is None:
            continue
        built = ir(entry.id)
        table = built.vocab * built.hidden
        counts = [built.active_parameters - n * table for n in range(2 if built.tied_embeddings else 3)]
        # Most give whole billions.
        slack = max(0.08 * entry.published_active, 0 if entry.published_active % 10**9 else 0.5e9)
        assert min(abs(count - entry.published_active) for count in counts) < slack, entry.id


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("llama 3.1 8b", "meta-llama/Llama-3.1-8B"),
        ("Llama-3.1-8B-Instruct", "meta-llama/Llama-3.1-8B-Instruct"),
        ("meta-llama/Meta-Llama-3.1-8B-Instruct", "meta-llama/Llama-3.1-8B-Instruct"),
        ("llama3:8b", "meta-llama/Meta-Llama-3-8B"),
        ("DeepSeek R1", "deepseek-ai/DeepSeek-R1"),
        ("deepseek-r1-0528", "deepseek-ai/DeepSeek-R1-0528"),
        ("qwen3 30b a3b", "Qwen/Qwen3-30B-A3B"),
        ("qwen3-30b-a3b-instruct", "Qwen/Qwen3-30B-A3B-Instruct-2507"),
        ("gpt-oss-120b", "openai/gpt-oss-120b"),
        ("Llama-3.3-70B", "meta-llama/Llama-3.3-70B-Instruct"),
        ("TinyLlama", "TinyLlama/TinyLlama-1.1B-Chat-v1.0"),
        ("Mistral-7B", "mistralai/Mistral-7B-v0.1"),
        ("mistral 7b instruct", "mistralai/Mistral-7B-Instruct-v0.3"),
        ("mixtral 8x7b", "mistralai/Mixtral-8x7B-v0.1"),
        ("phi 1.5", "microsoft/phi-1_5"),
        ("llama 405b", "meta-llama/Llama-3.1-405B"),
        ("qwen/qwen3-8b", "Qwen/Qwen3-8B"),
    ],
)
def test_names_people_type(typed: str, expected: str) -> None:
    assert model(typed).id == expected
    assert ir(typed).id == expected


@pytest.mark.parametrize(
    "typed",
    [
        "llama",
        "llama 8b",
        "8b",
        "gpt-oss",
        "devstral 2",
        "mixtral",
        "qwen3",
        "deepseek",  # more than one
        "llama 3.1 9b",
        "Qwen3.7 27B",
        "claude",
        "",
        "   ",
        "/",
        "foo/Llama-3.1-8B",
        "Llama-3.1-8B-AWQ",
        "gemma 3 28b",
    ],
)
def test_a_name_never_becomes_another_model(typed: str) -> None:
    with pytest.raises(CatalogError):
        model(typed)


def test_an_unknown_name_gets_suggestions() -> None:
    with pytest.raises(CatalogError, match=r"No model 'lama 3\.1 8B' in the catalog\. Did you mean .*Llama-3\.1-8B"):
        model("lama 3.1 8B")


def test_every_id_and_alias_resolves_to_its_model() -> None:
    for entry in models().values():
        for name in (entry.id, entry.id.lower(), *entry.aliases):
            assert model(name).id == entry.id


def test_search_ranks_the_nearest_first() -> None:
    assert search_models("llama 3.1 8b")[0].id == "meta-llama/Llama-3.1-8B"
    assert {e.id.split("/")[0] for e in search_models("qwen3 coder", 4)} == {"Qwen"}
    assert len(search_models("", 7)) == len(search_models("mistral", 7)) == 7
    assert any("Llama" in e.id for e in search_models("lamma 3"))
    assert len({e.id for e in search_models("instruct", 300)}) == len(search_models("instruct", 300))


def test_config_quantities_are_cited_and_marked() -> None:
    layers = config_quantity(model("Qwen/Qwen3-8B"), "num_hidden_layers")
    assert (layers.value, layers.kind, layers.unit) == (36, "model_config", "")
    assert layers.source is not None and layers.source.key == "aiconfigurator" and not layers.source.guess
    assert config_quantity(model("Qwen/Qwen3-8B"), "max_position_embeddings").unit == "tok"
    # A record from a survey: what it held is no guess, what was added is.
    glm = model("zai-org/GLM-4.5")
    held, added = config_quantity(glm, "hidden_size").source, config_quantity(glm, "first_k_dense_replace").source
    assert held is not None and not held.guess
    assert added is not None and added.guess
    remembered = config_quantity(model("bigscience/bloom"), "hidden_size").source
    assert remembered is not None and remembered.guess
    with pytest.raises(CatalogError, match="no number 'colour'"):
        config_quantity(glm, "colour")


def test_reading_the_catalog_needs_no_heavy_import() -> None:
    code = "import sys; from core.catalog.models import models, model; models(); model('llama 3.1 8b'); print('rapidfuzz' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=CATALOG.parents[1], check=True)
    assert done.stdout.strip() == "False"
