"""Which input explains the difference between two scenarios: inputs are swapped one at a time from A to B, each step a real estimate.

What an input is worth depends on what was swapped before it. Where few inputs differ, its bar is therefore the mean over all orders
(the Shapley value), shown with the least and the most that any order gives it; else inputs are swapped in the stated order.
Inputs that cannot be swapped alone, for a middle step would not be legal or would not fit, are swapped together.
"""

from __future__ import annotations

import functools
import itertools
import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from core.errors import RoofcastError, ScenarioError
from core.inputs import BY_KEY, Input, differing, said, stated, swapped
from core.pairs import paired
from core.scenario import Scenario
from core.sweep import ALWAYS, METRICS, MONEY, point

MOST_FOR_ALL_ORDERS = 6  # inputs: 64 estimates
EXPLAINED = (*METRICS, *ALWAYS, *MONEY)

Set = frozenset[int]  # places of the parts that are taken from B


@dataclass(frozen=True, slots=True)
class Bar:
    """One part: inputs swapped together. Amounts in the metric's base unit; `factor` multiplies the metric.

    `least`, `most`: over all orders (equal to `amount` in a stated order). `sure`: more than two such estimates may be off.
    """

    inputs: tuple[Input, ...]
    amount: float
    factor: float
    least: float
    most: float
    sure: bool
    before: str
    after: str

    @property
    def title(self) -> str:
        return _titles(self.inputs)


def _titles(inputs: Sequence[Input]) -> str:
    """ "Device, runtime and quantisation"."""
    first, *rest = (entry.title for entry in inputs)
    names = [first, *(title[0].lower() + title[1:] for title in rest)]
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


@dataclass(frozen=True, slots=True)
class Waterfall:
    """`start`, `end`: the metric of A and of B. `bars` sum to their difference. `averaged`: over all orders, else in the order of the
    bars. `joined`: sentences that say which inputs were swapped together, and why. `estimates`: how many were made."""

    metric: str
    start: float
    end: float
    bars: tuple[Bar, ...]
    averaged: bool
    joined: tuple[str, ...]
    estimates: int


def waterfall(
    one: Scenario,
    other: Scenario,
    metric: str = "decode_rate",
    order: Sequence[str] | None = None,
    *,
    progress: Callable[[float], None] | None = None,
) -> Waterfall:
    """What explains a metric's difference from `one` (A) to `other` (B).

    `order`: keys of inputs, swapped one after the other; inputs that it leaves out follow in the order of `core.inputs.INPUTS`.
    Without it all orders are averaged where at most MOST_FOR_ALL_ORDERS parts differ. Raises ScenarioError for an unknown metric or
    input, and where A or B has no such number.
    """
    if metric not in EXPLAINED:
        raise ScenarioError(f"There is no metric '{metric}' to explain; choose one of {', '.join(EXPLAINED)}.")
    first, last = stated(one), stated(other)
    parts: list[tuple[Input, ...]] = [(entry,) for entry in _ordered(differing(first, last), order)]
    steps = _Steps(first, last, metric, progress)
    start, end = steps.at(parts, frozenset()), steps.at(parts, frozenset(range(len(parts))))
    for name, amount, asked in (("first", start, one), ("second", end, other)):
        if amount is None:
            raise ScenarioError(f"The {name} of the two has no such number to explain: {point(asked)['error'] or 'it does not fit'}.")
    assert start is not None and end is not None
    joined: list[str] = []
    averaged = order is None and len(parts) <= MOST_FOR_ALL_ORDERS
    parts = _legal_everywhere(parts, steps, joined) if averaged else _legal_on_the_way(parts, steps, joined)
    bars = [_averaged(parts, steps, place) if averaged else _in_turn(parts, steps, place) for place in range(len(parts))]
    steps.done()
    return Waterfall(metric, start, end, tuple(bars), averaged and len(parts) > 1, tuple(joined), steps.count)


def _ordered(found: Sequence[Input], order: Sequence[str] | None) -> list[Input]:
    wrong = next((key for key in order or () if key not in BY_KEY), None)
    if wrong is not None:
        raise ScenarioError(f"There is no input '{wrong}' to swap; the inputs are {', '.join(BY_KEY)}.")
    listed = list(order or ())
    return sorted(found, key=lambda entry: listed.index(entry.key) if entry.key in listed else len(listed))


