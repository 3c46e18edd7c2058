"""Points of memory in what llama.cpp and vLLM say while they start: weights, cache, buffers, as they were allocated."""

from __future__ import annotations

import re
from typing import Any

from core.units import GIB, MIB

_LLAMA = (
    ("weights_buffer", re.compile(r"model buffer size =\s*([\d.]+) MiB")),
    ("kv_buffer", re.compile(r"KV buffer size =\s*([\d.]+) MiB")),
    ("compute_buffer", re.compile(r"compute buffer size =\s*([\d.]+) MiB")),
)
_VLLM = (
    ("weights_buffer", re.compile(r"(?:Model loading took|model weights take) ([\d.]+)\s?Gi?B")),
    ("kv_buffer", re.compile(r"Available KV cache memory: ([\d.]+) GiB")),
)
_TOKENS = re.compile(r"GPU KV cache size: ([\d,]+) tokens|CPU KV cache size: ([\d,]+) tokens")
_GRAPHS = re.compile(r"Graph capturing finished in [\d.]+ secs?, took ([\d.]+) GiB")


def llama_memory(said: str) -> dict[str, float]:
    """GiB by kind of memory, over all devices and the host, of the context that was created last."""
    # Newer builds first try what fits: only what follows the last loading counts.
    begins = said.rfind("load_tensors: loading model tensors")
    part = said[begins:] if begins >= 0 else said
    found = {kind: sum(float(a) for a in pattern.findall(part)) * MIB / GIB for kind, pattern in _LLAMA}
    return {kind: amount for kind, amount in found.items() if amount > 0}


def vllm_memory(said: str) -> tuple[dict[str, float], dict[str, float]]:
    """GiB of one rank by kind, and figures beside: tokens that the cache holds, GiB of captured graphs."""
    found = {kind: float(amounts[-1]) for kind, pattern in _VLLM if (amounts := pattern.findall(said))}
    extra = {}
    if tokens := _TOKENS.search(said):
        extra["kv_cache_tokens"] = float((tokens[1] or tokens[2]).replace(",", ""))
    if graphs := _GRAPHS.search(said):
        extra["cuda_graphs_gib"] = float(graphs[1])
    return found, extra


def memory_rows(found: dict[str, float], context: int | None, notes: str = "") -> list[dict[str, Any]]:
    """Points of memory as rows of core.records."""
    return [{"memory_kind": kind, "memory_gib": amount, "context_tokens": context, "notes": notes} for kind, amount in found.items()]
