"""Measured runs: one table schema, and the scenario that a row measured.

Only input columns are read: a file with its metrics blanked predicts the same.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from core.cards import JOIN, Cards, read_cards
from core.catalog.hardware import Device, device
from core.catalog.models import ir
from core.catalog.runtimes import Runtime, runtime, version_number
from core.errors import RunError, ScenarioError
from core.plan import legal_tp
from core.resolve import backend_in, find_device, find_kv_dtype, find_model, find_quant, find_runtime, quant_in_name
from core.run_notes import NO_KV_CACHE, DecodeIs, Hints, read_hints
from core.scenario import Scenario, from_flat
from core.weights import weight_table

METRIC_COLUMNS = (
    "prefill_toks_sec", "decode_toks_sec", "output_toks_sec", "total_toks_sec",
    "ttft_ms_mean", "ttft_ms_p50", "ttft_ms_p95", "ttft_ms_p99",
    "tpot_ms_mean", "tpot_ms_p50", "tpot_ms_p95", "tpot_ms_p99",
    "latency_ms_mean", "latency_ms_p50", "latency_ms_p95", "latency_ms_p99",
    "vram_peak_gib", "power_w",
)  # fmt: skip
INPUT_COLUMNS = (
    "run_date", "model_id", "model_name_raw", "quant", "kv_dtype", "runtime", "runtime_version",
    "gpu_name", "gpu_count", "cpu_name", "ram_gb", "tp", "pp", "dp", "ep", "n_gpu_layers",
    "flash_attn", "n_batch", "n_ubatch", "threads", "load_kind", "concurrency", "request_rate",
    "prompt_tokens", "output_tokens", "context_depth", "notes",
    "prefix_cached_tokens", "max_num_batched_tokens", "gpu_memory_fraction", "power_limit_w",
)  # fmt: skip
# A file needs these; of a pair either one. Everything else has a default.
REQUIRED_COLUMNS: tuple[tuple[str, ...], ...] = (("model_id", "model_name_raw"), ("gpu_name", "cpu_name"), ("runtime",))

DEFAULT_PROMPT, DEFAULT_OUTPUT = 512, 128  # what llama-bench runs, where a row gives no length
MANY = 4096  # users of an offline run: more than any engine takes at once
_ARRIVALS = {"static_batch": "static", "concurrency": "closed", "request_rate": "open", "offline_max": "saturated"}
# Engine of a server run that names none, by the vendor of its accelerator.
_USUAL_SERVER = {"nvidia": "tensorrt-llm", "amd": "vllm", "intel": "vllm"}
ALL_LAYERS = 99  # llama.cpp's idiom for "every layer"
_WEIGHTS_SHARE = 0.7  # of a card that weights may take where the split is not stated: the rest is cache

Asks = Literal["prefill", "decode", "both"]


@dataclass(frozen=True, slots=True)
class Run:
    """A row as a question. `systems` such scenarios ran side by side; the row's system rates are over all of them."""

    scenario: Scenario
    asks: Asks  # which phases the row's tool timed
    systems: int = 1
    decode_is: DecodeIs = "one"  # what decode_toks_sec counts
    disaggregated: bool = False
    assumed: tuple[str, ...] = ()
    unmodelled: str | None = None  # why a prediction would be meaningless


class _Cells:
    """A row's input cells as numbers. Raises RunError for what is no number or out of range."""

    def __init__(self, row: Mapping[str, Any]) -> None:
        self.row = row

    def text(self, column: str) -> str:
        cell = self.row.get(column)
        if cell is None or (isinstance(cell, float) and math.isnan(cell)):
            return ""
        return str(cell).strip()

    def number(self, column: str, low: float = 0.0, high: float = 1e9) -> float | None:
        text = self.text(column)
        if not text:
            return None
        try:
            amount = float(text)
        except ValueError:
            raise RunError(f"{column} must be a number (it is '{text}').") from None
        if not low <= amount <= high:
            raise RunError(f"{column} must be between {low:g} and {high:g} (it is '{text}').")
        return amount

    def whole(self, column: str, low: float = 0.0, high: float = 1e9) -> int | None:
        amount = self.number(column, low, high)
        return None if amount is None else round(amount)

    def flag(self, column: str) -> bool | None:
        text = self.text(column).lower()
        if text in ("", "auto"):
            return None
        if text in ("1", "1.0", "true", "on", "yes"):
            return True
        if text in ("0", "0.0", "false", "off", "no"):
            return False
        raise RunError(f"{column} must be 1 or 0 (it is '{text}').")


