"""A pasted command as the form takes it."""

from __future__ import annotations

import pytest

from core.errors import ScenarioError
from core.launch_form import fill


def test_values_are_the_controls_own() -> None:
    found = fill("docker run vllm/vllm-openai:v0.11.0 --model Qwen/Qwen3-32B-AWQ -tp 2 --enforce-eager --async-scheduling --host a --foo")
    controls = found.controls
    assert (controls["runtime"], controls["model"], controls["quant"]) == ("vLLM", "Qwen3-32B", "AWQ-INT4")
    assert (controls["tp"], controls["count"], controls["cuda_graphs"], controls["runtime_version"]) == (2, 2, False, "v0.11.0")
    assert controls["max_context"] is None and controls["flash_attention"] is True  # left out: the defaults again
    assert found.unknown == ("--foo",) and [what for what, _ in found.not_modelled] == ["--async-scheduling"]
    assert found.quiet == ("--host",)


def test_what_the_form_does_not_take_is_told() -> None:
    found = fill("mlx_lm.server --model Qwen/Qwen3-8B-Q4_K_M")
    assert found.controls["quant"] is None and found.refused == (
        "MLX does not run Q4_K_M; it runs MLX 2- to 8-bit, MXFP4, NVFP4, BF16, F16.",
    )
    with pytest.raises(ScenarioError, match="There is no command"):
        fill(" ")
