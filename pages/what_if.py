"""What if? Up to four builds side by side: what differs, why, over which knob, and against an API."""

from __future__ import annotations

import streamlit as st

from core.compare import compare
from core.errors import RoofcastError
from pages.shared import bundle_parts, controls, what_if_api, what_if_builds, what_if_state, what_if_sweep, what_if_table, what_if_why
from pages.shared.words import SMALL_SCREEN, escape

head = st.container(key="answer", gap="small")
try:
    scenario = controls.scenario()
except RoofcastError as error:
    with head:
        st.title("This cannot be asked", anchor=False)
        what_if_state.show_notices()
        st.info(escape(str(error)))
    st.stop()

found = compare(what_if_state.keep(scenario))
with head:
    st.title(escape(found.sentence), anchor=False)
    what_if_state.show_notices()
    st.html(SMALL_SCREEN)
what_if_builds.cards(found.builds, what_if_state.edited())
parts = {
    "Side by side": lambda: what_if_table.draw(found),
    "Why": lambda: what_if_why.draw(found),
    "Sweep": lambda: what_if_sweep.draw(found.builds),
    "Against an API": lambda: what_if_api.draw(found.builds),
}
for tab, part in zip(st.tabs(list(parts), key="what_if_view", bind="query-params", on_change="rerun"), parts.values(), strict=True):
    if tab.open:
        with tab:
            part()
bundle_parts.save(scenario, label=f"Save build {what_if_state.letter()} as a bundle")
