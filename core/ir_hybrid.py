"""Layers that are not plain attention followed by a feed-forward part: recurrent mixers, and layers of one part only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from core.ir import Attention
from core.ir_deci import deci_parts
from core.ir_fields import Fields
from core.ir_zamba import places, stacked

Mixing = Literal["full", "sliding", "mla", "linear", "none"]
# What a layer holds beside its mixer: the family's own rule decides (""), or the layer says so.
Feeding = Literal["", "dense", "moe", "none"]

_LETTERS: Mapping[str, tuple[Mixing, Feeding]] = {
    "M": ("linear", "none"),
    "*": ("full", "none"),
    "-": ("none", "dense"),
    "E": ("none", "moe"),
}
_WORDS: Mapping[str, tuple[Mixing, Feeding]] = {
    "mamba": _LETTERS["M"],
    "linear_attention": _LETTERS["M"],
    "attention": _LETTERS["*"],
    "full_attention": _LETTERS["*"],
    "mlp": _LETTERS["-"],
    "moe": _LETTERS["E"],
}
_RECURRENT = frozenset({"linear_attention", "mamba", "conv"})
_MAMBA_STATE, _MAMBA_KERNEL = 16, 4  # of Mamba's own class, where the config does not say


@dataclass(frozen=True, slots=True)
class Mixer:
    """Geometry of a recurrent mixer: `heads` value heads, `groups` key heads, and the channels of its convolution."""

    heads: int
    groups: int
    key: int
    value: int
    channels: int
    kernel: int
    state: bool = True  # whether it keeps a matrix a head; a short convolution keeps only its tail
    rank: int = 0  # width of the bottleneck that Mamba's step sizes pass

    @property
    def inner(self) -> int:
        return self.heads * self.value

    def attention(self) -> Attention:
        held = self.heads * self.key * self.value if self.state else 0
        return Attention("linear", self.heads, 0, 0, 0, state_elements=held + self.channels * (self.kernel - 1))


def mixer(fields: Fields, hidden: int, heads: int) -> Mixer:
    """The recurrent mixer of a family that has one."""
    match fields.family.mixer:
        case "gated_delta":
            groups, values = fields.size("linear_num_key_heads"), fields.size("linear_num_value_heads")
            key, value = fields.size("linear_key_head_dim"), fields.size("linear_value_head_dim")
            return Mixer(values, groups, key, value, 2 * groups * key + values * value, fields.size("linear_conv_kernel_dim"))
        case "mamba":
            # Each channel is a head of its own, with a state of so many numbers.
            inner = _inner(fields, hidden)
            rank = fields.get("time_step_rank", "auto")
            state, kernel = fields.size("ssm_state_size", _MAMBA_STATE), fields.size("conv_kernel", _MAMBA_KERNEL)
            return Mixer(inner, 1, state, 1, inner, kernel, rank=-(-hidden // 16) if rank == "auto" else fields.size("time_step_rank"))
        case "lightning":
            width = fields.size("head_dim", hidden // heads)
            return Mixer(heads, heads, width, width, 0, 1)
        case "rwkv":
            return _rwkv(fields, hidden)
        case "rg_lru":
            # One number a channel is the whole state.
            width = fields.size("lru_width", hidden)
            if width % heads:
                raise fields.wrong("lru_width", width, f"a multiple of the {heads} heads")
            return Mixer(width, heads, 1, 1, width, fields.size("conv1d_width"))
        case "mamba2":
            many, wide = _mamba2_heads(fields, hidden)
            groups, state = fields.size("n_groups"), fields.size("ssm_state_size")
            return Mixer(many, groups, state, wide, many * wide + 2 * groups * state, fields.size("conv_kernel"))
        case "kda":
            own = _section(fields)
            many, wide = own["num_heads"], own["head_dim"]
            return Mixer(many, many, wide, wide, 3 * many * wide, own["short_conv_kernel_size"])
        case _:
            if hidden % heads:
                raise fields.wrong("hidden_size", hidden, f"a multiple of the {heads} attention heads")
            return Mixer(heads, heads, 0, hidden // heads, hidden, fields.size("conv_L_cache"), state=False)


def _inner(fields: Fields, hidden: int) -> int:
    """Channels of a Mamba mixer: those of a pure model stand as its width, else a multiple of the hidden size."""
    own = None if fields.family.attends else fields.get("intermediate_size")
    return fields.size("expand", 2) * hidden if own is None else fields.size("intermediate_size")


def _mamba2_heads(fields: Fields, hidden: int) -> tuple[int, int]:
    """How many heads a Mamba-2 mixer has, and how wide one is; pure models name them without "mamba"."""
    many = fields.size("mamba_num_heads", None if fields.family.attends else fields.size("num_heads"))
    said = fields.get("mamba_head_dim")
    if isinstance(said, int):
        return many, fields.size("mamba_head_dim")
    if not fields.family.attends:
        return many, fields.size("head_dim")
    inner = fields.size("mamba_d_ssm", fields.size("expand", 2) * hidden)
    if inner % many:
        raise fields.wrong("mamba_num_heads", many, f"a divisor of the mixer's width {inner}")
    return many, inner // many


def _rwkv(fields: Fields, hidden: int) -> Mixer:
    """RWKV's time mixing: from version 5 on a matrix a head, before it three vectors; and two tokens' hidden states."""
    inner = fields.size("attention_hidden_size", hidden)
    if fields.model_type == "rwkv":
        return Mixer(inner, inner, 3, 1, 2 * hidden, 2)
    width = fields.size("head_size", fields.size("head_dim", 64))
    if inner % width:
        raise fields.wrong("head_size", width, f"a divisor of the mixer's width {inner}")
    return Mixer(inner // width, inner // width, width, width, 2 * hidden, 2)


def _section(fields: Fields) -> dict[str, Any]:
    """Kimi's `linear_attn_config`, with its numbers checked."""
    raw = fields.get("linear_attn_config")
    if not isinstance(raw, Mapping):
        raise fields.wrong("linear_attn_config", raw, "a table of its linear layers")
    for name in ("num_heads", "head_dim", "short_conv_kernel_size"):
        amount = raw.get(name)
        if isinstance(amount, bool) or not isinstance(amount, int) or not 1 <= amount < 2**20:
            raise fields.wrong(f"linear_attn_config.{name}", amount, "a whole number of at least 1")
    return dict(raw)


