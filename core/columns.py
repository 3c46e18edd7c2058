"""From a scenario to numbers: every categorical knob (model, device, runtime, quantisation) is looked up here, once.

`settle` finds the records; `columns` turns them and the knobs into named numbers, each a cited leaf. `plain` strips the
citations; `gather` lays the columns of a few combinations along the array axis of many candidates.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np

from core.catalog import hardware, links, models, quants, runtimes
from core.catalog.assumptions import assume, runtimes_named
from core.catalog.files import source
from core.catalog.hardware import Device
from core.catalog.kernels import kernel
from core.catalog.quants import KvDtype, QuantScheme
from core.catalog.runtimes import Runtime
from core.errors import CatalogError, ScenarioError
from core.ir import ModelIR
from core.quantity import LeafKind, Quantity, Source, leaf, total
from core.scenario import Scenario
from core.units import GB, GIB, KWH, TFLOP
from core.weights import weight_parts, weight_table

# Stands for "no window": longer than any context, finite so that formulas stay defined.
NO_WINDOW = 1e12
_PEAK_FIELDS = {"fp32": "fp32_tflops", "fp16": "fp16_tflops", "bf16": "bf16_tflops", "fp8": "fp8_tflops",
                "int8": "int8_tops", "fp4": "fp4_tflops"}  # fmt: skip


class Columns(SimpleNamespace):
    """Named numbers of one scenario (or arrays of many), see `columns` for the names."""


@dataclass(frozen=True, slots=True)
class Setting:
    """The catalog records that a scenario names, found and checked."""

    scenario: Scenario
    ir: ModelIR
    device: Device
    cpu: Device | None
    runtime: Runtime
    engine: str  # the runtime's id, or that of the runtime it is treated as
    backend: str
    quant: QuantScheme
    kv: KvDtype
    notes: tuple[str, ...] = ()

    @property
    def on_cpu(self) -> bool:
        return self.device.kind == "cpu"

    @property
    def graphs(self) -> bool:
        wanted = self.scenario.deployment.cuda_graphs
        return self.runtime.cuda_graphs if wanted is None else wanted


@functools.lru_cache(maxsize=4096)
def _native_kv(runtime: str) -> KvDtype:
    return quants.kv_dtype("f16" if runtime == "model" else runtime)


def settle(scenario: Scenario, *, strict: bool = True) -> Setting:
    """The records that the scenario names. Raises CatalogError for an unknown name.

    `strict` raises ScenarioError where the runtime does not run the quantisation on this device; measured runs are
    taken as they are (`strict=False`), since they did run.
    """
    ir = models.ir(scenario.model)
    device = hardware.device(scenario.system.device)
    runtime = runtimes.runtime(scenario.runtime).at(scenario.runtime_version, scenario.runtime_date)
    engine = runtime.treated_as or runtime.id
    while (above := runtimes.runtimes()[engine].treated_as) is not None:
        engine = above
    notes: list[str] = []
    try:
        backend: str = scenario.backend or runtimes.backend_for(runtime, device.vendor, device.kind)
    except ScenarioError:
        if strict:
            raise
        backend = next(iter(runtime.backends))
    if backend == "cpu" and device.kind == "gpu" and scenario.system.cpu is not None:
        device = hardware.device(scenario.system.cpu)  # the engine's CPU build ignores the card
    quant = _quant(scenario, ir, runtime, backend)
    if strict:
        runtimes.check_supported(runtime, backend, quant.container, quant.kernel_class, quant.name)
    wanted = scenario.deployment.kv_dtype
    kv = _native_kv(runtime.default_kv_dtype) if wanted in (None, "auto") else quants.kv_dtype(str(wanted))
    cpu_name = scenario.system.cpu
    if cpu_name is None and scenario.system.profile:
        cpu_name = hardware.system(scenario.system.profile).cpu
    cpu = hardware.device(cpu_name) if cpu_name else None
    return Setting(scenario, ir, device, cpu, runtime, engine, backend, quant, kv, tuple(notes))


def _quant(scenario: Scenario, ir: ModelIR, runtime: Runtime, backend: str) -> QuantScheme:
    containers = runtime.backends[backend].containers if backend in runtime.backends else []  # type: ignore[index]
    first = containers[0] if containers else None
    asked = scenario.deployment.quant
    if asked is None:
        native = ir.native_quant if runtime.audience == "server" else None
        if native and runtimes.supports(runtime, backend, quants.quant(native).container, quants.quant(native).kernel_class):
            return quants.quant(native)
        return quants.quant(runtime.default_quant, first)  # type: ignore[arg-type]
    found = quants.quant(asked, first)  # type: ignore[arg-type]
    native_scheme = quants.quant(ir.native_quant) if ir.native_quant else None
    if native_scheme and native_scheme.kernel_class[:3] == found.kernel_class[:3] and native_scheme.container == found.container:
        return native_scheme  # "MXFP4" or "FP8" of a model published in it means its own mixture
    return found


# ---------------------------------------------------------------- leaves


def _user(name: str, amount: Any, unit: str, default: float | None = None) -> Quantity:
    return leaf(name, float(amount), unit, "user", Source("user", "You said so", default=default))


def _config(name: str, amount: Any, unit: str, model: str) -> Quantity:
    return leaf(name, float(amount), unit, "model_config", source("tensor-shapes", note=model))


def _constant(name: str, amount: float, unit: str = "") -> Quantity:
    return leaf(name, amount, unit, "constant", source("nameplate"))


def _unknown(name: str, unit: str) -> Quantity:
    return leaf(name, float("nan"), unit, "assumption", source("nameplate", note="nobody published it: unknown, not guessed"))


def _or(found: Quantity | None, otherwise: Quantity) -> Quantity:
    return otherwise if found is None else found


def _facts(setting: Setting, device: Device, backend: str) -> dict[str, Any]:
    return {
        "runtime": setting.runtime.id if setting.runtime.id in runtimes_named() else setting.engine,
        "prompts_in_chunks": setting.runtime.chunked_prefill,
        "audience": setting.runtime.audience,
        "engine": setting.runtime.engine,
        "backend": backend,
        "family": device.family,
        "vendor": device.vendor,
        "kind": device.kind,
        "device_class": device.device_class,
        "kernel_class": setting.quant.kernel_class,
        "kv": "16bit" if setting.kv.bytes_per_element >= 2 else "fp8",
        "graphs": setting.graphs,
    }


def _peak(device: Device, names: Sequence[str], share: float = 1.0, cap: float | None = None) -> Quantity:
    """The first of these peaks that somebody published, as a leaf; NaN where none is known."""
    for name in names:
        fact = device.fact(_PEAK_FIELDS[name])
        if fact is not None and fact.source is not None:
            amount = fact.value * share if cap is None else min(fact.value * share, cap * TFLOP)
            return leaf(fact.name, amount, "FLOP/s", fact.kind or "datasheet", fact.source)
    return _unknown(f"peak of {device.name}", "FLOP/s")


_RATES = ("weights_efficiency", "activation_efficiency", "kv_efficiency", "kv_half", "experts_efficiency", "compute_efficiency", "compute_half",
          "experts_compute_efficiency", "experts_half", "attention_efficiency", "attention_half", "decode_attention_efficiency",
          "layer_overhead", "moe_layer_overhead")  # fmt: skip


def _place(setting: Setting, device: Device, backend: str) -> Columns:
    """One kind of processor with its memory: rates and what is reached of them."""
    facts = _facts(setting, device, backend)
    rule = kernel(**facts)
    bandwidth = _or(device.fact("memory_bandwidth_gb_s"), _unknown(f"memory bandwidth of {device.name}", "B/s"))
    place = Columns(
        name=device.name,
        bandwidth=bandwidth,
        peak=_peak(device, [rule.compute, *rule.otherwise], rule.share, rule.cap_tflops),
        attention_peak=_peak(device, ["bf16", "fp16", "fp32"]),
        kernel=rule.note or rule.compute,
    )
    for name in _RATES:
        setattr(place, name, assume(name, **facts))
    return place


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


@dataclass(frozen=True, slots=True)
class Bus:
    """Collectives among some number of ranks: asymptotic bandwidth, latency, and how small messages fall short."""

    bandwidth: Any
    latency: Any
    half: Any
    exponent: Any


def link_of(setting: Setting) -> links.Link:
    """What joins the devices: as said, else the fabric of data-centre parts; other cards speak over PCIe."""
    system, device = setting.scenario.system, setting.device
    if system.link:
        return links.link(system.link)
    if system.profile:
        return links.link(hardware.system(system.profile).link)
    if device.device_class == "datacenter" and device.interconnect not in (None, "none"):
        return links.link(str(device.interconnect))
    return _pcie(device)


def _pcie(device: Device) -> links.Link:
    try:
        return links.link(f"pcie-{device.pcie_generation or 4.0:.1f}-x{device.pcie_lanes or 16}")
    except CatalogError:
        return links.link("pcie-4.0-x16")


def _buses(setting: Setting, facts: dict[str, Any]) -> tuple[dict[int, Bus], str]:
    """Collectives by number of ranks (powers of two): measured on this device or link, else the link's figure times a share."""
    link, device = link_of(setting), setting.device
    if link.bandwidth_gb_s is None:
        link = links.link("pcie-4.0-x16")
    known = {**facts, "link_kind": "pcie" if link.id.startswith("pcie") else "fabric"}
    share, wait = assume("collective_efficiency", **known), assume("collective_latency", **known)
    note = f"{link.bandwidth_gb_s:g} GB/s per direction × {share.value:g}"
    bandwidth = leaf(f"{link.name}, reached by collectives", (link.bandwidth_gb_s or 0) * GB * share.value, "B/s", "assumption",
                     source(link.source, guess=True, note=note))  # fmt: skip
    straight = Bus(bandwidth, wait, _constant("message at half bandwidth", 0.0, "B"), _constant("exponent", 1.0))
    found: dict[int, Bus] = {}
    ranks = 2
    node = setting.scenario.system.devices_per_node or (72 if "nvl72" in (setting.scenario.system.profile or "") else 8)
    while ranks <= 4096:
        measured = None
        for name in (device.id, link.id) if setting.scenario.system.link is None else (link.id,):
            measured = measured or links.collective(name, "all_reduce", ranks)
        if measured is not None:
            bus, latency = measured.fact("bus_bandwidth_gb_s"), measured.fact("latency_us")
            half, exponent = measured.fact("half_bytes"), measured.fact("exponent")
            found[ranks] = Bus(bus, latency, half, exponent)
        elif ranks > 8 and ranks <= node and 8 in found:
            found[ranks] = found[8]
        else:
            found[ranks] = straight
        ranks *= 2
    return found, link.name


