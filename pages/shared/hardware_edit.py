"""Describe a device: one's own, from a shipped one or from nothing; kept in the session, and with consent on the disk."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args

import streamlit as st

from core.catalog import links, own_hardware
from core.catalog.hardware import Device
from core.errors import CatalogError
from core.hardware_library import KINDS, changed, estimate_knobs, find_all, link_name, unit
from pages.shared import hardware_choose, own_devices
from pages.shared.words import escape

_NEW = "nothing: a new device"
_DONE, _WRONG = "_hardware_done", "_hardware_wrong"
_GROUPS = {
    "What it is": ("name", "vendor", "device_class", "kind", "arch", "family", "compute_capability", "launch_year"),
    "Memory": ("memory_gb", "memory_usable_gib", "memory_type", "memory_bandwidth_gb_s", "measured_bandwidth_gb_s",
               "memory_decimal", "unified"),
    "Dense peaks": ("bf16_tflops", "fp16_tflops", "fp16_acc16_tflops", "fp32_tflops", "fp8_tflops", "int8_tops", "fp4_tflops"),
    "Of a processor": ("cpu_cores", "thread_bandwidth_gb_s"),
    "Links, power and price": ("interconnect", "interconnect_gb_s", "pcie_generation", "pcie_lanes", "tdp_w", "price_usd",
                               "cloud_usd_per_h"),
}  # fmt: skip
_HELP = {
    "measured_bandwidth_gb_s": "What a benchmark reads on your own device (clpeak, nvbandwidth, STREAM). It goes before the datasheet's.",
    "family": "The architecture whose kernels it runs like, such as Ada, Hopper, RDNA3: fitted efficiencies go by it.",
    "memory_usable_gib": "What the driver offers before any program runs, GiB. Empty: the marketed size less a usual reserve.",
    "memory_gb": "As marketed; GB are read as GiB unless the switch below is on.",
    "fp16_tflops": "With FP32 sums.",
    "cpu_cores": "Where they are all alike: --threads counts against them.",
    "thread_bandwidth_gb_s": "What a benchmark with one thread reads. Empty: a guess.",
    "int8_tops": "llama.cpp reads prompts with quantised weights at this rate.",
    "interconnect": "The fastest link between two of them.",
}


def draw(chosen: Sequence[Device]) -> None:
    """The form, what became of it, and the versions of the device that is looked at."""
    names = [own_hardware.listed(device) for device in chosen]
    start = st.selectbox(
        "Start from",
        [*names, _NEW],
        format_func=lambda name: name.partition("?")[0],
        key="hardware_start",
        help="Choose another device in the table to start from it.",
    )
    device = None if start == _NEW else next(iter(find_all([start])), None)
    _form(device)
    _tell()
    if device is not None and own_hardware.is_own(device):
        _own(device)
    for problem in own_hardware.problems():
        st.warning(escape(f"A stored device is passed over. {problem}"))


def _form(device: Device | None) -> None:
    ident = device.id if device else "new"
    with st.form(f"hardware-form-{ident}", border=True):
        for group, fields in _GROUPS.items():
            st.markdown(f"**{group}**")
            with st.grid(min_column_width=190, gap="small"):
                for field in fields:
                    _field(field, device, ident)
        store = False
        if own_hardware.may_store():
            store = st.checkbox(
                f"Also store it on this computer, in {own_hardware.own_folder()}",
                key=f"store-{ident}",
                help="Otherwise it lives in this session, and in any link to it.",
            )
        else:
            st.caption("Others use this server too, so nothing is stored: the device lives in this session, and in any link to it.")
        st.form_submit_button("Take this device", type="primary", on_click=_take, args=(device, ident, store))


def _field(field: str, device: Device | None, ident: str) -> None:
    label = _label(field)
    now = getattr(device, field) if device else None
    key, told = f"hw-{field}-{ident}", _HELP.get(field)
    kind = Device.model_fields[field].annotation
    if field == "interconnect":
        options = list(links.links())
        at = options.index(now) if now in options else None
        st.selectbox(label, options, index=at, format_func=link_name, key=key, help=told, placeholder="unknown")
    elif field in ("device_class", "kind"):
        options = list(get_args(kind))
        at = options.index(now) if now in options else None
        st.selectbox(label, options, index=at, format_func=lambda name: KINDS.get(name, name), key=key, placeholder="choose")
    elif kind is bool:
        st.toggle(label, bool(now), key=key, help=told)
    elif kind is str or str in get_args(kind):
        st.text_input(label, _name(device) if field == "name" else now or "", key=key, max_chars=80, help=told)
    elif int in get_args(kind):
        st.number_input(label, None, None, now, 1, key=key, help=told, placeholder="unknown")
    else:
        st.number_input(label, None, None, now, key=key, help=told, placeholder="unknown", format="%.6g")


def _name(device: Device | None) -> str:
    if device is None:
        return ""
    return device.name if own_hardware.is_own(device) else f"{device.name}, mine"


def _label(field: str) -> str:
    title = own_hardware.title(field)
    return title[0].upper() + title[1:] + (f", {written}" if (written := unit(field)) else "")


def _take(device: Device | None, ident: str, store: bool) -> None:
    for key in (_DONE, _WRONG):
        st.session_state.pop(key, None)
    store = bool(st.session_state.get(f"store-{ident}", store))
    base = own_hardware.base_of(device) if device else None
    start = base or (device if device and not own_hardware.is_own(device) else None)
    given: dict[str, Any] = {field: st.session_state.get(f"hw-{field}-{ident}") for field in own_hardware.FIELDS}
    try:
        made = own_hardware.built(
            start.name if start else "", {field: amount for field, amount in given.items() if _said(field, amount, start)}
        )
        if not own_hardware.is_own(made):
            st.session_state[_WRONG] = "Nothing differs from the shipped device yet; change a figure or its name."
            return
        version = own_hardware.store(made) if store else 0
    except CatalogError as error:
        st.session_state[_WRONG] = str(error)
        return
    if device is not None and device.name == made.name:
        own_devices.drop(device.id)
    own_devices.remember(made.id)
    st.session_state[_DONE] = (made.id, version)
    looked = [name for name in st.session_state.get(hardware_choose.CHOSEN, []) if device is None or name != own_hardware.listed(device)]
    hardware_choose.choose([made.id, *([start.name] if start else []), *(name for name in looked if start is None or name != start.name)])
    st.session_state["hardware_start"] = made.id


def _said(field: str, amount: Any, start: Device | None) -> bool:
    """Whether the form says something that its start does not: figures that were left alone stay the start's, with their source."""
    empty = amount in (None, "")
    return not empty if start is None else (None if empty else amount) != getattr(start, field)


