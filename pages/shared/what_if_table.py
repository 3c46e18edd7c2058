"""Side by side: what differs, every number with its range and who is best, what to trust, and charts of the main numbers."""

from __future__ import annotations

from html import escape as html

import pandas as pd
import streamlit as st

from core import compare_rows, compare_tables
from core.compare import Cell, Comparison, Line
from core.errors import RoofcastError
from core.evidence import nearest
from core.price_guess import guess
from core.trust import what_to_trust
from core.units import show
from pages.shared import number, what_if_builds, what_if_charts, what_if_state
from pages.shared.words import escape

_CSS = """
<style>
.vs { overflow-x: auto; }
.vs table { border-collapse: collapse; width: 100%; font-size: 0.94rem; font-variant-numeric: tabular-nums; }
.vs th, .vs td { text-align: left; vertical-align: top; padding: 0.34rem 0.9rem 0.34rem 0;
  border-bottom: 1px solid color-mix(in srgb, currentColor 14%, transparent); }
.vs th { font-weight: 650; font-size: 1.02rem; }
.vs tr.g th { padding-top: 1.1rem; font-size: 0.84rem; letter-spacing: 0.02em; opacity: 0.72; }
.vs td.f { min-width: 8.6rem; opacity: 0.82; }
.vs td b { font-weight: 650; white-space: nowrap; }
.vs td i { font-style: normal; display: block; font-size: 0.82rem; opacity: 0.7; white-space: nowrap; }
.vs td.w b { box-shadow: inset 0 -0.5em 0 color-mix(in srgb, #009E73 34%, transparent); }
.vs td.v { font-size: 0.86rem; opacity: 0.85; min-width: 6.5rem; }
@media (max-width: 640px) {
  .vs th, .vs td { padding-right: 0.55rem; }
  .vs td.f { min-width: 6.4rem; max-width: 7.4rem; position: sticky; left: 0; background: var(--vs-ground, inherit); }
  .vs table { font-size: 0.86rem; }
}
</style>
"""
_TIES = (
    "Marked: the best, where it is so far ahead that the order can be trusted. That is known from pairs of measured runs that differ in "
    "the same things, predicted without their source: further apart than this, 9 of 10 were in the right order. Without such pairs both "
    "ranges decide. The range under a number goes from its 10th to its 90th percentile."
)
_LOADS = "The builds are asked for different loads: their speeds answer different questions."
_COLOURS = {"measured": "green", "interpolated": "blue", "unmeasured": "orange"}


def draw(found: Comparison) -> None:
    """Everything of the first part of the page."""
    if {entry.key for entry, _ in found.inputs} & {"length", "users"}:
        st.info(_LOADS)
    if found.inputs:
        st.markdown("**What differs**")
        st.dataframe(pd.DataFrame(what_if_builds.differences(found)), hide_index=True)
    if not found.lines:
        st.info("No build has a number to show.")
        return
    st.html(_CSS + _table(found))
    st.caption(_TIES)
    _prices(found)
    _trust(found)
    _charts(found)
    _explain(found)
    _export(found)


def _table(found: Comparison) -> str:
    """The numbers as a table. What comes from a scenario is escaped."""
    names = [one.name for one in found.builds]
    head = "".join(f"<th>{html(name)}</th>" for name in names)
    rows, group = [], ""
    for line in found.lines:
        if line.group != group:
            group = line.group
            rows.append(f'<tr class="g"><th>{html(group)}</th>{"".join("<th></th>" for _ in names)}<th></th></tr>')
        cells = "".join(_cell(cell, line, place) for place, cell in enumerate(line.cells))
        rows.append(f'<tr><td class="f">{html(line.title)}</td>{cells}<td class="v">{html(line.verdict)}</td></tr>')
    body = "".join(rows)
    return f'<div class="vs"><table><thead><tr><th></th>{head}<th></th></tr></thead><tbody>{body}</tbody></table></div>'


def _cell(cell: Cell, line: Line, place: int) -> str:
    marked = ' class="w"' if line.best == (place,) else ""
    below = "".join(f"<i>{html(text)}</i>" for text in (cell.span, cell.note) if text)
    return f"<td{marked}><b>{html(cell.text or '–')}</b>{below}</td>"


def _prices(found: Comparison) -> None:
    """A button for each build whose machine has no price in the catalog, where one is guessed."""
    for place, one in enumerate(found.builds):
        told = guess(one)
        if told is not None:
            label = f"{one.name}: count {show(told.usd, 'USD')} for the machine"
            st.button(
                escape(label), key=f"price-{place}", icon=":material/sell:", on_click=what_if_state.change,
                args=(place, told.counted(one.scenario)), help=escape(f"List price of {told.of}, a guess; give your own under Prices."),
            )  # fmt: skip


def _trust(found: Comparison) -> None:
    """A word each for speed, tail and memory of every build."""
    st.markdown("**What to trust**")
    for one in found.builds:
        if one.found is None:
            continue
        try:
            told = what_to_trust(one.found, nearest(one.scenario, corrected=one.found.version is not None))
        except RoofcastError as error:
            st.caption(escape(str(error)))
            return
        parts = {"Speed": told.speed, "Tail": told.tail, "Memory": told.memory} if one.runs else {"Memory": told.memory}
        badges = " ".join(f":{_COLOURS[part.word]}-badge[{name} {part.word}]" for name, part in parts.items())
        st.markdown(f"{one.name} {badges}", help=escape(parts["Speed" if one.runs else "Memory"].text))


def _charts(found: Comparison) -> None:
    names = [one.name for one in found.builds]
    groups = compare_tables.pictured(found)
    if not groups:
        return
    st.markdown("")
    for first in range(0, len(groups), 3):
        for column, (title, unit, rows) in zip(st.columns(3, gap="medium"), groups[first : first + 3], strict=False):
            with column:
                what_if_charts.ranges(rows, names=names, title=title, unit=unit, key=f"vs-{title}")


def _explain(found: Comparison) -> None:
    """The numbers of one line, each of which opens its way down to the sources."""
    with st.expander("Where a number comes from"):
        lines = {line.title: line for line in found.lines}
        picked = st.selectbox("Number", list(lines), key="vs_number")
        line = lines[picked]
        with st.grid(min_column_width=150, gap="medium"):
            for place, (one, cell) in enumerate(zip(found.builds, line.cells, strict=True)):
                if cell.text:
                    number.tile(one.name, cell.number, cell.text, key=f"vs-{place}", span=cell.span, note=cell.note)


def _export(found: Comparison) -> None:
    name, text = compare_rows.COMPARISON_FILE, compare_rows.comparison_csv(found)
    st.download_button("Download as CSV", text, name, "text/csv", key="vs-csv", icon=":material/download:", on_click="ignore")
    with st.expander("The comparison as one picture"):
        st.caption("The button at the picture's upper right downloads it as PNG.")
        about = [f"{one.name}: {one.what}" for one in found.builds]
        groups = compare_tables.pictured(found)
        what_if_charts.picture(groups, names=[one.name for one in found.builds], title=found.sentence, about=about, key="vs-picture")
