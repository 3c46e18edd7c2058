"""What own runs do to an estimate: whom they move and how far, how ranges narrow, and how it is taken back."""

from __future__ import annotations

import functools
from dataclasses import replace

import numpy as np
import pytest

from core import calibrate
from core.calibrate import in_effect, left_out, lines_of, own_records, with_runs
from core.calibrate_effect import effects, questions, sentence
from core.calibrate_next import command, next_runs
from core.calibrate_own import Own, few_shot
from core.calibrate_prior import MOST_SHIFT, posterior
from core.corrected import Answer, answers
from core.correction import Correction, shipped
from core.estimate import estimate
from core.importers import finished
from core.predict import predict_runs
from core.quantity import explain
from core.queue import Queue
from core.records import RunRecord
from core.runs import read_run
from core.scenario import from_flat
from core.sweep import answer
from core.this_machine import MachineFacts, run_columns, system_of, write_machine

ASKED = from_flat({"model": "Qwen/Qwen3-8B", "device": "RTX 4090", "runtime": "llama.cpp", "quant": "Q4_K_M", "prompt_tokens": 2048})
ELSEWHERE = ASKED.with_(device="RTX 3090")
ROW = {"model_id": "Qwen/Qwen3-8B", "gpu_name": "RTX 4090", "runtime": "llama.cpp", "quant": "Q4_K_M"}


@pytest.fixture(autouse=True)
def _home(tmp_path, monkeypatch):
    monkeypatch.setenv("ROOFCAST_HOME", str(tmp_path))
    monkeypatch.setattr(calibrate, "_SESSION", [])


@functools.cache
def fleet() -> Correction:
    found = shipped()
    assert found is not None and few_shot() is not None
    return found


@functools.cache
def runs(times: float, depths: tuple[int, ...] = (0, 1024, 4096), prompts: tuple[int, ...] = (512,)) -> tuple[RunRecord, ...]:
    """Runs of the asked machine that are so many times as fast as the fleet's correction says."""
    rows = [{**ROW, "output_tokens": 128, "context_depth": depth, "decode_toks_sec": 1.0} for depth in depths]
    rows += [{**ROW, "prompt_tokens": prompt, "output_tokens": 0, "prefill_toks_sec": 1.0} for prompt in prompts]
    made = []
    for row, said in zip(rows, predict_runs([read_run(row) for row in rows], fleet()), strict=True):
        column = "decode_toks_sec" if "decode_toks_sec" in row else "prefill_toks_sec"
        made.append(finished({**row, column: said.metrics[column] * times}, {}, "made for a test"))
    return tuple(made)


def told(correction: Correction, scenario=ASKED) -> Answer:
    found = answers([scenario], correction)[0]
    assert isinstance(found, Answer)
    return found


def width(of: Answer, metric: str = "decode_rate") -> float:
    low, high = of.bands[metric]
    return float(np.log(high / low))


# ---------------------------------------------------------------- whom they move, and how far


def test_other_machines_stay_as_they_are_to_the_bit():
    shifted = with_runs(fleet(), runs(0.7))
    assert told(shifted, ELSEWHERE) == told(fleet(), ELSEWHERE)
    assert estimate(ELSEWHERE, shifted).own_runs == 0


def test_without_runs_nothing_changes():
    assert with_runs(fleet(), ()) is fleet()
    assert in_effect() is fleet() and in_effect().own is None


@pytest.mark.parametrize("times", [0.7, 1.4])
def test_a_load_that_was_not_measured_moves_toward_what_was_and_gets_surer(times):
    before, after = told(fleet()), told(with_runs(fleet(), runs(times)))
    moved = np.log(after.metrics["decode_rate"] / before.metrics["decode_rate"]) / np.log(times)
    assert 0.4 < moved < 1.0
    assert width(after) < 0.9 * width(before)
    low, high = after.bands["decode_rate"]
    assert low < after.metrics["decode_rate"] < high


def test_runs_that_agree_with_the_fleet_narrow_its_range_and_leave_its_middle():
    before, after = told(fleet()), told(with_runs(fleet(), runs(1.0)))
    assert after.metrics["decode_rate"] == pytest.approx(before.metrics["decode_rate"], rel=1e-3)
    assert width(after) < 0.9 * width(before)


