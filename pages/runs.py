"""Your runs: bring measurements, see them beside the prediction, and let them make the estimates yours."""

from __future__ import annotations

import streamlit as st

from core.errors import RoofcastError
from pages.shared import runs_bring, runs_calibration, runs_drift, runs_stored, what_if_add
from pages.shared.words import escape

PARTS = {
    "Bring runs": runs_bring.draw,
    "Stored runs": runs_stored.draw,
    "Calibration": runs_calibration.draw,
    "Drift and versions": runs_drift.draw,
}

with st.container(key="answer", gap="small"):
    st.title(escape(runs_stored.headline()), anchor=False)
for tab, part in zip(st.tabs(list(PARTS), key="runs_view", bind="query-params", on_change="rerun"), PARTS.values(), strict=True):
    if tab.open:
        with tab:
            try:
                part()
            except RoofcastError as error:
                st.info(escape(str(error)))
what_if_add.last()
