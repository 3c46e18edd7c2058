"""The capacity planner: its examples and sensitivity tables as cases, with our verdicts where its own do not hold."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache

import pandas as pd
import pytest
from typer.testing import CliRunner

from core.catalog import hardware
from core.cli import app
from core.corpus import SHIPPED
from core.errors import ScenarioError
from core.planner import (
    BUSY,
    Option,
    Plan,
    Request,
    hardware_list,
    model_list,
    models_of_size,
    option_dict,
    plan,
    plan_dict,
    rate_of,
    registry,
    sentence,
)
from core.scenario import Scenario, System
from core.sweep import answer

LLAMA3B, PHI = "meta-llama/Llama-3.2-3B-Instruct", "microsoft/phi-2"
ASKED = Request(models=(LLAMA3B,), request_rate=1.0, runtimes=("vllm",))


@cache
def planned(**changes: object) -> Plan:
    return plan(replace(ASKED, **changes))  # type: ignore[arg-type]


def gates(found: Plan) -> set[str]:
    return {gone.gate for gone in found.rejected}


# ---- Registry


def test_every_rate_and_model_names_what_the_catalog_has() -> None:
    assert len(registry().rate) == 15 and len(registry().model) == 7
    assert {name: round(rate * 720, 2) for name, _, _, rate in hardware_list()}["RTX 4080 12GB"] == 25.20  # spot check 10 of the report
    assert [size for _, _, size in model_list()] == sorted(size for _, _, size in model_list())


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("3b", {PHI, "Qwen/Qwen2.5-3B-Instruct", LLAMA3B}), ("8b", {"meta-llama/Llama-3.1-8B-Instruct"}),
        ("1B", {"meta-llama/Llama-3.2-1B-Instruct"}), ("0.5b", {"Qwen/Qwen2.5-0.5B-Instruct"}),
    ],
)  # fmt: skip
def test_models_by_size(text: str, names: set[str]) -> None:
    assert set(models_of_size(text)) == names


@pytest.mark.parametrize("text", ["70b", "small", "0b"])
def test_a_size_that_the_planner_has_not(text: str) -> None:
    with pytest.raises(ScenarioError, match="--model"):
        models_of_size(text)


def test_rates_by_any_name_of_the_device() -> None:
    reference, other = rate_of("rtx 4080 12gb"), rate_of("GeForce RTX 4090")
    assert reference is not None and reference.device == "rtx-4080-laptop"
    assert other is not None and other.usd_per_h == 0.060
    assert rate_of("RTX 5090") is None


# ---- Budget (its table recommends $25.20 for a budget of $25)


@pytest.mark.parametrize(("budget", "passes"), [(25.0, False), (25.20, True), (100.0, True)])
def test_a_budget_is_kept(budget: float, passes: bool) -> None:
    found = planned(budget=budget)
    assert bool(found.options) == passes
    if passes:
        best = found.options[0]
        assert best.monthly_cost == pytest.approx(25.20) and best.candidate.machines == 1
        assert option_dict(best) == option_dict(planned(budget=100.0).options[0])  # more money buys nothing more
    else:
        assert gates(found) == {"month"} and "$25.2 a month" in found.rejected[0].sentence
        assert sentence(found).startswith("No viable configuration")


def test_cheapest_first_and_then_what_loses_least() -> None:
    found = planned(budget=100.0).options
    costs = [round(option.monthly_cost, 2) for option in found]
    assert costs == sorted(costs)
    assert found[0].candidate.quant == "FP16" and found[0].kept == 1.0  # the report has Q4_K_M: nothing at this price loses less
    kept = [option.kept for option in found if option.kept == option.kept]
    assert kept == sorted(kept, reverse=True)


# ---- Its worked examples and sensitivity tables, with our verdicts (what loses least of what costs the same; its own: Q4_K_M)


@pytest.mark.parametrize(
    ("asked", "best"),
    [
        # Example 1, $14.40 as there: of what fits 8 GB Q8_0 loses least.
        ({"request_rate": 0.1, "latency_slo_ms": 5000.0, "quality_target": 0.5, "hardware": "RTX 4060 8GB", "budget": 30.0,
          "runtimes": ("ollama",)}, ("Q8_0", "ollama", 1, 14.40)),
        # Example 2, $43.20 as there, one vLLM carries four requests a second; in full precision, which no composite was scored of.
        ({"request_rate": 4.0, "latency_slo_ms": 3000.0, "quality_target": 0.6, "hardware": "RTX 4090 24GB", "budget": 100.0},
         ("FP16", "vllm", 1, 43.20)),
        # Example 4, $25.20.
        ({"models": ("meta-llama/Llama-3.2-1B-Instruct",), "request_rate": 2.0}, ("FP16", "vllm", 1, 25.20)),
        # Budget: $10 buys nothing; from $25.20 on nothing more is bought. Latency: from 3 s on it binds nothing. Quality: full precision
        # keeps all of its own, so no target turns it away (its table: very few survive 0.7).
        ({"budget": 10.0}, None),
        ({"budget": 50.0}, ("FP16", "vllm", 1, 25.20)),
        ({"latency_slo_ms": 3000.0}, ("FP16", "vllm", 1, 25.20)),
        ({"quality_target": 0.7}, ("FP16", "vllm", 1, 25.20)),
    ],
)  # fmt: skip
def test_its_examples_and_tables(asked: dict[str, object], best: tuple[str, str, int, float] | None) -> None:
    options = planned(**asked).options
    if best is None:
        assert not options
        return
    told = option_dict(options[0])
    assert (told["quant"], told["backend"], told["n_agents"], told["monthly_cost"]) == best


# ---- Quality


def test_a_target_is_held_against_the_composite_where_it_was_measured() -> None:
    """0.6 eliminates Q2_K and Q3_K_S of Llama-3.2-3B (0.582 both), as its example 2 says; full precision has no composite here."""
    found = planned(quality_target=0.6, runtimes=("ollama",), request_rate=0.1)
    quants = {option.candidate.quant for option in found.options}
    assert quants == {"F16", "Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M"}
    assert {option_dict(option)["quality_is"] for option in found.options if option.candidate.quant != "F16"} == {"composite"}
    turned = {gone.gate: gone for gone in found.rejected}
    assert turned["quality"].count == 2 and "scores 0.582, not 0.6" in turned["quality"].sentence


def test_a_target_is_held_against_what_is_kept_where_nothing_was_scored() -> None:
    found = planned(models=("Qwen/Qwen2.5-3B-Instruct",), quality_target=0.985)
    assert {option.candidate.quant for option in found.options} == {"FP16", "FP8"}
    turned = {gone.gate: gone for gone in found.rejected}["quality"]
    assert turned.count == 2 and ("Nobody measured" in turned.sentence or "keeps" in turned.sentence)


# ---- Latency


def test_a_latency_is_kept() -> None:
    """500 ms: nothing writes 128 tokens in it on this card, at any number of machines. Its table has that too ("may find no config")."""
    assert "latency" in gates(planned(latency_slo_ms=500.0)) and not planned(latency_slo_ms=500.0).options
    loose = planned(latency_slo_ms=10_000.0, budget=100.0)
    assert loose.options and all(option_dict(option)["p95_latency_ms"] <= 10_000 for option in loose.options)


# ---- Memory and machines


def test_an_eight_billion_model_on_eight_gigabytes() -> None:
    """Its example 3: nothing of 16 bits fits; four bits do."""
    found = planned(models=("meta-llama/Llama-3.1-8B-Instruct",), hardware="RTX 4060 8GB", budget=30.0)
    assert {option.candidate.quant for option in found.options} == {"AWQ-INT4"} and "memory" in gates(found)
    assert found.options[0].monthly_cost == pytest.approx(14.40)


def test_more_machines_where_one_cannot_carry_the_load() -> None:
    found = planned(runtimes=("ollama",), request_rate=3.0)
    assert found.options and all(1 < option.candidate.machines <= 16 for option in found.options)
    assert all(option.candidate.load <= BUSY + 1e-6 for option in found.options)
    for option in found.options:
        assert option.monthly_cost == pytest.approx(25.20 * option.candidate.machines)


def warned(**changes: object) -> str:
    """The warnings of a configuration with such figures."""
    base = planned(budget=100.0).options[0]
    fields = {key: changes.pop(key) for key in ("load", "machines") if key in changes}
    option = replace(base, candidate=replace(base.candidate, **fields), **changes)  # type: ignore[arg-type]
    return " ".join(option.warnings)


def test_the_four_warnings() -> None:
    base: Option = planned(budget=100.0).options[0]
    assert base.warnings == [] or "memory" in base.warnings[0]
    assert "tail latency" in warned(load=0.8)
    assert "9 machines" in warned(machines=9) and "machines" not in warned(machines=8)
    assert "95% of the memory" in warned(memory=0.95 * base.limit) and "memory" not in warned(memory=0.5 * base.limit)
    low = planned(runtimes=("ollama",), request_rate=0.1).options
    worst = next(option for option in low if option.candidate.quant == "Q2_K")
    assert worst.known.tier == "concerning" and "concerning" in worst.warnings[0]  # its table: a gain, for FP16 was the base model


# ---- Prices


def test_prices_by_the_catalog_and_by_hand() -> None:
    assert planned(usd_per_h=0.1).options[0].monthly_cost == pytest.approx(72.0)
    found = planned(prices="roofcast", hardware="RTX 4090", request_rate=0.1)
    assert found.usd_per_h is None and found.options[0].monthly_cost > 43.20  # its $0.060 an hour is neither purchase nor rent
    assert "RTX 4090" in found.options[0].candidate.machine.name
    assert planned(hardware="RTX 5090").usd_per_h is None  # the planner has no rate for it


# ---- Eight agents on vLLM


def test_eight_agents_are_neither_of_the_reports_two_figures() -> None:
    """TR133 predicts 169 tok/s by Amdahl's law and claims 559 measured; its own durations give 399. The shipped record of 559 is
    flagged and not fitted, and our estimate excludes Amdahl's figure."""
    device = hardware.device("RTX 4080 Laptop").name
    asked = Scenario(model="meta-llama/Llama-3.2-1B-Instruct", system=System(device=device), runtime="vllm").with_(
        prompt_tokens=200, output_tokens=128, concurrency=8, max_context=2048, quant="FP16", cuda_graphs=False
    )
    told = answer(asked)
    low, high = told.bands["output_rate"]
    assert 169 < low < told.metric("output_rate") < high
    runs = pd.concat(pd.read_parquet(path) for path in SHIPPED.glob("*technical*/runs.parquet"))
    claimed = runs[runs["output_toks_sec"] == 559.2]
    assert list(claimed["fit"]) == [False] and "above what the reported duration allows" in claimed["sanity_flag"].iloc[0]


