"""How wrong are the estimates? For those who maintain them, and for those who ask whether to believe them."""

from __future__ import annotations

import streamlit as st

from core.errors import RoofcastError
from core.scores import scores
from pages.shared import runs_calibration, validation_controls, validation_first, validation_parts, what_if_add
from pages.shared.words import escape

PARTS = {
    "Where it is wrong": validation_parts.worst,
    "Predicted and measured": validation_parts.scatter,
    "Gates": validation_parts.all_gates,
    "Intervals": validation_parts.intervals,
    "Runs": validation_parts.runs,
    "Corpus": validation_parts.corpus,
    "Own runs": lambda scores, choice: runs_calibration.promise(),
    "Versions": validation_parts.versions,
}

try:
    found = scores()
    validation_first.draw(found)
    choice = validation_controls.choose(found)
    for tab, part in zip(st.tabs(list(PARTS), key="judged_view", bind="query-params", on_change="rerun"), PARTS.values(), strict=True):
        if tab.open:
            with tab:
                part(found, choice)
except RoofcastError as error:
    st.title("How wrong are the estimates?", anchor=False)
    st.info(escape(str(error)))
what_if_add.last()
