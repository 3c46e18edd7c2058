"""A row of runs → the scenario it measured."""

import json
from pathlib import Path

import pytest

from core.catalog.files import DATA
from core.errors import RunError
from core.run_notes import read_hints
from core.runs import INPUT_COLUMNS, METRIC_COLUMNS, read_run, scenario_from_run
from core.scenario import from_flat

CASES = json.loads(Path(DATA / "golden" / "run_scenarios.json").read_text())["cases"]
ROW = {
    "model_id": "Qwen/Qwen3-8B",
    "quant": "FP8",
    "runtime": "vllm",
    "gpu_name": "H100 80GB SXM",
    "gpu_count": "1",
    "load_kind": "concurrency",
    "concurrency": "8",
    "prompt_tokens": "1024",
    "output_tokens": "256",
}


@pytest.mark.parametrize("case", CASES, ids=[case["source"] for case in CASES])
def test_rows_of_real_sources(case):
    run = read_run(case["row"])
    assert run.scenario == from_flat(case["flat"])
    assert run.asks == case["asks"]
    assert run.systems == case.get("systems", 1)
    assert run.decode_is == case.get("decode_is", "one")


def test_no_metric_column_is_an_input():
    assert not set(INPUT_COLUMNS) & set(METRIC_COLUMNS)
    assert not {"sanity_flag", "quality_tier", "stddev_rel"} & set(INPUT_COLUMNS)


class Watched(dict):
    """A row that remembers which columns were read."""

    def __init__(self, *args):
        super().__init__(*args)
        self.seen = set()

    def get(self, key, default=None):
        self.seen.add(key)
        return super().get(key, default)

    def __getitem__(self, key):
        self.seen.add(key)
        return super().__getitem__(key)


def test_only_input_columns_are_read():
    row = Watched({**ROW, **dict.fromkeys(METRIC_COLUMNS, "1"), "sanity_flag": "x", "quality_tier": "C"})
    scenario_from_run(row)
    assert row.seen <= set(INPUT_COLUMNS)
    assert "model_id" in row.seen


def test_figures_in_notes_change_nothing():
    """Notes also hold results; the scenario must not depend on them."""
    without = read_run(ROW).scenario
    for note in (
        "median of 4 toolbox variants, range 10-900 tok/s",
        "wall output 33.09 tok/s; itl_p50=39.78",
        "cold_ttft_ms=38945.1",
        "localscore=5; J/output token=3",
        "llama-bench pg test: combined 44 tok/s",
    ):
        assert read_run({**ROW, "notes": note}).scenario == without, note


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"prompt_tokens": "-5"}, "prompt_tokens must be between"),
        ({"prompt_tokens": "many"}, "prompt_tokens must be a number"),
        ({"prompt_tokens": "1e12"}, "prompt_tokens must be between"),
        ({"output_tokens": "nan"}, "output_tokens must be between"),
        ({"concurrency": "-1"}, "concurrency must be between"),
        ({"gpu_count": "99999"}, "gpu_count must be between"),
        ({"gpu_count": "1.5"}, "gpu_count must be a whole number"),
        ({"gpu_count": "0"}, "gpu_count is 0, but the run names the GPU 'H100 80GB SXM'"),
        ({"load_kind": "burst"}, "load_kind must be one of"),
        ({"flash_attn": "maybe"}, "flash_attn must be 1 or 0"),
        ({"runtime": "notepad"}, "notepad"),
        ({"quant": "Q99_Z"}, "Q99_Z"),
        ({"gpu_name": "RTX 9999"}, "RTX 9999"),
        ({"gpu_name": ""}, "neither a GPU nor a CPU"),
        ({"model_id": ""}, "names no model"),
        ({"gpu_memory_fraction": "7"}, "gpu_memory_fraction must be between"),
    ],
)
def test_bad_cells_get_a_sentence(change, says):
    with pytest.raises(RunError, match=says) as caught:
        read_run({**ROW, **change})
    assert str(caught.value).count("\n") == 0


def test_optional_columns_reach_the_scenario():
    run = scenario_from_run({**ROW, "prefix_cached_tokens": "512", "max_num_batched_tokens": "4096", "gpu_memory_fraction": "0.8"})
    assert run.workload.prefix_cached_tokens == 512
    assert run.deployment.token_budget == 4096
    assert run.deployment.memory_fraction == 0.8


def test_arrivals():
    def load(**change):
        return scenario_from_run({**ROW, **change}).workload

    assert load().arrival == "closed"
    assert load(load_kind="static_batch").arrival == "static"
    assert load(load_kind="request_rate", request_rate="2.5").request_rate_per_s == 2.5
    offline = load(load_kind="offline_max", concurrency="")
    assert offline.arrival == "saturated" and offline.concurrency > 1000
    assert load(concurrency="15.3").concurrency == 15