def columns(setting: Setting) -> Columns:
    """Every number of the scenario as a cited leaf, by name. `setting` as `settle` found it."""
    s, ir, device, runtime = setting.scenario, setting.ir, setting.device, setting.runtime
    system, deploy, load = s.system, s.deployment, s.workload
    facts = _facts(setting, device, setting.backend)
    bytes_by, elements_by = _weights(ir.id, setting.quant.id)
    gpu = _place(setting, device, setting.backend)
    memory = _device_memory(setting, facts)
    if system.device_bandwidth_gb_s:
        gpu.bandwidth = _user("memory bandwidth", system.device_bandwidth_gb_s * GB, "B/s", gpu.bandwidth.value)
    at = {"device": device.name, "device_memory": memory.value}

    def knob(name: str, given: Any, unit: str, fact: str) -> Quantity:
        default = runtime.get(fact, **at)
        if given is None:
            return default if default is not None else _constant(name, float("nan"), unit)
        return _user(name, given, unit, None if default is None else default.value)

    buses, link_name = _buses(setting, facts)
    zero = _constant("nothing", 0.0, "B")
    c = Columns(
        # load
        prompt=_user("prompt", load.prompt_tokens, "tok"),
        output=_user("output", load.output_tokens, "tok"),
        depth=_user("tokens cached before", load.context_depth, "tok"),
        cached=_user("prefix-cached tokens", min(load.prefix_cached_tokens, load.prompt_tokens - 1), "tok"),
        users=_user("users", load.concurrency, ""),
        rate=_user("request rate", load.request_rate_per_s or float("nan"), "1/s"),
        # model
        layers=_config("layers", ir.layers, "", ir.id),
        hidden=_config("hidden size", ir.hidden, "", ir.id),
        vocab=_config("vocabulary", ir.vocab, "", ir.id),
        heads=_config("attention heads", max(b.attention.heads for b in ir.blocks), "", ir.id),
        inner=_config("widest feed-forward", max(b.mlp.intermediate for b in ir.blocks), "", ir.id),
        weights=bytes_by,
        elements=elements_by,
        # layout
        count=_user("devices", system.count, ""),
        sp=_user("sequence parallel", float(deploy.sp), ""),
        gpu_layers=_user("layers on device", float("nan") if deploy.gpu_layers is None else deploy.gpu_layers, ""),
        experts_on_cpu=_user(
            "layers with experts on CPU", float("nan") if deploy.experts_on_cpu is None else deploy.experts_on_cpu, ""
        ),
        flash=_user("flash attention", float(deploy.flash_attention), ""),
        **_degrees(setting),
        # engine
        token_budget=knob("token budget", deploy.token_budget, "tok", "token_budget"),
        micro_batch=knob("micro-batch", deploy.micro_batch, "tok", "micro_batch"),
        max_sequences=knob("most sequences at once", deploy.max_sequences, "", "max_sequences"),
        max_context=_user("context", float("nan") if deploy.max_context is None else deploy.max_context, "tok"),
        fraction=knob("memory fraction", deploy.memory_fraction, "", "memory_fraction"),
        block_tokens=_or(runtime.get("block_tokens", **at), _constant("KV block", 1.0, "tok")),
        context_memory=zero if setting.on_cpu else _or(runtime.get("context_memory", **at), zero),
        non_torch=_or(runtime.get("non_torch_memory", **at), zero),
        graph_memory=_or(runtime.get("graph_memory", **at) if setting.graphs else None, zero),
        activation_memory=_or(runtime.get("activation_memory", **at), zero),
        fit_margin=_or(runtime.get("fit_margin", **at), zero),
        stream_tokens=_or(runtime.get("stream_tokens", **at), _constant("tokens from which weights are streamed", 0.0, "tok")),
        kv_size=setting.kv.cited,
        logit_size=_constant("bytes of a logit", 4.0, "B"),
        act_size=_constant("bytes of an activation", 2.0, "B"),
        step_overhead=assume("step_overhead", **facts),
        sequence_overhead=assume("sequence_overhead", **facts),
        request_overhead=assume("request_overhead", **facts),
        bunching=assume("bunching", **facts),
        fragmentation=assume("fragmentation", **facts),
        # machine
        **_flags(setting),
        gpu=gpu,
        host=None,
        buses=buses,
        link_name=link_name,
        device_memory=memory,
        tdp=_or(device.fact("tdp_w"), _unknown(f"power of {device.name}", "W")),
        idle=assume("idle_power", **facts),
        busy=assume("busy_power", **facts),
    )
    _host(setting, c, facts)
    _money(setting, c)
    return c


