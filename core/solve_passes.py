"""Array passes over candidates: does it fit, roughly how fast, and exactly how fast.

Roughly means with the correction of a near relative: one candidate for each device, runtime and kind of weights is corrected as
it should be, and lends its constants and factors to the others. What is shown comes of exact passes alone.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from core.batch import Group, run
from core.candidates import Space
from core.catalog.fitted_memory import memory_band
from core.corrected import BAND_OF, applied, correct, estimated_bytes, factors_at, learn, support_of
from core.correction import Correction
from core.features import TERMS
from core.formulas.economics import electricity_rate, purchase_rate
from core.formulas.queueing import tail_time
from core.goal import Goal
from core.machine import Columns
from core.memory import Fit, fit
from core.pipeline import metrics_from
from core.plan import make_plan
from core.serving import Served
from core.units import HOUR, KWH

SHARES = {"p90": 0.90, "p95": 0.95, "p99": 0.99}  # of requests that stay below a target; without one: the mean
TIMES = ("ttft", "tpot", "latency")

Arrays = dict[str, np.ndarray]


@dataclass(slots=True)
class Memories:
    """Arrays along candidates: whether it runs, with weights on the host or not, and the bytes that are short (0 where none)."""

    fits: np.ndarray
    offloaded: np.ndarray
    short: np.ndarray
    ample: np.ndarray | None = None  # on devices alone, surely, and no user waits for room; where the room is open


def fits_of(group: Group, c: Columns, found: Fit, may_offload: np.ndarray | bool = True) -> Memories:
    """As `core.verdict.feasible` says of one scenario, for all of a group. Beyond that a server that shares a pool must have room in
    it for one conversation of the context that it is started with, or for as many as it is told to hold, and nothing lies in host memory
    where it may not."""

    def spread(x: Any) -> np.ndarray:
        return np.broadcast_to(np.asarray(x, dtype=float), len(group))

    with np.errstate(all="ignore"):
        short = -spread(found.headroom)
        over_host = spread(found.host_needed) - spread(found.host_limit) if found.host_parts else np.full(len(group), -1.0)
        pooled = spread(c.pooled) > 0
        least = np.where(spread(c.sequences_given) > 0, spread(c.max_sequences), 1.0)
        no_sequence = pooled & ((spread(found.batch_cap) < least) | (least * spread(found.kv_sequence) > spread(found.pool)))
        # A server only queues when its pool is full: users beyond it wait, nothing fails.
        cache = (short > 0) & (spread(found.weights) <= spread(found.limit)) & (spread(found.pool) > 0)
        away = spread(found.host_experts) > 0
        fails = ((short > 0) | (over_host > 0) | no_sequence) & ~(pooled & ~no_sequence & cache)
        crowded = np.where(no_sequence, least * spread(found.kv_sequence) - spread(found.pool), 0.0)
        lacking = np.maximum(np.maximum(short, over_host), crowded)
        banned = away & ~np.asarray(may_offload)
        fails, lacking = fails | banned, np.maximum(lacking, np.where(banned, spread(found.host_needed), 0.0))
    return Memories(~fails, away, np.where(fails, np.maximum(lacking, 1.0), 0.0))


def memory_pass(space: Space, index: np.ndarray, machines: np.ndarray) -> Memories:
    """Whether candidates fit, with the users that they are given; of random arrivals one must fit. The space learns which have weights
    in host memory."""

    def one(at: np.ndarray, group: Group) -> Arrays:
        with np.errstate(all="ignore"):
            laid_out = fit(make_plan(group.ir, group.c), group.c)
            found = fits_of(group, group.c, laid_out, space.may_offload(index[at]))
            told = {"fits": found.fits, "offloaded": found.offloaded, "short": found.short}
            if space.room is not None:
                each = group.spread(group.c.users) / group.spread(group.c.dp)
                waits = (group.spread(group.c.pooled) > 0) & (group.spread(laid_out.batch_cap) < each)
                surely = _fits_at_worst(group, group.c, laid_out, [space.rows[row][0].kind for row in space.row[index[at]]])
                told["ample"] = found.fits & ~found.offloaded & ~waits & surely & (group.arrival == "closed")
        return told

    whole = _each(one, space, index, machines)
    space.away[index] = whole["offloaded"]
    return Memories(whole["fits"], whole["offloaded"], whole["short"], whole.get("ample"))


def _each(work: Callable[[np.ndarray, Group], Arrays], space: Space, index: np.ndarray, machines: np.ndarray) -> Arrays:
    """`work` on groups of the candidates (with their places in `index`), joined along `index`.

    One after the other: two threads take a quarter more of the processor, for arrays of a pass are so short that they wait for the
    interpreter's lock, and are no sooner ready.
    """
    whole: Arrays = {}
    for at, group in space.groups(index, machines):
        for name, amounts in work(at, group).items():
            whole.setdefault(name, np.zeros(len(index), dtype=np.asarray(amounts).dtype))[at] = amounts
    return whole


def outcome(goal: Goal, group: Group, c: Columns, found: Fit, served: Served, may_offload: np.ndarray | bool = True) -> Arrays:
    """What gates and ranking look at, arrays along the group in base units: metrics, times at the goal's percentile, "load"
    (share of the capacity that arrivals ask for), "fits", "offloaded" and "short"."""
    with np.errstate(all="ignore"):
        table = {name: group.spread(amount) for name, amount in metrics_from(c, found, served, group.arrival).items()}
        wait = group.spread(served.wait) * (1.0 if c.ttft_factor is None else c.ttft_factor)
        share = SHARES.get(goal.times_at)
        for name in TIMES:
            late = table[name] if share is None or name == "tpot" else tail_time(mean=table[name], wait=wait, share=share)
            table[f"{name} asked"] = late
        table["load"] = group.spread(served.load)
    memories = fits_of(group, c, found, may_offload)
    return {**table, "fits": memories.fits, "offloaded": memories.offloaded, "short": memories.short}


class Rough:
    """Candidates of one model with what their nearest relative was corrected by."""

    def __init__(self, space: Space, correction: Correction, index: np.ndarray) -> None:
        """`index`: candidates that fit, the most promising of each kind first."""
        self.space, self.version = space, correction.version
        self._told: dict[tuple[bytes, bytes, bool], Arrays] | None = None  # passes that are remembered, where they are to be
        kinds: dict[tuple[str, str, str], int] = {}
        of_row = [kinds.setdefault((row.kind.device, runtime, row.kind.kernel_class), len(kinds)) for row, runtime, _ in space.rows]
        self._kind = np.array(of_row, dtype=int)[space.row] if len(space) else np.zeros(0, dtype=int)
        self.scales = {term: np.ones(len(kinds)) for term in TERMS}
        self.factors = {name: np.ones(len(kinds)) for name in ("decode_factor", "prefill_factor", "ttft_factor")}
        self.widths = {kind: (np.zeros(len(kinds)), np.zeros(len(kinds))) for kind in set(BAND_OF.values())}
        _, first = np.unique(self._kind[index], return_index=True)
        self._remember(index[first], correction)

    def _remember(self, index: np.ndarray, correction: Correction) -> None:
        """Learns, unless the space knows it from a search with other targets."""
        goal = self.space.goal
        key, of = ("learned", goal.workload(), goal.context), index.tobytes()
        known = self.space.kept.get(key)
        if known is None or known[0] is not correction or known[1] != of:  # another correction after each run of one's own
            self._learn(index, correction)
            self.space.kept[key] = correction, of, self.scales, self.factors, self.widths
        else:
            _, _, self.scales, self.factors, self.widths = known

    def _learn(self, index: np.ndarray, correction: Correction) -> None:
        for at, group in self.space.groups(index, np.ones(len(index))):
            ours, kind = index[at], self._kind[index[at]]
            table, factors = learn(group, self.space.kinds(ours), correction)
            for term, scale in factors.scales.items():
                self.scales[term][kind] = scale
            for name, factor in factors_at(factors, table.index).items():
                self.factors[name][kind] = factor
            for name, (faster, slower) in self.widths.items():
                faster[kind], slower[kind] = correction.bands.widths_of(name, factors.doubt)

    def of(self, space: Space) -> Rough:
        """The same for a goal that differs in targets alone; both remember their passes for each other."""
        other = copy.copy(self)
        other.space = space
        other._told = self._told = {} if self._told is None else self._told
        return other

    def outcome(self, index: np.ndarray, machines: np.ndarray, *, alone: bool = False) -> Arrays:
        """What becomes of candidates, each with so many machines: `outcome` with the ends of rough ranges, as `exact_pass` has them.
        `alone`: with one user on each, which needs no fixed point of the load."""
        if self._told is None:
            return self._outcome(index, machines, alone)
        key = (index.tobytes(), machines.tobytes(), alone)
        if key not in self._told:
            self._told[key] = self._outcome(index, machines, alone)
        return {name: amounts.copy() for name, amounts in self._told[key].items()}

    def _outcome(self, index: np.ndarray, machines: np.ndarray, alone: bool) -> Arrays:

        def one(at: np.ndarray, group: Group) -> Arrays:
            kind = self._kind[index[at]]
            if alone:
                group.c.users = 1.0
                group = replace(group, arrival="closed")
            scales = {term: scale[kind] for term, scale in self.scales.items()}
            c = applied(group.c, scales, {name: factor[kind] for name, factor in self.factors.items()}, self.version)
            _, found, served = run(replace(group, c=c))
            table = outcome(self.space.goal, group, c, found, served, self.space.may_offload(index[at]))
            for name, sort in BAND_OF.items():
                faster, slower = (width[kind] for width in self.widths[sort])
                low, high = (faster, slower) if name in TIMES else (-slower, -faster)
                table |= {f"{name} low": table[name] * np.exp(low), f"{name} high": table[name] * np.exp(high)}
            return table

        return _each(one, self.space, index, machines)


@dataclass(slots=True)
class Exact:
    """Corrected candidates: `table` as of `outcome` with p10 and p90 of each metric ("ttft low", "ttft high"), and for each its
    ranges and support."""

    table: Arrays
    bands: list[Mapping[str, tuple[float, float]]]
    support: list[str]


def exact_pass(space: Space, correction: Correction, index: np.ndarray, machines: np.ndarray) -> Exact:
    """The candidates as `core.sweep.answer` has each of them alone."""
    bands: list[Mapping[str, tuple[float, float]]] = [{}] * len(index)
    support = [""] * len(index)

    def one(at: np.ndarray, group: Group) -> Arrays:
        kinds = space.kinds(index[at])
        found = correct(group, kinds, correction)
        table = outcome(space.goal, group, found.c, found.found, found.served, space.may_offload(index[at]))
        for name, (low, high) in found.ends.items():
            table |= {f"{name} low": low, f"{name} high": high}
        if space.goal.pessimistic:
            table["fits"] = table["fits"] & _fits_at_worst(group, found.c, found.found, kinds)
        for n, place in enumerate(at):
            bands[place] = found.bands(n)
            support[place] = support_of(correction, found.table, n).level
        return table

    return Exact(_each(one, space, index, machines), bands, support)


def _fits_at_worst(group: Group, c: Columns, fitted: Fit, kinds: list[Any]) -> np.ndarray:
    """Whether there is room where the estimated parts of memory are as large as in the worst tenth of runs. A server's share of the
    card does not grow, and an engine that lays the layers out itself leaves a margin."""
    high = np.array([memory_band(kind.runtime, kind.backend)[1] for kind in kinds])
    with np.errstate(all="ignore"):
        more = (high - 1) * group.spread(estimated_bytes(c, fitted)) / group.spread(c.count)
        settled = (group.spread(c.pooled) > 0) | (group.spread(fitted.host_experts) > 0)
        return settled | (group.spread(fitted.headroom) >= more)


def usd_per_h(space: Space, index: np.ndarray, power: np.ndarray) -> np.ndarray:
    """USD an hour of one machine of each candidate while it runs, as the estimate reckons it; NaN where no price is known."""
    goal = space.goal
    at = space.machine[index]
    rent = np.array([np.nan if m.usd_per_h is None else m.usd_per_h for m in space.machines])[at]
    price = np.array([0.0 if m.side == "owned" else np.nan if m.purchase_usd is None else m.purchase_usd for m in space.machines])[at]
    rented = np.array([m.usd_per_h is not None for m in space.machines])[at]
    tariff = space.tariff if goal.electricity_usd_per_kwh is None else goal.electricity_usd_per_kwh / KWH
    life = goal.life_years * 365.25 * 24 * 3600
    running = purchase_rate(price=price, life=life, use=1.0) + electricity_rate(power=power, tariff=tariff)
    return np.where(rented, rent, running * HOUR)
