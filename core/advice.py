"""What would help most: every single change estimated, with its gain and price, by gain for the money.

Free changes come first, then what is bought by gain per dollar, then what asks less of the machine; a gain that two such
estimates cannot tell apart is said to be none.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from core.answer import Estimate
from core.changes import LEVERS, Change, settings, shorter
from core.compare import band_of, shown, unsure
from core.crossing import DRAWN
from core.errors import RoofcastError, ScenarioError
from core.quality import points, quality
from core.quantity import value
from core.scenario import Scenario
from core.setting import settle
from core.sweep import answer, point
from core.units import show, significant
from core.upgrades import upgrades
from core.waterfall_words import factor

SMALL = 0.03  # a gain below this is not worth a line
MOST_DEVICES = 3
_LEAST = ("quant", "context", "users")  # what costs more the further it goes, the mildest first
THOUSAND = 1000.0


@dataclass(frozen=True, slots=True)
class Option:
    """One change with what it does to the metric (base units; NaN: did not run before). `gain`: how many times better, infinite
    where it runs only now. `sure`: by more than two such estimates may be off. `per_usd`: gain in percent for each 1,000 dollars
    of purchase, or for each dollar an hour of rent; None without a price."""

    change: Change
    scenario: Scenario
    before: float
    after: float
    gain: float
    sure: bool
    per_usd: float | None
    note: str

    @property
    def runs_now(self) -> bool:
        return math.isinf(self.gain)


@dataclass(frozen=True, slots=True)
class Advice:
    """What helps, best first: `options` that are sure, and `unsure` ones. `tried`: how many changes were estimated."""

    scenario: Scenario
    metric: str
    options: tuple[Option, ...]
    unsure: tuple[Option, ...]
    tried: int
    sentence: str

    @property
    def best(self) -> Option | None:
        return self.options[0] if self.options else None


def goal(scenario: Scenario) -> str:
    """What counts unasked: the speed for one user, or the output of many."""
    load = scenario.workload
    return "output_rate" if load.concurrency > 1 or load.arrival in ("open", "saturated") else "decode_rate"


def advise(scenario: Scenario, metric: str | None = None, *, progress: Callable[[float], None] | None = None) -> Advice:
    """The single changes that help most. Raises ScenarioError for an unknown metric, and what `core.sweep.answer` raises."""
    wanted = metric or goal(scenario)
    if wanted not in DRAWN:
        raise ScenarioError(f"There is no metric '{metric}' to improve; choose one of {', '.join(DRAWN)}.")
    found = answer(scenario)
    listed = list(itertools.chain(settings(scenario, found), shorter(scenario), upgrades(scenario, found)))
    options = try_all(scenario, listed, wanted, progress=progress)
    kept = _of_each_lever(options)
    sure = sorted((o for o in kept if o.sure), key=_order)
    return Advice(
        scenario,
        wanted,
        tuple(sure),
        tuple(sorted((o for o in kept if not o.sure), key=_order)),
        len(listed),
        _sentence(found, wanted, sure),
    )


def try_all(scenario: Scenario, changes: Sequence[Change], metric: str, *, progress: Callable[[float], None] | None = None) -> list[Option]:
    """Those of the changes that can be made and make the metric better, estimated."""
    found = []
    for done, change in enumerate(changes, 1):
        option = tried(scenario, change, metric)
        if option is not None and option.gain > 1 + SMALL:
            found.append(option)
        if progress:
            progress(done / len(changes))
    return found


def tried(scenario: Scenario, change: Change, metric: str) -> Option | None:
    """One change estimated; None where it cannot be made, does not run, or nobody knows the metric."""
    try:
        changed = scenario.with_(**change.knobs)
    except RoofcastError:
        return None
    before, after = point(scenario), point(changed)
    if not after["fits"] or not math.isfinite(after[metric]) or not after[metric] > 0:
        return None
    if before["fits"] and math.isfinite(before[metric]) and before[metric] > 0:
        ratio = after[metric] / before[metric]
        gain = ratio if DRAWN[metric].more else 1 / ratio
        sure = math.log(gain) > unsure(metric, scenario, changed, band_of(metric, before), band_of(metric, after))
        was = float(before[metric])
    elif before["fits"] or before["error"]:
        return None
    else:
        gain, sure, was = math.inf, True, math.nan
    per = None if change.price is None or not change.price.usd > 0 or math.isinf(gain) else 100 * (gain - 1) / _counted(change)
    return Option(change, changed, was, float(after[metric]), gain, sure, per, beside(scenario, changed, change))


def _counted(change: Change) -> float:
    """The price in the dollars that `per_usd` counts by."""
    assert change.price is not None
    return change.price.usd / THOUSAND if change.price.per == "purchase" else change.price.usd


def beside(scenario: Scenario, changed: Scenario, change: Change) -> str:
    """What the change costs beside money: quality, where the quantisation is another."""
    if "quant" not in change.knobs:
        return change.note
    try:
        was, is_now = (quality(found.ir.id, found.quant.id) for found in (settle(scenario), settle(changed)))
    except RoofcastError:
        return change.note
    if is_now.level == "unknown":
        return "nobody measured what it loses"
    lost, before = (points(float(value(told.loss))) for told in (is_now, was))
    if was.level != "unknown" and lost == before:
        return change.note
    return f"loses {lost} of a task's score" + (f" instead of {before}" if was.level != "unknown" else "")


# ---------------------------------------------------------------- choosing and ordering


def _order(option: Option) -> tuple[Any, ...]:
    """Free first, then by gain for the money, then without a price, then what asks less."""
    change = option.change
    free = not change.bought
    kind = 3 if change.less else 0 if free else 1 if option.per_usd is not None or (change.price and change.price.usd <= 0) else 2
    worth = option.gain if free or option.per_usd is None else option.per_usd
    if option.runs_now and change.price is not None:
        worth = 1 / max(change.price.usd, 1e-9)
        kind = 1
    return kind, -worth, change.price.usd if change.price else 0.0


def _of_each_lever(options: Iterable[Option]) -> list[Option]:
    """The best of each lever, or the mildest that surely helps; of devices and machines the best for the money, the cheapest that
    surely helps, and the fastest.
    """
    kept: list[Option] = []
    for lever in LEVERS:
        ours = sorted((o for o in options if o.change.lever == lever), key=lambda o: (not o.sure, -o.gain))
        if lever in ("device", "machine", "cards"):
            kept += _few(ours)
        elif lever in _LEAST:
            listed = [o for o in options if o.change.lever == lever]
            kept += ([o for o in listed if o.sure] or ours)[:1]
        else:
            kept += ours[:1]
    return kept


def _few(ours: Sequence[Option]) -> list[Option]:
    sure = [o for o in ours if o.sure] or list(ours[:1])
    if not sure:
        return []
    by_money = max(sure, key=lambda o: (o.per_usd or 0.0, -(o.change.price.usd if o.change.price else 0.0)))
    cheapest = min(sure, key=lambda o: o.change.price.usd if o.change.price else math.inf)
    fastest = max(sure, key=lambda o: (o.gain if not o.runs_now else o.after, -(o.change.price.usd if o.change.price else 0.0)))
    found: list[Option] = []
    for option in (by_money, cheapest, fastest):
        if all(option is not other for other in found):
            found.append(option)
    return found[:MOST_DEVICES]


# ---------------------------------------------------------------- in words


def gain_words(option: Option, metric: str) -> str:
    """ "×1.8: 20.1 tok/s instead of 11.1", or that it runs now."""
    unit = DRAWN[metric].unit
    if option.runs_now:
        return f"it runs: {shown(option.after, unit)}"
    return f"{factor(option.gain)}: {shown(option.after, unit)} instead of {shown(option.before, unit)}"


def price_words(option: Option) -> str:
    """What it costs: "free", "$1,599 (launch price)", "no price known"."""
    price = option.change.price
    if price is None:
        return "no price known" if option.change.bought else "free"
    if price.per == "hour":
        return f"${abs(price.usd):,.2f} an hour {'more' if price.usd > 0 else 'less'}"
    return show(price.usd, "USD")


def per_usd_words(option: Option) -> str:
    """Gain for the money: "+62 % per $1,000"."""
    if option.per_usd is None or option.change.price is None:
        return ""
    per = "$1,000" if option.change.price.per == "purchase" else "$1 an hour"
    return f"+{significant(float(f'{option.per_usd:.2g}'), 2)} % per {per}"


def _sentence(found: Estimate, metric: str, sure: Sequence[Option]) -> str:
    """The best free change and the best that is bought."""
    if not sure:
        return "No single change would help by more than two such estimates may be off."
    parts = []
    free = next((o for o in sure if not o.change.bought and not o.change.less), None)
    bought = next((o for o in sure if o.change.bought), None)
    if free is not None:
        parts.append(f"At no cost: {_lower(free.change.text)} ({_short(free)})")
    if bought is not None:
        price = f" for {price_words(bought)}" if bought.change.price else ""
        parts.append(f"for money: {_lower(bought.change.text)}{price} ({_short(bought)})")
    if not parts:
        return f"Only asking less helps: {_lower(sure[0].change.text)} ({_short(sure[0])})."
    text = "; ".join(parts)
    return f"{text[0].upper()}{text[1:]}."


def _short(option: Option) -> str:
    return "it runs then" if option.runs_now else factor(option.gain)


def _lower(text: str) -> str:
    return text[0].lower() + text[1:]
