"""Goals: checked at once, and the same after a link or a file."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import ScenarioError
from core.goal import SIDES, Goal, from_query, goal

SOME = st.fixed_dictionaries(
    {"models": st.lists(st.sampled_from(["Qwen3-8B", "a/b@1?x=2", "Llama 3.1 8B"]), min_size=1, max_size=3, unique=True)},
    optional={
        "users": st.integers(1, 500),
        "max_ttft_s": st.floats(0.01, 100),
        "min_decode_tok_s": st.floats(0.1, 500),
        "quality_floor": st.sampled_from(["any", "acceptable", "concerning"]),
        "hardware": st.lists(st.sampled_from(SIDES), min_size=1, unique=True).filter(lambda sides: sides != ["owned"]),
        "owned": st.fixed_dictionaries({"device": st.just("RTX 4090?price_usd=900"), "count": st.integers(1, 8)}),
        "devices": st.lists(st.sampled_from(["RTX 3090", "My card?base=RTX 4090&memory_gb=48"]), unique=True),
        "have_host": st.booleans(),
        "offload": st.booleans(),
        "objective": st.sampled_from(["cost", "throughput_per_w"]),
    },
)


@given(raw=SOME)
def test_a_link_and_a_file_hold_the_whole_goal(raw: dict[str, object]) -> None:
    asked = goal(raw)
    assert goal(json.loads(asked.to_json())) == asked
    assert from_query(asked.to_query()) == asked


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        ({"models": []}, "models needs 1 or more"),
        ({"models": ["m"], "users": 0}, "users must be 1 or more (it is 0)"),
        ({"models": ["m"], "hardware": ["moon"]}, "hardware must be one of 'owned', 'build' or 'cloud' (it is 'moon')"),
        ({"models": ["m"], "hardware": ["owned"]}, "Say which hardware is owned"),
        ({"models": ["m"], "users": 4, "request_rate_per_s": 1}, "give either users at once or requests a second"),
        ({"models": ["m"], "context_tokens": 100}, "too short for a prompt of 1,024"),
        ({"models": ["m"], "max_ttft": 1}, "max_ttft is not a knob that exists"),
        ({"models": ["m"], "owned": {"device": "d", "count": 0}}, "count must be 1 or more"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(raw: dict[str, object], says: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        goal(raw)
    assert says.casefold() in str(caught.value).casefold()
    assert "\n" not in str(caught.value)


def test_one_name_is_a_list_of_one_and_twice_counts_once() -> None:
    assert Goal(models="m").models == ("m",)  # type: ignore[arg-type]
    assert Goal(models=("a", "b", "a")).models == ("a", "b")


def test_the_stricter_of_two_ways_to_ask_for_speed_counts() -> None:
    assert goal({"models": "m", "max_tpot_ms": 20, "min_decode_tok_s": 100}).tpot_s == 0.01
    assert goal({"models": "m", "max_tpot_ms": 5, "min_decode_tok_s": 100}).tpot_s == 0.005
    assert goal({"models": "m"}).tpot_s is None


def test_machines_share_the_load_and_arrivals_leave_room() -> None:
    closed = goal({"models": "m", "users": 50})
    assert [closed.workload(n).concurrency for n in (1, 3, 50)] == [50, 17, 1]
    assert closed.share == 1
    arriving = goal({"models": "m", "request_rate_per_s": 6})
    assert arriving.workload(4).request_rate_per_s == 1.5
    assert arriving.workload(4).arrival == "open"
    assert arriving.share == 0.7
    assert arriving.with_(utilisation=0.5).share == 0.5
