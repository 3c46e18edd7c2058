"""This machine: what was detected, corrected by hand where that is wrong, and taken for an estimate."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from core import choices
from core.catalog.own_hardware import may_store
from core.errors import CatalogError, RoofcastError, RunError
from core.harness_program import look_at_machine
from core.this_machine import (
    ENGINE,
    TITLES,
    MachineFacts,
    forget_machine,
    gpu_rows,
    knobs,
    overridden,
    read_machine,
    summary,
    told_rows,
    with_gpus,
    write_machine,
)
from pages.shared.words import escape

_WRONG, _ROUND = "_here_wrong", "_here_round"
_NUMBERS = {"cores": 1, "threads": 1, "ram_gb": 0.1, "measured_bandwidth_gb_s": 0.1, "measured_pcie_gb_s": 0.1}  # fact → least


def draw() -> None:
    """The part as a whole."""
    if not may_store():
        st.markdown(
            "This page runs on a server that others use too, and its hardware is not yours. Install Roofcast on your own machine and "
            "start it there, or choose your devices in the table above."
        )
        return
    if wrong := st.session_state.pop(_WRONG, ""):
        st.error(escape(wrong), icon=":material/error:")
    try:
        facts = read_machine()
    except CatalogError as error:
        st.error(escape(str(error)), icon=":material/error:")
        facts = None
    if facts is None:
        st.markdown("Nobody has looked at this machine yet.")
    else:
        _found(facts)
    _look(facts is None)
    if facts is not None:
        _correct(facts)


def _found(facts: MachineFacts) -> None:
    st.subheader(escape(summary(facts)), anchor=False)
    try:
        asked = knobs(facts)
    except CatalogError as error:
        st.warning(escape(str(error).replace("`roofcast bench machine --measure`", "“Look and measure its memory”")))
    else:
        st.page_link("estimate.py", label="Use this machine: estimate on it", icon=":material/speed:", query_params=asked)
    if facts.measured_doubt:
        st.warning(
            f"What was measured is not to be trusted: {escape(facts.measured_doubt)}. Measure again when the machine is quiet.",
            icon=":material/warning:",
        )
    if facts.gpus:
        number = st.column_config.NumberColumn
        st.dataframe(gpu_rows(facts), hide_index=True, key="here-gpus", column_config={"GiB each": number(format="%.1f")})
    st.markdown("  \n".join(f":gray[{escape(title)}:] {escape(text)}" for title, text in told_rows(facts)))
    if facts.container:
        st.caption("It is a container: memory and threads are those that it may use.")


def _look(first: bool) -> None:
    with st.container(horizontal=True):
        label, kind = ("Look at this machine", "primary") if first else ("Look again", "secondary")
        plain = st.button(label, type=kind, icon=":material/search:", key="here-look")  # type: ignore[arg-type]
        measure = st.button("Look and measure its memory", icon=":material/speed:", key="here-measure")
        if not first:
            st.button("Forget it", icon=":material/delete:", key="here-forget", on_click=_forget)
    st.caption(
        "Looking asks the drivers for cards, processor, memory and engines, and stores what they say on this computer, without names of "
        "hosts or users. Measuring takes half a minute more; let nothing else run meanwhile."
    )
    if not plain and not measure:
        return
    try:
        with st.spinner("Measuring memory and arithmetic …" if measure else "Looking …"):
            look_at_machine(measure)
    except RoofcastError as error:
        st.session_state[_WRONG] = str(error)
    st.session_state[_ROUND] = st.session_state.get(_ROUND, 0) + 1  # the form shows what is found now
    st.rerun()


def _forget() -> None:
    try:
        forget_machine()
    except CatalogError as error:
        st.session_state[_WRONG] = str(error)


def _correct(facts: MachineFacts) -> None:
    """The form that sets anything otherwise."""
    around = st.session_state.get(_ROUND, 0)
    with st.expander("Correct what is wrong", icon=":material/edit:"), st.form(f"here-form-{around}", border=False):
        st.caption("What you set here stands until you look again. Empty: not known.")
        st.markdown("**GPUs and accelerators**")
        names = list(dict.fromkeys([*(gpu.name for gpu in facts.gpus), *choices.device_names()]))
        number = st.column_config.NumberColumn
        gpus = st.data_editor(
            pd.DataFrame(gpu_rows(facts), columns=["Name", "Number", "GiB each"]).astype(
                {"Name": "string", "Number": "Int64", "GiB each": "Float64"}
            ),
            num_rows="dynamic",
            hide_index=True,
            key=f"here-gpus-{around}",
            column_config={
                "Name": st.column_config.SelectboxColumn("Name", options=names, width="medium"),
                "Number": number("Number", min_value=1, max_value=4096, step=1),
                "GiB each": number("GiB each", min_value=0.1, max_value=10_000.0, help="Empty: as the catalog has it."),
            },
        )
        said: dict[str, str] = {}
        with st.grid(min_column_width=240, gap="small"):
            for field, title in TITLES.items():
                said[field] = _cell(facts, field, title, around)
        st.markdown("**Engines**")
        engines = st.data_editor(
            pd.DataFrame(list(facts.engines.items()), columns=["Engine", "Version"]).astype("string"),
            num_rows="dynamic",
            hide_index=True,
            key=f"here-engines-{around}",
        )
        if st.form_submit_button("Take these"):
            _save(facts, said, _rows(gpus), _rows(engines))


def _cell(facts: MachineFacts, field: str, title: str, around: int) -> str:
    now, key = getattr(facts, field), f"here-{field}-{around}"
    if field not in _NUMBERS:
        return st.text_input(title, now, key=key, max_chars=200)
    kind = type(_NUMBERS[field])
    amount = st.number_input(title, kind(_NUMBERS[field]), kind(1_000_000), None if now is None else kind(now), key=key)
    return "" if amount is None else f"{amount}"


def _rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of an edited table; an empty cell as None."""
    plain = table.astype(object).where(table.notna(), None)
    return [{str(key): cell for key, cell in row.items()} for row in plain.to_dict("records")]


def _save(facts: MachineFacts, said: dict[str, str], gpus: list[dict[str, Any]], engines: list[dict[str, Any]]) -> None:
    rows = [(str(row["Name"]), int(row["Number"] or 1), row["GiB each"]) for row in gpus if row.get("Name")]
    versions = {f"{ENGINE}{row['Engine']}": row["Version"] or "" for row in engines if row.get("Engine")}
    gone = {f"{ENGINE}{name}": "" for name in facts.engines}
    try:
        write_machine(with_gpus(overridden(facts.model_dump(), {**said, **gone, **versions}), rows))
    except (CatalogError, RunError) as error:
        st.error(escape(str(error)), icon=":material/error:")
        return
    st.session_state[_ROUND] = st.session_state.get(_ROUND, 0) + 1
    st.rerun()
