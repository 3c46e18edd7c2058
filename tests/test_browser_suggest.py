"""“Suggest a config” in a real browser: both options clicked, fields set by hand, nothing wider than a phone."""

from __future__ import annotations

from typing import Any

import pytest
from test_browser import CHROMIUM, address, browser, expect, settled

__all__ = ["address", "browser"]  # fixtures

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs a system Chromium: apt-get install chromium")


def test_options_and_fields(address: str, browser: Any) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 2000}, color_scheme="dark")
    page = context.new_page()
    failures: list[str] = []
    page.on("pageerror", lambda error: failures.append(str(error)))
    page.goto(f"{address}/suggest?suggest_model=Llama-3.1-70B-Instruct&suggest_instance=g5.12xlarge")
    settled(page)
    page.get_by_role("button", name="Suggest config").click()
    page.get_by_role("button", name="Apply INT8 config").click()
    tensor = page.get_by_role("spinbutton", name="Tensor parallel")
    expect(tensor).to_have_value("4", timeout=20_000)
    tensor.fill("8")
    tensor.press("Enter")
    expect(page.get_by_test_id("stAlert").last).to_contain_text("4 devices only", timeout=20_000)
    page.get_by_role("button", name="Switch to g6e.12xlarge").click()
    page.wait_for_url("**suggest_instance=g6e.12xlarge**")
    settled(page)
    expect(page.get_by_test_id("stAlert")).to_have_count(0, timeout=20_000)
    for box in ("document.documentElement", "document.querySelector('[data-testid=stMain]')"):
        assert page.evaluate(f"{box}.scrollWidth - {box}.clientWidth") <= 1
    assert not failures
    page.get_by_role("link", name="All of this estimate").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Llama-3.1-70B-Instruct at BF16 fits four L40S", timeout=20_000)
    settled(page)
    expect(page.get_by_test_id("stAlert")).to_have_count(0)
    context.close()
