"""The parts of "What should I buy?": three cards a side, the front, the list, the funnel."""

from __future__ import annotations

from urllib.parse import parse_qsl

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from core import solve_words as texts
from core.answer import Estimate
from core.estimate import launch
from core.goal import Goal
from core.solve_tables import figures, funnel_rows, listed_rows, on_host, price_note
from core.solve_tiers import TIERS, Option, Tiered
from core.solved import GATES, Candidate, Solved
from core.sweep import answer
from core.words import model_name
from pages.shared import evidence, number, target_charts, what_if_add
from pages.shared.words import CLICK, CORRECTED, escape

_FITS = {"in_vram": ("in device memory", "green"), "with_offload": ("part of it in host memory", "orange")}
Places = list[tuple[Estimate, DeltaGenerator]]


def cards(found: Tiered) -> Places:
    """Every side with its three tiers. Returns where the badges of what to trust go, which come last."""
    places: Places = []
    for side in found.sides:
        st.subheader(texts.SIDE_NAMES[side], anchor=False)
        seen: dict[str, str] = {}
        if not any(found.options[side, tier].candidate for tier in TIERS):
            least = found.options[side, next(iter(TIERS))]
            st.markdown(f"Nothing does. :gray[{escape(f'Nearest: {least.why}')}]")
            continue
        for tier, column in zip(TIERS, st.columns(len(TIERS), gap="medium"), strict=True):
            with column:
                _card(found.goal, found.options[side, tier], seen, places)
    st.caption(f"{CORRECTED} {CLICK}")
    return places


def _card(goal: Goal, option: Option, seen: dict[str, str], places: Places) -> None:
    title, about = TIERS[option.tier]
    key = f"{option.side}-{option.tier}"
    with st.container(border=True, key=f"target-{key}"):
        st.markdown(f"**{title}**", help=about)
        if option.candidate is None:
            st.markdown("Nothing does.")
            st.caption(escape(f"Nearest: {option.why}"))
            return
        candidate = option.candidate
        what = ", ".join(filter(None, [f"{_model(goal, candidate)}{texts.way(candidate)}", texts.caps(goal, candidate)]))
        if what in seen:
            st.markdown(f"{escape(what)}  \n:gray[{escape(f'The same as “{seen[what]}”: it has that to spare.')}]")
            return
        seen[what] = title
        _option(goal, option, candidate, key, places)


def _option(goal: Goal, option: Option, candidate: Candidate, key: str, places: Places) -> None:
    where, colour = _FITS[candidate.fits]
    away = f", {found}" if (found := on_host(candidate)) else ""
    st.markdown(f"**{escape(texts.machines(candidate))}**  \n{escape(f'{_model(goal, candidate)}{texts.running(candidate)}{away}')}")
    said = [texts.how_many(candidate), *filter(None, [texts.caps(goal, candidate)])]
    st.markdown(" ".join([f":{colour}-badge[{where}]", *(f":gray-badge[{escape(text)}]" for text in said)]))
    with st.grid(min_column_width=94, gap="small"):
        for figure in figures(goal, candidate):
            number.tile(figure.label, figure.number, figure.shown, key=f"{key}-{figure.key}", span=figure.span, note=figure.note)
    places.append((answer(candidate.scenario), evidence.place()))
    if option.gives_way:
        st.caption(escape(option.gives_way))
    with st.expander("How to start it"):
        st.code(launch(answer(candidate.scenario)), language="bash", wrap_lines=True)
        st.caption(escape(f"Price: {price_note(candidate.machine)}. {texts.quality_words(candidate)}"))
    with st.container(horizontal=True, gap="small"):
        st.page_link("estimate.py", label="Open", icon=":material/speed:", query_params=dict(parse_qsl(candidate.scenario.to_query())))
        what_if_add.link(candidate.scenario)


def _model(goal: Goal, candidate: Candidate) -> str:
    """Which model it is, where there is a choice: "Qwen3-8B, "."""
    return f"{model_name(candidate.scenario.model)}, " if len(goal.models) > 1 else ""


def trust(places: Places) -> None:
    """What to trust of each card, once the runs were looked at."""
    for estimate, place in places:
        evidence.badges(estimate, place, why=True)


def alternatives(solved: Solved) -> None:
    """The front as a chart, and every way that meets the goal."""
    st.subheader("Everything that meets it", anchor=False)
    if not solved.ranked:
        st.caption("Nothing does; what came nearest stands below.")
        return
    target_charts.front(solved)
    rows = listed_rows(solved)
    st.dataframe(
        rows, hide_index=True, height=420 if len(rows) > 10 else "content", key="target-list",
        column_config={
            "$ a month": st.column_config.NumberColumn(format="$%.0f"),
            "$ to buy": st.column_config.NumberColumn(format="$%.0f"),
            "First token, s": st.column_config.NumberColumn(format="%.2f"),
            "Room, tokens": st.column_config.NumberColumn(format="localized", help="That each user has"),
            "Decode each, tok/s": st.column_config.NumberColumn("tok/s each", format="%.1f", help="Decode speed that each user sees"),
            "Decode each, p10": st.column_config.NumberColumn("p10", format="%.1f", help="Slow end of its range"),
            "All, tok/s": st.column_config.NumberColumn("tok/s all", format="%.0f", help="Of all users and machines"),
            "Loss, points": st.column_config.NumberColumn(format="%.1f"),
            "Power, W": st.column_config.NumberColumn(format="%.0f"),
            "Loses": st.column_config.TextColumn(width="large", help="Against one that is better or as good in all"),
        },
    )  # fmt: skip
    st.caption(escape(texts.order_words(solved.goal)))


def funnel(solved: Solved) -> None:
    """Where the candidates went, and what came nearest to each gate."""
    st.subheader("What fell away, and why", anchor=False)
    target_charts.funnel(funnel_rows(solved))
    for gone in solved.rejected:
        if gone.count:
            st.markdown(
                f"**{GATES[gone.gate][0].upper()}{GATES[gone.gate][1:]}** turned {gone.count:,} away. :gray[{escape(gone.sentence)}]"
            )
    st.caption(escape(texts.funnel_words(solved)))
