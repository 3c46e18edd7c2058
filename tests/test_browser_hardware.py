"""The hardware page in a real browser: tick two devices, compare them, describe one's own and estimate on it; light, dark, narrow."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote_plus

import pytest
from test_browser import CHROMIUM, address, browser, expect, settled

__all__ = ["address", "browser"]  # fixtures

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs a system Chromium: apt-get install chromium")


@pytest.fixture(scope="module", autouse=True)
def _home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A user's folder of its own for the app that `address` starts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ROOFCAST_HOME", str(tmp_path_factory.mktemp("home")))
        yield


def test_from_the_table_to_an_estimate_on_ones_own_device(_home: None, address: str, browser: Any) -> None:
    context = browser.new_context(viewport={"width": 1280, "height": 1800})
    page = context.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{address}/hardware?hardware_text=4090")
    settled(page)
    table = page.get_by_test_id("stDataFrame").first
    expect(table).to_be_visible(timeout=20_000)
    page.wait_for_timeout(400)
    box = table.bounding_box()
    for line in (0, 1):  # cells are drawn, so the click goes by place
        page.mouse.click(box["x"] + 15, box["y"] + 35 + 17 + 35 * line)
        settled(page)
        page.wait_for_timeout(300)
    page.wait_for_url("**devices=*devices=*")
    page.get_by_role("tab", name="Side by side").click()
    expect(page.locator(".side td.d").first).to_be_visible(timeout=10_000)

    page.goto(f"{address}/hardware?devices=rtx-4090&hardware_view=Edit+or+add")
    settled(page)
    page.get_by_role("textbox", name="Name").fill("My card")
    page.get_by_role("spinbutton", name="Memory bandwidth, GB/s", exact=True).fill("950")
    page.get_by_role("button", name="Take this device").click()
    expect(page.get_by_text("My card is ready")).to_be_visible(timeout=15_000)
    settled(page)
    page.reload()
    settled(page)
    page.get_by_role("tab", name="Facts").click()
    expect(page.get_by_text("You said so").first).to_be_visible(timeout=10_000)
    page.get_by_role("link", name="Estimate on it").first.click()
    answer = page.get_by_role("heading", level=1)
    expect(answer).to_contain_text("My card", timeout=30_000)
    settled(page)
    expect(page.get_by_test_id("stAlert")).to_have_count(0)
    assert not [url for url in asked if not re.match(rf"({re.escape(address)}|data:|blob:)", url)]
    context.close()


def test_a_cloud_instance_fills_the_form(_home: None, address: str, browser: Any) -> None:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.goto(f"{address}/?runtime=vLLM&instance=g6e.12xlarge")
    settled(page)
    expect(page.get_by_role("spinbutton", name="Count")).to_have_value("4")
    expect(page.get_by_role("spinbutton", name="RAM, GB")).to_have_value("384")
    expect(page.get_by_role("heading", level=1)).to_contain_text("L40S")
    page.get_by_role("spinbutton", name="Count").fill("2")
    page.get_by_role("spinbutton", name="Count").press("Enter")
    page.wait_for_url(lambda url: "instance=" not in url)  # two cards are another machine, at another price
    context.close()


@pytest.mark.parametrize(("scheme", "width"), [("dark", 1280), ("light", 390)])
@pytest.mark.parametrize("view", ["Facts", "Side by side", "Roofline", "Edit or add"])
def test_renders_without_overflow(_home: None, address: str, browser: Any, scheme: str, width: int, view: str) -> None:
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page = context.new_page()
    failures: list[str] = []
    page.on("pageerror", lambda error: failures.append(str(error)))
    page.goto(f"{address}/hardware?devices=rtx-4090&devices=mi250x&devices=h100-sxm5-80gb&hardware_view={quote_plus(view)}")
    settled(page)
    expect(page.get_by_role("tab", name=view)).to_have_attribute("aria-selected", "true", timeout=15_000)
    for box in ("document.documentElement", "document.querySelector('[data-testid=stMain]')"):
        assert page.evaluate(f"{box}.scrollWidth - {box}.clientWidth") <= 1
    assert not failures
    context.close()
