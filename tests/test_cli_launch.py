"""`roofcast parse`: what it prints for people and programs, and that it answers on the machine that is named."""

from __future__ import annotations

import json
from typing import Any

from typer.testing import CliRunner

from core.cli import app
from core.cli_launch import asked
from core.launch_parse import parse

COMMAND = "vllm serve Qwen/Qwen3-32B -tp 2 --max-model-len 32k --host 0.0.0.0 --foo --async-scheduling"


def run(*words: str, stdin: str | None = None) -> Any:
    result = CliRunner().invoke(app, ["parse", *words], input=stdin, terminal_width=100)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_every_word_is_accounted_for() -> None:
    text = run(COMMAND).stdout
    for line in (
        "--model              Qwen/Qwen3-32B",
        "--context            32000",
        "--tp                 2",
        "--count              2",
        "  --async-scheduling: no part of the estimate",
        "Without effect on memory or speed: --host",
        "Unknown, and so left out: --foo",
        "  vllm serve Qwen/Qwen3-32B --tensor-parallel-size 2 --max-model-len 32000",
    ):
        assert line in text.split("\n")


def test_json_from_standard_input() -> None:
    found = json.loads(run("-", "--json", stdin="export OLLAMA_NUM_PARALLEL=2\nollama run llama3.1:8b\n").stdout)
    assert found["scenario"] == {"runtime": "ollama", "max_sequences": 2, "model": "meta-llama/Llama-3.1-8B"}
    assert found["unknown"] == [] and found["command"].startswith("export OLLAMA_NUM_PARALLEL=2\nollama serve &")


def test_the_command_sets_the_layout_and_the_options_the_machine_and_the_load() -> None:
    scenario = asked(parse(COMMAND), {"device": "L40S", "concurrency": 16, "quant": "FP8"})
    assert (scenario.system.device, scenario.system.count, scenario.deployment.tp) == ("L40S", 2, 2)
    assert (scenario.deployment.quant, scenario.deployment.max_context) == ("FP8", 32_000)
    # A server's command says nothing of prompts: the usual load is asked, not one that fills the context.
    assert (scenario.workload.prompt_tokens, scenario.workload.output_tokens, scenario.workload.concurrency) == (512, 128, 16)
    small = asked(parse("llama-server -m Qwen3-8B-Q4_K_M.gguf -c 256"), {"device": "L40S"}).workload
    assert small.prompt_tokens + small.output_tokens <= 256


def test_a_sentence_for_what_is_wrong() -> None:
    for words, sentence in (
        (["rm -rf /"], "'rm' starts no runtime"),
        ([COMMAND, "--estimate"], "Say which machine with --gpu"),
        (["vllm serve nobody/Nothing-9B", "--gpu", "L40S", "--estimate"], "name one alike with --model"),
        (["vllm serve Qwen/Qwen3-32B -tp 3", "--gpu", "L40S", "--estimate"], "This split is not possible"),
    ):
        result = run(*words)
        assert result.exit_code == 2 and sentence in result.stderr
