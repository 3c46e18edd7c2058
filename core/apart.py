"""Attention and the feed-forward part cut over different numbers of ranks: which such splits there are, and what they exchange.

Attention runs in data-parallel replicas of a few tensor ranks each. The ranks of several replicas together cut the feed-forward
part (and experts that are not spread whole): before it they gather the tokens of all these replicas, after it they add up and
scatter the sums.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from core.catalog.runtimes import Runtime, runtimes
from core.errors import ScenarioError
from core.formulas.collectives import activation_bytes, all_gather_time, gathered_tokens, sent
from core.formulas.roofline import fixed_time
from core.ir import Mlp, ModelIR
from core.machine import Columns
from core.quantity import total, value


def broken_apart(ir: ModelIR, tp: int, dp: int, ep: int, mlp_tp: int) -> list[str]:
    """The rules that cutting the feed-forward part over `mlp_tp` ranks breaks, as sentences; empty when it is legal."""
    if mlp_tp % tp or dp % (mlp_tp // tp):
        return [
            f"feed-forward tensor parallel {mlp_tp} must be attention's {tp} times a divisor of the {dp} data-parallel replicas "
            f"(set data parallel to {max(1, mlp_tp // tp)} or choose another degree)"
        ]
    broken = []
    for mlp in (block.mlp for block in ir.blocks):
        if mlp.kind == "dense" and mlp.intermediate % mlp_tp:
            broken.append(f"feed-forward tensor parallel {mlp_tp} must divide the feed-forward width {mlp.intermediate}")
        if mlp.kind == "moe" and ep == 1 and mlp.intermediate % mlp_tp:
            broken.append(f"feed-forward tensor parallel {mlp_tp} must divide an expert's width {mlp.intermediate}, or spread the experts")
    return list(dict.fromkeys(broken))


def check_apart(runtime: Runtime, tp: int, dp: int, mlp_tp: int) -> None:
    """Raises ScenarioError, naming what can be done instead, where a runtime does not cut the two so."""
    can = [entry.name for entry in runtimes().values() if entry.attention_apart != "no" and not entry.treated_as]
    if runtime.attention_apart == "no":
        own = f" ({runtime.apart_note})" if runtime.apart_note else ""
        raise ScenarioError(f"{runtime.name} does not cut attention and the feed-forward part apart{own}; {' and '.join(can)} do.")
    if mlp_tp != tp * dp:
        raise ScenarioError(
            f"{runtime.name} cuts the feed-forward part over all ranks of the replicas: set it to {tp * dp} (it is {mlp_tp}), "
            "or choose other degrees."
        )
    if runtime.attention_apart == "whole" and tp > 1:
        raise ScenarioError(
            f"{runtime.name} keeps attention whole on each rank where it replicates it: set tensor parallel to 1 (it is {tp}) "
            f"and data parallel to {mlp_tp}."
        )


def is_apart(c: Columns) -> Any:
    """Whether the two are cut apart, along the axis of candidates."""
    return ~np.isnan(np.asarray(value(c.mlp_tp), dtype=float)) & (np.asarray(value(c.mlp_tp)) != np.asarray(value(c.tp)))


def mlp_ranks(c: Columns) -> Any:
    """Ranks that cut the feed-forward part: attention's, but where it is cut apart."""
    apart = is_apart(c)
    if not np.any(apart):
        return c.tp
    return np.where(apart, value(c.mlp_tp), value(c.tp)) if np.ndim(apart) else c.mlp_tp


def mlp_tokens(c: Columns, tokens: Any) -> Any:
    """Tokens that a rank's piece of the feed-forward part sees in a step: those of all replicas that cut it together."""
    apart = is_apart(c)
    if not np.any(apart):
        return tokens
    gathered = gathered_tokens(tokens=tokens, feed_forward_ranks=mlp_ranks(c), attention_ranks=c.tp)
    return np.where(apart, gathered, tokens) if np.ndim(apart) else gathered


def expert_tokens(c: Columns, tokens: Any) -> Any:
    """Tokens of a step that a rank's experts see without expert parallelism; with it they are sent to them one by one."""
    spread = np.asarray(value(c.ep)) > 1
    if np.all(spread) or not np.any(is_apart(c)):
        return tokens
    found = mlp_tokens(c, tokens)
    return np.where(spread, tokens, found) if np.ndim(spread) or np.ndim(value(found)) else found


def shares_mlp(c: Columns, mlp: Mlp) -> Any:
    """Whether replicas exchange tokens before and after this feed-forward part: not for experts alone that are spread."""
    if mlp.kind == "none":
        return False
    alone = mlp.kind == "moe" and not mlp.shared_intermediate
    return is_apart(c) & ~(alone & (np.asarray(value(c.ep)) > 1))


def exchange(c: Columns, tokens: Any, bus: dict[str, Any], layers: Any) -> tuple[Any, Any]:
    """Time, s, and bytes that a rank sends to gather the tokens before the feed-forward part of so many layers and to scatter after."""
    ranks = mlp_ranks(c)
    message = activation_bytes(tokens=mlp_tokens(c, tokens), width=c.hidden, element_size=c.act_size)
    gather = all_gather_time(message=message, ranks=ranks, **bus, named="all-gather of the replicas' tokens")
    scatter = all_gather_time(message=message, ranks=ranks, **bus, named="reduce-scatter of their sums")
    both = total([gather, scatter], "all-gather and reduce-scatter")
    n = np.asarray(value(ranks), dtype=float)
    factor = 2 * (n - 1) / n
    time = fixed_time(each=both, times=layers, named="exchange between replicas")
    return time, sent(message=message, factor=factor if np.ndim(factor) else float(factor), times=layers)
