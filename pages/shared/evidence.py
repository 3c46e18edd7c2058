"""The evidence beside an answer: what to trust, and the measured runs nearest to it."""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from core.answer import Estimate
from core.errors import RoofcastError
from core.evidence import NearRun, nearest
from core.trust import NAMES, UNITS, Trusted, what_to_trust
from core.units import show
from pages.shared import words as texts
from pages.shared.words import escape

_COLOURS = {"measured": "green", "interpolated": "blue", "unmeasured": "orange"}
_LEVELS = {"seen": "green", "near": "blue", "far": "orange"}


def _near(estimate: Estimate) -> tuple[NearRun, ...]:
    return nearest(estimate.scenario, corrected=estimate.version is not None)


def _parts(estimate: Estimate) -> Mapping[str, Trusted]:
    """What does not run has no speed to trust."""
    found = what_to_trust(estimate, _near(estimate))
    return {"Speed": found.speed, "Tail": found.tail, "Memory": found.memory} if estimate.runs else {"Memory": found.memory}


def place() -> DeltaGenerator:
    """Room for the badges, so that nothing moves when they come."""
    room = st.empty()
    room.markdown(":gray-badge[Looking at measured runs …]")
    return room


def badges(estimate: Estimate, room: DeltaGenerator, *, why: bool = False) -> None:
    """One word each for speed, tail and memory, at their place on the first screen; `why`: of a speed that nobody measured also the
    sentence."""
    try:
        parts = _parts(estimate)
    except RoofcastError as error:
        room.caption(escape(str(error)))
        return
    said = " ".join(f":{_COLOURS[part.word]}-badge[{name} {part.word}]" for name, part in parts.items())
    speed = parts.get("Speed")
    doubt = f"  \n:small[:orange[{escape(speed.text)}]]" if why and speed is not None and speed.word == "unmeasured" else ""
    room.markdown(f"{said}{doubt}", help=texts.TRUST)


def draw(estimate: Estimate) -> None:
    """What to trust in sentences, what the runs know of each part, and the nearest of them."""
    try:
        parts, near = _parts(estimate), _near(estimate)
    except RoofcastError as error:
        st.caption(escape(str(error)))
        return
    st.subheader("What to trust", anchor=False)
    for name, part in parts.items():
        st.markdown(f"**{name}** :{_COLOURS[part.word]}-badge[{part.word}] {escape(part.text)}")
    if estimate.support:
        known = " ".join(f":{_LEVELS[level]}-badge[{name} {level}]" for name, level in estimate.support.by.items())
        st.markdown(f"**In the runs** {known}", help=texts.SUPPORT)
    st.subheader("Nearest measured runs", anchor=False)
    st.caption(texts.NEAREST_RUNS if near else texts.NO_RUNS)
    for place, run in enumerate(near, 1):
        _card(place, run)


def _card(place: int, run: NearRun) -> None:
    """Left the run and what differs, right what it measured and what is estimated for it."""
    doubt = f" Doubtful: {run.doubt}." if run.doubt and run.doubt not in run.differs else ""
    source = f"[{escape(run.source)}]({run.url})" if run.url else escape(run.source)
    date = f", {escape(run.date)}" if run.date else ""
    with st.container(border=True, key=f"near-run-{place}"):
        left, right = st.columns([3, 2], gap="small")
        with left:
            st.markdown(f"**{escape(run.what)}**")
            st.markdown(f"Distance {run.distance:.1f}. Differs in: {escape(run.differs)}.{escape(doubt)}")
            st.markdown(f":small[Measured by {source}{date}. Licence: {escape(run.licence)}.]")
        with right:
            st.markdown("\n".join(_line(run, metric) for metric in run.measured))


def _line(run: NearRun, metric: str) -> str:
    unit = UNITS[metric]
    ours = f", ours {escape(show(run.ours[metric], unit))}" if metric in run.ours else ""
    return f"- {escape(NAMES[metric])} **{escape(show(run.measured[metric], unit))}**{ours}"
