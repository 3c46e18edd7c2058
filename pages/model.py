"""Model: what a model is made of, what it weighs and keeps, and what a scenario does inside it."""

from __future__ import annotations

import streamlit as st

from core.answer import Estimate
from core.errors import RoofcastError
from core.inspect_model import context, headline, inspect_model, parameters, published_check, short, weights
from core.model_cache import cache_per_token, past_windows
from core.quantity import value
from core.sweep import answer
from core.units import show
from pages.shared import bundle_parts, controls, model_choose, model_parts, model_steps, number, what_if_add
from pages.shared.address import show_notices
from pages.shared.model_choose import Choice
from pages.shared.words import CLICK, SMALL_SCREEN, escape

_MARKS = {"exact": ":green-badge[:material/check: as published]", "explained": ":blue-badge[differs, explained]",
          "differs": ":orange-badge[differs from what was published]", "unknown": ":gray-badge[no published total]"}  # fmt: skip


def _estimate() -> tuple[Estimate | None, str]:
    """The estimate of what the form asks, or a sentence why there is none."""
    try:
        return answer(controls.scenario()), ""
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
    growth = f"as {choice.kv}" if late is None else f"as {choice.kv}; {show(late, 'B') if late else 'none'} past the windows"
    with st.grid(min_column_width=138, gap="medium"):
        number.tile("Parameters", total, short(float(value(total))), key="parameters", note=f"{model.parameters:,}")
        if model.active_parameters < model.parameters:
            number.tile("Active for a token", active, short(float(value(active))), key="active", note=f"{model.active_parameters:,}")
        number.tile("Longest context", longest, f"{model.max_context:,}", key="context", note="tokens")
        number.tile("KV cache a token", per_token, show(float(value(per_token)), "B"), key="kv", note=growth)
        number.tile("Weights", size, show(float(value(size)), "B"), key="weights", note=f"as {choice.quant}")
    st.caption(CLICK)


def _steps(found: Estimate | None, wrong: str) -> None:
    if found is None:
        st.info(escape(wrong))
    else:
        model_steps.draw(found)
        bundle_parts.save(found.scenario)


show_notices()
st.html(SMALL_SCREEN)
estimate, refused = _estimate()
chosen = model_choose.choice_of(inspect_model(controls.chosen_model()), estimate)
_header(chosen)
model_choose.fetch_form()
what_if_add.of_model(estimate, chosen.found.facts["id"])
parts = {
    "Layers": lambda: model_parts.layers(chosen),
    "Tensors": lambda: model_parts.tensors(chosen),
    "KV cache": lambda: model_parts.cache(chosen),
    "Step by step": lambda: _steps(estimate, refused),
    "Fields": lambda: model_parts.fields(chosen),
    "Compare": lambda: model_parts.compare(chosen),
}
for tab, part in zip(st.tabs(list(parts), key="model_view", bind="query-params", on_change="rerun"), parts.values(), strict=True):
    if tab.open:
        with tab:
            part()
