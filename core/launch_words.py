"""What a runtime calls things: knobs of a launch said in its own words, before its table of flags spells them.

Most knobs need no translation. Those that do: SGLang's --tp counts the replicas of attention too, llama-server divides -c
among its slots, TensorRT-LLM moves a setting into a file.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from core.cards import write_shares
from core.catalog.runtimes import Runtime
from core.launch_flags import Table

ALL_LAYERS = 999  # more than any model has: llama.cpp takes it as "all"
PRECISION = {"BF16": "BF16", "FP16": "FP16", "F16": "FP16", "FP32": "FP32", "F32": "FP32"}
# Devices as llama.cpp lists them ("Vulkan0"), by back end; of the first two a command must always say that it means them.
_DEVICE_OF = {"vulkan": "Vulkan", "sycl": "SYCL", "cuda": "CUDA", "rocm": "ROCm"}
BACKEND_OF = {name.lower(): backend for backend, name in _DEVICE_OF.items()}
_MADE_AT_START = {"FP8", "FP8-DYNAMIC", "BNB-INT4", "BNB-INT8"}  # a server can quantise to these itself
_PLAIN = ("vision", "image_limit", "max_context", "threads", "gpu_layers", "cpu_offload_gib", "flash_attention", "gpu_experts")
_DEFAULTED = ("max_sequences", "token_budget", "micro_batch", "memory_fraction")
_DEGREES = ("tp", "pp", "dp", "ep", "cp")


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
    mlp_tp: int | None = None  # the feed-forward part's, where replicas of attention share it
    gpu_layers: int | None = None
    experts_on_cpu: int | None = None  # as the flag counts: layers from the first, those without experts too
    flash_attention: bool | None = None
    max_context: int | None = None
    max_sequences: int | None = None
    memory_fraction: float | None = None
    token_budget: int | None = None
    micro_batch: int | None = None
    cuda_graphs: bool | None = None
    threads: int | None = None
    device_count: int = 1
    cp: int = 1
    tensor_split: tuple[float, ...] = ()  # shares of the cards in layers, where they differ or equal counts would not be equal memory
    main_gpu: int | None = None  # the card that a split of "none" takes
    numa: str | None = None
    cpu_offload_gib: float | None = None  # weights of one device that stay in host memory
    split: str | None = None  # "layer", "tensor" or "none"
    backend: str | None = None
    runtime_version: str | None = None
    device: str = ""
    device_memory: float | None = None
    file: str | None = None  # what the command loads, where that is not to be made from the model's name
    repository: str | None = None  # GGUF on the Hub, "owner/name:quant"
    repository_file: str | None = None
    url: str | None = None  # of a GGUF file, where neither repository nor path say which
    revision: str | None = None  # commit, branch or tag of the checkpoint
    notes: tuple[str, ...] = ()  # what is to be said above the command
    gpu_experts: int | None = None  # experts of every layer that stay on the device (KTransformers)
    visible: int | None = None  # devices that the command shows the runtime
    vision: bool | None = None  # whether the tower is loaded, where that is not left to the runtime
    mmproj: str | None = None  # the file of a tower beside a GGUF file
    image_limit: int | None = None  # the most images that a prompt may bring
    keep_defaults: bool = False  # write what is given though it is the default

    @property
    def apart(self) -> bool:
        """Whether replicas of attention share the feed-forward part."""
        return self.mlp_tp not in (None, self.tp)

    @property
    def name(self) -> str:
        """The model's name without its organisation."""
        return self.model.rsplit("/", 1)[-1]


@dataclass(slots=True)
class Said:
    """Knobs in the runtime's words, lines to write above the command, and what stands before the program."""

    words: dict[str, Any]
    comments: list[str] = field(default_factory=list)
    start: list[str] = field(default_factory=list)


