"""The frame around every page: the script that the server runs. It holds the form, so that a scenario goes from page to page."""

from __future__ import annotations

import streamlit as st

from pages.shared import address, bundle_parts, controls, runs_session, what_if_state
from pages.shared.style import apply_style

st.set_page_config(page_title="Roofcast", layout="wide", initial_sidebar_state="auto")
apply_style()
runs_session.install()
bundle_parts.install()
estimate = st.Page("estimate.py", title="Your hardware", default=True)
target = st.Page("target.py", title="What should I buy?", url_path="target")
model = st.Page("model.py", title="Model", url_path="model")
placement = st.Page("placement.py", title="Placement", url_path="placement")
suggest = st.Page("suggest.py", title="Suggest a config", url_path="suggest")
what_if = st.Page("what_if.py", title="What if?", url_path="what_if")
troubleshoot = st.Page("troubleshoot.py", title="Troubleshoot", url_path="troubleshoot")
hardware = st.Page("hardware.py", title="Hardware", url_path="hardware")
runs = st.Page("runs.py", title="Your runs", url_path="runs")
validation = st.Page("validation.py", title="How wrong are we?", url_path="validation")

page = st.navigation([estimate, target, model, placement, suggest, what_if, troubleshoot, hardware, runs, validation], position="top")
asks = page in (estimate, model, placement, what_if, troubleshoot)
if page != what_if:
    what_if_state.leave()
address.turn(page.url_path, asks=asks)
if page == what_if:
    what_if_state.arrive()
    controls.form(f"Build {what_if_state.letter()}", "Change it here; all other builds stay.")
elif asks:
    controls.form(commands=page != troubleshoot)
page.run()
