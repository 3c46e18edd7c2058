"""Up to four scenarios side by side: every number with its range, which build is best in it, and where that is a tie.

A tie is said where two estimates lie closer than the ratio of two such estimates is known (`core.pairs`), or than their ranges allow.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from core.answer import Estimate
from core.calibrate import remembered
from core.errors import RoofcastError, ScenarioError
from core.inputs import INPUTS, Input, differing, said, stated
from core.pairs import LIKE, Paired, paired
from core.quality import points, quality
from core.quantity import value
from core.scenario import Scenario
from core.sweep import answer
from core.units import show
from core.words import machine, model_name, span

NAMES = "ABCD"
MOST = len(NAMES)
Better = Literal["more", "less"]
Band = tuple[float, float, float]  # p10, p50, p90
ALONE = "electricity alone: no price known"  # a cost that leaves the machine out


@dataclass(frozen=True, slots=True)
class Build:
    """One of the scenarios: its answer, or a sentence why there is none."""

    name: str
    scenario: Scenario
    found: Estimate | None
    why: str = ""

    @property
    def runs(self) -> bool:
        return self.found is not None and self.found.runs

    @property
    def what(self) -> str:
        """The build in a few words: "Qwen3-8B Q4_K_M, one RTX 3090, llama.cpp"."""
        if self.found is None:
            return model_name(self.scenario.model)
        resolved = self.found.resolved
        return f"{model_name(self.scenario.model)} {resolved['quant']}, {machine(self.found)}, {resolved['runtime_name']}"


@dataclass(frozen=True, slots=True)
class Cell:
    """One number of one build. `amount`, `low`, `high` in base units, NaN where there is none; `number` explains itself."""

    amount: float
    text: str
    low: float = math.nan
    high: float = math.nan
    span: str = ""
    note: str = ""
    number: Any = None


@dataclass(frozen=True, slots=True)
class Line:
    """One number of all builds. `best`: places of the builds that nothing beats for sure; all that run where it is a tie."""

    key: str
    group: str
    title: str
    unit: str
    better: Better | None
    cells: tuple[Cell, ...]
    best: tuple[int, ...] = ()
    verdict: str = ""


@dataclass(frozen=True, slots=True)
class Metric:
    """What is compared. `many`: only where several users share a build."""

    key: str
    group: str
    title: str
    unit: str
    better: Better | None
    read: Callable[[Estimate], Any] = field(repr=False)


def _metric(name: str) -> Callable[[Estimate], Any]:
    return lambda found: found.metrics[name]


def _money(name: str) -> Callable[[Estimate], Any]:
    return lambda found: found.money[name]


def _limit(name: str) -> Callable[[Estimate], Any]:
    return lambda found: found.limits[name]


METRICS = (
    Metric("decode_rate", "Speed", "Writing, each user", "tok/s", "more", _metric("decode_rate")),
    Metric("ttft", "Speed", "First token after", "s", "less", _metric("ttft")),
    Metric("prefill_rate", "Speed", "Reading a prompt", "tok/s", "more", _metric("prefill_rate")),
    Metric("latency", "Speed", "Whole answer after", "s", "less", _metric("latency")),
    Metric("output_rate", "Speed", "Writing, all users", "tok/s", "more", _metric("output_rate")),
    Metric("needed", "Memory", "Fullest device, at its peak", "B", None, lambda found: found.device.peak),
    Metric("headroom", "Memory", "Left on it", "B", None, lambda found: found.device.headroom),
    Metric("max_context", "Memory", "Longest context, these users", "tok", "more", _limit("max_context")),
    Metric("max_batch", "Memory", "Users with this context", "", "more", _limit("max_batch")),
    Metric("power", "Power", "Power of the devices", "W", "less", _metric("power")),
    Metric("energy_per_token", "Power", "Energy of an output token", "J", "less", _metric("energy_per_token")),
    Metric("price", "Cost", "Purchase of the devices", "USD", "less", _money("price")),
    Metric("usd_per_h", "Cost", "An hour", "USD/s", "less", _money("usd_per_h")),
    Metric("usd_per_month", "Cost", "A month of 720 h", "USD", "less", _money("usd_per_month")),
    Metric("usd_per_million", "Cost", "A million output tokens", "USD", "less", _money("usd_per_million")),
)  # fmt: skip
BY_KEY = {metric.key: metric for metric in METRICS}
_ALWAYS = ("needed", "headroom", "price")  # also of what does not run
_COSTS = ("usd_per_h", "usd_per_month", "usd_per_million")
_PAIRED = ("decode_rate", "ttft", "prefill_rate", "latency", "output_rate", "energy_per_token", "usd_per_million")


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two to four builds. `inputs`: what differs between any of them, in words, a text a build."""

    builds: tuple[Build, ...]
    inputs: tuple[tuple[Input, tuple[str, ...]], ...]
    lines: tuple[Line, ...]
    sentence: str

    def line(self, key: str) -> Line:
        return next(line for line in self.lines if line.key == key)


