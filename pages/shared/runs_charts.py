"""Charts and tables of own runs. Rows come from the core."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt
import pandas as pd
import streamlit as st

from core.drift import Stream
from core.upload_tables import KINDS_SHOWN, most_off, promise_lines
from core.words import device_name
from pages.shared.charts import LIMIT, MEASURED, MUTED, Rows

_PERCENT = alt.Axis(format=".0%")
_COLOURS = ("#2E8BC0", "#E69F00", "#19A57C")  # readable on light and dark
_MOST = 24  # figures that are drawn


def beside(rows: Rows, *, key: str) -> None:
    """Each figure's prediction and range over what was measured: right of the line we said too much."""
    drawn = most_off(rows, _MOST)
    data = pd.DataFrame(drawn)
    near = all(0.33 <= row["ratio"] <= 3 for row in drawn)
    scale = alt.Scale(type="log", domain=[0.33, 3] if near else [0.1, 10], clamp=True, nice=False)
    axis = alt.Axis(values=[0.33, 0.5, 0.67, 1, 1.5, 2, 3] if near else [0.1, 0.2, 0.5, 1, 2, 5, 10], format=".2~f")
    hint = [
        alt.Tooltip("run:N", title="Run"), alt.Tooltip("load:N", title="Load"), alt.Tooltip("what:N", title="Figure"),
        alt.Tooltip("measured:N", title="Measured"), alt.Tooltip("predicted:N", title="Predicted"), alt.Tooltip("span:N", title="Range"),
    ]  # fmt: skip
    y = alt.Y("place:O", title=None, axis=None)
    base = alt.Chart(data.assign(place=range(len(drawn)), one=1.0))
    spans = base.mark_rule(strokeWidth=6, opacity=0.5, yOffset=9, color=MUTED).encode(
        y=y, x=alt.X("low:Q", scale=scale), x2="high:Q", tooltip=hint
    )
    dots = base.mark_point(filled=True, size=90, opacity=1, yOffset=9).encode(
        y=y, x=alt.X("ratio:Q", scale=scale, axis=axis, title="predicted ÷ measured"), tooltip=hint
    )
    names = base.mark_text(align="left", yOffset=-9, fontSize=12, color=MUTED).encode(y=y, x=alt.value(0), text="label:N", tooltip=hint)
    measured = base.mark_tick(color=MEASURED, thickness=3, size=20, yOffset=9, opacity=1).encode(y=y, x=alt.X("one:Q", scale=scale))
    chart = alt.layer(spans, measured, dots, names).properties(height=alt.Step(44))
    st.altair_chart(chart, width="stretch", key=key, alt="Predicted over measured")
    few = f" Drawn are the {len(drawn)} that are most off, of {len(rows):,}." if len(drawn) < len(rows) else ""
    st.caption(f"The green mark is what you measured; the dot is the prediction, the bar its range (10th to 90th percentile).{few}")


def table(rows: Rows, *, key: str) -> None:
    """The same as a table."""
    st.dataframe(
        rows,
        hide_index=True,
        key=key,
        column_order=("what", "measured", "predicted", "off", "load", "span", "inside", "run"),  # a narrow screen shows the first
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
        color=alt.Color("metric:N", title=None, legend=alt.Legend(orient="top", columns=3)),
        tooltip=[alt.Tooltip("metric:N", title="What"), alt.Tooltip("k:O", title="Own runs"), alt.Tooltip("error:Q", format=".1%")],
    )
    chart = alt.layer(base.mark_line(), base.mark_point(filled=True, size=60, opacity=1)).properties(height=360)
    st.altair_chart(chart, width="stretch", key=key, alt="Error by number of own runs")


def promise(found: Rows, *, key: str) -> None:
    """What own runs brought on machines that were left out: a chart for each kind of figure, all on one scale."""
    lines = promise_lines(found)
    order = list(dict.fromkeys(line["runs"] for line in lines))
    top = alt.Scale(domain=[0, max((line["median"] for line in lines), default=1.0)], nice=True)
    marks = (f'<span style="color:{c}">●</span> {runs}' for c, runs in zip(_COLOURS, order, strict=False))
    st.html(" ".join(f'<span style="display:inline-block;margin-right:1.2em">{mark}</span>' for mark in marks))
    with st.grid(min_column_width=400, gap="medium"):
        for kind in dict.fromkeys(line["kind"] for line in lines):
            base = alt.Chart(pd.DataFrame([line for line in lines if line["kind"] == kind])).encode(
                x=alt.X("k:O", title="own runs", axis=alt.Axis(labelAngle=0)),
                y=alt.Y("median:Q", title="median error", axis=_PERCENT, scale=top),
                color=alt.Color("runs:N", scale=alt.Scale(domain=order, range=list(_COLOURS)), legend=None),
                tooltip=[
                    alt.Tooltip("runs:N", title="Runs"), alt.Tooltip("k:O", title="Own runs"),
                    alt.Tooltip("median:Q", title="Median machine", format=".1%"),
                ],
            )  # fmt: skip
            chart = alt.layer(base.mark_line(), base.mark_point(filled=True, size=55, opacity=1)).properties(height=260)
            with st.container():
                st.markdown(f"**{KINDS_SHOWN[kind]}**")
                st.altair_chart(chart, width="stretch", key=f"{key}-{kind}", alt=f"{kind}: error by number of own runs")


def drift(streams: Sequence[Stream], *, key: str) -> None:
    """Rolling median error of each stream, of the first runs only as far as the axis goes."""
    alone = len({s.device for s in streams}) == 1
    rows = [
        {
            "run": run,
            "date": date,
            "error": error,
            "stream": ", ".join([*([] if alone else [device_name(s.device)]), f"{s.runtime} {s.version}".strip(), s.metric]),
        }
        for s in streams
        for run, date, error in s.rolling
    ]
    top = max(0.3, min(1.0, max(error for s in streams for _, _, error in s.rolling)))
    limits = alt.Chart(pd.DataFrame([{"limit": limit} for limit in sorted({s.limit for s in streams})]))
    base = alt.Chart(pd.DataFrame(rows)).encode(
        x=alt.X("run:Q", title="run", axis=alt.Axis(tickMinStep=1, format="d"), scale=alt.Scale(zero=False, nice=False)),
        y=alt.Y("error:Q", title="rolling median error", axis=_PERCENT, scale=alt.Scale(domain=[0, top], clamp=True)),
        color=alt.Color("stream:N", title=None, legend=alt.Legend(orient="top", columns=1, labelLimit=300)),
        tooltip=["stream:N", "run:Q", "date:N", alt.Tooltip("error:Q", format=".1%")],
    )
    rules = limits.mark_rule(color=LIMIT, strokeDash=[5, 4]).encode(y="limit:Q")
    chart = alt.layer(rules, base.mark_line(), base.mark_point(filled=True, size=40)).properties(height=360)
    st.altair_chart(chart, width="stretch", key=key, alt="Rolling error by stream")
