"""The comparison and troubleshooting in a real browser: builds kept in the address, PNG of the picture; light, dark, narrow."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from test_browser import CHROMIUM, address, browser, expect, settled

from core.builds import to_link
from core.scenario import from_flat

__all__ = ["address", "browser"]  # fixtures

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs a system Chromium: apt-get install chromium")
HOME = from_flat({"model": "Llama-3.1-8B-Instruct", "device": "GeForce RTX 3090", "quant": "Q4_K_M"})
TWO = urlencode(to_link([HOME, HOME.with_(device="GeForce RTX 4060 Ti 16GB", quant="Q8_0")]))


def parameter(page: Any, name: str) -> str:
    return (parse_qs(urlsplit(page.url).query).get(name) or [""])[0]


def test_builds_are_edited_kept_and_saved(address: str, browser: Any, tmp_path: Path) -> None:
    context = browser.new_context(viewport={"width": 1280, "height": 1400})
    page = context.new_page()
    page.goto(f"{address}/?model=Llama-3.1-8B-Instruct&device=GeForce+RTX+3090&concurrency=4")
    settled(page)
    page.get_by_role("link", name="Compare with another build").click()
    page.wait_for_url("**/what_if?**")
    settled(page)
    assert "concurrency=4" in parameter(page, "a") and "RTX+3090" in parameter(page, "a")

    page.get_by_role("button", name="Add").click()
    page.wait_for_url("**b=**")
    settled(page)
    users = page.get_by_role("spinbutton", name="Users at once")
    users.fill("16")
    users.press("Enter")
    page.wait_for_url("**concurrency%3D16**")
    settled(page)
    page.reload()
    settled(page)
    assert parameter(page, "edit") == "b" and "concurrency=4" in parameter(page, "a")
    expect(page.get_by_role("spinbutton", name="Users at once")).to_have_value("16", timeout=15_000)

    page.get_by_text("The comparison as one picture").click()
    settled(page)
    picture = page.get_by_test_id("stVegaLiteChart").last
    expect(picture).to_be_visible(timeout=15_000)
    picture.hover()
    with page.expect_download(timeout=20_000) as saved:
        page.get_by_role("button", name="Download as PNG").last.dispatch_event("click")  # it hides while a busy page is drawn again
    saved.value.save_as(tmp_path / "picture.png")
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")

    page.get_by_role("link", name="Your hardware").click()
    settled(page)
    expect(page.get_by_role("spinbutton", name="Users at once")).to_have_value("16", timeout=15_000)  # the session began there
    context.close()


@pytest.mark.parametrize(("scheme", "width"), [("dark", 1280), ("light", 390)])
@pytest.mark.parametrize(
    "place", [f"what_if?{TWO}", f"what_if?{TWO}&what_if_view=Why", f"what_if?{TWO}&what_if_view=Sweep&over_values=1,2", "troubleshoot"]
)
def test_renders_without_overflow(address: str, browser: Any, scheme: str, width: int, place: str) -> None:
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page = context.new_page()
    failures: list[str] = []
    page.on("pageerror", lambda error: failures.append(str(error)))
    page.goto(f"{address}/{place}")
    settled(page)
    if "what_if" in place:
        expect(page.get_by_test_id("stVegaLiteChart").first).to_be_visible(timeout=30_000)
    for box in ("document.documentElement", "document.querySelector('[data-testid=stMain]')"):
        assert page.evaluate(f"{box}.scrollWidth - {box}.clientWidth") <= 1
    assert not failures
    context.close()