def full_gate(fields: Fields) -> bool:
    """Whether the gate of Kimi's linear layers is one whole matrix, not two through a bottleneck."""
    return _section(fields).get("use_full_rank_gate") is True


def listed_layers(fields: Fields) -> int | None:
    """The number of layers where the list of layers states it: newer nemotron_h configs have no other field."""
    if fields.model_type != "nemotron_h":
        return None
    listed = _listed(fields)
    return len(listed) if listed else None


def _listed(fields: Fields) -> list[str]:
    """nemotron_h's layers, one letter each."""
    pattern = fields.get("hybrid_override_pattern")
    if pattern is None:
        words = fields.get("layers_block_type")
        if words is None:
            return []
        if not isinstance(words, list) or any(word not in _WORDS for word in words):
            raise fields.wrong("layers_block_type", words, f"a list of {', '.join(_WORDS)}")
        letters = {both: letter for letter, both in _LETTERS.items()}
        return [letters[_WORDS[word]] for word in words]
    if not isinstance(pattern, str) or not pattern or set(pattern) - set(_LETTERS):
        raise fields.wrong("hybrid_override_pattern", pattern, "text of the letters M, E, * and -")
    return list(pattern)


def _unlike(fields: Fields, layers: int) -> list[tuple[Mixing, Feeding]] | None:
    parts = deci_parts(fields, layers)
    if parts is None:
        return None
    return [("none" if part.heads_in_group is None else "full", "dense" if part.width else "none") for part in parts]


def layer_parts(fields: Fields, layers: int) -> list[tuple[Mixing, Feeding]] | None:
    """Each layer's mixer and, where the layer says so, its feed-forward part. None: no recurrent layer in this model."""
    if fields.family.mixer_beside:
        return None
    if not fields.family.attends:
        return [("linear", "dense" if fields.family.mixer == "rwkv" else "none")] * layers
    if fields.model_type == "zamba2":
        return [("full", "dense") if shared else ("linear", "none") for _, shared in stacked(fields, layers - len(places(fields)))]
    if fields.model_type == "deci":
        return _unlike(fields, layers)
    match fields.family.mixer:
        case "no":
            return None
        case "rg_lru":
            kinds = fields.get("block_types")
            known: Mapping[str, Mixing] = {"recurrent": "linear", "attention": "sliding"}
            if not isinstance(kinds, list) or not kinds or any(kind not in known for kind in kinds):
                raise fields.wrong("block_types", kinds, "a list of 'recurrent' and 'attention', which the layers repeat")
            return [(known[kinds[layer % len(kinds)]], "") for layer in range(layers)]
        case "mamba" if fields.get("layer_types") is None:
            every, first = fields.size("attn_layer_period"), fields.size("attn_layer_offset", least=0)
            return [("full" if layer % every == first else "linear", "") for layer in range(layers)]
        case "mamba2" if letters := _listed(fields):
            if len(letters) != layers:
                raise fields.wrong("num_hidden_layers", layers, f"the {len(letters)} layers of its pattern")
            return [_LETTERS[letter] for letter in letters]
        case "kda":
            chosen = _section(fields).get("kda_layers")
            if not isinstance(chosen, list) or any(not isinstance(n, int) for n in chosen):
                raise fields.wrong("linear_attn_config.kda_layers", chosen, "a list of layer numbers")
            return [("linear" if layer + 1 in chosen else "mla", "") for layer in range(layers)]
    listed = fields.flags("layer_types", layers)
    if listed is not None:
        if wrong := [kind for kind in listed if kind not in _RECURRENT and kind not in ("full_attention", "attention")]:
            raise fields.wrong("layer_types", wrong[0], "a recurrent layer or full attention")
        return [("linear" if kind in _RECURRENT else "full", "") for kind in listed]
    kinds = fields.flags("attn_type_list", layers) if fields.family.mixer == "lightning" else None
    if kinds is not None:
        return [("full" if kind else "linear", "") for kind in kinds]
    if fields.family.mixer == "short_conv":
        chosen = fields.indices("full_attn_idxs")
        return [("full" if layer in chosen else "linear", "") for layer in range(layers)]
    if fields.family.mixer == "gated_delta":
        every = fields.size("full_attention_interval", 4)
        return [("full" if (layer + 1) % every == 0 else "linear", "") for layer in range(layers)]
    raise fields.wrong("layer_types", None, "a list that says which layers are recurrent")