@remembered(maxsize=256)
def build(asked: Scenario, name: str = "A") -> Build:
    """A scenario with its answer, or the sentence why there is none."""
    try:
        return Build(name, asked, answer(asked))
    except RoofcastError as error:
        return Build(name, asked, None, str(error))


def compare(scenarios: Sequence[Scenario], names: Sequence[str] = NAMES) -> Comparison:
    """The builds side by side. Raises ScenarioError for none or more than MOST."""
    if not 1 <= len(scenarios) <= MOST:
        raise ScenarioError(f"One to {MOST} builds can be compared (there are {len(scenarios)}).")
    builds = tuple(build(asked, name) for asked, name in zip(scenarios, names, strict=False))
    told = [stated(asked) for asked in scenarios]
    differ = {entry.key for other in told[1:] for entry in differing(told[0], other)}
    inputs = tuple((entry, tuple(said(asked, entry) for asked in told)) for entry in INPUTS if entry.key in differ)
    lines = (*(_line(metric, builds) for metric in METRICS), _quality(builds))
    kept = tuple(line for line in lines if any(cell.text for cell in line.cells))
    return Comparison(builds, inputs, kept, _sentence(builds, kept))


# ---------------------------------------------------------------- lines


def _line(metric: Metric, builds: Sequence[Build]) -> Line:
    cells = tuple(_cell(metric, one.found) for one in builds)
    best, verdict = _best(metric, builds, cells)
    return Line(metric.key, metric.group, metric.title, metric.unit, metric.better, cells, best, verdict)


def _cell(metric: Metric, found: Estimate | None) -> Cell:
    if found is None or not (found.runs or metric.key in _ALWAYS):
        return Cell(math.nan, "")
    number = metric.read(found)
    if number is None:
        return Cell(math.nan, "no price known")
    amount = float(value(number))
    text = shown(amount, metric.unit)
    if metric.key == "needed":
        note = f"of {show(float(value(found.device.limit)), 'B')}"
        return Cell(amount, text, note=note, number=number)
    if metric.key in _COSTS:
        low, high = _cost_range(metric.key, amount, found)
        told = f"{show(low, metric.unit, 2)}–{show(high, metric.unit, 2)}" if math.isfinite(low) else ""
        return Cell(amount, text, low, high, told, found.resolved["cost_basis"], number)
    low, high = found.bands.get(metric.key, (math.nan, math.nan))
    return Cell(amount, text, low, high, span(found, metric.key, metric.unit), number=number)


def shown(amount: float, unit: str) -> str:
    """An amount for people; counts as whole numbers."""
    if math.isinf(amount):
        return "any number" if unit in ("", "tok") else "without end"
    if unit in ("", "tok") and math.isfinite(amount):
        return f"{amount:,.0f}{' tokens' if unit else ''}"
    return show(amount, unit)


def _cost_range(key: str, amount: float, found: Estimate) -> tuple[float, float]:
    """What a million tokens cost where all users' output lies at the ends of its range: the same hour bought more or fewer."""
    if key != "usd_per_million" or "output_rate" not in found.bands:
        return math.nan, math.nan
    low, high = found.bands["output_rate"]
    middle = found.metric("output_rate")
    return amount * middle / high, amount * middle / low


def _quality(builds: Sequence[Build]) -> Line:
    """What the quantisation loses; of the same model it can be compared."""
    cells = []
    for one in builds:
        try:
            found = None if one.found is None else quality(one.found.ir.id, one.found.resolved["quant"])
        except RoofcastError:
            found = None
        if found is None:
            cells.append(Cell(math.nan, ""))
            continue
        loss = float(value(found.loss))
        text = "unknown" if math.isnan(loss) else points(loss)
        ends = f"{100 * found.low:.1f}–{100 * found.high:.1f}" if loss > 0 else ""
        cells.append(Cell(loss, text, found.low, found.high, ends, found.tier if found.tier != text else "", found.loss))
    kept = tuple(cells)
    known = [i for i, cell in enumerate(kept) if math.isfinite(cell.amount)]
    models = {one.found.ir.id for one in builds if one.found is not None}
    if len(models) != 1 or len(known) < 2:
        verdict = "not comparable between models" if len(models) > 1 and known else ""
        return Line("quality", "Quality", "Loss by quantisation", "", "less", kept, (), verdict)
    least = min(kept[i].high for i in known)
    best = tuple(i for i in known if kept[i].low <= least)
    return Line("quality", "Quality", "Loss by quantisation", "", "less", kept, best, _worded(builds, best, known, ""))


# ---------------------------------------------------------------- best, or a tie


def spread(metric: str, one: Build, other: Build) -> float:
    """|ln ratio| of a metric of two builds up to which nobody can say which is better: 0 for what is certain. Pairs of measured runs
    tell where there are any, else the two ranges."""
    return unsure(metric, one.scenario, other.scenario, _band(metric, one), _band(metric, other))


def unsure(metric: str, one: Scenario, other: Scenario, mine: Band | None, theirs: Band | None) -> float:
    """As `spread`, of scenarios with the metric's p10, p50 and p90 where there is a range."""
    if metric not in _PAIRED:
        return 0.0
    pairs, ranges = pairs_of(metric, one, other), _ranges(mine, theirs)
    if pairs is not None and pairs.pairs and math.isfinite(pairs.spread):
        return pairs.spread  # measured
    known = [part for part in (ranges, None if pairs is None else pairs.spread) if part is not None]
    return min(known, default=0.0)


