"""One step of the whole machine: of devices that are alike at once, of unlike ones kind by kind.

Each kind of card works through its layers in turn, so a token's time is the sum over the kinds. What passes through a pipeline in
chunks goes at the pace of the slowest stage.
"""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import Any

import numpy as np

from core.answer import Op, Step
from core.formulas.roofline import portion
from core.formulas.unlike import pace_wait, slice_flop, slice_share, stages_in_step
from core.machine import Columns
from core.memory import Fit
from core.phases import Times, Work
from core.picked import solved
from core.plan import Plan
from core.quantity import Quantity, total, value
from core.slices import Slice, when

PACE = "waiting for the slowest stage"


def step_time(plan: Plan, c: Columns, fit: Fit, work: Work, name: str) -> Step:
    """One step's operations and their total time, s. Formula inputs stay cited where `c` is."""
    return _over_cards(plan, c, fit, work, name) if c.cards else Times(plan, c, fit, work).step(name)


def _over_cards(plan: Plan, c: Columns, fit: Fit, work: Work, name: str) -> Step:
    """The step over unlike devices, with how many stages its slowest one makes it worth."""
    ops: list[Op] = []
    costs, slowest = [], []
    for card, held in zip(c.cards, fit.cards, strict=True):
        on = held.on
        own = Columns(**{**vars(c), "gpu": card.gpu, "pcie": card.pcie})
        times = Times(plan, own, fit, work)
        times.layers()
        mine = [_part(op, on) for op in times.ops]
        dense, mixtures = (None if cost is None else portion(time=cost, share=on.among, named=f"{_label(cost)} on {on.name}")
                           for cost in times.of_layers(card.gpu.layer_overhead, card.gpu.moe_layer_overhead))  # fmt: skip
        costs.append((dense, mixtures))
        end = Times(plan, own, fit, work)
        end.head()
        figures = ("flop", "bytes", "compute", "memory", "time")
        there = end.ops if np.any(np.asarray(card.last) > 0) else []
        head = [replace(op, on=on.name, **{name: when(card.last, getattr(op, name)) for name in figures}) for op in there]
        ops += mine + head
        slowest.append(_stage_time(mine, head, dense, mixtures, on))
    rest = Times(plan, c, fit, work)
    rest.images()
    rest.fixed(costs)
    rest.between_stages()
    rest.to_host()
    ops += rest.ops
    whole = total([op.time for op in ops], name)
    # What is no device's own (the step's fixed cost, hand-overs) goes with each stage alike.
    shared = sum(value(op.time) for op in rest.ops) - sum(value(cost) for pair in costs for cost in pair if cost is not None)
    pace = functools.reduce(np.maximum, slowest) + shared / value(c.pp)
    pace_q = solved("time of the slowest stage", pace if np.ndim(pace) else float(pace), "s", "the most that one card takes", whole,
                    *(op.time for op in ops if isinstance(op.time, Quantity)))  # fmt: skip
    if np.any(np.asarray(value(work.flights)) > 1):
        wait = pace_wait(step=whole, slowest=pace_q, flights=work.flights, named=PACE)
        ops.append(rest.op(PACE, None, 0.0, 0.0, 0.0, 0.0, 0.0, wait, "slowest_device"))
        whole = total([op.time for op in ops], name)
    return Step(name, tuple(ops), whole, stages_in_step(step=whole, slowest=pace_q, named="stages at the slowest one's pace"))


def _label(cost: Any) -> str:
    return cost.name if isinstance(cost, Quantity) else "layers"


def _part(op: Op, on: Slice) -> Op:
    """The part of an operation that falls to the devices of a kind."""
    part = on.among_experts if op.name == "experts" else on.among
    return replace(
        op, on=on.name, layers=op.layers * value(part) if not np.ndim(value(part)) else op.layers,
        flop=slice_flop(flop=op.flop, part=part), bytes=slice_share(amount=op.bytes, part=part), sent=_sent(op.sent, part),
        compute=portion(time=op.compute, share=part), memory=portion(time=op.memory, share=part),
        time=portion(time=op.time, share=part, named=f"{op.name} on {on.name}"),
    )  # fmt: skip


def _sent(sent: Any, part: Any) -> Any:
    """Bytes sent, as far as there are any."""
    return slice_share(amount=sent, part=part) if isinstance(sent, Quantity) or np.any(np.asarray(sent) > 0) else sent


def _stage_time(mine: list[Op], head: list[Op], dense: Any, mixtures: Any, on: Slice) -> Any:
    """Seconds of the fullest stage of a kind, plain."""
    own = sum(value(op.time) for op in mine) + value(dense) + (0.0 if mixtures is None else value(mixtures))
    return own * value(on.pace) + sum(value(op.time) for op in head)
