"""The page "What should I buy?" without a browser: it opens, answers, and says what cannot be."""

from __future__ import annotations

from pathlib import Path

from streamlit.testing.v1 import AppTest

SMALL = {"models": "Qwen3-14B", "devices": ["GeForce RTX 3090", "NVIDIA L40S"], "runtimes": "vLLM", "max_devices": "1", "max_ttft_s": "2"}
FRAME = str(Path(__file__).resolve().parents[1] / "pages" / "frame.py")


def opened(**query: str | list[str]) -> AppTest:
    page = AppTest.from_file(FRAME, default_timeout=120)
    page.switch_page("target.py")
    for key, text in query.items():
        page.query_params[key] = text
    page.run()
    assert not page.exception
    return page


def words(page: AppTest) -> str:
    return " ".join(item.value for item in [*page.title, *page.subheader, *page.markdown, *page.caption]).replace("\\", "")


def test_three_tiers_to_buy_and_to_rent() -> None:
    page = opened(**SMALL)
    said = words(page)
    assert page.title[0].value.startswith("Buy RTX 3090 in a desktop PC") and "or rent" in page.title[0].value
    assert all(title in said for title in ("Minimum viable", "Balanced", "Headroom", "Everything that meets it", "What fell away, and why"))
    assert "Speed interpolated" in said or "Speed measured" in said
    assert "gives way" in said or "give way" in said
    assert any("vllm serve" in code.value for code in page.code)
    assert len(page.dataframe[0].value) >= 2
    # A number explains itself.
    next(button for button in page.button if button.key and button.key.endswith("-month")).click().run()
    assert not page.exception
    assert "rent" in words(page) or "purchase" in words(page)
    assert any("rate" in code.value for code in page.code)

    # More users take more.
    before = page.title[0].value
    page.number_input("users").set_value(200).run()
    assert not page.exception and page.title[0].value != before


def test_what_is_owned_is_asked_for_and_answered() -> None:
    page = opened(**SMALL, hardware=["Yours"], **{"owned.device": "rtx 3090"})
    assert page.title[0].value == "Your RTX 3090 does it"
    assert "electricity alone" in words(page)


def test_nothing_meets_the_impossible_and_the_nearest_is_named() -> None:
    page = opened(**{**SMALL, "max_ttft_s": "0.01"})
    assert page.title[0].value == "Nothing in the catalog meets this"
    assert "to the first token, not 10.0 ms" in words(page)


def test_a_link_with_nonsense_is_told_and_opens_all_the_same() -> None:
    page = opened(**{**SMALL, "models": "no such model", "moon": "1", "max_purchase_usd": "1"})
    notices = " ".join(item.value for item in page.warning).replace("\\", "")
    assert "no such model" in notices and "“moon”" in notices


def test_what_contradicts_itself_is_said_in_a_sentence() -> None:
    page = opened(**SMALL, context_tokens="100")
    assert page.title[0].value == "This cannot be asked"
    assert "too short for a prompt" in page.info[0].value
