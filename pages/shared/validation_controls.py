"""The filters of the validation page; each is bound to the address, under names that no scenario uses."""

from __future__ import annotations

import streamlit as st

from core.report import SPLIT_NAMES
from core.scores import Choice, Scores

ANY = "any metric"
LABELS = {
    "source": "Source",
    "device_class": "Kind of device",
    "device": "Device",
    "runtime": "Runtime",
    "quant": "Quantisation",
    "model": "Model",
    "size": "Size of model",
    "load": "Users",
}
LOADS = {"one": "one at a time", "many": "many at once"}


def _shown(option: str) -> str:
    return LOADS.get(option, option)


def choose(scores: Scores) -> Choice:
    """Draw the filters; what they choose."""
    metrics = [*scores.metrics, ANY]
    left, right, more = st.columns([3, 4, 3], vertical_alignment="bottom")
    metric = left.selectbox("Metric", metrics, key="judged_metric", bind="query-params")
    names = {SPLIT_NAMES.get(split, split): split for split in scores.splits}
    usual = [*names.values()].index("model") if "model" in names.values() else 0
    split = right.selectbox("Judged on", list(names), index=usual, key="judged_split", bind="query-params")
    filters = {"metric": [metric]} if metric != ANY else {}
    kept: dict[str, list[str]] = {}
    with more.popover("Filter", icon=":material/filter_alt:", width="stretch"):
        for column, label in LABELS.items():
            options = scores.options(column)
            kept[column] = st.multiselect(
                label,
                options,
                key=f"judged_{column}",
                bind="query-params",
                placeholder="all",
                format_func=_shown,
            )
    chosen = {column: items for column, items in kept.items() if items}
    if chosen:
        told = "; ".join(f"{LABELS[column].lower()} {', '.join(map(_shown, items))}" for column, items in chosen.items())
        st.caption(f"Filtered: {told}.")
    return Choice(names[split], {**filters, **chosen})
