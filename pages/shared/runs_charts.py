"""Charts and tables of own runs. Rows come from the core."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt
import pandas as pd
import streamlit as st

from core.drift import Stream
from core.upload_tables import promise_lines
from core.words import device_name
from pages.shared.charts import LIMIT, MEASURED, Rows

_PERCENT = alt.Axis(format=".0%")
_MOST = 40  # figures that are drawn


def beside(rows: Rows, *, key: str) -> None:
    """Each figure's prediction and range over what was measured: right of the line we said too much."""
    data = pd.DataFrame(rows[:_MOST])
    scale = alt.Scale(type="log", domain=[0.33, 3], clamp=True, nice=False)
    axis = alt.Axis(values=[0.33, 0.5, 0.67, 1, 1.5, 2, 3], format=".2~f")
    hint = [
        alt.Tooltip("run:N", title="Run"), alt.Tooltip("load:N", title="Load"), alt.Tooltip("what:N", title="Figure"),
        alt.Tooltip("measured:N", title="Measured"), alt.Tooltip("predicted:N", title="Predicted"), alt.Tooltip("span:N", title="Range"),
    ]  # fmt: skip
    y = alt.Y("label:N", title=None, sort=None, axis=alt.Axis(labelLimit=230, ticks=False, domain=False))
    base = alt.Chart(data)
    spans = base.mark_rule(strokeWidth=5, opacity=0.35).encode(y=y, x=alt.X("low:Q", scale=scale), x2="high:Q", tooltip=hint)
    dots = base.mark_point(filled=True, size=80, opacity=1).encode(
        y=y, x=alt.X("ratio:Q", scale=scale, axis=axis, title="predicted over measured, with its range"), tooltip=hint
    )
    measured = alt.Chart(pd.DataFrame([{"at": 1.0}])).mark_rule(color=MEASURED, strokeWidth=2).encode(x=alt.X("at:Q", scale=scale))
    chart = alt.layer(spans, measured, dots).properties(height=alt.Step(24))
    st.altair_chart(chart, width="stretch", key=key, alt="Predicted over measured")
    st.caption("The green line is what you measured; the dot is the prediction, the bar its range (10th to 90th percentile).")


def table(rows: Rows, *, key: str) -> None:
    """The same as a table."""
    st.dataframe(
        rows,
        hide_index=True,
        key=key,
        column_order=("run", "load", "what", "measured", "predicted", "span", "off", "inside"),
        column_config={
            "run": "Run", "load": "Load", "what": "Figure", "measured": "Measured", "predicted": "Predicted", "span": "Range",
            "off": "Off by", "inside": "In its range?",
        },
    )  # fmt: skip


def curve(rows: Rows, *, key: str) -> None:
    """Error on the runs not used, by how many were used."""
    base = alt.Chart(pd.DataFrame(rows)).encode(
        x=alt.X("k:O", title="own runs used", axis=alt.Axis(labelAngle=0)),
        y=alt.Y("error:Q", title="median error on the others", axis=_PERCENT, scale=alt.Scale(zero=True)),
        color=alt.Color("metric:N", title=None, legend=alt.Legend(orient="top")),
        tooltip=[alt.Tooltip("metric:N", title="What"), alt.Tooltip("k:O", title="Own runs"), alt.Tooltip("error:Q", format=".1%")],
    )
    chart = alt.layer(base.mark_line(), base.mark_point(filled=True, size=60, opacity=1)).properties(height=240)
    st.altair_chart(chart, width="stretch", key=key, alt="Error by number of own runs")


def promise(found: Rows, *, key: str) -> None:
    """What own runs brought on machines that were left out, by kind of figure."""
    order = ["drawn at random", "chosen", "drawn, other models scored"]
    base = alt.Chart(pd.DataFrame(promise_lines(found))).encode(
        x=alt.X("k:O", title="own runs", axis=alt.Axis(labelAngle=0)),
        y=alt.Y("median:Q", title="median error", axis=_PERCENT, scale=alt.Scale(zero=True)),
        color=alt.Color("runs:N", title=None, sort=order, legend=alt.Legend(orient="top", columns=1, labelLimit=240)),
        tooltip=[
            alt.Tooltip("kind:N", title="What"), alt.Tooltip("runs:N", title="Runs"), alt.Tooltip("k:O", title="Own runs"),
            alt.Tooltip("median:Q", title="Median machine", format=".1%"),
        ],
    )  # fmt: skip
    lines = alt.layer(base.mark_line(), base.mark_point(filled=True, size=55, opacity=1)).properties(width=210, height=170)
    kinds = alt.Facet("kind:N", title=None, sort=["decode", "prefill", "serving", "first token"])
    chart = lines.facet(facet=kinds, columns=2)
    st.altair_chart(chart, key=key, alt="Error on machines left out, by number of own runs")


def drift(streams: Sequence[Stream], *, key: str) -> None:
    """Rolling median error of each stream."""
    rows = [
        {"run": run, "date": date, "error": error, "stream": f"{device_name(s.device)}, {s.runtime} {s.version}, {s.metric}".strip()}
        for s in streams
        for run, date, error in s.rolling
    ]
    limits = alt.Chart(pd.DataFrame([{"limit": limit} for limit in sorted({s.limit for s in streams})]))
    base = alt.Chart(pd.DataFrame(rows)).encode(
        x=alt.X("run:Q", title="runs"),
        y=alt.Y("error:Q", title="rolling median error", axis=_PERCENT),
        color=alt.Color("stream:N", title=None, legend=alt.Legend(orient="top", columns=1, labelLimit=420)),
        tooltip=["stream:N", "run:Q", "date:N", alt.Tooltip("error:Q", format=".1%")],
    )
    rules = limits.mark_rule(color=LIMIT, strokeDash=[5, 4]).encode(y="limit:Q")
    chart = alt.layer(rules, base.mark_line(), base.mark_point(filled=True, size=40)).properties(height=260)
    st.altair_chart(chart, width="stretch", key=key, alt="Rolling error by stream")
