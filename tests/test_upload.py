"""Runs that people bring: what bad files get, what columns mean, what speaks against a run, and the prediction beside it."""

from __future__ import annotations

import dataclasses
import io
import json
import re

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import upload, upload_check
from core.correction import shipped
from core.errors import RunError
from core.queue import Queue
from core.records import RunRecord
from core.upload import Upload, from_result, from_sheet, judged, one_run, read
from core.upload_columns import Meaning, decimal_of, guesses, number_in, plain_number
from core.upload_table import Sheet, sheet_of
from harness.uploads import BAD, DOCUMENT, GOOD, HEADER, answer, document


@pytest.fixture(autouse=True)
def _home(tmp_path, monkeypatch):
    monkeypatch.setenv("ROOFCAST_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(upload_check, "_shipped_figures", dict)  # 20,000 runs, which one test alone needs


def sheet(text: str, name: str = "mine.csv") -> Sheet:
    found = read(text.encode(), name)
    assert isinstance(found, Sheet)
    return found


def taken(text: str, **more: object) -> Upload:
    return from_sheet(sheet(text), **more)


# ---------------------------------------------------------------- bad files

REFUSED = {
    "latin.csv": "not in UTF-8", "large.csv": "has 191 MiB", "bomb.csv.gz": "unpacks to more than", "bomb.parquet": "unpacks to",
    "runs.xlsx": "archive or an Excel workbook", "results.csv": "web page", "empty.csv": "is empty", "header.csv": "no row below it",
    "twice.csv": "twice", "binary.csv": "binary data", "nan.csv": "Nothing was measured", "sql.csv": "DROP TABLE",
    "formulas.csv": "formula", "prose.txt": "one column", "broken.json": "cut off",
}  # fmt: skip


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad.name)
def test_a_bad_file_gets_one_clear_sentence(bad):
    told = answer(bad)
    if bad.name in REFUSED:
        assert re.search(REFUSED[bad.name], told[0]), told
        assert len(told) == (3 if bad.name == "formulas.csv" else 1), "of several rows each says why"
    else:
        assert told[0].startswith("Read: ")
    for text in told:
        assert text[0].isupper() or text[0].isdigit() or text.startswith(bad.name.removesuffix(".gz")), text
        assert text.endswith((".", ")")) and "Traceback" not in text and len(text) < 400


def test_the_document_says_what_files_get_now():
    assert DOCUMENT.read_text(encoding="utf-8") == document()


def test_semicolons_and_decimal_commas_read_as_people_mean_them():
    found = taken("Model;GPU;Engine;Quant;Output tokens;Tokens/s\nQwen3-8B;RTX 4090;llama.cpp;Q4_K_M;128;1.234,5\n")
    assert found.records[0].decode_toks_sec == 1234.5
    assert any("semicolons" in note for note in found.notes) and any("comma" in note for note in found.notes)


def test_rows_are_named_by_their_line_even_behind_a_cell_of_two_lines():
    text = f'{HEADER},notes\n{GOOD},"two\nlines"\n\n{GOOD.replace(",55", ",-5")},x\na,b\n{GOOD.replace(",130", ",131")},y\n'
    found = taken(text)
    assert [row.where for row in found.refused] == ["line 5", "line 6"]
    assert [record.source_path for record in found.records] == ["mine.csv, line 2", "mine.csv, line 7"]


def test_units_that_cells_carry_are_read_each_by_its_own():
    found = taken("\n".join([HEADER, GOOD.replace(",55", ",55 ms"), GOOD.replace(",55", ",0.06 s"), GOOD.replace(",55", ",70")]))
    assert [record.ttft_ms_p50 for record in found.records] == [55, 60]
    assert "without a unit" in found.refused[0].why


# ---------------------------------------------------------------- what columns are taken for


