"""Below the first screen: one part at a time, opened by its tab; only the open one is computed."""

from __future__ import annotations

from typing import Any, Literal

import pandas as pd
import streamlit as st

from core import preview, sweep, tables
from core.answer import Estimate, Memory
from core.estimate import launch
from core.evidence import beside
from core.quantity import value
from core.units import show
from pages.shared import advice_parts, charts, evidence, knobs, number
from pages.shared import words as texts

HELP = "What would help"
_PARTS = ("Users and context", HELP, "Evidence", "Roofline", "Memory", "Assumptions", "Run it", "Cost and energy", "Preview")


def draw(estimate: Estimate) -> None:
    """The tabs; the open one is part of the address."""
    drawn = dict(zip(_PARTS, (_load, _help, evidence.draw, _roofline, _memory, _assumptions, _launch, _money, _preview), strict=True))
    if not estimate.runs:
        drawn = {name: drawn[name] for name in ("Memory", HELP, "Evidence", "Assumptions", "Run it")}
    st.space("small")
    tabs = st.tabs(list(drawn), key=knobs.VIEW, bind="query-params")
    for tab, part in zip(tabs, drawn.values(), strict=True):
        if tab.open:
            with tab:
                part(estimate)
    st.caption(texts.LINK)


def _help(estimate: Estimate) -> None:
    advice_parts.draw(estimate.scenario)


# metric, axis title, chart title, logarithmic
_RATE = ("decode_rate", "tok/s for each user", "Speed for each user", False)
_TOTAL = ("output_rate", "tok/s in all", "All users together", False)
_FIRST = ("ttft", "seconds", "First token after", True)


def _load(estimate: Estimate) -> None:
    scenario = estimate.scenario
    bar = st.empty()

    def progress(share: float) -> None:
        if share < 1:
            bar.progress(share, "Asking the same for other loads …")
        else:
            bar.empty()

    users = sweep.by_users(scenario, progress=progress)
    prompts = sweep.by_prompt(scenario, estimate.ir.max_context, progress=progress)
    st.subheader("More users at once", anchor=False)
    st.caption(texts.BY_USERS)
    _curves(estimate, users, "users", "users at once", scenario.workload.concurrency, (_RATE, _TOTAL, _FIRST))
    st.subheader("Longer prompts", anchor=False)
    st.caption(texts.BY_PROMPT)
    _curves(estimate, prompts, "prompt", "prompt tokens", scenario.workload.prompt_tokens, (_RATE, _FIRST))


def _curves(
    estimate: Estimate,
    rows: list[dict[str, Any]],
    knob: Literal["users", "prompt"],
    what: str,
    now: int,
    metrics: tuple[tuple[str, str, str, bool], ...],
) -> None:
    measured = beside(estimate.scenario, knob)
    drawn = False
    for column, (metric, y_title, title, log) in zip(st.columns(len(metrics)), metrics, strict=True):
        with column:
            drawn |= charts.curve(
                rows,
                x=knob,
                y=metric,
                x_title=what,
                y_title=y_title,
                title=title,
                now=now,
                key=f"{knob}-{metric}",
                log_y=log,
                measured=measured,
            )
    if drawn:
        st.caption(texts.MEASURED_POINTS)
    missing = [row for row in rows if not row["fits"]]
    if missing:
        st.caption(f"Does not fit, or cannot be asked, from {missing[0][knob]:,} {what} on.")


def _roofline(estimate: Estimate) -> None:
    data = tables.roofline(estimate)
    if not data["phases"]:
        st.caption("No roofline can be drawn: nobody published this device's peak or bandwidth.")
        return
    charts.roofline(data, key="roofline")
    st.caption(texts.ROOFLINE)
    for name, phase in (("Decode", estimate.decode), ("Prefill", estimate.prefill)):
        with st.grid(min_column_width=158, gap="medium"):
            number.tile(
                f"{name}: FLOP a byte",
                phase.intensity,
                show(float(value(phase.intensity)), "FLOP/B"),
                key=f"intensity-{name}",
                help="Arithmetic intensity: work done for each byte that is moved.",
            )
            number.tile(
                "Ridge",
                phase.ridge,
                show(float(value(phase.ridge)), "FLOP/B"),
                key=f"ridge-{name}",
                help="The intensity at which the device passes from memory bound to compute bound.",
            )
            number.tile(
                "Compute used (MFU)",
                phase.mfu,
                f"{float(value(phase.mfu)):.1%}",
                key=f"mfu-{name}",
                help="Model FLOP utilisation: arithmetic reached over the peak.",
            )
            number.tile(
                "Bandwidth used (MBU)",
                phase.mbu,
                f"{float(value(phase.mbu)):.1%}",
                key=f"mbu-{name}",
                help="Model bandwidth utilisation: bytes moved over what the memory could move.",
            )
        with st.expander(f"{name}: operation by operation"):
            numbers = st.column_config.NumberColumn
            st.dataframe(
                pd.DataFrame(tables.op_rows(phase, estimate.ir)),
                hide_index=True,
                column_config={
                    "Time (ms)": numbers(format="%.3f"),
                    "Share (%)": numbers(format="%.1f"),
                    "GFLOP": numbers(format="%.1f"),
                    "Read (MiB)": numbers(format="%.1f"),
                    "Sent (MiB)": numbers(format="%.2f"),
                    "Layers": numbers(format="%d"),
                },
            )


