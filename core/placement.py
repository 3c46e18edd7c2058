"""Who holds what: every rank of a split with its layers, its shards, its experts and its bytes, and what lies in host memory.

The estimate knows one rank, the fullest, with layers of mean size. Here each layer is its own, so that stages of a pipeline
differ: with one stage the two agree to the byte, with several the note says by how much they part.
"""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace

from core import stages
from core.answer import Feasibility, Reason
from core.columns import columns, plain
from core.errors import ScenarioError
from core.ir import Block, ModelIR
from core.machine import Columns
from core.memory import Fit, cache_of_sequence, memories
from core.pipeline import in_flight, one_pass
from core.plan import NODE, Plan
from core.quantity import value
from core.scenario import Scenario
from core.setting import Setting, settle
from core.units import show
from core.verdict import feasible
from core.weights import stored_tensors

# Parts of a rank, in the order in which bars stack them. The first eight are weights.
WEIGHTS = {
    "attention": "attention",
    "mlp": "feed-forward",
    "experts": "experts",
    "shared_experts": "shared experts",
    "router": "router",
    "norm": "norms",
    "embedding": "embedding table",
    "head": "output head",
}
CACHE = "KV cache"

Bytes = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Span:
    """The piece from `low` to before `high` of `whole`; held by so many ranks alike (`copies`)."""

    low: int
    high: int
    whole: int
    copies: int = 1

    @property
    def piece(self) -> str:
        """The piece without its whole: "16–31", "all 64"."""
        if self.high - self.low >= self.whole:
            return f"all {self.whole:,}"
        return f"{self.low:,}" if self.high - self.low == 1 else f"{self.low:,}–{self.high - 1:,}"

    def __str__(self) -> str:
        return self.piece if self.high - self.low >= self.whole else f"{self.piece} of {self.whole:,}"


@dataclass(frozen=True, slots=True)
class Shard:
    """What one rank holds of each of these layers, which are of one kind. None where such layers have no such thing."""

    block: str
    layers: tuple[int, ...]
    heads: Span | None
    kv_heads: Span | None  # with copies > 1 as many ranks hold the same heads
    latent: bool  # MLA's latent cache, whole on every tensor rank
    columns: Span | None  # inner width of the feed-forward part, or of the shared experts
    experts: Span | None
    expert_columns: Span | None  # inner width of each expert


@dataclass(frozen=True, slots=True)
class Rank:
    """One device with what lies on it, in bytes by part. `stage`, `tensor`, `context` and `replica` count from 0."""

    device: int
    node: int
    replica: int
    stage: int
    context: int
    tensor: int
    layers: tuple[int, ...]
    shards: tuple[Shard, ...]
    embedding: Span | None  # rows of the vocabulary
    head: Span | None
    parts: Bytes  # weights by group, cache, buffers; without what an engine sets aside
    limit: float

    @property
    def held(self) -> float:
        """Bytes at the peak."""
        return sum(self.parts.values())

    @property
    def weights(self) -> float:
        return sum(self.parts.get(name, 0.0) for name in WEIGHTS.values())

    @property
    def room(self) -> float:
        """Bytes left below the limit; negative where it is short."""
        return self.limit - self.held


@dataclass(frozen=True, slots=True)
class Host:
    """What lies in host memory: whole layers, and the experts of further layers. Bytes by part."""

    layers: tuple[int, ...]
    experts_of: tuple[int, ...]
    parts: Bytes
    limit: float


@dataclass(frozen=True, slots=True)
class Placement:
    """A split laid out. `copies` are bytes by part that are held more than once, over all ranks and the host, beyond the first."""

    scenario: Scenario
    ir: ModelIR
    device: str
    link: str
    degrees: Mapping[str, int]  # tp, mlp_tp, pp, dp, ep, cp
    ranks: tuple[Rank, ...]
    idle: int  # devices that the split leaves unused
    nodes: int
    host: Host | None
    copies: Bytes
    limit: float  # of one device: what programs, or the engine's share of it, may take
    memory: float  # of one device, as programs see it
    taken: float  # what the engine claims on each at start, where it claims more than it needs; else 0
    feasibility: Feasibility
    reasons: tuple[Reason, ...]
    notes: tuple[str, ...]

    @property
    def fullest(self) -> Rank:
        return max(self.ranks, key=lambda rank: rank.held)

    @property
    def fits(self) -> bool:
        """Whether every rank holds its part, host memory aside."""
        return self.feasibility == "in_vram"


