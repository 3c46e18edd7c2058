"""Further cards beside the first kind: a row for each in the form, and one more to add another.

The address alone keeps them, as the scenario writes them; a row's widgets are made from it and write it anew.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import streamlit as st

from core import choices
from core.cards import MOST, Cards, read_cards, write_cards
from core.choices import AUTO, NONE
from pages.shared import own_devices

KEY = "others"
SLOT = "its own slot"


def draw(given: dict[str, Any], changed: Callable[[], None]) -> None:
    """Draw the rows and put what they say into `given`; `changed` is called before a change is taken over."""
    text = st.query_params.get(KEY, "")
    cards = read_cards(text)
    for place, card in enumerate(cards):
        _row(place, card, cards, changed)
    names = [NONE, *choices.device_names(own_devices.of_session())]
    st.selectbox(
        "Add a card" if not cards else "Add another card",
        names,
        key=_key(len(cards), None, "device"),
        on_change=_add,
        args=(cards, changed),
        help="Cards of another kind in the same machine: llama.cpp and its kin deal the layers out over all of them.",
    )
    given[KEY] = text or None


def link_title(name: str) -> str:
    """A link between host and card as the list shows it."""
    return SLOT if name == AUTO else choices.link_name(name)


def clear() -> None:
    """Take all further cards away."""
    st.query_params.pop(KEY, None)


def _key(place: int, card: Cards | None, what: str) -> str:
    return f"further-{place}-{what}-{card or ''}"  # a row that changed is another row: no widget keeps what it said before


def _row(place: int, card: Cards, cards: tuple[Cards, ...], changed: Callable[[], None]) -> None:
    told: dict[str, Any] = {"args": (place, card, cards, changed), "on_change": _change}
    names = [NONE, *choices.device_names([card.device, *own_devices.of_session()])]
    left, right = st.columns([2.6, 1])
    with left:
        st.selectbox("And" if place == 0 else "and", names, index=names.index(card.device), key=_key(place, card, "device"),
                     help="“none” takes the card away.", **told)  # fmt: skip
    with right:
        st.number_input("Count", 1, MOST, card.count, key=_key(place, card, "count"), **told)
    left, right = st.columns([1.6, 1])
    links = choices.host_link_names()
    with left:
        st.selectbox("joined by", links, index=links.index(card.host_link or AUTO), key=_key(place, card, "host_link"),
                     format_func=link_title, **told)  # fmt: skip
    with right:
        st.number_input("GiB", 0.1, 10_000.0, card.memory_gib, 1.0, key=_key(place, card, "memory_gib"), format="%g", placeholder=AUTO,
                        help="What programs can use on one of them, if you know better than the catalog.", **told)  # fmt: skip


def _change(place: int, card: Cards, cards: tuple[Cards, ...], changed: Callable[[], None]) -> None:
    said = {what: st.session_state.get(_key(place, card, what)) for what in ("device", "count", "host_link", "memory_gib")}
    if said["device"] in (NONE, None):
        rest = (*cards[:place], *cards[place + 1 :])
    else:
        said["host_link"] = None if said["host_link"] == AUTO else said["host_link"]
        rest = (*cards[:place], Cards.model_validate({**said, "count": said["count"] or 1}), *cards[place + 1 :])
    _write(rest, changed)


def _add(cards: tuple[Cards, ...], changed: Callable[[], None]) -> None:
    name = st.session_state.get(_key(len(cards), None, "device"))
    if name not in (NONE, None):
        _write((*cards, Cards(device=name)), changed)


def _write(cards: tuple[Cards, ...], changed: Callable[[], None]) -> None:
    changed()
    if cards:
        st.query_params[KEY] = write_cards(cards)
    else:
        clear()
