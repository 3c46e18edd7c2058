"""The parts of the model inspector below its first screen."""

from __future__ import annotations

from typing import Any

import altair as alt
import pandas as pd
import streamlit as st

from core import model_cache, model_diff, model_tensors
from core.errors import RoofcastError
from core.inspect_model import as_published, field_rows, inspect_model, model_option, model_options, record_source, set_by_hand
from core.quantity import value
from core.units import show
from pages.shared import controls, model_diagram, number, side_by_side
from pages.shared.model_choose import Choice
from pages.shared.words import escape

_WRONG = "_by_hand_wrong"


def layers(choice: Choice) -> None:
    """The picture of the stack."""
    model_diagram.draw(choice.found.ir)


def tensors(choice: Choice) -> None:
    """Sums by group, then every kind of tensor."""
    rows = model_tensors.tensor_rows(choice.found.ir, choice.quant)
    st.caption(f"Weights as {choice.quant}. Tensors that are alike in every layer stand in one line; N is the layer's number.")
    config = {
        "Parameters": st.column_config.NumberColumn(format="localized"),
        "Bytes": st.column_config.NumberColumn(format="localized"),
        "GiB": st.column_config.NumberColumn(format="localized"),
        "Tensors": st.column_config.NumberColumn(format="localized"),
        "Share (%)": st.column_config.NumberColumn(format="%.2f"),
        "Name": st.column_config.TextColumn(width="large"),
    }
    order = ["Group", "Parameters", "GiB", "Share (%)", "Tensors", "Bytes"]
    st.dataframe(pd.DataFrame(model_tensors.group_rows(rows)), hide_index=True, column_config=config, column_order=order, placeholder="")
    listed = ["Name", "Shape", "Count", "Format", "Bytes", "Share (%)", "Parameters", "Group", "Kind of layer"]
    st.dataframe(pd.DataFrame(rows), hide_index=True, column_config=config, column_order=listed, height=460, placeholder="")
    st.download_button(
        "Tensors as CSV", model_tensors.tensors_csv(choice.found.ir, choice.quant), model_tensors.EXPORT, "text/csv",
        icon=":material/download:", on_click="ignore", key="tensors-csv",
    )  # fmt: skip


def cache(choice: Choice) -> None:
    """What is kept of the tokens: by type of cache, by kind of layer, against the context."""
    model, longest = choice.found.ir, choice.found.ir.max_context
    steps = model_cache.contexts(model)
    tokens = st.select_slider(
        "Context of one sequence", steps, value=model_cache.usual_context(model), format_func=lambda n: f"{n:,}", key="cache-context",
        help=f"The model is made for up to {longest:,} tokens.",
    )  # fmt: skip
    with st.grid(min_column_width=170, gap="medium"):
        for at, row in enumerate(model_cache.type_rows(model, tokens)):
            number.tile(
                row["type"], row["sequence"], show(float(value(row["sequence"])), "B"), key=f"cache-{at}",
                note=f"{show(row['more'], 'B')} for each further token" if row["more"] else "nothing for further tokens",
            )  # fmt: skip
    st.caption("Of one sequence, before any split over devices; runtimes round up to blocks and may keep more of sliding layers.")
    rows = model_cache.growth_rows(model, choice.kv)
    if rows:
        _growth(rows)
    config = {
        "Bytes a token": st.column_config.NumberColumn(format="localized", help="That the layers of this kind add while they grow."),
        "Tokens": st.column_config.NumberColumn(format="localized", help="Of which a layer keeps something at this context."),
        "Window": st.column_config.NumberColumn(format="localized"),
        "MiB": st.column_config.NumberColumn(format="%.2f"),
        "Holds": st.column_config.TextColumn("A layer keeps of a token", width="medium"),
        "Which": st.column_config.TextColumn("Which layers"),
    }
    order = ["Kind of layer", "Layers", "Holds", "Tokens", "Bytes a token", "MiB", "Which"]
    st.markdown(f"**Which layers hold what, at {tokens:,} tokens**")
    kinds = pd.DataFrame(model_cache.kind_rows(model, choice.kv, tokens))
    st.dataframe(kinds, hide_index=True, column_config=config, column_order=order, placeholder="")
    with st.expander("Layer by layer"):
        st.dataframe(
            pd.DataFrame(model_cache.held_rows(model, choice.kv, tokens)), hide_index=True, column_config=config, height=420, placeholder=""
        )


