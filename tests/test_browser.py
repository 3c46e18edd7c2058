"""The main path in a real browser: open, change, reload, explain; light and dark; nothing fetched from outside."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

import pytest

sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install -e '.[dev]'")
expect = sync_api.expect
expect.set_options(timeout=20_000)  # a busy machine draws late

ROOT = Path(__file__).resolve().parents[1]
CHROMIUM = next((found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None)
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs a system Chromium: apt-get install chromium")


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The app as a user starts it."""
    port = _free_port()
    log = tmp_path_factory.mktemp("app") / "log.txt"
    with log.open("w") as out:
        app = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "streamlit",
                "run",
                "app.py",
                "--server.port",
                str(port),
                "--server.address",
                "127.0.0.1",
            ],
            cwd=ROOT,
            stdout=out,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
    base = f"http://127.0.0.1:{port}"
    try:
        for _ in range(150):
            try:
                urllib.request.urlopen(f"{base}/v1/health", timeout=1).close()
                break
            except OSError:
                assert app.poll() is None, log.read_text()
                time.sleep(0.2)
        else:
            pytest.fail(f"the app did not start:\n{log.read_text()}")
        yield base
    finally:
        app.terminate()
        app.wait(timeout=10)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as play:
        started = play.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield started
        started.close()


def settled(page: Any) -> None:
    """Wait until the answer stands and no script runs."""
    expect(page.get_by_role("heading", level=1)).to_be_visible(timeout=30_000)
    expect(page.get_by_test_id("stApp")).to_have_attribute("data-test-script-state", "notRunning", timeout=20_000)


def test_health_and_unknown_paths(address: str) -> None:
    with urllib.request.urlopen(f"{address}/v1/health") as answer:
        found = json.load(answer)
    assert found["status"] == "ok"
    assert found["version"]
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"{address}/v1/nothing-here")
    assert refused.value.code == 404
    assert json.load(refused.value)["path"] == "/v1/nothing-here"


def test_main_path(address: str, browser: Any) -> None:
    context = browser.new_context(viewport={"width": 1280, "height": 900}, color_scheme="light")
    page = context.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(address)
    settled(page)
    answer = page.get_by_role("heading", level=1)
    expect(answer).to_contain_text("Llama-3.1-8B-Instruct at Q4_K_M fits one RTX 4090")

    users = page.get_by_role("spinbutton", name="Users at once")
    users.fill("16")
    users.press("Enter")
    page.wait_for_url("**concurrency=16**")
    expect(answer).to_contain_text("for each user", timeout=15_000)
    settled(page)
    said = answer.inner_text()

    page.reload()
    settled(page)
    expect(page.get_by_role("spinbutton", name="Users at once")).to_have_value("16")
    expect(answer).to_have_text(said)

    page.locator(".st-key-tile-decode").get_by_role("button", name="tok/s").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Where this number comes from")
    expect(dialog).to_contain_text("Formula as it ran", timeout=10_000)
    dialog.locator(".st-key-inputs").get_by_role("button").first.click()
    expect(dialog.locator(".st-key-trail")).to_contain_text("decode rate", timeout=10_000)

    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)

    page.get_by_role("tab", name="Evidence").click()
    expect(page.get_by_text("Nearest measured runs")).to_be_visible(timeout=15_000)
    runs = page.locator("[class*='st-key-near-run-']")
    expect(runs).to_have_count(5)
    expect(runs.first.get_by_role("link")).to_have_attribute("href", re.compile("^https://"))
    page.wait_for_url("**view=Evidence**")

    outside = [url for url in asked if not re.match(rf"({re.escape(address)}|data:|blob:)", url)]
    assert not outside
    context.close()


@pytest.mark.parametrize("view", ["Users and context", "Evidence"])
@pytest.mark.parametrize(("scheme", "width"), [("dark", 1280), ("light", 390)])
def test_renders_without_overflow(address: str, browser: Any, scheme: str, width: int, view: str) -> None:
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page = context.new_page()
    failures: list[str] = []
    page.on("pageerror", lambda error: failures.append(str(error)))
    page.goto(f"{address}/?model=Llama-3.3-70B-Instruct&device=RTX+3090&ram_gb=64&view={quote_plus(view)}")
    settled(page)
    expect(page.get_by_test_id("stVegaLiteChart").first).to_be_visible(timeout=20_000)
    ground = page.get_by_test_id("stApp").evaluate("e => getComputedStyle(e).backgroundColor")
    dark = sum(map(int, re.findall(r"\d+", ground)[:3])) < 150
    assert dark == (scheme == "dark")
    for box in ("document.documentElement", "document.querySelector('[data-testid=stMain]')"):
        assert page.evaluate(f"{box}.scrollWidth - {box}.clientWidth") <= 1
    assert not failures
    context.close()
