"""The validation page in a real browser: three clicks from a bad slice to the run to its explanation; light, dark, narrow."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_scores import write
from test_browser import CHROMIUM, address, browser, expect, settled

__all__ = ["address", "browser"]  # fixtures

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs a system Chromium: apt-get install chromium")


@pytest.fixture(scope="module", autouse=True)
def _scores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Made-up scores for the app that `address` starts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ROOFCAST_SCORES", str(write(tmp_path_factory.mktemp("scores") / "made-up", rows=9000)))
        yield


def choose_first_row(page: Any, table: Any) -> None:
    """Tick the first row of a table: its cells are drawn, so the click goes by place."""
    table.scroll_into_view_if_needed()
    expect(table).to_be_visible()
    page.wait_for_timeout(400)
    box = table.bounding_box()
    page.mouse.click(box["x"] + 15, box["y"] + 35 + 17)
    settled(page)


def test_three_clicks_from_a_slice_to_a_run_to_its_explanation(_scores: None, address: str, browser: Any, tmp_path: Path) -> None:
    context = browser.new_context(viewport={"width": 1280, "height": 1600})
    page = context.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{address}/validation?judged_split=neighbouring+rows+(easy)")
    settled(page)
    tables = page.get_by_test_id("stDataFrame")
    expect(tables.first).to_be_visible(timeout=20_000)
    choose_first_row(page, tables.nth(0))  # 1: the slice
    expect(tables).to_have_count(2, timeout=15_000)
    choose_first_row(page, tables.nth(1))  # 2: the run
    link = page.get_by_role("link", name="Explain this run's estimate")
    expect(link).to_be_visible(timeout=15_000)
    with context.expect_page() as opened:
        link.click()  # 3: its explanation
    estimate = opened.value
    settled(estimate)
    assert "model=" in estimate.url and "/validation" not in estimate.url
    expect(estimate.get_by_role("heading", level=1)).to_contain_text(re.compile("fits|runs|does not fit"))
    expect(estimate.get_by_test_id("stAlert")).to_have_count(0)
    assert not [url for url in asked if not re.match(rf"({re.escape(address)}|data:|blob:)", url)]
    context.close()


def test_a_point_opens_its_run(_scores: None, address: str, browser: Any) -> None:
    context = browser.new_context(viewport={"width": 1280, "height": 1600})
    page = context.new_page()
    page.goto(f"{address}/validation?judged_view=Predicted+and+measured&judged_metric=TTFT&judged_source=lab-3")
    settled(page)
    points = page.locator("[data-testid=stVegaLiteChart] path[aria-roledescription=point]")
    expect(points.first).to_be_visible(timeout=20_000)
    points.last.click(force=True)
    panel = page.locator(".st-key-run-scatter")
    expect(panel).to_contain_text("by lab-3", timeout=15_000)
    expect(panel).to_contain_text("(TTFT)")
    context.close()


def test_filters_stand_in_the_address_and_pages_are_one_click_apart(_scores: None, address: str, browser: Any) -> None:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.goto(address)
    settled(page)
    page.get_by_role("link", name="How wrong are we?").click()
    page.wait_for_url("**/validation**")
    heading = page.get_by_role("heading", level=1)
    expect(heading).to_contain_text("Half of all decode speeds", timeout=30_000)
    settled(page)
    page.get_by_role("tab", name="Gates").click()
    page.wait_for_url("**judged_view=Gates**")
    page.reload()
    settled(page)
    expect(page.get_by_role("tab", name="Gates")).to_have_attribute("aria-selected", "true", timeout=15_000)
    page.get_by_role("link", name="Your hardware").click()
    expect(heading).to_contain_text("Llama-3.1-8B-Instruct", timeout=30_000)
    settled(page)
    expect(page.get_by_test_id("stAlert")).to_have_count(0)
    context.close()


@pytest.mark.parametrize(("scheme", "width"), [("dark", 1280), ("light", 390)])
@pytest.mark.parametrize("view", ["Where it is wrong", "Predicted and measured", "Intervals", "Corpus"])
def test_renders_without_overflow(_scores: None, address: str, browser: Any, scheme: str, width: int, view: str) -> None:
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page = context.new_page()
    failures: list[str] = []
    page.on("pageerror", lambda error: failures.append(str(error)))
    page.goto(f"{address}/validation?judged_view={view.replace(' ', '+')}")
    settled(page)
    expect(page.get_by_test_id("stVegaLiteChart").first).to_be_visible(timeout=20_000)
    for box in ("document.documentElement", "document.querySelector('[data-testid=stMain]')"):
        assert page.evaluate(f"{box}.scrollWidth - {box}.clientWidth") <= 1
    assert not failures
    context.close()