def _flags(setting: Setting) -> dict[str, float]:
    """What the runtime does, as 0 or 1, so that candidates of several runtimes lie on one axis."""
    runtime, device = setting.runtime, setting.device
    deploy = setting.scenario.deployment
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
        "pipelined": runtime.pipelined_decode,
        "offloads": runtime.offload == "layers",
        "streams": runtime.offload == "stream",
        "experts_offload": runtime.experts_offload,
        "chunked": runtime.chunked_prefill,
        "micro_batches": runtime.activations == "llama_compute_buffer",
        "slots_follow_users": runtime.kv_allocation == "upfront" and setting.engine != "ollama",
        "sequences_given": deploy.max_sequences is not None,
    }
    return {name: float(flag) for name, flag in flags.items()}


def _degrees(setting: Setting) -> dict[str, Quantity]:
    from core.plan import degrees  # plan needs Columns; the split rules live there

    return {
        name: (_user if getattr(setting.scenario.deployment, name) else _constant)(title, amount, "")
        for name, (title, amount) in degrees(setting).items()
    }


def _device_memory(setting: Setting, facts: dict[str, Any]) -> Quantity:
    """Bytes of one device that programs can use."""
    system, device = setting.scenario.system, setting.device
    if system.device_memory_gib:
        return _user(f"memory of {device.name}", system.device_memory_gib * GIB, "B")
    if device.unified or setting.on_cpu:
        share = assume("unified_budget", **facts)
        if system.ram_gb:
            whole, key, guess = system.ram_gb * GIB, "user", False
            cited = Source(key, "You said so")
        elif (fact := device.fact("memory_gb")) is not None and fact.source is not None:
            whole, cited, guess = fact.value, fact.source, fact.source.guess
        else:
            whole, cited, guess = 32 * GIB, source("general-knowledge-physics"), True
        note = f"{whole / GIB:.4g} GiB × {share.value:g} that the system lets the engine use ({cited.title})"
        kind: LeafKind = "assumption"
        return leaf(f"usable memory of {device.name}", whole * share.value, "B", kind,
                    source(share.source.key if share.source else "nameplate", note=note, guess=guess or True))  # fmt: skip
    usable = device.usable_memory()
    if device.memory_usable_gib is None and usable.source is not None:
        share = assume("driver_share", **facts)
        note = f"{usable.value / GIB:.4g} GiB × {share.value:g} after the driver's reserve; {usable.source.title}"
        return leaf(usable.name, usable.value * share.value, "B", "assumption",
                    source(share.source.key if share.source else "nameplate", note=note))  # fmt: skip
    return usable


