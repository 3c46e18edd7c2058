"""What a scenario names is checked against what the device can do, in one sentence."""

from __future__ import annotations

import pytest

from core.errors import ScenarioError
from core.estimate import estimate, launch
from core.scenario import from_flat
from core.setting import settle

LLAMA = "meta-llama/Llama-3.1-8B"


@pytest.mark.parametrize(
    ("knobs", "sentence"),
    [
        ({"device": "RTX 4090", "backend": "metal"}, "GeForce RTX 4090 has no Metal"),
        ({"device": "RTX 4090", "backend": "cpu"}, "name the CPU as the device"),
        ({"device": "Tesla V100 PCIe 16GB", "runtime": "vllm", "quant": "FP8"}, "compute capability 7.5"),
        ({"device": "T4", "runtime": "vllm", "quant": "BF16"}, "compute capability 8.0"),
        ({"device": "RTX 4090", "experts_on_cpu": 4}, "has no experts"),
        ({"device": "H100", "runtime": "vllm", "quant": "Q4_K_M"}, "does not run"),
    ],
)
def test_what_cannot_be_gets_a_sentence(knobs, sentence) -> None:
    with pytest.raises(ScenarioError, match=sentence):
        settle(from_flat({"model": LLAMA, **knobs}))


def test_a_measured_run_is_taken_as_it_is() -> None:
    settle(from_flat({"model": LLAMA, "device": "RTX 4090", "backend": "cpu"}), strict=False)


def test_the_cpu_backend_runs_on_the_cpu() -> None:
    setting = settle(from_flat({"model": LLAMA, "device": "RTX 4090", "backend": "cpu", "cpu": "Ryzen 9 7950X"}))
    assert setting.device.kind == "cpu"


def test_cards_without_bf16_default_to_fp16() -> None:
    assert settle(from_flat({"model": LLAMA, "device": "T4", "runtime": "vllm"})).quant.id == "FP16"


def test_the_launch_command_counts_layers_as_the_engine_does() -> None:
    # DeepSeek's first three layers have no experts: the flag counts them too.
    answer = estimate(from_flat({"model": "deepseek-ai/DeepSeek-R1", "device": "RTX 4090", "ram_gb": 512, "quant": "Q4_K_M"}))
    assert f"--n-cpu-moe {answer.resolved['experts_on_cpu'] + 3} " in launch(answer)


def test_cards_share_what_is_left_evenly_when_experts_stay_on_the_cpu() -> None:
    knobs = {"model": "Qwen/Qwen3-235B-A22B", "device": "RTX 4090", "count": 2, "ram_gb": 256, "quant": "Q4_K_M"}
    line = launch(estimate(from_flat(knobs)))
    first, second = map(int, line.split("-ts ")[1].split()[0].split(","))
    assert first + second == 94 and first > 3 * second  # the first layers are light: their experts lie elsewhere


def test_streamed_weights_are_in_the_command() -> None:
    knobs = {"model": LLAMA, "device": "RTX 4090", "runtime": "vllm", "gpu_layers": 16, "ram_gb": 64}
    assert "--cpu-offload-gb 7" in launch(estimate(from_flat(knobs)))
