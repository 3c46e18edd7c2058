"""Errors of the estimate against runs. The rows are invented (synthetic)."""

import math

import pandas as pd
import pytest

import core.batch
from core.validate import (
    analytic_errors,
    analytic_report,
    excluded,
    excluded_metrics,
    measured_metrics,
    summary,
    worst_slices,
)

BASE = {
    "source": "synthetic",
    "model_id": "Qwen/Qwen3-8B",
    "quant": "FP8",
    "runtime": "vllm",
    "gpu_name": "H100 80GB SXM",
    "gpu_count": "1",
    "load_kind": "concurrency",
    "concurrency": "8",
    "prompt_tokens": "1024",
    "output_tokens": "256",
    "tpot_ms_p50": "",
    "tpot_ms_mean": "",
    "ttft_ms_mean": "",
    "output_toks_sec": "",
    "sanity_flag": "",
    "quality_tier": "",
    "notes": "",
}


@pytest.fixture(autouse=True)
def fake(monkeypatch):
    found = {"tpot": 0.010, "ttft": 0.2, "output_rate": 500.0}
    monkeypatch.setattr(core.batch, "numbers_of", lambda scenarios, *, strict: [found for _ in scenarios])


def table(tmp_path, rows):
    path = tmp_path / "runs.csv"
    pd.DataFrame([{**BASE, **r} for r in rows]).to_csv(path, index=False)
    return path


def test_errors_by_hand(tmp_path):
    errors = analytic_errors(table(tmp_path, [{"tpot_ms_p50": "8", "tpot_ms_mean": "100", "output_toks_sec": "1000"}]))
    tpot, rate = (errors[errors["metric"] == m].iloc[0] for m in ("TPOT", "output rate"))
    assert tpot["ape"] == pytest.approx(0.25)  # 10 ms against 8; the median goes before the mean
    assert tpot["log_ratio"] == pytest.approx(math.log(1.25))
    assert rate["ape"] == pytest.approx(0.5) and rate["log_ratio"] == pytest.approx(-math.log(2))
    assert (tpot["source"], tpot["runtime"], tpot["device_class"]) == ("synthetic", "vllm", "NVIDIA datacenter")


def test_the_mean_stands_in_for_a_missing_median():
    assert measured_metrics({"ttft_ms_mean": "5", "ttft_ms_p50": ""})["TTFT"] == ("ttft_ms_mean", 5.0)
    assert measured_metrics({"ttft_ms_mean": "5", "ttft_ms_p50": "4"})["TTFT"] == ("ttft_ms_p50", 4.0)
    assert measured_metrics({"ttft_ms_mean": "-1", "power_w": "x", "decode_toks_sec": "inf"}) == {}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"notes": "SPECDEC; MTP"}, "SPECDEC"),
        ({"notes": "AGENTIC multi-turn"}, "AGENTIC"),
        ({"notes": "KV CACHE DISABLED (recompute)"}, "KV cache off"),
        ({"quality_tier": "C"}, "tier C"),
        ({"sanity_flag": "cpu_offload"}, "flag: cpu_offload"),
        ({"sanity_flag": "low_bw_util<8%"}, ""),  # names a result: leaving it out would flatter the error
        ({"sanity_flag": "multi_gpu_bw_util>1.3"}, ""),
        ({}, ""),
    ],
)
def test_rules_of_exclusion(change, reason):
    assert excluded({**BASE, **change}) == reason


def test_rules_do_not_see_the_measurement():
    for change in ({"notes": "SPECDEC"}, {"sanity_flag": "cpu_offload"}, {}):
        row = {**BASE, **change}
        assert excluded(row) == excluded({**row, "tpot_ms_p50": "1e9"})
        assert excluded_metrics(row) == excluded_metrics({**row, "tpot_ms_p50": "1e9"})


def test_metrics_that_measure_something_else_are_left_out():
    assert "TTFT" in excluded_metrics({**BASE, "notes": "TTFT suggests prefix caching of the shared preamble"})
    assert "TTFT" in excluded_metrics({**BASE, "notes": "prefill 1x(tp4,dp1) decode 4x(tp4,dp1)"})
    qwen = {**BASE, "model_id": "Qwen/Qwen2.5-7B-Instruct", "notes": "reported speed 70.3 = (prompt+2048)/time"}
    assert excluded_metrics({**qwen, "prompt_tokens": "30720"}) == ("latency",)
    assert excluded_metrics({**qwen, "prompt_tokens": "1"}) == ()
    assert excluded_metrics({**qwen, "model_id": "Qwen/Qwen3-8B", "prompt_tokens": "30720"}) == ()


def test_counts_tell_what_happened_to_every_row(tmp_path):
    rows = [{"tpot_ms_p50": "8"}, {"quality_tier": "C"}, {"model_id": "nobody/unheard-of"}, {"tpot_ms_p50": ""}]
    errors = analytic_errors(table(tmp_path, rows))
    assert errors.attrs["rows"] == 4
    assert errors.attrs["excluded"] == {"tier C": 1}
    assert sum(errors.attrs["errors"].values()) == 1
    assert list(errors["row"]) == [0]


def test_summary_and_worst_slices(tmp_path):
    rows = [{"tpot_ms_p50": str(10 / f), "source": s} for s, f in (("good", 1.0), ("good", 1.1), ("bad", 3.0), ("bad", 3.0), ("rare", 9.0))]
    errors = analytic_errors(table(tmp_path, rows))
    by = summary(errors, ["source"]).set_index("source")
    assert by.loc["bad", "n"] == 2 and by.loc["bad", "median"] == pytest.approx(2.0)
    assert by.loc["bad", "bias"] == pytest.approx(math.log(3))
    assert by.loc["good", "median"] == pytest.approx(0.05)
    assert by.loc["good", "p90"] == pytest.approx(0.09)
    worst = worst_slices(errors, n=5, min_rows=2)
    assert list(worst["source"]) == ["bad", "good"]  # one row is no slice


def test_an_empty_table_is_no_failure(tmp_path):
    errors = analytic_errors(table(tmp_path, [{"tpot_ms_p50": ""}]))
    assert errors.empty and summary(errors).empty and worst_slices(errors).empty


def test_the_report_is_plain_data(tmp_path):
    import json

    report = analytic_report(table(tmp_path, [{"tpot_ms_p50": "8"}] * 3))
    assert json.loads(json.dumps(report))["by"]["metric"][0]["n"] == 3
    assert report["judged"] == 3 and report["rules"]
