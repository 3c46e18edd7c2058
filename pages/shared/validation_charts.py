"""The charts of the validation page. Shares come as numbers of 1; the axes show percent."""

from __future__ import annotations

from typing import Any

import altair as alt
import pandas as pd
import streamlit as st

from pages.shared.charts import LIMIT, MUTED, Rows

INSIDE, OUTSIDE = "#0072B2", "#E69F00"  # told apart by colour-blind eyes, and by shape
_PERCENT = alt.Axis(format=".0%", tickCount=6, grid=True)
PICK = "picked"


def _name(field: str, title: str | None = None, sort: Any = None) -> alt.Y:
    return alt.Y(f"{field}:N", title=title, sort=sort, axis=alt.Axis(labelLimit=190, ticks=False, domain=False))


def scatter(points: pd.DataFrame, ends: Rows, *, title: str, key: str) -> int | None:
    """Predicted against measured, both logarithmic. Returns the row of the point that was clicked.

    `ends`: the corners of the lines "exact" and "25 % off": columns line, measured, predicted.
    """
    scale = alt.Scale(type="log", nice=False)
    axis = alt.Axis(format="~s", tickCount=6)
    x = alt.X("measured:Q", title=f"measured, {title}", scale=scale, axis=axis)
    picked = alt.selection_point(name=PICK, fields=["row"], on="click", nearest=False, empty=False)
    state = alt.Scale(domain=["inside p10–p90", "outside"], range=[INSIDE, OUTSIDE])
    dots = (
        alt.Chart(points)
        .mark_point(filled=True, opacity=0.6)
        .encode(
            x=x,
            y=alt.Y("p50:Q", title=f"predicted (p50), {title}", scale=scale, axis=axis),
            color=alt.Color("state:N", scale=state, title=None, legend=alt.Legend(orient="top")),
            shape=alt.Shape("state:N", scale=alt.Scale(domain=["inside p10–p90", "outside"], range=["circle", "triangle-up"]),
                            title=None, legend=alt.Legend(orient="top")),
            size=alt.condition(picked, alt.value(190), alt.value(30)),
            tooltip=[
                alt.Tooltip("source:N", title="Source"),
                alt.Tooltip("model:N", title="Model"),
                alt.Tooltip("machine:N", title="Machine"),
                alt.Tooltip("runtime:N", title="Runtime"),
                alt.Tooltip("quant:N", title="Quantisation"),
                alt.Tooltip("load:N", title="Load"),
                alt.Tooltip("metric:N", title="Metric"),
                alt.Tooltip("unit:N", title="Unit"),
                alt.Tooltip("measured:Q", title="Measured", format=",.4~g"),
                alt.Tooltip("p50:Q", title="Predicted", format=",.4~g"),
                alt.Tooltip("p10:Q", title="p10", format=",.4~g"),
                alt.Tooltip("p90:Q", title="p90", format=",.4~g"),
                alt.Tooltip("ape:Q", title="Error", format=".0%"),
                alt.Tooltip("support:N", title="Support"),
            ],
        )
        .add_params(picked)
    )  # fmt: skip
    lines = (
        alt.Chart(pd.DataFrame(ends))
        .mark_line(color=MUTED)
        .encode(
            x=alt.X("measured:Q", scale=scale),
            y=alt.Y("predicted:Q", scale=scale),
            detail="line:N",
            strokeDash=alt.StrokeDash("kind:N", scale=alt.Scale(domain=["exact", "25 % off"], range=[[1, 0], [4, 4]]),
                                      title=None, legend=alt.Legend(orient="top")),
        )
    )  # fmt: skip
    found: Any = st.altair_chart(
        alt.layer(lines, dots).properties(height=460),
        width="stretch",
        key=key,
        on_select="rerun",
        selection_mode=PICK,
        alt="Predicted against measured",
    )
    hits = found.selection.get(PICK) or []
    return int(hits[0]["row"]) if hits else None


