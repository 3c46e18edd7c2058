"""Families of one maker whose layers have experts, and what else their layouts have that others lack."""

from __future__ import annotations

from typing import Any

from core.catalog.models import ir, models
from core.ir_build import build_ir


def test_trinity_sees_everything_in_every_fourth_layer() -> None:
    model = ir("arcee-ai/Trinity-Mini")
    full = [n for b in model.blocks if b.attention.kind == "full" for n in b.layers]
    assert full == list(range(3, 32, 4))
    assert {b.attention.window for b in model.blocks if b.attention.kind == "sliding"} == {2048}
    # The gate of what attention gives is as large as the output projection.
    gate = next(t for t in model.tensors if t.role == "attn_gate")
    assert gate.elements == next(t for t in model.tensors if t.role == "attn_output").elements


def test_ling_of_the_first_generation_has_neither_dense_layers_nor_steered_experts() -> None:
    first, second = ir("inclusionAI/Ling-lite"), ir("inclusionAI/Ling-mini-2.0")
    assert {b.mlp.kind for b in first.blocks} == {"moe"} and not any(t.role == "exp_probs_b" for t in first.tensors)
    assert {b.mlp.kind for b in second.blocks} == {"dense", "moe"} and any(t.role == "exp_probs_b" for t in second.tensors)


def test_minimax_m3_scores_blocks_in_all_but_its_dense_layers() -> None:
    model = ir("MiniMaxAI/MiniMax-M3")
    assert {(len(b.layers), b.attention.kv_elements_per_token, b.mlp.kind) for b in model.blocks} == {
        (3, 2 * 4 * 128, "dense"),
        (57, 2 * 4 * 128 + 128, "moe"),
    }
    # Sixteen chosen blocks and the nearest one, of 128 tokens each.
    assert {b.attention.attended for b in model.blocks} == {0, 17 * 128}
    dense = build_ir({**models()["MiniMaxAI/MiniMax-M3"].config, "sparse_attention_config": None}, "dense")
    assert not any(t.role.startswith("indexer") for t in dense.tensors)


def test_kimi_k3_computes_its_experts_in_half_the_width() -> None:
    model = ir("moonshotai/Kimi-K3")
    assert {t.shape[-1] for t in model.tensors if t.role == "ffn_up_exps"} == {3584}
    assert {t.shape for t in model.tensors if t.role == "ssm_g"} == {(96 * 128, 7168)}
    assert model.native_quant == "MXFP4"


def test_griffin_keeps_one_number_a_channel() -> None:
    model = ir("google/recurrentgemma-2b")
    kinds = ["linear" if n in model.blocks[0].layers else "sliding" for n in range(model.layers)]
    assert kinds[:6] == ["linear", "linear", "sliding"] * 2 and kinds[-2:] == ["linear", "linear"]
    assert next(b.attention.state_elements for b in model.blocks if b.attention.kind == "linear") == 2560 + 2560 * 3
    assert next(b.attention for b in model.blocks if b.attention.kind == "sliding").window == 2048


def test_a_text_part_takes_its_class_s_defaults_and_says_so() -> None:
    """As llava-1.5-7b-hf is published: its text part names the vocabulary alone."""
    inner: dict[str, Any] = {"model_type": "llama", "vocab_size": 32064, "max_position_embeddings": 4096}
    model = build_ir({"model_type": "llava", "text_config": inner, "tie_word_embeddings": False}, "llava")
    assert model.parameters == ir("llava-hf/llava-1.5-7b-hf").parameters
    assert "does not say" in model.assumed["hidden_size"]
