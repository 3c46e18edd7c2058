"""The importer: what never ships, what is cleaned, what is kept out of fitting, what is merged, and the same bytes again."""

import csv
import gzip
import json
import os
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.catalog.files import DATA
from core.corpus import open_corpus, runs_table
from core.errors import RoofcastError
from core.memory_check import point_of
from core.records import read_record
from core.run_files import write_records
from core.run_notes import plain_notes, plain_version, read_hints
from core.runs import INPUT_COLUMNS, METRIC_COLUMNS, read_run
from core.validate import excluded, excluded_metrics
from harness.import_corpus import main
from harness.import_memory import memory_row
from harness.import_merge import merged
from harness.import_roof import GPU_NOT_USED, OFFLOADED, beyond_datasheet, held_against_memory
from harness.import_rules import UNFIT, cleaned, dropped, facts, unfit

CASES = json.loads((DATA / "golden" / "run_scenarios.json").read_text())["cases"]
COLUMNS = [
    "source", "source_path", "source_license", "run_date", "model_id", "model_name_raw", "params_b", "active_params_b", "is_moe",
    "weights_gib", *(c for c in INPUT_COLUMNS if c not in ("run_date", "model_id", "model_name_raw", "notes")), *METRIC_COLUMNS,
    "stddev_rel", "quality_tier", "sanity_flag", "notes",
]  # fmt: skip
SOURCE = """title = "Ours"
url = "https://example.org"
licence = "MIT"
method = "by hand"
traps = []
names = ["ours", "ours too"]
"""


def row(**cells):
    base = {"source": "ours", "source_license": "MIT", "model_id": "Qwen/Qwen3-8B", "model_name_raw": "Qwen3-8B", "quant": "Q4_K_M",
            "runtime": "llama.cpp", "gpu_name": "RTX 4090", "gpu_count": "1", "load_kind": "static_batch", "concurrency": "1",
            "prompt_tokens": "512", "output_tokens": "128", "decode_toks_sec": "101.3"}  # fmt: skip
    return {**dict.fromkeys(COLUMNS, ""), **base, **cells}


