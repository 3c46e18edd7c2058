"""Result files of benchmarks as runs: every format's figures where they belong, and one sentence for what cannot be used."""

import json

import pandas as pd
import pytest

from core.errors import RunError
from core.importers import IMPORTERS, import_bytes
from core.importers.document import document
from core.records import read_record
from core.runs import read_run

CARD = {"gpu_name": "H100 80GB SXM", "gpu_count": 1}
TEST = {
    "build_commit": "8cf427ff", "build_number": 5163, "cpu_info": "AMD Ryzen 7 7800X3D 8-Core Processor",
    "gpu_info": "NVIDIA GeForce RTX 4080", "backends": "CUDA", "model_filename": "some/where/Qwen2.5-7B-Instruct-Q4_K_M.gguf",
    "model_type": "qwen2 7B Q4_K - Medium", "model_size": 4677120000, "model_n_params": 7615616512, "n_batch": 2048, "n_ubatch": 512,
    "n_threads": 8, "cpu_mask": "0x0", "type_k": "f16", "type_v": "f16", "n_gpu_layers": 99, "split_mode": "layer", "main_gpu": 0,
    "no_kv_offload": False, "flash_attn": True, "tensor_split": "0.00", "use_mmap": True, "embeddings": False, "n_prompt": 512,
    "n_gen": 0, "n_depth": 0, "test_time": "2025-04-24T11:58:50Z", "avg_ns": 72135640, "stddev_ns": 1453752, "avg_ts": 7100.0,
    "stddev_ts": 71.0, "samples_ts": [6863.1, 7147.5, 7136.4, 7115.8],
}  # fmt: skip
DECODE = {**TEST, "n_prompt": 0, "n_gen": 128, "n_depth": 4096, "avg_ts": 118.0, "stddev_ts": 1.0, "samples_ts": []}
SERVE = {
    "date": "20250422-104321", "backend": "vllm", "model_id": "Qwen/Qwen3-8B", "tokenizer_id": "Qwen/Qwen3-8B", "num_prompts": 100,
    "request_rate": "inf", "burstiness": 1.0, "max_concurrency": 8, "duration": 50.0, "completed": 100, "failed": 0,
    "total_input_tokens": 102400, "total_output_tokens": 12800, "request_throughput": 2.0, "output_throughput": 256.0,
    "total_token_throughput": 2304.0, "mean_ttft_ms": 91.0, "median_ttft_ms": 90.0, "std_ttft_ms": 5.0, "p99_ttft_ms": 120.0,
    "mean_tpot_ms": 12.0, "median_tpot_ms": 11.5, "p99_tpot_ms": 15.0, "mean_itl_ms": 12.0, "median_e2el_ms": 1600.0,
}  # fmt: skip


def packed(*entries):
    return json.dumps(list(entries)).encode()


def one(raw, given=None):
    found = import_bytes(raw, "result", given)
    assert len(found.records) == 1, found
    return found.records[0]


# ---- llama-bench


def test_llama_bench_json_tells_everything_itself():
    prefill, decode = import_bytes(packed(TEST, DECODE), "bench.json").records
    assert prefill.prefill_toks_sec == pytest.approx(7126.1) and prefill.decode_toks_sec is None, "the median of the repeats"
    assert (decode.decode_toks_sec, decode.context_depth, decode.output_tokens, decode.prompt_tokens) == (118.0, 4096, 128, None)
    assert (prefill.model, prefill.device, prefill.engine, prefill.backend, prefill.scheme) == (
        "Qwen/Qwen2.5-7B-Instruct", "rtx-4080", "llama.cpp", "cuda", "Q4_K_M")  # fmt: skip
    assert prefill.threads == 8 and prefill.flash_attn == "1" and prefill.kv_dtype == "f16" and prefill.run_date == "2025-04-24"
    assert prefill.stddev_rel == pytest.approx(0.01) and prefill.quality_tier == "A" and prefill.fit
    assert "some" not in prefill.model_name_raw, "a person's folders are not kept"
    assert read_run(prefill.model_dump()).asks == "prefill" and read_run(decode.model_dump()).scenario.workload.context == 4096 + 128


