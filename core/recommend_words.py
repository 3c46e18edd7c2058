"""A suggestion in words: why each value, what to do where it does not fit, and what is risky about values set by hand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from core.answer import Estimate
from core.catalog.quants import quant
from core.errors import RoofcastError
from core.plan import broken_rules
from core.quality import quality
from core.quantity import value
from core.recommend import (
    DATASET,
    MOST_USERS,
    NATIVE,
    Form,
    Setup,
    Split,
    Suggestion,
    Target,
    quant_choices,
    scenario_of,
)
from core.sweep import answer
from core.units import GIB, show, significant
from core.weights import weight_table
from core.words import device_name, model_name


def weights_of(found: Suggestion, quant_id: str) -> float:
    """Bytes of the model's weights in a quantisation."""
    return float(weight_table(found.ir, quant_id).bytes)


def memory_words(target: Target) -> str:
    """The machine's memory: "22.4 GiB on each of 4 A10G", "24.0 GiB"."""
    count, each = target.system.count, show(target.memory / target.system.count, "B")
    if count > 1:
        return f"{each} on each of {count} {device_name(target.system.device)}"
    return each if target.provider is None else f"{each} on one {device_name(target.system.device)}"


def headline(found: Suggestion) -> str:
    """The suggestion in one sentence."""
    name, where = model_name(found.model), found.target.label
    setup = found.setup
    if setup is None:
        return f"{name} does not fit {where}, not even in {_smallest(found)}."
    if setup.step != NATIVE:
        return f"{name} is too large for {where} in {found.native_quant}; it fits in {setup.quant}."
    split = f", {split_words(setup.split)}" if setup.split.tp else ""
    return f"Run {name} on {where} in {setup.quant}{split}: {_rates(setup)}."


def _rates(setup: Setup) -> str:
    users = "one user" if setup.concurrency == 1 else f"{setup.concurrency} users"
    return f"about {_tokens(setup.rate)} tok/s for {users}"


def _tokens(rate: float) -> str:
    return significant(rate, 3) if rate == rate else "an unknown number of"


def _smallest(found: Suggestion) -> str:
    names = [name for name in quant_choices(found) if name]
    return min(names, key=lambda name: weights_of(found, name)) if names else found.native_quant


def reason(found: Suggestion) -> str:
    """Why the published precision does not fit; empty where it does."""
    if found.feasible:
        return ""
    size, total = weights_of(found, found.native_quant), found.target.memory
    said = f"The weights take {show(size, 'B')} in {found.native_quant}; {found.target.label} has {memory_words(found.target)}"
    if size < total:
        return f"{said}, which leaves too little for the engine and one conversation."
    return f"{said}."


def split_words(split: Split) -> str:
    """A split in words: "2 replicas of TP 4"."""
    if split.tp is None:
        return "split as the engine does by itself"
    stages = f" × PP {split.pp}" if split.pp and split.pp > 1 else ""
    return f"TP {split.tp}{stages}" if split.dp == 1 else f"{split.dp} replicas of TP {split.tp}{stages}"


def about(found: Suggestion) -> str:
    """Which model on which machine: "Mistral-7B-Instruct-v0.3 (7.25 billion parameters, BF16) on g5.xlarge (22.4 GiB on one A10G)"."""
    size = significant(found.ir.parameters / 1e9, 3)
    where = f"{found.target.label} ({memory_words(found.target)})"
    return f"{model_name(found.model)} ({size} billion parameters, {found.native_quant}) on {where}"


def quant_words(setup: Setup) -> str:
    """The precision of a configuration: "BF16, as published", "INT8"."""
    return f"{setup.quant}, as published," if setup.step == NATIVE else setup.quant


def priced(target: Target) -> str:
    """A machine with its price, where it has one."""
    return f"{target.label}, ${target.usd_per_h:,.2f} an hour" if target.usd_per_h else target.label


def option_words(found: Suggestion, setup: Setup) -> str:
    """What one of two options comes to."""
    needs = show(_needed(setup.answer), "B")
    limit = show(float(value(setup.answer.device.limit)), "B")
    split = f"{split_words(setup.split)}, " if setup.split.tp else ""
    each = " on each device" if setup.scenario.system.count > 1 else ""
    return f"{split}{needs} of {limit}{each}, up to {setup.max_context:,} tokens, {_rates(setup)}."


