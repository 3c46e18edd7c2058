"""Symptoms and fixes: every fix is an estimate with flags that say it; a measured number is judged and explained."""

from __future__ import annotations

import math

import pytest

from core.answer import Estimate
from core.diagnosis import judge
from core.errors import ScenarioError
from core.estimate import estimate, launch
from core.flag_changes import flag_changes, flags_of
from core.launch_parse import parse
from core.quantity import value
from core.scenario import Scenario, from_flat
from core.sweep import answer, point
from core.troubleshoot import SYMPTOMS, troubleshoot

HOME = from_flat({"model": "Llama-3.1-8B-Instruct", "device": "RTX 3060", "quant": "Q4_K_M", "gpu_layers": 10, "prompt_tokens": 1000})
PAIR = HOME.with_(model="Llama-3.3-70B-Instruct", device="RTX 3090", count=2, gpu_layers=None, max_context=16384, flash_attention=False)
STAGES = HOME.with_(
    model="Llama-3.3-70B-Instruct", device="H100 SXM5 80GB", count=4, runtime="vllm", quant="BF16", pp=4, tp=1, gpu_layers=None
)
SHORT = HOME.with_(model="Llama-3.3-70B-Instruct", device="RTX 4090", runtime="vllm", quant="FP8", gpu_layers=None)


@pytest.mark.parametrize(("symptom", "metric"), [("decode", "decode_rate"), ("ttft", "ttft"), ("throughput", "output_rate")])
def test_every_fix_is_what_its_change_gives(symptom: str, metric: str) -> None:
    found = troubleshoot(HOME, symptom)  # type: ignore[arg-type]
    assert found.fixes and found.tried >= len(found.fixes)
    before = point(HOME)[metric]
    for fix in (*found.fixes, *found.unsure):
        after = point(HOME.with_(**fix.change.knobs))[metric]
        assert after < before if metric == "ttft" else after > before


def test_layers_on_the_cpu_are_found_and_the_flag_says_so() -> None:
    fix = troubleshoot(HOME, "decode").fixes[0]
    assert fix.change.text == "Put all 32 layers on the device" and fix.flags == ("change -ngl 10 to -ngl 999",)
    assert fix.effect.startswith("×") and "tok/s" in fix.before


def test_memory_fixes_hold_less_and_settings_come_before_smaller_weights() -> None:
    found = troubleshoot(PAIR, "memory")
    peak = float(value(found.found.device.peak))
    assert all(float(value(answer(fix.scenario).device.peak)) < peak for fix in found.fixes)
    levers = [fix.change.lever for fix in found.fixes]
    assert levers.index("engine") < levers.index("quant") < levers.index("offload")
    assert "to spare on the fullest device" in found.sentence


@pytest.mark.parametrize("symptom", ["memory", "decode"])
def test_what_does_not_fit_is_made_to_fit(symptom: str) -> None:
    found = troubleshoot(SHORT, symptom)  # type: ignore[arg-type]
    assert found.fixes and all(answer(fix.scenario).runs for fix in found.fixes)
    assert "The weights take" in found.sentence or "does not even run" in found.sentence


def test_uneven_stages_are_explained_by_what_the_last_holds() -> None:
    found = troubleshoot(STAGES, "uneven")
    assert "of stage 4 is the fullest" in found.sentence and "output head" in found.sentence
    assert any("TP 4" in fix.change.text and fix.effect == "evener" for fix in found.fixes)


def test_devices_that_take_turns_are_no_fault() -> None:
    found = troubleshoot(PAIR, "uneven")
    assert any("one after the other" in hint for hint in found.hints)
    assert [fix.flags[-1] for fix in found.fixes] == ["change -sm layer to -sm row"]


def test_idle_devices_are_seen() -> None:
    found = troubleshoot(STAGES.with_(pp=None, tp=2), "uneven")
    assert "2 of 4 are not used" in found.sentence and any("do nothing" in hint for hint in found.hints)


def test_one_device_cannot_be_uneven() -> None:
    assert troubleshoot(HOME, "uneven").fixes == ()


def test_every_symptom_answers_for_every_kind_of_machine() -> None:
    for asked in (
        HOME.with_(device="Apple M4 Max (40-core GPU)", gpu_layers=None),
        HOME.with_(device="Raspberry Pi 5 8GB", gpu_layers=None),
    ):
        for symptom in SYMPTOMS:
            assert troubleshoot(asked, symptom).sentence


# ---- flags


