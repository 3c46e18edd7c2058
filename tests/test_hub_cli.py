"""`roofcast model`: what it prints of a model, wherever it comes from."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fake_hub import FakeHub, FakeRepo, plain, repo_of, unquantised
from gguf_files import gguf_of
from typer.testing import CliRunner

from core.catalog.models import ir, models
from core.cli import app
from core.model_facts import facts

SMALL = "Qwen/Qwen2.5-0.5B-Instruct"
CONFIG = models()[SMALL].config


def said(*words: str) -> str:
    result = CliRunner().invoke(app, list(words), terminal_width=100)
    assert result.exit_code == 0, result.stderr or result.exception
    return str(result.stdout)


def printed(*words: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(said("model", *words, "--json"))
    return found


def test_a_repository(hub: FakeHub) -> None:
    extra = [plain("lm_head.weight", "BF16", (CONFIG["vocab_size"], CONFIG["hidden_size"]))]
    hub.repos["me/small"] = repo = repo_of(CONFIG, [*unquantised(ir(SMALL)), *extra])
    found = printed("me/small")
    assert found["id"] == f"me/small@{repo.commit[:12]}" and found["revision"] == repo.commit
    assert found["parameters"] == ir(SMALL).parameters and found["weights_bytes"] == 2 * found["parameters"]
    assert found["kv_bytes_per_token"] == 24 * 2 * 2 * 64 * 2  # layers, keys and values, heads, width, bytes
    assert found["file_bytes"] == repo.files["model.safetensors"].size and set(found["dtypes_bytes"]) == {"bf16"}
    assert found["fields"]["hidden_size"] == {"value": 896, "origin": "config.json"}
    text = said("model", "me/small")
    words = (found["id"], "exact, by the header", "12.0 KiB a token", "bf16 100.0%", "lm_head.weight", f"{found['file_bytes']:,} bytes")
    for word in words:
        assert word in text, word
    answer = said("estimate", "--model", found["id"], "--gpu", "RTX 4090", "--runtime", "vllm")
    assert "fits one RTX 4090" in answer


def test_a_gguf_file_and_its_vision_tower(hub: FakeHub) -> None:
    hub.repos["me/gg"] = FakeRepo({"m-Q4_K_M.gguf": gguf_of(ir(SMALL), CONFIG), "mmproj-F16.gguf": gguf_of(ir(SMALL), CONFIG)})
    found = printed("me/gg:Q4_K_M")
    assert found["quant"] == found["weights_quant"] == "Q4_K_M" and found["vision_files"] == ["mmproj-F16.gguf"]
    assert found["fields"]["hidden_size"]["origin"] == "the file's metadata"
    assert "Vision files" in said("model", "me/gg:Q4_K_M")


def test_fields_set_by_hand(hub: FakeHub) -> None:
    hub.repos["me/small"] = repo_of(CONFIG, unquantised(ir(SMALL)))
    found = printed("me/small", "--set", "num_hidden_layers=12", "--set", "tie_word_embeddings=false")
    assert found["id"].endswith("?num_hidden_layers=12&tie_word_embeddings=false")
    assert found["fields"]["num_hidden_layers"] == {"value": 12, "origin": "12, set by you; the config says 24"}
    assert found["weights_from"] == "layout" and found["layers"] == 12
    for link in ("https://huggingface.co/me/small?library=x", "hf.co/me/small?library=x"):
        assert printed(link, "--set", "num_hidden_layers=12", "--set", "tie_word_embeddings=false")["id"] == found["id"]
    assert "fits" in said("estimate", "--model", found["id"], "--gpu", "RTX 4090")
    assert printed(SMALL.lower().replace("/", " "), "--set", "num_hidden_layers=12")["layers"] == 12


def test_the_catalogs_model_where_the_hub_has_none(hub: FakeHub) -> None:
    found = printed(SMALL)
    assert found["id"] == SMALL and "the Hub did not give it" in found["notes"][0]
    assert found["fields"]["hidden_size"]["origin"] == "catalog" and found["published_parameters"]
    hub.asked.clear()
    assert printed(SMALL, "--offline")["id"] == SMALL and printed("qwen2.5 0.5b instruct")["id"] == SMALL and not hub.asked


def test_what_was_assumed_is_said(hub: FakeHub) -> None:
    config = {**{k: v for k, v in CONFIG.items() if k != "tie_word_embeddings"}, "model_type": "brandnew"}
    hub.repos["me/new"] = repo_of(config, unquantised(ir(SMALL)))
    found = facts("me/new")
    assert "'brandnew' is not known" in found["assumed"]["model_type"]
    assert any("parameters, the layout" in note or "layout does not have" in note for note in found["notes"])


@pytest.mark.parametrize("words, sentence", [
    (["me/none"], "There is no model 'me/none'"), (["me/none", "--offline"], "not on this machine"),
    (["me/none", "--set", "x"], "field=value"), (["https://example.org/x.gguf"], "no link to the Hub"), (["nosuchthing"], "No model"),
])  # fmt: skip
def test_a_bad_name_is_a_sentence(hub: FakeHub, words: list[str], sentence: str) -> None:
    result = CliRunner().invoke(app, ["model", *words])
    assert result.exit_code == 2 and sentence in result.stderr and not result.stdout
