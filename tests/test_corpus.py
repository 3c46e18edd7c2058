"""Views over run files where they stand: what reads, what is skipped by name, and what the views say."""

import json
import threading

import pandas as pd
import pytest

from core.corpus import SHIPPED, memory_points, open_corpus, runs_table, user_folder
from core.corpus_views import VIEWS
from core.errors import RunError
from core.records import COLUMNS, read_record
from core.run_files import write_records
from core.run_sources import read_sources
from core.runs import read_run

ROW = {
    "source": "ours",
    "origin": "us",
    "model_id": "Qwen/Qwen3-8B",
    "quant": "FP8",
    "runtime": "vllm",
    "gpu_name": "H100 80GB SXM",
    "gpu_count": "1",
    "load_kind": "concurrency",
    "concurrency": "8",
    "prompt_tokens": "1024",
    "output_tokens": "256",
    "tpot_ms_p50": "9",
    "schema_version": "1",
}
CSV_HEAD = "model_id,gpu_name,runtime,quant,prompt_tokens,output_tokens,concurrency,decode_toks_sec\n"


def put(folder, *changes, name="runs.parquet", **more):
    """Writes records of ROW with changes to a file of Parquet."""
    from core.scenario_id import identified

    folder.mkdir(exist_ok=True, parents=True)
    rows = [{**ROW, **more, **change} for change in changes]
    names = [{k: v for k, v in identified(row).items() if k != "why"} for row in rows]
    records = [read_record({**row, **name}) for row, name in zip(rows, names, strict=True)]
    write_records(folder / name, records)
    return records


@pytest.fixture(scope="module")
def shipped():
    corpus = open_corpus([SHIPPED])
    yield corpus
    corpus.close()


def test_nothing_is_no_error(tmp_path):
    corpus = open_corpus([tmp_path, tmp_path / "missing"])
    assert corpus.files == [] and corpus.problems == []
    for view in VIEWS:
        assert corpus.table(view).empty, view
    assert list(runs_table(corpus).columns) == list(COLUMNS)
    assert memory_points(corpus) == []


def test_an_unknown_view_is_named(tmp_path):
    with pytest.raises(RunError, match="no view 'nonsense'"):
        open_corpus([tmp_path]).table("nonsense")


def test_parquet_csv_and_jsonl_join_by_name(tmp_path):
    put(tmp_path / "a", {})
    (tmp_path / "b.csv").write_text(CSV_HEAD + "Qwen/Qwen3-8B,RTX 4090,llama.cpp,Q4_K_M,512,128,1,99\n")
    plain = {"model_id": "Qwen/Qwen3-8B", "gpu_name": "RTX 3090", "runtime": "llama.cpp", "decode_toks_sec": 80}
    record = read_record({**ROW, "tpot_ms_p50": 10})
    (tmp_path / "c.jsonl").write_text(json.dumps(plain) + "\n\n" + record.model_dump_json() + "\n")
    corpus = open_corpus([tmp_path])
    table = runs_table(corpus)
    assert corpus.problems == [] and len(corpus.files) == 3
    assert sorted(table["source"]) == ["ours", "ours", "own runs", "own runs"]
    assert set(table["device"]) == {"h100-sxm5-80gb", "rtx-4090", "rtx-3090"}  # resolved where the file did not


