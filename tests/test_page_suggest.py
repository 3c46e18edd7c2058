"""The page "Suggest a config" without a browser: its states, the options, the fields set by hand."""

from __future__ import annotations

from pathlib import Path

from fake_hub import FakeHub
from streamlit.testing.v1 import AppTest
from test_hub_errors import small

FRAME = str(Path(__file__).resolve().parents[1] / "pages" / "frame.py")
MISTRAL, LLAMA70 = "Mistral-7B-Instruct-v0.3", "Llama-3.1-70B-Instruct"


def opened(**query: str) -> AppTest:
    page = AppTest.from_file(FRAME, default_timeout=60)
    page.switch_page("suggest.py")
    for key, text in query.items():
        page.query_params[key] = text
    page.run()
    assert not page.exception
    return page


def button(page: AppTest, label: str):  # type: ignore[no-untyped-def]
    return next(item for item in page.button if item.label == label)


def words(page: AppTest) -> str:
    return " ".join(item.value for item in [*page.markdown, *page.caption, *page.warning]).replace("\\", "")


def test_nothing_chosen_and_the_button_is_disabled() -> None:
    page = opened()
    assert button(page, "Suggest config").disabled and "Choose a model and a machine first" in words(page)
    page.selectbox("suggest_model").set_value(MISTRAL).run()
    assert button(page, "Suggest config").disabled
    page.selectbox("suggest_instance").set_value("g5.xlarge").run()
    assert not button(page, "Suggest config").disabled
    assert not [box for box in page.expander if box.label == "Recommended configuration"]  # not before it is asked for


def test_success_fills_the_fields_and_explains_them() -> None:
    page = opened(suggest_model=MISTRAL, suggest_instance="g5.xlarge")
    button(page, "Suggest config").click().run()
    assert not page.exception and not page.warning and not page.error
    panel = next(box for box in page.expander if box.label == "Recommended configuration")
    assert panel.proto.expanded
    assert page.number_input("set-tp").value == 1 and page.selectbox("set-quant").value == "as published"
    assert page.number_input("set-prompt").value == 512 and page.number_input("set-output").value == 256
    assert (page.number_input("set-users").value or 99) <= 64 and (page.number_input("set-context").value or 0) >= 8192
    said = words(page)
    for name in ("Tensor parallel: 1", "Quantisation: none", "Longest context", "Users at once", "Data set"):
        assert name in said
    assert "vllm serve" in page.code[0].value

    page.number_input("set-tp").set_value(3).run()  # advisory, never blocking
    assert not page.exception and any("1 device only" in item.value for item in page.warning)
    assert not button(page, "Suggest config").disabled
    page.selectbox("suggest_instance").set_value("g5.12xlarge").run()
    assert not page.code  # what was suggested for another machine is gone


def test_too_large_offers_both_ways() -> None:
    page = opened(suggest_model=LLAMA70, suggest_instance="g5.12xlarge")
    button(page, "Suggest config").click().run()
    said = words(page)
    assert "too large for g5.12xlarge in BF16; it fits in INT8" in said and "Option A: INT8" in said and "Option B: BF16" in said
    assert not page.number_input or all(item.key != "set-tp" for item in page.number_input)  # nothing is filled unasked
    button(page, "Apply INT8 config").click().run()
    assert page.selectbox("set-quant").value == "INT8" and page.number_input("set-tp").value == 4
    switch = next(item for item in page.button if item.label.startswith("Switch to "))
    larger = switch.label.removeprefix("Switch to ")
    switch.click().run()
    assert not page.exception and page.selectbox("suggest_instance").value == larger
    assert page.selectbox("set-quant").value == "as published" and not page.warning


def test_not_even_four_bits_fit() -> None:
    page = opened(suggest_model=LLAMA70, suggest_instance="g5.xlarge")
    button(page, "Suggest config").click().run()
    said = words(page)
    assert "not even in AWQ-INT4" in said and "The nearest that holds it" in said and "Option" not in said


def test_a_machine_of_ones_own() -> None:
    page = opened(suggest_model=MISTRAL, suggest_on="Your own machine", suggest_device="RTX 3090", suggest_count="2")
    button(page, "Suggest config").click().run()
    assert not page.exception and not page.error
    assert "2 × RTX 3090" in words(page) and "vllm serve" in page.code[0].value


def test_a_link_to_nowhere_is_told() -> None:
    page = opened(suggest_model="no such model", suggest_instance="g5.xlarge")
    assert "was ignored" in words(page) and button(page, "Suggest config").disabled


def test_a_gated_model_asks_for_a_token(hub: FakeHub) -> None:
    hub.repos["me/gated"] = small()
    hub.repos["me/gated"].gated = True
    page = opened()
    page.text_input("suggest-hub").set_value("me/gated").run()
    button(page, "Fetch").click().run()
    assert not page.exception and "token" in page.error[0].value and "gated" in page.error[0].value
