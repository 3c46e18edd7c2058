"""Splits: which are legal, which rule a bad one breaks, what a rank holds."""

from __future__ import annotations

import pytest

from core.catalog import models
from core.columns import columns, plain
from core.errors import ScenarioError
from core.plan import broken_rules, degrees, make_plan
from core.scenario import from_flat
from core.setting import settle

LLAMA70 = "meta-llama/Llama-3.3-70B-Instruct"
R1 = "deepseek-ai/DeepSeek-R1"


def planned(**knobs):
    setting = settle(from_flat(knobs))
    c = plain(columns(setting))
    return setting, c, make_plan(setting.ir, c)


def chosen(**knobs) -> dict[str, int]:
    return {name: degree for name, (_, degree) in degrees(settle(from_flat(knobs))).items()}


def test_a_bad_split_names_every_rule_it_breaks():
    broken = broken_rules(models.ir(LLAMA70), 3, 1, 1, 1)
    assert any("64 attention heads" in rule for rule in broken)
    assert any("28672" in rule for rule in broken)
    with pytest.raises(ScenarioError, match="must divide the 64 attention heads"):
        degrees(settle(from_flat({"model": LLAMA70, "device": "H100", "count": 8, "runtime": "vllm", "tp": 3})))


def test_more_ranks_than_devices_is_refused():
    with pytest.raises(ScenarioError, match="needs 8 devices, but the system has 4"):
        degrees(settle(from_flat({"model": LLAMA70, "device": "H100", "count": 4, "runtime": "vllm", "tp": 4, "pp": 2})))


def test_kv_heads_may_be_copied_but_not_cut():
    # 8 KV heads: 16 ranks copy each head twice, 8 ranks hold one each.
    assert not [rule for rule in broken_rules(models.ir(LLAMA70), 16, 1, 1, 1) if "KV" in rule]
    _, _, wide = planned(model=LLAMA70, device="H100", count=16, runtime="vllm", tp=16)
    _, _, narrow = planned(model=LLAMA70, device="H100", count=8, runtime="vllm", tp=8)
    assert wide.blocks[0].kv_elements == narrow.blocks[0].kv_elements == 256  # one head: key and value of 128


def test_the_latent_of_mla_is_whole_on_every_rank():
    for tp in (1, 8):
        _, _, plan = planned(model=R1, device="H200", count=8, runtime="vllm", tp=tp, pp=8 // tp)
        assert {b.kv_elements for b in plan.blocks} == {576}


def test_servers_cut_tensors_and_llama_cpp_cuts_layers():
    assert chosen(model=LLAMA70, device="H100", count=4, runtime="vllm") == {"tp": 4, "pp": 1, "dp": 1, "ep": 1, "cp": 1}
    assert chosen(model=LLAMA70, device="RTX 3090", count=2, quant="Q4_K_M")["pp"] == 2
    # 3 does not divide 64 heads: stages instead.
    assert chosen(model=LLAMA70, device="H100", count=3, runtime="vllm") == {"tp": 1, "pp": 3, "dp": 1, "ep": 1, "cp": 1}


def test_all_experts_occupy_memory_and_only_those_touched_are_read():
    _, _, plan = planned(model="mistralai/Mixtral-8x7B-v0.1", device="H100", count=2, runtime="vllm", tp=2, quant="BF16")
    experts = sum(b.expert_bytes for b in plan.blocks)
    assert experts == pytest.approx(8 * 3 * 4096 * 14336 * 32 * 2 / 2, rel=1e-3)  # 8 experts, half on each of two ranks


def test_expert_parallel_spreads_experts_over_data_parallel_ranks():
    _, _, together = planned(model=R1, device="H200", count=8, runtime="sglang", tp=1, dp=8, ep=8)
    _, _, alone = planned(model=R1, device="H200", count=8, runtime="sglang", tp=1, dp=8)
    assert sum(b.expert_bytes for b in alone.blocks) == pytest.approx(8 * sum(b.expert_bytes for b in together.blocks))


def test_large_servers_are_replicas_of_nodes_and_stages_only_where_weights_need_them():
    assert chosen(model=R1, device="GB200", count=72, runtime="tensorrt-llm", quant="NVFP4") == {
        "tp": 8,
        "pp": 1,
        "dp": 9,
        "ep": 1,
        "cp": 1,
    }
    # 1.3 TB of BF16 weights on 80 GB cards: 24 cards a replica are three stages.
    assert chosen(model=R1, device="H100", count=32, runtime="vllm", quant="BF16")["pp"] == 4
