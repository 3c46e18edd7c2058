"""vLLM: its own benchmarks as subprocesses (latency, throughput, serve), and its server under our load."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import RunError
from core.importers.document import document
from core.importers.servers import serving, vllm_offline
from harness.engines import server
from harness.engines.base import Point, Result, Session, free_port
from harness.engines.logs import memory_rows, vllm_memory
from harness.failures import Failure, failure
from harness.process import Finished, Running, started
from harness.record import last_words, scrubbed

_FLAGS = {"tp": "--tensor-parallel-size", "pp": "--pipeline-parallel-size", "dp": "--data-parallel-size", "max_context": "--max-model-len",
          "max_sequences": "--max-num-seqs", "max_num_batched_tokens": "--max-num-batched-tokens",
          "gpu_memory_fraction": "--gpu-memory-utilization"}  # fmt: skip
# Quantisations that the checkpoint itself names need no flag; dtypes are told as such.
_DTYPES = {"FP16": "float16", "BF16": "bfloat16", "FP32": "float32"}
_METRICS = ["--percentile-metrics", "ttft,tpot,itl,e2el", "--metric-percentiles", "50,95,99"]


def program(point: Point | None = None) -> str:
    return (point.text("program") if point else "") or shutil.which("vllm") or ""


def engine_words(point: Point) -> list[str]:
    """Words by which a point's model is loaded. Remote code is trusted only where the point asks for it."""
    words = ["--model", point.needed("model_id", "Qwen/Qwen3-8B") if not point.text("file") else point.text("file")]
    for cell, flag in _FLAGS.items():
        if point.text(cell):
            words += [flag, point.text(cell)]
    if dtype := _DTYPES.get(point.text("quant").upper()):
        words += ["--dtype", dtype]
    if point.text("kv_dtype"):
        words += ["--kv-cache-dtype", point.text("kv_dtype")]
    if point.flag("trust_remote_code"):
        words += ["--trust-remote-code"]
    if point.flag("random_weights"):
        words += ["--load-format", "dummy"]
    return [*words, *point.args]


def _notes(point: Point) -> str:
    return "random weights" if point.flag("random_weights") else ""


def _run(command: list[str], point: Point, session: Session) -> Finished:
    with started(command) as running:
        session.watch(running.processes)
        in_time = running.wait(point.timeout)
        found = running.stop()
    if not in_time:
        raise failure(Finished(124, found.out, found.err, found.seconds, timed_out=True))
    if found.code:
        raise failure(found)
    return found


def _memory(said: str, point: Point) -> tuple[list[dict[str, Any]], dict[str, float]]:
    found, extra = vllm_memory(said)
    return memory_rows(found, point.whole("max_context") or None, _notes(point)), extra


class _Vllm:
    runtime = "vllm"

    def missing(self) -> str:
        return (
            "" if program() else "vllm is not installed: pip install vllm, in an environment of its own if need be, and put it on the PATH"
        )


@dataclass(frozen=True)
class VllmLatency(_Vllm):
    """`vllm bench latency`: one static batch, again and again."""

    name: str = "vllm-latency"
    about: str = "vllm bench latency: static batches"

    def measure(self, point: Point, session: Session) -> Result:
        prompt, output = server.lengths(point)
        batch = point.whole("concurrency", 1)
        with tempfile.TemporaryDirectory(prefix="roofcast-bench-") as folder:
            out = Path(folder) / "latency.json"
            command = [program(point) or "vllm", "bench", "latency", *engine_words(point), "--input-len", str(prompt), "--output-len",
                       str(output), "--batch-size", str(batch), "--num-iters-warmup", "3", "--num-iters", str(session.repeats.least),
                       "--output-json", str(out)]  # fmt: skip
            found = _run(command, point, session)
            row = _only(out, vllm_offline, found)
        row |= {
            "model_id": point.text("model_id"),
            "prompt_tokens": prompt,
            "output_tokens": output,
            "concurrency": batch,
            "notes": _notes(point),
        }
        memory, extra = _memory(found.said, point)
        return Result([row, *memory], "vllm bench latency", scrubbed(command), extra, spread={"latency_ms": row.get("stddev_rel") or 0.0})


