"""What a goal leaves open: how many users at once, and with how much room; against trying everything, and that it is carried on."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from core.candidates import space
from core.catalog.models import ir
from core.correction import shipped
from core.errors import ScenarioError
from core.estimate import launch
from core.goal import Goal, from_query, goal
from core.quality import quality
from core.quantity import value
from core.ranking import WORTH
from core.scenario import Scenario
from core.solve import solve
from core.solve_caps import AT_ONCE, rooms
from core.solve_machines import machines
from core.solve_passes import memory_pass
from core.solve_search import search
from core.solve_tables import listed_rows
from core.solve_tiers import gives_way, grown, under
from core.solve_words import asked_words, caps, headline
from core.solved import Candidate, Solved
from core.sweep import answer

MODEL = "Qwen/Qwen3-30B-A3B"
MINE: dict[str, Any] = {
    "models": MODEL, "hardware": "owned", "owned": {"device": "RTX 4090", "ram_gb": 64}, "runtimes": ["llama.cpp", "vllm"],
    "quants": ["Q4_K_M", "Q5_K_M", "AWQ-INT4"], "offload": False, "prompt_tokens": 600, "output_tokens": 100, "pessimistic": False,
}  # fmt: skip
OPEN = {**MINE, "open_users": True, "objective": "throughput", "min_decode_tok_s": 15, "kv_dtypes": ["f16"]}
LONG = {**MINE, "objective": "context", "users": 3, "min_decode_tok_s": 10}


def runs(scenario: Scenario) -> bool:
    """Whether one candidate alone holds all whom it is started for."""
    found = answer(scenario)
    holds = scenario.runtime != "vllm" or scenario.deployment.max_sequences is None
    return found.runs and found.feasibility == "in_vram" and (holds or scenario.workload.concurrency <= found.limits["max_batch"])


def everything(asked: Goal) -> list[Scenario]:
    found = space(asked, MODEL, machines(asked))
    return [found.scenario(i, 1) for i in range(len(found))]


def worth(scenario: Scenario) -> float:
    lost = float(value(quality(MODEL, str(scenario.deployment.quant)).loss))
    return math.exp(WORTH * (3.0 if math.isnan(lost) else 100 * lost))


@pytest.fixture(scope="module")
def opened() -> Solved:
    return solve(goal(OPEN))


@pytest.fixture(scope="module")
def longest() -> Solved:
    return solve(goal(LONG))


def test_as_many_users_as_serve_best_are_found_as_by_trying_every_number(opened: Solved) -> None:
    best: dict[tuple[str, int], tuple[float, Scenario]] = {}
    every = everything(opened.goal)
    for scenario in every:
        found = answer(scenario)
        if runs(scenario) and found.metric("decode_rate") >= 15:
            key = scenario.runtime, scenario.workload.concurrency
            rate = found.metric("output_rate") / worth(scenario)
            best[key] = max(best.get(key, (0.0, scenario)), (rate, scenario), key=lambda one: one[0])
    assert {scenario.workload.concurrency for scenario in every} == set(AT_ONCE.tolist())
    assert {(c.scenario.runtime, c.scenario.workload.concurrency): c.scenario for c in opened.ranked} == {
        key: scenario for key, (_, scenario) in best.items()
    }
    assert opened.ranked[0].scenario == max(best.values(), key=lambda one: one[0])[1]
    assert opened.ranked[0].scenario.workload.concurrency > 1


def test_the_longest_context_is_found_as_by_trying_every_room(longest: Solved) -> None:
    best: dict[tuple[str, str | None], int] = {}
    for scenario in everything(longest.goal):
        if runs(scenario) and answer(scenario).metric("decode_rate") >= 10:
            key = scenario.runtime, scenario.deployment.quant
            best[key] = max(best.get(key, 0), scenario.deployment.max_context or 0)
    found = {(c.scenario.runtime, c.quant): c.scenario.deployment.max_context for c in longest.ranked}
    assert found == best and len(set(best.values())) > 1
    assert longest.ranked[0].scenario.deployment.max_context == max(best.values())
    assert longest.funnel.pruned > 0


def test_room_that_costs_nothing_but_memory_changes_nothing_else() -> None:
    """What lets the shorter of two rooms be left out."""
    asked = goal(LONG)
    found = space(asked, MODEL, machines(asked))
    every, one = np.arange(len(found)), np.ones(len(found))
    ample = memory_pass(found, every, one).ample
    assert ample is not None and ample.any() and not ample.all()
    alike: dict[tuple[Any, ...], list[Scenario]] = {}
    for i in np.flatnonzero(ample).tolist():
        alike.setdefault((int(found.row[i]), int(found.quant[i]), int(found.mode[i])), []).append(found.scenario(i, 1))
    short, long = next((some[0], some[-1]) for some in alike.values() if len(some) > 2)
    before, after = answer(short), answer(long)
    assert before.scenario.deployment.max_context != after.scenario.deployment.max_context
    for name in ("ttft", "tpot", "latency", "output_rate", "power"):
        assert before.metric(name) == after.metric(name), name


def test_a_goal_that_says_both_is_laid_out_as_ever() -> None:
    asked = goal({**MINE, "users": 4})
    found = space(asked, MODEL, machines(asked))
    assert found.batch is None and found.room is None
    assert all(found.scenario(i, 1).deployment.max_sequences is None for i in range(len(found)))


def test_what_is_found_is_told_listed_and_started(opened: Solved, longest: Solved) -> None:
    many, long = opened.ranked[0], longest.ranked[0]
    at_once, room = many.scenario.workload.concurrency, long.scenario.deployment.max_context
    assert caps(opened.goal, many) == f"{at_once:,} users at once"
    assert headline(opened.goal, {"owned": many}) == f"Your RTX 4090 does it, {at_once:,} users at once"
    assert caps(longest.goal, long) == f"room for {room:,} tokens each"
    assert listed_rows(opened)[0]["Users at once"] == at_once and "Room, tokens" not in listed_rows(opened)[0]
    assert listed_rows(longest)[0]["Room, tokens"] == room
    flags = {"vllm": "--max-num-seqs", "llama.cpp": "-np"}
    for runtime, flag in flags.items():
        started = next(c for c in opened.ranked if c.scenario.runtime == runtime and c.scenario.workload.concurrency == 16)
        assert f"{flag} 16" in launch(answer(started.scenario))
    local = next(c.scenario for c in longest.ranked if c.scenario.runtime == "llama.cpp")
    assert f"-c {3 * (local.deployment.max_context or 0)}" in launch(answer(local))
    assert "as many users at once as a machine serves" in asked_words(opened.goal)
    assert "or more" in asked_words(longest.goal)
    gone = next(one for one in opened.rejected if one.gate == "memory")
    assert " at once, is " in gone.sentence and "short of memory" in gone.sentence


def test_the_load_that_was_found_is_kept_and_grows(opened: Solved) -> None:
    first = opened.ranked[0]
    assert under(opened.goal, first).scenario == first.scenario
    assert "users at once" in gives_way(opened.goal, first)
    assert grown(opened.goal).open_users and grown(opened.goal).context == 2 * opened.goal.context


def test_several_machines_where_a_rate_is_asked() -> None:
    """More machines of as many users each write more, where one does not write enough."""
    wanted = goal({**OPEN, "hardware": "cloud", "devices": ["L40S"], "owned": None, "max_devices": 1, "min_output_tok_s": 6000,
                   "objective": "cost", "quants": ["AWQ-INT4"], "runtimes": ["vllm"]})  # fmt: skip
    ranked = solve(wanted).ranked
    assert ranked and all(isinstance(c, Candidate) and c.output_rate >= 6000 for c in ranked)
    several = next(c for c in ranked if c.machines > 1)
    assert several.output_rate * (several.machines - 1) / several.machines < 6000


def test_rooms_run_from_the_least_to_the_models_own() -> None:
    longest = int(ir(MODEL).max_context)
    found = rooms(goal({**LONG, "context_tokens": 3000}), longest)
    assert found[0] == 3000 and found[-1] == longest and found.tolist() == sorted(set(found.tolist()))
    assert all(room & (room - 1) == 0 for room in found[1:-1].tolist())
    assert rooms(goal({**LONG, "context_tokens": 2 * longest}), longest).tolist() == [2 * longest]


def test_a_number_of_users_and_as_many_as_it_serves_exclude_each_other() -> None:
    assert from_query(goal(OPEN).to_query()) == goal(OPEN)
    for other in ({"users": 4}, {"request_rate_per_s": 2.0}):
        with pytest.raises(ScenarioError, match="open_users"):
            goal({**OPEN, **other})


def test_the_search_counts_every_choice() -> None:
    asked = goal(OPEN)
    correction = shipped()
    assert correction is not None
    found = search(space(asked, MODEL, machines(asked)), correction)
    assert len(found.reason) == len(found.space) == len(everything(asked))
