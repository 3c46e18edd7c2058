"""Results of load generators: vllm bench (serve, latency, throughput), SGLang's bench_serving, GuideLLM and Ollama's timings."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from functools import partial
from typing import Any

from core.errors import RunError
from core.importers.document import Document, Object, Row, Rows, date_of, number, numbers, percentile, text
from core.run_notes import LENGTHS_VARY

# What a load generator calls the server it speaks to, and the engine where that tells it.
_ENGINES = {"vllm": "vllm", "vllm-chat": "vllm", "sglang": "sglang", "sglang-oai": "sglang", "sglang-oai-chat": "sglang",
            "sglang-native": "sglang", "tgi": "tgi", "tensorrt-llm": "tensorrt-llm", "trt": "tensorrt-llm", "lmdeploy": "lmdeploy",
            "lmdeploy-chat": "lmdeploy", "llama.cpp": "llama.cpp"}  # fmt: skip
_ONE_LENGTH = 0.01  # standard deviation, as a share of the mean, up to which lengths count as one
_MOST_FAILED = 0.05  # of the requests; beyond it the load was another one than was asked for
NOTHING = "Nothing was completed: {failed} of {asked} requests failed. Was the server running?"


def _failed(completed: float | None, failed: float | None, asked: float | None) -> str:
    """Why a run is doubtful. Raises RunError where no request was completed."""
    lost = failed if failed is not None else max((asked or 0) - (completed or 0), 0)
    whole = (completed or 0) + lost
    if not completed:
        raise RunError(NOTHING.format(failed=f"{lost:.0f}", asked=f"{whole:.0f}"))
    return f"{lost:.0f} of {whole:.0f} requests failed" if lost > _MOST_FAILED * whole else ""


def _load(rate: float | None, users: float | None, asked: float | None) -> Row:
    """The load: requests a second, users who wait for their answers, or everything at once."""
    if rate:
        return {"load_kind": "request_rate", "request_rate": rate}
    if users:
        return {"load_kind": "concurrency", "concurrency": users}
    return {"load_kind": "offline_max", "concurrency": asked}


# ---- vllm bench serve, and SGLang's bench_serving, which grew out of it


def serving(document: Document) -> Rows:
    """A row a result."""
    needed = {"completed", "duration", "total_output_tokens"}
    return [(where, partial(_serving_row, entry)) for where, entry in document.objects if needed <= set(entry)]


def _serving_row(entry: Object) -> Row:
    completed, asked = number(entry, "completed"), number(entry, "num_prompts")
    doubt = _failed(completed, number(entry, "failed"), asked)
    read, written = number(entry, "total_input_tokens"), number(entry, "total_output_tokens")
    if not completed or not read or not written:
        raise RunError("The result counts no tokens (total_input_tokens, total_output_tokens); they say what the load was.")
    rate = number(entry, "request_rate")  # "inf" is no number: everything at once
    load = _load(rate, number(entry, "max_concurrency"), asked or completed)
    speculative = any(number(entry, key) for key in ("spec_decode_acceptance_rate", "spec_decode_acceptance_length", "accept_length"))
    backend = text(entry, "backend", "endpoint_type").lower()
    row: Row = {
        **load, "runtime": _ENGINES.get(backend, ""), "model_id": text(entry, "model_id"),
        "prompt_tokens": read / completed, "output_tokens": written / completed,
        "output_toks_sec": number(entry, "output_throughput"),
        "total_toks_sec": number(entry, "total_token_throughput", "total_throughput"),
        "run_date": date_of(text(entry, "date")), "sanity_flag": doubt, "quality_tier": "A",
        "notes": [*(["SPECDEC"] if speculative else []), *([LENGTHS_VARY] if _vary(entry, completed, written) else [])],
    }  # fmt: skip
    for metric, names in {"ttft": ("ttft",), "tpot": ("tpot",), "latency": ("e2el", "e2e_latency")}.items():
        samples = _samples(entry, metric)
        for kind, word in (("mean", "mean"), ("p50", "median"), ("p95", "p95"), ("p99", "p99")):
            told = number(entry, *(f"{word}_{name}_ms" for name in names))
            worked = percentile(samples, float(kind[1:])) if kind != "mean" else sum(samples) / len(samples) if samples else None
            row[f"{metric}_ms_{kind}"] = told if told is not None else worked
    return row


def _vary(entry: Object, completed: float, written: float) -> bool:
    """Whether the answers' lengths differ: as they are listed, else as the range of random lengths says, else by their mean.

    A range ratio of 0 fixes the lengths for vllm bench and one of 1 for SGLang, anything between varies them for both. Lengths
    that differ hardly ever have a whole number as their mean.
    """
    if listed := numbers(entry, "output_lens"):
        return len({length for length in listed if length}) > 1
    stated = entry.get("random_range_ratio")
    ratio = number(_inner(entry, "random_range_ratio"), "output") if isinstance(stated, dict) else number(entry, "random_range_ratio")
    return 0 < (ratio or 0) < 1 or written % completed != 0


def _samples(entry: Object, metric: str) -> list[float]:
    """Milliseconds by request, from a result with its details; none where it has none."""
    first, gaps = numbers(entry, "ttfts"), entry.get("itls")
    if metric == "ttft":
        return [1e3 * seconds for seconds in first]
    if not isinstance(gaps, list) or len(gaps) != len(first):
        return []
    after = [[float(gap) for gap in each if isinstance(gap, int | float)] if isinstance(each, list) else [] for each in gaps]
    if metric == "latency":
        return [1e3 * (seconds + math.fsum(each)) for seconds, each in zip(first, after, strict=True)]
    lengths = entry.get("output_lens")
    counts = lengths if isinstance(lengths, list) and len(lengths) == len(after) else [len(each) + 1 for each in after]
    return [1e3 * math.fsum(each) / (count - 1) for each, count in zip(after, counts, strict=True) if isinstance(count, int) and count > 1]


# ---- vllm bench latency and throughput


def vllm_offline(document: Document) -> Rows:
    """A row a result; the file tells neither lengths nor batch."""
    kinds = (({"avg_latency", "latencies"}, _latency_row), ({"elapsed_time", "num_requests", "tokens_per_second"}, _throughput_row))
    return [(where, partial(row, entry)) for where, entry in document.objects for needed, row in kinds if needed <= set(entry)]


def _latency_row(entry: Object) -> Row:
    samples = numbers(entry, "latencies")
    if not samples:
        raise RunError("Nothing was completed: the result has no latencies.")
    mean = sum(samples) / len(samples)
    spread = math.sqrt(sum((s - mean) ** 2 for s in samples) / (len(samples) - 1)) / mean if len(samples) > 1 and mean else None
    return {
        "runtime": "vllm", "quality_tier": "A", "load_kind": "static_batch", "latency_ms_mean": 1e3 * mean, "stddev_rel": spread,
        **{f"latency_ms_p{p}": 1e3 * (percentile(samples, p) or 0) for p in (50, 95, 99)},
    }  # fmt: skip


def _throughput_row(entry: Object) -> Row:
    asked = number(entry, "num_requests")
    if not asked or not number(entry, "elapsed_time"):
        raise RunError("Nothing was completed: the result has no requests.")
    return {
        "runtime": "vllm", "quality_tier": "A", "load_kind": "offline_max", "concurrency": asked,
        "total_toks_sec": number(entry, "tokens_per_second"), "requests_per_s": number(entry, "requests_per_second"),
    }  # fmt: skip


# ---- GuideLLM


def guidellm(document: Document) -> Rows:
    """A row a benchmark of the report."""
    return [
        (f"benchmark {at}", partial(_guidellm_row, bench, report))
        for _, report in document.objects
        for at, bench in enumerate(_listed(report), 1)
    ]


def _listed(report: Object) -> list[Object]:
    listed = report.get("benchmarks")
    return [b for b in listed if isinstance(b, dict) and isinstance(b.get("metrics"), dict)] if isinstance(listed, list) else []


def _guidellm_row(bench: Object, report: Object) -> Row:
    metrics = bench["metrics"]
    totals = _inner(metrics, "request_totals") or _inner(_inner(bench, "run_stats"), "requests_made")
    done = number(totals, "successful")
    if done is None:
        done = number(_inner(_inner(metrics, "request_latency"), "successful"), "count")
    doubt = _failed(done, number(totals, "errored"), number(totals, "total"))
    strategy = _inner(_inner(bench, "config"), "strategy") or _inner(_inner(bench, "args"), "strategy")
    kind = text(strategy, "type_", "kind")
    rate = number(strategy, "rate", "initial_rate") if kind in ("constant", "poisson", "asynchronous") else None
    users = 1.0 if kind == "synchronous" else number(strategy, "streams", "max_concurrency") if kind in ("concurrent", "") else None

    def of(name: str, statistic: str = "mean") -> float | None:
        found = _inner(_inner(metrics, name), "successful")
        if statistic.startswith("p"):
            return number(_inner(found, "percentiles"), statistic) or number(found, "median" if statistic == "p50" else statistic)
        return number(found, statistic)

    prompt, output = of("prompt_token_count") or of("prompt_tokens"), of("output_token_count") or of("output_tokens")
    if not prompt or not output:
        raise RunError("The benchmark counts no tokens (prompt_token_count, output_token_count); they say what the load was.")
    spread = of("output_token_count", "std_dev") or of("output_tokens", "std_dev") or 0
    row: Row = {
        **_load(rate, users, done), "model_id": _guidellm_model(bench, report), "prompt_tokens": prompt, "output_tokens": output,
        "notes": [LENGTHS_VARY] if spread > _ONE_LENGTH * output else [],
        "output_toks_sec": of("output_tokens_per_second"), "total_toks_sec": of("tokens_per_second"),
        "sanity_flag": doubt, "quality_tier": "A",
    }  # fmt: skip
    for statistic in ("mean", "p50", "p95", "p99"):
        row[f"ttft_ms_{statistic}"] = of("time_to_first_token_ms", statistic)
        # GuideLLM's time per output token counts the first one; the time after it is its inter-token latency.
        row[f"tpot_ms_{statistic}"] = of("inter_token_latency_ms", statistic)
        seconds = of("request_latency", statistic)
        row[f"latency_ms_{statistic}"] = None if seconds is None else 1e3 * seconds
    return row


def _inner(entry: Any, key: str) -> Mapping[str, Any]:
    found = entry.get(key) if isinstance(entry, dict) else None
    return found if isinstance(found, dict) else {}


def _guidellm_model(bench: Object, report: Object) -> str:
    places = (_inner(bench, "benchmarker"), _inner(bench, "worker"), _inner(bench, "config"), _inner(report, "args"), bench)
    for place in places:
        backend = place.get("backend")
        for found in (text(place, "model", "backend_model"), text(backend, "model") if isinstance(backend, dict) else ""):
            if found:
                return found
    return ""


# ---- Ollama

_VERBOSE = re.compile(r"^(total duration|load duration|prompt eval count|prompt eval duration|eval count|eval duration):\s+(\S+)", re.M)
_UNITS = {"ns": 1.0, "µs": 1e3, "us": 1e3, "ms": 1e6, "s": 1e9, "m": 6e10, "h": 3.6e12}


def _ollama(document: Document) -> list[tuple[str, Object]]:
    found = [(where, entry) for where, entry in document.objects if {"eval_count", "eval_duration"} <= set(entry)]
    if found or "eval duration:" not in document.text:
        return found
    # What `ollama run --verbose` prints: one block a prompt, each beginning with the total.
    blocks: list[dict[str, Any]] = []
    for name, amount in _VERBOSE.findall(document.text):
        if name == "total duration" or not blocks:
            blocks.append({})
        blocks[-1][name.replace(" ", "_")] = _nanoseconds(amount) if "duration" in name else amount
    return [(f"answer {at}", block) for at, block in enumerate(blocks, 1) if "eval_duration" in block]


def _nanoseconds(written: str) -> float:
    """A duration as Go prints it ("1m2.5s")."""
    return sum(float(amount) * _UNITS[unit] for amount, unit in re.findall(r"([\d.]+)(ns|µs|us|ms|s|m|h)", written))


def ollama(document: Document) -> Rows:
    """A row for all answers of one model and one load: the middle of its repeats."""
    loads: dict[tuple[str, int, int], list[tuple[str, Object]]] = {}
    for where, entry in _ollama(document):
        prompt, output = round(number(entry, "prompt_eval_count") or 0), round(number(entry, "eval_count") or 0)
        loads.setdefault((text(entry, "model"), prompt, output), []).append((where, entry))
    return [(answers[0][0], partial(_ollama_row, *load, [entry for _, entry in answers])) for load, answers in loads.items()]


def _ollama_row(model: str, prompt: int, output: int, answers: list[Object]) -> Row:
    def rates(count: str, duration: str) -> list[float]:
        return [1e9 * n / took for e in answers if (n := number(e, count)) and (took := number(e, duration))]

    decode, prefill = rates("eval_count", "eval_duration"), rates("prompt_eval_count", "prompt_eval_duration")
    if not decode:
        raise RunError("Nothing was completed: the answer counts no tokens (eval_count).")
    middle = percentile(decode, 50) or 0
    quartiles = (percentile(decode, 75) or 0) - (percentile(decode, 25) or 0)
    return {
        "runtime": "ollama", "model_name_raw": model, "load_kind": "concurrency", "concurrency": 1,
        "prompt_tokens": prompt or None, "output_tokens": output, "decode_toks_sec": middle,
        "prefill_toks_sec": percentile(prefill, 50), "stddev_rel": quartiles / 1.35 / middle if len(decode) > 2 else None,
        "run_date": date_of(text(answers[0], "created_at")), "quality_tier": "A",
    }  # fmt: skip
