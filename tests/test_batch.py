"""Many scenarios in shared passes give what each gives alone."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core import batch
from core.batch import Group, candidates, groups, metrics_of, numbers_of, run
from core.columns import columns, plain
from core.errors import RoofcastError, ScenarioError
from core.estimate import numbers
from core.pipeline import one_pass
from core.scenario import Scenario, from_flat
from core.setting import settle

LLAMA, LARGE, WINDOWED = "meta-llama/Llama-3.1-8B-Instruct", "meta-llama/Llama-3.3-70B-Instruct", "google/gemma-2-9b-it"
MIXTURE, LATENT, HYBRID = "Qwen/Qwen3-30B-A3B", "deepseek-ai/DeepSeek-V2-Lite", "Qwen/Qwen3-Next-80B-A3B-Instruct"
MODELS = (LLAMA, LARGE, WINDOWED, MIXTURE, LATENT, HYBRID)
OPEN = {"arrival": "open", "request_rate_per_s": 2.0}
FITTED = ("needed", "peak", "taken", "headroom", "pool", "host_layers", "host_experts", "host_needed", "batch_cap")


def ask(model: str = LLAMA, device: str = "H100 SXM5 80GB", runtime: str = "vllm", quant: str | None = None, **knobs: Any) -> Scenario:
    return from_flat({"model": model, "device": device, "runtime": runtime, "quant": quant, **knobs})


SPREAD = [
    *(ask(model, concurrency=n, prompt_tokens=100 * n) for model in MODELS for n in (1, 7, 64)),
    *(ask(model, "RTX 4090", "llama.cpp", "Q4_K_M", context_depth=n) for model in MODELS for n in (0, 5000)),
    *(ask(model, "RTX 3090", "llama.cpp", "Q4_K_M", count=2, arrival="static", concurrency=n) for model in MODELS for n in (1, 8)),
    *(ask(arrival="saturated", concurrency=4096, quant=quant) for quant in ("BF16", "FP8")),
    *(ask(model, runtime=runtime, **OPEN) for model in (LLAMA, MIXTURE) for runtime in ("vllm", "sglang", "tensorrt-llm", "llama.cpp")),
    *(ask(MIXTURE, count=8, tp=tp, ep=ep, dp=dp, concurrency=64) for tp, ep, dp in ((8, 1, 1), (8, 8, 1), (2, 8, 4), (1, 1, 8), (1, 8, 8))),
    *(ask(LARGE, count=8, tp=tp, pp=pp, sp=sp) for tp, pp, sp in ((8, 1, False), (8, 1, True), (2, 4, True))),
    *(ask(LARGE, count=8, tp=4, cp=cp) for cp in (1, 2)),
    *(ask(LARGE, "RTX 4090", "llama.cpp", "Q8_0", gpu_layers=n, prompt_tokens=p) for n in (None, 0, 30, 999) for p in (8, 2000)),
    *(ask(MIXTURE, "RTX 3090", "llama.cpp", "Q8_0", experts_on_cpu=n, cpu=cpu) for n in (None, 0, 20) for cpu in (None, "EPYC 9354")),
    *(ask(LLAMA, device, runtime, "Q4_K_M") for device in ("M2 Ultra", "RTX 4090", "EPYC 9354") for runtime in ("llama.cpp", "ollama")),
    ask(LLAMA, runtime="ollama", quant="Q8_0", max_context=8192, max_sequences=4, concurrency=6, flash_attention=False),
    ask(LLAMA, runtime="vllm", prefix_cached_tokens=400, kv_dtype="fp8", memory_fraction=0.5, token_budget=512, concurrency=200),
    ask(LLAMA, "Tesla T4", "vllm", "FP16", output_tokens=1),
]  # fmt: skip


def alone(scenario: Scenario) -> dict[str, float] | str:
    try:
        return numbers(scenario, strict=False)
    except RoofcastError as error:
        return str(error)


def near(a: float, b: float) -> bool:
    return a == b or (math.isnan(a) and math.isnan(b)) or math.isclose(a, b, rel_tol=1e-9)


def check(scenarios: list[Scenario]) -> None:
    for scenario, together in zip(scenarios, numbers_of(scenarios), strict=True):
        one = alone(scenario)
        if isinstance(one, str) or isinstance(together, str):
            assert one == together
            continue
        assert one.keys() == together.keys()
        assert not [name for name in one if not near(one[name], together[name])], (scenario.to_query(), one, together)


def test_each_is_as_alone() -> None:
    assert len(groups(SPREAD, strict=False)[0]) < len(SPREAD) / 2  # passes are shared
    check(SPREAD)
    check(SPREAD[::-1])


engines = st.sampled_from((("vllm", "BF16"), ("vllm", "FP8"), ("sglang", None), ("tensorrt-llm", "FP8"), ("tgi", "BF16"),
                           ("llama.cpp", "Q4_K_M"), ("llama.cpp", "Q8_0"), ("ollama", "Q4_K_M")))  # fmt: skip
devices = st.sampled_from(("RTX 3090", "H100 SXM5 80GB", "A100 SXM4 80GB", "Tesla T4", "MI300X", "M2 Ultra", "EPYC 9354", "RX 7900 XTX"))
layouts = st.sampled_from(({}, {"count": 2}, {"count": 8}, {"count": 8, "tp": 8}, {"count": 8, "tp": 4, "pp": 2}, {"count": 2, "pp": 2},
                           {"count": 4, "tp": 2, "dp": 2, "sp": True}, {"count": 8, "tp": 2, "dp": 4, "ep": 8}))  # fmt: skip
asked = st.fixed_dictionaries(
    {
        "prompt_tokens": st.integers(1, 40_000),
        "output_tokens": st.integers(1, 3000),
        "context_depth": st.sampled_from((0, 0, 777)),
        "concurrency": st.sampled_from((1, 3, 16, 250)),
        "gpu_layers": st.sampled_from((None, None, 0, 10)),
        "experts_on_cpu": st.sampled_from((None, None, 7)),
        "flash_attention": st.booleans(),
        "max_sequences": st.sampled_from((None, 1, 16)),
    }
)


@given(
    st.sampled_from((LLAMA, MIXTURE, HYBRID)),
    st.sampled_from(("closed", "static", "saturated", "open")),
    st.lists(st.tuples(engines, devices, layouts, asked), min_size=3, max_size=12),
)
@settings(max_examples=40, deadline=None)
def test_any_mixture_is_as_each_alone(model: str, arrival: str, rows: list[Any]) -> None:
    common = {"model": model, "arrival": arrival, "request_rate_per_s": 0.5}
    check([from_flat({**common, "runtime": e, "quant": q, "device": d, **layout, **knobs}) for (e, q), d, layout, knobs in rows])


def test_memory_and_steps_are_those_of_each_alone() -> None:
    for group in groups(SPREAD, strict=False)[0]:
        _, found, served = run(group)
        for place, position in enumerate(group.index):
            setting = settle(SPREAD[position], strict=False)
            _, one, steps = one_pass(setting.ir, plain(columns(setting)), group.arrival)
            for name in FITTED:
                assert near(group.spread(getattr(found, name))[place], float(getattr(one, name))), (name, SPREAD[position].to_query())
            for step, alone_step in ((served.decode, steps.decode), (served.prefill, steps.prefill)):
                kinds = shares(group, step.ops, place)
                for kind, amount in shares(None, alone_step.ops, 0).items():
                    assert near(kinds[kind], amount) or abs(kinds[kind] - amount) < 1e-15, (kind, SPREAD[position].to_query())


def shares(group: Group | None, ops: Any, place: int) -> dict[str, float]:
    """Seconds of one scenario's step by what bounds them."""
    found: dict[str, float] = {}
    for op in ops:
        seconds = float(op.time) if group is None else float(group.spread(op.time)[place])
        found[op.kind] = found.get(op.kind, 0.0) + seconds
    return found


