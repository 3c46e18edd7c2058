"""Where the lines of two builds cross along a knob: the value, found by bisection on estimates, and said in a sentence."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

from core.compare import build, shown, spread
from core.errors import ScenarioError
from core.grid import Axis, swept_point
from core.scenario import Scenario

ROUNDS = 24  # of bisection: whole numbers end sooner
CLOSE = 0.005  # relative width at which a bracket is closed
MOST_SAID = 3


@dataclass(frozen=True, slots=True)
class Drawn:
    """A metric on the axis of a sweep: its unit, which way is better, and how a build that is better does."""

    key: str
    title: str
    unit: str
    more: bool
    does: str


DRAWN = {
    drawn.key: drawn
    for drawn in (
        Drawn("decode_rate", "Speed for each user", "tok/s", True, "writes faster"),
        Drawn("output_rate", "All users together", "tok/s", True, "writes more in all"),
        Drawn("ttft", "First token after", "s", False, "starts sooner"),
        Drawn("latency", "Whole answer after", "s", False, "answers sooner"),
        Drawn("prefill_rate", "Reading a prompt", "tok/s", True, "reads faster"),
        Drawn("usd_per_million", "Cost of a million output tokens", "USD", False, "writes cheaper"),
        Drawn("usd_per_month", "Cost of a month", "USD", False, "costs less a month"),
        Drawn("memory_peak", "Memory over all devices", "B", False, "takes less memory"),
        Drawn("power", "Power of the devices", "W", False, "draws less"),
        Drawn("energy_per_token", "Energy of an output token", "J", False, "needs less energy a token"),
    )
}


@dataclass(frozen=True, slots=True)
class Side:
    """One build at one value of the knob."""

    value: float
    amount: float  # of the metric, base unit


@dataclass(frozen=True, slots=True)
class Crossing:
    """From `at` on `better` is better, before it the other. Amounts of both builds there; whole numbers are the first such value."""

    at: float
    better: str
    one: float
    other: float


@dataclass(frozen=True, slots=True)
class Crossings:
    """Crossings of two builds' lines along an axis, ascending; `ties`: ends of the values at which the two are too close to call;
    and both in a sentence."""

    found: tuple[Crossing, ...]
    ties: tuple[float, float] | None
    sentence: str


class _Pair:
    """Builds along a knob, asked as often as needed (estimates are remembered)."""

    def __init__(self, names: tuple[str, ...], builds: tuple[Scenario, ...], axis: Axis, drawn: Drawn) -> None:
        self.names, self.builds, self.axis, self.drawn = names, builds, axis, drawn

    def amounts(self, at: float) -> tuple[float, ...]:
        """The metric of each; NaN where a build does not run."""
        setting = round(at) if self.axis.kind == "whole" else float(f"{at:.6g}")
        found = [swept_point(asked, (self.axis.knob, setting)) for asked in self.builds]
        return tuple(float(told[self.drawn.key]) if told["fits"] else math.nan for told in found)

    def lead(self, at: float) -> float:
        """ln of how much better the second is; NaN where one does not run."""
        one, other = self.amounts(at)
        if not (one > 0 and other > 0 and math.isfinite(one) and math.isfinite(other)):
            return math.nan
        return math.log(other / one) * (1 if self.drawn.more else -1)

    def middle(self, low: float, high: float) -> float | None:
        """A value between two; None where there is none left to ask."""
        if self.axis.kind == "whole":
            if high - low <= 1:
                return None
            between = round(math.sqrt(low * high)) if self.axis.log and low > 0 else round((low + high) / 2)
            return float(min(max(between, low + 1), high - 1))
        if abs(high - low) <= CLOSE * max(abs(high), abs(low)):
            return None
        return math.sqrt(low * high) if self.axis.log and low > 0 else (low + high) / 2


def crossings(one: Scenario, other: Scenario, axis: Axis, metric: str, names: tuple[str, str] = ("A", "B")) -> Crossings:
    """Where the two builds' lines of a metric cross between the axis's values. Raises ScenarioError for choices and unknown metrics."""
    if not axis.numeric:
        raise ScenarioError(f"Lines over {axis.title} do not cross: its values have no order.")
    if metric not in DRAWN:
        raise ScenarioError(f"There is no metric '{metric}' to draw; choose one of {', '.join(DRAWN)}.")
    pair = _Pair(names, (one, other), axis, DRAWN[metric])
    values = [float(amount) for amount in axis.values]
    leads = [pair.lead(at) for at in values]
    known = [(at, lead) for at, lead in zip(values, leads, strict=True) if not math.isnan(lead)]
    found = []
    for (low, before), (high, after) in itertools.pairwise(known):
        if before * after < 0:
            found.append(_bisected(pair, low, high, after))
    ties = _ties(pair, known)
    return Crossings(tuple(found), ties, _sentence(pair, known, tuple(found), ties))


def runs_up_to(name: str, asked: Scenario, axis: Axis) -> tuple[float | None, str]:
    """The largest value between the axis's ends at which a build still runs where larger ones do not, and a sentence that says so.

    None and an empty sentence where it runs to the end, or nowhere.
    """
    if not axis.numeric:
        return None, ""
    alone = _Pair((name,), (asked,), axis, DRAWN["memory_peak"])
    end = _end(alone, [float(amount) for amount in axis.values])
    return end, "" if end is None else f"{name} runs up to {_at(alone, end)} {axis.title}."


def _bisected(pair: _Pair, low: float, high: float, after: float) -> Crossing:
    for _ in range(ROUNDS):
        middle = pair.middle(low, high)
        if middle is None:
            break
        lead = pair.lead(middle)
        if math.isnan(lead):
            break  # neither side of a gap is the crossing
        low, high = (low, middle) if lead * after > 0 else (middle, high)
    first, second = pair.amounts(high)
    return Crossing(high, pair.names[1 if after > 0 else 0], first, second)


def _end(alone: _Pair, values: list[float]) -> float | None:
    runs = [not math.isnan(alone.amounts(at)[0]) for at in values]
    if runs[-1] or not any(runs):
        return None
    last = max(n for n, fine in enumerate(runs) if fine)
    low, high = values[last], values[last + 1]
    for _ in range(ROUNDS):
        middle = alone.middle(low, high)
        if middle is None:
            break
        low, high = (middle, high) if not math.isnan(alone.amounts(middle)[0]) else (low, middle)
    return low


def _ties(pair: _Pair, known: list[tuple[float, float]]) -> tuple[float, float] | None:
    """The ends of the values at which the difference is smaller than what is known; None where it never is."""
    one, other = (build(asked, name) for asked, name in zip(pair.builds, pair.names, strict=True))
    unsure = spread(pair.drawn.key, one, other)
    near = [at for at, lead in known if abs(lead) <= unsure and abs(lead) > 1e-9]
    return (min(near), max(near)) if near else None


# ---------------------------------------------------------------- in words


def _at(pair: _Pair, amount: float) -> str:
    if pair.axis.kind == "whole":
        return f"{amount:,.0f}"
    return f"{amount:,.3g}"


def _both(pair: _Pair, cross: Crossing) -> str:
    unit = pair.drawn.unit
    return ", ".join(f"{name} {shown(amount, unit)}" for name, amount in zip(pair.names, (cross.one, cross.other), strict=True))


def _sentence(
    pair: _Pair,
    known: list[tuple[float, float]],
    found: tuple[Crossing, ...],
    ties: tuple[float, float] | None,
) -> str:
    drawn, what = pair.drawn, pair.axis.title
    if not known:
        return f"{pair.names[0]} and {pair.names[1]} never both run over these values."
    low, high = known[0][0], known[-1][0]
    parts = []
    if not found:
        leads = [lead for _, lead in known]
        if all(abs(lead) < 1e-9 for lead in leads):
            parts.append(f"Between {_at(pair, low)} and {_at(pair, high)} {what}, {pair.names[0]} and {pair.names[1]} are alike")
        else:
            better = pair.names[1 if sum(leads) > 0 else 0]
            parts.append(f"Between {_at(pair, low)} and {_at(pair, high)} {what}, {better} always {drawn.does}")
    else:
        first = found[0]
        before = pair.names[0] if first.better == pair.names[1] else pair.names[1]
        parts.append(f"Below {_at(pair, first.at)} {what} {before} {drawn.does}")
        parts += [f"from {_at(pair, cross.at)} on {cross.better} does ({_both(pair, cross)})" for cross in found[:MOST_SAID]]
        if len(found) > MOST_SAID:
            parts.append(f"after that they cross {len(found) - MOST_SAID} more times")
    text = "; ".join(parts) + "."
    if ties == (low, high):
        text = (
            f"A tie from {_at(pair, low)} to {_at(pair, high)} {what}: nowhere are {pair.names[0]} and {pair.names[1]} further apart than "
            f"two such estimates may be off. By the medians: {text[0].lower()}{text[1:]}"
        )
    elif ties is not None:
        where = f"At {_at(pair, ties[0])}" if ties[0] == ties[1] else f"From {_at(pair, ties[0])} to {_at(pair, ties[1])}"
        text += f" {where} they are too close to call."
    return text
