"""One judged run: what was measured, what each fit said that had not seen it, and the way to its explanation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
import streamlit as st

from core import report
from core.scenario import from_query
from core.scores import Scores, link_or_reason
from pages.shared import what_if_add
from pages.shared.words import escape

_ROW_CONFIG = {
    "row": None,
    "run_id": None,
    "inside": None,
    "held_out": None,
    "analytic": None,
    "parameters_b": None,
    "active_b": None,
    "device_class": None,
    "backend": None,
    "arrival": None,
    "year": None,
    "fitted": None,
    "p10": None,
    "p90": None,
    "source_path": None,
    "log_ratio": st.column_config.NumberColumn("ln(predicted / measured)", format="%+.2f", help="Above 0: predicted too high."),
    "metric": "Metric",
    "unit": "Unit",
    "measured": st.column_config.NumberColumn("Measured", format="%.4g"),
    "p50": st.column_config.NumberColumn("Predicted", format="%.4g"),
    "ape": st.column_config.NumberColumn("Error, %", format="%.0f"),
    "support": "Support",
    "source": "Source",
    "model": "Model",
    "device": "Device",
    "device_count": "Count",
    "runtime": "Runtime",
    "quant": "Quantisation",
    "concurrency": "At once",
    "prompt_tokens": "Tokens in",
    "output_tokens": "Tokens out",
    "context_depth": "Cached before",
}
_ORDER = ("ape", "log_ratio", "metric", "measured", "p50", "unit", "model", "device", "device_count", "runtime", "quant", "source",
          "concurrency", "prompt_tokens", "output_tokens", "context_depth", "support")  # fmt: skip


def runs_table(scores: Scores, rows: Sequence[dict[str, Any]], *, key: str) -> None:
    """Rows to choose from; the chosen one is explained below."""
    if not rows:
        st.caption("No run is left by these filters.")
        return
    st.caption("Choose a run to see what is known of it.")
    shown: Any = st.dataframe(
        report.percent(pd.DataFrame(rows), ["ape"]),
        hide_index=True,
        column_config=_ROW_CONFIG,
        column_order=_ORDER,
        on_select="rerun",
        selection_mode="single-row",
        key=f"{key}-runs",
        height=min(420, 72) if len(rows) == 1 else "auto",
    )
    if shown.selection.rows:
        draw(scores, rows[shown.selection.rows[0]]["row"], key=key)


def draw(scores: Scores, row: int, *, key: str) -> None:
    """The panel of one run."""
    run = scores.run(row)
    with st.container(border=True, key=f"run-{key}"):
        st.markdown(
            f"**{escape(run['model'])}** ({escape(run['quant'])}) on {run['device_count']} × **{escape(run['device'])}**, "
            f"{escape(run['runtime'])}; {run['concurrency']:,.0f} at once, {run['prompt_tokens']:,.0f} tokens in, "
            f"{run['output_tokens']:,.0f} out, {run['context_depth']:,.0f} cached before"
        )
        st.markdown(
            f"Measured **{run['measured']:,.4g} {run['unit']}** ({run['metric']}) by {escape(run['source'])}, "
            f"{escape(str(run['source_path'] or 'place not stated'))}. Uncorrected estimate: {run['analytic']:,.4g} {run['unit']}."
        )
        query, reason = link_or_reason(run)
        if query:
            with st.container(horizontal=True, vertical_alignment="center", gap="small"):
                st.link_button(
                    "Explain this run's estimate", f"./?{query}", type="primary", icon=":material/account_tree:", key=f"link-{key}"
                )
                what_if_add.link(from_query(query))
        else:
            st.caption(escape(f"This run has no estimate to open: {reason}"))
        left, right = st.columns([3, 2])
        number = st.column_config.NumberColumn
        left.dataframe(
            pd.DataFrame(report.run_numbers(run)), hide_index=True, key=f"numbers-{key}",
            column_config={name: number(format="%.4g") for name in ("p10", "p50", "p90")},
        )  # fmt: skip
        shares = report.run_shares(run)
        if shares:
            part = st.column_config.ProgressColumn("Share of the step", format="%.0f %%", min_value=0, max_value=100)
            right.dataframe(pd.DataFrame(shares), hide_index=True, key=f"shares-{key}", column_config={"Share (%)": part})
