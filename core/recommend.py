"""Suggest a configuration: a model and a machine in; tensor parallelism, quantisation, longest context and users at once out.

The ladder goes down from the precision that the makers publish until all lies in device memory. What fits is tried in every legal
split over the whole machine, and the split that serves most is taken; splits that are as good within what an estimate can tell
go to the widest, which leaves each user more speed and the longest context.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from pydantic import ValidationError

from core.answer import Estimate
from core.calibrate import remembered
from core.catalog import hardware, models, quants, runtimes
from core.catalog.hardware import Device
from core.catalog.instances import Instance, instances, usable
from core.catalog.own_hardware import listed
from core.catalog.runtimes import Runtime
from core.errors import CatalogError, RoofcastError, ScenarioError
from core.estimate import estimate
from core.ir import ModelIR
from core.plan import broken_rules
from core.quantity import value
from core.scenario import Deployment, Scenario, System, Workload, sentence
from core.setting import settle
from core.sweep import answer
from core.units import GIB
from core.weights import weight_table
from core.words import device_name

PROMPT, OUTPUT, DATASET = 512, 256, "sharegpt"  # tokens of a request as in ShareGPT-like benchmarks
MOST_USERS = 64
TIE = 0.10  # of throughput: half of our errors on servers of configurations never seen are about this large
_STEP = 1024  # tokens in which a longest context is stated
_MORE_CARDS = (2, 4, 8)  # that one's own machine might get

# What is tried after the published precision: name of the step → quantisation. Servers, then engines of GGUF and MLX files.
LADDERS: Mapping[str, Mapping[str, str]] = {
    "safetensors": {"FP8": "FP8", "INT8": "INT8", "INT4 (AWQ)": "AWQ-INT4"},
    "gguf": {"8 bits": "Q8_0", "4 bits": "Q4_K_M"},
    "mlx": {"8 bits": "MLX-8bit", "4 bits": "MLX-4bit"},
}
NATIVE = "native"
_FULL = {"safetensors": None, "gguf": "GGUF-BF16", "mlx": "MLX-BF16"}  # None: as published


@dataclass(frozen=True, slots=True)
class Target:
    """The machine: a cloud instance, or devices of one's own."""

    label: str
    system: System
    provider: str | None = None
    usd_per_h: float | None = None

    @property
    def device(self) -> Device:
        return hardware.device(self.system.device)

    @property
    def memory(self) -> float:
        """Bytes of all its devices; of a shared memory, what was bought of it."""
        if self.device.unified and self.system.ram_gb:
            return self.system.ram_gb * GIB
        return float(value(self.device.usable_memory())) * self.system.count


@dataclass(frozen=True, slots=True)
class Split:
    """Degrees over a whole machine; None: as the runtime splits by itself."""

    tp: int | None = None
    pp: int | None = None
    dp: int = 1


@dataclass(frozen=True, slots=True)
class Setup:
    """A configuration that fits, with its answer. `others`: what the other splits would serve, tok/s of all users."""

    step: str
    split: Split
    scenario: Scenario
    answer: Estimate
    capacity: int  # conversations of the load that its KV cache holds at once
    longest: int  # tokens that one conversation could have by memory alone
    others: tuple[tuple[Split, float], ...] = ()

    @property
    def quant(self) -> str:
        return str(self.answer.resolved["quant"])

    @property
    def rate(self) -> float:
        """Tokens a second of all users."""
        return self.answer.metric("output_rate")

    @property
    def concurrency(self) -> int:
        return self.scenario.workload.concurrency

    @property
    def max_context(self) -> int:
        return int(self.scenario.deployment.max_context or 0)


