"""A waterfall in words: what its number is called, its amounts, and how its bars came about."""

from __future__ import annotations

from core.compare import shown
from core.units import HOUR, show
from core.waterfall import Waterfall

_TITLES = {"decode_rate": "the speed for each user", "output_rate": "the output of all users", "ttft": "the time to the first token",
           "prefill_rate": "the speed of reading", "latency": "the time to the whole answer", "tpot": "the time of a token",
           "memory_peak": "the memory over all devices", "power": "the power", "energy_per_token": "the energy of a token",
           "usd_per_h": "the cost of an hour", "usd_per_month": "the cost of a month", "usd_per_million": "the cost of a million tokens",
           "batch": "the sequences decoding together"}  # fmt: skip
UNITS = {"decode_rate": "tok/s", "output_rate": "tok/s", "prefill_rate": "tok/s", "ttft": "s", "tpot": "s", "latency": "s",
         "memory_peak": "B", "power": "W", "energy_per_token": "J", "usd_per_h": "USD/s", "usd_per_month": "USD",
         "usd_per_million": "USD", "batch": ""}  # fmt: skip


def title(metric: str) -> str:
    """What the number is called within a sentence."""
    return _TITLES[metric]


def amount(found: Waterfall, number: float, *, sign: bool = False) -> str:
    """An amount of the waterfall's metric, with its sign where asked for: "+4.6 tok/s"."""
    unit = UNITS[found.metric]
    if not sign:
        return shown(number, unit)
    mark = "+" if number > 0 else "−" if number < 0 else "±"
    return mark + (f"${abs(number) * HOUR:.3g}/h" if unit == "USD/s" else show(abs(number), unit))


def factor(ratio: float) -> str:
    """A ratio in a few signs: "×1.8", and near one "+4 %" or "−4 %"."""
    if not 0.905 < ratio < 1.095:
        return f"×{ratio:.2g}"
    return f"{'−' if ratio < 1 else '+'}{abs(100 * (ratio - 1)):.0f} %"


def how(found: Waterfall) -> list[str]:
    """How the bars came about, and what stands in the way of swapping each input alone."""
    if len(found.bars) < 2:
        return list(found.joined)
    if found.averaged:
        text = (
            f"Every input is swapped from A to B in every order ({found.estimates} estimates), and its bar is the mean: what one is worth "
            "depends on what was swapped before it."
        )
    else:
        text = "The inputs are swapped from A to B one after the other, in this order; in another order each would be worth something else."
    return [text, *found.joined]
