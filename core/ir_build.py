"""A model's IR from its `config.json`: blocks of like layers and every tensor in order of execution.

Pure: works on raw Hugging Face configs and on catalog records alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from core.errors import ScenarioError
from core.ir import Attention, AttentionKind, Block, Group, Mlp, ModelIR, Shard, Tensor
from core.ir_families import LLAMA_NAMES
from core.ir_fields import Fields


def build_ir(config: Mapping[str, Any], model_id: str) -> ModelIR:
    """The IR of a config. Raises ScenarioError, naming the field or the type, when it is incomplete, wrong or unsupported."""
    fields = Fields(config, model_id)
    shape = _Shape.read(fields)
    attentions = _attentions(fields, shape)
    mlps = _mlps(fields, shape)
    blocks, names = _blocks(attentions, mlps)
    tensors = _Tensors(fields, shape)
    tensors.embedding()
    for layer, (attention, mlp, name) in enumerate(zip(attentions, mlps, names, strict=True)):
        tensors.layer(attention, mlp, layer, name)
    tensors.head()
    tensors.mtp(attentions[-1], mlps[-1])
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


@dataclass(frozen=True, slots=True)
class _Shape:
    """The sizes that every layer shares."""

    hidden: int
    layers: int
    vocab: int
    heads: int
    kv_heads: tuple[int, ...]  # one a layer
    head_dim: int
    v_head_dim: int
    tied: bool
    max_context: int

    @classmethod
    def read(cls, fields: Fields) -> _Shape:
        hidden, layers = fields.size("hidden_size"), fields.size("num_hidden_layers")
        heads = fields.size("num_attention_heads")
        if fields.get("word_embed_proj_dim", hidden) != hidden:
            raise fields.wrong("word_embed_proj_dim", fields.get("word_embed_proj_dim"), f"the hidden size {hidden}")
        if fields.family.qkv == "mla":
            head_dim = fields.size("qk_nope_head_dim") + fields.size("qk_rope_head_dim")
            v_head_dim = fields.size("v_head_dim")
        else:
            head_dim = cls._head_dim(fields, hidden, heads)
            v_head_dim = fields.size("v_head_dim", head_dim)
        return cls(
            hidden, layers, fields.size("vocab_size"), heads, cls._kv_heads(fields, heads, layers), head_dim, v_head_dim,
            fields.tied(), cls._max_context(fields),
        )

    @staticmethod
    def _head_dim(fields: Fields, hidden: int, heads: int) -> int:
        if fields.get("head_dim") is not None:
            return fields.size("head_dim")
        if hidden % heads:
            raise ScenarioError(
                f"The config of '{fields.id}' has no 'head_dim', and hidden_size {hidden} does not divide by "
                f"{heads} heads; add 'head_dim'."
            )
        return hidden // heads

    @staticmethod
    def _kv_heads(fields: Fields, heads: int, layers: int) -> tuple[int, ...]:
        family = fields.model_type
        listed = fields.flags("num_key_value_heads_per_layer", layers)
        if listed is not None:
            counts = tuple(listed)
        elif family == "gpt_bigcode":
            counts = (1 if fields.get("multi_query", True) else heads,) * layers
        elif family == "falcon" and not fields.get("new_decoder_architecture", False):
            counts = (1 if fields.get("multi_query", True) else heads,) * layers
        elif family == "chatglm" and not fields.get("multi_query_attention", False):
            counts = (heads,) * layers
        else:
            nested = fields.get("attn_config")
            default = nested.get("kv_n_heads") if isinstance(nested, Mapping) else None
            counts = (fields.size("num_key_value_heads", default or heads),) * layers
        for count in set(counts):
            if not isinstance(count, int) or isinstance(count, bool) or count < 1:
                raise fields.wrong("num_key_value_heads", count, "a whole number of at least 1")
            if heads % count:
                raise fields.wrong("num_key_value_heads", count, f"a divisor of the {heads} attention heads")
        return counts

    @staticmethod
    def _max_context(fields: Fields) -> int:
        if fields.get("max_position_embeddings") is None and not fields.family.positions:
            fields.assumed["max_position_embeddings"] = "4096 tokens: the config does not say"
            return 4096
        return fields.size("max_position_embeddings")


def _windows(fields: Fields, shape: _Shape) -> list[tuple[AttentionKind, int | None]]:
    """Kind and window (tokens) of each layer's attention. A window no shorter than the context is full attention."""
    rule, layers = fields.family.window, shape.layers
    full: tuple[AttentionKind, int | None] = ("full", None)
    if fields.family.qkv == "mla":
        return [("mla", None)] * layers

    def sliding() -> tuple[AttentionKind, int | None]:
        return ("sliding", fields.size("sliding_window"))

    listed = fields.flags("layer_types", layers)
    if listed is not None:
        kinds = {"full_attention": lambda: full, "sliding_attention": sliding,
                 "chunked_attention": lambda: ("chunked", fields.size("attention_chunk_size"))}
        unknown = set(map(str, listed)) - set(kinds)
        if unknown:
            raise ScenarioError(
                f"'{fields.id}' has layers of type '{sorted(unknown)[0]}', which is not supported; "
                "pick a catalog model or one whose layers are full, sliding or chunked attention."
            )
        result = [full if kind == "sliding_attention" and fields.get("sliding_window") is None else kinds[kind]()
                  for kind in listed]
    elif rule == "chunked":
        result = _chunked(fields, layers)
    elif rule == "none" or fields.get("sliding_window") is None:
        return [full] * layers
    elif rule == "qwen":
        first = fields.size("max_window_layers", layers, least=0) if fields.get("use_sliding_window", False) else layers
        result = [sliding() if layer >= first else full for layer in range(layers)]
    elif rule == "even":
        result = [full if layer % 2 else sliding() for layer in range(layers)]
    elif rule == "pattern":
        every = _pattern(fields)
        result = [sliding() if (layer + 1) % every else full for layer in range(layers)]
    elif rule == "mimo_v2":
        flags = fields.flags("hybrid_layer_pattern", layers) or [0] * layers
        result = [sliding() if flag else full for flag in flags]
    else:
        result = [sliding()] * layers
    return [full if kind == "sliding" and window is not None and window >= shape.max_context else (kind, window)
            for kind, window in result]


