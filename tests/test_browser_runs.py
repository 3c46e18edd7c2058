"""Own runs in a real browser: drop a file, keep it, see the range of the estimate narrow and why, delete it; narrow screens."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from test_browser import CHROMIUM, address, browser, expect, settled
from test_page_runs import GOOD

from harness.uploads import BAD, answer

__all__ = ["address", "browser"]  # fixtures

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs a system Chromium: apt-get install chromium")
ASKED = "model=Qwen/Qwen3-8B&device=rtx-4090&runtime=llama.cpp&quant=Q4_K_M&prompt_tokens=2048&output_tokens=256"


@pytest.fixture(scope="module", autouse=True)
def _home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A user's folder of its own for the app that `address` starts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ROOFCAST_HOME", str(tmp_path_factory.mktemp("home")))
        yield


def decode_range(page: Any) -> float:
    """Upper over lower end of the decode speed's range."""
    low, high = re.findall(r"[\d.]+", page.locator(".st-key-tile-decode").get_by_text("–").inner_text())[:2]
    return float(high) / float(low)


def test_a_dropped_file_narrows_the_range_until_it_is_deleted(_home: None, address: str, browser: Any) -> None:
    context = browser.new_context(viewport={"width": 1280, "height": 1400})
    page = context.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{address}/?{ASKED}")
    settled(page)
    before = decode_range(page)

    page.goto(f"{address}/runs")
    settled(page)
    page.locator("input[type=file]").set_input_files({"name": "mine.csv", "mimeType": "text/csv", "buffer": GOOD})
    expect(page.get_by_text("Measured beside predicted")).to_be_visible(timeout=30_000)
    page.get_by_role("button", name="Keep 3 runs on this computer").click()
    expect(page.get_by_text("3 kept on this computer")).to_be_visible(timeout=30_000)
    page.get_by_role("link", name="See it on the estimate").first.click()
    expect(page.get_by_text("Shifted by 3 of your own runs").first).to_be_visible(timeout=30_000)
    settled(page)
    assert decode_range(page) < 0.9 * before
    page.locator(".st-key-number-decode").get_by_role("button").click()
    page.get_by_text("The whole tree as text").click()
    expect(page.get_by_text("factor of your 3 runs on this machine").first).to_be_visible()
    page.keyboard.press("Escape")

    page.goto(f"{address}/runs?runs_view=Stored+runs")
    settled(page)
    page.get_by_role("button", name="Delete all").click()
    page.get_by_role("button", name="Delete all of them").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("A few runs")
    page.goto(f"{address}/?{ASKED}")
    settled(page)
    assert decode_range(page) == before
    assert not [url for url in asked if not re.match(rf"({re.escape(address)}|data:|blob:)", url)]
    context.close()


def test_bad_files_get_on_the_page_what_the_document_says(_home: None, address: str, browser: Any, tmp_path: Path) -> None:
    for bad in BAD:
        path = tmp_path / bad.name
        path.write_bytes(b"" if bad.page else bad.raw())
        if bad.page:
            os.truncate(path, 200 * 10**6)  # nobody reads it
    page = browser.new_page(viewport={"width": 1280, "height": 1400})
    page.goto(f"{address}/runs")
    settled(page)
    page.locator("input[type=file]").set_input_files([tmp_path / bad.name for bad in BAD])
    expect(page.get_by_text("Use these runs?")).to_be_visible(timeout=90_000)
    settled(page)
    said = page.get_by_test_id("stMain").inner_text()
    for bad in BAD:
        for text in [bad.page] if bad.page else answer(bad):
            told = re.sub(r"^Read: (\d+ runs?)\.$", rf"{bad.name} (CSV): \1", text)
            assert told.removeprefix("Left out, ") in said, bad.name
    page.close()


@pytest.mark.parametrize("width", [390, 1280])
def test_a_file_renders_without_overflow(_home: None, address: str, browser: Any, width: int) -> None:
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme="dark")
    page = context.new_page()
    failures: list[str] = []
    page.on("pageerror", lambda error: failures.append(str(error)))
    page.goto(f"{address}/runs?runs_view=Calibration")
    settled(page)
    narrow(page)
    page.goto(f"{address}/runs")
    settled(page)
    page.locator("input[type=file]").set_input_files({"name": "mine.csv", "mimeType": "text/csv", "buffer": GOOD})
    expect(page.get_by_text("Use these runs?")).to_be_visible(timeout=30_000)
    settled(page)
    narrow(page)
    assert not failures
    context.close()


def narrow(page: Any) -> None:
    """Nothing is wider than the screen."""
    for box in ("document.documentElement", "document.querySelector('[data-testid=stMain]')"):
        assert page.evaluate(f"{box}.scrollWidth - {box}.clientWidth") <= 1
