"""How many machines are worth a look, and that the search finds the fewest that hold with few looks."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from core.goal import goal
from core.solve_sizes import Bracket, sizes


@given(users=st.integers(1, 300), most=st.integers(1, 400))
def test_sizes_are_the_fewest_machines_for_each_share_of_the_users(users: int, most: int) -> None:
    listed = sizes(goal({"models": "any", "users": users}), most)
    shares = {-(-users // many) for many in range(1, most + 1)}
    assert [-(-users // many) for many in listed.tolist()] == sorted(shares, reverse=True)
    assert all(many == 1 or -(-users // (many - 1)) > -(-users // many) for many in listed.tolist())


def test_arrivals_are_shared_by_any_number() -> None:
    assert sizes(goal({"models": "any", "request_rate_per_s": 3}), 5).tolist() == [1, 2, 3, 4, 5]


@given(
    cases=st.lists(st.tuples(st.integers(0, 60), st.integers(0, 61), st.integers(0, 60)), min_size=1, max_size=20),
    many=st.integers(1, 7),
)
def test_the_fewest_that_hold_are_found(cases: list[tuple[int, int, int]], many: int) -> None:
    """Each case: the most there may be, the fewest that hold (above it: none), and where the search begins."""
    top = np.array([one[0] for one in cases])
    fewest = np.array([min(one[1], one[0] + 1) for one in cases])
    start = np.minimum(np.array([one[2] for one in cases]), top)
    bracket = Bracket.at(start, start >= fewest, top)
    looks = 0
    found = np.where(start >= fewest, start, -1)
    while len(at := bracket.open):
        points = bracket.points(at, many)
        assert (points >= 0).all() and (points <= top[at][:, None]).all() and (np.diff(points, axis=1) >= 0).all()
        better, where = bracket.learn(at, points, points >= fewest[at][:, None])
        found[better] = points.reshape(-1)[where]
        looks += 1
        assert looks < 20
    assert found.tolist() == np.where(fewest <= top, fewest, -1).tolist()
