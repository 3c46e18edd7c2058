"""Candidates as arrays are the scenarios that they stand for."""

from __future__ import annotations

import functools
import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.batch import metrics_of
from core.candidates import MODES, Space, space
from core.catalog import hardware, models
from core.estimate import estimate, numbers
from core.goal import Goal, goal
from core.plan import broken_rules
from core.setting import settle
from core.solve_machines import machines, undominated
from core.solve_passes import memory_pass
from core.suited import caches_for, runtimes_for, weights_for

MIXTURE, LATENT, DENSE = "Qwen/Qwen3-30B-A3B", "deepseek-ai/DeepSeek-V2-Lite", "meta-llama/Llama-3.1-8B-Instruct"
DEVICES = ["RTX 5090", "Apple M4 Pro (16-core GPU)", "Raspberry Pi 5", "H100 SXM"]
LOADS = ({}, {"users": 24}, {"request_rate_per_s": 3.0})


@functools.cache
def laid_out(model: str, load: int) -> Space:
    asked = goal({"models": model, "devices": DEVICES, "max_devices": 4, "prompt_tokens": 700, "output_tokens": 90, **LOADS[load]})
    return space(asked, model, undominated(machines(asked), asked))


@settings(max_examples=30)
@given(asked=st.sampled_from([(MIXTURE, 1), (LATENT, 0), (LATENT, 2)]), place=st.floats(0, 1), many=st.sampled_from([1, 3]))
def test_a_candidate_of_the_arrays_is_its_scenario_alone(asked: tuple[str, int], place: float, many: int) -> None:
    found = laid_out(*asked)
    i = min(int(place * len(found)), len(found) - 1)
    (_, group), = found.groups(np.array([i]), np.array([float(many)]))  # fmt: skip
    table = metrics_of(group)
    alone = numbers(found.scenario(i, many))
    for name, amount in alone.items():
        assert table[name][0] == pytest.approx(amount, rel=1e-12, nan_ok=True), name


@pytest.mark.parametrize("model", [MIXTURE, DENSE])
def test_memory_is_judged_as_one_scenario_is(model: str) -> None:
    found = laid_out(model, 1)
    some = np.linspace(0, len(found) - 1, 25).astype(int)
    judged = memory_pass(found, some, np.ones(len(some)))
    for n, i in enumerate(some):
        answer = estimate(found.scenario(int(i), 1))
        assert answer.runs == judged.fits[n], found.scenario(int(i), 1)
        if answer.runs:
            assert (answer.feasibility == "with_offload") == judged.offloaded[n]
        assert (judged.short[n] > 0) == (not answer.runs)


def test_a_server_has_room_for_one_conversation_of_its_context() -> None:
    """An estimate lets a server wait that could not even start with its context."""
    found = laid_out(DENSE, 0)
    vllm = np.flatnonzero(np.array([name == "vllm" for _, name, _ in found.rows])[found.row] & (found.count == 1))
    longest = found.ir.max_context
    more = space(found.goal.with_(context_tokens=longest), DENSE, found.machines)
    fits = memory_pass(found, vllm, np.ones(len(vllm))).fits
    still = memory_pass(more, vllm, np.ones(len(vllm))).fits
    assert (still <= fits).all() and still.sum() < fits.sum()


def test_every_legal_split_is_there_and_no_other() -> None:
    asked = goal({"models": MIXTURE, "hardware": ["cloud"], "devices": ["H100 SXM"], "runtimes": ["vllm"], "quants": ["BF16"], "users": 64})
    found = space(asked, MIXTURE, [m for m in machines(asked) if m.system.count == 8][:1])
    ir = models.ir(MIXTURE)
    legal = set()
    for tp, pp in itertools.product(range(1, 9), (1, 2, 4, 8)):
        dp = 8 // (tp * pp)
        if dp and (tp in (1, 2, 4, 8)):
            legal |= {(tp, pp, dp, ep) for ep in {1, tp * dp if pp == 1 else 1} if not broken_rules(ir, tp, pp, ep, dp)}
    listed = {tuple(row) for row in np.column_stack([found.tp, found.pp, found.dp, found.ep])[: len(legal)].tolist()}
    assert listed == legal
    assert len(found) % len(legal) == 0
    for i in range(len(found)):
        settle(found.scenario(i, 1))