def tensor_words(setup: Setup) -> str:
    """The tensor parallelism as the value of a field: "2, in 2 replicas"."""
    split = setup.split
    if split.tp is None:
        return "1" if setup.scenario.system.count == 1 else "by layer"
    stages = f", in {split.pp} stages" if split.pp and split.pp > 1 else ""
    return f"{split.tp}, in {split.dp} replicas" if split.dp > 1 else f"{split.tp}{stages}"


def why(found: Suggestion, setup: Setup, target: Target | None = None) -> dict[str, str]:
    """One sentence for each field of a configuration."""
    target = target or found.target
    return {
        "tensor_parallel_degree": _why_split(found, setup, target),
        "quantization": _why_quant(found, setup, target),
        "max_model_len": _why_context(found, setup),
        "concurrency": _why_users(setup),
        "input_sequence_length": _why_tokens(setup),
        "dataset": f"“{DATASET}” is kept: the lengths above are those of its conversations.",
    }


@dataclass(frozen=True, slots=True)
class Field:
    """One value of a configuration as people read it."""

    name: str
    shown: str
    why: str


def fields(found: Suggestion, setup: Setup, target: Target | None = None) -> list[Field]:
    """Every value with its name, and why."""
    said = why(found, setup, target)
    load = setup.scenario.workload
    quantised = "none" if setup.step == NATIVE else setup.quant
    split = tensor_words(setup)
    return [
        Field("Tensor parallel", split, said["tensor_parallel_degree"]),
        Field("Quantisation", quantised, said["quantization"]),
        Field("Longest context", f"{setup.max_context:,} tokens", said["max_model_len"]),
        Field("Users at once", f"{setup.concurrency:,}", said["concurrency"]),
        Field("Tokens in and out", f"{load.prompt_tokens:,} and {load.output_tokens:,}", said["input_sequence_length"]),
        Field("Data set", DATASET, said["dataset"]),
    ]


def _why_split(found: Suggestion, setup: Setup, target: Target) -> str:
    size = show(weights_of(found, setup.quant), "B")
    if target.system.count == 1:
        return f"There is one device, and the weights of {size} lie on it."
    if setup.split.tp is None:
        return f"{setup.answer.resolved['runtime_name']} puts whole layers on each of the {target.system.count} devices."
    said = f"All {target.system.count} devices work as {split_words(setup.split)}, estimated at {_tokens(setup.rate)} tok/s"
    if not setup.others:
        return f"{said}; no other split of the whole machine holds the weights of {size}."
    split, rate = max(setup.others, key=lambda other: other[1])
    said += f", {split_words(split)} at {_tokens(rate)}"
    if rate > setup.rate:
        return f"{said}: as good within what an estimate can tell, and a wider split gives each user more speed and room."
    if (split.tp or 1) < (setup.split.tp or 1):
        return f"{said}: reading the weights once for all users outweighs what the devices say to each other."
    return f"{said}: replicas do not wait for each other in every layer."


def _why_quant(found: Suggestion, setup: Setup, target: Target) -> str:
    if setup.step == NATIVE:
        size = show(weights_of(found, setup.quant), "B")
        return f"{setup.quant}, as published, fits: {size} of weights; {target.label} has {memory_words(target)}."
    lost = quality(found.model, setup.quant).sentence
    return f"{reason(found)} {setup.quant} is the highest step of the ladder that fits: {show(weights_of(found, setup.quant), 'B')}. {lost}"


def _why_context(found: Suggestion, setup: Setup) -> str:
    own = found.ir.max_context
    if setup.max_context >= own:
        return f"{own:,} tokens is the model's own limit, and memory holds it."
    room = show(float(value(setup.answer.limits["kv_pool"])), "B")
    each = " on each device" if (setup.split.tp or 1) * setup.split.dp > 1 else ""
    return (
        f"Beside the weights {room} are left for the KV cache{each}, one conversation of {setup.max_context:,} tokens (the model: {own:,})."
    )


def _why_users(setup: Setup) -> str:
    load = setup.scenario.workload
    if setup.answer.resolved["runtime"] not in ("llama.cpp", "mlx"):
        held = f"The KV cache holds {setup.capacity:,} conversations of {load.context:,} tokens"
        return f"{held}; more than {MOST_USERS} tell a benchmark little." if setup.capacity > MOST_USERS else f"{held}."
    return "The engine reserves a whole context for each user, so one user has it all."