class _Steps:
    """The estimates of middle steps, each made once."""

    def __init__(self, first: Scenario, last: Scenario, metric: str, progress: Callable[[float], None] | None) -> None:
        self.first, self.last, self.metric, self._progress = first, last, metric, progress
        self._known: dict[frozenset[str], tuple[float | None, str]] = {}
        self._expected = 2 ** min(len(differing(first, last)), MOST_FOR_ALL_ORDERS)

    @property
    def count(self) -> int:
        return len(self._known)

    def done(self) -> None:
        if self._progress:
            self._progress(1.0)

    def at(self, parts: Sequence[tuple[Input, ...]], taken: Set) -> float | None:
        """The metric with these parts taken from B; None where that is no legal scenario or does not run."""
        return self._at([entry for place in sorted(taken) for entry in parts[place]])[0]

    def why(self, parts: Sequence[tuple[Input, ...]], taken: Set) -> str:
        return self._at([entry for place in sorted(taken) for entry in parts[place]])[1]

    def _at(self, entries: Iterable[Input]) -> tuple[float | None, str]:
        listed = list(entries)
        key = frozenset(entry.key for entry in listed)
        if key not in self._known:
            self._known[key] = self._asked(listed)
            if self._progress:
                self._progress(min(len(self._known) / self._expected, 1.0))
        return self._known[key]

    def _asked(self, entries: Sequence[Input]) -> tuple[float | None, str]:
        try:
            found = point(swapped(self.first, self.last, entries))
        except RoofcastError as error:
            return None, str(error)
        amount = float(found[self.metric])
        if not found["fits"] and self.metric not in ALWAYS:
            return None, found["error"] or "one does not fit"
        return (amount, "") if math.isfinite(amount) else (None, found["error"] or "the number is unknown")


# ---------------------------------------------------------------- middle steps that cannot be


def _legal_everywhere(parts: list[tuple[Input, ...]], steps: _Steps, joined: list[str]) -> list[tuple[Input, ...]]:
    """The parts, with those joined that leave no set of parts without an estimate. Of pairs the one that helps most is joined first."""
    while True:
        wrong = [taken for taken in _subsets(len(parts)) if steps.at(parts, taken) is None]
        if not wrong:
            return parts
        pairs = list(itertools.combinations(range(len(parts)), 2))
        split = {pair: [taken for taken in wrong if (pair[0] in taken) != (pair[1] in taken)] for pair in pairs}
        best = max(pairs, key=lambda pair: (len(split[pair]), -pair[0], -pair[1]))
        joined.append(_why(parts, best, steps, min(split[best], key=len)))
        parts = _join(parts, *best)


def _legal_on_the_way(parts: list[tuple[Input, ...]], steps: _Steps, joined: list[str]) -> list[tuple[Input, ...]]:
    """The parts in their order, each joined with the next where the step after it has no estimate."""
    place = 0
    while place < len(parts) - 1:
        taken = frozenset(range(place + 1))
        if steps.at(parts, taken) is None:
            joined.append(_why(parts, (place, place + 1), steps, taken))
            parts = _join(parts, place, place + 1)
        else:
            place += 1
    return parts


def _join(parts: list[tuple[Input, ...]], one: int, other: int) -> list[tuple[Input, ...]]:
    whole = parts[one] + parts[other]
    return [whole if place == one else part for place, part in enumerate(parts) if place != other]


def _why(parts: Sequence[tuple[Input, ...]], pair: tuple[int, int], steps: _Steps, taken: Set) -> str:
    reason = re.split(r"[;.] ", steps.why(parts, taken).rstrip("."))[0]
    whole = _titles([entry for place in pair for entry in parts[place]])
    return f"{whole} are swapped together, for not every step between has an answer: {reason}."


@functools.lru_cache(maxsize=16)
def _subsets(count: int) -> tuple[Set, ...]:
    return tuple(frozenset(some) for size in range(count + 1) for some in itertools.combinations(range(count), size))


# ---------------------------------------------------------------- bars


def _averaged(parts: Sequence[tuple[Input, ...]], steps: _Steps, place: int) -> Bar:
    """The Shapley value of a part, of the metric and of its logarithm."""
    count = len(parts)
    amount, log, gains = 0.0, 0.0, []
    for taken in _subsets(count):
        if place in taken:
            continue
        before, after = steps.at(parts, taken), steps.at(parts, taken | {place})
        assert before is not None and after is not None
        weight = math.factorial(len(taken)) * math.factorial(count - len(taken) - 1) / math.factorial(count)
        amount += weight * (after - before)
        log += weight * math.log(after / before) if before > 0 and after > 0 else math.nan
        gains.append(after - before)
    return _bar(parts[place], steps, amount, math.exp(log), min(gains), max(gains))


def _in_turn(parts: Sequence[tuple[Input, ...]], steps: _Steps, place: int) -> Bar:
    before, after = steps.at(parts, frozenset(range(place))), steps.at(parts, frozenset(range(place + 1)))
    assert before is not None and after is not None
    factor = after / before if before > 0 else math.nan
    return _bar(parts[place], steps, after - before, factor, after - before, after - before)


def _bar(part: tuple[Input, ...], steps: _Steps, amount: float, factor: float, least: float, most: float) -> Bar:
    pairs = paired(steps.metric, {entry.kind for entry in part if entry.kind})
    sure = factor > 0 and abs(math.log(factor)) > (0.0 if pairs is None else pairs.spread)
    before, after = (", ".join(said(asked, entry) for entry in part) for asked in (steps.first, steps.last))
    return Bar(part, amount, factor, least, most, sure, before, after)
