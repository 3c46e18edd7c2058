"""Which model the inspector shows: the catalog's by search, or one of the Hugging Face Hub, fetched when it is asked for."""

from __future__ import annotations

from dataclasses import dataclass

import streamlit as st

from core import choices
from core.catalog.own_hardware import may_store
from core.catalog.quants import kv_dtypes
from core.errors import RoofcastError
from core.hub import fetch
from core.inspect_model import Inspected, inspect_model, model_options, quant_options
from pages.shared.words import escape

_WRONG, _TRY = "_hub_wrong", "_hub_try"


@dataclass(frozen=True, slots=True)
class Choice:
    """The model, and in what its weights and its cache are weighed."""

    found: Inspected
    quant: str
    kv: str


def choose(fixed: tuple[str, str] | None) -> Choice:
    """Draw the choice of model, weights and cache. `fixed`: the quantisation and cache type of a scenario, which then hold.

    Raises RoofcastError where the address names no model that is here.
    """
    asked = st.query_params.get("model") or choices.default_model()
    try:
        name = choices.exact("model", asked)
        found = inspect_model(name)
    except RoofcastError:
        _pick("Model", choices.model_names(), None, "model", "Type to search the catalog.")
        _fetch_form(asked)
        raise
    about = "Type to search the catalog. Others come from the Hub, below."
    if fixed is not None:
        _pick("Model", model_options(name), name, "model", about)
        quant, kv = fixed
    else:
        left, middle, right = st.columns([4, 2, 2], vertical_alignment="bottom")
        with left:
            _pick("Model", model_options(name), name, "model", about)
        with middle:
            quant = _of_address("Weights", quant_options(found), "quant", "How the weights are stored; first, as they were published.")
        with right:
            types = ["f16", *(key for key in kv_dtypes() if key != "f16")]
            kv = _of_address("KV cache", types, "kv_dtype", "How keys and values are stored.")
    _fetch_form("")
    return Choice(found, quant, kv)


def _pick(label: str, options: list[str], current: str | None, knob: str, about: str) -> str | None:
    """A searchable list that writes its choice into the address; the address says what is chosen."""
    key = f"inspect-{knob}"
    st.session_state[key] = current
    picked: str | None = st.selectbox(label, options, index=None, key=key, on_change=_chosen, args=(knob, key), help=about)
    return picked


def _of_address(label: str, options: list[str], knob: str, about: str) -> str:
    asked = st.query_params.get(knob)
    return _pick(label, options, asked if asked in options else options[0], knob, about) or options[0]


def _chosen(knob: str, key: str) -> None:
    if st.session_state[key] is None:
        st.query_params.pop(knob, None)
    else:
        st.query_params[knob] = st.session_state[key]


def show(name: str) -> None:
    """Make this the model that is shown."""
    st.query_params["model"] = name


def _fetch_form(asked: str) -> None:
    """Fetches a model's headers on a click. The token is the visitor's own, used once, and forgotten with the form."""
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
                show(fetch(text or "", token or False, local=False).id)
        except RoofcastError as error:
            st.session_state[_WRONG] = str(error)
        st.rerun()
