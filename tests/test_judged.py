"""The judged rows: whole, and what simpler ways would say of them worked out by hand."""

from __future__ import annotations

from functools import cache

import numpy as np
import pandas as pd
import pytest
from small_corpus import observed

from core.batch import groups
from core.estimate import estimate
from core.judged import rows_table
from core.observations import observe_runs
from core.quantity import value
from core.scores import _ROW_COLUMNS, TERMS

SHARES = [f"share_{term}" for term in TERMS]


@cache
def table() -> pd.DataFrame:
    seen, parts, named = observed()
    return rows_table(seen, parts, named["configuration"])


def test_the_columns_are_those_that_are_asked_for_and_each_line_has_its_row() -> None:
    seen, rows = observed()[0], table()
    assert set(rows.columns) == _ROW_COLUMNS
    assert list(rows["row"]) == list(range(len(seen.lines)))
    assert rows["measured"].tolist() == seen.lines["measured"].tolist()
    gaps = rows.drop(columns=["planner", "bandwidth", "year"]).isna().any()
    assert not gaps.any(), gaps[gaps].index.tolist()


def test_shares_are_of_the_whole_time_or_of_nothing() -> None:
    rows = table()
    whole = rows[SHARES].sum(axis=1)
    assert np.all(rows[SHARES] >= 0)
    nothing = rows["metric"].isin(["memory", "power"])
    assert nothing.any() and np.all(whole[nothing] == 0)
    assert whole[~nothing].to_numpy() == pytest.approx(np.ones((~nothing).sum()), abs=1e-5)


def test_shares_of_a_decode_row_are_those_of_its_step() -> None:
    seen, rows = observed()[0], table()
    row = rows[(rows["metric"] == "decode") & (rows["source"] == "gparemsky/48gb4090")].iloc[0]
    step = estimate(seen.scenarios[int(seen.lines["place"].iloc[row["row"]])], strict=False).decode.step
    for op, share in (("attention", "share_kv"), ("activations", "share_activations"), ("fixed costs", "share_overhead")):
        (time,) = (float(value(one.time)) for one in step.ops if one.name == op)
        assert row[share] == pytest.approx(time / step.computed, rel=1e-4), op


# ---------------------------------------------------------------- what is simpler


@cache
def by_hand() -> pd.DataFrame:
    """Llama 3.1 8B on an RTX 4090 that writes two tokens after one: hardly any cache, so a token reads the weights."""
    plain = {"model_id": "meta-llama/Llama-3.1-8B-Instruct", "gpu_name": "RTX 4090", "gpu_count": 1, "runtime": "llama.cpp",
             "quant": "F16", "concurrency": 1, "prompt_tokens": 1, "output_tokens": 2, "decode_toks_sec": 50.0, "source": "hand",
             "run_date": "2025-06-01"}  # fmt: skip
    asked = [plain, {**plain, "quant": "Q8_0"}, {**plain, "concurrency": 2}, {**plain, "gpu_count": 2}, {**plain, "prefill_toks_sec": 60.0},
             {**plain, "model_id": "meta-llama/Llama-3.3-70B-Instruct", "decode_toks_sec": 1.0}]  # fmt: skip
    seen = observe_runs(pd.DataFrame([{**run, "run_id": str(place)} for place, run in enumerate(asked)]))
    assert len(seen.runs) == len(asked)
    parts, _ = groups(seen.scenarios, strict=False)
    return rows_table(seen, parts, seen.lines["run_id"].to_numpy()).set_index(["run_id", "metric"])


def test_the_roofline_is_the_bandwidth_over_the_bytes_that_a_token_reads() -> None:
    """8,030,261,248 parameters, of them 128,256 × 4,096 input embeddings, which are not read through; 2 bytes each; 1,008 GB/s."""
    assert by_hand().loc[("0", "decode"), "roofline"] == pytest.approx(1008e9 / (2 * (8_030_261_248 - 128_256 * 4096)), rel=2e-3)


def test_the_planner_is_its_formula_where_it_is_defined() -> None:
    """72.1 · 8.03^-0.089 tok/s on its laptop of 556 GB/s, times the card's 1,008; 8.5 bits are 1.3 times as fast as 16."""
    rows = by_hand()
    assert rows.loc[("0", "decode"), "planner"] == pytest.approx(72.1 * 8.030261**-0.089 * 1008 / 556, rel=1e-5)
    assert rows.loc[("1", "decode"), "planner"] == pytest.approx(1.3 * 72.1 * 8.030261**-0.089 * 1008 / 556, rel=1e-5)
    for elsewhere in (("2", "decode"), ("3", "decode"), ("4", "prefill"), ("5", "decode")):
        assert np.isnan(rows.loc[elsewhere, "planner"]), elsewhere


def test_bandwidth_times_one_constant_is_right_on_the_median_and_the_mean_on_average() -> None:
    rows = table()
    for metric, some in rows.groupby("metric"):
        assert some["mean"].unique() == pytest.approx([some["measured"].mean()])
        if metric in ("memory", "power"):
            assert some["bandwidth"].isna().all()
        else:
            assert (some["bandwidth"] / some["measured"]).median() == pytest.approx(1.0, abs=0.1), metric
    one, two = (by_hand().loc[(run, "decode"), "bandwidth"] for run in ("0", "1"))
    assert two / one == pytest.approx(16 / 8.5, rel=0.01)  # by the weights alone
