"""Studies run to signed run files and the user's own runs: resumed, skipped, failed, and their expectations tested."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fake_programs import install, path_with
from typer.testing import CliRunner

from core.corpus import open_corpus, user_folder
from core.errors import RunError
from core.importers import import_bytes
from core.queue import Queue
from core.records import read_record
from core.resolve import find_model
from core.run_artifact import Noise, RunFile
from core.this_machine import MachineFacts, write_machine
from harness.cli import app
from harness.engines import Point
from harness.expectations import KINDS, verdicts
from harness.stats import Repeats
from harness.study import Expectation, Study, key_of, names, read_study
from harness.sweep import Account, Options, figures, finished_runs, latest, path_of, run_points, skips

ROOT = Path(__file__).resolve().parents[1]
FACTS = MachineFacts(os="Linux", cpu="Ryzen 9 7950X", cores=2, threads=2, ram_gb=64, machine="0123456789abcdef", engines={"vllm": "0.11"})
CELLS = {
    "engine": "llama-bench",
    "model_id": "TinyLlama/TinyLlama-1.1B-Chat-v1.0",
    "quant": "Q8_0",
    "prompt_tokens": 64,
    "output_tokens": 16,
}


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("programs")
    install(folder)
    return folder


@pytest.fixture(autouse=True)
def home(programs, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", path_with(programs))
    monkeypatch.setenv("ROOFCAST_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def gguf(tmp_path):
    path = tmp_path / "TinyLlama-1.1B-Chat-v1.0-synthetic-Q8_0.gguf"
    path.write_bytes(b"GGUF")
    return str(path)


def options(**more):
    return Options(repeats=Repeats(3, 3), look_s=0.0, **more)


def points(gguf, *changes):
    made = [{**CELLS, "file": gguf, **change} for change in changes]
    return [Point("small", key_of(cells), cells) for cells in made]


def test_points_become_signed_runs_and_join_the_users_own(gguf, home):
    todo = points(gguf, {"threads": 1}, {"threads": 2, "context_depth": 128})
    heard = []
    account = run_points(todo, FACTS, options(tell=lambda event, text: heard.append(event)))
    assert account == Account(done=[point.key for point in todo]) and heard == ["starts", "done"] * 2
    run = finished_runs("small")[0]
    prefill, decode, *memory = run.records
    assert (prefill.model, prefill.engine, prefill.backend, prefill.scheme) == (CELLS["model_id"], "llama.cpp", "cpu", "Q8_0")
    assert prefill.device == "ryzen-9-7950x" and prefill.machine == FACTS.machine and prefill.source == "own runs"
    assert prefill.prefill_toks_sec and decode.decode_toks_sec and prefill.notes == "random weights"
    assert [record.memory_kind for record in memory] in ([], ["ram_peak"])
    assert run.tool == "llama-bench" and len(run.repeats["decode_toks_sec"]) == 3 and run.telemetry["host.ram_used_gib"]["max"] > 0
    corpus = open_corpus([user_folder()])
    assert not corpus.problems and len(corpus.table("runs")) == 4 and Queue().waiting() == 0
    text = latest(todo[0]).read_text()
    assert str(Path(gguf).parent) not in text
    assert run.predicted["decode_toks_sec"] > 0 and " predicted)" in figures(run), "what was said before stands beside what was found"


def test_a_run_file_is_imported_as_it_was_signed(gguf):
    todo = points(gguf, {})
    run_points(todo, FACTS, options(store=False))
    raw = latest(todo[0]).read_bytes()
    found = import_bytes(raw, "one.run")
    assert found.kind == "run file" and [r.run_id for r in found.records] == [r.run_id for r in finished_runs("small")[0].records]
    assert found.records[0].source_path.endswith(f"signed by {found.signer}") and Queue().put(found.records).taken
    with pytest.raises(RunError, match="something in it was changed"):
        import_bytes(raw.replace(b"Q8_0", b"Q4_0", 1), "one.run")


def test_a_point_that_is_wrong_leaves_the_others(gguf):
    todo = points(gguf, {"file": "", "threads": 3}, {"threads": 1})
    account = run_points(todo, FACTS, options())
    assert list(account.skipped) == [todo[0].key] and "needs file" in account.skipped[todo[0].key] and account.done == [todo[1].key]


def test_what_is_done_is_left(gguf):
    todo = points(gguf, {})
    run_points(todo, FACTS, options())
    again = run_points(todo, FACTS, options())
    assert again.before == [todo[0].key] and not again.done
    assert run_points(todo, FACTS, options(again=True)).done and len(finished_runs("small")) == 1
    assert len(list(path_of(todo[0]).parent.glob("*.run"))) == 2, "files are never written over"


def test_a_failure_is_data_and_can_be_tried_again(gguf, monkeypatch):
    todo = points(gguf, {})
    monkeypatch.setenv("FAKE_FAILS", "ggml: failed to allocate buffer of size 9000000000")
    account = run_points(todo, FACTS, options())
    assert account.failed == {todo[0].key: "out_of_memory"}
    run = finished_runs("small")[0]
    assert run.records[0].failure == "out_of_memory" and "failed to allocate" in run.error and not run.records[0].fit
    assert len(open_corpus([user_folder()]).table("failures")) == 1
    assert run_points(todo, FACTS, options()).before, "it is not tried again by itself"
    monkeypatch.delenv("FAKE_FAILS")
    assert run_points(todo, FACTS, options(retry=True)).done
    (run,) = finished_runs("small")
    assert not run.records[0].failure, "what was measured later takes the failure's place"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"model_id": "meta-llama/Llama-3.1-405B-Instruct", "engine": "llama-bench"}, "predicted not to fit"),
        ({"model_id": "NoSuch-7X"}, "No model 'NoSuch-7X'"),
        ({"file": "missing.gguf"}, "there is no file missing.gguf"),
        ({"engine": "ollama", "url": ""}, "no Ollama answers"),
        ({"engine": "openai", "url": "http://gpu-box:8000", "runtime": "vllm"}, "on another machine"),
        ({"kv_dtype": "q17"}, "q17"),
    ],
)
def test_what_cannot_run_says_why(gguf, change, why):
    (point,) = points(gguf, {"model_name_raw": "", **change})
    assert why in skips(point, FACTS)
    assert run_points([point], FACTS, options()).skipped


def test_force_runs_what_is_predicted_not_to_fit(gguf):
    (point,) = points(gguf, {"model_id": "meta-llama/Llama-3.1-405B-Instruct"})
    assert skips(point, FACTS) and not skips(point, FACTS, force=True)


def test_a_noisy_machine_is_flagged_not_trusted(gguf, monkeypatch):
    monkeypatch.setattr(
        "harness.sweep.NoiseWatch.found", lambda self, spread: Noise(steal=0.2, flags=("the host took away 20% of the time",))
    )
    run_points(points(gguf, {}), FACTS, options())
    record = finished_runs("small")[0].records[0]
    assert not record.fit and "noisy machine: the host took away 20%" in record.sanity_flag


def test_ctrl_c_leaves_nothing_and_the_next_call_goes_on(gguf, home, tmp_path):
    """The harness is interrupted while an engine hangs: no process stays, no half file, and what was done is done."""
    write_machine(FACTS)
    (tmp_path / "slow").mkdir()
    slow = tmp_path / "slow" / "llama-bench"
    slow.write_text(f"#!{sys.executable}\nimport os, time\nopen({str(tmp_path / 'pid')!r} + '~', 'w').write(str(os.getpid()))\n"
                    f"os.rename({str(tmp_path / 'pid')!r} + '~', {str(tmp_path / 'pid')!r})\ntime.sleep(600)\n")  # fmt: skip
    slow.chmod(0o755)
    words = ["one", "llama-bench", "--set", f"program={slow}", "--set", f"file={gguf}", "--set", f"model_id={CELLS['model_id']}"]
    harness = subprocess.Popen(
        [sys.executable, "-m", "harness", *words], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # whoever started the tests may have it ignored
    )  # fmt: skip
    for _ in range(12_000):
        if (tmp_path / "pid").exists() or harness.poll() is not None:
            break
        time.sleep(0.01)
    os.kill(harness.pid, signal.SIGINT)
    _, err = harness.communicate(timeout=120)
    assert harness.returncode == 130 and "Traceback" not in err, err
    pid = int((tmp_path / "pid").read_text())
    for _ in range(6000):
        if not Path(f"/proc/{pid}").exists():
            break
        time.sleep(0.01)
    assert not Path(f"/proc/{pid}").exists() and not list((home / "bench").rglob("*"))


# ---- studies


def test_shipped_studies_are_whole():
    assert len(names()) == 9
    for name in names():
        study = read_study(name)
        found = study.points()
        assert found and study.expect and len({point.key for point in found}) == len(found)
        for point in found:
            find_model(point.text("model_id"))
        assert {expected.kind for expected in study.expect} <= set(KINDS), name


def test_a_points_name_hangs_on_its_cells_not_on_folders():
    assert key_of({**CELLS, "file": "a/m.gguf"}) == key_of({**CELLS, "file": "b/m.gguf"}) != key_of({**CELLS, "file": "b/n.gguf"})
    assert key_of(CELLS) != key_of({**CELLS, "threads": 3})


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("title = 1", "title"),
        ('title = "t"\nobjective = "o"\n[[matrix]]\nengine = "nothing"', "no engine 'nothing'"),
        ('title = "t"\nobjective = "o"\n[[matrix]]\nspeed = 1', "no cell 'speed'"),
        ('title = "t"\nobjective = "o"\n[[matrix]]\nfile = "{size}.gguf"', "names 'size'"),
        ("title = ", "cannot be read"),
    ],
)
def test_a_wrong_study_is_one_sentence(tmp_path, text, says):
    path = tmp_path / "s.toml"
    path.write_text(text)
    with pytest.raises(RunError, match=says) as error:
        read_study(str(path)).points()
    assert "\n" not in str(error.value)


# ---- expectations


def made(memory=(), extra=None, **cells):
    row = {"model_id": "mistralai/Mistral-7B-Instruct-v0.2", "gpu_name": "H100 SXM", "runtime": "vllm", "quant": "FP16", **cells}
    from core.importers import finished

    first = finished({"latency_ms_p50": 1, "prompt_tokens": 512, "output_tokens": 128, **row}, {}, "x")
    if row.get("failure"):
        first = read_record({**first.model_dump(exclude={"run_id"}), "latency_ms_p50": None})
    rest = [finished({**row, "memory_kind": kind, "memory_gib": gib, "context_tokens": context}, {}, "x") for kind, gib, context in memory]
    return RunFile(records=(first, *rest), started="2026-11-21T10:00:00", seconds=1.0, tool="t", extra=extra or {})


def verdict(kind, files, **limits):
    study = Study(name="s", title="t", objective="o", matrix=[{}], expect=[Expectation(kind=kind, says="It is so.", figures=limits)])
    (found,) = verdicts(study, files)
    return found


def test_the_cache_is_linear_in_the_context():
    """Mistral 7B: 32 layers × 2 × 8 heads × 128 × 2 bytes = 131,072 bytes a token."""
    per_token = 131072 / 2**30
    good = [made([("kv_buffer", n * per_token, n)], prompt_tokens=n) for n in (512, 1024, 4096)]
    assert verdict("kv_linear", good).holds is True
    assert verdict("kv_linear", good[:2]).holds is None
    fat = [made([("kv_buffer", 1.2 * n * per_token, n)], prompt_tokens=n) for n in (512, 1024, 4096)]
    assert verdict("kv_linear", fat).holds is False and "131,072" in verdict("kv_linear", fat).told[0]


def test_overhead_grows_with_the_logarithm_of_the_batch():
    import math

    def of(grow):
        return [made([("compute_buffer", grow(b), 0)], concurrency=b) for b in (1, 2, 4, 8, 16)]

    assert verdict("overhead_log_batch", of(lambda b: 1 + 0.1 * math.log2(b))).holds is True
    assert verdict("overhead_log_batch", of(lambda b: 1 + 0.1 * b)).holds is False
    assert verdict("overhead_log_batch", of(lambda b: 1.0)).holds is False, "it does not grow at all"


def test_weights_of_a_quantisation():
    files = [made([("weights_buffer", 13.5, 0)]), made([("weights_buffer", 3.9, 0)], quant="AWQ")]
    assert verdict("weights_ratio", files, schemes=["AWQ"], ratio=0.28, tolerance=0.1).holds is True
    assert verdict("weights_ratio", files, schemes=["AWQ"], ratio=0.5, tolerance=0.1).holds is False
    assert verdict("weights_ratio", files, schemes=["GPTQ"], ratio=0.28).holds is None


def test_tensor_parallel_gains_less_and_less():
    good = [made(tp=tp, gpu_count=tp, output_toks_sec=speed, concurrency=8) for tp, speed in ((1, 100), (2, 180), (4, 300))]
    found = verdict("tp_efficiency", good)
    assert found.holds is True and "TP 4 75%" in found.told[0]
    assert verdict("tp_efficiency", [good[0], made(tp=2, gpu_count=2, output_toks_sec=230, concurrency=8)]).holds is False


def test_all_experts_are_held():
    mixtral = {"model_id": "mistralai/Mixtral-8x7B-Instruct-v0.1", "quant": "BF16", "tp": 2, "gpu_count": 2}
    assert verdict("experts_in_memory", [made([("weights_buffer", 43.5, 0)], **mixtral)]).holds is True
    assert verdict("experts_in_memory", [made([("weights_buffer", 12.0, 0)], **mixtral)]).holds is False


def test_what_was_predicted_to_fit_fits():
    assert verdict("fits_as_predicted", [made()]).holds is True and verdict("fits_as_predicted", []).holds is None
    assert verdict("fits_as_predicted", [made(), made(failure="out_of_memory")]).holds is False
    assert verdict("fits_as_predicted", [made(), made(failure="timeout")]).holds is True


def test_runtimes_side_by_side():
    files = [made([("compute_buffer", 1.0, 0)], output_toks_sec=50), made([("compute_buffer", 0.3, 0)], runtime="llama.cpp", quant="F16")]
    found = verdict("runtimes_differ", files)
    assert found.holds is True and len(found.told) == 2 and "1.07 GB beyond" in found.told[0]


# ---- the command


def said(*words, code=0):
    result = CliRunner().invoke(app, list(words))
    assert result.exit_code == code, result.stdout + result.stderr
    return result


def test_bench_lists_engines_and_studies():
    shown = said("--list").stdout
    assert "llama-server" in shown and "Sequence length: 22 points" in shown and "no Ollama answers" in shown


def test_bench_run_report_and_verify(gguf, tmp_path, home):
    write_machine(FACTS)
    study = tmp_path / "tiny.toml"
    study.write_text(f'title = "Tiny"\nobjective = "o"\n[[matrix]]\nfile = "{gguf}"\nthreads = [1, 2]\n'
                     + "\n".join(f"{name} = {json.dumps(cell)}" for name, cell in CELLS.items())
                     + '\n[[expect]]\nkind = "fits_as_predicted"\nsays = "It fits."\n')  # fmt: skip
    assert said("run", str(study), "--dry-run").stdout.count("would run") == 2
    assert "1 measured" in said("run", str(study), "--repeats", "3", "--only", "threads=1").stdout
    assert "1 measured, 0 failed, 0 skipped, 1 were done before" in said("run", str(study), "--repeats", "3").stdout
    report = said("report", str(study)).stdout
    assert "2 of 2 points have runs" in report and "It fits. It holds." in report
    assert json.loads(said("report", str(study), "--json").stdout)["expected"][0]["holds"] is True
    files = [str(path) for path in (home / "bench" / "tiny").glob("*.run")]
    assert said("verify", *files).stdout.count("unchanged, signed by you") == 2
    os.chmod(files[0], 0o644)
    raw = Path(files[0]).read_bytes()
    Path(files[0]).write_bytes(raw.replace(b"Q8_0", b"Q4_0", 1))
    assert "something in it was changed" in said("verify", *files, code=1).stderr


def test_bench_says_what_is_wrong():
    assert "no study 'nothing'" in said("run", "nothing", code=2).stderr
    assert "no NAME=VALUE" in said("one", "llama-bench", "--set", "threads", code=2).stderr
    assert "no cell 'speed'" in said("one", "llama-bench", "--set", "speed=1", code=2).stderr
    assert "No point of synthetic is left" in said("run", "synthetic", "--only", "threads=99", code=2).stderr


def test_bench_machine_is_stored_and_can_be_set_by_hand(home):
    shown = said("machine", "--set", "cpu=AMD EPYC 9354", "--set", "gpu=RTX 4090", "--set", "gpu_count=2").stdout
    assert "As a system: device GeForce RTX 4090, count 2" in shown and (home / "machine.json").exists()
