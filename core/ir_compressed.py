"""DeepSeek-V4's attention: one key-value head that is key and value at once, a short window, and a compressed cache.

A layer of ratio r keeps one entry for every r tokens beside its window; ratio 0 keeps the window alone.
"""

from __future__ import annotations

from core.ir import Attention
from core.ir_fields import Fields

SPARSE = 4  # layers of this ratio choose among their entries by an indexer of their own


def ratio(fields: Fields, layer: int) -> int:
    listed = fields.get("compress_ratios")
    if not isinstance(listed, list) or layer >= len(listed):
        raise fields.wrong("compress_ratios", listed, f"a list with an entry for layer {layer}")
    found = listed[layer]
    if isinstance(found, bool) or not isinstance(found, int) or not 0 <= found <= 2**16:
        raise fields.wrong("compress_ratios", found, "a whole number of tokens a layer compresses into one, or 0")
    return found


def compressed_attention(fields: Fields, heads: int, width: int, layer: int) -> Attention:
    """The elements a token adds are the entry's share. Half of them stand as key and half as value, for it is both."""
    fields.assumed["compress_ratios"] = "the window beside the compressed entries is not counted"
    if not (tokens := ratio(fields, layer)):
        half = width // 2
        return Attention("sliding", heads, 1, width - half, half, fields.size("sliding_window"))
    share = max(2, width // tokens)
    if tokens != SPARSE:
        return Attention("full", heads, 1, share - share // 2, share // 2)
    index, chosen = fields.size("index_head_dim") // tokens, fields.size("index_topk", 0, least=0) * tokens
    return Attention(
        "full", heads, 1, share - share // 2, share // 2, index_elements=index, index_heads=fields.size("index_n_heads"), attended=chosen
    )
