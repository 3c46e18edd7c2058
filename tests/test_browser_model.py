"""The model page in a real browser: from an estimate into the model, to a number's formula, and back with the same scenario."""

from __future__ import annotations

from typing import Any

import pytest
from test_browser import address, browser, expect, pytestmark, settled

__all__ = ["address", "browser", "pytestmark"]  # fixtures, and the mark that skips where no browser is


def test_into_the_model_and_back(address: str, browser: Any) -> None:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.goto(f"{address}/?model=Qwen3-8B&device=RTX+3090&concurrency=4&prompt_tokens=1024&flash_attention=0&threads=8")
    settled(page)
    heading = page.get_by_role("heading", level=1)
    said = heading.inner_text()
    page.get_by_role("link", name="Look inside the model").click()
    page.wait_for_url("**/model?**")
    settled(page)
    expect(heading).to_contain_text("Qwen/Qwen3-8B has 8.19 B parameters")
    expect(page.locator(".st-key-opsum-whole")).to_contain_text("Whole step", timeout=20_000)
    page.locator(".st-key-oprow-0-0").get_by_role("button").first.click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Where this number comes from")
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    page.get_by_role("radio", name="Prefill").or_(page.get_by_role("button", name="Prefill")).first.click()
    expect(page.locator(".st-key-ops")).to_contain_text("attention (prompt)", timeout=20_000)
    link = page.url
    for name in ("Hardware", "Placement", "Model", "Your hardware"):
        page.get_by_test_id("stTopNavLink").filter(has=page.get_by_text(name, exact=True)).first.click()
        expect(page.get_by_test_id("stTopNavLink").filter(has=page.get_by_text(name, exact=True))).to_have_attribute(
            "aria-current", "page", timeout=20_000
        )
        settled(page)
    expect(heading).to_have_text(said, timeout=20_000)
    assert all(part in page.url for part in ("model=Qwen3-8B", "concurrency=4", "prompt_tokens=1024", "threads=8"))
    assert page.get_by_role("alert").count() == 0, "the way back sets nothing that the form does not know"
    page.goto(link)
    settled(page)
    expect(page.locator(".st-key-ops")).to_contain_text("attention (prompt)", timeout=20_000)
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
