"""One run, typed in."""

from __future__ import annotations

from typing import Any

import streamlit as st

from core import choices, upload
from core.errors import RoofcastError
from core.upload import Upload
from core.upload_columns import targets, units_of
from pages.shared import runs_session
from pages.shared.words import escape

_MEASURED = ("decode_toks_sec", "prefill_toks_sec", "ttft_ms_p50", "tpot_ms_p50", "latency_ms_p50", "vram_peak_gib")
_LENGTHS = (("prompt_tokens", "Prompt tokens", 512), ("output_tokens", "Output tokens", 128),
            ("context_depth", "Tokens in the cache before", 0), ("concurrency", "Users at once", 1))  # fmt: skip
_TYPED = "_runs_one"


def forget() -> None:
    """The typed run is dealt with."""
    st.session_state.pop(_TYPED, None)


def draw() -> Upload | None:
    """The form; its run once something was measured, None before."""
    with st.expander("Type one run in", icon=":material/edit:"), st.form("runs-one", border=False):
        row: dict[str, Any] = {}
        left, right = st.columns(2)
        row["model_id"] = left.selectbox("Model", choices.model_names(), index=None, key="runs-one-model", placeholder="Type to search")
        row["gpu_name"] = right.selectbox("GPU, chip or processor", choices.device_names(), index=None, key="runs-one-device")
        left, right = st.columns(2)  # each line its own, so that a narrow screen keeps the order
        row["runtime"] = left.selectbox("Engine", choices.runtime_names(), index=None, key="runs-one-runtime")
        row["quant"] = right.text_input("Quantisation", key="runs-one-quant", max_chars=40, placeholder="Q4_K_M")
        left, right = st.columns(2)
        row["gpu_count"] = left.number_input("How many", 1, 4096, 1, key="runs-one-count")
        row["runtime_version"] = right.text_input("Version", key="runs-one-version", max_chars=80, placeholder="b6800")
        for line in zip(_LENGTHS[::2], _LENGTHS[1::2], strict=True):
            for (column, title, usual), side in zip(line, st.columns(2), strict=True):
                row[column] = side.number_input(title, 0, 10_000_000, usual, key=f"runs-one-{column}")
        st.markdown("**Measured**")
        for column in _MEASURED:
            first, second = st.columns([3, 2], vertical_alignment="bottom")
            amount = first.number_input(targets()[column].title, 0.0, 1e9, None, key=f"runs-one-{column}", placeholder="not measured")
            unit = second.selectbox("Unit", units_of(column), key=f"runs-one-unit-{column}", label_visibility="collapsed")
            if amount is not None:
                row.update(upload.measured_in(column, amount, str(unit)))
        sent = st.form_submit_button("Set it beside the prediction")
    if sent:
        st.session_state[_TYPED] = row
    if (typed := st.session_state.get(_TYPED)) is None:
        return None
    try:
        return upload.one_run(upload.on_device(typed), runs_session.of_session())
    except RoofcastError as error:
        st.error(escape(str(error)), icon=":material/error:")
        return None
