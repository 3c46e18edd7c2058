"""Attention and the feed-forward part cut apart: what is exchanged, what each rank computes and reads, and who can do it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.answer import Estimate, Op
from core.batch import numbers_of
from core.errors import ScenarioError
from core.estimate import estimate, launch, numbers
from core.launch_parse import parse
from core.quantity import explain, value
from core.scenario import from_flat

LLAMA70, R1, QWEN = "meta-llama/Llama-3.3-70B-Instruct", "deepseek-ai/DeepSeek-R1", "Qwen/Qwen3-30B-A3B"
STATIC: dict[str, Any] = {"device": "H200", "count": 8, "runtime": "sglang", "quant": "FP8", "arrival": "static", "concurrency": 64}


def asked(model: str = LLAMA70, **knobs: Any) -> Estimate:
    return estimate(from_flat({"model": model, **STATIC, **knobs}))


def op(found: Estimate, name: str) -> Op:
    return next(op for op in found.decode.step.ops if op.name == name)


def test_the_exchange_by_hand() -> None:
    """32 tokens of each of two replicas, 8,192 numbers of 2 bytes: a message of 1 MiB, of which each of 8 ranks sends 7/8 before the
    feed-forward part and 7/8 after it, in each of 80 layers. Attention's all-reduce over 4 ranks of one replica's tokens remains."""
    found = asked(tp=4, dp=2, mlp_tp=8)
    exchanged, reduced = op(found, "replicas' exchange"), op(found, "all-reduce")
    assert float(value(exchanged.sent)) == pytest.approx(2 * 7 / 8 * 64 * 8192 * 2 * 80)
    assert float(value(reduced.sent)) == pytest.approx(2 * 3 / 4 * 32 * 8192 * 2 * 80)
    assert "all-gather of the replicas' tokens" in explain(exchanged.time) and "[sglang-dp-attention]" in explain(exchanged.time)
    assert exchanged.bound == "interconnect" and found.resolved["mlp_tp"] == 8


def test_a_rank_reads_a_piece_of_the_feed_forward_part_for_all_replicas() -> None:
    apart, whole = asked(tp=4, dp=2, mlp_tp=8), asked(tp=4, dp=2)
    ours, theirs = op(apart, "feed-forward"), op(whole, "feed-forward")
    assert float(value(ours.bytes)) == pytest.approx(float(value(theirs.bytes)) / 2)
    assert float(value(ours.flop)) == pytest.approx(float(value(theirs.flop)))
    for name in ("attention", "attention projections"):
        assert float(value(op(apart, name).time)) == float(value(op(whole, name).time))


def test_experts_are_cut_over_all_replicas_or_spread() -> None:
    cut, spread = asked(R1, tp=1, dp=8, mlp_tp=8), asked(R1, tp=1, dp=8, ep=8)
    # Of 64 tokens × 8 each an expert sees about 2: every rank reads an eighth of all that are hit, or all of its own that are hit.
    assert float(value(op(cut, "experts").bytes)) == pytest.approx(float(value(op(spread, "experts").bytes)))
    assert float(value(op(cut, "experts").flop)) == pytest.approx(float(value(op(spread, "experts").flop)))
    assert "expert all-to-all" not in [o.name for o in cut.decode.step.ops]
    both = asked(R1, tp=1, dp=8, ep=8, mlp_tp=8)
    names = [o.name for o in both.decode.step.ops]
    assert "expert all-to-all" in names and "replicas' exchange" in names
    alone = asked(QWEN, tp=1, dp=8, ep=8, mlp_tp=8)
    assert "replicas' exchange" not in [o.name for o in alone.decode.step.ops], "nothing but experts, and these are spread"


@settings(max_examples=12, deadline=None)
@given(
    st.sampled_from([LLAMA70, QWEN]), st.sampled_from([1, 2, 4, 8]), st.sampled_from(["closed", "static", "saturated"]), st.integers(1, 200)
)  # fmt: skip
def test_cut_alike_is_no_cut_apart(model: str, tp: int, arrival: str, users: int) -> None:
    knobs = {"model": model, **STATIC, "tp": tp, "dp": 8 // tp, "arrival": arrival, "concurrency": users}
    alike, plain = from_flat({**knobs, "mlp_tp": tp}), from_flat(knobs)
    assert numbers(alike) == numbers(plain)
    apart = from_flat({**knobs, "mlp_tp": 8})
    together = numbers_of([apart, plain])
    for found, one in zip(together, (apart, plain), strict=True):
        assert found == pytest.approx(numbers(one), rel=1e-12, nan_ok=True), "in one pass with others as alone"


@pytest.mark.parametrize(
    ("knobs", "said"),
    [
        ({"runtime": "vllm", "tp": 4, "dp": 2, "mlp_tp": 8}, "vLLM does not cut attention and the feed-forward part apart .*; SGLang"),
        ({"runtime": "tensorrt-llm", "tp": 4, "dp": 2, "mlp_tp": 8}, "keeps attention whole on each rank .*set tensor parallel to 1"),
        ({"tp": 2, "dp": 4, "mlp_tp": 4}, "over all ranks of the replicas: set it to 8"),
        ({"tp": 4, "dp": 2, "mlp_tp": 6}, "must be attention's 4 times a divisor of the 2"),
        ({"model": "openai/gpt-oss-20b", "quant": None, "tp": 1, "dp": 7, "mlp_tp": 7}, "must divide an expert's width 2880"),
    ],
)
def test_what_cannot_be_says_why(knobs: dict[str, Any], said: str) -> None:
    with pytest.raises(ScenarioError, match=said):
        asked(**{"model": LLAMA70, **knobs})


def test_tensor_parallel_alone_takes_as_many_replicas_as_share_it() -> None:
    assert asked(tp=4, mlp_tp=8).resolved["dp"] == 2


@pytest.mark.parametrize(
    ("runtime", "tp", "said"),
    [("sglang", 4, "--tp 8 --dp 2 --enable-dp-attention"), ("tensorrt-llm", 1, "enable_attention_dp: true")],
)
def test_the_flags_and_back(runtime: str, tp: int, said: str) -> None:
    knobs = {"runtime": runtime, "tp": tp, "dp": 8 // tp, "mlp_tp": 8}
    command = launch(asked(R1, **knobs))
    assert said in command and "--ep" not in command
    fields = parse(command).fields
    assert (fields.get("tp", 1), fields["dp"], fields["mlp_tp"], fields["count"]) == (tp, 8 // tp, 8, 8) and "ep" not in fields