def test_broken_files_are_named_and_the_rest_reads(tmp_path):
    put(tmp_path / "good", {})
    whole = (tmp_path / "good" / "runs.parquet").read_bytes()
    for name, raw in {
        "cut.parquet": whole[: len(whole) // 2],
        "flipped.parquet": whole[:300] + bytes(b ^ 0xFF for b in whole[300:900]) + whole[900:],
        "empty.parquet": b"",
        "broken.jsonl": b'{"model_id": ',
        "list.jsonl": b"[1, 2]\n",
        "binary.csv": b"\xff\xfe\x00",
        "bad.csv": (CSV_HEAD + "Qwen/Qwen3-8B,RTX 4090,vllm,FP8,512,128,1,fast\n").encode(),
        "future.jsonl": json.dumps({**ROW, "schema_version": 7}).encode(),
    }.items():
        (tmp_path / "bad").mkdir(exist_ok=True)
        (tmp_path / "bad" / name).write_bytes(raw)
    corpus = open_corpus([tmp_path])
    assert len(runs_table(corpus)) == 1
    named = sorted(text.split(" in bad")[0] for text in corpus.problems)
    assert named == sorted(p.name for p in (tmp_path / "bad").iterdir())
    assert all(text.count("\n") == 0 and text.endswith(".") for text in corpus.problems)


def test_a_parquet_file_of_other_columns_is_read_as_rows(tmp_path):
    """A file that is no record table (a plain export, with a column of its own) goes through the upgrades."""
    pd.DataFrame([{"model_id": "Qwen/Qwen3-8B", "gpu_name": "RTX 4090", "runtime": "vllm", "mine": 1}]).to_parquet(tmp_path / "x.parquet")
    assert runs_table(open_corpus([tmp_path]))["device"].to_list() == ["rtx-4090"]


def test_hidden_and_temporary_files_are_passed_over(tmp_path):
    (tmp_path / ".runs.parquet.tmp").write_bytes(b"half")
    (tmp_path / ".half.parquet").write_bytes(b"half")
    corpus = open_corpus([tmp_path])
    assert corpus.files == [] and corpus.problems == []


def test_the_users_folder_joins_in(tmp_path, monkeypatch):
    monkeypatch.setenv("ROOFCAST_HOME", str(tmp_path))
    assert user_folder() == tmp_path / "runs"
    put(tmp_path / "runs", {"source": "my machine"})
    assert "my machine" in set(open_corpus().cursor().execute("select distinct source from runs").df()["source"])


def test_a_correction_replaces_its_record_and_a_copy_counts_once(tmp_path):
    (old,) = put(tmp_path / "a", {})
    put(tmp_path / "copy", {})
    put(tmp_path / "b", {"tpot_ms_p50": "8", "corrects": old.run_id})
    corpus = open_corpus([tmp_path])
    assert runs_table(corpus)["tpot_ms_p50"].to_list() == [8.0]


def test_conflicts_need_two_origins_and_say_how_far_apart(tmp_path):
    put(tmp_path / "a", {}, {"tpot_ms_p50": "9.2"}, {"source": "same people", "tpot_ms_p50": "12"})
    assert open_corpus([tmp_path]).table("conflicts").empty
    put(tmp_path / "b", {"source": "others", "origin": "they", "gpu_name": "NVIDIA H100 SXM5 80GB", "tpot_ms_p50": "18.4"})
    found = open_corpus([tmp_path]).table("conflicts")
    assert found["metric"].to_list() == ["tpot"]
    assert found["spread"][0] == pytest.approx(18.4 / 9.2 - 1)  # of medians by origin
    assert list(found["who"][0]) == ["they", "us"]


def test_latest_is_the_newest_of_each_origin(tmp_path):
    put(tmp_path / "a", {"run_date": "2025-01"}, {"run_date": "2026-02", "tpot_ms_p50": "7"}, {"run_date": "", "tpot_ms_p50": "6"})
    assert open_corpus([tmp_path]).table("latest")["tpot_ms_p50"].to_list() == [7.0]


def test_repeats_are_equal_in_every_input(tmp_path):
    put(tmp_path / "a", {}, {"tpot_ms_p50": "10"}, {"tpot_ms_p50": "11", "prompt_tokens": "1025"})
    found = open_corpus([tmp_path]).table("repeats")
    assert found["runs"].to_list() == [2]
    assert found["spread"][0] == pytest.approx(10 / 9 - 1)


def test_sessions_read_side_by_side(shipped):
    expected = shipped.cursor().execute("select count(*) from runs").fetchall()
    wrong = []

    def ask():
        cursor = shipped.cursor()
        wrong.extend(1 for _ in range(5) if cursor.execute("select count(*) from runs").fetchall() != expected)

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


# ---- What is shipped


def test_the_shipped_corpus_reads_whole(shipped):
    assert shipped.problems == []
    table = runs_table(shipped)
    assert len(table) > 20_000 and table["run_id"].is_unique
    assert len(memory_points(shipped)) > 1_000
    assert (table["fit"] == (table["fit_reason"] == "")).all()


def test_every_shipped_row_has_its_source_and_a_licence_that_lets_it_ship(shipped):
    named = {name for source in read_sources(SHIPPED).values() for name in source.names}
    found = shipped.cursor().execute("select distinct source, licence from records").df()
    assert set(found["source"]) <= named
    assert not found["licence"].str.contains(r"(?i)BY-ND|BY-NC|site terms").any()
    assert found["licence"].ne("").all()


def test_no_sentence_of_others_is_shipped(shipped):
    """Names and launch facts only: none is longer than a name may be."""
    records = shipped.table("records")
    assert records["notes"].dropna().str.len().max() < 250
    assert records["runtime_version"].dropna().str.len().max() < 150
    assert records["model_name_raw"].dropna().str.len().max() < 100


def test_resolved_names_are_those_of_today(shipped):
    """The columns that hold the catalog's ids follow the catalog; after a change of it: python -m harness.import_corpus."""
    from core.scenario_id import NAMES, identified

    table = runs_table(shipped).sample(400, random_state=3)
    for row in table.to_dict("records"):
        now = identified(row)
        assert {name: row[name] for name in NAMES} == {name: now[name] for name in NAMES}, row["run_id"]


def test_a_row_reads_as_a_scenario(shipped):
    row = runs_table(shipped).query("scenario_id != ''").iloc[0].to_dict()
    assert read_run(row).scenario.model == row["model"]


def test_a_run_that_failed_is_no_measurement(tmp_path):
    put(tmp_path, {}, {"tpot_ms_p50": "", "failure": "out_of_memory"})
    corpus = open_corpus([tmp_path])
    assert len(corpus.table("runs")) == 1 and list(corpus.table("failures")["failure"]) == ["out_of_memory"]
    assert corpus.table("coverage")["runs"].sum() == 1
