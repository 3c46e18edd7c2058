"""A model's IR from its `config.json`: blocks of like layers and every tensor in order of execution.

Pure: works on raw Hugging Face configs and on catalog records alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from core.ir import Attention, Block, Mlp, ModelIR
from core.ir_altup import write_altup
from core.ir_altup import write_streams as write_altup_streams
from core.ir_deci import write_linear
from core.ir_fields import Fields
from core.ir_layers import Shape, attentions, block_index, indexes, mlps, prediction_layer
from core.ir_mixers import write_compressed, write_mixer, write_streams
from core.ir_rwkv import write_channel_mix
from core.ir_tower import LeftOut, Tower, read_tower
from core.ir_write import Writer
from core.ir_zamba import blocks, places, stacked, write_joint, write_shared


def build_ir(config: Mapping[str, Any], model_id: str, changes: Mapping[str, Any] | None = None) -> ModelIR:
    """The IR of a config, with `changes` to its fields; a type that is not known is taken for what it looks like.

    Raises ScenarioError, naming field or type, when the config is incomplete, wrong or unsupported.
    """
    return built(Fields(config, model_id, changes))


def built(fields: Fields) -> ModelIR:
    """The IR of fields, which know afterwards what was looked up in them. Raises ScenarioError."""
    shape = Shape.read(fields)
    attention_of, mlp_of = attentions(fields, shape), mlps(fields, shape)
    made, names = _blocks(attention_of, mlp_of)
    if fields.model_type == "zamba2":
        # The places of a shared block hold its weights once and pass through them each.
        made = tuple(replace(b, passes=len(b.layers) / blocks(fields)) if b.mlp.kind == "dense" else b for b in made)
    tensors = _Tensors(fields, shape)
    tensors.embedding()
    for layer, (attention, mlp, name) in enumerate(zip(attention_of, mlp_of, names, strict=True)):
        tensors.layer(attention, mlp, layer, name)
    tensors.head()
    tensors.mtp(*prediction_layer(fields, attention_of, mlp_of))
    native_dtype, native_quant = fields.dtype(), fields.native_quant()
    tower = _tower(fields, shape.hidden)
    fields.check_changes()
    return ModelIR(
        id=fields.id,
        model_type=fields.model_type,
        hidden=shape.hidden,
        vocab=shape.vocab,
        layers=shape.layers,
        blocks=made,
        tensors=tuple(tensors.made),
        tied_embeddings=shape.tied,
        max_context=shape.max_context,
        native_dtype=native_dtype,
        native_quant=native_quant,
        assumed=fields.assumed,
        tower=tower,
    )


def _tower(fields: Fields, hidden: int) -> Tower | None:
    """The vision tower; what is left out of other senses is named."""
    if isinstance(fields.outer.get("audio_config"), Mapping):
        fields.assumed["audio_config"] = "the tower for sound is left out"
    try:
        return read_tower(fields.outer, hidden)
    except LeftOut as why:
        fields.assumed["vision_config"] = f"the vision tower is left out: {why}"
        return None


def _blocks(attention_of: list[Attention], mlp_of: list[Mlp]) -> tuple[tuple[Block, ...], list[str]]:
    """Layers of one kind together, and the block's name for each layer."""
    members: dict[tuple[Attention, Mlp], list[int]] = {}
    for layer, kind in enumerate(zip(attention_of, mlp_of, strict=True)):
        members.setdefault(kind, []).append(layer)
    blocks: list[Block] = []
    names = [""] * len(attention_of)
    taken: set[str] = set()
    for (attention, mlp), layers in members.items():
        plain = f"{attention.kind}+{mlp.kind}"
        name, n = plain, 2
        while name in taken:
            name, n = f"{plain} {n}", n + 1
        taken.add(name)
        blocks.append(Block(name, tuple(layers), attention, mlp))
        for layer in layers:
            names[layer] = name
    return tuple(blocks), names


