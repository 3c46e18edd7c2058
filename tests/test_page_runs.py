"""The page of own runs: files and a form beside predictions, consent, what was left out, undo, a shared server, versions."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest
from test_drift import runs as drifting
from test_registry import small
from test_upload import BENCH

from core import calibrate, registry, upload, upload_check
from core.correction import shipped
from core.queue import Queue
from core.records import read_record
from pages.shared import runs_session

PAGE = str(Path(__file__).resolve().parents[1] / "pages" / "runs.py")
PARTS = ("Bring runs", "Stored runs", "Calibration", "Drift and versions")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("ROOFCAST_HOME", str(tmp_path))
    monkeypatch.delenv("ROOFCAST_HOSTED", raising=False)
    monkeypatch.setattr(upload_check, "_shipped_figures", dict)
    monkeypatch.setattr(st, "page_link", lambda *_, **__: None)  # it needs the frame; tests/test_browser_runs.py follows it
    monkeypatch.setattr(calibrate, "_SESSION", [runs_session.of_session])  # as the frame does
    return tmp_path


def opened(part: str = PARTS[0]) -> AppTest:
    page = AppTest.from_file(PAGE, default_timeout=60)
    page.query_params["runs_view"] = part
    return shown(page.run())


def shown(page: AppTest) -> AppTest:
    assert not page.exception, page.exception
    return page


def brought(*files: tuple[str, bytes], page: AppTest | None = None) -> AppTest:
    page = page or opened()
    page.file_uploader[0].set_value([(name, raw, "text/plain") for name, raw in files])
    return shown(page.run())


def told(page: AppTest) -> str:
    kinds = ("title", "subheader", "markdown", "caption", "warning", "info", "error")
    return "\n".join(str(element.value) for kind in kinds for element in page.get(kind)).replace("\\", "")


def tables(page: AppTest) -> list[dict[str, list[Any]]]:
    return [table.value.to_dict("list") for table in page.dataframe]


def table(page: AppTest, column: str) -> dict[str, list[Any]]:
    return next(found for found in tables(page) if column in found)


def pressed(page: AppTest, key: str) -> AppTest:
    page.button(key).click()
    return shown(page.run())


def csv(*rows: str, header: str = "model,gpu,engine,quant,output tokens,depth,tok/s") -> bytes:
    return "\n".join([header, *rows, ""]).encode()


ROW = "Qwen/Qwen3-8B,RTX 4090,llama.cpp,Q4_K_M,128"
GOOD = csv(f"{ROW},0,130", f"{ROW},4096,118", f"{ROW},8192,109")


# ---------------------------------------------------------------- nothing there yet


@pytest.mark.parametrize("part", PARTS)
def test_every_part_says_what_it_is_for(part: str) -> None:
    page = opened(part)
    assert page.title[0].value == "A few runs on your own machine make the estimates yours"
    says = {
        "Bring runs": "nothing is stored until",
        "Stored runs": "none yet",
        "Calibration": "What own runs bring",
        PARTS[3]: "no runs yet",
    }
    assert says[part] in told(page)


# ---------------------------------------------------------------- the way of a file


def test_a_benchmarks_file_stands_beside_its_prediction_and_is_kept_only_when_asked(home: Path) -> None:
    page = brought(("bench.json", json.dumps([BENCH]).encode()))
    assert "(llama-bench): 1 run" in told(page) and not list(home.rglob("*.sqlite"))
    line = table(page, "measured")
    assert line["measured"] == ["120.0 tok/s"] and "to" in line["span"][0] and line["inside"][0][2:] in ("inside", "outside")
    pressed(page, "runs-keep")
    assert [record.decode_toks_sec for record in Queue().records()] == [120.0]
    assert page.title[0].value == "1 run of yours on 1 machine" and "1 kept on this computer" in told(page)
    assert "is now" in told(page) and not page.file_uploader[0].value, "the file is dealt with"
    pressed(page, "runs-undo")
    assert not Queue().records() and "A few runs" in page.title[0].value


def test_three_runs_tighten_the_range_of_a_load_that_was_not_measured() -> None:
    page = pressed(brought(("mine.csv", GOOD)), "runs-use")
    effects = table(page, "Scenario")
    decode = effects["Range"][effects["What"].index("decode")]
    before, after = (float(side.strip("× ")) for side in decode.split("→"))
    assert after < 0.9 * before and not Queue().records(), "for this session alone"
    again = brought(("mine.csv", GOOD), page=page)
    assert "3 known already" in told(again) and "None of them is new" in told(again)


def test_every_row_left_out_is_named_with_its_reason() -> None:
    page = brought(("mine.csv", csv(f"{ROW},0,130", f"{ROW},0,-3", f"{ROW},0,fast", "Qwen/Qwen3-8B,RTX 9999,llama.cpp,Q4_K_M,128,0,50")))
    for line, why in ((3, "must not be negative"), (4, "must be a number"), (5, "No device 'RTX 9999'")):
        assert re.search(rf"\*\*line {line}\*\*: .*{why}", told(page))
    assert "1 run, 3 rows left out" in told(page) and page.button("runs-keep").label == "Keep 1 run on this computer"


def test_a_file_without_a_usable_row_names_each_of_them() -> None:
    page = brought(("mine.csv", csv(f"{ROW},0,-3", f"{ROW},0,fast")), ("empty.csv", b" "))
    assert len(page.error) == 2 and "empty.csv is empty" in told(page)
    assert all(f"**line {line}**" in told(page) for line in (2, 3)) and not [b for b in page.button if b.key == "runs-keep"]


def test_columns_are_guessed_with_reasons_and_can_be_set_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = csv(f"{ROW},512,120,0.05", header="model,gpu,engine,quant,output tokens,input tokens,tok/s,first token")
    page = brought(("mine.csv", raw))
    rows = {row["Column"]: row for row in page.data_editor[0].value.to_dict("records")}
    assert rows["first token"]["Unit"] == "s" and "by the size of the numbers" in rows["first token"]["Why"]
    assert "50.00 ms" in table(page, "measured")["measured"]
    real = st.data_editor

    def edited(data: Any, **more: Any) -> Any:
        return [row | {"Unit": "ms"} if row["Column"] == "first token" else row for row in real(data, **more)]

    monkeypatch.setattr(st, "data_editor", edited)
    assert "0.05000 ms" in table(shown(page.run()), "measured")["measured"]


def test_a_run_faster_than_its_memory_is_kept_only_when_confirmed() -> None:
    page = brought(("mine.csv", csv(f"{ROW},0,130", f"{ROW},0,900")))
    assert page.button("runs-keep").label == "Keep 1 run on this computer" and "cannot be as they are labelled" in told(page)
    assert "Confirm above" in told(brought(("alone.csv", csv(f"{ROW},0,900"))))
    page.checkbox[-1].check()
    pressed(page.run(), "runs-keep")
    assert [record.sanity_flag[:9] for record in Queue().records()] == ["", "confirmed"]


def test_what_a_file_does_not_say_is_said_once() -> None:
    page = brought(("mine.csv", csv("Qwen/Qwen3-8B,Q4_K_M,128,130", header="model,quant,output tokens,tok/s")))
    assert "does not tell the engine" in told(page) and "Say it above" in told(page)
    page.text_input("runs-given-gpu_name").set_value("RTX 4090")
    page.text_input("runs-given-runtime").set_value("llama.cpp")
    assert table(shown(page.run()), "measured")["measured"] == ["130.0 tok/s"]
    page = brought(("bench.json", json.dumps([BENCH]).encode()))
    named = table(page, "measured")["run"]
    for key, cell in (("gpu_name", "H100"), ("runtime", "vllm"), ("model_name_raw", "Qwen/Qwen3-32B"), ("cpu_name", "EPYC 9354")):
        page.text_input(f"runs-given-{key}").set_value(cell)
    assert table(shown(page.run()), "measured")["run"] == named, "a file that names its machine, engine and model is believed"


def test_a_run_is_typed_in() -> None:
    page = opened()
    page.selectbox("runs-one-model").select_index(0)
    for key, choice in (("device", "GeForce RTX 4090"), ("runtime", "llama.cpp")):
        page.selectbox(f"runs-one-{key}").set_value(choice)
    page.text_input("runs-one-quant").set_value("Q4_K_M")
    page.number_input("runs-one-vram_peak_gib").set_value(4.0)
    page.selectbox("runs-one-unit-vram_peak_gib").set_value("GB")
    page.button("FormSubmitter:runs-one-Set it beside the prediction").click()
    assert "3.725 GiB" in table(shown(page.run()), "measured")["measured"]
    pressed(page, "runs-keep")
    assert Queue().records()[0].vram_peak_gib == pytest.approx(4e9 / 2**30) and "typed in" in Queue().records()[0].source_path


# ---------------------------------------------------------------- a shared server


def test_on_a_shared_server_runs_live_in_the_session_alone(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Queue().put(drifting("b1", 2, 0.8, 0))  # the server's own
    before = {path.name for path in home.rglob("*")}
    monkeypatch.setenv("ROOFCAST_HOSTED", "1")
    page = brought(("mine.csv", GOOD))
    assert "others use this server too" in told(page) and not [b for b in page.button if b.key == "runs-keep"]
    pressed(page, "runs-use")
    assert page.title[0].value == "3 runs of yours on 1 machine" and "3 kept in this session" in told(page)
    assert {path.name for path in home.rglob("*")} == before
    page.query_params["runs_view"] = PARTS[1]
    assert opened(PARTS[1]).title[0].value.startswith("A few runs"), "another visitor sees none of them"
    assert "Versions of the fit" not in told(opened(PARTS[3]))


# ---------------------------------------------------------------- what is stored


@functools.cache
def seeded() -> tuple[Any, ...]:
    return (*drifting("b1", 16, 0.8, 0), *drifting("b2", 14, 0.5, 40))


def kept() -> None:
    Queue().put(seeded())
    Queue().export()


def test_stored_runs_are_listed_and_deleted() -> None:
    kept()
    page = opened(PARTS[1])
    assert page.title[0].value == "30 runs of yours on 1 machine" and len(page.dataframe[0].value) == 30
    pressed(page, "runs-delete-all")
    assert not Queue().records() and "none yet" in told(page)


def test_runs_that_shift_nothing_are_told_apart_in_the_list() -> None:
    good, noisy, failed = drifting("b1", 3, 0.8, 0)
    doubt = "noisy machine: the host took away 9% of the time"

    def other(of: Any, **more: Any) -> Any:
        return read_record({**of.model_dump(exclude={"run_id"}), "fit": False, "fit_reason": "it is of no use", **more})

    Queue().put([
        good, other(noisy, sanity_flag=doubt), other(failed, failure="out_of_memory", decode_toks_sec=None),
        other(good, memory_kind="ram_peak", memory_gib=3.25, decode_toks_sec=None),
    ])  # fmt: skip
    Queue().export()
    page = opened(PARTS[1])
    assert page.title[0].value == "3 runs of yours on 1 machine, with 1 reading of memory"
    rows = page.dataframe[0].value
    assert sorted(rows["state"]) == ["", "memory", "⚠ noisy", "✗ failed"]
    assert {"RAM peak 3.25 GiB", "out of memory"} < set(rows["figures"])
    assert "1 taken on a machine that was not quiet, 1 that failed, 1 of memory alone" in told(page)


def test_calibration_shows_before_after_and_what_to_measure() -> None:
    kept()
    page = opened(PARTS[2])
    worth = table(page, "Before")
    assert worth["What"] == ["decode"] and worth["Runs"] == [30]
    assert len(page.get("code")) == 2 and "llama-bench -m" in page.get("code")[0].value


def test_an_alarm_asks_for_a_refit_and_versions_are_used_compared_and_taken_back() -> None:
    kept()
    one = registry.keep(small(), {"inputs": "a", "base": shipped().version, "promoted": True, "own_runs": 16, "why": "better"})
    page = opened(PARTS[3])
    assert "decode on RTX 4090 with llama.cpp b2" in page.warning[0].value and len(registry.wanted()) == 1
    assert "asked for" in told(page) and table(page, "Out of memory")["Ran"] == [30, 0]
    page.selectbox("runs-version").set_value(one.name)
    pressed(page.run(), "runs-version-use")
    assert registry.chosen() == one.name and f"In use: {one.name}" in told(page)
    pressed(page, "runs-compare")
    sides = table(page, one.name)
    assert sides["What"][:3] == ["version", "made", "refitted from"] and any("median error of" in str(what) for what in sides["What"])
    pressed(page, "runs-version-undo")
    assert registry.chosen() == registry.SHIPPED


def test_the_example_and_the_template_are_there() -> None:
    labels = [button.label for button in opened().get("download_button")]
    assert labels == ["Template", "Example"] and upload.template().startswith("model_id,")
