"""The page "What should I buy?" in a real browser: ask, change, explain, open; light, dark, narrow."""

from __future__ import annotations

from typing import Any

import pytest
from test_browser import CHROMIUM, address, browser, expect, settled

__all__ = ["address", "browser"]  # fixtures

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs a system Chromium: apt-get install chromium")
SMALL = "models=Qwen3-14B&devices=GeForce+RTX+3090&devices=L40S&runtimes=vLLM&max_devices=1&max_ttft_s=2"


def test_ask_change_explain_and_open(address: str, browser: Any) -> None:
    context = browser.new_context(viewport={"width": 1280, "height": 1400})
    page = context.new_page()
    page.goto(f"{address}/target?{SMALL}")
    settled(page)
    heading = page.get_by_role("heading", level=1)
    expect(heading).to_contain_text("Buy RTX 3090 in a desktop PC", timeout=60_000)
    before = heading.inner_text()

    users = page.get_by_role("spinbutton", name="Users at once")
    users.fill("300")
    users.press("Enter")
    page.wait_for_url("**users=300**")
    expect(heading).not_to_have_text(before, timeout=60_000)
    settled(page)
    page.get_by_text("To buy", exact=True).first.click()
    expect(heading).to_contain_text("Rent ", timeout=60_000)
    settled(page)
    page.reload()
    settled(page)
    expect(heading).to_contain_text("Rent ", timeout=60_000)

    page.locator("[class*='st-key-number-cloud-minimum-month'] button").first.click()
    expect(page.get_by_role("dialog")).to_contain_text("Where this number comes from", timeout=20_000)
    page.keyboard.press("Escape")

    page.get_by_role("link", name="Open").first.click()
    expect(heading).to_contain_text("Qwen3-14B at ", timeout=60_000)
    settled(page)
    assert "instance=" in page.url and "concurrency=" in page.url
    expect(page.get_by_test_id("stAlert")).to_have_count(0)
    context.close()


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 390)])
def test_renders_without_overflow(address: str, browser: Any, scheme: str, width: int) -> None:
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page = context.new_page()
    failures: list[str] = []
    page.on("pageerror", lambda error: failures.append(str(error)))
    page.goto(f"{address}/target?{SMALL}&hardware=Yours&hardware=To+rent&owned.device=GeForce+RTX+3090")
    settled(page)
    expect(page.get_by_role("heading", level=1)).to_contain_text("Your RTX 3090 does it", timeout=60_000)
    settled(page)
    expect(page.get_by_test_id("stVegaLiteChart")).to_have_count(2, timeout=20_000)
    for box in ("document.documentElement", "document.querySelector('[data-testid=stMain]')"):
        assert page.evaluate(f"{box}.scrollWidth - {box}.clientWidth") <= 1
    assert not failures
    context.close()