def scenario_from_run(row: Mapping[str, Any]) -> Scenario:
    """The scenario that a row of runs measured. Raises RunError: one sentence that says what cannot be used."""
    return read_run(row).scenario


def read_run(row: Mapping[str, Any]) -> Run:
    """As `scenario_from_run`, with what was assumed and how the row's columns are to be read. Raises RunError."""
    return _read(tuple(_Cells(row).text(column) for column in INPUT_COLUMNS))


@functools.lru_cache(maxsize=65536)
def _read(cells: tuple[str, ...]) -> Run:
    cell = _Cells(dict(zip(INPUT_COLUMNS, cells, strict=True)))
    hints = read_hints(cell.text("notes"), cell.text("runtime_version"))
    assumed = list(hints.assumed)
    device, count, others = _device(cell)
    engine = _engine(cell, device, assumed)
    model = find_model(cell.text("model_id"), cell.text("model_name_raw"))
    if model.note:
        assumed.append(f"model: {model.note}")
    load, asks = _load(cell, hints, model.id, assumed)
    knobs: dict[str, Any] = {
        "model": model.id,
        "device": device.id,
        "count": count,
        "others": others,
        "cpu": _host(cell, device),
        "ram_gb": cell.number("ram_gb", 0.01, 1e5),
        "device_power_w": cell.number("power_limit_w", 1, 1e5),
        "runtime": engine.id,
        "backend": _backend(cell, device, engine, assumed),
        "runtime_version": _version(cell),
        "runtime_date": _date(cell, assumed),
        "flash_attention": cell.flag("flash_attn"),
        "token_budget": cell.whole("max_num_batched_tokens", 1) or cell.whole("n_batch", 1),
        "micro_batch": cell.whole("n_ubatch", 1),
        "memory_fraction": cell.number("gpu_memory_fraction", 0.01, 1.0),
        "threads": cell.whole("threads", 1, 4096),
        "gpu_layers": None if device.kind == "cpu" else _gpu_layers(cell),
        "kv_dtype": _kv_dtype(cell, assumed),
        "quant": _quant(cell, engine, assumed),
        **load,
    }
    systems = _layout(cell, hints, knobs, engine, assumed)
    knobs.update({k: v for k, v in hints.knobs.items() if knobs.get(k) is None and k not in ("tp", "pp")})
    if knobs["device_power_w"] and not device.tdp_w:
        assumed.append("a power limit says nothing of a device whose rated power is not known")
        knobs["device_power_w"] = None
    if knobs.get("max_context") is not None:
        asked = load["context_depth"] + load["prompt_tokens"] + load["output_tokens"]
        knobs["max_context"] = max(knobs["max_context"], asked)
    unmodelled = NO_KV_CACHE if NO_KV_CACHE in hints.unmodelled else None
    assumed.extend(text for text in hints.unmodelled if text != NO_KV_CACHE)
    try:
        built = from_flat(knobs)
    except ScenarioError as error:
        raise RunError(str(error)) from error
    # llama-batched-bench, the tool that times static batches on ggml engines, sums over the batch.
    batched = load["arrival"] == "static" and load["concurrency"] > 1 and _is_ggml(engine)
    decode_is = hints.decode_is or ("batch" if batched else "one")
    return Run(built, asks, systems, decode_is, hints.workers is not None, tuple(dict.fromkeys(assumed)), unmodelled)


# ---- The machine