# ---- The command


def test_the_command() -> None:
    asked = ["plan", "--model-size", "8b", "--request-rate", "1", "--runtime", "vllm", "--hardware", "RTX 4060 8GB", "--budget", "30"]
    run = CliRunner().invoke(app, asked)
    assert run.exit_code == 0, run.output
    for text in ("$14.40 a month", "AWQ-INT4", "appendix B", "Turned away", "by memory", "vllm serve"):
        assert text in run.output, text
    told = json.loads(CliRunner().invoke(app, [*asked, "--json"]).output)
    fields = {
        "model", "quant", "backend", "n_agents", "vram_gb", "quality", "quality_tier", "throughput_tps", "p95_latency_ms", "utilisation",
        "monthly_cost", "cost_per_1m_tok", "warnings",
    }  # fmt: skip
    assert fields <= told["recommended"].keys()
    assert told["candidates"][0] == told["recommended"] and json.dumps(plan_dict(planned()), allow_nan=False)


def test_the_lists() -> None:
    out = CliRunner().invoke(app, ["plan", "--list-hardware", "--list-models"]).output
    assert "RTX 4080 12GB" in out and "25.20" in out and "llama3.2-3b" in out


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([], "--model-size"), (["--model-size", "70b"], "no model of size"),
        (["--model-size", "3b", "--prices", "free"], "tr133 or roofcast"),
        (["--model-size", "3b", "--hardware", "Quantum 9"], "Quantum 9"), (["--model-size", "3b", "--runtime", "nothing"], "nothing"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_sentence(given: list[str], said: str) -> None:
    run = CliRunner().invoke(app, ["plan", *given])
    assert run.exit_code == 2 and said in run.output and "Traceback" not in run.output
