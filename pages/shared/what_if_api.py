"""What the same traffic costs with a hosted API, at a stated share of the time in use."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from core import compare_tables
from core.compare import ALONE, Build
from core.errors import RoofcastError
from core.hosted import Hosted
from core.units import show
from pages.shared import number, what_if_charts
from pages.shared.words import escape

_ABOUT = (
    "An API bills by the token, a machine by the hour. Type the API's prices; the traffic is that of each build's load, with its prompts. "
    "A rented machine is paid around the clock, a bought one over its life; electricity is counted while it works, not what it draws idle."
)


def _whose(lines: Sequence[tuple[Build, Hosted]], billed: str) -> str:
    """For the loads of which builds the API asks this."""
    return "for " + ", ".join(build.name for build, told in lines if show(float(told.api), "USD") == billed)


def draw(builds: Sequence[Build]) -> None:
    """The prices, a number a build, the sentences, and the cost over the share of the time in use."""
    st.caption(_ABOUT)
    one, two, three = st.columns(3)
    price_in = one.number_input("$ per million input tokens", 0.0, 1e4, None, 0.05, key="api_in", bind="query-params", format="%g")
    price_out = two.number_input("$ per million output tokens", 0.0, 1e4, None, 0.1, key="api_out", bind="query-params", format="%g")
    use = three.slider("Share of the time in use", 0.05, 1.0, 0.5, 0.05, key="api_use", bind="query-params", format="percent")
    if price_in is None and price_out is None:
        st.info("Type what the API charges for a million tokens: its list shows a price for input and one for output.")
        return
    first = price_in if price_in is not None else 0.0
    second = price_out if price_out is not None else first
    try:
        lines = compare_tables.api_lines(builds, first, second, use)
    except RoofcastError as error:
        st.info(escape(str(error)))
        return
    if not lines:
        st.info("None of these builds runs.")
        return
    with st.grid(min_column_width=170, gap="medium"):
        for place, (build, told) in enumerate(lines):
            own = show(float(told.own), "USD")
            low, high = (show(end, "USD", 2) for end in told.ends)
            even = f"cheaper from {told.break_even:.0%} of the time on" if told.break_even is not None else "never cheaper"
            note = ALONE if told.alone else even
            number.tile(f"{build.name}: a million output tokens", told.own, own, key=f"api-own-{place}", span=f"{low}–{high}", note=note)
        for billed, told in {show(float(told.api), "USD"): told for _, told in lines}.items():
            load = "" if len({show(float(one.api), "USD") for _, one in lines}) == 1 else _whose(lines, billed)
            number.tile("The API, the same load", told.api, billed, key=f"api-{billed}", note=load)
    for _, told in lines:
        st.markdown(escape(told.sentence))
    rows = compare_tables.api_rows(builds, first, second)
    api = [float(told.api) for _, told in lines]
    if rows and max(api) > 0:
        what_if_charts.against_api(rows, names=[build.name for build in builds], api=api, key="api-lines")
