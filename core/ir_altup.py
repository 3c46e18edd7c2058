"""Gemma 3n's additions to a layer: several streams of which one is computed (AltUp), and a low-rank path beside attention (Laurel)."""

from __future__ import annotations

from core.ir_write import Writer


def write_altup(to: Writer, hidden: int) -> None:
    """Write what one layer has of both, at the writer's place."""
    streams, rank = to.fields.size("altup_num_inputs", 4), to.fields.size("laurel_rank", 64)
    to.add("altup_correct_scale", (hidden,), "norm", "replicated", suffix="")
    for role, rows in (("altup_correct_coef", streams), ("altup_predict_coef", streams * streams)):
        to.add(role, (rows, streams), "mlp", "replicated")
    to.add("altup_router", (streams, hidden), "mlp", "replicated")
    to.norm("altup_router_norm", hidden)
    to.add("laurel_l", (rank, hidden), "mlp", "replicated")
    to.add("laurel_r", (hidden, rank), "mlp", "replicated")
    to.norm("laurel_post_norm", hidden)


def write_streams(to: Writer, role: str, hidden: int) -> None:
    """Write the matrices that open the further streams before the first layer, or fold them behind the last."""
    name = to.names[role]
    for stream in range(to.fields.size("altup_num_inputs", 4) - 1):
        to.names[role] = f"{name}.{stream}"
        to.add(role, (hidden, hidden), "mlp", "replicated")
    to.names[role] = name
