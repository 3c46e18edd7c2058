"""Constants fitted to measured memory: cited as fitted, by runtime and family, and the spread of the estimated parts."""

from __future__ import annotations

from core.catalog.fitted_memory import fitted, fitted_constant, memory_band
from core.catalog.runtimes import runtimes
from core.estimate import estimate
from core.scenario import from_flat


def test_every_row_names_a_runtime_and_its_points() -> None:
    rows = fitted().constants
    assert rows and all(row.runtime in runtimes() and row.points > 0 and row.how for row in rows)
    assert len({(row.name, row.runtime, row.backend) for row in rows}) == len(rows)
    assert all(0 < band.low <= 1 <= band.high for band in fitted().bands)


def test_a_constant_is_the_runtimes_own_then_its_familys() -> None:
    own = fitted_constant("context_memory", ("exllamav3", "transformers"), "cuda")
    family = fitted_constant("context_memory", ("gptq-for-llama", "transformers"), "cuda")
    assert own is not None and family is not None
    assert own.kind == "fitted" and "exllamav3" in own.name and "transformers" in family.name
    assert "points of" in str(own.source and own.source.note)
    assert fitted_constant("context_memory", ("transformers",), "metal") is None  # nobody measured it there


def test_a_fitted_constant_stands_below_the_answers_peak() -> None:
    answer = estimate(from_flat({"model": "meta-llama/Llama-3.1-8B", "device": "RTX 4090", "quant": "Q4_K_M"}))
    assert any(leaf.kind == "fitted" and leaf.name == "context memory of llama.cpp" for leaf in answer.device.peak.leaves())


def test_a_runtime_without_points_takes_the_band_of_all() -> None:
    of_all = next(band for band in fitted().bands if band.runtime == "any")
    assert memory_band("vllm", "cuda") == memory_band("sglang") == (of_all.low, of_all.high)
    assert of_all.low < 1 < of_all.high