@dataclass(frozen=True)
class VllmThroughput(_Vllm):
    """`vllm bench throughput`: everything at once."""

    name: str = "vllm-throughput"
    about: str = "vllm bench throughput: all requests at once"

    def measure(self, point: Point, session: Session) -> Result:
        prompt, output = server.lengths(point)
        asked = point.whole("requests") or 10 * session.repeats.least
        with tempfile.TemporaryDirectory(prefix="roofcast-bench-") as folder:
            out = Path(folder) / "throughput.json"
            command = [program(point) or "vllm", "bench", "throughput", *engine_words(point), "--input-len", str(prompt), "--output-len",
                       str(output), "--num-prompts", str(asked), "--output-json", str(out)]  # fmt: skip
            found = _run(command, point, session)
            row = _only(out, vllm_offline, found)
        row |= {"model_id": point.text("model_id"), "prompt_tokens": prompt, "output_tokens": output, "notes": _notes(point)}
        memory, extra = _memory(found.said, point)
        return Result([row, *memory], "vllm bench throughput", scrubbed(command), extra)


def _serve(point: Point, port: int) -> list[str]:
    _, model, *words = engine_words(point)
    return [program(point) or "vllm", "serve", model, "--host", "127.0.0.1", "--port", str(port), *words]


@dataclass(frozen=True)
class VllmServer(_Vllm):
    """`vllm serve`, started for the point and asked by our load generator."""

    name: str = "vllm-server"
    about: str = "vllm serve under our own load: closed loop, open loop or trace"

    def measure(self, point: Point, session: Session) -> Result:
        extra: dict[str, float] = {}

        def memory(running: Running) -> list[dict[str, Any]]:
            rows, more = _memory("\n".join(running.said()), point)
            extra.update(more)
            return rows

        result = server.measure(self.name, lambda port: _serve(point, port), point, session, ready="/health", beside=memory)
        result.rows[0].update(model_id=point.text("model_id"), notes=_notes(point))
        result.extra |= extra
        return result


@dataclass(frozen=True)
class VllmBenchServe(_Vllm):
    """`vllm bench serve` against a server at `url`, or one that is started for the point."""

    name: str = "vllm-bench-serve"
    about: str = "vllm bench serve against a server by its url, or one started for it"

    def measure(self, point: Point, session: Session) -> Result:
        if url := point.text("url"):
            return self._against(url, point, session, [])
        port = free_port()
        with started(_serve(point, port)) as running:
            session.watch(running.processes)
            server.wait_for(running, f"http://127.0.0.1:{port}/health", point.timeout)
            memory = _memory("\n".join(running.said()), point)
            return self._against(f"http://127.0.0.1:{port}", point, session, memory[0])

    def _against(self, url: str, point: Point, session: Session, memory: list[dict[str, Any]]) -> Result:
        prompt, output = server.lengths(point)
        users, rate = point.whole("concurrency", 1), point.number("request_rate")
        asked = point.whole("requests") or session.repeats.least * users
        load = ["--request-rate", f"{rate:g}"] if rate else ["--max-concurrency", str(users)]
        model = point.text("api_model") or point.text("file") or point.needed("model_id", "Qwen/Qwen3-8B")
        with tempfile.TemporaryDirectory(prefix="roofcast-bench-") as folder:
            command = [program(point) or "vllm", "bench", "serve", "--backend", "vllm", "--base-url", url.rstrip("/").removesuffix("/v1"),
                       "--model", model, "--dataset-name", "random", "--random-input-len", str(prompt), "--random-output-len", str(output),
                       "--num-prompts", str(asked), *load, "--ignore-eos", "--temperature", "0", "--seed", str(session.seed), *_METRICS,
                       "--save-result", "--result-dir", folder, "--result-filename", "serve.json"]  # fmt: skip
            found = _run(command, point, session)
            row = _only(Path(folder) / "serve.json", serving, found)
        row |= {"model_id": point.text("model_id"), "notes": _notes(point)}
        return Result([row, *memory], "vllm bench serve", scrubbed(command))


def _only(path: Path, read: Callable[[Any], Any], found: Finished) -> dict[str, Any]:
    """The one row of a result file. Raises Failure where it is not there, or nothing was completed."""
    try:
        rows = read(document(path.read_bytes(), path.name))
        return dict(rows[0][1]())
    except (OSError, IndexError, RunError) as error:
        raise Failure("other", last_words(f"{found.said}\n{error}")) from error


ENGINES: tuple[Callable[[], Any], ...] = (VllmLatency, VllmThroughput, VllmServer, VllmBenchServe)
