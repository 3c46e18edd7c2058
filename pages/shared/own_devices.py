"""The devices that this session described: they live as long as it does, whether or not they are stored too."""

from __future__ import annotations

import streamlit as st

_KEY = "_own_devices"


def of_session() -> list[str]:
    """Their names, which are their whole records, newest first."""
    return list(st.session_state.get(_KEY, []))


def remember(name: str) -> None:
    """Puts a device before the others of the session."""
    st.session_state[_KEY] = [name, *(other for other in of_session() if other != name)]


def drop(name: str) -> None:
    """Takes a device out of the session."""
    st.session_state[_KEY] = [other for other in of_session() if other != name]