@functools.lru_cache(maxsize=256)
def placement(scenario: Scenario, mlp_tp: int | None = None) -> Placement:
    """Lay the scenario out over its devices.

    `mlp_tp` cuts the feed-forward part (and experts without expert parallelism) over more ranks than attention: the tensor
    ranks of several data-parallel replicas together. It is laid out in memory here and no part of the speed estimate.
    Raises ScenarioError for a split that cannot be, CatalogError for an unknown name.
    """
    setting = settle(scenario)
    c = plain(columns(setting))
    d = {name: int(value(getattr(c, name))) for name in ("tp", "pp", "dp", "ep", "cp")}
    d["mlp_tp"] = mlp_tp or d["tp"]
    if d["mlp_tp"] != d["tp"]:
        _check_apart(setting.ir, d)
        c.mlp_tp = float(d["mlp_tp"])
    arrival = scenario.workload.arrival
    plan, found, served = one_pass(setting.ir, c, arrival)
    c = in_flight(c, arrival, float(value(served.batch)))
    device, host = memories(found, c, setting.device.name)
    feasibility, reasons = feasible(setting, c, found, device, host)
    limit = float(found.peak + found.headroom)
    ranks, lies_there, total = _laid_out(setting, c, plan, found, d, limit)
    result = Placement(
        scenario=scenario, ir=setting.ir, device=setting.device.name, link=c.link_name, degrees=d, ranks=ranks,
        idle=int(c.count) - len(ranks), nodes=1 + ranks[-1].node, host=lies_there, copies=_copies(ranks, lies_there, total),
        limit=limit, memory=float(found.limit), taken=float(found.taken) if c.pooled else 0.0,
        feasibility=feasibility, reasons=tuple(reasons), notes=(),
    )  # fmt: skip
    short = max(0.0, -result.fullest.room)
    if short and c.pooled:  # a pool holds as many sequences as there is room for, one at least
        spare = result.fullest.parts.get(CACHE, 0.0) * (1 - 1 / max(float(found.batch), 1.0))
        short = max(0.0, short - spare)
    if short > 1e-9 * limit and feasibility == "in_vram":
        text = f"Stage {result.fullest.stage + 1} holds more than the mean stage and is {show(short, 'B')} short on {setting.device.name}."
        result = replace(result, feasibility="insufficient_memory", reasons=(Reason("stage_short", text),))
    return replace(result, notes=tuple(_notes(result, found)))


