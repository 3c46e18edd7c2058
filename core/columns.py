"""From a scenario to numbers: every categorical knob (model, device, runtime, quantisation) is looked up here, once.

`columns` turns what the scenario names into named numbers, each a cited leaf. `plain` strips the citations; `stack` and `take`
lay the columns of a few combinations along the array axis of many candidates.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np

from core.catalog import models
from core.catalog.assumptions import assume
from core.catalog.files import source
from core.catalog.fitted_memory import fitted_constant
from core.host import device_memory, host_of, of_sockets, over_sockets, said_bandwidth, with_threads
from core.ir import Attention
from core.joins import buses, cable
from core.machine import (
    Bus,
    Columns,
    constant,
    facts_of,
    money_of,
    or_else,
    place_of,
    said,
    unknown,
    user,
)
from core.plan import degrees
from core.power_limit import limit_power
from core.quantity import Quantity, leaf, total
from core.scenario import Workload
from core.setting import Setting
from core.unlike import spread_over
from core.vision import vision_columns
from core.weights import weight_parts, weight_table


def _config(name: str, amount: Any, unit: str, model: str) -> Quantity:
    return leaf(name, float(amount), unit, "model_config", source("tensor-shapes", note=model))


@functools.lru_cache(maxsize=512)
def _weights(model: str, quant: str) -> tuple[dict[Any, Quantity], dict[Any, Quantity]]:
    """Bytes and elements by (block, group, shard), cited down to format and shape."""
    ir = models.ir(model)
    table = weight_table(ir, quant)
    rows = [row for row in table.rows if row.group != "mtp"]
    gathered: dict[Any, list[Quantity]] = {}
    elements: dict[Any, float] = {}
    for row, part in zip(rows, weight_parts(table), strict=True):
        key = (row.block, row.group, row.shard)
        gathered.setdefault(key, []).append(part)
        elements[key] = elements.get(key, 0.0) + row.elements
    where = {key: f"{key[1].replace('_', ' ')}{'' if key[0] is None else ' of ' + key[0]}" for key in gathered}
    return (
        {key: total(parts, f"weights: {where[key]}") for key, parts in gathered.items()},
        {key: _config(f"elements: {where[key]}", count, "", model) for key, count in elements.items()},
    )


def _expanded(attention: Attention) -> int:
    return attention.heads * (attention.head_dim + attention.v_head_dim) if attention.kind == "mla" else 0


def load_amounts(load: Workload) -> dict[str, float]:
    """The columns that a load decides, as plain numbers. Of its other effects only the arrival's reach further columns."""
    return {
        "prompt": float(load.prompt_tokens),
        "output": float(load.output_tokens),
        "depth": float(load.context_depth),
        "cached": float(min(load.prefix_cached_tokens, load.prompt_tokens - 1)),
        "users": float(load.concurrency),
        "rate": load.request_rate_per_s or float("nan"),
        "equal": float(load.equal_lengths),
    }


