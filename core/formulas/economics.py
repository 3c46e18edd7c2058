"""Money and energy."""

from __future__ import annotations

from core.quantity import formula
from core.units import Count, DollarRate, Dollars, DollarsPerJoule, Joules, Seconds, TokenRate, Watts


@formula("definition")
def power_draw(*, rated: Watts, idle: Count, busy: Count, share: Count, count: Count) -> Watts:
    """Mean draw of the devices: between an idle and a busy share of the rated power."""
    return rated * (idle + (busy - idle) * share) * count


@formula("definition")
def energy_per_token(*, power: Watts, rate: TokenRate) -> Joules:
    """Joules spent for one token of output."""
    return power / rate


@formula("definition")
def purchase_rate(*, price: Dollars, life: Seconds, use: Count) -> DollarRate:
    """Purchase price spread over the useful hours."""
    return price / (life * use)


@formula("definition")
def electricity_rate(*, power: Watts, tariff: DollarsPerJoule) -> DollarRate:
    """Electricity while running."""
    return power * tariff


@formula("definition")
def cost_per_million(*, rate: DollarRate, tokens: TokenRate) -> Dollars:
    """Dollars per million output tokens at this load."""
    return rate / tokens * 1e6


@formula("definition")
def cost_per_month(*, rate: DollarRate, month: Seconds) -> Dollars:
    """Dollars for a month of running."""
    return rate * month


@formula("definition")
def fleet_cost(*, each: Dollars, machines: Count) -> Dollars:
    """What several machines of one kind cost together."""
    return each * machines


@formula("definition")
def fleet_rate(*, each: TokenRate, machines: Count) -> TokenRate:
    """Tokens a second of several machines that share the load alike."""
    return each * machines


@formula("definition")
def fleet_power(*, each: Watts, machines: Count) -> Watts:
    """The draw of several machines of one kind."""
    return each * machines
