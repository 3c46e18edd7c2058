"""The cache by layer, by kind and in all: three ways to the same bytes, and the cases with a known answer."""

from __future__ import annotations

import pytest

from core.catalog.models import ir, models
from core.model_cache import (
    added,
    cache_of_sequence,
    cache_per_token,
    contexts,
    growth_rows,
    held_rows,
    kind_rows,
    past_windows,
    type_rows,
    usual_context,
)
from core.model_facts import kv_bytes
from core.quantity import value
from core.units import MIB

NAMES = ["Qwen/Qwen3-8B", "google/gemma-3-27b-it", "deepseek-ai/DeepSeek-V3", "openai/gpt-oss-120b"]


def test_known_caches() -> None:
    """Llama 3.1 8B: 32 layers, 8 heads of 128, keys and values, 2 bytes. DeepSeek-V3: 61 latents of 512 + 64."""
    assert value(cache_per_token(ir("meta-llama/Llama-3.1-8B-Instruct"), "f16")) == 32 * 8 * 128 * 2 * 2 == 131_072
    assert value(cache_per_token(ir("deepseek-ai/DeepSeek-V3"), "f16")) == 61 * 576 * 2
    gemma = {row["Kind of layer"]: row for row in kind_rows(ir("google/gemma-3-27b-it"), "f16", 131_072)}
    sliding, full = (gemma[f"{kind} attention + feed-forward"] for kind in ("sliding-window", "full"))
    assert (sliding["Tokens"], full["Tokens"]) == (1024, 131_072) and full["Which"] == "5, 11, … 59"
    assert sliding["MiB"] == 52 * 1024 * 16 * 128 * 2 * 2 / MIB


@pytest.mark.parametrize("tokens", [1, 1024, 9999])
@pytest.mark.parametrize("kind", ["f16", "q8_0"])
def test_by_layer_by_kind_and_in_all(kind: str, tokens: int) -> None:
    for name in models():
        model = ir(name)
        rows, kinds = held_rows(model, kind, tokens), kind_rows(model, kind, tokens)
        assert [row["Layer"] for row in rows] == list(range(model.layers)), name
        whole = value(cache_of_sequence(model, kind, tokens))
        assert sum(row["MiB"] for row in rows) * MIB == pytest.approx(whole) == pytest.approx(kinds[-1]["MiB"] * MIB), name


def test_a_token_is_what_the_facts_say() -> None:
    for name in models():
        assert value(cache_per_token(ir(name), "f16")) == kv_bytes(ir(name)), name


def test_sharing_and_state() -> None:
    gemma = held_rows(ir("google/gemma-4-E2B-it"), "f16", 8192)
    assert all((row["MiB"] == 0) == ("earlier layer" in row["Holds"]) for row in gemma) and any(row["MiB"] == 0 for row in gemma)
    hybrid = next(ir(name) for name in models() if any(b.attention.kind == "linear" for b in ir(name).blocks))
    short, long = (sum(r["MiB"] for r in held_rows(hybrid, "f16", n) if "whatever the context" in r["Holds"]) for n in (1024, 65_536))
    assert short == long > 0


@pytest.mark.parametrize("name", NAMES)
def test_growth_reaches_the_longest_context(name: str) -> None:
    model = ir(name)
    rows = growth_rows(model, "f16")
    assert {row["context"] for row in rows} == set(contexts(model)) and max(contexts(model)) == model.max_context
    totals = [sum(row["GiB"] for row in rows if row["context"] == tokens) for tokens in contexts(model)]
    assert totals == sorted(totals) and usual_context(model) == 8192
    sizes = [value(row["sequence"]) for row in type_rows(model, 8192)]
    assert sizes[0] == 2 * sizes[1] > sizes[2] > sizes[3]


def test_full_windows_add_nothing() -> None:
    """Gemma 3 27B: ten of 62 layers go on growing; Qwen3 has no window, gpt-oss keeps half of its layers."""
    gemma, plain = ir("google/gemma-3-27b-it"), ir("Qwen/Qwen3-8B")
    assert past_windows(plain, "f16") is None and added(plain, "f16", 8192) == value(cache_per_token(plain, "f16"))
    assert past_windows(gemma, "f16") == added(gemma, "f16", 8192) == 10 * 16 * 128 * 2 * 2
    assert added(gemma, "f16", 100) == value(cache_per_token(gemma, "f16"))
