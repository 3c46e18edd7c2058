"""What is best: orders by objective, ties within the interval, the Pareto front, and what an option loses against it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from core.catalog.quality import tiers
from core.goal import Goal
from core.solve_gates import ends
from core.solved import Candidate
from core.units import show

POINT = 0.01  # of a task's score: losses are compared as people read them, in whole points
SMALLER = 0.05  # of speed that a smaller KV cache must gain, whose own loss is not known
WORTH = 0.2  # of speed for a point: about what the next smaller model of a family gains for each point that it loses


def points(loss: np.ndarray) -> np.ndarray:
    """Losses in points; what nobody measured counts as the most that is negligible."""
    return np.where(np.isnan(loss), tiers()["negligible"], loss) / POINT


def order_keys(goal: Goal, table: Mapping[str, np.ndarray], machines: np.ndarray, usd_per_h: np.ndarray, loss: np.ndarray,
               parameters: float, cache: np.ndarray, room: np.ndarray | None = None) -> list[np.ndarray]:  # fmt: skip
    """Columns to sort candidates by, the most important first, small is good. `table` holds metrics of one machine, with "low" and
    "high" ends where there are any; `cache`: 1 where the KV cache is smaller than the engine's own; `room`: tokens for each user, where
    they are open.

    Among quantisations that the floor allows, a point of quality weighs as much as WORTH of speed.
    """

    cost = np.nan_to_num(usd_per_h * machines, nan=np.inf)
    rate, slow = table["output_rate"], table["latency"]
    if goal.pessimistic:
        with np.errstate(all="ignore"):
            slow = ends(table, "latency", "high", goal.output_tokens)
            rate = np.fmax(table["output_rate low"], rate * table["latency"] / slow)
    rate = rate * machines
    worth = np.exp(WORTH * points(loss))
    cents = np.round(cost, 4)
    with np.errstate(all="ignore"):
        slow, rate = np.nan_to_num(slow, nan=np.inf, posinf=np.inf) * worth, rate / worth
        first = {
            "cost": [cents],
            "throughput": [-rate],
            "latency": [slow],
            "model_size": [np.full(len(machines), -parameters), cents],
            "throughput_per_usd": [-rate / cost],
            "throughput_per_w": [-rate / (table["power"] * machines)],
            "context": [np.zeros(len(machines)) if room is None else -room.astype(float), cents],
        }[goal.objective]
        return [np.nan_to_num(key, nan=np.inf, posinf=np.inf) for key in (*first, slow * (1 + SMALLER * cache), cents)]


def ranked(keys: Sequence[np.ndarray]) -> np.ndarray:
    """Places in order of the keys, the first the most important."""
    return np.lexsort(tuple(reversed(list(keys))))


# ---------------------------------------------------------------- ties


def tied(goal: Goal, one: Candidate, other: Candidate) -> bool:
    """Whether the objective does not tell two candidates apart: they cost the same, or each is within the other's range."""
    if goal.objective == "model_size":
        return one.scenario.model == other.scenario.model
    if goal.objective == "context":
        return one.scenario.deployment.max_context == other.scenario.deployment.max_context
    if goal.objective == "cost":
        return abs(one.usd_per_month - other.usd_per_month) <= 0.005 * max(one.usd_per_month, other.usd_per_month, 0.01)
    metric = "latency" if goal.objective == "latency" else "output_rate"
    scale = [{"throughput_per_usd": 1 / c.usd_per_h, "throughput_per_w": 1 / c.metrics["power"]}.get(goal.objective, float(c.machines))
             for c in (one, other)]  # fmt: skip
    return _within(one, other, metric, *scale) and _within(other, one, metric, *reversed(scale))


def _within(one: Candidate, other: Candidate, metric: str, scale: float, other_scale: float) -> bool:
    low, high = other.bands.get(metric, (other.metrics[metric],) * 2)
    return low * other_scale <= one.metrics[metric] * scale <= high * other_scale


# ---------------------------------------------------------------- Pareto

AXES = ("cost", "throughput", "latency", "quality")


def axes(goal: Goal, candidate: Candidate) -> tuple[float, float, float, float]:
    """Cost, throughput, latency and loss, small is good, at the end that the goal ranks by; throughput is negative."""
    bad = goal.pessimistic
    cost = candidate.usd_per_month
    rate = candidate.bound("output_rate", pessimistic=bad) * candidate.machines
    lost = tiers()["negligible"] if candidate.quality is None else candidate.quality
    return float(np.nan_to_num(cost, nan=np.inf)), -rate, candidate.bound("latency", pessimistic=bad), float(np.round(lost / POINT))


def front(goal: Goal, listed: Sequence[Candidate]) -> list[Candidate]:
    """Those that no other beats in everything, cheapest first. Of several that are alike in everything the first stays."""
    figures = np.array([axes(goal, c) for c in listed]).reshape(-1, len(AXES))
    kept = [c for n, c in enumerate(listed) if beaten_by(figures, n) is None]
    return sorted(kept, key=lambda c: axes(goal, c))


def beaten_by(figures: np.ndarray, n: int) -> int | None:
    """The first row that is as good everywhere and better somewhere, or the same and earlier."""
    as_good = (figures <= figures[n]).all(axis=1)
    better = as_good & ((figures < figures[n]).any(axis=1) | (np.arange(len(figures)) < n))
    return int(np.argmax(better)) if better.any() else None


def losing(goal: Goal, candidate: Candidate, against: Sequence[Candidate]) -> str:
    """What an option loses against the member of the front that beats it, in a sentence; empty where none does."""
    mine = np.array(axes(goal, candidate))
    for other in against:
        its = np.array(axes(goal, other))
        if other is candidate or not (its <= mine).all() or not (its < mine).any():
            continue
        said = []
        if mine[0] > its[0]:
            said.append(f"costs {show(mine[0] - its[0], 'USD')} a month more")
        if -mine[1] < -its[1]:
            said.append(f"writes {1 - mine[1] / its[1]:.0%} fewer tokens a second")
        if mine[2] > its[2]:
            said.append(f"answers {mine[2] / its[2] - 1:.0%} later")
        if mine[3] > its[3]:
            said.append(f"loses {mine[3] - its[3]:.0f} points more of a task's score")
        listed = f"{', '.join(said[:-1])} and {said[-1]}" if len(said) > 1 else said[0]
        return f"Against {other.machine.name} with {other.quant} it {listed}."
    return ""
