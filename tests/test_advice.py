"""What helps most: every option is a single change, estimated as shown, ordered by gain for the money; nothing unsure is claimed."""

from __future__ import annotations

import math

import pytest

from core import advice as module
from core.advice import advise, gain_words, per_usd_words, price_words, tried
from core.changes import Change, Price, quantisations, settings, splits
from core.errors import ScenarioError
from core.scenario import from_flat
from core.sweep import answer, point
from core.upgrades import upgrades

HOME = from_flat({"model": "Llama-3.1-8B-Instruct", "device": "RTX 3060", "quant": "Q8_0", "prompt_tokens": 4000})
LARGE = HOME.with_(model="Llama-3.3-70B-Instruct", device="RTX 4090", quant="Q4_K_M", ram_gb=64.0)
SERVED = HOME.with_(model="Llama-3.3-70B-Instruct", device="H100 SXM5 80GB", count=4, runtime="vllm", quant="BF16", concurrency=32)


@pytest.mark.parametrize("asked", [HOME, LARGE, SERVED], ids=["home", "offloaded", "served"])
def test_every_option_is_what_its_change_gives(asked: object) -> None:
    found = advise(asked)  # type: ignore[arg-type]
    assert found.options and found.metric == ("output_rate" if asked is SERVED else "decode_rate")
    for option in (*found.options, *found.unsure):
        changed = found.scenario.with_(**option.change.knobs)
        assert option.after == point(changed)[found.metric] and option.before == point(found.scenario)[found.metric]
        assert option.gain == pytest.approx(option.after / option.before) and option.gain > 1.03


def test_free_comes_before_bought_and_bought_by_gain_for_the_money() -> None:
    options = advise(LARGE).options
    kinds = [(o.change.bought, o.change.less) for o in options]
    assert kinds == sorted(kinds, key=lambda kind: (kind[1], kind[0]))
    per = [o.per_usd for o in options if o.change.bought and o.per_usd is not None]
    assert len(per) >= 2 and per == sorted(per, reverse=True)
    dearest = next(o for o in options if o.per_usd is not None)
    assert dearest.change.price is not None
    assert dearest.per_usd == pytest.approx(100 * (dearest.gain - 1) / (dearest.change.price.usd / 1000))


def test_a_second_card_takes_in_what_lies_in_host_memory() -> None:
    cards = next(o for o in advise(LARGE).options if o.change.lever == "cards")
    assert cards.scenario.system.count == 2 and answer(cards.scenario).feasibility == "in_vram" and cards.gain > 3
    assert price_words(cards) == "$1,599" and "per $1,000" in per_usd_words(cards)


def test_what_does_not_run_is_helped_to_run() -> None:
    found = advise(HOME.with_(model="Qwen3-32B", device="Apple M4 Pro (16-core GPU)", ram_gb=24.0, quant="Q4_K_M"))
    assert found.options and all(o.runs_now and math.isnan(o.before) and o.sure for o in found.options)
    assert found.options[0].change.lever == "quant" and gain_words(found.options[0], found.metric).startswith("it runs: ")
    assert "it runs then" in found.sentence


def test_a_small_gain_is_not_claimed() -> None:
    found = advise(HOME)
    assert {o.change.lever for o in found.unsure} and all(not o.sure for o in found.unsure)
    close = tried(HOME, Change("quant", "", {"quant": "Q6_K"}), "decode_rate")
    assert close is not None and close.gain > 1 and not close.sure


def test_smaller_quantisations_are_not_beaten_in_quality_by_still_smaller_ones() -> None:
    names = [change.knobs["quant"] for change in quantisations(HOME)]
    assert 1 < len(names) <= 4 and "Q3_K_S" not in names


def test_of_one_card_there_is_no_split_and_of_servers_every_one_divides() -> None:
    assert not list(splits(HOME))
    for change in splits(SERVED):
        degrees = [change.knobs[name] or 1 for name in ("tp", "pp", "dp")]
        assert math.prod(degrees) == 4


def test_nothing_is_put_where_no_card_fits() -> None:
    for name in ("Raspberry Pi 5 8GB", "Apple M4 Max (40-core GPU)"):
        asked = HOME.with_(device=name, quant="Q4_K_M")
        assert {change.lever for change in upgrades(asked, answer(asked))} == {"machine"}


def test_rent_is_what_the_hour_costs_more() -> None:
    prices = [change.price for change in upgrades(SERVED, answer(SERVED)) if change.lever == "device"]
    assert prices and all(price is not None and price.per == "hour" for price in prices)
    asked = Change("device", "", {"device": "B200 SXM 180GB"}, bought=True, price=Price(-1.0, "hour", ""))
    option = tried(SERVED, asked, "output_rate")
    assert option is not None and option.per_usd is None and price_words(option) == "$1.00 an hour less"


def test_every_setting_is_a_change() -> None:
    for asked in (HOME, LARGE, SERVED):
        for change in settings(asked, answer(asked)):
            assert asked.with_(**change.knobs) != asked, change.text


def test_unknown_metrics_are_refused() -> None:
    with pytest.raises(ScenarioError, match="no metric 'colour'"):
        advise(HOME, "colour")


def test_nothing_to_say_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "tried", lambda *_: None)
    assert advise(HOME).sentence == "No single change would help by more than two such estimates may be off."
