"""The shipped correction: whole, readable without pickles, ordered, and quiet where it knows nothing."""

import itertools

import numpy as np
import pytest
from quantile_forest import ExtraTreesQuantileRegressor
from small_corpus import bands, observed

from core.bands import BAND_OF
from core.constants import Constants
from core.corrected import Answer, answers
from core.correction import PARTS, Correction, save, shipped
from core.errors import CatalogError
from core.features import TERMS, tabulate
from core.fit_core import fit_core
from core.forests import FEATURES_TRIED, LEAF, QUANTILES, TREES, Forest, fit_with_unseen
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
    """As it was fitted in memory: what is judged is what is shipped."""
    seen, parts, _ = observed()
    trust = {part: [1.0, 0.5, 0.5, 0.1, 0.0, 0.0] for part in PARTS}
    made = Correction("0123456789ab", fit_core(seen, parts, np.ones(len(seen.lines), dtype=bool)), trust, bands())
    save(made, tmp_path)
    again = shipped(tmp_path)
    assert again is not None and again.version == made.version and again.trust == made.trust
    assert again.core.constants == made.core.constants and again.core.encoding == made.core.encoding and again.core.known == made.core.known
    for one, other in ((made.core.forests, again.core.forests), (made.bands.forests, again.bands.forests)):
        assert set(one) == set(other)
        for name, forest in one.items():
            assert all(np.array_equal(array, other[name].arrays()[key]) for key, array in forest.arrays().items()), name
    # To the last bit, and unknown where it was: a feature in another column would be another answer.
    assert list(map(repr, answers(seen.scenarios, again))) == list(map(repr, answers(seen.scenarios, made)))


def test_the_same_fit_is_the_same_bytes(tmp_path):
    correction = shipped()
    assert correction is not None
    for folder in (tmp_path / "one", tmp_path / "other"):
        save(correction, folder)
    for name in ("correction.json", "correction.npz"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "other" / name).read_bytes()


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
    """Ours weighs every tree alike and keeps few residuals of a leaf, the original weighs every residual: close, not equal."""
    random = np.random.default_rng(0)
    x = random.normal(size=(600, 4)).astype(np.float32)
    y = 0.5 * x[:, 0] + random.normal(size=600) * 0.02
    forest, unseen = fit_with_unseen(x, y, np.ones(600))
    original = ExtraTreesQuantileRegressor(
        n_estimators=TREES, min_samples_leaf=LEAF, max_features=FEATURES_TRIED, max_samples_leaf=None, bootstrap=True, random_state=0
    ).fit(x, y)
    ours, theirs = forest.quantiles(x), original.predict(x, quantiles=list(QUANTILES))
    assert np.all(np.diff(ours, axis=1) >= 0)
    assert np.corrcoef(ours[:, 1], theirs[:, 1])[0, 1] > 0.9
    told = np.isfinite(unseen)
    assert np.corrcoef(unseen[told], y[told])[0, 1] > 0.5


def test_a_packed_forest_is_the_same_forest():
    """Children and leaves are not stored: they follow from which nodes are leaves."""
    random = np.random.default_rng(1)
    x = random.normal(size=(300, 5)).astype(np.float32)
    forest, _ = fit_with_unseen(x, x[:, 0] * x[:, 1], np.ones(300))
    packed = forest.packed()
    again = Forest.unpacked(**packed)
    for name, array in forest.arrays().items():
        assert np.array_equal(array, again.arrays()[name]) and array.dtype == again.arrays()[name].dtype, name
    for name, cut in (("feature", packed["feature"][:-1]), ("threshold", packed["threshold"][1:]), ("held", packed["held"][1:])):
        with pytest.raises(ValueError, match="not whole"):
            Forest.unpacked(**{**packed, name: cut})
