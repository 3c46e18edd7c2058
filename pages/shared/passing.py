"""From one page to another with a scenario, within the session.

Streamlit drops from a link what a control of the page that is left is bound to, so the scenario travels as one parameter and
is spread over the address when the other page opens.
"""

from __future__ import annotations

from urllib.parse import parse_qsl

import streamlit as st

from core.scenario import Scenario
from pages.shared import controls

_PARCEL = "scenario"


def packed(scenario: Scenario, **more: str) -> dict[str, str]:
    """The query of a link to another page; `more` are that page's own parameters."""
    return {_PARCEL: scenario.to_query(), **more}


def unpack() -> None:
    """Spread what a link brought over the address, then start over."""
    if _PARCEL not in st.query_params:
        return
    brought = dict(parse_qsl(st.query_params.to_dict()[_PARCEL]))
    rest = {key: text for key, text in st.query_params.to_dict().items() if key != _PARCEL}
    st.query_params.from_dict({**brought, **rest})
    controls.read_again()
    st.rerun()
