"""The way into the comparison from any page: a link that adds a scenario to the builds there are."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import streamlit as st

from core.answer import Estimate
from core.builds import SLOTS, added, on_device, to_link, with_model
from core.catalog.hardware import Device
from core.compare import MOST
from core.errors import RoofcastError
from core.records import RunRecord
from core.runs import scenario_from_run
from core.scenario import Scenario
from pages.shared import what_if_state


def link(*scenarios: Scenario, label: str = "Compare") -> None:
    """A link to "What if?" with these scenarios added; those that no longer have room take the last places."""
    builds, shown = added(what_if_state.builds(), scenarios)
    st.page_link(
        "what_if.py", label=label, icon=":material/compare_arrows:", query_params={**to_link(builds), what_if_state.EDIT: SLOTS[shown]},
        help="Set it beside others: numbers with ranges, what explains the difference, sweeps, an API's price.",
    )  # fmt: skip


def last() -> None:
    """A link that compares what was asked last, for pages that ask of no scenario themselves."""
    link(what_if_state.current(), label="Compare what you asked last with another build")


def of_runs(records: Sequence[RunRecord]) -> None:
    """A link that compares what some runs measured, as far as it is known; nothing where none is."""
    found = []
    for record in records:
        with contextlib.suppress(RoofcastError):
            found.append(scenario_from_run(record.model_dump()))
    if found:
        link(*found[:MOST], label="Compare what was run")


def of_model(estimate: Estimate | None, model: str) -> None:
    """A link that compares the estimate, or else the last one with this model in it."""
    asked = estimate.scenario if estimate is not None else with_model(what_if_state.current(), model)
    link(asked, label="Compare it with another")


def of_devices(devices: Sequence[Device]) -> None:
    """A link that compares what was asked last on each of these devices; without any, with another build."""
    if not devices:
        last()
    else:
        named = "these devices" if len(devices) > 1 else "it with another"
        link(*(on_device(what_if_state.current(), device) for device in devices), label=f"Compare {named}")
