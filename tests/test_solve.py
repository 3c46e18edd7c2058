"""The solver: what it answers holds alone, equals trying everything, and what it turns away has its reason."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.answer import Estimate
from core.candidates import space
from core.goal import Goal, goal
from core.quality import quality
from core.quantity import value
from core.ranking import WORTH
from core.scenario import Scenario
from core.solve import solve
from core.solve_machines import Machine, machines, undominated
from core.solved import GATES, Candidate, Solved, slowest
from core.sweep import answer
from core.units import HOUR

MODEL = "Qwen/Qwen3-30B-A3B"
SMALL: dict[str, Any] = {
    "models": MODEL, "hardware": ["build", "cloud"], "devices": ["RTX 3090", "L40S"], "max_devices": 2, "runtimes": ["llama.cpp", "vllm"],
    "quants": ["Q4_K_M", "IQ3_XS", "AWQ-INT4"], "kv_dtypes": ["f16"], "offload": False, "prompt_tokens": 600, "output_tokens": 100,
}  # fmt: skip


def asked(**changes: Any) -> Goal:
    return goal({**SMALL, **changes})


# ---------------------------------------------------------------- against trying everything


@dataclass(frozen=True)
class Tried:
    """One candidate as `core.sweep.answer` has it, and what of it does not hang on the goal's limits."""

    scenario: Scenario
    machine: Machine
    found: Estimate
    loss: float

    def late(self, name: str) -> float:
        _, high = self.found.bands.get(name, (math.nan,) * 2)
        return self.found.metric(name) if math.isnan(high) else high

    @property
    def usd_per_h(self) -> float:
        return float(value(self.found.money["usd_per_h"])) * HOUR

    @property
    def slow(self) -> float:
        late = float(slowest(self.late("latency"), self.late("ttft"), self.late("tpot"), SMALL["output_tokens"]))
        return late * math.exp(WORTH * (3.0 if math.isnan(self.loss) else 100 * self.loss))


@functools.cache
def everything(users: int) -> tuple[Tried, ...]:
    """Every candidate with one machine, one by one."""
    one = asked(users=users)
    found = space(one, MODEL, undominated(machines(one), one))
    tried = []
    for i in range(len(found)):
        scenario = found.scenario(i, 1)
        lost = float(value(quality(MODEL, str(scenario.deployment.quant)).loss))
        tried.append(Tried(scenario, found.machines[found.machine[i]], answer(scenario), lost))
    return tuple(tried)


@settings(max_examples=12)
@given(
    users=st.sampled_from([1, 6]),
    ttft=st.sampled_from([None, 0.2, 0.5, 2.0]),
    rate=st.sampled_from([None, 30.0, 60.0]),
    month=st.sampled_from([None, 150.0, 800.0]),
    floor=st.sampled_from(["negligible", "any"]),
)
def test_a_small_grid_is_answered_as_by_trying_everything(
    users: int, ttft: float | None, rate: float | None, month: float | None, floor: str
) -> None:
    wanted = asked(users=users, max_ttft_s=ttft, min_decode_tok_s=rate, max_usd_per_month=month, quality_floor=floor, max_machines=1,
                   pessimistic=True)  # fmt: skip
    good = [
        one
        for one in everything(users)
        if one.found.runs
        and one.found.feasibility == "in_vram"
        and (floor == "any" or not one.loss >= 0.03)
        and (ttft is None or one.found.metric("ttft") <= ttft)
        and (rate is None or one.found.metric("tpot") <= 1 / rate)
        and (month is None or one.usd_per_h * 720 <= month)
    ]
    found = solve(wanted)
    best: dict[str, Tried] = {}
    for one in good:
        if one.machine.name not in best or one.slow < best[one.machine.name].slow:
            best[one.machine.name] = one
    assert {c.machine.name: c.scenario for c in found.ranked} == {name: one.scenario for name, one in best.items()}
    prices = [round(c.usd_per_h, 4) for c in found.ranked]
    assert prices == sorted(prices)
    assert found.funnel.passed >= len(found.ranked)


# ---------------------------------------------------------------- what is answered


@pytest.fixture(scope="module")
def team() -> Solved:
    return solve(asked(devices=["RTX 3090", "H100 SXM"], users=30, max_ttft_s=1.0, min_decode_tok_s=30, kv_dtypes=[], quants=[]))


