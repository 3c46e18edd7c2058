"""Devices as files: out, and in from three forms of JSON."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from core.catalog import own_hardware
from core.catalog.hardware import Device
from core.errors import CatalogError
from core.hardware_exchange import FILE_NAME, Imported, export, read
from core.hardware_library import changed, summary
from pages.shared import hardware_choose, own_devices
from pages.shared.words import escape

_STORED = "_hardware_stored"


def draw(chosen: Sequence[Device]) -> None:
    """A button that saves the chosen devices, and a place for a file."""
    left, right = st.columns(2, gap="large")
    with left:
        st.markdown("**Export**")
        st.caption("The devices chosen above as JSON: what each started from, what was set, and the whole record for other tools.")
        st.download_button(
            "Save as JSON",
            export(chosen),
            FILE_NAME,
            "application/json",
            disabled=not chosen,
            icon=":material/download:",
            key="hardware-export",
        )
    with right:
        st.markdown("**Import**")
        st.caption("Roofcast's own JSON, Mantile's hardware configurations, or hardware profiles with gpus, interconnect and cpu.")
        file = st.file_uploader("JSON file", type=["json"], key="hardware-file", label_visibility="collapsed", max_upload_size=1)
    if file is not None:
        try:
            _imported(read(file.getvalue()))
        except CatalogError as error:
            st.warning(escape(str(error)))


def _imported(found: Imported) -> None:
    st.markdown(f"**In the file: {len(found.devices)} device{'s' if len(found.devices) != 1 else ''}**")
    for device in found.devices:
        base = own_hardware.base_of(device)
        if not own_hardware.is_own(device):
            st.markdown(f"- {escape(device.name)}: as shipped")
        elif base is None:
            st.markdown(f"- {escape(device.name)}: new; {escape(summary(device))}")
        else:
            told = "; ".join(f"{what} {old} → {new}" for what, old, new in changed(device, base) if what != "name")
            st.markdown(f"- {escape(device.name)}, against {escape(base.name)}: {escape(told) or 'another name'}")
    for note in found.notes:
        st.caption(escape(note))
    store = own_hardware.may_store() and st.checkbox("Also store them on this computer", key="hardware-store-imported")
    st.button("Take these devices", type="primary", key="hardware-take", on_click=_take, args=(found.devices, store))
    for wrong in st.session_state.get(_STORED, []):
        st.warning(escape(wrong))
    for name, knobs in found.systems.items():
        asked = {knob: f"{amount}" for knob, amount in knobs.items()}
        st.page_link("estimate.py", label=f"Estimate on {escape(name)}", icon=":material/speed:", query_params=asked)


def _take(devices: list[Device], store: bool) -> None:
    wrong = []
    for device in reversed(devices):
        if own_hardware.is_own(device):
            own_devices.remember(device.id)
            try:
                if store:
                    own_hardware.store(device)
            except CatalogError as error:
                wrong.append(str(error))
    st.session_state[_STORED] = wrong
    hardware_choose.choose([own_hardware.listed(device) for device in devices])