def _device(cell: _Cells) -> tuple[Device, int, tuple[Cards, ...]]:
    """The device, how many of it, and further cards where `gpu_name` names several kinds: "2x RTX 3090 + RTX 3060"."""
    gpu, cpu = cell.text("gpu_name"), cell.text("cpu_name")
    stated = cell.number("gpu_count", 0, 4096)
    count = None if stated is None else round(stated)
    if count != stated:
        raise RunError(f"gpu_count must be a whole number (it is '{cell.text('gpu_count')}').")
    if gpu and count == 0:
        raise RunError(f"gpu_count is 0, but the run names the GPU '{gpu}'; give their number, or leave gpu_name empty.")
    if gpu and JOIN in gpu:
        return _several(gpu, count)
    if gpu:
        return device(find_device(gpu).id), count or 1, ()
    if not cpu:
        raise RunError("The run names neither a GPU nor a CPU; give gpu_name or cpu_name.")
    return device(find_device(cpu, "cpu").id, "cpu"), 1, ()


def _several(text: str, count: int | None) -> tuple[Device, int, tuple[Cards, ...]]:
    """Cards of several kinds. Raises RunError where they are not as many as the row counts."""
    try:
        named = read_cards(text)
    except ValueError as error:
        raise RunError(f"gpu_name '{text}' cannot be read: give cards of several kinds as in '2x RTX 3090{JOIN}RTX 3060'.") from error
    first, *rest = (cards.model_copy(update={"device": find_device(cards.device).id}) for cards in named)
    total = sum(cards.count for cards in named)
    if count not in (None, total):
        raise RunError(f"gpu_name '{text}' names {total} cards, but gpu_count is {count}; write how many of each, as in '2x RTX 3090'.")
    return device(first.device), first.count, tuple(rest)


def _host(cell: _Cells, device: Device) -> str | None:
    """The host's processor, where the catalog knows it; it matters only for what the device does not hold."""
    name = cell.text("cpu_name")
    if not name or device.kind == "cpu" or device.unified:
        return None
    try:
        return find_device(name, "cpu").id
    except RunError:
        return None


def _engine(cell: _Cells, device: Device, assumed: list[str]) -> Runtime:
    name = cell.text("runtime")
    if name:
        return runtime(find_runtime(name).id)
    usual = _USUAL_SERVER.get(device.vendor.lower())
    if usual is None:
        raise RunError("The run names no runtime; give one such as llama.cpp or vllm.")
    assumed.append(f"the run names no runtime: taken as {usual}")
    return runtime(usual)


def _is_ggml(engine: Runtime) -> bool:
    return engine.id in ("llama.cpp", "ollama") or engine.treated_as == "llama.cpp"


def _backend(cell: _Cells, device: Device, engine: Runtime, assumed: list[str]) -> str | None:
    if device.kind == "cpu":
        return "cpu" if "cpu" in engine.backends else None
    named = backend_in(cell.text("runtime_version"))
    # "LocalScore … CPU" names a run without GPU; beside a GPU's name the word means the host.
    if named is None or named == "cpu" or named not in engine.backends:
        return None
    if {"metal": "apple", "cuda": "nvidia", "rocm": "amd"}.get(named, device.vendor.lower()) != device.vendor.lower():
        assumed.append(f"the version names {named}, which this device does not have")
        return None
    return named


def _version(cell: _Cells) -> str | None:
    # Numbers in paper ids and launch flags are no versions.
    text = re.sub(r"\(paper[^)]*\)|arXiv:\S+|\b(?:gpu|max)-[a-z-]+[ =][\d.]+", "", cell.text("runtime_version"))
    return text.strip() or None


def _date(cell: _Cells, assumed: list[str]) -> str | None:
    """The run's date as far as it is written (YYYY[-MM[-DD]]), whose defaults hold where the version says nothing."""
    version = _version(cell) or ""
    for text in (cell.text("run_date"), version):
        if found := re.match(r"20\d{2}(-\d{2}){0,2}$", text):
            if version_number(version) is None:
                assumed.append("the run names no version: its date stands for it")
            return found[0]
    return None


def _gpu_layers(cell: _Cells) -> int | None:
    layers = cell.whole("n_gpu_layers", 0, 10_000)
    return None if layers is None or layers >= ALL_LAYERS else layers


def _kv_dtype(cell: _Cells, assumed: list[str]) -> str | None:
    label = cell.text("kv_dtype")
    if not label:
        return None
    found = find_kv_dtype(label)
    if found is None and label.lower() not in ("auto", "default"):
        assumed.append(f"kv_dtype '{label}' is no storage type: the runtime's default is taken")
    return found.id if found else None


