"""Boards with several CPUs: what they reach together, when a part of each further socket counts."""

from __future__ import annotations

from core.quantity import formula
from core.units import ByteRate, Count, FlopRate


@formula("definition")
def socket_bandwidth(*, one: ByteRate, sockets: Count, share: Count) -> ByteRate:
    """Memory bandwidth over all sockets: one whole, and of each further one the share that the engine's use of NUMA leaves."""
    return one * (1 + (sockets - 1) * share)


@formula("definition")
def socket_peak(*, one: FlopRate, sockets: Count, share: Count) -> FlopRate:
    """Arithmetic over all sockets: one whole, and a share of each further one."""
    return one * (1 + (sockets - 1) * share)
