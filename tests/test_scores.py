"""Score files: what is computed by DuckDB against the same figure by hand, filters, and files that are broken."""

from __future__ import annotations

import math
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pytest
from fake_scores import LOST, rows_table, scores_table, write
from hypothesis import given, settings
from hypothesis import strategies as st

from core import coverage, terms
from core.errors import RunError
from core.records import read_record
from core.scenario import from_query
from core.scores import SLICES, Choice, Scores, link_or_reason, scores, versions


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("scores"), rows=3000)


@pytest.fixture(scope="module")
def found(folder: Path) -> Scores:
    return Scores(folder)


@pytest.fixture(scope="module")
def by_hand(folder: Path) -> pd.DataFrame:
    """Rows and scores joined by pandas."""
    rows = pd.read_parquet(folder / "rows.parquet")
    table = pd.read_parquet(folder / "scores.parquet").merge(rows, on="row")
    table["ape"] = (table["p50"] / table["measured"] - 1).abs()
    table["log_ratio"] = np.log(table["p50"] / table["measured"])
    table["inside"] = (table["measured"] >= table["p10"]) & (table["measured"] <= table["p90"])
    return table


def test_summary_is_what_pandas_finds(found: Scores, by_hand: pd.DataFrame) -> None:
    here = by_hand[(by_hand["split"] == "source") & (by_hand["metric"] == "TTFT")]
    line = found.summary(Choice("source", {"metric": ["TTFT"]}))[0]
    assert line["n"] == len(here) and line["groups"] == here["group"].nunique()
    assert line["median"] == pytest.approx(here["ape"].median())
    assert line["mean"] == pytest.approx(here["ape"].mean())
    assert line["p90"] == pytest.approx(here["ape"].quantile(0.9))
    assert line["bias"] == pytest.approx(here["log_ratio"].median())
    assert line["near"] == pytest.approx((here["ape"] <= 0.25).mean())
    assert line["covered"] == pytest.approx(here["inside"].mean())
    assert line["below"] + line["covered"] + line["above"] == pytest.approx(1)
    assert line["width"] == pytest.approx((here["p90"] / here["p10"]).median())
    left = ((here["p50"] - here["measured"]) ** 2).sum() / ((here["measured"] - here["measured"].mean()) ** 2).sum()
    assert line["r2"] == pytest.approx(1 - left)
    logs = np.log(here["measured"])
    assert line["r2_log"] == pytest.approx(1 - (here["log_ratio"] ** 2).sum() / ((logs - logs.mean()) ** 2).sum())


def test_each_group_weighs_one(found: Scores, by_hand: pd.DataFrame) -> None:
    here = by_hand[(by_hand["split"] == "configuration") & (by_hand["metric"] == "decode")].groupby("group")
    line = found.summary(Choice("configuration", {"metric": ["decode"]}))[0]
    assert line["each_median"] == pytest.approx(here["ape"].median().mean())
    assert line["each_covered"] == pytest.approx(here["inside"].mean().mean())


def test_mixed_units_have_no_r2(found: Scores) -> None:
    line = found.summary(Choice("model", {"metric": ["decode", "TTFT"]}))[0]
    assert line["r2"] is None and line["r2_log"] is None


@pytest.mark.parametrize("by", SLICES)
def test_every_slice_holds_every_row_once(found: Scores, by: str) -> None:
    lines = found.summary(Choice("device"), by)
    assert sum(line["n"] for line in lines) == found.counts["rows"]
    assert all(line["slice"] for line in lines)
    places = [line["place"] for line in lines if line["place"] is not None]
    assert places == sorted(places)


def test_filters_keep_what_they_name(found: Scores, by_hand: pd.DataFrame) -> None:
    choice = Choice("model", {"source": ["lab-1", "lab-2"], "runtime": ["vllm"], "device": []})
    kept = by_hand[(by_hand["split"] == "model") & by_hand["source"].isin(["lab-1", "lab-2"]) & (by_hand["runtime"] == "vllm")]
    table = found.table(choice)
    assert sorted(table["row"]) == sorted(kept["row"])
    assert found.summary(choice)[0]["n"] == len(kept) > 0
    assert found.summary(choice.with_(source=["nobody"])) == []


def test_a_filter_is_bound_not_pasted(found: Scores) -> None:
    assert found.summary(Choice("model", {"source": ["x'] OR true --"]})) == []
    with pytest.raises(RunError, match="cannot be filtered by 'measured > 0 --'"):
        Choice("model", {"measured > 0 --": ["1"]})
    with pytest.raises(RunError, match="cannot be split by 'nothing'"):
        found.summary(Choice("model"), "nothing")