def errors_by(rows: Rows, *, title: str, key: str) -> None:
    """Median error of each slice as a bar, its mean as a tick, the number of judged rows in brackets."""
    data = pd.DataFrame([{**row, "label": f"{row['slice']} ({row['n']:,})"} for row in rows])
    order = list(data["label"])
    x = alt.X("median:Q", title="absolute error", axis=_PERCENT, scale=alt.Scale(domainMax=min(2.0, max(data["mean"])), clamp=True))
    hint = [
        alt.Tooltip("slice:N", title=title),
        alt.Tooltip("n:Q", title="Judged rows", format=","),
        alt.Tooltip("groups:Q", title="Held-out groups", format=","),
        alt.Tooltip("median:Q", title="Median error", format=".1%"),
        alt.Tooltip("mean:Q", title="Mean error", format=".1%"),
        alt.Tooltip("p90:Q", title="90th percentile", format=".1%"),
        alt.Tooltip("bias:Q", title="Bias, ln", format="+.2f"),
        alt.Tooltip("near:Q", title="Within 25 %", format=".0%"),
        alt.Tooltip("covered:Q", title="Inside p10–p90", format=".0%"),
    ]
    base = alt.Chart(data)
    bars = base.mark_bar(cornerRadius=1, height=13).encode(y=_name("label", sort=order), x=x, tooltip=hint)
    ticks = base.mark_tick(color=LIMIT, thickness=2.5, height=15).encode(y=_name("label", sort=order), x="mean:Q", tooltip=hint)
    st.markdown(f"**{title}**")
    st.altair_chart(alt.layer(bars, ticks).properties(height=alt.Step(22)), width="stretch", key=key, alt=f"Error by {title}")


def coverage(rows: Rows, band: tuple[float, float], *, key: str) -> None:
    """Share of runs inside p10–p90 by split: dots with each group weighing 1, rings with each row weighing 1."""
    data = pd.DataFrame(rows)
    scale = alt.Scale(domain=[0.4, 1.0], clamp=True)
    ground = (
        alt.Chart(pd.DataFrame([{"low": band[0], "high": band[1]}]))
        .mark_rect(opacity=0.22, color="#009E73")
        .encode(x=alt.X("low:Q", scale=scale, title="share of runs inside p10–p90", axis=_PERCENT), x2="high:Q")
    )
    base = alt.Chart(data)
    hint = [
        alt.Tooltip("population:N", title="What"),
        alt.Tooltip("split_name:N", title="Judged on"),
        alt.Tooltip("each_covered:Q", title="Inside, groups weighing 1", format=".1%"),
        alt.Tooltip("covered:Q", title="Inside, rows weighing 1", format=".1%"),
        alt.Tooltip("below:Q", title="Measured below p10", format=".1%"),
        alt.Tooltip("above:Q", title="Measured above p90", format=".1%"),
        alt.Tooltip("width:Q", title="Median width p90/p10", format=".2f"),
        alt.Tooltip("groups:Q", title="Groups", format=","),
        alt.Tooltip("n:Q", title="Rows", format=","),
    ]
    y = _name("split_name", sort=list(dict.fromkeys(data["split_name"])))
    span = base.mark_rule(color=MUTED).encode(y=y, x="covered:Q", x2="each_covered:Q")
    rings = base.mark_point(filled=False, size=70, color=MUTED, strokeWidth=2).encode(y=y, x=alt.X("covered:Q", scale=scale), tooltip=hint)
    dots = base.mark_point(filled=True, size=100, opacity=1).encode(y=y, x=alt.X("each_covered:Q", scale=scale), tooltip=hint)
    st.altair_chart(
        alt.layer(ground, span, rings, dots).properties(height=alt.Step(28)), width="stretch", key=key,
        alt="Coverage of the intervals by split",
    )  # fmt: skip


