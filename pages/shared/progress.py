"""A bar that shows how far a row of estimates is, and goes when it is done."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st


def bar(text: str) -> Callable[[float], None]:
    """Call it with the share that is done."""
    room = st.empty()

    def hear(share: float) -> None:
        if share < 1:
            room.progress(share, text)
        else:
            room.empty()

    return hear
