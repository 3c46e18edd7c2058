"""How far a measured run lies from a question: a weighted sum over what differs, each part in words.

Distance 1 means that our error typically parts by a tenth. The weights are what pairs of sound runs of the corpus
show that differ in nothing else: the median of |ln ratio of their errors| over 0.1, of decode, prefill and output rate
between them, rounded. (Two people who measure the very same part by 0.7 to 1, repeats by 0.1 to 0.5.)
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from core.cards import write_cards
from core.catalog.hardware import Device, device
from core.catalog.models import ir
from core.catalog.quants import QuantScheme, kv_dtype
from core.catalog.runtimes import Runtime
from core.errors import RoofcastError
from core.features import REFERENCE_YEAR
from core.ir import ModelIR
from core.runs import Asks, Run
from core.scenario import Scenario
from core.setting import settle
from core.weights import weight_table

Part = Literal["device", "model", "runtime", "quant", "split", "options", "software", "load", "doubt"]

SAME_ARCHITECTURE = 1.5  # decode 2.9 (crowd-sourced machines: throttled, laptops), output rate 1.0, TPOT 0.4
SAME_FAMILY = 2.0  # between its neighbours: kernels are shared, generations are not
SAME_VENDOR = 2.5  # 1.8 to 2.0, and more where bandwidths lie far apart
OTHER_VENDOR = 5.0  # decode 5.0, prefill 5.0
BANDWIDTH = 0.5  # a doubling: 1.7 against 2.0 within a vendor; the physics carries most of it
MEMORY = 0.25  # a doubling: a hint at the size of the die, beyond bandwidth
OTHER_MODEL = 1.0  # of the same kind: decode 1.0, prefill 1.4, output rate 1.0
ACTIVE = 0.3  # a doubling of active parameters: fixed costs weigh more in small models
OTHER_KIND = 1.0  # mixture or dense, kind of attention: decode +0.6, prefill +2.4, output rate +0.8
OTHER_QUANT = 0.8  # decode 0.8, prefill 1.4, output rate 0.6
OTHER_KERNEL = 0.5  # on top, where other kernels run: decode +0.4, prefill +0.6
BITS = 0.3  # a doubling of bits a weight, on top: bytes are known, unpacking is not
SAME_ORIGIN = 1.2  # a runtime on the same engine: decode 1.2
OTHER_RUNTIME = 1.5  # of the same audience: decode 1.4, TPOT 1.3, output rate 1.8
OTHER_AUDIENCE = 3.0  # a server for a single user's program: decode 3.1
OTHER_BACKEND = 2.0  # decode 1.0, prefill 3.9
CARDS = 0.8  # a doubling of devices: decode 0.6, prefill 1.5, output rate 1.3
OTHER_SPLIT = 0.5  # tensors or layers for the same count: a guess, pairs are too few
FLASH = 0.8  # flash attention: decode 0.5, prefill 1.4
KV_DTYPE = 0.5  # a guess, pairs are too few
OTHER_CARDS = 3.0  # cards of another kind beside these, or none: a guess, of such machines there is one pair
CABLE = 0.5  # an eGPU's cable or a riser on one side only: a guess; what was measured over one lane lies within the rest
OFFLOAD = 3.0  # layers or experts in host memory on one side only: a guess, pairs are too few
YEAR = 2.0  # a year of software: decode 1.7, prefill 2.5, output rate 2.7
USERS = 0.6  # a doubling: decode and TPOT 0.5, output rate 1.0
PROMPT = 0.4  # a doubling: decode 0.5, prefill 0.6, TTFT more; less for each further one
CONTEXT = 0.5  # a doubling of what decoding reads (beyond CONTEXT_FLOOR): prefill 1.2, decode 0.5
OUTPUT = 0.2  # a doubling: decode and TPOT 0.3, prefill 0.1
ARRIVAL = 0.7  # how users arrive, with more than one: 0.6 to 0.9
DOUBT = 2.0  # a run that is kept from fitting: shown only where nothing sound is near

CONTEXT_FLOOR = 512  # tokens of context below which the cache is nothing beside the weights
CLOSE = 0.1  # a difference smaller than this is none


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that differs: its part of the distance, and the run's side in words."""

    part: Part
    distance: float
    text: str


@dataclass(frozen=True, slots=True)
class Configuration:
    """What stands whatever the load: the catalog's records."""

    model: ModelIR
    device: Device
    runtime: Runtime
    backend: str
    quant: QuantScheme


def configuration_of(scenario: Scenario) -> Configuration:
    """The configuration that a scenario asks about. Raises as `settle` does."""
    found = settle(scenario, strict=False)
    return Configuration(found.ir, found.device, found.runtime, found.backend, found.quant)


def _doublings(a: float | None, b: float | None) -> float:
    return abs(math.log2(a / b)) if a and b and a > 0 and b > 0 else 0.0


