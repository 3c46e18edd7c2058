"""Engines against programs that behave as the real ones do: commands, figures, memory, failures."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from fake_openai import FakeServer, serving
from fake_programs import install, path_with

from core.errors import RunError
from harness.engines import Point, Session, engine, engines
from harness.engines.hf import _result
from harness.engines.logs import llama_memory, vllm_memory
from harness.failures import Failure
from harness.micro_kernels import kernel_rates, linear_weights
from harness.stats import Repeats

QUICK = Repeats(least=3, most=3)


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("programs")
    install(folder)
    return folder


@pytest.fixture(autouse=True)
def _path(programs, monkeypatch):
    monkeypatch.setenv("PATH", path_with(programs))


def measure(name, session=None, **cells):
    return engine(name).measure(Point("study", "p1", cells), session or Session(repeats=QUICK, seed=3))


GGUF = {"file": "models/TinyLlama-1.1B-Chat-v1.0-synthetic-Q8_0.gguf", "model_id": "TinyLlama/TinyLlama-1.1B-Chat-v1.0"}


def test_llama_bench_gives_prefill_and_decode_by_their_medians():
    heard = []
    result = measure("llama-bench", Session(repeats=Repeats(3, 6, 1e-9), tell=lambda done, of: heard.append((done, of))),
                     **GGUF, prompt_tokens=512, output_tokens=64, context_depth=1024, threads=2, flash_attn=True)  # fmt: skip
    prefill, decode = result.rows
    assert heard == [(3, 6), (6, 6)], "more repeats until enough"
    assert len(result.repeats["decode_toks_sec"]) == 6 and decode["decode_toks_sec"] == pytest.approx(49.95)
    assert prefill["prefill_toks_sec"] == pytest.approx(999.0) and prefill["context_depth"] == 1024 and prefill["flash_attn"] == "1"
    assert prefill["model_name_raw"] == "TinyLlama-1.1B-Chat-v1.0-Q8_0.gguf" and result.spread["decode_toks_sec"] < 0.01
    words = " ".join(result.command)
    assert "-d 1024" in words and "-t 2" in words and "-fa 1" in words and "models/" not in words


def test_matrix_rates_by_the_engines_own_kernels(monkeypatch, tmp_path):
    """The fake reads 1,000 tok/s: two FLOP for each of 106 million weights of the layers."""
    monkeypatch.setattr("harness.synthetic.write_synthetic", lambda size, quant: tmp_path / f"m-{quant}.gguf")
    found = kernel_rates("135m", ("F16", "Q8_0"))
    assert linear_weights("HuggingFaceTB/SmolLM2-135M") == 134_515_008 - 49152 * 576 - 61 * 576
    assert found == {"llama.cpp F16": pytest.approx(0.212, abs=0.001), "llama.cpp Q8_0": pytest.approx(0.212, abs=0.001)}


def test_llama_batched_bench_repeats_one_batch_in_one_loading():
    result = measure("llama-batched-bench", **GGUF, prompt_tokens=128, output_tokens=32, concurrency=4, threads=2, kv_dtype="q8_0")
    (row,) = result.rows
    assert "-npl 4,4,4" in " ".join(result.command) and "-c 640" in " ".join(result.command) and "-ctk q8_0" in " ".join(result.command)
    assert result.repeats["decode_toks_sec"] == (128, 127, 126) and row["decode_toks_sec"] == 127 and row["ttft_ms_mean"] == 500


def test_llama_server_under_load_with_its_memory():
    result = measure("llama-server", **GGUF, prompt_tokens=100, output_tokens=4, concurrency=2, threads=2)
    run, *memory = result.rows
    assert (
        (run["load_kind"], run["concurrency"]) == ("concurrency", 2)
        and run["ttft_ms_p50"] >= 4
        and run["notes"] == "ctx=168; max_num_seqs 2"
    )
    assert abs(run["prompt_tokens"] - 100) < 3 and run["output_tokens"] == 4
    assert {row["memory_kind"]: row["memory_gib"] for row in memory} == {"weights_buffer": 1, "kv_buffer": 0.5, "compute_buffer": 0.25}
    assert "-np 2" in " ".join(result.command) and "--port PORT" in " ".join(result.command)


def test_a_server_that_dies_is_a_failure(monkeypatch):
    monkeypatch.setenv("FAKE_DIES", "CUDA error: out of memory")
    with pytest.raises(Failure) as failed:
        measure("llama-server", **GGUF, prompt_tokens=20, output_tokens=2)
    assert failed.value.kind == "out_of_memory"
    monkeypatch.setenv("FAKE_DIES", "assertion")
    with pytest.raises(Failure) as failed:
        measure("vllm-server", model_id="Qwen/Qwen3-8B", prompt_tokens=20, output_tokens=2)
    assert failed.value.kind == "server_died"


@pytest.mark.parametrize(
    ("said", "kind"),
    [("cudaMalloc failed: out of memory", "out_of_memory"), ("unknown model architecture: 'x'", "unsupported"), ("oops", "other")],
)
def test_a_program_that_fails_says_why(said, kind, monkeypatch):
    monkeypatch.setenv("FAKE_FAILS", said)
    with pytest.raises(Failure) as failed:
        measure("llama-bench", **GGUF, prompt_tokens=16, output_tokens=16)
    assert failed.value.kind == kind and said in str(failed.value)


def test_vllm_latency_and_its_memory():
    result = measure("vllm-latency", model_id="Qwen/Qwen3-8B", quant="BF16", prompt_tokens=512, output_tokens=128, concurrency=8, tp=2)
    run, memory = result.rows
    assert (run["load_kind"], run["latency_ms_p50"], run["concurrency"]) == ("static_batch", 1010, 8)
    assert memory["memory_gib"] == 14.99 and result.extra["cuda_graphs_gib"] == 0.62
    words = " ".join(result.command)
    assert "--tensor-parallel-size 2" in words and "--dtype bfloat16" in words and "trust" not in words


def test_remote_code_is_trusted_only_where_it_is_asked_for():
    asked = measure("vllm-latency", model_id="moonshotai/Kimi-K2-Instruct", trust_remote_code=True, random_weights=True)
    assert "--trust-remote-code" in asked.command and "dummy" in asked.command and asked.rows[0]["notes"] == "random weights"


def test_vllm_throughput_and_serve():
    run = measure("vllm-throughput", model_id="Qwen/Qwen3-8B", prompt_tokens=512, output_tokens=128, requests=40).rows[0]
    assert (run["load_kind"], run["total_toks_sec"], run["requests_per_s"]) == ("offline_max", 2560, 4)
    run, *memory = measure("vllm-bench-serve", model_id="Qwen/Qwen3-8B", prompt_tokens=128, output_tokens=24, concurrency=4).rows
    assert (run["ttft_ms_p50"], run["ttft_ms_p95"], run["concurrency"]) == (1045, 1100, 4) and memory[0]["memory_kind"] == "weights_buffer"


def test_vllm_serve_whose_server_is_down_completed_nothing(monkeypatch):
    monkeypatch.setenv("FAKE_DOWN", "1")
    with pytest.raises(Failure, match="Nothing was completed: 12 of 12 requests failed"):
        measure("vllm-bench-serve", url="http://127.0.0.1:1", model_id="Qwen/Qwen3-8B", concurrency=4)


def test_a_server_by_its_address():
    with serving(FakeServer(first=0.001, gap=0.0)) as fake:
        row = measure("openai", url=fake.url + "/v1", model_id="Qwen/Qwen3-8B", bucket="short", output_tokens=2, concurrency=2).rows[0]
        assert abs(row["prompt_tokens"] - 256) < 4 and "runtime" not in row, "the fake does not say what it is"
        rate = measure(
            "openai", url=fake.url, model_id="Qwen/Qwen3-8B", prompt_tokens=30, output_tokens=2, request_rate=500, requests=5
        ).rows[0]
    assert rate["request_rate"] == 500 and rate["load_kind"] == "request_rate"
    with pytest.raises(Failure, match="server died"):
        measure("openai", url=fake.url, model_id="Qwen/Qwen3-8B")
    with pytest.raises(RunError, match="no bucket of prompts 'huge'"):
        measure("openai", url=fake.url, bucket="huge")


class FakeOllama(BaseHTTPRequestHandler):
    def do_GET(self):
        self._say({"version": "0.9.2"} if self.path == "/api/version" else {})

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if asked["model"] == "huge":
            return self._say({"error": "model requires more system memory (9.2 GiB) than is available (3.1 GiB)"}, 500)
        tokens = len(asked["prompt"].split()) + 6
        self._say({"model": asked["model"], "created_at": "2026-11-21T10:00:00Z", "response": "a secret", "prompt_eval_count": tokens,
                   "prompt_eval_duration": tokens * 1_000_000, "eval_count": asked["options"]["num_predict"],
                   "eval_duration": asked["options"]["num_predict"] * 20_000_000})  # fmt: skip

    def _say(self, content, status=200):
        raw = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, *_):
        pass


@pytest.fixture
def ollama():
    with ThreadingHTTPServer(("127.0.0.1", 0), FakeOllama) as fake:
        threading.Thread(target=fake.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{fake.server_port}"
        fake.shutdown()


def test_ollama_by_its_own_timings(ollama):
    result = measure("ollama", url=ollama, api_model="llama3.1:8b", prompt_tokens=300, output_tokens=16)
    (row,) = result.rows
    assert row["decode_toks_sec"] == pytest.approx(50) and row["prefill_toks_sec"] == pytest.approx(1000)
    assert row["prompt_tokens"] == 300 and row["runtime_version"] == "0.9.2" and "secret" not in repr(result)
    with pytest.raises(Failure) as failed:
        measure("ollama", url=ollama, api_model="huge")
    assert failed.value.kind == "out_of_memory"


def test_transformers_figures():
    told = {"first_s": [0.5, 0.4, 0.6], "rest_s": [1.0, 1.1, 0.9], "version": "5.23", "peak_gib": None, "device": "cpu"}
    row = _result(told, Point("", "", {"model_id": "Qwen/Qwen3-0.6B"}), 100, 11, 2).rows[0]
    assert (row["ttft_ms_p50"], row["tpot_ms_p50"], row["prefill_toks_sec"], row["decode_toks_sec"]) == (500, 100, 400, 10)
    assert row["output_toks_sec"] == pytest.approx(22 / 1.5)


def test_what_is_missing_is_said(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    assert "ROOFCAST_LLAMA_CPP" in engines()["llama-bench"].missing() and "vllm" in engines()["vllm-latency"].missing()
    assert not engines()["openai"].missing()
    with pytest.raises(RunError, match="no engine 'nothing'"):
        engine("nothing")
    with pytest.raises(RunError, match="needs file"):
        measure("llama-bench")


# ---- what engines say of memory

LLAMA = """
load_tensors: loading model tensors, this can take a while... (mmap = true)
load_tensors:   CPU_Mapped model buffer size =   281.81 MiB
load_tensors:        CUDA0 model buffer size =  4155.99 MiB
llama_kv_cache:      CUDA0 KV buffer size =  1024.00 MiB
llama_context:      CUDA0 compute buffer size =   296.01 MiB
llama_context:  CUDA_Host compute buffer size =    28.01 MiB
"""


def test_llama_cpp_memory_is_the_sum_of_its_buffers():
    found = llama_memory("load_tensors: loading model tensors\nload_tensors: CPU model buffer size = 9.00 MiB\n" + LLAMA)
    assert found["weights_buffer"] == pytest.approx((281.81 + 4155.99) / 1024), "an earlier attempt does not count"
    assert found["kv_buffer"] == 1 and found["compute_buffer"] == pytest.approx(324.02 / 1024) and llama_memory("") == {}


def test_vllm_memory():
    said = "Model loading took 14.9889 GiB and 3 s\nAvailable KV cache memory: 54.32 GiB\nGPU KV cache size: 395,488 tokens\n"
    found, extra = vllm_memory(said)
    assert found == {"weights_buffer": 14.9889, "kv_buffer": 54.32} and extra == {"kv_cache_tokens": 395488}
