"""Images in a prompt: which engines hold the tower, and laws of what an image costs."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.batch import numbers_of
from core.catalog.assumptions import assume
from core.catalog.files import sources
from core.catalog.runtimes import runtimes
from core.errors import ScenarioError
from core.estimate import estimate, numbers
from core.formulas.vision import copied_elements, patch_elements, patch_scores, tower_buffer
from core.quantity import value
from core.scenario import Scenario, from_flat
from core.trust import what_to_trust
from core.units import MIB

QWEN, TEXT = "Qwen/Qwen3-VL-8B-Instruct", "meta-llama/Llama-3.1-8B-Instruct"


def asked(**knobs: Any) -> Scenario:
    return from_flat({"model": QWEN, "device": "H100 SXM", "runtime": "vllm", **knobs})


def part(scenario: Scenario, name: str = "vision tower") -> float | None:
    return next((float(value(p.amount)) for p in estimate(scenario).device.parts if p.name == name), None)


def test_every_runtime_that_holds_towers_says_where_that_is_known_from() -> None:
    for entry in runtimes().values():
        assert entry.vision_source is None or entry.vision_source in sources(), entry.id
        if entry.vision != "no":
            assert entry.vision_source, entry.id


def test_the_tower_is_held_by_default_as_the_runtime_does() -> None:
    assert part(asked()) == 2 * 576_388_336
    assert part(asked(vision=False)) is None
    assert part(asked(runtime="llama.cpp", device="RTX 4090")) is None
    assert part(asked(runtime="llama.cpp", device="RTX 4090", vision=True)) == 2 * 576_388_336
    assert part(asked(model=TEXT)) is None


def test_images_bring_the_tower_where_the_engine_loads_it_when_told() -> None:
    assert part(asked(runtime="llama.cpp", device="RTX 4090", images=1)) == 2 * 576_388_336


def test_tensor_ranks_cut_the_tower_where_the_engine_does() -> None:
    """vLLM cuts it by its ranks; TensorRT-LLM is taken to hold a whole one on each."""
    assert part(asked(count=4, tp=4)) == pytest.approx(2 * 576_388_336 / 4)
    assert part(asked(count=4, tp=4, runtime="tensorrt-llm")) == 2 * 576_388_336


def test_of_unlike_cards_the_first_holds_it() -> None:
    found = estimate(asked(runtime="llama.cpp", device="RTX 4090", others="1x RTX 3090", quant="Q8_0", vision=True))
    held = [next(float(value(p.amount)) for p in card.parts if p.name == "vision tower") for card in found.cards]
    assert held == [2 * 576_388_336, 0]


@pytest.mark.parametrize(
    ("knobs", "said"),
    [
        ({"model": TEXT, "images": 1}, "has no vision tower"),
        ({"model": TEXT, "vision": True}, "has no vision tower"),
        ({"runtime": "mlx", "device": "M3 Max", "images": 1}, "MLX.* loads no vision tower"),
        ({"images": 1, "vision": False}, "vision is off"),
        ({"images": 2, "max_context": 2048}, "2,688 tokens"),
        ({"images": 1, "image_size": "0x5"}, "image_size"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(knobs: dict[str, Any], said: str) -> None:
    with pytest.raises(ScenarioError, match=said):
        numbers(asked(**knobs))


def test_no_images_of_any_size_change_nothing() -> None:
    assert numbers(asked(image_size="8000x8000")) == numbers(asked())


def test_a_model_without_tower_is_the_same_whatever_is_said_of_vision() -> None:
    assert numbers(asked(model=TEXT, vision=False)) == numbers(asked(model=TEXT))


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 3), st.integers(1, 4), st.sampled_from([1, 16]), st.sampled_from(["vllm", "llama.cpp"]))
def test_more_images_are_never_faster_nor_smaller(few: int, more: int, users: int, runtime: str) -> None:
    load = {"runtime": runtime, "device": "RTX 4090", "quant": "FP8" if runtime == "vllm" else "Q8_0", "concurrency": users,
            "image_size": "672x448"}  # fmt: skip
    less, all_of = (numbers(asked(**load, images=n)) for n in (few, few + more))
    for name in ("ttft", "latency", "memory_peak"):
        assert all_of[name] >= less[name] * (1 - 1e-12), name
    assert all_of["ttft"] > less["ttft"]
    assert all_of["output_rate"] <= less["output_rate"] * (1 + 1e-12)


def test_a_prompt_of_the_images_tokens_alone_is_faster_than_the_images() -> None:
    """Beside their tokens images cost the tower's work."""
    with_image, as_text = numbers(asked(images=1)), numbers(asked(prompt_tokens=512 + 1024))
    assert with_image["tpot"] == pytest.approx(as_text["tpot"])
    assert with_image["ttft"] > as_text["ttft"]


