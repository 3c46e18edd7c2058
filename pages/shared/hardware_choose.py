"""The table of all devices, what narrows it, and which devices are looked at: those stand in the address."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from core.catalog import own_hardware
from core.catalog.hardware import Device
from core.hardware_library import MOST, find, matching, row
from pages.shared import own_devices
from pages.shared.words import escape

CHOSEN, _TEXT, _VENDORS, _CLASSES, _NOTICES = "devices", "hardware_text", "hardware_vendors", "hardware_classes", "_hardware_notices"
_RATE = "Dense, TFLOP/s (INT8: TOP/s); empty: nobody published it. Products with FP32 sums."
_HELP = {"GB": "Memory, as marketed", "GB/s": "Memory bandwidth", "W": "Rated power", "Launch $": "Launch price",
         "$/h": "Lowest price on demand of one device in a cloud instance, US dollars an hour",
         "Link": "Fastest link between two of them"} | dict.fromkeys(("FP32", "FP16", "BF16", "FP8", "INT8", "FP4"), _RATE)  # fmt: skip


def draw(devices: Sequence[Device]) -> list[Device]:
    """Draw title, filters, table and list; the devices to look at, at most MOST."""
    st.title("Hardware", anchor=False)
    st.caption(
        f"{len(devices)} devices with the source of every figure. Choose up to {MOST} in the table or the list; the address keeps "
        "them. Where nobody published a figure it stays empty; it is never made up."
    )
    _read_link()
    shown = _filtered(devices)
    _table(shown)
    names = [own_hardware.listed(device) for device in devices]
    if CHOSEN in st.session_state:
        st.session_state[CHOSEN] = [name for name in st.session_state[CHOSEN] if name in names]
    picked = st.multiselect(
        "Look at",
        names,
        max_selections=MOST,
        key=CHOSEN,
        bind="query-params",
        placeholder="Choose devices: type to search",
    )
    for notice in st.session_state.pop(_NOTICES, []):
        st.warning(escape(notice))
    return find(picked)[0]


def choose(names: Sequence[str]) -> None:
    """Sets which devices are looked at; for a button's callback, before the list is drawn."""
    st.session_state[CHOSEN] = list(names)[:MOST]


def _read_link() -> None:
    """Once a session: the address may name devices by id, alias or as a whole record; the list wants exact names."""
    if CHOSEN in st.session_state:
        return
    asked = st.query_params.get_all(CHOSEN)
    found, wrong = find(asked)
    exact = [own_hardware.listed(device) for device in found]
    if wrong:
        st.session_state[_NOTICES] = [f"The link's device was passed over: {sentence}" for sentence in wrong]
    unknown = [name for name in exact if "?" in name and name not in own_devices.of_session()]
    for name in unknown:
        own_devices.remember(name)
    if exact != asked:
        if exact:
            st.query_params[CHOSEN] = exact
        elif CHOSEN in st.query_params:
            del st.query_params[CHOSEN]
    if exact != asked or unknown:
        st.rerun()


def _filtered(devices: Sequence[Device]) -> list[Device]:
    text, vendors, classes = st.columns([2, 1.5, 1.5])
    return matching(
        devices,
        text.text_input(
            "Search", key=_TEXT, bind="query-params", placeholder="name, maker, architecture: “4090”, “Hopper”", icon=":material/search:"
        ),
        vendors.multiselect("Vendor", sorted({device.vendor for device in devices}), key=_VENDORS, bind="query-params", placeholder="all"),
        classes.multiselect(
            "Class", sorted({device.device_class for device in devices}), key=_CLASSES, bind="query-params", placeholder="all"
        ),
    )


def _table(shown: Sequence[Device]) -> None:
    if not shown:
        st.info("No device is left by these filters. Search by a part of the name, or describe your own under “Edit or add”.")
        return
    number = st.column_config.NumberColumn
    plain = {
        name: number(name, format="localized", help=_HELP[name])
        for name in ("GB", "GB/s", "FP32", "FP16", "BF16", "FP8", "INT8", "FP4", "W", "Launch $")
    }
    st.dataframe(
        pd.DataFrame([row(device) for device in shown]),
        hide_index=True,
        height=330,
        placeholder="",
        selection_mode="multi-row",
        key=f"hardware-table-{_filter()}",
        on_select=_selected,
        column_config={
            **plain,
            "Device": st.column_config.TextColumn("Device", width=190, pinned=True),
            "Year": number("Year", format="%d"),
            "$/h": number("$/h", format="%.2f", help=_HELP["$/h"]),
            "Whose price, when": st.column_config.TextColumn(
                "Whose price, when", width=210, help="Provider, instance, place and day of “$/h”"
            ),
            "Link": st.column_config.TextColumn("Link", help=_HELP["Link"]),
        },
    )
    st.session_state["_hardware_listed"] = [own_hardware.listed(device) for device in shown]
    st.caption(f"{len(shown)} devices. FP32 to FP4: dense TFLOP/s (INT8: TOP/s).")


def _filter() -> str:
    return "|".join(str(st.session_state.get(key, "")) for key in (_TEXT, _VENDORS, _CLASSES))


def _selected() -> None:
    """Rows that were ticked become the devices to look at."""
    listed = st.session_state.get("_hardware_listed", [])
    state = st.session_state.get(f"hardware-table-{_filter()}")
    rows = state["selection"]["rows"] if state else []
    choose([listed[at] for at in rows if at < len(listed)])
