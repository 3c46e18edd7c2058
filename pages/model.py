"""Model: what a model is made of, what it weighs and keeps, and what a scenario does inside it."""

from __future__ import annotations

from urllib.parse import parse_qsl

import streamlit as st

from core.answer import Estimate
from core.errors import RoofcastError
from core.inspect_model import context, headline, parameters, published_check, short, weights
from core.model_cache import cache_per_token, past_windows
from core.quantity import value
from core.scenario import from_flat
from core.sweep import answer
from core.units import show
from pages.shared import controls, model_choose, model_parts, model_steps, number, passing, what_if_add
from pages.shared import knobs as names
from pages.shared.model_choose import Choice
from pages.shared.words import CLICK, escape

_MARKS = {"exact": ":green-badge[:material/check: as published]", "explained": ":blue-badge[differs, explained]",
          "differs": ":orange-badge[differs from what was published]", "unknown": ":gray-badge[no published total]"}  # fmt: skip


def _knobs() -> dict[str, str]:
    """What of the address belongs to a scenario."""
    known = {*names.LISTS, *names.SWITCHES, *names.NUMBERS, *names.TEXTS, *names.IN_ADDRESS, *names.LINK_ONLY}
    return {key: text for key, text in st.query_params.to_dict().items() if key in known}


def _scenario() -> tuple[Estimate | None, str]:
    """The estimate of the scenario in the address, or a sentence why there is none; "" where the address has no scenario."""
    knobs = _knobs()
    if "device" not in knobs or "model" not in knobs:
        return None, ""
    try:
        return answer(from_flat(knobs)), ""
    except RoofcastError as error:
        return None, str(error)


def _header(choice: Choice) -> None:
    model = choice.found.ir
    with st.container(key="answer", gap="small"):
        st.title(escape(headline(choice.found)), anchor=False)
        mark, sentence = published_check(choice.found)
        st.markdown(f"{_MARKS[mark]} {escape(sentence)}")
    total, active = parameters(model), parameters(model, active=True)
    per_token, size, longest = cache_per_token(model, choice.kv), weights(model, choice.quant), context(model)
    late = past_windows(model, choice.kv)
    growth = f"as {choice.kv}" if late is None else f"as {choice.kv}; {show(late, 'B')} past the windows"
    with st.grid(min_column_width=138, gap="medium"):
        number.tile("Parameters", total, short(float(value(total))), key="parameters", note=f"{model.parameters:,}")
        if model.active_parameters < model.parameters:
            number.tile("Active for a token", active, short(float(value(active))), key="active", note=f"{model.active_parameters:,}")
        number.tile("Longest context", longest, f"{model.max_context:,}", key="context", note="tokens")
        number.tile("KV cache a token", per_token, show(float(value(per_token)), "B"), key="kv", note=growth)
        number.tile("Weights", size, show(float(value(size)), "B"), key="weights", note=f"as {choice.quant}")
    st.caption(CLICK)


def _steps(found: Estimate | None, wrong: str, name: str) -> None:
    if found is not None:
        model_steps.draw(found)
    elif wrong:
        st.info(escape(wrong))
    else:
        st.caption("Choose a machine and a load for this model, then follow the link at the end of the estimate back to here.")
        st.page_link("estimate.py", label="Estimate this model", icon=":material/speed:", query_params={"model": name})


passing.unpack()
estimate, refused = _scenario()
controls.read_again()
if estimate is not None or refused:
    back = dict(parse_qsl(estimate.scenario.to_query())) if estimate else _knobs()
    st.page_link("estimate.py", label="Back to the estimate", icon=":material/arrow_back:", query_params=back)
fixed = (estimate.resolved["quant"], estimate.resolved["kv_dtype"]) if estimate else None
try:
    chosen = model_choose.choose(fixed)
except RoofcastError as error:
    st.title("What is inside the model?", anchor=False)
    st.info(f"{escape(str(error))} Choose another model above, or fetch this one from Hugging Face.")
    st.stop()
_header(chosen)
what_if_add.of_model(estimate, chosen.found.facts["id"])
parts = {
    "Layers": lambda: model_parts.layers(chosen),
    "Tensors": lambda: model_parts.tensors(chosen),
    "KV cache": lambda: model_parts.cache(chosen),
    "Step by step": lambda: _steps(estimate, refused, chosen.found.facts["id"]),
    "Fields": lambda: model_parts.fields(chosen),
    "Compare": lambda: model_parts.compare(chosen),
}
for tab, part in zip(st.tabs(list(parts), key="model_view", bind="query-params", on_change="rerun"), parts.values(), strict=True):
    if tab.open:
        with tab:
            part()
