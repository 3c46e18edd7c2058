"""Troubleshoot: a symptom and a launch command in; whether it is normal, what would explain it and what would help out."""

from __future__ import annotations

import streamlit as st

from core.errors import RoofcastError
from core.troubleshoot import look, troubleshoot
from pages.shared import bundle_parts, controls, paste, progress, what_if_add
from pages.shared import troubleshoot_parts as parts
from pages.shared.address import show_notices
from pages.shared.words import SMALL_SCREEN, escape

head = st.container(key="answer", gap="small")
symptom = parts.symptom()
paste.draw(controls.apply, opened=True)
try:
    scenario = controls.scenario()
    seen = look(scenario, symptom)
except RoofcastError as error:
    with head:
        st.title("Troubleshoot", anchor=False)
        show_notices()
        st.info(escape(str(error)))
    st.stop()

with head:
    show_notices()
    st.title(escape(seen.sentence), anchor=False)
    st.markdown(f":gray[{escape(parts.ABOUT)}]")
    st.html(SMALL_SCREEN)
metric, amount = parts.measured(symptom)
if amount:
    parts.verdict(scenario, metric, amount)
parts.hints(seen)
heard = progress.bar("Estimating what might help …")
found = troubleshoot(scenario, symptom, progress=heard)
heard(1.0)
parts.fixes(found)
what_if_add.link(scenario, label="Compare with another build")
bundle_parts.save(scenario)
