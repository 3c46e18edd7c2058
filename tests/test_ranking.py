"""Orders, ties and the front, on made-up candidates."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.goal import Goal, goal
from core.ranking import axes, beaten_by, front, losing, order_keys, ranked, tied
from core.scenario import Scenario, System
from core.solve_machines import Machine
from core.solved import Candidate

ASKED = goal({"models": "m", "output_tokens": 100})


def made(rent: float, rate: float, latency: float, loss: float | None = 0.0, spread: float = 1.0, machines: int = 1) -> Candidate:
    """A rented machine at so many dollars an hour, with ranges of `spread` around its metrics."""
    metrics = {"output_rate": rate, "latency": latency, "ttft": latency / 2, "tpot": latency / 200, "power": 100.0}
    bands = {name: (amount / spread, amount * spread) for name, amount in metrics.items() if spread > 1}
    system = System(device="d")
    return Candidate(
        Scenario(model="m", system=system), Machine("cloud", f"at {rent}", system, usd_per_h=rent), machines, 1, 1, 1, 1, "Q8_0", "f16",
        "in_vram", metrics, bands, "seen", rent, {}, quality=loss,
    )  # fmt: skip


SOME = st.lists(
    st.builds(
        made,
        st.sampled_from([1.0, 2.0, 3.0]),
        st.sampled_from([10.0, 20.0, 40.0]),
        st.sampled_from([1.0, 2.0]),
        st.sampled_from([0.0, 0.02, None]),
    ),
    min_size=1,
    max_size=12,
)


@given(listed=SOME)
def test_the_front_beats_all_others_and_nothing_beats_it(listed: list[Candidate]) -> None:
    best = front(ASKED, listed)
    figures = np.array([axes(ASKED, c) for c in best])
    for mine in figures:
        assert not ((figures <= mine).all(axis=1) & (figures < mine).any(axis=1)).any()
    for candidate in listed:
        if candidate not in best:
            mine = np.array(axes(ASKED, candidate))
            assert (figures <= mine).all(axis=1).any()
        said = losing(ASKED, candidate, best)
        assert bool(said) == bool(((figures <= axes(ASKED, candidate)).all(axis=1) & (figures < axes(ASKED, candidate)).any(axis=1)).any())


@given(listed=SOME)
def test_equals_leave_one_of_them(listed: list[Candidate]) -> None:
    figures = np.array([axes(ASKED, c) for c in listed])
    alone = [n for n in range(len(listed)) if beaten_by(figures, n) is None]
    assert len({tuple(figures[n]) for n in alone}) == len(alone) >= 1


def test_what_an_option_loses_is_said() -> None:
    good, bad = made(1.0, 40.0, 1.0), made(2.0, 20.0, 3.0, 0.02)
    said = losing(ASKED, bad, [good])
    assert said.startswith("Against at 1.0 with Q8_0 it costs $720 a month more, writes 50% fewer tokens a second, answers 200% later and")
    assert "loses 2 points more" in said
    assert losing(ASKED, good, [good, bad]) == ""


def order(asked: Goal, listed: list[Candidate]) -> list[float]:
    """The rents of candidates in the order of a goal."""
    names = ("output_rate", "latency", "ttft", "tpot", "power")
    table = {name: np.array([c.metrics[name] for c in listed]) for name in names}
    for name in ("output_rate", "latency", "ttft", "tpot"):
        for place, end in enumerate(("low", "high")):
            table[f"{name} {end}"] = np.array([c.bands[name][place] if name in c.bands else np.nan for c in listed])
    lost = np.array([np.nan if c.quality is None else c.quality for c in listed])
    keys = order_keys(asked, table, np.array([float(c.machines) for c in listed]), np.array([c.usd_per_h for c in listed]), lost, 1e9,
                      np.zeros(len(listed)))  # fmt: skip
    return [listed[n].usd_per_h for n in ranked(keys)]


@pytest.mark.parametrize(
    ("objective", "first"),
    [("cost", 1.0), ("throughput", 3.0), ("latency", 4.0), ("throughput_per_usd", 2.0), ("throughput_per_w", 3.0), ("model_size", 1.0)],
)
def test_each_objective_has_its_best(objective: str, first: float) -> None:
    listed = [made(1.0, 10.0, 3.0), made(2.0, 60.0, 3.0), made(3.0, 80.0, 3.0), made(4.0, 20.0, 1.0)]
    assert order(ASKED.with_(objective=objective), listed)[0] == first


def test_the_pessimistic_end_decides_and_can_be_switched_off() -> None:
    listed = [made(1.0, 50.0, 2.0, spread=3.0), made(2.0, 40.0, 2.0, spread=1.1)]
    fastest = ASKED.with_(objective="throughput")
    assert order(fastest, listed) == [2.0, 1.0]
    assert order(fastest.with_(pessimistic=False), listed) == [1.0, 2.0]


def test_a_point_of_quality_weighs_a_fifth_of_speed() -> None:
    fastest = ASKED.with_(objective="latency")
    assert order(fastest, [made(1.0, 10.0, 1.0, 0.02), made(2.0, 10.0, 1.4, 0.0)]) == [2.0, 1.0]
    assert order(fastest, [made(1.0, 10.0, 1.0, 0.02), made(2.0, 10.0, 1.6, 0.0)]) == [1.0, 2.0]
    assert order(fastest, [made(1.0, 10.0, 1.0, None), made(2.0, 10.0, 1.5, 0.0)]) == [2.0, 1.0]  # not measured is no gift


@given(one=st.builds(made, st.just(1.0), st.floats(1, 100), st.just(1.0), spread=st.floats(1.1, 3)), rate=st.floats(1, 100))
def test_ties_are_mutual_and_within_the_range(one: Candidate, rate: float) -> None:
    fastest = ASKED.with_(objective="throughput")
    other = replace(one, metrics={**one.metrics, "output_rate": rate}, bands={**one.bands, "output_rate": (rate / 1.5, rate * 1.5)})
    assert tied(fastest, one, other) == tied(fastest, other, one)
    assert tied(fastest, one, one)
    if rate > one.bands["output_rate"][1]:
        assert not tied(fastest, one, other)


def test_the_same_price_is_a_tie_and_another_is_not() -> None:
    assert tied(ASKED, made(1.0, 10.0, 1.0), made(1.0, 99.0, 9.0))
    assert not tied(ASKED, made(1.0, 10.0, 1.0), made(1.1, 10.0, 1.0))
    assert not tied(ASKED, made(1.0, 10.0, 1.0), made(1.0, 10.0, 1.0, machines=2))
