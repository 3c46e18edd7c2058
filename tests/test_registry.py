"""Versions that were fitted here: immutable, listed, chosen and taken back."""

from __future__ import annotations

import functools
import json
from dataclasses import replace

import numpy as np
import pytest

from core import registry
from core.bands import Bands
from core.correction import Correction, shipped
from core.errors import CatalogError
from core.forests import Forest

ZERO, END = np.zeros(1, dtype=np.int32), np.full(1, -1, dtype=np.int32)
LEAF = Forest(ZERO, ZERO, np.zeros(1, dtype=np.float32), END, END, ZERO, np.zeros((1, 3), dtype=np.float32))  # one tree, no branches


@functools.cache
def small() -> Correction:
    """The shipped fit without its forests, which take seconds to pack."""
    base = shipped()
    core = replace(base.core, forests=dict.fromkeys(base.core.forests, LEAF))
    return Correction(base.version, core, base.trust, Bands(dict.fromkeys(base.bands.forests, LEAF), base.bands.factors))


@pytest.fixture(autouse=True)
def _home(tmp_path, monkeypatch):
    monkeypatch.setenv("ROOFCAST_HOME", str(tmp_path))


def kept(inputs: str = "a", **about: object) -> registry.Version:
    return registry.keep(small(), {"inputs": inputs, "base": shipped().version, "promoted": False, "why": "", **about})


def test_a_version_is_stored_once_and_never_changed():
    one = kept()
    assert kept() == one and [v.name for v in registry.versions()] == [one.name]
    assert kept("b").name != one.name and len(registry.versions()) == 2
    assert all(path.stat().st_mode & 0o222 == 0 for path in one.folder.iterdir())


def test_a_version_loads_as_it_was_stored():
    found = registry.load(kept())
    assert isinstance(found, Correction) and found.core.constants == shipped().core.constants


def test_one_changed_byte_is_found():
    one = kept()
    path = one.folder / "correction.json"
    path.chmod(0o644)
    path.write_text(path.read_text().replace("trust", "trusT", 1))
    with pytest.raises(CatalogError, match="not as it was stored"):
        registry.use(one.name, "a test")
    assert registry.chosen() == registry.SHIPPED


def test_a_choice_is_in_effect_and_can_be_taken_back():
    one, two = kept("a"), kept("b")
    assert registry.in_use() is None and registry.chosen() == registry.SHIPPED
    registry.use(one.name[:5], "by hand")
    assert registry.in_use().version == one.name
    registry.use(two.name, "by hand")
    assert registry.undo() == one.name and registry.in_use().version == one.name
    registry.use(registry.SHIPPED, "by hand")
    assert registry.in_use() is None and [c["version"] for c in registry.choices()] == [one.name, two.name, one.name, "shipped"]


def test_there_is_nothing_to_take_back_at_first():
    with pytest.raises(CatalogError, match="Nothing was ever chosen"):
        registry.undo()


def test_a_version_of_an_older_shipped_fit_is_not_used():
    old = kept("a", base="0123456789ab")
    registry.use(old.name, "by hand")
    assert registry.in_use() is None


@pytest.mark.parametrize("name", ["", "zzz", "../../etc"])
def test_an_unknown_version_is_one_sentence(name):
    with pytest.raises(CatalogError, match="begin"):
        registry.version(name)


def test_a_refit_that_is_asked_for_stays_asked_for_until_it_is_done():
    registry.want(["decode grew"])
    registry.want(["memory grew", "decode grew"])
    assert registry.wanted() == ["decode grew", "memory grew"]
    registry.done()
    assert registry.wanted() == []


def test_a_broken_list_of_choices_means_the_shipped_version(tmp_path):
    (tmp_path / "versions").mkdir()
    (tmp_path / "versions" / registry.CHOICES).write_text("nonsense\n" + json.dumps({"version": "shipped"}) + "\n{")
    assert registry.chosen() == registry.SHIPPED
