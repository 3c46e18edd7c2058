"""The nearest things that fit."""

from __future__ import annotations

import pytest

from core.estimate import estimate
from core.nearest import nearest_fits
from core.scenario import Scenario, from_flat


def short(**knobs: object) -> Scenario:
    """A scenario that does not fit."""
    found = from_flat({"model": "Llama-3.3-70B-Instruct", **knobs})
    assert not estimate(found).runs
    return found


@pytest.mark.parametrize(
    ("knobs", "offered"),
    [
        ({"device": "RTX 4090", "runtime": "vllm", "quant": "FP8"}, {"runtime", "count", "device"}),
        ({"device": "RTX 3090", "prompt_tokens": 100_000}, {"quant", "count"}),
        ({"device": "Raspberry Pi 5 8GB"}, {"ram_gb"}),
        ({"device": "RTX 3090", "count": 2, "gpu_layers": 80, "prompt_tokens": 60_000}, {"gpu_layers", "prompt_tokens"}),
    ],
)
def test_each_offer_runs_and_says_what_changed(knobs: dict[str, object], offered: set[str]) -> None:
    asked = short(**knobs)
    found = nearest_fits(asked)
    assert offered <= {key for option in found for key in option.knobs}
    for option in found:
        assert option.answer.runs
        assert option.change
        assert "nan" not in option.outcome
        assert option.scenario == asked.with_(**option.knobs)
        assert estimate(option.scenario).runs


def test_offer_is_the_smallest_change() -> None:
    asked = short(device="RTX 4090", runtime="vllm", quant="FP8")
    cards = next(option for option in nearest_fits(asked) if set(option.knobs) & {"count"})
    count = cards.knobs["count"]
    assert count in (2, 3, 4, 6, 8)
    assert not estimate(asked.with_(count=2)).runs or count == 2
