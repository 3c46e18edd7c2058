"""Placement: which device holds which layers, shards, experts and cache, and how few devices would do."""

from __future__ import annotations

import streamlit as st

from core.errors import RoofcastError
from core.placement import placement
from pages.shared import bundle_parts, controls, knobs, placement_parts, what_if_add
from pages.shared.address import show_notices
from pages.shared.words import SMALL_SCREEN, escape

head = st.container(key="answer", gap="small")
with st.grid(min_column_width=138, gap="small"):
    controls.again(knobs.LAYOUT)
try:
    scenario = controls.scenario()
    found = placement(scenario)
except RoofcastError as error:
    with head:
        st.title("This cannot be laid out", anchor=False)
        show_notices()
        st.info(escape(str(error)))
    st.stop()

with head:
    show_notices()
    st.html(SMALL_SCREEN)
    placement_parts.answer(found)
placement_parts.draw(found)
what_if_add.link(scenario, label="Compare with another build")
bundle_parts.save(scenario)