def _csv(*entries):
    keys = [key for key in TEST if key != "samples_ts"]
    cells = [",".join(f'"{int(e[k]) if isinstance(e[k], bool) else e[k]}"' for k in keys) for e in entries]
    return "\n".join([",".join(keys), *cells]).encode()


def _sql(*entries):
    keys = [key for key in TEST if key != "samples_ts"]
    lines = [f"INSERT INTO test ({', '.join(keys)}) VALUES ({', '.join(repr(str(e[k])) for k in keys)});" for e in entries]
    return ("CREATE TABLE IF NOT EXISTS test (\n build_commit TEXT\n);\n\n" + "\n".join(lines)).encode()


def _lines(*entries):
    return ("ggml_cuda_init: found 1 CUDA devices {not json}\n" + "".join(json.dumps(e) for e in entries)).encode()


@pytest.mark.parametrize("write", [_csv, _sql, _lines])
def test_llama_bench_says_the_same_in_every_format(write):
    plain = [{**entry, "samples_ts": []} for entry in (TEST, DECODE)]
    wanted = {record.run_id for record in import_bytes(packed(*plain), "a").records}
    assert {record.run_id for record in import_bytes(write(*plain), "b").records} == wanted


def test_llama_bench_json_with_progress_inside():
    text = (
        "[\nllama-bench: benchmark 1/2: starting\n  "
        + json.dumps(TEST)
        + ",\nllama-bench: benchmark 2/2\n  "
        + json.dumps(DECODE, indent=2)
    )
    assert len(import_bytes((text + "\n]\n").encode(), "log").records) == 2


MARKDOWN = """
ggml_cuda_init: found 2 CUDA devices:
  Device 0: NVIDIA GeForce RTX 3090, compute capability 8.6, VMM: yes
  Device 1: NVIDIA GeForce RTX 3090, compute capability 8.6, VMM: yes
| model                          |       size |     params | backend    | ngl | fa |            test |                  t/s |
| ------------------------------ | ---------: | ---------: | ---------- | --: | -: | --------------: | -------------------: |
| llama 70B Q4_K - Medium        |  39.59 GiB |    70.55 B | CUDA       |  99 |  1 |           pp512 |        850.10 ± 2.10 |
| llama 70B Q4_K - Medium        |  39.59 GiB |    70.55 B | CUDA       |  99 |  1 |   tg128 @ d4096 |         16.20 ± 0.05 |
| llama 70B Q4_K - Medium        |  39.59 GiB |    70.55 B | CUDA       |  99 |  1 |     pp512+tg128 |         75.00 ± 0.10 |
| llama 70B Q4_K - Medium        |  39.59 GiB |    70.55 B | CUDA       |  99 |  1 |           pp512 |                error |

build: 2bb60ae4 (5410)
"""


def test_llama_bench_markdown_names_a_kind_of_model_alone():
    found = import_bytes(MARKDOWN.encode(), "table.md", {"model_id": "meta-llama/Llama-3.3-70B-Instruct"})
    prefill, decode, both = found.records
    assert (prefill.gpu_name, prefill.gpu_count, prefill.scheme, prefill.runtime_version) == (
        "NVIDIA GeForce RTX 3090", 2, "Q4_K_M", "b5410 (2bb60ae4) CUDA")  # fmt: skip
    assert decode.context_depth == 4096 and decode.decode_toks_sec == 16.2 and decode.quality_tier == "B"
    assert both.total_toks_sec == 75.0 and both.latency_ms_mean == pytest.approx(640 / 75 * 1e3)
    assert [refused.where for refused in found.refused] == ["line 10"] and "error" in found.refused[0].why
    with pytest.raises(RunError, match="line 7: The file does not tell the model; give model_id"):
        import_bytes(MARKDOWN.encode(), "table.md")


def test_llama_bench_on_a_processor_has_no_gpu():
    record = one(packed({**TEST, "gpu_info": "", "backends": "CPU"}))
    assert record.gpu_name == "" and record.n_gpu_layers is None and record.device == "ryzen-7-7800x3d" and record.backend == "cpu"