def device_difference(asked: Device, other: Device) -> Difference:
    if asked.id == other.id:
        return Difference("device", 0.0, "")
    if asked.kind == other.kind and asked.vendor == other.vendor:
        if asked.arch == other.arch and asked.family == other.family:
            base, how = SAME_ARCHITECTURE, f"other {_thing(other)} of the same architecture"
        elif asked.family == other.family:
            base, how = SAME_FAMILY, f"other {_thing(other)} of the same family"
        else:
            base, how = SAME_VENDOR, f"other {_thing(other)} of the same maker"
    else:
        base, how = OTHER_VENDOR, f"{'an' if other.kind == 'npu' else 'a'} {other.kind.upper()} of another kind or maker"
    base += BANDWIDTH * _doublings(asked.memory_bandwidth_gb_s, other.memory_bandwidth_gb_s)
    base += MEMORY * _doublings(asked.memory_gb, other.memory_gb)
    return Difference("device", base, f"{other.name}, {how}")


def _thing(one: Device) -> str:
    return "processor" if one.kind == "cpu" else "chip" if one.unified else "card"


@functools.lru_cache(maxsize=4096)
def _nature(model_id: str) -> tuple[str, bool, str, float]:
    """Shape by which siblings are one model, whether it is a mixture, the kind of its attention, active parameters."""
    found = ir(model_id)
    kinds = {block.attention.kind for block in found.blocks}
    attention = next((kind for kind in ("mla", "linear", "sliding") if kind in kinds), "full")
    shape = f"{found.layers} x {found.hidden}, {found.parameters:.2g}"
    return shape, any(block.mlp.kind == "moe" for block in found.blocks), attention, float(found.active_parameters)


def geometry(model_id: str) -> str:
    """Models of one shape are one model here, whatever they are called."""
    return _nature(model_id)[0]


def model_difference(asked: ModelIR, other: ModelIR) -> Difference:
    (shape, mixture, attention, active), (shape2, mixture2, attention2, active2) = _nature(asked.id), _nature(other.id)
    if asked.id == other.id or shape == shape2:
        return Difference("model", 0.0, "")
    distance = OTHER_MODEL + ACTIVE * _doublings(active, active2)
    distance += OTHER_KIND * ((mixture != mixture2) + (attention != attention2))
    size = f"{active2 / 1e9:.2g} B active" if mixture2 else f"{other.parameters / 1e9:.2g} B"
    more = []
    if mixture != mixture2:
        more.append("a mixture of experts" if mixture2 else "dense")
    if attention != attention2:
        more.append(f"{'MLA' if attention2 == 'mla' else attention2} attention")
    return Difference("model", distance, f"{other.id.rsplit('/', 1)[-1]} ({', '.join([size, *more])})")


def quant_difference(model: ModelIR, asked: QuantScheme, other: QuantScheme) -> Difference:
    if asked.id == other.id:
        return Difference("quant", 0.0, "")
    bits = _bits(model.id, asked.id), _bits(model.id, other.id)
    if asked.kernel_class == other.kernel_class and _doublings(*bits) < 0.01:
        return Difference("quant", 0.0, "")  # two names of one format: FP16 and F16
    distance = OTHER_QUANT + OTHER_KERNEL * (asked.kernel_class != other.kernel_class) + BITS * _doublings(*bits)
    return Difference("quant", distance, f"{other.id} instead of {asked.id}")


@functools.lru_cache(maxsize=8192)
def _bits(model_id: str, quant_id: str) -> float | None:
    try:
        return weight_table(ir(model_id), quant_id).bits_per_weight
    except RoofcastError:
        return None


def runtime_difference(asked: tuple[Runtime, str], other: tuple[Runtime, str]) -> Difference:
    """Of runtime and back end together."""
    (one, backend), (two, backend2) = asked, other
    distance, text = 0.0, ""
    if one.id != two.id:
        origins = {one.treated_as or one.id, two.treated_as or two.id}
        alike = len(origins) == 1 or (one.engine == two.engine == "ggml")
        distance = SAME_ORIGIN if alike else OTHER_RUNTIME if one.audience == two.audience else OTHER_AUDIENCE
        text = f"{two.name} instead of {one.name}"
    if backend != backend2:
        distance += OTHER_BACKEND
        text = f"{text}, " * bool(text) + f"{backend2} instead of {backend}"
    return Difference("runtime", distance, text)


# ---- What may differ from run to run of one configuration


def run_differences(asked: Scenario, engine: Runtime, run: Run) -> Iterator[Difference]:
    """Split, options, age of the software and load; only what differs."""
    other = run.scenario
    yield from _machine(asked, other)
    yield from _split(asked, other, engine)
    yield from _options(asked, other, engine)
    yield from _software(asked, other)
    yield from load_differences(asked, other, run.asks)


def _machine(asked: Scenario, other: Scenario) -> Iterator[Difference]:
    """Cards of other kinds beside the first, and links to the host that are no slots."""
    one, two = ([(device(cards.device).id, cards.count) for cards in scenario.system.others] for scenario in (asked, other))
    if one != two:
        text = f"{write_cards(other.system.others)} beside it" if two else f"without {write_cards(asked.system.others)} beside it"
        yield Difference("device", OTHER_CARDS, text)
    if (asked.system.host_link is None) != (other.system.host_link is None):
        yield Difference("device", CABLE, "in a slot of its own" if asked.system.host_link else f"joined by {other.system.host_link}")


