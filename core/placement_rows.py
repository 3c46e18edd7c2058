"""A placement as rows for pages: bars, cells and tables, in the units people read. Sorting and scaling only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from core.catalog.hardware import device
from core.placement import CACHE, WEIGHTS, Placement, Rank, Shard, Span
from core.units import GIB, show
from core.words import device_name, machine_name, model_name

# What a bar tells apart; the table has every part.
BARS = {
    "attention": "attention and norms",
    "norms": "attention and norms",
    "feed-forward": "feed-forward",
    "experts": "experts and router",
    "shared experts": "experts and router",
    "router": "experts and router",
    "embedding table": "embedding and head",
    "output head": "embedding and head",
    CACHE: CACHE,
}
BUFFERS, SET_ASIDE = "buffers and context", "set aside by the engine"
BAR_NAMES = (*dict.fromkeys(BARS.values()), BUFFERS, SET_ASIDE)
COLOURS = (*dict.fromkeys(BARS.values()), "", SET_ASIDE, BUFFERS)  # by the theme's order of colours, but for the limit's
MOST_BARS = 16  # beyond, ranks of a stage share a bar
MOST_CELLS = 32  # beyond, the first replica stands for all

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
    """A section of the grid: the devices of one pipeline stage of one replica, or of several stages of one device each."""

    title: str
    about: str
    cells: tuple[Cell, ...]


def _named(found: Placement, rank: Rank) -> str:
    if rank.name:
        return f"{rank.device}: {device_name(rank.name)}"
    return f"{'CPU' if device(found.device).kind == 'cpu' else 'GPU'} {rank.device}"


def _plural(count: int, word: str) -> str:
    return f"{count:,} {word}{'' if count == 1 else 's'}"


def sentence(found: Placement) -> str:
    """The placement in one sentence."""
    rank, count = found.fullest, len(found.ranks)
    used = f"{'one' if count == 1 else count}{f' of {count + found.idle}' if found.idle else ''}"
    what = f"{model_name(found.ir.id)} on {used} {device_name(found.device)}{f', {found.idle} idle' if found.idle else ''}"
    if found.unlike:
        what = f"{model_name(found.ir.id)} on {machine_name(found.scenario)}"
        tight = f"the tightest, {device_name(rank.name)},"
        if rank.room < 0:
            return f"{what}: {tight} needs {show(rank.held, 'B')}, {show(-rank.room, 'B')} more than it may take."
        return f"{what}: {tight} holds {show(rank.held, 'B')} of {show(rank.limit, 'B')}."
    if rank.room < 0:
        one = "it" if count == 1 else "the fullest rank"
        return f"{what}: {one} needs {show(rank.held, 'B')}, {show(-rank.room, 'B')} more than it may take."
    each = "it holds" if count == 1 else "each holds" if len({r.held for r in found.ranks}) == 1 else "the fullest holds"
    return f"{what}: {each} {show(rank.held, 'B')} of {show(rank.limit, 'B')}."


def split_words(found: Placement) -> str:
    """How the model is cut, in words."""
    d = found.degrees
    said = [
        (d["dp"], f"{d['dp']} replicas" if d["ep"] == 1 and d["mlp_tp"] == d["tp"] else f"attention in {d['dp']} replicas"),
        (d["pp"], _dealt(found) if found.unlike else f"{d['pp']} stages of whole layers"),
        (d["tp"], f"every layer cut in {d['tp']}" if d["mlp_tp"] == d["tp"] else f"attention cut in {d['tp']}"),
        (d["mlp_tp"] if d["mlp_tp"] != d["tp"] else 1, f"the feed-forward part cut in {d['mlp_tp']}"),
        (d["ep"], f"experts dealt out to {d['ep']} groups"),
        (d["cp"], f"the context cut in {d['cp']}"),
    ]
    text = "; ".join(text for degree, text in said if degree > 1)
    if not text:
        shared = found.host is not None and (found.host.layers or found.host.experts_of)
        text = "one device holds what is not in host memory" if shared else "one device holds all"
    return f"{text[0].upper()}{text[1:]}."


def _dealt(found: Placement) -> str:
    """Which device got how many layers, in their order."""
    ranks = [rank for rank in found.ranks if rank.replica == rank.tensor == rank.context == 0]
    return f"whole layers: {', '.join(f'{len(rank.layers)} on {device_name(rank.name)}' for rank in ranks)}"


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
        sums[SET_ASIDE] = max(0.0, rank.taken - rank.held)
        at = 0.0
        for bar in BAR_NAMES:
            size = sums.get(bar, 0.0) / GIB
            if size > 0.001:
                rows.append({"rank": name, "part": bar, "start": at, "end": at + size, "GiB": size})
                at += size
    return rows


def _drawn(found: Placement) -> list[tuple[str, Rank]]:
    if len(found.ranks) <= MOST_BARS:
        return [(_named(found, rank), rank) for rank in found.ranks]
    first = [rank for rank in found.ranks if rank.replica == rank.tensor == rank.context == 0]
    alike = len(found.ranks) // len(first)
    return [(f"stage {rank.stage + 1}, {alike} GPUs" if len(first) > 1 else f"each of {alike} GPUs", rank) for rank in first]


def bar_scale(found: Placement) -> float:
    """GiB at which the axis of the bars ends."""
    held, limits = max(rank.held for rank in found.ranks), max(rank.limit for rank in found.ranks)
    return 1.06 * max(held, found.memory, found.taken, limits) / GIB


def limit_rows(found: Placement) -> list[Row]:
    """Each bar's own limit in GiB, where devices are not alike; none where one line stands for all."""
    if not found.unlike:
        return []
    return [{"rank": name, "limit": rank.limit / GIB, "text": f"limit {show(rank.limit, 'B')}"} for name, rank in _drawn(found)]


