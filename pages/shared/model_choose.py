"""Which model the inspector shows: the form's, weighed as the scenario has it; others are fetched from the Hugging Face Hub."""

from __future__ import annotations

from dataclasses import dataclass

import streamlit as st

from core.answer import Estimate
from core.catalog.own_hardware import may_store
from core.errors import RoofcastError
from core.hub import fetch
from core.inspect_model import Inspected
from pages.shared import address, controls
from pages.shared.words import escape

_WRONG, _TRY = "_hub_wrong", "_hub_try"


@dataclass(frozen=True, slots=True)
class Choice:
    """The model, and in what its weights and its cache are weighed."""

    found: Inspected
    quant: str
    kv: str


def choice_of(found: Inspected, estimate: Estimate | None) -> Choice:
    """The model as the scenario stores it; as published where there is no estimate of it."""
    if estimate is None:
        return Choice(found, found.published_as, "f16")
    return Choice(found, estimate.resolved["quant"], estimate.resolved["kv_dtype"])


def fetch_form() -> None:
    """Fetches a model's headers on a click. The token is the visitor's own, used once, and forgotten with the form."""
    asked = address.wanted_model()
    turn = st.session_state.setdefault(_TRY, 0)
    wrong = st.session_state.pop(_WRONG, None)
    with st.expander("Another model, from Hugging Face", expanded=bool(asked or wrong), icon=":material/cloud_download:"):
        with st.form("hub-fetch", border=False):
            left, right = st.columns([3, 2])
            text = left.text_input(
                "Id or link", value=asked, key=f"hub-text-{asked}", max_chars=1000, placeholder="Qwen/Qwen3-8B, or a link to a GGUF file",
                help="Only the config and the headers of its files are fetched, never the weights. They are kept on this server, where "
                "anyone can open them by name.",
            )  # fmt: skip
            # What one visitor's token opens is kept for all, so a shared server takes none.
            token = right.text_input(
                "Your token, for gated models", type="password", key=f"hub-token-{turn}", max_chars=200, autocomplete="off",
                help="Used for this one request and then forgotten. Not needed for public models.",
            ) if may_store() else None  # fmt: skip
            pressed = st.form_submit_button("Fetch", icon=":material/download:", key="hub-go")
        if wrong:
            st.warning(escape(wrong))
    if pressed:
        st.session_state[_TRY] = f"{turn}+"  # a new, empty field for the token
        try:
            with st.spinner("Reading the headers …"):
                # False and not None: what this server's owner may read is not the visitor's to see.
                name = fetch(text or "", token or False, local=False).id
        except RoofcastError as error:
            st.session_state[_WRONG] = str(error)
            st.rerun()
        address.forget_wanted()
        controls.choose_model(name)