def _quant(cell: _Cells, engine: Runtime, assumed: list[str]) -> str | None:
    label = cell.text("quant")
    if label:
        return find_quant(label, engine.id).id
    named = quant_in_name(cell.text("model_name_raw"), engine.id) or quant_in_name(cell.text("model_id"), engine.id)
    assumed.append(f"quant: {named.note}" if named else "the run names no quantisation: the runtime's default for the model is taken")
    return named.id if named else None


# ---- The load


def _load(cell: _Cells, hints: Hints, model: str, assumed: list[str]) -> tuple[dict[str, Any], Asks]:
    kind = cell.text("load_kind") or ("request_rate" if cell.text("request_rate") else "concurrency")
    if kind not in _ARRIVALS:
        raise RunError(f"load_kind must be one of {', '.join(_ARRIVALS)} (it is '{kind}').")
    arrival = _ARRIVALS[kind]
    rate = cell.number("request_rate", 0.0, 1e6) or None
    users = cell.whole("concurrency", 0, 1e6)
    if arrival == "open" and rate is None:
        arrival = "saturated"
        assumed.append("an open load without request_rate: taken as saturated")
    if arrival == "saturated":
        users = users or MANY
    lengths, asks = _lengths(cell, hints, assumed)
    cached = cell.whole("prefix_cached_tokens", 0, 1e8)
    if cached is None and hints.turn is not None:
        cached = _cached_of_turn(model, lengths["prompt_tokens"], hints.turn, assumed)
    load = {
        "arrival": arrival,
        "concurrency": max(1, users or 1),
        "request_rate_per_s": rate if arrival == "open" else None,
        "prefix_cached_tokens": min(cached or 0, lengths["prompt_tokens"]),
        "equal_lengths": arrival == "closed" and not hints.spread,
        **lengths,
    }
    return load, asks


def _cached_of_turn(model: str, prompt: int, new: int, assumed: list[str]) -> int:
    """Tokens of a later turn's prompt that the engine kept from the turns before.

    Engines can cut a KV cache back to where two prompts part, but not a recurrent state: llama.cpp and MLX process the
    whole prompt again.
    """
    if any(block.attention.kind == "linear" for block in ir(model).blocks):
        assumed.append("a later turn of a conversation: a recurrent state cannot be cut back, so nothing is cached")
        return 0
    assumed.append(f"a later turn of a conversation: all but {new} tokens of its prompt are taken as cached")
    return max(0, prompt - new)


def _lengths(cell: _Cells, hints: Hints, assumed: list[str]) -> tuple[dict[str, Any], Asks]:
    """Prompt, output and depth as a Scenario means them.

    A tool that times one phase gives one length: a prompt alone is a prefill, an output alone a decode. Where the depth
    equals the prompt, or stands with an output and without a prompt, it *is* the prompt: the client states the depth at
    which decoding began. What of it lay in the cache before is said by `prefix_cached_tokens` or the notes alone.
    """
    prompt, output = cell.number("prompt_tokens", 0, 1e8), cell.number("output_tokens", 0, 1e8)
    depth = cell.number("context_depth", 0, 1e8)
    prompt, output = prompt or None, output if output is None or output >= 1 else 0
    asks: Asks = "both"
    if prompt is None and output is None and hints.prompt is not None:
        prompt, output = hints.prompt, hints.output
    if prompt is None and depth:
        prompt, depth = depth, 0
        assumed.append("no prompt_tokens: the context depth is taken as the prompt")
    elif prompt is None and depth == 0:
        prompt, asks = 1, "decode"
        assumed.append("no prompt_tokens at depth 0: decoding from an empty cache")
    elif prompt is None:
        prompt = hints.prompt or DEFAULT_PROMPT
        assumed.append(f"no prompt_tokens: {prompt:g} are taken")
    elif depth and output and depth <= prompt:
        depth = 0
    if not output:
        given = cell.text("prompt_tokens")
        if output == 0 or (given and asks == "both"):
            output, asks = 1, "prefill"
        else:
            output = hints.output or DEFAULT_OUTPUT
            assumed.append(f"no output_tokens: {output:g} are taken")
    lengths = {
        "prompt_tokens": max(1, round(prompt * hints.share)),
        "output_tokens": max(1, round(output * hints.share)),
        "context_depth": round(depth or 0),
    }
    return lengths, asks


