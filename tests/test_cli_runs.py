"""`roofcast runs`: sources with licences, disagreements, coverage."""

import json

import pytest
from typer.testing import CliRunner

from core.cli import app


@pytest.fixture(autouse=True)
def _no_runs_of_ones_own(tmp_path, monkeypatch):
    monkeypatch.setenv("ROOFCAST_HOME", str(tmp_path))


def said(*words):
    result = CliRunner().invoke(app, ["runs", *words])
    assert result.exit_code == 0, result.stderr
    return result


def test_every_source_shows_its_rows_and_licence():
    sources = json.loads(said("--json").stdout)
    assert len(sources) > 50
    for source in sources:
        assert source["licence"] and source["url"].startswith("https://") and source["method"], source["source"]
        assert source["runs"] + source["memory_points"] > 0 and source["fitted"] <= source["runs"]
    assert "BSD-3-Clause" in said().stdout


def test_disagreements_are_between_independent_people():
    for line in json.loads(said("--conflicts", "--json").stdout):
        assert len(set(line["who"])) > 1
        assert line["highest"] >= line["lowest"] and line["spread"] == pytest.approx(line["highest"] / line["lowest"] - 1)


def test_coverage_counts_every_run_once():
    covered = sum(line["runs"] for line in json.loads(said("--coverage", "--json").stdout))
    listed = sum(source["runs"] for source in json.loads(said("--json").stdout))
    assert 0.98 * listed < covered <= listed  # what is no scenario of the catalog covers nothing
    assert "more; --json lists them all" in said("--coverage").stdout


def test_runs_of_ones_own_join_in_and_a_broken_file_is_named(tmp_path):
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "mine.csv").write_text("model_id,gpu_name,runtime,decode_toks_sec\nQwen/Qwen3-8B,RTX 4090,llama.cpp,99\n")
    (tmp_path / "runs" / "broken.parquet").write_bytes(b"PAR1")
    result = said()
    assert "own runs" in result.stdout and "your own" in result.stdout
    assert "broken.parquet" in result.stderr and result.stderr.count("\n") == 1