def test_lengths():
    def load(**change):
        run = read_run({**ROW, **change})
        return (
            run.asks,
            run.scenario.workload.prompt_tokens,
            run.scenario.workload.output_tokens,
            run.scenario.workload.context_depth,
        )

    assert load() == ("both", 1024, 256, 0)
    assert load(output_tokens="") == ("prefill", 1024, 1, 0)
    assert load(output_tokens="", context_depth="4096") == ("prefill", 1024, 1, 4096)
    assert load(prompt_tokens="", context_depth="0") == ("decode", 1, 256, 0)
    assert load(prompt_tokens="", context_depth="4096") == ("both", 4096, 256, 0)
    assert load(context_depth="1024") == ("both", 1024, 256, 0)  # the prompt itself, not a cache before it
    assert load(context_depth="8192") == ("both", 1024, 256, 8192)
    assert load(prompt_tokens="", output_tokens="") == ("both", 512, 128, 0)


def test_later_turns_find_their_prompt_cached():
    note = "scenario ops-agent; context_depth is client estimate; later turns may reuse prompt cache flags=omlx"

    def load(**change):
        found = scenario_from_run({**ROW, "prompt_tokens": "", "context_depth": "2070", **change}).workload
        return found.prompt_tokens, found.prefix_cached_tokens, found.context_depth

    assert load(notes=note) == (2070, 1770, 0)
    assert load(notes=note, context_depth="250") == (250, 0, 0)
    assert load(notes=note, prompt_tokens="2500") == (2500, 2200, 0)
    assert load(notes=note, prefix_cached_tokens="64") == (2070, 64, 0)  # a column goes before the notes
    assert load(notes=note.replace("later turns may reuse prompt cache ", "")) == (2070, 0, 0)  # a first turn
    assert load(notes="scenario doc-summary; context_depth is client estimate;  flags=omlx") == (2070, 0, 0)
    hybrid = {"model_id": "Qwen/Qwen3.5-35B-A3B", "quant": "Q4_K_M", "runtime": "llama.cpp"}
    assert load(notes=note, **hybrid) == (2070, 0, 0)  # a recurrent state cannot be cut back
    assert any("later turn" in text for text in read_run({**ROW, "notes": note}).assumed)


def test_what_is_assumed_is_said():
    assert any("512" in text for text in read_run({**ROW, "prompt_tokens": ""}).assumed)
    assert any("saturated" in text for text in read_run({**ROW, "load_kind": "request_rate"}).assumed)
    assert read_run({**ROW, "runtime_version": "0.19.0"}).assumed == ()


def test_split_over_cards():
    def deploy(**change):
        run = read_run({**ROW, **change})
        d = run.scenario.deployment
        return d.tp, d.pp, d.dp, d.split, run.scenario.system.count, run.systems

    assert deploy(gpu_count="4", tp="4", pp="1") == (4, 1, None, None, 4, 1)
    assert deploy(gpu_count="4", tp="1", pp="1", dp="4") == (1, 1, 4, None, 4, 1)
    assert deploy(gpu_count="4") == (None, None, None, None, 4, 1)
    assert deploy(gpu_count="8", tp="2", pp="1")[-2:] == (2, 4)  # four copies of a pair
    layers = {"runtime": "llama.cpp", "quant": "Q4_K_M", "gpu_count": "2"}
    assert deploy(**layers) == (None, None, None, "layer", 2, 1)
    assert deploy(**layers, runtime_version="f3e182816 tp2 pp1 inst1") == (2, 1, None, "tensor", 2, 1)


def test_all_layers_and_some_layers():
    llama = {**ROW, "runtime": "llama.cpp", "quant": "Q4_K_M"}
    assert scenario_from_run({**llama, "n_gpu_layers": "99"}).deployment.gpu_layers is None
    assert scenario_from_run({**llama, "n_gpu_layers": "20"}).deployment.gpu_layers == 20
    assert scenario_from_run({**llama, "n_gpu_layers": "0"}).deployment.gpu_layers == 0


def test_a_version_is_no_paper_and_no_flag():
    def version(**change):
        scenario = scenario_from_run({**ROW, **change})
        return scenario.runtime_version, scenario.runtime_date

    assert version(runtime_version="2024 (paper arXiv:2411.00136)") == ("2024", "2024")
    assert version(runtime_version="gpu-memory-utilization 0.80", run_date="2026-02") == (None, "2026-02")
    assert version(runtime_version="0.19.0", run_date="2026-02-03") == ("0.19.0", "2026-02-03")
    assert version(run_date="2023..2026") == (None, None)


def test_what_the_estimate_does_not_cover():
    assert "KV cache off" in read_run({**ROW, "notes": "KV CACHE DISABLED (recompute every token)"}).unmodelled
    assert read_run({**ROW, "notes": "SPECDEC; MTP"}).unmodelled is None
    assert any("speculative" in text for text in read_run({**ROW, "notes": "SPECDEC; MTP"}).assumed)


def test_hints_of_disaggregated_workers():
    hints = read_hints("prefill 2x(tp4,dp2) decode 3x(tp8,dp1)", "")
    assert hints.workers == (3, 8, 1) and hints.prefill_workers == 16


def test_missing_and_nan_cells_are_empty():
    assert scenario_from_run({**ROW, "tp": None, "ram_gb": float("nan")}).system.ram_gb is None
