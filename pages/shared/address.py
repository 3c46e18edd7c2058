"""The address of a page is its scenario: names from a link made exact, what only a link can say, and what goes from page to page.

Controls of the form carry their values from page to page themselves, for the frame draws them. What no control holds is kept here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

from core import choices
from core.choices import ARRIVALS, AUTO, CUSTOM, NONE, NUMA, SPLITS, VISION
from core.errors import RoofcastError
from core.inspect_model import inspect_model
from pages.shared import further, knobs
from pages.shared.words import escape

LINKED = "_linked"  # in the session: what the address alone holds, by knob
_ALONE = {*knobs.LINK_ONLY, *knobs.IN_ADDRESS}
_TITLED = {"split": SPLITS, "numa": NUMA, "vision": VISION}  # lists whose address holds titles
_PAGE, _ASKED, _NOTICES, _WANTED = "_page", "_page_asks", "_link_notices", "_wanted_model"


def turn(page: str, *, asks: bool) -> None:
    """Before anything of a page is drawn: what a link says is read once a page is turned to, if the page `asks` for a scenario."""
    state = st.session_state
    before, asked_before = state.get(_PAGE), state.get(_ASKED, False)
    state[_PAGE], state[_ASKED] = page, asks
    if not asks:
        return
    query = {key: text for key, text in st.query_params.to_dict().items() if not key.startswith("embed")}
    if before == page:
        state[LINKED] = {key: text for key, text in query.items() if key in _ALONE}
        return
    state.pop(_WANTED, None)
    kept, state[_NOTICES] = _exact_link(query)
    if before is not None:
        if not asked_before:
            _make_room(kept)
        kept = state.get(LINKED, {}) | kept
    state[LINKED] = {key: text for key, text in kept.items() if key in _ALONE}
    if kept != query:
        # Bound controls read the address when they are first drawn: correct it first, then start over.
        for key in set(query).difference(kept):
            del st.query_params[key]
        st.query_params.update({key: text for key, text in kept.items() if query.get(key) != text})
        st.rerun()


def _make_room(kept: Mapping[str, str]) -> None:
    """Another page leads here with a scenario, which replaces all, or with a device, which replaces machine and instance."""
    if "model" in kept and "device" in kept:
        st.session_state.pop(LINKED, None)
        replaced = {*knobs.LISTS, *knobs.SWITCHES, *knobs.NUMBERS, *knobs.TEXTS}
    elif "device" in kept:
        st.session_state.get(LINKED, {}).pop(further.KEY, None)
        replaced = {"profile", "instance", "ram_gb", "usd_per_h", "host_link", "tensor_split"}
    else:
        return
    for key in replaced.difference(kept):
        st.session_state.pop(key, None)


def put(key: str, item: Any) -> None:
    """Write what no control holds into the address; None or "" takes it out."""
    if item:
        st.query_params[key] = f"{item}"
    else:
        st.query_params.pop(key, None)


def show_notices() -> None:
    """Say what was wrong with the address that this page was opened with: one sentence each."""
    notices = [escape(notice) for notice in st.session_state.get(_NOTICES, [])]
    if notices:
        st.warning("\n".join(f"- {notice}" for notice in notices) if len(notices) > 1 else notices[0])


def wanted_model() -> str:
    """The model that the link names and that is not here, "" where there is none."""
    return str(st.session_state.get(_WANTED, ""))


def forget_wanted() -> None:
    """The model that the link named is here now."""
    st.session_state.pop(_WANTED, None)
    st.session_state[_NOTICES] = []


def _exact_link(asked: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    kept: dict[str, str] = {}
    notices: list[str] = []
    runtime = choices.RUNTIME
    known = {*knobs.LISTS, *knobs.SWITCHES, *knobs.NUMBERS, *knobs.TEXTS, *knobs.IN_ADDRESS, *knobs.LINK_ONLY, *knobs.ELSEWHERE}
    for key in sorted(asked, key=lambda k: k != "runtime"):
        text = asked[key]
        if key not in known:
            notices.append(f"The link sets “{key}”, which is no control of this page; it was ignored.")
            continue
        try:
            kept[key] = _exact(key, text, runtime)
        except RoofcastError as error:
            notices.append(f"The link's “{key}” was ignored: {error}")
            if key == "model":
                st.session_state[_WANTED] = text
            continue
        if key == "runtime":
            runtime = kept[key]
    if "profile" in kept and kept["profile"] != CUSTOM and "device" not in kept:
        kept |= {key: f"{item}" for key, item in choices.profile_knobs(kept["profile"]).items()} | kept
    if "instance" in kept and kept["instance"] != NONE and "device" not in kept:
        kept |= {key: f"{item}" for key, item in choices.instance_knobs(kept["instance"]).items() if item is not None} | kept
    return kept, notices


def _exact(key: str, text: str, runtime: str) -> str:
    if key in knobs.ELSEWHERE:
        return text
    if key == "arrival":
        found = {name: title for name, title in ARRIVALS.items() if text in (name, title)}
        return next(iter(found.values()), ARRIVALS["closed"])
    if key in _TITLED:
        return _TITLED[key].get(choices.exact(key, text), _TITLED[key][AUTO])
    if key == "host_link":
        return further.link_title(choices.exact(key, text) if text != further.SLOT else AUTO)
    if key == "request_rate_per_s" and not text:
        return ""
    item = choices.exact(key, text, runtime)
    if key == "model":
        inspect_model(item)  # fields set by hand may make no sense
    return str(item).lower() if isinstance(item, bool) else f"{item}"


def linked() -> dict[str, Any]:
    """What only a link can set, told below the form. It stays in the address until it is dropped."""
    found = {key: text for key, text in st.query_params.to_dict().items() if key in knobs.LINK_ONLY}
    if found:
        st.caption("From the link: " + escape("; ".join(f"{key.replace('_', ' ')} {text}" for key, text in found.items())) + ".")
        if st.button("Drop these", key="drop-linked"):
            for key in found:
                del st.query_params[key]
            st.rerun()
    return found