def test_llama_bench_on_several_cards():
    two = {**TEST, "gpu_info": "NVIDIA GeForce RTX 3090, NVIDIA GeForce RTX 3090", "devices": "CUDA0/CUDA1"}
    assert one(packed(two)).gpu_count == 2
    assert one(packed({**two, "devices": "CUDA0"})).gpu_count == 1 and one(packed({**two, "split_mode": "none"})).gpu_count == 1
    assert one(packed({**two, "split_mode": "row"})).tp == 2
    unlike = one(packed({**two, "gpu_info": "NVIDIA GeForce RTX 3090, NVIDIA GeForce RTX 4090"}))
    assert (unlike.gpu_count, unlike.device) == (2, "rtx-3090 + rtx-4090")


@pytest.mark.parametrize(
    ("change", "reason"),
    [({"type_v": "q8_0"}, "two types"), ({"no_kv_offload": 1}, "host memory"), ({"tensor_buft_overrides": "exps=CPU"}, "by hand")],
)
def test_settings_that_no_scenario_has_are_not_fitted(change, reason):
    record = one(packed({**TEST, **change}))
    assert not record.fit and reason in record.fit_reason


def test_experts_on_the_cpu_reach_the_scenario():
    moe = {**TEST, "model_filename": "gpt-oss-120b-mxfp4.gguf", "model_type": "gpt-oss 120B MXFP4 MoE", "n_cpu_moe": 20}
    assert read_run(one(packed(moe)).model_dump()).scenario.deployment.experts_on_cpu == 20


def test_random_weights_are_marked():
    record = one(packed({**TEST, "model_filename": "TinyLlama-1.1B-Chat-v1.0-synthetic-Q4_K_M.gguf"}))
    assert record.model == "TinyLlama/TinyLlama-1.1B-Chat-v1.0" and record.notes == "random weights"


# ---- llama-batched-bench

BATCH = {
    "n_kv_max": 8192, "n_batch": 2048, "n_ubatch": 512, "flash_attn": 1, "is_pp_shared": 0, "n_gpu_layers": 99, "n_threads": 8, "pp": 128,
    "tg": 64, "pl": 4, "n_kv": 768, "t_pp": 0.25, "speed_pp": 2048.0, "t_tg": 2.0, "speed_tg": 128.0, "t": 2.25, "speed": 341.3,
}  # fmt: skip
BATCH_TABLE = """main: n_kv_max = 8192, n_batch = 2048, n_ubatch = 512, flash_attn = 1, is_pp_shared = 0, n_gpu_layers = 99, n_threads = 8

|    PP |     TG |    B |   N_KV |   T_PP s | S_PP t/s |   T_TG s | S_TG t/s |      T s |    S t/s |
|-------|--------|------|--------|----------|----------|----------|----------|----------|----------|
|   128 |     64 |    4 |    768 |    0.250 |   2048.0 |    2.000 |    128.0 |    2.250 |    341.3 |
"""
TOLD = {"model_id": "Qwen/Qwen3-8B", "quant": "Q4_K_M", "gpu_name": "RTX 4090"}


def test_batches_in_both_formats_are_one_run():
    line, table = one(json.dumps(BATCH).encode(), TOLD), one(BATCH_TABLE.encode(), TOLD)
    assert line.run_id == table.run_id
    assert (line.load_kind, line.concurrency, line.decode_toks_sec, line.prefill_toks_sec, line.ttft_ms_mean) == (
        "static_batch", 4, 128.0, 2048.0, 250.0)  # fmt: skip
    assert read_run(line.model_dump()).decode_is == "batch"


def test_a_shared_prompt_is_another_question():
    assert "shared" in one(json.dumps({**BATCH, "is_pp_shared": 1}).encode(), TOLD).fit_reason


# ---- servers


def test_vllm_serve_in_a_closed_loop():
    record = one(json.dumps(SERVE).encode(), CARD)
    assert (record.engine, record.load_kind, record.concurrency, record.prompt_tokens, record.output_tokens) == (
        "vllm", "concurrency", 8, 1024, 128)  # fmt: skip
    assert (record.ttft_ms_p50, record.tpot_ms_p50, record.latency_ms_p50, record.output_toks_sec) == (90.0, 11.5, 1600.0, 256.0)
    assert record.ttft_ms_p95 is None and record.run_date == "2025-04-22"


