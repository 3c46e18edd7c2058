"""Memory that is neither weights nor cache: compute buffers, logits, contexts, reservations."""

from __future__ import annotations

import numpy as np

from core.quantity import formula
from core.units import Bytes, Count, Tokens


@formula("llama-cpp-buffers")
def compute_buffer(
    *, tokens: Tokens, vocab: Count, hidden: Count, heads: Count, context: Tokens, flash: Count, element_size: Bytes
) -> Bytes:
    """llama.cpp's compute buffer for a micro-batch: logits and hidden states, or without flash attention the score matrix."""
    return (
        tokens
        * element_size
        * np.where(flash > 0, vocab + hidden, np.maximum(vocab + hidden, heads * context + 5 * hidden))
    )


@formula("vllm-memory-profile")
def activation_peak(
    *, tokens: Tokens, hidden: Count, inner: Count, tp: Count, sequences: Count, vocab: Count, element_size: Bytes, logit_size: Bytes
) -> Bytes:
    """A server's profiled peak: one step's widest activations, and float logits of every sequence."""
    return tokens * (3 * hidden + 2 * inner / tp) * element_size + sequences * vocab * logit_size


@formula("definition")
def fraction_of(*, whole: Bytes, fraction: Count) -> Bytes:
    """The part of a memory that an engine takes."""
    return whole * fraction


@formula("definition")
def bytes_left(*, limit: Bytes, used: Bytes) -> Bytes:
    """Memory left below a limit; negative where it is short."""
    return limit - used


@formula("definition")
def sequences_that_fit(*, pool: Bytes, bytes_each: Bytes) -> Count:
    """Whole sequences whose cache fits a pool."""
    return np.maximum(np.floor(pool / np.maximum(bytes_each, 1e-9)), 0)


@formula("definition")
def fullest_stage(
    *, layer_bytes: Bytes, layers: Count, stages: Count, head: Bytes, embedding: Bytes
) -> Bytes:
    """Weights on the fullest pipeline stage: whole layers (the head counts as one), the table on the first, the head on the last."""
    return np.where(
        stages > 1,
        np.maximum(
            np.minimum(np.ceil((layers + 1) / stages), layers) * layer_bytes / layers + embedding,
            (layers - (stages - 1) * np.minimum(np.ceil((layers + 1) / stages), layers / stages)) * layer_bytes / layers + head,
        ),
        layer_bytes + head + embedding,
    )


@formula("definition")
def fullest_share(*, amount: Bytes, layers: Count, stages: Count) -> Bytes:
    """What the fullest pipeline stage holds of something spread evenly over the layers."""
    return amount * np.ceil(layers / stages) / layers


@formula("definition")
def held_here(*, amount: Bytes, elsewhere: Count) -> Bytes:
    """What stays when a share of an amount is held elsewhere."""
    return amount * (1 - elsewhere)


@formula("definition")
def held_there(*, amount: Bytes, elsewhere: Count) -> Bytes:
    """The share of an amount that is held elsewhere."""
    return amount * elsewhere


@formula("definition")
def lost_to_fragments(*, amount: Bytes, share: Count) -> Bytes:
    """Memory lost between allocations."""
    return amount * share


@formula("definition")
def cache_pool(*, limit: Bytes, used: Bytes) -> Bytes:
    """What an engine has left for the cache; none when the rest is already too much."""
    return np.maximum(limit - used, 0)


@formula("definition")
def cache_pool_of_free(*, memory: Bytes, used: Bytes, fraction: Count) -> Bytes:
    """The cache of an engine that takes a fraction of what is free after the weights."""
    return np.maximum(memory - used, 0) * fraction


@formula("definition")
def slots_bytes(*, sequences: Count, bytes_each: Bytes) -> Bytes:
    """Cache of several sequences."""
    return sequences * bytes_each


@formula("definition")
def over_devices(*, each: Bytes, devices: Count) -> Bytes:
    """Memory over all devices, each taking the same."""
    return each * devices