def in_gib(size: float) -> float:
    return size / GIB


# ---------------------------------------------------------------- the grid


def grid(found: Placement) -> list[Stage]:
    """Devices by replica and stage (by replica alone where a stage is one device); the first replica alone where all are too many."""
    d = found.degrees
    single = d["tp"] * d["cp"] == 1
    stages: dict[tuple[int, int], list[Rank]] = {}
    for rank in found.ranks:
        if rank.replica == 0 or len(found.ranks) <= MOST_CELLS:
            stages.setdefault((0, 0) if single and d["pp"] == 1 else (rank.replica, 0 if single else rank.stage), []).append(rank)
    return [_stage(found, ranks, single=single) for ranks in stages.values()]


def _stage(found: Placement, ranks: list[Rank], *, single: bool) -> Stage:
    d = found.degrees
    names = [f"Replica {ranks[0].replica + 1}"] if d["dp"] > 1 and ranks[0].replica == ranks[-1].replica else []
    names += [f"Stage {ranks[0].stage + 1}"] if d["pp"] > 1 and not single else []
    layers = tuple(sorted({layer for rank in ranks for layer in rank.layers}))
    about = [f"{_plural(len(layers), 'layer')}, {ranges(layers)}" if layers else "no layers"]
    nodes = sorted({rank.node + 1 for rank in ranks})
    if found.nodes > 1:
        about.append(f"node {nodes[0]}" if len(nodes) == 1 else f"nodes {nodes[0]}–{nodes[-1]}")
    wholes = dict.fromkeys(text for rank in ranks for shard in rank.shards for text in _wholes(shard))
    if len(ranks) > 1 and wholes:
        about.append(f"each device holds its part of {_listed(list(wholes))}")
    return Stage(" · ".join(names) or "All devices", " · ".join(about), tuple(_cell(found, rank) for rank in ranks))


def _cell(found: Placement, rank: Rank) -> Cell:
    d = found.degrees
    whole = "" if any(_wholes(shard) for shard in rank.shards) else "whole "
    lines = [] if whole else [line for shard in _distinct(rank) for line in _shard_lines(shard, of=False)]
    if whole or (d["pp"] > 1 and d["tp"] * d["cp"] == 1):
        away = _experts_away(found, rank)
        many = _plural(len(rank.layers), f"{'' if away else whole}layer")
        without = "" if not away else ", without their experts" if away == len(rank.layers) else f", {away} of them without their experts"
        lines = [f"{many}, {ranges(rank.layers)}{without}" if rank.layers else "no layers", *lines]
    names = [name for name, span in (("embedding table", rank.embedding), ("output head", rank.head)) if span is not None]
    if names:
        span = rank.head or rank.embedding
        what = "vocabulary rows" if len(names) == 2 else f"{names[0]}, rows"
        lines.append(" and ".join(names) if span is None or d["tp"] == 1 else f"{what} {span.piece}")
    if rank.parts.get(CACHE):
        lines.append(f"{show(rank.parts[CACHE], 'B')} of KV cache")
    share = rank.held / rank.limit if rank.limit > 0 else 1.0
    return Cell(_named(found, rank), tuple(dict.fromkeys(lines)), share, f"{show(rank.held, 'B')}, {share:.0%}")