def _memory(estimate: Estimate) -> None:
    for index, memory in enumerate(estimate.cards or (estimate.device,)):
        _bill(memory, f"device-{index}" if index else "device")
    if estimate.host is not None:
        _bill(estimate.host, "host")
    for note in estimate.notes:
        st.caption(texts.escape(note))
    st.markdown("**What would still fit**")
    with st.grid(min_column_width=180, gap="medium"):
        for index, item in enumerate(tables.limit_rows(estimate)):
            amount = item["number"]
            number.tile(item["name"], amount, show(float(value(amount)), amount.unit), key=f"limit-{index}")
        if estimate.loading is not None:
            number.tile(
                "Copying the weights",
                estimate.loading,
                show(float(value(estimate.loading)), "s"),
                key="loading",
                help="To the devices, over their links to the host, one after another. What the disk takes is not in it.",
            )


def _bill(memory: Memory, key: str) -> None:
    st.markdown(f"**{texts.escape(memory.name[0].upper())}{texts.escape(memory.name[1:])}**")
    with st.grid(min_column_width=130, gap="medium"):
        for index, item in enumerate(tables.memory_summary(memory)):
            number.tile(
                item["name"],
                item["number"],
                show(float(value(item["number"])), "B"),
                key=f"sum-{key}-{index}",
                help=item["help"],
            )
    st.dataframe(
        pd.DataFrame(tables.part_rows(memory)),
        hide_index=True,
        column_config={
            "GiB": st.column_config.NumberColumn(format="%.2f"),
            "Share of limit": st.column_config.ProgressColumn(format="%.1f %%", min_value=0, max_value=100),
        },
    )
    with st.expander("How each part was calculated"):
        for index, part in enumerate(memory.parts):
            number.line(part.amount, f"{part.name}: {show(float(value(part.amount)), 'B')}", key=f"part-{key}-{index}")


def _assumptions(estimate: Estimate) -> None:
    st.caption(texts.ASSUMPTIONS)
    rows = pd.DataFrame(tables.assumption_rows(estimate))
    if rows.empty:
        st.caption("Nothing was assumed.")
        return
    left, right = st.columns([2, 3], vertical_alignment="bottom")
    kinds = sorted(rows["Kind"].unique())
    with left:
        kept = st.pills("Show", kinds, selection_mode="multi", default=[k for k in kinds if k != "you"], key="assumption-kinds")
    with right:
        text = st.text_input("Find", key="assumption-find", placeholder="efficiency, power, context …")
    rows = rows[rows["Kind"].isin(kept)]
    if text:
        found = rows.apply(lambda row: text.lower() in " ".join(map(str, row)).lower(), axis=1)
        rows = rows[found] if not rows.empty else rows
    wide = st.column_config.TextColumn
    st.dataframe(
        rows,
        hide_index=True,
        column_config={
            "What": wide(width="medium"),
            "Plausible range": wide(width="medium"),
            "Source": wide(width="medium"),
            "Note": wide(width="large"),
        },
    )
    st.caption(f"{len(rows)} shown.")


def _launch(estimate: Estimate) -> None:
    st.caption(texts.LAUNCH)
    st.code(launch(estimate), language="bash", wrap_lines=True)
    used = pd.DataFrame(
        [{"Knob": key.replace("_", " "), "As used": f"{item}"} for key, item in estimate.resolved.items() if item is not None]
    )
    with st.expander("Every knob as it was used"):
        st.dataframe(used, hide_index=True)


def _money(estimate: Estimate) -> None:
    st.caption(texts.MONEY)
    money = estimate.money
    with st.grid(min_column_width=158, gap="medium"):
        number.tile(
            "An hour",
            money["usd_per_h"],
            show(float(value(money["usd_per_h"])), "USD/s"),
            key="usd-h",
            help="Price over useful hours plus electricity; or the rent you gave.",
        )
        number.tile(
            "A million tokens",
            money["usd_per_million"],
            show(float(value(money["usd_per_million"])), "USD"),
            key="usd-million",
            help="Of answers, at this load.",
        )
        number.tile("A month", money["usd_per_month"], show(float(value(money["usd_per_month"])), "USD"), key="usd-month")
        number.tile(
            "Power",
            estimate.metrics["power"],
            show(estimate.metric("power"), "W"),
            key="power",
            help="Mean draw of the devices at work.",
        )
        number.tile(
            "Energy a token",
            estimate.metrics["energy_per_token"],
            show(estimate.metric("energy_per_token"), "J"),
            key="energy",
        )
    if estimate.resolved["cost_basis"] == "rented" and estimate.scenario.costs.usd_per_h is None:
        st.caption("No purchase price is known for this device: the list price of renting it is taken. Give yours under Prices.")
    elif estimate.resolved["cost_basis"] not in ("rented", "bought"):
        st.caption("No purchase price is known for this device: only electricity is counted. Give one under Prices.")


@st.fragment
def _preview(estimate: Estimate) -> None:
    st.caption(texts.PREVIEW)
    first, each = estimate.metric("ttft"), estimate.metric("tpot")
    st.markdown(f"First token after **{show(first, 's')}**, then **{show(estimate.metric('decode_rate'), 'tok/s')}**.")
    if st.button("Play", type="primary", key="preview-play"):
        if preview.shortened(first):
            st.caption(f"The wait of {show(first, 's')} is shortened here.")
        st.write_stream(preview.played(first, each))
