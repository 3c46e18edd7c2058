"""Whether errors have grown, whether “fits” was right, and which version of the fit is in use."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from core import calibrate, registry
from core.calibrate_compare import compared
from core.calibrate_refit import LEAST, refit
from core.catalog.own_hardware import may_store
from core.correction import shipped
from core.drift import FROM, LIMITS, drift, feasibility, watch
from core.errors import RoofcastError
from core.records import RunRecord
from core.report import share
from core.words import device_name
from pages.shared import runs_charts, runs_session
from pages.shared.words import escape

_TOLD = "_runs_version_told"
_DRAWN, _WRONG_SHOWN = 8, 10  # streams and sentences that are shown


def draw() -> None:
    """Drift, feasibility, versions."""
    _drift()
    if may_store():
        _versions()


def _drift() -> None:
    correction, records = calibrate.fleet(), calibrate.own_records()
    st.subheader("Have errors grown?", anchor=False)
    told = (
        f"From {FROM} runs of a machine on, the newest are watched by engine version: an alarm is a median error over "
        f"{', '.join(f'{share(limit)} ({what})' for what, limit in LIMITS.items())} that chance does not explain. Each run is predicted "
        "by older ones alone."
    )
    st.caption(told)
    if correction is None or not records:
        st.caption("You have no runs yet.")
        return
    with st.spinner("Predicting each run by older ones …"):
        key = ("drift", correction.version, runs_session.names(records))
        streams = runs_session.remembered(key, lambda: (watch if may_store() else drift)(correction, records))
    if not streams:
        st.caption(f"No machine has {FROM} runs yet; you have {len(records):,} in all.")
    for stream in (s for s in streams if s.alarm):
        st.warning(f"{escape(stream.sentence)}", icon=":material/trending_up:")
    if any(stream.alarm for stream in streams) and may_store():
        st.caption("A refit is asked for: see “Fit again” below. What it brings is used only where it predicts better.")
    if streams:
        rows = [
            {"Machine": device_name(s.device), "Runtime": f"{s.runtime} {s.version}".strip(), "What": s.metric, "Runs": s.runs,
             "Median error": share(s.error), "Limit": share(s.limit), "By chance": "under 0.1 %" if s.chance < 0.001 else share(s.chance),
             "State": "⚠ alarm" if s.alarm else "over, may be chance" if s.error > s.limit else "quiet"}
            for s in streams
        ]  # fmt: skip
        machine = ["Machine"] if len({s.device for s in streams}) > 1 else []
        order = [*machine, "What", "Median error", "Limit", "State", "Runtime", "Runs", "By chance"]
        st.dataframe(rows, hide_index=True, key="runs-drift", column_order=order)
        runs_charts.drift(streams[:_DRAWN], key="runs-drift-chart")
    _feasible(records)


def _feasible(records: Sequence[RunRecord]) -> None:
    """How often “fits” was right."""
    fits = runs_session.remembered(("fits", runs_session.names(records)), lambda: feasibility(records))
    st.subheader("Was “it fits” right?", anchor=False)
    rows = [
        {"Said": "fits", "Ran": fits.fitted, "Out of memory": fits.false_positive},
        {"Said": "does not fit", "Ran": fits.false_negative, "Out of memory": fits.refused},
    ]
    st.dataframe(rows, hide_index=True, width="content", key="runs-fits")
    for wrong in fits.wrong[:_WRONG_SHOWN]:
        st.caption(escape(wrong))
    if len(fits.wrong) > _WRONG_SHOWN:
        st.caption(f"and {len(fits.wrong[_WRONG_SHOWN:]):,} more that were said wrongly.")


def _versions() -> None:
    st.subheader("Versions of the fit", anchor=False)
    if told := st.session_state.pop(_TOLD, ""):
        st.info(escape(told))
    base, now = shipped(), registry.chosen()
    rows = [{"In use": "● in use" if now == registry.SHIPPED else "", "Version": registry.SHIPPED, "Made": "", "Own runs": "",
             "Judged": f"comes with Roofcast{f' ({base.version})' if base else ''}"}]  # fmt: skip
    for version in registry.versions():
        stale = "" if base and version.base == base.version else "of an older shipped fit, not used: "
        rows.append({"In use": "● in use" if version.name == now else "", "Version": version.name,
                     "Made": str(version.about.get("date", ""))[:10], "Own runs": f"{version.about.get('own_runs', '')}",
                     "Judged": f"{stale}{version.about.get('why', '')}"})  # fmt: skip
    st.dataframe(
        rows, hide_index=True, key="runs-versions", column_config={"Judged": st.column_config.TextColumn(width=620)},
        column_order=["In use", "Version", "Made", "Own runs", "Judged"] if rows[1:] else ["In use", "Version", "Judged"],
    )  # fmt: skip
    if rows[1:]:
        names = [str(row["Version"]) for row in rows]
        with st.container(horizontal=True, vertical_alignment="bottom"):
            chosen = st.selectbox("Version", names, key="runs-version", width=220)
            st.button("Use it", key="runs-version-use", disabled=chosen == now, on_click=_use, args=(chosen,))
            st.button("Go back to the one before", key="runs-version-undo", disabled=not registry.choices(), on_click=_use, args=(None,))
        _compare(names)
    _refit()


def _compare(names: Sequence[str]) -> None:
    """Two versions side by side."""
    with st.expander("Compare two versions", icon=":material/compare_arrows:", key="runs-compare-box"):
        left, right = st.columns(2)
        first = left.selectbox("One", names, index=0, key="runs-compare-first")
        second = right.selectbox("The other", names, index=len(names[1:]), key="runs-compare-second")
        if first != second and st.button("Compare", key="runs-compare"):
            rows = compared(first, second)
            st.dataframe([{"What": row["what"], first: f"{row['first']}", second: f"{row['second']}"} for row in rows], hide_index=True)
            st.caption("Errors are medians on your own runs, not shifted by them. A refit knows these runs, so its figure flatters it.")


def _refit() -> None:
    st.subheader("Fit again with your runs", anchor=False)
    records = calibrate.own_records()
    st.caption(
        f"From {LEAST} own runs on, the whole fit can be made again with them, each counting as several. It is used only where runs that "
        "it had not seen, yours and those of others, are predicted better. `roofcast refit` does the same, for a daily job."
    )
    for reason in registry.wanted():
        st.caption(f":orange-badge[asked for] {escape(reason)}")
    if len(records) < LEAST:
        st.caption(f"You have {len(records):,} of the {LEAST} runs that it takes.")
        return
    if st.button("Fit again (minutes)", key="runs-refit"):
        with st.status("Fitting again with your runs …") as status:
            try:
                outcome = refit(tell=lambda text: status.write(escape(text)))
                name = "" if outcome.version is None else f"Version {outcome.version.name}: "
                st.session_state[_TOLD] = f"{name}{outcome.why}."
            except RoofcastError as error:
                st.session_state[_TOLD] = str(error)
        st.rerun()


def _use(name: str | None) -> None:
    try:
        st.session_state[_TOLD] = f"In use: {registry.undo() if name is None else registry.use(name, 'chosen by hand')}."
    except RoofcastError as error:
        st.session_state[_TOLD] = str(error)
