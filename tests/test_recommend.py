"""Suggested configurations: the cases of the recommender's document, the ladder, splits, and what is set by hand."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from fake_hub import FakeHub
from test_hub_errors import small
from typer.testing import CliRunner

from core.catalog import hardware, models, runtimes
from core.cli import app
from core.errors import CatalogError, HubError
from core.recommend import (
    MOST_USERS,
    TIE,
    Suggestion,
    form_of,
    instance_target,
    model_named,
    own_target,
    quant_choices,
    scenario_of,
    splits,
    suggest,
)
from core.recommend_words import advice, as_dict, fields, headline, reason
from core.scenario import System
from core.sweep import answer

MISTRAL, LLAMA70 = "mistralai/Mistral-7B-Instruct-v0.3", "meta-llama/Llama-3.1-70B-Instruct"


def on(model: str, instance: str) -> Suggestion:
    return suggest(model, instance_target(instance))


def own(model: str, device: str, count: int = 1, ram_gb: float | None = None) -> Suggestion:
    return suggest(model, own_target(System(device=hardware.device(device).name, count=count, ram_gb=ram_gb)))


# ---- The five cases of the document


def test_a_small_model_on_one_card_needs_nothing() -> None:
    found = on(MISTRAL, "g5.xlarge")
    assert found.feasible and found.smaller is None and found.larger is None
    told = as_dict(found)
    assert (told["tensor_parallel_degree"], told["quantization"], told["replicas"]) == (1, None, 1)
    assert 8192 <= told["max_model_len"] <= 32768 and 1 <= told["concurrency"] <= MOST_USERS
    assert (told["input_sequence_length"], told["output_sequence_length"], told["dataset"]) == (512, 256, "sharegpt")


def test_a_large_model_on_a_small_card_asks_for_a_larger_instance_alone() -> None:
    found = on(LLAMA70, "g5.xlarge")
    assert not found.feasible and found.setup is None and found.smaller is None  # not even in INT4
    assert found.larger is not None and found.larger[0].provider == "AWS" and found.larger[1].step == "native"
    told = as_dict(found)
    assert told["options"]["a"] is None and told["explanation"]["suggested_instance"] == found.larger[0].label
    assert "131 GiB in BF16" in reason(found) and "not even in" in headline(found)


def test_a_large_model_on_eight_cards_is_cut_in_eight() -> None:
    found = on(LLAMA70, "p5.48xlarge")
    assert found.native is not None and found.native.split.tp == 8 and as_dict(found)["quantization"] is None


def test_a_gated_model_without_a_token_says_so(hub: FakeHub) -> None:
    hub.repos["me/gated"] = small()
    hub.repos["me/gated"].gated = True
    with pytest.raises(HubError, match=r"gated.*token"):
        model_named("me/gated", False)


def test_a_value_set_by_hand_is_warned_of_and_never_refused() -> None:
    found = on(MISTRAL, "g5.12xlarge")
    assert found.native is not None
    form = form_of(found.native)
    assert advice(found, form) == []
    assert any("4 devices only" in text for text in advice(found, replace(form, tp=16)))
    assert any("28" in text or "divide" in text for text in advice(found, replace(form, tp=3)))
    assert any("beyond it" in text for text in advice(found, replace(form, max_context=100_000)))
    assert any("others wait" in text for text in advice(found, replace(form, concurrency=100_000)))
    large = on(LLAMA70, "g5.12xlarge")
    assert large.smaller is not None
    assert any("exceeds the available" in text for text in advice(large, replace(form_of(large.smaller), quant=None)))
    assert any("no FP8 units" in text for text in advice(large, replace(form_of(large.smaller), quant="FP8")))


# ---- The ladder


@pytest.mark.parametrize(
    ("instance", "quant"),
    [
        ("g6.12xlarge", "FP8"),  # 4 × L4: Ada has FP8 units
        ("g5.12xlarge", "INT8"),  # 4 × A10G: Ampere has none
        ("g6e.xlarge", "AWQ-INT4"),  # 1 × L40S: only 4 bits fit
    ],
)
def test_the_first_step_that_fits_is_taken(instance: str, quant: str) -> None:
    found = on(LLAMA70, instance)
    assert found.smaller is not None and found.smaller.quant == quant
    assert found.larger is not None and found.larger[0].memory > found.target.memory
    assert found.smaller.quant in headline(found) and quant in fields(found, found.smaller)[1].why


@pytest.mark.parametrize("device", ["L4", "L40S", "RTX 4090", "RTX 5090", "B200", "MI300X", "H100 SXM", "H200"])
def test_the_catalog_knows_who_has_fp8(device: str) -> None:
    assert hardware.device(device).fp8_tflops is not None


@pytest.mark.parametrize("device", ["A10G", "A100 80GB", "RTX 3090", "T4", "V100"])
def test_the_catalog_knows_who_has_none(device: str) -> None:
    assert hardware.device(device).fp8_tflops is None


def test_a_model_published_in_eight_bits_goes_to_four() -> None:
    found = on("deepseek-ai/DeepSeek-R1", "p5.48xlarge")
    assert found.native_quant.startswith("FP8") and found.smaller is not None and found.smaller.quant == "AWQ-INT4"


def test_engines_of_ones_own_machine_have_their_own_ladder() -> None:
    mac = own("meta-llama/Llama-3.1-8B-Instruct", "M3 Max", ram_gb=16)
    assert mac.runtime == "mlx" and mac.smaller is not None and mac.smaller.step in ("8 bits", "4 bits")
    assert mac.smaller.concurrency == 1 and mac.larger is not None
    pi = own("meta-llama/Llama-3.2-1B-Instruct", "Raspberry Pi 5", ram_gb=8)
    assert pi.runtime == "llama.cpp" and pi.setup is not None


# ---- Splits


@pytest.mark.parametrize(("model", "count", "widths"), [("Qwen/Qwen2.5-7B", 8, {1, 2, 4}), (LLAMA70, 8, {1, 2, 4, 8})])
def test_only_legal_splits_of_the_whole_machine_are_tried(model: str, count: int, widths: set[int]) -> None:
    first, staged = splits(models.ir(model), runtimes.runtime("vllm"), count)
    assert {split.tp for split in first} == widths  # 28 heads are not cut in eight
    assert all((split.tp or 1) * split.dp == count for split in first)
    assert all((split.tp or 1) * (split.pp or 1) == count for split in staged)


def test_what_serves_most_is_taken_and_a_tie_goes_to_the_widest() -> None:
    for instance in ("g5.12xlarge", "p5.48xlarge"):
        for model in (MISTRAL, LLAMA70):
            setup = on(model, instance).setup
            if setup is None:
                continue
            best = max([setup.rate, *(rate for _, rate in setup.others)])
            assert setup.rate >= (1 - TIE) * best
            assert all((split.tp or 1) < (setup.split.tp or 1) for split, rate in setup.others if rate >= (1 - TIE) * best)


def test_a_suggestion_fits_and_gives_the_same_numbers_again() -> None:
    for instance in ("g5.xlarge", "g6.12xlarge"):
        found = on(MISTRAL, instance)
        assert found.native is not None
        again = answer(scenario_of(found, form_of(found.native)))
        assert again.feasibility == "in_vram"
        assert again.metric("output_rate") == pytest.approx(found.native.rate)
        assert found.native.concurrency <= found.native.capacity


def test_names() -> None:
    assert model_named("mistral 7b instruct v0.3") == MISTRAL
    with pytest.raises(CatalogError):
        model_named("no such model")
    with pytest.raises(CatalogError, match="not supported yet"):
        instance_target("trn1.32xlarge")
    assert quant_choices(on(MISTRAL, "g5.xlarge"))[0] is None


# ---- The command


def test_the_command() -> None:
    run = CliRunner().invoke(app, ["suggest", "--model", LLAMA70, "--instance", "g5.12xlarge", "--tp", "3"])
    assert run.exit_code == 0, run.output
    for text in ("Option A: INT8", "Option B: BF16", "Longest context", "must divide the 64 attention heads", "vllm serve"):
        assert text in run.output, text


def test_the_command_as_json() -> None:
    run = CliRunner().invoke(app, ["suggest", "--model", MISTRAL, "--gpu", "RTX 3090", "--count", "2", "--json"])
    told = json.loads(run.output)
    assert told["instance_info"]["accelerator_count"] == 2 and told["explanation"]["feasible"] is True
    assert told["tensor_parallel_degree"] * told["replicas"] == 2 and told["warnings"] == []


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--model", MISTRAL], "one of --instance, --gpu and --system"),
        (["--model", MISTRAL, "--instance", "g5.xlarge", "--gpu", "L4"], "one of --instance, --gpu and --system"),
        (["--model", MISTRAL, "--instance", "nowhere.large"], "No cloud instance"),
        (["--model", "nothing like it", "--instance", "g5.xlarge"], "nothing like it"),
    ],
)
def test_what_is_wrong_is_one_sentence(given: list[str], said: str) -> None:
    run = CliRunner().invoke(app, ["suggest", *given])
    assert run.exit_code == 2 and said in run.output
