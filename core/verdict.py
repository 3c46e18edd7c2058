"""The verdict in words: does it fit, why not, and what to beware of."""

from __future__ import annotations

from typing import Any

import numpy as np

from core.answer import Feasibility, Memory, Reason
from core.catalog.assumptions import assume
from core.catalog.hardware import READ_SHARE
from core.host import cores_used, ram_of
from core.machine import Columns
from core.memory import Fit
from core.quantity import value
from core.serving import Served
from core.setting import Setting
from core.units import GIB, show, significant


def feasible(setting: Setting, c: Columns, found: Fit, device: Any, host: Any) -> tuple[Feasibility, list[Reason]]:
    """The class of the fit, and the reasons for it."""
    short = -float(value(device.headroom))
    name = device.name if c.cards else setting.device.name
    used, count = _used(c), int(value(c.count))
    cards = "the card" if count == 1 or c.cards else f"each of {count} cards"
    if used < count:
        cards = f"{'the one card' if used == 1 else f'each of the {used} cards'} in use ({count - used} of {count} are idle)"
    reasons: list[Reason] = []
    if short > 0:
        weights = float(value(found.weights))
        if weights > float(value(device.limit)):
            have = show(float(value(device.peak)) - short, "B")
            where = "" if setting.on_cpu else f" on {cards}"
            text = f"The weights take {show(weights, 'B')}{where}, and {have} of {name} may be used: "
            text += f"with cache and buffers it is {show(short, 'B')} too much."
            reasons.append(Reason("weights_exceed_device", text))
        elif value(found.pool) is not None and float(value(found.pool)) <= 0:
            text = f"Weights and buffers leave no room for the KV cache on {name}: {show(short, 'B')} short."
            reasons.append(Reason("no_room_for_cache", text))
        else:
            text = f"The KV cache of this context and these users needs {show(short, 'B')} more than {name} has."
            reasons.append(Reason("kv_exceeds_device", text))
    if host is not None and not host.fits:
        needed, usable = show(float(value(host.needed)), "B"), show(float(value(host.limit)), "B")
        text = f"What does not fit the devices needs {needed} of host memory, but {usable} of it can be used."
        reasons.append(Reason("host_memory_short", text))
    pooled_short = setting.runtime.kv_allocation == "pool" and float(value(found.batch_cap)) < 1
    if pooled_short and not reasons:
        reasons.append(Reason("kv_exceeds_pool", "Not even one sequence of this length fits the KV cache."))
    # A server only queues when its pool is full: users beyond it wait, nothing fails.
    waits = setting.runtime.kv_allocation == "pool" and not pooled_short and reasons and reasons[0].code == "kv_exceeds_device"
    if reasons and not waits:
        return "insufficient_memory", reasons
    if host is not None and float(value(found.host_experts)) > 0:
        layers, experts = int(setting.ir.layers - value(found.gpu_layers)), int(value(found.experts_on_cpu))
        what = f"the experts of {experts} layers" if experts and not layers else f"{layers} of {setting.ir.layers} layers"
        where = "the card" if count == 1 else "the cards"
        return "with_offload", [Reason("offloaded", f"It does not fit {where} whole: {what} stay in host memory.")]
    return "in_vram", []


def _used(c: Columns) -> int:
    """How many devices the split uses."""
    return int(value(c.tp) * value(c.pp) * value(c.dp) * value(c.cp))


