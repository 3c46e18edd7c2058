"""The runs of a visitor's session: they live as long as it does, and shift the estimates that this visitor sees."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import TypeVar

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

from core import calibrate
from core.records import RunRecord

_KEY, _MADE, _MOST = "_session_runs", "_session_made", 12
_T = TypeVar("_T")


def of_session() -> tuple[RunRecord, ...]:
    """The session's runs; none outside of a session."""
    return tuple(st.session_state.get(_KEY, ())) if get_script_run_ctx(suppress_warning=True) else ()


def add(records: Sequence[RunRecord]) -> None:
    """Adds runs to the session, each once."""
    known = {record.run_id: record for record in (*of_session(), *records)}
    st.session_state[_KEY] = list(known.values())


def drop(run_ids: Sequence[str]) -> None:
    """Takes runs out of the session."""
    st.session_state[_KEY] = [record for record in of_session() if record.run_id not in run_ids]


def install() -> None:
    """Has every estimate of this process look at the session that asks for it."""
    calibrate.of_session(of_session)


def names(records: Sequence[RunRecord]) -> tuple[str, ...]:
    """What runs are remembered by."""
    return tuple(record.run_id for record in records)


def remembered(key: Hashable, make: Callable[[], _T]) -> _T:
    """What `make` gives, made once for a key as long as the session remembers: a page is drawn again at every click."""
    made: dict[Hashable, _T] = st.session_state.setdefault(_MADE, {})
    if key not in made:
        made[key] = make()
        for old in list(made)[:-_MOST]:
            del made[old]
    return made[key]
