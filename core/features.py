"""What the fit sees of scenarios: the terms of their steps, how the metrics hang on the two steps, and what kind of thing each is.

One function serves fitting and predicting, so they cannot see different things. Names appear only as kinds (`traits`), each of
which is looked up among those that the fit had seen.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from core.answer import Step
from core.batch import Group, groups, run
from core.cards import JOIN
from core.catalog.flavours import flavour
from core.memory import Fit
from core.phases import OFFLOADED
from core.pipeline import metrics_from
from core.plan import Plan
from core.scenario import Scenario, Workload
from core.serving import Served
from core.setting import Setting, settle

# How an operation's time is made up: (by compute, by memory) where the slower counts, or one term alone.
_PAIRS = {
    "attention projections": ("compute", "weights"),
    "feed-forward": ("compute", "weights"),
    "output head": ("compute", "weights"),
    "vision tower": ("compute", "weights"),
    "experts": ("experts_compute", "experts"),
    "attention": ("decode_attention", "kv"),
    "recurrent mixer": ("recurrent", "recurrent_memory"),
}
_ALONE = {"attention (prompt)": "attention", "activations": "activations"}
TERMS = (
    "weights", "experts", "kv", "compute", "experts_compute", "decode_attention", "recurrent", "recurrent_memory",
    "attention", "activations", "network", "host", "layer", "step",
)  # fmt: skip
# Of two terms of one operation the slower counts.
RIVALS = (("weights", "compute"), ("experts", "experts_compute"), ("kv", "decode_attention"), ("recurrent_memory", "recurrent"))
RATES = ("ttft", "tpot", "latency", "prefill_rate", "decode_rate", "output_rate", "total_rate")
_NUDGE = 1.1


def step_terms(step: Step, group: Group, plan: Plan) -> dict[str, np.ndarray]:
    """Seconds of each term in a step, arrays along the group. Of rivals both stand, scaled to the part that runs on the device."""
    found = {term: np.zeros(len(group)) for term in TERMS}
    for op in step.ops:
        time = group.spread(op.time)
        if op.name.endswith(OFFLOADED):
            found["host"] += time
        elif op.name in _PAIRS:
            compute, memory = group.spread(op.compute), group.spread(op.memory)
            larger = np.maximum(compute, memory)
            part = np.divide(time, larger, out=np.ones(len(group)), where=(larger > 0) & np.isfinite(larger))
            by_compute, by_memory = _PAIRS[op.name]
            found[by_compute] += compute * part
            found[by_memory] += memory * part
        elif op.name in _ALONE:
            found[_ALONE[op.name]] += time
        elif op.kind == "overhead":
            layers = _layers(group, plan)
            found["layer"] += np.minimum(layers, time)
            found["step"] += np.maximum(time - layers, 0.0)
        else:
            found["network"] += time
    return found


def _layers(group: Group, plan: Plan) -> np.ndarray:
    c = group.c
    mixtures = sum(b.count for b in plan.blocks if b.block.mlp.kind == "moe")
    return group.spread(c.gpu.layer_overhead * c.layers + c.gpu.moe_layer_overhead * mixtures)


def total_of(terms: Mapping[str, np.ndarray], scale: Mapping[str, np.ndarray] | None = None) -> np.ndarray:
    """Seconds of a step from its terms, each times its scale: of rivals the slower, of the rest the sum."""
    scaled = terms if scale is None else {term: terms[term] * scale[term] for term in TERMS}
    paired = {term for pair in RIVALS for term in pair}
    together = sum((np.maximum(scaled[a], scaled[b]) for a, b in RIVALS), np.zeros(1))
    return np.asarray(together + sum(scaled[term] for term in TERMS if term not in paired))


@dataclass(slots=True)
class Observed:
    """What one pass says of a group: arrays along it. `elastic[metric]` is the share of a relative change of the decode and of
    the prefill step that shows in the metric (-1 for a rate that is one over the step)."""

    metrics: dict[str, np.ndarray]
    elastic: dict[str, tuple[np.ndarray, np.ndarray]]
    decode: dict[str, np.ndarray]
    prefill: dict[str, np.ndarray]
    numbers: dict[str, np.ndarray]


def observe(group: Group, *, elastic: bool = True) -> Observed:
    """Metrics, terms and elasticities of a group (three passes), and its numbers as features. Only a fit needs the elasticities:
    without them `elastic` is empty, and one pass is enough."""
    plan, found, served = run(group)
    with np.errstate(all="ignore"):
        metrics = {k: group.spread(v) for k, v in metrics_from(group.c, found, served, group.arrival).items()}
    ones = np.ones(len(group))
    moved = []
    if not elastic:
        return Observed(metrics, {}, step_terms(served.decode, group, plan), step_terms(served.prefill, group, plan),
                        _numbers(group, plan, found, served))  # fmt: skip
    for decode, prefill in ((_NUDGE, 1.0), (1.0, _NUDGE)):
        _, _, nudged = run(group, {"decode_factor": ones * decode, "prefill_factor": ones * prefill})
        moved.append({name: _elasticity(group.spread(getattr(nudged, name)), metrics[name]) for name in RATES})
    return Observed(
        metrics=metrics,
        elastic={name: (moved[0][name], moved[1][name]) for name in RATES},
        decode=step_terms(served.decode, group, plan),
        prefill=step_terms(served.prefill, group, plan),
        numbers=_numbers(group, plan, found, served),
    )


def _elasticity(nudged: np.ndarray, before: np.ndarray) -> np.ndarray:
    with np.errstate(all="ignore"):
        share = np.log(nudged / before) / math.log(_NUDGE)
    return np.where(np.isfinite(share), share, 0.0)


def _numbers(group: Group, plan: Plan, found: Fit, served: Served) -> dict[str, np.ndarray]:
    """Physical quantities of the scenario, on scales on which they compare."""

    def log(x: Any, floor: float = 1e-12, unknown: float = 1.0) -> np.ndarray:
        return np.asarray(np.log(np.maximum(np.nan_to_num(group.spread(x), nan=unknown, posinf=unknown), floor)))

    with np.errstate(all="ignore"):
        return _scaled(group, plan, found, served, log)


def _scaled(group: Group, plan: Plan, found: Fit, served: Served, log: Any) -> dict[str, np.ndarray]:
    c, ir = group.c, group.ir
    weights, ranks = group.spread(found.weights), group.spread(c.tp) * group.spread(c.pp)
    return {
        "bandwidth": log(c.gpu.bandwidth, unknown=1e11),
        "peak": log(c.gpu.peak, unknown=1e12),
        "ridge": log(c.gpu.peak, unknown=1e12) - log(c.gpu.bandwidth, unknown=1e11),
        "rated_power": log(c.tdp, unknown=100.0),
        "memory": log(c.device_memory, unknown=1e10),
        "parameters": log(ir.parameters),
        "active": log(ir.active_parameters),
        "layers": log(c.layers),
        "hidden": log(c.hidden),
        "weights": log(weights),
        "bits": np.clip(weights * ranks * 8 / ir.parameters, 1, 33),
        "kv_bytes": group.spread(c.kv_size),
        "batch": log(served.batch),
        "users": log(c.users),
        "prompt": log(c.prompt),
        "output": log(c.output),
        "depth": np.log1p(group.spread(c.depth) + group.spread(c.cached)),
        "tensor": np.log2(group.spread(c.tp)),
        "stages": np.log2(group.spread(c.pp)),
        "replicas": np.log2(group.spread(c.dp)),
        "experts": np.log2(np.maximum(group.spread(c.ep), 1)),
        "token_budget": log(c.token_budget, unknown=2048.0),
        "micro_batch": log(c.micro_batch, unknown=512.0),
        "flash": group.spread(c.flash),
        "chunked": group.spread(c.chunked),
        "on_host": group.spread(found.host_layers),
        "experts_on_host": group.spread(found.host_experts),
        "mixture": np.full(len(group), float(any(b.block.mlp.kind == "moe" for b in plan.blocks))),
        "static": np.full(len(group), float(group.arrival == "static")),
        "saturated": np.full(len(group), float(group.arrival == "saturated")),
        "waiting": np.nan_to_num(np.clip(group.spread(served.wait) / np.maximum(group.spread(served.ttft), 1e-9), 0, 1)),
    }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Traits:
    """What kind of thing a scenario is, as names."""

    model: str
    geometry: str  # models of one shape are siblings, whatever they are called
    device: str
    architecture: str
    family: str
    device_class: str
    vendor: str
    runtime: str
    engine: str  # runtimes of one origin
    audience: str
    backend: str
    quant: str
    kernel_class: str
    container: str
    attention: str
    graphs: bool
    flavour: str  # build of the runtime that its version names
    unified: bool
    count: int
    year: str  # of the software, where something says
    age: float  # years of the software before the reference date; 0 where nothing says


_GGML = "llama.cpp"
REFERENCE_YEAR = 2025.75


def traits(scenario: Scenario) -> Traits:
    """The kinds that a scenario belongs to. Raises as `settle` does."""
    return _traits(scenario.model_copy(update={"workload": Workload()}))


@functools.lru_cache(maxsize=16384)
def _traits(scenario: Scenario) -> Traits:
    return traits_of(settle(scenario, strict=False))


def traits_of(setting: Setting) -> Traits:
    """The kinds that a settled scenario belongs to."""
    scenario, ir, device, runtime = setting.scenario, setting.ir, setting.device, setting.runtime
    kinds = {block.attention.kind for block in ir.blocks}
    attention = "mla" if "mla" in kinds else "linear" if "linear" in kinds else "sliding" if "sliding" in kinds else "full"
    mixture = any(block.mlp.kind == "moe" for block in ir.blocks)
    local = runtime.id == _GGML or setting.engine in (_GGML, "ollama")
    return Traits(
        model=ir.id,
        geometry=f"{ir.layers} x {ir.hidden}, {ir.parameters / 1e9:.{1 if ir.parameters < 1e10 else 0}f} B",
        device=JOIN.join([device.id, *(further.device.id for further in setting.others)]),
        architecture=device.arch or device.family or "",
        family=device.family or "",
        device_class=device.device_class,
        vendor=device.vendor,
        runtime=runtime.id,
        engine="ggml" if local else runtime.id,
        audience=runtime.audience,
        backend=setting.backend,
        quant=setting.quant.id,
        kernel_class=setting.quant.kernel_class,
        container=setting.quant.container,
        attention=attention + (", mixture" if mixture else ""),
        graphs=setting.graphs,
        flavour=flavour((runtime.id, setting.engine), scenario.runtime_version),
        unified=device.unified,
        count=scenario.system.devices,
        year=(scenario.runtime_date or "")[:4],
        age=_age(scenario.runtime_date),
    )


def _age(date: str | None) -> float:
    """Years from the software's date (YYYY[-MM[-DD]]) to the reference, kept within what was seen."""
    if not date:
        return 0.0
    year, _, rest = date.partition("-")
    month = float(rest[:2]) if rest[:2].isdigit() else 6.5
    return min(max(REFERENCE_YEAR - float(year) - (month - 0.5) / 12, -0.75), 2.5)