@pytest.mark.parametrize("knobs", [{"gpu_layers": None}, {"max_context": 4096, "kv_dtype": "q8_0"}, {"quant": "Q8_0"}, {"concurrency": 4}])
@pytest.mark.parametrize("runtime", ["llama.cpp", "ollama"])
def test_flags_that_change_lead_from_one_command_to_the_other(runtime: str, knobs: dict[str, object]) -> None:
    before: Estimate = answer(HOME.with_(runtime=runtime))
    after = answer(HOME.with_(runtime=runtime, **knobs))
    flags = flags_of(launch(before), runtime)
    for step in flag_changes(before, after):
        verb, _, rest = step.partition(" ")
        name = (rest.removeprefix("out ") if verb == "leave" else rest).split(" ")[0]
        if verb == "leave":
            del flags[name]
        else:
            flags[name] = (rest.split(" to ")[1] if verb == "change" else rest).partition(" ")[2]
    assert flags == flags_of(launch(after), runtime)


def test_another_runtime_has_no_flags_to_change() -> None:
    assert flag_changes(answer(HOME), answer(HOME.with_(runtime="ollama"))) == ()


# ---- a measured number


def command(text: str, **machine: object) -> Scenario:
    return parse(text).scenario(prompt_tokens=512, **machine)


def test_a_number_within_the_range_is_normal() -> None:
    asked = command("llama-server -m Llama-3.1-8B-Instruct-Q4_K_M.gguf -ngl 99 -c 4096", device="RTX 3060")
    low, high = answer(asked).bands["decode_rate"]
    found = judge(asked, "decode_rate", (low + high) / 2)
    assert found.word == "expected" and found.suspects == () and "within what we expect" in found.sentence
    assert (found.low, found.high) == (low, high)


def test_slow_writing_is_explained_by_layers_on_the_cpu() -> None:
    """What the estimate says with 10 layers on the device is found again from the number alone."""
    full = HOME.with_(gpu_layers=None)
    measured = answer(HOME).metric("decode_rate")
    found = judge(full, "decode_rate", measured)
    assert found.word == "slower"
    first = found.suspects[0]
    assert first.text == "About 22 of 32 layers run on the CPU" and first.expected == pytest.approx(measured, rel=0.05)
    assert first.scenario.deployment.gpu_layers == 10


def test_a_cpu_alone_is_suspected_without_a_word_of_which() -> None:
    found = judge(HOME.with_(gpu_layers=None), "decode_rate", 3.0)
    assert any(one.text.startswith("It runs on the CPU alone") for one in found.suspects)


def test_a_fast_first_token_was_cached() -> None:
    found = judge(HOME.with_(gpu_layers=None), "ttft", 0.05)
    assert found.word == "faster" and "prefix cache" in found.suspects[0].text


def test_more_than_the_memory_can_feed_is_impossible() -> None:
    found = judge(HOME.with_(gpu_layers=None), "decode_rate", 300)
    assert found.word == "impossible" and "more than the memory can feed" in found.sentence
    assert judge(PAIR, "decode_rate", 60).word == "faster", "two cards might work at once"


@pytest.mark.parametrize(
    ("asked", "metric", "measured", "said"),
    [
        (HOME, "colour", 1.0, "cannot be judged"),
        (HOME, "ttft", 0.0, "more than 0"),
        (HOME, "ttft", math.nan, "more than 0"),
        (SHORT, "ttft", 1.0, "does not run"),
    ],
)
def test_what_cannot_be_judged_gets_a_sentence(asked: Scenario, metric: str, measured: float, said: str) -> None:
    with pytest.raises(ScenarioError, match=said):
        judge(asked, metric, measured)


def test_a_server_whose_cache_is_too_short_for_its_context_is_no_fix() -> None:
    asked = from_flat({"model": "Qwen/Qwen3-32B", "device": "RTX 4090", "runtime": "vllm", "max_context": 32_768})
    found = troubleshoot(asked, "memory")
    held = [answer(fix.scenario) for fix in found.fixes]
    assert held and all(one.runs and (one.scenario.runtime != "vllm" or one.limits["max_batch"] >= 1) for one in held)
    shorter = next(fix for fix in found.fixes if "with a context of" in fix.change.text)
    assert shorter.effect == "it fits then" and shorter.scenario.deployment.max_context < 32_768 and shorter.scenario.deployment.quant
    stored = troubleshoot(asked.with_(quant="AWQ-INT4"), "memory")
    assert "not the cache of one conversation of 32,768 tokens" in stored.sentence


def test_a_context_that_the_cache_cannot_hold_is_warned_of() -> None:
    knobs = {"model": "Qwen/Qwen3-32B", "device": "L40S", "runtime": "vllm", "quant": "FP8"}
    codes = {room: [w.code for w in estimate(from_flat({**knobs, "max_context": room})).warnings] for room in (2_048, 40_960)}
    assert "cache_below_max_context" in codes[40_960] and "cache_below_max_context" not in codes[2_048]
