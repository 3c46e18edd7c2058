"""Judged memory: the columns of the score files, what each split's constants had seen, and ends around the estimated part alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from core import folds
from core.judged_memory import HELD_OUT, IN_SAMPLE, judged, memory_rows, memory_scores
from core.memory_fit import publisher
from core.scores import _ROW_COLUMNS, _SCORE_COLUMNS, Choice, Scores


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    return memory_rows(1000)


@pytest.fixture(scope="module")
def scores(rows: pd.DataFrame) -> pd.DataFrame:
    return memory_scores(rows, tuple(folds.FOLDS))


def test_rows_have_the_columns_of_the_score_files(rows: pd.DataFrame) -> None:
    assert set(rows.columns) == _ROW_COLUMNS
    assert rows["row"].tolist() == list(range(1000, 1000 + len(rows)))
    assert set(rows["metric"]) == {"memory"} and set(rows["unit"]) == {"GiB"} and rows["run_id"].is_unique
    assert rows["measured"].between(0.1, 1000).all() and (rows["device_count"] >= 1).all()
    assert rows[["roofline", "bandwidth", "planner"]].isna().all(axis=None)
    assert not rows.filter(like="share_").any(axis=None)


def test_scores_are_whole_in_every_split_but_time(rows: pd.DataFrame, scores: pd.DataFrame) -> None:
    assert set(scores.columns) == _SCORE_COLUMNS
    count = scores.groupby("split").size()
    assert all(count[split] == len(rows) for split in folds.FOLDS if split != "time")
    new = rows.set_index("row").loc[scores.loc[scores["split"] == "time", "row"], "year"]
    assert len(new) and (new >= float(folds.NEW_FROM)).all()
    assert np.isfinite(scores["p50"]).all() and (scores["p50"] > 0).all()
    assert set(scores["support"]) <= {"seen", "near", "far"}


def test_ends_lie_around_the_middle_and_above_what_is_exact(scores: pd.DataFrame) -> None:
    found = judged()
    for said in (found.shipped, found.held_out):
        stated = [(one, s) for one, s in zip(found.points, said, strict=True) if np.isfinite(s.low)]
        assert len(stated) > 0.8 * len(said)
        assert all(s.low <= s.middle <= s.high for _, s in stated)
        assert all(s.low >= one.exact for one, s in stated if s.middle >= one.exact)
    assert (scores["p10"].isna() == scores["p90"].isna()).all()


def test_by_source_nobodys_own_points_are_seen(rows: pd.DataFrame, scores: pd.DataFrame) -> None:
    found = judged()
    peaks = [n for n, one in enumerate(found.points) if one.point.kind != "taken"]
    assert any(found.shipped[n].middle != found.held_out[n].middle for n in peaks)
    # Nothing is fitted to a reservation, so nothing of it changes.
    assert all(found.shipped[n].middle == found.held_out[n].middle for n, one in enumerate(found.points) if one.point.kind == "taken")
    of_source = scores[scores["split"] == "source"]
    assert of_source["group"].tolist() == [publisher(one) for one in found.points]
    assert of_source.groupby("group")["fold"].nunique().eq(1).all()
    assert {s.support for s in found.shipped} == {"seen"} and len({s.support for s in found.held_out}) > 1
    assert set(HELD_OUT) == {"source", "time"} and "source and time" in IN_SAMPLE


def test_held_out_errors_are_no_smaller_and_still_small(rows: pd.DataFrame, scores: pd.DataFrame) -> None:
    error = (scores["p50"] / scores["row"].map(rows.set_index("row")["measured"]) - 1).abs().groupby(scores["split"]).median()
    assert error["row"] <= 0.03 and error["row"] <= error["source"] <= 0.07


def test_score_files_of_memory_alone_are_read(rows: pd.DataFrame, scores: pd.DataFrame, tmp_path: Path) -> None:
    rows.to_parquet(tmp_path / "rows.parquet")
    scores.to_parquet(tmp_path / "scores.parquet")
    line = Scores(tmp_path).summary(Choice("source"))[0]
    assert line["n"] == len(rows) and 0.6 < line["covered"] < 1