def say(knobs: LaunchKnobs, entry: Runtime, table: Table) -> Said:
    """The knobs as this runtime calls them; what equals its default is left out unless it is to be kept."""
    words: dict[str, Any] = {name: getattr(knobs, name) for name in _PLAIN}
    words |= {name: given_or_none(knobs, entry, name) for name in _DEFAULTED}
    words |= {name: (degree if (degree := getattr(knobs, name)) > 1 else None) for name in _DEGREES}
    words["model"] = knobs.model
    words["cuda_graphs"] = None if knobs.cuda_graphs and not knobs.keep_defaults else knobs.cuda_graphs
    words["kv_dtype"] = None if knobs.kv_dtype == entry.default_kv_dtype and not knobs.keep_defaults else knobs.kv_dtype
    if knobs.cpu_offload_gib is not None and not knobs.keep_defaults:
        words["cpu_offload_gib"] = math.ceil(knobs.cpu_offload_gib)  # of an estimate: rounded up, so that it fits
    words["visible"] = ",".join(map(str, range(knobs.visible))) if knobs.visible else None
    words["revision"] = knobs.revision
    said = Said(words, list(knobs.notes))
    _SAY.get(table.extends or table.runtime, _server)(said, knobs, entry, table)
    if knobs.revision and words["model"] == knobs.model and not any(flag.knob == "revision" for flag in table.to_write()):
        said.comments.append(f"{entry.name} loads the newest revision; the estimate read {knobs.revision}.")
    _tower(said, knobs, entry, table)
    if knobs.cp > 1 and not any(flag.knob == "cp" for flag in table.to_write()):
        said.comments.insert(0, f"Context parallel {knobs.cp} is not in this line: set it as your version of {entry.name} has it.")
    return said


def _tower(said: Said, knobs: LaunchKnobs, entry: Runtime, table: Table) -> None:
    """Whether the vision tower is loaded, where the runtime does not do so by itself."""
    flags = [flag for flag in table.to_write() if flag.knob in ("vision", "mmproj")]
    if knobs.vision and not any(flag.sets and flag.knob == "vision" for flag in flags):
        said.words["vision"] = None  # no flag asks for it: the default, or a file
    by_itself = entry.vision == "default"
    if not flags and knobs.vision is not None and entry.vision != "no" and knobs.vision != by_itself:
        said.comments.append(f"{entry.name} has no flag that {'loads' if knobs.vision else 'leaves out'} the vision tower.")


def given_or_none(knobs: LaunchKnobs, entry: Runtime, name: str) -> Any:
    """The knob's value where it must be written: given, and not known to be the runtime's default. Else None."""
    given = getattr(knobs, name)
    fact = entry.facts.get(name)
    if given is None or fact is None or knobs.keep_defaults or (fact.cases and knobs.device_memory is None):
        return given
    return None if given == entry.fact(name, device=knobs.device, device_memory=knobs.device_memory).value else given


def gguf(knobs: LaunchKnobs) -> str:
    """The file that the command loads: as given, or the name that GGUF repositories use."""
    if knobs.file is not None:
        return knobs.file
    return knobs.name if knobs.name.endswith(".gguf") else f"{knobs.name}-{knobs.quant or 'Q4_K_M'}.gguf"


def kv_pair(kv_dtype: str | None, *, keep: bool = False) -> tuple[str | None, str | None]:
    """Types of keys and values where they are not the default: "q8_0" or "q8_0/q5_1"."""
    if kv_dtype is None:
        return None, None
    keys, _, values = kv_dtype.partition("/")
    values = values or keys
    return (keys if keep or keys != "f16" else None), (values if keep or values != "f16" else None)


def _partition(said: Said, knobs: LaunchKnobs) -> None:
    """Layers of each pipeline stage, where they are not to be dealt out evenly."""
    if knobs.pp > 1 and len(knobs.tensor_split) == knobs.pp:
        said.words["layer_partition"] = write_shares(knobs.tensor_split)


def _server(said: Said, knobs: LaunchKnobs, entry: Runtime, table: Table) -> None:
    """What servers of safetensors share: how a checkpoint is to be loaded."""
    words = said.words
    _partition(said, knobs)
    words["expert_parallel"] = True if knobs.ep > 1 else None
    quant = knobs.quant
    if quant is None or quant == knobs.checkpoint_quant:
        return
    if quant in PRECISION:
        words["dtype"] = None if quant == "BF16" else PRECISION[quant]
        return
    flag = next((flag for flag in table.to_write() if flag.knob == "quantization" and flag.spelling(quant)), None)
    # AMD's devices have no Marlin, whose name stands for the format where it is to be had: there the checkpoint says it alone.
    words["quantization"] = quant if flag and (quant in _MADE_AT_START or knobs.backend != "rocm") else None
    if flag is None or quant not in _MADE_AT_START:
        said.comments.append(f"The model must be a checkpoint quantised to {shlex.quote(quant)}.")


def _sglang(said: Said, knobs: LaunchKnobs, entry: Runtime, table: Table) -> None:
    _server(said, knobs, entry, table)
    if knobs.dp > 1 and (knobs.ep > 1 or knobs.apart):  # attention is replicated, the rest is not: --tp counts all devices
        said.words |= {"tp": knobs.tp * knobs.dp, "attention_dp": True}