def columns(setting: Setting) -> Columns:
    """Every number of the scenario as a cited leaf, by name. `setting` as `settle` found it."""
    s, ir, device, runtime = setting.scenario, setting.ir, setting.device, setting.runtime
    system, deploy, load = s.system, s.deployment, s.workload
    asked = load_amounts(load)
    facts = facts_of(setting, device, setting.backend)
    bytes_by, elements_by = _weights(ir.id, setting.quant.id)
    gpu = place_of(setting, device, setting.backend)
    memory = device_memory(setting, facts)
    gpu.bandwidth = or_else(said_bandwidth(setting, device, gpu), gpu.bandwidth)
    rated = or_else(device.fact("tdp_w"), unknown(f"power of {device.name}", "W"))
    if setting.on_cpu:
        over_sockets(setting, gpu)
        with_threads(setting, device, gpu)
        rated = of_sockets(setting, rated)
    tdp, idle = rated, assume("idle_power", **facts)
    busy = limit_power(setting, gpu, tdp, idle, assume("busy_power", **facts), facts)
    at = {"device": device.name, "device_memory": memory.value}

    def knob(name: str, given: Any, unit: str, fact: str) -> Quantity:
        default = runtime.get(fact, **at)
        if given is None:
            return default if default is not None else constant(name, float("nan"), unit)
        return user(name, given, unit, None if default is None else default.value)

    lineage = (runtime.id, *([runtime.treated_as] if runtime.treated_as else []), setting.engine)

    def memory_fact(name: str) -> Quantity:
        """What was fitted to measured memory, else what the runtime's record says."""
        return or_else(fitted_constant(name, lineage, setting.backend), or_else(runtime.get(name, **at), zero))

    zero = constant("nothing", 0.0, "B")
    found_buses, link_name = buses(setting, facts)
    joined = cable(setting, facts, device, system.host_link)
    c = Columns(
        # load
        **vision_columns(setting, said(load, "prompt_tokens", "prompt", asked["prompt"], "tok")),
        output=said(load, "output_tokens", "output", asked["output"], "tok"),
        depth=said(load, "context_depth", "tokens cached before", asked["depth"], "tok"),
        cached=said(load, "prefix_cached_tokens", "prefix-cached tokens", asked["cached"], "tok"),
        users=said(load, "concurrency", "users", asked["users"], ""),
        rate=user("request rate", asked["rate"], "1/s"),
        equal=said(load, "equal_lengths", "answers of one length", asked["equal"], ""),
        # model
        layers=_config("layers", ir.layers, "", ir.id),
        hidden=_config("hidden size", ir.hidden, "", ir.id),
        vocab=_config("vocabulary", ir.vocab, "", ir.id),
        heads=_config("attention heads", max(b.attention.heads for b in ir.blocks), "", ir.id),
        expanded=_config("keys and values of all heads", max(_expanded(b.attention) for b in ir.blocks), "", ir.id),
        absorbed=_config("queries against the latent", max(b.attention.heads * b.attention.kv_lora_rank for b in ir.blocks), "", ir.id),
        inner=_config("widest feed-forward", max(b.mlp.intermediate for b in ir.blocks), "", ir.id),
        weights=bytes_by,
        elements=elements_by,
        # layout
        count=user("devices", system.devices, "") if system.others else said(system, "count", "devices", system.count, ""),
        sp=said(deploy, "sp", "sequence parallel", float(deploy.sp), ""),
        gpu_layers=user("layers on device", float("nan") if deploy.gpu_layers is None else deploy.gpu_layers, ""),
        experts_on_cpu=user("layers with experts on CPU", float("nan") if deploy.experts_on_cpu is None else deploy.experts_on_cpu, ""),
        flash=said(deploy, "flash_attention", "flash attention", float(deploy.flash_attention), ""),
        **_degrees(setting),
        mlp_tp=user("tensor parallel of the feed-forward part", float("nan") if deploy.mlp_tp is None else deploy.mlp_tp, ""),
        # engine
        token_budget=knob("token budget", deploy.token_budget, "tok", "token_budget"),
        micro_batch=knob("micro-batch", deploy.micro_batch, "tok", "micro_batch"),
        max_sequences=knob("most sequences at once", deploy.max_sequences, "", "max_sequences"),
        max_context=user("context", float("nan") if deploy.max_context is None else deploy.max_context, "tok"),
        fraction=knob("memory fraction", deploy.memory_fraction, "", "memory_fraction"),
        block_tokens=or_else(runtime.get("block_tokens", **at), constant("KV block", 1.0, "tok")),
        context_memory=zero if setting.on_cpu else memory_fact("context_memory"),
        non_torch=memory_fact("non_torch_memory"),
        graph_memory=memory_fact("graph_memory") if setting.graphs else zero,
        activation_memory=memory_fact("activation_memory"),
        fit_margin=or_else(runtime.get("fit_margin", **at), zero),
        stream_tokens=or_else(runtime.get("stream_tokens", **at), constant("tokens from which weights are streamed", 0.0, "tok")),
        kv_size=setting.kv.cited,
        key_size=setting.kv.keys_cited,
        logit_size=constant("bytes of a logit", 4.0, "B"),
        act_size=constant("bytes of an activation", 2.0, "B"),
        step_overhead=assume("step_overhead", **facts),
        sequence_overhead=assume("sequence_overhead", **facts),
        request_overhead=assume("request_overhead", **facts),
        steps_ahead=assume("steps_ahead", **facts),
        held_steps=user("steps a request is held back", deploy.held_steps or 0.0, "", 0.0),
        burst=assume("burst", **facts),
        mla_scores=or_else(fitted_constant("mla_scores", lineage, setting.backend), zero),
        mask_size=or_else(fitted_constant("mask_size", lineage, setting.backend), constant("bytes of a mask's element", 0.0, "B")),
        fragmentation=or_else(fitted_constant("fragmentation", lineage, setting.backend), assume("fragmentation", **facts)),
        # machine
        **_flags(setting),
        gpu=gpu,
        host=None,
        buses=found_buses,
        link_name=link_name,
        cable_in=joined,
        cable_out=joined,
        device_memory=memory,
        tdp=tdp,
        idle=idle,
        busy=busy,
        load_share=constant("time under load", 1.0),
        # fitted correction of the two steps and of the first token; none without one
        decode_factor=None,
        prefill_factor=None,
        ttft_factor=None,
    )
    host_of(setting, c, facts)
    spread_over(setting, c)
    money_of(setting, c)
    return c


