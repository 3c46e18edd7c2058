"""The runs that are one's own: what there is, and how to get rid of it."""

from __future__ import annotations

from typing import Any

import streamlit as st

from core import calibrate
from core.catalog.own_hardware import may_store
from core.errors import RoofcastError
from core.queue import Queue
from core.upload_tables import EXPORT_NAME, export, states, stored_rows
from pages.shared import runs_session, what_if_add
from pages.shared.words import escape

_WRONG = "_runs_stored_wrong"


def headline() -> str:
    """What there is, in one sentence."""
    records = calibrate.own_records()
    if not records:
        return "A few runs on your own machine make the estimates yours"
    machines, runs = len({record.device for record in records}), sum(not record.memory_kind for record in records)
    peaks = sum(bool(record.memory_kind) for record in records)
    memory = f", with {peaks:,} reading{'s' if peaks != 1 else ''} of memory" if peaks else ""
    return f"{runs:,} run{'s' if runs != 1 else ''} of yours on {machines:,} machine{'s' if machines != 1 else ''}{memory}"


def draw() -> None:
    """The table, with what can be done with chosen rows."""
    records = calibrate.own_records()
    if wrong := st.session_state.pop(_WRONG, ""):
        st.error(escape(wrong))
    if not records:
        st.caption("There are none yet. Bring some under “Bring runs”.")
        return
    session = {record.run_id for record in runs_session.of_session()}
    rows = [{**row, "kept": "in this session" if row["run_id"] in session else "on this computer"} for row in stored_rows(records)]
    st.caption(f"Choose rows to compare or delete. What you delete no longer shifts any estimate. {escape(states(records))}")
    column = st.column_config.TextColumn
    titles: dict[str, Any] = {
        "model": column("Model", width=180), "state": column("State", width=90, help="Empty: it shifts the estimates of its machine"),
        "load": column("Load", width=150), "figures": column("Measured", width=300), "engine": column("Engine", width=90),
        "date": column("Date", width=95), "doubt": column("Why in doubt"), "machine": "Machine", "kept": "Kept", "from": "From",
    }  # fmt: skip
    picked = st.dataframe(
        rows,
        hide_index=True,
        on_select="rerun",
        selection_mode="multi-row",
        key="runs-stored",
        column_order=[column for column in titles if any(row[column] for row in rows)],
        column_config=titles,
    )
    chosen = [rows[place]["run_id"] for place in picked["selection"]["rows"]]
    with st.container(horizontal=True):
        st.button(
            f"Delete {len(chosen):,} chosen" if chosen else "Delete the chosen", icon=":material/delete:", key="runs-delete",
            disabled=not chosen, on_click=_delete, args=(chosen,),
        )  # fmt: skip
        st.download_button(
            "Save all as CSV", export(records), EXPORT_NAME, "text/csv", icon=":material/download:", key="runs-export", on_click="ignore"
        )
        with st.popover("Delete all"):
            st.markdown(f"All {len(records):,} runs are deleted for good.")
            st.button("Delete all of them", type="primary", key="runs-delete-all", on_click=_delete, args=([r["run_id"] for r in rows],))
        what_if_add.of_runs([record for record in records if record.run_id in chosen])


def _delete(run_ids: list[str]) -> None:
    runs_session.drop(run_ids)
    if not may_store():
        return
    try:
        Queue().forget(run_ids)
    except RoofcastError as error:
        st.session_state[_WRONG] = str(error)
        return
    left = len({record.run_id for record in calibrate.own_records()} & set(run_ids))
    if left:
        st.session_state[_WRONG] = f"{left:,} of them stand in files that you put into the folder of runs yourself; delete those there."
