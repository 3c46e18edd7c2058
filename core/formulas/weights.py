"""Bytes of stored weights."""

from __future__ import annotations

from core.quantity import formula
from core.units import Bits, Bytes, Count


@formula("definition")
def stored_bytes(*, elements: Count, bits: Bits) -> Bytes:
    """Numbers stored at so many bits each, their share of scales and zero points counted in; a byte has 8 bits."""
    return elements * bits / 8
