"""Which layers a model has: the shared sizes, each layer's attention and each layer's feed-forward part."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from core.errors import ScenarioError
from core.ir import Attention, AttentionKind, Mlp
from core.ir_compressed import compressed_attention
from core.ir_deci import deci_parts
from core.ir_fields import Fields
from core.ir_hybrid import layer_parts, listed_layers, mixer
from core.ir_zamba import places


@dataclass(frozen=True, slots=True)
class Shape:
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
    def read(cls, fields: Fields) -> Shape:
        hidden, layers = fields.size("hidden_size"), fields.size("num_hidden_layers", listed_layers(fields))
        if fields.model_type == "longcat_flash" and fields.raw.get("num_hidden_layers") is None:
            layers *= 2  # each of its layers attends twice
        if fields.model_type == "zamba2":
            layers += len(places(fields))
        if not fields.family.attends:
            ends = fields.tied(), cls._max_context(fields)
            return cls(hidden, layers, fields.size("vocab_size"), 1, (1,) * layers, hidden, hidden, *ends)
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
            hidden,
            layers,
            fields.size("vocab_size"),
            heads,
            cls._kv_heads(fields, heads, layers),
            head_dim,
            v_head_dim,
            fields.tied(),
            cls._max_context(fields),
        )

    @staticmethod
    def _head_dim(fields: Fields, hidden: int, heads: int) -> int:
        if fields.model_type == "zamba2":
            return fields.size("attention_head_dim", 2 * hidden // heads)  # "head_dim" goes by another of its names there
        if fields.get("head_dim") is not None:
            return fields.size("head_dim")
        if hidden % heads:
            raise ScenarioError(
                f"The config of '{fields.id}' has no 'head_dim', and hidden_size {hidden} does not divide by {heads} heads; add 'head_dim'."
            )
        return hidden // heads

    @staticmethod
    def _kv_heads(fields: Fields, heads: int, layers: int) -> tuple[int, ...]:
        family = fields.model_type
        listed = fields.flags("num_key_value_heads_per_layer", layers)
        parts = deci_parts(fields, layers) if family == "deci" else None
        if listed is not None:
            counts = tuple(listed)
        elif parts is not None:
            # A layer without attention has no heads: one stands for it.
            groups = {part.heads_in_group or heads for part in parts}
            if odd := [group for group in groups if heads % group]:
                raise fields.wrong("n_heads_in_group", odd[0], f"a divisor of the {heads} attention heads")
            counts = tuple(heads // (part.heads_in_group or heads) for part in parts)
        elif family == "gpt_bigcode" or (family == "falcon" and not fields.get("new_decoder_architecture", False)):
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
        if not fields.family.attends and fields.get("max_position_embeddings", fields.get("context_length")) is None:
            fields.assumed["max_position_embeddings"] = "1048576 tokens: the config does not say, and a recurrent state has no end"
            return 2**20
        if fields.model_type == "rwkv" or fields.model_type == "rwkv5":
            return fields.size("max_position_embeddings", fields.size("context_length", 4096))
        if fields.get("max_position_embeddings") is None and not fields.family.positions:
            fields.assumed["max_position_embeddings"] = "4096 tokens: the config does not say"
            return 4096
        return fields.size("max_position_embeddings")


def _windows(fields: Fields, shape: Shape) -> list[tuple[AttentionKind, int | None]]:
    """Kind and window (tokens) of each layer's attention. A window no shorter than the context is full attention."""
    rule, layers = fields.family.window, shape.layers
    full: tuple[AttentionKind, int | None] = ("full", None)
    parts = layer_parts(fields, layers)
    if parts is not None:
        return [(mixing, fields.size("sliding_window") if mixing == "sliding" else None) for mixing, _ in parts]
    if fields.family.qkv == "mla":
        return [("mla", None)] * layers

    def sliding() -> tuple[AttentionKind, int | None]:
        return ("sliding", fields.size("sliding_window"))

    listed = fields.flags("layer_types", layers)
    if listed is not None:
        kinds = {
            "full_attention": lambda: full,
            "sliding_attention": sliding,
            "chunked_attention": lambda: ("chunked", fields.size("attention_chunk_size")),
        }
        unknown = set(map(str, listed)) - set(kinds)
        if unknown:
            raise ScenarioError(
                f"'{fields.id}' has layers of type '{sorted(unknown)[0]}', which is not supported; "
                "pick a catalog model or one whose layers are full, sliding or chunked attention."
            )
        result = [full if kind == "sliding_attention" and fields.get("sliding_window") is None else kinds[kind]() for kind in listed]
    elif rule == "chunked":
        result = _chunked(fields, layers)
    elif rule == "none" or fields.get("sliding_window") is None:
        return [full] * layers
    elif rule == "qwen":
        first = fields.size("max_window_layers", layers, least=0) if fields.get("use_sliding_window", False) else layers
        result = [sliding() if layer >= first else full for layer in range(layers)]
    elif rule == "even":
        result = [full if layer % 2 else sliding() for layer in range(layers)]
    elif rule == "gemma4":
        every = fields.size("sliding_window_pattern", 6)
        # The last layer always sees everything.
        result = [sliding() if (layer + 1) % every and layer + 1 < layers else full for layer in range(layers)]
    elif rule == "pattern":
        every = _pattern(fields)
        result = [sliding() if (layer + 1) % every else full for layer in range(layers)]
    elif rule == "mimo_v2":
        flags = fields.flags("hybrid_layer_pattern", layers) or [0] * layers
        result = [sliding() if flag else full for flag in flags]
    else:
        result = [sliding()] * layers
    return [full if kind == "sliding" and window is not None and window >= shape.max_context else (kind, window) for kind, window in result]


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


