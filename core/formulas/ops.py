"""Counts of work: FLOP, attended pairs, experts touched."""

from __future__ import annotations

import numpy as np

from core.quantity import formula
from core.units import Bytes, Count, Flop, Intensity, Seconds, Tokens


@formula("kaplan2020", eq="table 1")
def linear_flop(*, tokens: Tokens, elements: Count) -> Flop:
    """One multiplication and one addition per weight and token."""
    return 2 * tokens * elements


@formula("definition")
def attended_pairs(*, start: Tokens, tokens: Tokens, window: Tokens) -> Count:
    """Query-key pairs of `tokens` new tokens after `start` cached ones under a causal mask and a window (very large: none)."""
    return (
        np.minimum(start + tokens, window) ** 2 / 2
        + np.maximum(start + tokens - window, 0) * window
        - np.minimum(start, window) ** 2 / 2
        - np.maximum(start - window, 0) * window
    )


@formula("definition")
def chunked_pairs(*, start: Tokens, tokens: Tokens, window: Tokens) -> Count:
    """Query-key pairs when each token attends only within its own chunk of `window` tokens (half a chunk on average)."""
    return tokens * np.minimum(start + tokens / 2, window / 2)


@formula("dao2023", eq="sec. 3.3")
def attention_flop(*, pairs: Count, heads: Count, key_width: Count, value_width: Count) -> Flop:
    """Scores and weighted values: two FLOP per pair, head and element of the key and of the value."""
    return 2 * pairs * heads * (key_width + value_width)


@formula("deepseek-v3-2", eq="eq. 1")
def indexer_flop(*, pairs: Count, heads: Count, width: Count, weight: Count) -> Flop:
    """Scores of an indexer: every query against every cached token, by each of its heads. In FP8 one weighs half one of 16 bits."""
    return 2 * pairs * heads * width * weight


@formula("definition")
def cheaper_attention(*, masked: Flop, chosen: Flop) -> Flop:
    """A prompt's attention: to all tokens with the others masked, or to the chosen ones in the latent's width; the cheaper."""
    return np.minimum(masked, chosen)


@formula("definition")
def chosen_elements(*, read: Count, index: Count) -> Count:
    """Elements of a cached token that only a chosen one is read with."""
    return read - index


@formula("definition")
def distinct_experts(*, experts: Count, chosen: Count, tokens: Tokens) -> Count:
    """Expected number of different experts that `tokens` tokens touch, each choosing `chosen` of `experts` evenly."""
    return experts * (1 - (1 - chosen / experts) ** tokens)


@formula("definition")
def touched_bytes(*, total_bytes: Bytes, distinct: Count, experts: Count) -> Bytes:
    """Bytes of the expert weights that are read: the share of experts touched."""
    return total_bytes * distinct / experts


@formula("definition")
def passed_elements(*, elements: Count, passes: Count) -> Count:
    """Weights that a step multiplies by, where several layers share what is held once."""
    return elements * passes


@formula("definition")
def passed_bytes(*, held: Bytes, passes: Count) -> Bytes:
    """Weights that a step reads, where several layers share what is held once."""
    return held * passes


@formula("definition")
def share(*, whole: Count, parts: Count) -> Count:
    """An even share of a whole."""
    return whole / parts


@formula("definition")
def flop_of_layer(*, flop: Flop, layers: Count) -> Flop:
    """Of one layer, where all of a kind were counted together."""
    return flop / layers


@formula("definition")
def bytes_of_layer(*, moved: Bytes, layers: Count) -> Bytes:
    """Of one layer, where all of a kind were counted together."""
    return moved / layers


@formula("definition")
def time_of_layer(*, time: Seconds, layers: Count) -> Seconds:
    """Of one layer, where all of a kind were counted together."""
    return time / layers


@formula("definition")
def bytes_share(*, whole: Bytes, parts: Count) -> Bytes:
    """An even share of bytes over devices."""
    return whole / parts


