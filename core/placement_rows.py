"""A placement as rows for pages: bars, cells and tables, in the units people read. Sorting and scaling only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from core.placement import CACHE, WEIGHTS, Placement, Rank, Shard
from core.units import GIB, show
from core.words import device_name, model_name

# What a bar tells apart; the table has every part.
BARS = {
    "attention": "attention",
    "feed-forward": "feed-forward",
    "shared experts": "feed-forward",
    "router": "feed-forward",
    "norms": "attention",
    "experts": "experts",
    "embedding table": "table and head",
    "output head": "table and head",
    CACHE: CACHE,
}
BUFFERS, SET_ASIDE = "buffers and context", "set aside by the engine"
BAR_NAMES = (*dict.fromkeys(BARS.values()), BUFFERS, SET_ASIDE)
MOST_BARS = 16  # beyond, ranks of a stage share a bar
MOST_CELLS = 64  # beyond, the first replica stands for all

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Cell:
    """One device in the grid: its name, what it holds in a few lines, and how full it is (1 is the limit)."""

    title: str
    lines: tuple[str, ...]
    full: float
    text: str


@dataclass(frozen=True, slots=True)
class Stage:
    """A row of the grid: the devices of one pipeline stage of one replica."""

    title: str
    about: str
    cells: tuple[Cell, ...]


def _plural(count: int, word: str) -> str:
    return f"{count:,} {word}{'' if count == 1 else 's'}"


def sentence(found: Placement) -> str:
    """The placement in one sentence."""
    rank, count = found.fullest, len(found.ranks)
    what = f"{model_name(found.ir.id)} on {count} {device_name(found.device)}"
    if rank.room < 0:
        return f"{what}: the fullest rank needs {show(rank.held, 'B')}, {show(-rank.room, 'B')} more than it may take."
    each = "it holds" if count == 1 else "each holds" if len({r.held for r in found.ranks}) == 1 else "the fullest holds"
    return f"{what}: {each} {show(rank.held, 'B')} of {show(rank.limit, 'B')}."


def split_words(found: Placement) -> str:
    """How the model is cut, in words."""
    d = found.degrees
    said = [
        (d["dp"], f"{d['dp']} replicas" if d["ep"] == 1 and d["mlp_tp"] == d["tp"] else f"attention in {d['dp']} replicas"),
        (d["pp"], f"{d['pp']} stages of whole layers"),
        (d["tp"], f"every layer cut in {d['tp']}" if d["mlp_tp"] == d["tp"] else f"attention cut in {d['tp']}"),
        (d["mlp_tp"] if d["mlp_tp"] != d["tp"] else 1, f"the feed-forward part cut in {d['mlp_tp']}"),
        (d["ep"], f"experts dealt out to {d['ep']} groups"),
        (d["cp"], f"the context cut in {d['cp']}"),
    ]
    parts = [text for degree, text in said if degree > 1]
    return f"{'; '.join(parts)}.".capitalize() if parts else "One device holds all."


def ranges(numbers: tuple[int, ...]) -> str:
    """Layer numbers in short: "0–2, 5, 7–9"; many pieces as a count."""
    if not numbers:
        return "none"
    pieces, start = [], numbers[0]
    for here, after in zip(numbers, (*numbers[1:], None), strict=True):
        if after != here + 1:
            pieces.append(f"{start}" if start == here else f"{start}–{here}")
            start = after if after is not None else start
    return ", ".join(pieces) if len(pieces) <= 3 else f"{len(numbers)} from {numbers[0]} to {numbers[-1]}"


# ---------------------------------------------------------------- bars


def bar_rows(found: Placement) -> list[Row]:
    """A stacked bar for each rank, or for the ranks of a stage where there are many: GiB from `start` to `end`."""
    rows: list[Row] = []
    for name, rank in _drawn(found):
        sums: dict[str, float] = {}
        for part, size in rank.parts.items():
            bar = BARS.get(part, BUFFERS)
            sums[bar] = sums.get(bar, 0.0) + size
        sums[SET_ASIDE] = max(0.0, found.taken - rank.held)
        at = 0.0
        for bar in BAR_NAMES:
            size = sums.get(bar, 0.0) / GIB
            if size > 0.001:
                rows.append({"rank": name, "part": bar, "start": at, "end": at + size, "GiB": size})
                at += size
    return rows


def _drawn(found: Placement) -> list[tuple[str, Rank]]:
    if len(found.ranks) <= MOST_BARS:
        return [(f"GPU {rank.device}", rank) for rank in found.ranks]
    first = [rank for rank in found.ranks if rank.replica == rank.tensor == rank.context == 0]
    alike = len(found.ranks) // len(first)
    return [(f"stage {rank.stage + 1}, {alike} GPUs" if len(first) > 1 else f"each of {alike} GPUs", rank) for rank in first]


def bar_scale(found: Placement) -> float:
    """GiB at which the axis of the bars ends."""
    return 1.06 * max(found.fullest.held, found.memory, found.taken) / GIB


def in_gib(size: float) -> float:
    return size / GIB


# ---------------------------------------------------------------- the grid


def grid(found: Placement) -> list[Stage]:
    """Devices by replica and stage; the first replica alone where all would be too many."""
    replicas = 1 if len(found.ranks) > MOST_CELLS else found.degrees["dp"]
    stages = []
    for replica in range(replicas):
        for stage in range(found.degrees["pp"]):
            ranks = [rank for rank in found.ranks if (rank.replica, rank.stage) == (replica, stage)]
            names = [f"Replica {replica + 1}"] if found.degrees["dp"] > 1 else []
            names += [f"Stage {stage + 1}"] if found.degrees["pp"] > 1 else []
            layers = ranks[0].layers
            about = f"{_plural(len(layers), 'layer')}: {ranges(layers)}" if layers else "no layers"
            nodes = sorted({rank.node + 1 for rank in ranks})
            if found.nodes > 1:
                about += f" · node {nodes[0]}" if len(nodes) == 1 else f" · nodes {nodes[0]}–{nodes[-1]}"
            stages.append(Stage(" · ".join(names) or "All layers", about, tuple(_cell(found, rank) for rank in ranks)))
    return stages


def _cell(found: Placement, rank: Rank) -> Cell:
    lines = [line for shard in _distinct(rank) for line in _shard_lines(shard)]
    d = found.degrees
    if rank.embedding is not None or rank.head is not None:
        names = [name for name, span in (("table", rank.embedding), ("head", rank.head)) if span is not None]
        span = rank.head or rank.embedding
        lines.append(f"{' and '.join(names)}: {'whole' if d['tp'] == 1 else f'rows {span}'}")
    return Cell(
        title=f"GPU {rank.device}",
        lines=tuple(dict.fromkeys(lines)),
        full=rank.held / rank.limit if rank.limit > 0 else 1.0,
        text=f"{show(rank.held, 'B')}, {rank.held / rank.limit:.0%}" if rank.limit > 0 else show(rank.held, "B"),
    )


def _distinct(rank: Rank) -> list[Shard]:
    """Shards that read differently: kinds of layer that are cut alike are told once."""
    seen: dict[tuple[str, ...], Shard] = {}
    for shard in rank.shards:
        seen.setdefault(tuple(_shard_lines(shard)), shard)
    return list(seen.values())


def _shard_lines(shard: Shard) -> list[str]:
    lines = []
    if shard.heads is not None:
        lines.append(f"heads {shard.heads}")
    if shard.kv_heads is not None:
        copies = f", held by {shard.kv_heads.copies}" if shard.kv_heads.copies > 1 else ""
        lines.append(f"KV heads {shard.kv_heads}{copies}")
    elif shard.latent:
        lines.append("KV latent whole")
    if shard.columns is not None:
        lines.append(f"{'shared expert' if shard.experts else 'feed-forward'} {shard.columns}")
    if shard.experts is not None:
        lines.append(f"experts {shard.experts}")
    if shard.expert_columns is not None and shard.expert_columns.high - shard.expert_columns.low < shard.expert_columns.whole:
        lines.append(f"of each expert {shard.expert_columns}")
    return lines


# ---------------------------------------------------------------- tables


def table(found: Placement) -> list[Row]:
    """Every rank as a line: where it is, what it holds, and GiB by part."""
    names = list(dict.fromkeys(name for rank in found.ranks for name in rank.parts))
    rows = []
    for rank in found.ranks:
        row: Row = {
            "GPU": rank.device,
            "Node": rank.node + 1,
            "Replica": rank.replica + 1,
            "Stage": rank.stage + 1,
            "Tensor rank": rank.tensor,
            "Layers": ranges(rank.layers),
            "Shards": "; ".join(line for shard in _distinct(rank) for line in _shard_lines(shard)),
            "Held, GiB": rank.held / GIB,
            "Room, GiB": rank.room / GIB,
        }
        rows.append(row | {f"{name}, GiB": rank.parts.get(name, 0.0) / GIB for name in names})
    return rows


def copy_rows(found: Placement) -> list[Row]:
    """What is held more than once, in GiB over all ranks beyond the first copy, largest first."""
    return [
        {"Part": name, "Copies beyond the first, GiB": size / GIB}
        for name, size in sorted(found.copies.items(), key=lambda item: -item[1])
        if size > GIB / 1000
    ]


def weights_words(found: Placement) -> str:
    """The weights over all devices and what of them is copies, in a sentence."""
    on_devices = sum(rank.weights for rank in found.ranks)
    copied = sum(found.copies.values())
    text = f"All devices together hold {show(on_devices, 'B')} of weights"
    return f"{text}, {show(copied, 'B')} of it more than once." if copied > 0.001 * on_devices else f"{text}, each once."


def host_words(found: Placement) -> str:
    """What lies in host memory, in a sentence; empty where nothing does."""
    host = found.host
    if host is None:
        return ""
    what = [f"{_plural(len(host.layers), 'whole layer')} ({ranges(host.layers)})"] if host.layers else []
    what += [f"the experts of {_plural(len(host.experts_of), 'layer')} ({ranges(host.experts_of)})"] if host.experts_of else []
    what += ["the embedding table"] if WEIGHTS["embedding"] in host.parts else []
    return f"In host memory, {show(sum(host.parts.values()), 'B')} of {show(host.limit, 'B')} that may be used: {'; '.join(what)}."