def _tell() -> None:
    if wrong := st.session_state.get(_WRONG):
        st.warning(escape(wrong))
    name, version = st.session_state.get(_DONE, ("", 0))
    for made in find_all([name]) if name else []:
        kept = f" Stored as version {version}." if version else " It lives in this session and in its link."
        st.success(escape(f"{made.name} is ready.{kept} “Your hardware” lists it first under Device."))
        st.page_link("estimate.py", label="Estimate on it", icon=":material/speed:", query_params=estimate_knobs(made))


def _own(device: Device) -> None:
    """How one's own device differs from the shipped one, and from its own earlier versions."""
    base = own_hardware.base_of(device)
    if base is not None:
        st.markdown(f"**Against {escape(base.name)} as shipped**")
        _differences(changed(device, base))
    try:
        kept = own_hardware.versions(device.name)
    except CatalogError as error:
        st.warning(escape(str(error)))
        return
    if kept:
        st.markdown("**Stored versions**")
        before: Device | None = None
        for number, version in enumerate(kept, 1):
            now = next(iter(find_all([version.device])), None)
            saved = f"{version.saved[:10]}, {version.saved[11:16]} UTC"
            st.caption(f"Version {number}, {escape(saved)}" + (": the first" if before is None else ""))
            if before is not None and now is not None:
                _differences(changed(now, before))
            before = now or before
        st.button("Delete it from this computer", key="hardware-forget", on_click=_forget, args=(device,), icon=":material/delete:")


def _differences(lines: list[tuple[str, str, str]]) -> None:
    if not lines:
        st.caption("No difference.")
    else:
        st.markdown("\n".join(f"- {escape(what)}: {escape(old)} → **{escape(new)}**" for what, old, new in lines))


def _forget(device: Device) -> None:
    for key in (_DONE, _WRONG):
        st.session_state.pop(key, None)
    try:
        own_hardware.forget(device.name)
        own_devices.remember(device.id)
    except CatalogError as error:
        st.session_state[_WRONG] = str(error)
