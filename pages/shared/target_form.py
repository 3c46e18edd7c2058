"""The form of "What should I buy?": every control is bound to the address under the goal's own name."""

from __future__ import annotations

from typing import Any

import streamlit as st

from core import choices
from core.goal import Goal
from core.inspect_model import model_options
from core.solve_form import FLOORS, TIMES, card_links, exact_link, goal_of, providers
from core.solve_words import OBJECTIVES, SIDE_NAMES
from pages.shared.words import escape

ABOUT = "Say what it has to do. The solver tries what you have, what can be bought and what can be rented."
_NOTICES = "_target_notices"
_USERS, _RATE = "Users at once", "Requests/s"


def draw() -> Goal:
    """Draw the form and return its goal. Raises RoofcastError for what cannot be asked."""
    _arrive()
    given: dict[str, Any] = {}
    with st.sidebar:
        st.markdown("### What should I buy?")
        st.caption(ABOUT)
        given["models"] = st.multiselect(
            "Models", model_options(None), [choices.default_model()], key="models", bind="query-params", max_selections=8,
            help="One, or a shortlist: the best of them is found. Type to search.",
        ) or [choices.default_model()]  # fmt: skip
        _load(given)
        _targets(given)
        _hardware(given)
        _limits(given)
        _more(given)
    return goal_of(given)


def show_notices() -> None:
    """What was wrong with the link, a sentence each."""
    for notice in st.session_state.get(_NOTICES, ()):
        st.warning(escape(notice))


def _arrive() -> None:
    """Once a session, before any control is bound: make the address's values exact."""
    if _NOTICES in st.session_state:
        return
    asked = {key: st.query_params.get_all(key) for key in st.query_params if not key.startswith("embed")}
    kept, st.session_state[_NOTICES] = exact_link(asked)
    if kept != asked:
        st.query_params.from_dict(kept)
        st.rerun()


def _number(given: dict[str, Any], key: str, label: str, low: Any, high: Any, default: Any, step: Any, help: str | None = None) -> None:
    given[key] = st.number_input(
        label, low, high, default, step, key=key, bind="query-params", help=help, placeholder="any",
        format="%g" if isinstance(low, float) else None,
    )  # fmt: skip


def _load(given: dict[str, Any]) -> None:
    left, right = st.columns(2)
    with left:
        _number(given, "prompt_tokens", "Prompt tokens", 1, 10_000_000, 1024, 256, "What is read before an answer starts.")
    with right:
        _number(given, "output_tokens", "Answer tokens", 1, 10_000_000, 256, 64, "What the model writes.")
    _number(given, "context_tokens", "Room for a conversation, tokens", 1, 10_000_000, None, 1024,
            "Context that each conversation must have. Empty: a prompt and its answer. With “Longest context” as what is best: the "
            "least of it; more is looked for.")  # fmt: skip
    kind = st.segmented_control("Load", [_USERS, _RATE], default=_USERS, key="target_load", required=True, label_visibility="collapsed")
    if kind == _RATE or "request_rate_per_s" in st.query_params:
        _number(given, "request_rate_per_s", "Requests a second", 0.001, 1_000_000.0, 1.0, 0.5,
                "They arrive at random; 30 % of the capacity stays free for bursts.")  # fmt: skip
        return
    users = st.container()
    given["open_users"] = st.toggle(
        "As many users as it serves", key="open_users", bind="query-params",
        help="Tries 1, 2, 4 … up to 1,024 at once for each copy of the model, as memory allows. Goes with “Most tokens a second” and a "
        "speed for each.",
    )  # fmt: skip
    if not given["open_users"]:
        with users:
            _number(given, "users", _USERS, 1, 1_000_000, 1, 1, "Each asks again as soon as the answer is complete.")


def _targets(given: dict[str, Any]) -> None:
    left, right = st.columns(2)
    with left:
        _number(given, "max_ttft_s", "First token, s", 0.01, 3600.0, None, 0.5, "At most, from asking to the first token.")
    with right:
        _number(
            given, "min_decode_tok_s", "Tok/s for each", 0.1, 10_000.0, 10.0, 1.0, "At least, as one user sees it. People read at about 5."
        )
    given["quality_floor"] = st.selectbox(
        "Loss of quality", list(FLOORS.values()), key="quality_floor", bind="query-params",
        help="Of a quantisation against full precision, in points of a task's score. Those that nobody measured count from four bits on.",
    )  # fmt: skip


