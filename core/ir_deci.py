"""DeciLM's layers, which architecture search made unlike each other: some without attention, each with its own width."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from core.ir_fields import Fields

if TYPE_CHECKING:
    from core.ir_write import Writer

_STEP = 256  # widths are rounded up to its multiples


@dataclass(frozen=True, slots=True)
class DeciPart:
    """One layer: query heads that share a key (None: no attention) and the width behind them (0: nothing)."""

    heads_in_group: int | None
    width: int
    mixed_by: str = ""  # "linear": one matrix stands in place of attention
    fed_by: str = ""  # and in place of the feed-forward part


def deci_parts(fields: Fields, layers: int) -> list[DeciPart] | None:
    """Each layer of `block_configs`; None where the config has none, and all layers are alike. Raises ScenarioError."""
    listed = fields.flags("block_configs", layers)
    if listed is None:
        return None
    hidden = fields.size("hidden_size")
    return [_part(fields, layer, block, hidden) for layer, block in enumerate(listed)]


def _part(fields: Fields, layer: int, block: object, hidden: int) -> DeciPart:
    halves = [block.get(name) for name in ("attention", "ffn")] if isinstance(block, Mapping) else []
    known = [half for half in halves if isinstance(half, Mapping)]
    if len(known) != 2:
        raise fields.wrong(f"block_configs[{layer}]", block, "a table with 'attention' and 'ffn'")
    attention, feeding = known
    grouped = attention.get("n_heads_in_group")
    linear = "linear" if attention.get("replace_with_linear") else ""
    if attention.get("no_op") or linear:
        grouped = None
    elif isinstance(grouped, bool) or not isinstance(grouped, int) or not 1 <= grouped <= 2**16:
        raise fields.wrong(f"block_configs[{layer}].attention.n_heads_in_group", grouped, "a whole number of at least 1")
    if feeding.get("no_op"):
        return DeciPart(grouped, 0, linear)
    if feeding.get("replace_with_linear"):
        return DeciPart(grouped, 0, linear, "linear")
    times = feeding.get("ffn_mult")
    if isinstance(times, bool) or not isinstance(times, int | float) or not 0 < times <= 1_000:
        raise fields.wrong(f"block_configs[{layer}].ffn.ffn_mult", times, "a number above 0")
    return DeciPart(grouped, -(-int(2 * times * hidden / 3) // _STEP) * _STEP, linear)


def write_linear(to: Writer, layer: int, half: str) -> None:
    """The matrix that stands in place of a layer's attention or feed-forward part, if one does."""
    part = (deci_parts(to.fields, to.shape.layers) or [])[layer : layer + 1]
    if part and (part[0].mixed_by if half == "attn" else part[0].fed_by):
        to.norm(f"{half}_norm", to.shape.hidden)
        to.add(f"{half}_linear", (to.shape.hidden, to.shape.hidden), "mlp", "columns")
