"""What is shown of the chosen devices: facts with sources and conflicts, a comparison, and their roofs."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape as html

import streamlit as st

from core.catalog import own_hardware
from core.catalog.hardware import Device
from core.hardware_library import Fact, Said, changed, compared, estimate_knobs, roofs, summary
from core.hardware_library import facts as facts_of
from core.rented import rented
from pages.shared import charts, hardware_instances
from pages.shared import side_by_side as side_by_side_table
from pages.shared.words import escape

_CSS = """
<style>
.hw { overflow-x: auto; }
.hw table { border-collapse: collapse; width: 100%; font-size: 0.92rem; font-variant-numeric: tabular-nums; }
.hw th, .hw td { text-align: left; vertical-align: top; padding: 0.36rem 0.8rem 0.36rem 0;
  border-bottom: 1px solid color-mix(in srgb, currentColor 14%, transparent); }
.hw th { font-weight: 600; }
.hw td.f { min-width: 8.5rem; opacity: 0.78; }
.hw td.v { white-space: nowrap; font-weight: 600; }
.hw .s { opacity: 0.78; font-size: 0.85rem; }
.hw .g { border: 1px solid #D55E00; border-radius: 4px; padding: 0 0.3rem; font-size: 0.78rem; white-space: nowrap; }
.hw .c { display: block; font-size: 0.85rem; margin-top: 0.15rem; }
.hw a { color: inherit; }
.hw ul { margin: 0.6rem 0 0; padding-left: 1.1rem; }
@media (max-width: 640px) {
  .hw.facts thead { display: none; }
  .hw.facts tr { display: grid; grid-template-columns: 1fr auto; padding: 0.4rem 0;
    border-bottom: 1px solid color-mix(in srgb, currentColor 14%, transparent); }
  .hw.facts td { border: 0; padding: 0.1rem 0; }
  .hw.facts td:last-child { grid-column: 1 / -1; font-size: 0.86rem; }
}
</style>
"""
_NONE = "Choose a device in the table above to see its facts, their sources, and where sources disagree."


def facts(chosen: Sequence[Device]) -> None:
    """Every fact of the first device with its source; the others follow folded."""
    if not chosen:
        st.caption(_NONE)
    for place, device in enumerate(chosen):
        if place == 0:
            _device(device)
        else:
            with st.expander(escape(device.name)):
                _device(device)


def _device(device: Device) -> None:
    left, right = st.columns([3, 1.2], vertical_alignment="center")
    left.subheader(escape(device.name), anchor=False)
    left.caption(escape(summary(device)))
    with right.container(horizontal_alignment="right"):
        st.page_link("estimate.py", label="Estimate on it", icon=":material/speed:", query_params=estimate_knobs(device))
    base = own_hardware.base_of(device)
    if own_hardware.is_own(device):
        differences = changed(device, base) if base is not None else []
        told = (
            f"Your own, from {base.name}: " + "; ".join(f"{what} {new} (shipped: {old})" for what, old, new in differences) if base else ""
        )
        st.info(escape(f"{told}." if told else "Your own: you said all of it."))
    if device.aliases:
        st.caption(f"Also called {escape(', '.join(device.aliases))}.")
    st.html(_CSS + facts_html(device))
    if instances := rented(device):
        with st.expander(f"Cloud instances with it: {len(instances)}"):
            hardware_instances.table(instances, key=f"rented-{device.id}")
            st.caption("Prices of whole machines, in US dollars. All of them, with filters, stand under “Cloud instances”.")


def facts_html(device: Device) -> str:
    """The facts as a table. Everything that comes from a record is escaped."""
    found = facts_of(device)
    rows = "".join(_row(fact) for fact in found)
    said = [one for fact in found for one in (fact.used, *fact.others) if one is not None]
    licences = {one.source: one.licence for one in said if one.licence}
    told = "".join(f"<li>{html(source)}: {html(licence)}</li>" for source, licence in licences.items())
    table = f"<table><thead><tr><th>Fact</th><th>Value</th><th>Source</th></tr></thead><tbody>{rows}</tbody></table>"
    return f'<div class="hw facts">{table}<ul class="s">{told}</ul></div>'


def _row(fact: Fact) -> str:
    if fact.used is None and not fact.others:
        shown, said = '<span class="s">unknown</span>', '<span class="s">nobody published it</span>'
    else:
        shown = html(fact.used.shown) if fact.used else "unknown"
        said = _cited(fact.used) if fact.used else ""
    others = "".join(
        f'<span class="c">⚠ {_who(fact.used, other)} <b>{html(other.shown)}</b>: {_cited(other)}</span>' for other in fact.others
    )
    return f'<tr><td class="f">{html(fact.title)}</td><td class="v">{shown}</td><td>{said}{others}</td></tr>'


def _who(used: Said | None, other: Said) -> str:
    return "the same source says elsewhere" if used is not None and used.source == other.source else "another source says"


def _cited(said: Said) -> str:
    name = html(said.source)
    linked = (
        f'<a href="{html(said.url)}" target="_blank" rel="noopener">{name}</a>' if said.url and said.url.startswith("https://") else name
    )
    guess = ' <span class="g" title="no document states it">a guess</span>' if said.guess else ""
    note = f' <span class="s">{html(said.note)}</span>' if said.note else ""
    return f"{linked}{guess}{note}"


def side_by_side(chosen: Sequence[Device]) -> None:
    """The devices as columns; what differs stands out."""
    if len(chosen) < 2:
        st.caption("Choose two to four devices above to set them side by side.")
        return
    only = st.toggle("Only what differs", key="hardware_differs", bind="query-params")
    st.caption(f"Marked: what differs from {escape(chosen[0].name)}.")
    lines = [line for line in compared(chosen) if any(line.marks) or not only]
    side_by_side_table.draw([device.name for device in chosen], [(line.title, line.cells, line.marks) for line in lines])


def roofline(chosen: Sequence[Device]) -> None:
    """What memory and arithmetic of the devices allow."""
    rows = roofs(chosen)
    if not rows:
        st.caption("Choose one to four devices above whose 16-bit or FP32 peak is published.")
        return
    charts.device_roofs(rows, key="hardware-roofs")
    without = [device.name for device in chosen if device.name not in {row["device"] for row in rows}]
    st.caption(
        "Datasheet figures: the slope is the memory's bandwidth, the flat part the dense 16-bit peak (FP32 where no other is known). "
        "Writing tokens for one user needs about 1 FLOP for each byte, reading a long prompt hundreds. "
        + (escape(f"Without a published peak: {', '.join(without)}.") if without else "")
    )