def _host(setting: Setting, c: Columns, facts: dict[str, Any]) -> None:
    """The host's memory and processor, for what the device does not hold. None on unified memory and CPU runs."""
    system, device = setting.scenario.system, setting.device
    profile = hardware.system(system.profile) if system.profile else None
    datacenter = device.device_class == "datacenter"
    guess = source("general-knowledge-physics", note="typical of such machines; say yours", guess=True)
    if system.ram_gb:
        c.host_memory = _user("host memory", system.ram_gb * GIB, "B")
    elif profile:
        c.host_memory = profile.fact("ram_gb")
    else:
        c.host_memory = leaf("host memory", (128.0 * system.count if datacenter else 32.0) * GIB, "B", "assumption", guess)
    c.host_efficiency = assume("host_weights_efficiency", **facts)
    c.host_budget = assume("unified_budget", **{**facts, "device_class": "cpu"})
    share = assume("host_link_efficiency", **facts)
    if system.pcie_gb_s:
        c.pcie = _user("host link", system.pcie_gb_s * GB * share.value, "B/s")
    else:
        link = links.link(profile.host_link) if profile and profile.host_link else _pcie(device)
        c.pcie = leaf(f"{link.name}, reached by copies", (link.bandwidth_gb_s or 31.5) * GB * share.value, "B/s", "assumption",
                      source(link.source, note=f"{link.bandwidth_gb_s:g} GB/s per direction × {share.value:g}"))  # fmt: skip
    if device.unified or setting.on_cpu or setting.runtime.offload == "none":
        return
    cpu = setting.cpu or hardware.device("EPYC 9354" if datacenter else "Ryzen 9 7950X", "cpu")
    host = _place(setting, cpu, "cpu")
    if system.ram_bandwidth_gb_s:
        host.bandwidth = _user("host memory bandwidth", system.ram_bandwidth_gb_s * GB, "B/s")
    elif profile:
        host.bandwidth = profile.fact("ram_bandwidth_gb_s")
    elif setting.cpu is None:
        host.bandwidth = leaf("host memory bandwidth", host.bandwidth.value, "B/s", "assumption",
                              source("general-knowledge-physics", guess=True, note=f"as of a {cpu.name}; say yours"))  # fmt: skip
    host.weights_efficiency = host.experts_efficiency = c.host_efficiency
    c.host = host


