"""The form: every control is bound to the address under the scenario's own name, so that an address is a scenario."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

import streamlit as st

from core import choices
from core.builds import as_controls
from core.choices import ARRIVALS, AUTO, CUSTOM, NONE, NUMA, SPLITS, VISION
from core.errors import RoofcastError
from core.inspect_model import model_options
from core.scenario import Scenario, from_flat
from pages.shared import address, further, knobs, own_devices, paste
from pages.shared.knobs import Knob
from pages.shared.words import ABOUT

_ASKED = "_asked"  # the scenario of the form as last drawn, or why there is none
_NEXT_MODEL = "_next_model"


def form(title: str = "Roofcast", about: str = ABOUT, *, commands: bool = True) -> None:
    """Draw the form beside the page. The frame draws it, so that its controls keep their values from page to page.

    A page that lays another scenario into the form sets the controls before (`apply`), in the frame or in a callback. Without
    `commands` the page draws the field for a command itself.
    """
    given: dict[str, Any] = {}
    if _NEXT_MODEL in st.session_state:
        st.session_state["model"] = st.session_state.pop(_NEXT_MODEL)
    with st.sidebar:
        st.markdown(f"### {title}")
        st.caption(about)
        with st.container():  # also where it is empty: controls that moved would lose their hold on the address
            if commands:
                paste.draw(apply)
        _model(given)
        _machine(given)
        _runtime(given)
        _load(given)
        _advanced(given)
        given |= address.linked()
    unset = {"profile": (CUSTOM,), "instance": (NONE,)}  # a split of "none" is one
    try:
        st.session_state[_ASKED] = from_flat({k: item for k, item in given.items() if item != AUTO and item not in unset.get(k, ())})
    except RoofcastError as error:
        st.session_state[_ASKED] = error


def scenario() -> Scenario:
    """What the form asks. Raises RoofcastError for a combination that cannot be asked."""
    found = st.session_state[_ASKED]
    if isinstance(found, RoofcastError):
        raise found
    return cast(Scenario, found)


def values() -> dict[str, Any]:
    """What the controls hold, by their keys, and what only the link said; nothing before the form was drawn."""
    keys = (*knobs.LISTS, *knobs.SWITCHES, *knobs.NUMBERS, *knobs.TEXTS, address.LINKED) if _ASKED in st.session_state else ()
    return {key: st.session_state[key] for key in keys if key in st.session_state}


def chosen_model() -> str:
    """The form's model, which is always one that is here."""
    return str(st.session_state["model"])


def again(listed: Iterable[Knob]) -> None:
    """Numbers of the form a second time, on the page itself: whichever is changed, both show it."""
    for knob in listed:
        key = f"again-{knob.key}"
        st.session_state[key] = st.session_state[knob.key]
        st.number_input(
            knob.label,
            knob.low,
            knob.high,
            None,
            knob.step,
            key=key,
            on_change=_copy,
            args=(key, knob.key),
            help=knob.help,
            placeholder=AUTO,
        )


def _copy(key: str, to: str) -> None:
    st.session_state[to] = st.session_state[key]


def choose_model(name: str) -> None:
    """Set the form's model from a page below it: the script starts over. Raises RoofcastError for an unknown one."""
    st.session_state[_NEXT_MODEL] = choices.exact("model", name)
    st.rerun()


def apply(changes: Mapping[str, Any]) -> None:
    """Set controls from code (a button's callback); None empties a number or takes a list back to "auto"."""
    for key, item in changes.items():
        if key in knobs.IN_ADDRESS:
            address.put(key, item)
        elif item is None:
            st.session_state[key] = AUTO if key in knobs.LISTS else "" if key in knobs.TEXTS else None
        else:
            st.session_state[key] = item


def lay(asked: Scenario) -> None:
    """Set every control to a scenario, from code or a callback. Raises RoofcastError for a name that the catalog does not have."""
    given = as_controls(asked)
    listed = (*knobs.LISTS, *knobs.SWITCHES, *knobs.NUMBERS)
    apply({key: given[key] if given[key] is not None else _open(key, given) for key in listed})
    apply({key: given[key] for key in (*knobs.TEXTS, *knobs.IN_ADDRESS)})
    for key in knobs.LINK_ONLY:
        if given.get(key) not in (None, False):
            st.query_params[key] = str(given[key]).lower() if isinstance(given[key], bool) else f"{given[key]}"
        else:
            st.query_params.pop(key, None)


def _open(key: str, given: dict[str, Any]) -> Any:
    """What a control shows where the scenario leaves it open."""
    if key == "profile":
        return choices.CUSTOM
    if key == "instance":
        return choices.NONE
    if key == "quant":
        backend = given["backend"] or choices.suiting_backend(given["runtime"], given["device"])
        return choices.default_quant(given["runtime"], backend, given["model"])
    if key in knobs.NUMBERS:
        return knobs.NUMBERS[key].default
    return choices.AUTO


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
        model_options(st.session_state.get("model", st.query_params.get("model"))),
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
        help="A machine rented by the hour: sets device, count, RAM and price. The page Hardware lists them with dates and regions.",
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
        kind = choices.kind_of(given["device"])
        if kind != "cpu" or further.KEY in st.query_params:
            further.draw(given, _put_together)
        if kind == "card":
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
    if choices.has_tower(given["model"]):
        _images(given)
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


def _images(given: dict[str, Any]) -> None:
    """Only of a model that reads images."""
    left, right = st.columns(2)
    with left:
        _number(knobs.IMAGES, given)
    if given["images"]:
        with right:
            given["image_size"] = st.text_input(
                "Size of an image",
                key="image_size",
                bind="query-params",
                placeholder="1024x1024",
                help="Width x height in pixels. How many tokens that is follows from the model's own rule.",
            )


def _advanced(given: dict[str, Any]) -> None:
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
        if choices.has_tower(given["model"]):
            given["vision"] = st.selectbox(
                "Vision tower",
                list(VISION),
                format_func=VISION.__getitem__,
                key="vision",
                bind="query-params",
                help="The part that reads images: servers load it with the model, llama.cpp when it is given its file.",
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
        _numbers(knobs.LAYOUT, given)
        _numbers(knobs.OFFLOAD, given)
    with st.expander("What I know of my machine"):
        given["cpu"] = _choose("CPU", choices.cpu_names(), AUTO, "cpu", help="Computes what stays in host memory.")
        _numbers(knobs.MACHINE, given)
    with st.expander("Prices"):
        _numbers(knobs.COSTS, given)