def test_vllm_serve_with_details_gives_every_percentile():
    details = {"ttfts": [0.1, 0.2], "itls": [[0.01] * 9, [0.02] * 9], "output_lens": [10, 10]}
    record = one(json.dumps({**SERVE, **details}).encode(), CARD)
    assert record.ttft_ms_p95 == pytest.approx(195.0) and record.tpot_ms_p95 == pytest.approx(19.5)
    assert record.latency_ms_p95 == pytest.approx(370.5) and record.ttft_ms_p50 == 90.0, "what the file says goes first"


def test_open_loops_and_offline_runs():
    assert one(json.dumps({**SERVE, "request_rate": 2.5}).encode(), CARD).request_rate == 2.5
    offline = one(json.dumps({**SERVE, "max_concurrency": None}).encode(), CARD)
    assert (offline.load_kind, offline.concurrency) == ("offline_max", 100)


def test_nothing_completed_is_refused():
    """What vllm bench serve writes when the server is down."""
    down = {**SERVE, "completed": 0, "failed": 8, "num_prompts": 8, "total_input_tokens": 0, "total_output_tokens": 0}
    with pytest.raises(RunError, match="Nothing was completed: 8 of 8 requests failed"):
        one(json.dumps(down).encode(), CARD)
    some = one(json.dumps({**SERVE, "failed": 20}).encode(), CARD)
    assert not some.fit and some.sanity_flag == "20 of 120 requests failed"


def test_speculative_runs_are_judged_not_fitted():
    assert one(json.dumps({**SERVE, "spec_decode_acceptance_rate": 0.7}).encode(), CARD).fit_reason == "speculative decoding"


def test_sglang_lines():
    lines = [
        {"backend": "sglang", "dataset_name": "random", "request_rate": rate, "max_concurrency": 16, "duration": 60.0, "completed": 300,
         "total_input_tokens": 307200, "total_output_tokens": 30720, "output_throughput": 512.0, "total_throughput": 5632.0,
         "mean_e2e_latency_ms": 2000.0, "median_e2e_latency_ms": 1900.0, "median_ttft_ms": 200.0, "median_tpot_ms": 18.0}
        for rate in (float("inf"), 4.0)
    ]  # fmt: skip
    raw = "\n".join(json.dumps(line) for line in lines).encode()
    closed, opened = import_bytes(raw, "sglang.jsonl", {**CARD, "model_id": "Qwen/Qwen3-8B"}).records
    assert (closed.engine, closed.concurrency, closed.latency_ms_p50, closed.total_toks_sec) == ("sglang", 16, 1900.0, 5632.0)
    assert (opened.load_kind, opened.request_rate) == ("request_rate", 4.0)


@pytest.mark.parametrize(
    ("said", "equal"),
    [
        ({}, True),
        ({"random_range_ratio": 0.0}, True),  # vllm bench: as long as was asked
        ({"random_range_ratio": 1.0}, True),  # SGLang: the same
        ({"random_range_ratio": 0.8}, False),
        ({"random_range_ratio": {"input": 0.0, "output": 0.5}}, False),
        ({"random_range_ratio": {"input": 0.5, "output": 0.0}}, True),
        ({"random_range_ratio": 0.0, "total_output_tokens": 6417}, False),  # SGLang: from 1 on
        ({"total_output_tokens": 12801}, False),
        ({"output_lens": [128] * 100}, True),
        ({"output_lens": [127, 129] * 50}, False),
    ],
)
def test_lengths_are_equal_only_where_a_result_fixes_them(said, equal):
    record = one(json.dumps({**SERVE, **said}).encode(), CARD)
    load = read_run(record.model_dump()).scenario.workload
    assert load.equal_lengths is equal and load.output_tokens == round(record.output_tokens), "the mean is the load, nothing is scaled"