def warn(setting: Setting, c: Columns, found: Fit, device: Any, served: Served) -> list[Reason]:
    """What a user should know beside the answer."""
    warned: list[Reason] = []
    limit = float(value(device.limit))
    used = float(value(device.peak))
    if limit and 0.9 < used / limit <= 1 and setting.runtime.kv_allocation != "pool":
        text = f"Memory is {used / limit:.0%} full at its peak; other programs on the machine may tip it over."
        warned.append(Reason("above_90_percent", text))
    if np.isnan(float(value(c.gpu.peak))):
        text = f"Nobody published the peak of {setting.device.name} that matters here: prefill is unknown."
        warned.append(Reason("peak_unknown", text))
    users = float(value(c.users)) / float(value(c.dp))
    cap = min(float(value(found.batch_cap)) if setting.runtime.kv_allocation == "pool" else np.inf, found.slots)
    if users > max(cap, 1) and setting.scenario.workload.arrival in ("closed", "open"):
        text = f"{int(users)} users ask, {int(max(cap, 1))} are served at once; the others wait for a place."
        warned.append(Reason("users_wait", text))
    pooled, room = setting.runtime.kv_allocation == "pool", setting.scenario.deployment.max_context
    if pooled and room is not None and float(value(found.pool)) < float(value(found.kv_sequence)):
        needed, left = (show(float(value(amount)), "B") for amount in (found.kv_sequence, found.pool))
        text = f"{setting.runtime.name} refuses to start with a longest context of {room:,} tokens: it takes {needed}, and {left} are left."
        warned.append(Reason("cache_below_max_context", text))
    asked, made_for = setting.scenario.workload.context + int(value(c.image_tokens)), setting.ir.max_context
    if asked > made_for:
        text = f"The context of {asked:,} tokens is beyond the {made_for:,} the model was made for."
        warned.append(Reason("beyond_model_context", text))
    if served.load is not None and np.ndim(value(served.load)) == 0 and float(value(served.load)) >= 1:
        warned.append(Reason("overloaded", "More requests arrive than can be served: the queue grows without end."))
    unused = int(value(c.count)) - _used(c)
    if unused > 0:
        warned.append(Reason("devices_idle", f"{unused} of {int(value(c.count))} devices are not used by this split."))
    warned += _of_machine(setting, c, device)
    warned += [Reason("own_figures", text) for text in own_figures(setting)]
    if setting.runtime.treated_as:
        name, other = setting.runtime.name, setting.runtime.treated_as
        text = f"{name} is not described yet; it is treated as {other}."
        if setting.runtime.described:
            text = f"{name}'s speed is computed with what is known of {other}."
        warned.append(Reason("runtime_approximate", text))
    tower = setting.ir.tower if setting.vision else None
    if tower is not None and tower.assumed:
        warned.append(Reason("tower_assumed", f"Assumed about the vision tower: {'; '.join(tower.assumed.values())}."))
    if setting.scenario.workload.images and setting.runtime.activations != "llama_compute_buffer":  # llama.cpp's are held against its own
        warned.append(
            Reason(
                "tower_buffers",
                "What the vision tower needs while it works on images follows from its layers' widths; no server's was measured.",
            )
        )
    if not setting.runtime.sparse_attention and any(b.attention.attended for b in setting.ir.blocks):
        text = f"{setting.runtime.name} is taken to read every cached token: what the indexer leaves out is masked there, not skipped."
        warned.append(Reason("sparse_masked", text))
    if setting.ir.assumed:
        text = "; ".join(f"{field}: {what}" for field, what in setting.ir.assumed.items())
        warned.append(Reason("model_assumed", f"Assumed about the model: {text}."))
    return warned


def _of_machine(setting: Setting, c: Columns, device: Memory) -> list[Reason]:
    """What to know of cards that are not alike, of shares of RAM and of several sockets."""
    found, system, runtime = [], setting.scenario.system, setting.runtime
    kinds = [setting.device, *(further.device for further in setting.others)]
    names = {one.name for one in kinds}
    ranks = value(c.tp) * value(c.dp) * value(c.cp)
    if c.cards and len(names) > 1 and ranks > 1:
        text = "Ranks that share each layer, and replicas, work at the pace of the slowest card, with the memory of the smallest."
        found.append(Reason("slowest_card", text))
    if c.cards and any(one.unified for one in kinds) and not all(one.unified for one in kinds) and runtime.device_split == "layer":
        text = f"{runtime.name} leaves an integrated GPU out beside a card, unless --device names both."
        found.append(Reason("integrated_left_out", text))
    if c.cards and setting.engine == "ollama" and len(c.cards) > 1:
        text = "Ollama packs a model into as few cards as hold it; this is the model spread over all of them (OLLAMA_SCHED_SPREAD=1)."
        found.append(Reason("spread", text))
    if setting.device.unified and not setting.on_cpu and system.gpu_share_gib is None and system.device_memory_gib is None:
        found += _beyond_default(setting, c, device)
    if (system.sockets or 1) > 1 and setting.scenario.deployment.numa is None and (setting.on_cpu or c.host is not None):
        text = "Nothing says that the engine knows of its sockets: they read as fast as one. --numa distribute spreads threads and pages."
        found.append(Reason("numa_unset", text))
    if (system.sockets or 1) == 1 and setting.scenario.deployment.numa is not None:
        found.append(Reason("numa_no_effect", "numa has no effect on one socket: say how many sockets there are."))
    return found + _of_threads(setting, c)