@dataclass(frozen=True, slots=True)
class Suggestion:
    """The answer. `native`: in the published precision; where that does not fit `smaller` (option A) and `larger` (option B)."""

    model: str
    ir: ModelIR
    target: Target
    runtime: str
    native_quant: str
    native: Setup | None
    smaller: Setup | None = None
    larger: tuple[Target, Setup] | None = None

    @property
    def setup(self) -> Setup | None:
        """What fills the form."""
        return self.native or self.smaller

    @property
    def feasible(self) -> bool:
        """Whether the machine holds the model in its published precision."""
        return self.native is not None


# ---- The question


def instance_target(name: str) -> Target:
    """A cloud instance as a target. Raises CatalogError for an unknown one, and for one that cannot be estimated yet."""
    return _of_instance(usable(name))


def _of_instance(row: Instance) -> Target:
    device = hardware.device(str(row.device)).name
    system = System(device=device, count=int(row.count or 1), ram_gb=row.ram_gb, instance=row.label)
    return Target(row.label, system, row.provider, row.usd_per_h)


def own_target(system: System) -> Target:
    """A machine of one's own as a target. Raises CatalogError for an unknown device."""
    name = device_name(system.device)
    return Target(f"{system.count} × {name}" if system.count > 1 else f"one {name}", system)


def own_system(device: str, count: int = 1, ram_gb: float | None = None) -> System:
    """Devices of one's own as a system; the name may be any that the catalog knows. Raises CatalogError, ScenarioError."""
    try:
        return System(device=listed(hardware.device(device)), count=count, ram_gb=ram_gb)
    except ValidationError as error:
        raise ScenarioError(sentence(error)) from error


def model_named(text: str, token: str | Literal[False] | None = None, *, local: bool = True) -> str:
    """The id of a model of the catalog, or of one of the Hub, which is fetched where it is not here yet.

    Raises CatalogError for a name that is neither, HubError where the Hub does not give it.
    """
    try:
        return models.model(text).id
    except CatalogError:
        if "/" not in text:
            raise
    from core.hub import fetch  # only what is not here needs the network

    return fetch(text, token, local=local).id


def suggest(model: str, target: Target, prompt_tokens: int = PROMPT, output_tokens: int = OUTPUT) -> Suggestion:
    """What to run the model with on the target. Raises CatalogError for an unknown model, ScenarioError where no runtime runs it."""
    return _suggest(models.model(model).id, target, prompt_tokens, output_tokens)