def attentions(fields: Fields, shape: Shape) -> list[Attention]:
    if fields.family.qkv == "compressed":
        return [compressed_attention(fields, shape.heads, shape.head_dim, layer) for layer in range(shape.layers)]
    made: list[Attention] = []
    windows = _windows(fields, shape)
    mixing = fields.family.mixer_beside or ("linear", None) in windows
    recurrent = mixer(fields, shape.hidden, shape.heads).attention() if mixing else None
    beside = recurrent.state_elements if recurrent and fields.family.mixer_beside else 0
    for layer, ((kind, window), kv_heads) in enumerate(zip(windows, shape.kv_heads, strict=True)):
        if kind == "linear":
            assert recurrent is not None
            made.append(recurrent)
        elif kind == "none":
            made.append(Attention("none", 0, 0, 0, 0))
        elif kind == "mla":
            own = fields.family.indexer == "tokens" and indexes(fields, layer)
            made.append(
                Attention(
                    "mla",
                    shape.heads,
                    kv_heads,
                    shape.head_dim,
                    shape.v_head_dim,
                    kv_lora_rank=fields.size("kv_lora_rank"),
                    q_lora_rank=fields.size("q_lora_rank", 0, least=0),
                    rope_head_dim=fields.size("qk_rope_head_dim"),
                    index_elements=fields.size("index_head_dim") if own else 0,
                    index_heads=fields.size("index_n_heads") if own else 0,
                    attended=fields.size("index_topk", 0, least=0) if fields.family.indexer == "tokens" else 0,
                )
            )
        elif kind == "sliding" and fields.family.window == "step":
            made.append(_step_sliding(fields, shape, window))
        elif kind == "sliding" and fields.family.window == "mimo_v2":
            made.append(
                Attention(
                    kind,
                    fields.size("swa_num_attention_heads", shape.heads),
                    fields.size("swa_num_key_value_heads", kv_heads),
                    fields.size("swa_head_dim", shape.head_dim),
                    fields.size("swa_v_head_dim", shape.v_head_dim),
                    window,
                )
            )
        elif fields.family.window == "gemma4":
            made.append(_gemma4(fields, shape, kind, window, layer))
        else:
            scorers, keys, chosen = block_index(fields, layer) if fields.family.indexer == "blocks" else (0, 0, 0)
            made.append(
                Attention(kind, shape.heads, kv_heads, shape.head_dim, shape.v_head_dim, window, state_elements=beside,
                          index_elements=keys, index_heads=scorers, attended=chosen)
            )  # fmt: skip
    return made


def _step_sliding(fields: Fields, shape: Shape, window: int | None) -> Attention:
    """Step 3.5's windowed layers have heads of their own."""
    said = fields.get("attention_other_setting", {})
    own = said if isinstance(said, Mapping) else {}
    sizes = [own.get(name, size) for name, size in (
        ("num_attention_heads", shape.heads), ("num_attention_groups", shape.kv_heads[0]), ("head_dim", shape.head_dim))]  # fmt: skip
    whole = [size for size in sizes if isinstance(size, int) and not isinstance(size, bool) and 1 <= size < 2**16]
    if own is not said or len(whole) < 3 or whole[0] % whole[1]:
        raise fields.wrong("attention_other_setting", said, "a table with numbers of heads, of groups that divide them, and a head's width")
    heads, groups, width = whole
    return Attention("sliding", heads, groups, width, width, window)


def _gemma4(fields: Fields, shape: Shape, kind: AttentionKind, window: int | None, layer: int) -> Attention:
    """Full layers have wider heads, and fewer for keys where they serve as values too. Late layers share a cache."""
    width, kv_heads = shape.head_dim, shape.kv_heads[layer]
    if kind == "full" and fields.model_type == "gemma4_text":
        width = fields.size("global_head_dim", 512)
        if fields.switch("attention_k_eq_v"):
            kv_heads = fields.size("num_global_key_value_heads", kv_heads)
    shared = layer >= shape.layers - _shared_layers(fields, shape)
    return Attention(kind, shape.heads, kv_heads, width, width, window, kv_shared=shared)


