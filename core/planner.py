"""The capacity planner: a size of model, a rate of requests and a budget in; model, quantisation, engine and number of machines out.

The questions, fields and warnings of the report TR133, answered by the solver: memory by parts, a queue in place of Amdahl's
law, and a quality that no quantisation gains over its own full precision.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from core.catalog import hardware, models, runtimes
from core.catalog.files import CATALOG, CatalogRecord, read, record
from core.catalog.quality import tiers
from core.errors import ScenarioError
from core.estimate import estimate
from core.goal import goal
from core.quality import Quality, composite, quality
from core.quantity import value
from core.scenario import System
from core.solve import solve
from core.solved import GATES, Candidate
from core.units import GB, MS
from core.words import model_name

Prices = Literal["tr133", "roofcast"]
HARDWARE = "RTX 4080 12GB"  # the planner's reference
RUNTIMES = ("ollama", "vllm", "tgi")
# Quantisations that are tried: those of the report for engines of GGUF files, and what servers have in their place.
GGUF = ("F16", "Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q3_K_S", "Q2_K")
SERVED = ("FP16", "FP8", "INT8", "AWQ-INT4")
MOST = 16  # machines
BUSY, MANY, FULL = 0.70, 8, 0.90  # beyond which the planner warns: share of capacity, machines, share of memory
_NEAR = 0.25  # how far a model's size may be from the one asked for


class Rate(CatalogRecord):
    """What an hour of a device costs by the planner's appendix B."""

    name: str
    device: str
    usd_per_h: float


class Planned(CatalogRecord):
    """A model of the planner's registry."""

    name: str
    model: str


class _Registry(CatalogRecord):
    source: str
    rate: tuple[Rate, ...]
    model: tuple[Planned, ...]


@functools.cache
def registry() -> _Registry:
    """The planner's rates and models. Raises CatalogError for a wrong file."""
    found = record(_Registry, read(CATALOG / "planner.toml"), "planner.toml")
    for rate in found.rate:
        hardware.device(rate.device)
    for planned in found.model:
        models.model(planned.model)
    return found


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked. Times in ms, money in US dollars a month of 720 hours; None: nothing is asked of that kind."""

    models: tuple[str, ...]
    request_rate: float = 1.0
    latency_slo_ms: float | None = None  # of 95 % of answers
    quality_target: float | None = None
    hardware: str = HARDWARE
    budget: float | None = None
    prices: Prices = "tr133"
    usd_per_h: float | None = None  # of one device, in place of `prices`
    prompt_tokens: int = 200
    output_tokens: int = 128
    context: int = 2048
    runtimes: tuple[str, ...] = RUNTIMES
    utilisation: float = BUSY


@dataclass(frozen=True, slots=True)
class Option:
    """A configuration that passes, in the planner's terms."""

    candidate: Candidate
    known: Quality
    score: float | None  # the planner's composite of this model and quantisation, where it measured it
    memory: float  # bytes, peak of one device
    limit: float  # bytes that one device has

    @property
    def kept(self) -> float:
        """The share of a task's score that is left of the model's own full precision; NaN unknown."""
        return 1 - float(value(self.known.loss))

    @property
    def monthly_cost(self) -> float:
        return self.candidate.usd_per_month

    @property
    def warnings(self) -> list[str]:
        """The planner's four, and that nobody knows what is lost."""
        c, said = self.candidate, []
        if c.load > BUSY + 1e-9:
            said.append(f"At {c.load:.0%} of what it can serve, tail latency grows fast; {BUSY:.0%} is safe.")
        if self.known.tier in ("concerning", "unacceptable"):
            said.append(f"The loss of quality is {self.known.tier}: {self.known.sentence}")
        if self.known.tier == "unknown":
            said.append(self.known.sentence)
        if c.machines > MANY:
            said.append(f"{c.machines} machines: beyond {MANY}, how they share the load matters more than the estimate knows.")
        if self.memory > FULL * self.limit:
            said.append(f"{self.memory / self.limit:.0%} of the memory is used: longer requests may find none.")
        return said


@dataclass(frozen=True, slots=True)
class Turned:
    """Configurations that one gate turned away, and the one that missed it by least."""

    gate: str
    count: int
    sentence: str

    @property
    def what(self) -> str:
        """The gate in words."""
        return GATES[self.gate]


@dataclass(frozen=True, slots=True)
class Plan:
    """The answer: what passes, cheapest and then best first; why the rest does not."""

    request: Request
    options: tuple[Option, ...]
    rejected: tuple[Turned, ...]
    usd_per_h: float | None
    price_is: str


