"""The vision tower in front of a language model: its tensors from `vision_config`, and how many tokens an image becomes.

Pure. Checked against published totals (tests/test_ir_tower.py). A kind that is not known is laid out as a plain ViT where its fields
allow it, and says so; else it is left out, and says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from core.image_rules import ImageRule
from core.ir import Shard, Tensor

NAMES: Mapping[str, tuple[str, ...]] = {
    "layers": ("num_hidden_layers", "depth", "vt_num_hidden_layers"),
    "heads": ("num_attention_heads", "num_heads", "vt_num_attention_heads"),
    "inner": ("intermediate_size", "vt_intermediate_size"),
    "width": ("hidden_size", "vt_hidden_size"),
    "patch": ("patch_size",),
}
LARGEST = 100_000  # of any size: beyond it a config is a mistake


@dataclass(frozen=True, slots=True)
class Tower:
    """A vision tower with its projector. `windowed` of its layers see `window` patches of an image, the others all of a tile."""

    kind: str
    layers: int
    width: int
    heads: int
    inner: int
    patch: int  # pixels
    merge: int  # patches along each side that become one token
    rule: ImageRule
    tensors: tuple[Tensor, ...]
    window: int = 0
    windowed: int = 0
    assumed: Mapping[str, str] | None = None  # what the config does not say
    stored_bytes: int | None = None  # as the header of the published file has them

    @property
    def parameters(self) -> int:
        return sum(tensor.elements for tensor in self.tensors)

    def elements(self, *roles: str) -> int:
        """Elements of the matrices that every patch ("layers") or every token ("projector") passes through."""
        return sum(t.elements for t in self.tensors if t.block in roles and len(t.shape) > 1 and t.role != "position")

    @property
    def bytes(self) -> int:
        """Bytes as loaded: as stored, else 16 bits an element, for quantisers leave towers alone."""
        return 2 * self.parameters if self.stored_bytes is None else self.stored_bytes


class LeftOut(Exception):
    """A tower that cannot be laid out, and why."""


@dataclass(frozen=True, slots=True)
class Kind:
    """How the towers of a kind are built. `projector` and `rule` finish them."""

    projector: Callable[[_Writer], None]
    rule: Callable[[_Writer], ImageRule]
    norm: Literal["layer", "rms"] = "layer"
    norms: int = 2  # in a layer
    gated: bool = False
    attention_bias: bool = True
    out_bias: bool = True
    mlp_bias: bool = True
    qk_norm: bool = False
    scales: bool = False  # a factor for each half of a layer
    patch_bias: bool = True
    positions: Literal["none", "table", "grid", "axes"] = "none"
    class_token: bool = False
    before: bool = False  # a norm before the layers
    after: bool = False  # and behind them


def read_tower(config: Mapping[str, Any], hidden: int) -> Tower | None:
    """The vision tower of a config, None where it has none. `hidden` is the language model's width. Raises LeftOut."""
    vision = config.get("vision_config")
    if not isinstance(vision, Mapping) or not vision:
        return None
    return _Writer(config, vision, hidden).tower()


