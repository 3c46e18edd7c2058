"""What to trust: one word each, by support and the nearest runs."""

from dataclasses import replace

import pytest

from core.answer import Support
from core.distance import Difference
from core.estimate import estimate
from core.evidence import NearRun
from core.scenario import from_flat
from core.trust import what_to_trust

ANSWER = estimate(from_flat({"model": "Qwen3-8B", "device": "RTX 4090", "quant": "Q4_K_M"}))
SEEN = Support("seen", dict.fromkeys(("device", "model", "runtime", "quant", "load"), "seen"))
OFFLOADED = estimate(from_flat({"model": "Llama-3.3-70B-Instruct", "device": "RTX 3090", "quant": "Q4_K_M", "ram_gb": 64}))


def run(*differences, **measured):
    return NearRun(
        "0" * 16, sum(d.distance for d in differences), differences, ANSWER.scenario, measured, {}, "Somebody", None, "MIT", "", "", ""
    )


def words(answer, *near):
    found = what_to_trust(answer, near)
    assert all(part.text.endswith(".") for part in (found.speed, found.tail, found.memory))
    return found.speed.word, found.tail.word, found.memory.word


def test_without_runs_or_correction():
    assert words(ANSWER) == ("unmeasured", "unmeasured", "interpolated")
    assert "no measured correction" in what_to_trust(ANSWER, ()).speed.text


def test_a_run_of_this_very_configuration():
    close = Difference("load", 0.4, "1,024 instead of 512 prompt tokens")
    assert words(ANSWER, run(close, decode_rate=130.0))[0] == "measured"
    assert "decode 130 tok/s (Somebody)" in what_to_trust(ANSWER, [run(close, decode_rate=130.0)]).speed.text
    assert words(ANSWER, run(close, memory_peak=6e9)) == ("unmeasured", "unmeasured", "measured")


@pytest.mark.parametrize(
    "other", [Difference("load", 1.5, "far load"), Difference("quant", 0.8, "other quant"), Difference("doubt", 0.9, "?")]
)
def test_another_configuration_or_load_is_not_this_one(other):
    assert words(ANSWER, run(other, decode_rate=130.0, memory_peak=6e9)) == ("unmeasured", "unmeasured", "interpolated")


@pytest.mark.parametrize(("level", "word"), [("seen", "interpolated"), ("near", "interpolated"), ("far", "unmeasured")])
def test_support_decides_where_nothing_was_measured(level, word):
    support = Support(level, {**SEEN.by, "model": level})
    assert words(replace(ANSWER, support=support))[0] == word
    if level != "seen":
        assert "model" in what_to_trust(replace(ANSWER, support=support), ()).speed.text


def test_offload_comes_from_the_engine_model():
    assert OFFLOADED.feasibility == "with_offload"
    assert words(replace(OFFLOADED, support=SEEN)) == ("unmeasured", "unmeasured", "unmeasured")


def test_open_loads_are_never_measured():
    answer = estimate(ANSWER.scenario.with_(arrival="open", request_rate_per_s=0.5))
    assert "open load" in what_to_trust(answer, ()).tail.text
