"""The evidence beside an answer: what to trust, and the measured runs nearest to it."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from core.answer import Estimate
from core.errors import RoofcastError
from core.evidence import NearRun, nearest
from core.trust import NAMES, UNITS, Trusted, what_to_trust
from core.units import show
from pages.shared import words as texts

_COLOURS = {"measured": "green", "interpolated": "blue", "unmeasured": "orange"}
_LEVELS = {"seen": "green", "near": "blue", "far": "orange"}


def _near(estimate: Estimate) -> tuple[NearRun, ...]:
    return nearest(estimate.scenario, corrected=estimate.version is not None)


def _parts(estimate: Estimate) -> Mapping[str, Trusted]:
    found = what_to_trust(estimate, _near(estimate))
    return {"Speed": found.speed, "Tail": found.tail, "Memory": found.memory}


def badges(estimate: Estimate, place: DeltaGenerator) -> None:
    """One word each for speed, tail and memory, at its place on the first screen."""
    try:
        parts = _parts(estimate)
    except RoofcastError as error:
        place.caption(texts.escape(str(error)))
        return
    place.markdown(" ".join(f":{_COLOURS[part.word]}-badge[{name} {part.word}]" for name, part in parts.items()))


def draw(estimate: Estimate) -> None:
    """What to trust in sentences, what the runs know of each part, and the nearest of them."""
    st.subheader("What to trust", anchor=False)
    for name, part in _parts(estimate).items():
        st.markdown(f"**{name}** :{_COLOURS[part.word]}-badge[{part.word}] {texts.escape(part.text)}")
    if estimate.support:
        known = " ".join(f":{_LEVELS[level]}-badge[{name} {level}]" for name, level in estimate.support.by.items())
        st.markdown(f"**The runs know** {known}")
    st.subheader("Nearest measured runs", anchor=False)
    near = _near(estimate)
    if not near:
        st.caption(texts.NO_RUNS)
        return
    st.caption(texts.NEAREST_RUNS)
    with st.container(key="near-runs"):
        st.table(pd.DataFrame([_row(run) for run in near]).set_index("Distance"))


def _row(run: NearRun) -> dict[str, str]:
    ours = run.ours
    figures = []
    for metric, amount in run.measured.items():
        beside = f", ours {show(ours[metric], UNITS[metric])}" if metric in ours else ""
        figures.append(texts.escape(f"{NAMES[metric]} {show(amount, UNITS[metric])}{beside}"))
    source = f"[{texts.escape(run.source)}]({run.url})" if run.url else texts.escape(run.source)
    about = ", ".join(filter(None, (run.date, run.licence)))
    doubt = f" Doubt: {run.doubt}." if run.doubt else ""
    return {
        "Distance": f"{run.distance:.1f}",
        "Run": texts.escape(run.what),
        "Differs in": texts.escape(f"{run.differs}.{doubt}"),
        "Measured": "; ".join(figures),
        "Source": f"{source} {texts.escape(f'({about})')}",
    }
