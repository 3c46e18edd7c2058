"""How well scores of quantised models are predicted when neither their model nor its finetunes were looked at."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

from core.catalog.quality import Measured, measured, metrics
from core.quality import looked_up, siblings
from core.quantity import value


class Judged(NamedTuple):
    """A measured score (share of 1) and what is predicted of it: the model's own baseline less the loss known from other models."""

    row: Measured
    predicted: float
    level: str


def judged() -> list[Judged]:
    """Every score with a baseline whose quantisation was measured on another model: the planner's composite and scores of tasks."""
    found = []
    for row in measured():
        if metrics()[row.metric].kind not in ("accuracy", "composite") or row.baseline is None:
            continue
        known = looked_up(row.model, row.quant, without=siblings(row.model))
        if known.level != "unknown":
            found.append(Judged(row, row.baseline - float(value(known.loss)), known.level))
    return found


def rmse(rows: Iterable[Judged]) -> float:
    """Root mean square error of predicted scores."""
    errors = [(one.predicted - one.row.value) ** 2 for one in rows]
    return math.sqrt(sum(errors) / len(errors)) if errors else math.nan


def quality_figures() -> dict[str, dict[str, float]]:
    """`quality_rmse`: over all judged scores, with their count, as the gate of the capacity planner asks."""
    rows = judged()
    return {"quality_rmse": {"value": round(rmse(rows), 4), "n": len(rows)}} if rows else {}
