"""Laws of the distance between a question and a run, and its words."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import distance
from core.catalog.hardware import device, devices
from core.catalog.models import ir
from core.catalog.quants import quant
from core.catalog.runtimes import runtime
from core.runs import Run
from core.scenario import from_flat

MODELS = ("meta-llama/Llama-3.1-8B-Instruct", "meta-llama/Llama-3.3-70B-Instruct", "Qwen/Qwen3-30B-A3B", "deepseek-ai/DeepSeek-V2-Lite")
ENGINE = runtime("vllm")
ASKED = from_flat({"model": MODELS[0], "device": "H100 SXM5 80GB", "runtime": "vllm", "concurrency": 8, "prompt_tokens": 1024})

cards = st.sampled_from(sorted(devices()))
models = st.sampled_from(MODELS)


def run_parts(other, asks="both"):
    return {item.part: item for item in distance.run_differences(ASKED, ENGINE, Run(other, asks))}


@given(cards, cards)
def test_device_is_a_distance(one, other):
    there = distance.device_difference(devices()[one], devices()[other])
    back = distance.device_difference(devices()[other], devices()[one])
    assert there.distance == pytest.approx(back.distance)
    assert (there.distance == 0) == (one == other)
    assert bool(there.text) == (one != other)


@given(models, models)
def test_model_is_a_distance(one, other):
    there = distance.model_difference(ir(one), ir(other))
    assert there.distance == pytest.approx(distance.model_difference(ir(other), ir(one)).distance)
    assert (there.distance == 0) == (one == other)


def test_finetunes_are_siblings():
    assert distance.model_difference(ir("meta-llama/Llama-3.1-8B-Instruct"), ir("meta-llama/Llama-3.1-8B")).distance == 0


def test_kin_is_nearer_than_strangers():
    asked = device("RTX 4090")
    order = [distance.device_difference(asked, device(name)) for name in ("RTX 4080", "RTX 3090", "RX 7900 XTX", "Apple M4 Max")]
    assert [d.distance for d in order] == sorted(d.distance for d in order)
    assert order[0].text == "GeForce RTX 4080, other card of the same architecture"


def test_quants_by_kernel_and_bits():
    model = ir(MODELS[0])
    steps = [distance.quant_difference(model, quant("Q4_K_M"), quant(name)).distance for name in ("Q4_K_M", "Q4_K_S", "Q8_0", "F16")]
    assert steps[0] == 0 and steps == sorted(steps) and len(set(steps)) == len(steps)
    assert distance.quant_difference(model, quant("FP16"), quant("BF16")).distance == 0  # one width, one kernel


def test_runtimes_of_one_engine_are_near():
    def between(one, other, backend="cuda"):
        return distance.runtime_difference((runtime(one), "cuda"), (runtime(other), backend)).distance

    assert (
        0 == between("llama.cpp", "llama.cpp") < between("llama.cpp", "ollama") < between("llama.cpp", "mlx") < between("llama.cpp", "vllm")
    )
    assert between("llama.cpp", "llama.cpp", "vulkan") > 0


def test_the_same_load_is_no_difference():
    assert run_parts(ASKED) == {}


@given(st.integers(1, 512), st.integers(1, 100_000), st.integers(1, 8192))
def test_load_differs_in_what_it_says(users, prompt, output):
    other = ASKED.with_(concurrency=users, prompt_tokens=prompt, output_tokens=output)
    found = list(distance.load_differences(ASKED, other, "both"))
    assert all(item.distance >= distance.CLOSE and item.text for item in found)
    assert any("users" in item.text for item in found) == (abs(math.log2(users / 8)) * distance.USERS >= distance.CLOSE)


def test_a_prefill_run_says_nothing_about_output():
    longer = ASKED.with_(output_tokens=256)
    assert any("tokens out" in item.text for item in distance.load_differences(ASKED, longer, "both"))
    assert not any("tokens out" in item.text for item in distance.load_differences(ASKED, longer, "prefill"))


@pytest.mark.parametrize(
    ("knobs", "part", "text"),
    [
        ({"count": 2, "tp": 2}, "split", "2 devices instead of 1"),
        ({"kv_dtype": "fp8"}, "options", "KV cache stored as fp8"),
        ({"flash_attention": False}, "options", "without flash attention"),
        ({"runtime_date": "2023-06"}, "software", "software of 2023-06"),
        ({"arrival": "static"}, "load", "one static batch instead of a closed loop"),
    ],
)
def test_what_differs_is_said(knobs, part, text):
    found = run_parts(ASKED.with_(**knobs))
    assert list(found) == [part] and text in found[part].text and found[part].distance > 0


def test_a_stated_default_is_no_difference():
    assert run_parts(ASKED.with_(kv_dtype="auto", tp=1)) == {}


def test_tensors_or_layers():
    two = ASKED.with_(count=2)
    assert distance.degrees(two, ENGINE) == (2, 2, 1, 1)
    assert distance.degrees(two, runtime("llama.cpp")) == (2, 1, 2, 1)
    assert distance.degrees(two.with_(dp=2), ENGINE) == (2, 1, 1, 2)
