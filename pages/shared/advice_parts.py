"""What would help most: the single changes, each with its gain, its price and buttons to see it and to compare it."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from core.advice import Advice, Option, advise, gain_words, per_usd_words, price_words
from core.changes import LEVERS
from core.crossing import DRAWN
from core.errors import RoofcastError
from core.scenario import Scenario
from core.sweep import answer
from core.words import answer_sentence
from pages.shared import controls, progress, what_if_add, what_if_state
from pages.shared.words import escape

_GOALS = ("decode_rate", "ttft", "output_rate", "usd_per_million")
_ABOUT = (
    "Each line is one change alone, estimated as everything here. Free changes come first, then what is bought, by gain for the money; "
    "prices are the catalog's: launch prices of cards alone, list prices of rent, guesses for whole machines. What the old one brings is "
    "not counted."
)
_UNSURE = "Better by the medians, but by less than two such estimates may be off."
_ORDER = {"free": "At no cost", "bought": "For money", "less": "Asking less"}


def draw(scenario: Scenario, *, form: bool = True) -> None:
    """The goal, the sentence and the options. `form`: whether the page has the form that "Show this" fills in."""
    metric = st.segmented_control(
        "What should get better?", list(_GOALS), default=None, format_func=lambda key: DRAWN[key].title, key="advice_goal",
    )  # fmt: skip
    heard = progress.bar("Estimating what might help …")
    try:
        found = advise(scenario, metric, progress=heard)
    except RoofcastError as error:
        heard(1.0)
        st.info(escape(str(error)))
        return
    heard(1.0)
    st.markdown(f"**{escape(found.sentence)}**")
    st.caption(f"Judged by “{DRAWN[found.metric].title}”. {_ABOUT} {found.tried} changes were estimated.")
    groups: dict[str, list[Option]] = {}
    for option in found.options:
        kind = "less" if option.change.less else "bought" if option.change.bought else "free"
        groups.setdefault(kind, []).append(option)
    for kind, title in _ORDER.items():
        if kind in groups:
            st.markdown(f"##### {title}")
            _options(found, groups[kind], kind, form)
    if found.unsure:
        with st.expander(f"Too close to call: {len(found.unsure)}"):
            st.caption(_UNSURE)
            _options(found, found.unsure, "unsure", form)


def upgrade() -> None:
    """What would help the scenario that was asked last, for a page without the form."""
    asked = what_if_state.current()
    try:
        found = answer(asked)
    except RoofcastError as error:
        st.info(escape(str(error)))
        return
    st.markdown(f"For what you asked last: {escape(answer_sentence(found))}")
    st.page_link("estimate.py", label="Ask for another model or machine", icon=":material/arrow_back:")
    draw(asked, form=False)


def _options(found: Advice, options: Sequence[Option], kind: str, form: bool) -> None:
    for place, option in enumerate(options):
        with st.container(border=True):
            left, right = st.columns([5, 2], vertical_alignment="center")
            change = option.change
            price = escape(price_words(option))
            about = "; ".join(filter(None, (change.price.words if change.price else "", option.note)))
            worth = f" · {escape(per_usd_words(option))}" if option.per_usd is not None else ""
            left.markdown(
                f"**{escape(change.text)}**  \n{escape(gain_words(option, found.metric))} · {price}{worth}  \n"
                f":gray[:small[{escape(LEVERS[change.lever])}{': ' + escape(about) if about else ''}]]"
            )
            with right.container(horizontal=True, gap="small", vertical_alignment="center", horizontal_alignment="right"):
                if form:
                    st.button("Show this", key=f"advice-{kind}-{place}", on_click=controls.apply, args=(change.knobs,))
                what_if_add.link(found.scenario, option.scenario)
