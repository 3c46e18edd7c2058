"""`roofcast runs import`: what is taken, what is said, what is stored."""

import json

import pytest
from typer.testing import CliRunner

from core import upload_check
from core.cli import app
from core.queue import Queue
from core.this_machine import Gpu, MachineFacts, write_machine

SERVE = {"backend": "vllm", "model_id": "Qwen/Qwen3-8B", "num_prompts": 10, "request_rate": "inf", "max_concurrency": 2, "duration": 5.0,
         "completed": 10, "failed": 0, "total_input_tokens": 1000, "total_output_tokens": 500, "median_ttft_ms": 90.0}  # fmt: skip


@pytest.fixture(autouse=True)
def _home(tmp_path, monkeypatch):
    monkeypatch.setenv("ROOFCAST_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(upload_check, "_shipped_figures", dict)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "serve.json"
    path.write_text(json.dumps(SERVE))
    return str(path)


def said(*words, code=0):
    result = CliRunner().invoke(app, ["runs", *words])
    assert result.exit_code == code, result.stdout + result.stderr
    return result


def test_a_dry_run_stores_nothing(file):
    shown = said("import", file, "--dry-run", "--set", "gpu_name=H100 SXM").stdout
    assert "TTFT 90.0 ms" in shown and "2 users" in shown and "Nothing is stored" in shown
    assert not Queue().records()


def test_what_is_imported_is_listed_once_and_can_be_forgotten(file):
    told = ("--set", "gpu_name=H100 SXM", "--set", "gpu_count=1")
    stored = json.loads(said("import", file, *told, "--json").stdout)["stored"]
    assert len(stored) == 1 and "own runs" in said().stdout, "among the sources of runs"
    assert "0 new runs are stored, 1 were there before" in said("import", file, *told).stdout
    assert "1 run is deleted" in said("forget", *stored).stdout and not Queue().records()
    assert "None of these runs" in said("forget", *stored, code=2).stderr


def test_this_machine_says_where_it_ran(file):
    assert "roofcast bench machine" in said("import", file, "--this-machine", code=2).stderr
    write_machine(MachineFacts(cpu="Ryzen 9 7950X", ram_gb=64, gpus=(Gpu(name="NVIDIA GeForce RTX 4090", memory_gib=23.99),)))
    assert "rtx-4090" in said("import", file, "--this-machine", "--dry-run").stdout


def test_a_table_with_columns_of_its_own_is_read_and_what_cannot_be_waits_for_a_word(tmp_path):
    path = tmp_path / "mine.csv"
    rows = ("Qwen/Qwen3-8B;RTX 4090;llama.cpp;Q4_K_M;128;130,5", "Qwen/Qwen3-8B;RTX 4090;llama.cpp;Q4_K_M;128;900")
    path.write_text("\n".join(["Model;GPU;Engine;Quant;Output tokens;Tokens/s", *rows]))
    told = said("import", str(path)).stdout
    assert "comma is read as the decimal mark" in told and "1 new runs are stored" in told and "--confirm takes it" in told
    assert "1 new runs are stored, 1 were there before" in said("import", str(path), "--confirm").stdout
    assert [record.decode_toks_sec for record in Queue().records()] == [130.5, 900.0]


@pytest.mark.parametrize(
    ("words", "says"), [((), "on which machine"), (("--set", "gpu_name"), "COLUMN=VALUE"), (("--set", "speed=9"), "no column 'speed'")]
)
def test_what_cannot_be_taken_is_one_sentence(file, words, says):
    error = said("import", file, *words, code=2).stderr
    assert says in error and error.count("\n") == 1


def test_a_good_file_is_taken_beside_a_bad_one(file, tmp_path):
    (tmp_path / "bad.txt").write_text("hello")
    result = said("import", str(tmp_path / "bad.txt"), file, "--set", "gpu_name=H100 SXM", code=2)
    assert "1 new runs are stored" in result.stdout and "bad.txt has one column only" in result.stderr
