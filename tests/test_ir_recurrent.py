"""Mamba and its hybrids, RWKV, lightning attention, and layers with two halves: totals to the last element, what they keep."""

from __future__ import annotations

from typing import Any

import pytest

from core.catalog.models import ir
from core.columns import columns, plain
from core.ir import ModelIR
from core.ir_build import build_ir
from core.memory import fit
from core.phases import Work
from core.plan import make_plan
from core.quantity import value
from core.scenario import from_flat
from core.setting import settle
from core.steps import step_time

# The class's own default config, with the parameters that transformers 5.19 builds from it.
FALCON_H1: dict[str, Any] = {
    "model_type": "falcon_h1", "hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8,
    "intermediate_size": 14336, "vocab_size": 128000, "mamba_d_ssm": 1024, "mamba_n_heads": 128, "mamba_d_head": "auto",
    "mamba_d_state": 256, "tie_word_embeddings": False, "max_position_embeddings": 8192,
}  # fmt: skip
MAMBA2: dict[str, Any] = {
    "model_type": "mamba2", "hidden_size": 4096, "num_hidden_layers": 64, "num_heads": 128, "head_dim": 64, "vocab_size": 32768,
    "state_size": 128, "expand": 2, "conv_kernel": 4, "n_groups": 8,
}  # fmt: skip
RWKV4: dict[str, Any] = {"model_type": "rwkv", "hidden_size": 4096, "num_hidden_layers": 32, "vocab_size": 50277, "context_length": 1024}
# Published as rwkv-5-world-3b's total, which it cannot be: the 1.5 B model's sizes give it.
RWKV5: dict[str, Any] = {"model_type": "rwkv5", "hidden_size": 2048, "num_hidden_layers": 24, "vocab_size": 65536, "head_size": 64}


@pytest.mark.parametrize(
    ("config", "total"), [(FALCON_H1, 8_514_961_408), (MAMBA2, 7_285_403_648), (RWKV4, 7_392_649_216), (RWKV5, 1_577_754_624)]
)
def test_totals_of_configs_outside_the_catalog(config: dict[str, Any], total: int) -> None:
    assert build_ir({"tie_word_embeddings": False, **config}, "x").parameters == total


def state(model: ModelIR) -> int:
    return sum(len(b.layers) * b.attention.state_elements for b in model.blocks)


def cache(model: ModelIR) -> int:
    return sum(len(b.layers) * b.attention.kv_elements_per_token for b in model.blocks)


@pytest.mark.parametrize(("model_id", "kept", "growing"), [
    ("state-spaces/mamba-2.8b-hf", 64 * 5120 * (16 + 3), 0),
    ("ai21labs/Jamba-v0.1", 28 * 8192 * (16 + 3), 4 * 2 * 8 * 128),
    ("tiiuae/Falcon-H1-7B-Instruct", 44 * (3072 * 256 + 3 * (3072 + 2 * 256)), 44 * 2 * 2 * 128),
    ("Zyphra/Zamba2-2.7B", 54 * (5120 * 64 + 3 * (5120 + 2 * 64)), 9 * 2 * 32 * 160),
    ("MiniMaxAI/MiniMax-Text-01", 70 * 64 * 128 * 128, 10 * 2 * 8 * 128),
    ("fla-hub/rwkv7-2.9B-world", 32 * (40 * 64 * 64 + 2 * 2560), 0),
    ("meituan-longcat/LongCat-Flash-Chat", 0, 56 * (512 + 64)),
    ("google/gemma-3n-E4B-it", 0, 20 * 2 * 2 * 256),
])  # fmt: skip
def test_what_a_sequence_keeps(model_id: str, kept: int, growing: int) -> None:
    """Elements of recurrent state, and elements that each token adds."""
    assert (state(ir(model_id)), cache(ir(model_id))) == (kept, growing)


def test_longcats_idle_experts_count_as_on_average() -> None:
    model = ir("meituan-longcat/LongCat-Flash-Chat")
    moe = next(b.mlp for b in model.blocks if b.mlp.kind == "moe")
    assert (moe.experts, moe.top_k, moe.shared_intermediate) == (512, 8, 12288) and "12" in model.assumed["zero_expert_num"]
    assert {t.name for t in model.tensors if t.layer == 3} >= {
        "model.layers.1.self_attn.1.o_proj.weight",
        "model.layers.1.mlps.1.up_proj.weight",
    }


def test_a_shared_block_is_held_once_and_read_at_every_place() -> None:
    model = ir("Zyphra/Zamba2-2.7B")
    block = next(b for b in model.blocks if b.attention.kind == "full")
    assert (len(block.layers), block.passes) == (9, 4.5) and "count as layers" in model.assumed["num_hidden_layers"]
    held = sum(t.elements for t in model.tensors if t.block == block.name and t.group == "mlp")
    done = a_token("Zyphra/Zamba2-2.7B")
    assert done["feed-forward"] == pytest.approx(2 * held * 4.5)


def test_a_mixer_beside_attention_works_with_it() -> None:
    """Falcon-H1's layers read their cache and their state in every step."""
    done = a_token("tiiuae/Falcon-H1-7B-Instruct")
    assert done["attention"] == pytest.approx(1024 * 2 * cache(ir("tiiuae/Falcon-H1-7B-Instruct")))
    assert done["recurrent mixer"] == pytest.approx(2 * 4 * state(ir("tiiuae/Falcon-H1-7B-Instruct")))


def a_token(model: str) -> dict[str, float]:
    """Bytes that each operation moves to decode one token after 1,024."""
    setting = settle(from_flat({"model": model, "device": "H100", "runtime": "vllm", "quant": "BF16", "tp": 1}))
    c = plain(columns(setting))
    plan = make_plan(setting.ir, c)
    done = step_time(plan, c, fit(plan, c), Work(batch=1.0, context=1024.0), "step")
    return {op.name: float(value(op.bytes)) for op in done.ops}
