"""What devices send each other, and how long it takes.

A link reaches its bandwidth only with large messages: a message of `half` bytes takes twice its share (measured form).
"""

from __future__ import annotations

import numpy as np

from core.quantity import formula
from core.units import ByteRate, Bytes, Count, Seconds, Tokens


@formula("definition")
def activation_bytes(*, tokens: Tokens, width: Count, element_size: Bytes) -> Bytes:
    """Bytes of one activation of `width` for each token."""
    return tokens * width * element_size


@formula("thakur2005", eq="sec. 4.5")
def all_reduce_time(*, message: Bytes, ranks: Count, bus: ByteRate, latency: Seconds, half: Bytes, exponent: Count) -> Seconds:
    """Ring all-reduce: each rank sends 2(n-1)/n of the message at the bus bandwidth, plus a latency; nothing for one rank."""
    return np.where(ranks > 1, latency + 2 * (ranks - 1) / ranks * message / bus * (1 + (half / np.maximum(message, 1)) ** exponent), 0.0)


@formula("thakur2005", eq="sec. 4.1")
def all_gather_time(*, message: Bytes, ranks: Count, bus: ByteRate, latency: Seconds, half: Bytes, exponent: Count) -> Seconds:
    """Ring all-gather or reduce-scatter: (n-1)/n of the message, plus a latency."""
    return np.where(ranks > 1, latency + (ranks - 1) / ranks * message / bus * (1 + (half / np.maximum(message, 1)) ** exponent), 0.0)


@formula("definition")
def all_to_all_time(*, message: Bytes, ranks: Count, bus: ByteRate, latency: Seconds, half: Bytes, exponent: Count) -> Seconds:
    """Expert dispatch or combine: (n-1)/n of the routed tokens leave the rank, plus a latency."""
    return np.where(ranks > 1, latency + (ranks - 1) / ranks * message / bus * (1 + (half / np.maximum(message, 1)) ** exponent), 0.0)


@formula("sglang-dp-attention")
def gathered_tokens(*, tokens: Tokens, feed_forward_ranks: Count, attention_ranks: Count) -> Tokens:
    """Tokens of all replicas of attention whose ranks cut the feed-forward part together, each with as many."""
    return tokens * feed_forward_ranks / attention_ranks


@formula("definition")
def hop_time(*, message: Bytes, stages: Count, bus: ByteRate, latency: Seconds, half: Bytes, exponent: Count) -> Seconds:
    """Handing an activation from each pipeline stage to the next."""
    return (stages - 1) * (latency + message / bus * (1 + (half / np.maximum(message, 1)) ** exponent))


@formula("liu2023", eq="sec. 3")
def ring_time(*, message: Bytes, ranks: Count, bus: ByteRate, latency: Seconds, half: Bytes, exponent: Count) -> Seconds:
    """Context-parallel attention: every rank's keys and values travel once round the ring."""
    return (ranks - 1) * (latency + message / ranks / bus * (1 + (half / np.maximum(message, 1)) ** exponent))


@formula("definition")
def sent(*, message: Bytes, factor: Count, times: Count) -> Bytes:
    """Bytes that one rank sends: the collective's share of the message, times how often it runs."""
    return message * factor * times


@formula("huang2019", eq="sec. 2.3")
def pipeline_time(*, step: Seconds, chunks: Count, stages: Count) -> Seconds:
    """Chunks through pipeline stages: the last chunk leaves after chunks + stages - 1 stage times."""
    return step / stages * (chunks + stages - 1)
