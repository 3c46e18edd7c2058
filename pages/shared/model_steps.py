"""A scenario inside the model: each operation of a step by kind of layer, every number with the way it was made."""

from __future__ import annotations

import streamlit as st

from core import step_sheet, step_table
from core.answer import Estimate
from core.quantity import Quantity, value
from core.step_table import Line, Table
from core.units import show
from core.words import answer_sentence
from pages.shared import number
from pages.shared.words import escape

_LAYERS = {"all": "All of a kind", "one": "One of each kind"}
_UNITS = {"flop": "FLOP", "bytes": "B", "sent": "B", "time": "s"}
_CSS = """
<style>
.st-key-ops { overflow-x: auto; gap: 0 !important; }
[class*="st-key-oprow-"], [class*="st-key-opsum-"] { min-width: 790px; gap: 0.6rem !important; align-items: center; }
[class*="st-key-oprow-"] p, [class*="st-key-opsum-"] p { font-size: 0.9rem; line-height: 1.35; }
[class*="st-key-opsum-"] { border-top: 1px solid color-mix(in srgb, currentColor 22%, transparent); margin-top: 0.55rem;
  padding-top: 0.3rem; }
[class*="st-key-opsum-"] button p { font-weight: 650; }
[class*="st-key-oprow-"] > [data-testid="stLayoutWrapper"], [class*="st-key-opsum-"] > [data-testid="stLayoutWrapper"] {
  flex: 0 0 6rem; width: 6rem; }
[class*="st-key-line-op-"] { align-items: flex-end; }
[class*="st-key-line-op-"] button p { white-space: nowrap; }
.op-head { display: flex; gap: 0.6rem; min-width: 790px; font-size: 0.82rem; opacity: 0.72; }
.op-head span { flex: 0 0 6rem; text-align: right; }
.op-head span:first-child { flex: 1 1 0; text-align: left; }
.op-head span:last-child { flex: 0 0 15rem; text-align: left; }
</style>
"""


def draw(estimate: Estimate) -> None:
    """The table of the chosen phase, and both phases as a spreadsheet."""
    st.markdown(escape(answer_sentence(estimate)))
    left, middle, right = st.columns([1.1, 1.6, 1.2], vertical_alignment="bottom")
    with left:
        phase = st.segmented_control(
            "Phase", list(step_table.PHASES), default="decode", required=True, format_func=step_table.PHASES.__getitem__,
            key="step_phase", bind="query-params",
        )  # fmt: skip
    with middle:
        layers = st.segmented_control(
            "Layers", list(_LAYERS), default="all", required=True, format_func=_LAYERS.__getitem__, key="step_layers", bind="query-params"
        )
    with right:
        st.download_button(
            "Spreadsheet", lambda: step_sheet.steps_sheet(estimate), step_sheet.EXPORT, step_sheet.TYPE, icon=":material/download:",
            on_click="ignore", key="steps-sheet",
            help="Both phases operation by operation and layer by layer, and the tensors. Sums are formulas: a spreadsheet checks them.",
        )  # fmt: skip
    table = step_table.step_table(estimate, phase or "decode", one_layer=layers == "one")
    together = "the mean layer of each kind" if layers == "one" else "all layers of a kind together"
    st.caption(
        f"One {table.step} on one device (the slowest), {together}. Click a number for its formula and sources. "
        "Under load a token also waits for the prompts of others that share its steps."
    )
    _table(table)


def _table(table: Table) -> None:
    heads = ("Operation", "FLOP", "Bytes moved", "Bytes sent", "Time", "Limited by")
    st.html(_CSS)
    with st.container(key="ops"):
        st.html(f'<div class="op-head">{"".join(f"<span>{head}</span>" for head in heads)}</div>')
        for at, section in enumerate(table.sections):
            many = f" · {section.layers} layers" if section.layers > 1 else " · layer"
            layers = f"{many} {section.which}" if section.which else ""
            _row(section.sum, f"opsum-{at}", f"**{escape(section.name[0].upper())}{escape(section.name[1:])}**{layers}")
            for index, line in enumerate(section.lines):
                _row(line, f"oprow-{at}-{index}", escape(line.name))
        if table.learned is not None:
            _row(table.learned, "opsum-learned", escape(table.learned.name))
        _row(table.whole, "opsum-whole", f"**{table.whole.name}**")


def _row(line: Line, key: str, title: str) -> None:
    with st.container(key=key, horizontal=True, wrap=False, vertical_alignment="center"):
        st.markdown(title, width="stretch")
        for name, amount in line.numbers.items():
            shown = line.seconds if name == "time" else float(value(amount))
            some = isinstance(amount, Quantity) and shown != 0
            if some:
                number.line(amount, show(shown, _UNITS[name]), key=f"op-{key}-{name}")
            else:
                st.markdown(":gray[–]", width=96, text_alignment="right")
        share = f"{line.share:.1f} %" if line.share == line.share else ""
        st.caption(f"{share} {line.bound}", width=240)