def test_a_pass_over_many_gives_what_each_gives_alone() -> None:
    several = [
        asked(images=n, image_size=size, concurrency=users, runtime=runtime)
        for n, size in ((0, "1024x1024"), (2, "1024x1024"), (2, "640x480"))
        for users, runtime in ((1, "vllm"), (8, "sglang"))
    ]
    for one, found in zip(several, numbers_of(several), strict=True):
        assert isinstance(found, dict)
        assert found == pytest.approx(numbers(one, strict=False), rel=1e-9)


def test_speed_with_images_is_said_to_be_unmeasured() -> None:
    assert what_to_trust(estimate(asked(images=1)), []).speed.word == "unmeasured"
    assert "images" in what_to_trust(estimate(asked(images=1)), []).speed.text


def test_the_tower_stands_among_the_operations_of_the_prompt() -> None:
    found = estimate(asked(images=1))
    op = next(op for op in found.prefill.step.ops if op.name == "vision tower")
    # 4,096 patches through the layers' matrices, two FLOP each; attention over all pairs; the projector for 1,024 tokens.
    layers = 27 * (4 * 1152**2 + 2 * 1152 * 4304) + 1152 * 3 * 2 * 16**2
    projector = 4 * (4608 * 4608 + 4608 * 4096)
    assert float(value(op.flop)) == pytest.approx(2 * 4096 * layers + 2 * 1024 * projector + 27 * 4 * 4096**2 * 1152)
    assert not [op for op in found.decode.step.ops if op.name == "vision tower"]


# Width, inner width, side of the image in patches, whether flash: MiB that llama-server (llama-cpp-python 0.3.36) says to reserve for
# towers of 16 heads and three layers with weights drawn at random, on a processor.
@pytest.mark.parametrize(
    ("width", "inner", "side", "flash", "mib"),
    [(1024, 4096, 24, 1, 19.32), (1024, 4096, 24, 0, 32.88), (1152, 4304, 64, 1, 148.50), (1152, 4304, 64, 0, 1123.74)],
)
def test_the_buffer_of_a_tower_is_near_what_llama_cpp_reserves(width: int, inner: int, side: int, flash: int, mib: float) -> None:
    patches = side**2 + 1
    held = tower_buffer(
        patches=patches, elements=patch_elements(width=width, inner=inner, matrices=1), flash=flash, element_size=4.0,
        scores=patch_scores(heads=16, patches=patches, tiles=1), copies=copied_elements(width=width, times=value(assume("tower_copies"))),
    )  # fmt: skip
    assert held / MIB == pytest.approx(mib, rel=0.04)


def test_a_server_s_tower_and_model_work_in_turn_and_llama_cpp_keeps_both_buffers() -> None:
    def buffers(**knobs: Any) -> float:
        return part(asked(**knobs), "compute buffers") or 0.0

    small: dict[str, Any] = {"image_size": "448x448", "device": "RTX 4090"}
    assert buffers(**small, images=1) == buffers(**small)  # the model's activations are the larger
    gemma: dict[str, Any] = {"model": "google/gemma-3-4b-it", "token_budget": 8192}  # 4,096 patches become 256 tokens
    assert buffers(**gemma, images=64) == 32 * 4096 * (2 * 1152 + 4 * 1152) * 2 > buffers(**gemma)
    patches, elements = 28 * 28, 2 * 1152 + max(4 * 1152, 4304) + 2.4 * 1152
    ggml = {**small, "runtime": "llama.cpp", "quant": "Q8_0", "max_context": 4096}
    assert buffers(**ggml, images=1) - buffers(**ggml) == pytest.approx(patches * elements * 4)