def degrees(scenario: Scenario, engine: Runtime) -> tuple[int, int, int, int]:
    """Devices, and the tensor, pipeline and data parallel degrees that they run in."""
    deploy, count = scenario.deployment, scenario.system.devices
    rest = max(1, count // ((deploy.tp or 1) * (deploy.pp or 1) * (deploy.dp or 1)))
    layers = deploy.split == "layer" or (deploy.split is None and engine.device_split == "layer")
    tp = deploy.tp or (1 if layers else rest)
    pp = deploy.pp or (rest if layers and deploy.tp is None else 1)
    return count, tp, pp, deploy.dp or 1


def _split(asked: Scenario, other: Scenario, engine: Runtime) -> Iterator[Difference]:
    one, two = degrees(asked, engine), degrees(other, engine)
    if one == two:
        return
    distance = CARDS * _doublings(one[0], two[0]) + OTHER_SPLIT * (_way(one) != _way(two))
    if distance:
        many = f"{two[0]} device{'s' if two[0] > 1 else ''} instead of {one[0]}" if one[0] != two[0] else ""
        way = f"TP {two[1]}, PP {two[2]}, DP {two[3]}" if _way(one) != _way(two) and two[0] > 1 else ""
        yield Difference("split", distance, ", ".join(filter(None, (many, way))) or "another split")


def _way(found: tuple[int, int, int, int]) -> tuple[bool, ...]:
    return tuple(degree > 1 for degree in found[1:])


def _options(asked: Scenario, other: Scenario, engine: Runtime) -> Iterator[Difference]:
    one, two = asked.deployment, other.deployment
    if one.flash_attention != two.flash_attention:
        yield Difference("options", FLASH, "with flash attention" if two.flash_attention else "without flash attention")
    caches = [_kv_bytes(part.kv_dtype, engine.default_kv_dtype) for part in (one, two)]
    if caches[0] != caches[1]:
        yield Difference("options", KV_DTYPE, f"KV cache stored as {two.kv_dtype or 'the default'}")
    if _offloads(one) != _offloads(two):
        yield Difference("options", OFFLOAD, "partly in host memory" if _offloads(two) else "nothing kept in host memory")


def _kv_bytes(wanted: str | None, default: str) -> float:
    """Bytes of an element of the KV cache; the model's own precision counts as 16 bits."""
    name = default if wanted in (None, "auto") else str(wanted)
    return kv_dtype("f16" if name == "model" else name).bytes_per_element


def _offloads(deploy: Any) -> bool:
    return deploy.gpu_layers is not None or bool(deploy.experts_on_cpu)


def _software(asked: Scenario, other: Scenario) -> Iterator[Difference]:
    distance = YEAR * abs(_year(other) - _year(asked))
    if distance >= CLOSE:
        yield Difference("software", distance, f"software of {other.runtime_date or 'an unknown date'}")


def _year(scenario: Scenario) -> float:
    """The year of the software; where nothing says it, the one that the fit takes."""
    if not scenario.runtime_date:
        return REFERENCE_YEAR
    year, _, month = scenario.runtime_date.partition("-")
    return float(year) + ((float(month[:2]) - 0.5) / 12 if month else 0.5)


def load_differences(asked: Scenario, other: Scenario, asks: Asks) -> Iterator[Difference]:
    """Users, lengths and arrival, as far as the run measured what they matter for."""
    one, two = asked.workload, other.workload
    parts = [
        (USERS * _doublings(one.concurrency, two.concurrency), "users", one.concurrency, two.concurrency),
        (CONTEXT * _doublings(_context(one), _context(two)), "tokens of context", one.context, two.context),
    ]
    if asks != "decode":
        new = one.prompt_tokens - one.prefix_cached_tokens or 1, two.prompt_tokens - two.prefix_cached_tokens or 1
        parts.append((PROMPT * _doublings(*new), "prompt tokens", *new))
    if asks != "prefill":
        parts.append((OUTPUT * _doublings(one.output_tokens, two.output_tokens), "tokens out", one.output_tokens, two.output_tokens))
    for distance, what, mine, theirs in parts:
        if distance >= CLOSE:
            yield Difference("load", distance, f"{theirs:,} instead of {mine:,} {what}")
    if one.arrival != two.arrival and max(one.concurrency, two.concurrency) > 1:
        names = {"closed": "a closed loop", "open": "an open loop", "static": "one static batch", "saturated": "as many users as fit"}
        yield Difference("load", ARRIVAL, f"{names[two.arrival]} instead of {names[one.arrival]}")


def _context(load: Any) -> float:
    """Tokens that a decode step finds on average, with the floor."""
    return float(CONTEXT_FLOOR + load.context_depth + load.prompt_tokens + load.output_tokens / 2)
