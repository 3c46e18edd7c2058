"""Measured memory points as questions: each row becomes a scenario and the part of our answer that it measured.

Rows come from logs, documentation and monitors, and every kind of source has its reader. What cannot be mapped raises
RunError with the reason; launch facts are read from a row's columns and notes, never from its measured value.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import duckdb

from core.catalog.files import DATA
from core.catalog.hardware import device as device_named
from core.catalog.models import ir
from core.errors import RoofcastError, RunError
from core.resolve import find_device, find_kv_dtype, find_model, find_quant, find_runtime
from core.runs import read_run
from core.scenario import Scenario, from_flat
from core.setting import settle
from core.units import GIB
from core.weights import weight_table

RUNS = DATA / "runs"
ANY_CPU = "EPYC 9354"  # where a buffer's size does not depend on the device and the log names none
ANY_GPU = "RTX 4090"  # where only the card's memory matters and the log states it
_STATED = {"mlx": "torch_peak", "exllama": "torch_peak"}  # engines whose clients print the allocator's peak
RIG_CARDS = 4  # of LottoLottoLotto/4x3090-llm-benchmarks
# Its parts whose figure is of one card: two cards and four all read what the set share of a single one is.
ONE_CARD = ("#sweep0622/", "#vllm026-rs/")
DESKTOP = 0.2 * GIB  # what lhl/strix-halo-testing says an idle desktop adds to its figures
ROOMY_GIB = 10_000.0  # a device on which everything lies together, for sums over the devices of a run


@dataclass(frozen=True, slots=True)
class Point:
    """One measured number as a question: the scenario, and which of its memory was measured. Bytes."""

    source: str
    kind: str  # weights, kv, state, compute, peak, torch_peak, gpu_peak, taken, pool, activations, non_torch, graphs
    runtime: str
    backend: str
    measured: float
    scenario: Scenario
    cards: int = 1  # over how many devices the number is summed
    outside: float = 0.0  # bytes that the number counts and no engine holds (a desktop, as the source states it)
    file_bits: float | None = None  # bits per weight that the log prints for the file
    name: str = ""
    copies: int = 1  # of the scenario side by side, among which the cards are divided
    run_id: str = ""  # of its record; what follows is the record's too
    path: str = ""
    origin: str = ""
    date: str = ""


# ---- Reading


_COLUMNS = {  # of a run record -> the names that the readers below use
    "run_id": "run_id", "origin": "origin", "run_date": "run_date",
    "source": "source", "source_path": "source_path", "model_name_raw": "model_id", "quant": "quant", "kv_dtype": "kv_dtype",
    "runtime": "backend", "runtime_version": "backend_version", "gpu_name": "gpu_name", "gpu_count": "gpu_count", "tp": "tp",
    "context_tokens": "context_tokens", "concurrency": "batch_size", "memory_kind": "measured_kind", "memory_gib": "value_gib",
    "notes": "notes",
}  # fmt: skip


def read_points(folder: Path = RUNS) -> list[dict[str, str]]:
    """The corpus's points of memory, a dictionary of texts each. Raises RunError."""
    return [{ours: row[name] for name, ours in _COLUMNS.items()} for row in _texts(folder / "*" / "memory.parquet")]


def _texts(files: Path) -> list[dict[str, str]]:
    try:
        table = duckdb.execute("SELECT * FROM read_parquet(?, union_by_name=true) ORDER BY run_id", [str(files)])
        names = [column[0] for column in table.description or ()]
        rows = table.fetchall()
    except duckdb.Error as error:
        raise RunError(f"No {files.name} can be read in the corpus ({type(error).__name__}); restore data/runs.") from error
    return [{name: "" if cell is None else str(cell) for name, cell in zip(names, row, strict=True)} for row in rows]


def read_run_peaks(folder: Path = RUNS) -> list[dict[str, str]]:
    """The corpus's runs that state a peak in an engine whose meaning of it is known, a dictionary of texts each. Raises RunError."""
    return [row for row in _texts(folder / "*" / "runs.parquet") if row["vram_peak_gib"] and row["engine"] in _STATED]


def _number(pattern: str, text: str) -> float | None:
    found = re.search(pattern, text)
    return float(found[1]) if found else None


def _whole(pattern: str, text: str) -> int | None:
    found = _number(pattern, text)
    return None if found is None else int(found)


def _model(row: Mapping[str, str]) -> str:
    size = re.search(r"type (\d[\w.]*B)\b", row["notes"])
    names = [row["model_id"].strip()]
    if size:
        names.append(f"{names[0]} {size[1]}")
    if alike := re.search(r"([A-Za-z][\w.-]*\d[\w.]*B)[- ]class", names[0]):
        names.append(alike[1])
    return find_model(*names).id


