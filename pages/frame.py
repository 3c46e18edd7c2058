"""The frame around every page: the script that the server runs."""

from __future__ import annotations

import streamlit as st

from pages.shared.style import apply_style

st.set_page_config(page_title="Roofcast", layout="wide", initial_sidebar_state="auto")
apply_style()
page = st.navigation(
    [
        st.Page("estimate.py", title="Your hardware", default=True),
        st.Page("model.py", title="Model", url_path="model"),
        st.Page("placement.py", title="Placement", url_path="placement"),
        st.Page("suggest.py", title="Suggest a config", url_path="suggest"),
        st.Page("what_if.py", title="What if?", url_path="what_if"),
        st.Page("troubleshoot.py", title="Troubleshoot", url_path="troubleshoot"),
        st.Page("hardware.py", title="Hardware", url_path="hardware"),
        st.Page("validation.py", title="How wrong are we?", url_path="validation"),
    ],
    position="top",
)
page.run()
