"""A better way to deal layers out to cards that are not alike: the faster card first, as far as its memory goes."""

from __future__ import annotations

import math
from typing import Any

from core.answer import Estimate, Memory
from core.calibrate import remembered
from core.cards import write_shares
from core.catalog import runtimes
from core.errors import RoofcastError
from core.estimate import estimate
from core.nearest import Nearest
from core.quantity import value
from core.scenario import Scenario
from core.sweep import answer
from core.words import device_name

LEAST = 0.03  # a gain in speed below this is not worth a word
_MARGIN = 2.0**30  # bytes left free on a card that is filled


@remembered(maxsize=64)
def faster_split(scenario: Scenario) -> Nearest | None:
    """The same cards with more layers on the faster ones, where all still lies on cards and writing gets faster; else None."""
    try:
        now = estimate(scenario)
    except RoofcastError:
        return None
    by_layer = runtimes.runtime(now.resolved["runtime"]).device_split == "layer"
    if len(now.cards) < 2 or not by_layer or now.feasibility != "in_vram" or scenario.deployment.tensor_split:
        return None
    layers = _filled(now)
    if layers is None or layers == now.resolved["layers_of_cards"]:
        return None
    knobs, change = _told(now, layers)
    try:
        changed = scenario.with_(**knobs)
        better = estimate(changed)
    except RoofcastError:
        return None
    if better.feasibility != "in_vram" or not better.metric("decode_rate") > (1 + LEAST) * now.metric("decode_rate"):
        return None
    return Nearest(change, knobs, changed, answer(changed))


def _filled(now: Estimate) -> tuple[int, ...] | None:
    """Layers for each stage, the fastest card's memory filled first; None where they do not all find a place."""
    counts = now.resolved["layers_of_cards"]
    kinds = [kind for kind, stages in enumerate(now.resolved["stages_of_cards"]) for _ in range(stages)]
    most = [max(count for count, of in zip(counts, kinds, strict=True) if of == kind) for kind in range(len(now.cards))]
    room = [_capacity(card, layers) for card, layers in zip(now.cards, most, strict=True)]
    speed = [_reading(now, card.name) for card in now.cards]
    left, found = sum(counts), [0] * len(counts)
    for stage in sorted(range(len(counts)), key=lambda stage: -speed[kinds[stage]]):
        found[stage] = min(left, room[kinds[stage]])
        left -= found[stage]
    return None if left else tuple(found)


def _capacity(card: Memory, layers: int) -> int:
    """Layers that a card has room for, as large as those that it holds."""
    if not layers:
        return 0
    held = sum(float(value(part.amount)) for part in card.parts if part.name in ("weights", "KV cache", "fragmentation"))
    return layers + math.floor((float(value(card.headroom)) - _MARGIN) / (held / layers))


def _reading(now: Estimate, name: str) -> float:
    """Bytes a second at which a kind of card reads weights in a decode step."""
    ops = [op for op in now.decode.step.ops if name.startswith(op.on) and op.on and op.kind == "weight_bandwidth"]
    return sum(float(value(op.bytes)) for op in ops) / max(sum(float(value(op.time)) for op in ops), 1e-12)


def _told(now: Estimate, layers: tuple[int, ...]) -> tuple[dict[str, Any], str]:
    """The knobs that lay the layers out so, and what changes, in words."""
    filled = [stage for stage, count in enumerate(layers) if count]
    names = [device_name(card.name.partition(" (each of ")[0]) for card, stages in
             zip(now.cards, now.resolved["stages_of_cards"], strict=True) for _ in range(stages)]  # fmt: skip
    if len(filled) == 1:
        return {"split": "none", "main_gpu": filled[0], "tensor_split": ""}, f"Run it on the {names[filled[0]]} alone"
    shares = [count + (stage == filled[-1]) for stage, count in enumerate(layers)]
    told = ", ".join(f"{count} on the {name}" for count, name in zip(layers, names, strict=True) if count)
    return {"tensor_split": write_shares(map(float, shares))}, f"Give the faster card more of the layers: {told}"
