"""The verdict in words: does it fit, why not, and what to beware of."""

from __future__ import annotations

from typing import Any

import numpy as np

from core.answer import Feasibility, Memory, Reason
from core.machine import Columns
from core.memory import Fit
from core.quantity import value
from core.serving import Served
from core.setting import Setting
from core.units import show


def feasible(setting: Setting, c: Columns, found: Fit, device: Any, host: Any) -> tuple[Feasibility, list[Reason]]:
    """The class of the fit, and the reasons for it."""
    short = -float(value(device.headroom))
    name = setting.device.name
    cards = "the card" if value(c.count) == 1 else f"each of {int(value(c.count))} cards"
    if setting.on_cpu:
        cards = "memory"
    reasons: list[Reason] = []
    if short > 0:
        weights = float(value(found.weights))
        if weights > float(value(device.limit)):
            have = show(float(value(device.limit)), "B")
            text = f"The weights take {show(weights, 'B')} on {cards} of {have} ({name}): {show(short, 'B')} too much in all."
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
        return "with_offload", [Reason("offloaded", f"It does not fit {cards} whole: {what} stay in host memory.")]
    return "in_vram", []


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
    if setting.scenario.workload.context > setting.ir.max_context:
        asked, made_for = setting.scenario.workload.context, setting.ir.max_context
        text = f"The context of {asked:,} tokens is beyond the {made_for:,} the model was made for."
        warned.append(Reason("beyond_model_context", text))
    if served.load is not None and np.ndim(value(served.load)) == 0 and float(value(served.load)) >= 1:
        warned.append(Reason("overloaded", "More requests arrive than can be served: the queue grows without end."))
    unused = value(c.count) - value(c.tp) * value(c.pp) * value(c.dp) * value(c.cp)
    if unused > 0:
        warned.append(Reason("devices_idle", f"{int(unused)} of {int(value(c.count))} devices are not used by this split."))
    if setting.runtime.treated_as:
        name, other = setting.runtime.name, setting.runtime.treated_as
        text = f"{name} is not described yet; it is treated as {other}."
        if setting.runtime.described:
            text = f"{name}'s speed is computed with what is known of {other}."
        warned.append(Reason("runtime_approximate", text))
    if setting.ir.assumed:
        text = "; ".join(f"{field}: {what}" for field, what in setting.ir.assumed.items())
        warned.append(Reason("model_assumed", f"Assumed about the model: {text}."))
    return warned


def saving(setting: Setting, device: Memory) -> tuple[str, ...]:
    """What a smaller KV cache saves against 16 bits, in a sentence; nothing where it is not smaller."""
    bytes_each = setting.kv.bytes_per_element
    held = sum(float(value(part.amount)) for part in device.parts if part.name == "KV cache")
    if bytes_each >= 2 or not held:
        return ()
    saved = held * (2 / bytes_each - 1)
    return (f"The KV cache in {setting.kv.name} saves {show(saved, 'B')} on each device against 16 bits.",)
