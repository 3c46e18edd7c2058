"""Whether errors have grown, whether “fits” was right, and which version of the fit is in use."""

from __future__ import annotations

import streamlit as st

from core import calibrate, registry
from core.calibrate_refit import LEAST, refit
from core.catalog.own_hardware import may_store
from core.correction import shipped
from core.drift import FROM, drift, feasibility
from core.errors import RoofcastError
from core.report import share
from core.words import device_name
from pages.shared import runs_charts
from pages.shared.words import escape

_TOLD = "_runs_version_told"


def draw() -> None:
    """Drift, feasibility, versions."""
    _drift()
    if may_store():
        _versions()


def _drift() -> None:
    correction, records = calibrate.fleet(), calibrate.own_records()
    st.subheader("Have errors grown?", anchor=False)
    if correction is None or not records:
        st.caption(f"Errors are watched from {FROM} runs of a machine on. There are none yet.")
        return
    streams = drift(correction, records)
    if not streams:
        st.caption(f"Errors are watched from {FROM} runs of a machine on; there are {len(records):,} in all.")
    for stream in (s for s in streams if s.alarm):
        st.warning(f"{escape(stream.sentence)} `roofcast refit` fits again.", icon=":material/trending_up:")
    if streams:
        rows = [
            {"Machine": device_name(s.device), "Runtime": f"{s.runtime} {s.version}".strip(), "What": s.metric, "Runs": s.runs,
             "Median error": share(s.error), "Limit": share(s.limit), "By chance": f"{s.chance:.2g}", "": "alarm" if s.alarm else "quiet"}
            for s in streams
        ]  # fmt: skip
        st.dataframe(rows, hide_index=True, key="runs-drift")
        runs_charts.drift(streams, key="runs-drift-chart")
    fits = feasibility(records)
    st.markdown(
        f"**Does it fit?** {fits.fitted} of your runs ran as said and {fits.refused} failed as said; {fits.false_positive} were said to "
        f"fit and ran out of memory, {fits.false_negative} ran although they were said not to fit."
    )
    for wrong in fits.wrong[:10]:
        st.caption(escape(wrong))


def _versions() -> None:
    st.subheader("Versions of the fit", anchor=False)
    base, now = shipped(), registry.chosen()
    if told := st.session_state.pop(_TOLD, ""):
        st.info(escape(told))
    for reason in registry.wanted():
        st.caption(f"A refit is asked for: {escape(reason)}")
    rows = [{"In use": now == registry.SHIPPED, "Version": "shipped", "Made": "", "Own runs": 0, "Judged": base.version if base else ""}]
    for version in registry.versions():
        stale = "" if base and version.base == base.version else "of an older shipped fit, not used: "
        rows.append({"In use": version.name == now, "Version": version.name, "Made": str(version.about.get("date", ""))[:10],
                     "Own runs": version.about.get("own_runs", 0), "Judged": f"{stale}{version.about.get('why', '')}"})  # fmt: skip
    st.dataframe(rows, hide_index=True, key="runs-versions")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        chosen = st.selectbox("Version", [row["Version"] for row in rows], key="runs-version", width=220)
        st.button("Use it", key="runs-version-use", disabled=chosen == now, on_click=_use, args=(chosen,))
        st.button("Go back to the one before", key="runs-version-undo", disabled=not registry.choices(), on_click=_use, args=(None,))
    enough = len(calibrate.own_records()) >= LEAST
    st.caption(
        f"From {LEAST} own runs on, the whole fit can be made again with them, each counting as several. It is used only where runs that "
        "it had not seen, yours and those of others, are predicted better. `roofcast refit` does the same, for a daily job."
    )
    if st.button("Fit again (minutes)", key="runs-refit", disabled=not enough):
        with st.status("Fitting again with your runs …") as status:
            try:
                outcome = refit(tell=lambda text: status.write(escape(text)))
                st.session_state[_TOLD] = outcome.why
            except RoofcastError as error:
                st.session_state[_TOLD] = str(error)
        st.rerun()


def _use(name: str | None) -> None:
    try:
        st.session_state[_TOLD] = f"In use: {registry.undo() if name is None else registry.use(name, 'chosen by hand')}."
    except RoofcastError as error:
        st.session_state[_TOLD] = str(error)