def test_each_further_run_of_a_kind_moves_further():
    moved = [told(with_runs(fleet(), runs(0.6)[:k])).metrics["decode_rate"] for k in (0, 1, 2, 3)]
    assert moved == sorted(moved, reverse=True) and moved[0] > moved[1]


def test_one_run_that_the_others_do_not_bear_out_counts_little():
    # Seven runs as the fleet says, and one ten times as slow: a burst on the machine.
    good = runs(1.0, (0, 256, 512, 1024, 2048, 4096, 8192))
    odd = runs(0.1, (3072,), ())
    clean, spoilt = told(with_runs(fleet(), good)), told(with_runs(fleet(), (*good, *odd)))
    assert abs(np.log(spoilt.metrics["decode_rate"] / clean.metrics["decode_rate"])) < 0.15 * np.log(10)


def test_no_run_shifts_beyond_four_times():
    found = told(with_runs(fleet(), runs(1e-3)))
    assert np.log(told(fleet()).metrics["decode_rate"] / found.metrics["decode_rate"]) <= MOST_SHIFT + 1e-9


def test_a_run_that_was_kept_from_fitting_shifts_nothing():
    unfit = [record.model_copy(update={"fit": False}) for record in runs(0.5)]
    assert with_runs(fleet(), unfit) is fleet()


def test_a_queue_that_bends_shifts_is_followed():
    """Runs under load of a machine with half the arithmetic and twice the bandwidth: shifts taken along a line miss by a multiple."""
    row = {
        "model_id": "Qwen/Qwen3-8B",
        "gpu_name": "RTX 4090",
        "runtime": "vllm",
        "quant": "FP8",
        "prompt_tokens": 2048,
        "output_tokens": 64,
    }
    truly = {**row, "gpu_name": "RTX 4090?memory_bandwidth_gb_s=2016&fp16_tflops=82.6&fp8_tflops=165&bf16_tflops=82.6&int8_tops=330"}
    columns = ("ttft_ms_p50", "tpot_ms_p50", "output_toks_sec")
    loads = [{"concurrency": users} for users in (4, 8, 16, 32)]
    said = predict_runs([read_run({**truly, **load, "tpot_ms_p50": 1.0}) for load in loads], fleet())
    made = [
        finished({**row, **load, **{column: one.metrics[column] for column in columns}}, {}, "made for a test")
        for load, one in zip(loads, said, strict=True)
    ]
    lines = lines_of(fleet(), made)
    assert lines is not None
    at = np.arange(len(lines.table))
    straight = posterior(lines.of(lines.devices()[0]), few_shot().prior)
    once = replace(fleet(), own=Own("", {lines.devices()[0]: straight}, {}, few_shot().narrowing))
    before, along, bent = (np.median(np.abs(lines.against(one, at))) for one in (fleet(), once, with_runs(fleet(), made)))
    assert bent < 0.7 * along and bent < 0.3 * before


# ---------------------------------------------------------------- how it is told


def test_runs_of_this_machine_follow_what_is_known_of_it():
    """Its bandwidth was first read while other programs ran; measured anew it is the same machine, and its runs still count."""
    facts = MachineFacts(machine="0123456789abcdef", cpu="Ryzen 7 7700", ram_gb=64, cores=8, measured_bandwidth_gb_s=20)
    write_machine(facts)
    row = {"model_id": "Qwen/Qwen3-8B", "runtime": "llama.cpp", "quant": "Q4_K_M", "output_tokens": 128, "decode_toks_sec": 5.0}
    Queue().put([finished({**row, **run_columns(facts)}, {}, "made for a test")])
    Queue().export()
    before = own_records()[0].device
    quiet = facts.model_copy(update={"measured_bandwidth_gb_s": 55.0})
    write_machine(quiet)
    assert own_records()[0].device == system_of(quiet).device != before
    write_machine(quiet.model_copy(update={"machine": "f" * 16}))
    assert own_records()[0].device == before, "another machine's runs stay as they are"