def _growth(rows: list[dict[str, Any]]) -> None:
    data = pd.DataFrame(rows)
    order = list(dict.fromkeys(data["label"]))
    chart = (
        alt.Chart(data)
        .mark_bar()
        .encode(
            x=alt.X("label:N", sort=order, title="context, tokens", axis=alt.Axis(labelAngle=0, labelOverlap=True)),
            y=alt.Y("GiB:Q", title="GiB a sequence", axis=alt.Axis(tickCount=5)),
            color=alt.Color("kind:N", sort=None, title=None, legend=alt.Legend(orient="bottom", columns=1, labelLimit=340)),
            tooltip=[alt.Tooltip("context:Q", format=","), alt.Tooltip("kind:N"), alt.Tooltip("GiB:Q", format=".3f")],
        )
        .properties(height=330)
    )
    st.markdown("**The cache as the context grows**")
    st.altair_chart(chart, width="stretch", key="cache-growth", alt="Bytes of one sequence's cache against its context, by kind of layer")


def fields(choice: Choice) -> None:
    """Every field that was read, with where it comes from; any can be set by hand."""
    found = choice.found
    for note in found.facts["notes"]:
        st.caption(escape(note))
    st.dataframe(
        pd.DataFrame(field_rows(found)), hide_index=True,
        column_config={"Origin": st.column_config.TextColumn("In full", width="large"), "From": "Where from"},
    )  # fmt: skip
    st.caption(escape(f"Source of the record: {record_source(found)}."))
    with st.form("by-hand", border=False):
        left, right = st.columns([3, 1], vertical_alignment="bottom")
        text = left.text_input(
            "Set a field by hand", key="by-hand-text", max_chars=130, placeholder="num_hidden_layers=40",
            help="For a model that is not published yet, or a config you know better. It stays in the address and is marked everywhere.",
        )  # fmt: skip
        pressed = right.form_submit_button("Set", key="by-hand-go")
    if wrong := st.session_state.pop(_WRONG, None):
        st.warning(escape(wrong))
    if pressed and text:
        try:
            named = set_by_hand(found.facts["id"], text)
        except RoofcastError as error:
            st.session_state[_WRONG] = str(error)
            st.rerun()
        controls.choose_model(named)
    plain = as_published(found.facts["id"])
    if plain != found.facts["id"] and st.button("Take back what was set by hand", key="by-hand-drop"):
        controls.choose_model(plain)


def compare(choice: Choice) -> None:
    """Two models side by side; what differs is marked."""
    key = "inspect-against"
    asked = model_option(st.query_params.get("against"))
    options = model_options(asked)
    st.session_state[key] = asked
    left, right = st.columns([3, 2], vertical_alignment="bottom")
    with left:
        picked = st.selectbox(
            "Compare with", options, index=None, key=key, on_change=_against, args=(key,), placeholder="Type to search the catalog"
        )
    if picked is None:
        st.caption("Choose another model to see the two side by side.")
        return
    with right:
        only = st.toggle("Only what differs", True, key="only-differs")
    other = inspect_model(picked)
    rows = model_diff.diff_rows(choice.found, other)
    differing = [row for row in rows if row["Differs"]]
    st.caption(f"{len(differing)} of {len(rows)} differ.")
    shown = differing if only else rows
    if not shown:
        st.caption("The two are alike in everything that is known of them.")
        return
    lines = [
        (f"{row['What']}", (f"{row['Left']}", f"{row['Right']}"), (row["Differs"] and not only, row["Differs"] and not only))
        for row in shown
    ]
    side_by_side.draw([choice.found.facts["id"], other.facts["id"]], lines)


def _against(key: str) -> None:
    if st.session_state[key] is None:
        st.query_params.pop("against", None)
    else:
        st.query_params["against"] = st.session_state[key]
