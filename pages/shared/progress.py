"""A bar that shows how far a row of estimates is, and goes when it is done."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st
from streamlit.delta_generator import DeltaGenerator


def bar(text: str) -> Callable[[float], None]:
    """Call it with the share that is done."""
    room = st.empty()

    def hear(share: float) -> None:
        if share < 1:
            room.progress(share, text)
        else:
            room.empty()

    return hear


def named(place: DeltaGenerator) -> Callable[[float, str], None]:
    """A bar in `place` that also says what is being done; call it with the share that is done and that."""
    room = place.empty()

    def hear(share: float, what: str) -> None:
        if share < 1:
            room.progress(share, f"{what} …")
        else:
            room.empty()

    return hear
