"""What is said of left-out runs: made without them, and by the same way that answers people's questions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from small_corpus import bands, left_out, observed

from core import folds
from core.corrected import Answer, answers
from core.correction import PARTS, Correction
from core.features import TERMS
from core.fit_core import fit_core
from core.observations import Observations, column_values
from core.out_of_fold import leave_out
from core.support import NEARNESS

TRUST = {part: np.linspace(0.9 - place / 5, 0.2, len(NEARNESS) + 1) for place, part in enumerate(PARTS)}


def with_measured(lines: pd.DataFrame, changed: np.ndarray, times: float) -> Observations:
    """The small corpus with some measurements times a number."""
    measured = np.where(changed, lines["measured"] * times, lines["measured"])
    return replace(observed()[0], lines=lines.assign(measured=measured))


def test_every_line_is_left_out_once() -> None:
    seen, _, named = observed()
    out = left_out("source")
    assert sorted(out.line) == list(range(len(seen.lines)))
    assert np.array_equal(out.group, named["source"][out.line].astype(str))
    assert np.array_equal(out.fold, folds.assign(named["source"], "source")[out.line])
    assert all(len(array) == len(out.line) for array in (out.near, out.doubt, out.support, *out.scales.values(), *out.words.values()))


@pytest.mark.parametrize("split", ["source", "row"])
def test_no_measurement_of_a_fold_moves_what_is_said_of_it(split: str) -> None:
    """All that was measured in the first fold is made a hundred times as much: the fold's own fit never sees it, others' do."""
    seen, parts, named = observed()
    first = folds.assign(named[split], split) == 0
    wrong = leave_out(with_measured(seen.lines, first, 100.0), parts, {split: named[split]}, lambda _: None, first=2)[split]
    right = left_out(split) if split == "source" else left_out(split, 2)
    ours, others = right.fold == 0, right.fold == 1
    assert np.array_equal(wrong.line, right.line[ours | others])
    again, elsewhere = wrong.fold == 0, wrong.fold == 1
    for name in TERMS:
        assert np.array_equal(wrong.scales[name][again], right.scales[name][ours]), name
    for name in PARTS:
        assert np.array_equal(wrong.words[name][again], right.words[name][ours]), name
    assert np.array_equal(wrong.doubt[again], right.doubt[ours])
    assert not np.allclose(wrong.scales["weights"][elsewhere], right.scales["weights"][others], rtol=0.05)


def by_the_answers(fold: int, with_forests: bool) -> tuple[np.ndarray, np.ndarray]:
    """Lines of a fold of the source split and their columns as `core.corrected.answers` gives them with the fold's own fit."""
    seen, parts, named = observed()
    ours = np.flatnonzero(folds.assign(named["source"], "source") == fold)
    core = fit_core(seen, parts, ~np.isin(np.arange(len(seen.lines)), ours))
    trust = {part: list(share) for part, share in TRUST.items()}
    correction = Correction("a fold's", core if with_forests else replace(core, forests={}), trust, bands())
    lines = seen.lines.iloc[ours]
    said = answers([seen.scenarios[place] for place in lines["place"]], correction)
    metrics = {name: np.full(len(seen.scenarios), np.nan) for name in seen.table.metrics}
    for place, answer in zip(lines["place"], said, strict=True):
        assert isinstance(answer, Answer)
        for name, amount in answer.metrics.items():
            metrics[name][place] = amount
    return ours, column_values(lines, metrics)


@pytest.mark.parametrize("with_forests", [True, False], ids=["with forests", "constants alone"])
def test_what_is_judged_is_what_people_are_told(with_forests: bool) -> None:
    """A left-out line is predicted as its fold's fit would answer the question; without trust by the constants alone."""
    seen, parts, _ = observed()
    out = left_out("source")
    predicted = out.predicted(seen, parts, TRUST if with_forests else None)
    line, told = by_the_answers(1, with_forests)
    assert np.array_equal(out.line[out.fold == 1], line)
    np.testing.assert_allclose(predicted[out.fold == 1], told, rtol=1e-9)


def test_trust_may_be_each_line_s_own() -> None:
    seen, parts, _ = observed()
    out = left_out("source")
    each = {part: np.tile(share, (len(out.line), 1)) for part, share in TRUST.items()}
    np.testing.assert_array_equal(out.predicted(seen, parts, each), out.predicted(seen, parts, TRUST))
    none = out.predicted(seen, parts, None)
    np.testing.assert_array_equal(out.predicted(seen, parts, {part: np.zeros_like(share) for part, share in TRUST.items()}), none)
    assert not np.allclose(none, out.predicted(seen, parts, TRUST), equal_nan=True)
