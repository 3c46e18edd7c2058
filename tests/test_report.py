"""The report as JSON, HTML and text, and what `roofcast validate` answers and returns."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from fake_scores import write
from typer.testing import CliRunner

from core import gates
from core import report as made
from core.cli import app
from core.report_html import page
from core.scores import Choice, Scores


@pytest.fixture(autouse=True)
def _nothing_accepted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Made-up scores are not held to what was accepted of the shipped ones."""
    monkeypatch.setattr("core.gates.THRESHOLDS", tmp_path / "none.json")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("scores"), rows=9000)


@pytest.fixture(scope="module")
def found(folder: Path) -> Scores:
    return Scores(folder)


@pytest.fixture(scope="module")
def report(found: Scores) -> dict[str, Any]:
    return made.report(found)


@pytest.mark.parametrize(
    ("amount", "text"), [(0.047, "4.7 %"), (0.0996, "10 %"), (0.1, "10 %"), (0.436, "44 %"), (12.0, "×13"), (None, "unknown")]
)
def test_shares_in_words(amount: float | None, text: str) -> None:
    assert made.share(amount).replace("\u00a0", " ") == text


@pytest.mark.parametrize(
    ("log_ratio", "text"), [(0.6931, "2× too high"), (-0.6931, "2× too low"), (0.001, "right on the median"), (None, "unknown")]
)
def test_direction_in_words(log_ratio: float | None, text: str) -> None:
    assert made.off_by(log_ratio) == text


def test_the_report_is_plain_json(report: dict[str, Any], found: Scores) -> None:
    again = json.loads(json.dumps(report, allow_nan=False))
    assert again["counts"]["rows"] == 9000
    assert {line["split"] for line in again["table"]} == set(found.splits)
    assert again["headline"].startswith("Half of all decode speeds are predicted within ")


def test_the_page_says_what_no_model_can_beat(report: dict[str, Any]) -> None:
    text = " ".join(report["notes"])
    for said in ("4.7 % (decode)", "13 % (prefill, TTFT)", "about 16 %", "row split is the easy one"):
        assert said in text


def test_ten_worst_slices_have_causes(report: dict[str, Any]) -> None:
    for lines in report["worst_slices"].values():
        assert 0 < len(lines) <= 10
        for line in lines:
            assert line["cause"] and line["after"] <= line["before"]


def test_versions_are_set_side_by_side(found: Scores) -> None:
    kept = {"version": "feedfacefeedface", "date": "2026-10-01", "results": made.results(found)}
    rows = made.version_rows(found, [kept, {"version": "old and without results"}])
    assert {row["version"] for row in rows} == {"feedface", "uncorrected", "01234567 (now)"}
    mine, old = ([r["median"] for r in rows if r["version"] == v] for v in ("01234567 (now)", "feedface"))
    assert mine == old


def test_points_and_lines_of_the_scatter(found: Scores) -> None:
    points = made.scatter_points(found, Choice("model", {"metric": ["decode"]}))
    assert set(points["state"]) == {"inside p10–p90", "outside"}
    lines = made.scatter_lines(points)
    assert {line["line"] for line in lines} == {"exact", "high", "low"}
    assert min(line["measured"] for line in lines) < points["measured"].min()


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.outside: list[str] = []
        self.rows = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.rows += tag == "tr"
        self.outside += [str(text) for name, text in attrs if name in ("src", "href")]


def test_html_stands_alone(report: dict[str, Any], found: Scores) -> None:
    text = page(report, found)
    parsed = _Links()
    parsed.feed(text)
    assert not parsed.outside and "url(" not in text and "@import" not in text
    assert parsed.rows > len(report["table"]) + len(report["gates"])
    assert text.count("<svg") == len(found.metrics)


def test_names_of_others_cannot_write_markup(report: dict[str, Any], found: Scores) -> None:
    line = {**report["worst_slices"]["model"][0], "source": "<script>alert(1)</script>"}
    text = page({**report, "worst_slices": {"model": [line]}}, found)
    assert "<script>alert" not in text and "&lt;script&gt;alert" in text


# ---- The command


def run(folder: Path, *words: str) -> Any:
    return CliRunner().invoke(app, ["validate", *words], env={"ROOFCAST_SCORES": str(folder)}, catch_exceptions=False)


def test_validate_shows_before_after_and_target(folder: Path) -> None:
    result = run(folder)
    assert result.exit_code == 0
    for said in ("decode, before", "decode, after", "10 / 16 %", "p10–p90 holds", "Worst slices, unseen source", "Fitted in 412 s"):
        assert said in result.stdout
    assert re.search(r"^Throughput, R² +(met|MISSED)", result.stdout, re.MULTILINE)


def test_validate_writes_json_and_html(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "report.html"
    result = run(folder, "--json", "--html", str(out))
    assert result.exit_code == 0 and json.loads(result.stdout)["cards"]["total"] > 50
    assert out.read_text().startswith("<!doctype html>")


def test_validate_fails_where_an_error_got_worse(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "thresholds.json"
    monkeypatch.setattr(gates, "THRESHOLDS", path)
    assert run(folder, "--accept").exit_code == 0
    assert run(folder).exit_code == 0
    accepted = json.loads(path.read_text())
    accepted["thresholds"][0] |= {"median": 0.001, "noise": 0.0}
    path.write_text(json.dumps(accepted))
    result = run(folder)
    assert result.exit_code == 1 and "WORSE: decode, unseen configuration" in result.stdout


def test_validate_without_scores_says_what_to_do(tmp_path: Path) -> None:
    result = run(tmp_path)
    assert result.exit_code == 2
    assert result.stderr.startswith("roofcast: There are no scores in ") and "validate --full" in result.stderr


def test_analytic_needs_a_file(folder: Path) -> None:
    result = run(folder, "--analytic")
    assert result.exit_code == 2 and "give one with --runs" in result.stderr
