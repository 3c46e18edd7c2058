"""Rows of the comparison's charts: in people's units, bars that join, measured points of the very same configuration."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import pytest
from test_corpus import put

from core import compare_tables as tables
from core.compare import build, compare
from core.grid import axis, records
from core.price_guess import guess
from core.scenario import from_flat
from core.units import GIB
from core.waterfall import waterfall
from core.waterfall_words import factor

HOME = from_flat({"model": "Llama-3.1-8B-Instruct", "device": "RTX 3090", "quant": "Q4_K_M"})
OTHER = HOME.with_(device="RTX 4060 Ti 16GB", quant="Q8_0")
SERVED = {"model": "Qwen3-8B", "device": "H100 SXM5 80GB", "runtime": "vLLM", "quant": "FP8", "prompt_tokens": 1024,
          "output_tokens": 256, "concurrency": 8}  # fmt: skip


def test_bars_of_a_waterfall_join_from_one_build_to_the_other() -> None:
    found = waterfall(HOME, OTHER, "memory_peak")
    rows = tables.waterfall_rows(found, ("A", "B"))
    assert rows[0]["end"] == pytest.approx(found.start / GIB) and rows[-1]["end"] == pytest.approx(found.end / GIB)
    for before, after in itertools.pairwise(rows[:-1]):
        assert after["start"] == pytest.approx(before["end"])
    assert rows[-2]["end"] == pytest.approx(rows[-1]["end"])
    assert {row["kind"] for row in rows[1:-1] if row["end"] > row["start"]} <= {"worse"}, "more memory is no gain"


def test_lines_are_drawn_where_a_build_runs() -> None:
    large = HOME.with_(quant="F16", ram_gb=8.0)
    over = axis("users=1,300", HOME)
    found = records([("A", HOME), ("B", large)], over)
    rows = tables.line_rows(found, over, "decode_rate")
    assert [(row["build"], row["x"]) for row in rows] == [("A", 1), ("A", 300), ("B", 1)]
    assert all(row["low"] < row["amount"] < row["high"] for row in rows)
    (sentence,) = tables.not_running(found, over, [build(HOME, "A"), build(large, "B")])
    assert sentence.startswith("B runs up to ") and sentence.endswith(" users at once.")


def test_choices_that_cannot_be_say_why() -> None:
    over = axis("runtime=llama.cpp,vLLM", HOME)
    assert "A does not run with vLLM: vLLM does not run" in tables.not_running(records([("A", HOME)], over), over, [build(HOME, "A")])[0]


def test_maps_say_who_is_best_and_where_that_is_too_close() -> None:
    axes = axis("users=1,2", HOME), axis("prompt_tokens=256,512", HOME)
    near = HOME.with_(quant="Q4_K_S")
    pi = HOME.with_(device="Raspberry Pi 5 8GB")
    for other, shade in ((near, {"A?", "B?"}), (pi, {"A"})):
        found = records([("A", HOME), ("B", other)], *axes)
        rows = tables.who_rows(found, axes, "decode_rate", [build(HOME, "A"), build(other, "B")])
        assert len(rows) == 4 and {row["shade"] for row in rows} <= shade
    cells = tables.heat_rows(found, axes, "decode_rate", "A")
    assert {(cell["x"], cell["y"]) for cell in cells} == {(x, y) for x in ("1", "2") for y in ("256", "512")}


def test_measured_points_stand_on_the_axis_of_their_own_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROOFCAST_HOME", str(tmp_path))
    put(tmp_path / "runs" / "mine", *({"concurrency": users, "tpot_ms_p50": "10"} for users in ("2", "32", "512")))
    served = from_flat(SERVED)
    over = axis("users=1..128", served)
    rows = tables.measured_rows([build(HOME, "A"), build(served, "B")], over, "decode_rate")
    assert sorted((row["build"], row["x"], row["amount"]) for row in rows) == [("B", 2, 100.0), ("B", 32, 100.0)]
    assert tables.measured_rows([build(served, "B")], axis("count=1,2", served), "decode_rate") == []


def test_costs_over_use_fall_and_meet_the_estimate() -> None:
    rows = tables.api_rows([build(HOME, "A")], 0.1, 0.4)
    amounts = [row["amount"] for row in rows]
    assert amounts == sorted(amounts, reverse=True) and rows[-1]["x"] == 1.0


def test_ranges_are_in_peoples_units() -> None:
    found = compare([HOME, OTHER])
    (row, _) = tables.range_rows(found, found.line("needed"))
    assert 4 < row["amount"] < 8 and row["text"].endswith("GiB")
    assert next(title for title, *_ in tables.pictured(found)) == "Writing, each user"


@pytest.mark.parametrize(("ratio", "said"), [(1.8, "×1.8"), (1.04, "+4 %"), (0.96, "−4 %"), (0.4, "×0.4"), (1.0, "+0 %")])
def test_factors_in_words(ratio: float, said: str) -> None:
    assert factor(ratio) == said


def test_a_price_is_guessed_only_where_none_is_known() -> None:
    mac = HOME.with_(device="Apple M3 Ultra (80-core GPU)")
    found = guess(build(mac, "B"))
    assert found is not None and found.usd > 1000
    counted = build(found.counted(mac), "B")
    assert guess(counted) is None and counted.found is not None and counted.found.resolved["cost_basis"] == "bought"
    assert guess(build(HOME, "A")) is None
    assert math.isfinite(compare([HOME, counted.scenario]).line("usd_per_million").cells[1].amount)
