"""Scores of quantised models as predicted without their own model."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest

from core.catalog.quality import Measured
from core.gates import targets
from core.judged_quality import Judged, judged, quality_figures, rmse
from core.quality import siblings

RECIPES = Path(__file__).resolve().parents[1] / "docs" / "recipes.md"


def test_no_score_is_predicted_from_its_own_model_or_a_finetune() -> None:
    found = judged()
    assert len(found) > 150 and {one.row.metric for one in found} >= {"composite", "mmlu", "average", "mmlu_arc"}
    assert {"family", "pooled"} == {one.level for one in found}  # never "measured"
    assert all(one.row.baseline is not None and one.predicted <= one.row.baseline for one in found)
    assert len(siblings(found[0].row.model)) >= 1


def test_the_gate_has_its_figure() -> None:
    gate = next(item for item in targets()["gate"] if item.get("measured_as") == "quality_rmse")
    figure = quality_figures()["quality_rmse"]
    assert figure["n"] == len(judged())
    assert 0.01 < figure["value"] < 2 * gate["at_most"]  # neither perfect nor nonsense; met or missed is reported
    stated = re.search(r"(\d+) scores, each predicted .* off by (0\.\d+) ", RECIPES.read_text(encoding="utf-8"))
    assert stated is not None and (int(stated[1]), float(stated[2])) == (figure["n"], round(figure["value"], 3))


def test_rmse() -> None:
    row = Measured(model="m", family="m", quant="Q8_0", metric="mmlu", value=0.5, baseline=0.6, source="tr125")
    assert rmse([Judged(row, 0.5, "pooled"), Judged(row, 0.7, "pooled")]) == pytest.approx(0.2 / math.sqrt(2))
    assert math.isnan(rmse([]))
