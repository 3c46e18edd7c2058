"""A result as a file: saved with everything that reproduces it, and opened again, here or on another machine."""

from __future__ import annotations

from collections.abc import MutableMapping

import pandas as pd
import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

from core import hub_store
from core.answer import Estimate
from core.bundle import MAX_MB, bundle, file_name, read
from core.bundle_replay import Replay, replay
from core.bundle_store import brought, may_store, store
from core.errors import RoofcastError
from core.hub_model import HubModel
from core.scenario import Scenario
from core.sweep import answer
from core.words import answer_sentence
from pages.shared import controls
from pages.shared.words import escape

_MODELS, _SAID = "_bundle_models", "_bundle_said"
_ABOUT = (
    "One JSON file: the scenario, its model and devices in full, the versions behind the numbers, and the numbers with their ranges. "
    "It works where the model or the device is unknown, and where a link would not."
)
_OPENS = "A bundle that someone saved here or with `roofcast estimate --bundle`. It is read, and nothing of it is stored."


def install() -> None:
    """Has models of opened bundles live in the session that opened them."""
    hub_store.of_session(_models)


def _models() -> MutableMapping[str, HubModel]:
    if not get_script_run_ctx(suppress_warning=True):
        return hub_store.IN_PROCESS
    held: dict[str, HubModel] = st.session_state.setdefault(_MODELS, {})
    return held


def save(asked: Scenario, *, label: str = "Save as a bundle") -> None:
    """A button that saves the result of a scenario as a file."""
    st.download_button(
        label, lambda: bundle(answer(asked)).to_json(), file_name(asked), "application/json", icon=":material/download:",
        on_click="ignore", key="bundle-save", help="One file that reproduces this result anywhere: “Your hardware” opens it.",
    )  # fmt: skip


def draw(found: Estimate | None) -> None:
    """Saving the result that is shown, if there is one, and opening another."""
    with st.expander("Save this result, or open one", icon=":material/inventory_2:", key="bundle-box"):
        left, right = st.columns(2, gap="large")
        with left:
            st.markdown("**Save**")
            st.caption(_ABOUT)
            if found is not None:
                save(found.scenario)
        with right:
            st.markdown("**Open**")
            st.caption(_OPENS)
            file = st.file_uploader("Bundle", type=["json"], key="bundle-file", label_visibility="collapsed", max_upload_size=MAX_MB)
        if file is not None:
            _opened(file.getvalue(), file.name)


def _opened(raw: bytes, name: str) -> None:
    try:
        found = replay(read(raw, name))
    except RoofcastError as error:
        st.warning(escape(str(error)))
        return
    st.markdown(f"**{escape(answer_sentence(found.found))}**")
    (st.success if found.same else st.info)(escape(found.sentence), icon=":material/done_all:" if found.same else ":material/difference:")
    for sentence in (*found.why, *found.notes):
        st.markdown(f"- {escape(sentence)}")
    if not found.same:
        table = [{"": row.title, "In the file": row.there, "Here": row.here, "Change": row.change} for row in found.rows]
        st.dataframe(pd.DataFrame(table), hide_index=True)
    with st.container(horizontal=True):
        st.button("Show it on this page", type="primary", key="bundle-take", on_click=_take, args=(found,))
        if may_store() and brought(found):
            st.button("Store its model and devices here", key="bundle-store", on_click=_store, args=(found,))
    for sentence in st.session_state.pop(_SAID, ()):
        st.caption(escape(sentence))


def _take(found: Replay) -> None:
    """Lay the bundle's scenario into the form; the quantisation that was open there is what was taken."""
    asked = found.scenario
    try:
        controls.lay(asked if asked.deployment.quant else asked.with_(quant=found.found.resolved["quant"]))
    except RoofcastError as error:
        st.session_state[_SAID] = [str(error)]


def _store(found: Replay) -> None:
    try:
        st.session_state[_SAID] = store(found)
    except RoofcastError as error:
        st.session_state[_SAID] = [str(error)]
