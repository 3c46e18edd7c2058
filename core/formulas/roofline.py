"""Time of work on one device: what compute would take, what memory would take, and the larger of the two."""

from __future__ import annotations

import numpy as np

from core.quantity import formula
from core.units import ByteRate, Bytes, Count, Flop, FlopRate, Intensity, Seconds, Tokens


@formula("definition")
def kernel_peak(*, tokens: Tokens, limit: Tokens, few: FlopRate, many: FlopRate) -> FlopRate:
    """Peak of the kernel that runs: engines switch kernels when a step has more than `limit` tokens."""
    return np.where(tokens <= limit, few, many)


@formula("williams2009", eq="sec. 3")
def compute_time(*, flop: Flop, peak: FlopRate, efficiency: Count, tokens: Tokens, half: Tokens) -> Seconds:
    """Time at the achieved share of the peak; matrices of `half` tokens reach half of it (measured GEMM curve)."""
    return flop / (peak * efficiency * tokens / (tokens + half))


@formula("williams2009", eq="sec. 3")
def arithmetic_time(*, flop: Flop, peak: FlopRate, efficiency: Count) -> Seconds:
    """Time of arithmetic at the achieved share of the peak, whatever the number of tokens."""
    return flop / (peak * efficiency)


@formula("williams2009", eq="sec. 3")
def memory_time(*, bytes_moved: Bytes, bandwidth: ByteRate, efficiency: Count) -> Seconds:
    """Time to move bytes at the achieved share of the memory bandwidth."""
    return bytes_moved / (bandwidth * efficiency)


@formula("definition")
def kv_time(*, bytes_moved: Bytes, bandwidth: ByteRate, efficiency: Count, context: Tokens, half: Tokens) -> Seconds:
    """Time to read cached keys and values; each sequence costs a further `half` tokens' worth (measured decode attention)."""
    return bytes_moved * (1 + half / np.maximum(context, 1)) / (bandwidth * efficiency)


@formula("dao2023", eq="sec. 4")
def attention_time(*, flop: Flop, peak: FlopRate, efficiency: Count, length: Tokens, half: Tokens) -> Seconds:
    """Time of prefill attention at its achieved share of the peak; short prompts reach less."""
    return flop * (1 + half / np.maximum(length, 1)) / (peak * efficiency)


@formula("williams2009", eq="eq. 1")
def bound_time(*, compute: Seconds, memory: Seconds) -> Seconds:
    """The slower of compute and memory, which overlap."""
    return np.maximum(compute, memory)


@formula("definition")
def portion(*, time: Seconds, share: Count) -> Seconds:
    """The part of a time that falls to this memory; none where nothing lies there, known or not."""
    return np.where(share > 0, time * share, 0.0)


@formula("definition")
def offloaded_time(*, tokens: Tokens, limit: Tokens, streamed: Seconds, on_host: Seconds) -> Seconds:
    """Weights in host memory: computed on the CPU for few tokens, copied to the device from `limit` tokens on."""
    return np.where(tokens >= limit, streamed, on_host)


@formula("definition")
def streamed_time(*, bytes_moved: Bytes, link: ByteRate, compute: Seconds) -> Seconds:
    """Copying weights over the host link, then computing on the device."""
    return bytes_moved / link + compute


@formula("definition")
def fixed_time(*, each: Seconds, times: Count) -> Seconds:
    """A cost that does not depend on bytes or FLOP: kernel launches, scheduling, sampling."""
    return each * times


@formula("definition")
def ridge_point(*, peak: FlopRate, bandwidth: ByteRate) -> Intensity:
    """Arithmetic intensity at which a device passes from memory bound to compute bound."""
    return peak / bandwidth


@formula("chowdhery2022", eq="app. B")
def flop_utilisation(*, flop: Flop, time: Seconds, peak: FlopRate) -> Count:
    """MFU: achieved FLOP/s over the peak."""
    return flop / time / peak


@formula("definition")
def bandwidth_utilisation(*, bytes_moved: Bytes, time: Seconds, bandwidth: ByteRate) -> Count:
    """MBU: achieved bytes/s over the peak bandwidth."""
    return bytes_moved / time / bandwidth