@formula("definition")
def kv_elements_share(*, whole: Count, kv_heads: Count, heads_per_rank: Count) -> Count:
    """Key and value projection elements on one rank: whole heads, copied when there are fewer heads than ranks."""
    return whole * heads_per_rank / kv_heads


@formula("definition")
def kv_weight_share(*, whole: Bytes, kv_heads: Count, heads_per_rank: Count) -> Bytes:
    """Key and value projection bytes on one rank: whole heads, copied when there are fewer heads than ranks."""
    return whole * heads_per_rank / kv_heads


@formula("williams2009")
def arithmetic_intensity(*, flop: Flop, bytes_moved: Bytes) -> Intensity:
    """FLOP done per byte moved; below the ridge point memory limits, above it compute."""
    return flop / bytes_moved


@formula("definition")
def step_tokens(*, prompt_part: Tokens, ranks: Count, batch: Count) -> Tokens:
    """Tokens that one rank pushes through the matrices in a step: its part of the prompts, and one for each decoding sequence."""
    return prompt_part / ranks + batch


@formula("definition")
def decode_pairs(*, seen: Tokens, batch: Count, layers: Count, ranks: Count) -> Count:
    """Query-key pairs of a decode step: every sequence's one query against what it sees, in every layer."""
    return seen * batch * layers / ranks


@formula("definition")
def step_pairs(*, pairs: Count, prompts: Count, chunks: Count, layers: Count, ranks: Count) -> Count:
    """Query-key pairs of one of the steps that prompts are cut into, in every layer."""
    return pairs * prompts / chunks * layers / ranks


@formula("definition")
def states_touched(*, batch: Count, prompts: Count, chunks: Count) -> Count:
    """Recurrent states that a step reads and writes: of decoding sequences and of prompts."""
    return batch + prompts / chunks


@formula("definition")
def sampled_tokens(*, batch: Count, prompts: Count, chunks: Count) -> Tokens:
    """Tokens whose logits are computed: decoding sequences, and the last token of prompts that end in this step."""
    return batch + prompts / chunks


@formula("definition")
def mean_context(*, depth: Tokens, prompt: Tokens, output: Tokens) -> Tokens:
    """Tokens in a sequence's cache while it decodes, on average: half of the output is written."""
    return depth + prompt + output / 2


@formula("definition")
def here(*, elsewhere: Count) -> Count:
    """The share that is not held elsewhere."""
    return 1 - elsewhere


@formula("yang2024", eq="sec. 3")
def state_flop(*, tokens: Tokens, state: Count, layers: Count) -> Flop:
    """A recurrent mixer reads, corrects and writes its state for each token: three multiply-adds per element."""
    return 6 * tokens * state * layers


@formula("definition")
def state_bytes(*, sequences: Count, state: Count, element_size: Bytes, layers: Count) -> Bytes:
    """Recurrent state of the sequences: constant, whatever the context."""
    return sequences * state * element_size * layers


@formula("definition")
def state_traffic(*, held: Bytes) -> Bytes:
    """A step reads and writes every state once."""
    return 2 * held


@formula("elementwise-count")
def elementwise_bytes(*, tokens: Tokens, hidden: Count, inner: Count, element_size: Bytes, layers: Count) -> Bytes:
    """Activations that norms, residuals, rotations and gates read and write between the matrix multiplications of a layer."""
    return tokens * (8 * hidden + 3 * inner) * element_size * layers


@formula("aiconfigurator-kernels", eq="MoE activation term")
def routed_bytes(*, tokens: Tokens, chosen: Count, hidden: Count, inner: Count, factor: Count, element_size: Bytes, layers: Count) -> Bytes:
    """Activations that move when tokens are sorted by expert, multiplied and put back: each for every expert chosen."""
    return tokens * chosen * (2 * hidden + 3 * inner) * factor * element_size * layers
