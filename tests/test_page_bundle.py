"""A result saved from the page and opened there again: shown beside the file, laid into the form, stored only when asked."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_hub import FakeHub, repo_of, unquantised
from streamlit.testing.v1 import AppTest
from test_pages import opened, sentence

from core.bundle import bundle, read
from core.catalog.models import ir, models
from core.hub import fetch
from core.hub_store import IN_PROCESS
from core.scenario import from_flat
from core.sweep import answer

SMALL = "Qwen/Qwen2.5-0.5B-Instruct"


def told(page: AppTest) -> str:
    assert not page.exception, page.exception
    return "\n".join(str(e.value) for kind in ("markdown", "caption", "warning", "info", "success") for e in page.get(kind)).replace(
        "\\", ""
    )


def test_a_link_and_a_bundle_of_the_page_hold_its_overrides() -> None:
    page = opened(model="Qwen3-8B?num_hidden_layers=40", device="My card?base=GeForce RTX 4090&memory_bandwidth_gb_s=950", gpu_layers="30")
    assert any(button.label == "Save as a bundle" for button in page.get("download_button"))
    asked = page.session_state["_asked"]
    assert asked.model == "Qwen/Qwen3-8B?num_hidden_layers=40" and asked.deployment.gpu_layers == 30
    assert read(bundle(answer(asked)).to_json().encode()).asked() == asked


def test_a_bundle_is_opened_and_laid_into_the_form(hub: FakeHub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    hub.repos["me/small"] = repo_of(models()[SMALL].config, unquantised(ir(SMALL)))
    asked = from_flat(
        {"model": fetch("me/small").id, "device": "Mine?base=GeForce RTX 4090&memory_gb=48", "runtime": "vllm", "concurrency": 5}
    )
    raw = bundle(answer(asked)).to_json()
    place = tmp_path / "elsewhere"
    monkeypatch.setenv("ROOFCAST_HOME", str(place))
    IN_PROCESS.clear()
    page = opened()
    page.file_uploader("bundle-file").set_value(("result.json", raw.encode(), "application/json")).run()
    assert "Every number is the same as in the file" in told(page) and "does not have it" in told(page)
    page.button("bundle-take").click().run()
    assert sentence(page).startswith("small@") and "at BF16 fits one Mine" in sentence(page)
    taken = page.session_state["_asked"]
    assert taken.model.startswith("bundle/small@") and taken.workload.concurrency == 5
    assert not place.exists() and not IN_PROCESS, "it lives in the session alone"
    page.button("bundle-store").click().run()
    assert "The model is stored as bundle/small@" in told(page) and list(place.rglob("*.json.gz"))


def test_a_file_that_is_none_gets_a_sentence() -> None:
    page = opened()
    page.file_uploader("bundle-file").set_value(("x.json", b'{"format": "<b>*x*"}', "application/json")).run()
    assert "has the format '<b>*x*'; this Roofcast reads" in told(page)


def test_a_shared_server_offers_no_store(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = bundle(answer(from_flat({"model": SMALL, "device": "Mine?base=GeForce RTX 4090&memory_gb=48"}))).to_json()
    monkeypatch.setenv("ROOFCAST_HOSTED", "1")
    page = opened()
    page.file_uploader("bundle-file").set_value(("x.json", raw.encode(), "application/json")).run()
    assert "bundle-take" in {button.key for button in page.button} and "bundle-store" not in {button.key for button in page.button}