def _experts_away(found: Placement, rank: Rank) -> int:
    """Of how many of a device's layers the experts lie in host memory."""
    return 0 if found.host is None else len(set(found.host.experts_of) & set(rank.layers))


def _listed(parts: list[str]) -> str:
    return " and ".join(filter(None, (", ".join(parts[:-1]), parts[-1])))


def _distinct(rank: Rank) -> list[Shard]:
    """Shards that read differently: kinds of layer that are cut alike are told once."""
    seen: dict[tuple[str, ...], Shard] = {}
    for shard in rank.shards:
        seen.setdefault(tuple(_shard_lines(shard)), shard)
    return list(seen.values())


def _wholes(shard: Shard) -> list[str]:
    """What is cut, in full. What is held whole is told on the device."""
    spans = (("heads", shard.heads), ("KV heads", shard.kv_heads), (_inner(shard), shard.columns), ("experts", shard.experts),
             ("columns of an expert", shard.expert_columns))  # fmt: skip
    return [f"{span.whole:,} {name}" for name, span in spans if span is not None and span.high - span.low < span.whole]


def _inner(shard: Shard) -> str:
    return "shared expert columns" if shard.experts else "feed-forward columns"


def _shard_lines(shard: Shard, *, of: bool = True) -> list[str]:
    """A shard in lines, each with the whole it is a piece of (`of`) or without."""

    def told(name: str, span: Span, whole: str = "") -> str:
        if span.high - span.low >= span.whole:
            return whole or f"all {span.whole:,} {name}"
        one = name.removesuffix("s") if span.high - span.low == 1 else name
        return f"{one} {span if of else span.piece}"

    lines = []
    if shard.heads is not None:
        lines.append(told("heads", shard.heads))
    if shard.kv_heads is not None:
        copies = f", on {shard.kv_heads.copies} ranks" if shard.kv_heads.copies > 1 else ""
        lines.append(told("KV heads", shard.kv_heads) + copies)
    elif shard.latent:
        lines.append("the whole KV latent")
    if shard.columns is not None:
        lines.append(told(_inner(shard), shard.columns, "the whole shared expert" if shard.experts else "the whole feed-forward part"))
    if shard.experts is not None:
        lines.append(told("experts", shard.experts))
    if shard.expert_columns is not None and shard.expert_columns.high - shard.expert_columns.low < shard.expert_columns.whole:
        lines.append(told("columns of each expert", shard.expert_columns))
    return lines


# ---------------------------------------------------------------- tables


def table(found: Placement) -> list[Row]:
    """Every rank as a line: where it is, what it holds, and GiB by part."""
    names = list(dict.fromkeys(name for rank in found.ranks for name in rank.parts))
    d = found.degrees
    many = {"Node": found.nodes, "Replica": d["dp"], "Stage": d["pp"], "Tensor rank": d["tp"] * d["cp"]}
    told = [name for name, count in many.items() if count > 1]  # where a device stands, as far as devices differ in it
    rows = []
    for rank in found.ranks:
        places = {"Node": rank.node + 1, "Replica": rank.replica + 1, "Stage": rank.stage + 1, "Tensor rank": rank.tensor}
        row: Row = {"Device": _named(found, rank), **{name: places[name] for name in told}, "Layers": ranges(rank.layers)}
        row["Parts"] = "; ".join(line for shard in _distinct(rank) for line in _shard_lines(shard))
        if away := _experts_away(found, rank):
            row["Parts"] += f"; experts of {_plural(away, 'layer')} in host memory"
        row |= {"Held, GiB": rank.held / GIB, "Room, GiB": rank.room / GIB}
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
    if len(found.ranks) == 1:
        return f"{show(on_devices, 'B')} of it are weights."
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
