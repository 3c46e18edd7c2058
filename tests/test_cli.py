"""The command line: what it answers, and a sentence for every bad input."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from core.cli import app
from core.cli_options import OPTIONS
from core.scenario import PARTS, Scenario

ROOT = Path(__file__).parents[1]
ASK = ["--model", "llama 3.1 8b", "--gpu", "RTX 4090"]
SHORT = ["--model", "llama 3.3 70b", "--gpu", "RTX 3090", "--runtime", "vllm", "--quant", "F16"]


def run(*words: str) -> Any:
    result = CliRunner().invoke(app, list(words), terminal_width=100)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def said(*words: str) -> str:
    result = run(*words)
    assert result.exit_code == 0, result.stderr
    return str(result.stdout)


def shell(*words: str, **options: Any) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run([sys.executable, "-m", "core.cli", *words], text=True, capture_output=True, env=env, **options)


# ---------------------------------------------------------------- estimate


def test_estimate() -> None:
    text = said("estimate", *ASK, "--runtime", "llama.cpp", "--quant", "Q4_K_M", "--context", "8192")
    assert text.startswith("Llama-3.1-8B at Q4_K_M fits one RTX 4090")
    for word in (
        "8,064 tokens in, 128 out",
        "ranges: p10–p90",
        "corrected by measurements, version ",
        "weights",
        "KV cache",
        "needed now",
        "engine will take",
    ):
        assert word in text
    for word in ("peak", "headroom", "What holds it back", "memory bandwidth (weights)", "llama-server -m"):
        assert word in text
    assert "\x1b" not in text  # no colours in a pipe


def test_lines_fit_eighty_columns() -> None:
    text = said("estimate", *ASK, "--users", "4", "--context", "4096")
    before_command = text.split("Start it with")[0]
    assert max(map(len, before_command.splitlines())) <= 80


def test_offload_and_what_does_not_fit() -> None:
    offloaded = said("estimate", "-m", "llama 3.3 70b", "-g", "RTX 3090", "-q", "Q4_K_M", "--ram", "128")
    assert "Host memory" in offloaded and "stay in host memory" in offloaded
    short = said("estimate", *SHORT)
    assert "does not fit" in short and "short" in short
    assert "Start it with" not in short and "tok/s\n" not in short.split("What would fit")[0]


def answered(*words: str) -> dict[str, Any]:
    found = json.loads(said("estimate", *words, "--json"), parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert isinstance(found, dict)
    return found


METRICS = {
    "decode_toks_sec",
    "prefill_toks_sec",
    "ttft_ms",
    "tpot_ms",
    "latency_ms",
    "output_toks_sec",
    "total_toks_sec",
}


def test_json() -> None:
    found = answered(*ASK, "--count", "1", "--context", "8192", "--users", "2")
    assert found["feasibility"] == "in_vram" and found["reason_codes"] == []
    assert set(found["estimates"]) == METRICS | {"vram_peak_gb", "ram_peak_gb"}
    for name, spread in found["estimates"].items():
        assert spread["p50"] is not None
        assert name == "ram_peak_gb" or spread["p10"] < spread["p50"] < spread["p90"]
        assert ("p95" in spread) == (name in ("ttft_ms", "tpot_ms", "latency_ms"))
    assert found["recommended_configs"] == []
    assert found["label"] == f"corrected by measurements, version {found['correction_version']}"
    assert found["support"]["level"] in ("seen", "near", "far") and set(found["support"]["by"]) >= {"device", "model"}
    assert found["bottlenecks"][0] == max(found["bottleneck_shares"]["decode_step"].items(), key=lambda x: x[1])[0]
    for shares in found["bottleneck_shares"].values():
        assert sum(shares.values()) == pytest.approx(1.0, abs=1e-4)
    assert found["explanations"][0].startswith("Llama-3.1-8B")
    assert found["launch"].startswith("llama-server")
    assert found["estimates"]["decode_toks_sec"]["p50"] == pytest.approx(1000 / found["estimates"]["tpot_ms"]["p50"], rel=1e-4)
    assert Scenario.model_validate(found["scenario"]).workload.prompt_tokens == 8192 - 128
    device = found["memory"]["device"]
    now = sum(p["gb"] for p in device["parts"])
    assert now == pytest.approx(device["peak_gb"], rel=1e-4)


def test_analytic_is_uncorrected() -> None:
    found = answered(*ASK, "--analytic")
    assert found["label"] == "analytic, uncorrected" and found["correction_version"] is None and found["support"] is None
    assert all(spread["p50"] is not None and spread["p10"] is None and spread["p90"] is None for spread in found["estimates"].values())
    assert found["estimates"]["decode_toks_sec"]["p50"] != answered(*ASK)["estimates"]["decode_toks_sec"]["p50"]
    assert "analytic, uncorrected" in said("estimate", *ASK, "--analytic")


def test_json_of_what_does_not_fit() -> None:
    found = answered(*SHORT)
    assert found["feasibility"] == "insufficient_memory"
    assert found["reason_codes"][0] == "weights_exceed_device"
    assert all(found["estimates"][name]["p50"] is None for name in METRICS)
    assert found["bottlenecks"] == ["vram_capacity"]
    assert found["launch"] is None and found["money"] is None
    assert found["memory"]["device"]["headroom_gb"] < 0


def test_json_of_offload_and_of_unknown_numbers() -> None:
    found = answered("-m", "llama 3.3 70b", "-g", "RTX 3090", "-q", "Q4_K_M", "--ram", "128")
    assert found["feasibility"] == "with_offload" and found["bottlenecks"][0] == "vram_capacity"
    assert found["estimates"]["ram_peak_gb"]["p50"] > 10
    overloaded = answered(*ASK, "--request-rate", "1000")
    assert overloaded["estimates"]["ttft_ms"]["p50"] is None  # endless
    on_cpu = answered("-m", "tinyllama", "--cpu", "Ryzen 9 7950X")
    assert on_cpu["estimates"]["vram_peak_gb"]["p50"] == 0 and on_cpu["estimates"]["ram_peak_gb"]["p50"] > 0.5


def test_context_is_filled_by_the_prompt() -> None:
    def load(*words: str) -> dict[str, Any]:
        scenario = Scenario.model_validate(answered(*ASK, *words)["scenario"])
        return {**scenario.workload.model_dump(), "max_context": scenario.deployment.max_context}

    plain = load()
    assert (plain["prompt_tokens"], plain["output_tokens"], plain["max_context"]) == (512, 128, None)
    assert load("-c", "4096", "-o", "96", "--context-depth", "1000")["prompt_tokens"] == 3000
    assert load("-c", "4096", "-p", "100")["prompt_tokens"] == 100
    tiny = load("-c", "16")
    assert tiny["prompt_tokens"] + tiny["output_tokens"] == 16


def test_systems() -> None:
    found = answered("-m", "llama 3.1 8b", "--system", "dual-4090-epyc")
    assert found["scenario"]["system"]["count"] == 2
    mac = answered("-m", "llama 3.1 8b", "--system", "macbook-pro-m4-max", "-r", "mlx")
    assert mac["scenario"]["system"]["ram_gb"] > 0


def test_every_knob_has_an_option() -> None:
    assert {option.knob for option in OPTIONS} == {*PARTS, "model", "runtime", "backend", "runtime_version"}
    flags = [flag for option in OPTIONS for text in option.flags for flag in text.split("/")]
    assert len(flags) == len(set(flags))


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--context", "-5"], "--context must be 1 or more (it is -5)."),
        (["--prompt-tokens", "1000000000000"], "--prompt-tokens must be 100000000 or less (it is 1000000000000)."),
        (["--context", "1000000000000"], "--context must be 100000000 or less"),
        (["--context", "100", "-o", "200"], "--context 100 leaves no room for a prompt"),
        (["--context", "100", "-p", "200"], "Prompt, answer and depth need 328 tokens, more than --context 100"),
        (["--count", "0"], "--count must be 1 or more (it is 0)."),
        (["--users", "0"], "--users must be 1 or more"),
        (["--ram", "-5"], "--ram must be more than 0"),
        (["--ram", "nan"], "--ram must be"),
        (["--memory-fraction", "2"], "--memory-fraction must be 1"),
        (["--gpu-layers", "-1"], "--gpu-layers must be 0 or more"),
        (["--prefix-cached", "9999"], "--prefix-cached must not exceed --prompt-tokens."),
        (["--arrival", "open"], "An open-loop load needs --request-rate."),
        (["--arrival", "never"], "--arrival must be one of"),
        (["--split", "row"], "--split must be one of"),
        (
            ["-r", "vllm", "-n", "8", "--tp", "7"],
            "This split is not possible for meta-llama/Llama-3.1-8B: tensor parallel 7",
        ),
        (["-r", "vllm", "-n", "2", "--tp", "4"], "tensor × pipeline × data × context parallel"),
        (["-r", "vllm", "-n", "2", "--ep", "2"], "This split is not possible"),
        (["--dp", "2", "-n", "2"], "llama.cpp does not split by dp"),
        (["-r", "vllm", "-q", "Q4_K_M"], "vLLM does not run GGUF Q4_K_M"),
        (["-q", "Q99"], "No quantisation 'Q99'"),
        (["--kv-dtype", "zzz"], "No KV cache type 'zzz'"),
        (["-r", "nosuch"], "There is no runtime 'nosuch'"),
        (["-r", "mlx"], "MLX does not run on"),
        (["--backend", "foo"], "llama.cpp has no foo backend"),
        (["--link", "string"], "No link 'string'"),
        (["--system", "nosuch"], "No system 'nosuch'"),
        (["--gpu", "nosuch"], "No device 'nosuch'"),
        (["--model", "nosuch"], "No model 'nosuch'"),
        (["--model", "llama"], "'llama' names more than one model"),
    ],
)
def test_a_sentence_for_bad_input(words: list[str], sentence: str) -> None:
    for command in ("estimate", "explain"):
        result = run(command, *ASK, *words)
        assert result.exit_code == 2
        assert result.stdout == ""
        assert result.stderr.startswith(f"roofcast: {sentence}")
        assert result.stderr.count("\n") == 1 and result.stderr.rstrip()[-1] in ".?"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["estimate"], "Say which model with --model"),
        (["estimate", "-m", "llama 3.1 8b"], "Say which machine with --gpu, --cpu or --system"),
        (["explain", *ASK, "--number", "nosuch"], "This estimate has no number 'nosuch'; choose one of ttft, tpot"),
        (["hardware", "qqqqqqqqq"], "No device in the catalog"),
        (["models", "qqqqqqqqq"], "No model in the catalog"),
        (["predict", "nosuch.csv", "--out", "out.csv"], "There is no file nosuch.csv"),
        (["validate", "--analytic", "--runs", "nosuch.csv"], "There is no file nosuch.csv"),
        (["validate", "--runs", "nosuch.csv"], "A file of runs is judged by the analytic"),
    ],
)
def test_a_sentence_for_what_is_missing(words: list[str], sentence: str) -> None:
    result = run(*words)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"roofcast: {sentence}")


def test_typing_errors_in_options() -> None:
    result = run("estimate", *ASK, "--count", "many")
    assert result.exit_code == 2 and "--count" in result.stderr
    assert run("estimate", "--nosuch").exit_code == 2
    assert run("nosuch").exit_code == 2


# ---------------------------------------------------------------- explain


def test_explain() -> None:
    text = said("explain", *ASK)
    assert text.startswith("decode rate = ")
    assert "= 1 / per_token" in text and "[datasheet]" in text and "[model_config]" in text
    assert "time * learned_factor" in text and "[fitted]" in text and "assumed before" in text
    weights = said("explain", *ASK, "--number", "weights")
    assert (weights.startswith("weights = ") and "stored" in weights) or "bits" in weights
    assert "deeper parts are left out" in said("explain", *ASK, "--depth", "1")


def test_every_number_can_be_explained() -> None:
    listed = run("explain", *ASK, "--number", "?").stderr.split("choose one of ")[1].strip(" .\n").split(", ")
    assert {"decode_rate", "ttft", "weights", "kv_cache", "headroom", "host_needed", "usd_per_h", "decode_mfu"} <= set(listed)
    for name in listed:
        assert " = " in said("explain", *ASK, "--number", name, "--depth", "2")


# ---------------------------------------------------------------- lists


@pytest.mark.parametrize(
    ("command", "text", "first"),
    [
        ("hardware", "4090", "GeForce RTX 4090"),
        ("hardware", "m4 max", "Apple M4 Max"),
        ("models", "llama 3.1 8b", "meta-llama/Llama-3.1-8B"),
        ("models", "DeepSeek R1", "deepseek-ai/DeepSeek-R1"),
        ("runtimes", "llamacpp", "llama.cpp"),
        ("quants", "q4km", "Q4_K_M"),
    ],
)
def test_searches(command: str, text: str, first: str) -> None:
    assert said(command, text).splitlines()[1].startswith(first)
    found = json.loads(said(command, text, "--json"))
    listed = found["devices"] if command == "hardware" else found
    assert str(listed[0].get("name" if command in ("hardware", "runtimes") else "id")).startswith(first)


@pytest.mark.parametrize("command", ["models", "hardware", "runtimes", "quants"])
def test_lists(command: str) -> None:
    from core.catalog import hardware, models, quants, runtimes

    every = {
        "models": models.models,
        "hardware": hardware.devices,
        "runtimes": runtimes.runtimes,
        "quants": quants.quants,
    }
    found = json.loads(said(command, "--json"))
    listed = found["devices"] if command == "hardware" else found
    assert len(listed) == len(every[command]())
    assert len(said(command).splitlines()) > len(listed)
    assert json.loads(said(command, "qqqqqqqqqq", "--json")) in ([], {"devices": [], "systems": []})


def test_machines_are_listed() -> None:
    assert "dual-4090-epyc" in said("hardware", "4090")


# ---------------------------------------------------------------- runs


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A small file of measured runs in the corpus's columns."""
    rows = [
        {"source": "a", "model_id": "meta-llama/Llama-3.1-8B-Instruct", "gpu_name": "RTX 4090", "gpu_count": "1",
         "runtime": "llama.cpp", "quant": "Q4_K_M", "prompt_tokens": "512", "output_tokens": "128", "concurrency": "1",
         "decode_toks_sec": "130", "prefill_toks_sec": "9000"},
        {"source": "b", "model_id": "nobody/nothing-1B", "gpu_name": "RTX 4090", "gpu_count": "1", "runtime": "llama.cpp",
         "quant": "Q4_K_M", "prompt_tokens": "512", "output_tokens": "128", "concurrency": "1", "decode_toks_sec": "100",
         "prefill_toks_sec": ""},
    ]  # fmt: skip
    path = tmp_path / "runs.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def test_predict(runs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    assert "1 of 2 rows predicted" in said("predict", str(runs), "--out", str(out))
    first, second = csv.DictReader(out.open())
    assert float(first["pred_decode_toks_sec_p50"]) > 0 and first["error"] == ""
    assert second["error"].endswith(".") and second["pred_decode_toks_sec_p50"] == ""
    again = run("predict", str(out), "--out", str(tmp_path / "more.csv"))
    assert again.exit_code == 2 and "remove earlier predictions" in again.stderr


