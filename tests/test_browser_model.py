"""The model page in a real browser: from an estimate into the model, to a number's formula, and back with the same scenario."""

from __future__ import annotations

from typing import Any

import pytest
from test_browser import address, browser, expect, pytestmark, settled

__all__ = ["address", "browser", "pytestmark"]  # fixtures, and the mark that skips where no browser is


def test_into_the_model_and_back(address: str, browser: Any) -> None:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.goto(f"{address}/?model=Qwen3-8B&device=RTX+3090&concurrency=4&prompt_tokens=1024&flash_attention=0")
    settled(page)
    said = page.get_by_role("heading", level=1).inner_text()
    page.get_by_role("link", name="Look inside the model").click()
    page.wait_for_url("**/model?**")
    settled(page)
    expect(page.get_by_role("heading", level=1)).to_contain_text("Qwen/Qwen3-8B has 8.19 B parameters")
    expect(page.locator(".st-key-opsum-whole")).to_contain_text("Whole step", timeout=20_000)
    page.locator(".st-key-oprow-0-0").get_by_role("button").first.click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Where this number comes from")
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    page.get_by_role("radio", name="Prefill").or_(page.get_by_role("button", name="Prefill")).first.click()
    expect(page.locator(".st-key-ops")).to_contain_text("attention (prompt)", timeout=20_000)
    page.get_by_role("link", name="Back to the estimate").click()
    expect(page.get_by_role("heading", level=1)).to_have_text(said, timeout=20_000)
    settled(page)
    expect(page.get_by_role("spinbutton", name="Users at once")).to_have_value("4")
    assert page.get_by_role("alert").count() == 0, "the way back sets nothing that the form does not know"
    context.close()


def test_another_model_is_taken_back_to_the_estimate(address: str, browser: Any) -> None:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.goto(f"{address}/?model=Qwen3-8B%3Fnum_hidden_layers%3D40")
    settled(page)
    page.get_by_role("link", name="Look inside the model").click()
    heading = page.get_by_role("heading", level=1)
    expect(heading).to_contain_text("in 40 layers", timeout=20_000)
    settled(page)
    page.get_by_role("combobox").first.click()
    page.keyboard.type("gpt-oss-20b")
    page.keyboard.press("Enter")
    expect(heading).to_contain_text("gpt-oss-20b", timeout=20_000)
    settled(page)
    page.get_by_role("link", name="Back to the estimate").click()
    expect(heading).to_contain_text("gpt-oss-20b at Q4_K_M", timeout=20_000)
    context.close()


@pytest.mark.parametrize("view", ["Layers", "Tensors", "KV cache", "Step by step", "Fields", "Compare"])
@pytest.mark.parametrize(("scheme", "width"), [("dark", 390), ("light", 1280)])
def test_renders_without_overflow(address: str, browser: Any, scheme: str, width: int, view: str) -> None:
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page = context.new_page()
    failures: list[str] = []
    page.on("pageerror", lambda error: failures.append(str(error)))
    query = f"model=gpt-oss-120b&device=RTX+4090&ram_gb=128&against=Qwen3-8B&model_view={view.replace(' ', '+')}"
    page.goto(f"{address}/model?{query}")
    settled(page)
    expect(page.get_by_role("tab", name=view, selected=True)).to_be_visible()
    for box in ("document.documentElement", "document.querySelector('[data-testid=stMain]')"):
        assert page.evaluate(f"{box}.scrollWidth - {box}.clientWidth") <= 1
    assert not failures
    context.close()