def _tensorrt_llm(said: Said, knobs: LaunchKnobs, entry: Runtime, table: Table) -> None:
    _server(said, knobs, entry, table)
    words = said.words
    if knobs.dp > 1 and (knobs.ep > 1 or knobs.apart):
        words |= {"tp": knobs.tp * knobs.dp, "attention_dp": True}
    elif knobs.dp > 1:
        said.comments.append(f"Start this {knobs.dp} times, once for each group of devices.")
    if words["kv_dtype"] is not None:
        # Given in the file, this section replaces the flag of the same meaning, so the fraction moves along.
        words["fraction_in_file"], words["memory_fraction"] = words["memory_fraction"], None


def _llama_cpp(said: Said, knobs: LaunchKnobs, entry: Runtime, table: Table) -> None:
    words = said.words
    on_cpu = knobs.backend == "cpu"
    several = knobs.device_count > 1 and not on_cpu
    alone = knobs.split == "none" and (several or knobs.keep_defaults)
    rows = knobs.split == "tensor" or knobs.tp > 1
    words["kv_keys"], words["kv_values"] = kv_pair(knobs.kv_dtype, keep=knobs.keep_defaults)
    if knobs.url is not None:
        words["url"] = knobs.url
    elif knobs.repository is not None:
        words["repository"], words["repository_file"] = knobs.repository, knobs.repository_file
    else:
        words["file"] = gguf(knobs)
    words["gpu_layers"] = 0 if on_cpu else knobs.gpu_layers
    words["experts_on_cpu"] = knobs.experts_on_cpu or None
    wanted = "none" if alone else "row" if rows else "layer" if knobs.split == "layer" or not knobs.keep_defaults else None
    words["split_mode"] = wanted if several or knobs.keep_defaults else None
    words["tensor_split"] = write_shares(knobs.tensor_split) if several and knobs.tensor_split and not alone else None
    words["main_gpu"] = knobs.main_gpu if alone else None
    words["vision"] = False if knobs.vision is False and (knobs.repository or knobs.keep_defaults) else None  # a file brings none
    if knobs.vision and (knobs.repository is None or knobs.keep_defaults) and knobs.url is None:
        words["mmproj"] = knobs.mmproj or "mmproj.gguf"
        if knobs.mmproj is None:
            said.comments.append("mmproj.gguf stands for the file of the vision tower, which lies beside the model's.")
    device = _DEVICE_OF.get(knobs.backend or "")
    if device and (knobs.keep_defaults or knobs.backend in ("vulkan", "sycl")):
        words["devices"], words["visible"] = ",".join(f"{device}{n}" for n in range(knobs.visible or knobs.device_count)), None
    words["numa"] = knobs.numa
    words["max_sequences"] = knobs.max_sequences  # always: slots left to the server share one cache instead
    if knobs.max_context is not None:  # llama-server divides -c among the slots of -np
        words["all_context"] = knobs.max_context * (knobs.max_sequences or 1)


def _ollama(said: Said, knobs: LaunchKnobs, entry: Runtime, table: Table) -> None:
    words = said.words
    keys, values = kv_pair(knobs.kv_dtype, keep=knobs.keep_defaults)
    cache = keys or values  # one type for both
    words["kv_dtype"] = cache
    words["flash_attention"] = True if cache not in (None, "f16") else knobs.flash_attention if knobs.keep_defaults else None
    if knobs.flash_attention is False and cache is None:
        words["flash_attention"] = False
    words["spread"] = True if knobs.device_count > 1 else None
    words["gpu_layers"] = 0 if knobs.backend == "cpu" else knobs.gpu_layers


def _mlx(said: Said, knobs: LaunchKnobs, entry: Runtime, table: Table) -> None:
    words = said.words
    if knobs.quant and knobs.quant.startswith("MLX-") and "mlx" not in knobs.model.lower():
        words["model"] = f"mlx-community/{knobs.name}-{knobs.quant.removeprefix('MLX-')}"
    if knobs.file is not None:
        words["model"] = knobs.file
    words["pipeline"] = True if knobs.pp > 1 else None
    said.start = ["mlx.launch", "--hostfile", "hosts.json"] if knobs.tp * knobs.pp > 1 else []


_SAY: dict[str, Callable[[Said, LaunchKnobs, Runtime, Table], None]] = {
    "sglang": _sglang,
    "tensorrt-llm": _tensorrt_llm,
    "llama.cpp": _llama_cpp,
    "ollama": _ollama,
    "mlx": _mlx,
}