@pytest.fixture(scope="module")
def arriving() -> Solved:
    return solve(asked(request_rate_per_s=6.0, max_ttft_s=2.0, times_at="p95", quants=[]))


@pytest.mark.parametrize("which", ["team", "arriving"])
def test_an_answer_estimated_alone_gives_the_same_numbers(which: str, request: pytest.FixtureRequest) -> None:
    solved: Solved = request.getfixturevalue(which)
    assert len(solved.ranked) > 3
    for candidate in solved.ranked[::3]:
        alone = answer(candidate.scenario)
        for name, amount in candidate.metrics.items():
            assert alone.metric(name) == pytest.approx(amount, rel=1e-9, nan_ok=True), name
        assert candidate.bands.keys() == alone.bands.keys()
        for name, ends in candidate.bands.items():
            assert alone.bands[name] == pytest.approx(ends, rel=1e-9), name
        assert alone.feasibility == candidate.fits
        assert alone.support is not None and alone.support.level == candidate.support
        assert float(value(alone.money["usd_per_h"])) * HOUR == pytest.approx(candidate.usd_per_h, rel=1e-9)
        knobs = ("tp", "pp", "dp", "ep", "quant", "kv_dtype")
        assert {name: alone.resolved[name] for name in knobs} == {name: getattr(candidate, name) for name in knobs}
        assert alone.version == solved.version


def test_what_passes_meets_the_goal_and_takes_no_machine_too_many(team: Solved) -> None:
    several = [c for c in team.ranked if c.machines > 1]
    assert several
    for c in team.ranked:
        assert c.metrics["ttft"] <= 1.0 * (1 + 1e-9) and 1 / c.metrics["tpot"] >= 30 * (1 - 1e-9)
        assert c.devices == c.machines * c.scenario.system.count >= c.replicas * c.devices_per_replica
        assert c.scenario.workload.concurrency == math.ceil(30 / c.machines)
    for c in several[:3]:
        fewer = answer(c.scenario.with_(concurrency=math.ceil(30 / (c.machines - 1))))
        assert fewer.metric("ttft") > 1.0 or fewer.metric("decode_rate") < 30


def test_arrivals_leave_the_share_free_that_was_asked(arriving: Solved) -> None:
    for c in arriving.ranked:
        assert 0 < c.load <= 0.7 * (1 + 1e-9)
        assert c.times["ttft"] > c.metrics["ttft"] and c.times["ttft"] <= 2.0
        assert c.scenario.workload.request_rate_per_s == pytest.approx(6.0 / c.machines)


def test_every_candidate_is_accounted_for(team: Solved, arriving: Solved) -> None:
    for solved in (team, arriving):
        f = solved.funnel
        turned = sum(gone.count for gone in solved.rejected)
        assert f.enumerated == turned + f.pruned + f.passed + f.left > 0
        assert [gone.gate for gone in solved.rejected] == list(GATES)
        assert f.machines > 0 and f.exact > 0 and f.per_second > 0


def test_the_front_is_of_what_passed_and_the_best_are_first(team: Solved) -> None:
    assert team.best == team.ranked[:5]
    assert set(map(id, team.front)) <= set(map(id, team.ranked))
    assert team.ranked[0].usd_per_month == min(c.usd_per_month for c in team.ranked)


LIMITS: dict[str, tuple[dict[str, Any], str]] = {
    "context": ({"context_tokens": 2_000_000}, "was made for 40,960 tokens of context, not 2,000,000."),
    "memory": ({"models": "meta-llama/Llama-3.1-405B-Instruct", "hardware": ["build"]}, "short of memory"),
    "quality": ({"quants": ["IQ3_XS"]}, "points of a task's score where less than 3 are asked"),
    "ttft": ({"max_ttft_s": 0.001}, "to the first token, not 1.00 ms"),
    "tpot": ({"min_decode_tok_s": 5000}, "for each user, not 5,000 tok/s"),
    "latency": ({"max_latency_s": 0.01}, "to the last token, not 10.0 ms"),
    "throughput": ({"min_output_tok_s": 1e6}, "in all, not 1,000,000 tok/s"),
    "month": ({"max_usd_per_month": 5}, "a month, not $5.00"),
    "purchase": ({"max_purchase_usd": 100, "hardware": ["build"]}, "not $100"),
    "power": ({"max_power_w": 50}, "not 50.0 W"),
}


