"""The validation page: every part opens, filters come from the address, and a bad file is a sentence."""

from __future__ import annotations

from pathlib import Path

import pytest
import streamlit as st
from fake_scores import write
from streamlit.testing.v1 import AppTest

ROOT = Path(__file__).resolve().parents[1]
PARTS = ["Where it is wrong", "Predicted and measured", "Gates", "Intervals", "Runs", "Corpus", "Versions"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("scores"), rows=9000)


@pytest.fixture(autouse=True)
def _shown(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROOFCAST_SCORES", str(folder))
    monkeypatch.setattr(st, "page_link", lambda *_, **__: None)  # it needs the frame; a browser follows it


def opened(**query: str | list[str]) -> AppTest:
    page = AppTest.from_file(str(ROOT / "pages" / "validation.py"), default_timeout=60)
    for key, text in query.items():
        page.query_params[key] = text
    page.run()
    assert not page.exception, page.exception
    return page


def test_first_screen_needs_no_code() -> None:
    page = opened()
    assert page.title[0].value.startswith("Half of all decode speeds are predicted within")
    cards = {metric.label: metric.value for metric in page.metric}
    assert list(cards) == ["Gates", "Met", "Missed", "Not judged", "Average error", "Judged numbers"]
    assert int(cards["Gates"]) == int(cards["Met"]) + int(cards["Missed"]) + int(cards["Not judged"])
    assert cards["Judged numbers"] == "9,000"
    assert "4.7 % (decode) and 13 % (prefill, TTFT)" in page.info[0].value and "16 %" in page.info[0].value


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("metric", ["decode", "memory", "any metric"])
def test_every_part_opens(part: str, metric: str) -> None:
    page = opened(judged_view=part, judged_metric=metric)
    assert page.title


def test_the_easy_split_is_called_that() -> None:
    page = opened(judged_view="Gates")
    assert any("row split is the easy one" in caption.value for caption in page.caption)


def test_gates_are_listed_with_their_status() -> None:
    page = opened(judged_view="Gates")
    table = page.dataframe[0].value
    assert set(table["status"]) == {"✓ met", "✗ missed", "– not judged"}
    assert len(table) == int(page.metric[0].value)
    page.multiselect("gate-family").select("Capacity planner").run()
    assert set(page.dataframe[0].value["family"]) == {"Capacity planner"}


def test_filters_come_from_the_address() -> None:
    page = opened(judged_view="Runs", judged_metric="TTFT", judged_split="unseen source", judged_source=["lab-1", "lab-2"])
    assert page.selectbox("judged_split").value == "unseen source"
    table = page.dataframe[0].value
    assert set(table["source"]) == {"lab-1", "lab-2"} and set(table["metric"]) == {"TTFT"}
    assert any(caption.value == "Filtered: source lab-1, lab-2." for caption in page.caption)


def test_filters_that_leave_nothing_are_no_failure() -> None:
    for part in PARTS:
        page = opened(judged_view=part, judged_metric="TTFT", judged_runtime="ollama")
        assert page.title


def test_unknown_filters_are_passed_over() -> None:
    page = opened(judged_metric="nonsense", judged_source="nobody", judged_view="nowhere")
    assert page.selectbox("judged_metric").value == "decode"


def test_the_worst_slices_name_their_term() -> None:
    table = opened(judged_metric="any metric", judged_split="neighbouring rows (easy)").dataframe[0].value
    assert len(table) == 10
    assert (table["cause"].str.len() > 0).all()


def test_without_scores_there_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROOFCAST_SCORES", str(tmp_path))
    page = opened()
    assert "validate \\-\\-full" in page.info[0].value or "validate --full" in page.info[0].value
