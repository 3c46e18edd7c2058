"""The charts. Rows come from the core; colours from the theme, but for the few that carry a meaning of their own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import altair as alt
import pandas as pd
import streamlit as st

LIMIT = "#D55E00"  # vermilion: a line not to cross; stands out on light and dark
MUTED = "#8a94a0"
MEASURED = "#009E73"  # bluish green: what was measured

Rows = list[dict[str, Any]]
_PARTS = [
    "weights",
    "KV cache",
    "embedding table",
    "compute buffers",
    "device context",
    "libraries and communication",
    "captured graphs",
    "fragmentation",
    "set aside by the engine",
]
_BAR = 42
_LEGEND_LINE = 19


def _draw(chart: alt.Chart | alt.LayerChart | alt.FacetChart, alt_text: str, key: str) -> None:
    st.altair_chart(chart, width="stretch", key=key, alt=alt_text)


def memory_bar(rows: Rows, *, limit: float, limit_text: str, scale: float, title: str, key: str) -> None:
    """One memory as a bar, stacked by part, with its limit as a rule."""
    data = pd.DataFrame(rows)
    domain = alt.Scale(domain=[0, scale], nice=False)
    names = [*_PARTS, *sorted(set(data["part"]) - set(_PARTS))]
    here = [name for name in names if name in set(data["part"])]
    bar = (
        alt.Chart(data)
        .mark_bar(height=_BAR, cornerRadius=1)
        .encode(
            x=alt.X("start:Q", scale=domain, title="GiB", axis=alt.Axis(tickCount=6, grid=False)),
            x2="end:Q",
            color=_colours("part:N", names, here, columns=2),
            opacity=alt.Opacity(
                "when:N",
                scale=alt.Scale(domain=["needed now", "transient peak", "engine will take"], range=[1, 0.55, 0.3]),
                legend=None,
            ),
            tooltip=[
                alt.Tooltip("part:N", title="Part"),
                alt.Tooltip("GiB:Q", format=".2f"),
                alt.Tooltip("when:N", title="Held"),
            ],
        )
    )
    line = pd.DataFrame({"limit": [limit], "text": [limit_text]})
    rule = alt.Chart(line).mark_rule(color=LIMIT, strokeWidth=2.5).encode(x=alt.X("limit:Q", scale=domain))
    side: Literal["left", "right"] = "left" if limit * 2 < scale else "right"
    text = alt.Chart(line).mark_text(color=LIMIT, align=side, dx=5 if side == "left" else -5, dy=-31, fontWeight=600, fontSize=12)
    text = text.encode(x=alt.X("limit:Q", scale=domain), text="text:N")
    st.markdown(f"**{title}**")
    _draw(
        alt.layer(bar, rule, text).properties(height=172 + _LEGEND_LINE * math.ceil(len(here) / 2)),
        f"{title}: {limit_text}",
        key,
    )


def shares(rows: Rows, *, names: list[str], key: str) -> None:
    """What holds each phase back, as bars that fill 100 %. `names` are all bounds, so that each keeps its colour."""
    data = pd.DataFrame(rows)
    here = [name for name in names if name in set(data["what"])]
    chart = (
        alt.Chart(data)
        .mark_bar(height=30, cornerRadius=1)
        .encode(
            x=alt.X(
                "start:Q",
                title="share of the time, %",
                scale=alt.Scale(domain=[0, 100]),
                axis=alt.Axis(tickCount=5, grid=False),
            ),
            x2="end:Q",
            y=alt.Y(
                "phase:N",
                title=None,
                sort=["Each next token", "First token"],
                axis=alt.Axis(labelLimit=160, ticks=False, domain=False),
            ),
            color=_colours("what:N", names, here, columns=1),
            tooltip=[
                alt.Tooltip("phase:N", title="Phase"),
                alt.Tooltip("what:N", title="Limited by"),
                alt.Tooltip("share:Q", title="Share, %", format=".1f"),
            ],
        )
    )
    st.markdown("**What holds it back**")
    _draw(chart.properties(height=190 + _LEGEND_LINE * len(here)), "Share of the time by what limits it", key)


def _colours(field: str, names: list[str], here: list[str], *, columns: int) -> alt.Color:
    """The theme's colours in a fixed order; the legend lists only what is drawn."""
    legend = alt.Legend(orient="bottom", columns=columns, labelLimit=300, symbolType="square", values=here, title=None)
    return alt.Color(field, scale=alt.Scale(domain=names), legend=legend)


