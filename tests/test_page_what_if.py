"""The comparison page without a browser: every part opens, builds are edited, added and removed, bad links get a sentence."""

from __future__ import annotations

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest
from test_pages import notices

from core.builds import to_link
from core.scenario import from_flat

FRAME = str(Path(__file__).resolve().parents[1] / "pages" / "frame.py")
HOME = from_flat({"model": "Llama-3.1-8B-Instruct", "device": "GeForce RTX 3090", "quant": "Q4_K_M"})
OTHER = HOME.with_(device="GeForce RTX 4060 Ti 16GB", quant="Q8_0", runtime_version="b4000")
TWO = to_link([HOME, OTHER])


def opened(**query: str) -> AppTest:
    page = AppTest.from_file(FRAME, default_timeout=60)
    page.switch_page("what_if.py")
    for key, text in query.items():
        page.query_params[key] = text
    page.run()
    assert not page.exception
    return page


def title(page: AppTest) -> str:
    assert not page.exception
    return page.title[0].value.replace("\\", "")


def words(page: AppTest) -> str:
    return " ".join(item.value for item in [*page.markdown, *page.caption]).replace("\\", "")


def table(page: AppTest) -> str:
    return " ".join(item.proto.body for item in page.get("html"))


def test_opens_with_one_build_and_asks_for_another() -> None:
    page = opened()
    assert "Add a second build" in title(page)
    page.button("add-copy").click().run()
    assert page.sidebar.markdown[0].value == "### Build B"
    page.selectbox("quant").select("Q8_0").run()
    assert title(page).startswith("A writes fastest for each user")
    assert not notices(page)


def test_a_link_brings_all_builds() -> None:
    page = opened(**TWO)
    assert "RTX 4060 Ti 16GB" in words(page) and "RTX 3090" in words(page)
    assert "a tie" in table(page) and "Loss by quantisation" in table(page)
    assert page.selectbox("device").value == "GeForce RTX 3090"


def test_another_build_is_laid_into_the_form_and_back() -> None:
    page = opened(**TWO)
    page.button("edit-1").click().run()
    assert page.selectbox("device").value == "GeForce RTX 4060 Ti 16GB" and page.selectbox("quant").value == "Q8_0"
    assert any("runtime version b4000" in caption.value for caption in page.sidebar.caption), "what only a link sets comes along"
    page.number_input("concurrency").set_value(4).run()
    page.button("edit-0").click().run()
    assert page.number_input("concurrency").value == 1 and page.selectbox("device").value == "GeForce RTX 3090"
    assert not any("runtime version" in caption.value for caption in page.sidebar.caption)
    assert "different loads" in notices(page), "the other build kept its four users"


def test_a_build_is_removed() -> None:
    page = opened(**TWO, edit="b")
    page.button("remove-0").click().run()
    assert "Add a second build" in title(page) and page.selectbox("device").value == "GeForce RTX 4060 Ti 16GB"


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ({"what_if_view": "Why"}, "What explains the speed for each user, A to B"),
        ({"what_if_view": "Why", "why_way": "one after the other"}, "one after the other, in this order"),
        ({"what_if_view": "Sweep", "over_values": "1,2"}, "Between 1 and 2 users at once"),
        ({"what_if_view": "Sweep", "over_values": "1,2", "and_over": "Quantisation", "and_over_values": "Q4_K_M,Q8_0"}, "who is best"),
        ({"what_if_view": "Sweep", "over": "Quantisation", "over_values": "Q4_K_M,Q8_0"}, "Over"),
        ({"what_if_view": "Against an API", "api_in": "0.1", "api_out": "0.4"}, "of the time on"),
    ],
    ids=["mean", "turn", "one-knob", "two-knobs", "choices", "api"],
)
def test_every_part_opens(query: dict[str, str], said: str) -> None:
    page = opened(**TWO, **query)
    assert said in words(page) or said in [box.label for box in page.selectbox]


def test_a_guessed_price_is_counted_where_it_is_asked_for() -> None:
    mac = HOME.with_(device="Apple M3 Ultra (80-core GPU)", quant="Q4_K_M")
    page = opened(**to_link([HOME, mac]))
    assert "without the machine" in table(page)
    page.button("price-1").click().run()
    assert "without the machine" not in table(page) and not page.exception


def test_numbers_explain_themselves() -> None:
    page = opened(**TWO)
    page.button("number-vs-0").click().run()
    assert not page.exception
    assert any("[datasheet]" in block.value for block in page.code)


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ({"a": "model=no+such+model"}, "Build A of the link was left out"),
        ({**TWO, "what_if_view": "Sweep", "over_values": "x"}, "no whole number of users at once"),
        ({**TWO, "what_if_view": "Sweep", "over": "Device"}, "Say which values of device"),
        ({**TWO, "what_if_view": "Against an API"}, "Type what the API charges"),
        ({**TWO, "c": OTHER.with_(model="Llama-3.3-70B-Instruct", runtime="vllm", quant="FP8").to_query(), "edit": "zz"}, ""),
        (to_link([HOME.with_(count=3, tp=3, runtime="vllm", quant="FP8")]), ""),
    ],
)
def test_what_cannot_be_gets_a_sentence(query: dict[str, str], said: str) -> None:
    page = opened(**query)
    assert said in notices(page) and title(page)
