"""Who holds what: every rank of a split with its layers, its shards, its experts and its bytes, and what lies in host memory.

The estimate knows one rank, the fullest, with layers of mean size. Here each layer is its own, so that stages of a pipeline
differ: with one stage the two agree to the byte, with several the note says by how much they part.
"""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from core import stages
from core.answer import Part, Reason
from core.apart import mlp_ranks
from core.columns import columns, plain
from core.ir import Block
from core.machine import Columns
from core.memory import Fit, cache_of_sequence
from core.memory_bills import memories
from core.pipeline import in_flight, one_pass
from core.placement_records import CACHE, WEIGHTS, Bytes, Host, Placement, Rank, Shard, Span
from core.plan import NODE, Plan
from core.quantity import value
from core.scenario import Scenario
from core.setting import Setting, settle
from core.slices import layers_of_stages
from core.units import show
from core.verdict import feasible
from core.vision import OP as TOWER
from core.weights import stored_tensors

__all__ = ["CACHE", "WEIGHTS", "Placement", "Rank", "Shard", "Span", "placement"]


@functools.lru_cache(maxsize=256)
def placement(scenario: Scenario) -> Placement:
    """Lay the scenario out over its devices.

    Raises ScenarioError for a split that cannot be, CatalogError for an unknown name.
    """
    setting = settle(scenario)
    c = plain(columns(setting))
    d = {name: int(value(getattr(c, name))) for name in ("tp", "pp", "dp", "ep", "cp")}
    d["mlp_tp"] = int(value(mlp_ranks(c)))
    arrival = scenario.workload.arrival
    plan, found, served = one_pass(setting.ir, c, arrival)
    c = in_flight(c, arrival, float(value(served.batch)))
    device, host = memories(found, c, setting.device.name)
    feasibility, reasons = feasible(setting, c, found, device, host)
    claimed = bool(c.pooled)
    kinds = [
        _OnStage(card.name, float(held.peak + held.headroom), card.stages, held.parts, float(held.taken) if claimed else 0.0)
        for card, held in zip(c.cards, found.cards, strict=True)
    ] or [_OnStage("", float(found.peak + found.headroom), d["pp"], found.parts, float(found.taken) if claimed else 0.0)]
    limit = min(kind.limit for kind in kinds)
    ranks, lies_there, total = _laid_out(setting, c, plan, found, d, kinds)
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
        where = result.fullest.name or setting.device.name
        text = f"Stage {result.fullest.stage + 1} holds more than the mean stage and is {show(short, 'B')} short on {where}."
        result = replace(result, feasibility="insufficient_memory", reasons=(Reason("stage_short", text),))
    return replace(result, notes=tuple(_notes(result, found)))


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


@dataclass(frozen=True, slots=True)
class _OnStage:
    """What the stages on one kind of device share: its name (empty where all are alike), limit, how many, bill, what is claimed."""

    name: str
    limit: float
    stages: int
    bill: tuple[Part, ...]
    taken: float

    @property
    def fixed(self) -> tuple[Part, ...]:
        return tuple(part for part in self.bill if part.name not in ("weights", CACHE, "fragmentation"))


def _laid_out(
    setting: Setting, c: Columns, plan: Plan, found: Fit, d: Mapping[str, int], kinds: list[_OnStage]
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
    each = [kind for kind in kinds for _ in range(kind.stages)]
    counts = layers_of_stages(plan, c, found.gpu_layers, found.experts_on_cpu) or _dealt(
        setting, [sum(parts.values()) for parts in kept.values()], d["pp"], uneven=bool(bare)
    )
    filled = [stage for stage, count in enumerate(counts) if count] or [0]
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
        if stage == _first(c, filled) and not c.host_embedding and not (tied and d["pp"] == 1):
            parts[WEIGHTS["embedding"]] += outside("embedding")
        if stage == _last(c, filled, d["pp"]) and int(found.gpu_layers) > 0:
            parts[WEIGHTS["head"]] += outside(head)
            parts[WEIGHTS["norm"]] += outside("norm")
        for part in each[stage].fixed:
            if part.name != TOWER or stage == _first(c, filled):
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
    ends = _first(c, filled) if not c.host_embedding else -1, _last(c, filled, d["pp"])
    ranks = _numbered(setting, plan, blocks, held, d, each, ends)
    host = Host(away, bare, lies_there, float(value(found.host_limit))) if lies_there else None
    return ranks, host, one


def _first(c: Columns, filled: Sequence[int]) -> int:
    """The stage that holds the embedding table."""
    return filled[0] if c.cards else 0


def _last(c: Columns, filled: Sequence[int], stages: int) -> int:
    """The stage that holds the output head."""
    return filled[-1] if c.cards else stages - 1


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
    d: Mapping[str, int], kinds: Sequence[_OnStage], ends: tuple[int, int],
) -> tuple[Rank, ...]:  # fmt: skip
    """Ranks in the engines' order: replicas outside, then stages, then context, then tensor ranks, which so share a node.

    `ends`: the stages with the embedding table (-1: it lies in host memory) and the output head.
    """
    ir = setting.ir
    rows = next((t.shape[0] for t in ir.tensors if t.group == "embedding" and t.shard == "vocab"), ir.vocab)
    node = setting.scenario.system.devices_per_node or (72 if "nvl72" in (setting.scenario.system.profile or "") else NODE)
    ranks: list[Rank] = []
    for replica in range(d["dp"]):
        for stage, (layers, parts) in enumerate(held):
            for context in range(d["cp"]):
                for tensor in range(d["tp"]):
                    vocabulary = _piece(rows, d["tp"], tensor)
                    first, last = stage == ends[0], stage == ends[1]
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
                            limit=kinds[stage].limit,
                            name=kinds[stage].name,
                            taken=kinds[stage].taken,
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
            f"Attention is cut over {d['tp']} ranks and the feed-forward part over {d['mlp_tp']}: the replicas gather their tokens before "
            "it and scatter the sums after it. Buffers are counted as of attention's split."
        )
    difference = found.fullest.held - float(value(fit.peak)) if not found.unlike else 0.0
    if abs(difference) > 0.005 * found.limit:
        own = " and a layer more on the first stage" if d["pp"] > 1 else ""
        notes.append(
            f"The estimate reckons with layers of mean size{own}: the fullest rank here holds {show(abs(difference), 'B')} "
            f"{'more' if difference > 0 else 'less'}."
        )
    return notes
