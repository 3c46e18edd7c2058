"""The builds at the head of the page: what each is, and the buttons that edit, remove and add."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from core.builds import SLOTS
from core.compare import MOST, Build, Comparison
from core.words import FITS
from pages.shared import what_if_state
from pages.shared.words import escape

_COLOURS = {"in_vram": "green", "with_offload": "orange", "insufficient_memory": "red"}
_KEPT = "The form on the left shows the build that is edited; the address holds all of them."


def cards(builds: Sequence[Build], shown: int) -> None:
    """One card a build, and one to add another."""
    more = len(builds) < MOST
    places = st.columns(len(builds) + more, gap="small")
    for place, (one, column) in enumerate(zip(builds, places, strict=False)):
        with column, st.container(border=True, key=f"build-{SLOTS[place]}", height="stretch"):
            _card(one, place, place == shown, len(builds) > 1)
    if more:
        with places[-1], st.container(border=True, key="build-add", height="stretch"):
            st.markdown("**Another build**")
            st.caption("A copy to change in the form.")
            st.button("Add", key="add-copy", icon=":material/add:", on_click=what_if_state.add, args=(builds[shown].scenario,))
    st.caption(_KEPT)


def _card(one: Build, place: int, shown: bool, removable: bool) -> None:
    feasibility = one.found.feasibility if one.found is not None else "insufficient_memory"
    state = FITS[feasibility] if one.found is not None else "Cannot be asked"
    st.markdown(f"**{one.name}** :{_COLOURS[feasibility]}-badge[{state}]")
    st.markdown(escape(one.what if one.found is not None else one.why))
    with st.container(horizontal=True, gap="small"):
        label = "In the form" if shown else "Edit"
        st.button(label, key=f"edit-{place}", disabled=shown, icon=":material/edit:", on_click=what_if_state.edit, args=(place,))
        if removable:
            st.button(
                "", key=f"remove-{place}", icon=":material/close:", type="tertiary", help=f"Remove {one.name}",
                on_click=what_if_state.remove, args=(place,),
            )  # fmt: skip


def differences(found: Comparison) -> list[dict[str, str]]:
    """What differs, a line an input and a column a build."""
    return [{"": entry.title, **{one.name: text for one, text in zip(found.builds, texts, strict=True)}} for entry, texts in found.inputs]