def curve(
    rows: Rows,
    *,
    x: str,
    y: str,
    x_title: str,
    y_title: str,
    title: str,
    now: float,
    key: str,
    log_y: bool = False,
    measured: Sequence[dict[str, Any]] = (),
) -> bool:
    """One metric against one knob on a logarithmic axis, with the scenario's own value marked and `measured` points as diamonds.

    Returns whether any of those was drawn.
    """
    data = pd.DataFrame(rows)
    data = data[data["fits"] & data[y].map(math.isfinite)]
    if data.empty:
        st.caption(f"{title}: nothing to draw, for no value fits or the speed is unknown.")
        return False
    reach = data[x].min(), data[x].max()
    dots = [row for row in measured if math.isfinite(row[y]) and reach[0] <= row[x] <= reach[1]]
    heights = [*data[y], *(row[y] for row in dots)]
    scale_y = alt.Scale(type="log") if log_y else alt.Scale(zero=True)
    axis_x = alt.X(
        f"{x}:Q",
        title=x_title,
        scale=alt.Scale(type="log", base=2, nice=False),
        axis=alt.Axis(values=_ticks(*reach), labelExpr=_POWERS, labelOverlap=True),
    )
    marks = (
        alt.Axis(values=_decades(min(heights), max(heights)), format="~g", minExtent=36)
        if log_y
        else alt.Axis(tickCount=5, labelExpr="format(datum.value, ',')", minExtent=36)
    )
    axis_y = alt.Y(f"{y}:Q", title=y_title, scale=scale_y, axis=marks)
    hint = [alt.Tooltip(f"{x}:Q", title=x_title, format=",.0f"), alt.Tooltip(f"{y}:Q", title=y_title, format=",.4~g")]
    base = alt.Chart(data)
    path = base.mark_line(strokeWidth=2.2).encode(x=axis_x, y=axis_y)
    points = base.mark_point(filled=True, size=46, opacity=1).encode(x=axis_x, y=axis_y, tooltip=hint)
    here = (
        base.transform_filter(alt.datum[x] == now)
        .mark_point(filled=False, size=190, strokeWidth=2.2, color=LIMIT)
        .encode(x=axis_x, y=axis_y, tooltip=hint)
    )
    layers = [path, points, here]
    if dots:
        about = [*hint, alt.Tooltip("source:N", title="Measured by"), alt.Tooltip("differs:N", title="Differs in")]
        mark = alt.Chart(pd.DataFrame(dots)).mark_point(shape="diamond", filled=True, size=70, opacity=0.85, color=MEASURED)
        layers.append(mark.encode(x=axis_x, y=axis_y, tooltip=about))
    st.markdown(f"**{title}**")
    _draw(alt.layer(*layers).properties(height=210), title, key)
    return bool(dots)


_POWERS = "datum.value >= 1048576 ? datum.value / 1048576 + 'M' : datum.value >= 1024 ? datum.value / 1024 + 'k' : datum.value"


def _decades(low: float, high: float) -> list[float]:
    return [10.0**n for n in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)]


def _ticks(low: float, high: float) -> list[int]:
    powers = [1 << n for n in range(28)]
    inside = [p for p in powers if low <= p <= high] or [int(low)]
    return inside if len(inside) <= 8 else inside[::2]


