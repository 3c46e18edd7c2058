"""How many layers each pipeline stage gets, by the rule of the engine that deals them out."""

from __future__ import annotations

from collections.abc import Sequence


def like_servers(layers: int, stages: int) -> tuple[int, ...]:
    """vLLM's rule (`get_pp_indices`), which SGLang shares: even, what is left over goes to the stages before the last."""
    found = [layers // stages] * stages
    for place in range(2, layers % stages + 2):
        found[-place] += 1
    return tuple(found)


def like_llama_cpp(layers: int, stages: int) -> tuple[int, ...]:
    """llama.cpp's rule for equal cards (`load_tensors`): the output head counts as one more layer, on the last."""
    found = [0] * stages
    for layer in range(layers):
        found[stages * layer // (layers + 1)] += 1
    return tuple(found)


def by_weight(weights: Sequence[float], stages: int) -> tuple[int, ...]:
    """So that each stage holds about as much: for layers that differ, `weights` being their bytes on the device."""
    split, held, target = [0], 0.0, sum(weights) / stages
    for weight in weights:
        if held + weight / 2 > target * len(split) and len(split) < stages:
            split.append(0)
        split[-1] += 1
        held += weight
    return (*split, *[0] * (stages - len(split)))