def test_vllm_latency_and_throughput_need_the_load():
    latency = json.dumps({"avg_latency": 2.0, "latencies": [1.9, 2.0, 2.1], "percentiles": {"50": 2.0}}).encode()
    with pytest.raises(RunError, match="give prompt_tokens, output_tokens and concurrency"):
        one(latency, {**CARD, "model_id": "Qwen/Qwen3-8B"})
    load = {**CARD, "model_id": "Qwen/Qwen3-8B", "prompt_tokens": 512, "output_tokens": 100, "concurrency": 8}
    batch = one(latency, load)
    assert (batch.load_kind, batch.latency_ms_p50, batch.output_toks_sec) == ("static_batch", 2000.0, 400.0)
    throughput = {
        "elapsed_time": 10.0,
        "num_requests": 50,
        "total_num_tokens": 30600,
        "requests_per_second": 5.0,
        "tokens_per_second": 3060.0,
    }
    offline = one(json.dumps(throughput).encode(), {**load, "concurrency": ""})
    assert (offline.load_kind, offline.concurrency, offline.output_toks_sec) == ("offline_max", 50, 500.0)


def _distribution(mean, median, p95):
    return {"successful": {"mean": mean, "median": median, "count": 40, "percentiles": {"p95": p95, "p99": p95}}}


def _guidellm(strategy, done=40):
    metrics = {
        "request_totals": {"successful": done, "errored": 0, "incomplete": 2, "total": done + 2},
        "prompt_token_count": _distribution(256, 256, 256), "output_token_count": _distribution(128, 128, 128),
        "time_to_first_token_ms": _distribution(50, 45, 90), "inter_token_latency_ms": _distribution(11, 10, 13),
        "time_per_output_token_ms": _distribution(12, 12, 14), "request_latency": _distribution(1.4, 1.35, 1.6),
        "output_tokens_per_second": _distribution(340, 335, 400), "tokens_per_second": _distribution(1020, 1000, 1200),
    }  # fmt: skip
    return {"config": {"strategy": strategy, "backend": {"model": "Qwen/Qwen3-8B"}}, "metrics": metrics}


def test_guidellm_report():
    benches = [_guidellm({"type_": "concurrent", "streams": 4}), _guidellm({"type_": "poisson", "rate": 2.5}),
               _guidellm({"type_": "synchronous"}), _guidellm({"type_": "throughput"}, done=0)]  # fmt: skip
    found = import_bytes(
        json.dumps({"metadata": {"version": 1}, "benchmarks": benches}).encode(), "guide.json", {**CARD, "runtime": "vllm"}
    )
    closed, opened, alone = found.records
    assert (closed.concurrency, opened.request_rate, alone.concurrency) == (4, 2.5, 1)
    assert (closed.ttft_ms_p50, closed.ttft_ms_p95, closed.tpot_ms_p50, closed.latency_ms_p50) == (45, 90, 10, 1350)
    assert (closed.prompt_tokens, closed.output_toks_sec) == (256, 340)
    assert [refused.where for refused in found.refused] == ["benchmark 4"] and "Nothing was completed" in found.refused[0].why
    varied = _guidellm({"type_": "concurrent", "streams": 4})
    varied["metrics"]["output_token_count"]["successful"]["std_dev"] = 20.0
    assert read_run(closed.model_dump()).scenario.workload.equal_lengths
    record = one(json.dumps({"benchmarks": [varied]}).encode(), {**CARD, "runtime": "vllm"})
    assert not read_run(record.model_dump()).scenario.workload.equal_lengths


OLLAMA = {
    "model": "llama3.1:8b", "created_at": "2025-06-01T10:00:00.1Z", "done": True, "total_duration": 5_000_000_000, "response": "Hello",
    "prompt_eval_count": 512, "prompt_eval_duration": 256_000_000, "eval_count": 128, "eval_duration": 2_000_000_000,
}  # fmt: skip
VERBOSE = """>>> hello
total duration:       5.0s
load duration:        10.5ms
prompt eval count:    512 token(s)
prompt eval duration: 256ms
prompt eval rate:     2000.00 tokens/s
eval count:           128 token(s)
eval duration:        2s
eval rate:            64.00 tokens/s
"""


