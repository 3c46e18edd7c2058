"""What a command means for a scenario: a runtime's own words translated into knobs, the way back from core.launch_words."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from core.cards import checked_shares, read_shares, write_shares
from core.catalog import models
from core.catalog.quants import kv_dtype
from core.catalog.runtimes import runtime
from core.errors import CatalogError, RunError, ScenarioError
from core.hub_model import HubModel
from core.launch_experts import experts_in_host_memory, experts_of_layers, moe_layers
from core.launch_flags import Table
from core.launch_source import loaded
from core.launch_words import ALL_LAYERS, BACKEND_OF
from core.resolve import container_of, find_model, names_unknown_quant, quant_in_name
from core.units import GIB
from core.weights import weight_table

_SAME = (
    "max_context", "max_sequences", "token_budget", "micro_batch", "memory_fraction", "threads", "cuda_graphs",
    "flash_attention", "gpu_layers", "prompt_tokens", "output_tokens", "context_depth",
    "concurrency", "numa",
)  # fmt: skip
_MANY_LAYERS = 99  # llama.cpp's idiom for "every layer", as is any more
_HIDDEN = ("", "-1", "none", "void", "NoDevFiles")  # devices that a variable leaves to the runtime: none
_IN_LAYERS = ("attention", "mlp", "experts", "shared_experts", "router", "norm")


@dataclass(slots=True)
class Heard:
    """A command's settings in the runtime's words (`words`), and what they come to."""

    table: Table
    words: dict[str, Any]
    positional: str | None
    container_devices: str | None = None
    fields: dict[str, Any] = field(default_factory=dict)  # scenario knobs
    launch: dict[str, Any] = field(default_factory=dict)  # knobs of the written command, where they are other
    not_modelled: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    model_text: str = ""


def understand(heard: Heard) -> None:
    """Fills in fields, launch knobs and notes. Raises ScenarioError for settings that contradict each other."""
    words, fields = heard.words, heard.fields
    fields["runtime"] = heard.table.runtime
    for name in _SAME:
        if words.get(name) is not None:
            fields[name] = words[name]
    family = heard.table.extends or heard.table.runtime
    _MODELS.get(family, _server_model)(heard)
    _LAYOUTS.get(family, _server_layout)(heard)
    if heard.table.runtime == "ktransformers":
        experts_of_layers(heard, words.get("gpu_experts") or 0)
    _tower(heard)
    if words.get("cpu_offload_gib") is not None:
        _streamed(heard, words["cpu_offload_gib"])
    _cache_type(heard)
    _context_left_open(heard)


def _context_left_open(heard: Heard) -> None:
    """Says what an engine provides for where a command sets no context; the estimate counts what the load needs."""
    model, entry = heard.fields.get("model"), runtime(heard.table.runtime)
    if model is None or {"max_context", "prompt_tokens"} & heard.fields.keys():
        return
    if entry.id == "vllm":
        does = f"starts only where the cache can hold its model's {models.ir(model).max_context:,} tokens"
    elif fact := entry.facts.get("max_context"):
        does = f"makes its cache for {fact.value:,.0f} tokens{f' {fact.note}' if fact.note else ''}"
    elif entry.kv_allocation == "upfront":
        does = f"makes its cache for its model's {models.ir(model).max_context:,} tokens, unless it finds that fewer fit"
    else:
        return
    heard.notes.append(f"No context is set: {entry.name} {does}. The estimate counts what the load needs; give the context to count that.")


def _tower(heard: Heard) -> None:
    """Whether the vision tower is loaded: said outright, by its file, or by how many images are allowed."""
    words, limit = heard.words, heard.words.get("image_limit")
    wanted = words.get("vision")
    if words.get("mmproj") is not None:
        wanted, heard.launch["mmproj"] = True, words["mmproj"]
    if limit is not None:
        heard.launch["image_limit"] = limit
        if limit:
            heard.not_modelled.append((f"at most {limit} images", "how many images a prompt brings is part of the load: give images"))
        elif wanted is None and heard.fields.get("model"):
            heard.fields["vision"] = False  # a prompt may bring none, so the engine leaves the tower out
    if wanted is None:
        return
    heard.launch["vision"] = wanted
    model = heard.fields.get("model")
    if model is not None and models.ir(model).tower is None:
        if wanted:
            heard.not_modelled.append(("the vision tower", f"{model} has none that is known"))
    else:
        heard.fields["vision"] = wanted


def _count(text: str | None) -> int | None:
    """How many devices "0,1", "2", "all" or "device=0,1" mean; of one number, `2`, that it is an index. 0 where it hides all."""
    if text is None or text == "all" or "$" in text:
        return None
    if text.strip() in _HIDDEN:
        return 0
    return len([part for part in text.replace("device=", "").split(",") if part.strip()])


def _visible(heard: Heard) -> int | None:
    """Devices that the command shows the runtime, where it says."""
    shown = _count(heard.words.get("visible"))
    if shown == 0:
        heard.notes.append(f"It is shown no device ('{heard.words['visible']}').")
        return None
    if shown is not None:
        heard.launch["visible"] = shown
        return shown
    given = heard.container_devices
    if given is None or given == "all":
        return None
    number = int(given) if given.isdigit() and int(given) > 0 else _count(given)
    heard.launch["visible"] = number
    return number


def _streamed(heard: Heard, gib: float) -> None:
    """Weights that a server keeps in host memory and streams in every step, as whole layers."""
    heard.launch["cpu_offload_gib"] = gib
    model = heard.fields.get("model")
    if model is None:
        heard.not_modelled.append(("--cpu-offload-gb", "how many layers it means depends on the model, which is not in the catalog"))
        return
    ir = models.ir(model)
    weights = weight_table(ir, heard.fields.get("quant") or ir.native_quant or "BF16")
    layer = weights.where(group=_IN_LAYERS) / ir.layers
    away = min(ir.layers, round(gib * GIB * heard.fields.get("count", 1) / heard.fields.get("dp", 1) / layer))
    if away > 0:
        heard.fields["gpu_layers"] = ir.layers - away
    heard.notes.append(f"{gib:g} GiB a device in host memory is estimated as {away} of {ir.layers} layers.")


# ---- models


def _resolve(heard: Heard, text: str, runtime_id: str) -> None:
    """Sets the model that a name or path means, and the quantisation that it states."""
    heard.model_text = text
    name = re.sub(r".*models--([^/]+?)--([^/]+)(?:/snapshots/.*)?$", r"\1/\2", text.rstrip("/"))
    name = re.sub(r"^(?:https?://)?(?:hf\.co|huggingface\.co)/", "", name)
    bare = runtime_id == "ollama" and not re.search(r"[:/@]", name)
    try:
        found = find_model(*([f"{name}:latest"] if bare else []), name)  # what Ollama takes a bare name for
    except RunError:
        try:
            heard.fields["model"] = models.model(name).id
        except CatalogError:
            how = "read it in on the page “Model” (roofcast model ID), or name one alike"
            heard.notes.append(f"The model '{text}' is not in the catalog: {how}.")
    else:
        heard.fields["model"] = found.id
        if found.note:
            heard.notes.append(f"The model '{text}': {found.note}.")
    if quant := quant_in_name(name, runtime_id):
        heard.fields["quant"] = quant.id
    elif re.search(r"(?i)[-_]fp4\b", name) and runtime_id in ("vllm", "sglang", "tensorrt-llm"):
        heard.fields["quant"] = "NVFP4"
    elif container_of(runtime_id) == "safetensors" and names_unknown_quant(name) and heard.fields.get("model") != name:
        how = "give the quantisation, or read its files by roofcast model ID"
        heard.notes.append(f"The name '{text}' speaks of a quantisation that is not known here: {how}.")


def _as_fetched(heard: Heard, held: HubModel | None) -> bool:
    """Takes a model that was fetched: its files say how they are stored."""
    if held is None:
        return False
    heard.fields["model"] = held.id
    heard.fields.pop("quant", None)
    heard.notes = [note for note in heard.notes if "not in the catalog" not in note and "not known here" not in note]
    heard.notes.append(f"The model is the one that was fetched, at {held.revision[:12]}.")
    return True


def _server_model(heard: Heard) -> None:
    text = heard.words.get("model") or heard.positional
    if not text:
        flag = "" if heard.table.model == "positional" else "--model "
        raise ScenarioError(f"The command names no model; add it, as in: {heard.table.commands[0]} {flag}Qwen/Qwen3-8B.")
    _resolve(heard, text, heard.table.runtime)
    heard.launch["model"] = text
    revision = heard.launch["revision"] = heard.words.get("revision")
    if revision and not _as_fetched(heard, loaded(text, revision=revision)):
        heard.notes.append(f"Revision {revision} was not fetched; `roofcast model {text}@{revision}` reads its files.")
    heard.launch["checkpoint_quant"] = heard.fields.get("quant")
    quant = heard.words.get("quantization")
    if quant is not None and heard.fields.get("quant", "").split("-")[0] != quant.split("-")[0]:
        heard.fields["quant"] = quant
    elif heard.words.get("dtype") and "quant" not in heard.fields:
        heard.fields["quant"] = heard.words["dtype"]
    if str(text).endswith(".gguf"):
        heard.notes.append(f"GGUF is not counted as supported by {heard.table.runtime}.")


def _llama_model(heard: Heard) -> None:
    words = heard.words
    repository, file = words.get("repository"), words.get("repository_file") or words.get("file") or words.get("url")
    if not (repository or file):
        raise ScenarioError("The command names no model; add it, as in: llama-server -m Qwen3-8B-Q4_K_M.gguf.")
    name, _, tag = (repository or "").partition(":")
    heard.launch |= {"model": repository or file, "repository": repository, "repository_file": words.get("repository_file")}
    if not repository:
        heard.launch["url" if words.get("url") else "file"] = file
    _resolve(heard, name if repository else str(file), heard.table.runtime)
    heard.model_text = str(repository or file)
    if _as_fetched(heard, loaded(repository, file)):
        return
    stated = quant_in_name(f"{name}-{tag}" if tag else file or "", heard.table.runtime) if tag or words.get("repository_file") else None
    if stated:
        heard.fields["quant"] = stated.id
    elif "quant" not in heard.fields and repository and not tag and not _mxfp4(heard.fields.get("model")):
        heard.fields["quant"] = "Q4_K_M"
        heard.notes.append("The repository is named without a quantisation: Q4_K_M, as llama.cpp takes it where there is one.")
    elif "quant" not in heard.fields and not _mxfp4(heard.fields.get("model")):
        heard.notes.append("The file's name does not state its quantisation: the runtime's usual one is taken.")


def _mxfp4(model: str | None) -> bool:
    """Whether a model was published in MXFP4, which its GGUF files keep."""
    return model is not None and "mxfp4" in (models.ir(model).native_quant or "").lower()


def _ollama_model(heard: Heard) -> None:
    text = heard.words.get("FROM") or heard.positional
    if not text:
        raise ScenarioError("The command names no model; add `ollama run NAME`, or a Modelfile with its FROM line.")
    _resolve(heard, text, "ollama")
    _as_fetched(heard, loaded(None, text) if text.lower().endswith(".gguf") and "hf.co/" not in text else loaded(text))
    heard.launch |= {"model": text, "file": text}


def _mlx_model(heard: Heard) -> None:
    text = heard.words.get("model") or heard.positional
    if not text:
        raise ScenarioError("The command names no model; add it, as in: mlx_lm.server --model mlx-community/Qwen3-8B-4bit.")
    _resolve(heard, text, "mlx")
    heard.launch |= {"model": text, "file": text}


_MODELS: dict[str, Callable[[Heard], None]] = {"llama.cpp": _llama_model, "ollama": _ollama_model, "mlx": _mlx_model}


# ---- layouts


def _server_layout(heard: Heard) -> None:
    """Degrees of a server whose processes are counted by its flags, so that the devices follow from them."""
    words, fields = heard.words, heard.fields
    tp, pp, dp, ep, cp = (1 if words.get(name) is None else words[name] for name in ("tp", "pp", "dp", "ep", "cp"))
    if min(tp, pp, dp, ep, cp) < 1:
        raise ScenarioError("A degree of parallelism is 1 or more; correct the command.")
    visible = _visible(heard)
    everywhere = heard.table.runtime == "tgi" and words.get("tp") is None and words.get("sharded") != "false"
    if everywhere and visible:
        tp = visible
    elif heard.table.runtime == "tgi" and tp == 1 and not everywhere:
        heard.launch["visible"] = 1  # left out, --num-shard means every device
    if words.get("attention_dp"):
        # Attention is replicated and the tensor ranks are shared out among the replicas; TensorRT-LLM has one for each.
        dp = tp if heard.table.runtime == "tensorrt-llm" else dp
        if tp % dp:
            raise ScenarioError(f"Attention data parallel {dp} does not divide tensor parallel {tp}; correct the command.")
        if dp > 1 and ep == 1 and not words.get("expert_parallel"):
            fields["mlp_tp"] = tp  # the replicas share the feed-forward part, experts and all
        elif dp > 1 and ep != tp:
            if ep > 1:
                heard.notes.append(f"Experts are taken as spread over all {tp} ranks, as the estimate has it beside replicated attention.")
            ep = tp
        tp //= dp
    if words.get("expert_parallel"):
        ep = tp * dp
    elif (heard.table.extends or heard.table.runtime) == "sglang" and dp > 1 and ep > 1 and not words.get("attention_dp"):
        heard.notes.append("Each replica spreads its experts over its own ranks; the estimate spreads them over all.")
        ep = tp * dp
    if ep > 1 and moe_layers(fields.get("model")) == []:
        heard.not_modelled.append(("expert parallel", f"{fields['model']} has no experts"))
        ep = 1
    if words.get("layer_partition") is not None:
        given = checked(words["layer_partition"])
        if pp > 1 and len(given) == pp:
            fields["tensor_split"], heard.launch["tensor_split"] = write_shares(given), given
        else:
            why = f"it deals the layers out to {len(given)} pipeline stages, and there {'is one' if pp == 1 else f'are {pp}'}"
            heard.not_modelled.append(("VLLM_PP_LAYER_PARTITION", why))
    degrees = {"tp": tp, "pp": pp, "dp": dp, "ep": ep, "cp": cp}
    fields |= {name: degree for name, degree in degrees.items() if degree > 1}
    count = fields["count"] = tp * pp * dp * cp
    if everywhere and not visible:
        del fields["count"]
        heard.notes.append("It spreads the model over all devices: say how many there are.")
    elif visible is not None and visible < count:
        heard.notes.append(f"It needs {count} devices and is shown {visible}: the rest must be on further machines.")
    elif visible is not None and visible > count:
        heard.notes.append(f"It is shown {visible} devices and uses {count}.")
    if "fraction_in_file" in words:
        fields["memory_fraction"] = words["fraction_in_file"]


def _llama_layout(heard: Heard) -> None:
    words, fields, launch = heard.words, heard.fields, heard.launch
    slots = words.get("max_sequences")
    context = words.get("all_context")
    if context is not None:
        fields["max_context"] = max(1, context // (slots or 1))
    if "gpu_layers" in fields and (fields["gpu_layers"] >= _MANY_LAYERS or fields["gpu_layers"] < 0):
        fields["gpu_layers"] = ALL_LAYERS
    count = _visible(heard)
    if _count(words.get("visible")) == 0:
        fields["gpu_layers"] = 0
    mode = words.get("split_mode")
    main = words.get("main_gpu")
    if mode == "none":
        count = 1
        fields["split"] = "none"
        if main is not None:
            fields["main_gpu"], count = main, main + 1
    elif mode is not None:
        fields["split"] = "layer" if mode == "layer" else "tensor"
    if mode == "tensor":
        heard.notes.append("-sm tensor is estimated as the row split, both tensor parallel.")
    if words.get("devices") == "none":
        fields["gpu_layers"] = 0
        heard.notes.append("--device none is estimated as no layer on the GPU.")
    elif words.get("devices"):
        names = [name.strip() for name in re.split(r"[,/]", words["devices"])]
        count = len(names)
        if backend := BACKEND_OF.get(re.sub(r"\d+$", "", names[0]).lower()):
            fields["backend"] = backend
    if words.get("tensor_split"):
        given = checked(words["tensor_split"])
        if mode == "none":
            heard.not_modelled.append(("--tensor-split", "with -sm none one card takes all"))
        elif len({share for share in given if share}) > 1:
            count = len(given)
            fields["tensor_split"], launch["tensor_split"] = write_shares(given), given
        else:
            count = len([share for share in given if share])
    if main is not None and mode != "none":
        heard.not_modelled.append(("--main-gpu", "it matters with -sm none, and little with -sm row"))
    if count is not None:
        fields["count"] = launch["visible"] = count
    experts_in_host_memory(heard)


def checked(text: str) -> tuple[float, ...]:
    """Shares of the cards, without cards at the end that take none. Raises ScenarioError."""
    try:
        found = list(checked_shares(read_shares(text)))
    except ValueError as error:
        raise ScenarioError(f"{str(error)[0].upper()}{str(error)[1:]}.") from None
    while found and found[-1] == 0:
        del found[-1]
    return tuple(found)


def _ollama_layout(heard: Heard) -> None:
    words, fields = heard.words, heard.fields
    if "max_context" not in fields and words.get("server_context") is not None:
        fields["max_context"] = words["server_context"]
    if fields.get("gpu_layers", 0) >= _MANY_LAYERS:
        fields["gpu_layers"] = ALL_LAYERS
    count = _visible(heard)
    if _count(words.get("visible")) == 0:
        fields["gpu_layers"] = 0
    if count is not None:
        fields["count"] = count
    elif words.get("spread"):
        heard.notes.append("The model is spread over all cards: say how many there are.")


def _mlx_layout(heard: Heard) -> None:
    if heard.words.get("pipeline"):
        heard.not_modelled.append(
            ("--pipeline", "how many machines share the layers stands in the host file: give pipeline stages and count")
        )


_LAYOUTS: dict[str, Callable[[Heard], None]] = {"llama.cpp": _llama_layout, "ollama": _ollama_layout, "mlx": _mlx_layout}


def _cache_type(heard: Heard) -> None:
    """One KV type from what the command says of keys and values."""
    words = heard.words
    pair = words.get("kv_keys"), words.get("kv_values")
    said = words.get("kv_dtype")
    if any(pair):
        said = f"{pair[0] or 'f16'}/{pair[1] or 'f16'}"
    if said is None:
        return
    try:
        heard.fields["kv_dtype"] = kv_dtype(said).id
    except CatalogError as error:
        raise ScenarioError(str(error)) from error
    plain = (None, "f16", "bf16", "f32")
    if (heard.table.extends or heard.table.runtime) == "llama.cpp" and words.get("flash_attention") is False and pair[1] not in plain:
        heard.notes.append(f"llama.cpp does not start with values in {pair[1]} and without flash attention.")