def test_splits_by_layer_leave_tensors_whole_and_only_offloading_engines_offload() -> None:
    found = laid_out(MIXTURE, 0)
    runtime = np.array([name for _, name, _ in found.rows])[found.row]
    local = np.isin(runtime, ["llama.cpp", "mlx"])
    assert (found.tp[local] == 1).all() and (found.tp[~local] > 1).any()
    assert (found.mode[runtime != "llama.cpp"] == 0).all()
    assert set(found.mode[runtime == "llama.cpp"].tolist()) == set(range(len(MODES)))
    assert not (laid_out(DENSE, 0).mode == MODES.index("all experts")).any()


def test_weights_suit_the_device_and_none_is_beaten_by_another() -> None:
    def on(device: str, model: str = DENSE) -> tuple[str, ...]:
        return weights_for(model, "vllm", hardware.device(device))

    assert "FP8" in on("RTX 4090") and "FP8" not in on("RTX 3090")
    assert "NVFP4" in on("RTX 5090") and "NVFP4" not in on("H100 SXM")
    assert "BF16" not in on("T4") and "FP16" in on("T4")
    assert "FP8-BLOCK" in on("A100 SXM 80GB", "deepseek-ai/DeepSeek-R1")  # as its makers publish it
    four_bits = {model: "AWQ-INT4" in weights_for(model, "tensorrt-llm", hardware.device("H100 SXM")) for model in (DENSE, MIXTURE)}
    assert four_bits == {DENSE: True, MIXTURE: False}, "its table of models and recipes has none of experts"
    local = weights_for(DENSE, "llama.cpp", hardware.device("RTX 3090"))
    assert "Q8_0" in local and "F32" not in local and not any(name.startswith("IQ4_K") for name in local)
    assert weights_for(DENSE, "vllm", hardware.device("RTX 3090"), ("AWQ-INT4", "FP8")) == ("AWQ-INT4", "FP8")


def test_runtimes_run_on_the_device_and_what_is_asked_counts() -> None:
    free = Goal(models=(DENSE,))
    assert [r.id for r in runtimes_for(free, hardware.device("RTX 3090"))] == ["llama.cpp", "vllm"]
    assert "tensorrt-llm" in [r.id for r in runtimes_for(free, hardware.device("H100 SXM"))]  # measured there
    assert "vllm" not in [r.id for r in runtimes_for(free, hardware.device("Apple M4 Pro (16-core GPU)"))]
    assert [r.id for r in runtimes_for(Goal(models=(DENSE,), runtimes=("SGLang",)), hardware.device("RTX 3090"))] == ["sglang"]
    assert caches_for(free, "vllm", hardware.device("RTX 3090")) == (None,)
    assert caches_for(free, "vllm", hardware.device("RTX 4090")) == (None, "fp8")
    assert caches_for(Goal(models=(DENSE,), kv_dtypes=("q4_0",)), "llama.cpp", hardware.device("RTX 3090")) == ("q4_0",)


def test_the_rest_of_a_context_is_counted() -> None:
    found = laid_out(DENSE, 0)
    roomy = found.goal.with_(context_tokens=65_536)
    more = space(roomy, DENSE, found.machines)
    first = memory_pass(found, np.arange(len(found)), np.ones(len(found)))
    second = memory_pass(more, np.arange(len(more)), np.ones(len(more)))
    assert second.fits.sum() < first.fits.sum()
    assert math.isclose(more.scenario(0, 1).deployment.max_context or 0, 65_536)
