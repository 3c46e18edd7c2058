"""The placement page in a real browser: from the answer to it and back with the scenario kept; light, dark, narrow."""

from __future__ import annotations

from typing import Any

import pytest
from test_browser import CHROMIUM, address, browser, expect, settled

__all__ = ["address", "browser"]  # fixtures

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs a system Chromium: apt-get install chromium")
EIGHT = "model=DeepSeek-R1&device=h100-sxm5-80gb&count=16&runtime=vLLM&quant=FP8"


def test_from_the_answer_and_back(address: str, browser: Any) -> None:
    context = browser.new_context(viewport={"width": 1280, "height": 1400})
    page = context.new_page()
    page.goto(f"{address}/?model=Llama-3.3-70B-Instruct&device=h100-sxm5-80gb&count=8&runtime=vLLM&quant=BF16&concurrency=16")
    settled(page)
    page.get_by_role("link", name="Which device holds what").click()
    page.wait_for_url("**/placement?**")
    heading = page.get_by_role("heading", level=1)
    expect(heading).to_contain_text("Llama-3.3-70B-Instruct on 8 H100", timeout=20_000)
    settled(page)
    expect(page.locator(".rank")).to_have_count(8)

    stages = page.get_by_role("spinbutton", name="Pipeline parallel (PP)")
    stages.fill("2")
    stages.press("Enter")
    page.wait_for_url("**pp=2**")
    expect(page.locator(".rank-grid")).to_contain_text("Stage 2", timeout=15_000)
    settled(page)
    page.reload()
    settled(page)
    expect(page.locator(".rank-grid")).to_contain_text("Stage 2", timeout=15_000)
    expect(page.get_by_role("spinbutton", name="Users at once")).to_have_value("16")

    page.get_by_role("link", name="Speed of this scenario").click()
    expect(heading).to_contain_text("Llama-3.3-70B-Instruct at BF16", timeout=20_000)
    settled(page)
    assert "pp=2" in page.url and "concurrency=16" in page.url
    expect(page.get_by_test_id("stAlert")).to_have_count(0)
    context.close()


@pytest.mark.parametrize(("scheme", "width"), [("dark", 1280), ("light", 390)])
@pytest.mark.parametrize("query", ["", EIGHT], ids=["one", "sixteen"])
def test_renders_without_overflow(address: str, browser: Any, scheme: str, width: int, query: str) -> None:
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page = context.new_page()
    failures: list[str] = []
    page.on("pageerror", lambda error: failures.append(str(error)))
    page.goto(f"{address}/placement?{query}")
    settled(page)
    expect(page.get_by_test_id("stVegaLiteChart").first).to_be_visible(timeout=20_000)
    expect(page.locator(".rank")).to_have_count(16 if query else 1)
    for box in ("document.documentElement", "document.querySelector('[data-testid=stMain]')"):
        assert page.evaluate(f"{box}.scrollWidth - {box}.clientWidth") <= 1
    assert not failures
    context.close()