def roofline(data: dict[str, Rows], *, key: str) -> None:
    """The roofline: what memory and compute allow at each intensity, and where this scenario's phases stand."""
    roofs, phases = pd.DataFrame(data["roofs"]), pd.DataFrame(data["phases"])
    low_x, high_x = roofs["intensity"].min(), roofs["intensity"].max()
    low_y, high_y = min(roofs["tflops"].min(), phases["tflops"].min()) / 2, roofs["tflops"].max() * 3
    x = alt.X(
        "intensity:Q",
        title="FLOP for each byte moved",
        scale=alt.Scale(type="log", domain=[low_x, high_x], nice=False),
        axis=alt.Axis(format="~g", values=_decades(low_x, high_x)),
    )
    y = alt.Y(
        "tflops:Q",
        title="TFLOP/s",
        scale=alt.Scale(type="log", domain=[low_y, high_y], nice=False),
        axis=alt.Axis(format="~g", values=_decades(low_y, high_y)),
    )
    colour = alt.Color("phase:N", title=None, sort=None, legend=alt.Legend(orient="bottom", labelLimit=300, columns=1))
    roof = alt.Chart(roofs).mark_line(strokeWidth=2.2, color=MUTED).encode(x=x, y=y, detail="roof:N")
    ridge = alt.Chart(phases).mark_rule(strokeDash=[3, 4], color=MUTED).encode(x="ridge:Q")
    peaks = alt.Chart(pd.DataFrame(data["peaks"])).mark_text(align="right", dx=-6, dy=-9, color=MUTED, fontSize=12)
    slopes = alt.Chart(pd.DataFrame(data["slopes"])).mark_text(align="left", dx=44, dy=-2, color=MUTED, fontSize=12)
    drop = alt.Chart(phases).mark_rule(strokeWidth=1.4, opacity=0.7).encode(x=x, y=y, y2="roof:Q", color=colour)
    points = (
        alt.Chart(phases)
        .mark_point(filled=True, size=150, opacity=1)
        .encode(
            x=x,
            y=y,
            color=colour,
            tooltip=[
                alt.Tooltip("phase:N", title="Phase"),
                alt.Tooltip("intensity:Q", title="FLOP for each byte", format=",.3~g"),
                alt.Tooltip("tflops:Q", title="Reached, TFLOP/s", format=",.3~g"),
                alt.Tooltip("roof:Q", title="Possible here, TFLOP/s", format=",.3~g"),
                alt.Tooltip("side:N", title="Here"),
            ],
        )
    )
    named = [labels.encode(x=x, y=y, text="text:N") for labels in (peaks, slopes)]
    st.markdown("**Roofline**")
    chart = alt.layer(ridge, roof, drop, points, *named).properties(height=380)
    _draw(chart, "Roofline of the device with this scenario's phases", key)


def device_roofs(rows: Rows, *, key: str) -> None:
    """Roofs of several devices on one pair of logarithmic axes; their ridges as points."""
    data = pd.DataFrame(rows)
    low, high = data["tflops"].min() / 1.5, data["tflops"].max() * 1.5
    reach = data["intensity"].min(), data["intensity"].max()
    x = alt.X(
        "intensity:Q",
        title="FLOP for each byte moved",
        scale=alt.Scale(type="log", domain=list(reach), nice=False),
        axis=alt.Axis(format="~g", values=_decades(*reach), grid=True),
    )
    y = alt.Y(
        "tflops:Q",
        title="TFLOP/s",
        scale=alt.Scale(type="log", domain=[low, high], nice=False),
        axis=alt.Axis(format="~g", values=_decades(low, high)),
    )
    colour = alt.Color("device:N", sort=None, title=None, legend=alt.Legend(orient="bottom", columns=1, labelLimit=320))
    hint = [
        alt.Tooltip("device:N", title="Device"),
        alt.Tooltip("intensity:Q", title="FLOP for each byte", format=",.3~g"),
        alt.Tooltip("tflops:Q", title="Allowed, TFLOP/s", format=",.3~g"),
        alt.Tooltip("limit:N", title="Limited by"),
        alt.Tooltip("peak:N", title="Peak of"),
    ]
    base = alt.Chart(data)
    lines = base.mark_line(strokeWidth=2.4).encode(x=x, y=y, color=colour, tooltip=hint)
    ridges = base.transform_filter("datum.intensity === datum.ridge").mark_point(filled=True, size=90, opacity=1)
    names = data["device"].nunique()
    _draw(
        alt.layer(lines, ridges.encode(x=x, y=y, color=colour, tooltip=hint)).properties(height=340 + _LEGEND_LINE * names),
        "Roofs of the devices: what memory and compute allow",
        key,
    )
