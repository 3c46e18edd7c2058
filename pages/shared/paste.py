"""A pasted launch command fills in the form; what it says beyond that is told below it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import streamlit as st

from core.cards import count_cards
from core.errors import RoofcastError
from core.launch_form import Filled, fill
from pages.shared import knobs
from pages.shared.words import escape

_TEXT, _FOUND, _WRONG = "pasted", "_pasted_found", "_pasted_wrong"


def draw(apply: Callable[[Mapping[str, Any]], None], *, opened: bool = False) -> None:
    """The field, its button, and what became of the last command. `apply` sets controls; `opened`: not folded."""
    with st.expander("Paste a command", expanded=opened):
        st.text_area(
            "Launch command",
            key=_TEXT,
            height=120,
            max_chars=20_000,
            placeholder="vllm serve Qwen/Qwen3-32B -tp 2 --max-model-len 32k",
            help="What starts your runtime: vllm serve, llama-server, sglang, trtllm-serve, ollama, mlx_lm, docker run … "
            "It is read, never run.",
        )
        st.button("Fill in the form", key="paste-fill", on_click=_fill, args=(apply,), width="stretch")
        _tell()


def _fill(apply: Callable[[Mapping[str, Any]], None]) -> None:
    for key in (_FOUND, _WRONG):
        st.session_state.pop(key, None)
    try:
        found = fill(st.session_state[_TEXT], count_cards(st.query_params.get("others")))
    except RoofcastError as error:
        st.session_state[_WRONG] = str(error)
        return
    st.session_state[_FOUND] = found
    drawn = {*knobs.LISTS, *knobs.SWITCHES, *knobs.NUMBERS, *knobs.TEXTS}
    apply({knob: amount for knob, amount in found.controls.items() if knob in drawn})
    for knob in knobs.LINK_ONLY:
        amount = found.controls.get(knob)
        if amount is not None:
            st.query_params[knob] = str(amount).lower() if isinstance(amount, bool) else f"{amount}"
        elif knob in found.controls and knob in st.query_params:
            del st.query_params[knob]


def _tell() -> None:
    if wrong := st.session_state.get(_WRONG):
        st.warning(escape(wrong))
    found: Filled | None = st.session_state.get(_FOUND)
    if found is None:
        return
    if "device" not in found.controls:
        st.caption("The command does not say on which device it runs: choose it under Device below.")
    for sentence in (*found.refused, *found.notes):
        st.caption(escape(sentence))
    if found.unknown:
        st.caption("**Unknown, and so left out:** " + escape(", ".join(found.unknown)))
    if found.not_modelled:
        st.caption("**Not modelled:**\n" + "\n".join(f"- {escape(what)}: {escape(why)}" for what, why in found.not_modelled))
    if found.quiet:
        st.caption("**Without effect on memory or speed:** " + escape(", ".join(found.quiet)))
    if not (found.refused or found.notes or found.unknown or found.not_modelled):
        st.caption("Every word was understood.")
