"""What a pasted command means: files of settings, what stands twice, and what it leaves open."""

from __future__ import annotations

import pytest

from core.errors import ScenarioError
from core.estimate import estimate, launch
from core.launch_parse import parse
from core.scenario import from_flat


def test_settings_in_braces_and_left_empty() -> None:
    file = (
        "cat > o.yml <<EOF\nkv_cache_config: {dtype: fp8, free_gpu_memory_fraction: 0.8}\ncuda_graph_config:\nmax_batch_size: null\nEOF\n"
    )
    fields = parse(f"{file}trtllm-serve Qwen/Qwen3-8B --config o.yml --max_batch_size 8").fields
    assert (fields["kv_dtype"], fields["memory_fraction"], fields["cuda_graphs"]) == ("fp8", 0.8, False)
    on = parse(
        file.replace("cuda_graph_config:", "cuda_graph_config: {enable_padding: true}") + "trtllm-serve Qwen/Qwen3-8B --config o.yml"
    )
    assert "cuda_graphs" not in on.fields


def test_a_file_of_flags_counts_where_the_line_says_nothing() -> None:
    body = "model: Qwen/Qwen3-8B\ntensor-parallel-size: 2\nmax-model-len: 4096\nenforce-eager: true\nno-such-key: 3\n"
    parsed = parse(f"cat > c.yaml <<EOF\n{body}EOF\nvllm serve --config c.yaml --max-model-len 8192")
    wanted = {"runtime": "vllm", "model": "Qwen/Qwen3-8B", "tp": 2, "count": 2, "max_context": 8192, "cuda_graphs": False}
    assert parsed.fields == wanted and parsed.unknown == ("no-such-key 3",)


def test_of_a_flag_that_stands_twice_the_last_counts() -> None:
    assert "kv_dtype" not in parse("vllm serve Qwen/Qwen3-8B --kv-cache-dtype fp8 --kv-cache-dtype auto").fields
    assert parse("vllm serve Qwen/Qwen3-8B --enforce-eager -O3").fields["cuda_graphs"] is False


@pytest.mark.parametrize("devices", ["Vulkan1", "ROCm0,ROCm1", "SYCL0", "CUDA0,CUDA1"])
def test_a_named_device_says_its_back_end(devices: str) -> None:
    parsed = parse(f"llama-server -m Qwen3-8B-Q4_K_M.gguf -dev {devices}")
    assert parsed.fields["backend"] == devices.lower().split(",")[0][:-1] and parsed.fields["count"] == devices.count(",") + 1
    assert parse(parsed.command()).fields == parsed.fields


def test_graphs_that_a_command_lists_are_written_back() -> None:
    parsed = parse("text-generation-launcher --model-id Qwen/Qwen3-8B --num-shard 1 --cuda-graphs 1,2")
    assert parsed.fields["cuda_graphs"] is True and parse(parsed.command()).fields == parsed.fields


def test_a_command_names_vulkan_s_devices() -> None:
    asked = {"model": "Qwen/Qwen3-8B", "device": "RTX 4090", "count": 2, "backend": "vulkan"}
    command = launch(estimate(from_flat(asked)))
    assert "-dev Vulkan0,Vulkan1" in command and parse(command).fields["backend"] == "vulkan"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("vllm serve Qwen/Qwen3-8B", "can hold its model's 40,960 tokens"),
        ("ollama run qwen3:8b", "makes its cache for 4,096 tokens"),
        ("llama-server -m Qwen3-8B-Q4_K_M.gguf", "for its model's 40,960 tokens"),
        ("llama-server -m Qwen3-8B-Q4_K_M.gguf -c 4096", ""),
        ("llama-server -m Qwen3-8B-Q4_K_M.gguf -c 4096 -fa off -ctv q8_0", "does not start with values in q8_0"),
        ("vllm serve cyankiwi/Qwen3-8B-AWQ-8bit --max-model-len 4096", "speaks of a quantisation that is not known here"),
    ],
)
def test_what_a_command_leaves_open_is_said(text: str, said: str) -> None:
    notes = " ".join(parse(text).notes)
    assert said in notes and bool(said) == bool(notes)


def test_a_model_that_is_not_in_the_catalog_is_left_to_the_user() -> None:
    parsed = parse("vllm serve nobody/Nothing-9B -tp 2")
    assert "model" not in parsed.fields and parsed.model_text == "nobody/Nothing-9B"
    with pytest.raises(ScenarioError, match="is not in the catalog"):
        parsed.scenario(device="L40S")
    assert parsed.scenario(device="L40S", model="Qwen/Qwen3-8B").deployment.tp == 2
    assert parsed.command() == "vllm serve nobody/Nothing-9B --tensor-parallel-size 2"
