"""Why two builds differ: which input explains how much of one number."""

from __future__ import annotations

import streamlit as st

from core import compare_tables
from core.compare import Comparison
from core.errors import RoofcastError
from core.inputs import differing, stated
from core.waterfall import waterfall
from core.waterfall_words import UNITS, how, title
from pages.shared import number, progress, what_if_charts
from pages.shared.words import escape

METRICS = {
    "decode_rate": "Writing, each user", "ttft": "First token", "output_rate": "Writing, all users", "prefill_rate": "Reading a prompt",
    "latency": "Whole answer", "memory_peak": "Memory", "power": "Power", "usd_per_million": "A million output tokens",
}  # fmt: skip
_MEAN, _TURN = "mean of all orders", "one after the other"
_FAINT = "Faint bars are smaller than two such estimates may be off."


def draw(found: Comparison) -> None:
    """The controls, the waterfall, and how its bars came about."""
    running = [one for one in found.builds if one.runs]
    if len(running) < 2:
        st.caption("Two builds that run are needed: then the inputs are swapped from one to the other, and each shows what it is worth.")
        return
    names = [one.name for one in running]
    left, middle, right = st.columns([2, 1, 1])
    metric = left.selectbox("Number", list(METRICS), format_func=METRICS.__getitem__, key="why", bind="query-params")
    one = running[names.index(middle.selectbox("From", names, key="why_from"))]
    others = [name for name in names if name != one.name]
    other = running[names.index(right.selectbox("To", others, key="why_to"))]
    inputs = {entry.title: entry.key for entry in differing(stated(one.scenario), stated(other.scenario))}
    way = st.segmented_control("Swap the inputs", [_MEAN, _TURN], default=_MEAN, required=True, key="why_way", bind="query-params")
    order = None
    if way == _TURN:
        picked = st.multiselect("In this order", list(inputs), default=list(inputs), key=f"why-order-{one.name}{other.name}")
        order = [inputs[name] for name in picked]
    heard = progress.bar("Estimating the steps between them …")
    try:
        told = waterfall(one.scenario, other.scenario, metric, order, progress=heard)
    except RoofcastError as error:
        heard(1.0)
        st.info(escape(str(error)))
        return
    if not told.bars:
        st.caption(f"{one.name} and {other.name} are the same.")
        return
    st.markdown(f"**What explains {title(metric)}, {one.name} to {other.name}**")
    rows = compare_tables.waterfall_rows(told, (one.name, other.name))
    _, unit = compare_tables.axis_unit(UNITS[metric])
    what_if_charts.waterfall(rows, axis=f"{METRICS[metric]}, {unit}", key="waterfall")
    for sentence in how(told):
        st.caption(escape(sentence))
    if not all(bar.sure for bar in told.bars):
        st.caption(_FAINT)
    st.dataframe(
        [{"Input": row["label"], "Change": row["change"], "Worth": row["text"], "Over all orders": row["note"]} for row in rows[1:-1]],
        hide_index=True,
    )
    with st.grid(min_column_width=150, gap="medium"):
        for build, key in ((one, "first"), (other, "second")):
            cited = compare_tables.cited(build, metric)
            number.tile(build.name, cited, rows[0 if build is one else -1]["text"], key=f"why-{key}")
