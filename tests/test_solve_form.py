"""A goal as controls and back, and its answers as figures and rows."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from core.goal import goal
from core.quantity import Quantity, value
from core.solve import solve
from core.solve_form import CONTROLS, WORDS, card_links, exact_link, goal_of
from core.solve_machines import machines as listed
from core.solve_tables import figures, front_rows, funnel_rows, listed_rows, on_host
from core.solve_tiers import TIERS
from core.solve_words import OBJECTIVES, SIDE_NAMES, asked_words, headline, how_many, machines, way
from core.solved import Solved
from core.sweep import answer
from core.units import show
from core.words import model_name

ASKED: dict[str, Any] = {
    "models": "Qwen/Qwen3-14B", "hardware": ["build", "cloud"], "devices": ["RTX 3090", "L40S"], "max_devices": 1, "runtimes": ["vllm"],
    "quants": ["AWQ-INT4"], "users": 40, "max_ttft_s": 1.5, "min_decode_tok_s": 12, "times_at": "p95",
}  # fmt: skip


@pytest.fixture(scope="module")
def solved() -> Solved:
    return solve(goal(ASKED))


def test_a_link_is_made_exact_and_what_it_cannot_mean_is_said() -> None:
    kept, notices = exact_link({
        "models": ["qwen3 14b", "no such model"], "hardware": ["cloud"], "objective": ["throughput"], "users": ["8"], "moon": ["1"],
        "offload": ["0"], "owned.device": ["3090"],
    })  # fmt: skip
    assert kept == {"models": ["Qwen3-14B"], "hardware": ["To rent"], "objective": ["Most tokens a second"], "users": ["8"],
                    "offload": ["false"], "owned.device": ["GeForce RTX 3090"]}  # fmt: skip
    assert len(notices) == 2 and "“moon”" in notices[1] and "no such model" in notices[0].casefold()


def test_a_goals_own_link_opens_the_page() -> None:
    owned = {"device": "RTX 3090", "count": 2, "cpu": "EPYC 9354", "link": "pcie-4.0-x16"}
    asked = goal({**ASKED, "owned": owned, "hardware": ["owned", "cloud"], "objective": "latency"})
    from urllib.parse import parse_qs

    kept, notices = exact_link({key: texts for key, texts in parse_qs(asked.to_query()).items() if key in CONTROLS})
    assert not notices
    assert kept["objective"] == [OBJECTIVES["latency"]] and kept["owned.count"] == ["2"]
    assert kept["owned.link"][0] in card_links() and "9354" in kept["owned.cpu"][0]
    assert kept["hardware"] == [SIDE_NAMES["owned"], SIDE_NAMES["cloud"]]


def test_controls_make_a_goal_and_empty_ones_ask_nothing() -> None:
    given = {"models": ["Qwen3-14B"], "users": 3, "max_ttft_s": None, "region": "", "devices": [], "hardware": ["Yours", "To buy"],
             "owned.device": "RTX 3090", "owned.count": 2, "quality_floor": WORDS["quality_floor"]["any"]}  # fmt: skip
    asked = goal_of(given)
    assert asked == goal({"models": "Qwen3-14B", "users": 3, "hardware": ["owned", "build"], "quality_floor": "any",
                          "owned": {"device": "RTX 3090", "count": 2}})  # fmt: skip
    nothing_owned = goal_of({**given, "owned.device": None})
    assert nothing_owned.owned is None and nothing_owned.hardware == ("build",)


def test_figures_are_what_the_estimate_says_and_explain_themselves(solved: Solved) -> None:
    several = next(c for c in solved.ranked if c.machines > 1)
    for candidate in (solved.ranked[0], several):
        found = {figure.key: figure for figure in figures(solved.goal, candidate)}
        assert set(found) == {"month", "ttft", "decode", "output", "memory", "power"}
        assert all(isinstance(figure.number, Quantity) for figure in found.values())
        assert value(found["month"].number) == pytest.approx(candidate.usd_per_month)
        assert value(found["output"].number) == pytest.approx(candidate.output_rate)
        assert value(found["power"].number) == pytest.approx(candidate.power_w)
        assert found["month"].shown == show(candidate.usd_per_month, "USD")
        assert found["ttft"].shown == show(answer(candidate.scenario).metric("ttft"), "s")
        assert "p95" in found["ttft"].note and found["decode"].span


def test_rows_tell_all_that_passed(solved: Solved) -> None:
    rows = listed_rows(solved)
    assert len(rows) == len(solved.ranked) and rows[0]["Place"] == "1"
    assert {row["Machines"] for row in rows if not row["Loses"]} >= {c.machine.name for c in solved.front if c.machines == 1}
    assert "Model" not in rows[0] and "Side" in rows[0] and "Users at once" not in rows[0]
    assert list(rows[0]).index("Decode each, tok/s") < list(rows[0]).index("Devices")
    points = front_rows(solved)
    assert sum(point["best"] == "beaten by none" for point in points) == len(solved.front)
    steps = funnel_rows(solved)
    left = [step["left"] for step in steps]
    assert left == sorted(left, reverse=True) and left[0] == solved.funnel.enumerated and left[-1] == solved.funnel.passed


def test_the_answer_in_words(solved: Solved) -> None:
    said = asked_words(solved.goal)
    assert said.startswith(
        "Qwen3-14B for 40 users at once; 1,024 tokens in, 256 out, room for 1,280; first token within 1.50 s at the 95th"
    )
    best = {side: next((c for c in solved.ranked if c.side == side), None) for side in ("build", "cloud")}
    line = headline(solved.goal, best)  # type: ignore[arg-type]
    assert line.startswith("Buy ") and " or rent " in line and "a month)" in line
    assert headline(solved.goal, {"cloud": None}) == "Nothing in the catalog meets this"
    assert headline(solved.goal, {"owned": best["cloud"], "cloud": None}).endswith(" does it")
    assert headline(solved.goal, {"owned": best["cloud"], **best}).count("; else buy ") == 1
    named, short = model_name("Qwen/Qwen3-14B"), solved.goal.with_(models=["Qwen/Qwen3-14B", "Qwen/Qwen3-8B"])
    assert headline(short, best) == f"{named}: {line[0].lower()}{line[1:]}"  # type: ignore[arg-type]
    assert headline(short, {"owned": best["cloud"]}).endswith(f" runs {named}")
    other = replace(best["cloud"], scenario=best["cloud"].scenario.with_(model="Qwen/Qwen3-8B"))  # type: ignore[union-attr, type-var]
    assert headline(short, {**best, "cloud": other}).endswith(" a month) for Qwen3-8B")  # type: ignore[dict-item]
    first = solved.ranked[0]
    two = replace(first, machines=2, machine=replace(first.machine, name="2 × RTX 3090 in a desktop PC"))
    assert machines(two) == "2 machines, each 2 × RTX 3090 in a desktop PC"
    assert machines(replace(two, machine=first.machine)).startswith("2 × ")
    assert how_many(first).startswith(f"{first.replicas} replica") and first.quant in way(first)
    assert set(TIERS) == {"minimum", "balanced", "headroom"}


def test_a_name_says_its_memory_once() -> None:
    names = [machine.name for machine in listed(goal({"models": "any", "hardware": ["build"]}))]
    assert any(name.endswith(" GB") for name in names)
    assert not [name for name in names if re.search(r"\b(\d+) ?GB, \1 GB", name)]


def test_what_lies_on_the_host_is_said() -> None:
    mine = {"device": "RTX 3090", "ram_gb": 128}
    found = solve(goal({"models": "Qwen/Qwen3-30B-A3B", "hardware": "owned", "owned": mine, "quants": ["Q8_0"], "runtimes": ["llama.cpp"]}))
    assert on_host(found.ranked[0]).startswith("the experts of ") and found.ranked[0].fits == "with_offload"