def test_the_cited_answer_gives_the_same_numbers_and_names_the_runs():
    shifted = with_runs(fleet(), runs(0.7))
    cited, plain = estimate(ASKED, shifted), told(shifted)
    for metric in ("decode_rate", "ttft", "prefill_rate", "output_rate"):
        assert cited.metric(metric) == pytest.approx(plain.metrics[metric], rel=1e-9)
        assert cited.bands[metric] == pytest.approx(plain.bands[metric], rel=1e-9)
    assert cited.own_runs == 4 and "your 4 runs on this machine" in explain(cited.metrics["decode_rate"])
    assert "and your own runs" in cited.label


def test_before_and_after_stand_beside_each_other():
    found = effects(questions(runs(0.7)), fleet(), with_runs(fleet(), runs(0.7)))
    assert {effect.metric for effect in found} == {"decode_rate", "prefill_rate", "ttft"}
    narrower = {effect.metric: effect.narrower for effect in found}
    assert narrower["decode_rate"] > 1 and min(narrower.values()) >= 1 and "decode is now" in sentence(found)
    same = effects(questions(runs(0.7)), fleet(), fleet())
    assert sentence(same) == "" and same[0].narrower == pytest.approx(1)


def test_leaving_each_run_out_shows_what_calibrating_is_worth():
    worth = {one.metric: one for one in left_out(fleet(), runs(0.6))}
    assert worth["decode"].before == pytest.approx(1 / 0.6 - 1, rel=0.01)
    assert worth["decode"].after < 0.5 * worth["decode"].before
    assert left_out(fleet(), runs(0.6)[:1])[0].after is None  # no other run to tell


# ---------------------------------------------------------------- in effect, and taken back


def test_stored_runs_are_in_effect_until_they_are_forgotten():
    before = answer(ASKED)
    queue = Queue()
    queue.put(runs(0.7))
    queue.export()
    after = answer(ASKED)
    assert after.own_runs == 4 and after.metric("decode_rate") < before.metric("decode_rate")
    queue.forget(record.run_id for record in runs(0.7))
    assert answer(ASKED) == before and not own_records()


def test_on_a_shared_server_only_the_sessions_runs_count(monkeypatch):
    Queue().put(runs(0.7))
    Queue().export()
    monkeypatch.setenv("ROOFCAST_HOSTED", "1")
    assert not own_records() and answer(ASKED).own_runs == 0
    calibrate.of_session(lambda: runs(1.3)[:2])
    assert answer(ASKED).own_runs == 2
    calibrate.of_session(lambda: ())  # another visitor
    assert answer(ASKED).own_runs == 0


def test_a_file_that_a_person_put_into_the_folder_counts_too(tmp_path):
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "mine.csv").write_text("model_id,gpu_name,runtime,quant,output_tokens,decode_toks_sec\n"
                                                "Qwen/Qwen3-8B,RTX 4090,llama.cpp,Q4_K_M,128,60\n")  # fmt: skip
    assert len(own_records()) == 1 and answer(ASKED).own_runs == 1


# ---------------------------------------------------------------- what next


def test_what_to_measure_next_is_not_what_is_measured_already():
    measured = runs(0.8, (0, 4096, 16384), ())  # decode at every depth that is offered
    found = next_runs(fleet(), measured, ASKED)
    assert len(found) == 2 and "prefill" in found[0].what
    assert found[0].now > found[0].left > found[1].left
    assert found[0].command.startswith("llama-bench -m MODEL.gguf -p ") and found[0].command.endswith("-o json > bench.json")


def test_without_run_and_question_nothing_is_proposed():
    assert next_runs(fleet(), ()) == []


@pytest.mark.parametrize(
    ("runtime", "starts"),
    [
        ("vllm", "vllm bench serve --model Qwen/Qwen3-8B"),
        ("sglang", "python -m sglang.bench_serving"),
        ("ollama", "roofcast bench one ollama"),
    ],
)
def test_commands_are_those_of_the_runtime(runtime, starts):
    assert command(ASKED.with_(runtime=runtime, quant=None), "both").startswith(starts)


def test_lines_are_held_against_the_fleet_even_where_runs_are_in_effect():
    shifted = with_runs(fleet(), runs(0.6))
    plain, again = lines_of(fleet(), runs(0.6)), lines_of(replace(shifted, version="another"), runs(0.6))
    np.testing.assert_allclose(plain.table["off"], again.table["off"])