def test_ollama_answers_are_one_run_without_their_text():
    answers = [{**OLLAMA, "eval_duration": took} for took in (2_000_000_000, 1_900_000_000, 2_100_000_000)]
    record = one("\n".join(json.dumps(answer) for answer in answers).encode(), {"gpu_name": "RTX 4090"})
    assert (record.decode_toks_sec, record.prefill_toks_sec, record.engine) == (64.0, 2000.0, "ollama")
    assert record.stddev_rel and "Hello" not in record.model_dump_json()
    told = one(VERBOSE.encode(), {"gpu_name": "RTX 4090", "model_id": "meta-llama/Llama-3.1-8B-Instruct"})
    assert (told.decode_toks_sec, told.prefill_toks_sec, told.prompt_tokens) == (64.0, 2000.0, 512)


# ---- tables, and what is none of these


def test_tables_of_runs(tmp_path):
    row = {"model_id": "Qwen/Qwen3-8B", "gpu_name": "RTX 4090", "runtime": "llama.cpp", "quant": "Q4_K_M", "decode_toks_sec": 99}
    pd.DataFrame([row]).to_csv(tmp_path / "a.csv", index=False)
    pd.DataFrame([row]).to_parquet(tmp_path / "a.parquet")
    (tmp_path / "a.jsonl").write_text(json.dumps(row))
    ids = {import_bytes((tmp_path / name).read_bytes(), name).records[0].run_id for name in ("a.csv", "a.parquet", "a.jsonl")}
    assert ids == {read_record(row).run_id}


def test_rows_that_cannot_be_used_leave_the_others():
    rows = ["Qwen/Qwen3-8B,RTX 4090,llama.cpp,99", "NoSuchModel-7X,RTX 4090,llama.cpp,9", "Qwen/Qwen3-8B,RTX 4090,llama.cpp,-1"]
    raw = "\n".join(["model_id,gpu_name,runtime,decode_toks_sec", *rows]).encode()
    found = import_bytes(raw, "runs.csv")
    assert len(found.records) == 1 and [refused.where for refused in found.refused] == ["row 2", "row 3"]
    assert "NoSuchModel" in found.refused[0].why


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b"", "empty"),
        (b"\xff\xfe\x00", "UTF-8|nothing|no result"),
        (b"\x00\x01binary", "binary"),
        (b"<html><body>404</body></html>", "no result that Roofcast knows"),
        (b'{"some": "json"}', "no result that Roofcast knows"),
        (b"[" * 100_000, "no result that Roofcast knows"),
        (packed({**TEST, "avg_ts": "nan"}), "no speed"),
        (packed({**TEST, "avg_ts": 0}), "no speed"),
        (packed({**TEST, "model_type": "", "model_filename": ""}), "does not tell the model"),
        (packed({**TEST, "gpu_info": "", "cpu_info": ""}), "on which machine"),
        (json.dumps({**SERVE, "backend": "openai"}).encode(), "does not tell the engine; give runtime"),
        (json.dumps({**SERVE, "total_input_tokens": None}).encode(), "counts no tokens"),
        (json.dumps({"eval_count": 0, "eval_duration": 0}).encode(), "Nothing was completed"),
        (b"PAR1 but not really", "Parquet"),
    ],
)
def test_what_cannot_be_used_is_one_sentence(raw, says):
    with pytest.raises(RunError, match=says) as error:
        import_bytes(raw, "file", {"threads": 4})
    assert "\n" not in str(error.value) and "Traceback" not in str(error.value)


def test_an_unknown_column_cannot_be_given():
    with pytest.raises(RunError, match="no column 'decode_toks_sec' that can be given"):
        import_bytes(packed(TEST), "file", {"decode_toks_sec": 1e6})


def test_every_importer_leaves_foreign_files_alone():
    for raw in (b"model,gpu\n1,2\n", b'{"benchmarks": 3, "completed": {}}', b"| a | b |\n|---|---|\n| 1 | 2 |\n"):
        found = document(raw, "foreign")
        assert not [kind for kind, rows_of in IMPORTERS if rows_of(found)]
