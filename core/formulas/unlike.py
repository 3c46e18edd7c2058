"""Devices that are not alike: what each holds of the layers, and how long its part takes."""

from __future__ import annotations

import numpy as np

from core.quantity import formula
from core.units import ByteRate, Bytes, Count, Flop, Seconds, Watts


@formula("llama-cpp-multi-gpu", eq="`--tensor-split`, and llama.cpp's `load_tensors`")
def layers_up_to(*, share: Count, layers: Count, head: Count) -> Count:
    """Whole layers on the devices up to one, of `layers` dealt out by cumulative shares; the head counts as one more layer (`head` 1)."""
    return np.minimum(np.ceil(share * (layers + head) - 1e-9), layers)


@formula("definition")
def slice_weights(*, layer_bytes: Bytes, part: Count, experts: Bytes, part_experts: Count, head: Bytes, embedding: Bytes) -> Bytes:
    """Weights on one of several unlike devices: its part of the layers and of their experts, and head or table where they lie on it."""
    return layer_bytes * part + experts * part_experts + head + embedding


@formula("definition")
def slice_share(*, amount: Bytes, part: Count) -> Bytes:
    """What one of several unlike devices holds of something spread evenly over the layers."""
    return amount * part


@formula("definition")
def slice_flop(*, flop: Flop, part: Count) -> Flop:
    """Operations that fall to the devices of a kind."""
    return flop * part


@formula("definition")
def stages_in_step(*, step: Seconds, slowest: Seconds) -> Count:
    """How many steps pass one another in a pipeline of unlike stages: the whole over its slowest stage, which sets the pace."""
    return step / slowest


@formula("definition")
def pace_wait(*, step: Seconds, slowest: Seconds, flights: Count) -> Seconds:
    """What a step waits where several micro-batches take turns and the slowest stage holds up the rest."""
    return np.maximum(flights * slowest - step, 0.0)


@formula("definition")
def exchange_time(*, message: Bytes, rate: ByteRate, latency: Seconds) -> Seconds:
    """What a step sends over the link to the host, beyond what a slot's link hides."""
    return message / rate + latency


@formula("definition")
def loading_time(*, weights: Bytes, rate: ByteRate) -> Seconds:
    """Copying a device's weights over its link to the host."""
    return weights / rate


@formula("definition")
def mean_power(*, together: Watts, count: Count) -> Watts:
    """Rated power of the mean device."""
    return together / count
