"""What one device holds of the whole: of devices that are alike the fullest stage, of unlike ones each kind's own.

`Columns.cards` has an entry for every kind of stage (cards of one kind with one share of the layers): its rates, the memory of one
device, how many stages there are, and the shares of the layers before and on each. It is empty where all devices are alike.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np

from core.formulas.activations import fullest_share, fullest_stage
from core.formulas.unlike import layers_up_to, slice_share, slice_weights
from core.machine import Columns
from core.picked import solved
from core.plan import Plan
from core.quantity import value


@dataclass(slots=True)
class Slice:
    """One kind of stage. Of alike devices all below `last` is None: the fullest stage is a formula of its own."""

    c: Columns
    name: str
    limit: Any  # usable bytes of one device
    first: Any = 1.0  # whether the embedding table lies on one of them
    last: Any = 1.0  # whether the output head does
    pace: Any = None  # the fullest one's share of what all of them hold
    part: Any = None  # the fullest one's share of what lies on devices
    among: Any = None  # the share of all of them
    part_experts: Any = None  # the same of the experts, which the first layers may have left in host memory
    among_experts: Any = None

    def weights(self, layers: Any, dense: Any, experts: Any, head: Any, table: Any, name: str) -> Any:
        """Weights on the fullest of them. `layers`: bytes of all layers on devices, of which `experts` and the rest, `dense`."""
        if self.part is None:
            return fullest_stage(layer_bytes=layers, layers=self.c.layers, stages=self.c.pp, head=head, embedding=table, named=name)
        return slice_weights(layer_bytes=dense, part=self.part, experts=experts, part_experts=self.part_experts,
                             head=when(self.last, head), embedding=when(self.first, table), named=name)  # fmt: skip

    def cache(self, amount: Any, name: str | None = None) -> Any:
        """What the fullest of them holds of something spread over the layers."""
        if self.part is None:
            return fullest_share(amount=amount, layers=self.c.layers, stages=self.c.pp, named=name)
        return slice_share(amount=amount, part=self.part, named=name)


def when(flag: Any, amount: Any) -> Any:
    """The amount where the flag holds, else nothing."""
    return np.where(flag > 0, value(amount), 0.0) if isinstance(flag, np.ndarray) else amount if flag else 0.0


def slices(plan: Plan, c: Columns, gpu_layers: Any, experts_on_cpu: Any) -> list[Slice]:
    """A slice for every kind of stage, with so many layers on devices; the one of all where they are alike."""
    if not c.cards:
        return [Slice(c, "", c.device_memory)]
    layout = _Layout(plan, c)
    found = []
    for card, (most, layers, most_experts, experts) in zip(c.cards, layout.held(gpu_layers, experts_on_cpu), strict=True):
        share = _noted(c, card)
        there, bearing = np.maximum(gpu_layers, 1e-9), np.maximum(layout.bearing(gpu_layers, experts_on_cpu), 1e-9)
        found.append(
            Slice(
                c, card.name, card.device_memory, card.first, card.last, scalar(most / np.maximum(layers, 1e-9)),
                share("share of the layers on the fullest", most / there), share("share of the layers", layers / there),
                share("share of the experts on the fullest", most_experts / bearing), share("share of the experts", experts / bearing),
            )
        )  # fmt: skip
    return found


def _noted(c: Columns, card: Columns) -> Any:

    how = "whole layers, dealt out by the shares of the cards"
    shares = [other.share for other in c.cards]
    return lambda what, amount: solved(f"{card.name}: {what}", scalar(amount), "", how, c.tp, *shares)


def layers_of_stages(plan: Plan, c: Columns, gpu_layers: Any, experts_on_cpu: Any) -> tuple[int, ...]:
    """Layers on each stage of one scenario's unlike devices, in their order; none where all are alike."""
    if not c.cards:
        return ()
    ends = [0.0, *(float(end) for ends in _Layout(plan, c).ends(gpu_layers, experts_on_cpu) for end in ends[1:])]
    return tuple(int(after - before) for before, after in itertools.pairwise(ends))


