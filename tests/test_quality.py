"""What a quantisation costs in quality: the ladder measured, family, pooled, unknown."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from streamlit.testing.v1 import AppTest
from typer.testing import CliRunner

from core import quality as q
from core.catalog.quality import Measured, measured, metrics, score_per_nat
from core.catalog.quants import quants
from core.cli import app
from core.errors import CatalogError
from core.quality import composite, family_of, looked_up, losses, quality, quality_dict, siblings, tier_of
from core.quantity import Quantity, explain, value

LLAMA3 = "meta-llama/Meta-Llama-3-8B"


def test_a_divergence_measured_on_the_model_comes_first() -> None:
    found = quality(LLAMA3, "Q4_K_M")
    assert found.level == "measured" and found.tier == "negligible"
    assert {row.metric for row in found.rows} == {"kld"} and found.on == (LLAMA3,)
    rate = float(value(score_per_nat()))
    assert float(value(found.loss)) == pytest.approx(rate * (0.031273 + 0.028152) / 2)  # with and without importance matrix
    assert "KLD 0.03 nats" in found.sentence


def test_a_loss_explains_itself_down_to_the_table() -> None:
    loss = quality(LLAMA3, "Q4_K_M").loss
    assert isinstance(loss, Quantity)
    assert {"measured", "fitted"} <= {leaf.kind for leaf in loss.leaves()}
    text = explain(loss)
    assert "llama.cpp, examples/perplexity" in text and "a guess" in text  # one pair of models stands for nats → score


def test_the_nearest_of_the_family_stands_for_an_unmeasured_model() -> None:
    found = quality("meta-llama/Llama-3.3-70B-Instruct", "AWQ-INT4")
    assert found.level == "family" and found.on == ("meta-llama/Llama-3.1-70B-Instruct",)
    assert "of the same family" in found.sentence


def test_models_of_other_families_are_pooled_with_their_spread() -> None:
    found = quality("google/gemma-3-27b-it", "Q2_K")
    assert found.level == "pooled" and len(found.on) > 5
    each = [float(value(looked_up(name, "Q2_K").loss)) for name in found.on]
    assert float(value(found.loss)) == pytest.approx(sum(each) / len(each), abs=0.002)  # gains of single models count against losses
    assert min(each) <= found.low < float(value(found.loss)) < found.high <= max(each)


def test_what_nobody_measured_is_unknown() -> None:
    found = quality("google/gemma-3-27b-it", "MLX-4bit")
    assert found.level == "unknown" and found.tier == "unknown" and math.isnan(float(value(found.loss)))
    assert quality_dict(found)["loss_points"] is None
    with pytest.raises(CatalogError):
        quality(LLAMA3, "Q4_Z_M")


@pytest.mark.parametrize(
    ("model", "quant", "level"),
    [
        (LLAMA3, "BF16", "full precision"),
        (LLAMA3, "F16", "full precision"),
        ("deepseek-ai/DeepSeek-R1", "FP8-BLOCK", "as published"),
        ("openai/gpt-oss-120b", "MXFP4_MOE", "as published"),
    ],
)
def test_what_the_makers_publish_loses_nothing(model: str, quant: str, level: str) -> None:
    found = quality(model, quant)
    assert (found.level, float(value(found.loss)), found.tier) == (level, 0.0, "negligible")


# Capacity planner, sections 7.3 and 7.5: scores of its table and the tier of each drop.
@pytest.mark.parametrize(
    ("full", "quantised", "tier"),
    [
        (0.544, 0.540, "negligible"), (0.544, 0.504, "acceptable"), (0.544, 0.389, "unacceptable"), (0.584, 0.526, "acceptable"),
        (0.584, 0.472, "concerning"), (0.584, 0.321, "unacceptable"), (0.534, 0.492, "acceptable"), (0.635, 0.590, "acceptable"),
    ],
)  # fmt: skip
def test_tiers_are_those_of_the_capacity_planner(full: float, quantised: float, tier: str) -> None:
    assert tier_of(full - quantised) == tier


def test_an_instruct_model_is_never_credited_against_its_base() -> None:
    """The planner scores Llama-3.2-3B 0.538 in FP16 (base) and 0.624 in Q4_K_M (instruct): another model, not a gain."""
    row = composite("meta-llama/Llama-3.2-3B-Instruct", "Q4_K_M")
    assert row is not None and row.confounded and row.value > (row.baseline or 0)
    assert all(not found.confounded for found in quality("meta-llama/Llama-3.2-3B-Instruct", "Q4_K_M").rows)
    assert composite("meta-llama/Llama-3.2-3B", "F16") is not None
    assert composite(LLAMA3, "Q4_K_M") is None


@given(st.sampled_from(sorted({row.model for row in measured()})), st.sampled_from(sorted(quants())))
def test_no_loss_is_below_zero_and_its_range_holds_it(model: str, quant: str) -> None:
    found = quality(model, quant)
    if found.tier != "unknown":
        assert 0 <= found.low <= float(value(found.loss)) + 1e-12 <= found.high + 2e-12 <= 1.01


def test_columns_say_what_single_answers_say() -> None:
    pairs = [(LLAMA3, "Q4_K_M"), ("google/gemma-3-27b-it", "Q2_K"), (LLAMA3, "MLX-4bit"), (LLAMA3, "BF16")]
    found = losses(pairs)
    for place, (model, quant) in enumerate(pairs):
        one = quality(model, quant)
        assert q.LEVELS[found["level"][place]] == one.level
        assert found["loss"][place] == pytest.approx(float(value(one.loss)), nan_ok=True)


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("meta-llama/Llama-3.3-70B-Instruct", "llama 3"), ("huggyllama/llama-7b", "llama"), ("Qwen/Qwen2.5-7B-Instruct", "qwen 2"),
        ("mistralai/Mistral-7B-v0.1", "mistral"), ("google/gemma-2b-it", "gemma"), ("google/gemma-2-9b-it", "gemma 2"),
        ("deepseek-ai/DeepSeek-V3-0324", "deepseek 3"),
    ],
)  # fmt: skip
def test_a_family_is_a_line_and_its_generation(name: str, family: str) -> None:
    assert family_of(name) == family


def test_finetunes_are_siblings() -> None:
    assert {LLAMA3, "meta-llama/Meta-Llama-3-8B-Instruct"} <= siblings(LLAMA3)
    assert "meta-llama/Llama-3.2-1B-Instruct" not in siblings(LLAMA3)


def test_the_catalog_holds_what_may_ship() -> None:
    rows = measured()
    assert len(rows) > 700
    assert not any("mlx" in row.source or row.quant.startswith("MLX") for row in rows)  # their licence forbids derived tables
    for row in rows:
        assert row.quant in quants() or row.quant.startswith("EXL"), row
        assert row.family == family_of(row.model), row
        kind = metrics()[row.metric].kind
        assert row.baseline is not None or kind == "composite", row
        assert kind != "accuracy" or 0 <= row.value <= 1, row


def test_perplexities_are_compared_within_their_own_table_only() -> None:
    """One model in one quantisation has other perplexities in other tables; each row carries the baseline of its own."""
    tables: dict[tuple[str, ...], set[float | None]] = {}
    for row in measured():
        if row.metric == "perplexity":
            tables.setdefault((row.source, row.place, row.model, row.note), set()).add(row.baseline)
    assert all(len(baselines) == 1 for baselines in tables.values())


def test_a_score_per_nat_is_one_for_all_losses() -> None:
    found = score_per_nat()
    assert found.source is not None and found.source.guess
    assert found.source.low is not None and found.source.high is not None
    assert found.source.low < float(value(found)) < found.source.high
    mmlu = quality("meta-llama/Meta-Llama-3-8B-Instruct", "Q3_K_M")  # MMLU of the finetune, divergence of the base
    assert float(value(mmlu.loss)) == pytest.approx(float(value(quality(LLAMA3, "Q3_K_M").loss)), rel=0.25)


def test_a_row_without_baseline_has_no_cited_one() -> None:
    row = Measured(model="m", family="m", quant="Q8_0", metric="composite", value=0.5, source="tr133")
    with pytest.raises(CatalogError, match="no baseline"):
        _ = row.cited_baseline


# ---- Where it is shown


def test_an_estimate_tells_it_on_the_terminal_and_as_json() -> None:
    asked = ["estimate", "--model", LLAMA3, "--gpu", "RTX 4090", "--quant", "Q3_K_S"]
    text = " ".join(CliRunner().invoke(app, asked).output.split())
    assert "Q3_K_S loses about" in text and "KLD" in text and "acceptable" in text
    told = json.loads(CliRunner().invoke(app, [*asked, "--json"]).output)["quality"]
    assert told["level"] == "measured" and told["tier"] == "acceptable" and told["low_points"] <= told["loss_points"] <= told["high_points"]
    assert told["measurements"][0]["licence"] == "MIT"


def test_the_estimate_page_has_a_line_that_opens_its_sources() -> None:
    page = AppTest.from_file(str(Path(__file__).resolve().parents[1] / "pages" / "frame.py"), default_timeout=60)
    page.query_params["model"] = "Meta-Llama-3-8B"
    page.query_params["quant"] = "Q3_K_S"
    page.run()
    line = page.button("number-quality")
    assert line.label.replace("\\", "").startswith("Quality: Q3_K_S loses about") and not line.disabled
    line.click().run()
    assert not page.exception and any("never" in item.value or "credited" in item.value for item in page.markdown)
