"""The tensors of RWKV: time mixing in attention's place, channel mixing in the feed-forward part's, of versions 4 to 7."""

from __future__ import annotations

from core.ir import Mlp
from core.ir_hybrid import Mixer
from core.ir_write import Writer


def write_time_mix(to: Writer, m: Mixer) -> None:
    """A layer's mixer: matrices of the receptance, key, value, gate and output, and what decides how fast a state fades."""
    kind, hidden = to.fields.model_type, to.shape.hidden
    matrices = "rkv" if kind in ("rwkv", "rwkv7") else "rkvg"
    if kind in ("rwkv", "rwkv5"):
        _vectors(to, tuple(f"time_mix_lerp_{part}" for part in ("kvr" if kind == "rwkv" else "kvrg")), hidden)
        for role in ("time_mix_decay", "time_mix_first"):
            to.add(role, (m.heads,) if kind == "rwkv" else (m.heads, m.value), "attention", "heads", suffix="")
    elif kind == "rwkv6":
        _finch(to, m)
    else:
        _goose(to, m)
    for part in matrices:
        to.add(f"time_mix_{part}", (m.inner, hidden), "attention", "heads")
    to.add("time_mix_output", (hidden, m.inner), "attention", "heads")
    if kind != "rwkv":
        to.norm("time_mix_ln", m.inner)


def _vectors(to: Writer, roles: tuple[str, ...], hidden: int) -> None:
    """How much of the token before is mixed in, a number a channel."""
    for role in roles:
        to.add(role, (1, 1, hidden), "attention", "replicated", suffix="")


def _finch(to: Writer, m: Mixer) -> None:
    """Version 6: mixing and decay follow from the token, through bottlenecks."""
    hidden, mix, decay = to.shape.hidden, to.fields.size("time_mix_extra_dim", 32), to.fields.size("time_decay_extra_dim", 64)
    _vectors(to, tuple(f"time_mix_lerp_{part}" for part in "xwkvrg"), hidden)
    for role, shape in (
        ("time_mix_w1", (hidden, 5 * mix)), ("time_mix_w2", (5, mix, hidden)), ("time_mix_decay", (1, 1, m.inner)),
        ("time_mix_decay_w1", (hidden, decay)), ("time_mix_decay_w2", (decay, m.inner)), ("time_mix_first", (m.heads, m.value)),
    ):  # fmt: skip
        to.add(role, shape, "attention", "replicated", suffix="")


def _goose(to: Writer, m: Mixer) -> None:
    """Version 7: decay, in-context rate, value residual and gate each pass a bottleneck."""
    hidden, layer = to.shape.hidden, to.place[1]
    _vectors(to, tuple(f"time_mix_lerp_{part}" for part in "rwkvag"), hidden)
    for role in ("time_mix_k_k", "time_mix_k_a"):
        to.add(role, (m.inner,), "attention", "heads", suffix="")
    to.add("time_mix_r_k", (m.heads, m.value), "attention", "heads", suffix="")
    for part, name in (("w", "decay"), ("a", "a"), ("v", "v"), ("g", "gate")):
        if part == "v" and layer == 0:
            continue  # the first layer's values are what the later ones mix in
        width = to.fields.size(f"{name}_low_rank_dim")
        to.add(f"time_mix_{part}1", (width, hidden), "attention", "replicated")
        to.add(f"time_mix_{part}2", (m.inner, width), "attention", "heads", bias=part != "g")


def write_channel_mix(to: Writer, m: Mlp) -> None:
    """A layer's feed-forward part; before version 7 a receptance gates what leaves it."""
    hidden, kind = to.shape.hidden, to.fields.model_type
    for part in ("k",) if kind == "rwkv7" else ("k", "r"):
        to.add(f"channel_mix_lerp_{part}", (hidden,) if kind == "rwkv7" else (1, 1, hidden), "mlp", "replicated", suffix="")
    to.add("ffn_up", (m.intermediate, hidden), "mlp", "columns")
    if kind != "rwkv7":
        to.add("channel_mix_receptance", (hidden, hidden), "mlp", "replicated")
    to.add("ffn_down", (hidden, m.intermediate), "mlp", "columns")
