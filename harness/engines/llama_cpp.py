"""llama.cpp: llama-bench and llama-batched-bench to their end, llama-server under our own load."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from core.importers.document import document
from core.importers.llama_cpp import batched_bench, llama_bench
from harness.engines import server
from harness.engines.base import Point, Result, Session, model_name
from harness.engines.logs import llama_memory, memory_rows
from harness.failures import Failure, failure
from harness.process import Finished, Running, started
from harness.record import last_words, scrubbed
from harness.stats import spread

FOLDER = "ROOFCAST_LLAMA_CPP"  # environment variable: where the programs of llama.cpp are


def program(name: str, point: Point | None = None) -> str:
    """The program's path: as the point says, in the folder of ROOFCAST_LLAMA_CPP, or on the PATH; "" where it is not."""
    said = point.text("program") if point else ""
    folder = os.environ.get(FOLDER, "")
    return said or shutil.which(name, path=folder) or shutil.which(name) or "" if folder else said or shutil.which(name) or ""


def _missing(name: str) -> str:
    return "" if program(name) else f"{name} is not installed: put llama.cpp's programs on the PATH, or say in {FOLDER} where they are"


def _finished(command: list[str], point: Point, session: Session) -> Finished:
    """A command's result. Raises Failure where it ended badly or took too long, RunError where there is no such program."""
    with started(command) as running:
        session.watch(running.processes)
        in_time = running.wait(point.timeout)
        found = running.stop()
    if not in_time:
        raise failure(Finished(124, found.out, found.err, found.seconds, timed_out=True))
    if found.code:
        raise failure(found)
    return found


def _flags(point: Point, names: dict[str, str]) -> list[str]:
    """Flags for the cells that a point has."""
    return [word for cell, flag in names.items() if point.text(cell) for word in (flag, point.text(cell))]


_COMMON = {"threads": "-t", "n_batch": "-b", "n_ubatch": "-ub", "n_gpu_layers": "-ngl"}


def _kv(point: Point) -> list[str]:
    kind = point.text("kv_dtype")
    return ["-ctk", kind, "-ctv", kind] if kind else []


