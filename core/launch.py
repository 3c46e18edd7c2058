"""The command that starts a runtime as a scenario has it: the exact flags, to be pasted into a shell."""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from core.catalog.runtimes import Runtime, runtime
from core.errors import ScenarioError

ALL_LAYERS = 999  # more than any model has: llama.cpp takes it as "all"
_PRECISION = {"BF16": "bfloat16", "FP16": "float16", "F16": "float16", "FP32": "float32", "F32": "float32"}
_KV_FLAGS = {  # KV dtype of the catalog → how the runtime spells it
    "vllm": {"fp8": "fp8", "int8_per_token_head": "int8_per_token_head"},
    "sglang": {"fp8": "fp8_e4m3"},
    "tensorrt-llm": {"fp8": "fp8", "int8": "int8"},
}


@dataclass(frozen=True, slots=True)
class LaunchKnobs:
    """What a launch needs, plain. None means "the runtime's default" and writes no flag.

    `model` is a Hugging Face id; `checkpoint_quant` is what that checkpoint is stored in. `device` and `device_memory`
    (bytes of one card) tell the defaults that depend on the card; without them every given value is written.
    """

    model: str
    runtime: str
    quant: str | None = None
    checkpoint_quant: str | None = None
    kv_dtype: str | None = None
    tp: int = 1
    pp: int = 1
    dp: int = 1
    ep: int = 1
    gpu_layers: int | None = None
    experts_on_cpu: int | None = None
    flash_attention: bool = True
    max_context: int | None = None
    max_sequences: int | None = None
    memory_fraction: float | None = None
    token_budget: int | None = None
    micro_batch: int | None = None
    cuda_graphs: bool | None = None
    threads: int | None = None
    device_count: int = 1
    cp: int = 1
    tensor_split: tuple[int, ...] = ()  # llama.cpp: layers a card, where equal counts would not be equal memory
    cpu_offload_gib: float | None = None  # weights of one device that stay in host memory
    split: str | None = None  # "layer" or "tensor"
    backend: str | None = None
    runtime_version: str | None = None
    device: str = ""
    device_memory: float | None = None

    @property
    def name(self) -> str:
        """The model's name without its organisation."""
        return self.model.rsplit("/", 1)[-1]


def launch_command(resolved: LaunchKnobs | Mapping[str, Any]) -> str:
    """Shell lines that start the runtime as resolved; keys of a mapping that are no launch knob are passed over.

    A runtime that is not described yet gets a comment instead of a command.
    Raises CatalogError for an unknown runtime and ScenarioError for a name that no shell line should hold.
    """
    if isinstance(resolved, LaunchKnobs):
        knobs = resolved
    else:
        known = {field.name for field in fields(LaunchKnobs)}
        knobs = LaunchKnobs(**{k: v for k, v in resolved.items() if k in known and v is not None})
    for text in (knobs.model, knobs.quant or "", knobs.kv_dtype or ""):
        # Knobs may come from a link that someone else made, and the result is pasted into a shell.
        if text.startswith("-") or not text.isprintable():
            raise ScenarioError(f"No launch command can be written for the name {text!r}; give a plain name.")
    entry = runtime(knobs.runtime)
    write = _WRITERS.get(entry.id)
    if write is None:
        return f"# {entry.name} is not described yet: no launch command is written for it."
    line = write(knobs, entry.at(knobs.runtime_version))
    if knobs.cp > 1:
        line = f"# Context parallel {knobs.cp} is not in this line: set it as your version of {entry.name} has it.\n{line}"
    return line


def _differs(knobs: LaunchKnobs, entry: Runtime, field: str) -> Any:
    """The knob's value where it must be written: given, and not known to be the runtime's default. Else None."""
    given = getattr(knobs, field)
    fact = entry.facts.get(field)
    if given is None or fact is None:
        return given
    if fact.cases and knobs.device_memory is None:
        return given
    default = entry.fact(field, device=knobs.device, device_memory=knobs.device_memory).value
    return None if given == default else given


def _line(start: list[str], *pairs: tuple[str, Any]) -> str:
    """A shell line of `start` and flags; a value of None or False leaves its flag out, True writes it alone."""
    words = list(start)
    for flag, given in pairs:
        if given is None or given is False:
            continue
        words.append(flag)
        if given is not True:
            words.append(f"{given:g}" if isinstance(given, float) else str(given))
    return shlex.join(words)


def _many(degree: int) -> int | None:
    return degree if degree > 1 else None


def _gguf(knobs: LaunchKnobs) -> str:
    """The file name that GGUF repositories use; where the file lies is the user's to say."""
    return knobs.name if knobs.name.endswith(".gguf") else f"{knobs.name}-{knobs.quant or 'Q4_K_M'}.gguf"


