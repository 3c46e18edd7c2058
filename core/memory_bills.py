"""The memory of one scenario as bills: the fullest device, each kind of card where they are not alike, and the host."""

from __future__ import annotations

from typing import Any

from core.answer import Memory
from core.formulas.activations import bytes_left
from core.formulas.unlike import loading_time
from core.machine import Columns
from core.memory import Fit, Held
from core.quantity import total, value


def memories(found: Fit, c: Columns, name: str) -> tuple[Memory, Memory | None]:
    """The two bills for one scenario: the fullest device (of unlike ones the tightest), and the host where something lies there."""
    count = int(value(c.count))
    if found.cards:
        at = min(range(len(found.cards)), key=lambda n: float(value(found.cards[n].headroom)))
        device = _card(found.cards[at], c.cards[at])
    else:
        device = Memory(
            place="device",
            name=f"{name} (each of {count})" if count > 1 else name,
            parts=found.parts,
            limit=found.limit,
            needed=found.needed,
            taken=found.taken,
            peak=found.peak,
            headroom=found.headroom,
        )
    if not found.host_parts:
        return device, None
    host = Memory(
        place="host",
        name="host memory",
        parts=found.host_parts,
        limit=found.host_limit,
        needed=found.host_needed,
        taken=found.host_needed,
        peak=found.host_needed,
        headroom=bytes_left(limit=found.host_limit, used=found.host_needed, named="host headroom"),
    )
    return device, host


def card_memories(found: Fit, c: Columns) -> tuple[Memory, ...]:
    """Of devices that are not alike the fullest of each kind; none where all are alike."""
    return tuple(_card(held, card) for held, card in zip(found.cards, c.cards, strict=True))


def _card(held: Held, card: Columns) -> Memory:
    name = f"{card.name} (each of {card.devices})" if card.devices > 1 else card.name
    return Memory("device", name, held.parts, held.limit, held.needed, held.taken, held.peak, held.headroom)


def loading(found: Fit, c: Columns) -> Any:
    """Seconds to copy the weights to the devices, card after card, where a link to the host was named; else None."""
    if c.cable_in is None and c.cable_out is None:
        return None
    kinds = [(held.weights, card.pcie, card.devices, card.name) for held, card in zip(found.cards, c.cards, strict=True)]
    kinds = kinds or [(found.weights, c.pcie, int(value(c.count)), "each device")]
    times = [loading_time(weights=weights, rate=rate, named=f"copying weights to {name}") for weights, rate, count, name in kinds
             for _ in range(count)]  # fmt: skip
    return total(times, "copying the weights to the devices")