@dataclass(frozen=True)
class LlamaBench:
    """Prefill and decode of one sequence, apart, at any depth."""

    name: str = "llama-bench"
    about: str = "llama.cpp's benchmark of one sequence: prefill and decode, at a depth"
    runtime: str = "llama.cpp"

    def missing(self) -> str:
        return _missing(self.name)

    def measure(self, point: Point, session: Session) -> Result:
        file = point.needed("file", "model.gguf")
        flash = {True: ["-fa", "1"], False: ["-fa", "0"], None: []}[point.flag("flash_attn")]
        command = [program(self.name, point) or self.name, "-m", file, "-p", str(point.whole("prompt_tokens")),
                   "-n", str(point.whole("output_tokens")), *_flags(point, {**_COMMON, "context_depth": "-d"}), *flash, *_kv(point),
                   *point.args, "-r", str(session.repeats.least), "-o", "json"]  # fmt: skip
        samples: dict[str, list[float]] = {}
        rows: dict[str, dict[str, Any]] = {}
        while True:
            found = _finished(command, point, session)
            for metric, row, one in _tests(found):
                samples.setdefault(metric, []).extend(one)
                rows[metric] = row
            session.tell(max(map(len, samples.values())), session.repeats.most)
            if session.repeats.enough(*samples.values()):
                break
        told = []
        for metric, row in rows.items():
            middle = sorted(samples[metric])[len(samples[metric]) // 2]
            told.append({**row, **model_name(point), metric: middle, "stddev_rel": spread(samples[metric])})
        return Result(told, self.name, scrubbed(command), repeats={k: tuple(v) for k, v in samples.items()},
                      spread={metric: spread(one) for metric, one in samples.items()})  # fmt: skip


def _tests(found: Finished) -> list[tuple[str, dict[str, Any], list[float]]]:
    """The tests of llama-bench's JSON: metric, row, its repeats. Raises Failure where there is none."""
    doc = document(found.out.encode() or b" ", "llama-bench")
    entries = [entry for _, entry in doc.objects]
    told = []
    for (_, read), entry in zip(llama_bench(doc), entries, strict=False):
        row = read()
        metric = next((name for name in ("prefill_toks_sec", "decode_toks_sec", "total_toks_sec") if row.get(name)), "")
        told.append((metric, row, [float(one) for one in entry.get("samples_ts") or [row[metric]]]))
    if not told:
        raise Failure("other", last_words(found.said))
    return told


@dataclass(frozen=True)
class LlamaBatchedBench:
    """Batches that start together: prefill of all, then decode of all."""

    name: str = "llama-batched-bench"
    about: str = "llama.cpp's benchmark of static batches"
    runtime: str = "llama.cpp"

    def missing(self) -> str:
        return _missing(self.name)

    def measure(self, point: Point, session: Session) -> Result:
        file = point.needed("file", "model.gguf")
        prompt, output, batch = point.whole("prompt_tokens"), point.whole("output_tokens"), point.whole("concurrency", 1)
        each = point.whole("max_context") or prompt + output
        flash = {True: ["-fa", "on"], False: ["-fa", "off"], None: []}[point.flag("flash_attn")]
        threads = ["-tb", point.text("threads")] if point.text("threads") else []
        # The list of batch sizes names one as often as it is to be repeated: the model is loaded once.
        again = ",".join([str(batch)] * session.repeats.least)
        command = [program(self.name, point) or self.name, "-m", file, "-c", str(batch * each), "-npp", str(prompt), "-ntg", str(output),
                   "-npl", again, *_flags(point, _COMMON), *threads, *flash, *_kv(point), *point.args,
                   "--output-format", "jsonl"]  # fmt: skip
        rows: list[dict[str, Any]] = []
        decode: list[float] = []
        while not rows or not session.repeats.enough(decode):
            found = _finished(command, point, session)
            new = [read() for _, read in batched_bench(document(found.out.encode() or b" ", self.name))]
            if not new:
                raise Failure("other", last_words(found.said))
            rows += new
            decode = [row["decode_toks_sec"] for row in rows]
            session.tell(len(rows), session.repeats.most)
        repeats = {
            m: tuple(row[m] for row in rows if row.get(m))
            for m in ("decode_toks_sec", "prefill_toks_sec", "ttft_ms_mean", "total_toks_sec")
        }
        middle = {metric: sorted(one)[len(one) // 2] for metric, one in repeats.items() if one}
        row = {**rows[-1], **model_name(point), **middle, "stddev_rel": spread(decode), "notes": f"ctx={each}"}
        return Result([row], self.name, scrubbed(command), repeats=repeats, spread={"decode_toks_sec": spread(decode)})


@dataclass(frozen=True)
class LlamaServer:
    """llama-server, started for the point and asked by our load generator."""

    name: str = "llama-server"
    about: str = "llama.cpp's server under our own load: closed loop, open loop or trace"
    runtime: str = "llama.cpp"

    def missing(self) -> str:
        return _missing(self.name)

    def measure(self, point: Point, session: Session) -> Result:
        file = point.needed("file", "model.gguf")
        slots = point.whole("max_sequences") or point.whole("concurrency") or 4
        prompt, output = server.lengths(point)
        # The context is divided over the slots; prompts are sized by words, so some room is left.
        each = point.whole("max_context") or prompt + output + max(64, prompt // 10)
        context, notes = slots * each, f"ctx={each}; max_num_seqs {slots}"
        flash = {True: ["-fa", "on"], False: ["-fa", "off"], None: []}[point.flag("flash_attn")]

        def command(port: int) -> list[str]:
            return [program(self.name, point) or self.name, "-m", file, "--host", "127.0.0.1", "--port", str(port), "-c", str(context),
                    "-np", str(slots), *_flags(point, _COMMON), *flash, *_kv(point), *point.args]  # fmt: skip

        def memory(running: Running) -> list[dict[str, Any]]:
            return memory_rows(llama_memory("\n".join(running.said())), context, notes)

        result = server.measure(self.name, command, point, session, ready="/health", beside=memory)
        for row in result.rows:
            row.update(model_name(point))
        result.rows[0].update(context_tokens=context, notes=notes)
        return result


ENGINES: tuple[Callable[[], Any], ...] = (LlamaBench, LlamaBatchedBench, LlamaServer)


__all__ = ["ENGINES", "LlamaBatchedBench", "LlamaBench", "LlamaServer", "program"]