def _chunked(fields: Fields, layers: int) -> list[tuple[AttentionKind, int | None]]:
    """Llama 4: layers with rotary positions attend within chunks, every fourth one without positions to everything."""
    chunk = fields.size("attention_chunk_size")
    every = fields.size("no_rope_layer_interval", 4)
    # An empty list means "by interval", as in the class itself.
    rope = (fields.flags("no_rope_layers", layers) if fields.get("no_rope_layers") else None) or [
        int((layer + 1) % every != 0) for layer in range(layers)
    ]
    return [("chunked", chunk) if flag else ("full", None) for flag in rope]


def _pattern(fields: Fields) -> int:
    """Every how many layers one is full. EXAONE writes it as text ("LLLG")."""
    raw = fields.get("sliding_window_pattern", fields.get("_sliding_window_pattern"))
    return len(raw) if isinstance(raw, str) and raw else fields.size("sliding_window_pattern")


def _attentions(fields: Fields, shape: _Shape) -> list[Attention]:
    made = []
    for (kind, window), kv_heads in zip(_windows(fields, shape), shape.kv_heads, strict=True):
        if kind == "mla":
            made.append(Attention(
                "mla", shape.heads, kv_heads, shape.head_dim, shape.v_head_dim,
                kv_lora_rank=fields.size("kv_lora_rank"), q_lora_rank=fields.size("q_lora_rank", 0, least=0),
                rope_head_dim=fields.size("qk_rope_head_dim"),
            ))
        elif kind == "sliding" and fields.family.window == "mimo_v2":
            made.append(Attention(
                kind, fields.size("swa_num_attention_heads", shape.heads),
                fields.size("swa_num_key_value_heads", kv_heads), fields.size("swa_head_dim", shape.head_dim),
                fields.size("swa_v_head_dim", shape.v_head_dim), window,
            ))
        else:
            made.append(Attention(kind, shape.heads, kv_heads, shape.head_dim, shape.v_head_dim, window))
    return made


def _mlps(fields: Fields, shape: _Shape) -> list[Mlp]:
    family, layers = fields.family, shape.layers
    # MiniCPM's MoE models share its type; they alone name experts.
    moe = "all" if fields.model_type == "minicpm" and fields.get("num_experts") else family.moe
    sparse = [_is_sparse(fields, moe, layer) for layer in range(layers)]
    expert = _moe(fields) if any(sparse) else None
    dense = Mlp("dense", family.gated, _dense_width(fields, shape.hidden)) if not all(sparse) else None
    made: list[Mlp] = []
    for flag in sparse:
        chosen = expert if flag else dense
        assert chosen is not None
        made.append(chosen)
    return made


def _dense_width(fields: Fields, hidden: int) -> int:
    if fields.model_type == "llama4_text":
        return fields.size("intermediate_size_mlp")
    if fields.model_type == "qwen":
        # Qwen 1 states the width of gate and up together.
        return fields.size("intermediate_size") // 2
    if fields.model_type in ("gpt2", "gpt_bigcode", "gptj", "bloom", "falcon"):
        return fields.size("intermediate_size", 4 * hidden)
    if fields.model_type == "phi" and fields.outer.get("model_type") == "phi-msft":
        return fields.size("intermediate_size", 4 * hidden)
    if fields.model_type == "mpt":
        return fields.size("expansion_ratio", 4) * hidden
    return fields.size("intermediate_size")


