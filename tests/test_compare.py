"""Builds side by side: what is best, what is a tie, and what cannot be compared."""

from __future__ import annotations

import math

import pytest

from core.compare import ALONE, build, compare, pairs_of, spread
from core.errors import ScenarioError
from core.inputs import INPUTS, differing, said, stated, swapped
from core.pairs import _PAIRS, KINDS, paired
from core.scenario import PARTS, from_flat
from core.scores import scores
from core.sweep import answer

HOME = from_flat({"model": "Llama-3.1-8B-Instruct", "device": "RTX 3090", "quant": "Q4_K_M", "prompt_tokens": 1024})
SERVER = HOME.with_(device="H100 SXM5 80GB", runtime="vllm", quant="FP8", concurrency=16)


def test_numbers_are_those_of_the_answers() -> None:
    found = compare([HOME, SERVER])
    for line, unit in (("decode_rate", 1.0), ("ttft", 1.0)):
        for asked, cell in zip((HOME, SERVER), found.line(line).cells, strict=True):
            answered = answer(asked)
            assert cell.amount == answered.metric(line) * unit
            assert (cell.low, cell.high) == answered.bands[line]


def test_what_differs_is_told_input_by_input() -> None:
    told = {entry.key: texts for entry, texts in compare([HOME, SERVER]).inputs}
    assert told == {
        "device": ("RTX 3090", "H100 SXM5 80GB"),
        "runtime": ("llama.cpp", "vLLM"),
        "quant": ("Q4_K_M", "FP8"),
        "users": ("1 user", "16 users"),
    }


def test_far_apart_is_no_tie_and_near_is_one() -> None:
    far = compare([HOME, HOME.with_(device="Raspberry Pi 5 8GB")]).line("decode_rate")
    assert far.best == (0,) and far.verdict.startswith("A, ×")
    near = compare([HOME, HOME.with_(quant="Q4_K_S")]).line("decode_rate")
    assert near.verdict == "a tie" and near.best == (0, 1)
    assert near.cells[0].amount != near.cells[1].amount


def test_a_tie_is_judged_by_pairs_of_runs_that_differ_so() -> None:
    """Two estimates of one card share errors: their order is surer than independent ranges would say."""
    one, other = build(HOME, "A"), build(HOME.with_(quant="Q8_0"), "B")
    assert one.found and other.found
    ranges = math.hypot(*(min(math.log(high / b.metric("decode_rate")), math.log(b.metric("decode_rate") / low))
                          for b in (one.found, other.found) for low, high in [b.bands["decode_rate"]]))  # fmt: skip
    pairs = pairs_of("decode_rate", HOME, HOME.with_(quant="Q8_0"))
    assert pairs is not None and pairs.pairs > 1000
    assert 0 < spread("decode_rate", one, other) == pairs.spread < ranges


def test_where_no_pairs_tell_the_ranges_do() -> None:
    """The speed of reading a prompt by quantisation is ordered no better than by chance: pairs trust no distance."""
    other = HOME.with_(quant="Q8_0")
    pairs = pairs_of("prefill_rate", HOME, other)
    assert pairs is not None and math.isinf(pairs.spread)
    assert 0 < spread("prefill_rate", build(HOME, "A"), build(other, "B")) < math.inf


def test_purchase_and_electricity_alone_are_not_compared() -> None:
    mac = HOME.with_(device="Apple M3 Ultra (80-core GPU)")
    line = compare([HOME, mac]).line("usd_per_million")
    assert line.cells[1].note == ALONE and line.best == () and line.verdict == "not comparable: B without the machine's price"
    priced = compare([HOME, mac.with_(purchase_usd=3999)]).line("usd_per_million")
    assert priced.best == (0,)


def test_quality_is_compared_within_a_model_alone() -> None:
    assert compare([HOME, HOME.with_(quant="Q2_K")]).line("quality").best == (0,)
    assert compare([HOME, HOME.with_(model="Qwen3-8B")]).line("quality").verdict == "not comparable between models"


def test_what_does_not_run_is_still_shown() -> None:
    found = compare([HOME.with_(model="Llama-3.3-70B-Instruct", runtime="vllm", quant="FP8"), HOME, HOME.with_(quant="no such")])
    assert found.sentence.endswith("A and C do not run.")
    assert found.line("decode_rate").cells[0].text == "" and found.line("needed").cells[0].text
    assert found.builds[2].found is None and "no such" in found.builds[2].why


def test_one_alone_and_too_many() -> None:
    assert "Add a second build" in compare([HOME]).sentence
    with pytest.raises(ScenarioError, match="One to 4 builds"):
        compare([HOME] * 5)


# ---- inputs


def test_every_knob_belongs_to_one_input() -> None:
    knobs = [knob for entry in INPUTS for knob in entry.knobs]
    assert len(knobs) == len(set(knobs))
    assert set(knobs) == {*PARTS, "model", "runtime", "backend", "runtime_version", "runtime_date"}


def test_taking_every_differing_input_makes_the_other() -> None:
    assert swapped(HOME, SERVER, differing(HOME, SERVER)) == SERVER
    assert swapped(HOME, SERVER, ()) == HOME
    assert differing(HOME, HOME) == ()


def test_an_alias_is_no_difference() -> None:
    other = HOME.with_(model="meta-llama/Llama-3.1-8B-Instruct", device="GeForce RTX 3090", runtime="llama-cpp", quant="q4km")
    assert differing(stated(HOME), stated(other)) == ()


def test_a_quantisation_left_open_is_said() -> None:
    left = HOME.with_(quant=None)
    assert stated(left).deployment.quant == "Q4_K_M"
    assert answer(stated(left)).metric("decode_rate") == answer(left).metric("decode_rate")


def test_inputs_in_words() -> None:
    asked = SERVER.with_(count=4, tp=2, dp=2, max_context=8192, flash_attention=False, context_depth=4096, usd_per_h=2.5)
    words = {entry.key: said(asked, entry) for entry in INPUTS}
    assert words["count"] == "4, TP 2, DP 2"
    assert words["engine"] == "flash attention off, 8,192 tokens of context"
    assert words["length"] == "1,024 tokens in, 128 out, 4,096 cached before"
    assert words["costs"] == "usd per h 2.5" and words["cache"] == "default"


# ---- pairs


def test_pairs_that_differ_in_more_are_no_surer() -> None:
    for metric in ("decode_rate", "output_rate"):
        one, both = paired(metric, ["quant"]), paired(metric, ["device", "quant"])
        assert one is not None and both is not None and 0 < one.spread <= both.spread


def test_pairs_beyond_the_spread_are_in_the_right_order() -> None:
    """Held against the runs themselves: quantisations on one card, decode."""
    told = paired("decode_rate", ["quant"])
    assert told is not None
    table = scores().ask(_PAIRS, metric="decode", **{kind: kind == "quant" for kind in KINDS})
    far = table[table["apart"] > told.spread]
    right = far.groupby("source")["ordered"].mean()
    assert len(far) > 100 and right.mean() > 0.85
    assert (table["parted"] <= told.spread).groupby(table["source"]).mean().mean() >= 0.78


def test_without_pairs_nothing_is_claimed() -> None:
    assert paired("power", ["model"]) is None and paired("decode_rate", []) is not None
    guessed = paired("decode_rate", ["cache"])
    assert guessed is not None and guessed.pairs == 0