# ---- How the model is laid on the machine


def _layout(cell: _Cells, hints: Hints, knobs: dict[str, Any], engine: Runtime, assumed: list[str]) -> int:
    """Sets the degrees in `knobs`; returns how many such systems ran side by side."""
    count = knobs["count"] + sum(cards.count for cards in knobs["others"])
    given = {name: cell.whole(name, 0, 4096) or None for name in ("tp", "pp", "dp", "ep")}
    if given["tp"] is None:
        given.update({k: v for k, v in hints.knobs.items() if k in ("tp", "pp")})
    tensors, pipes, data = (given[k] or 1 for k in ("tp", "pp", "dp"))
    if hints.workers is not None:
        workers, tensors, data = hints.workers
        knobs.update(tp=tensors, pp=pipes, dp=data, ep=given["ep"], count=tensors * pipes * data)
        knobs["concurrency"] = max(1, round(knobs["concurrency"] / workers))
        assumed.append(
            f"disaggregated: one of {workers} decode workers is estimated, the {hints.prefill_workers} devices that prefill are not"
        )
        return workers
    if count == 1:
        knobs.update({k: v for k, v in given.items() if k == "ep" and v and v > 1})
        return 1
    if given["tp"] is None and (hints.split_unknown or knobs["arrival"] == "saturated"):
        tp = _smallest_fit(knobs["model"], knobs["quant"], knobs["device"], count)
        assumed.append(f"the split is not stated: the fewest cards that hold the model ({tp}), and replicas of that")
        knobs.update(tp=tp, pp=1, dp=max(1, count // tp))
        return 1
    if given["tp"] is None:
        if engine.device_split == "tensor":
            return 1  # the estimate cuts tensors as far as the model allows
        knobs["split"] = "layer"
        return 1
    if not legal_tp(ir(knobs["model"]), tensors):
        assumed.append(f"tensor parallel {tensors} does not divide this model: the largest legal degree is taken")
        return 1
    if engine.device_split == "layer" and tensors > 1:
        knobs["split"] = "tensor"
    needed = tensors * pipes * data
    copies = count // needed
    if copies > 1 and given["ep"] == count:
        data, copies = count // (tensors * pipes), 1  # experts over all cards: attention replicas make up the rest
    if copies > 1 and not knobs["others"]:
        assumed.append(f"{count} devices hold {copies} copies of this layout")
        knobs["concurrency"] = max(1, round(knobs["concurrency"] / copies))
        knobs["count"] = needed
    experts = given["ep"]
    if data > 1 and not experts and not _holds(knobs["model"], knobs["quant"], knobs["device"], tensors * pipes):
        experts = tensors * data
        assumed.append("a replica alone would not hold the model: its experts are spread over the replicas")
    knobs.update(tp=tensors, pp=pipes, dp=data if data > 1 else None, ep=experts)
    return max(1, copies)


def _holds(model: str, quant: str | None, device_id: str, cards: int) -> bool:
    """Whether so many cards hold a mixture's weights; dense models and unknown cards are taken as held."""
    geometry, card = ir(model), device(device_id)
    if card.memory_gb is None or all(block.mlp.kind != "moe" for block in geometry.blocks):
        return True
    need = weight_table(geometry, quant).bytes if quant else geometry.parameters * 2.0
    return need <= cards * card.usable_memory().value


@functools.lru_cache(maxsize=4096)
def _smallest_fit(model: str, quant: str | None, device_id: str, count: int) -> int:
    """The smallest legal tensor-parallel degree whose cards hold the weights with room for a cache."""
    geometry, card_record = ir(model), device(device_id)
    if card_record.memory_gb is None:
        return count
    card = card_record.usable_memory().value
    need = weight_table(geometry, quant).bytes if quant else geometry.parameters * 2.0
    tp = 1
    while tp * 2 <= count and need > _WEIGHTS_SHARE * tp * card:
        tp *= 2
    while tp > 1 and not legal_tp(geometry, tp):
        tp //= 2
    return tp
