"""Launch commands, as they are pasted into a shell."""

from __future__ import annotations

import shlex

import pytest

from core.errors import CatalogError, ScenarioError
from core.launch import ALL_LAYERS, LaunchKnobs, launch_command
from core.launch_parse import parse
from core.units import GIB


def test_llama_cpp() -> None:
    # llama-server divides -c among its slots: 4 sequences of 8192 tokens need 32768.
    knobs = LaunchKnobs(
        "meta-llama/Llama-3.1-8B-Instruct",
        "llama.cpp",
        quant="Q4_K_M",
        gpu_layers=ALL_LAYERS,
        flash_attention=True,
        max_context=8192,
        max_sequences=4,
        token_budget=2048,
        micro_batch=512,
    )
    assert launch_command(knobs) == "llama-server -m Llama-3.1-8B-Instruct-Q4_K_M.gguf -ngl 999 -c 32768 -np 4 -fa on"


def test_llama_cpp_with_experts_on_the_cpu() -> None:
    knobs = LaunchKnobs(
        "openai/gpt-oss-120b",
        "llamacpp",
        quant="MXFP4",
        kv_dtype="q8_0/q5_1",
        gpu_layers=ALL_LAYERS,
        flash_attention=True,
        experts_on_cpu=30,
        max_context=16384,
        device_count=2,
        threads=16,
        micro_batch=2048,
    )
    assert launch_command(knobs) == (
        "llama-server -m gpt-oss-120b-MXFP4.gguf -ngl 999 --n-cpu-moe 30 -sm layer -c 16384 -fa on -ctk q8_0 -ctv q5_1 -ub 2048 -t 16"
    )


def test_llama_cpp_by_rows_and_on_a_cpu() -> None:
    rows = LaunchKnobs("a/b", "llama.cpp", quant="Q8_0", gpu_layers=40, flash_attention=False, device_count=2, split="tensor")
    assert launch_command(rows) == "llama-server -m b-Q8_0.gguf -ngl 40 -sm row -fa off"
    cpu = LaunchKnobs("a/b", "llama.cpp", backend="cpu", flash_attention=True, kv_dtype="f16", max_sequences=1)
    assert launch_command(cpu) == "llama-server -m b-Q4_K_M.gguf -ngl 0 -np 1 -fa on"


def test_vllm() -> None:
    knobs = LaunchKnobs(
        "deepseek-ai/DeepSeek-R1",
        "vllm",
        quant="FP8",
        checkpoint_quant="FP8",
        kv_dtype="fp8",
        tp=8,
        ep=8,
        max_context=32768,
        max_sequences=64,
        memory_fraction=0.9,
        token_budget=8192,
        cuda_graphs=False,
        device="H200",
        device_memory=141 * GIB,
    )
    assert launch_command(knobs) == (
        "vllm serve deepseek-ai/DeepSeek-R1 --tensor-parallel-size 8 --enable-expert-parallel --kv-cache-dtype fp8 "
        "--max-model-len 32768 --max-num-seqs 64 --gpu-memory-utilization 0.9 --enforce-eager"
    )


def test_vllm_writes_no_flag_for_a_default() -> None:
    knobs = LaunchKnobs(
        "Qwen/Qwen3-8B",
        "vllm",
        quant="BF16",
        kv_dtype="f16",
        memory_fraction=0.92,
        token_budget=2048,
        max_sequences=256,
        device="RTX 4090",
        device_memory=24 * GIB,
    )
    assert launch_command(knobs) == "vllm serve Qwen/Qwen3-8B"
    old = LaunchKnobs("Qwen/Qwen3-8B", "vllm", memory_fraction=0.92, runtime_version="0.12.0")
    assert launch_command(old) == "vllm serve Qwen/Qwen3-8B --gpu-memory-utilization 0.92"
    unknown_card = LaunchKnobs("Qwen/Qwen3-8B", "vllm", token_budget=2048)
    assert launch_command(unknown_card) == "vllm serve Qwen/Qwen3-8B --max-num-batched-tokens 2048"


def test_vllm_quantises_or_asks_for_a_checkpoint() -> None:
    assert launch_command(LaunchKnobs("a/b", "vllm", quant="FP8")) == "vllm serve a/b --quantization fp8"
    assert launch_command(LaunchKnobs("a/b", "vllm", quant="FP16")) == "vllm serve a/b --dtype float16"
    assert launch_command(LaunchKnobs("a/b", "vllm", quant="AWQ-INT4")) == (
        "# The model must be a checkpoint quantised to AWQ-INT4.\nvllm serve a/b --quantization awq_marlin"
    )
    # "awq" would force a kernel that is several times slower; AMD's devices have no Marlin.
    on_amd = launch_command(LaunchKnobs("a/b", "vllm", quant="AWQ-INT4", backend="rocm"))
    assert on_amd == "# The model must be a checkpoint quantised to AWQ-INT4.\nvllm serve a/b"
    # No flag of vLLM makes INT8 of a dense model: experts_int8 halves experts alone, and is only understood.
    int8 = "# The model must be a checkpoint quantised to INT8.\nvllm serve a/b"
    assert launch_command(LaunchKnobs("a/b", "vllm", quant="INT8")) == int8
    assert parse("vllm serve Qwen/Qwen3-30B-A3B --quantization experts_int8").fields["quant"] == "INT8-WO"


