"""The validation page's first screen: the state in one sentence, the cards, and the errors against their targets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from core import gates, report
from core.scores import Scores
from pages.shared.words import escape

_STYLE = """
<style>
.aims { overflow-x: auto; }
.aims table { border-collapse: collapse; width: 100%; min-width: 690px; }
.aims th { text-align: left; font-weight: 600; font-size: 0.86rem; padding: 0.3rem 0.6rem; opacity: 0.75; }
.aims td { padding: 0.45rem 0.6rem; border-top: 1px solid color-mix(in srgb, currentColor 18%, transparent); vertical-align: top; }
.aims td:first-child { font-weight: 600; }
.aims b { font-size: 1.2rem; font-variant-numeric: tabular-nums; }
.aims b, .aims .mark { white-space: nowrap; }
.aims .mark { font-weight: 700; }
.aims .met { color: light-dark(#00704f, #2FBF97); }
.aims .missed { color: light-dark(#b04a00, #F0804A); }
.aims small { display: block; opacity: 0.75; font-size: 0.78rem; line-height: 1.35; white-space: nowrap;
  font-variant-numeric: tabular-nums; }
</style>
"""
_COLUMNS = ("configuration", "model", "device", "source")


def draw(scores: Scores) -> None:
    """The first screen."""
    lines = gates.table(scores)
    with st.container(key="answer", gap="small"):
        st.title(escape(report.headline(lines)), anchor=False)
    _cards(scores, lines)
    st.markdown("**How far off, by what the fit had never seen**")
    st.html(_STYLE + _aims(report.target_cells(lines)))
    st.caption(
        "Large: the median absolute error, half of the runs are closer. ✓ within its target, ✗ not yet. "
        "“Before” is the median of the uncorrected estimate."
    )
    st.info(f"{report.METHOD} {report.NOISE}", icon=":material/straighten:")


def _cards(scores: Scores, lines: Sequence[Mapping[str, Any]]) -> None:
    found = gates.cards(gates.gates(scores, lines))
    average = report.average_error(scores)
    with st.grid(min_column_width=138, gap="medium"):
        st.metric("Gates", found["total"], help="Every target that the estimates are held against; listed under “Gates”.")
        st.metric("Met", found["met"])
        st.metric("Missed", found["missed"])
        st.metric("Not judged", found["not_judged"], help="Nothing was measured, or nothing predicted, to judge these by.")
        st.metric(
            "Average error",
            report.share(average.get("mean")),
            help="Mean absolute error over every metric and judged row, on models the fit had never seen. "
            f"The median is {report.share(average.get('median'))}.",
        )
        st.metric(
            "Judged numbers",
            f"{scores.counts['rows']:,}",
            help=f"Of {scores.counts['runs']:,} runs from {scores.counts['sources']} sources.",
        )


def _aims(cells: Sequence[Mapping[str, Any]]) -> str:
    """The table of targets. All text in it is ours: populations and splits of the catalog, and numbers."""
    by = {(cell["population"], cell["split"]): cell for cell in cells}
    head = "".join(f"<th>unseen {split}</th>" for split in _COLUMNS)
    body = []
    for population in dict.fromkeys(cell["population"] for cell in cells):
        row = "".join(_aim(by.get((population, split))) for split in _COLUMNS)
        body.append(f"<tr><td>{population}</td>{row}</tr>")
    return f'<div class="aims"><table><thead><tr><th></th>{head}</tr></thead><tbody>{"".join(body)}</tbody></table></div>'


def _aim(cell: Mapping[str, Any] | None) -> str:
    if cell is None:
        return "<td>–</td>"
    return (
        f"<td><b>{report.share(cell['median'])}</b> {_mark(cell['met_median'])}"
        f"<small>target {cell['target_median']:g} % · before {report.share(cell['before_median'])}</small>"
        f"<small>mean {report.share(cell['mean'])} {_mark(cell['met_mean'])} target {cell['target_mean']:g} %</small>"
        f"<small>{cell['n']:,} numbers</small></td>"
    )


def _mark(met: bool) -> str:
    return '<span class="mark met">✓</span>' if met else '<span class="mark missed">✗</span>'