class _Writer:
    """Reads a `vision_config` and writes the tower's tensors."""

    def __init__(self, config: Mapping[str, Any], vision: Mapping[str, Any], hidden: int) -> None:
        self.config, self.vision, self.hidden = config, vision, hidden
        self.assumed: dict[str, str] = {}
        self.made: list[Tensor] = []
        own, whole = str(vision.get("model_type") or ""), str(config.get("model_type") or "")
        name = next((KINDS_BY_NAME[text] for text in (whole, own) if text in KINDS_BY_NAME), None)
        if name is None:
            name = "vit"
            self.assumed["model_type"] = f"a plain ViT with one projection: the kind '{own or whole or 'unnamed'}' is not known"
        elif name == "pixtral" and "spatial_merge_size" not in config:
            name = "pixtral-plain"
        self.name, self.kind = name, KINDS[name]
        if name in UNCHECKED:
            self.assumed["layout"] = f"{UNCHECKED[name]}, not held against a published total"
        if name == "qwen2_vl":  # its hidden_size is the language model's
            self.width = self.size("embed_dim")
            self.inner = self.width * self.size("mlp_ratio", 4)
        else:
            self.width, self.inner = self.sized("width"), self.sized("inner")
        if name == "glm4v":
            self.inner = self.size("out_hidden_size")
        self.layers, self.heads, self.patch = self.sized("layers"), self.sized("heads"), self.sized("patch")
        if self.heads > self.width:
            raise LeftOut(f"{self.heads} heads are too many for a width of {self.width}")

    # ---- fields

    def sized(self, meaning: str) -> int:
        for name in NAMES[meaning]:
            if self.vision.get(name) is not None:
                return self.size(name)
        raise LeftOut(f"vision_config does not say its {meaning} ({' or '.join(NAMES[meaning])})")

    def size(self, name: str, default: int | None = None, *, beside: bool = False) -> int:
        """A whole number of the vision_config, or of what stands beside it; `default` is noted where it is taken."""
        value = self.vision.get(name, self.config.get(name) if beside else None)
        if isinstance(value, list | tuple) and value and all(one == value[0] for one in value):
            value = value[0]
        if value is None and default is not None:
            self.assumed[name] = f"{default}: the config does not say"
            value = default
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= LARGEST:
            raise LeftOut(f"vision_config has {name} = {value!r}, which is no size")
        return value

    def listed(self, name: str) -> list[Any]:
        value = self.vision.get(name)
        return list(value) if isinstance(value, list | tuple) else []

    def merge(self) -> int:
        if self.vision.get("merge_kernel_size") is not None:
            return self.size("merge_kernel_size")
        if self.name == "internvl":
            ratio = self.config.get("downsample_ratio")
            return round(1 / ratio) if isinstance(ratio, int | float) and 0 < ratio <= 1 else 2
        if self.name == "llama4":
            ratio = self.vision.get("pixel_shuffle_ratio")
            return round(1 / ratio) if isinstance(ratio, int | float) and 0 < ratio <= 1 else 2
        if self.name == "gemma4":
            return self.size("pooling_kernel_size")
        if self.name == "minimax_m3":
            nested = self.vision.get("img_token_compression_config")
            return int(nested.get("spatial_merge_size", 2)) if isinstance(nested, Mapping) else 2
        if self.vision.get("spatial_merge_size") is not None or self.config.get("spatial_merge_size") is not None:
            return self.size("spatial_merge_size", beside=True)
        return 1

    # ---- tensors

    def put(self, name: str, shape: tuple[int, ...], role: str, shard: Shard, block: str, layer: int | None = None) -> None:
        self.made.append(Tensor(f"vision_tower.{name}", shape, "vision", role, shard, layer, block))

    def linear(
        self, name: str, out: int, into: int, bias: bool, shard: Shard = "columns", block: str = "projector", layer: int | None = None
    ) -> None:
        self.put(f"{name}.weight", (out, into), name.rpartition(".")[2], shard, block, layer)
        if bias:
            self.put(f"{name}.bias", (out,), name.rpartition(".")[2] + "_bias", shard, block, layer)

    def normed(self, name: str, size: int, block: str = "projector", layer: int | None = None, kind: str | None = None) -> None:
        self.put(f"{name}.weight", (size,), "norm", "replicated", block, layer)
        if (kind or self.kind.norm) == "layer":
            self.put(f"{name}.bias", (size,), "norm_bias", "replicated", block, layer)

    def two(self, name: str, into: int, middle: int, out: int, bias: bool = True) -> None:
        self.linear(f"{name}.linear_1", middle, into, bias)
        self.linear(f"{name}.linear_2", out, middle, bias)

    def tower(self) -> Tower:
        kind, width = self.kind, self.width
        frames = self.size("temporal_patch_size", 1) if "temporal_patch_size" in self.vision else 1
        if self.name == "minimax_m3":
            frames = 2
        self.linear("patch_embed", width, 3 * frames * self.patch**2, kind.patch_bias, "replicated", "layers")
        self.positions()
        if kind.class_token:
            self.put("class_embedding", (width,), "class", "replicated", "layers")
        if kind.before:
            self.normed("pre_norm", width, "layers")
        head = self.vision.get("head_dim")
        attention = self.heads * head if isinstance(head, int) and not isinstance(head, bool) else width
        if self.vision.get("qkv_hidden_size"):
            attention = self.size("qkv_hidden_size")
        for n in range(self.layers):
            self.layer(n, attention)
        if kind.after:
            self.normed("post_norm", width, "layers")
        self.merged = width * self.merge() ** 2
        kind.projector(self)
        rule = kind.rule(self)
        merge = self.merge()
        if rule.kind == "fixed":  # what is pooled to a fixed number of tokens
            merge = max(1, round(rule.side / self.patch / rule.each**0.5))
        full = self.listed("fullatt_block_indexes")
        side = self.vision.get("window_size")
        windowed = self.layers - len(full) if full and isinstance(side, int) else 0
        window = (side // self.patch) ** 2 if windowed and isinstance(side, int) else 0
        return Tower(
            self.name, self.layers, width, self.heads, self.inner, self.patch, merge, rule, tuple(self.made),
            window, windowed, self.assumed,
        )  # fmt: skip

    def positions(self) -> None:
        if self.kind.positions == "table":
            rows = self.vision.get("num_position_embeddings")
            if rows is None:
                rows = (self.size("image_size") // self.patch) ** 2 + self.kind.class_token
            else:
                rows = self.size("num_position_embeddings")
            self.put("position_embedding", (rows, self.width), "position", "replicated", "layers")
        elif self.kind.positions == "grid":
            sides = self.size("init_pos_emb_height", 64), self.size("init_pos_emb_width", 64)
            self.put("position_embedding", (*sides, self.width), "position", "replicated", "layers")
        elif self.kind.positions == "axes":
            self.put("position_embedding", (2, self.size("position_embedding_size"), self.width), "position", "replicated", "layers")

    def layer(self, n: int, attention: int) -> None:
        kind, width, at = self.kind, self.width, f"layers.{n}"

        def linear(name: str, out: int, into: int, bias: bool, shard: Shard) -> None:
            self.linear(f"{at}.{name}", out, into, bias, shard, "layers", n)

        for norm in range(kind.norms):
            self.normed(f"{at}.norm{norm + 1}", width, "layers", n)
        said = self.vision.get("attention_bias", self.vision.get("qkv_bias")) if self.name == "internvl" else None
        linear("attn_qkv", 3 * attention, width, said if isinstance(said, bool) else kind.attention_bias, "heads")
        linear("attn_out", width, attention, kind.out_bias, "heads")
        if kind.qk_norm:
            for name in ("attn_q_norm", "attn_k_norm"):
                self.normed(f"{at}.{name}", attention // self.heads, "layers", n, "rms")
        if kind.gated:
            linear("mlp_gate", self.inner, width, kind.mlp_bias, "columns")
        linear("mlp_up", self.inner, width, kind.mlp_bias, "columns")
        linear("mlp_down", width, self.inner, kind.mlp_bias, "columns")
        if kind.scales:
            for name in ("scale_1", "scale_2"):
                self.put(f"{at}.{name}", (width,), "scale", "replicated", "layers", n)


# ---- projectors


def _qwen(w: _Writer) -> None:
    """Neighbouring patches side by side, through two layers; and as many again for what goes to deeper layers of the language model."""
    out = w.size("out_hidden_size", w.hidden) if w.name != "qwen2_vl" else w.hidden
    w.normed("merger.norm", w.width)
    w.two("merger", w.merged, w.merged, out)
    for n, _ in enumerate(w.listed("deepstack_visual_indexes")):
        w.normed(f"deepstack.{n}.norm", w.merged)
        w.two(f"deepstack.{n}", w.merged, w.merged, out)


def _kimi(w: _Writer) -> None:
    w.normed("projector.norm", w.width)
    w.two("projector", w.merged, w.merged, w.hidden)


def _gemma3(w: _Writer) -> None:
    w.linear("projector", w.hidden, w.width, False)
    w.normed("projector.norm", w.width, kind="rms")


def _gemma4(w: _Writer) -> None:
    if w.vision.get("standardize"):
        for name in ("std_bias", "std_scale"):
            w.put(name, (w.width,), "scale", "replicated", "layers")
    w.linear("projector", w.hidden, w.width, False)


def _llama4(w: _Writer) -> None:
    middle, out = w.size("projector_input_dim"), w.size("projector_output_dim")
    w.two("adapter", w.merged, middle, out, bias=False)
    w.linear("projector", w.hidden, w.size("vision_output_dim", out), False)


def _mistral3(w: _Writer) -> None:
    w.normed("projector.norm", w.width)
    w.linear("projector.merging", w.width, w.merged, False)
    w.two("projector", w.width, w.hidden, w.hidden, bool(w.config.get("multimodal_projector_bias", False)))


def _llava(w: _Writer) -> None:
    w.two("projector", w.width, w.hidden, w.hidden)


def _internvl(w: _Writer) -> None:
    w.normed("projector.norm", w.merged)
    w.two("projector", w.merged, w.hidden, w.hidden)


def _glm4v(w: _Writer) -> None:
    out, middle = w.size("out_hidden_size"), w.size("intermediate_size")
    w.normed("post_conv_norm", w.width)
    w.linear("downsample", out, w.merged, True)
    w.linear("merger.proj", out, out, False)
    w.normed("merger.norm", out, kind="layer")
    for name in ("gate", "up"):
        w.linear(f"merger.{name}", middle, out, False)
    w.linear("merger.down", out, middle, False)


def _minimax(w: _Writer) -> None:
    middle = w.size("projector_hidden_size", w.size("projection_dim", w.hidden), beside=True)
    w.two("projector", w.width, middle, w.hidden)
    w.two("merger", w.merge() ** 2 * w.hidden, middle, w.hidden)


def _plain(w: _Writer) -> None:
    w.linear("projector", w.hidden, w.merged, True)


# ---- tokens

_MOST = 16_384  # tokens of an image, by the published preprocessors of Qwen's models


def _rounded(w: _Writer) -> ImageRule:
    least, most = {"qwen3_vl": (64, _MOST), "glm4v": (8, 7_500), "minimax_m3": (4, 576)}.get(w.name, (4, _MOST))
    return ImageRule("round", w.patch * w.merge(), most=most, least=least)


def _padded(w: _Writer) -> ImageRule:
    return ImageRule("pad", w.patch * w.merge(), most=16_384 // w.merge() ** 2, longest=512 * w.patch, patch=w.patch)


def _longest(w: _Writer) -> ImageRule:
    return ImageRule("pad", w.patch * w.merge(), longest=w.size("image_size", 1540), row_ends=True)


def _fitted(w: _Writer) -> ImageRule:
    return ImageRule("fit", w.patch * w.merge(), most=w.size("default_output_length", 280))


def _fixed(w: _Writer) -> ImageRule:
    side = w.size("image_size")
    given = w.config.get("mm_tokens_per_image")
    each = given if isinstance(given, int) and not isinstance(given, bool) else (side // (w.patch * w.merge())) ** 2
    if w.name == "siglip" and given is None and w.config.get("model_type") == "gemma3":
        each = 256
        w.assumed["mm_tokens_per_image"] = "256: the config does not say"
    return ImageRule("fixed", side, each=each)


def _canvas(w: _Writer) -> ImageRule:
    side = w.size("image_size")
    return ImageRule("canvas", side, most=16, each=(side // (w.patch * w.merge())) ** 2, overview=True)


def _ratio(w: _Writer) -> ImageRule:
    side = w.size("image_size")
    most = w.config.get("max_dynamic_patch")
    return ImageRule("ratio", side, most=most if isinstance(most, int) else 12, each=(side // (w.patch * w.merge())) ** 2, overview=True)


KINDS: Mapping[str, Kind] = {
    "qwen2_vl": Kind(_qwen, _rounded, patch_bias=False),
    "qwen2_5_vl": Kind(_qwen, _rounded, norm="rms", gated=True, patch_bias=False),
    "qwen3_vl": Kind(_qwen, _rounded, positions="table"),
    "kimi_k25": Kind(_kimi, _padded, positions="grid", after=True),
    "kimi_k3": Kind(_kimi, _padded, norm="rms", attention_bias=False, out_bias=False, mlp_bias=False, patch_bias=False,
                    positions="grid", after=True),
    "siglip": Kind(_gemma3, _fixed, positions="table", after=True),
    "gemma4": Kind(_gemma4, _fitted, norm="rms", norms=4, gated=True, attention_bias=False, out_bias=False, mlp_bias=False,
                   qk_norm=True, patch_bias=False, positions="axes"),
    "llama4": Kind(_llama4, _canvas, patch_bias=False, positions="table", class_token=True, before=True, after=True),
    "pixtral": Kind(_mistral3, _longest, norm="rms", gated=True, attention_bias=False, out_bias=False, mlp_bias=False,
                    patch_bias=False, before=True),
    "pixtral-plain": Kind(_llava, _longest, norm="rms", gated=True, attention_bias=False, out_bias=False, mlp_bias=False,
                          patch_bias=False, before=True),
    "clip": Kind(_llava, _fixed, patch_bias=False, positions="table", class_token=True, before=True, after=True),
    "internvl": Kind(_internvl, _ratio, positions="table", class_token=True, scales=True),
    "glm4v": Kind(_glm4v, _rounded, norm="rms", gated=True, attention_bias=False, out_bias=False, mlp_bias=False,
                  positions="table", after=True),
    "minimax_m3": Kind(_minimax, _rounded, patch_bias=False, before=True),
    "vit": Kind(_plain, _rounded),
}  # fmt: skip
# Kinds of which no total was at hand.
UNCHECKED: Mapping[str, str] = {"kimi_k3": "a layout by Kimi-K3's config"}
_TYPES: Mapping[str, tuple[str, ...]] = {
    "qwen2_vl": ("qwen2_vl", "qwen2_vl_vision"),
    "qwen2_5_vl": ("qwen2_5_vl", "qwen2_5_vl_vision", "qwen2_5_vl_text"),
    "qwen3_vl": ("qwen3_vl", "qwen3_vl_moe", "qwen3_vl_vision", "qwen3_vl_moe_vision", "qwen3_5", "qwen3_5_moe", "qwen3_5_vision",
                 "qwen3_5_moe_vision", "qwen3_5_text", "qwen3_5_moe_text"),
    "kimi_k25": ("kimi_k25", "kimi_vl", "moonvit"),
    "kimi_k3": ("kimi_k3",),
    "siglip": ("siglip_vision_model", "gemma3"),
    "gemma4": ("gemma4_vision", "gemma4", "gemma4_text"),
    "llama4": ("llama4_vision_model", "llama4", "llama4_text"),
    "pixtral": ("pixtral", "mistral3"),
    "clip": ("clip_vision_model",),
    "internvl": ("internvl_vision", "intern_vit_6b", "internvl", "internvl_chat", "interns1", "interns1_vision"),
    "glm4v": ("glm4v", "glm4v_vision", "glm4v_moe", "glm4v_moe_vision", "glm46v"),
    "minimax_m3": ("minimax_m3_vl", "minimax_m3_vl_vision"),
}  # fmt: skip
KINDS_BY_NAME: Mapping[str, str] = {text: kind for kind, texts in _TYPES.items() for text in texts}
