"""Cards that are not alike, or share the layers unevenly: the kinds of pipeline stage that they make, each with its own figures.

llama.cpp and its kin deal whole layers out in proportion to memory, or as told (`--tensor-split`); servers deal them out evenly, or
as told. Tensor ranks that are not alike work at the pace of the slowest, with the memory of the smallest.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from core import stages
from core.catalog.assumptions import assume
from core.catalog.files import source
from core.errors import ScenarioError
from core.formulas.unlike import mean_power
from core.host import device_memory, said_bandwidth
from core.joins import cable, over, slot
from core.machine import Columns, facts_of, or_else, place_of, unknown, user
from core.power_limit import limit_power
from core.quantity import Quantity, leaf, total, value
from core.setting import Further, Setting

_RATES = ("bandwidth", "peak", "peak_few", "attention_peak")


@dataclass(frozen=True, slots=True)
class _Kind:
    """One kind of card: its figures, and how many there are."""

    name: str
    count: int
    gpu: Columns
    memory: Quantity
    pcie: Quantity
    cable: Columns | None
    rated: Quantity
    busy: Quantity


def is_unlike(setting: Setting) -> bool:
    """Whether the devices differ, or are given unequal shares."""
    shares = setting.scenario.deployment.tensor_split
    return bool(setting.others) or (setting.scenario.system.count > 1 and len(set(shares)) > 1)


def spread_over(setting: Setting, c: Columns) -> None:
    """Gives the columns the kinds of stage that unlike cards make (`cards`), and what they come to together; in place.

    Raises ScenarioError for shares that are not as many as there are stages.
    """
    c.cards, c.split_head = (), float(setting.runtime.device_split == "layer")
    c.shares_given = float(bool(setting.scenario.deployment.tensor_split))
    if not is_unlike(setting):
        return
    kinds = _kinds(setting, c)
    degrees = {name: int(value(getattr(c, name))) for name in ("tp", "pp", "dp", "cp")}
    order = [kind for kind in kinds for _ in range(kind.count)]
    together = [_members(order, degrees, stage) for stage in range(degrees["pp"])]
    counts = [len(found) for found in together]
    shares = _shares(setting, together, degrees)
    filled = [stage for stage, share in enumerate(shares) if share > 0]
    found: list[Columns] = []
    low = 0.0
    alike = [(tuple(sorted({kind.name for kind in found})), share) for found, share in zip(together, shares, strict=True)]
    for (_, share), group in itertools.groupby(range(len(shares)), key=alike.__getitem__):
        places = list(group)
        stage = _stage({kind.name: kind for s in places for kind in together[s]}.values())
        stage.stages, stage.each, stage.low = len(places), share, low
        stage.first, stage.last = float(filled[0] in places), float(filled[-1] in places)
        stage.share = _share(setting, stage, share)
        stage.devices = sum(counts[s] for s in places)
        low += share * len(places)
        found.append(stage)
    c.cards = tuple(found)
    _together(c, kinds)


def _kinds(setting: Setting, c: Columns) -> list[_Kind]:
    """The kinds of card in their order, the first one's figures as they stand in the columns."""
    system = setting.scenario.system
    first = _Kind(setting.device.name, system.count, c.gpu, c.device_memory, c.pcie, c.cable_in, c.tdp, c.busy)
    return [first, *(_further(setting, further) for further in setting.others)]


def _further(setting: Setting, further: Further) -> _Kind:
    own = replace(setting, device=further.device)
    facts = facts_of(own, further.device, setting.backend)
    gpu = place_of(own, further.device, setting.backend)
    rated = or_else(further.device.fact("tdp_w"), unknown(f"power of {further.device.name}", "W"))
    busy = limit_power(own, gpu, rated, assume("idle_power", **facts), assume("busy_power", **facts), facts)
    if further.device.unified and (said := said_bandwidth(_ram_alone(own), further.device, gpu)) is not None:
        gpu.bandwidth = said
    named = further.cards.host_link
    return _Kind(
        further.device.name, further.cards.count, gpu, device_memory(own, facts, further),
        over(slot(further.device, named), facts, named=named is not None), cable(own, facts, further.device, named), rated, busy,
    )  # fmt: skip


def _ram_alone(setting: Setting) -> Setting:
    """The setting without what is said of the first kind's own memory."""
    system = setting.scenario.system.model_copy(update={"measured_bandwidth_gb_s": None, "device_bandwidth_gb_s": None})
    return replace(setting, scenario=setting.scenario.model_copy(update={"system": system}))


