"""Things as columns with what differs marked; on a narrow screen each line's name stands above its cells."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

import streamlit as st

_CSS = """
<style>
.side { overflow-x: auto; }
.side table { border-collapse: collapse; width: 100%; font-size: 0.92rem; font-variant-numeric: tabular-nums; }
.side th, .side td { text-align: left; vertical-align: top; padding: 0.36rem 0.6rem; overflow-wrap: anywhere;
  border-bottom: 1px solid color-mix(in srgb, currentColor 14%, transparent); }
.side th { font-weight: 600; }
.side td.f { min-width: 8.5rem; opacity: 0.78; }
.side .d { background: color-mix(in srgb, #E69F00 24%, transparent); font-weight: 600; }
@media (max-width: 640px) {
  .side tr { display: grid; grid-template-columns: repeat(var(--columns), minmax(0, 1fr)); }
  .side th, .side td { padding: 0.25rem 0.35rem; font-size: 0.85rem; }
  .side th:first-child { display: none; }
  .side td.f { grid-column: 1 / -1; border: 0; padding-bottom: 0; }
}
</style>
"""


def draw(heads: Sequence[str], lines: Iterable[tuple[str, Sequence[str], Sequence[bool]]]) -> None:
    """A table of `lines`: what a line is, a cell for each head, and which cells are marked. All text is escaped."""
    head = "".join(f"<th>{escape(name)}</th>" for name in heads)
    rows = "".join(
        f'<tr><td class="f">{escape(title)}</td>'
        + "".join(f'<td class="{"d" if mark else ""}">{escape(cell)}</td>' for cell, mark in zip(cells, marks, strict=True))
        + "</tr>"
        for title, cells, marks in lines
    )
    table = f"<table><thead><tr><th></th>{head}</tr></thead><tbody>{rows}</tbody></table>"
    st.html(f'{_CSS}<div class="side" style="--columns:{len(heads)}">{table}</div>')