def _of_threads(setting: Setting, c: Columns) -> list[Reason]:
    """Warnings of threads that change nothing, or that are more than the cores."""
    asked, cpu = setting.scenario.deployment.threads, setting.device if setting.on_cpu else setting.cpu
    if asked is None or not (setting.on_cpu or c.host is not None):
        return []
    if cpu is None:
        return [Reason("threads_no_effect", "threads changes nothing here until the processor is named: say it as cpu.")]
    cores = cores_used(setting, cpu)
    if cores is None:
        text = f"threads changes nothing here: nobody says how many cores, all alike, {cpu.name} has. Say it as cpu_cores of the device."
        return [Reason("threads_no_effect", text)]
    if asked > value(cores):
        text = f"{asked} threads on {value(cores):g} cores count as {value(cores):g}; more than that often makes llama.cpp slower."
        return [Reason("threads_beyond_cores", text)]
    return []


def _beyond_default(setting: Setting, c: Columns, device: Memory) -> list[Reason]:
    """A warning where a GPU takes more of the RAM than its system gives unasked."""
    share = assume("unasked_share", vendor=setting.device.vendor)
    whole = ram_of(setting, setting.device)
    unasked = (32 * GIB if whole is None else whole.value) * share.value
    peak = float(value(device.peak))
    if setting.device.device_class != "apu" or not unasked < peak <= float(value(device.limit)):
        return []
    how = "ttm.pages_limit, amdgpu.gttsize or the BIOS" if setting.device.vendor == "AMD" else "its driver or the BIOS"
    text = (f"Unasked the system lets this GPU take {show(unasked, 'B')} of the RAM: its share must be raised to {show(peak, 'B')} "
            f"or more ({how}). Say the share you set as gpu_share_gib.")  # fmt: skip
    return [Reason("share_of_ram", text)]


def own_figures(setting: Setting) -> tuple[str, ...]:
    """The figures of the machine that are the user's own, in a sentence; nothing where all are the catalog's."""
    system, name = setting.scenario.system, setting.device.name
    told = []
    for what, read, stated in (
        (f"memory bandwidth of {name}", system.measured_bandwidth_gb_s, system.device_bandwidth_gb_s),
        ("RAM bandwidth", system.measured_ram_bandwidth_gb_s, system.ram_bandwidth_gb_s),
    ):
        if read is not None:
            told.append(f"{what} {read:g} GB/s as measured, which stands for {significant(read / READ_SHARE)} GB/s on a datasheet")
        elif stated is not None:
            told.append(f"{what} {stated:g} GB/s")
    others = (
        (f"memory of {name}", system.device_memory_gib, "GiB"),
        ("the GPU's share of RAM", system.gpu_share_gib, "GiB"),
        ("host link", system.pcie_gb_s, "GB/s"),
    )
    told += [f"{what} {amount:g} {unit}" for what, amount, unit in others if amount is not None]
    found = [f"Figures of yours, in place of the catalog's: {'; '.join(told)}."] if told else []
    read, known = system.measured_bandwidth_gb_s, setting.device.memory_bandwidth_gb_s
    if read is not None and known and read > known:
        found.append(f"{read:g} GB/s as measured is more than the {known:g} GB/s of {name}'s datasheet: check what was measured.")
    return tuple(found)


def saving(setting: Setting, device: Memory) -> tuple[str, ...]:
    """What a smaller KV cache saves against 16 bits, in a sentence; nothing where it is not smaller."""
    bytes_each = setting.kv.bytes_per_element
    held = sum(float(value(part.amount)) for part in device.parts if part.name == "KV cache")
    if bytes_each >= 2 or not held:
        return ()
    saved = held * (2 / bytes_each - 1)
    return (f"The KV cache in {setting.kv.name} saves {show(saved, 'B')} on each device against 16 bits.",)
