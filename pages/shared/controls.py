"""The form: every control is bound to the address under the scenario's own name, so that an address is a scenario."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from typing import Any

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from core import choices
from core.choices import ARRIVALS, AUTO, CUSTOM, NONE, NUMA, SPLITS
from core.errors import RoofcastError
from core.inspect_model import model_options
from core.scenario import Scenario, from_flat
from pages.shared import further, knobs, own_devices, paste
from pages.shared.knobs import Knob
from pages.shared.words import ABOUT, escape

_TITLED = {"split": SPLITS, "numa": NUMA}  # lists whose address holds titles
_FORM, _FORM_PAGE = "_form", "_form_page"  # the controls as last drawn with their address, and on which page
_ASKED = "_asked"  # the scenario that they made


def scenario_controls(
    layout: DeltaGenerator | None = None,
    *,
    page: str | None = None,
    title: str = "Roofcast",
    about: str = ABOUT,
    commands: DeltaGenerator | None = None,
) -> Scenario:
    """Draw the form and return its scenario; the degrees of parallelism go into `layout`, the field for a command into `commands`,
    where they are given.

    Raises RoofcastError for a combination that cannot be asked.
    """
    _carry(page or ("estimate" if layout is None else "placement"))
    _read_link()
    given: dict[str, Any] = {}
    with st.sidebar:
        st.markdown(f"### {title}")
        st.caption(about)
        with commands or nullcontext():
            paste.draw(apply, opened=commands is not None)
        _model(given)
        _machine(given)
        _runtime(given)
        _load(given)
        _advanced(given, layout)
        given |= _linked()
    address = {key: text for key, text in st.query_params.to_dict().items() if key not in knobs.ELSEWHERE}
    st.session_state[_FORM] = {key: st.session_state[key] for key in given if key in st.session_state}, address
    unset = {"profile": (CUSTOM,), "instance": (NONE,)}  # a split of "none" is one
    asked = from_flat({key: item for key, item in given.items() if item != AUTO and item not in unset.get(key, ())})
    st.session_state[_ASKED] = asked
    return asked


def last() -> Scenario | None:
    """What the form asked last in this session, on whichever page."""
    return st.session_state.get(_ASKED)


def page_before() -> str | None:
    """Which page drew the form last."""
    return st.session_state.get(_FORM_PAGE)


def arrived(page: str) -> None:
    """A page that sets the controls itself: nothing is carried to it."""
    st.session_state[_FORM_PAGE] = page


def _carry(page: str) -> None:
    """Coming from another page with this form: set its controls as they were there, for Streamlit keeps them by page."""
    before = st.session_state.get(_FORM_PAGE, page)
    st.session_state[_FORM_PAGE] = page
    if before != page:
        values, address = st.session_state.get(_FORM, ({}, {}))
        for key, item in values.items():
            st.session_state[key] = item
        st.query_params.from_dict(address | st.query_params.to_dict())
        st.rerun()  # bound controls take both only from before they are drawn


def show_notices() -> None:
    """Say what was wrong with the address that this session was opened with: one sentence each."""
    notices = [escape(notice) for notice in st.session_state.get("_link_notices", [])]
    if notices:
        st.warning("\n".join(f"- {notice}" for notice in notices) if len(notices) > 1 else notices[0])


def apply(changes: Mapping[str, Any]) -> None:
    """Set controls from code (a button's callback); None empties a number or takes a list back to "auto"."""
    for key, item in changes.items():
        if key in knobs.IN_ADDRESS:
            st.query_params.from_dict({**st.query_params.to_dict(), key: str(item)}) if item else st.query_params.pop(key, None)
        elif item is None:
            st.session_state[key] = AUTO if key in knobs.LISTS else "" if key in knobs.TEXTS else None
        else:
            st.session_state[key] = item


# ---------------------------------------------------------------- the address


def _read_link() -> None:
    """Once a session, before any control is bound: make the address's values exact, and note what cannot be meant."""
    if "_link_notices" in st.session_state:
        return
    asked = {key: text for key, text in st.query_params.to_dict().items() if not key.startswith("embed")}
    kept, notices = _exact_link(asked)
    st.session_state["_link_notices"] = notices
    if kept != asked:
        # Bound controls read the address when they are first drawn: correct it first, then start over.
        st.query_params.from_dict(kept)
        st.rerun()


def read_again() -> None:
    """Take the address anew when this form is drawn next: another page may lead back with an address of its own."""
    st.session_state.pop("_link_notices", None)
    st.session_state.pop("model", None)  # it may be one that only the last address listed, and would be taken for a wrong one


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
        return next((title for name, title in _TITLED[key].items() if text in (name, title)), _TITLED[key][AUTO])
    if key == "host_link":
        return further.link_title(choices.exact(key, text) if text != further.SLOT else AUTO)
    if key == "request_rate_per_s" and not text:
        return ""
    item = choices.exact(key, text, runtime)
    return str(item).lower() if isinstance(item, bool) else f"{item}"


def _linked() -> dict[str, Any]:
    """What only a link can set, told below the form. It stays in the address until it is dropped."""
    found = {key: text for key, text in st.query_params.to_dict().items() if key in knobs.LINK_ONLY}
    if found:
        st.caption("From the link: " + escape("; ".join(f"{key.replace('_', ' ')} {text}" for key, text in found.items())) + ".")
        if st.button("Drop these", key="drop-linked"):
            for key in found:
                del st.query_params[key]
            st.rerun()
    return found


# ---------------------------------------------------------------- controls


def _choose(label: str, options: list[str], default: str, key: str, **more: Any) -> str:
    """A searchable list. A value that the list no longer has falls back to the default, also in the address."""
    if key in st.session_state and st.session_state[key] not in options:
        st.session_state[key] = default
    picked = st.selectbox(label, options, index=options.index(default), key=key, bind="query-params", **more)
    return default if picked is None else picked


def _number(knob: Knob, given: dict[str, Any], **more: Any) -> None:
    given[knob.key] = st.number_input(
        knob.label,
        knob.low,
        knob.high,
        knob.default,
        knob.step,
        key=knob.key,
        bind="query-params",
        help=knob.help,
        placeholder=AUTO,
        format="%g" if isinstance(knob.low, float) else None,
        **more,
    )


def _numbers(listed: Iterable[Knob], given: dict[str, Any]) -> None:
    for knob in listed:
        _number(knob, given)


def _model(given: dict[str, Any]) -> None:
    given["model"] = _choose(
        "Model",
        model_options(st.query_params.get("model")),
        choices.default_model(),
        "model",
        help="Type to search. Instruction-tuned and base versions of a model behave alike here.",
    )


def _machine(given: dict[str, Any]) -> None:
    given["profile"] = _choose(
        "Machine",
        choices.profile_names(),
        CUSTOM,
        "profile",
        on_change=_profile_changed,
        help="A machine as shipped, with its CPU, RAM and links; or your own, put together below.",
    )
    given["instance"] = _choose(
        "Cloud instance",
        choices.instance_names(),
        NONE,
        "instance",
        on_change=_instance_changed,
        help="A machine rented by the hour: sets device, count, RAM and price. `roofcast instances` lists prices, dates and regions.",
    )
    left, right = st.columns([2.6, 1])
    with left:
        given["device"] = _choose(
            "Device",
            choices.device_names([st.session_state.get("device", st.query_params.get("device")), *own_devices.of_session()]),
            choices.default_device(),
            "device",
            on_change=_device_changed,
            help="Graphics card, accelerator or, for a run without one, a CPU. Type to search.",
        )
    with right:
        _number(knobs.COUNT, given, on_change=_not_rented)
    _number(knobs.RAM, given)
    with st.expander("Further cards, cables, sockets", expanded="others" in st.query_params):
        further.draw(given, _put_together)
        given["host_link"] = st.selectbox(
            "The first cards are joined by",
            choices.host_link_names(),
            format_func=further.link_title,
            key="host_link",
            bind="query-params",
            help="What joins a card to the host: its own slot, or an eGPU's cable or a riser of fewer lanes.",
        )
        _number(knobs.SOCKETS, given)
        if (given["sockets"] or 1) > 1:
            given["numa"] = st.selectbox(
                "The engine uses the sockets",
                list(NUMA),
                format_func=NUMA.__getitem__,
                key="numa",
                bind="query-params",
                help="llama.cpp's --numa. An engine that is not told reads most of the weights from the other socket's memory.",
            )


def _put_together() -> None:
    """A machine with further cards is none that is shipped or rented."""
    st.session_state["profile"] = CUSTOM
    _not_rented()


def _profile_changed() -> None:
    _not_rented()
    if st.session_state["profile"] != CUSTOM:
        further.clear()
        apply({**choices.profile_knobs(st.session_state["profile"]), "host_link": None})


def _instance_changed() -> None:
    st.session_state["profile"] = CUSTOM
    if st.session_state["instance"] == NONE:
        apply({"usd_per_h": None, "ram_gb": None})
    else:
        further.clear()
        apply({**choices.instance_knobs(st.session_state["instance"]), "host_link": None})


def _device_changed() -> None:
    st.session_state["profile"] = CUSTOM
    _not_rented()


def _not_rented() -> None:
    """A machine that is no longer the instance has neither its price nor its RAM."""
    if st.session_state.get("instance", NONE) != NONE:
        apply({"instance": NONE, "usd_per_h": None, "ram_gb": None})


def _runtime(given: dict[str, Any]) -> None:
    left, right = st.columns(2)
    with left:
        given["runtime"] = _choose(
            "Runtime",
            choices.runtime_names(),
            choices.RUNTIME,
            "runtime",
            help="The program that runs the model.",
        )
    backend = choices.suiting_backend(given["runtime"], given["device"])
    with right:
        given["quant"] = _choose(
            "Quantisation",
            choices.quant_names(given["runtime"], backend),
            choices.default_quant(given["runtime"], backend, given["model"]),
            "quant",
            help="How many bits store a weight: fewer are smaller and faster, with some loss of quality. "
            "Only what this runtime runs is listed; “auto” takes the weights as published.",
        )


def _load(given: dict[str, Any]) -> None:
    left, right = st.columns(2)
    with left:
        _number(knobs.PROMPT, given)
    with right:
        _number(knobs.OUTPUT, given)
    arrival = st.segmented_control(
        "Load",
        list(ARRIVALS),
        default="closed",
        required=True,
        format_func=ARRIVALS.__getitem__,
        key="arrival",
        bind="query-params",
        help="Users who each wait for their answer; requests that keep arriving; one batch that starts and ends together; or as many "
        "sequences as memory holds, with no end of requests.",
    )
    given["arrival"] = arrival or "closed"
    if given["arrival"] == "open":
        _number(knobs.RATE, given)
        given["request_rate_per_s"] = given["request_rate_per_s"] or knobs.RATE.default
    elif given["arrival"] != "saturated":
        _number(knobs.USERS, given)


def _advanced(given: dict[str, Any], layout: DeltaGenerator | None) -> None:
    with st.expander("Cache and batching"):
        given["kv_dtype"] = _choose(
            "KV cache type",
            choices.kv_names(given["runtime"]),
            AUTO,
            "kv_dtype",
            help="How keys and values of past tokens are stored. Smaller types leave room for more users or context.",
        )
        _numbers(knobs.CACHE, given)
        given["flash_attention"] = st.toggle(
            "Flash attention",
            True,
            key="flash_attention",
            bind="query-params",
            help="Attention without writing the score matrix to memory. Off only for old hardware.",
        )
    with st.expander("Layout over devices"):
        given["backend"] = _choose(
            "Backend",
            choices.backend_names(given["runtime"]),
            AUTO,
            "backend",
            help="The programming interface the runtime was built for.",
        )
        given["split"] = st.selectbox(
            "Split over devices",
            list(SPLITS),
            format_func=SPLITS.__getitem__,
            key="split",
            bind="query-params",
            help="Whole layers on each device, every layer cut over all of them, or all on one.",
        )
        if given["split"] == "none":
            _number(knobs.MAIN_GPU, given)
        elif (given["count"] or 1) > 1 or given.get("others"):
            given["tensor_split"] = st.text_input(
                "Shares of the cards",
                key="tensor_split",
                bind="query-params",
                placeholder="by memory",
                help="Of the layers, in the order of the cards: 3,1 gives the first three quarters (llama.cpp's --tensor-split, vLLM's "
                "VLLM_PP_LAYER_PARTITION).",
            )
        with layout or nullcontext():
            _numbers(knobs.LAYOUT, given)
        _numbers(knobs.OFFLOAD, given)
    with st.expander("What I know of my machine"):
        given["cpu"] = _choose("CPU", choices.cpu_names(), AUTO, "cpu", help="Computes what stays in host memory.")
        _numbers(knobs.MACHINE, given)
    with st.expander("Prices"):
        _numbers(knobs.COSTS, given)
