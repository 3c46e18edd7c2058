"""What to trust: one word each, by support and the nearest runs."""

from dataclasses import replace

import pytest
from fake_scores import write

from core.answer import Support
from core.distance import Difference
from core.estimate import estimate
from core.evidence import NearRun
from core.scenario import from_flat
from core.scores import Choice, scores
from core.trust import held, what_to_trust

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


@pytest.mark.parametrize("other", [Difference("quant", 0.8, "other quant"), Difference("doubt", 0.9, "?")])
def test_another_configuration_is_not_this_one(other):
    assert words(ANSWER, run(other, decode_rate=130.0, memory_peak=6e9)) == ("unmeasured", "unmeasured", "interpolated")


def test_this_configuration_at_another_load_lies_beside_the_answer():
    other = run(Difference("load", 1.5, "far load"), decode_rate=130.0, memory_peak=6e9)
    assert words(ANSWER, other) == ("interpolated", "unmeasured", "interpolated")
    assert "at another load or with other software: decode 130 tok/s (Somebody)" in what_to_trust(ANSWER, [other]).speed.text
    far = replace(ANSWER, support=Support("far", {**SEEN.by, "load": "far"}))
    assert "(load)" in what_to_trust(far, [other]).speed.text and words(far, other)[0] == "unmeasured"
    assert words(OFFLOADED, other)[0] == "unmeasured"
    no_speed = run(Difference("load", 1.5, "far load"), memory_peak=6e9)
    assert words(ANSWER, no_speed)[0] == "unmeasured"


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


BANDED = replace(ANSWER, bands={"decode_rate": (100.0, 150.0), "energy_per_token": (1.0, 2.0)})


def test_held_tells_how_ranges_did_on_what_no_fit_had_seen(tmp_path, monkeypatch):
    monkeypatch.setenv("ROOFCAST_SCORES", str(write(tmp_path, rows=4000)))
    share = {
        split: next(line["each_covered"] for line in scores().summary(Choice(split), by="metric") if line["slice"] == "decode")
        for split in ("model", "device")
    }
    assert f"it held {share['model']:.0%} on models and {share['device']:.0%} on devices new to it." in held(BANDED, "decode_rate")
    assert held(BANDED, "energy_per_token") == "The range is meant to hold 8 of 10 runs."
    assert held(BANDED, "ttft") == ""  # no range, nothing to say of it


def test_held_without_scores_says_only_what_is_meant(tmp_path, monkeypatch):
    monkeypatch.setenv("ROOFCAST_SCORES", str(tmp_path / "none"))
    assert held(BANDED, "decode_rate") == "The range is meant to hold 8 of 10 runs."
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "rows.parquet").write_text("no table")
    assert held(BANDED, "decode_rate") == "The range is meant to hold 8 of 10 runs."