def _quant(row: Mapping[str, str], runtime: str) -> str:
    label = re.sub(r" - \d.*$|^gguf-|^\(.*\)$", "", row["quant"].strip())
    label = re.sub(r"^AWQ int4 g128$", "AWQ", re.sub(r"^FP16/BF16$", "BF16", label))
    if not label:
        raise RunError("no quantisation")
    return find_quant(label, runtime).id


def _kv(row: Mapping[str, str]) -> str | None:
    label = re.sub(r"\s+", "", row["kv_dtype"])
    if not label or label == "None/None":
        return None
    found = find_kv_dtype(label)
    return found.id if found else None


def _device(row: Mapping[str, str]) -> tuple[str, int]:
    """The device's id and how many; of several kinds there is no scenario."""
    name = row["gpu_name"].strip()
    many = re.match(r"(\d+)x (.*)", name)
    count = int(float(row["gpu_count"] or 1))
    if many:
        count, name = int(many[1]), many[2]
    if ";" in name:
        raise RunError("devices of different kinds")
    return find_device(re.sub(r"\s*\(.*\)$", "", name)).id, count


_NOTE_KNOBS: tuple[tuple[str, str], ...] = (
    ("token_budget", r"n_batch=(\d+)"),
    ("micro_batch", r"n_ubatch=(\d+)"),
    ("max_sequences", r"n_seq_max=(\d+)"),
    ("max_context", r"n_ctx=(\d+)"),
)
_MLA = {"0": "full", "1": "latent_and_values", "2": "latent", "3": "latent"}


def _from_log(row: Mapping[str, str]) -> dict[str, Any]:
    """What a llama.cpp log says of the launch."""
    notes = row["notes"]
    knobs: dict[str, Any] = {name: _whole(pattern, notes) for name, pattern in _NOTE_KNOBS}
    flash = re.search(r"flash_attn=(\w+)", notes)
    if flash:
        knobs["flash_attention"] = flash[1] in ("1", "enabled", "auto", "True")
    mla = re.search(r"mla_attn=(\d)", notes)
    if mla:
        latent = _MLA[mla[1]]
        knobs["mla_cache"] = "latent" if latent == "latent_and_values" and knobs.get("flash_attention") else latent
    if knobs["max_context"] is None and row["context_tokens"].strip():
        knobs["max_context"] = int(float(row["context_tokens"]))
    return knobs


# ---- One reader for each kind of source: a row's scenario knobs, the part it measured, the cards it sums over


