"""Where two builds' lines cross: the value that bisection finds is the one that trying every value finds."""

from __future__ import annotations

import pytest

from core.crossing import DRAWN, crossings, runs_up_to
from core.errors import ScenarioError
from core.grid import axis, made, swept_point
from core.scenario import from_flat

HOME = from_flat({"model": "Llama-3.1-8B-Instruct", "device": "RTX 3090", "quant": "Q4_K_M", "prompt_tokens": 1024})
SERVED = HOME.with_(runtime="vllm", quant="AWQ-INT4")


def test_the_crossing_is_the_first_value_at_which_the_other_is_better() -> None:
    found = crossings(HOME, SERVED, axis("users=8..32", HOME), "decode_rate")
    (cross,) = found.found

    def ahead(users: int) -> bool:
        one, other = (swept_point(asked, ("concurrency", users))["decode_rate"] for asked in (HOME, SERVED))
        return bool(one > other) == (cross.better == "A")

    assert ahead(int(cross.at)) and not ahead(int(cross.at) - 1)
    assert {cross.one, cross.other} == {swept_point(asked, ("concurrency", int(cross.at)))["decode_rate"] for asked in (HOME, SERVED)}
    assert "By the medians: below" in found.sentence and found.sentence.startswith("A tie from 8 to 32 users at once")


def test_a_knob_that_is_no_whole_number() -> None:
    """A dear card that works much against a cheap rent: from some use on it is cheaper."""
    rented = HOME.with_(usd_per_h=0.2)
    found = crossings(HOME, rented, axis("use=0.05..1:0.05", HOME), "usd_per_million", ("card", "rent"))
    (cross,) = found.found
    assert cross.better == "card"
    assert cross.one == pytest.approx(cross.other, rel=0.02)


def test_no_crossing_is_said() -> None:
    found = crossings(HOME, HOME.with_(device="Raspberry Pi 5 8GB"), axis("users=1,2", HOME), "decode_rate")
    assert found.found == () and found.sentence == "Between 1 and 2 users at once, A always writes faster."


def test_the_end_of_a_line_is_found() -> None:
    large = HOME.with_(quant="F16")
    end, sentence = runs_up_to("B", large, axis("users=64..512", HOME))
    assert end is not None and sentence == f"B runs up to {end:,.0f} users at once."
    assert swept_point(large, ("concurrency", int(end)))["fits"] and not swept_point(large, ("concurrency", int(end) + 1))["fits"]
    assert runs_up_to("A", HOME, axis("users=1,2", HOME)) == (None, "") == runs_up_to("A", HOME, axis("quant", HOME))


def test_lines_that_never_meet_or_are_the_same() -> None:
    assert "never both run" in crossings(HOME, HOME.with_(device="Raspberry Pi 5 2GB", ram_gb=2), axis("users=1,2", HOME), "ttft").sentence
    assert crossings(HOME, HOME, axis("users=1,2", HOME), "ttft").sentence == "Between 1 and 2 users at once, A and B are alike."


def test_choices_and_unknown_metrics_are_refused() -> None:
    with pytest.raises(ScenarioError, match="values have no order"):
        crossings(HOME, SERVED, made("quant", ["Q8_0"]), "ttft")
    with pytest.raises(ScenarioError, match=next(iter(DRAWN))):
        crossings(HOME, SERVED, axis("users", HOME), "colour")