TRAITS = tuple(field.name for field in fields(Traits))


@dataclass(slots=True)
class Table:
    """Scenarios as the fit sees them: arrays along `index` (positions among those given), and those that failed."""

    index: np.ndarray
    traits: list[Traits]
    metrics: dict[str, np.ndarray]
    elastic: dict[str, tuple[np.ndarray, np.ndarray]]
    decode: dict[str, np.ndarray]
    prefill: dict[str, np.ndarray]
    numbers: dict[str, np.ndarray]
    failed: dict[int, str]

    def take(self, rows: np.ndarray) -> Table:
        """These rows of the table, in this order."""

        def some(columns: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
            return {name: column[rows] for name, column in columns.items()}

        elastic = {name: (decode[rows], prefill[rows]) for name, (decode, prefill) in self.elastic.items()}
        return Table(self.index[rows], [self.traits[row] for row in rows], some(self.metrics), elastic, some(self.decode),
                     some(self.prefill), some(self.numbers), {})  # fmt: skip


def table_of(group: Group, kinds: list[Traits]) -> Table:
    """A group as the correction sees it, `kinds` along it: a table of its own without elasticities, its index 0, 1, …"""
    seen = observe(group, elastic=False)
    return Table(np.arange(len(group)), kinds, seen.metrics, {}, seen.decode, seen.prefill, seen.numbers, {})


def tabulate(scenarios: Sequence[Scenario], *, strict: bool = False) -> Table:
    """Every scenario observed, in order. Raises nothing for one that cannot be: its sentence stands in `failed`."""
    parts, failed = groups(scenarios, strict=strict)
    seen = [observe(group) for group in parts]
    if not seen:
        return Table(np.zeros(0, dtype=int), [], {}, {}, {}, {}, {}, failed)
    index = np.concatenate([group.index for group in parts])
    order = np.argsort(index, kind="stable")

    def joined(name: str) -> dict[str, np.ndarray]:
        columns = [getattr(one, name) for one in seen]
        return {key: np.concatenate([column[key] for column in columns])[order] for key in columns[0]}

    elastic = {
        key: (np.concatenate([one.elastic[key][0] for one in seen])[order], np.concatenate([one.elastic[key][1] for one in seen])[order])
        for key in RATES
    }
    index = index[order]
    return Table(index, [traits(scenarios[i]) for i in index], joined("metrics"), elastic, joined("decode"), joined("prefill"),
                 joined("numbers"), failed)  # fmt: skip
