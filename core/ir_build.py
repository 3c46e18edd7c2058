"""A model's IR from its `config.json`: blocks of like layers and every tensor in order of execution.

Pure: works on raw Hugging Face configs and on catalog records alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from core.ir import Attention, Block, Group, Mlp, ModelIR, Shard, Tensor
from core.ir_families import LLAMA_NAMES
from core.ir_fields import Fields
from core.ir_layers import Shape, attentions, mlps


def build_ir(config: Mapping[str, Any], model_id: str) -> ModelIR:
    """The IR of a config. Raises ScenarioError, naming field or type, when it is incomplete, wrong or unsupported."""
    fields = Fields(config, model_id)
    shape = Shape.read(fields)
    attention_of, mlp_of = attentions(fields, shape), mlps(fields, shape)
    blocks, names = _blocks(attention_of, mlp_of)
    tensors = _Tensors(fields, shape)
    tensors.embedding()
    for layer, (attention, mlp, name) in enumerate(zip(attention_of, mlp_of, names, strict=True)):
        tensors.layer(attention, mlp, layer, name)
    tensors.head()
    tensors.mtp(attention_of[-1], mlp_of[-1])
    return ModelIR(
        id=model_id,
        model_type=fields.model_type,
        hidden=shape.hidden,
        vocab=shape.vocab,
        layers=shape.layers,
        blocks=blocks,
        tensors=tuple(tensors.made),
        tied_embeddings=shape.tied,
        max_context=shape.max_context,
        native_dtype=fields.dtype(),
        native_quant=fields.native_quant(),
        assumed=fields.assumed,
    )


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


class _Tensors:
    """Appends tensors in order of execution to `made`."""

    def __init__(self, fields: Fields, shape: Shape) -> None:
        self.fields, self.family, self.shape = fields, fields.family, shape
        self.names = {**LLAMA_NAMES, **self.family.names}
        self.layout = self._layout()
        self.made: list[Tensor] = []
        # Prefix of the names, layer, block, and the group that overrides a tensor's own.
        self.place: tuple[str, int | None, str | None, Group | None] = ("", None, None, None)

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

    # -- one tensor ------------------------------------------------------------------------------------------------

    def add(self, role: str, shape: tuple[int, ...], group: Group, shard: Shard, *, bias: bool = False,
            suffix: str = ".weight") -> None:
        prefix, layer, block, over = self.place
        name = prefix + self.names[role]
        self.made.append(Tensor(name + suffix, shape, over or group, role, shard, layer, block))
        if bias:
            # The bias of a layer that sums over ranks is added once, on each rank alike.
            cut: Shard = "replicated" if role in ("attn_output", "ffn_down") else shard
            self.made.append(Tensor(name + ".bias", shape[:-1], over or group, f"{role}_bias", cut, layer, block))

    def norm(self, role: str, size: int) -> None:
        if self.family.norm != "none":
            self.add(role, (size,), "norm", "replicated")
            if self.family.norm == "layer":
                prefix, layer, block, over = self.place
                name = prefix + self.names[role] + ".bias"
                self.made.append(Tensor(name, (size,), over or "norm", f"{role}_bias", "replicated", layer, block))

    # -- the parts -------------------------------------------------------------------------------------------------

    def embedding(self) -> None:
        shape = self.shape
        self.add("token_embd", (shape.vocab, shape.hidden), "embedding", "vocab")
        if self.family.positions:
            # OPT keeps two rows before position 0.
            rows = shape.max_context + (2 if self.fields.model_type == "opt" else 0)
            self.add("position_embd", (rows, shape.hidden), "embedding", "replicated")
        if self.fields.model_type == "bloom":
            self.norm("token_embd_norm", shape.hidden)

    def head(self) -> None:
        self.norm("output_norm", self.shape.hidden)
        if not self.shape.tied:
            self.add("output", (self.shape.vocab, self.shape.hidden), "head", "vocab",
                     bias=self.fields.switch(self.family.head_bias))

    def layer(self, attention: Attention, mlp: Mlp, layer: int, block: str) -> None:
        self.place = (self.family.prefix.format(i=layer), layer, block, None)
        self.decoder(attention, mlp)
        self.place = ("", None, None, None)

    def decoder(self, attention: Attention, mlp: Mlp) -> None:
        layout, hidden = self.layout, self.shape.hidden
        if layout != "post":
            self.norm("attn_norm", hidden)
        if attention.kind == "mla":
            self.mla(attention)
        else:
            self.attention(attention)
        if layout in ("post", "sandwich"):
            self.norm("post_attention_norm", hidden)
        if layout in ("pre", "sandwich"):
            self.norm("ffn_norm", hidden)
        if mlp.kind == "moe":
            self.moe(mlp)
        else:
            self.mlp(mlp)
        if layout in ("post", "sandwich"):
            self.norm("post_ffw_norm", hidden)

    def attention(self, a: Attention) -> None:
        family, hidden, switch = self.family, self.shape.hidden, self.fields.switch
        bias = switch(family.qkv_bias)
        q, k, v = a.heads * a.head_dim, a.kv_heads * a.head_dim, a.kv_heads * a.v_head_dim
        if family.qkv == "fused":
            self.add("attn_qkv", (q + k + v, hidden), "attention", "heads", bias=bias)
        else:
            self.add("attn_q", (q, hidden), "attention", "heads", bias=bias)
            self.add("attn_k", (k, hidden), "attention", "kv_heads", bias=bias)
            self.add("attn_v", (v, hidden), "attention", "kv_heads", bias=bias)
        if self.fields.model_type in ("cohere", "cohere2"):
            if switch("use_qk_norm"):
                self.add("attn_q_norm", (a.heads, a.head_dim), "norm", "heads")
                self.add("attn_k_norm", (a.kv_heads, a.head_dim), "norm", "kv_heads")
        elif switch(family.qk_norm):
            whole = family.qk_norm_over == "all"
            self.norm("attn_q_norm", q if whole else a.head_dim)
            self.norm("attn_k_norm", k if whole else a.head_dim)
        if family.sinks:
            self.add("attn_sinks", (a.heads,), "attention", "heads", suffix="")
        elif family.window == "mimo_v2" and switch(
            "add_swa_attention_sink_bias" if a.kind == "sliding" else "add_full_attention_sink_bias"
        ):
            self.names["attn_sinks"] = "self_attn.attention_sink_bias"
            self.add("attn_sinks", (a.heads,), "attention", "heads", suffix="")
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
        self.add("attn_output", (hidden, a.heads * a.v_head_dim), "attention", "heads",
                 bias=self.fields.switch(self.family.out_bias))

    def mlp(self, m: Mlp) -> None:
        hidden, bias = self.shape.hidden, self.fields.switch(self.family.mlp_bias)
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
        hidden, family = self.shape.hidden, self.family
        steer = self.fields.switch(family.router_bias)
        self.add("ffn_gate_inp", (m.experts, hidden), "router", "replicated", bias=steer)
        if family.correction_bias:
            self.add("exp_probs_b", (m.experts,), "router", "replicated", suffix="")
        # The bias of a stacked expert tensor is (experts, out).
        self.add("ffn_gate_exps", (m.experts, m.intermediate, hidden), "experts", "experts", bias=family.expert_bias)
        self.add("ffn_up_exps", (m.experts, m.intermediate, hidden), "experts", "experts", bias=family.expert_bias)
        self.add("ffn_down_exps", (m.experts, hidden, m.intermediate), "experts", "experts", bias=family.expert_bias)
        if m.shared_intermediate:
            if family.shared_gate:
                self.add("ffn_gate_inp_shexp", (1, hidden), "router", "replicated")
            wide, deep = (m.shared_intermediate, hidden), (hidden, m.shared_intermediate)
            self.add("ffn_gate_shexp", wide, "shared_experts", "columns")
            self.add("ffn_up_shexp", wide, "shared_experts", "columns")
            self.add("ffn_down_shexp", deep, "shared_experts", "columns")

    def mtp(self, attention: Attention, mlp: Mlp) -> None:
        """Multi-token-prediction modules: one more layer each, like the last.

        DeepSeek's checkpoints repeat embedding and head in each module; so do the published totals.
        """
        style, hidden = self.family.mtp, self.shape.hidden
        modules = self.fields.size("num_nextn_predict_layers", 0, least=0) if style != "no" else 0
        for module in range(modules):
            deepseek = style == "deepseek"
            prefix = f"model.layers.{self.shape.layers + module}." if deepseek else f"model.mtp_layers.{module}."
            self.place = (prefix, None, None, "mtp")
            self.names.update(_MTP_NAMES[style])
            vocab = (self.shape.vocab, hidden)
            if deepseek:
                self.add("nextn.embed_tokens", vocab, "mtp", "vocab")
            self.norm("nextn.enorm", hidden)
            self.norm("nextn.hnorm", hidden)
            self.add("nextn.eh_proj", (hidden, 2 * hidden), "mtp", "replicated")
            self.decoder(attention, mlp)
            self.norm("nextn.shared_head_norm", hidden)
            if deepseek:
                self.add("nextn.shared_head_head", vocab, "mtp", "vocab")
        self.place = ("", None, None, None)


_MTP_NAMES: Mapping[str, Mapping[str, str]] = {
    "deepseek": {
        "nextn.embed_tokens": "embed_tokens", "nextn.enorm": "enorm", "nextn.hnorm": "hnorm",
        "nextn.eh_proj": "eh_proj", "nextn.shared_head_norm": "shared_head.norm",
        "nextn.shared_head_head": "shared_head.head",
    },
    "mimo": {
        "nextn.enorm": "token_layernorm", "nextn.hnorm": "hidden_layernorm", "nextn.eh_proj": "input_proj",
        "nextn.shared_head_norm": "final_layernorm",
    },
}