class _Tensors(Writer):
    """The parts of a model, each as its tensors."""

    def __init__(self, fields: Fields, shape: Shape) -> None:
        super().__init__(fields, shape)
        self.layout = self._layout()
        self.streams = self.family.qkv == "compressed"  # DeepSeek-V4's parallel residual streams
        self.altup = fields.model_type == "gemma3n_text"
        held = shape.layers - len(places(fields)) if fields.model_type == "zamba2" else 0
        self.stack = stacked(fields, held) if held else []
        self.paired = dict(self.names)  # of families whose layers have two halves, named by "{half}"
        self.per_layer = fields.size("hidden_size_per_layer_input", 0, least=0) if self.family.window == "gemma4" else 0

    def _layout(self) -> str:
        """Where the norms stand. In two families a field decides."""
        get, kind = self.fields.get, self.fields.model_type
        if kind == "stablelm":
            if get("qk_layernorm", False):
                raise self.fields.wrong("qk_layernorm", True, "supported for StableLM")
            return "parallel" if get("use_parallel_residual", False) else "pre"
        if kind == "falcon":
            if get("new_decoder_architecture", False):
                if get("num_ln_in_parallel_attn", 2) == 2:
                    self.names.update(attn_norm="ln_attn", ffn_norm="ln_mlp")
                    return "pre"
            elif not get("parallel_attn", True):
                return "pre"
        return self.family.layout

    def embedding(self) -> None:
        shape = self.shape
        self.add("token_embd", (shape.vocab, shape.hidden), "embedding", "vocab")
        if self.per_layer:
            # One row a token of each layer's own embedding, all in one table.
            rows = self.fields.size("vocab_size_per_layer_input", shape.vocab)
            self.add("per_layer_token_embd", (rows, shape.layers * self.per_layer), "embedding", "vocab")
        if self.family.positions:
            # OPT keeps two rows before position 0.
            rows = shape.max_context + (2 if self.fields.model_type == "opt" else 0)
            self.add("position_embd", (rows, shape.hidden), "embedding", "replicated")
        if self.fields.model_type == "bloom" or self.family.mixer == "rwkv":
            self.norm("token_embd_norm", shape.hidden)

    def head(self) -> None:
        if self.streams:
            write_streams(self, "head")
        self.norm("output_norm", self.shape.hidden)
        if not self.shape.tied:
            self.add("output", (self.shape.vocab, self.shape.hidden), "head", "vocab", bias=self.fields.switch(self.family.head_bias))

    def layer(self, attention: Attention, mlp: Mlp, layer: int, block: str) -> None:
        if layer == 0 and self.per_layer:
            # Every layer's share of the token's embedding, computed once before the first.
            self.place = ("", layer, block, None)
            self.add("per_layer_model_proj", (self.shape.layers * self.per_layer, self.shape.hidden), "mlp", "replicated")
            self.norm("per_layer_proj_norm", self.per_layer)
            if self.altup:
                write_altup_streams(self, "altup_proj", self.shape.hidden)
        own = self.stack[layer][0] if self.stack else layer
        self.place = (self.family.prefix.format(i=own, pair=layer // 2), layer, block, None)
        if self.family.moe == "shortcut":
            self.names = {role: name.replace("{half}", str(layer % 2)) for role, name in self.paired.items()}
        if self.stack and self.stack[layer][1]:
            write_shared(self, attention, mlp, own)
        else:
            if self.stack and self.stack[layer - 1] == (own, True):
                write_joint(self, own, self.shape.heads * self.shape.head_dim, self.fields.size("intermediate_size"))
            self.decoder(attention, mlp, layer)
        if self.altup and layer == self.shape.layers - 1:
            self.place = ("", layer, block, None)
            write_altup_streams(self, "altup_unembd_proj", self.shape.hidden)
        self.place = ("", None, None, None)

    def decoder(self, attention: Attention, mlp: Mlp, layer: int) -> None:
        layout, hidden = self.layout, self.shape.hidden
        if self.fields.model_type == "deci" and attention.kind == "none":
            write_linear(self, layer, "attn")
        if attention.kind != "none":
            if layout != "post":
                self.norm("attn_norm", hidden)
            if self.streams:
                write_streams(self, "attn")
            self.mixing(attention, layer)
            if self.family.mixer_beside:
                write_mixer(self)
            if layout in ("post", "sandwich"):
                self.norm("post_attention_norm", hidden)
        if self.fields.model_type == "deci" and mlp.kind == "none":
            write_linear(self, layer, "ffn")
        if mlp.kind != "none":
            if layout in ("pre", "sandwich"):
                self.norm("ffn_norm", hidden)
            if self.streams:
                write_streams(self, "ffn")
            if mlp.kind == "moe":
                self.moe(mlp)
            else:
                self.mlp(mlp)
            if layout in ("post", "sandwich"):
                self.norm("post_ffw_norm", hidden)
        if self.per_layer:
            self.add("per_layer_inp_gate", (self.per_layer, hidden), "mlp", "replicated")
            self.add("per_layer_proj", (hidden, self.per_layer), "mlp", "replicated")
            self.norm("per_layer_post_norm", hidden)
        if "layer_out_scale" in self.names:
            self.add("layer_out_scale", (1,), "norm", "replicated", suffix="")
        if self.altup:
            write_altup(self, hidden)

    def mixing(self, attention: Attention, layer: int) -> None:
        match attention.kind:
            case _ if self.streams:
                write_compressed(self, layer)
            case "linear":
                write_mixer(self)
            case "mla":
                self.mla(attention)
                if self.family.indexer == "tokens" and indexes(self.fields, layer):
                    self.indexer(attention)
            case _:
                self.attention(attention, layer)

    def attention(self, a: Attention, layer: int) -> None:
        family, hidden, switch = self.family, self.shape.hidden, self.fields.switch
        bias = switch(family.qkv_bias)
        q, k, v = a.heads * a.head_dim, a.kv_heads * a.head_dim, a.kv_heads * a.v_head_dim
        if switch(family.attn_gate):
            q *= 2  # every query head brings the gate of its output
        narrow = self.fields.size("share_q_dim", 0, least=0) if family.qkv == "narrow" else 0
        if narrow:
            self.add("attn_q_a", (narrow, hidden), "attention", "replicated")
            self.norm("attn_q_a_norm", narrow)
        if family.qkv == "fused":
            self.add("attn_qkv", (q + k + v, hidden), "attention", "heads", bias=bias)
        else:
            self.add("attn_q", (q, narrow or hidden), "attention", "heads", bias=bias)
            if not a.kv_shared:
                self.add("attn_k", (k, hidden), "attention", "kv_heads", bias=bias)
                if not (a.kind == "full" and switch("attention_k_eq_v")):
                    self.add("attn_v", (v, hidden), "attention", "kv_heads", bias=bias)
        if self.fields.model_type in ("cohere", "cohere2"):
            if switch("use_qk_norm"):
                self.add("attn_q_norm", (a.heads, a.head_dim), "norm", "heads")
                self.add("attn_k_norm", (a.kv_heads, a.head_dim), "norm", "kv_heads")
        elif switch(family.qk_norm):
            whole = family.qk_norm_over == "all"
            self.norm("attn_q_norm", q if whole else a.head_dim)
            if not a.kv_shared:
                self.norm("attn_k_norm", k if whole else a.head_dim)
        if family.sinks:
            self.add("attn_sinks", (a.heads,), "attention", "heads", suffix="")
        elif family.window == "mimo_v2" and switch(
            "add_swa_attention_sink_bias" if a.kind == "sliding" else "add_full_attention_sink_bias"
        ):
            self.names["attn_sinks"] = "self_attn.attention_sink_bias"
            self.add("attn_sinks", (a.heads,), "attention", "heads", suffix="")
        if family.window == "step" and switch("use_head_wise_attn_gate"):
            self.add("attn_gate", (a.heads, hidden), "attention", "heads")
        if switch(family.gate_beside):
            self.add("attn_gate", (a.heads * a.v_head_dim, hidden), "attention", "heads")
        if family.indexer == "blocks" and a.index_elements:
            self.block_indexer(layer)
        if family.sub_norms:
            self.norm("attn_sub_norm", hidden)
        self.add("attn_output", (hidden, a.heads * a.v_head_dim), "attention", "heads", bias=switch(family.out_bias))

    def mla(self, a: Attention) -> None:
        hidden, nope = self.shape.hidden, a.head_dim - a.rope_head_dim
        bias = self.fields.switch(self.family.qkv_bias)
        if a.q_lora_rank:
            self.add("attn_q_a", (a.q_lora_rank, hidden), "attention", "replicated", bias=bias)
            self.norm("attn_q_a_norm", a.q_lora_rank)
            self.add("attn_q_b", (a.heads * a.head_dim, a.q_lora_rank), "attention", "heads")
        else:
            self.add("attn_q", (a.heads * a.head_dim, hidden), "attention", "heads")
        self.add("attn_kv_a_mqa", (a.kv_lora_rank + a.rope_head_dim, hidden), "attention", "replicated", bias=bias)
        self.norm("attn_kv_a_norm", a.kv_lora_rank)
        self.add("attn_kv_b", (a.heads * (nope + a.v_head_dim), a.kv_lora_rank), "attention", "heads")
        if self.fields.switch(self.family.gate_beside):
            self.add("attn_gate", (a.heads * a.v_head_dim, hidden), "attention", "heads")
        self.add("attn_output", (hidden, a.heads * a.v_head_dim), "attention", "heads", bias=self.fields.switch(self.family.out_bias))

    def indexer(self, a: Attention) -> None:
        """DeepSeek's sparse attention: a small scorer that picks the tokens each query attends to."""
        hidden, heads, width = self.shape.hidden, self.fields.size("index_n_heads"), self.fields.size("index_head_dim")
        self.add("indexer_attn_q_b", (heads * width, a.q_lora_rank or hidden), "attention", "replicated")
        self.add("indexer_attn_k", (width, hidden), "attention", "replicated")
        self.add("indexer_k_norm", (width,), "norm", "replicated")
        self.add("indexer_k_norm", (width,), "norm", "replicated", suffix=".bias")
        self.add("indexer_proj", (heads, hidden), "attention", "replicated")

    def block_indexer(self, layer: int) -> None:
        """MiniMax-M3's scorer of blocks of tokens."""
        heads, width, _ = block_index(self.fields, layer)
        self.add("indexer_q", (heads * width, self.shape.hidden), "attention", "replicated")
        self.add("indexer_k", (width, self.shape.hidden), "attention", "replicated")
        self.norm("indexer_q_norm", width)
        self.norm("indexer_k_norm", width)

    def mlp(self, m: Mlp) -> None:
        hidden, bias = self.shape.hidden, self.fields.switch(self.family.mlp_bias)
        if self.family.mixer == "rwkv":
            write_channel_mix(self, m)
            return
        if m.gated and self.family.fused_gate:
            self.add("ffn_up", (2 * m.intermediate, hidden), "mlp", "columns", bias=bias)
        else:
            if m.gated:
                self.add("ffn_gate", (m.intermediate, hidden), "mlp", "columns", bias=bias)
            self.add("ffn_up", (m.intermediate, hidden), "mlp", "columns", bias=bias)
        if self.family.sub_norms:
            self.norm("ffn_sub_norm", m.intermediate)
        if self.fields.model_type == "apertus":
            # The two learned slopes of its activation.
            self.names.update(ffn_alpha_p="mlp.act_fn.alpha_p", ffn_alpha_n="mlp.act_fn.alpha_n")
            self.add("ffn_alpha_p", (1,), "mlp", "replicated", suffix="")
            self.add("ffn_alpha_n", (1,), "mlp", "replicated", suffix="")
        self.add("ffn_down", (hidden, m.intermediate), "mlp", "columns", bias=bias)

    def moe(self, m: Mlp) -> None:
        if self.family.window == "gemma4":
            self.gemma_moe(m)
            return
        hidden, family = self.shape.hidden, self.family
        # Some experts work in a narrower space that all of them share.
        latent = self.fields.size("moe_latent_size", 0, least=0) if "ffn_latent_down" in self.names else 0
        steer = self.fields.switch(family.router_bias)
        choices = m.experts + (self.fields.size("zero_expert_num", 0, least=0) if family.moe == "shortcut" else 0)
        self.add("ffn_gate_inp", (choices, hidden), "router", "replicated", bias=steer)
        # In V4's first layers a token's number alone names its experts.
        hashed = self.streams and self.place[1] is not None and self.place[1] < self.fields.size("num_hash_layers", 3, least=0)
        if hashed:
            self.add("ffn_hash", (self.shape.vocab, m.top_k), "embedding", "replicated", suffix="")
        elif self.fields.switch(family.correction_bias):
            self.add("exp_probs_b", (choices,), "router", "replicated", suffix="")
        self.experts(m, latent or hidden)
        if latent:
            self.add("ffn_latent_down", (latent, hidden), "mlp", "replicated")
            self.add("ffn_latent_up", (hidden, latent), "mlp", "replicated")
            if self.fields.switch("latent_moe_use_norm"):
                self.norm("ffn_latent_norm", latent)
        if m.shared_intermediate:
            if family.shared_gate:
                self.add("ffn_gate_inp_shexp", (1, hidden), "router", "replicated")
            wide, deep = (m.shared_intermediate, hidden), (hidden, m.shared_intermediate)
            if m.gated:
                self.add("ffn_gate_shexp", wide, "shared_experts", "columns")
            self.add("ffn_up_shexp", wide, "shared_experts", "columns")
            self.add("ffn_down_shexp", deep, "shared_experts", "columns")

    def experts(self, m: Mlp, width: int) -> None:
        wide, deep, bias = (m.experts, m.intermediate, width), (m.experts, width, m.intermediate), self.family.expert_bias
        if m.gated:
            self.add("ffn_gate_exps", wide, "experts", "experts", bias=bias)
        self.add("ffn_up_exps", wide, "experts", "experts", bias=bias)
        self.add("ffn_down_exps", deep, "experts", "experts", bias=bias)

    def gemma_moe(self, m: Mlp) -> None:
        """Gemma 4's layers run a dense MLP, counted as a shared expert, beside their experts."""
        hidden = self.shape.hidden
        self.add("ffn_gate", (m.shared_intermediate, hidden), "shared_experts", "columns")
        self.add("ffn_up", (m.shared_intermediate, hidden), "shared_experts", "columns")
        self.add("ffn_down", (hidden, m.shared_intermediate), "shared_experts", "columns")
        self.norm("post_ffw_norm_1", hidden)
        self.add("ffn_gate_inp", (m.experts, hidden), "router", "replicated")
        self.add("ffn_gate_inp_scale", (hidden,), "router", "replicated", suffix="")
        self.add("ffn_exps_scale", (m.experts,), "router", "replicated", suffix="")
        self.norm("pre_ffw_norm_2", hidden)
        self.experts(m, hidden)
        self.norm("post_ffw_norm_2", hidden)

    def mtp(self, attention: Attention, mlp: Mlp) -> None:
        """Multi-token-prediction modules: one more layer each, like the last.

        DeepSeek's checkpoints repeat embedding and head in each module; so do the published totals.
        """
        style, hidden = self.family.mtp, self.shape.hidden
        modules = self.fields.size("num_nextn_predict_layers", 0, least=0) if style != "no" else 0
        for module in range(modules):
            names = _MTP_PREFIX[style]
            self.place = (names.format(n=module, layer=self.shape.layers + module), None, None, "mtp")
            self.names.update(_MTP_NAMES[style])
            vocab = (self.shape.vocab, hidden)
            if style == "deepseek":
                self.add("nextn.embed_tokens", vocab, "mtp", "vocab")
            self.norm("nextn.enorm", hidden)
            self.norm("nextn.hnorm", hidden)
            if style == "v4":
                self.add("nextn.e_proj", (hidden, hidden), "mtp", "replicated")
                self.add("nextn.h_proj", (hidden, hidden), "mtp", "replicated")
                write_streams(self, "head")
            else:
                self.add("nextn.eh_proj", (hidden, 2 * hidden), "mtp", "replicated")
            self.decoder(attention, mlp, self.shape.layers + module)
            self.norm("nextn.shared_head_norm", hidden)
            if style in ("deepseek", "step"):
                self.add("nextn.shared_head_head", vocab, "mtp", "vocab")
        self.place = ("", None, None, None)


_MTP_PREFIX: Mapping[str, str] = {
    "deepseek": "model.layers.{layer}.",
    "glm": "model.layers.{layer}.",
    "step": "model.layers.{layer}.",
    "v4": "mtp.{n}.",
    "mimo": "model.mtp_layers.{n}.",
    "qwen": "mtp.layers.{n}.",
    "nemotron": "mtp.layers.{n}.",
}
_DEEPSEEK_MTP = {
    "nextn.embed_tokens": "embed_tokens",
    "nextn.enorm": "enorm",
    "nextn.hnorm": "hnorm",
    "nextn.eh_proj": "eh_proj",
    "nextn.shared_head_norm": "shared_head.norm",
    "nextn.shared_head_head": "shared_head.head",
}
_MTP_NAMES: Mapping[str, Mapping[str, str]] = {
    "deepseek": _DEEPSEEK_MTP,
    "glm": _DEEPSEEK_MTP,
    "step": _DEEPSEEK_MTP,
    "mimo": {
        "nextn.enorm": "token_layernorm",
        "nextn.hnorm": "hidden_layernorm",
        "nextn.eh_proj": "input_proj",
        "nextn.shared_head_norm": "final_layernorm",
    },
    "v4": {
        "nextn.enorm": "enorm",
        "nextn.hnorm": "hnorm",
        "nextn.e_proj": "e_proj",
        "nextn.h_proj": "h_proj",
        "nextn.shared_head_norm": "norm",
        **{f"hc_head_{name}": f"hc_head_{name}" for name in ("fn", "base", "scale")},
    },
    "qwen": {
        "nextn.enorm": "pre_fc_norm_embedding",
        "nextn.hnorm": "pre_fc_norm_hidden",
        "nextn.eh_proj": "fc",
        "nextn.shared_head_norm": "norm",
    },
    "nemotron": {
        "nextn.enorm": "enorm",
        "nextn.hnorm": "hnorm",
        "nextn.eh_proj": "eh_proj",
        "nextn.shared_head_norm": "final_layernorm",
        "attn_norm": "attention_norm",
        "ffn_norm": "moe_norm",
    },
}
