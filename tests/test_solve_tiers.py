"""Three tiers on each side, and what gives way first."""

from __future__ import annotations

import re
from typing import Any

import pytest

from core.goal import Goal, goal
from core.solve_tiers import TIERS, Tiered, gives_way, goals, grown, tiers, under
from core.sweep import answer

SMALL: dict[str, Any] = {
    "models": "Qwen/Qwen3-14B", "hardware": ["build", "cloud"], "devices": ["RTX 3090", "L40S"], "max_devices": 2, "runtimes": ["vllm"],
    "quants": ["AWQ-INT4"], "users": 40, "max_ttft_s": 2.0, "min_decode_tok_s": 15, "prompt_tokens": 800, "output_tokens": 100,
}  # fmt: skip


@pytest.fixture(scope="module")
def found() -> Tiered:
    return tiers(goal(SMALL))


def test_each_tier_asks_more_than_the_one_before() -> None:
    asked = goals(goal(SMALL))
    assert list(asked) == list(TIERS)
    assert not asked["minimum"].sure and asked["balanced"].sure and asked["headroom"].sure
    assert asked["headroom"].users == 80
    assert grown(goal({"models": "m", "request_rate_per_s": 3})).request_rate_per_s == 6
    alone = goal({"models": "Qwen/Qwen3-14B", "context_tokens": 8192})
    assert grown(alone).context_tokens == 16_384
    assert grown(alone.with_(context_tokens=40_000)).context_tokens == 40_960  # what the model was made for


def test_tiers_cost_more_and_show_the_load_as_asked(found: Tiered) -> None:
    assert found.sides == ["build", "cloud"]
    for side in found.sides:
        cost = [found.options[side, tier].candidate for tier in TIERS]
        assert all(candidate is not None for candidate in cost)
        months = [candidate.usd_per_month for candidate in cost if candidate]
        assert months == sorted(months)
        for tier in TIERS:
            option = found.options[side, tier]
            assert option.candidate is not None and option.gives_way
            load = option.candidate.scenario.workload
            assert load.concurrency == -(-40 // option.candidate.machines)
            alone = answer(option.candidate.scenario)
            assert alone.metric("ttft") == pytest.approx(option.candidate.metrics["ttft"], rel=1e-9)
            assert alone.bands["tpot"] == pytest.approx(option.candidate.bands["tpot"], rel=1e-9)


def test_balanced_holds_at_the_slow_end_and_headroom_for_twice_the_load(found: Tiered) -> None:
    for side in found.sides:
        balanced, roomy = found.options[side, "balanced"].candidate, found.options[side, "headroom"].candidate
        assert balanced is not None and roomy is not None
        for candidate in (balanced, under(goals(found.goal)["headroom"], roomy)):
            assert candidate.bands["ttft"][1] <= 2.0 and 1 / candidate.bands["tpot"][1] >= 15


def test_what_gives_way_first_fails_there_and_not_before(found: Tiered) -> None:
    candidate = found.options["cloud", "minimum"].candidate
    assert candidate is not None
    said = gives_way(found.goal, candidate)
    at = re.search(r"First to give way is the (time .+), at about ([\d,]+) users at once", said)
    assert at, said
    users = int(at[2].replace(",", ""))
    there = under(found.goal.with_(users=users), candidate)
    assert there.metrics["ttft"] > 2.0 or there.metrics["tpot"] > 1 / 15
    assert candidate.metrics["ttft"] <= 2.0 and candidate.metrics["tpot"] <= 1 / 15


def test_one_persons_conversation_grows() -> None:
    alone: Goal = goal({**SMALL, "users": 1, "hardware": ["build"], "devices": ["RTX 3090"], "max_devices": 1, "context_tokens": 4096,
                        "min_decode_tok_s": None, "max_ttft_s": None})  # fmt: skip
    found = tiers(alone)
    option = found.options["build", "minimum"]
    assert option.gives_way == "Nothing gives way up to the 40,960 tokens of context that the model was made for."
    quick = found.options["build", "headroom"].candidate
    assert quick is not None and quick.scenario.deployment.max_context == 8192


def test_where_nothing_passes_the_nearest_is_named() -> None:
    found = tiers(goal({**SMALL, "max_ttft_s": 0.01, "hardware": ["cloud"], "users": 4}))
    for tier in TIERS:
        option = found.options["cloud", tier]
        assert option.candidate is None
        assert "to the first token" in option.why and "not 10.0 ms" in option.why
