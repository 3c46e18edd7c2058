"""Suggest a config: a model and a machine in; what to run it with, and why, out."""

from __future__ import annotations

import streamlit as st

from core.errors import RoofcastError
from core.recommend import suggest
from pages.shared import suggest_parts as parts
from pages.shared import what_if_add
from pages.shared.words import escape

with st.container(key="answer", gap="small"):
    st.title("Suggest a config", anchor=False)
    st.markdown(f":gray[{escape(parts.ABOUT)}]")

parts.arrive()
model = parts.choose_model()
target = parts.choose_machine()
asked = parts.ask(model, target)
if asked:
    try:
        with st.spinner("Trying what fits …"):
            found = suggest(*asked)
    except RoofcastError as error:
        st.error(escape(str(error)), icon=":material/error:")
        what_if_add.last()
        st.stop()
    parts.draw(found)
else:
    what_if_add.last()