def test_operations_sum_to_their_step() -> None:
    for group in groups(SPREAD, strict=False)[0]:
        _, _, served = run(group)
        for step in (served.decode, served.prefill):
            times = np.stack([group.spread(op.time) for op in step.ops])
            assert times.shape == (len(step.ops), len(group))
            assert np.allclose(times.sum(axis=0), group.spread(step.time), rtol=1e-12, equal_nan=True)


def test_what_cannot_be_says_why_in_its_place() -> None:
    bad = [ask(LLAMA, count=8, tp=7), ask(LLAMA), ask("nobody/unheard-of-7b"), ask(LLAMA, count=2, tp=4)]
    found = numbers_of(bad)
    assert isinstance(found[1], dict)
    for place in (0, 2, 3):
        assert found[place] == alone(bad[place]) and isinstance(found[place], str)
    unsupported = ask(LLAMA, "Tesla T4", "vllm", "BF16")
    assert isinstance(numbers_of([unsupported])[0], dict)
    assert isinstance(numbers_of([unsupported], strict=True)[0], str)
    assert numbers_of([]) == []


def test_long_groups_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    scenarios = [ask(LLAMA, concurrency=n) for n in range(1, 12)]
    whole = numbers_of(scenarios)
    monkeypatch.setattr(batch, "CHUNK", 4)
    assert [len(group) for group in groups(scenarios)[0]] == [4, 4, 3]
    assert numbers_of(scenarios) == whole


