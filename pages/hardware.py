"""Hardware: every device with its facts and their sources, several side by side, and one's own."""

from __future__ import annotations

import streamlit as st

from core.hardware_library import everything
from pages.shared import (
    advice_parts,
    hardware_choose,
    hardware_edit,
    hardware_exchange,
    hardware_here,
    hardware_instances,
    hardware_parts,
    own_devices,
    what_if_add,
)

PARTS = {
    "Facts": hardware_parts.facts,
    "Side by side": hardware_parts.side_by_side,
    "Roofline": hardware_parts.roofline,
    "Cloud instances": lambda chosen: hardware_instances.draw(),
    "Upgrade advice": lambda chosen: advice_parts.upgrade(),
    "This machine": lambda chosen: hardware_here.draw(),
    "Edit or add": hardware_edit.draw,
    "Import and export": hardware_exchange.draw,
}

devices = everything(own_devices.of_session())
chosen = hardware_choose.draw(devices)
what_if_add.of_devices(chosen)
for tab, part in zip(st.tabs(list(PARTS), key="hardware_view", bind="query-params", on_change="rerun"), PARTS.values(), strict=True):
    if tab.open:
        with tab:
            part(chosen)
