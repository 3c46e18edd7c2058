"""The bars of the placement page."""

from __future__ import annotations

import altair as alt
import pandas as pd
import streamlit as st

from pages.shared.charts import LIMIT, Rows


def rank_bars(
    rows: Rows, *, names: list[str], faint: str, limit: float, limit_text: str, scale: float, key: str, limits: Rows | None = None
) -> None:
    """One stacked bar a device (or for devices that are alike), with the limit as a line through all. GiB.

    `limits`: a limit for each bar ("rank", "limit", "text") instead, where devices are not alike.
    `names` choose the colours by their place, "" leaves one out: the theme's sixth is the limit's.
    """
    data = pd.DataFrame(rows)
    order = list(dict.fromkeys(data["rank"]))
    here = [name for name in names if name in set(data["part"])]
    x = alt.X("start:Q", title="GiB", scale=alt.Scale(domain=[0, scale], nice=False), axis=alt.Axis(tickCount=6, grid=False))
    bars = (
        alt.Chart(data)
        .mark_bar(cornerRadius=1)
        .encode(
            x=x,
            x2="end:Q",
            y=alt.Y("rank:N", title=None, sort=order, axis=alt.Axis(ticks=False, domain=False, labelLimit=140)),
            color=alt.Color(
                "part:N",
                scale=alt.Scale(domain=names),
                legend=alt.Legend(orient="bottom", columns=2, labelLimit=260, symbolType="square", values=here, title=None),
            ),
            opacity=alt.condition(alt.datum.part == faint, alt.value(0.3), alt.value(1)),
            tooltip=[
                alt.Tooltip("rank:N", title="Device"),
                alt.Tooltip("part:N", title="Part"),
                alt.Tooltip("GiB:Q", format=".2f"),
            ],
        )
    )
    if limits:
        tick = alt.Chart(pd.DataFrame(limits)).mark_tick(color=LIMIT, thickness=3, size=26)
        tick = tick.encode(x="limit:Q", y=alt.Y("rank:N", sort=order), tooltip=[alt.Tooltip("rank:N", title="Device"), "text:N"])
        own = alt.layer(bars, tick).properties(height=alt.Step(34), padding={"top": 6, "left": 5, "right": 5, "bottom": 5})
        st.altair_chart(own, width="stretch", key=key, alt="Memory of each device, each with its own limit")
        return
    line = pd.DataFrame({"limit": [limit], "text": [limit_text]})
    rule = alt.Chart(line).mark_rule(color=LIMIT, strokeWidth=2.5).encode(x="limit:Q", tooltip=alt.Tooltip("text:N", title="Each device"))
    text = alt.Chart(line).mark_text(color=LIMIT, align="right", dx=-4, dy=-8, baseline="bottom", fontWeight=600, fontSize=12)
    text = text.encode(x="limit:Q", y=alt.value(0), text="text:N")
    chart = alt.layer(bars, rule, text).properties(height=alt.Step(30), padding={"top": 26, "left": 5, "right": 5, "bottom": 5})
    st.altair_chart(chart, width="stretch", key=key, alt=f"Memory of each device; {limit_text}")
