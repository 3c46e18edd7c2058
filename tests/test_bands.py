"""Intervals hold the share that they claim, know where little is known, and are learned from groups, not from rows."""

from __future__ import annotations

import itertools
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.bands import FARTHEST, LEAST, SHARE, Bands, Residuals, fit_bands, trust_for

SURE, UNSURE = 0.1, 0.5  # spread of the log error where much and where little is known


def runs_of(groups: int, each: int, seed: int) -> Residuals:
    """Runs that spread further where the device was not seen, the first feature; the second tells nothing. Groups of five blocks."""
    random = np.random.default_rng(seed)
    group = np.repeat(np.arange(groups), each)
    unsure = np.repeat(random.random(groups) < 0.5, each)
    off = random.normal(size=len(group)) * np.where(unsure, UNSURE, SURE)
    doubt = np.column_stack([unsure, random.normal(size=len(group))])
    return Residuals(off, doubt, np.full(len(group), "source"), group.astype(str), group % 5)


def with_copies(found: Residuals, group: str, times: int) -> Residuals:
    return found.where(np.repeat(np.arange(len(found.off)), np.where(found.group == group, times, 1)))


def inside(bands: Bands, fresh: Residuals) -> np.ndarray:
    low, high = bands.widths_of("decode", fresh.doubt)
    return (low <= fresh.off) & (fresh.off <= high)


@cache
def learned() -> tuple[Residuals, Bands]:
    found = runs_of(groups=300, each=8, seed=0)
    return found, fit_bands({"decode": found})


# ---------------------------------------------------------------- what they claim


@given(
    st.lists(st.tuples(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6)), min_size=1, max_size=20),
    st.tuples(st.floats(0.0, 1e3), st.floats(0.0, 1e3)),
)
@settings(max_examples=40)
def test_every_interval_holds_its_estimate_and_none_is_surer_or_wider_than_any_can_be(
    doubt: list[tuple[float, float]], factors: tuple[float, float]
) -> None:
    low, high = Bands(learned()[1].forests, {"decode": factors}).widths_of("decode", np.array(doubt))
    assert np.all((low >= -FARTHEST) & (low <= -LEAST) & (high >= LEAST) & (high <= FARTHEST))


def test_fresh_runs_lie_inside_as_often_as_is_claimed_where_much_is_known_and_where_little_is() -> None:
    fresh = runs_of(groups=6000, each=1, seed=1)
    held, unsure = inside(learned()[1], fresh), fresh.doubt[:, 0] > 0
    # Of 3,000 draws the share moves by 0.7 % of chance alone, the intervals by as much as 300 groups let them.
    assert held.mean() == pytest.approx(SHARE, abs=0.03)
    assert held[unsure].mean() == pytest.approx(SHARE, abs=0.05) and held[~unsure].mean() == pytest.approx(SHARE, abs=0.05)


def test_less_known_is_wider() -> None:
    low, high = learned()[1].widths_of("decode", np.array([[0.0, 0.0], [1.0, 0.0]]))
    assert (high - low)[1] > 3 * (high - low)[0]


def test_intervals_of_the_same_runs_are_the_same() -> None:
    found, first = learned()
    again = fit_bands({"decode": found})
    assert again.factors == first.factors
    for name, array in first.forests["decode"].arrays().items():
        assert np.array_equal(array, again.forests["decode"].arrays()[name]), name


def test_metrics_that_err_alike_share_their_intervals() -> None:
    bands, doubt = learned()[1], np.array([[0.0, 0.0], [1.0, 0.0]])
    for name in ("tpot", "decode_rate"):
        assert np.array_equal(bands.widths(name, doubt), bands.widths_of("decode", doubt))


def test_the_factor_is_judged_on_blocks_that_the_forest_has_not_seen() -> None:
    """Every block is off by an amount of its own, which its doubt gives away: a forest that has seen it needs no factor."""
    random, block = np.random.default_rng(6), np.repeat(np.arange(6), 200)
    off = np.array([-1.5, 0.4, 1.2, -0.3, 1.6, -0.8])[block] + random.normal(size=1200) * 0.05
    doubt = np.column_stack([np.zeros(1200), block])
    found = Residuals(off, doubt, np.full(1200, "source"), np.arange(1200).astype(str), block)
    seen, strange = fit_bands({"decode": found}).factors["decode"]
    assert seen > 2 and strange == 1.0  # no run of a strange device: nothing to choose a factor by