def _check_apart(ir: ModelIR, d: Mapping[str, int]) -> None:
    tp, mlp = d["tp"], d["mlp_tp"]
    if mlp % tp or d["dp"] % (mlp // tp):
        raise ScenarioError(
            f"The feed-forward part can be cut over the tensor ranks of whole replicas: {mlp} must be attention's {tp} times a divisor "
            f"of the {d['dp']} data-parallel replicas. Set data parallel to {max(1, mlp // tp)} or choose another degree."
        )
    for block in ir.blocks:
        if block.mlp.kind == "dense" and block.mlp.intermediate % mlp:
            raise ScenarioError(f"{mlp} ranks must divide the feed-forward width {block.mlp.intermediate} of {ir.id}.")


# ---------------------------------------------------------------- bytes


def _by_layer(setting: Setting) -> dict[int | None, dict[tuple[str, str], float]]:
    """Bytes of each layer (None: outside the layers) by group and shard, before any split."""
    found: dict[int | None, dict[tuple[str, str], float]] = defaultdict(lambda: defaultdict(float))
    for tensor, (_, size) in zip(setting.ir.tensors, stored_tensors(setting.ir, setting.quant), strict=True):
        if tensor.group != "mtp":
            found[tensor.layer][(tensor.group, tensor.shard)] += size
    return found


def _cut(group: str, shard: str, size: float, block: Block | None, plan: Plan, d: Mapping[str, int]) -> float:
    """What one rank holds of this many bytes."""
    if shard == "experts":
        return size / float(value(plan.expert_ranks))
    if shard == "columns":
        return size / d["mlp_tp"]
    if shard in ("heads", "vocab"):
        return size / d["tp"]
    if shard == "kv_heads" and block is not None:
        heads = max(block.attention.kv_heads, 1)
        return size * max(1.0, heads / d["tp"]) / heads
    return size


def _cache_of_layers(c: Columns, plan: Plan, found: Fit) -> dict[int, float]:
    """Bytes of cache that one rank holds for each layer."""
    context, slots = float(value(found.slot_context)), float(value(found.slots))
    each: dict[int, float] = {}
    for share in plan.blocks:
        alone = replace(plan, blocks=[share])
        if c.upfront and c.unified_kv:
            amount = cache_of_sequence(alone, c, context * slots, "", slots)
        else:
            amount = (slots if c.upfront else float(value(found.batch))) * cache_of_sequence(alone, c, context, "")
        each |= dict.fromkeys(share.block.layers, float(amount) / share.count)
    return each


def _laid_out(
    setting: Setting, c: Columns, plan: Plan, found: Fit, d: Mapping[str, int], limit: float
) -> tuple[tuple[Rank, ...], Host | None, Bytes]:
    """All ranks, what lies in host memory, and the bytes of one copy of everything."""
    ir, sizes = setting.ir, _by_layer(setting)
    cache = _cache_of_layers(c, plan, found)
    blocks = {layer: block for block in ir.blocks for layer in block.layers}
    away = tuple(range(ir.layers - int(found.gpu_layers)))  # the engine fills the devices from the last layer on
    moe = sorted(layer for layer, block in blocks.items() if block.mlp.kind == "moe")
    bare = tuple(layer for layer in moe[: int(found.experts_on_cpu)] if layer not in away)

    def of_layer(layer: int, without: tuple[str, ...] = ()) -> dict[str, float]:
        parts: dict[str, float] = defaultdict(float)
        for (group, shard), size in sizes[layer].items():
            if group not in without:
                parts[WEIGHTS[group]] += _cut(group, shard, size, blocks[layer], plan, d)
        return parts

    def outside(group: str) -> float:
        return sum(_cut(g, shard, size, None, plan, d) for (g, shard), size in sizes[None].items() if g == group)

    kept = {layer: of_layer(layer, ("experts",) if layer in bare else ()) for layer in range(len(away), ir.layers)}
    counts = _dealt(setting, [sum(parts.values()) for parts in kept.values()], d["pp"], uneven=bool(bare))
    tied = "head" not in {group for group, _ in sizes[None]}
    head = "embedding" if tied else "head"
    on_host: dict[str, float] = defaultdict(float)
    held: list[tuple[tuple[int, ...], dict[str, float]]] = []
    at = len(away)
    for stage, count in enumerate(counts):
        mine = tuple(range(at, at + count))
        at += count
        parts: dict[str, float] = defaultdict(float)
        for layer in mine:
            for name, size in kept[layer].items():
                parts[name] += size
            parts[CACHE] += cache[layer]
        if stage == 0 and not c.host_embedding and not (tied and d["pp"] == 1):
            parts[WEIGHTS["embedding"]] += outside("embedding")
        if stage == d["pp"] - 1 and int(found.gpu_layers) > 0:
            parts[WEIGHTS["head"]] += outside(head)
            parts[WEIGHTS["norm"]] += outside("norm")
        for part in found.fixed:
            parts[part.name] += float(value(part.amount))
        pieces = sum(size for name, size in parts.items() if name in WEIGHTS.values() or (name == CACHE and not c.pooled))
        if not c.pooled:
            parts["fragmentation"] = float(c.fragmentation) * pieces
        held.append((mine, {name: parts[name] for name in _ordered(parts) if parts[name] > 0}))
    alike = d["dp"] * d["cp"] * d["tp"]  # ranks of a stage: each keeps its own part there
    for layer in away:
        for name, size in of_layer(layer).items():
            on_host[name] += alike * size
        on_host[CACHE] += alike * cache[layer]
    for layer in bare:
        on_host[WEIGHTS["experts"]] += alike * of_layer(layer)[WEIGHTS["experts"]]
    if c.host_embedding:
        on_host[WEIGHTS["embedding"]] += outside("embedding")
    if int(found.gpu_layers) <= 0:
        on_host[WEIGHTS["norm"]] += alike * outside("norm")
        on_host[WEIGHTS["head"]] += 0.0 if tied and c.host_embedding else alike * outside(head)
    lies_there = {name: on_host[name] for name in _ordered(on_host) if on_host[name] > 0}
    one: dict[str, float] = defaultdict(float)
    for layer_sizes in sizes.values():
        for (group, _), size in layer_sizes.items():
            one[WEIGHTS[group]] += size
    ranks = _numbered(setting, plan, blocks, held, d, limit, tied=tied, on_host=bool(c.host_embedding))
    host = Host(away, bare, lies_there, float(value(found.host_limit))) if lies_there else None
    return ranks, host, one


def _ordered(parts: Mapping[str, float]) -> list[str]:
    """The names of parts, weights first, then the cache, then the rest in their order."""
    known = [*WEIGHTS.values(), CACHE]
    return [*(name for name in known if name in parts), *(name for name in parts if name not in known)]


def _dealt(setting: Setting, weights: list[float], pp: int, *, uneven: bool) -> tuple[int, ...]:
    if uneven and pp > 1:
        return stages.by_weight(weights, pp)
    by_layer = setting.runtime.device_split == "layer"
    return (stages.like_llama_cpp if by_layer else stages.like_servers)(len(weights), pp)


# ---------------------------------------------------------------- ranks


def _numbered(
    setting: Setting, plan: Plan, blocks: Mapping[int, Block], held: list[tuple[tuple[int, ...], dict[str, float]]],
    d: Mapping[str, int], limit: float, *, tied: bool, on_host: bool,
) -> tuple[Rank, ...]:  # fmt: skip
    """Ranks in the engines' order: replicas outside, then stages, then context, then tensor ranks, which so share a node."""
    ir = setting.ir
    rows = next((t.shape[0] for t in ir.tensors if t.group == "embedding" and t.shard == "vocab"), ir.vocab)
    node = setting.scenario.system.devices_per_node or (72 if "nvl72" in (setting.scenario.system.profile or "") else NODE)
    ranks: list[Rank] = []
    for replica in range(d["dp"]):
        for stage, (layers, parts) in enumerate(held):
            for context in range(d["cp"]):
                for tensor in range(d["tp"]):
                    vocabulary = _piece(rows, d["tp"], tensor)
                    first, last = stage == 0 and not on_host, stage == d["pp"] - 1
                    ranks.append(
                        Rank(
                            device=len(ranks),
                            node=len(ranks) // node,
                            replica=replica,
                            stage=stage,
                            context=context,
                            tensor=tensor,
                            layers=layers,
                            shards=_shards(layers, blocks, plan, d, replica, tensor),
                            embedding=vocabulary if first else None,
                            head=vocabulary if last and layers else None,
                            parts=parts,
                            limit=limit,
                        )
                    )
    return tuple(ranks)


def _piece(whole: int, pieces: int, index: int, copies: int = 1) -> Span:
    return Span(whole * index // pieces, whole * (index + 1) // pieces, whole, copies)


def _shards(
    layers: tuple[int, ...], blocks: Mapping[int, Block], plan: Plan, d: Mapping[str, int], replica: int, tensor: int
) -> tuple[Shard, ...]:
    mine: dict[str, list[int]] = defaultdict(list)
    for layer in layers:
        mine[blocks[layer].name].append(layer)
    # Replicas that cut the feed-forward part together, and the ranks that share the experts, are neighbours.
    apart = (replica % (d["mlp_tp"] // d["tp"])) * d["tp"] + tensor
    ranks = int(float(value(plan.expert_ranks)))
    among = replica * d["tp"] + tensor if d["ep"] > 1 else apart
    each = ranks // d["ep"] if d["ep"] > 1 else ranks  # ranks that cut one expert
    found = []
    for name, numbers in mine.items():
        attention, mlp = blocks[numbers[0]].attention, blocks[numbers[0]].mlp
        heads = _piece(attention.heads, d["tp"], tensor) if attention.heads and attention.kind != "none" else None
        kv = None
        if attention.kind not in ("mla", "linear", "none"):
            copies = max(1, d["tp"] // attention.kv_heads)
            kv = _piece(attention.kv_heads, d["tp"] // copies, tensor // copies, copies)
        width = mlp.intermediate if mlp.kind == "dense" else mlp.shared_intermediate
        moe = mlp.kind == "moe"
        found.append(
            Shard(
                block=name,
                layers=tuple(numbers),
                heads=heads,
                kv_heads=kv,
                latent=attention.kind == "mla",
                columns=_piece(width, d["mlp_tp"], apart) if width else None,
                experts=_piece(mlp.experts, d["ep"], among // each) if moe else None,
                expert_columns=_piece(mlp.intermediate, each, among % each) if moe else None,
            )
        )
    return tuple(found)


def _copies(ranks: tuple[Rank, ...], host: Host | None, one: Bytes) -> Bytes:
    """Bytes of weights beyond one copy of each, by part. A table that is its own head counts once as a table."""
    over: dict[str, float] = defaultdict(float)
    for parts in [*(rank.parts for rank in ranks), *([host.parts] if host else [])]:
        for name in WEIGHTS.values():
            over[name] += parts.get(name, 0.0)
    if not one.get(WEIGHTS["head"]):
        over[WEIGHTS["embedding"]] += over.pop(WEIGHTS["head"], 0.0)
    return {name: size - one.get(name, 0.0) for name, size in over.items() if size - one.get(name, 0.0) > 1.0}


def _notes(found: Placement, fit: Fit) -> list[str]:
    d, notes = found.degrees, []
    if d["mlp_tp"] != d["tp"]:
        notes.append(
            f"Attention is cut over {d['tp']} ranks and the feed-forward part over {d['mlp_tp']}. The memory of that split is laid out "
            "here, with buffers as of attention's split; the speed estimate does not know it and counts replicas of the whole."
        )
    difference = found.fullest.held - float(value(fit.peak))
    if abs(difference) > 0.005 * found.limit:
        own = " and a layer more on the first stage" if d["pp"] > 1 else ""
        notes.append(
            f"The estimate reckons with layers of mean size{own}: the fullest rank here holds {show(abs(difference), 'B')} "
            f"{'more' if difference > 0 else 'less'}."
        )
    if found.idle:
        notes.append(f"{found.idle} of {found.idle + len(found.ranks)} devices are not used by this split.")
    return notes
