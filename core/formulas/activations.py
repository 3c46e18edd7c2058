"""Memory that is neither weights nor cache: compute buffers, logits, contexts, reservations."""

from __future__ import annotations

import numpy as np

from core.quantity import formula
from core.units import Bytes, Count, Tokens


@formula("llama-cpp-buffers")
def compute_buffer(
    *,
    tokens: Tokens,
    vocab: Count,
    hidden: Count,
    heads: Count,
    context: Tokens,
    mask_context: Tokens,
    flash: Count,
    expanded: Count,
    absorbed: Count,
    scores: Bytes,
    mask: Bytes,
    element_size: Bytes,
    half: Bytes,
) -> Bytes:
    """llama.cpp's compute buffer for a micro-batch: the largest of its stages, beside the mask.

    Logits with hidden states; without flash attention the score matrix; where MLA expands a prompt's keys and values, those of
    the whole context with the mask in float and half, and the larger of a piece of the scores and the queries against the latent.
    """
    return (
        np.maximum(
            tokens * element_size * (vocab + hidden),
            np.maximum(
                np.where(flash > 0, 0.0, tokens * element_size * (heads * context + 5 * hidden)),
                np.where(
                    expanded > 0,
                    context * (expanded * half + tokens * (element_size + half))
                    + np.maximum(np.minimum(scores, tokens * element_size * heads * context), tokens * element_size * absorbed),
                    0.0,
                ),
            ),
        )
        + tokens * mask_context * mask
    )


@formula("torch-eager-memory")
def prompt_activations(
    *,
    tokens: Tokens,
    prompt: Tokens,
    hidden: Count,
    inner: Count,
    heads: Count,
    tp: Count,
    scores: Count,
    logits: Tokens,
    vocab: Count,
    element_size: Bytes,
    logit_size: Bytes,
) -> Bytes:
    """Peak of a prompt in one eager step: a layer's activations (and scores, if held) or the logits in half and in float."""
    return np.maximum(
        tokens * ((3 * inner / tp + 4 * hidden) * element_size + scores * heads / tp * prompt * (element_size + logit_size)),
        logits * vocab * (element_size + logit_size),
    )


@formula("definition")
def prompt_tokens(*, sequences: Count, prompt: Tokens, chunk: Tokens) -> Tokens:
    """Tokens of the prompts of all sequences that one step takes."""
    return sequences * np.minimum(prompt, chunk)


@formula("definition")
def longest_step(*, budget: Tokens, context: Tokens) -> Tokens:
    """Tokens of the largest step of an engine that takes a prompt whole, and in chunks where its context passes 32K (vLLM's V0)."""
    return np.where(context > 32768, budget, np.maximum(budget, context))


@formula("vllm-memory-profile")
def activation_peak(
    *, tokens: Tokens, hidden: Count, inner: Count, tp: Count, sequences: Count, vocab: Count, element_size: Bytes, logit_size: Bytes
) -> Bytes:
    """A server's profiled peak: one step's widest activations, and float logits of every sequence."""
    return tokens * (4 * hidden + 3 * inner / tp) * element_size + sequences * vocab * logit_size


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
def fullest_stage(*, layer_bytes: Bytes, layers: Count, stages: Count, head: Bytes, embedding: Bytes) -> Bytes:
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
def slots_tokens(*, sequences: Count, tokens_each: Tokens) -> Tokens:
    """Tokens of several sequences."""
    return sequences * tokens_each


@formula("definition")
def over_devices(*, each: Bytes, devices: Count) -> Bytes:
    """Memory over all devices, each taking the same."""
    return each * devices
