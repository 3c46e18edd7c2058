"""The troubleshooting page and the advice on other pages, without a browser."""

from __future__ import annotations

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest
from test_pages import notices

FRAME = str(Path(__file__).resolve().parents[1] / "pages" / "frame.py")
SLOW = {"model": "Llama-3.1-8B-Instruct", "device": "GeForce RTX 3060 12GB", "gpu_layers": "10"}


def opened(page: str, **query: str) -> AppTest:
    app = AppTest.from_file(FRAME, default_timeout=60)
    app.switch_page(page)
    for key, text in query.items():
        app.query_params[key] = text
    app.run()
    assert not app.exception
    return app


def title(page: AppTest) -> str:
    assert not page.exception
    return page.title[0].value.replace("\\", "")


def words(page: AppTest) -> str:
    return " ".join(item.value for item in [*page.markdown, *page.caption]).replace("\\", "")


def test_slow_writing_is_fixed_by_a_flag() -> None:
    page = opened("troubleshoot.py", **SLOW)
    assert title(page).startswith("For this setup we expect each user to see ")
    assert "Put all 32 layers on the device" in words(page)
    assert any(block.value == "change -ngl 10 to -ngl 999" for block in page.code)
    page.button("fix-show-0").click().run()
    assert page.number_input("gpu_layers").value == 32 and not page.exception


def test_a_pasted_command_is_what_is_looked_at() -> None:
    page = opened("troubleshoot.py")
    page.text_area("pasted").set_value("llama-server -m Qwen3-8B-Q8_0.gguf -ngl 12 -c 8192")
    page.button("paste-fill").click().run()
    assert page.selectbox("model").value == "Qwen3-8B" and page.selectbox("quant").value == "Q8_0"
    assert "Put all 36 layers on the device" in words(page)


@pytest.mark.parametrize(("measured", "said"), [("2", "Slower than expected"), ("14", "As expected"), ("5000", "expected")])
def test_a_measured_number_is_judged(measured: str, said: str) -> None:
    page = opened("troubleshoot.py", **SLOW, measured=measured)
    assert said in words(page) and "measured" in words(page)


def test_an_explanation_is_laid_into_the_form() -> None:
    page = opened("troubleshoot.py", model="Llama-3.1-8B-Instruct", device="GeForce RTX 3060 12GB", measured="12")
    assert "layers run on the CPU" in words(page)
    page.button("suspect-0").click().run()
    assert (page.number_input("gpu_layers").value or 99) < 32 and not page.exception


@pytest.mark.parametrize("symptom", ["Out of memory", "Slow first token", "Low throughput", "Uneven GPUs"])
def test_every_symptom_opens(symptom: str) -> None:
    page = opened("troubleshoot.py", **SLOW, symptom=symptom)
    assert title(page) and page.segmented_control("symptom").value == symptom
    assert not notices(page)


def test_what_cannot_be_asked_gets_a_sentence() -> None:
    page = opened("troubleshoot.py", runtime="vLLM", device="H100 SXM5 80GB", count="3", tp="3", measured="x")
    assert title(page) == "Troubleshoot" and "tensor parallel 3 must divide" in notices(page)


def test_advice_stands_beside_the_estimate() -> None:
    page = opened("estimate.py", model="Llama-3.3-70B-Instruct", device="RTX 4090", ram_gb="64", view="What would help")
    assert "Add a second RTX 4090, 2 in all" in words(page) and "per $1,000" in words(page)
    page.button("advice-bought-0").click().run()
    assert page.number_input("count").value == 2 and "fits two RTX 4090" in title(page)


def test_advice_on_the_hardware_page_is_for_what_was_asked_last() -> None:
    page = opened("hardware.py", hardware_view="Upgrade advice")
    assert "For what you asked last: Llama-3.1-8B-Instruct" in words(page)
