"""Programs that behave as engines do on their command lines: llama-bench, llama-batched-bench, llama-server, vllm."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

_HEAD = f"#!{sys.executable}\nimport json, os, sys\nsys.path.insert(0, {str(Path(__file__).parent)!r})\nwords = sys.argv[1:]\n"
_HEAD += """
def said(flag, otherwise=""):
    return words[words.index(flag) + 1] if flag in words else otherwise
if os.environ.get("FAKE_FAILS"):
    sys.stderr.write(os.environ["FAKE_FAILS"] + "\\n")
    sys.exit(1)
"""
# Every further repeat is a little slower, so that medians and spreads are known.
_BENCH = """
repeats = int(said("-r", "5"))
tests = [(int(said("-p", "512")), 0, 1000.0), (0, int(said("-n", "128")), 50.0)]
print(json.dumps([{"build_commit": "abc", "build_number": 5410, "cpu_info": "Fake CPU", "gpu_info": "", "backends": "CPU",
    "model_filename": said("-m"), "model_type": "llama 1B Q8_0", "model_size": 1170000000, "model_n_params": 1100048384, "n_batch": 2048,
    "n_ubatch": 512, "n_threads": int(said("-t", "2")), "type_k": said("-ctk", "f16"), "type_v": said("-ctv", "f16"), "n_gpu_layers": 99,
    "flash_attn": said("-fa", "0") == "1", "n_prompt": p, "n_gen": g, "n_depth": int(said("-d", "0")), "test_time": "2026-11-21T10:00:00Z",
    "avg_ts": speed, "stddev_ts": 0.0, "samples_ts": [speed * (1 - 0.001 * n) for n in range(repeats)]}
    for p, g, speed in tests if p or g]))
"""
_BATCHED = """
print("main: n_kv_max = " + said("-c") + ", n_batch = 2048", flush=True)
for n, pl in enumerate(said("-npl").split(",")):
    pl, pp, tg = int(pl), int(said("-npp")), int(said("-ntg"))
    print(json.dumps({"n_kv_max": int(said("-c")), "n_batch": 2048, "n_ubatch": 512, "flash_attn": 1, "is_pp_shared": 0,
        "n_gpu_layers": 99, "n_threads": 2, "pp": pp, "tg": tg, "pl": pl, "n_kv": pl * (pp + tg), "t_pp": 0.5, "speed_pp": pl * pp / 0.5,
        "t_tg": 1.0, "speed_tg": pl * tg - n, "t": 1.5, "speed": pl * (pp + tg) / 1.5}))
"""
_SERVE = """
def serve(port):
    from aiohttp import web
    from fake_openai import FakeServer
    print("load_tensors: loading model tensors", file=sys.stderr)
    print("load_tensors:   CPU_Mapped model buffer size =  1024.00 MiB", file=sys.stderr)
    print("llama_kv_cache:        CPU KV buffer size =   512.00 MiB", file=sys.stderr)
    print("llama_context:        CPU compute buffer size =   256.00 MiB", file=sys.stderr)
    print("INFO Model loading took 2.05 GiB and 1.2 seconds", file=sys.stderr)
    print("INFO Available KV cache memory: 1.50 GiB", file=sys.stderr)
    print("INFO GPU KV cache size: 71,472 tokens", file=sys.stderr, flush=True)
    fake = FakeServer(first=0.004, gap=0.0005)
    if os.environ.get("FAKE_DIES"):
        async def answer(request):
            sys.stderr.write("ggml_abort: " + os.environ["FAKE_DIES"] + "\\n")
            sys.stderr.flush()
            os._exit(1)
        fake.answer = answer
    web.run_app(fake.app(), host="127.0.0.1", port=port, print=None, access_log=None)
"""
_SERVER = _SERVE + "\nserve(int(said('--port')))\n"
_VLLM = (
    _SERVE
    + """
kind = words[:2]
if kind == ["bench", "latency"]:
    times = [1.0 + 0.01 * n for n in range(int(said("--num-iters")))]
    json.dump({"avg_latency": sum(times) / len(times), "latencies": times, "percentiles": {"50": 1.0}}, open(said("--output-json"), "w"))
    print("INFO Model loading took 14.99 GiB")
    print("Graph capturing finished in 5 secs, took 0.62 GiB")
elif kind == ["bench", "throughput"]:
    n = int(said("--num-prompts"))
    json.dump({"elapsed_time": 10.0, "num_requests": n, "total_num_tokens": 640 * n, "requests_per_second": n / 10,
        "tokens_per_second": 64.0 * n}, open(said("--output-json"), "w"))
elif kind == ["bench", "serve"]:
    n = int(said("--num-prompts"))
    done = 0 if os.environ.get("FAKE_DOWN") else n
    out = os.path.join(said("--result-dir"), said("--result-filename"))
    json.dump({"date": "20261121-100000", "backend": "vllm", "model_id": said("--model"), "num_prompts": n,
        "request_rate": said("--request-rate", "inf"), "max_concurrency": int(said("--max-concurrency", "0")) or None, "duration": 10.0,
        "completed": done, "failed": n - done, "total_input_tokens": 128 * done, "total_output_tokens": 24 * done,
        "output_throughput": 2.4 * done, "total_token_throughput": 15.2 * done, "median_ttft_ms": 1045.0, "median_tpot_ms": 56.0,
        "p95_ttft_ms": 1100.0, "p99_ttft_ms": 1200.0}, open(out, "w"))
elif words[0] == "serve":
    serve(int(said("--port")))
"""
)


def install(folder: Path) -> None:
    """Writes the programs into a folder, for the PATH."""
    folder.mkdir(parents=True, exist_ok=True)
    programs = {"llama-bench": _BENCH, "llama-batched-bench": _BATCHED, "llama-server": _SERVER, "vllm": _VLLM}
    for name, body in programs.items():
        path = folder / name
        path.write_text(_HEAD + body)
        path.chmod(path.stat().st_mode | stat.S_IXUSR)


def path_with(folder: Path) -> str:
    return f"{folder}{os.pathsep}{os.environ['PATH']}"
