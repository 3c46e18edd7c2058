"""What a fit leaves behind can be opened again, and a write that fails leaves what was there."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from small_corpus import bands, left_out, observed

from core import fit_files
from core.errors import RunError
from core.fit import BLOCKS, blocks_of, score_table
from core.fit_files import write_scores
from core.judged import rows_table
from core.scores import Choice, Scores, versions

ABOUT = {"version": "abcdef012345", "date": "2026-11-21", "runs": 93}
FIGURES = {"weights_median": {"value": 1.5, "n": 3}}


@pytest.fixture(autouse=True)
def figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """The figures of memory and quality are of all their points and take a while; they are tested with the points."""
    monkeypatch.setattr(fit_files, "memory_figures", lambda: FIGURES)
    monkeypatch.setattr(fit_files, "quality_figures", dict)


def written(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    seen, parts, named = observed()
    out = left_out("source")
    predicted = {"source": out.predicted(seen, parts, None)}
    rows = rows_table(seen, parts, named["configuration"])
    rows = rows[rows["metric"] != "memory"]
    scores = score_table(seen, {"source": out}, predicted, blocks_of(seen.lines), [bands()] * BLOCKS)
    write_scores(folder, rows, scores, ABOUT)
    return rows, scores


def held(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_the_scores_open_and_say_what_was_written(tmp_path: Path) -> None:
    rows, scores = written(tmp_path)
    assert list(held(tmp_path)) == [
        "validation/fit.json",
        "validation/rows.parquet",
        "validation/scores.parquet",
        f"versions/{ABOUT['version']}.json",
    ]
    found = Scores(tmp_path / "validation")
    assert found.splits == ("source",) and set(found.metrics) == set(rows["metric"])
    choice = Choice("source", {"metric": ["decode"]})
    (line,) = found.summary(choice)
    judged = scores.merge(rows[["row", "metric", "measured"]], on="row")
    decode = judged[judged["metric"] == "decode"]
    inside = (decode["p10"] <= decode["measured"]) & (decode["measured"] <= decode["p90"])
    assert line["n"] == len(decode) and 0 < inside.mean() < 1
    assert line["median"] == pytest.approx((decode["p50"] / decode["measured"] - 1).abs().median(), rel=1e-5)
    assert line["covered"] == pytest.approx(inside.mean())


def test_the_fit_is_described_and_kept_by_its_version(tmp_path: Path) -> None:
    written(tmp_path)
    found = Scores(tmp_path / "validation").fit
    assert found.items() >= {**ABOUT, "figures": FIGURES}.items() and found["results"]
    assert versions(tmp_path / "versions") == [found]
    written(tmp_path)
    assert versions(tmp_path / "versions") == [found]  # the same version once


def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path)
    before = held(tmp_path)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(RunError, match="cannot be written"):
        written(tmp_path)
    assert held(tmp_path) == before


def test_scores_that_cannot_be_summed_up_are_not_kept_as_a_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file that is there is whole."""

    def broken(_: Scores) -> None:
        raise RunError("nothing to report")

    monkeypatch.setattr(fit_files, "results", broken)
    with pytest.raises(RunError, match="nothing to report"):
        written(tmp_path)
    assert json.loads((tmp_path / "validation" / "fit.json").read_text())["version"] == ABOUT["version"]
    assert Scores(tmp_path / "validation").splits == ("source",) and versions(tmp_path / "versions") == []
