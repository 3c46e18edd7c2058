"""The parts of the placement page: the answer, the bars, the grid of devices, the tables, the fewest devices."""

from __future__ import annotations

import html
from typing import Any

import pandas as pd
import streamlit as st

from core import placement_rows as rows
from core.fewest import minimum_devices
from core.placement import Placement
from core.units import show
from core.words import FITS
from pages.shared import controls, placement_charts
from pages.shared.words import escape

_COLOURS = {"in_vram": "green", "with_offload": "orange", "insufficient_memory": "red"}
_BARS = "What each device holds at its peak."
_FAINT = "Faint: what the engine sets aside, most of it for more cache."
_OWN_LIMITS = "The mark behind a bar is what programs may take of that device."
_COPIES = "Held by more than one device: KV heads fewer than ranks, MLA's down-projections, norms and routers, whole replicas."
_FEWEST = (
    "All in device memory, for these users and this context, with the degrees chosen above kept and the others free. "
    "Memory alone decides: it says nothing of speed."
)


def answer(found: Placement) -> None:
    """The first sentences, and the way back."""
    st.badge(FITS[found.feasibility], color=_COLOURS[found.feasibility])  # type: ignore[arg-type]
    st.title(escape(rows.sentence(found)), anchor=False)
    st.markdown(f":gray[{escape(rows.split_words(found))} {escape(rows.weights_words(found))}]")
    for sentence in (*(reason.text for reason in found.reasons), rows.host_words(found), *found.notes):
        if sentence:
            st.markdown(f":gray[{escape(sentence)}]")
    st.page_link("estimate.py", label="Speed of this scenario", icon=":material/arrow_back:")


def draw(found: Placement) -> None:
    """Everything below the controls."""
    st.subheader("Memory of each device", anchor=False)
    bars = rows.bar_rows(found)
    placement_charts.rank_bars(
        bars,
        names=list(rows.COLOURS),
        faint=rows.SET_ASIDE,
        limit=rows.in_gib(found.limit),
        limit_text=f"limit {show(found.limit, 'B')}",
        scale=rows.bar_scale(found),
        key="rank-bars",
        limits=rows.limit_rows(found),
    )
    faint = _FAINT if any(row["part"] == rows.SET_ASIDE for row in bars) else ""
    st.caption(" ".join(filter(None, (_BARS, faint, _OWN_LIMITS if found.unlike else ""))))
    st.subheader("Who holds what", anchor=False)
    st.html(_grid(found))
    if len(found.ranks) > rows.MOST_CELLS:
        st.caption("The first replica; the others hold the same, but for the experts that are dealt out over all.")
    left, right = st.columns([3, 2], gap="large")
    with left:
        _fewest(found)
    with right:
        _copies(found)
    _table(found)


def _grid(found: Placement) -> str:
    parts = []
    for stage in rows.grid(found):
        cells = "".join(
            f'<div class="rank"><b>{html.escape(cell.title)}</b><span class="fill"><i style="width:{min(cell.full, 1):.1%}"'
            f"{' class=over' if cell.full > 1 else ''}></i></span><em>{html.escape(cell.text)}</em>"
            + "".join(f"<span>{html.escape(line)}</span>" for line in cell.lines)
            + "</div>"
            for cell in stage.cells
        )
        head = f"<h4>{html.escape(stage.title)} <small>{html.escape(stage.about)}</small></h4>"
        parts.append(f'<section>{head}<div class="ranks">{cells}</div></section>')
    return f'<div class="rank-grid">{"".join(parts)}</div>'


def _fewest(found: Placement) -> None:
    st.subheader("Fewest devices", anchor=False)
    fewest = minimum_devices(found.scenario)
    st.markdown(escape(fewest.sentence))
    st.caption(_FEWEST)
    if fewest.found is not None and (found.idle or fewest.count != found.scenario.system.devices):
        if found.unlike:
            st.button("Show this", key="fewest-show", on_click=controls.lay, args=(fewest.found.scenario.with_(gpu_layers=None),))
        else:
            st.button("Show this", key="fewest-show", on_click=controls.apply, args=(_knobs(fewest.found),))
    if fewest.tried:
        with st.expander(f"What was tried: {len(fewest.tried)}"):
            tried = [{"Devices": t.count, "Split": t.split, "Fits": t.fits, "Why not": t.why} for t in fewest.tried]
            st.dataframe(pd.DataFrame(tried), hide_index=True, column_config={"Why not": st.column_config.TextColumn(width="large")})


def _knobs(fewest: Placement) -> dict[str, int | str | None]:
    degrees = {name: fewest.degrees[name] for name in ("tp", "pp", "dp")}
    return {"count": fewest.scenario.system.count, "profile": controls.CUSTOM, "gpu_layers": None, "experts_on_cpu": None, **degrees}


def _copies(found: Placement) -> None:
    st.subheader("Held more than once", anchor=False)
    copies = rows.copy_rows(found)
    if not copies:
        st.caption("No weights are held twice.")
        return
    st.dataframe(pd.DataFrame(copies), hide_index=True, column_config={"Copies beyond the first, GiB": _gib()})
    st.caption(_COPIES)


def _table(found: Placement) -> None:
    st.subheader("Rank by rank", anchor=False)
    table = pd.DataFrame(rows.table(found))
    settings: dict[str, Any] = {name: _gib() for name in table.columns if name.endswith("GiB")}
    st.dataframe(table, hide_index=True, column_config=settings | {"Parts": st.column_config.TextColumn(width="medium")})
    st.caption(f"Devices in the engine's order, joined by {escape(found.link)}. The buttons above the table download or widen it.")


def _gib() -> Any:
    return st.column_config.NumberColumn(format="%.2f")
