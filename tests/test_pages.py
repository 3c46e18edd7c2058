"""The pages without a browser: they open, answer changes, no link ends in a traceback, numbers explain themselves."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qsl

import pytest
from streamlit.testing.v1 import AppTest
from test_corpus import put

from core import choices, sweep
from core.answer import Estimate, Support
from core.errors import RunError
from core.estimate import estimate
from core.evidence import nearest
from core.scenario import Scenario, System, Workload, from_flat
from core.trust import UNITS
from core.units import show
from pages.shared import evidence

FRAME = str(Path(__file__).resolve().parents[1] / "pages" / "frame.py")


def opened(**query: str) -> AppTest:
    """The page as a link with this query opens it."""
    page = AppTest.from_file(FRAME, default_timeout=30)
    for key, text in query.items():
        page.query_params[key] = text
    page.run()
    assert not page.exception
    return page


def sentence(page: AppTest) -> str:
    assert not page.exception
    return page.title[0].value.replace("\\", "")


def notices(page: AppTest) -> str:
    return " ".join(box.value.replace("\\", "") for box in [*page.warning, *page.info])


def test_opens_with_the_default() -> None:
    page = opened()
    assert sentence(page).startswith("Llama-3.1-8B-Instruct at Q4_K_M fits one RTX 4090 with ")
    assert "corrected by measurements" in " ".join(c.value for c in page.caption).lower()
    assert not notices(page)


def test_another_model_and_more_users() -> None:
    page = opened()
    before = sentence(page)
    page.selectbox("model").select("Qwen3-8B").run()
    assert sentence(page).startswith("Qwen3-8B at Q4_K_M")
    page.number_input("concurrency").set_value(8).run()
    assert "for each user" in sentence(page)
    assert sentence(page) != before


def test_runtime_changes_the_quants() -> None:
    page = opened()
    page.selectbox("runtime").select("vLLM").run()
    assert not page.exception
    assert "FP8" in page.selectbox("quant").options
    assert "Q4_K_M" not in page.selectbox("quant").options


def test_machine_sets_its_device() -> None:
    page = opened(profile="dual-4090-epyc")
    assert page.selectbox("device").value == "GeForce RTX 4090"
    assert page.number_input("count").value == 2
    page.selectbox("device").select("GeForce RTX 3090").run()
    assert page.selectbox("profile").value == "Your own"


def test_open_loop() -> None:
    page = opened(arrival="open", request_rate_per_s="0.5")
    assert page.number_input("request_rate_per_s").value == 0.5
    assert sentence(page)


def test_a_link_to_a_measured_run_is_exact() -> None:
    """Versions, threads and the kind of load are part of a run's scenario, though the form asks for few of them."""
    asked = Scenario(model="Qwen/Qwen3-8B", system=System(device="h100-sxm5-80gb"), runtime="vllm", runtime_version="0.6.3",
                     runtime_date="2024-10", workload=Workload(arrival="static", concurrency=8))  # fmt: skip
    page = opened(**dict(parse_qsl(asked.to_query())))
    assert not notices(page)
    assert page.segmented_control("arrival").value == "static"
    assert any("runtime version 0.6.3" in caption.value.replace("\\", "") for caption in page.sidebar.caption)
    page.button("drop-linked").click().run()
    assert not any("runtime version" in caption.value for caption in page.sidebar.caption)


def test_as_many_as_fit_asks_for_no_users() -> None:
    page = opened(runtime="vLLM", device="h100-sxm5-80gb", arrival="saturated")
    assert sentence(page) and "concurrency" not in [number.key for number in page.number_input]


def test_not_fitting_is_an_answer() -> None:
    page = opened(model="Llama-3.3-70B-Instruct", device="RTX 4090", runtime="vllm", quant="FP8")
    assert "does not fit one RTX 4090" in sentence(page)
    offers = [button for button in page.button if button.label == "Show this"]
    assert offers
    offers[0].click().run()
    assert "does not fit" not in sentence(page)


@pytest.mark.parametrize(
    ("key", "text", "said"),
    [
        ("model", "no such model at all", "model"),
        ("device", "zzz", "zzz"),
        ("runtime", "zzz", "zzz"),
        ("quant", "FP7", "FP7"),
        ("prompt_tokens", "-4", "must be 1 or more"),
        ("prompt_tokens", "1000000000000", "must be 100000000 or less"),
        ("tp", "abc", "must be a whole number"),
        ("memory_fraction", "1.5", "must be 1"),
        ("flash_attention", "perhaps", "must be true or false"),
        ("colour", "blue", "no control of this page"),
    ],
)
def test_bad_link_gets_a_sentence(key: str, text: str, said: str) -> None:
    page = opened(**{key: text})
    assert said in notices(page)
    assert sentence(page)


def test_link_takes_names_as_people_write_them() -> None:
    page = opened(model="llama 3.3 70b", device="rtx3090", count="2", quant="q4km", flash_attention="0")
    assert sentence(page).startswith("Llama-3.3-70B-Instruct at Q4_K_M fits two RTX 3090")
    assert page.toggle("flash_attention").value is False
    assert not notices(page)


