"""Sweeps over one knob."""

from __future__ import annotations

import math
import re
from pathlib import Path

from core import sweep
from core.estimate import estimate
from core.scenario import from_flat

SCENARIO = from_flat({"model": "Llama-3.1-8B-Instruct", "device": "RTX 4090", "concurrency": 3})


def test_users_hold_the_scenario_itself_and_progress_is_heard() -> None:
    heard: list[float] = []
    rows = sweep.by_users(SCENARIO, progress=heard.append)
    assert [row["users"] for row in rows] == [1, 2, 3, 4, 8, 16, 32, 64, 128]
    assert heard[-1] == 1
    own = next(row for row in rows if row["users"] == 3)
    assert own["decode_rate"] == sweep.answer(SCENARIO).metric("decode_rate")


def test_one_door_leads_to_the_answer_that_people_see() -> None:
    """What is asked elsewhere is whether something fits, or which split reads faster cards more: no correction changes that."""
    asked = re.compile(r"from core\.estimate import [^\n]*\bestimate\b")
    root = Path(__file__).parents[1]
    files = [root / "app.py", *(root / "core").rglob("*.py"), *(root / "pages").rglob("*.py")]
    found = {path.name for path in files if asked.search(path.read_text(encoding="utf-8"))}
    assert found == {"sweep.py", "nearest.py", "open_cases.py", "planner.py", "recommend.py", "faster_split.py", "drift.py"}


def test_the_answer_is_corrected_unless_asked_otherwise() -> None:
    seen, physics = sweep.answer(SCENARIO), sweep.answer(SCENARIO, analytic=True)
    assert seen.version and seen.bands and seen.support
    assert physics.version is None and physics.metric("tpot") == estimate(SCENARIO).metric("tpot") != seen.metric("tpot")


def test_users_of_an_open_load_are_asked_as_a_closed_one() -> None:
    rows = sweep.by_users(SCENARIO.with_(arrival="open", request_rate_per_s=1.0))
    assert all(math.isfinite(row["ttft"]) for row in rows if row["fits"])


def test_longer_prompts_take_longer() -> None:
    rows = [row for row in sweep.by_prompt(SCENARIO, 131_072) if row["fits"]]
    assert rows[0]["ttft"] < rows[-1]["ttft"]
    assert any(row["prompt"] == SCENARIO.workload.prompt_tokens for row in rows)


def test_prompts_stay_within_a_short_model() -> None:
    load = SCENARIO.workload
    for longest in (64, 200, 2048):
        longest_asked = max(row["prompt"] for row in sweep.by_prompt(SCENARIO, longest))
        assert longest_asked <= max(longest - load.output_tokens, 1)


def test_value_that_cannot_be_becomes_a_record() -> None:
    rows = sweep.sweep(SCENARIO, "quant", ["Q4_K_M", "no such quant"])
    assert rows[0]["fits"]
    assert not rows[1]["fits"]
    assert "no such quant" in rows[1]["error"]
    assert math.isnan(rows[1]["ttft"])
