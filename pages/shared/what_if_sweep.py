"""Sweeps: every build over one knob or two, with measured points, crossings in a sentence, and a CSV."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import streamlit as st

from core import compare_rows, compare_tables
from core.compare import Build
from core.crossing import DRAWN, crossings
from core.errors import RoofcastError
from core.grid import KNOBS, Axis, axis, records
from pages.shared import progress, what_if_charts
from pages.shared.words import escape

_NONE = "none"
_VALUES = "Such as 1, 2, 4 or 1..64, or names; empty: the usual ones."
_DIAMONDS = "Diamonds ringed in green are measured runs of these very configurations, at nearly this load otherwise."
_CLOSE = "Dashed: where the lines cross."
_FAINT = "Who is best at each pair of values, and by which factor over the next; faint where that is too close to call."


def draw(builds: Sequence[Build]) -> None:
    """The controls, then the chart, the sentences and the table."""
    first = builds[0].scenario
    one, two, three = st.columns(3)
    with one:
        knob = st.selectbox("Over", list(KNOBS), format_func=_title, key="over", bind="query-params")
        text = st.text_input("Its values", key="over_values", bind="query-params", placeholder="usual values", help=_VALUES)
    with two:
        others = [_NONE, *(name for name in KNOBS if name != knob)]
        second = st.selectbox("And over", others, format_func=_title, key="and_over", bind="query-params")
        more = ""
        if second != _NONE:
            more = st.text_input("Its values", key="and_over_values", bind="query-params", placeholder="usual values", help=_VALUES)
    with three:
        metric = st.selectbox("Show", list(DRAWN), format_func=lambda key: DRAWN[key].title, key="drawn", bind="query-params")
    heard = progress.bar("Estimating …")
    try:
        asked = ((knob, text), (second, more))
        axes = [axis(f"{name}={values}" if values.strip() else name, first) for name, values in asked if name != _NONE]
        found = records([(build.name, build.scenario) for build in builds], *axes, progress=heard)
    except RoofcastError as error:
        heard(1.0)
        st.info(escape(str(error)))
        return
    if len(axes) == 1:
        _one(builds, axes[0], metric, found)
    else:
        _two(builds, (axes[0], axes[1]), metric, found)
    st.download_button(
        "Download as CSV", compare_rows.sweep_csv(found), compare_rows.SWEEP_FILE, "text/csv", key="sweep-csv", icon=":material/download:",
        on_click="ignore",
    )  # fmt: skip


def _title(knob: str) -> str:
    name = KNOBS[knob].title if knob in KNOBS else "nothing else"
    return f"{name[0].upper()}{name[1:]}"


def _one(builds: Sequence[Build], over: Axis, metric: str, found: list[dict[str, Any]]) -> None:
    rows = compare_tables.line_rows(found, over, metric)
    names = [build.name for build in builds]
    _, unit = compare_tables.axis_unit(DRAWN[metric].unit)
    y_title = f"{DRAWN[metric].title}, {unit}" if unit else DRAWN[metric].title
    if not rows:
        st.info("Nothing to draw: no build runs at any of these values.")
    elif not over.numeric:
        what_if_charts.steps(rows, names=names, x_title=over.title, y_title=y_title, order=compare_tables.labels(over), key="sweep-steps")
    else:
        crossed = [crossings(builds[0].scenario, other.scenario, over, metric, (builds[0].name, other.name)) for other in builds[1:]]
        measured = compare_tables.measured_rows(builds, over, metric)
        at = [cross.at for one in crossed for cross in one.found]
        what_if_charts.lines(
            rows, names=names, x_title=over.title, y_title=y_title, log=over.log, key="sweep-lines", measured=measured, crossings=at
        )
        for one in crossed:
            st.markdown(escape(one.sentence))
        if at or measured:
            st.caption(" ".join([*([_CLOSE] if at else []), *([_DIAMONDS] if measured else [])]))
    for sentence in compare_tables.not_running(found, over, builds):
        st.caption(escape(sentence))


def _two(builds: Sequence[Build], axes: tuple[Axis, Axis], metric: str, found: list[dict[str, Any]]) -> None:
    places: dict[str, Any] = {
        "x_title": axes[0].title, "y_title": axes[1].title, "x_order": compare_tables.labels(axes[0]),
        "y_order": compare_tables.labels(axes[1]),
    }  # fmt: skip
    if len(builds) > 1:
        rows = compare_tables.who_rows(found, axes, metric, builds)
        if rows:
            st.markdown(f"**{escape(DRAWN[metric].title)}: who is best**")
            what_if_charts.who(rows, names=[build.name for build in builds], key="sweep-who", **places)
            st.caption(_FAINT)
    _, unit = compare_tables.axis_unit(DRAWN[metric].unit)
    for place, build in enumerate(builds):
        cells = compare_tables.heat_rows(found, axes, metric, build.name)
        if cells:
            what_if_charts.heat(cells, title=f"{build.name}: {DRAWN[metric].title}, {unit}", key=f"sweep-heat-{place}", **places)
        else:
            st.caption(f"{build.name} runs at none of these values.")
