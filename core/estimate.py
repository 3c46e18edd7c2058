"""The only door: scenario in, estimate out. Pages, API, command line, solver and validation all call it.

`estimate` answers one scenario with citations; `numbers` gives its analytic metrics as plain floats, `core.batch` those of many
scenarios as arrays, `core.corrected` those with a correction. All run the same pipeline: plan, memory, phases, serving.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from core.answer import Estimate
from core.cards import write_cards
from core.catalog import runtimes
from core.columns import columns, plain
from core.corrected import Learned, learned
from core.correction import Correction
from core.formulas.economics import (
    cost_per_million,
    cost_per_month,
    electricity_rate,
    purchase_rate,
)
from core.launch import ALL_LAYERS, LaunchKnobs, launch_command
from core.launch_source import load_knobs
from core.machine import Columns
from core.memory import Fit, cache_of_sequence, fit
from core.memory_bills import card_memories, loading, memories
from core.phases import phase
from core.pipeline import in_flight, metrics_from, one_pass
from core.plan import Plan, make_plan
from core.quantity import Quantity, total, value
from core.scenario import Scenario
from core.serving import Served, _load, serve, solve_batch
from core.setting import Setting, settle
from core.slices import layers_of_stages
from core.stages import by_weight
from core.units import GIB, MONTH_HOURS, show
from core.verdict import feasible, saving, warn
from core.weights import weight_table


def numbers(scenario: Scenario, *, strict: bool = True) -> dict[str, float]:
    """The analytic metrics of one scenario as plain floats (s, tok/s, bytes, W, J), without citations. Raises as `estimate` does."""
    setting = settle(scenario, strict=strict)
    c = plain(columns(setting))
    arrival = scenario.workload.arrival
    _, found, served = one_pass(setting.ir, c, arrival)
    return {name: float(amount) for name, amount in metrics_from(c, found, served, arrival).items()}


def estimate(scenario: Scenario, correction: Correction | None = None, *, strict: bool = True) -> Estimate:
    """Answer one scenario; every number in the answer explains itself.

    With a `correction` the times are those that it learned from measured runs, with ranges, support and its version; without
    one all is analytic. What people are shown comes by `core.sweep.answer`.
    Raises ScenarioError for a split or a combination that cannot be, CatalogError for an unknown name.
    """
    setting = settle(scenario, strict=strict)
    c = columns(setting)
    arrival = scenario.workload.arrival
    known = None if correction is None else learned(scenario, correction, strict=strict)
    if known is not None:
        c = known.columns(c)
    bare = plain(c)
    bare_plan = make_plan(setting.ir, bare)
    bare_fit = fit(bare_plan, bare)
    batch, residual = solve_batch(bare_plan, bare, bare_fit, _load(bare, bare_fit, arrival), arrival)

    plan = make_plan(setting.ir, c)
    found = fit(plan, c)
    served = serve(plan, c, found, arrival, batch, residual)
    flying = in_flight(c, arrival, batch)
    if flying is not c:
        c, bare = flying, in_flight(bare, arrival, batch)
        found, bare_fit = fit(plan, c), fit(bare_plan, bare)
    device, host = memories(found, c, setting.device.name)
    cards = card_memories(found, c)
    metrics = metrics_from(c, found, served, arrival)
    feasibility, reasons = feasible(setting, c, found, device, host)
    return Estimate(
        scenario=scenario,
        resolved=_resolved(setting, plan, c, found),
        ir=setting.ir,
        feasibility=feasibility,
        reasons=tuple(reasons),
        warnings=tuple(warn(setting, c, found, device, served)),
        device=device,
        host=host,
        limits=_limits(float(setting.ir.max_context), bare_plan, bare, bare_fit, found),
        metrics=metrics,
        prefill=phase(served.prefill, c),
        decode=phase(served.decode, c),
        first_token_shares=_first_token(served, c),
        money=_money(c, metrics),
        notes=(*setting.notes, *saving(setting, device)),
        cards=cards,
        loading=loading(found, c),
        **_ranged(known, bare, found, metrics),
    )


def _ranged(known: Learned | None, bare: Columns, found: Fit, metrics: Mapping[str, Any]) -> dict[str, Any]:
    """What a correction says of the whole answer; nothing without one."""
    if known is None:
        return {}
    bands = known.bands(bare, found, {name: float(value(amount)) for name, amount in metrics.items()})
    return {"bands": bands, "support": known.support, "version": known.version, "own_runs": known.own_runs}


def _first_token(served: Served, c: Columns) -> dict[str, float]:
    """Shares of the time to the first token as computed: a factor learned for the whole of it lies on all parts alike."""
    whole = float(value(served.ttft)) / (1.0 if c.ttft_factor is None else float(value(c.ttft_factor)))
    if not 0 < whole < float("inf"):
        return {}
    own, wait = float(value(served.own)), float(value(served.wait))
    shares = {key: part * own / whole for key, part in served.prefill.shares().items()}
    rest = max(whole - own - wait, 0.0) / whole
    shares["overhead"] = shares.get("overhead", 0.0) + rest
    if wait > 0:
        shares["waiting"] = wait / whole
    scale = sum(shares.values())
    return {key: part / scale for key, part in shares.items()} if scale else {}


def _limits(model_context: float, bare_plan: Plan, c: Columns, bare: Fit, found: Fit) -> dict[str, Any]:
    """The largest context for these users and the most sequences of this context, from the room left."""
    users = max(1.0, float(np.ceil(c.users / c.dp)))
    devices = [(float(one.pool), float(one.weights), float(one.kv_sequence), one.on.part) for one in bare.cards] or [
        (float(bare.pool), float(bare.weights), float(bare.kv_sequence), None)
    ]
    found_each = [_limits_of(bare_plan, c, bare, users, *one) for one in devices]
    largest, most, tokens = (min(limits) for limits in zip(*found_each, strict=True))
    plan_context = model_context if largest else 0.0
    return {
        "max_batch": most,
        "max_context": min(largest, float(plan_context)),
        "kv_tokens": tokens,
        "kv_pool": found.pool,
        "kv_per_sequence": found.kv_sequence,
    }


def _limits_of(
    plan: Plan, c: Columns, bare: Fit, users: float, pool: float, weights: float, each: float, part: Any
) -> tuple[float, float, float]:
    """Of one device: the largest context for the users, the most sequences, the tokens its cache can hold."""
    if not c.pooled:  # what lies outside a reserved pool loses some to fragments, and a runtime that fits layers itself keeps a margin
        margin = c.fit_margin if c.offloads and c.host is not None and np.isnan(c.gpu_layers) else 0.0
        pool = max((pool - margin - c.fragmentation * weights) / (1 + c.fragmentation), 0.0)
    low, high = 0.0, 2.0**27

    def takes(tokens: float) -> float:
        per = float(cache_of_sequence(plan, c, tokens, "")) * (1 - float(bare.host_cache))
        return float(per * np.ceil(c.layers / c.pp) / c.layers * users if part is None else per * part * users)

    if takes(1.0) > pool:
        largest = 0.0
    else:
        for _ in range(40):
            middle = (low + high) / 2
            low, high = (middle, high) if takes(middle) <= pool else (low, middle)
        largest = np.floor(low)
    per_token = takes(4096.0) / users / 4096.0
    return largest, np.floor(pool / each) if each else np.inf, np.floor(pool / per_token) if per_token else np.inf


def _money(c: Columns, metrics: Mapping[str, Any]) -> dict[str, Any]:
    power = electricity_rate(power=metrics["power"], tariff=c.tariff, named="electricity")
    if c.rental is not None:
        rate = c.rental
    elif c.price is not None:
        rate = total([purchase_rate(price=c.price, life=c.life, use=c.use, named="purchase"), power], "cost while running")
    else:
        rate = power
    return {
        "usd_per_h": rate,
        "usd_per_million": cost_per_million(rate=rate, tokens=metrics["output_rate"], named="per million output tokens"),
        "usd_per_month": cost_per_month(rate=rate, month=MONTH_HOURS * 3600, named="per month of 720 hours"),
        "price": c.price,
        "rent": c.rental,
        "electricity": power,
    }


def _resolved(setting: Setting, plan: Plan, c: Columns, found: Fit) -> dict[str, Any]:
    """Every knob as it was used."""

    def whole(x: Any) -> int | None:
        number = float(value(x))
        return None if np.isnan(number) else int(number)

    return {
        "model": setting.ir.id,
        "device": setting.device.name,
        "count": setting.scenario.system.devices,
        "others": write_cards(setting.scenario.system.others) or None,
        "runtime": setting.runtime.id,
        "runtime_name": setting.runtime.name,
        "backend": setting.backend,
        "quant": setting.quant.id,
        "kv_dtype": setting.kv.id,
        "tp": whole(c.tp), "pp": whole(c.pp), "dp": whole(c.dp), "ep": whole(c.ep), "cp": whole(c.cp),
        "mlp_tp": whole(c.mlp_tp),
        "split": "layer" if setting.runtime.device_split == "layer" and value(c.pp) > 1 else "tensor" if value(c.tp) > 1 else None,
        "layers_of_cards": layers_of_stages(plan, c, found.gpu_layers, found.experts_on_cpu) or None,
        "stages_of_cards": tuple(card.stages for card in c.cards) or None,
        "gpu_layers": 0 if setting.on_cpu else int(found.gpu_layers),
        "experts_on_cpu": int(found.experts_on_cpu),
        "max_context": int(found.slot_context),
        "max_sequences": int(found.slots),
        "memory_fraction": None if np.isnan(float(value(c.fraction))) else float(value(c.fraction)),
        "token_budget": whole(c.token_budget),
        "micro_batch": whole(c.micro_batch),
        "flash_attention": setting.scenario.deployment.flash_attention,
        "cuda_graphs": setting.graphs,
        "kernel": c.gpu.kernel,
        "link": c.link_name,
        "layers": setting.ir.layers,
        "cost_basis": "rented" if c.rental is not None else "bought" if c.price is not None else "electricity alone: no price known",
        "device_memory": float(value(c.device_memory)),
    }  # fmt: skip


def launch(answer: Estimate) -> str:
    """The command that starts the engine as it was estimated."""
    r = answer.resolved
    knobs = {name: r[name] for name in LaunchKnobs.__dataclass_fields__ if name in r}
    deploy = answer.scenario.deployment
    # The command carries what was set or searched, and leaves the engine's own defaults alone.
    for name in ("token_budget", "micro_batch", "memory_fraction", "cuda_graphs"):
        if getattr(deploy, name) is None:
            knobs[name] = None
    images = answer.scenario.workload.images
    asked = images > 0 and runtimes.runtime(r["runtime"]).vision == "flag"
    knobs |= {"vision": deploy.vision if deploy.vision is not None else asked or None, "image_limit": images or None}
    knobs |= {"main_gpu": deploy.main_gpu, "numa": deploy.numa, "tensor_split": _shares_of_cards(answer)}
    if deploy.split == "none":
        knobs["split"] = "none"
    moe = sorted(n for block in answer.ir.blocks if block.mlp.kind == "moe" for n in block.layers)
    if r["experts_on_cpu"]:  # the flag counts layers from the first, those without experts too
        knobs["experts_on_cpu"] = moe[min(r["experts_on_cpu"], len(moe)) - 1] + 1
        knobs["tensor_split"] = knobs["tensor_split"] or _even_split(answer, moe, knobs["experts_on_cpu"])
    streamed = next((p.amount for p in answer.host.parts if p.name == "weights"), None) if answer.host else None
    if streamed is not None and runtimes.runtime(r["runtime"]).offload == "stream":
        knobs["cpu_offload_gib"] = float(value(streamed)) / GIB
    if r["gpu_layers"] == r["layers"]:
        knobs["gpu_layers"] = ALL_LAYERS
    native = answer.ir.native_quant or answer.ir.native_dtype
    knobs |= load_knobs(answer.ir.id, r["runtime"])
    count = answer.scenario.system.devices
    command = launch_command(LaunchKnobs(**{**knobs, "device_count": count, "checkpoint_quant": native}))
    if not answer.cards or not knobs["tensor_split"]:
        return command
    named = ", ".join(f"{held} on {card.name}" for held, card in zip(_by_kind(answer), answer.cards, strict=True))
    return f"# Layers: {named}; the shares stand in this order of the devices.\n{command}"


def _by_kind(answer: Estimate) -> list[int]:
    """Layers on all devices of each kind."""
    layers, at, found = answer.resolved["layers_of_cards"] or (), 0, []
    for stages in answer.resolved["stages_of_cards"] or ():
        found.append(sum(layers[at : at + stages]))
        at += stages
    return found


def _shares_of_cards(answer: Estimate) -> tuple[float, ...]:
    """The shares to write for cards that are not alike: as said, else whole layers as they were dealt out; none for alike ones."""
    layers = answer.resolved["layers_of_cards"]
    by_layer = runtimes.runtime(answer.resolved["runtime"]).device_split == "layer"
    if not layers or len(layers) < 2 or not (by_layer or answer.scenario.deployment.tensor_split):
        return ()
    if by_layer and answer.scenario.deployment.tensor_split:
        return answer.scenario.deployment.tensor_split
    last = max(place for place, count in enumerate(layers) if count) if any(layers) else 0
    # llama.cpp counts the output head as one layer more, on the last of them.
    return tuple(float(count + (by_layer and place == last)) for place, count in enumerate(layers))


def _even_split(answer: Estimate, moe: list[int], without: int) -> tuple[int, ...]:
    """Layers a card so that each holds about as much, where the first `without` layers left their experts on the CPU."""
    cards, table = answer.resolved["pp"] or 1, weight_table(answer.ir, answer.resolved["quant"])
    if cards < 2:
        return ()
    experts = table.where(group="experts") / max(len(moe), 1)
    rest = (table.where(group=("attention", "mlp", "shared_experts", "router", "norm"))) / answer.ir.layers
    weights = [rest + (experts if n in moe and n >= without else 0.0) for n in range(answer.ir.layers)]
    return by_weight(weights, cards)


def shown(number: Any, unit: str | None = None) -> str:
    """A number for people, in its own unit."""
    if isinstance(number, Quantity):
        return show(float(number.value), unit or number.unit)
    return show(float(number), unit or "")


__all__ = ["GIB", "estimate", "launch", "numbers", "shown"]
