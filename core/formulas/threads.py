"""What a processor reaches when an engine runs fewer threads than it has cores."""

from __future__ import annotations

import numpy as np

from core.quantity import formula
from core.units import ByteRate, Count, FlopRate


@formula("definition")
def thread_bandwidth(*, whole: ByteRate, threads: Count, one: ByteRate) -> ByteRate:
    """Memory bandwidth of some threads: as much as each can draw alone, up to what the memory gives."""
    return np.minimum(whole, threads * one)


@formula("definition")
def thread_peak(*, whole: FlopRate, threads: Count, cores: Count) -> FlopRate:
    """Arithmetic of some threads: the share of the cores that they keep busy. More threads than cores add nothing."""
    return whole * np.minimum(1.0, threads / cores)
