"""How few devices would do: the same question on more and more of them, through the same gate as the answer itself."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from core.cards import Cards
from core.catalog import hardware, runtimes
from core.errors import RoofcastError
from core.placement import Placement, placement
from core.plan import NODE
from core.scenario import Scenario
from core.setting import settle
from core.units import show
from core.weights import weight_table
from core.words import device_name, machine_name, model_name

_TIMES = (*range(1, 17), 18, 20, 24, 28, 32, 36, 40, 48, 56, 64, 72)
_MOST_TRIED = 60  # choices among cards of several kinds
_AT_HOME = 16  # cards that one looks for without a data centre


@dataclass(frozen=True, slots=True)
class Tried:
    """One number of devices in one split: does it fit, and if not, why not."""

    count: int
    split: str
    fits: bool
    why: str


@dataclass(frozen=True, slots=True)
class Fewest:
    """The fewest devices with which all lies in device memory, and what was tried on the way. `count` None: none found."""

    count: int | None
    found: Placement | None
    tried: tuple[Tried, ...]
    sentence: str


@functools.lru_cache(maxsize=64)
def minimum_devices(scenario: Scenario) -> Fewest:
    """The fewest devices on which the scenario lies in device memory, with the split's chosen degrees kept and the others free.

    Raises CatalogError for an unknown name, ScenarioError where runtime and quantisation do not go together.
    """
    setting = settle(scenario)
    device = hardware.device(scenario.system.device)
    deploy = scenario.deployment
    if scenario.system.others:
        return _of_cards(scenario)
    if device.kind == "cpu" or device.unified:
        return Fewest(None, None, (), f"{device.name} is not joined with others here: its memory is what there is.")
    base = (deploy.tp or 1) * (deploy.pp or 1) * _replicas(scenario) * (deploy.cp or 1)
    most = 72 * base if device.device_class == "datacenter" else max(_AT_HOME, base)
    weights = weight_table(setting.ir, setting.quant.id).bytes
    whole: float | None = None  # memory of one device, known once one split was laid out
    tried: list[Tried] = []
    for count in (base * n for n in _TIMES if base * n <= min(most, 4096)):
        if whole is not None and weights > count * whole:
            lack = f"The weights alone take {show(weights, 'B')}, and together they have {show(count * whole, 'B')}."
            tried.append(Tried(count, "any split", False, lack))
            continue
        for knobs in _splits(scenario, count):
            try:
                changed = scenario.with_(count=count, profile=None, gpu_layers=setting.ir.layers, experts_on_cpu=None, split=None, **knobs)
                found = placement(changed)
            except RoofcastError as error:
                tried.append(Tried(count, _words(knobs, deploy.mlp_tp), False, str(error)))
                continue
            whole = found.memory
            tried.append(Tried(count, _words(knobs, deploy.mlp_tp), found.fits, "" if found.fits else _why(found)))
            if found.fits:
                return Fewest(count, found, tuple(tried), _sentence(found, tried))
    text = f"{model_name(setting.ir.id)} does not fit up to {most} {device_name(device.name)}"
    last = next((t for t in reversed(tried) if t.why), None)
    return Fewest(None, None, tuple(tried), f"{text}{': ' + _lower(last.why) if last else '.'}")


def _of_cards(scenario: Scenario) -> Fewest:
    """The fewest of these cards that hold it all, one kind or several: of each kind none up to all that are there."""
    system = scenario.system
    first = Cards(device=system.device, count=system.count, host_link=system.host_link, memory_gib=system.device_memory_gib)
    kinds = (first, *system.others)
    choices = sorted(itertools.product(*(range(cards.count, -1, -1) for cards in kinds)), key=sum)
    layers = settle(scenario).ir.layers
    tried: list[Tried] = []
    for counts in (counts for counts in choices if sum(counts) > 0):
        if len(tried) >= _MOST_TRIED:
            break
        taken = tuple(cards.model_copy(update={"count": count}) for cards, count in zip(kinds, counts, strict=True) if count)
        asked = _with_cards(scenario, taken, own=counts[0] > 0)
        name = machine_name(asked)
        try:
            found = placement(asked.with_(gpu_layers=layers, experts_on_cpu=None))
        except RoofcastError as error:
            tried.append(Tried(sum(counts), name, False, str(error)))
            continue
        tried.append(Tried(sum(counts), name, found.fits, "" if found.fits else _why(found)))
        if found.fits:
            all_of_them = sum(counts) == system.devices
            text = "It takes all of these cards." if all_of_them else f"{_capital(name)} {'is' if sum(counts) == 1 else 'are'} enough."
            return Fewest(sum(counts), None if all_of_them else found, tuple(tried), text)
    why = next((t.why for t in reversed(tried) if t.why), "")
    return Fewest(None, None, tuple(tried), f"These cards do not hold it all{': ' + _lower(why) if why else '.'}")


def _with_cards(scenario: Scenario, taken: tuple[Cards, ...], *, own: bool) -> Scenario:
    """The same question on these cards alone; `own`: the first are of the scenario's first kind, with what was said of it."""
    first, *others = taken
    knobs: dict[str, object] = {
        "device": first.device, "count": first.count, "host_link": first.host_link, "others": tuple(others),
        "device_memory_gib": first.memory_gib, "profile": None, "instance": None, "tensor_split": (), "main_gpu": None,
    }  # fmt: skip
    if scenario.deployment.split == "none":
        knobs["split"] = None
    if not own:
        knobs |= {"measured_bandwidth_gb_s": None, "device_bandwidth_gb_s": None, "device_power_w": None}
    return scenario.with_(**knobs, tp=None, mlp_tp=None, pp=None, dp=None, ep=None)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _replicas(scenario: Scenario) -> int:
    """Data-parallel replicas: as chosen, else as many as the feed-forward part's ranks need."""
    deploy = scenario.deployment
    return deploy.dp or max(1, (deploy.mlp_tp or 1) // (deploy.tp or deploy.mlp_tp or 1))


def _splits(scenario: Scenario, count: int) -> Iterator[dict[str, int]]:
    """The splits of so many devices that keep what was chosen: tensors cut as far as a node reaches first, stages after."""
    deploy, runtime = scenario.deployment, runtimes.runtime(scenario.runtime)
    dp = _replicas(scenario)
    free = count // (dp * (deploy.cp or 1))
    node = min(free, scenario.system.devices_per_node or NODE)
    if deploy.tp or deploy.mlp_tp:
        degrees = [deploy.tp or deploy.mlp_tp or 1]
    elif runtime.device_split == "tensor" and deploy.split != "layer":
        degrees = [n for n in range(node, 0, -1) if free % n == 0]
    else:
        degrees = [1]
    for tp in degrees:
        pp = max(1, free // tp)
        if tp * pp == free and pp == (deploy.pp or pp):
            yield {"tp": tp, "pp": pp, "dp": dp}


def _words(knobs: dict[str, int], mlp_tp: int | None) -> str:
    """A split in words, as engines' flags say it."""
    text = " × ".join(f"{name.upper()} {knobs[name]}" for name in ("tp", "pp", "dp") if knobs[name] > 1) or "one device"
    return f"{text}, feed-forward TP {mlp_tp}" if mlp_tp and mlp_tp != knobs["tp"] else text


def _why(found: Placement) -> str:
    """What the fullest rank lacks."""
    rank, reasons = found.fullest, found.reasons
    if rank.room >= 0:
        return reasons[0].text if reasons else "It does not fit whole."
    largest = sorted(rank.parts.items(), key=lambda item: -item[1])[:2]
    stage = f" of stage {rank.stage + 1}" if found.degrees["pp"] > 1 else ""
    parts = " and ".join(f"{show(size, 'B')} {name}" for name, size in largest)
    return f"A rank{stage} needs {show(rank.held, 'B')} and may take {show(rank.limit, 'B')}; {parts} are the most of it."


def _sentence(found: Placement, tried: list[Tried]) -> str:
    count, name = len(found.ranks), device_name(found.device)
    if count == 1:
        return f"One {name} is enough."
    before = next((t for t in reversed(tried) if not t.fits and t.count < count), None)
    start = f"{count} {name} are the fewest"
    if before is not None:
        return f"{start}. With {before.count} ({before.split}): {_lower(before.why)}"
    return f"{start} that the chosen split can run on, and each has {show(found.fullest.room, 'B')} to spare."


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]
