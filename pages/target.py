"""What should I buy? A goal in; what to use of one's own, to buy or to rent, in three tiers each, out."""

from __future__ import annotations

import streamlit as st

from core import solve_words as texts
from core.errors import RoofcastError
from core.solve_tiers import Tiered, tiers
from pages.shared import progress, target_form, target_parts
from pages.shared.words import SMALL_SCREEN, escape

_ANSWER = "_target_answer"

head = st.container(key="answer", gap="small")
try:
    goal = target_form.draw()
    found: Tiered | None = st.session_state.get(_ANSWER)
    if found is None or found.goal != goal:
        bar = progress.named(head)
        found = st.session_state[_ANSWER] = tiers(goal, bar)
except RoofcastError as error:
    with head:
        st.title("This cannot be asked", anchor=False)
        target_form.show_notices()
        st.info(escape(str(error)))
    st.stop()

with head:
    least = {side: found.options[side, "minimum"].candidate for side in found.sides}
    st.title(escape(texts.headline(goal, least)), anchor=False)
    st.markdown(f":gray[{escape(texts.asked_words(goal))}]")
    target_form.show_notices()
    st.html(SMALL_SCREEN)
places = target_parts.cards(found)
target_parts.alternatives(found.solved["minimum"])
target_parts.funnel(found.solved["minimum"])
target_parts.trust(places)  # last: the answer need not wait for the runs
