"""Your hardware: will this model fit this machine, how fast will it be, and what holds it back?"""

from __future__ import annotations

import streamlit as st

from core.errors import RoofcastError
from core.sweep import answer
from pages.shared import bundle_parts, controls, details, evidence, first_screen, what_if_add, words
from pages.shared.address import show_notices

show_notices()
try:
    found = answer(controls.scenario())
except RoofcastError as error:
    st.title("This cannot be estimated", anchor=False)
    st.info(words.escape(str(error)))
    bundle_parts.draw(None)
    st.stop()

st.html(words.SMALL_SCREEN)
place = first_screen.draw(found)
details.draw(found)
with st.container(horizontal=True):
    inside = {"model_view": "Step by step"}
    st.page_link("model.py", label="Look inside the model, operation by operation", icon=":material/schema:", query_params=inside)
    st.page_link("placement.py", label="Which device holds what", icon=":material/grid_view:")
    what_if_add.link(found.scenario, label="Compare with another build")
bundle_parts.draw(found)
evidence.badges(found, place)  # last: the answer need not wait for the runs
