"""Against an API: the same numbers as the estimate's own costs, and a break-even at which both cost the same."""

from __future__ import annotations

import math

import pytest

from core.errors import ScenarioError
from core.hosted import against_api
from core.quantity import value
from core.scenario import Scenario, from_flat
from core.sweep import answer

BOUGHT = from_flat({"model": "Llama-3.1-8B-Instruct", "device": "RTX 3090", "quant": "Q4_K_M", "prompt_tokens": 1000, "output_tokens": 250})
RENTED = BOUGHT.with_(usd_per_h=2.0)


def own(asked: Scenario, use: float) -> float:
    return float(value(against_api(answer(asked), 0.1, 0.4, use).own))


def test_at_its_own_share_in_use_a_bought_machine_costs_what_the_estimate_says() -> None:
    assert own(BOUGHT, BOUGHT.costs.use) == pytest.approx(float(value(answer(BOUGHT).money["usd_per_million"])), rel=1e-12)


def test_a_rented_machine_is_paid_while_it_idles() -> None:
    full = float(value(answer(RENTED).money["usd_per_million"]))
    assert own(RENTED, 1.0) == pytest.approx(full) and own(RENTED, 0.25) == pytest.approx(4 * full)


def test_an_api_bills_prompt_and_answer() -> None:
    """A request of 1,000 tokens in and 250 out: 4 tokens read for each one written."""
    assert float(value(against_api(answer(BOUGHT), 0.1, 0.4).api)) == pytest.approx(0.4 + 4 * 0.1)


@pytest.mark.parametrize("asked", [BOUGHT, BOUGHT.with_(usd_per_h=0.05)], ids=["bought", "rented"])
def test_both_cost_the_same_at_the_break_even(asked: Scenario) -> None:
    found = against_api(answer(asked), 0.1, 0.4)
    assert found.break_even is not None and 0 < found.break_even < 1
    assert own(asked, found.break_even) == pytest.approx(float(value(found.api)), rel=1e-9)
    assert f"cheaper from {found.break_even:.0%} of the time on" in found.sentence
    assert found.tokens_a_day == pytest.approx(answer(asked).metric("output_rate") * found.break_even * 86400)


def test_what_never_pays_is_said() -> None:
    assert "does not get cheaper" in against_api(answer(RENTED), 0.001, 0.001).sentence
    assert against_api(answer(RENTED), 0.0, 0.0).break_even is None
    mac = against_api(answer(BOUGHT.with_(device="Apple M4 Max (40-core GPU)")), 0.1, 0.4)
    assert mac.alone and "give one to compare" in mac.sentence


def test_the_range_is_that_of_the_output() -> None:
    found, seen = against_api(answer(BOUGHT), 0.1, 0.4), answer(BOUGHT)
    low, high = seen.bands["output_rate"]
    middle = float(value(found.own))
    assert found.ends[0] < middle < found.ends[1]
    assert found.ends == pytest.approx((middle * seen.metric("output_rate") / high, middle * seen.metric("output_rate") / low))


@pytest.mark.parametrize(
    ("prices", "use", "said"), [((-1, 1), 0.5, "0 or more"), ((math.nan, 1), 0.5, "0 or more"), ((1, 1), 0.0, "at most 1")]
)
def test_nonsense_is_refused(prices: tuple[float, float], use: float, said: str) -> None:
    with pytest.raises(ScenarioError, match=said):
        against_api(answer(BOUGHT), *prices, use)


def test_what_does_not_run_has_no_cost() -> None:
    with pytest.raises(ScenarioError, match="does not run"):
        against_api(answer(BOUGHT.with_(model="Llama-3.3-70B-Instruct", runtime="vllm", quant="FP8")), 1, 1)
