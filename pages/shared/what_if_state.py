"""The builds that are compared: in the address a letter each, in the session as long as it lasts, and one of them in the form."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import streamlit as st
from streamlit.errors import StreamlitAPIException

from core import choices
from core.builds import SLOTS, from_link, place_of, removed, to_link
from core.errors import RoofcastError
from core.scenario import Scenario, from_flat
from pages.shared import controls, knobs

EDIT = "edit"  # in the address: the letter of the build that the form shows
_BUILDS, _NOTICES, _BEFORE = "_what_if_builds", "_what_if_notices", "_what_if_before"


def builds() -> list[Scenario]:
    """The builds of this session; none before the first."""
    return list(st.session_state.get(_BUILDS, ()))


def edited() -> int:
    """The place of the build that the form shows."""
    return place_of(st.query_params.get(EDIT, SLOTS[0]), len(builds()))


def letter() -> str:
    """The build that the form shows, as people call it."""
    return SLOTS[edited()].upper()


def arrive() -> None:
    """Take the builds that a link brings, or those of the session; where the page opens, lay the edited one into the form."""
    slots = {slot: text for slot in SLOTS if (text := st.query_params.get(slot))}
    known, brought = builds(), False
    if slots and slots != to_link(known):
        found, st.session_state[_NOTICES] = from_link(slots)
        _store(found or known or [current()])  # also into the address: a name may stand there as people write it
        brought = True
    elif not known:
        _store([current()])
    if _BEFORE not in st.session_state:
        st.session_state[_BEFORE] = controls.values()
        brought = True
    if brought:
        _lay(builds()[edited()])
        for key in (*knobs.LISTS, *knobs.SWITCHES, *knobs.NUMBERS, *knobs.TEXTS):
            with contextlib.suppress(StreamlitAPIException):  # of a control that is drawn already, and writes it itself
                st.query_params.pop(key, None)
        st.rerun()  # bound controls take their values only from before they are drawn


def leave() -> None:
    """On any other page: the form asks again what it asked before, or the build that it shows where the session began with that."""
    if _BEFORE in st.session_state:
        for key, item in (st.session_state.pop(_BEFORE) or controls.values()).items():
            st.session_state[key] = item  # set anew, so that the address gets it


def current() -> Scenario:
    """What the form asked last, or what the pages open with."""
    try:
        return controls.scenario()
    except (RoofcastError, KeyError):
        return from_flat({"model": choices.default_model(), "device": choices.default_device()})


def keep(scenario: Scenario) -> list[Scenario]:
    """Take what the form says into its build, and all builds into the address."""
    found = builds()
    found[edited()] = scenario
    _store(found)
    return found


def _store(found: Sequence[Scenario]) -> None:
    st.session_state[_BUILDS] = list(found)
    slots = to_link(found)
    for slot in SLOTS:
        if slot in slots and st.query_params.get(slot) != slots[slot]:
            st.query_params[slot] = slots[slot]
        elif slot not in slots and slot in st.query_params:
            del st.query_params[slot]


def show_notices() -> None:
    """What was wrong with the link, a sentence each."""
    for notice in st.session_state.get(_NOTICES, ()):
        st.warning(notice)


# ---------------------------------------------------------------- callbacks of buttons


def edit(place: int) -> None:
    """Lay another build into the form."""
    st.query_params[EDIT] = SLOTS[place]
    _lay(builds()[place])


def change(place: int, scenario: Scenario) -> None:
    """Another scenario for one of the builds; laid into the form where that shows it."""
    found = builds()
    found[place] = scenario
    _store(found)
    if place == edited():
        _lay(scenario)


def add(scenario: Scenario) -> None:
    """One more build, which the form then shows."""
    found = [*builds(), scenario][: len(SLOTS)]  # a copy may be equal: it is there to be changed
    _store(found)
    edit(place_of(SLOTS[-1], len(found)))


def remove(place: int) -> None:
    """Take a build away; the form shows the one that it showed, or the first."""
    found, shown = removed(builds(), place, edited())
    _store(found)
    edit(shown)


# ---------------------------------------------------------------- the form


def _lay(scenario: Scenario) -> None:
    """Set every control to a scenario."""
    try:
        controls.lay(scenario)
    except RoofcastError as error:
        st.session_state[_NOTICES] = [*st.session_state.get(_NOTICES, ()), str(error)]