def _kv_pair(kv_dtype: str | None) -> tuple[str | None, str | None]:
    """Types of keys and values where they are not the default: "q8_0" or "q8_0/q5_1"."""
    if kv_dtype is None:
        return None, None
    keys, _, values = kv_dtype.partition("/")
    return (None if keys == "f16" else keys), (None if (values or keys) == "f16" else values or keys)


def _slots(knobs: LaunchKnobs) -> int | None:
    """llama-server divides -c among the slots of -np."""
    if knobs.max_context is None:
        return None
    return knobs.max_context * (knobs.max_sequences or 1)


def _checkpoint(knobs: LaunchKnobs) -> tuple[list[str], str]:
    """Flags that make a server load this quantisation, and a comment where another checkpoint is needed."""
    quant = knobs.quant
    if quant is None or quant == knobs.checkpoint_quant:
        return [], ""
    if quant in _PRECISION:
        return ([] if quant == "BF16" else ["--dtype", _PRECISION[quant]]), ""
    if quant == "FP8":
        return ["--quantization", "fp8"], ""
    return [], f"# The model must be a checkpoint quantised to {shlex.quote(quant)}.\n"


def _llama_cpp(knobs: LaunchKnobs, entry: Runtime) -> str:
    keys, values = _kv_pair(knobs.kv_dtype)
    on_cpu = knobs.backend == "cpu"
    several = knobs.device_count > 1 and not on_cpu
    rows = knobs.split == "tensor" or knobs.tp > 1
    layers = 0 if on_cpu else ALL_LAYERS if knobs.gpu_layers is None else knobs.gpu_layers
    return _line(
        ["llama-server", "-m", _gguf(knobs)],
        ("-ngl", layers),
        ("--n-cpu-moe", knobs.experts_on_cpu or None),
        ("-sm", ("row" if rows else "layer") if several else None),
        ("-ts", ",".join(map(str, knobs.tensor_split)) if several and knobs.tensor_split else None),
        ("-c", _slots(knobs)),
        ("-np", knobs.max_sequences),  # always: slots left to the server share one cache instead
        ("-fa", "on" if knobs.flash_attention else "off"),
        ("-ctk", keys),
        ("-ctv", values),
        ("-b", _differs(knobs, entry, "token_budget")),
        ("-ub", _differs(knobs, entry, "micro_batch")),
        ("-t", knobs.threads),
    )


def _ollama(knobs: LaunchKnobs, entry: Runtime) -> str:
    keys, values = _kv_pair(knobs.kv_dtype)
    cache = keys or values  # one type for both
    flash = "1" if cache else None if knobs.flash_attention else "0"
    settings = {
        "OLLAMA_NUM_PARALLEL": _differs(knobs, entry, "max_sequences"),
        "OLLAMA_KV_CACHE_TYPE": cache,
        "OLLAMA_FLASH_ATTENTION": flash,
        "OLLAMA_SCHED_SPREAD": "1" if knobs.device_count > 1 else None,
    }
    parameters = {
        "num_ctx": knobs.max_context,
        "num_gpu": 0 if knobs.backend == "cpu" else knobs.gpu_layers,
        "num_batch": _differs(knobs, entry, "micro_batch"),
        "num_thread": knobs.threads,
    }
    made = knobs.name.lower()
    lines = [f"export {key}={shlex.quote(str(given))}" for key, given in settings.items() if given is not None]
    lines += ["ollama serve &", "cat > Modelfile <<'EOF'", f"FROM ./{_gguf(knobs)}"]
    lines += [f"PARAMETER {key} {given}" for key, given in parameters.items() if given is not None]
    lines += ["EOF", shlex.join(["ollama", "create", made, "-f", "Modelfile"]), shlex.join(["ollama", "run", made])]
    return "\n".join(lines)


def _mlx(knobs: LaunchKnobs, entry: Runtime) -> str:
    model = knobs.model
    if knobs.quant and knobs.quant.startswith("MLX-") and "mlx" not in model.lower():
        model = f"mlx-community/{knobs.name}-{knobs.quant.removeprefix('MLX-')}"
    bits = knobs.kv_dtype.removeprefix("mlx_") if knobs.kv_dtype and knobs.kv_dtype.startswith("mlx_") else None
    start = ["mlx.launch", "--hostfile", "hosts.json"] if knobs.tp * knobs.pp > 1 else []
    return _line(
        [*start, "mlx_lm.server", "--model", model],
        ("--pipeline", knobs.pp > 1),
        ("--decode-concurrency", _differs(knobs, entry, "max_sequences")),
        ("--prefill-step-size", _differs(knobs, entry, "token_budget")),
        ("--kv-bits", bits),
    )


