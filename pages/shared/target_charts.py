"""The charts of "What should I buy?": cost against throughput, and the funnel."""

from __future__ import annotations

from typing import Any

import altair as alt
import pandas as pd
import streamlit as st

from core.solve_tables import front_rows
from core.solved import Solved
from pages.shared.charts import MUTED

_SIDES = ["Yours", "To buy", "To rent"]
_SHAPES = ["beaten by none", "beaten by another"]


def front(solved: Solved) -> None:
    """What meets the goal, cost against tokens a second; what nothing beats is filled and joined."""
    data = pd.DataFrame(front_rows(solved))
    if data.empty:
        return
    slow = "p10" if solved.goal.pessimistic else "median"
    x = alt.X("cost:Q", title="$ a month", scale=alt.Scale(type="log", nice=False), axis=alt.Axis(format="$,.3~s", tickCount=6))
    y = alt.Y(
        "rate:Q",
        title=f"tokens a second of all, {slow}",
        scale=alt.Scale(type="log", nice=False),
        axis=alt.Axis(format=",.3~s", tickCount=5),
    )
    hint = [
        alt.Tooltip("what:N", title="What"),
        alt.Tooltip("cost:Q", title="$ a month", format=",.0f"),
        alt.Tooltip("rate:Q", title="Tokens a second", format=",.3~g"),
        alt.Tooltip("latency:Q", title="Whole answer, s", format=",.3~g"),
        alt.Tooltip("best:N", title="In cost, throughput, latency and quality"),
    ]
    colour = alt.Color(
        "side:N", title=None, scale=alt.Scale(domain=_SIDES), legend=alt.Legend(orient="bottom", values=sorted(set(data["side"])))
    )
    shapes = alt.Scale(domain=_SHAPES, range=["circle", "triangle-up"])
    # One below the other, for small screens; grey is seen on light and dark.
    meaning = alt.Legend(orient="bottom", direction="vertical", symbolFillColor=MUTED, symbolStrokeColor=MUTED)
    points = (
        alt.Chart(data)
        .mark_point(size=80, strokeWidth=1.6)
        .encode(
            x=x, y=y, color=colour, tooltip=hint,
            fillOpacity=alt.condition("datum.best == 'beaten by none'", alt.value(0.9), alt.value(0.0)),
            fill=alt.Fill("side:N", scale=alt.Scale(domain=_SIDES), legend=None),
            shape=alt.Shape("best:N", title=None, scale=shapes, legend=meaning),
        )
    )  # fmt: skip
    st.markdown("**Cost against throughput**")
    st.altair_chart(points.properties(height=360), width="stretch", key="target-front", alt="Cost a month against tokens a second of all")


def funnel(rows: list[dict[str, Any]]) -> None:
    """How many candidates are left after each step."""
    data = pd.DataFrame(rows)
    steps = list(data["step"])
    hint = [alt.Tooltip("step:N", title="Step"), *(alt.Tooltip(f"{name}:Q", title=name.title(), format=",") for name in ("left", "gone"))]
    base = alt.Chart(data).encode(y=alt.Y("step:N", sort=steps, title=None, axis=alt.Axis(labelLimit=260, ticks=False, domain=False)))
    x = alt.X("left:Q", title="candidates left", scale=alt.Scale(type="symlog"), axis=alt.Axis(format=",.3~s", tickCount=5, grid=False))
    bars = base.mark_bar(height=18, cornerRadius=1).encode(x=x, tooltip=hint)
    labels = base.mark_text(align="left", dx=5, color=MUTED).encode(x=x, text=alt.Text("left:Q", format=","))
    chart = (bars + labels).properties(height=alt.Step(30), padding={"left": 5, "top": 5, "bottom": 5, "right": 40})
    st.altair_chart(chart, width="stretch", key="target-funnel", alt="Candidates left after each step")