@remembered(maxsize=64)
def _suggest(model: str, target: Target, prompt_tokens: int, output_tokens: int) -> Suggestion:
    ir = models.ir(model)
    tokens = max(2, min(prompt_tokens + output_tokens, ir.max_context))
    output = min(output_tokens, max(1, tokens // 3))
    load = Workload(prompt_tokens=tokens - output, output_tokens=output)
    entry, container = _engine(target.device)
    first = _scenario(ir, target, entry.id, load, _FULL[container])
    native_quant = settle(first).quant.id
    native = _best(ir, target, entry, load, NATIVE, _FULL[container])
    found = Suggestion(model, ir, target, entry.id, native_quant, native)
    if native is not None:
        return found
    own = weight_table(ir, native_quant).bytes
    smaller = None
    for step, quant in LADDERS[container].items():
        if step == "FP8" and target.device.fp8_tflops is None:
            continue
        if weight_table(ir, quant).bytes < 0.99 * own and (smaller := _best(ir, target, entry, load, step, quant)) is not None:
            break
    return replace(found, smaller=smaller, larger=_larger(ir, target, load))


def _engine(device: Device) -> tuple[Runtime, str]:
    """vLLM where it has kernels for the device, else MLX on Apple's, else llama.cpp; and what its weights come in."""
    if device.kind == "gpu" and not device.unified:
        vllm = runtimes.runtime("vllm")
        try:
            if runtimes.backend_for(vllm, device.vendor, device.kind) in ("cuda", "rocm"):
                return vllm, "safetensors"
        except ScenarioError:
            pass
    if device.vendor == "Apple":
        return runtimes.runtime("mlx"), "mlx"
    return runtimes.runtime("llama.cpp"), "gguf"


def _scenario(ir: ModelIR, target: Target, runtime: str, load: Workload, quant: str | None, **knobs: Any) -> Scenario:
    deployment = Deployment(quant=quant, **knobs)
    return Scenario(model=ir.id, system=target.system, runtime=runtime, deployment=deployment, workload=load)


# ---- The best split of one step


def splits(ir: ModelIR, entry: Runtime, count: int) -> Iterator[list[Split]]:
    """Legal splits over all devices, in groups: replicas of tensor-parallel ones; stages only where none of those fits."""
    if entry.device_split != "tensor" or count == 1:
        yield [Split()]
        return
    widths = [tp for tp in range(1, count + 1) if count % tp == 0 and not broken_rules(ir, tp, 1, 1, 1)]
    yield [Split(tp, 1, count // tp) for tp in widths]
    yield [Split(tp, count // tp, 1) for tp in widths if tp < count and count // tp <= ir.layers]


def _best(ir: ModelIR, target: Target, entry: Runtime, load: Workload, step: str, quant: str | None) -> Setup | None:
    """The best split with these weights; None where nothing lies wholly in device memory."""
    for group in splits(ir, entry, target.system.count):
        found = [setup for split in group if (setup := _setup(ir, target, entry, load, step, quant, split)) is not None]
        if found:
            most = max(_known(setup.rate) for setup in found)
            alike = [setup for setup in found if _known(setup.rate) >= (1 - TIE) * most]
            best = max(alike, key=lambda setup: (setup.split.tp or 1, _known(setup.rate)))
            others = tuple((setup.split, setup.rate) for setup in found if setup is not best)
            return replace(_with_longest(best), others=others)
    return None


def _known(rate: float) -> float:
    return 0.0 if math.isnan(rate) else rate


def _setup(ir: ModelIR, target: Target, entry: Runtime, load: Workload, step: str, quant: str | None, split: Split) -> Setup | None:
    """This split for as many users as its memory holds, up to MOST_USERS; engines that reserve a context for each take one."""
    most = MOST_USERS if entry.audience == "server" else 1
    knobs = {"tp": split.tp, "pp": split.pp, "dp": split.dp if split.tp else None, "max_context": load.context}
    if entry.audience == "server":
        knobs["max_sequences"] = max(1, most // split.dp)
    try:
        one_each = load.model_copy(update={"concurrency": split.dp})
        held = estimate(_scenario(ir, target, entry.id, one_each, quant, **knobs))
        if held.feasibility != "in_vram":
            return None
        capacity = max(1, int(min(float(value(held.limits["max_batch"])), 1e6))) * split.dp
        users = min(capacity, most)
        scenario = _scenario(ir, target, entry.id, load.model_copy(update={"concurrency": users}), quant, **knobs)
        found = answer(scenario)
    except RoofcastError:
        return None
    if found.feasibility != "in_vram":
        return None
    return Setup(step, split, scenario, found, capacity, int(float(value(held.limits["max_context"]))))


def _with_longest(setup: Setup) -> Setup:
    """With the longest context that memory holds for one conversation, in steps of 1,024 tokens, and no more places than users."""
    if setup.scenario.deployment.max_sequences is not None:
        setup = replace(setup, scenario=setup.scenario.with_(max_sequences=-(-setup.concurrency // setup.split.dp)))
    context = setup.longest
    while context > setup.max_context:
        rounded = context // _STEP * _STEP or context
        scenario = setup.scenario.with_(max_context=rounded)
        found = answer(scenario)
        if found.feasibility == "in_vram":
            return replace(setup, scenario=scenario, answer=found)
        context = int(context * 0.9)
    return setup


# ---- A larger machine


def _larger(ir: ModelIR, target: Target, load: Workload) -> tuple[Target, Setup] | None:
    """The nearest larger machine that holds the model as published: more of one's own cards, or a larger instance."""
    for other in _larger_targets(target):
        entry, container = _engine(other.device)
        weights = weight_table(ir, settle(_scenario(ir, other, entry.id, load, _FULL[container])).quant.id).bytes
        if weights < other.memory and (found := _best(ir, other, entry, load, NATIVE, _FULL[container])) is not None:
            return other, found
    return None


def _larger_targets(target: Target) -> Iterator[Target]:
    if target.provider is None and not target.device.unified and target.device.kind == "gpu":
        for times in _MORE_CARDS:
            if times > target.system.count:
                yield own_target(target.system.model_copy(update={"count": times, "profile": None}))
    cheapest: dict[tuple[Any, ...], Target] = {}
    for row in instances():
        if row.unsupported or row.device is None or row.count is None or row.usd_per_h is None or row.terms != "on demand":
            continue
        other = _of_instance(row)
        key = (row.provider, row.device, row.count)
        if other.memory > target.memory and (key not in cheapest or row.usd_per_h < (cheapest[key].usd_per_h or math.inf)):
            cheapest[key] = other
    near = [one for one in cheapest.values() if one.provider == target.provider]
    rest = [one for one in cheapest.values() if one.provider != target.provider]
    yield from sorted(near, key=lambda one: (one.memory, one.usd_per_h))
    yield from sorted(rest, key=lambda one: one.usd_per_h or 0.0)


# ---- What a person sets by hand


@dataclass(frozen=True, slots=True)
class Form:
    """The fields of a benchmark as a person set them."""

    tp: int
    quant: str | None  # None: as published
    max_context: int
    concurrency: int
    prompt_tokens: int = PROMPT
    output_tokens: int = OUTPUT


def form_of(setup: Setup) -> Form:
    """A suggestion as the fields that it fills."""
    load = setup.scenario.workload
    quant = None if setup.step == NATIVE else setup.quant
    return Form(setup.split.tp or 1, quant, setup.max_context, setup.concurrency, load.prompt_tokens, load.output_tokens)


def scenario_of(suggestion: Suggestion, form: Form) -> Scenario:
    """The form as a scenario on the suggestion's machine; tensor-parallel replicas take the rest of its devices.

    Raises ScenarioError for what cannot be asked.
    """
    entry, container = _engine(suggestion.target.device)
    count = suggestion.target.system.count
    setup = suggestion.setup
    if form.tp > count:
        raise ScenarioError(f"{suggestion.target.label} has {count} device{'s' if count > 1 else ''} only; TP {form.tp} needs {form.tp}.")
    own = setup is not None and form.tp == (setup.split.tp or 1)
    split = setup.split if own and setup is not None else Split(form.tp, 1, max(1, count // form.tp))
    knobs: dict[str, Any] = {"max_context": form.max_context}
    if entry.device_split == "tensor" and count > 1:
        knobs |= {"tp": split.tp, "pp": split.pp, "dp": split.dp}
    if entry.audience == "server":
        knobs["max_sequences"] = max(1, -(-form.concurrency // split.dp))
    try:
        load = Workload(prompt_tokens=form.prompt_tokens, output_tokens=form.output_tokens, concurrency=form.concurrency)
    except ValidationError as error:
        raise ScenarioError(sentence(error)) from error
    return _scenario(suggestion.ir, suggestion.target, entry.id, load, form.quant or _FULL[container], **knobs)


def quant_choices(suggestion: Suggestion) -> list[str | None]:
    """What a person may set: as published (None), then the ladder's steps that the runtime runs on this machine."""
    entry, container = _engine(suggestion.target.device)
    backend = runtimes.backend_for(entry, suggestion.target.device.vendor, suggestion.target.device.kind)
    named = [quants.quant(name) for name in LADDERS[container].values()]
    return [None, *(q.id for q in named if runtimes.supports(entry, backend, q.container, q.kernel_class))]
