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
    return np.maximum(np.floor(pool / bytes_each), 0)


@formula("definition")
def layers_share(*, stages: Count, layers: Count) -> Count:
    """Share of the layers on the fullest pipeline stage: whole layers, rounded up."""
    return np.ceil(layers / stages) / layers


@formula("definition")
def scaled(*, amount: Bytes, share: Count) -> Bytes:
    """A share of an amount of memory."""
    return amount * share
