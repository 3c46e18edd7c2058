"""How the fitted correction acts: it multiplies the times of steps, and what remains of a first token's time after serving."""

from __future__ import annotations

import numpy as np

from core.quantity import formula
from core.units import Count, Seconds


@formula("definition")
def corrected_time(*, time: Seconds, learned_factor: Count) -> Seconds:
    """The computed time times how much longer measured runs took than it says."""
    return time * learned_factor


@formula("definition")
def with_own_runs(*, learned_factor: Count, own_factor: Count) -> Count:
    """What the runs of others say of the time, times how this machine differs from them by your own runs."""
    return learned_factor * own_factor


@formula("definition")
def corrected_mixed_time(*, mixed: Seconds, decode: Seconds, decode_factor: Count, prefill_factor: Count) -> Seconds:
    """A step of decoding and prompts: decoding's part by its own factor, what the prompts add by theirs."""
    return decode * decode_factor + np.maximum(mixed - decode, 0) * prefill_factor