@pytest.mark.parametrize(
    ("header", "cells", "target", "unit"),
    [
        ("tokens_per_second", "41", "decode_toks_sec", "tok/s for each user"),
        ("output throughput (tok/s/user)", "41", "decode_toks_sec", "tok/s for each user"),
        ("Throughput (tokens/s)", "41", "decode_toks_sec", "tok/s in all"),
        ("prompt eval rate", "900", "prefill_toks_sec", "tok/s"),
        ("TTFT", "0.35", "ttft_ms_p50", "s"),
        ("TTFT", "350", "ttft_ms_p50", "ms"),
        ("p95 TTFT [s]", "350", "ttft_ms_p95", "s"),
        ("itl_ms", "20", "tpot_ms_p50", "ms"),
        ("VRAM (GB)", "20", "vram_peak_gib", "GB"),
        ("gpu_mem_used_mib", "20480", "vram_peak_gib", "MiB"),
        ("GPU memory utilization", "0.9", "", ""),
        ("input tokens", "512", "prompt_tokens", ""),
        ("Input", "512", "prompt_tokens", ""),
        ("Output", "Once upon a time", "", ""),
        ("context length", "4096", "context_depth", ""),
        ("request throughput", "3", "", ""),
        ("colour", "red", "", ""),
    ],
)
def test_a_column_is_taken_for_what_its_name_and_numbers_say(header, cells, target, unit):
    found = guesses(Sheet("x", "CSV", (header,), ((cells,),), ("line 2",)))[0]
    assert (found.target, found.unit) == (target, unit) and found.why


def test_with_several_users_a_bare_rate_is_taken_for_all_of_them_and_can_be_set_otherwise():
    text = "model,gpu,engine,users,output tokens,tok/s\nQwen/Qwen3-8B,H100,vllm,16,128,900\n"
    meanings = guesses(sheet(text))
    assert meanings[-1].unit == "tok/s in all"
    assert taken(text).records[0].output_toks_sec == 900
    each = (*meanings[:-1], meanings[-1].to("decode_toks_sec", "tok/s for each user"))
    assert taken(text, meanings=each).records[0].decode_toks_sec == 900


def test_gb_and_gib_are_not_the_same():
    text = "model,gpu,engine,output tokens,tok/s,vram\nQwen/Qwen3-8B,RTX 4090,llama.cpp,128,90,9.4\n"
    meanings = guesses(sheet(text))
    gb = (*meanings[:-1], meanings[-1].to("vram_peak_gib", "GB"))
    assert taken(text, meanings=gb).records[0].vram_peak_gib == pytest.approx(9.4e9 / 2**30)


def test_two_columns_for_one_fact_are_refused_by_name():
    meanings = (Meaning("a", "gpu_name"), Meaning("b", "gpu_name"))
    with pytest.raises(RunError, match="“a” and “b” are both taken for GPU"):
        from_sheet(Sheet("x", "CSV", ("a", "b"), (("1", "2"),), ("line 2",)), meanings)


def test_what_a_file_does_not_tell_can_be_said_once_for_all_rows():
    text = "model,output tokens,tok/s\nQwen/Qwen3-8B,128,90\n"
    with pytest.raises(RunError, match="the engine"):
        taken(text)
    assert taken(text, given={"gpu_name": "RTX 4090", "runtime": "llama.cpp"}).records[0].device


@given(st.floats(0.001, 1e7), st.sampled_from([".", ","]), st.booleans())
def test_a_number_reads_as_it_is_written(amount, decimal, grouped):
    written = f"{amount:,.3f}" if grouped else f"{amount:.3f}"
    if decimal == ",":
        written = written.translate(str.maketrans(",.", ".,"))
    assert plain_number(written, decimal) == pytest.approx(float(f"{amount:.3f}"))


@given(st.text(max_size=30))
def test_any_cell_is_a_number_nothing_or_one_sentence(cell):
    try:
        amount = number_in(cell, Meaning("TTFT", "ttft_ms_p50", "ms"), ".", mixed=False)
    except RunError as error:
        assert "“TTFT”" in str(error)
    else:
        assert amount is None or amount >= 0


def test_thousands_are_not_decimals():
    assert decimal_of(Sheet("x", "CSV", ("a",), (("1,234",), ("12,345",)), ("line 2", "line 3"))) == "."


# ---------------------------------------------------------------- other forms


def test_parquet_json_and_csv_give_the_same_runs():
    row = {"model_id": "Qwen/Qwen3-8B", "gpu_name": "RTX 4090", "runtime": "llama.cpp", "quant": "Q4_K_M", "output_tokens": 128.0,
           "decode_toks_sec": 120.5}  # fmt: skip
    parquet = io.BytesIO()
    pd.DataFrame([row]).to_parquet(parquet)
    files = {"a.parquet": parquet.getvalue(), "a.json": json.dumps([row]).encode(), "a.jsonl": json.dumps(row).encode(),
             "a.csv": pd.DataFrame([row]).to_csv(index=False).encode()}  # fmt: skip
    names = {from_sheet(sheet_of(raw, name)).records[0].run_id for name, raw in files.items()}
    assert len(names) == 1