def test_validate(runs: Path) -> None:
    text = said("validate", "--analytic", "--runs", str(runs))
    assert text.startswith("1 of 2 rows judged; 0 left out by rule, 1 could not be predicted.")
    assert re.search(r"^decode +1 +\d+%", text, re.MULTILINE)
    found = json.loads(said("validate", "--analytic", "--runs", str(runs), "--json"))
    assert found["rows"] == 2 and found["by"]["metric"][0]["n"] == 1
    assert "| Metric | Runs |" in said("validate", "--analytic", "--runs", str(runs), "--markdown")


# ---------------------------------------------------------------- as a program


def test_nothing_heavy_is_imported() -> None:
    """So that help and lists answer at once."""
    code = "import sys; sys.argv = ['roofcast', {!r}]\ntry:\n import core.cli; core.cli.main()\nexcept SystemExit: pass\n"
    code += "print([m for m in {} if m in sys.modules])"
    heavy = ["streamlit", "pandas", "duckdb", "sklearn", "altair"]
    for word, modules in (("--help", [*heavy, "numpy", "pydantic"]), ("models", heavy), ("hardware", heavy)):
        out = subprocess.run([sys.executable, "-c", code.format(word, modules)], text=True, capture_output=True, cwd=ROOT, check=True)
        assert out.stdout.splitlines()[-1] == "[]"


