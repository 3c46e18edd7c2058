"""What own runs are worth: error before and after, which runs to measure next, and what they brought on machines left out."""

from __future__ import annotations

import contextlib

import streamlit as st

from core import calibrate
from core.calibrate_next import next_runs
from core.calibrate_simulate import read_curve
from core.correction import Correction
from core.errors import RunError
from core.records import RunRecord
from core.report import share
from core.upload_tables import promise_rows
from core.words import device_name
from pages.shared import runs_charts, runs_session
from pages.shared.words import escape


def draw() -> None:
    """The part as a whole."""
    correction, records = calibrate.fleet(), calibrate.own_records()
    if correction is None:
        st.caption("There is no fitted correction to calibrate.")
        return
    if records:
        _worth(correction, records)
        _next(correction, records)
    else:
        st.markdown(
            "Bring a run under “Bring runs”, and this page shows what it did. Until then, what own runs did on machines that were left out:"
        )
    with contextlib.suppress(RunError):
        promise()


def _worth(correction: Correction, records: tuple[RunRecord, ...]) -> None:
    st.subheader("How far off, before and after", anchor=False)
    with st.spinner("Leaving out each run in turn …"):
        key = (correction.version, runs_session.names(records))
        worth = runs_session.remembered(("worth", *key), lambda: calibrate.left_out(correction, records))
    if not worth:
        st.caption("None of your runs can be held against an estimate of speed.")
        return
    machines = list(dict.fromkeys(device_name(one.device) for one in worth))
    where = f" on {escape(machines[0])}" if len(machines) == 1 else ""
    st.caption(f"Median absolute error on your own runs{where}. “After” predicts each run by the others alone, never by itself.")
    rows = [
        {"Machine": device_name(one.device), "What": one.metric, "Runs": one.runs, "Before": share(one.before),
         "After": "one run only" if one.after is None else share(one.after)}
        for one in worth
    ]  # fmt: skip
    columns = [name for name in rows[0] if machines[1:] or name != "Machine"]
    st.dataframe(rows, hide_index=True, key="runs-worth", column_order=columns)
    found = runs_session.remembered(("curve", *key), lambda: calibrate.curve(correction, records))
    for device in dict.fromkeys(line["device"] for line in found):
        ours = [line for line in found if line["device"] == device]
        if len({line["k"] for line in ours}) > 1:
            st.markdown(f"**{escape(device_name(device))}: error on the runs that were not used**")
            runs_charts.curve(ours, key=f"runs-curve-{device}")


def _next(correction: Correction, records: tuple[RunRecord, ...]) -> None:
    found = next_runs(correction, records)
    if not found:
        return
    st.subheader("What to measure next", anchor=False)
    st.caption(
        "The two runs that would teach most about this machine, given what you have. Drop the file that they write under “Bring runs”. "
        "`MODEL.gguf` stands for your file; `vllm bench serve` wants its server running."
    )
    for place, one in enumerate(found, 1):
        st.markdown(f"**{place}. {escape(one.what)}** :gray[typical error {share(one.now)} → {share(one.left)}]")
        st.code(one.command, language="bash", wrap_lines=True)


def promise() -> None:
    """What own runs brought on machines that were left out. Raises RunError where it was not measured."""
    found = read_curve()
    st.subheader("What own runs bring, measured", anchor=False)
    st.caption(
        "Machines of the corpus whose source no fit had seen: some of a machine's runs were drawn as if they were yours, the rest was "
        "predicted with them. The line is the median machine; “proposed” are the runs that “What to measure next” would have named."
    )
    runs_charts.promise(found, key="runs-promise")
    with st.expander("As a table"):
        st.dataframe(promise_rows(found), hide_index=True, key="runs-promise-table")
