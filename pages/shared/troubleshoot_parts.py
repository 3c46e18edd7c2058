"""The parts of the troubleshooting page: the symptom, a measured number, what would explain it, and fixes."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from core.compare import shown
from core.crossing import DRAWN
from core.diagnosis import MEASURABLE, Verdict, judge
from core.errors import RoofcastError
from core.scenario import Scenario
from core.troubleshoot import SYMPTOMS, Diagnosis, Fix, Symptom
from pages.shared import controls, what_if_add
from pages.shared.words import escape

ABOUT = "Choose what is wrong, paste the command that starts your runtime, and say what machine it runs on: in the form on the left."
_MEASURED_OF: dict[Symptom, str] = {"ttft": "ttft", "decode": "decode_rate", "throughput": "output_rate"}
_BADGES = {"expected": ("green", "As expected"), "slower": ("orange", "Slower than expected"), "faster": ("blue", "Faster than expected"),
           "impossible": ("red", "Cannot be")}  # fmt: skip
_FLAGS = "Flags are spelled as Roofcast writes them; “Run it” on the estimate's page shows the whole command."
_UNSURE = "Better by the medians, but by less than two such estimates may be off."


def symptom() -> Symptom:
    """What is wrong, of the address."""
    titles = list(SYMPTOMS.values())
    picked = st.segmented_control("What is wrong?", titles, default=titles[2], required=True, key="symptom", bind="query-params")
    return next(key for key, title in SYMPTOMS.items() if title == (picked or titles[2]))


def measured(asked: Symptom) -> tuple[str, float | None]:
    """A number that the user measured, and of which metric it is."""
    left, right = st.columns([1, 1])
    with left:
        names = {DRAWN[key].title: key for key in MEASURABLE}
        default = DRAWN[_MEASURED_OF.get(asked, "decode_rate")].title
        picked = st.selectbox("I measured", list(names), index=list(names).index(default), key=f"measured_of_{asked}")
        metric = names[picked]
    with right:
        unit = {"s": "seconds"}.get(DRAWN[metric].unit, DRAWN[metric].unit)
        amount = st.number_input(
            f"which was, in {unit}", 0.0, 1e7, None, key="measured", bind="query-params", placeholder="optional", format="%g",
            help="Your number is held against the range that we expect; what would explain it otherwise is estimated.",
        )  # fmt: skip
    return metric, amount


def verdict(scenario: Scenario, metric: str, amount: float) -> None:
    """Whether the number is normal, and what would explain it."""
    try:
        found = judge(scenario, metric, amount)
    except RoofcastError as error:
        st.info(escape(str(error)))
        return
    colour, word = _BADGES[found.word]
    with st.container(border=True, key="verdict"):
        st.badge(word, color=colour)  # type: ignore[arg-type]
        st.markdown(escape(found.sentence))
        _suspects(found)


def _suspects(found: Verdict) -> None:
    unit = DRAWN[found.metric].unit
    for place, one in enumerate(found.suspects):
        left, right = st.columns([6, 1], vertical_alignment="center")
        left.markdown(f"**{escape(one.text)}**: {escape(shown(one.expected, unit))} then.  \n:gray[{escape(one.check)}]")
        right.button("Show this", key=f"suspect-{place}", on_click=controls.apply, args=(dict(one.knobs),))


def hints(found: Diagnosis) -> None:
    """What else to look at."""
    if found.hints:
        st.markdown("\n".join(f"- {escape(hint)}" for hint in found.hints))


def fixes(found: Diagnosis) -> None:
    """The fixes, each with before and after and the flags to change."""
    st.subheader("What would help", anchor=False)
    if not found.fixes:
        st.caption("No single change that we can estimate helps surely." if found.tried else "There is nothing to change.")
    _listed(found, found.fixes, "fix")
    if found.fixes:
        st.caption(f"Changes that were estimated: {found.tried}. {_FLAGS}")
    if found.unsure:
        with st.expander(f"Too close to call: {len(found.unsure)}"):
            st.caption(_UNSURE)
            _listed(found, found.unsure, "unsure")


def _listed(found: Diagnosis, listed: Sequence[Fix], kind: str) -> None:
    for place, fix in enumerate(listed):
        with st.container(border=True, key=f"{kind}-{place}"):
            left, right = st.columns([5, 2], vertical_alignment="center")
            cost = f" · {escape(fix.cost)}" if fix.cost else ""
            left.markdown(f"**{escape(fix.change.text)}**  \n{escape(fix.before)} → {escape(fix.after)}: {escape(fix.effect)}{cost}")
            with right.container(horizontal=True, vertical_alignment="center", gap="small", horizontal_alignment="right"):
                st.button("Show this", key=f"{kind}-show-{place}", on_click=controls.apply, args=(dict(fix.change.knobs),))
                what_if_add.link(found.found.scenario, fix.scenario)
            if fix.flags:
                st.code("\n".join(fix.flags), language=None, wrap_lines=True)
