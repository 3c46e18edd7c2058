"""Your hardware: will this model fit this machine, how fast will it be, and what holds it back?"""

from __future__ import annotations

from urllib.parse import parse_qsl

import streamlit as st

from core.errors import RoofcastError
from core.sweep import answer
from pages.shared import details, evidence, first_screen, passing, what_if_add, words
from pages.shared.controls import scenario_controls, show_notices

try:
    scenario = scenario_controls()
    found = answer(scenario)
except RoofcastError as error:
    show_notices()
    st.info(str(error))
    st.stop()

show_notices()
st.html(words.SMALL_SCREEN)
place = first_screen.draw(found)
details.draw(found)
st.page_link(
    "model.py", label="Look inside the model, operation by operation", icon=":material/schema:",
    query_params=passing.packed(scenario, model_view="Step by step"),
)  # fmt: skip
st.page_link(
    "placement.py", label="Which device holds what", icon=":material/grid_view:", query_params=dict(parse_qsl(scenario.to_query()))
)
what_if_add.link(scenario, label="Compare with another build")
evidence.badges(found, place)  # last: the answer need not wait for the runs