def test_baselines_are_compared_on_their_own_rows(found: Scores, by_hand: pd.DataFrame) -> None:
    here = by_hand[(by_hand["split"] == "model") & (by_hand["metric"] == "decode")]
    lines = {line["name"]: line for line in found.baselines(Choice("model", {"metric": ["decode"]}))}
    defined = here[here["planner"].notna()]
    assert lines["planner"]["n"] == len(defined) < len(here)
    assert lines["planner"]["median"] == pytest.approx((defined["planner"] / defined["measured"] - 1).abs().median())
    assert lines["planner"]["ours_median"] == pytest.approx(defined["ape"].median())
    assert lines["analytic"]["n"] == len(here)


def test_worst_rows_are_the_worst_either_way(found: Scores, by_hand: pd.DataFrame) -> None:
    here = by_hand[by_hand["split"] == "source"]
    worst = found.worst_rows(Choice("source"), 20)
    assert [abs(line["log_ratio"]) for line in worst] == pytest.approx(sorted(here["log_ratio"].abs(), reverse=True)[:20])


def test_sample_is_small_steady_and_draws_every_stratum(found: Scores, by_hand: pd.DataFrame) -> None:
    one, two = (found.sample(Choice("model"), 800) for _ in range(2))
    pd.testing.assert_frame_equal(one, two)
    assert len(one) == 800 and one["row"].is_unique
    strata = by_hand.groupby(["source", "runtime", "device"]).ngroups
    assert strata < 800 and one.groupby(["source", "runtime", "device"]).ngroups == strata
    assert len(found.sample(Choice("model"), 10**9)) <= 5000


def test_a_run_and_the_way_to_its_estimate(found: Scores, tmp_path: Path) -> None:
    run = found.run(7)
    assert {line["split"] for line in run["scores"]} == set(found.splits)
    query, reason = link_or_reason(run, tmp_path)
    asked = from_query(query)
    assert not reason and asked.model == run["model"] and asked.system.device == run["device"]
    with pytest.raises(RunError, match="no judged row 10000000"):
        found.run(10**7)


def test_the_record_of_a_run_goes_before_what_the_scores_tell(found: Scores, tmp_path: Path) -> None:
    record = read_record({"source": "lab", "model_id": "Qwen/Qwen3-8B", "runtime": "vllm", "gpu_name": "RTX 4090", "gpu_count": 2,
                          "concurrency": 3, "load_kind": "concurrency", "prompt_tokens": 700, "output_tokens": 70})  # fmt: skip
    (tmp_path / "runs.jsonl").write_text(record.model_dump_json() + "\n")
    query, reason = link_or_reason({**found.run(7), "run_id": record.run_id}, tmp_path)
    asked = from_query(query)
    assert not reason
    assert (asked.model, asked.workload.prompt_tokens, asked.system.count) == ("Qwen/Qwen3-8B", 700, 2)


def test_a_run_without_a_scenario_says_why(found: Scores, tmp_path: Path) -> None:
    query, reason = link_or_reason({**found.run(7), "arrival": "open"}, tmp_path)
    assert not query and reason.endswith(".")


def test_feasibility_names_the_false_alarms(found: Scores) -> None:
    said = {line["feasibility"]: line["runs"] for line in found.feasibility()}
    refused = found.refused()
    assert len(refused) == said["insufficient_memory"] and len({line["run_id"] for line in refused}) == len(refused)
    assert all(line["source"] == "lab-1" for line in found.refused({"source": ["lab-1"]}))


def test_corpus_map_counts_each_run_once(found: Scores) -> None:
    lines = found.corpus_map(models=4, devices=3)
    assert sum(line["runs"] for line in lines) == found.counts["runs"]
    assert len({line["model"] for line in lines}) == 5 and len({line["device"] for line in lines}) == 4


# ---- Files


def test_predictions_that_are_missing_are_counted(tmp_path: Path) -> None:
    write(tmp_path, rows=200)
    table = pd.read_parquet(tmp_path / "scores.parquet")
    table.loc[table["row"] < 10, "p50"] = np.nan
    with duckdb.connect() as con:
        con.from_df(table).write_parquet(str(tmp_path / "scores.parquet"))
    found = Scores(tmp_path)
    assert found.counts["unscored"] == 10 * len(found.splits)
    assert found.summary(Choice("model"))[0]["n"] == 190


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda folder: (folder / "rows.parquet").unlink(), "rows.parquet is missing"),
        (lambda folder: (folder / "scores.parquet").write_bytes(b"no parquet"), "cannot be read as Parquet"),
        (lambda folder: (folder / "rows.parquet").write_bytes((folder / "scores.parquet").read_bytes()), "lacks the column active_b"),
    ],
)
def test_broken_files_get_a_sentence(tmp_path: Path, damage, sentence: str) -> None:  # type: ignore[no-untyped-def]
    write(tmp_path, rows=50)
    damage(tmp_path)
    with pytest.raises(RunError, match=sentence):
        Scores(tmp_path)


