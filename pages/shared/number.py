"""The clickable number: a click opens the way it was made, level by level down to the sources."""

from __future__ import annotations

from typing import Any

import streamlit as st

from core import tree
from core.quantity import Quantity, explain
from core.tree import Level, Line
from pages.shared.words import escape

_PATH = "_explain_path"
_BADGES = {
    "datasheet": "blue",
    "model's config": "blue",
    "you": "violet",
    "assumption": "orange",
    "measured": "green",
    "fitted": "green",
    "solved": "gray",
    "definition": "gray",
    "number": "gray",
}


def tile(label: str, number: Any, shown: str, *, key: str, span: str = "", note: str = "", help: str | None = None) -> None:
    """A number with its label above, its range and a note below; clicking it explains it."""
    with st.container(key=f"tile-{key}"):
        st.caption(label, help=help)
        _button(shown, number, f"number-{key}")
        if span:
            st.markdown(f":gray[{escape(span)}]")
        if note:
            st.caption(note)


def line(number: Any, shown: str, *, key: str) -> None:
    """A number in a line of text size that explains itself when clicked."""
    with st.container(key=f"line-{key}"):
        _button(shown, number, f"number-{key}")


def _button(shown: str, number: Any, key: str) -> None:
    cited = isinstance(number, Quantity)
    if st.button(
        escape(shown),
        key=key,
        type="tertiary",
        disabled=not cited,
        help="Show how this was calculated" if cited else None,
    ):
        st.session_state[_PATH] = []
        _explain(number)


@st.dialog("Where this number comes from", width="large")
def _explain(root: Quantity) -> None:
    path: list[str] = st.session_state.setdefault(_PATH, [])
    node = tree.at(root, path)
    _trail(root, path)
    _level(tree.level(node), path)
    behind = tree.guesses(node)
    if node.formula is not None and behind:
        with st.expander(f"Assumed behind this number: {len(behind)}"):
            for leaf in behind:
                source = leaf.source
                guess = " :orange-badge[a guess]" if source and source.guess else ""
                about = escape(source.title) if source else ""
                st.markdown(f"**{escape(leaf.name)}** {escape(tree.amount(leaf, leaf.unit))}{guess}  \n:gray[{about}]")
    with st.expander("The whole tree as text"):
        st.code(explain(node), language=None, wrap_lines=True, height=320)


def _trail(root: Quantity, path: list[str]) -> None:
    """The way from the number that was clicked to the one shown; each step leads back."""
    if not path:
        return
    with st.container(horizontal=True, gap="small", vertical_alignment="center", key="trail"):
        for depth in range(len(path)):
            name = tree.title(tree.at(root, path[:depth]).name)
            if st.button(f"{escape(name)} ›", key=f"trail-{depth}", type="tertiary"):
                _go(path[:depth])


def _go(path: list[str]) -> None:
    st.session_state[_PATH] = list(path)
    st.rerun(scope="fragment")


def _level(level: Level, path: list[str]) -> None:
    with st.container(key="explained"):
        st.markdown(f"**{escape(level.name)}**")
        with st.container(key="explained-value"):
            st.markdown(escape(level.shown))
        if level.meaning:
            st.markdown(escape(level.meaning))
    if level.formula:
        st.code(f"{level.formula}\n= {level.numbers}" if level.numbers else level.formula, language=None, wrap_lines=True)
        where = f"[{escape(level.reference)}]({level.reference_url})" if level.reference_url else escape(level.reference)
        st.caption(f"Formula as it ran. Source: {where}")
        with st.container(key="inputs"):
            for index, item in enumerate(level.lines):
                _input(item, index, path)
            if level.left_out:
                st.caption(f"and {level.left_out} smaller ones")
    else:
        _source(level)


def _input(item: Line, index: int, path: list[str]) -> None:
    with st.container(key=f"step-{index}", border=True, gap=None):
        with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
            if item.opens:
                if st.button(f"{escape(item.name)} ›", key=f"step-button-{index}", type="tertiary"):
                    _go([*path, item.key])
            else:
                st.markdown(escape(item.name))
            share = f" :gray[({item.share:.0%})]" if item.share is not None else ""
            st.markdown(f"**{escape(item.shown)}**{share}", width="content")
        about = [f"`{item.key}`"] if tree.title(item.key) != item.name else []
        if item.kind:
            about.append(f":{_BADGES.get(item.kind, 'gray')}-badge[{item.kind}]")
        if item.guess:
            about.append(":orange-badge[a guess]")
        if item.source:
            about.append(escape(item.source))
        if about:
            st.caption(" ".join(about))


def _source(level: Level) -> None:
    """A number that comes from outside: who says so, how sure that is."""
    source = level.source
    badges = f":{_BADGES.get(level.kind, 'gray')}-badge[{level.kind}]"
    if source is not None and source.guess:
        badges += " :orange-badge[a guess: no document states it]"
    st.markdown(badges)
    if source is None:
        return
    st.markdown(f"[{escape(source.title)}]({source.url})" if source.url else escape(source.title))
    if level.span:
        st.markdown(f"Plausible range: **{escape(level.span)}**")
    if level.default:
        st.markdown(f"If you had not set it: **{escape(level.default)}**")
    if source.note:
        st.caption(escape(source.note))
    if source.licence:
        st.caption(f"Licence: {escape(source.licence)}")
