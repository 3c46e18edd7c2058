"""The bytes of a published file, tensor by tensor of the IR: what a header lists, joined with what the layout has.

Joined by name where the names agree; what is left of a layer on both sides by share of elements, so that a layer's bytes
stay exact where a checkpoint fuses, splits or packs what the layout lists apart.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

from core.ir import ModelIR, Tensor

Container = Literal["safetensors", "gguf", "none"]


class StoredTensor(NamedTuple):
    """Tensors of one name in a header; of an expert's number is left only "*". `bytes` are those of all `copies`."""

    name: str
    dtype: str  # lower case: "bf16", "f8_e4m3", "i32", "q4_k"
    elements: int  # of all together, as stored (packed numbers count once)
    bytes: int
    copies: int = 1


@dataclass(frozen=True, slots=True)
class Joined:
    """`stored`: dtype and bytes of each IR tensor; empty where some have none, which `missing` names."""

    stored: tuple[tuple[str, int], ...]
    by_share: int  # bytes that were shared out within a layer
    missing: tuple[str, ...]
    apart: tuple[StoredTensor, ...]  # towers of other senses
    beside: tuple[StoredTensor, ...]  # what the layout does not have: rotary tables, scales of the cache


_EXPERT = re.compile(r"\.experts\.\d+\.")
_LAYER = re.compile(r"(?:^|\.)(?:layers|layer|h|blocks|blk)\.(\d+)\.")
# Towers and projectors of other senses.
_APART = re.compile(
    r"(?:^|\.)(?:visual|vision_\w+|vision|vit|image_newline|multi_modal_projector|mm_projector|mm|v|aligner|audio_\w+|"
    r"embed_vision|embed_audio|sam_model|projector|mlp1|patch_merger|pre_mm_projector_norm|talker|token2wav)(?:\.|$)"
)
_MTP = re.compile(r"(?:^|\.)(?:mtp|mtp_layers|nextn)\.")
_WRAPPER = re.compile(r"^(?:(?:model|language_model|text_model|transformer|backbone|llm|thinker)\.)+")
# What quantisers hang behind a tensor's name, and "weight" itself.
_SUFFIX = re.compile(
    r"(?:[._](?:weight|qweight|qzeros|scales|g_idx|weight_packed|weight_scale|weight_scale_2|weight_scale_inv|weight_shape|"
    r"weight_zero_point|biases|weight_global_scale|weight_g_idx|input_scale|input_global_scale|scale|blocks|absmax|quant_map|"
    r"nested_absmax|nested_quant_map|quant_state\.\w+|SCB|weight_format))+$"
)

# Where llama.cpp's name is not the role's, whatever the family.
_ROLES = {"exp_probs_b.bias": "exp_probs_b", "layer_output_scale": "layer_out_scale"}
# What else a role goes by in llama.cpp's files where a layer has no tensor of the role's own name.
_OTHER_NAMES: Mapping[str, tuple[str, ...]] = {
    "ffn_norm": ("post_attention_norm", "attn_norm_2", "attn_norm"), "ffn_norm.bias": ("attn_norm_2.bias",),
    "output_norm": ("token_embd_norm",), "linear_qkv": ("attn_qkv",), **{f"linear_{part}": (f"attn_{part}",) for part in "qkv"},
    "ssm_norm": ("attn_norm_2",), "ssm_out": ("attn_output",), "ssm_dt": ("ssm_dt.bias",),
    "indexer_q": ("indexer_q_proj",), "indexer_k": ("indexer_k_proj",), "ffn_hash": ("ffn_gate_tid2eid",),
    **{f"hc_head_{part}": (f"output_hc_{part}",) for part in ("fn", "base", "scale")},
    **{f"ffn_latent_{part}": (f"ffn_routed_{part}",) for part in ("down", "up", "norm")},
    "per_layer_inp_gate": ("inp_gate",), "per_layer_proj": ("proj",), "per_layer_post_norm": ("post_norm",),
    "ffn_gate_inp_scale": ("ffn_gate_inp.scale",), "ffn_exps_scale": ("ffn_down_exps.scale",),
    "ffn_up": ("channel_mix_key",), "ffn_down": ("channel_mix_value",), "time_mix_r": ("time_mix_receptance",),
    "time_mix_k": ("time_mix_key",), "time_mix_v": ("time_mix_value",), "time_mix_g": ("time_mix_gate",),
    **{f"time_mix_{part}2.bias": (f"time_mix_{part}0",) for part in "wav"},
}  # fmt: skip
# Numbers that llama.cpp's files hold among their keys.
_AMONG_KEYS = frozenset({"ffn_alpha_p", "ffn_alpha_n"})


def merged(tensors: Iterable[StoredTensor]) -> tuple[StoredTensor, ...]:
    """The tensors with the experts of one layer together."""
    found: dict[tuple[str, str], list[int]] = {}
    for tensor in tensors:
        total = found.setdefault((_EXPERT.sub(".experts.*.", tensor.name), tensor.dtype), [0, 0, 0])
        for i, amount in enumerate((tensor.elements, tensor.bytes, tensor.copies)):
            total[i] += amount
    return tuple(StoredTensor(name, dtype, *total) for (name, dtype), total in found.items())


def _key(name: str, container: Container) -> str:
    """A name without wrapper, layer, expert's number and suffix; biases stay apart from weights."""
    layer = _LAYER.search(name)
    rest = name[layer.end() :] if layer else _WRAPPER.sub("", name)
    if container == "gguf":
        rest = rest.removesuffix(".weight")
        return _ROLES.get(rest) or rest.replace("indexer.", "indexer_").replace("shortconv.", "shortconv_")
    rest = rest.replace("experts.*.", "experts.")
    if rest.endswith((".bias", "_bias")):
        return rest[:-5] + ".bias"
    return _SUFFIX.sub("", rest)