BENCH = {"build_commit": "abc", "build_number": 6800, "cpu_info": "x", "gpu_info": "NVIDIA GeForce RTX 4090", "backends": "CUDA",
         "model_filename": "Qwen3-8B-Q4_K_M.gguf", "model_type": "qwen3 8B Q4_K - Medium", "model_size": 5e9, "model_n_params": 8e9,
         "n_batch": 2048, "n_ubatch": 512, "n_threads": 8, "type_k": "f16", "type_v": "f16", "n_gpu_layers": 99, "flash_attn": True,
         "n_prompt": 0, "n_gen": 128, "n_depth": 0, "test_time": "2026-10-01T10:00:00Z", "avg_ts": 120.0, "stddev_ts": 1.0,
         "samples_ts": [119.0, 120.0, 121.0]}  # fmt: skip


def test_a_benchmarks_own_file_goes_through_its_importer():
    raw = json.dumps([BENCH]).encode()
    assert read(raw, "bench.json") == "llama-bench"
    found = from_result(raw, "bench.json")
    assert found.records[0].decode_toks_sec == 120 and not found.flags


def test_the_template_and_the_example_read():
    with pytest.raises(RunError, match="no row below it"):
        read(upload.template().encode(), upload.TEMPLATE_NAME)
    found = taken(upload.example())
    assert len(found.records) == 4 and not found.refused and not found.flags


# ---------------------------------------------------------------- what speaks against a run


def one(**more: object) -> Upload:
    return one_run({"model_id": "Qwen/Qwen3-8B", "gpu_name": "RTX 4090", "runtime": "llama.cpp", "quant": "Q4_K_M",
                    "output_tokens": 128, **more})  # fmt: skip


@pytest.mark.parametrize(
    ("figures", "says"),
    [
        ({"decode_toks_sec": 110.0}, ""),
        ({"decode_toks_sec": 450.0}, "memory allows"),
        ({"prefill_toks_sec": 90_000.0, "prompt_tokens": 512, "output_tokens": 0}, "arithmetic allows"),
        ({"decode_toks_sec": 110.0, "vram_peak_gib": 30.0}, "more than the 2"),
        ({"ttft_ms_p50": 900.0, "latency_ms_p50": 880.0, "prompt_tokens": 512}, "but the whole answer after"),
        ({"decode_toks_sec": 110.0, "tpot_ms_p50": 20.0}, "ms a token"),
    ],
)
def test_what_cannot_be_is_asked_about(figures, says):
    flags = list(one(**figures).flags.values())
    assert (says in flags[0]) if says else not flags


def test_a_flagged_run_is_kept_only_when_it_is_confirmed_and_then_says_so():
    found = one(decode_toks_sec=450.0)
    name = found.records[0].run_id
    assert not found.fresh()
    kept = found.fresh([name])[0]
    assert kept.sanity_flag.startswith("confirmed by its owner") and kept.run_id == name


def test_runs_that_are_there_already_are_recognised():
    found = one(decode_toks_sec=110.0)
    Queue().put(found.records)
    again = one(decode_toks_sec=110.0)
    assert "already" in next(iter(again.before.values())) and not again.fresh()
    assert one_run_before(found.records)


def one_run_before(session: tuple[RunRecord, ...]) -> bool:
    """Whether a session's run is recognised without being stored."""
    Queue().forget(record.run_id for record in session)
    row = {name: cell for name, cell in session[0].model_dump().items() if name in ("model_id", "gpu_name", "runtime", "quant")}
    return bool(one_run({**row, "output_tokens": 128, "decode_toks_sec": 110.0}, session).before)


def test_a_shipped_measurement_under_another_name_is_recognised(monkeypatch):
    found = one(decode_toks_sec=110.0).records[0]
    key = upload_check._figures(found.model_dump())
    monkeypatch.setattr(upload_check, "_shipped_figures", lambda: {key: "someone's table"})
    assert "someone's table" in next(iter(one(decode_toks_sec=110.0).before.values()))
    assert not one(decode_toks_sec=111.0).before


# ---------------------------------------------------------------- beside the prediction


def test_measured_stands_beside_predicted_with_its_range():
    found = one(decode_toks_sec=110.0).records
    line = judged(found, shipped())[0][0]
    assert line.column == "decode_toks_sec" and line.measured == 110
    assert line.low < line.predicted < line.high and line.inside is (line.low <= 110 <= line.high)
    assert dataclasses.replace(line, measured=line.predicted).off == 0


def test_a_run_that_cannot_be_predicted_says_why():
    record = one(decode_toks_sec=110.0, notes="KV cache disabled").records[0]
    lines, failed = judged([record], None)
    assert not lines and failed[record.run_id]
