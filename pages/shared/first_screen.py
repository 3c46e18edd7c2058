"""The answer: a sentence, the numbers that matter, the memory against its limit, what holds it back."""

from __future__ import annotations

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from core import nearest, quality, tables, trust, words
from core.answer import Estimate, Memory
from core.faster_split import faster_split
from core.quantity import value
from core.scenario import Scenario
from core.units import show
from pages.shared import charts, controls, evidence, number
from pages.shared import words as texts

_COLOURS = {"in_vram": "green", "with_offload": "orange", "insufficient_memory": "red"}
_HELPS = {"decode_rate": texts.DECODE, "ttft": texts.TTFT, "prefill_rate": texts.PREFILL, "output_rate": texts.TOTAL}


def draw(estimate: Estimate) -> DeltaGenerator:
    """The first screen for one answer; where it does not fit, what is short and what would fit. Returns the place for what to trust."""
    with st.container(key="answer", gap="small"):
        st.badge(words.FITS[estimate.feasibility], color=_COLOURS[estimate.feasibility])  # type: ignore[arg-type]
        st.title(texts.escape(words.answer_sentence(estimate)), anchor=False)
        for reason in (*estimate.reasons, *(estimate.warnings if estimate.runs else ())):
            st.markdown(f":gray[{texts.escape(reason.text)}]")
        trusted = evidence.place()
    if not estimate.runs:
        _memories(estimate)
        _nearest(estimate.scenario)
        return trusted
    _tiles(estimate)
    st.caption(f"{texts.CORRECTED if estimate.bands else texts.LABEL} {texts.CLICK}")
    if estimate.own_runs:
        st.markdown(f":green-badge[:material/straighten: {words.own_runs(estimate)}]", help=texts.OWN_RUNS)
    _quality(estimate)
    left, right = st.columns([1, 1], gap="large")
    with left:
        _memories(estimate)
        _faster(estimate)
    with right:
        rows = tables.share_rows(estimate)
        if rows:
            charts.shares(rows, names=tables.bound_names(), key="shares")
            st.caption(texts.WHAT_HELPS)
        else:
            st.caption("What holds it back is unknown, for the times are.")
    return trusted


def _tiles(estimate: Estimate) -> None:
    load = estimate.scenario.workload
    many = load.concurrency > 1 or load.arrival in ("open", "saturated")
    units = (("decode_rate", "tok/s"), ("ttft", "s"), ("prefill_rate", "tok/s"), ("output_rate", "tok/s"))
    shown = {name: show(estimate.metric(name), unit) for name, unit in units}
    spans = {name: texts.with_unit(words.span(estimate, name, unit), shown[name]) for name, unit in units}
    helps = {name: f"{text} {trust.held(estimate, name)}".strip() for name, text in _HELPS.items()}
    images = f" and {load.images} image{'s' if load.images > 1 else ''}" if load.images else ""
    prompt = f"for {load.prompt_tokens:,} prompt tokens{images}"
    with st.grid(min_column_width=138, gap="medium"):
        number.tile(
            "Decode, each user" if many else "Decode speed",
            estimate.metrics["decode_rate"],
            shown["decode_rate"],
            key="decode",
            span=spans["decode_rate"],
            note=f"{show(estimate.metric('tpot'), 's')} each token",
            help=helps["decode_rate"],
        )
        number.tile(
            "First token (TTFT)",
            estimate.metrics["ttft"],
            shown["ttft"],
            key="ttft",
            span=spans["ttft"],
            note=prompt,
            help=helps["ttft"],
        )
        number.tile(
            "Prefill speed",
            estimate.metrics["prefill_rate"],
            shown["prefill_rate"],
            key="prefill",
            span=spans["prefill_rate"],
            note=f"answered in {show(estimate.metric('latency'), 's')}",
            help=helps["prefill_rate"],
        )
        asked = f"{load.concurrency:,} users" if load.arrival == "closed" else f"{estimate.metric('batch'):,.0f} answered at once"
        users = asked if many else "one user"
        number.tile(
            "All users together",
            estimate.metrics["output_rate"],
            shown["output_rate"],
            key="output",
            span=spans["output_rate"],
            note=users,
            help=helps["output_rate"],
        )
        memory = estimate.device
        number.tile(
            "Memory, tightest" if estimate.cards else "Memory, each" if estimate.scenario.system.count > 1 else "Memory",
            memory.peak,
            show(float(value(memory.peak)), "B"),
            key="memory",
            note=f"of {show(float(value(memory.limit)), 'B')}",
            help=texts.MEMORY,
        )


def _quality(estimate: Estimate) -> None:
    found = quality.quality(estimate.ir.id, estimate.resolved["quant"])
    number.line(found.loss, f"Quality: {found.sentence}", key="quality")


def _memories(estimate: Estimate) -> None:
    for index, memory in enumerate(estimate.cards or (estimate.device,)):
        _memory(memory, f"device-{index}" if index else "device")
    host = estimate.host
    if host is not None and (estimate.feasibility == "with_offload" or not host.fits):
        _memory(host, "host")


def _memory(memory: Memory, key: str) -> None:
    title = f"Memory of {words.device_name(memory.name)}" if memory.place == "device" else "Host memory"
    charts.memory_bar(
        tables.memory_rows(memory),
        limit=tables.memory_limit(memory),
        limit_text=f"limit {show(float(value(memory.limit)), 'B')}",
        scale=tables.memory_scale(memory),
        title=title,
        key=f"memory-{key}",
    )


def _faster(estimate: Estimate) -> None:
    """A better way to deal the layers out, where cards are not alike."""
    found = faster_split(estimate.scenario) if estimate.cards else None
    if found is not None:
        with st.container(border=True, horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
            st.markdown(f"**{texts.escape(found.change)}**  \n:gray[{texts.escape(found.outcome)}]")
            st.button("Show this", key="faster-split", on_click=controls.apply, args=(found.knobs,))


def _nearest(scenario: Scenario) -> None:
    st.subheader(texts.NEAREST, anchor=False)
    with st.spinner("Trying what would fit …"):
        found = nearest.nearest_fits(scenario)
    if not found:
        st.caption("Nothing near fits: the model is far too large for this machine.")
    for index, option in enumerate(found):
        with st.container(border=True, horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
            st.markdown(f"**{texts.escape(option.change)}**  \n:gray[{texts.escape(option.outcome)}]")
            st.button("Show this", key=f"nearest-{index}", on_click=controls.apply, args=(option.knobs,))
