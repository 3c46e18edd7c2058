"""Sweeps over one or two knobs of several builds, and how their axes are written."""

from __future__ import annotations

import math
from typing import Any

import pytest

from core import grid
from core.errors import ScenarioError
from core.grid import KNOBS, axis, records, with_value
from core.scenario import from_flat
from core.sweep import point

HOME = from_flat({"model": "Llama-3.1-8B-Instruct", "device": "RTX 4090", "quant": "Q4_K_M"})


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("users=1,4,2", (1, 2, 4)),
        ("users=1..8", (1, 2, 4, 8)),
        ("users=3..20", (3, 6, 12, 20)),
        ("gpu-layers=0..32:16", (0, 16, 32)),
        ("gpu_layers=0..32", (0, 4, 8, 12, 16, 20, 24, 28, 32)),
        ("--prompt-tokens=100,1..4", (1, 2, 4, 100)),
        ("use=0.5,1", (0.5, 1.0)),
        ("quant=q8_0,Q4_K_M", ("Q8_0", "Q4_K_M")),
        ("gpu=rtx 3090,m4 max", ("GeForce RTX 3090", "Apple M4 Max (40-core GPU)")),
    ],
)
def test_axes_as_people_write_them(text: str, values: tuple[Any, ...]) -> None:
    assert axis(text, HOME).values == values


@pytest.mark.parametrize("knob", [knob for knob in KNOBS if knob not in ("device", "model")])
def test_every_knob_has_values_unasked(knob: str) -> None:
    found = axis(knob, HOME if knob != "experts_on_cpu" else HOME.with_(model="gpt-oss-20b"))
    assert len(found.values) > 1
    assert with_value(HOME, knob, found.values[-1]) is not None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("colour", "cannot be swept; choose one of concurrency"),
        ("users=", "names no value"),
        ("users=1.5", "no whole number of users at once"),
        ("users=8..1", "smaller one first"),
        ("users=1..1000:1", "at most 400"),
        ("use=0..1:0", "too many"),
        ("device", "Say which values of device"),
        ("quant=Q4_K_M,FP7", "FP7"),
    ],
)
def test_what_is_no_axis_gets_a_sentence(text: str, said: str) -> None:
    with pytest.raises((ScenarioError, grid.RoofcastError), match=said):
        axis(text, HOME)


def test_records_are_points_with_their_knobs() -> None:
    heard: list[float] = []
    builds = [("A", HOME), ("B", HOME.with_(quant="Q8_0"))]
    two = records(builds, axis("users=1,8", HOME), axis("prompt_tokens=256,512", HOME), progress=heard.append)
    assert [(row["build"], row["concurrency"], row["prompt_tokens"]) for row in two] == [
        (name, users, prompt) for name in "AB" for users in (1, 8) for prompt in (256, 512)
    ]
    assert two[0]["decode_rate"] == point(HOME.with_(prompt_tokens=256))["decode_rate"]
    assert heard[-1] == 1 and len(heard) == 8


def test_a_value_that_cannot_be_has_its_error() -> None:
    fine, wrong = records([("A", HOME)], grid.made("runtime", ["llama.cpp", "vLLM"]))
    assert fine["fits"] and not wrong["fits"] and "vLLM" in wrong["error"] and math.isnan(wrong["ttft"])


def test_too_many_are_refused() -> None:
    with pytest.raises(ScenarioError, match="at most 400 estimates"):
        records([("A", HOME)] * 4, axis("users=1..110:1", HOME))


def test_what_would_contradict_a_swept_knob_is_left_open() -> None:
    assert with_value(HOME.with_(arrival="open", request_rate_per_s=1.0), "concurrency", 4).workload.arrival == "closed"
    assert with_value(HOME, "request_rate_per_s", 2.0).workload.arrival == "open"
    assert with_value(HOME.with_(count=2, pp=2), "count", 4).deployment.pp is None
    assert with_value(HOME.with_(max_context=1024), "prompt_tokens", 4096).deployment.max_context == 4096 + 128
    assert with_value(HOME.with_(prompt_tokens=900, prefix_cached_tokens=800), "prompt_tokens", 100).workload.prefix_cached_tokens == 100
