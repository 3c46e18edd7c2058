"""Where it runs: legal splits, and what one rank holds, computes and sends for each kind of layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from core.apart import broken_apart, check_apart, mlp_ranks
from core.catalog.files import source
from core.errors import ScenarioError
from core.formulas.kv_cache import kv_elements, kv_heads_per_rank, latent_elements, mla_elements
from core.formulas.ops import bytes_share, kv_elements_share, kv_weight_share, share
from core.ir import Block, ModelIR
from core.picked import pick
from core.quantity import leaf, total, value
from core.setting import Setting
from core.units import GIB
from core.weights import weight_table

if TYPE_CHECKING:
    from core.machine import Columns

# Stands for "no window": longer than any context, finite so that formulas stay defined.
NO_WINDOW = 1e12
NODE = 8  # devices that share a fast fabric, unless the system says otherwise


def broken_rules(ir: ModelIR, tp: int, pp: int, ep: int, dp: int, mlp_tp: int | None = None) -> list[str]:
    """The rules that a split breaks, as sentences; empty when it is legal."""
    broken = broken_apart(ir, tp, dp, ep, mlp_tp) if mlp_tp else []
    for block in ir.blocks:
        attention, mlp = block.attention, block.mlp
        if attention.kind != "none" and attention.heads % tp:
            broken.append(f"tensor parallel {tp} must divide the {attention.heads} attention heads")
        if attention.kind not in ("mla", "linear", "none") and attention.kv_heads % tp and tp % attention.kv_heads:
            broken.append(f"tensor parallel {tp} must divide the {attention.kv_heads} KV heads or be a multiple of them")
        if mlp.kind == "dense" and mlp.intermediate % tp:
            broken.append(f"tensor parallel {tp} must divide the feed-forward width {mlp.intermediate}")
        if ep > 1 and mlp.kind == "moe":
            if mlp.experts % ep:
                broken.append(f"expert parallel {ep} must divide the {mlp.experts} experts")
            if (tp * dp) % ep:
                broken.append(f"expert parallel {ep} must divide tensor × data parallel ({tp} × {dp})")
    if pp > ir.layers:
        broken.append(f"pipeline parallel {pp} must not exceed the {ir.layers} layers")
    if ep > 1 and all(block.mlp.kind == "dense" for block in ir.blocks):
        broken.append("expert parallel needs a model with experts")
    return list(dict.fromkeys(broken))


def legal_tp(ir: ModelIR, tp: int) -> bool:
    """Whether the model can be cut by this tensor-parallel degree."""
    return not broken_rules(ir, tp, 1, 1, 1)


def degrees(setting: Setting) -> dict[str, tuple[str, int]]:
    """Every degree of parallelism with its name, given or chosen: servers cut tensors as far as the model allows,
    llama.cpp and its kin put whole layers on each card.

    Raises ScenarioError naming the rule that a given split breaks.
    """
    s, ir, runtime = setting.scenario, setting.ir, setting.runtime
    d, count = s.deployment, s.system.devices
    given = {k: getattr(d, k) for k in ("tp", "pp", "dp", "ep", "cp")}
    for name, degree in given.items():
        if degree and degree > 1 and runtime.device_split == "layer" and name not in ("tp", "pp"):
            raise ScenarioError(f"{runtime.name} does not split by {name}; it splits by layer or by row (tensor).")
    if d.mlp_tp and given["tp"] and not given["dp"]:  # as many replicas as share the feed-forward part
        given["dp"] = max(1, d.mlp_tp // given["tp"])
    dp, cp = given["dp"] or 1, given["cp"] or 1
    free = max(1, count // (dp * cp))
    by_layer = d.split == "layer" or (d.split is None and runtime.device_split == "layer" and not (given["tp"] or 1) > 1)
    if runtime.device_split == "none" and count > 1 and not (given["tp"] or given["pp"]):
        by_layer = True
    if by_layer:
        tp = given["tp"] or 1
        pp = given["pp"] or min(max(1, free // tp), ir.layers)
    else:
        pp = given["pp"] or 1
        # Tensor ranks talk in every layer: they stay within a node. What is left makes stages where the weights need
        # them, and replicas where not.
        node = max(1, min(free // pp, s.system.devices_per_node or NODE))
        tp = given["tp"] or next(t for t in range(node, 0, -1) if (free // pp) % t == 0 and legal_tp(ir, t))
        if given["pp"] is None and given["tp"] is None:
            pp = _stages(setting, free // tp, tp)
            if given["dp"] is None:
                dp = max(1, free // (tp * pp))
        elif given["pp"] is None and d.mlp_tp not in (None, tp):  # devices beyond the ranks that share the feed-forward part
            pp = _stages(setting, max(1, free // tp), d.mlp_tp)
    ep = given["ep"] or 1
    needed = tp * pp * dp * cp
    if needed > count:
        raise ScenarioError(
            f"tensor × pipeline × data × context parallel = {tp} × {pp} × {dp} × {cp} needs {needed} devices, "
            f"but the system has {count}; lower a degree or add devices."
        )
    broken = broken_rules(ir, tp, pp, ep, dp, d.mlp_tp)
    if broken:
        raise ScenarioError(f"This split is not possible for {ir.id}: {'; '.join(broken)}.")
    if d.mlp_tp is not None and d.mlp_tp != tp:
        check_apart(runtime, tp, dp, d.mlp_tp)
    return {
        "tp": ("tensor parallel", tp),
        "pp": ("pipeline stages", pp),
        "dp": ("data parallel", dp),
        "ep": ("expert parallel", ep),
        "cp": ("context parallel", cp),
    }


def _stages(setting: Setting, most: int, tp: int) -> int:
    """Pipeline stages, a divisor of `most`, that give the weights three quarters of each device; all of them where none does."""
    own = (setting.device, setting.scenario.system.device_memory_gib)
    sizes = [given or device.memory_usable_gib or device.memory_gb for device, given in
             (own, *((further.device, further.cards.memory_gib) for further in setting.others))]  # fmt: skip
    if None in sizes:
        return min(most, setting.ir.layers)
    memory = min(size or 0.0 for size in sizes) * GIB
    weights = weight_table(setting.ir, setting.quant.id).bytes
    divisors = [n for n in range(1, most + 1) if most % n == 0 and n <= setting.ir.layers]
    return next((n for n in divisors if weights / (tp * n) <= 0.75 * memory), divisors[-1])


@dataclass(slots=True)
class BlockShare:
    """What one rank holds of all layers of one kind, and the geometry its operations need."""

    block: Block
    count: float  # layers
    layers: Any  # the same, cited
    attention_elements: Any
    attention_bytes: Any
    mlp_elements: Any  # dense or shared experts and router
    mlp_bytes: Any
    expert_elements: Any  # all experts of this rank
    expert_bytes: Any
    norm_bytes: Any
    heads: Any  # query heads of this rank
    kv_elements: Any  # elements one token adds to this rank's cache, per layer
    kv_read: Any  # elements of a cached token that attention reads; more than it adds where layers share a cache
    window: Any
    attended: Any  # tokens that an indexer chooses, where the engine reads no others
    index: Any  # elements of a cached token that the indexer reads
    index_heads: Any
    key_width: Any  # per head, of scores in prefill
    value_width: Any
    decode_key_width: Any  # MLA decodes absorbed: against the latent
    decode_value_width: Any
    state: Any  # elements of recurrent state of one sequence, per layer
    state_size: float  # bytes of one
    inner: Any  # widths of activations between the feed-forward's matrices, all experts of a token


@dataclass(slots=True)
class Plan:
    """The model as one rank sees it, before pipeline stages: every block, and what stands outside the layers."""

    blocks: list[BlockShare]
    head_elements: Any
    head_bytes: Any
    embedding_bytes: Any  # the input table, on whichever memory holds it
    tied: bool
    expert_ranks: Any
    layer_bytes: Any  # of one rank, all layers, without head and embedding
    tower_ranks: Any = 1.0  # that cut the vision tower among them
    tower_bytes: Any = 0.0  # of the tower on one rank; 0 where none is loaded


def make_plan(ir: ModelIR, c: Columns) -> Plan:
    """Shard every block over the ranks of `c`. Formula inputs stay cited where `c` is."""
    model = source("tensor-shapes", note=ir.id)
    cited = not isinstance(c.tp, (int, float, np.ndarray))

    def config(name: str, amount: float) -> Any:
        return leaf(name, float(amount), "", "model_config", model) if cited else float(amount)

    cuts_mlp = mlp_ranks(c)
    # Without expert parallelism each data-parallel replica holds all experts, cut by its tensor ranks;
    # with it the experts are spread over the ranks of all replicas.
    expert_ranks = np.where(np.asarray(value(c.ep)) > 1, value(c.tp) * value(c.dp), value(cuts_mlp))
    ranks: Any = leaf("ranks that share the experts", float(expert_ranks), "", "constant", source("nameplate")) if cited else expert_ranks
    no_window: Any = (
        leaf("no window", NO_WINDOW, "tok", "constant", source("nameplate", note="full attention: longer than any context"))
        if cited
        else NO_WINDOW
    )
    blocks = []
    for block in ir.blocks:
        attention, mlp = block.attention, block.mlp

        def held(kind: str, group: str, shard: str, where: str = block.name) -> Any:
            return getattr(c, kind).get((where, group, shard))

        kv_rank = kv_heads_per_rank(kv_heads=config("KV heads", max(attention.kv_heads, 1)), tp=c.tp)

        def on_rank(kind: str, group: str, label: str, *, kv_rank: Any = kv_rank, kv: int = max(attention.kv_heads, 1)) -> Any:
            parts = []
            cut = share if kind == "elements" else bytes_share
            for shard in ("heads", "columns", "vocab"):
                if (whole := held(kind, group, shard)) is not None:
                    parts.append(cut(whole=whole, parts=cuts_mlp if shard == "columns" else c.tp))
            if (whole := held(kind, group, "kv_heads")) is not None:
                copied = kv_elements_share if kind == "elements" else kv_weight_share
                parts.append(copied(whole=whole, kv_heads=config("KV heads", kv), heads_per_rank=kv_rank))
            if (whole := held(kind, group, "replicated")) is not None:
                parts.append(whole)
            if (whole := held(kind, group, "experts")) is not None:
                parts.append(cut(whole=whole, parts=ranks))
            return total(parts, label) if parts else 0.0

        def both(kind: str, groups: tuple[str, ...], label: str, on_rank: Any = on_rank) -> Any:
            parts = [part for group in groups if not _is_zero(part := on_rank(kind, group, f"{group} {kind} of a rank"))]
            return total(parts, label) if len(parts) > 1 else parts[0] if parts else 0.0

        if attention.kind == "mla":
            latent = latent_elements(
                latent=config("latent", attention.kv_lora_rank),
                rope=config("rope width", attention.rope_head_dim),
                index=config("indexer's key", attention.index_elements),
            )
            expanded = kv_elements(
                kv_heads=share(whole=config("attention heads", attention.heads), parts=c.tp),
                key_width=config("key width", attention.head_dim),
                value_width=config("value width", attention.v_head_dim),
            )
            per_token = mla_elements(
                latent=latent,
                values=config("latent again, for the values", attention.kv_lora_rank),
                expanded=expanded,
                with_values=c.mla_values,
                in_full=c.mla_full,
            )
            decode_widths = (attention.kv_lora_rank + attention.rope_head_dim, attention.kv_lora_rank)
        elif attention.kind in ("linear", "none"):
            per_token, decode_widths = config("cache elements", 0.0), (0, 0)
        else:
            per_token = kv_elements(
                kv_heads=kv_rank,
                key_width=config("key width", attention.head_dim),
                value_width=config("value width", attention.v_head_dim),
            )
            if attention.index_elements:
                per_token = total([per_token, config("indexer's key", attention.index_elements)], "cache elements of a token")
            decode_widths = (attention.head_dim, attention.v_head_dim)
        blocks.append(
            BlockShare(
                block=block,
                count=float(len(block.layers)),
                layers=config("layers of this kind", len(block.layers)),
                attention_elements=on_rank("elements", "attention", "attention elements of a rank"),
                attention_bytes=on_rank("weights", "attention", "attention weights of a rank"),
                mlp_elements=both("elements", ("mlp", "shared_experts", "router"), "feed-forward elements of a rank"),
                mlp_bytes=both("weights", ("mlp", "shared_experts", "router"), "feed-forward weights of a rank"),
                expert_elements=on_rank("elements", "experts", "expert elements of a rank"),
                expert_bytes=on_rank("weights", "experts", "expert weights of a rank"),
                norm_bytes=on_rank("weights", "norm", "norm weights"),
                heads=share(whole=config("attention heads", attention.heads), parts=c.tp),
                kv_elements=config("cache shared with an earlier layer", 0.0) if attention.kv_shared else per_token,
                kv_read=per_token,
                window=config("window", attention.window) if attention.window else no_window,
                attended=pick(c.sparse, config("tokens chosen", attention.attended), no_window) if attention.attended else no_window,
                index=config("indexer's key", attention.index_elements),
                index_heads=config("heads of the indexer", attention.index_heads),
                key_width=config("key width", attention.head_dim),
                value_width=config("value width", attention.v_head_dim),
                decode_key_width=config("key width in decoding", decode_widths[0]),
                decode_value_width=config("value width in decoding", decode_widths[1]),
                state=share(whole=config("recurrent state", attention.state_elements), parts=c.tp),
                state_size=attention.state_bytes_each,
                inner=share(whole=config("inner width", mlp.intermediate * max(mlp.top_k, 1) + mlp.shared_intermediate), parts=c.tp),
            )
        )
        assert (mlp.kind == "moe") == (not _is_zero(blocks[-1].expert_bytes)), f"experts of {ir.id} have no tensors"
    outside = {
        (g, s): (c.weights.get((None, g, s)), c.elements.get((None, g, s))) for g in ("head", "embedding") for s in ("vocab", "replicated")
    }

    def outside_of(group: str, which: int) -> Any:
        parts = []
        for shard in ("vocab", "replicated"):
            whole = outside[(group, shard)][which]
            if whole is not None:
                cut = share if which else bytes_share
                parts.append(cut(whole=whole, parts=c.tp) if shard == "vocab" else whole)
        return total(parts, f"{group} of a rank") if parts else 0.0

    tied = ir.tied_embeddings or all(t.group != "head" for t in ir.tensors)
    layer_parts = [part for b in blocks for part in (b.attention_bytes, b.mlp_bytes, b.expert_bytes, b.norm_bytes) if not _is_zero(part)]
    towers = np.asarray(c.tower_sharded) > 0
    tower_ranks: Any = (
        c.tp if np.all(towers) else np.where(towers, value(c.tp), 1.0) if np.any(towers) else config("ranks of the tower", 1.0)
    )
    return Plan(
        blocks=blocks,
        head_elements=outside_of("embedding" if tied else "head", 1),
        head_bytes=outside_of("embedding" if tied else "head", 0),
        embedding_bytes=outside_of("embedding", 0),
        tied=tied,
        expert_ranks=ranks,
        layer_bytes=total(layer_parts, "weights of the layers, one rank"),
        tower_ranks=tower_ranks,
        tower_bytes=0.0 if _is_zero(c.tower) else bytes_share(whole=c.tower, parts=tower_ranks, named="vision tower of a rank"),
    )


def _is_zero(x: Any) -> bool:
    return isinstance(x, float) and x == 0.0