def test_new_files_are_read_anew(tmp_path: Path) -> None:
    write(tmp_path, rows=50)
    first = scores(tmp_path)
    assert scores(tmp_path) is first
    write(tmp_path, rows=60)
    assert scores(tmp_path).counts["rows"] == 60


def test_versions_come_oldest_first_and_nonsense_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "b.json").write_text('{"date": "2026-01-02"}')
    (tmp_path / "c.json").write_text('{"date": "2025-01-02"}')
    (tmp_path / "a.json").write_text("[")
    assert [line["date"] for line in versions(tmp_path)] == ["2025-01-02", "2026-01-02"]
    assert versions(tmp_path / "none") == []


# ---- Terms


def test_the_planted_cause_is_found() -> None:
    """Runs of one source and runtime pay four times the overhead that is estimated: freeing it must explain them."""
    rows = rows_table(20_000, seed=5)
    rows = rows[(rows["source"] == LOST[0]) & (rows["runtime"] == LOST[1])]
    table = scores_table(rows.reset_index(drop=True), seed=6)
    both = table[table["split"] == "row"].merge(rows, on="row")
    for metric in ("decode", "latency"):
        freed = terms.free_terms(both[both["metric"] == metric], metric)
        assert freed[0].term == "overhead"
        assert 2.5 < freed[0].factor < 6
        assert freed[0].removed > 0.3


@settings(max_examples=30)
@given(st.floats(0.1, 10), st.sampled_from(["decode", "TPOT"]))
def test_a_constant_factor_is_taken_out_by_one_factor(factor: float, metric: str) -> None:
    rows = pd.DataFrame({"p50": [factor * n for n in (1.0, 5.0, 9.0)], "measured": [1.0, 5.0, 9.0]})
    freed = terms.free_all(rows, metric)
    assert freed.before == pytest.approx(abs(math.log(factor)))
    assert freed.after <= 0.016  # half a step of the factors tried
    assert freed.factor == pytest.approx(1 / factor if metric == "TPOT" else factor, rel=0.04)


@settings(max_examples=50)
@given(st.lists(st.tuples(st.floats(0.01, 100), st.floats(0, 1)), min_size=1, max_size=30), st.sampled_from(["decode", "TTFT"]))
def test_freeing_a_term_never_adds_error(cells: list[tuple[float, float]], metric: str) -> None:
    rows = pd.DataFrame({"p50": [c[0] for c in cells], "measured": 1.0, **{f"share_{t}": 0.0 for t in terms.TERMS}})
    rows["share_kv"] = [c[1] for c in cells]
    for freed in terms.free_terms(rows, metric):
        assert freed.term == "kv" and freed.after <= freed.before


def test_a_term_that_does_no_better_than_a_bias_is_not_named() -> None:
    term, every = terms.Freed("kv", 3.0, 0.5, 0.3), terms.Freed("all", 0.5, 0.5, 0.1)
    assert terms.cause(term, every).startswith("everything alike: 1/2 of what was estimated")
    assert terms.cause(terms.Freed("kv", 3.0, 0.5, 0.05), every) == "reading the KV cache: 3 times what was estimated"
    assert terms.cause(terms.Freed("kv", 1.0, 0.5, 0.49), terms.Freed("all", 1.0, 0.5, 0.5)).startswith("nothing found")


def test_memory_is_not_made_of_time(found: Scores) -> None:
    assert terms.free_terms(found.shares(Choice("model", {"metric": ["memory"]})), "memory") == []
    lines = terms.explained_slices(found, Choice("model", {"metric": ["memory"]}), least=2)
    assert lines and all(line["term"] is None and line["cause"] for line in lines)


# ---- Coverage by chance


@settings(max_examples=30)
@given(st.integers(1, 4000), st.floats(0.01, 0.99))
def test_binomial_is_a_distribution_with_its_mean(n: int, p: float) -> None:
    found = coverage.binomial(n, p)
    assert found.sum() == pytest.approx(1, abs=1e-9)
    assert (found * np.arange(n + 1)).sum() == pytest.approx(n * p)


def test_binomial_by_hand() -> None:
    assert coverage.binomial(3, 0.5) == pytest.approx([0.125, 0.375, 0.375, 0.125])


def test_groups_that_hold_by_chance_lie_where_chance_says() -> None:
    rng = np.random.default_rng(0)
    sizes = rng.integers(5, 200, 2000)
    lines = coverage.histogram([{"n": int(n), "covered": float(rng.binomial(n, 0.8))} for n in sizes])
    assert sum(line["groups"] for line in lines) == 2000
    for line in lines:
        assert line["groups"] == pytest.approx(line["chance"], abs=4 * math.sqrt(line["chance"]) + 4)


def test_small_groups_are_left_out_of_the_histogram() -> None:
    assert sum(line["groups"] for line in coverage.histogram([{"n": 4, "covered": 4.0}, {"n": 5, "covered": 5.0}])) == 1
