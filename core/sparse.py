"""Sparse attention: an indexer scores every cached token, and attention reads those that it chose.

Engines without a kernel for it mask the others and read all: their `sparse` is 0, and the chosen tokens are as many as there are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from core.formulas.kv_cache import kv_bytes, tokens_read
from core.formulas.ops import (
    attended_pairs,
    attention_flop,
    cheaper_attention,
    chosen_elements,
    decode_pairs,
    indexer_flop,
    step_pairs,
)
from core.picked import like, pick
from core.quantity import total

if TYPE_CHECKING:
    from core.machine import Columns
    from core.phases import Times
    from core.plan import BlockShare


def _weight(c: Columns) -> Any:
    """Kernels for sparse attention score in FP8, at twice the rate of 16 bits; other engines in 16 bits."""
    return pick(c.sparse, like(0.5, c.heads, "FP8 beside 16 bits", "deepseek-v3-2"), like(1.0, c.heads, "16 bits"))


def prompt_flop(times: Times, b: BlockShare, masked: Any) -> Any:
    """FLOP of a prompt's attention where an indexer chooses; `masked` are those of attention to every token."""
    c, w = times.c, times.work

    def pairs(window: Any) -> Any:
        every = attended_pairs(start=w.start, tokens=w.prompt, window=window)
        return step_pairs(pairs=every, prompts=w.prompts, chunks=w.chunks, layers=b.layers, ranks=c.cp)

    chosen = attention_flop(pairs=pairs(b.attended), heads=b.heads, key_width=b.decode_key_width, value_width=b.decode_value_width,
                            named="attention to the chosen tokens")  # fmt: skip
    scored = indexer_flop(pairs=pairs(b.window), heads=b.index_heads, width=b.index, weight=_weight(c), named="scores of the indexer")
    return total(
        [cheaper_attention(masked=masked, chosen=chosen, named="attention of the prompt"), scored], "attention and indexer", "FLOP"
    )


def decode_work(times: Times, b: BlockShare) -> tuple[Any, Any, Any]:
    """Tokens that attention reads of each sequence, bytes read of the cache with the indexer's keys, and FLOP with its scores."""
    c, w = times.c, times.work
    seen = tokens_read(context=w.context, window=b.attended)
    of_chosen = chosen_elements(read=b.kv_read, index=b.index, named="elements of a chosen token")
    read = total(
        [
            kv_bytes(tokens=seen, sequences=w.batch, elements=of_chosen, element_size=c.kv_size, layers=b.layers, split=c.cp,
                     named="cache of the chosen tokens"),
            kv_bytes(tokens=w.context, sequences=w.batch, elements=b.index, element_size=c.kv_size, layers=b.layers, split=c.cp,
                     named="keys of the indexer"),
        ],
        "KV cache read",
    )  # fmt: skip
    flop = total(
        [
            attention_flop(pairs=decode_pairs(seen=seen, batch=w.batch, layers=b.layers, ranks=c.cp), heads=b.heads,
                           key_width=b.decode_key_width, value_width=b.decode_value_width),
            indexer_flop(pairs=decode_pairs(seen=w.context, batch=w.batch, layers=b.layers, ranks=c.cp), heads=b.index_heads,
                         width=b.index, weight=_weight(c), named="scores of the indexer"),
        ],
        "attention and indexer",
    )  # fmt: skip
    return seen, read, flop