# ---------------------------------------------------------------- groups, not rows


@given(st.integers(2, 50), st.integers(1, 12))
@settings(max_examples=20)
def test_groups_weigh_alike_however_many_runs_they_have(times: int, group: int) -> None:
    found = with_copies(runs_of(groups=20, each=3, seed=2), str(group), times)
    weight = found.weights()
    assert weight.sum() == pytest.approx(1.0)
    assert [weight[found.group == name].sum() for name in np.unique(found.group)] == pytest.approx(np.full(20, 1 / 20))


def test_splits_weigh_alike_and_a_group_of_two_splits_is_two() -> None:
    found = runs_of(groups=20, each=3, seed=2)
    both = Residuals(*(np.concatenate([getattr(found, name), getattr(found, name)[:9]]) for name in ("off", "doubt")),
                     np.array(["source"] * 60 + ["model"] * 9), np.concatenate([found.group, found.group[:9]]),
                     np.concatenate([found.block, found.block[:9]]))  # fmt: skip
    weight = both.weights()
    assert [weight[both.split == split].sum() for split in ("source", "model")] == pytest.approx([1.0, 1.0])
    assert weight[-9:] == pytest.approx(np.full(9, 1 / 9))


def test_a_group_with_a_thousand_copies_moves_nothing_but_chance() -> None:
    """Its runs are off by e³; were rows to weigh alike, half of them all would be."""
    found = runs_of(groups=200, each=2, seed=3)
    found.off[found.group == "7"] = 3.0
    copied = with_copies(found, "7", 1000)
    assert np.mean(copied.off == 3.0) > 0.8
    one, many = fit_bands({"decode": found}), fit_bands({"decode": copied})
    asked = np.array([[0.0, 0.0], [1.0, 0.0]])
    widths = [np.subtract(*bands.widths_of("decode", asked)) for bands in (one, many)]
    assert widths[0] == pytest.approx(widths[1], rel=0.25) and np.all(np.abs(widths[1]) < 2.0)


# ---------------------------------------------------------------- trust

SHARES = tuple(np.linspace(0.0, 1.0, 11))


def test_a_word_that_is_right_is_taken_whole_and_noise_not_at_all() -> None:
    random = np.random.default_rng(4)
    off, near = random.normal(size=4000), np.zeros(4000, dtype=int)
    assert trust_for(off, off, near, np.ones(4000), 1, SHARES) == [1.0]
    assert trust_for(off, random.normal(size=4000), near, np.ones(4000), 1, SHARES) == [0.0]


@given(st.lists(st.floats(-1.0, 2.0), min_size=1, max_size=6), st.integers(0, 99))
@settings(max_examples=30)
def test_trust_never_rises_as_evidence_gets_farther(worth: list[float], seed: int) -> None:
    """`worth`: the share of its word by which a forest would be right, by nearness."""
    random = np.random.default_rng(seed)
    near = np.repeat(np.arange(len(worth)), 80)
    word = random.normal(size=len(near))
    off = np.array(worth)[near] * word + random.normal(size=len(near)) * 0.1
    found = trust_for(off, word, near, np.ones(len(near)), len(worth), SHARES)
    assert len(found) == len(worth) and set(found) <= {round(float(share), 2) for share in SHARES}
    assert all(a >= b for a, b in itertools.pairwise(found))


def test_where_too_few_runs_tell_and_farther_a_word_counts_for_nothing() -> None:
    random = np.random.default_rng(5)
    near = np.repeat([0, 1, 2], [200, 49, 200])
    word = random.normal(size=len(near))
    assert trust_for(0.5 * word, word, near, np.ones(len(near)), 4, SHARES) == [0.5, 0.0, 0.0, 0.0]
    off = np.where(near == 0, np.nan, 0.5 * word)  # unknown errors tell nothing
    assert trust_for(off, word, near, np.ones(len(near)), 4, SHARES) == [0.0] * 4
