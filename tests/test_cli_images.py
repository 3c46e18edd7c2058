"""Images on the command line."""

from __future__ import annotations

import json

import pytest
from test_cli import run

from core.cli_options import read_scenario
from core.errors import ScenarioError

ASK = ["estimate", "--model", "qwen3 vl 8b instruct", "--gpu", "H100 SXM", "--runtime", "vllm"]


def test_images_and_the_tower_are_options() -> None:
    one, four = (json.loads(run(*ASK, "--images", n, "--image-size", "640x480", "--json").stdout) for n in ("1", "4"))
    assert four["estimates"]["ttft_ms"]["p50"] > one["estimates"]["ttft_ms"]["p50"]
    assert "vision tower" in run(*ASK).stdout and "vision tower" not in run(*ASK, "--no-vision").stdout


def test_the_prompt_leaves_room_for_images_in_the_context() -> None:
    given = {"model": "Qwen/Qwen3-VL-8B-Instruct", "device": "H100 SXM", "runtime": "vllm", "max_context": 4096}
    without, beside = read_scenario(given), read_scenario({**given, "images": 2})
    assert without.workload.prompt_tokens - beside.workload.prompt_tokens == 2 * 1024
    with pytest.raises(ScenarioError, match="2,048 of images need 4,500"):
        read_scenario({**given, "images": 2, "prompt_tokens": 2324})


@pytest.mark.parametrize("size", ["huge", "0x5", "1024", "99999x1"])
def test_a_size_that_is_none_gets_a_sentence(size: str) -> None:
    result = run(*ASK, "--images", "1", "--image-size", size)
    assert result.exit_code != 0 and "width x height" in result.stderr and "Traceback" not in result.stderr
