"""The parts of "Suggest a config": the two choices, the button, the explained suggestion, the options, the fields set by hand."""

from __future__ import annotations

from typing import Any, Literal
from urllib.parse import parse_qsl

import streamlit as st

from core import choices
from core import recommend_words as words
from core.catalog.own_hardware import may_store
from core.errors import RoofcastError
from core.estimate import launch
from core.inspect_model import model_options
from core.recommend import (
    Form,
    Setup,
    Suggestion,
    Target,
    form_of,
    instance_target,
    model_named,
    own_system,
    own_target,
    quant_choices,
    scenario_of,
)
from core.sweep import answer
from core.words import answer_sentence
from pages.shared import what_if_add
from pages.shared.words import escape

ABOUT = (
    "Which tensor parallelism, quantisation, longest context and number of users to benchmark a model with: from its layout and the "
    "machine's memory, in the split that is estimated to serve most."
)
CLOUD, OWN = "Cloud instance", "Your own machine"
PUBLISHED = "as published"
_ASKED = "_suggest_asked"  # what the button was pressed for: model and target
_TOKEN = "suggest-token"
_NAMES = {"suggest_model": "model", "suggest_instance": "instance", "suggest_device": "device"}  # in the address → what it names


def arrive() -> None:
    """Once a session, before any control is bound: make the address's names exact, and say which name nothing."""
    if "_suggest_notices" not in st.session_state:
        asked = st.query_params.to_dict()
        kept, notices = dict(asked), []
        for key, knob in _NAMES.items():
            if key not in asked:
                continue
            try:
                kept[key] = choices.exact(knob, asked[key])
            except RoofcastError as error:
                del kept[key]
                notices.append(f"The link's “{knob}” was ignored: {error}")
        st.session_state["_suggest_notices"] = notices
        if kept != asked:
            st.query_params.from_dict(kept)
            st.rerun()  # bound controls read the address when they are first drawn
    for notice in st.session_state["_suggest_notices"]:
        st.warning(escape(notice))


def choose_model() -> str | None:
    """The model, None while none is chosen; one of the Hub can be fetched."""
    options = model_options(st.session_state.get("suggest_model") or st.query_params.get("suggest_model"))
    picked: str | None = st.selectbox(
        "Model", options, index=None, key="suggest_model", bind="query-params", placeholder="Type to search the catalog"
    )
    with st.expander("Another model, from Hugging Face", icon=":material/cloud_download:"):
        left, right = st.columns([3, 2])
        text = left.text_input("Id or link", key="suggest-hub", max_chars=1000, placeholder="Qwen/Qwen3-8B")
        if may_store():  # what one visitor's token opens is kept for all, so a shared server takes none
            right.text_input("Your token, for gated models", type="password", key=_TOKEN, max_chars=200, autocomplete="off")
        st.button("Fetch", key="suggest-fetch", icon=":material/download:", disabled=not text, on_click=_fetch)
        if wrong := st.session_state.get("_suggest_wrong"):
            st.error(escape(wrong), icon=":material/error:")
    return picked


def _fetch() -> None:
    """Fetches a model's headers and chooses it; the token is used once and forgotten."""
    typed = str(st.session_state.get(_TOKEN) or "")
    token: str | Literal[False] = typed or False  # False: what this server's owner may read is not the visitor's to see
    st.session_state.pop("_suggest_wrong", None)
    try:
        st.session_state["suggest_model"] = choices.exact("model", model_named(st.session_state["suggest-hub"].strip(), token, local=False))
        st.session_state["suggest-hub"] = ""
    except RoofcastError as error:
        st.session_state["_suggest_wrong"] = str(error)
    if _TOKEN in st.session_state:
        st.session_state[_TOKEN] = ""


def choose_machine() -> Target | None:
    """The machine, None while none is chosen."""
    kind = st.segmented_control(
        "Machine", [CLOUD, OWN], default=CLOUD, key="suggest_on", bind="query-params", required=True, label_visibility="collapsed"
    )
    try:
        if kind == OWN:
            return _own()
        options = [name for name in choices.instance_names() if name != choices.NONE]
        name = st.selectbox(
            "Instance", options, index=None, key="suggest_instance", bind="query-params", placeholder="Type to search, such as g5.xlarge"
        )
        return instance_target(name) if name else None
    except RoofcastError as error:
        st.error(escape(str(error)), icon=":material/error:")
        return None


def _own() -> Target | None:
    left, middle, right = st.columns([3, 1, 1])
    options = choices.device_names([st.query_params.get("suggest_device")])
    device = left.selectbox(
        "Device", options, index=None, key="suggest_device", bind="query-params", placeholder="Type to search, such as RTX 4090"
    )
    count = middle.number_input("Count", 1, 4096, 1, key="suggest_count", bind="query-params")
    ram = right.number_input(
        "RAM, GB", 1.0, 100_000.0, None, 8.0, key="suggest_ram", bind="query-params", placeholder="auto",
        help="Of a Mac or another machine with unified memory: all of it.",
    )  # fmt: skip
    return own_target(own_system(device, int(count), ram)) if device else None


def ask(model: str | None, target: Target | None) -> tuple[str, Target] | None:
    """The button; returns what it was pressed for while that is what is chosen."""
    ready = model is not None and target is not None
    why = "Choose a model and a machine first." if not ready else "Works out what fits; nothing is started."
    pressed = st.button("Suggest config", type="primary", icon=":material/magic_button:", width="stretch", disabled=not ready, help=why)
    if model is None or target is None:
        st.caption(why)
        return None
    if pressed:
        st.session_state[_ASKED] = (model, target)
        st.session_state.pop("_suggest_filled", None)
    return (model, target) if st.session_state.get(_ASKED) == (model, target) else None