def test_columns_are_built_once_for_all_loads(monkeypatch: pytest.MonkeyPatch) -> None:
    built = []
    monkeypatch.setattr(batch, "columns", lambda setting: built.append(setting) or columns(setting))
    batch._option.cache_clear()
    scenarios = [ask(LLAMA, device, prompt_tokens=n, concurrency=n) for n in (1, 5, 50) for device in ("RTX 3090", "RTX 4090")]
    (group,), _ = groups(scenarios)
    assert len(built) == 2
    metrics_of(group.repeat(3), {"users": np.ones(3 * len(group))})
    assert len(built) == 2


def test_a_repeated_group_takes_a_knob_for_each() -> None:
    scenarios = [ask(LLAMA, prompt_tokens=n, concurrency=8) for n in (10, 200, 4000)]
    (group,), _ = groups(scenarios)
    users = np.repeat([1.0, 8.0, 32.0], len(group))
    found = metrics_of(group.repeat(3), {"users": users})
    assert group.repeat(3).index.tolist() == [0, 1, 2] * 3
    for place, n in enumerate(users):
        one = numbers(scenarios[place % 3].with_(concurrency=int(n)))
        assert all(near(float(found[name][place]), amount) for name, amount in one.items())
    assert not np.array_equal(found["ttft"][:3], found["ttft"][6:])
    assert np.array_equal(metrics_of(group)["ttft"], found["ttft"][3:6])  # the group itself keeps its users


def test_candidates_with_and_without_a_host() -> None:
    """A card that may leave layers in host memory is a candidate beside a machine of one memory."""
    options = [ask(LARGE, device, "llama.cpp", "Q4_K_M") for device in ("RTX 4090", "M2 Ultra", "H100 SXM5 80GB")]
    index, users = np.array([0, 1, 2, 1, 0]), np.array([1, 2, 4, 1, 2])
    found = candidates(options, index, {"users": users})
    for place, (option, n) in enumerate(zip(index, users, strict=True)):
        for name, amount in numbers(options[option].with_(concurrency=int(n))).items():
            assert near(float(found[name][place]), amount), (place, name)
    with pytest.raises(ScenarioError, match="must divide"):
        candidates([*options, ask(LLAMA, count=8, tp=7)], index, {})