def _is_sparse(fields: Fields, moe: str, layer: int) -> bool:
    """Whether a layer has experts."""
    if moe == "after_dense":
        per_layer = fields.get("moe_layer_freq", 1)
        if isinstance(per_layer, list):
            return bool(per_layer[layer])
        return layer >= fields.size("first_k_dense_replace", 0, least=0) and layer % fields.size("moe_layer_freq", 1) == 0
    if moe == "step":
        step = fields.size("decoder_sparse_step", 1)
        return layer not in (fields.get("mlp_only_layers") or []) and (layer + 1) % step == 0
    if moe == "interleaved":
        listed = fields.get("moe_layers")
        if listed:
            return layer in listed
        return (layer + 1) % fields.size("interleave_moe_layer_step") == 0
    if moe == "span":
        last = fields.get("moe_layer_end_index", -1)
        return (
            fields.size("first_k_dense_replace", 0, least=0) <= layer
            and (last in (None, -1) or layer <= last)
            and (layer + 1) % fields.size("moe_layer_interval", 1) == 0
        )
    return moe == "all"


def _moe(fields: Fields) -> Mlp:
    experts, top_k = fields.size("num_experts"), fields.size("num_experts_per_tok")
    if top_k > experts:
        raise fields.wrong("num_experts_per_tok", top_k, f"at most the {experts} experts")
    by_intermediate = fields.model_type in (
        "mixtral", "phimoe", "gpt_oss", "minimax_m2", "llama4_text", "olmoe", "minicpm", "hunyuan_v1_moe")
    width = fields.size("intermediate_size" if by_intermediate else "moe_intermediate_size")
    if fields.family.shared_gate:
        shared = fields.size("shared_expert_intermediate_size")
    elif fields.model_type == "llama4_text":
        shared = width
    elif fields.model_type == "hunyuan_v1_moe":
        shared = fields.size("n_shared_experts", 1, least=0) * width
    elif fields.family.moe in ("after_dense", "span"):
        shared = fields.size("n_shared_experts", 0, least=0) * width
    else:
        shared = 0
    return Mlp("moe", fields.family.gated, width, experts, top_k, shared)


def _blocks(attentions: list[Attention], mlps: list[Mlp]) -> tuple[tuple[Block, ...], list[str]]:
    """Layers of one kind together, and the block's name for each layer."""
    members: dict[tuple[Attention, Mlp], list[int]] = {}
    for layer, kind in enumerate(zip(attentions, mlps, strict=True)):
        members.setdefault(kind, []).append(layer)
    blocks: list[Block] = []
    names = [""] * len(attentions)
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

    def __init__(self, fields: Fields, shape: _Shape) -> None:
        self.fields, self.family, self.shape = fields, fields.family, shape
        self.names = {**LLAMA_NAMES, **self.family.names}
        if fields.model_type in ("cohere", "cohere2", "stablelm", "falcon", "gpt_neox", "phi"):
            self._irregular()
        self.made: list[Tensor] = []
        self.place: tuple[str, int | None, str | None, Group | None] = ("", None, None, None)

    def _irregular(self) -> None:
        """Layouts that a field switches within a family."""
        get, kind = self.fields.get, self.fields.model_type
        self.layout, self.norms = self.family.layout, ["attn_norm"]
        if kind == "stablelm":
            self.layout = "parallel" if get("use_parallel_residual", False) else "pre"
            if get("qk_layernorm", False):
                raise self.fields.wrong("qk_layernorm", True, "supported for StableLM")
        if kind == "falcon":
            if not (get("new_decoder_architecture", False) or get("parallel_attn", True)):
                self.layout = "pre"
            elif get("new_decoder_architecture", False) and get("num_ln_in_parallel_attn", 2) == 2:
                self.layout = "pre"
                self.names.update(attn_norm="ln_attn", ffn_norm="ln_mlp")

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
                self.made.append(Tensor(
                    prefix + self.names[role] + ".bias", (size,), over or "norm", f"{role}_bias", "replicated", layer, block))

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
        layout, hidden = getattr(self, "layout", self.family.layout), self.shape.hidden
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
        self.add("ffn_gate_inp", (m.experts, hidden), "router", "replicated", bias=family.router_bias)
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
        """Multi-token-prediction modules: one more layer each, like the last. DeepSeek's checkpoints repeat embedding and head."""
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