def _shared_layers(fields: Fields, shape: Shape) -> int:
    shared = fields.size("num_kv_shared_layers", 0, least=0)
    if shared >= shape.layers:
        raise fields.wrong("num_kv_shared_layers", shared, f"fewer than the {shape.layers} layers")
    return shared


def indexes(fields: Fields, layer: int) -> bool:
    """Whether a layer has the indexer itself; the others take the choice of the last one that has."""
    listed = fields.get("indexer_types")
    return not isinstance(listed, list) or layer >= len(listed) or listed[layer] != "shared"


def block_index(fields: Fields, layer: int) -> tuple[int, int, int]:
    """Heads and width of the scorer with which MiniMax-M3's layer chooses blocks, and the tokens of those; 0 where it has none."""
    said = fields.get("sparse_attention_config")
    if not isinstance(said, Mapping) or not said.get("use_sparse_attention", True):
        return 0, 0, 0
    where = said.get("sparse_attention_freq")
    if isinstance(where, list) and layer < len(where) and not where[layer]:
        return 0, 0, 0
    wanted = ("sparse_num_index_heads", "sparse_index_dim", "sparse_topk_blocks", "sparse_block_size")
    whole = [size for name in wanted if isinstance(size := said.get(name), int) and not isinstance(size, bool) and 1 <= size < 2**16]
    if len(whole) < len(wanted):
        raise fields.wrong("sparse_attention_config", said, f"a table with {', '.join(wanted)}")
    heads, width, blocks, tokens = whole
    # The nearest blocks, and the first, are always among them.
    always = sum(n for name in ("sparse_local_block", "sparse_init_block") if isinstance(n := said.get(name), int))
    return heads, width, (blocks + always) * tokens


def prediction_layer(fields: Fields, attention_of: list[Attention], mlp_of: list[Mlp]) -> tuple[Attention, Mlp]:
    """What a multi-token-prediction module repeats: the last attention and the last feed-forward part there are; Step's
    modules have a window and no experts."""
    if fields.family.mtp == "step":
        windowed = next((a for a in reversed(attention_of) if a.kind == "sliding"), attention_of[-1])
        return windowed, Mlp("dense", fields.family.gated, fields.size("intermediate_size"))
    attention = next((a for a in reversed(attention_of) if a.kind not in ("linear", "none")), attention_of[-1])
    return attention, next((m for m in reversed(mlp_of) if m.kind != "none"), mlp_of[-1])


def mlps(fields: Fields, shape: Shape) -> list[Mlp]:
    family, layers = fields.family, shape.layers
    if unlike := deci_parts(fields, layers) if fields.model_type == "deci" else None:
        return [Mlp("dense" if part.width else "none", family.gated, part.width) for part in unlike]
    # MiniCPM's MoE models share its type; they alone name experts.
    moe = "all" if fields.model_type == "minicpm" and fields.get("num_experts") else family.moe
    if moe == "named":
        moe = "all" if fields.size("num_experts", 0, least=0) else "no"
    parts = layer_parts(fields, layers)
    said = [feeding for _, feeding in parts] if parts else [""] * layers
    kinds = [kind or ("moe" if _is_sparse(fields, moe, layer, layers) else "dense") for layer, kind in enumerate(said)]
    made = {"none": Mlp("none", family.gated, 0)}
    if "moe" in kinds:
        made["moe"] = _moe(fields)
    if "dense" in kinds:
        made["dense"] = Mlp("dense", family.gated, _dense_width(fields, shape.hidden))
    result = [made[kind] for kind in kinds]
    if family.window == "gemma4" and fields.switch("use_double_wide_mlp"):
        # The layers that borrow a cache put what they save into their MLP.
        first = layers - _shared_layers(fields, shape)
        result[first:] = [replace(mlp, intermediate=2 * mlp.intermediate) for mlp in result[first:]]
    return result


