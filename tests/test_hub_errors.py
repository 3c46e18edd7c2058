"""What can fail between a pasted name and a model, each its own sentence; and the token, which none of them holds."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest
from fake_hub import TOKEN, FakeHub, FakeRepo, Served, running, whole
from test_hub import CONFIG, refused, small

from core import hub_http
from core.catalog.models import ir
from core.errors import HubError
from core.hub import fetch


def test_gated_missing_and_private(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.repos["me/gated"] = gated = small()
    gated.gated = True
    refused("me/gated", "gated", "HF_TOKEN")
    assert fetch("me/gated", TOKEN).revision == gated.commit
    hub.repos["me/private"] = private = small(max_position_embeddings=99)
    private.private = True
    refused("me/private", "no model 'me/private'", "HF_TOKEN")
    refused("me/none", "no model 'me/none'")
    refused("me/none", "no model 'me/none'", token=TOKEN)
    refused("me/gated@nowhere", "no revision 'nowhere'")
    refused("me/gated/x.gguf", "no file 'x.gguf'", token=TOKEN)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert fetch("me/private").revision == private.commit and hub.tokens[-1] == TOKEN
    refused("me/private", "no model 'me/private'", token=False)
    assert hub.tokens[-1] is None, "a visitor reads nothing with the token of the machine's owner"


def test_a_token_is_nowhere_to_be_found(
    hub: FakeHub, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(0)
    hub.repos["me/gated"] = repo = small()
    repo.gated = True
    found = fetch("me/gated", TOKEN)
    for bad in ("hf_wrong_but_secret", "hf_new\nline_secret", "hf_ünï_secret"):
        with pytest.raises(HubError) as caught:
            fetch("me/gated@main", bad)
        assert "secret" not in str(caught.value) + repr(caught.value) and caught.value.__cause__ is None
        assert "oken" in str(caught.value)
    hub.status = 500
    refused("me/other", "error 500", token=TOKEN)
    out = capfd.readouterr()
    kept = b"".join(path.read_bytes() for path in (tmp_path / "home").rglob("*") if path.is_file())
    assert TOKEN not in repr(found) + caplog.text + out.out + out.err and TOKEN.encode() not in kept


def test_large_files_lie_elsewhere_where_the_token_does_not_go(hub: FakeHub) -> None:
    hub.repos["me/gated"] = repo = small()
    with running() as store:
        store.repos, hub.store = hub.repos, store.address
        found = fetch("me/gated", TOKEN)
        assert found.file_bytes == repo.files["model.safetensors"].size and set(hub.tokens) == {TOKEN}
        assert store.asked and set(store.tokens) == {None}


@pytest.mark.parametrize("status, word", [(403, "may not read"), (429, "wait"), (500, "error 500"), (503, "error 503")])
def test_a_hub_that_refuses(hub: FakeHub, status: int, word: str) -> None:
    hub.status = status
    refused("me/small", word)


def test_no_hub_at_all(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.repos["me/small"] = small()
    found = fetch("me/small")
    with socket.socket() as taken:  # bound, never listening: every connection is refused
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{taken.getsockname()[1]}")
        refused("me/other", "cannot be reached", "network")
        held = fetch("me/small")
    assert held.id == found.id and "did not answer" in held.notes[-1]


def test_a_hub_that_does_not_answer_is_asked_once(monkeypatch: pytest.MonkeyPatch, hub: FakeHub) -> None:
    """A name that does not resolve, and a host that drops packets, cost one time-out and no retries."""
    tries: list[float] = []

    def stuck(_: Any, timeout: float) -> Any:
        tries.append(timeout)
        raise TimeoutError

    monkeypatch.setattr(hub_http.socket, "create_connection", stuck)
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    refused("me/small", "cannot be reached")
    assert tries == [hub_http.CONNECT_S] and hub_http.CONNECT_S <= 2 and not hub.asked


def test_repositories_that_hold_no_model(hub: FakeHub) -> None:
    def holds(**files: bytes) -> FakeRepo:
        return FakeRepo({name.replace("__", "."): whole(raw) for name, raw in files.items()})

    hub.repos["me/empty"] = holds(README__md=b"#")
    refused("me/empty", "neither a config.json nor a GGUF")
    hub.repos["me/lora"] = holds(adapter_config__json=b'{"base_model_name_or_path": "me/base"}')
    refused("me/lora", "adapter", "me/base")
    of_base = json.dumps(CONFIG).encode()
    hub.repos["me/lora"] = holds(adapter_config__json=b'{"base_model_name_or_path": "me/base"}', config__json=of_base)
    refused("me/lora", "adapter", "me/base")
    hub.repos["me/broken"] = holds(config__json=b"{nope")
    refused("me/broken", "no JSON table")
    hub.repos["me/lacks"] = holds(config__json=b'{"model_type": "llama", "hidden_size": 64}')
    refused("me/lacks", "lacks 'num_hidden_layers'")
    hub.repos["me/t5"] = holds(config__json=b'{"model_type": "t5", "is_encoder_decoder": true}')
    refused("me/t5", "encoder-decoder")
    hub.repos["me/bin"] = FakeRepo({"config.json": whole(json.dumps(CONFIG).encode()), "pytorch_model.bin": whole(b"x")})
    found = fetch("me/bin")
    assert "no safetensors" in found.notes[0] and not ir(found.id).stored


def test_broken_headers(hub: FakeHub) -> None:
    config, good = whole(json.dumps(CONFIG).encode()), small().files["model.safetensors"]
    for head, word in ((b"", "truncated"), (b"x" * 100, "not a safetensors"), (good.head[:500], "truncated"),
                       ((5).to_bytes(8, "little") + b"[1,2]", "header cannot be read"),
                       ((14).to_bytes(8, "little") + b'{"a":{"x":1} }', "header cannot be read")):  # fmt: skip
        hub.repos["me/broken"] = FakeRepo({"config.json": config, "model.safetensors": whole(head)})
        refused("me/broken", word)
    hub.repos["me/cut"] = FakeRepo({"config.json": config, "model.safetensors": Served(good.head, good.size - 10)})
    refused("me/cut", "truncated", f"{good.size - 10:,}")
    hub.repos["me/index"] = FakeRepo({"config.json": config, "model.safetensors.index.json": whole(b'{"weight_map": {"a": "b"}}')})
    refused("me/index", "does not list its files")


def test_a_server_without_ranges_sends_no_whole_file(hub: FakeHub) -> None:
    hub.ranges = False
    hub.repos["me/small"] = small()
    fetch("me/small")
    assert hub.sent < 2**27 < small().files["model.safetensors"].size
