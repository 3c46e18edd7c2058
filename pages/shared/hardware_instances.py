"""Machines that are rented by the hour: all of them with price, day and place, and the way to an estimate on one."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from core import rented
from core.catalog import instances
from core.catalog.instances import Instance
from pages.shared.words import escape

_TEXT, _PROVIDERS, _ONE = "instance_text", "instance_providers", "rented_instance"
_OWN = (
    "“$/h” is the price of the whole machine in US dollars, “Price of” the day it stood. Prices of your own (reserved, spot, another "
    "region) join these from a CSV file: the recipe “A price of a cloud instance” in the documentation says how."
)


def draw() -> None:
    """The list with its filters, and the machine that was chosen from it."""
    for problem in instances.problems():
        st.warning(escape(problem))
    text, providers = st.columns([2, 1.5])
    shown = rented.matching(
        text.text_input(
            "Search instances", key=_TEXT, bind="query-params", placeholder="type, device, region: “p5”, “L40S”", icon=":material/search:"
        ),
        providers.multiselect("Provider", rented.providers(), key=_PROVIDERS, bind="query-params", placeholder="all"),
    )
    if not shown:
        st.info("No instance is left by these filters.")
        return
    table(rented.table(shown), key=f"instances-{st.session_state[_TEXT]}-{st.session_state[_PROVIDERS]}", listed=shown)
    st.caption(f"{len(shown)} of {len(instances.instances())} prices. {_OWN}")
    labels = [row.label for row in shown]
    if st.session_state.get(_ONE) not in labels:
        st.session_state[_ONE] = None
    picked = st.selectbox("Look at an instance", labels, index=None, key=_ONE, placeholder="Choose in the table, or type to search")
    if picked is not None:
        _one(shown[labels.index(picked)])


def table(rows: list[dict[str, object]], *, key: str, listed: list[Instance] | None = None) -> None:
    """The rows of `core.rented.table`; with `listed`, the instances of the rows, a row can be chosen."""
    number, text = st.column_config.NumberColumn, st.column_config.TextColumn
    config = {
        "Instance": text(width=190, pinned=True),
        "$/h": number(format="%.2f", help="Of the whole machine"),
        "Devices": text(width=170),
        "RAM, GB": number(format="localized"),
        "Price of": text(help="The day on which the price stood"),
        "Estimate": text(width=170, help="Whether an estimate can be made on it, or why not"),
        "Region": text(width=110),
        "Source": text(width=420),
    }
    frame = pd.DataFrame(rows)
    if listed is None:
        st.dataframe(frame, hide_index=True, placeholder="", key=key, column_config=config)
        return
    st.dataframe(
        frame, hide_index=True, placeholder="", key=key, column_config=config, height=420, selection_mode="single-row",
        on_select=lambda: _chosen(key, listed),
    )  # fmt: skip


def _chosen(key: str, listed: list[Instance]) -> None:
    rows = st.session_state[key]["selection"]["rows"]
    st.session_state[_ONE] = listed[rows[0]].label if rows else None


def _one(row: Instance) -> None:
    st.markdown(escape(rented.sentence(row)))
    if asked := rented.estimate_knobs(row):
        st.page_link("estimate.py", label="Estimate on it", icon=":material/speed:", query_params=asked)