def test_sglang() -> None:
    # Replicated attention: --tp counts every device and --dp divides it.
    knobs = LaunchKnobs(
        "deepseek-ai/DeepSeek-R1",
        "sglang",
        quant="FP8",
        checkpoint_quant="FP8",
        kv_dtype="fp8",
        dp=8,
        ep=8,
        max_context=32768,
        max_sequences=64,
        token_budget=8192,
        memory_fraction=0.85,
        device="H200",
        device_memory=141 * GIB,
    )
    assert launch_command(knobs) == (
        "python -m sglang.launch_server --model-path deepseek-ai/DeepSeek-R1 --tp 8 --dp 8 --enable-dp-attention "
        "--ep-size 8 --kv-cache-dtype fp8_e4m3 --context-length 32768 --max-running-requests 64 "
        "--mem-fraction-static 0.85"
    )


def test_tensorrt_llm() -> None:
    plain = LaunchKnobs("meta-llama/Llama-3.1-70B", "trtllm", quant="BF16", tp=4, memory_fraction=0.9, max_sequences=512)
    assert launch_command(plain) == "trtllm-serve meta-llama/Llama-3.1-70B --tp_size 4 --max_batch_size 512"
    knobs = LaunchKnobs(
        "deepseek-ai/DeepSeek-R1",
        "tensorrt-llm",
        quant="NVFP4",
        checkpoint_quant="NVFP4",
        kv_dtype="fp8",
        dp=8,
        ep=8,
        max_context=32768,
        memory_fraction=0.85,
        token_budget=8192,
    )
    assert launch_command(knobs) == (
        "cat > options.yaml <<'EOF'\nenable_attention_dp: true\nkv_cache_config:\n  dtype: fp8\n"
        "  free_gpu_memory_fraction: 0.85\nEOF\n"
        "trtllm-serve deepseek-ai/DeepSeek-R1 --tp_size 8 --ep_size 8 --max_seq_len 32768 "
        "--extra_llm_api_options options.yaml"
    )


def test_ollama() -> None:
    knobs = LaunchKnobs(
        "meta-llama/Llama-3.2-3B-Instruct",
        "ollama",
        quant="Q4_K_M",
        kv_dtype="q8_0",
        max_context=8192,
        max_sequences=4,
        gpu_layers=20,
        device_count=2,
    )
    assert launch_command(knobs) == (
        "export OLLAMA_NUM_PARALLEL=4\nexport OLLAMA_KV_CACHE_TYPE=q8_0\nexport OLLAMA_FLASH_ATTENTION=1\n"
        "export OLLAMA_SCHED_SPREAD=1\nollama serve &\n"
        "cat > Modelfile <<'EOF'\nFROM ./Llama-3.2-3B-Instruct-Q4_K_M.gguf\n"
        "PARAMETER num_ctx 8192\nPARAMETER num_gpu 20\n"
        "EOF\nollama create llama-3.2-3b-instruct -f Modelfile\nollama run llama-3.2-3b-instruct"
    )


def test_mlx() -> None:
    knobs = LaunchKnobs("Qwen/Qwen3-30B-A3B", "mlx", quant="MLX-4bit", max_sequences=8, token_budget=2048, kv_dtype="mlx_8")
    assert launch_command(knobs) == ("mlx_lm.server --model mlx-community/Qwen3-30B-A3B-4bit --decode-concurrency 8 --kv-bits 8")


def test_a_runtime_that_is_not_described_gets_a_comment() -> None:
    assert launch_command(LaunchKnobs("a/b", "deepspeed")).startswith("# DeepSpeed's command line is not described")


def test_a_flag_that_the_version_does_not_know_is_left_out_and_named() -> None:
    knobs = LaunchKnobs("a/b", "llama.cpp", quant="Q8_0", experts_on_cpu=10, flash_attention=True, runtime_version="b5000")
    assert launch_command(knobs) == "# --n-cpu-moe is left out: it came with llama.cpp b6090.\nllama-server -m b-Q8_0.gguf -fa"
    off = LaunchKnobs("a/b", "llama.cpp", quant="Q8_0", flash_attention=False, runtime_version="b5000")
    assert launch_command(off) == "llama-server -m b-Q8_0.gguf"


def test_mappings_and_unknown_runtimes() -> None:
    assert launch_command({"model": "a/b", "runtime": "vllm", "tp": 2, "tp_note": "x", "dp": None}) == (
        "vllm serve a/b --tensor-parallel-size 2"
    )
    with pytest.raises(CatalogError, match="did you mean"):
        launch_command(LaunchKnobs("a/b", "no such engine"))


@pytest.mark.parametrize("runtime", ["llama.cpp", "ollama", "mlx", "vllm", "sglang", "tensorrt-llm"])
def test_names_from_a_link_cannot_run_anything(runtime: str) -> None:
    command = launch_command(LaunchKnobs("a/b; touch pwned $(id)", runtime, quant="Q4 `id`"))
    for line in command.splitlines():
        if "touch" in line and not line.startswith(("FROM", "#")):
            assert any("; touch pwned $(id)" in word for word in shlex.split(line))
    for name in ("a/b\nEOF\ntouch pwned", "--model", "a\x1b[2J"):
        with pytest.raises(ScenarioError, match="give a plain name"):
            launch_command(LaunchKnobs(name, runtime))
