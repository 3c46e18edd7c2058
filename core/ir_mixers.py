"""The tensors of recurrent mixers. Each takes the place of a layer's attention."""

from __future__ import annotations

from core.ir_hybrid import Mixer, mixer
from core.ir_write import Writer


def write_mixer(to: Writer) -> None:
    """Write the mixer of the family's kind at the writer's place."""
    shape = mixer(to.fields, to.shape.hidden, to.shape.heads)
    {"gated_delta": _gated_delta, "mamba2": _mamba2, "kda": _kimi_delta, "short_conv": _short_conv}[
        to.family.mixer](to, shape)


def _gated_delta(to: Writer, m: Mixer) -> None:
    """Gated delta net of Qwen3-Next and later. Qwen3-Next stores query, key, value and gate as one; later ones as two."""
    hidden = to.shape.hidden
    if to.fields.model_type == "qwen3_next":
        to.add("ssm_in", (m.channels + m.inner, hidden), "attention", "heads")
        to.add("ssm_ba", (2 * m.heads, hidden), "attention", "heads")
    else:
        to.add("linear_qkv", (m.channels, hidden), "attention", "heads")
        to.add("attn_gate", (m.inner, hidden), "attention", "heads")
        to.add("ssm_beta", (m.heads, hidden), "attention", "heads")
        to.add("ssm_alpha", (m.heads, hidden), "attention", "heads")
    to.add("ssm_conv1d", (m.channels, 1, m.kernel), "attention", "heads")
    to.add("ssm_dt", (m.heads,), "attention", "heads", suffix="")
    to.add("ssm_a", (m.heads,), "attention", "heads", suffix="")
    to.add("ssm_norm", (m.value,), "norm", "replicated")
    to.add("ssm_out", (hidden, m.inner), "attention", "heads")


def _mamba2(to: Writer, m: Mixer) -> None:
    hidden, switch = to.shape.hidden, to.fields.switch
    bias, conv_bias = switch("use_bias"), switch("use_conv_bias=True")
    to.add("ssm_in", (m.inner + m.channels + m.heads, hidden), "attention", "heads", bias=bias)
    to.add("ssm_conv1d", (m.channels, 1, m.kernel), "attention", "heads", bias=conv_bias)
    for role in ("ssm_dt", "ssm_a", "ssm_d"):
        to.add(role, (m.heads,), "attention", "heads", suffix="")
    to.add("ssm_norm", (m.inner,), "norm", "heads")
    to.add("ssm_out", (hidden, m.inner), "attention", "heads", bias=bias)


def _kimi_delta(to: Writer, m: Mixer) -> None:
    """Kimi Delta Attention: a forget gate for every channel, through a bottleneck one head wide."""
    hidden = to.shape.hidden
    for part in ("q", "k", "v"):
        to.add(f"linear_{part}", (m.inner, hidden), "attention", "heads")
    for part in ("q", "k", "v"):
        to.add(f"ssm_conv1d_{part}", (m.inner, 1, m.kernel), "attention", "heads")
    to.add("ssm_a", (1, 1, m.heads, 1), "attention", "heads", suffix="")
    to.add("ssm_f_a", (m.value, hidden), "attention", "replicated")
    to.add("ssm_f_b", (m.inner, m.value), "attention", "heads")
    to.add("ssm_dt", (m.inner,), "attention", "heads", suffix="")
    to.add("ssm_beta", (m.heads, hidden), "attention", "heads")
    to.add("ssm_g_a", (m.value, hidden), "attention", "replicated")
    to.add("ssm_g_b", (m.inner, m.value), "attention", "heads")
    to.add("ssm_norm", (m.value,), "norm", "replicated")
    to.add("ssm_out", (hidden, m.inner), "attention", "heads")


def _short_conv(to: Writer, m: Mixer) -> None:
    """LFM2's gated convolution over a few tokens."""
    hidden, bias = to.shape.hidden, to.fields.switch("conv_bias")
    to.add("shortconv_in_proj", (3 * hidden, hidden), "attention", "heads", bias=bias)
    to.add("shortconv_conv", (hidden, 1, m.kernel), "attention", "heads", bias=bias)
    to.add("shortconv_out_proj", (hidden, hidden), "attention", "heads", bias=bias)
