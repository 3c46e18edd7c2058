"""What the same traffic costs with a provider that bills by the token, and from which use on a machine of one's own is cheaper."""

from __future__ import annotations

from core.quantity import formula
from core.units import Count, DollarRate, Dollars, Rate, TokenRate, Tokens


@formula("definition")
def hosted_rate(*, requests: Rate, prompt: Tokens, output: Tokens, price_in: Dollars, price_out: Dollars) -> DollarRate:
    """Dollars a second that a provider bills for so many requests; prices are for a million tokens."""
    return requests * (prompt * price_in + output * price_out) / 1e6


@formula("definition")
def request_rate(*, tokens: TokenRate, output: Tokens) -> Rate:
    """Requests a second whose answers make so many tokens a second."""
    return tokens / output


@formula("definition")
def rate_at_use(*, standing: DollarRate, running: DollarRate, use: Count) -> DollarRate:
    """Dollars a second around the clock: what stands whether it works or not, and what only work costs, for a share of the time."""
    return standing + running * use


@formula("definition")
def work_at_use(*, tokens: TokenRate, use: Count) -> TokenRate:
    """Output tokens a second on average around the clock."""
    return tokens * use


@formula("definition")
def saved_rate(*, hosted: DollarRate, running: DollarRate) -> DollarRate:
    """Dollars that each second of work saves against the provider."""
    return hosted - running


@formula("definition")
def break_even_use(*, standing: DollarRate, saved: DollarRate) -> Count:
    """Share of the time in use at which what work saves has paid for what stands; above 1: never."""
    return standing / saved
