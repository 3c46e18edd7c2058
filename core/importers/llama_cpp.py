"""Results of llama-bench (JSON, JSON lines, CSV, Markdown, SQL) and llama-batched-bench (JSON lines, Markdown)."""

from __future__ import annotations

import re
from functools import partial

from core.errors import RunError
from core.importers.document import Document, Object, Row, Rows, date_of, file_name, number, numbers, percentile, text

_TYPE = re.compile(r"^(?P<arch>.+?) (?P<size>[\d?][\w.?+]*) (?:mostly )?(?P<quant>.+)$")
_TEST = re.compile(r"^(?:pp ?(?P<pp>\d+))?\+?(?:tg ?(?P<tg>\d+))?(?: @ d(?P<depth>\d+))?$")
_SPEED = re.compile(r"^\s*([\d.]+)\s*(?:±\s*([\d.]+))?\s*$")
_BUILD = re.compile(r"^build:\s*(\w+)\s*\((\d+)\)", re.M)
# What the engine says of its devices before a table that does not name them.
_DEVICE = re.compile(r"^\s*(?:Device \d+: (?P<a>[^,\n]+), compute|ggml_vulkan: \d+ = (?P<b>.+?) \(|.*GPU name:\s+(?P<c>\S.*?)\s*$)", re.M)
_INSERT = re.compile(r"insert into test \((?P<columns>[^)]*)\) values \((?P<cells>.*)\);", re.I)
_CELL = re.compile(r"'((?:[^']|'')*)'")
_SAID = re.compile(r"(\w+) = (-?[\w.]+)")
SYNTHETIC = "-synthetic"  # in the name of a file of random weights


# ---- llama-bench


def llama_bench(document: Document) -> Rows:
    """A row a test."""
    objects: Rows = [(where, partial(_bench_row, entry)) for where, entry in _bench_objects(document)]
    return objects + [(where, partial(_markdown_row, line, document.text)) for where, line in _bench_tables(document)]


def _bench_objects(document: Document) -> list[tuple[str, Object]]:
    sql = [
        (f"statement {at}", dict(zip(re.split(r",\s*", found["columns"]), _CELL.findall(found["cells"]), strict=False)))
        for at, found in enumerate(_INSERT.finditer(document.text), 1)
    ]
    candidates = sql or document.objects or (document.csv if "n_prompt" in document.text[:2000] else [])
    return [(where, entry) for where, entry in candidates if {"n_prompt", "n_gen", "avg_ts"} <= set(entry)]


def _bench_tables(document: Document) -> list[tuple[str, dict[str, str]]]:
    return [line for table in document.tables if {"model", "test", "t/s"} <= set(table[0][1]) for line in table]


def _markdown_row(line: dict[str, str], around: str) -> Row:
    test, speed = _TEST.match(line.get("test", "")), _SPEED.match(line.get("t/s", ""))
    if not test or not (test["pp"] or test["tg"]) or not speed:
        raise RunError(f"The test '{line.get('test', '')}' with '{line.get('t/s', '')}' t/s is none of llama-bench; give pp512, tg128 …")
    build = _BUILD.search(around)
    devices = [a or b or c for a, b, c in _DEVICE.findall(around)]
    names = {"threads": "n_threads", "ngl": "n_gpu_layers", "fa": "flash_attn", "sm": "split_mode", "n_cpu_moe": "n_cpu_moe"}
    size = re.match(r"([\d.]+) (GiB|MiB)", line.get("size", ""))
    return _bench_row({
        **{names.get(key, key): cell for key, cell in line.items()},
        "model_type": line["model"], "backends": line.get("backend", ""), "gpu_info": ", ".join(devices),
        "model_size": float(size[1]) * (2**30 if size[2] == "GiB" else 2**20) if size else None,
        "build_commit": build[1] if build else "", "build_number": build[2] if build else "",
        "n_prompt": test["pp"] or 0, "n_gen": test["tg"] or 0, "n_depth": test["depth"] or 0,
        "avg_ts": speed[1], "stddev_ts": speed[2], "reported": True,
    })  # fmt: skip


def _bench_row(entry: Object) -> Row:
    prompt, output, depth = number(entry, "n_prompt") or 0, number(entry, "n_gen") or 0, number(entry, "n_depth") or 0
    samples = numbers(entry, "samples_ts")
    # Of repeats the middle one: a burst on the machine moves a mean.
    speed = percentile(samples, 50) if len(samples) > 2 else number(entry, "avg_ts")
    mean, spread = number(entry, "avg_ts"), number(entry, "stddev_ts")
    if not speed or not mean:
        raise RunError("The test has no speed (avg_ts); it was not completed.")
    if not prompt and not output:
        raise RunError("The test has neither a prompt nor an output (n_prompt, n_gen).")
    row: Row = {
        **_machine(entry), **_model(entry), **_options(entry),
        "load_kind": "concurrency", "concurrency": 1, "context_depth": depth,
        "prompt_tokens": prompt or None, "output_tokens": output,
        "stddev_rel": None if spread is None or len(samples) == 1 else spread / mean,
        "run_date": date_of(text(entry, "test_time")), "quality_tier": "B" if entry.get("reported") else "A",
    }  # fmt: skip
    if prompt and output:
        row |= {"total_toks_sec": speed, "latency_ms_mean": (prompt + output) / speed * 1e3}
    else:
        row["prefill_toks_sec" if prompt else "decode_toks_sec"] = speed
    return row


