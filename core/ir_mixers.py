"""The tensors of recurrent mixers and of compressed attention. Each takes the place of a layer's attention."""

from __future__ import annotations

from core.ir import Group
from core.ir_compressed import SPARSE, ratio
from core.ir_hybrid import Mixer, full_gate, mixer
from core.ir_rwkv import write_time_mix
from core.ir_write import Writer


def write_mixer(to: Writer) -> None:
    """Write the mixer of the family's kind at the writer's place."""
    shape = mixer(to.fields, to.shape.hidden, to.shape.heads)
    {
        "gated_delta": _gated_delta,
        "mamba": _mamba,
        "mamba2": _mamba2,
        "kda": _kimi_delta,
        "short_conv": _short_conv,
        "lightning": _lightning,
        "rwkv": write_time_mix,
        "rg_lru": _rg_lru,
    }[to.family.mixer](to, shape)


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


def _mamba(to: Writer, m: Mixer) -> None:
    """Mamba's first form: step size, input and output maps follow from the token through one narrow matrix."""
    hidden, switch = to.shape.hidden, to.fields.switch
    bias = switch("use_bias")
    to.add("ssm_in", (2 * m.inner, hidden), "attention", "heads", bias=bias)
    to.add("ssm_conv1d", (m.inner, 1, m.kernel), "attention", "heads", bias=switch("use_conv_bias=True"))
    to.add("ssm_x", (m.rank + 2 * m.key, m.inner), "attention", "heads")
    if "ssm_dt_norm" in to.names:
        to.norm("ssm_dt_norm", m.rank)
        to.norm("ssm_b_norm", m.key)
        to.norm("ssm_c_norm", m.key)
    to.add("ssm_dt", (m.inner, m.rank), "attention", "heads", bias=True)
    to.add("ssm_a", (m.inner, m.key), "attention", "heads", suffix="")
    to.add("ssm_d", (m.inner,), "attention", "heads", suffix="")
    to.add("ssm_out", (hidden, m.inner), "attention", "heads", bias=bias)


def _lightning(to: Writer, m: Mixer) -> None:
    """MiniMax's lightning attention: a state that decays at a fixed rate, with a gate on its output."""
    hidden = to.shape.hidden
    to.add("attn_qkv", (3 * m.inner, hidden), "attention", "heads")
    to.add("attn_gate", (m.inner, hidden), "attention", "heads")
    to.norm("ssm_norm", m.inner)
    to.add("ssm_out", (hidden, m.inner), "attention", "heads")


def _mamba2(to: Writer, m: Mixer) -> None:
    hidden, switch = to.shape.hidden, to.fields.switch
    bias, conv_bias = switch("use_bias"), switch("use_conv_bias=True")
    to.add("ssm_in", (m.inner + m.channels + m.heads, hidden), "attention", "heads", bias=bias)
    to.add("ssm_conv1d", (m.channels, 1, m.kernel), "attention", "heads", bias=conv_bias)
    for role in ("ssm_dt", "ssm_a", "ssm_d"):
        to.add(role, (m.heads,), "attention", "heads", suffix="")
    if switch(to.family.mixer_norm):
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
    if full_gate(to.fields):
        to.add("ssm_g", (m.inner, hidden), "attention", "heads")
    else:
        to.add("ssm_g_a", (m.value, hidden), "attention", "replicated")
        to.add("ssm_g_b", (m.inner, m.value), "attention", "heads")
    to.add("ssm_norm", (m.value,), "norm", "replicated")
    to.add("ssm_out", (hidden, m.inner), "attention", "heads")


def _rg_lru(to: Writer, m: Mixer) -> None:
    """Griffin's recurrent layer: two branches, one through a convolution and a gated recurrence of its channels."""
    hidden, wide = to.shape.hidden, m.inner // m.groups
    for role in ("lru_y", "lru_x"):
        to.add(role, (m.inner, hidden), "attention", "heads", bias=True)
    to.add("ssm_conv1d", (m.inner, 1, m.kernel), "attention", "heads", bias=True)
    to.add("lru_param", (m.inner,), "attention", "heads", suffix="")
    for gate in ("input", "recurrent"):
        to.add(f"lru_{gate}_gate", (m.groups, wide, wide), "attention", "heads", suffix="")
        to.add(f"lru_{gate}_gate_bias", (m.groups, wide), "attention", "heads", suffix="")
    to.add("ssm_out", (hidden, m.inner), "attention", "heads", bias=True)


def _short_conv(to: Writer, m: Mixer) -> None:
    """LFM2's gated convolution over a few tokens."""
    hidden, bias = to.shape.hidden, to.fields.switch("conv_bias")
    to.add("shortconv_in_proj", (3 * hidden, hidden), "attention", "heads", bias=bias)
    to.add("shortconv_conv", (hidden, 1, m.kernel), "attention", "heads", bias=bias)
    to.add("shortconv_out_proj", (hidden, hidden), "attention", "heads", bias=bias)


def write_compressed(to: Writer, layer: int) -> None:
    """DeepSeek-V4's attention of one layer."""
    fields, hidden, heads, width = to.fields, to.shape.hidden, to.shape.heads, to.shape.head_dim
    query, groups, low = fields.size("q_lora_rank"), fields.size("o_groups"), fields.size("o_lora_rank")
    if heads * width % groups:
        raise fields.wrong("o_groups", groups, f"a divisor of {heads} heads of {width}")
    to.add("attn_q_a", (query, hidden), "attention", "replicated")
    to.norm("attn_q_a_norm", query)
    to.add("attn_q_b", (heads * width, query), "attention", "heads")
    to.add("attn_kv", (width, hidden), "attention", "replicated")
    to.norm("attn_kv_a_norm", width)
    to.add("attn_sinks", (heads,), "attention", "heads", suffix="")
    to.add("attn_output_a", (groups * low, heads * width // groups), "attention", "heads")
    to.add("attn_output_b", (hidden, groups * low), "attention", "heads")
    if tokens := ratio(fields, layer):
        # Where the entries are chosen, neighbours overlap: keys and gates of both halves.
        sparse = tokens == SPARSE
        _compressor(to, "attn_compressor", width, tokens, 2 if sparse else 1)
        if sparse:
            own, small = fields.size("index_n_heads"), fields.size("index_head_dim")
            _compressor(to, "indexer_compressor", small, tokens, 2)
            to.add("indexer_attn_q_b", (own * small, query), "attention", "replicated")
            to.add("indexer_proj", (own, hidden), "attention", "replicated")


def _compressor(to: Writer, role: str, width: int, tokens: int, times: int) -> None:
    for part in ("kv", "gate"):
        to.add(f"{role}_{part}", (times * width, to.shape.hidden), "attention", "replicated")
    to.add(f"{role}_ape", (tokens, times * width), "attention", "replicated", suffix="")
    to.norm(f"{role}_norm", width)


def write_streams(to: Writer, part: str) -> None:
    """What mixes the parallel residual streams before and after a part of a layer, or at the end of the model."""
    many = to.fields.size("hc_mult")
    rows, scales = (many, 1) if part == "head" else ((2 + many) * many, 3)
    group: Group = "norm" if part == "head" else "mlp"
    to.add(f"hc_{part}_fn", (rows, many * to.shape.hidden), group, "replicated", suffix="")
    to.add(f"hc_{part}_base", (rows,), group, "replicated", suffix="")
    to.add(f"hc_{part}_scale", (scales,), group, "replicated", suffix="")