def folder_of(path, rows):
    path.mkdir(exist_ok=True)
    with gzip.open(path / "runs.csv.gz", "wt", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    return path


def out_of(path):
    (path / "ours").mkdir(parents=True)
    (path / "ours" / "source.toml").write_text(SOURCE)
    return path


def read(cells):
    """What a row measured; where it is no scenario, the sentence."""
    try:
        return read_run(cells)
    except RoofcastError as error:
        return str(error)


# ---- A record asks what its row asked


def asked(run):
    """A run without its version's text, of which remarks stay behind."""
    return run if isinstance(run, str) else (run.scenario.with_(runtime_version=None), run.asks, run.systems, run.decode_is,
                                             run.disaggregated, run.unmodelled)  # fmt: skip


def same_question(cells):
    """Whether the record of a row, its labels set right, is the same scenario and judged in the same way."""
    given, _ = cleaned({**cells, "runtime_version": plain_version(cells["runtime_version"])})
    kept = facts(given)
    fields = {name: cell for name, cell in kept.items() if name != "source_license"}
    again = read_record({**fields, "schema_version": 1, "licence": "MIT"}).model_dump()
    assert asked(read(given)) == asked(read(again)), cells
    assert bool(excluded(given)) == bool(excluded(again)) and excluded_metrics(given) == excluded_metrics(again), cells


@pytest.mark.parametrize("case", CASES, ids=[case["source"] for case in CASES])
def test_records_of_real_rows_are_their_scenarios(case):
    same_question(row(**dict.fromkeys(("quant", "concurrency", "prompt_tokens", "output_tokens"), "")) | case["row"])


@pytest.mark.skipif("ROOFCAST_CORPUS" not in os.environ, reason="give the folder of the tables as ROOFCAST_CORPUS")
def test_records_of_the_whole_corpus_are_their_scenarios():
    for path in sorted(Path(os.environ["ROOFCAST_CORPUS"]).glob("runs*.csv.gz")):
        with gzip.open(path, "rt", newline="") as file:
            for cells in csv.DictReader(file):
                same_question(cells)


NOTES = (
    "SPECDEC; MTP of 3 tokens, output tok/s 812.5",
    "AGENTIC multi-turn trace, prefix caching ON (gpu hit rate 0.4)",
    "12 ShareGPT prompts sent at once; max_num_seqs 64, measured 812 tok/s",
    "mode=disagg; prefill 1x(tp1,dp4) decode 4x(tp8,dp1); somebody's remark",
    "scenario ops; later turns may reuse prompt cache flags=x",
    "range_ratio 0.8 (80-100% of nominal)",
    "aggregate output tok/s over all streams (wall, incl. prefill); ctx_limit=8192",
    "llama-bench n_batch=64 (single sequence); layer-split multi-GPU; enforce_eager",
    "num_ctx allocated 32768 (short prompts); gpu-memory-utilization 0.85",
)


@pytest.mark.parametrize("notes", NOTES)
def test_launch_facts_survive_and_remarks_do_not(notes):
    kept = plain_notes(notes)
    assert read_hints(kept, "") == read_hints(notes, "")
    assert plain_notes(kept) == kept
    assert not any(remark in kept for remark in ("812", "somebody", "hit rate", "short prompts"))


@given(st.lists(st.sampled_from(NOTES), max_size=3), st.text(max_size=30))
def test_plain_notes_are_a_fixed_point(parts, remark):
    kept = plain_notes("; ".join([*parts, remark]))
    assert plain_notes(kept) == kept


def test_versions_lose_headings_alone():
    assert plain_version("Vulkan b7423 [vulkan_radv]") == "Vulkan b7423 [vulkan_radv]"
    assert plain_version("ROCm [Two machines (RPC) / Working results / x]") == "ROCm RPC"


def test_a_point_of_memory_asks_what_its_log_said():
    notes = ("sum of KV buffers MiB: CUDA0=896.00, CUDA1=896.00; n_ctx=16384 n_batch=2048 n_ubatch=512 flash_attn=1; "
             "model size 4.58 GiB (4.89 BPW); type 8B; somebody's remark")  # fmt: skip
    point = {
        "source": "ours", "source_path": "log", "source_license": "MIT", "model_id": "Llama 3.1 8B", "params_b": "8",
        "quant": "Q4_K_M", "kv_dtype": "f16/f16", "backend": "llama.cpp", "backend_version": "", "gpu_name": "NVIDIA RTX 4090",
        "gpu_count": "1", "tp": "", "context_tokens": "16384", "batch_size": "1", "measured_kind": "kv_buffer",
        "value_gib": "1.75", "notes": notes,
    }  # fmt: skip
    kept = memory_row(point)
    assert "remark" not in kept["notes"] and kept["memory_gib"] == "1.75"
    assert point_of({**point, "notes": kept["notes"]}) == point_of(point)


# ---- What never ships, what is cleaned, what is not fitted


@pytest.mark.parametrize("licence", ["CC BY-ND 4.0", "cc-by-nc-nd", "site terms of use", "All rights reserved"])
def test_rows_under_forbidding_licences_never_ship(tmp_path, licence):
    out = out_of(tmp_path / "out")
    assert main([str(folder_of(tmp_path / "in", [row(), row(source_license=licence, decode_toks_sec="5")])), "--out", str(out)]) == 0
    assert runs_table(open_corpus([out]))["decode_toks_sec"].to_list() == [101.3]
    assert licence in (out / "IMPORT.md").read_text()


@pytest.mark.parametrize("licence", ["MIT", "Apache-2.0", "BSD-3-Clause", "none stated", "CC BY 4.0", "not checked"])
def test_rows_under_other_licences_ship(licence):
    assert dropped(row(source_license=licence)) == ""


def test_a_row_that_measured_nothing_is_left_out():
    assert dropped(row(decode_toks_sec="")) == "nothing was measured"


@pytest.mark.parametrize(
    ("cells", "quant"),
    [
        ({"model_id": "openai/gpt-oss-20b", "quant": "MXFP4", "weights_gib": "38.97", "params_b": "20.9"}, "BF16"),
        ({"model_id": "openai/gpt-oss-20b", "quant": "MXFP4", "weights_gib": "12.8", "params_b": "20.9"}, "MXFP4"),
        ({"model_id": "Qwen/Qwen3.6-27B", "quant": "MXFP4", "runtime": "mlx"}, "MLX-MXFP4"),
        ({"model_id": "openai/gpt-oss-20b", "quant": "MXFP4", "runtime": "mlx"}, "MXFP4"),
        ({"model_name_raw": "QuantTrio-Qwen3.6-27B-AWQ", "quant": "BF16"}, "AWQ"),
    ],
)
def test_labels_are_set_right_by_inputs(cells, quant):
    assert cleaned(row(**cells))[0]["quant"] == quant


def test_cleaning_and_dropping_look_at_no_figure():
    """Only `fit` may depend on what was measured."""
    one = row(model_id="openai/gpt-oss-20b", quant="MXFP4", weights_gib="38.97", params_b="20.9")
    other = {**one, **dict.fromkeys(METRIC_COLUMNS, "7")}
    inputs = [name for name in one if name not in METRIC_COLUMNS]
    assert {n: cleaned(one)[0][n] for n in inputs} == {n: cleaned(other)[0][n] for n in inputs}
    assert dropped(one) == dropped(other)
    for rule in UNFIT:
        if rule.looks == "inputs":
            assert rule.holds({**one, "raw_notes": ""}) == rule.holds({**other, "raw_notes": ""}), rule.reason


def test_bounds_of_the_datasheet():
    assert beyond_datasheet(row()) == ""
    assert "bandwidth" in beyond_datasheet(row(decode_toks_sec="400"))  # 4.5 GiB read 400 times a second on 1,008 GB/s
    assert "compute" in beyond_datasheet(row(prefill_toks_sec="200000"))
    assert beyond_datasheet(row(runtime="llamafile", decode_toks_sec="20")) == GPU_NOT_USED
    assert beyond_datasheet(row(runtime="llama.cpp", decode_toks_sec="20")) == ""  # slow is no reason by itself
    assert beyond_datasheet(row(gpu_name="no such card")) == ""


def test_weights_beyond_the_card_are_flagged_and_cards_sold_with_more_memory_are_not():
    large = {"model_id": "Qwen/Qwen2.5-14B-Instruct", "model_name_raw": "", "quant": "Q4_K_M"}
    assert held_against_memory(row(**large, gpu_name="RTX 3070"))["sanity_flag"] == OFFLOADED
    assert excluded(held_against_memory(row(**large, gpu_name="RTX 3070")))
    assert held_against_memory(row(**large, gpu_name="RTX 4060 Ti"))["sanity_flag"] == ""
    assert held_against_memory(row(**large, gpu_name="RTX 3070", n_gpu_layers="20"))["sanity_flag"] == ""


def test_a_server_with_fewer_slots_than_users_is_not_fitted():
    cells = {"load_kind": "concurrency", "output_tokens": "100", "tpot_ms_p50": "10"}
    assert "fewer sequences" in unfit(row(**cells, ttft_ms_p50="1600"))
    assert unfit(row(**cells, ttft_ms_p50="1400")) == ""


# ---- Re-posts


def records_of(*rows):
    return [("ours", read_record({**cells, "schema_version": 1})) for cells in rows]


def plain(**cells):
    return {k: v for k, v in row(**cells).items() if k != "source_license"}


@pytest.mark.parametrize(
    ("other", "left"),
    [
        ({"source_path": "elsewhere"}, 1),
        ({"source": "theirs", "decode_toks_sec": "101.30"}, 1),
        ({"source": "theirs", "decode_toks_sec": "101.4"}, 2),  # another figure
        ({"source": "theirs", "prompt_tokens": "1024"}, 2),  # another load
        ({"run_date": "2026-01", "source_path": "later"}, 2),  # measured again by the same people
        ({"source": "theirs", "run_date": "2026-01"}, 1),  # quoted later, where the origin gives no date
    ],
)
def test_re_posts_are_merged(other, left):
    counts: Counter[str] = Counter()
    kept = merged(records_of(plain(), plain(**other)), counts)
    assert len(kept) == left and sum(counts.values()) == 2 - left
    if left == 1:
        assert other.get("source", "ours") in kept[0][1].source + kept[0][1].also_in


def test_round_figures_do_not_make_a_re_post():
    rows = plain(decode_toks_sec="42"), plain(source="theirs", decode_toks_sec="42")
    assert len(merged(records_of(*rows), Counter())) == 2


def test_the_fuller_of_two_statements_is_kept():
    rows = plain(ttft_ms_p50="1234.5"), plain(source="theirs", ttft_ms_p50="1234.5", total_toks_sec="5.25")
    kept = merged(records_of(*rows), Counter())
    assert [record.source for _, record in kept] == ["theirs"]


# ---- Files


def test_reruns_write_the_same_bytes(tmp_path):
    rows = [row(source_path=str(i), decode_toks_sec=str(50 + i * 1.01)) for i in range(20)]
    out, folder = out_of(tmp_path / "out"), folder_of(tmp_path / "in", rows)
    files = {}
    for turn in range(2):
        folder_of(folder, rows if turn == 0 else rows[::-1])  # nor does the order of the rows matter
        assert main([str(folder), "--out", str(out)]) == 0
        files[turn] = {path.name: path.read_bytes() for path in out.rglob("*.parquet")}
    assert files[0] and files[0] == files[1]


def test_names_follow_the_catalog_and_nothing_else_does(tmp_path):
    out = out_of(tmp_path / "out")
    main(
        [str(folder_of(tmp_path / "in", [row(), row(model_id="no such model", model_name_raw="", decode_toks_sec="7")])), "--out", str(out)]
    )
    path = out / "ours" / "runs.parquet"
    before = path.read_bytes()
    records = [read_record(cells) for cells in pd.read_parquet(path).to_dict("records")]
    write_records(path, [r.model_copy(update={"model": "of yesterday", "scenario_id": ""}) for r in records])
    assert main(["--out", str(out)]) == 0
    assert path.read_bytes() == before


def test_a_source_without_a_description_is_left_out_and_said(tmp_path):
    out = out_of(tmp_path / "out")
    main([str(folder_of(tmp_path / "in", [row(), row(source="unknown people")])), "--out", str(out)])
    assert "unknown people" in (out / "IMPORT.md").read_text()
    assert set(runs_table(open_corpus([out]))["source"]) == {"ours"}


@pytest.mark.parametrize("name", ["nothing", "broken"])
def test_what_cannot_be_imported_is_one_sentence(tmp_path, capsys, name):
    folder = tmp_path / name
    folder.mkdir()
    if name == "broken":
        (folder / "runs.csv.gz").write_bytes(b"no gzip")
    assert main([str(folder), "--out", str(out_of(tmp_path / "out"))]) == 2
    assert capsys.readouterr().err.count("\n") == 1
