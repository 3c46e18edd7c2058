"""“This machine” on the hardware page: looked at, corrected by hand, forgotten; and the harness as a program of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from core import harness_program
from core.errors import RunError
from core.this_machine import Gpu, MachineFacts, knobs, overridden, read_machine, with_gpus, write_machine
from pages.shared import hardware_here

CARDS = MachineFacts(cpu="AMD EPYC 9354 32-Core Processor", cores=32, ram_gb=128, driver="550.54", engines={"vllm": "0.11.0"},
                     gpus=(Gpu(name="NVIDIA H100 80GB HBM3", memory_gib=79.6, power_limit_w=700),) * 2)  # fmt: skip
UNKNOWN = MachineFacts(cpu="Some Processor", ram_gb=16)
SCRIPT = "from pages.shared import hardware_here\nhardware_here.draw()\n"


@pytest.fixture(autouse=True)
def links(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[dict[str, str]]:
    """What the page's links ask."""
    asked: list[dict[str, str]] = []
    monkeypatch.setenv("ROOFCAST_HOME", str(tmp_path))
    monkeypatch.delenv("ROOFCAST_HOSTED", raising=False)
    monkeypatch.setattr(st, "page_link", lambda *_, query_params, **__: asked.append(query_params))
    return asked


def drawn() -> AppTest:
    page = AppTest.from_string(SCRIPT, default_timeout=60).run()
    assert not page.exception, page.exception
    return page


def told(page: AppTest) -> str:
    return "\n".join(str(e.value) for kind in ("subheader", "markdown", "caption", "warning", "error") for e in page.get(kind))


def test_looking_fills_the_page_and_leads_to_an_estimate(monkeypatch: pytest.MonkeyPatch, links: list[dict[str, str]]) -> None:
    looked: list[bool] = []

    def look(measure: bool) -> Any:
        looked.append(measure)
        write_machine(CARDS)

    monkeypatch.setattr(hardware_here, "look_at_machine", look)
    page = drawn()
    assert "Nobody has looked at this machine yet" in told(page) and not links
    page.button("here-look").click().run()
    assert looked == [False] and page.subheader[0].value.startswith("2 × H100 SXM5 80GB")
    assert links[-1] == knobs(CARDS) == {"device": "H100 SXM5 80GB", "count": "2", "cpu": "EPYC 9354", "ram_gb": "128.0"}
    assert list(page.dataframe[0].value["Taken for"]) == ["H100 SXM5 80GB"] and "Engine" in told(page) and "0.11.0" in told(page)
    page.button("here-forget").click().run()
    assert read_machine() is None and "Nobody has looked" in told(page)


def test_a_processor_that_nobody_knows_is_to_be_measured(links: list[dict[str, str]]) -> None:
    write_machine(UNKNOWN)
    page = drawn()
    assert "“Look and measure its memory”" in page.warning[0].value and not links


def test_figures_of_a_machine_that_was_not_quiet_are_not_shown_as_good_ones() -> None:
    write_machine(CARDS.model_copy(update={"measured_bandwidth_gb_s": 40.0}))
    assert not drawn().warning
    write_machine(CARDS.model_copy(update={"measured_bandwidth_gb_s": 40.0, "measured_doubt": "the host took away 9% of the time"}))
    assert "not to be trusted: the host took away 9% of the time" in drawn().warning[0].value


def test_what_is_wrong_is_set_by_hand(links: list[dict[str, str]]) -> None:
    write_machine(CARDS)
    page = drawn()
    page.number_input("here-ram_gb-0").set_value(256.0)
    page.text_input("here-driver-0").set_value("")
    page.button("FormSubmitter:here-form-0-Take these").click().run()
    assert not page.exception
    assert read_machine() == CARDS.model_copy(update={"ram_gb": 256.0, "driver": ""}), "all else stays, the cards' limits too"
    assert links[-1]["ram_gb"] == "256.0"


def test_a_failure_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(measure: bool) -> None:
        raise RunError("Measuring needs psutil; run pip install 'roofcast[harness]'.")

    monkeypatch.setattr(hardware_here, "look_at_machine", fails)
    page = drawn()
    page.button("here-measure").click().run()
    assert "Measuring needs psutil" in page.error[0].value


def test_on_a_shared_server_nobody_looks_at_it(monkeypatch: pytest.MonkeyPatch) -> None:
    write_machine(CARDS)
    monkeypatch.setenv("ROOFCAST_HOSTED", "1")
    page = drawn()
    assert "not yours" in told(page) and not page.button and "EPYC" not in told(page)


# ---------------------------------------------------------------- by hand, and the program


def test_engines_and_cards_are_set_by_hand() -> None:
    facts = overridden(CARDS.model_dump(), {"engine llama.cpp": "b6800", "engine vllm": "", "cores": ""})
    assert facts.engines == {"llama.cpp": "b6800"} and facts.cores is None and facts.gpus == CARDS.gpus
    other = with_gpus(CARDS, [("NVIDIA H100 80GB HBM3", 1, 40.0), ("RTX 4090", 2, None)])
    assert [(gpu.name, gpu.memory_gib, gpu.power_limit_w) for gpu in other.gpus] == [
        ("NVIDIA H100 80GB HBM3", 40.0, 700), ("RTX 4090", None, None), ("RTX 4090", None, None)]  # fmt: skip
    with pytest.raises(RunError, match="number of RTX 4090"):
        with_gpus(CARDS, [("RTX 4090", 0, None)])


def test_the_program_tells_what_it_found_or_why_not(monkeypatch: pytest.MonkeyPatch) -> None:
    def program(text: str) -> list[str]:
        return [harness_program.sys.executable, "-c", text]

    writes = "import os, pathlib, sys; pathlib.Path(os.environ['ROOFCAST_HOME'], 'machine.json').write_text('{\"ram_gb\": 8}'); sys.exit(2)"
    monkeypatch.setattr(harness_program, "command", lambda words: (program(writes), dict(harness_program.os.environ)))
    assert harness_program.look_at_machine().ram_gb == 8, "a processor that nobody knows is no failure"
    fails = "import sys; sys.exit('roofcast: No driver answers.')"
    monkeypatch.setattr(harness_program, "command", lambda words: (program(fails), dict(harness_program.os.environ)))
    with pytest.raises(RunError, match=r"^No driver answers\.$"):
        harness_program.look_at_machine()
