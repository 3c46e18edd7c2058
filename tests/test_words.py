"""The answer's sentence."""

from __future__ import annotations

import pytest

from core.estimate import estimate
from core.scenario import from_flat
from core.sweep import answer
from core.units import GIB
from core.words import answer_sentence, device_name, machine, model_name, span


def said(**knobs: object) -> str:
    return answer_sentence(estimate(from_flat({"model": "Llama-3.3-70B-Instruct", "device": "RTX 3090", **knobs})))


def test_fits() -> None:
    text = said(count=2, quant="Q4_K_M")
    assert text.startswith("Llama-3.3-70B-Instruct at Q4_K_M fits two RTX 3090 with ")
    assert " to spare on each: " in text
    assert "first token in " in text
    assert text.endswith("memory bandwidth holds it back.")


def test_offload_names_what_lies_in_host_memory() -> None:
    text = said(ram_gb=64)
    assert "runs on one RTX 3090, " in text
    assert "of it in host memory" in text


def test_short_says_by_how_much() -> None:
    text = said(runtime="vllm", quant="FP8")
    assert "does not fit one RTX 3090: " in text
    assert text.endswith("GiB short.")


def test_many_users() -> None:
    text = said(count=8, concurrency=16)
    assert "for each user (" in text
    assert "in all)" in text


@pytest.mark.parametrize("bad", ["nan", "inf", "None", "  "])
def test_no_machine_words(bad: str) -> None:
    for knobs in ({}, {"count": 2}, {"arrival": "open", "request_rate_per_s": 100.0, "count": 2}):
        assert bad not in said(**knobs)


def test_overload_is_said() -> None:
    assert "more asked than it can serve" in said(arrival="open", request_rate_per_s=100.0, count=2)


def test_devices_share_a_range() -> None:
    found = answer(from_flat({"model": "Llama-3.3-70B-Instruct", "device": "RTX 3090", "count": 2, "quant": "Q4_K_M"}))
    ends = [float(end) for end in span(found, "memory_peak", "B", digits=4, among=2).split("–")]
    each = found.metric("memory_peak") / 2 / GIB
    assert ends[0] < each < ends[1] < each + 3
    assert span(answer(found.scenario, analytic=True), "memory_peak", "B") == ""


def test_names() -> None:
    assert model_name("meta-llama/Llama-3.3-70B-Instruct") == "Llama-3.3-70B-Instruct"
    assert device_name("GeForce RTX 4090") == "RTX 4090"
    assert device_name("GeForce RTX 4090 (each of 2)") == "RTX 4090 (each of 2)"
    assert machine(estimate(from_flat({"model": "Qwen3-8B", "device": "rtx4090", "count": 13}))) == "13 RTX 4090"


def test_every_bound_has_words() -> None:
    from core import words
    from core.answer import BOUNDS

    assert set(words._CULPRITS) == set(BOUNDS)