def _hardware(given: dict[str, Any]) -> None:
    sides = st.pills(
        "Look among", list(SIDE_NAMES.values()), selection_mode="multi", default=[SIDE_NAMES["build"], SIDE_NAMES["cloud"]],
        key="hardware", bind="query-params",
    )  # fmt: skip
    given["hardware"] = list(sides) or [SIDE_NAMES["build"], SIDE_NAMES["cloud"]]
    if SIDE_NAMES["owned"] in given["hardware"]:
        given["owned.device"] = st.selectbox(
            "What you have", choices.device_names([st.query_params.get("owned.device")]), index=None, key="owned.device",
            bind="query-params", placeholder="Type to search, such as RTX 3090",
        )  # fmt: skip
        left, right = st.columns(2)
        with left:
            _number(given, "owned.count", "Count", 1, 4096, 1, 1)
        with right:
            _number(given, "owned.ram_gb", "RAM, GB", 0.5, 100_000.0, None, 8.0, "Of a Mac or other unified memory: all of it.")
        _host(given)
    if SIDE_NAMES["build"] in given["hardware"]:
        given["have_host"] = st.toggle(
            "A PC for the cards is there", key="have_host", bind="query-params", help="Then a build costs its cards alone."
        )


def _host(given: dict[str, Any]) -> None:
    """What is around cards of one's own; an integrated device has it by itself."""
    device = given["owned.device"]
    if device is None or choices.kind_of(device) != "card":
        return
    cpus = [name for name in choices.cpu_names() if name != choices.AUTO]
    given["owned.cpu"] = st.selectbox(
        "Its CPU", cpus, index=None, key="owned.cpu", bind="query-params", placeholder="a usual one",
        help="Computes the weights that lie in host memory.",
    )  # fmt: skip
    if given["owned.count"] > 1:
        given["owned.link"] = st.selectbox(
            "Between the cards", card_links(), index=None, key="owned.link", bind="query-params", placeholder="as the card has it"
        )


def _limits(given: dict[str, Any]) -> None:
    left, right = st.columns(2)
    with left:
        _number(given, "max_usd_per_month", "Max $ a month", 1.0, 1e8, None, 50.0,
                "Rent around the clock; or the purchase over three years, and electricity.")  # fmt: skip
    with right:
        _number(given, "max_purchase_usd", "Max $ to buy", 1.0, 1e9, None, 100.0)
    given["objective"] = st.selectbox("Best is", list(OBJECTIVES.values()), key="objective", bind="query-params")


def _more(given: dict[str, Any]) -> None:
    with st.expander("More limits and choices"):
        _number(given, "max_latency_s", "Whole answer within, s", 0.01, 86_400.0, None, 1.0)
        _number(given, "min_output_tok_s", "Tokens/s of all together", 0.1, 1e9, None, 100.0)
        given["times_at"] = st.selectbox(
            "Targets on times hold", list(TIMES.values()), key="times_at", bind="query-params",
            help="Beyond the average by a closed form: waiting is taken as exponential.",
        )  # fmt: skip
        _number(given, "max_power_w", "At most, W", 1.0, 1e7, None, 100.0, "Of the devices, under this load.")
        given["devices"] = st.multiselect("Only these devices", choices.device_names(), key="devices", bind="query-params")
        given["runtimes"] = st.multiselect("Only these runtimes", choices.runtime_names(), key="runtimes", bind="query-params",
                                           help="Empty: the usual ones, and others where they were measured.")  # fmt: skip
        given["providers"] = st.multiselect("Only these providers", providers(), key="providers", bind="query-params")
        given["region"] = st.text_input("Region", key="region", bind="query-params", placeholder="any, such as us-east", max_chars=60)
        _number(given, "max_devices", "Devices of one machine, at most", 1, 576, 8, 1)
        _number(given, "max_machines", "Machines, at most", 1, 4096, 64, 1)
        _number(given, "utilisation", "Share of the capacity planned for", 0.05, 1.0, None, 0.05,
                "Empty: 0.7 of random arrivals, for bursts need room; all of it for users at once, who are a peak already.")  # fmt: skip
        _number(given, "electricity_usd_per_kwh", "Electricity, $ per kWh", 0.0, 5.0, None, 0.01)
        given["offload"] = st.toggle("Weights may lie in host memory", True, key="offload", bind="query-params")
        given["sure"] = st.toggle(
            "Targets hold at the slow end of ranges, too", key="sure", bind="query-params",
            help="Off: by the median; “Balanced” and “Headroom” hold at the slow end anyway.",
        )  # fmt: skip
        given["pessimistic"] = st.toggle(
            "Rank by the bad end of ranges",
            True,
            key="pessimistic",
            bind="query-params",
            help="By p10 of speeds and p90 of memory; off: by medians.",
        )