def _vllm(knobs: LaunchKnobs, entry: Runtime) -> str:
    load, comment = _checkpoint(knobs)
    return comment + _line(
        ["vllm", "serve", knobs.model, *load],
        ("--tensor-parallel-size", _many(knobs.tp)),
        ("--pipeline-parallel-size", _many(knobs.pp)),
        ("--data-parallel-size", _many(knobs.dp)),
        ("--enable-expert-parallel", knobs.ep > 1),
        ("--kv-cache-dtype", _KV_FLAGS["vllm"].get(knobs.kv_dtype or "")),
        ("--max-model-len", knobs.max_context),
        ("--max-num-seqs", _differs(knobs, entry, "max_sequences")),
        ("--max-num-batched-tokens", _differs(knobs, entry, "token_budget")),
        ("--gpu-memory-utilization", _differs(knobs, entry, "memory_fraction")),
        ("--cpu-offload-gb", None if knobs.cpu_offload_gib is None else math.ceil(knobs.cpu_offload_gib)),
        ("--enforce-eager", knobs.cuda_graphs is False),
    )


def _sglang(knobs: LaunchKnobs, entry: Runtime) -> str:
    load, comment = _checkpoint(knobs)
    replicated = knobs.dp > 1 and knobs.ep > 1  # attention is replicated, the experts are not: --tp counts all devices
    return comment + _line(
        ["python", "-m", "sglang.launch_server", "--model-path", knobs.model, *load],
        ("--tp", _many(knobs.tp * knobs.dp if replicated else knobs.tp)),
        ("--pp-size", _many(knobs.pp)),
        ("--dp", _many(knobs.dp)),
        ("--enable-dp-attention", replicated),
        ("--ep-size", _many(knobs.ep)),
        ("--kv-cache-dtype", _KV_FLAGS["sglang"].get(knobs.kv_dtype or "")),
        ("--context-length", knobs.max_context),
        ("--max-running-requests", _differs(knobs, entry, "max_sequences")),
        ("--chunked-prefill-size", _differs(knobs, entry, "token_budget")),
        ("--mem-fraction-static", _differs(knobs, entry, "memory_fraction")),
        ("--disable-cuda-graph", knobs.cuda_graphs is False),
    )


def _tensorrt_llm(knobs: LaunchKnobs, entry: Runtime) -> str:
    _, comment = _checkpoint(knobs)
    if knobs.quant == "FP8" and knobs.checkpoint_quant != "FP8":
        comment = "# The model must be a checkpoint quantised to FP8.\n"
    replicated = knobs.dp > 1 and knobs.ep > 1
    if knobs.dp > 1 and not replicated:
        comment += f"# Start this {knobs.dp} times, once for each group of devices.\n"
    kv = _KV_FLAGS["tensorrt-llm"].get(knobs.kv_dtype or "")
    fraction = _differs(knobs, entry, "memory_fraction")
    options: list[str] = []
    if replicated:
        options.append("enable_attention_dp: true")
    if knobs.cuda_graphs is False:
        options.append("cuda_graph_config: null")
    if kv:
        # Given in the file, this section replaces the flag of the same meaning, so the fraction moves along.
        options += ["kv_cache_config:", f"  dtype: {kv}"]
        options += [f"  free_gpu_memory_fraction: {fraction:g}"] if fraction is not None else []
    file = "\n".join(["cat > options.yaml <<'EOF'", *options, "EOF", ""]) if options else ""
    return (
        comment
        + file
        + _line(
            ["trtllm-serve", knobs.model],
            ("--tp_size", _many(knobs.tp * knobs.dp if replicated else knobs.tp)),
            ("--pp_size", _many(knobs.pp)),
            ("--ep_size", _many(knobs.ep)),
            ("--max_seq_len", knobs.max_context),
            ("--max_batch_size", _differs(knobs, entry, "max_sequences")),
            ("--max_num_tokens", _differs(knobs, entry, "token_budget")),
            ("--kv_cache_free_gpu_memory_fraction", None if kv else fraction),
            ("--extra_llm_api_options", "options.yaml" if options else None),
        )
    )


_WRITERS: dict[str, Callable[[LaunchKnobs, Runtime], str]] = {
    "llama.cpp": _llama_cpp,
    "ollama": _ollama,
    "mlx": _mlx,
    "vllm": _vllm,
    "sglang": _sglang,
    "tensorrt-llm": _tensorrt_llm,
}