def _money(setting: Setting, c: Columns) -> None:
    costs, device = setting.scenario.costs, setting.device
    c.tariff = leaf("electricity", (costs.electricity_usd_per_kwh if costs.electricity_usd_per_kwh is not None else 0.15) / KWH,
                    "USD/J", "user" if costs.electricity_usd_per_kwh is not None else "assumption",
                    Source("user", "You said so") if costs.electricity_usd_per_kwh is not None
                    else source("general-knowledge-physics", guess=True, note="0.15 USD/kWh", low=0.05 / KWH, high=0.45 / KWH))  # fmt: skip
    c.life = _user("useful life", costs.life_years * 365.25 * 24 * 3600, "s")
    c.use = _user("share of its life in use", costs.use, "")
    c.rental = None if costs.usd_per_h is None else _user("rent", costs.usd_per_h / 3600, "USD/s")
    price = device.fact("price_usd")
    if costs.purchase_usd is not None:
        c.price = _user("purchase price", costs.purchase_usd, "USD")
    elif price is not None and price.source is not None:
        note = f"list price × {setting.scenario.system.count}, the devices alone"
        c.price = leaf(f"price of {device.name}", price.value * setting.scenario.system.count, "USD", price.kind or "datasheet",
                       source(price.source.key, guess=price.source.guess, note=note))  # fmt: skip
    else:
        c.price = None


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
    return x


def gather(options: Sequence[Any], index: np.ndarray) -> Any:
    """Plain columns of a few combinations laid along the axis of candidates: `index[i]` names candidate i's combination.

    What is the same in all stays a number. All combinations are of one model.
    """
    first = options[0]
    if isinstance(first, Columns):
        return Columns(**{key: gather([vars(o)[key] for o in options], index) for key in vars(first)})
    if isinstance(first, Mapping):
        keys = dict.fromkeys(key for o in options for key in o)
        return {key: gather([o.get(key, 0.0) for o in options], index) for key in keys}
    if isinstance(first, Bus):
        return Bus(*(gather([getattr(o, n) for o in options], index) for n in Bus.__slots__))
    if isinstance(first, (int, float)):
        values = np.array(options, dtype=float)
        return first if np.all(values == values[0]) else values[index]
    return first