def _dense_width(fields: Fields, hidden: int) -> int:
    if fields.model_type == "llama4_text":
        return fields.size("intermediate_size_mlp")
    if fields.model_type == "minimax_m3":
        return fields.size("dense_intermediate_size")
    if fields.model_type == "recurrent_gemma":
        return fields.size("intermediate_size") // 2  # of gate and up together
    if fields.model_type == "lfm2" and fields.switch("block_auto_adjust_ff_dim=True"):
        # Two thirds of what the config says, rounded up.
        many = fields.size("block_multiple_of", 256)
        return -(-(2 * fields.size("intermediate_size") // 3) // many) * many
    if fields.model_type == "qwen":
        # Qwen 1 states the width of gate and up together.
        return fields.size("intermediate_size") // 2
    if fields.model_type in ("rwkv5", "rwkv6"):
        return fields.size("intermediate_size", int(3.5 * hidden) // 32 * 32)
    if fields.model_type in ("gpt2", "gpt_bigcode", "gptj", "bloom", "falcon", "rwkv", "rwkv7"):
        return fields.size("intermediate_size", 4 * hidden)
    if fields.model_type == "phi" and fields.outer.get("model_type") == "phi-msft":
        return fields.size("intermediate_size", 4 * hidden)
    if fields.model_type == "mpt":
        return fields.size("expansion_ratio", 4) * hidden
    return fields.size("intermediate_size")


def _is_sparse(fields: Fields, moe: str, layer: int, layers: int) -> bool:
    """Whether a layer has experts."""
    if moe == "after_dense":
        listed = fields.flags("moe_layer_freq", layers)
        if listed is not None:
            return bool(listed[layer])
        first, every = fields.size("first_k_dense_replace", 0, least=0), fields.size("moe_layer_freq", 1)
        return layer >= first and layer % every == 0
    if moe == "step":
        return layer not in fields.indices("mlp_only_layers") and ((layer + 1) % fields.size("decoder_sparse_step", 1) == 0)
    if moe == "period":
        every, first = fields.size("expert_layer_period"), fields.size("expert_layer_offset", least=0)
        return fields.size("num_experts", 1) > 1 and layer % every == first
    if moe == "shortcut":
        return layer % 2 == 0
    if moe == "listed":
        return layer in _expert_layers(fields, layers)
    if moe == "interleaved":
        chosen = fields.indices("moe_layers")
        return layer in chosen if chosen else (layer + 1) % fields.size("interleave_moe_layer_step") == 0
    if moe == "span":
        last = fields.size("moe_layer_end_index", -1, least=-1)
        return (
            fields.size("first_k_dense_replace", 0, least=0) <= layer
            and (last == -1 or layer <= last)
            and (layer + 1) % fields.size("moe_layer_interval", 1) == 0
        )
    return moe == "all"


def _expert_layers(fields: Fields, layers: int) -> set[int]:
    """The layers with experts, which Step lists as text."""
    said = fields.get("moe_layers_enum")
    numbers = said.split(",") if isinstance(said, str) else said if isinstance(said, list) else [str(n) for n in range(1, layers)]
    if not all(str(number).strip().isdecimal() for number in numbers):
        raise fields.wrong("moe_layers_enum", said, "a list of layer numbers with commas between")
    return {int(number) for number in numbers}


def _moe(fields: Fields) -> Mlp:
    experts, top_k = fields.size("num_experts"), fields.size("num_experts_per_tok")
    if fields.family.moe == "shortcut" and (idle := fields.size("zero_expert_num", 0, least=0)):
        chosen = top_k
        top_k = max(1, round(top_k * experts / (experts + idle)))
        fields.assumed["zero_expert_num"] = f"{idle} choices do nothing, so a token's {chosen} are taken for {top_k} experts, as on average"
    if top_k > experts:
        raise fields.wrong("num_experts_per_tok", top_k, f"at most the {experts} experts")
    by_intermediate = fields.model_type in (
        "mixtral",
        "phimoe",
        "gpt_oss",
        "granitemoehybrid",
        "minimax_m2",
        "llama4_text",
        "olmoe",
        "minicpm",
        "hunyuan_v1_moe",
        "jamba",
        "minimax",
        "minimax_m3",
    )
    width = fields.size("intermediate_size" if by_intermediate else "moe_intermediate_size")
    if fields.family.shared_gate:
        shared = fields.size("shared_expert_intermediate_size")
    elif fields.model_type == "llama4_text":
        shared = width
    elif fields.family.moe == "listed":
        shared = fields.size("share_expert_dim", 0, least=0)
    elif fields.model_type in ("gemma4_text", "longcat_flash"):
        shared = fields.size("intermediate_size")
    elif fields.model_type in ("granitemoehybrid", "minimax_m3"):
        shared = fields.size("shared_intermediate_size", 0, least=0)
    elif fields.model_type == "nemotron_h":
        shared = fields.size("n_shared_experts", 1, least=0) * fields.size("moe_shared_expert_intermediate_size")
    elif fields.model_type == "hunyuan_v1_moe":
        shared = fields.size("n_shared_experts", 1, least=0) * width
    elif fields.family.moe in ("after_dense", "span"):
        shared = fields.size("n_shared_experts", 0, least=0) * width
    else:
        shared = 0
    return Mlp("moe", fields.family.gated, width, experts, top_k, shared)