# ---- What can be asked for


def models_of_size(text: str) -> tuple[str, ...]:
    """The registry's models of about this size ("3b", "0.5b"). Raises ScenarioError where there is none."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*b", text.strip().lower())
    sizes = {planned.model: models.ir(planned.model).parameters / 1e9 for planned in registry().model}
    if match and float(match[1]) > 0:
        wanted = float(match[1])
        found = tuple(name for name, size in sizes.items() if abs(size / wanted - 1) <= _NEAR)
        if found:
            return found
    has = ", ".join(f"{size:.2g}b" for size in sorted(sizes.values()))
    raise ScenarioError(f"The planner has no model of size '{text}' (it has {has}); give one of these, or any model with --model.")


def rate_of(name: str) -> Rate | None:
    """The planner's rate for a device by its own name, or any that the catalog knows; None where it has none."""
    folded = re.sub(r"[\s_]", "", name).casefold()
    for rate in registry().rate:
        if re.sub(r"\s", "", rate.name).casefold() == folded:
            return rate
    device = hardware.device(name).id
    return next((rate for rate in registry().rate if rate.device == device), None)


# ---- The plan


def plan(request: Request) -> Plan:
    """Every configuration of the request's models that meets it. Raises CatalogError for an unknown name, ScenarioError."""
    rate = rate_of(request.hardware)
    device = hardware.device(rate.device if rate else request.hardware)
    usd_per_h, price_is = _price(request, rate)
    base = goal({
        "models": request.models, "prompt_tokens": request.prompt_tokens, "output_tokens": request.output_tokens,
        "context_tokens": request.context, "request_rate_per_s": request.request_rate, "times_at": "p95",
        "max_latency_s": None if request.latency_slo_ms is None else request.latency_slo_ms * MS,
        "max_usd_per_month": request.budget, "quality_floor": "any", "offload": False, "max_devices": 1, "max_machines": MOST,
        "utilisation": request.utilisation, "top": 100, **_hardware(device.name, usd_per_h),
    })  # fmt: skip
    options: list[Option] = []
    turned: dict[str, list[tuple[int, str]]] = {}
    for model in request.models:
        for engines, names in _engines(request.runtimes):
            short = {name: why for name in names if (why := _below(model, name, request.quality_target))}
            turned.setdefault("quality", []).extend((len(engines), why) for why in short.values())
            good = [name for name in names if name not in short]
            if not good:
                continue
            found = solve(base.with_(models=(model,), runtimes=engines, quants=good), each=True)
            options += [_option(candidate) for candidate in found.ranked]
            for gone in found.rejected:
                turned.setdefault(gone.gate, []).extend([(gone.count, gone.sentence)] if gone.count else [])
    options.sort(key=_order)
    rejected = tuple(Turned(gate, sum(n for n, _ in turned[gate]), _nearest(turned[gate])) for gate in GATES if turned.get(gate))
    return Plan(request, tuple(options), rejected, usd_per_h, price_is)


def _price(request: Request, rate: Rate | None) -> tuple[float | None, str]:
    """What an hour of the device costs, and who says so; None: what it costs to buy or rent it."""
    if request.usd_per_h is not None:
        return request.usd_per_h, f"${request.usd_per_h:g} an hour, as you said"
    if request.prices == "tr133" and rate is not None:
        return rate.usd_per_h, f"${rate.usd_per_h:g} an hour for {rate.name}, capacity planner TR133, appendix B"
    return None, "purchase spread over its life and electricity, or rent, by Roofcast's catalog"


def _hardware(device: str, usd_per_h: float | None) -> dict[str, Any]:
    if usd_per_h is None:
        return {"hardware": ("build", "cloud"), "devices": (device,)}
    return {"hardware": ("owned",), "owned": System(device=device), "owned_usd_per_h": usd_per_h}


def _engines(names: tuple[str, ...]) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
    """The engines in two kinds, each with the quantisations that are tried: servers, and those of GGUF files."""
    server = {name: runtimes.runtime(name).audience == "server" for name in names}
    kinds = ((tuple(name for name in names if server[name]), SERVED), (tuple(name for name in names if not server[name]), GGUF))
    return [(engines, quants) for engines, quants in kinds if engines]


def _below(model: str, name: str, target: float | None) -> str | None:
    """Why a quantisation of a model is below a target of quality; None where it is not.

    The target is held against the planner's composite where it measured that, else against what is kept of the model's own
    full precision.
    """
    if target is None:
        return None
    row = composite(model, name)
    what = f"{model_name(model)} in {name}"
    if row is not None:
        return None if row.value >= target else f"{what} scores {row.value:g}, not {target:g}."
    kept = 1 - float(value(quality(model, name).loss))
    if math.isnan(kept):
        return f"Nobody measured what {what} keeps of its quality."
    return None if kept >= target else f"{what} keeps {kept:.1%} of its own full precision, not {target:.0%}."