def _machine(entry: Object) -> Row:
    names = [name.strip() for name in text(entry, "gpu_info").split(",") if name.strip()]
    backends = text(entry, "backends")
    commit, build = text(entry, "build_commit").replace("unknown", ""), number(entry, "build_number")
    version = f"b{build:.0f} ({commit})" if build else commit
    row = {"runtime": "llama.cpp", "runtime_version": f"{version} {backends}".strip(), "cpu_name": text(entry, "cpu_info")}
    if not names or backends.upper() in ("CPU", "BLAS"):
        return row
    listed = [d for d in re.split(r"[/,]", text(entry, "devices")) if d and d.lower() not in ("auto", "none")]
    count = 1 if text(entry, "split_mode") == "none" else min(len(listed), len(names)) or len(names)
    used = list(dict.fromkeys(names[:count]))
    layers = number(entry, "n_gpu_layers")
    rows = {"tp": count} if text(entry, "split_mode") == "row" and count > 1 else {}
    return {**row, **rows, "gpu_name": " + ".join(used), "gpu_count": count, "n_gpu_layers": layers}


def _model(entry: Object) -> Row:
    kind = _TYPE.match(text(entry, "model_type"))
    file = file_name(text(entry, "model_filename"))
    billions, size = number(entry, "model_n_params"), number(entry, "model_size")
    row: Row = {"model_name_raw": file.replace(SYNTHETIC, ""), "notes": ["random weights"] if SYNTHETIC in file else []}
    if kind:
        row["quant"] = re.sub(r" - [\d.]+ bpw.*|\s*\(guessed\)", "", kind["quant"])
    if billions:
        row["params_b"] = billions / 1e9
    if size:
        row["weights_gib"] = size / 2**30
    return row


def _options(entry: Object) -> Row:
    flash = str(entry.get("flash_attn", "")).lower()
    row: Row = {
        "threads": number(entry, "n_threads"), "n_batch": number(entry, "n_batch"), "n_ubatch": number(entry, "n_ubatch"),
        "flash_attn": {"true": "1", "on": "1", "1": "1", "false": "0", "off": "0", "0": "0"}.get(flash, ""),
        "kv_dtype": text(entry, "type_k"),
    }  # fmt: skip
    # A setting that a scenario has no word for keeps a run out of fitting; it is still judged.
    doubts = {
        "keys and values are stored in two types": text(entry, "type_k") != text(entry, "type_v"),
        "the cache stays in host memory (no_kv_offload)": _on(entry, "no_kv_offload"),
        "some tensors were placed by hand": text(entry, "tensor_buft_overrides") not in ("", "none"),
        "nothing was handed to the GPU (no_op_offload)": _on(entry, "no_op_offload"),
    }
    row["unfit"] = next((why for why, holds in doubts.items() if holds), "")
    if experts := number(entry, "n_cpu_moe"):
        row["placed"] = f"n_cpu_moe {experts:.0f}"
    return row


def _on(entry: Object, key: str) -> bool:
    return str(entry.get(key, "")).lower() in ("1", "true")


# ---- llama-batched-bench


def batched_bench(document: Document) -> Rows:
    """A row a batch; the file names neither model nor machine."""
    said = dict(_SAID.findall(next((line for line in document.text.splitlines() if "n_kv_max =" in line), "")))
    return [(where, partial(_batch_row, {**said, **entry})) for where, entry in _batched(document)]


_HEADS = {"PP": "pp", "TG": "tg", "B": "pl", "T_PP s": "t_pp", "S_PP t/s": "speed_pp", "T_TG s": "t_tg", "S_TG t/s": "speed_tg",
          "T s": "t", "S t/s": "speed", "N_KV": "n_kv"}  # fmt: skip


def _batched(document: Document) -> list[tuple[str, Object]]:
    objects = [(where, entry) for where, entry in document.objects if {"pp", "tg", "pl", "speed_tg"} <= set(entry)]
    tables = [line for table in document.tables if {"PP", "TG", "B", "S_TG t/s"} <= set(table[0][1]) for line in table]
    return objects or [(where, {_HEADS.get(key, key): cell for key, cell in line.items()}) for where, line in tables]


def _batch_row(entry: Object) -> Row:
    prompt, output, batch = number(entry, "pp"), number(entry, "tg"), number(entry, "pl")
    decode, first = number(entry, "speed_tg"), number(entry, "t_pp")
    if not prompt or not output or not batch or not decode:
        raise RunError("The batch was not completed: its prompt, output, size or speed is zero.")
    row: Row = {
        **_options(entry),
        "runtime": "llama.cpp", "load_kind": "static_batch", "concurrency": batch, "prompt_tokens": prompt, "output_tokens": output,
        "n_gpu_layers": number(entry, "n_gpu_layers"), "decode_toks_sec": decode, "quality_tier": "A", "notes": [],
    }  # fmt: skip
    if number(entry, "is_pp_shared"):
        row["unfit"] = "one prompt is shared by the whole batch"
        return row
    return row | {
        "prefill_toks_sec": number(entry, "speed_pp"),
        "ttft_ms_mean": first * 1e3 if first else None,
        "total_toks_sec": number(entry, "speed"),
    }