def pairs_of(metric: str, one: Scenario, other: Scenario) -> Paired | None:
    """What pairs of measured runs tell that differ as these two scenarios do."""
    return paired(metric, {entry.kind for entry in differing(stated(one), stated(other)) if entry.kind})


def _band(metric: str, one: Build) -> Band | None:
    name = LIKE.get(metric, metric)
    if one.found is None or name not in one.found.bands:
        return None
    low, high = one.found.bands[name]
    return low, one.found.metric(name), high


def band_of(metric: str, told: Mapping[str, Any]) -> Band | None:
    """The range of a point of a sweep (`core.sweep.point`)."""
    name = LIKE.get(metric, metric)
    return (told[f"{name}_p10"], told[name], told[f"{name}_p90"]) if f"{name}_p10" in told else None


def _ranges(mine: Band | None, theirs: Band | None) -> float | None:
    """How far two ranges reach toward each other, were their errors independent."""
    if mine is None or theirs is None:
        return None
    sides = [abs(math.log(own[2 if other[1] > own[1] else 0] / own[1])) for own, other in ((mine, theirs), (theirs, mine))]
    return math.hypot(*sides)


def _best(metric: Metric, builds: Sequence[Build], cells: Sequence[Cell]) -> tuple[tuple[int, ...], str]:
    known = [i for i, cell in enumerate(cells) if cell.amount > 0 and math.isfinite(cell.amount)]
    if metric.better is None or len(known) < 2:
        return (), ""
    if metric.key in _COSTS and len({cells[i].note == ALONE for i in known}) > 1:
        return (), "not comparable: " + _and(builds[i].name for i in known if cells[i].note == ALONE) + " without the machine's price"
    first = (max if metric.better == "more" else min)(known, key=lambda i: cells[i].amount)
    best = tuple(
        i for i in known
        if i == first or abs(math.log(cells[i].amount / cells[first].amount)) <= spread(metric.key, builds[first], builds[i])
    )  # fmt: skip
    if metric.key == "price" and len(known) < sum(one.found is not None for one in builds):
        return (), f"{builds[first].name} of those known"
    equal = all(math.isclose(cells[i].amount, cells[first].amount, rel_tol=1e-9) for i in known)
    return best, "equal" if equal else _worded(builds, best, known, _times(cells, known, best))


def _times(cells: Sequence[Cell], known: Sequence[int], best: Sequence[int]) -> str:
    """By which factor one build is better than the next of those that lose to it."""
    if len(best) != 1:
        return ""
    rest = [cells[i].amount / cells[best[0]].amount for i in known if i != best[0]]
    factors = [max(ratio, 1 / ratio) for ratio in rest]
    return f", ×{min(factors):.2g}" if min(factors) < 100 else ", by far"


def _worded(builds: Sequence[Build], best: Sequence[int], known: Sequence[int], factor: str) -> str:
    if len(best) == len(known):
        return "a tie"
    names = _and(builds[i].name for i in best)
    return f"{names}{factor}" if len(best) == 1 else f"a tie of {names}"


def _and(names: Any) -> str:
    listed = list(names)
    return " and ".join(filter(None, (", ".join(listed[:-1]), listed[-1]))) if listed else ""


# ---------------------------------------------------------------- the sentence

_SAID = {"decode_rate": "writes fastest for each user", "output_rate": "writes most in all", "ttft": "starts soonest",
         "usd_per_million": "writes cheapest", "price": "costs least to buy"}  # fmt: skip


def _sentence(builds: Sequence[Build], lines: Sequence[Line]) -> str:
    """Who runs, who is best in what matters, and where it is a tie."""
    if len(builds) < 2:
        return f"{builds[0].what}. Add a second build to compare it with."
    out = [one.name for one in builds if not one.runs]
    parts: dict[str, list[str]] = {}
    ties = []
    load = max(one.scenario.workload.concurrency for one in builds)
    for line in lines:
        if line.key not in _SAID or (line.key == "output_rate" and load == 1):
            continue
        if len(line.best) == 1:
            factor = line.verdict.partition(", ")[2]
            parts.setdefault(builds[line.best[0]].name, []).append(_SAID[line.key] + (f" ({factor})" if factor else ""))
        elif line.verdict == "a tie":
            ties.append({"decode_rate": "speed", "output_rate": "output of all", "ttft": "first token",
                         "usd_per_million": "cost of a token", "price": "purchase"}[line.key])  # fmt: skip
    told = [f"{name} {_and(says)}" for name, says in sorted(parts.items())]
    text = "; ".join(told) + (". " if told else "")
    if ties:
        named = _and(ties)
        text += f"{named[0].upper()}{named[1:]}: a tie within what is known. "
    if out:
        text += f"{_and(out)} {'does' if len(out) == 1 else 'do'} not run. "
    return text.strip() or "Nothing of these builds can be told apart."