def _layer(name: str) -> int | None:
    found = _LAYER.search(name)
    return int(found[1]) if found else None


def join(ir: ModelIR, tensors: Iterable[StoredTensor], container: Container) -> Joined:
    """The header's tensors, joined with the layout's."""
    apart: list[StoredTensor] = []
    groups: dict[tuple[object, str], list[StoredTensor]] = defaultdict(list)
    # Layers beyond the last are prediction modules.
    for tensor in tensors:
        if container != "gguf" and _APART.search(tensor.name):
            apart.append(tensor)
            continue
        layer = _layer(tensor.name)
        place: object = layer
        if _MTP.search(tensor.name) or (layer is not None and layer >= ir.layers):
            place = "mtp"
        groups[place, _key(tensor.name, container)].append(tensor)
    taken: dict[int, tuple[str, int]] = {}
    wanted: dict[object, list[int]] = defaultdict(list)
    alike = Counter[tuple[int | None, str]]()
    if container == "gguf":
        alike.update((wants.layer, _role(wants)) for wants in ir.tensors if wants.group != "mtp")
    for i, wants in enumerate(ir.tensors):
        # A file may count its layers in another way than the layout does.
        place = "mtp" if wants.group == "mtp" else wants.layer if container == "gguf" else _layer(wants.name)
        key: tuple[object, str] = (place, _key(wants.name, container))
        if container == "gguf":
            if wants.role in _AMONG_KEYS:
                taken[i] = ("f32", 4 * wants.elements)
                continue
            key = _where(place, _role(wants), groups)
        if place != "mtp" and key in groups and alike[wants.layer, _role(wants)] < 2:  # one tensor there may be several stacked here
            taken[i] = _sum(groups.pop(key))
        else:
            wanted[key[0]].append(i)
    left: dict[object, list[StoredTensor]] = defaultdict(list)
    # What other layers hold under its own name is here a placeholder, as of RWKV's first layer.
    roles = {_role(tensor) for tensor in ir.tensors} if container == "gguf" else set[str]()
    named = {name for role in roles for name in (role, *_OTHER_NAMES.get(role, ()))}
    waiting = {(place, _role(ir.tensors[i])) for place, indices in wanted.items() for i in indices}
    beside: list[StoredTensor] = []
    for (place, name), group in groups.items():
        (beside if name in named and place != "mtp" and (place, name) not in waiting else left[place]).extend(group)
    by_share, missing = 0, []
    beside += [t for place, group in left.items() if place not in wanted for t in group]
    for place, indices in wanted.items():
        rest = left.get(place, [])
        if place != "mtp":
            indices, rest = _paired(ir, indices, rest, taken)
        if not indices:
            beside += rest
            continue
        if place != "mtp" and not _plausible(rest, [ir.tensors[i] for i in indices]):
            missing += [ir.tensors[i].name for i in indices]
            beside += rest
            continue
        dtype, amount = _sum(rest) if rest else ("f32", 0)
        for i, part in zip(indices, _shared(amount, [ir.tensors[i].elements for i in indices]), strict=True):
            taken[i] = (dtype, part)
        by_share += amount if place != "mtp" else 0
    stored = () if missing else tuple(taken[i] for i in range(len(ir.tensors)))
    return Joined(stored, by_share, tuple(missing), tuple(apart), tuple(beside))


def _where(place: object, role: str, groups: Mapping[tuple[object, str], object]) -> tuple[object, str]:
    """Where a GGUF file has a role: under its own or another name, in the layer or, as some of the first layer's, outside."""
    names = (role, *_OTHER_NAMES.get(role, ()))
    found = next(((where, name) for where in (place, None) for name in names if (where, name) in groups), None)
    return (place, role) if place == "mtp" or found is None else found


def _paired(
    ir: ModelIR, indices: list[int], rest: list[StoredTensor], taken: dict[int, tuple[str, int]]
) -> tuple[list[int], list[StoredTensor]]:
    """Takes tensors under other names whose elements are as many; gives what is left on both sides."""
    unmatched, rest = [], list(rest)
    for i in indices:
        # Of packed integers the header's count is not the weights'.
        same = next((n for n, t in enumerate(rest) if t.elements == ir.tensors[i].elements and t.dtype[0] not in "iu"), None)
        if same is None:
            unmatched.append(i)
        else:
            taken[i] = _sum([rest.pop(same)])
    return unmatched, rest


def _role(tensor: Tensor) -> str:
    """llama.cpp's name of a tensor, without its layer."""
    return tensor.role.removesuffix("_bias") + ".bias" if tensor.name.endswith(".bias") else tensor.role


def _sum(group: list[StoredTensor]) -> tuple[str, int]:
    """The type that takes most bytes, and all bytes together."""
    sizes = Counter[str]()
    for tensor in group:
        sizes[tensor.dtype] += tensor.bytes
    return sizes.most_common(1)[0][0], sizes.total()


def _plausible(rest: list[StoredTensor], wanted: list[Tensor]) -> bool:
    """Whether these bytes can be those tensors: between one and 40 bits an element, since packed numbers hide how many."""
    elements = sum(tensor.elements for tensor in wanted)
    return elements <= 8 * sum(tensor.bytes for tensor in rest) <= 40 * elements


def _shared(amount: int, weights: list[int]) -> list[int]:
    """Whole parts of `amount` in proportion, which sum to it."""
    total, parts, done, seen = sum(weights), [], 0, 0
    for weight in weights:
        seen += weight
        upto = amount * seen // total if total else 0
        parts.append(upto - done)
        done = upto
    return parts