class _Layout:
    """How layers fall to unlike stages. Plain numbers, or arrays along the candidates.

    The engine fills devices from the last layer on. Layers without experts are taken as the first ones, as models have them, and
    where experts stay in host memory they are those of the first layers that have any.
    """

    def __init__(self, plan: Plan, c: Columns) -> None:
        self.c = c
        self.layers = value(c.layers)
        self.moe = sum(b.count for b in plan.blocks if b.block.mlp.kind == "moe")
        self.experts = sum((value(b.expert_bytes) for b in plan.blocks), 0.0)
        self.dense = value(plan.layer_bytes) - self.experts

    def bare(self, gpu_layers: Any, on_cpu: Any) -> Any:
        """Layers at the devices' start without experts there."""
        return np.clip(self.layers - self.moe + on_cpu - (self.layers - gpu_layers), 0.0, gpu_layers)

    def bearing(self, gpu_layers: Any, on_cpu: Any) -> Any:
        """Layers on devices with their experts."""
        return gpu_layers - self.bare(gpu_layers, on_cpu)

    def ends(self, gpu_layers: Any, on_cpu: Any) -> list[list[Any]]:
        """For each kind the layers on devices up to each of its stages, from the first one's start on. Where the shares are the
        estimate's own and experts stay away, each stage has its share of the bytes; else of the layers."""
        by_share = (np.asarray(on_cpu) > 0) & (np.asarray(self.c.shares_given) == 0)
        found = []
        for card in self.c.cards:
            shares = [card.low + n * card.each for n in range(card.stages + 1)]
            by_count = [layers_up_to(share=share, layers=gpu_layers, head=self.c.split_head) for share in map(value, shares)]
            if np.any(by_share):
                by_bytes = [self._of_bytes(value(share), gpu_layers, on_cpu) for share in shares]
                by_count = [np.where(by_share, b, a) for a, b in zip(by_count, by_bytes, strict=True)]
            found.append(by_count)
        return found

    def _of_bytes(self, share: Any, gpu_layers: Any, on_cpu: Any) -> Any:
        """Layers that hold this share of the bytes on devices."""
        light, heavy = self.dense / self.layers, self.experts / max(self.moe, 1)
        bare = self.bare(gpu_layers, on_cpu)
        wanted = share * (gpu_layers * light + (gpu_layers - bare) * heavy)
        with np.errstate(all="ignore"):
            found = np.where(wanted <= bare * light, wanted / light, bare + (wanted - bare * light) / (light + heavy))
        return np.minimum(np.round(found), gpu_layers)

    def held(self, gpu_layers: Any, on_cpu: Any) -> list[tuple[Any, Any, Any, Any]]:
        """For each kind: layers on its fullest stage and on all, and of those with experts likewise."""
        bare = self.bare(gpu_layers, on_cpu)
        found = []
        for ends in self.ends(gpu_layers, on_cpu):
            bearing = [np.maximum(end - bare, 0.0) for end in ends]
            counts, experts = ([after - before for before, after in itertools.pairwise(each)] for each in (ends, bearing))
            found.append((_most(counts), ends[-1] - ends[0], _most(experts), bearing[-1] - bearing[0]))
        return found

    def fits(self, rooms: list[Any], kv: Any, gpu_layers: Any, on_cpu: Any) -> Any:
        """Whether the fullest stage of every kind has room for its layers and their cache."""
        each, expert = (self.dense + kv) / self.layers, self.experts / max(self.moe, 1)
        held = self.held(gpu_layers, on_cpu)
        return np.all(np.broadcast_arrays(*(n * each + e * expert <= room for (n, _, e, _), room in zip(held, rooms, strict=True))), axis=0)


def _most(counts: list[Any]) -> Any:
    return np.max(np.broadcast_arrays(*counts), axis=0) if len(counts) > 1 else counts[0]


def offload(plan: Plan, c: Columns, kv: Any, overheads: list[Any], table: Any) -> tuple[Any, Any]:
    """Layers on unlike devices and layers with experts on the CPU, as `core.memory` has it for alike ones: as given, else as many
    as fit the fullest of each kind, experts first. Plain numbers; `overheads` are bytes beside the weights on each kind."""
    layout = _Layout(plan, c)
    layers, moe = layout.layers, layout.moe
    rooms = []
    for card, overhead in zip(c.cards, overheads, strict=True):
        outside = value(when(card.last, plan.head_bytes)) + value(when(card.first, table))
        free = value(card.device_memory) - overhead - value(c.fit_margin) * np.asarray(c.offloads)
        rooms.append(np.maximum(free / (1 + value(c.fragmentation)) - outside, 0.0))
    given_layers, given_experts = value(c.gpu_layers), value(c.experts_on_cpu)
    possible = (np.asarray(c.offloads) > 0) & (c.host is not None) & np.isnan(given_layers)
    move = possible & (np.asarray(c.experts_offload) > 0) & (moe > 0) & np.isnan(given_experts)
    whole = layout.fits(rooms, kv, layers, 0.0)
    without = layout.fits(rooms, kv, layers, float(moe))
    on_cpu = np.where(move & ~whole & without, np.nan, np.where(np.isnan(given_experts), 0.0, np.minimum(given_experts, moe)))
    for count in range(1, int(moe) + 1):
        if not np.any(np.isnan(on_cpu)):
            break
        on_cpu = np.where(np.isnan(on_cpu) & layout.fits(rooms, kv, layers, float(count)), float(count), on_cpu)
    gpu_layers = np.where(possible & ~layout.fits(rooms, kv, layers, on_cpu), np.nan, layers)
    for count in range(int(np.max(layers)) - 1, -1, -1):
        if not np.any(np.isnan(gpu_layers)):
            break
        fits = layout.fits(rooms, kv, float(count), np.minimum(on_cpu, moe)) | (count == 0)
        gpu_layers = np.where(np.isnan(gpu_layers) & fits, float(count), gpu_layers)
    gpu_layers = np.where(np.isnan(given_layers), gpu_layers, np.minimum(given_layers, layers))
    return scalar(gpu_layers), scalar(on_cpu)


def scalar(x: Any) -> Any:
    """A number as a float; an array as it is."""
    return x if np.ndim(x) else float(x)
