"""A split laid out, as records: pieces of layers, ranks with their bytes, the host, and the whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from core.answer import Feasibility, Reason
from core.ir import ModelIR
from core.scenario import Scenario

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
    name: str = ""  # the kind of device, where they are not alike
    taken: float = 0.0  # what the engine claims at start, where it claims more than it needs

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
        """The rank with the least room: where devices are alike, the one that holds the most."""
        return min(self.ranks, key=lambda rank: rank.room)

    @property
    def unlike(self) -> bool:
        """Whether the devices are not alike."""
        return bool(self.ranks[0].name)

    @property
    def fits(self) -> bool:
        """Whether every rank holds its part, host memory aside."""
        return self.feasibility == "in_vram"