def _buffers(row: Mapping[str, str]) -> Point:
    """A buffer that llama.cpp, its fork or Ollama printed: sums over devices, so one roomy device stands for them."""
    notes, kind = row["notes"], row["measured_kind"]
    if "FLAG" in notes:
        raise RunError("flagged at the source (double count or truncated log)")
    if "PRE-LOAD ESTIMATE" in notes:
        raise RunError("Ollama's own estimate, not a measurement")
    runtime = find_runtime(re.sub(r" (\(.*\)|engine)$", "", row["backend"])).id
    backend = re.search(r"(CUDA|ROCm|Vulkan|SYCL)\d|(CPU)", notes)
    what = {"weights_buffer": "weights", "kv_buffer": "state" if "RECURRENT" in notes else "kv", "compute_buffer": "compute"}[kind]
    if what == "weights" and "GPU-resident" in notes:
        raise RunError("weights of the devices alone: tensors were placed by hand")
    knobs = _from_log(row)
    context = knobs.get("max_context") or 512
    if what == "compute" and not knobs.get("flash_attention", True) and re.search(r"attn_max_b=[1-9]", notes):
        raise RunError("scores in pieces of a stated size, which no scenario says")
    if what == "kv" and knobs.get("mla_cache") is None and _is_mla(_model(row)):
        raise RunError("an MLA model, and the log does not say what its cache keeps")
    kv = None if what == "state" else _kv(row)
    try:
        device, cards = _device(row)
    except RunError:
        device, cards = ANY_CPU, 1
    on_gpu = backend is not None and backend[1] is not None
    if what == "compute" and not on_gpu:
        device, cards = ANY_CPU, 1
    together = what in ("weights", "kv", "state")
    slots = knobs.pop("max_sequences", None) or 1
    bits = _number(r"\(([\d.]+) BPW\)", notes) or _number(r"bits/weight ([\d.]+)", notes)
    quant = _quant(row, runtime) if what == "weights" else _or_default(row, runtime)
    flat = {
        **knobs, "model": _model(row), "runtime": runtime, "quant": quant, "kv_dtype": kv,
        "device": ANY_CPU if together else device, "count": 1 if together else cards, "device_memory_gib": ROOMY_GIB,
        "max_context": max(1, context // slots), "max_sequences": slots, "concurrency": slots,
        "prompt_tokens": max(1, context // slots - 1), "output_tokens": 1, "runtime_version": row["backend_version"] or None,
    }  # fmt: skip
    where = (backend[1] or backend[2]).lower() if backend else "file"
    return _point(row, what, runtime, where, flat, file_bits=bits)


def _or_default(row: Mapping[str, str], runtime: str) -> str | None:
    """The quantisation where it is known; other buffers do not depend on it."""
    try:
        return _quant(row, runtime)
    except RoofcastError:
        return None


@functools.lru_cache(maxsize=1024)
def _is_mla(model: str) -> bool:
    return any(block.attention.kind == "mla" for block in ir(model).blocks)


def _point(row: Mapping[str, str], kind: str, runtime: str, backend: str, flat: dict[str, Any], **more: Any) -> Point:
    measured = float(row["value_gib"]) * GIB
    if measured <= 0:
        raise RunError("not a positive number")
    return Point(row["source"].strip(), kind, runtime, backend, measured, from_flat(flat), name=row["model_id"][:60], **more)


def _static(row: Mapping[str, str]) -> Point:
    """A static batch's peak, one prompt and its output, as torch or nvidia-smi saw it."""
    notes = row["notes"]
    runtime = find_runtime(re.sub(r" \(pytorch\)", "", row["backend"])).id
    device, cards = _device(row)
    context, batch = int(float(row["context_tokens"] or 1024)), int(float(row["batch_size"] or 1))
    if found := re.search(r"prefill (\d+) \+ decode (\d+)", notes):
        prompt, output = int(found[1]), int(found[2])
    elif "INPUT length" in notes:
        prompt, output = context, 2048
    elif found := re.search(r"prompt[= ](\d+)(?: gen=|, )(\d+)", notes):
        prompt, output = int(found[1]), int(found[2])
    elif found := re.search(r"generat(?:e|ing) (\d+) tokens", notes):
        prompt, output = 1, int(found[1])
    else:
        prompt, output = 1, context
    torch = "torch peak" in notes
    quant = _quant(row, runtime)
    flat = {
        "model": _model(row), "runtime": runtime, "quant": quant, "kv_dtype": _kv(row), "device": device,
        "prompt_tokens": prompt, "output_tokens": output, "concurrency": batch, "arrival": "static",
        "device_memory_gib": None if row["measured_kind"] == "total_reserved" else ROOMY_GIB,
        "runtime_version": row["backend_version"] or None,
    }  # fmt: skip
    if found := re.search(r"torch ([\d.]+)|transformers ([\d.]+)", row["backend_version"]):
        flat["runtime_version"] = re.sub(r".*transformers ([\d.]+).*", r"\1", row["backend_version"])
    if "preallocated" in notes:
        flat["max_context"] = context
    reserved = row["measured_kind"] == "total_reserved"
    return _point(row, "taken" if reserved else "torch_peak" if torch else "peak", runtime, "cuda", flat, cards=cards)


def _strix(row: Mapping[str, str]) -> Point:
    """llama-bench on one machine with unified memory: GTT and VRAM together, a desktop's share included."""
    notes = row["notes"]
    mode = re.search(r"mode=(pp|tg)(\d+)", notes)
    if not mode:
        raise RunError("no mode")
    prompt, output = (int(mode[2]), 1) if mode[1] == "pp" else (1, int(mode[2]))
    build = row["backend_version"]
    bits = _number(r"model file ([\d.]+) GiB", notes)
    flat = {
        "model": _model(row), "runtime": "llama.cpp", "quant": _quant(row, "llama.cpp"), "kv_dtype": _kv(row), "device": _device(row)[0],
        "backend": "vulkan" if "vulkan" in build else "rocm", "prompt_tokens": prompt, "output_tokens": output,
        "micro_batch": _whole(r"n_ubatch=(\d+)", notes), "flash_attention": "fa=True" in notes, "runtime_version": build,
        "device_memory_gib": ROOMY_GIB,
    }  # fmt: skip
    point = replace(_point(row, "gpu_peak", "llama.cpp", str(flat["backend"]), flat), outside=DESKTOP)
    file = bits * GIB * 8 / weight_table(settle(point.scenario, strict=False).ir, "F16").elements if bits else None
    return replace(point, file_bits=file)


def _rig(row: Mapping[str, str]) -> Point:
    """A rig's peak by nvidia-smi, summed over its cards."""
    notes = row["notes"]
    runtime = find_runtime(row["backend"]).id
    device, cards = _device(row)
    path = row["source_path"]
    if "spec-" in path and "spec-none" not in path:
        raise RunError("speculative decoding with a draft model")
    if runtime == "llama.cpp" and path.endswith("_aggregate"):
        raise RunError("a server whose slots are not stated")
    # Its orchestrated runs fill the rig's four cards with copies of one layout and sum over all of them.
    copies = RIG_CARDS // cards if "#orch/" in path else 1
    if float(row["value_gib"]) * GIB > 1.05 * copies * cards * device_named(device).usable_memory().value:
        raise RunError("more than the row's cards have")
    prompt, output = _whole(r"prompt=(\d+)", notes) or 512, _whole(r"gen=(\d+)", notes) or 256
    if row["measured_kind"] == "total_reserved" and "spec=None" not in notes:
        raise RunError("speculative decoding with a draft model")
    fraction = _number(r"mem util=([\d.]+)", notes)
    batch = int(float(row["batch_size"] or 1))
    context = int(float(row["context_tokens"] or prompt + output))
    tp = int(float(row["tp"] or 1))
    flat = {
        "model": _model(row), "runtime": runtime, "quant": _quant(row, runtime), "kv_dtype": _kv(row), "device": device, "count": cards,
        "tp": tp if runtime == "vllm" or runtime == "exllamav3" else None, "prompt_tokens": prompt, "output_tokens": output,
        "concurrency": batch, "max_context": max(context, prompt + output), "memory_fraction": fraction,
        "runtime_version": row["backend_version"] or None,
        "max_sequences": batch if runtime == "llama.cpp" else None,
    }  # fmt: skip
    if runtime == "vllm" and cards > tp:
        flat["dp"] = cards // tp
    kind = "taken" if row["measured_kind"] == "total_reserved" else "peak"
    if any(part in path for part in ONE_CARD):
        return _point(row, kind, runtime, "cuda", flat)
    return _point(row, kind, runtime, "cuda", flat, cards=cards * copies, copies=copies)


def _server_log(row: Mapping[str, str]) -> Point:
    """What vLLM says at its start, per card."""
    notes, kind = row["notes"], row["measured_kind"]
    memory = _number(r"([\d.]+) GiB", row["gpu_name"])
    device = ANY_GPU if memory else _device(row)[0]
    part = {"weights_buffer": "weights", "kv_buffer": "pool", "total_reserved": "taken"}.get(kind)
    part = part or ("non_torch" if "non-torch" in notes else "graphs" if "graph" in notes else "activations")
    tp = int(float(row["tp"] or 1))
    context = int(float(row["context_tokens"] or 8192))
    flat = {
        "model": _model(row), "runtime": find_runtime(row["backend"]).id, "quant": _quant(row, "vllm"), "device": device,
        "device_memory_gib": memory,
        "count": tp, "tp": tp,
        "max_context": context, "prompt_tokens": min(context - 1, 512), "output_tokens": 1,
        "runtime_version": row["backend_version"] or None, "memory_fraction": _number(r"util ([\d.]+)", notes),
        "token_budget": _whole(r"batched tokens (\d+)", notes),
    }  # fmt: skip
    return _point(row, part, str(flat["runtime"]), "cuda", flat)


def _run(row: Mapping[str, str]) -> Point:
    """A run whose client stated the engine's peak."""
    run = read_run(row)
    runtime = run.scenario.runtime
    if runtime not in _STATED:
        raise RunError("a run's peak whose meaning its source does not state")
    roomy = run.scenario.with_(device_memory_gib=ROOMY_GIB)
    measured = float(row["vram_peak_gib"]) * GIB
    return Point(row["source"], _STATED[runtime], runtime, "metal" if runtime == "mlx" else "cuda", measured, roomy, name=row["model_id"])


def _reader(row: Mapping[str, str]) -> Callable[[Mapping[str, str]], Point]:
    source, notes = row["source"].lower(), row["notes"]
    if "measured_kind" not in row:
        return _run
    if "strix-halo-testing" in source:
        return _strix
    if "transcribed by hand" in notes:
        return _server_log
    if "4x3090" in source:
        return _rig
    if "club-3090" in source:
        raise RunError("rounded to the GB, unit unclear, build with speculative decoding or a vision part")
    if row["measured_kind"] == "ram_peak":
        raise RunError("a CPU build's process, weights unpacked to 16 bits")
    if row["measured_kind"] in ("process_peak", "total_reserved") and "PRE-LOAD" not in notes:
        return _static
    return _buffers


def point_of(row: Mapping[str, str]) -> Point:
    """A row of memory points as a question. Raises RunError saying why it cannot be one."""
    run_id, path, origin, date = (row.get(name, "") for name in ("run_id", "source_path", "origin", "run_date"))
    return replace(_reader(row)(row), run_id=run_id, path=path, origin=origin, date=date)
