"""Charts of the comparison: ranges side by side, the waterfall, lines over a knob, maps over two."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt
import pandas as pd
import streamlit as st

from pages.shared.charts import LIMIT, MEASURED, MUTED

Rows = list[dict[str, Any]]
BETTER, WORSE = "#009E73", "#D55E00"  # told apart by colour-blind eyes, on light and dark
_LINE = alt.Step(34)  # pixels of a bar with its room
_CELL = alt.Step(30)
_AXIS = "datum.value >= 1000 ? format(datum.value, '~s') : format(datum.value, '~g')"
_LOW, _HIGH, _INK = "#d3e6f5", "#0b4f86", "#1b2430"  # of maps, alike on light and dark
# Of each build where it is best for sure, and where that is too close to call: dark text is read on all of them.
_BEST = ("#56B4E9", "#E69F00", "#2FBF97", "#E29AC2")
_CLOSE = ("#c9e5f7", "#f7e0ae", "#b9e8da", "#f3d9e7")
_POWERS = "datum.value >= 1048576 ? datum.value / 1048576 + 'M' : datum.value >= 1024 ? datum.value / 1024 + 'k' : datum.value"


def _colour(names: Sequence[str], *, legend: bool = False) -> alt.Color:
    """Each build keeps its colour on every chart."""
    shown = alt.Legend(title=None, orient="top", symbolType="circle", symbolOpacity=1, labelLimit=400) if legend else None
    return alt.Color("build:N", scale=alt.Scale(domain=list(names)), legend=shown)


def ranges(rows: Rows, *, names: Sequence[str], title: str, unit: str, key: str) -> None:
    """One number of every build: the median as a point, p10 to p90 as a line."""
    st.markdown(f"**{title}**")
    st.altair_chart(_ranges(rows, names, unit), width="stretch", key=key, alt=f"{title}, {unit}, by build")


def _ranges(rows: Rows, names: Sequence[str], unit: str) -> alt.LayerChart | alt.FacetChart:
    base = alt.Chart(pd.DataFrame(rows))
    y = alt.Y("build:N", title=None, sort=list(names), axis=alt.Axis(ticks=False, domain=False, labelFontWeight="bold", labelFontSize=13))
    x = alt.X("low:Q", title=unit, scale=alt.Scale(zero=True), axis=alt.Axis(tickCount=5, labelExpr=_AXIS))
    hint = [alt.Tooltip("build:N", title="Build"), alt.Tooltip("what:N", title="What"), alt.Tooltip("text:N", title="Median"),
            alt.Tooltip("span:N", title="Range")]  # fmt: skip
    colour = _colour(names)
    line = base.mark_rule(strokeWidth=5, opacity=0.35, strokeCap="round").encode(x=x, x2="high:Q", y=y, color=colour, tooltip=hint)
    point = base.mark_point(filled=True, size=120, opacity=1).encode(x="amount:Q", y=y, color=colour, tooltip=hint)
    text = base.mark_text(dy=-13, fontSize=12, color=MUTED).encode(x="amount:Q", y=y, text="text:N")
    return alt.layer(line, point, text).properties(height=_LINE)


def picture(groups: Sequence[tuple[str, str, Rows]], *, names: Sequence[str], title: str, about: Sequence[str], key: str) -> None:
    """All main numbers in one picture, to be kept: its menu downloads it as PNG. `groups`: title, unit and rows of each number."""
    charts = [_ranges(rows, names, unit).properties(width=250, title=alt.Title(text, fontSize=13)) for text, unit, rows in groups]
    whole = alt.concat(*charts, columns=3, spacing=26).resolve_scale(color="shared").properties(
        title=alt.Title(title, subtitle=list(about), anchor="start", fontSize=16, subtitleFontSize=12, offset=18, subtitleColor=MUTED),
        padding=18,
    )  # fmt: skip
    st.altair_chart(whole, width="content", key=key, alt=title)


def waterfall(rows: Rows, *, axis: str, key: str) -> None:
    """From A to B, input by input, from top to bottom. A faint bar is too little to be sure of."""
    data = pd.DataFrame(rows)
    order = list(data["label"])
    base = alt.Chart(data)
    y = alt.Y("label:N", sort=order, title=None, axis=alt.Axis(labelLimit=190, ticks=False, domain=False, labelFontSize=12))
    kinds = alt.Color("kind:N", legend=None, scale=alt.Scale(domain=["whole", "better", "worse"], range=[MUTED, BETTER, WORSE]))
    hint = [alt.Tooltip("label:N", title="Input"), alt.Tooltip("change:N", title="Change"), alt.Tooltip("text:N", title="Worth"),
            alt.Tooltip("note:N", title="Over all orders")]  # fmt: skip
    bars = base.mark_bar(height=18, cornerRadius=1).encode(
        x=alt.X("start:Q", title=axis, axis=alt.Axis(tickCount=5, labelExpr=_AXIS, grid=True)),
        x2="end:Q", y=y, color=kinds, opacity=alt.condition("datum.sure", alt.value(1.0), alt.value(0.45)), tooltip=hint,
    )  # fmt: skip
    at = "scale('x', datum.middle)"  # near an edge the text runs inwards, so that a narrow screen cuts nothing off
    inwards = alt.expr(f"{at} > width - 62 ? 'right' : {at} < 62 ? 'left' : 'center'")
    text = base.mark_text(dy=-16, fontSize=12, align=inwards).encode(x="middle:Q", y=y, text="text:N", color=kinds)
    st.altair_chart(
        alt.layer(bars, text).properties(height=alt.Step(44)),
        width="stretch",
        key=key,
        alt="Which input explains the difference, as bars from the first build to the second",
    )


def lines(
    rows: Rows,
    *,
    names: Sequence[str],
    x_title: str,
    y_title: str,
    log: bool,
    key: str,
    measured: Rows,
    crossings: Sequence[float],
    zero: bool = True,
) -> None:
    """A metric of every build over a knob, its range as a faint band; measured points as diamonds, crossings as dashed rules."""
    data = pd.DataFrame(rows)
    scale = alt.Scale(type="log", base=2, nice=False) if log else alt.Scale(zero=False, nice=False)
    axis = alt.Axis(labelExpr=_POWERS, labelOverlap=True) if log else alt.Axis(format="~g", labelOverlap=True)
    x = alt.X("x:Q", title=x_title, scale=scale, axis=axis)
    y = alt.Y("amount:Q", title=y_title, scale=alt.Scale(zero=zero), axis=alt.Axis(tickCount=5, labelExpr="format(datum.value, ',')"))
    hint = [alt.Tooltip("build:N", title="Build"), alt.Tooltip("x:Q", title=x_title, format=",.4~g"),
            alt.Tooltip("text:N", title=y_title), alt.Tooltip("span:N", title="Range")]  # fmt: skip
    base = alt.Chart(data)
    colour = _colour(names, legend=True)
    band = base.mark_area(opacity=0.1).encode(x=x, y=alt.Y("low:Q", title=y_title), y2="high:Q", color=colour)
    path = base.mark_line(strokeWidth=2.3).encode(x=x, y=y, color=colour)
    points = base.mark_point(filled=True, size=46, opacity=1).encode(x=x, y=y, color=colour, tooltip=hint)
    layers = [band, path, points]
    if crossings:
        rule = alt.Chart(pd.DataFrame({"x": list(crossings)})).mark_rule(strokeDash=[4, 4], color=LIMIT, strokeWidth=1.5)
        layers.append(rule.encode(x=x))
    if measured:
        about = [alt.Tooltip("build:N", title="Build"), alt.Tooltip("x:Q", title=x_title, format=",.0f"),
                 alt.Tooltip("text:N", title="Measured"), alt.Tooltip("source:N", title="By"),
                 alt.Tooltip("differs:N", title="Differs in")]  # fmt: skip
        mark = alt.Chart(pd.DataFrame(measured)).mark_point(shape="diamond", filled=True, size=74, stroke=MEASURED, strokeWidth=1.6)
        layers.append(mark.encode(x=x, y=y, color=colour, tooltip=about))
    st.altair_chart(alt.layer(*layers).properties(height=330), width="stretch", key=key, alt=f"{y_title} over {x_title}, by build")


def steps(rows: Rows, *, names: Sequence[str], x_title: str, y_title: str, order: Sequence[str], key: str) -> None:
    """A metric of every build for each of some choices, ranges as lines."""
    data = pd.DataFrame(rows)
    x = alt.X("x:N", sort=list(order), title=x_title, axis=alt.Axis(labelAngle=-35, labelLimit=150))
    y = alt.Y("low:Q", title=y_title, scale=alt.Scale(zero=True), axis=alt.Axis(tickCount=5, labelExpr="format(datum.value, ',')"))
    apart = alt.XOffset("build:N", sort=list(names))
    hint = [alt.Tooltip("build:N", title="Build"), alt.Tooltip("x:N", title=x_title), alt.Tooltip("text:N", title=y_title),
            alt.Tooltip("span:N", title="Range")]  # fmt: skip
    base = alt.Chart(data)
    line = base.mark_rule(strokeWidth=4, opacity=0.35, strokeCap="round").encode(
        x=x, xOffset=apart, y=y, y2="high:Q", color=_colour(names, legend=True)
    )
    point = base.mark_point(filled=True, size=90, opacity=1).encode(
        x=x, xOffset=apart, y="amount:Q", color=_colour(names, legend=True), tooltip=hint
    )
    st.altair_chart(alt.layer(line, point).properties(height=340), width="stretch", key=key, alt=f"{y_title} by {x_title}")


def heat(rows: Rows, *, x_title: str, y_title: str, title: str, x_order: Sequence[str], y_order: Sequence[str], key: str) -> None:
    """A metric over two knobs: one cell a pair of values, its number in it; what does not run is empty."""
    data = pd.DataFrame(rows)
    base = alt.Chart(data).encode(
        x=alt.X("x:N", sort=list(x_order), title=x_title, axis=alt.Axis(labelAngle=0, labelOverlap=True)),
        y=alt.Y("y:N", sort=list(y_order), title=y_title),
    )
    cells = base.mark_rect(cornerRadius=2).encode(
        color=alt.Color("amount:Q", legend=None, scale=alt.Scale(type="log", range=[_LOW, _HIGH])),
        tooltip=[alt.Tooltip("x:N", title=x_title), alt.Tooltip("y:N", title=y_title), alt.Tooltip("text:N", title=title)],
    )
    text = base.mark_text(fontSize=11).encode(text="short:N", color=alt.condition("datum.dark", alt.value("#ffffff"), alt.value(_INK)))
    st.markdown(f"**{title}**")
    st.altair_chart(alt.layer(cells, text).properties(height=_CELL), width="stretch", key=key, alt=f"{title} over {x_title} and {y_title}")


def who(rows: Rows, *, names: Sequence[str], x_title: str, y_title: str, x_order: Sequence[str], y_order: Sequence[str], key: str) -> None:
    """Which build is best at each pair of values; faint where it is too close to call."""
    data = pd.DataFrame(rows)
    base = alt.Chart(data).encode(
        x=alt.X("x:N", sort=list(x_order), title=x_title, axis=alt.Axis(labelAngle=0, labelOverlap=True)),
        y=alt.Y("y:N", sort=list(y_order), title=y_title),
    )
    shades = alt.Scale(domain=[*names, *(f"{name}?" for name in names)], range=[*_BEST[: len(names)], *_CLOSE[: len(names)]])
    cells = base.mark_rect(cornerRadius=2).encode(
        color=alt.Color("shade:N", scale=shades, legend=alt.Legend(title=None, orient="top", values=list(names))),
        tooltip=[alt.Tooltip("x:N", title=x_title), alt.Tooltip("y:N", title=y_title), alt.Tooltip("build:N", title="Best"),
                 alt.Tooltip("text:N", title="By")],
    )  # fmt: skip
    text = base.mark_text(fontSize=11, color=_INK).encode(text="text:N")
    st.altair_chart(alt.layer(cells, text).properties(height=_CELL), width="stretch", key=key, alt=f"Which build is best over {x_title}")


def against_api(rows: Rows, *, names: Sequence[str], api: Sequence[float], key: str) -> None:
    """Cost of a million output tokens over the share of the time in use, with the API's as a dashed rule."""
    data = pd.DataFrame(rows)
    x = alt.X("x:Q", title="share of the time in use", axis=alt.Axis(format="%", tickCount=6))
    y = alt.Y("amount:Q", title="$ a million output tokens", scale=alt.Scale(type="log"), axis=alt.Axis(format="~g", tickCount=6))
    hint = [alt.Tooltip("build:N", title="Build"), alt.Tooltip("x:Q", title="In use", format=".0%"), alt.Tooltip("text:N", title="Cost")]
    base = alt.Chart(data)
    path = base.mark_line(strokeWidth=2.3).encode(x=x, y=y, color=_colour(names, legend=True))
    points = base.mark_point(filled=True, size=40, opacity=1).encode(x=x, y=y, color=_colour(names), tooltip=hint)
    rule = alt.Chart(pd.DataFrame({"amount": sorted(set(api))})).mark_rule(strokeDash=[5, 4], color=LIMIT, strokeWidth=1.8)
    mark = alt.Chart(pd.DataFrame({"amount": [max(api)], "text": ["API"], "x": [0.05]})).mark_text(
        align="left", dy=-8, color=LIMIT, fontWeight=600
    )
    st.altair_chart(
        alt.layer(path, points, rule.encode(y=y), mark.encode(x=x, y=y, text="text:N")).properties(height=320),
        width="stretch", key=key, alt="Cost of a million output tokens over the share of the time in use",
    )  # fmt: skip