def _members(order: Sequence[_Kind], d: dict[str, int], stage: int) -> list[_Kind]:
    """The cards that make one stage, over all replicas: replicas outside, then stages, then context, then tensor ranks."""
    inner = d["cp"] * d["tp"]
    return [order[(replica * d["pp"] + stage) * inner + rank] for replica in range(d["dp"]) for rank in range(inner)]


def _shares(setting: Setting, together: Sequence[Sequence[_Kind]], d: dict[str, int]) -> list[float]:
    """Each stage's share of the layers; they sum to 1."""
    given = list(setting.scenario.deployment.tensor_split)
    number = len(together)
    by_layer = setting.runtime.device_split == "layer"
    if given and d["pp"] > 1:
        if len(given) > number or (len(given) < number and not by_layer):
            raise ScenarioError(f"tensor_split has {len(given)} shares for {number} pipeline stages; give one for each, as in 3,1.")
        given += [0.0] * (number - len(given))
    elif by_layer and d["pp"] > 1:
        given = [min(kind.memory.value for kind in found) for found in together]
    else:
        given = list(map(float, stages.like_servers(setting.ir.layers, number)))
    return [share / sum(given) for share in given]


def _share(setting: Setting, stage: Columns, share: float) -> Quantity:
    if setting.scenario.deployment.tensor_split:
        return user(f"share of the layers on each {stage.name}", share, "")
    by_layer = setting.runtime.device_split == "layer"
    cited = source("llama-cpp-multi-gpu", note="its part of the memory of all") if by_layer else source("solved", note="evenly")
    inputs = {"memory": stage.device_memory}
    return Quantity(f"share of the layers on each {stage.name}", share, "", kind="solved", source=cited, inputs=inputs)


def _stage(kinds: Any) -> Columns:
    """A stage of one kind of card; of several, what the slowest and smallest of them leave of each figure."""
    listed: list[_Kind] = list(kinds)
    slowest = min(listed, key=lambda kind: kind.gpu.bandwidth.value)
    gpu = Columns(**vars(slowest.gpu))
    if len(listed) > 1:
        arithmetic = min(listed, key=lambda kind: np.nan_to_num(kind.gpu.peak.value, nan=-1.0)).gpu
        for name, figure in vars(arithmetic).items():
            if "peak" in name or name.startswith(("compute_", "attention_", "experts_compute")) or name in ("few_limit", "kernel"):
                setattr(gpu, name, figure)
    return Columns(
        name=" and ".join(kind.name for kind in listed),
        gpu=gpu,
        device_memory=min((kind.memory for kind in listed), key=lambda memory: float(memory.value)),
        pcie=min((kind.pcie for kind in listed), key=lambda rate: float(rate.value)),
        cable=next((kind.cable for kind in listed if kind.cable is not None), None),
    )


def _together(c: Columns, kinds: Sequence[_Kind]) -> None:
    """What the cards come to: rates as of one card that takes each layer where it lies, power as of the mean card."""
    gpu = Columns(**vars(c.gpu))
    for name in _RATES:
        figures = [getattr(card.gpu, name) for card in c.cards]
        part = [card.each * card.stages for card in c.cards]
        mean = sum(part) / sum(p / figure.value for p, figure in zip(part, figures, strict=True)) if sum(part) else figures[0].value
        what = {"bandwidth": "memory bandwidth"}.get(name, name.replace("_", " "))
        setattr(gpu, name, _mean(f"{what} of the cards together", mean, figures, "each layer at the rate of the card that holds it"))
    gpu.name = " + ".join(card.name for card in c.cards)
    gpu.kernel = " / ".join(dict.fromkeys(str(card.gpu.kernel) for card in c.cards))
    c.gpu = gpu
    first = next((card for card in c.cards if card.first), c.cards[0])
    last = next((card for card in c.cards if card.last), c.cards[-1])
    c.cable_in, c.cable_out = first.cable, last.cable
    watts = [leaf(f"rated power of {kind.count} × {kind.name}", kind.rated.value * kind.count, "W", kind.rated.kind or "datasheet",
                  kind.rated.source or source("nameplate")) for kind in kinds]  # fmt: skip
    rated = total(watts, "rated power of all devices")
    busy = sum(kind.busy.value * kind.rated.value * kind.count for kind in kinds) / rated.value
    c.tdp = mean_power(together=rated, count=c.count, named="rated power of the mean device")
    c.busy = _mean("power under load, share of the rating", busy, [kind.busy for kind in kinds], "of all devices together")


def _mean(name: str, amount: Any, figures: Sequence[Quantity], how: str) -> Quantity:
    inputs = {f"{figure.name} ({n})": figure for n, figure in enumerate(figures, 1)}
    return Quantity(name, float(amount), figures[0].unit, kind="solved", source=source("solved", note=how), inputs=inputs)
