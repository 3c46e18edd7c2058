"""The run record: its schema, its name, and records of older versions."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from core.errors import RunError
from core.records import COLUMNS, NUMBER_COLUMNS, SCHEMA_VERSION, TEXT_COLUMNS, UPGRADES, RunRecord, read_record
from core.runs import INPUT_COLUMNS, METRIC_COLUMNS, REQUIRED_COLUMNS, read_run

ROW = {
    "model_id": "Qwen/Qwen3-8B",
    "quant": "FP8",
    "runtime": "vllm",
    "gpu_name": "H100 80GB SXM",
    "gpu_count": "1",
    "load_kind": "concurrency",
    "concurrency": "8",
    "prompt_tokens": "1024",
    "output_tokens": "256",
    "ttft_ms_p50": "91.5",
}


def test_a_record_holds_every_input_and_metric():
    assert set(INPUT_COLUMNS) | set(METRIC_COLUMNS) <= set(COLUMNS)
    assert {*TEXT_COLUMNS, *NUMBER_COLUMNS, "schema_version", "fit"} == set(COLUMNS)


def test_the_row_of_a_plain_table_reads_as_its_scenario_does():
    record = read_record({**ROW, "remark": "of no column"})
    assert record.schema_version == SCHEMA_VERSION and record.source == "own runs"
    assert read_run(record.model_dump()).scenario == read_run(ROW).scenario


def test_records_are_immutable():
    record = read_record(ROW)
    with pytest.raises(ValidationError, match="frozen"):
        record.decode_toks_sec = 1.0  # type: ignore[misc]


def test_the_name_is_the_content():
    one = read_record(ROW)
    assert one.run_id == read_record({**ROW, "ttft_ms_p50": 91.50}).run_id  # text or number, the same figure
    assert one.run_id == read_record({**ROW, "source_path": "elsewhere", "quality_tier": "C"}).run_id
    assert one.run_id != read_record({**ROW, "source": "another"}).run_id
    assert one.run_id == "b03f87e7ab4cf1b3", "the hash of shipped records must not change: it names them in corrections and fits"
    assert read_record(one.model_dump()) == one


def test_a_failure_is_another_run():
    nothing = {**ROW, "ttft_ms_p50": ""}
    assert read_record({**nothing, "failure": "timeout"}).run_id != read_record(nothing).run_id


def test_a_name_that_does_not_fit_is_refused():
    changed = {**read_record(ROW).model_dump(), "ttft_ms_p50": 50.0}
    with pytest.raises(RunError, match="does not fit"):
        read_record(changed)


@given(st.sampled_from([*(set(METRIC_COLUMNS) | {"concurrency", "prompt_tokens"})]), st.floats(0.001, 1e6))
def test_every_figure_changes_the_name(column, amount):
    other = read_record({**ROW, column: amount})
    same = getattr(read_record(ROW), column) == amount
    assert (other.run_id == read_record(ROW).run_id) == same


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"decode_toks_sec": "fast"}, "decode_toks_sec"),
        ({"decode_toks_sec": -1}, "decode_toks_sec"),
        ({"decode_toks_sec": float("inf")}, "decode_toks_sec"),
        ({"quality_tier": "best"}, "quality_tier"),
        ({"failure": "bad luck"}, "failure"),
        ({"schema_version": 99}, "newer"),
        ({"schema_version": "soon"}, "whole number"),
        ({"schema_version": 1, "source": ""}, "source"),
        ({"schema_version": 1, "source": "x", "no_such_column": 1}, "no_such_column"),
    ],
)
def test_what_is_no_record_says_why(change, says):
    with pytest.raises(RunError, match=says):
        read_record({**ROW, **change})


def test_older_versions_go_through_every_upgrade():
    """Made-up versions before the first, whose column was renamed twice."""

    def first(row):
        return {**{k: v for k, v in row.items() if k != "speed"}, "rate": row["speed"], "schema_version": -1}

    def second(row):
        return {**{k: v for k, v in row.items() if k != "rate"}, "decode_toks_sec": row["rate"], "schema_version": 0}

    upgrades = {-2: first, -1: second, **UPGRADES}
    record = read_record({**ROW, "speed": "42", "schema_version": -2}, upgrades)
    assert record.decode_toks_sec == 42.0 and record.schema_version == SCHEMA_VERSION
    with pytest.raises(RunError, match="which nothing reads"):
        read_record({**ROW, "schema_version": -3}, upgrades)


def test_a_plain_table_needs_no_more_than_runs_do():
    needed = {pair[0]: ROW.get(pair[0], "RTX 4090") for pair in REQUIRED_COLUMNS}
    assert read_record(needed).run_id
    assert RunRecord(source="x").fit
