"""What the cache of keys and values holds and how much of it a token reads."""

from __future__ import annotations

import numpy as np

from core.quantity import formula
from core.units import Bytes, Count, Tokens


@formula("pope2022", eq="sec. 2.1")
def kv_elements(*, kv_heads: Count, key_width: Count, value_width: Count) -> Count:
    """Elements that one token adds to one layer's cache: a key and a value vector per KV head."""
    return kv_heads * (key_width + value_width)


@formula("deepseek-v2", eq="eq. 9-16")
def latent_elements(*, latent: Count, rope: Count, index: Count) -> Count:
    """Elements that one token adds to one MLA layer's cache: the compressed latent, the shared rotary key, an indexer's key if any."""
    return latent + rope + index


@formula("definition")
def mla_elements(*, latent: Count, values: Count, expanded: Count, with_values: Count, in_full: Count) -> Count:
    """Elements that a token adds to an MLA layer's cache: its latent, with a copy for the values, or all heads in full."""
    return in_full * expanded + (1 - in_full) * (latent + with_values * values)


@formula("definition")
def kv_heads_per_rank(*, kv_heads: Count, tp: Count) -> Count:
    """KV heads that one tensor-parallel rank holds; fewer heads than ranks are copied, so at least one."""
    return np.maximum(1.0, kv_heads / tp)


@formula("vllm2023", eq="sec. 4.1")
def tokens_held(*, context: Tokens, window: Tokens, extra: Tokens, block: Tokens) -> Tokens:
    """Tokens for which one layer keeps keys and values of one sequence, in whole blocks; `window` limits sliding layers."""
    return np.ceil(np.minimum(context, window + extra) / block) * block


@formula("definition")
def tokens_read(*, context: Tokens, window: Tokens) -> Tokens:
    """Cached tokens that one new token attends to in one layer."""
    return np.minimum(context, window)


@formula("definition")
def kv_bytes(*, tokens: Tokens, sequences: Count, elements: Count, element_size: Bytes, layers: Count, split: Count) -> Bytes:
    """Bytes of keys and values of `sequences` sequences in `layers` layers, divided over `split` devices."""
    return tokens * sequences * elements * element_size * layers / split
