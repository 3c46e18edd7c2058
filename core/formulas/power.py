"""Power: what a limit on a device leaves of its clock, and what a device draws under it."""

from __future__ import annotations

import numpy as np

from core.quantity import formula
from core.units import ByteRate, Count, FlopRate, Watts


@formula("general-knowledge-physics")
def limited_clock(*, limit: Watts, rated: Watts, idle: Count) -> Count:
    """Share of the clock under full load that a power limit leaves: at the lowest voltage the power above rest goes with the clock."""
    return np.minimum(np.maximum(limit / rated - idle, 0.02) / (1 - idle), 1.0)


@formula("general-knowledge-physics")
def limited_peak(*, peak: FlopRate, clock: Count) -> FlopRate:
    """Peak at that share of the clock."""
    return peak * clock


@formula("general-knowledge-physics")
def limited_bandwidth(*, bandwidth: ByteRate, clock: Count, follows: Count) -> ByteRate:
    """What kernels can draw from a memory whose own clock stays: requests come from the slower cores."""
    return bandwidth * clock**follows


@formula("definition")
def limited_share(*, busy: Count, limit: Watts, rated: Watts) -> Count:
    """Share of the rated power that is drawn under load, no more than the limit."""
    return np.minimum(busy, limit / rated)