def _flags(setting: Setting) -> dict[str, float]:
    """What the runtime does, as 0 or 1, so that candidates of several runtimes lie on one axis."""
    runtime, device = setting.runtime, setting.device
    deploy = setting.scenario.deployment
    mla_cache = deploy.mla_cache or runtime.mla_cache
    flags = {
        "upfront": runtime.kv_allocation == "upfront",
        "pooled": runtime.kv_allocation == "pool",
        "unified_kv": runtime.unified_kv,
        "of_free": runtime.reserve_of == "free",
        "swa_extra": runtime.swa_extra == "ubatch",
        "swa_full": runtime.swa_full,
        "host_embedding": runtime.embeddings_on_host and not device.unified and not setting.on_cpu,
        "vocabulary_sharded": runtime.shards_vocabulary,
        "buffered": runtime.activations == "llama_compute_buffer",
        "profiled": runtime.activations == "profiled",
        "whole_prompt": runtime.activations == "whole_prompt",
        "prompts_whole": runtime.prompts_whole,
        "prompt_logits": runtime.prompt_logits,
        "prompt_scores": runtime.prompt_scores,
        "mla_values": mla_cache == "latent_and_values",
        "mla_full": mla_cache == "full",
        "mla_expands": runtime.mla_expands,
        "sparse": runtime.sparse_attention,
        "pipelined": runtime.pipelined_decode,
        "offloads": runtime.offload == "layers",
        "streams": runtime.offload == "stream",
        "experts_offload": runtime.experts_offload,
        "chunked": runtime.chunked_prefill,
        "prompts_first": runtime.prompts_first,
        "micro_batches": runtime.activations == "llama_compute_buffer",
        "slots_follow_users": (
            runtime.kv_allocation == "upfront" and setting.engine != "ollama" and setting.scenario.workload.arrival != "open"
        )
        or (runtime.activations == "whole_prompt" and setting.scenario.workload.arrival == "static"),
        "sequences_given": deploy.max_sequences is not None,
        "ran": setting.ran,
    }
    return {name: float(flag) for name, flag in flags.items()}


def _degrees(setting: Setting) -> dict[str, Quantity]:
    return {
        name: (user if getattr(setting.scenario.deployment, name) else constant)(title, amount, "")
        for name, (title, amount) in degrees(setting).items()
    }


# ---------------------------------------------------------------- plain numbers and arrays


def plain(x: Any) -> Any:
    """The same columns without citations: floats."""
    if isinstance(x, Quantity):
        return x.value
    if isinstance(x, Columns):
        return Columns(**{key: plain(item) for key, item in vars(x).items()})
    if isinstance(x, Mapping):
        return {key: plain(item) for key, item in x.items()}
    if isinstance(x, Bus):
        return Bus(plain(x.bandwidth), plain(x.latency), plain(x.half), plain(x.exponent))
    if isinstance(x, tuple):
        return tuple(plain(item) for item in x)
    return x


def form(c: Columns) -> tuple[Any, ...]:
    """What columns must have alike to be stacked: whether a host takes part, what has a link to pass, how many kinds of stage."""
    return c.host is None, c.cable_in is None, c.cable_out is None, tuple((card.stages, card.cable is None) for card in c.cards)


def stack(options: list[Any]) -> Any:
    """Plain columns of several combinations of one model as arrays, a place for each; what is the same in all stays a number."""
    first = options[0]
    if isinstance(first, Columns):
        return Columns(**{key: stack([vars(o)[key] for o in options]) for key in vars(first)})
    if isinstance(first, Mapping):
        keys = dict.fromkeys(key for o in options for key in o)
        return {key: stack([o.get(key, 0.0) for o in options]) for key in keys}
    if isinstance(first, Bus):
        return Bus(*(stack([getattr(o, n) for o in options]) for n in Bus.__slots__))
    if isinstance(first, tuple):
        return tuple(stack([o[n] for o in options]) for n in range(len(first)))
    if isinstance(first, (int, float)):
        if options.count(first) == len(options):
            return first
        values = np.array(options, dtype=float)
        return first if np.isnan(values).all() else values
    return first


def take(x: Any, index: np.ndarray) -> Any:
    """Stacked columns with these places of each array, in this order; numbers stand for every place."""
    if isinstance(x, Columns):
        return Columns(**{key: take(item, index) for key, item in vars(x).items()})
    if isinstance(x, Mapping):
        return {key: take(item, index) for key, item in x.items()}
    if isinstance(x, Bus):
        return Bus(*(take(getattr(x, n), index) for n in Bus.__slots__))
    if isinstance(x, tuple):
        return tuple(take(item, index) for item in x)
    return x[index] if isinstance(x, np.ndarray) else x
