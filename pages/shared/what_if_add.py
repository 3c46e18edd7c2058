"""The way into the comparison from any page: a link that adds a scenario to the builds there are."""

from __future__ import annotations

import streamlit as st

from core.builds import SLOTS, added, to_link
from core.scenario import Scenario
from pages.shared import what_if_state


def link(*scenarios: Scenario, label: str = "Compare") -> None:
    """A link to "What if?" with these scenarios added; those that no longer have room take the last places."""
    builds, shown = added(what_if_state.builds(), scenarios)
    st.page_link(
        "what_if.py", label=label, icon=":material/compare_arrows:", query_params={**to_link(builds), what_if_state.EDIT: SLOTS[shown]},
        help="Set it beside others: numbers with ranges, what explains the difference, sweeps, an API's price.",
    )  # fmt: skip