@pytest.mark.parametrize("gate", LIMITS)
def test_each_gate_says_what_came_nearest(gate: str) -> None:
    changes, says = LIMITS[gate]
    solved = solve(asked(**changes))
    assert not solved.ranked and not solved.front
    gone = next(one for one in solved.rejected if one.gate == gate)
    assert gone.count > 0 and gone.nearest is not None
    assert says in gone.sentence, gone.sentence
    if gate == "month":
        assert gone.nearest.usd_per_month > 5


def test_a_load_beyond_all_machines_is_said() -> None:
    solved = solve(asked(request_rate_per_s=500.0, max_machines=2))
    gone = next(one for one in solved.rejected if one.gate == "load")
    assert not solved.ranked and gone.nearest is not None
    assert gone.nearest.machines == 2 and "not 70% or less" in gone.sentence


# ---------------------------------------------------------------- choices


def test_to_be_sure_takes_more(team: Solved) -> None:
    wanted = team.goal.with_(sure=True)
    certain = solve(wanted)
    for c in certain.ranked:
        assert c.bands["ttft"][1] <= 1.0 * (1 + 1e-9) and 1 / c.bands["tpot"][1] >= 30 * (1 - 1e-9)
    assert not certain.ranked or certain.ranked[0].usd_per_month >= team.ranked[0].usd_per_month


def test_objectives_have_their_best_first() -> None:
    wanted = asked(users=8, quants=["AWQ-INT4"], objective="throughput", max_machines=1)
    rates = [c.bound("output_rate") for c in solve(wanted).ranked]
    assert rates == sorted(rates, reverse=True)
    worth = [c.bound("output_rate") / c.power_w for c in solve(wanted.with_(objective="throughput_per_w")).ranked]
    assert worth == sorted(worth, reverse=True)
    shortlist = solve(asked(models=["Qwen3-8B", "Qwen3-14B"], objective="model_size", max_machines=1, quants=["Q4_K_M"]))
    assert "14B" in shortlist.ranked[0].scenario.model and "8B" in shortlist.ranked[-1].scenario.model


def test_what_is_owned_is_one_machine_and_every_way_to_use_it() -> None:
    mine = {"owned": {"device": "RTX 3090", "count": 2, "ram_gb": 64}, "hardware": ["owned"], "devices": [], "offload": True}
    solved = solve(asked(**mine, users=4))
    assert {c.machines for c in solved.ranked} == {1}
    assert {c.scenario.runtime for c in solved.ranked} == {"llama.cpp", "vllm"}
    assert all(c.purchase_usd is None and 0 < c.usd_per_h < 0.5 for c in solved.ranked)  # electricity
    rented = solve(asked(**mine, users=40, owned_usd_per_h=1.5, min_decode_tok_s=20, runtimes=["vllm"]))
    assert max(c.machines for c in rented.ranked) >= 1
    assert all(c.usd_per_month == pytest.approx(1.5 * 720 * c.machines) for c in rented.ranked)


def test_each_lists_every_engine_and_quantisation() -> None:
    one = asked(users=2, max_machines=1, devices=["L40S"])
    best, every = solve(one), solve(one, each=True)
    assert {(c.machine.name, c.scenario.runtime, c.quant) for c in every.ranked} > {
        (c.machine.name, c.scenario.runtime, c.quant) for c in best.ranked
    }
    assert len({(c.machine.name, c.scenario.runtime, c.quant) for c in every.ranked}) == len(every.ranked)


def test_progress_is_heard_and_never_goes_back() -> None:
    heard: list[float] = []
    solve(asked(models=["Qwen3-8B", "Qwen3-14B"], quants=["Q4_K_M"]), lambda share, what: heard.append(share))
    assert heard == sorted(heard) and heard[-1] == 1
    assert all(np.isfinite(heard))


def test_the_nearest_is_a_whole_candidate(team: Solved) -> None:
    for gone in team.rejected:
        if gone.nearest is not None:
            assert isinstance(gone.nearest, Candidate)
            assert answer(gone.nearest.scenario).metric("decode_rate") == pytest.approx(gone.nearest.metrics["decode_rate"], nan_ok=True)


def test_what_is_remembered_of_other_targets_changes_nothing(team: Solved) -> None:
    """The second search of a space takes memory and corrections from the first."""
    again = solve(team.goal.with_(max_usd_per_month=1e6))
    assert [(c.scenario, c.machines, c.metrics) for c in again.ranked] == [(c.scenario, c.machines, c.metrics) for c in team.ranked]