def test_quant_of_another_runtime_is_refused_in_words() -> None:
    page = opened(runtime="vLLM", quant="Q4_K_M")
    assert "vLLM does not run Q4_K_M" in notices(page)


def test_illegal_split_gets_a_sentence() -> None:
    page = opened(runtime="vLLM", count="3", tp="3")
    assert sentence(page) == "This cannot be estimated" and "must divide the 32 attention heads" in notices(page)


def test_number_explains_itself() -> None:
    page = opened()
    page.button("number-decode").click().run()
    assert not page.exception
    shown = [block.value for block in page.code]
    assert any("per_token" in text for text in shown)
    assert any("[datasheet]" in text for text in shown), "the whole tree is there as text"
    page.button("step-button-0").click().run()
    assert not page.exception


@pytest.mark.parametrize(
    "view", ["Users and context", "Evidence", "Roofline", "Memory", "Assumptions", "Run it", "Cost and energy", "Preview"]
)
@pytest.mark.parametrize("device", ["RTX 4090", "Raspberry Pi 5 8GB", "Apple M4 Max"])
def test_every_part_opens(view: str, device: str) -> None:
    page = opened(view=view, device=device, model="Qwen3-8B")
    assert sentence(page)


def test_launch_flags() -> None:
    page = opened(view="Run it")
    assert any(block.value.startswith("llama-server ") for block in page.code)


# ---- What stands behind an answer


def said(page: AppTest) -> str:
    """All text of the page without its markup."""
    assert not page.exception
    return "\n".join(block.value.replace("\\", "") for block in [*page.markdown, *page.caption])


@pytest.fixture
def no_own_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROOFCAST_HOME", str(tmp_path))


@pytest.fixture
def banded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every answer with known ranges and support, whatever correction is shipped."""

    def known(scenario: Scenario) -> Estimate:
        found = estimate(scenario)
        support = Support("near", {"device": "seen", "model": "near", "runtime": "seen", "quant": "far", "load": "seen"})
        return replace(found, bands={"decode_rate": (14.2, 18.1), "ttft": (0.95, 1.23)} if found.runs else {}, support=support)

    monkeypatch.setattr(sweep, "answer", known)


def test_says_in_a_word_each_what_to_trust(no_own_runs: None) -> None:
    words = r":(green|blue|orange)-badge\[{} (measured|interpolated|unmeasured)\]"
    assert all(re.search(words.format(name), said(opened())) for name in ("Speed", "Tail", "Memory"))


def test_what_does_not_run_has_no_speed_to_trust(no_own_runs: None) -> None:
    text = said(opened(model="Llama-3.3-70B-Instruct", device="RTX 4090", runtime="vllm", quant="FP8", view="Evidence"))
    assert "badge[Memory unmeasured]" in text and "badge[Speed" not in text and "**Speed**" not in text


def test_ranges_under_the_numbers_where_a_correction_gives_them(banded: None) -> None:
    page = opened()
    shown = [block.value for block in page.markdown]
    assert ":gray[14–18 tok/s]" in shown
    assert ":gray[950 ms–1.2 s]" in shown
    helps = [caption.help for caption in page.caption if caption.help]
    assert sum("meant to hold 8 of 10 runs" in text for text in helps) == 2
    assert "Corrected by measurements" in said(page)


def test_without_a_correction_no_range_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "answer", estimate)
    page = opened()
    assert "Analytic, uncorrected" in said(page) and ":gray[" not in said(page)


def test_evidence_names_the_nearest_runs(no_own_runs: None, banded: None) -> None:
    page = opened(view="Evidence")
    text = said(page)
    assert ":blue-badge[model near]" in text and ":orange-badge[quant far]" in text
    near = nearest(page_scenario())
    assert len(near) == 5
    assert text.count("Differs in: ") == 5
    for run in near:
        assert f"**{run.what}**" in text
        assert f"Distance {run.distance:.1f}. Differs in: {run.differs}." in text
        assert f"[{run.source}]({run.url})" in text and f"Licence: {run.licence}" in text
        metric, ours = next(iter(run.ours.items()))
        assert f"**{show(run.measured[metric], UNITS[metric])}**, ours {show(ours, UNITS[metric])}" in text


def page_scenario() -> Scenario:
    """The default scenario as the form makes it."""
    return from_flat(
        {"model": choices.MODEL, "device": choices.DEVICE, "runtime": choices.RUNTIME, "quant": "Q4_K_M", "prompt_tokens": 512,
         "output_tokens": 128}
    )  # fmt: skip


def test_broken_evidence_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RunError("The runs cannot be read.")

    monkeypatch.setattr(evidence, "nearest", broken)
    assert said(opened(view="Evidence")).count("The runs cannot be read.") == 2


def test_measured_points_stand_beside_the_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROOFCAST_HOME", str(tmp_path))
    asked = {"model": "Qwen3-8B", "device": "H100 SXM5 80GB", "runtime": "vLLM", "quant": "FP8", "prompt_tokens": "1024",
             "output_tokens": "256", "concurrency": "8"}  # fmt: skip
    assert "Green diamonds" not in said(opened(**asked))
    put(tmp_path / "runs" / "mine", *({"concurrency": users, "tpot_ms_p50": "10"} for users in ("2", "32")))
    assert "Green diamonds" in said(opened(**asked))
