"""The build's check on the fit: no error is larger than was accepted, and a fit of other runs is noticed.

That what is shipped is what the runs make takes minutes: the README's test command asks `roofcast validate --check` itself.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from small_corpus import bands, left_out, observed
from typer.testing import CliRunner

from core import fit_check, gates
from core.cli import app
from core.correction import FOLDER, PARTS, Correction, save
from core.errors import RunError
from core.fit import BLOCKS, predict_left_out, version_of
from core.fit_check import Refitted, refit_first_folds
from core.fit_core import fit_core
from core.scores import Scores
from core.support import NEARNESS

TRUST = [{part: [1 - number / BLOCKS] * (len(NEARNESS) + 1) for part in PARTS} for number in range(BLOCKS)]


def run(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, words)
    return result.exit_code, result.output


# ---------------------------------------------------------------- what is shipped


def test_no_error_is_larger_than_was_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ROOFCAST_SCORES", raising=False)
    assert gates.thresholds(Scores(FOLDER / "validation"))
    code, output = run("validate")
    assert code == 0, output[-2000:]


# ---------------------------------------------------------------- that it notices


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder as a fit of the small corpus leaves it, by the source split alone."""
    seen, parts, named = observed()
    monkeypatch.setattr(fit_check, "observe", lambda: (seen, parts, {"source": named["source"]}))
    out, version = left_out("source"), version_of(seen)
    p50 = predict_left_out(seen, parts, {"source": out}, TRUST)["source"]
    core = fit_core(seen, parts, np.ones(len(seen.lines), dtype=bool))
    save(Correction(version, core, TRUST[0], bands()), tmp_path)
    (tmp_path / "validation").mkdir()
    pd.DataFrame({"row": out.line, "split": "source", "p50": p50}).to_parquet(tmp_path / "validation" / "scores.parquet")
    (tmp_path / "validation" / "fit.json").write_text(json.dumps({"version": version, "trust_by_block": TRUST}))
    return tmp_path


def test_the_same_runs_make_the_same_fit_and_another_is_noticed(made: Path) -> None:
    (found,) = refit_first_folds(lambda _: None, made)
    assert found == Refitted("source", found.lines, 0.0, 0.0) and found.same
    assert found.lines == np.sum(left_out("source").fold == 0)

    path = made / "validation" / "scores.parquet"
    scores = pd.read_parquet(path)
    scores.assign(p50=scores["p50"] * np.where(scores.index % 4 == 0, 1.0, 1.02)).to_parquet(path)
    (found,) = refit_first_folds(lambda _: None, made)
    assert not found.same and found.median == pytest.approx(np.log(1.02)) == found.p90


def test_a_fit_of_other_runs_is_refused_in_a_sentence(made: Path) -> None:
    about = made / "validation" / "fit.json"
    about.write_text(json.dumps({**json.loads(about.read_text()), "version": "0" * 12}))
    with pytest.raises(RunError, match=r"fit\.json is of version 000000000000, but the runs make .*validate --full"):
        refit_first_folds(lambda _: None, made)
    about.unlink()
    with pytest.raises(RunError, match=r"cannot be read .*validate --full"):
        refit_first_folds(lambda _: None, made)


def test_the_command_fails_where_a_fold_differs(monkeypatch: pytest.MonkeyPatch) -> None:
    same, other = Refitted("source", 1200, 0.0012, 0.034), Refitted("model", 900, 0.05, 0.2)
    monkeypatch.setattr(fit_check, "refit_first_folds", lambda tell: [same])
    code, output = run("validate", "--check")
    assert code == 0 and " ".join(output.split()) == "source 1,200 lines moved by 0.12% (median), 3.40% (90th percentile)"
    monkeypatch.setattr(fit_check, "refit_first_folds", lambda tell: [same, other])
    code, output = run("validate", "--check")
    assert code == 1 and "differs" in output.splitlines()[1] and "differs" not in output.splitlines()[0]

    def refused(tell: object) -> None:
        raise RunError("The shipped fit is of other runs.")

    monkeypatch.setattr(fit_check, "refit_first_folds", refused)
    assert run("validate", "--check") == (2, "roofcast: The shipped fit is of other runs.\n")