def _why_tokens(setup: Setup) -> str:
    load = setup.scenario.workload
    return f"{load.prompt_tokens:,} tokens in and {load.output_tokens:,} out, as in benchmarks on ShareGPT."


# ---- What a person sets by hand


def advice(found: Suggestion, form: Form) -> list[str]:
    """What is likely to go wrong with the form as it stands: sentences, none of which forbids anything."""
    said: list[str] = []
    count = found.target.system.count
    if form.tp > count:
        said.append(f"{found.target.label} has {count} device{'s' if count > 1 else ''} only; TP {form.tp} needs {form.tp}.")
    elif count % form.tp:
        said.append(f"TP {form.tp} leaves {count % form.tp} of {count} devices idle.")
    said += [f"{rule[0].upper()}{rule[1:]}." for rule in broken_rules(found.ir, form.tp, 1, 1, 1)]
    if form.max_context > found.ir.max_context:
        said.append(f"The model was made for {found.ir.max_context:,} tokens; {form.max_context:,} are beyond it.")
    if form.prompt_tokens + form.output_tokens > form.max_context:
        said.append(f"A request takes {form.prompt_tokens + form.output_tokens:,} tokens, more than the longest context.")
    if form.quant and quant(form.quant).kernel_class.startswith("fp8") and found.target.device.fp8_tflops is None:
        said.append(f"{device_name(found.target.system.device)} has no FP8 units: it saves memory, not time.")
    return said + _fit_advice(found, form, known=bool(said))


def _fit_advice(found: Suggestion, form: Form, *, known: bool) -> list[str]:
    try:
        told = answer(scenario_of(found, form))
    except RoofcastError as error:
        return [] if known else [str(error)]
    if told.feasibility != "in_vram":
        return [f"Estimated memory {show(_needed(told), 'B')} exceeds the available {show(float(value(told.device.limit)), 'B')} a device."]
    held = float(value(told.limits["kv_tokens"])) * (told.resolved["dp"] or 1)
    fits = int(held // max(1, form.prompt_tokens + form.output_tokens))
    if fits < form.concurrency:
        return [f"The KV cache holds about {fits:,} conversations of this length at once; the others wait."]
    return []


def _needed(told: Estimate) -> float:
    return max(float(value(told.device.needed)), float(value(told.device.peak)))


# ---- As plain data


def as_dict(found: Suggestion) -> dict[str, Any]:
    """Plain data for JSON, with the names of the benchmark's fields."""
    setup, target = found.setup, found.target
    explanation: dict[str, Any] = {**(why(found, setup) if setup else {}), "feasible": found.feasible}
    if not found.feasible:
        explanation |= {"reason": reason(found), "suggested_instance": found.larger[0].label if found.larger else None}
    return {
        "headline": headline(found),
        **(_fields(setup) if setup else {}),
        "explanation": explanation,
        "options": {
            "a": {"quantization": found.smaller.quant, **_fields(found.smaller)} if found.smaller else None,
            "b": {"instance": found.larger[0].label, **_fields(found.larger[1])} if found.larger else None,
        },
        "model_info": {
            "id": found.model,
            "parameter_count": found.ir.parameters,
            "native_dtype": found.native_quant,
            "max_position_embeddings": found.ir.max_context,
            "architecture": found.ir.model_type,
        },
        "instance_info": {
            "name": target.label,
            "accelerator_count": target.system.count,
            "accelerator_memory_gib": round(target.memory / GIB, 1),
            "accelerator_name": device_name(target.system.device),
            "usd_per_h": target.usd_per_h,
        },
    }


def _fields(setup: Setup) -> Mapping[str, Any]:
    load, told = setup.scenario.workload, setup.answer
    return {
        "tensor_parallel_degree": setup.split.tp or 1,
        "pipeline_parallel_degree": setup.split.pp or 1,
        "replicas": setup.split.dp,
        "quantization": None if setup.step == NATIVE else setup.quant,
        "max_model_len": setup.max_context,
        "concurrency": setup.concurrency,
        "input_sequence_length": load.prompt_tokens,
        "output_sequence_length": load.output_tokens,
        "dataset": DATASET,
        "runtime": told.resolved["runtime"],
        "memory_gib": round(_needed(told) / GIB, 2),
        "output_toks_sec": None if setup.rate != setup.rate else float(f"{setup.rate:.4g}"),
    }