# ---------------------------------------------------------------- the answer


def draw(found: Suggestion) -> None:
    """The suggestion with its reasons; where precision would be lost both options; the fields; what they come to."""
    if found.feasible and found.native is not None:
        _panel(found, found.native)
        _fill_once(found, found.native)
    else:
        st.warning(f"**{escape(words.headline(found))}**  \n{escape(words.reason(found))}", icon=":material/warning:")
        _options(found)
        if found.smaller is None or st.session_state.get("_suggest_filled") != _name_of(found):
            return
        _panel(found, found.smaller)
    _form(found)


def _name_of(found: Suggestion) -> tuple[str, str]:
    return found.model, found.target.label


def _panel(found: Suggestion, setup: Setup) -> None:
    with st.expander("Recommended configuration", expanded=True, icon=":material/check_circle:"):
        st.markdown(f"**{escape(words.headline(found))}**" if found.feasible else f"**{escape(words.option_words(found, setup))}**")
        st.caption(escape(words.about(found)))
        st.markdown(
            "\n".join(f"- **{escape(field.name)}: {escape(field.shown)}** — {escape(field.why)}" for field in words.fields(found, setup))
        )


def _options(found: Suggestion) -> None:
    columns = st.columns(2) if found.smaller and found.larger else [st.container()]
    if found.smaller:
        with columns[0], st.container(border=True):
            st.markdown(f"**Option A: {escape(found.smaller.quant)} on {escape(found.target.label)}**")
            st.markdown(escape(words.option_words(found, found.smaller)))
            st.caption(escape(words.fields(found, found.smaller)[1].why))
            st.button(
                f"Apply {found.smaller.quant} config", key="suggest-apply", on_click=_fill, args=(found, found.smaller), type="primary"
            )
    if found.larger:
        target, setup = found.larger
        with columns[-1], st.container(border=True):
            option = "Option B" if found.smaller else "The nearest that holds it"
            st.markdown(f"**{option}: {escape(words.quant_words(setup))} on {escape(words.priced(target))}**")
            st.markdown(escape(words.option_words(found, setup)))
            st.caption(escape(words.fields(found, setup, target)[1].why) + " Nothing is lost.")
            st.button(f"Switch to {target.label}", key="suggest-switch", on_click=_switch, args=(found.model, target))
    else:
        st.caption("No instance of the catalog holds it in full precision.")


def _switch(model: str, target: Target) -> None:
    """Chooses a larger machine, and asks again."""
    if target.system.instance:
        st.session_state["suggest_on"] = CLOUD
        st.session_state["suggest_instance"] = target.system.instance
    else:
        st.session_state["suggest_count"] = target.system.count
    st.session_state[_ASKED] = (st.session_state["suggest_model"], target)
    st.session_state.pop("_suggest_filled", None)


# ---------------------------------------------------------------- the fields


def _fill_once(found: Suggestion, setup: Setup) -> None:
    if st.session_state.get("_suggest_filled") != _name_of(found):
        _fill(found, setup)


def _fill(found: Suggestion, setup: Setup) -> None:
    """Sets the fields to a suggestion."""
    form = form_of(setup)
    fields: dict[str, Any] = {
        "set-tp": form.tp, "set-quant": form.quant or PUBLISHED, "set-context": form.max_context, "set-users": form.concurrency,
        "set-prompt": form.prompt_tokens, "set-output": form.output_tokens,
    }  # fmt: skip
    for key, amount in fields.items():
        st.session_state[key] = amount
    st.session_state["_suggest_filled"] = _name_of(found)


def _form(found: Suggestion) -> None:
    st.subheader("The fields, to change as you like", anchor=False)
    with st.grid(min_column_width=170, gap="small"):
        tp = st.number_input("Tensor parallel", 1, 4096, key="set-tp")
        names = [name or PUBLISHED for name in quant_choices(found)]
        quant = st.selectbox("Quantisation", names, key="set-quant")
        context = st.number_input("Longest context, tokens", 1, 100_000_000, step=1024, key="set-context")
        users = st.number_input("Users at once", 1, 1_000_000, key="set-users")
        prompt = st.number_input("Tokens in", 1, 100_000_000, step=128, key="set-prompt")
        output = st.number_input("Tokens out", 1, 100_000_000, step=64, key="set-output")
    form = Form(int(tp), None if quant == PUBLISHED else quant, int(context), int(users), int(prompt), int(output))
    risks = [escape(text) for text in words.advice(found, form)]
    if risks:
        st.warning("\n".join(f"- {text}" for text in risks) if len(risks) > 1 else risks[0], icon=":material/warning:")
    try:
        told = answer(scenario_of(found, form))
    except RoofcastError:
        return  # said above
    st.markdown(f"**{escape(answer_sentence(told))}**")
    if told.runs:
        st.caption(escape(f"{told.label[0].upper()}{told.label[1:]}."))
    if told.runs:
        st.code(launch(told), language="bash", wrap_lines=True)
    st.page_link(
        "estimate.py", label="All of this estimate", icon=":material/arrow_forward:", query_params=dict(parse_qsl(told.scenario.to_query()))
    )
    what_if_add.link(told.scenario, label="Compare with another build")