def _option(candidate: Candidate) -> Option:
    """With the memory that the load needs; what an engine takes ahead is no need."""
    model, name = candidate.scenario.model, candidate.quant
    row = composite(model, name)
    device = estimate(candidate.scenario).device
    needed = max(float(value(device.peak)), float(value(device.needed)))
    return Option(candidate, quality(model, name), row.value if row else None, needed, float(value(device.limit)))


def _order(option: Option) -> tuple[float, float, float, float]:
    """Cheapest first; of those that cost the same the model with the higher composite, as far as one is known, then what loses
    least (in whole points, for a row of the tables is not surer), then the fastest."""
    lost = float(value(option.known.loss))
    score = _full_score(option.candidate.scenario.model)
    return (
        round(option.monthly_cost, 2),
        -round(score - (tiers()["negligible"] if math.isnan(lost) else lost), 2) if score is not None else 0.0,
        math.inf if math.isnan(lost) else round(100 * lost),
        option.candidate.times["latency"],
    )


@functools.lru_cache(maxsize=64)
def _full_score(model: str) -> float | None:
    """The composite that a model has in full precision: of the quantisation that the planner scored and that loses least, and what
    that loses. None for a model that it never scored."""
    scored = [(float(value(quality(model, name).loss)), row.value) for name in GGUF if (row := composite(model, name)) is not None]
    if not scored:
        return None
    lost, score = min(scored)
    return score + lost


def _nearest(gone: Iterable[tuple[int, str]]) -> str:
    return next((sentence for _, sentence in gone if sentence), "")


def option_dict(option: Option) -> dict[str, Any]:
    """The planner's fields of one configuration, and how its quality is meant."""
    c = option.candidate
    lost = float(value(option.known.loss))
    return {
        "model": c.scenario.model,
        "quant": c.quant,
        "backend": c.scenario.runtime,
        "n_agents": c.machines,
        "vram_gb": round(option.memory / GB, 2),
        "quality": option.score if option.score is not None else None if math.isnan(lost) else round(1 - lost, 4),
        "quality_is": "composite" if option.score is not None else "share kept of its own full precision",
        "quality_tier": option.known.tier,
        "throughput_tps": round(c.metrics["decode_rate"], 1),
        "p95_latency_ms": round(c.times["latency"] / MS),
        "utilisation": round(c.load, 3),
        "monthly_cost": round(c.usd_per_month, 2),
        "cost_per_1m_tok": round(c.usd_per_million, 4),
        "warnings": option.warnings,
    }


def plan_dict(found: Plan) -> Mapping[str, Any]:
    """The plan as plain data: the viable configurations, cheapest first, and what was turned away."""
    return {
        "recommended": option_dict(found.options[0]) if found.options else None,
        "candidates": [option_dict(option) for option in found.options],
        "rejected": [{"gate": gone.gate, "count": gone.count, "nearest": gone.sentence} for gone in found.rejected],
        "prices": found.price_is,
    }


def hardware_list() -> list[tuple[str, float, float, float]]:
    """What the planner has rates for: name, GB of memory, GB/s by the datasheet, US dollars an hour."""
    found = []
    for rate in registry().rate:
        device = hardware.device(rate.device)
        found.append((rate.name, device.memory_gb or math.nan, device.memory_bandwidth_gb_s or math.nan, rate.usd_per_h))
    return found


def model_list() -> list[tuple[str, str, float]]:
    """The models that the planner knows by size: its name, the catalog's id, billions of parameters."""
    return [(planned.name, planned.model, models.ir(planned.model).parameters / 1e9) for planned in registry().model]


def sentence(found: Plan) -> str:
    """The plan in one sentence."""
    rate = found.request.request_rate
    asked = f"{rate:g} request{'' if rate == 1 else 's'} a second"
    if not found.options:
        return f"No viable configuration on {found.request.hardware} for {asked}."
    best = found.options[0].candidate
    many = f"{best.machines} machines" if best.machines > 1 else "one machine"
    what = f"{model_name(best.scenario.model)} in {best.quant} with {runtimes.runtime(best.scenario.runtime).name}"
    return f"Run {what} on {many}, {found.request.hardware}, for {asked}: ${found.options[0].monthly_cost:,.2f} a month."
