"""A machine of one's own against a hosted API that bills by the token, at a stated share of the time in use."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from core.answer import Estimate
from core.compare import ALONE
from core.errors import ScenarioError
from core.formulas.economics import cost_per_million, purchase_rate
from core.formulas.hosted import break_even_use, hosted_rate, rate_at_use, request_rate, saved_rate, work_at_use
from core.machine import constant, said, user
from core.quantity import value
from core.units import show

DAY = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Hosted:
    """Costs of a million output tokens with their prompts, USD: `own` (p10 and p90 in `ends`, NaN without ranges), and `api`.

    `break_even`: share of the time in use from which the own machine is cheaper; None where it never is.
    """

    own: Any
    api: Any
    ends: tuple[float, float]
    use: float
    break_even: float | None
    tokens_a_day: float  # of output at the break-even, or at the stated use where there is none
    alone: bool  # the machine's own price is not known: electricity is all that is counted
    sentence: str


def against_api(found: Estimate, price_in: float, price_out: float, use: float | None = None, name: str = "It") -> Hosted:
    """What the scenario's load costs on this machine and with an API. Prices in USD for a million tokens.

    `use`: share of the time in which the machine carries this load, the scenario's own without one. A rented machine is paid around
    the clock, a bought one over its life; electricity only while it works. Raises ScenarioError for prices or a share that cannot be,
    and for a scenario that does not run.
    """
    share = found.scenario.costs.use if use is None else use
    if not (math.isfinite(price_in) and math.isfinite(price_out) and min(price_in, price_out) >= 0):
        raise ScenarioError("A price must be a number, 0 or more, in US dollars for a million tokens.")
    if not 0 < share <= 1:
        raise ScenarioError(f"The share of the time in use must be more than 0 and at most 1 (it is {share:g}).")
    if not found.runs or not found.metric("output_rate") > 0:
        raise ScenarioError("What does not run has no cost to hold against an API.")
    load, rate = found.scenario.workload, found.metrics["output_rate"]
    used = user("share of the time in use", share, "")
    requests = request_rate(tokens=rate, output=said(load, "output_tokens", "output", load.output_tokens, "tok"))
    api = hosted_rate(
        requests=requests,
        prompt=said(load, "prompt_tokens", "prompt", load.prompt_tokens, "tok"),
        output=said(load, "output_tokens", "output", load.output_tokens, "tok"),
        price_in=user("price of a million input tokens", price_in, "USD"),
        price_out=user("price of a million output tokens", price_out, "USD"),
        named="billed while working",
    )
    standing, running = _rates(found)
    whole = rate_at_use(standing=standing, running=running, use=used, named="around the clock")
    own = cost_per_million(rate=whole, tokens=work_at_use(tokens=rate, use=used), named="own, per million output tokens")
    billed = cost_per_million(rate=api, tokens=rate, named="API, per million output tokens")
    saved = float(value(saved_rate(hosted=api, running=running)))
    even = float(value(break_even_use(standing=float(value(standing)), saved=saved))) if saved > 0 else math.inf
    pays = even if even <= 1 else None
    low, high = found.bands.get("output_rate", (math.nan, math.nan))
    ends = tuple(float(value(own)) * found.metric("output_rate") / end for end in (high, low))
    a_day = found.metric("output_rate") * (pays if pays is not None else share) * DAY
    alone = found.resolved["cost_basis"] == ALONE
    return Hosted(own, billed, (ends[0], ends[1]), share, pays, a_day, alone, _sentence(own, billed, share, pays, a_day, alone, name))


def _rates(found: Estimate) -> tuple[Any, Any]:
    """What the machine costs a second whether it works or not, and what working costs."""
    money, costs = found.money, found.scenario.costs
    nothing = constant("nothing", 0.0, "USD/s")
    if money["rent"] is not None:
        return money["rent"], nothing
    if money["price"] is None:
        return nothing, money["electricity"]
    life = said(costs, "life_years", "useful life", costs.life_years * 365.25 * DAY, "s")
    return purchase_rate(price=money["price"], life=life, use=constant("around the clock", 1.0)), money["electricity"]


def _sentence(own: Any, api: Any, use: float, pays: float | None, a_day: float, alone: bool, name: str) -> str:
    mine, billed = float(value(own)), float(value(api))
    start = f"{name} costs {show(mine, 'USD')} a million output tokens with their prompts at {use:.0%} of the time in use"
    start += f", the API {show(billed, 'USD')}. "
    if alone:
        return start + "Electricity alone is counted, for no price of the machine is known: give one to compare."
    if pays is None:
        return start + "However much it is used, it does not get cheaper than the API."
    if pays == 0:
        return start + "It is cheaper however little it is used."
    return start + f"It is cheaper from {pays:.0%} of the time on, {float(f'{a_day:.2g}'):,.0f} output tokens a day."