def histogram(rows: Rows, *, key: str) -> None:
    """Held-out groups by their own coverage, with what chance alone would give."""
    base = alt.Chart(pd.DataFrame(rows))
    x = alt.X("from:Q", title="share of the group's runs inside p10–p90", axis=_PERCENT, scale=alt.Scale(domain=[0, 1]))
    hint = [
        alt.Tooltip("text:N", title="Inside"),
        alt.Tooltip("groups:Q", title="Groups"),
        alt.Tooltip("chance:Q", title="By chance alone", format=".1f"),
    ]
    bars = base.mark_bar(binSpacing=1).encode(
        x=x.bin("binned"), x2="to:Q", y=alt.Y("groups:Q", title="held-out groups", axis=alt.Axis(tickMinStep=1)), tooltip=hint
    )
    chance = base.mark_line(color=LIMIT, strokeWidth=2.4, point=alt.OverlayMarkDef(color=LIMIT, size=50)).encode(
        x=alt.X("middle:Q", scale=alt.Scale(domain=[0, 1])), y="chance:Q", tooltip=hint
    )
    st.altair_chart(alt.layer(bars, chance).properties(height=260), width="stretch", key=key, alt="Coverage of each group")


def _by_runs(data: pd.DataFrame, column: str) -> list[str]:
    names = list(data.groupby(column)["runs"].sum().sort_values(ascending=False).index)
    return sorted(names, key=lambda name: name.startswith("all other "))


def corpus_map(rows: Rows, *, key: str) -> None:
    """Runs by model and device, the most measured first and what stands together last."""
    data = pd.DataFrame(rows)
    models, devices = _by_runs(data, "model"), _by_runs(data, "device")
    chart = (
        alt.Chart(data)
        .mark_rect()
        .encode(
            x=alt.X("device:N", title=None, sort=devices, axis=alt.Axis(labelAngle=-60, labelLimit=130, labelOverlap=False)),
            y=alt.Y("model:N", title=None, sort=models, axis=alt.Axis(labelLimit=190, labelOverlap=False, ticks=False, domain=False)),
            color=alt.Color("runs:Q", title="runs", scale=alt.Scale(type="log"), legend=alt.Legend(orient="top", format="~s", tickCount=4)),
            tooltip=["model:N", "device:N", alt.Tooltip("runs:Q", title="Runs", format=",")],
        )
    )
    st.altair_chart(chart.properties(height=alt.Step(17)), width="stretch", key=key, alt="Measured runs by model and device")


def terms(rows: Rows, *, key: str) -> None:
    """Share of a slice's error that goes when one term of the step's time is freed."""
    base = alt.Chart(pd.DataFrame(rows))
    hint = [
        alt.Tooltip("name:N", title="Term"),
        alt.Tooltip("removed:Q", title="Error removed", format=".0%"),
        alt.Tooltip("factor:Q", title="Times what was estimated", format=".2f"),
    ]
    bars = base.mark_bar(height=13, cornerRadius=1).encode(
        y=_name("name", sort="-x"), x=alt.X("removed:Q", title="share of the error removed", axis=_PERCENT), tooltip=hint
    )
    st.altair_chart(bars.properties(height=alt.Step(22)), width="stretch", key=key, alt="Error removed by each term")


def versions(rows: Rows, *, key: str) -> None:
    """Median error by split, one mark per version."""
    data = pd.DataFrame(rows)
    order = list(dict.fromkeys(data["version"]))
    marks = (
        alt.Chart(data)
        .mark_point(filled=True, size=90, opacity=1)
        .encode(
            y=_name("split_name", sort=list(dict.fromkeys(data["split_name"]))),
            x=alt.X("median:Q", title="median absolute error", axis=_PERCENT),
            color=alt.Color("version:N", sort=order, title=None, legend=alt.Legend(orient="top", labelLimit=160)),
            shape=alt.Shape("version:N", sort=order, title=None, legend=alt.Legend(orient="top")),
            tooltip=["version:N", "date:N", alt.Tooltip("median:Q", format=".1%"), alt.Tooltip("mean:Q", format=".1%")],
        )
    )
    st.altair_chart(marks.properties(height=alt.Step(28)), width="stretch", key=key, alt="Median error by version")
