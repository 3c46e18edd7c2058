"""The shipped correction: whole, readable without pickles, ordered, and quiet where it knows nothing."""

import itertools

import numpy as np
import pytest
from quantile_forest import ExtraTreesQuantileRegressor

from core.constants import Constants
from core.corrected import Answer, answers
from core.correction import BAND_OF, save, shipped
from core.errors import CatalogError
from core.features import TERMS, tabulate
from core.forests import FEATURES_TRIED, LEAF, QUANTILES, TREES, fit_forest
from core.scenario import from_flat
from core.support import NEARNESS

KNOWN = {"model": "meta-llama/Llama-3.1-8B-Instruct", "device": "rtx-4090", "runtime": "llama.cpp", "quant": "Q4_K_M"}


def test_the_shipped_correction_answers_with_ordered_percentiles():
    correction = shipped()
    assert correction is not None
    found = answers([from_flat(KNOWN), from_flat({**KNOWN, "concurrency": 4})], correction)
    for answer in found:
        assert isinstance(answer, Answer) and answer.support in ("seen", "near", "far")
        for name in BAND_OF:
            low, high = answer.bands[name]
            assert 0 < low < answer.metrics[name] < high


def test_it_is_saved_and_read_back_the_same(tmp_path):
    correction = shipped()
    assert correction is not None
    save(correction, tmp_path)
    again = shipped(tmp_path)
    assert again is not None and again.version == correction.version
    asked = [from_flat(KNOWN)]
    assert answers(asked, again) == answers(asked, correction)


def test_broken_files_are_one_sentence(tmp_path):
    (tmp_path / "correction.json").write_text("{}")
    with pytest.raises(CatalogError, match="cannot be read"):
        shipped(tmp_path)


def test_trust_never_rises_as_evidence_gets_farther():
    correction = shipped()
    assert correction is not None
    for shares in correction.trust.values():
        assert len(shares) == len(NEARNESS) + 1
        assert all(a >= b for a, b in itertools.pairwise(shares)) and 0 <= shares[-1] <= shares[0] <= 1


def test_unknown_kinds_leave_the_physics_alone():
    table = tabulate([from_flat(KNOWN)])
    assert all(np.all(Constants().scales(table.traits)[term] == 1) for term in TERMS)


def test_an_exported_forest_answers_like_its_original():
    """Ours weighs every tree alike and keeps six residuals of a leaf, the original weighs every residual: close, not equal."""
    random = np.random.default_rng(0)
    x = random.normal(size=(600, 4)).astype(np.float32)
    y = 0.5 * x[:, 0] + random.normal(size=600) * 0.02
    forest, unseen = fit_forest(x, y, np.ones(600))
    original = ExtraTreesQuantileRegressor(
        n_estimators=TREES, min_samples_leaf=LEAF, max_features=FEATURES_TRIED, max_samples_leaf=None, bootstrap=True, random_state=0
    ).fit(x, y)
    ours, theirs = forest.quantiles(x), original.predict(x, quantiles=list(QUANTILES))
    assert np.all(np.diff(ours, axis=1) >= 0)
    assert np.corrcoef(ours[:, 1], theirs[:, 1])[0, 1] > 0.9
    told = np.isfinite(unseen)
    assert np.corrcoef(unseen[told], y[told])[0, 1] > 0.5