def test_no_traceback_reaches_a_user(tmp_path: Path) -> None:
    result = shell("estimate", *ASK, "--count", "0", cwd=tmp_path)
    assert result.returncode == 2
    assert result.stdout == "" and result.stderr.startswith("roofcast: --count")


def test_a_closed_pipe_is_no_error() -> None:
    command = f"{sys.executable} -m core.cli models | head -1; echo ${{PIPESTATUS[0]}}"
    result = subprocess.run(["bash", "-c", command], text=True, capture_output=True, cwd=ROOT, check=True)
    assert result.stderr == ""
    assert result.stdout.splitlines()[-1] == "0"


def test_a_fault_is_one_sentence(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    import core.cli

    def fail() -> None:
        raise ZeroDivisionError("oh")

    monkeypatch.delenv("ROOFCAST_DEBUG", raising=False)
    with pytest.raises(SystemExit) as stopped:
        core.cli.main(fail)
    assert stopped.value.code == 1
    said = capsys.readouterr().err
    assert said.startswith("roofcast: This is a fault of Roofcast") and "Traceback" not in said


def test_ctrl_c_is_quiet(monkeypatch: pytest.MonkeyPatch) -> None:

    def interrupted(knobs: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("core.cli.read_scenario", interrupted)
    result = run("estimate", *ASK)
    assert result.exit_code == 130 and result.stdout == "" and "Traceback" not in result.stderr


def test_version() -> None:
    assert said("--version").startswith("roofcast")


# ---------------------------------------------------------------- documents


def documents() -> str:
    """What tells newcomers of the commands."""
    return "\n".join((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "docs/commands.md", "docs/recipes.md"))


def test_the_documents_name_every_command() -> None:
    readme = documents()
    commands = {command.name or command.callback.__name__ for command in app.registered_commands if command.callback}
    commands |= {str(group.name) for group in app.registered_groups}
    named = set(re.findall(r"\broofcast ([a-z][a-z-]*)\b", "\n".join(re.findall(r"`[^`]*`|```.*?```", readme, re.DOTALL))))
    assert named >= commands
    assert named <= commands | {"estimate"}


def test_the_documents_options_exist() -> None:
    for line in sorted(set(re.findall(r"^roofcast ([a-z]+ .*)$", documents(), re.MULTILINE))):
        command, *_ = line.split()
        shown = (shell if command == "bench" else run)(command, "--help").stdout  # the harness takes its process's place
        for flag in re.findall(r"(?<=\s)--[a-z-]+", line):
            assert flag in shown, f"{command} {flag}"


def test_the_documents_links_lead_somewhere() -> None:
    for page in ("README.md", "docs/commands.md", "docs/recipes.md"):
        for target, anchor in re.findall(r"\]\((?!http|/)([\w./-]*)(?:#([\w-]+))?\)", (ROOT / page).read_text(encoding="utf-8")):
            path = (ROOT / page).parent / target
            assert path.is_file(), f"{page}: {target}"
            if anchor:
                heads = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
                assert anchor in {re.sub(r"[^\w -]", "", head).strip().lower().replace(" ", "-") for head in heads}, f"{page}: {anchor}"


# ---------------------------------------------------------------- bundles


def test_a_result_goes_out_and_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    written = run("estimate", *ASK, "--bundle", str(path))
    assert written.exit_code == 0 and f"roofcast bundle {path}" in written.stderr
    assert "Every number is the same as in the file" in said("bundle", str(path))
    path.write_text(path.read_text(encoding="utf-8").replace('"p50": ', '"p50": 1'), encoding="utf-8")
    told = said("bundle", str(path))
    assert "numbers differ from those in the file" in told and "in the file" in told
    assert json.loads(said("bundle", str(path), "--json"))["same"] is False


@pytest.mark.parametrize(("name", "word"), [("none.json", "cannot be read"), ("README.md", "not JSON"), (".", "cannot be read")])
def test_no_bundle_gets_a_sentence(name: str, word: str) -> None:
    result = run("bundle", str(ROOT / name))
    assert result.exit_code == 2 and word in result.stderr and "Traceback" not in result.stderr
