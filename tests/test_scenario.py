"""The question: validated once, and the same after a trip through JSON or a link."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import ScenarioError
from core.scenario import PARTS, Scenario, from_flat, from_query, scenario

BASE = {"model": "Llama-3.1-8B", "device": "RTX 4090"}

_text = st.text(st.characters(codec="utf-8", exclude_categories=("Cs",)), min_size=1, max_size=30)
_amount = st.floats(1e-3, 1e3)
_degree = st.integers(1, 64)
_needed = {"model": _text, "device": _text}
_optional = {
    "runtime": _text,
    "backend": _text,
    "runtime_version": _text,
    "runtime_date": st.sampled_from(["2024", "2025-06", "2026-01-31"]),
    "count": _degree,
    "link": _text,
    "others": st.sampled_from(["RTX 3060", "2x RTX 3060 via oculink with 11.5 GiB + Tesla P40"]),
    "host_link": _text,
    "sockets": st.integers(1, 8),
    "measured_bandwidth_gb_s": _amount,
    "measured_ram_bandwidth_gb_s": _amount,
    "tensor_split": st.sampled_from(["3,1", "24,12.5,1"]),
    "main_gpu": st.integers(0, 7),
    "numa": st.sampled_from(["distribute", "isolate", "numactl"]),
    "devices_per_node": _degree,
    "cpu": _text,
    "ram_gb": _amount,
    "ram_bandwidth_gb_s": _amount,
    "pcie_gb_s": _amount,
    "device_memory_gib": _amount,
    "gpu_share_gib": st.floats(1e-3, 1e-3),
    "device_bandwidth_gb_s": _amount,
    "device_power_w": _amount,
    "profile": _text,
    "instance": _text,
    "quant": _text,
    "kv_dtype": _text,
    "tp": _degree,
    "mlp_tp": _degree,
    "pp": _degree,
    "dp": _degree,
    "ep": _degree,
    "cp": _degree,
    "sp": st.booleans(),
    "split": st.sampled_from(["layer", "tensor", "none"]),
    "gpu_layers": st.integers(0, 200),
    "experts_on_cpu": st.integers(0, 200),
    "flash_attention": st.booleans(),
    "max_context": st.integers(1, 10**8),
    "max_sequences": st.integers(1, 10**6),
    "memory_fraction": st.floats(0.01, 1.0),
    "token_budget": st.integers(1, 10**6),
    "micro_batch": st.integers(1, 10**5),
    "cuda_graphs": st.booleans(),
    "mla_cache": st.sampled_from(["latent", "latent_and_values", "full"]),
    "threads": st.integers(1, 256),
    "prompt_tokens": st.integers(1000, 10**8),
    "output_tokens": st.integers(1, 10**8),
    "context_depth": st.integers(0, 10**8),
    "prefix_cached_tokens": st.integers(0, 500),
    "concurrency": st.integers(1, 10**6),
    "request_rate_per_s": _amount,
    "arrival": st.sampled_from(["closed", "static", "saturated"]),
    "equal_lengths": st.booleans(),
    "images": st.integers(0, 1000),
    "image_size": st.sampled_from(["1024x1024", "640x480", "1x32768"]),
    "vision": st.booleans(),
    "held_steps": st.floats(0, 100),
    "usd_per_h": _amount,
    "purchase_usd": _amount,
    "life_years": st.floats(0.1, 50),
    "use": st.floats(0.01, 1.0),
    "electricity_usd_per_kwh": _amount,
}


@given(st.fixed_dictionaries(_needed, optional=_optional))
@settings(max_examples=200)
def test_round_trips(knobs: dict[str, Any]) -> None:
    asked = from_flat(knobs)
    assert from_query(asked.to_query()) == asked
    assert from_query("?" + asked.to_query()) == asked
    assert scenario(json.loads(asked.to_json())) == asked
    assert scenario(asked.to_dict()) == asked


def test_every_knob_is_tried() -> None:
    assert _needed.keys() | _optional.keys() >= {
        *PARTS,
        "model",
        "runtime",
        "backend",
        "runtime_version",
        "runtime_date",
    }


def test_only_what_was_said_is_written() -> None:
    assert from_flat(BASE).to_query() == "model=Llama-3.1-8B&device=RTX+4090"
    assert from_flat({**BASE, "quant": None, "cpu": ""}) == from_flat(BASE)


def test_changes() -> None:
    asked = from_flat(BASE)
    changed = asked.with_(concurrency=8, quant="Q8_0", count=2, runtime="vllm")
    assert (changed.workload.concurrency, changed.deployment.quant, changed.system.count, changed.runtime) == (
        8,
        "Q8_0",
        2,
        "vllm",
    )
    assert asked.workload.concurrency == 1
    assert hash(asked) == hash(from_flat(BASE))
    assert changed.workload.context == 512 + 128
    with pytest.raises(ScenarioError, match="no knob 'colour'"):
        asked.with_(colour="red")
    with pytest.raises(ScenarioError, match="concurrency must be 1 or more"):
        asked.with_(concurrency=0)


def test_it_cannot_be_changed_in_place() -> None:
    with pytest.raises(Exception, match="frozen"):
        from_flat(BASE).model = "another"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("knobs", "sentence"),
    [
        ({"max_context": -5}, "max_context must be 1 or more (it is -5)."),
        ({"prompt_tokens": 10**12}, "prompt_tokens must be 100000000 or less (it is 1000000000000)."),
        ({"prompt_tokens": "many"}, "prompt_tokens must be a whole number (it is 'many')."),
        ({"prompt_tokens": 1.5}, "prompt_tokens must be a whole number (it is 1.5)."),
        ({"count": 0}, "count must be 1 or more (it is 0)."),
        ({"ram_gb": "nan"}, "ram_gb must be"),
        ({"ram_gb": "inf"}, "ram_gb must be"),
        ({"memory_fraction": 0}, "memory_fraction must be more than 0"),
        ({"arrival": "sometimes"}, "arrival must be one of"),
        ({"arrival": "open"}, "An open-loop load needs request_rate_per_s."),
        ({"prefix_cached_tokens": 600}, "Prefix_cached_tokens must not exceed prompt_tokens."),
        ({"sp": "perhaps"}, "sp must be true or false (it is 'perhaps')."),
        ({"colour": "red"}, "There is no knob 'colour'"),
        ({"runtime_date": "yesterday"}, "runtime_date"),
    ],
)
def test_bad_input_gets_a_sentence(knobs: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        from_flat({**BASE, **knobs})
    text = str(caught.value)
    assert text.startswith(sentence)
    assert text.endswith(".") and "\n" not in text


def test_what_is_missing_is_named() -> None:
    with pytest.raises(ScenarioError, match="model is missing"):
        from_flat({"device": "RTX 4090"})
    with pytest.raises(ScenarioError, match="system is missing"):
        scenario({"model": "Llama-3.1-8B"})


@given(st.dictionaries(_text, _text, max_size=5))
def test_any_link_gives_a_scenario_or_a_sentence(knobs: dict[str, str]) -> None:
    try:
        found = from_flat({**BASE, **knobs})
    except ScenarioError as error:
        assert str(error)
    else:
        assert isinstance(found, Scenario)
