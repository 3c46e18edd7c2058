"""What a command loads of a fetched model: the exact revision or file, and the way back to the model's name."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_hub import FakeHub, FakeRepo, repo_of, unquantised
from gguf_files import gguf_of

from core.catalog.models import ir, models
from core.estimate import estimate, launch
from core.hub import fetch
from core.launch_parse import parse
from core.scenario import from_flat

SMALL = "Qwen/Qwen2.5-0.5B-Instruct"
CONFIG = models()[SMALL].config


def command(model: str, runtime: str = "llama.cpp") -> str:
    return launch(estimate(from_flat({"model": model, "device": "RTX 4090", "runtime": runtime})))


def ggufs(hub: FakeHub, vocabulary: int = 300) -> None:
    hub.repos["me/gg"] = FakeRepo(
        {"sub/m-Q4_K_M.gguf": gguf_of(ir(SMALL), CONFIG), "m-Q8_0.gguf": gguf_of(ir(SMALL), CONFIG, "Q8_0", vocabulary)}
    )


@pytest.mark.parametrize(
    ("runtime", "start"),
    [("vllm", "vllm serve me/small --revision "), ("sglang", "python -m sglang.launch_server --model-path me/small --revision "),
     ("tgi", "text-generation-launcher --model-id me/small --revision "), ("tensorrt-llm", "trtllm-serve me/small --revision ")],
)  # fmt: skip
def test_a_repository_is_pinned_to_the_commit_that_was_read(hub: FakeHub, runtime: str, start: str) -> None:
    hub.repos["me/small"] = repo = repo_of(CONFIG, unquantised(ir(SMALL)))
    model = fetch("me/small").id
    written = command(model, runtime)
    assert written.startswith(start + repo.commit), written
    parsed = parse(written)
    assert parsed.fields["model"] == model and "quant" not in parsed.fields
    assert parsed.command() == written
    unknown = parse(start + "f" * 40)
    assert unknown.fields.get("model") == model and any("was not fetched" in note for note in unknown.notes)


def test_a_file_of_the_hub_by_its_quantisation_and_an_older_one_by_its_address(hub: FakeHub) -> None:
    ggufs(hub)
    four, eight = fetch("me/gg:Q4_K_M").id, fetch("me/gg/m-Q8_0.gguf").id
    for model, tag in ((four, "Q4_K_M"), (eight, "Q8_0")):
        assert f"llama-server -hf me/gg:{tag} " in command(model)
        assert f"FROM hf.co/me/gg:{tag}\n" in command(model, "ollama")
        for runtime in ("llama.cpp", "ollama"):
            assert parse(command(model, runtime)).fields["model"] == model
    ggufs(hub, vocabulary=301)
    newer = fetch("me/gg/m-Q8_0.gguf").id
    assert newer != eight and f"/me/gg/resolve/{eight.split('@')[1]}" in command(eight)
    assert "loads the newest revision" in command(eight, "ollama") and "#" not in command(newer, "ollama")
    assert parse(command(eight)).fields["model"] == eight and parse(command(newer)).fields["model"] == newer


def test_a_file_of_this_machine(hub: FakeHub, tmp_path: Path) -> None:
    served = gguf_of(ir(SMALL), CONFIG, "Q8_0")
    place = tmp_path / "mine-Q8_0.gguf"
    place.write_bytes(served.part(0, served.size))
    model = fetch(str(place)).id
    assert command(model).startswith("llama-server -m mine-Q8_0.gguf ")
    assert "FROM ./mine-Q8_0.gguf\n" in command(model, "ollama")
    assert parse("llama-server -m /models/mine-Q8_0.gguf -ngl 99").fields["model"] == model


def test_fields_set_by_hand_are_said_and_load_nothing() -> None:
    written = command("Qwen/Qwen3-8B?num_hidden_layers=40", "vllm")
    assert written.split("\n")[0] == (
        "# Set by hand, and so in no published checkpoint: num_hidden_layers=40. Put your own in the model's place."
    )
    assert written.split("\n")[1].startswith("vllm serve Qwen/Qwen3-8B ")
