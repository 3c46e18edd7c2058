"""Joining a header with a layout: no byte is lost or counted twice, whatever a checkpoint calls its tensors."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.ir import ModelIR
from core.ir_build import build_ir
from core.stored import StoredTensor, _shared, join, merged

CONFIG: dict[str, Any] = {
    "model_type": "qwen3_moe", "hidden_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2,
    "head_dim": 16, "intermediate_size": 96, "moe_intermediate_size": 32, "num_experts": 4, "num_experts_per_tok": 2, "vocab_size": 100,
    "max_position_embeddings": 128, "mlp_only_layers": [0],
}  # fmt: skip
MODEL = build_ir(CONFIG, "me/tiny")


def plain(model: ModelIR) -> list[StoredTensor]:
    return [StoredTensor(t.name, "bf16", t.elements, 2 * t.elements) for t in model.tensors]


@given(st.lists(st.integers(0, len(MODEL.tensors) - 1), unique=True), st.booleans())
def test_no_byte_is_lost_under_other_names(renamed: list[int], fused: bool) -> None:
    """Names that the layout does not know, or one tensor in place of a layer's renamed ones."""
    tensors, other = [], defaultdict(list)
    for i, tensor in enumerate(plain(MODEL)):
        layer = MODEL.tensors[i].layer
        if i in renamed and layer is not None:
            other[layer].append(tensor._replace(name=f"model.layers.{layer}.new_{i}.weight"))
        else:
            tensors.append(tensor)
    for layer, group in other.items():
        if fused:
            group = [StoredTensor(f"model.layers.{layer}.all.weight", "bf16", sum(t.elements for t in group), sum(t.bytes for t in group))]
        tensors += group
    found = join(MODEL, tensors, "safetensors")
    assert not found.missing and not found.beside
    assert [amount for _, amount in found.stored] == [2 * t.elements for t in MODEL.tensors]


@given(st.lists(st.tuples(st.integers(0, 10**9), st.integers(1, 50)), min_size=1, max_size=9))
def test_shares_sum_to_the_whole(parts: list[tuple[int, int]]) -> None:
    amount, weights = sum(n for n, _ in parts), [w for _, w in parts]
    shares = _shared(amount, weights)
    assert sum(shares) == amount and all(abs(s - amount * w / sum(weights)) < 1 for s, w in zip(shares, weights, strict=True))


def test_experts_of_a_layer_come_together() -> None:
    single = [StoredTensor(f"model.layers.1.mlp.experts.{n}.up_proj.weight", "bf16", 10, 20) for n in range(4)]
    assert merged(single) == (StoredTensor("model.layers.1.mlp.experts.*.up_proj.weight", "bf16", 40, 80, 4),)


@pytest.mark.parametrize("gone", [
    "model.norm.weight", "model.layers.1.self_attn.q_proj.weight", "model.layers.2.mlp.experts.up_proj.weight",
])  # fmt: skip
def test_what_is_missing_is_named(gone: str) -> None:
    found = join(MODEL, [t for t in plain(MODEL) if t.name != gone], "safetensors")
    assert found.missing == (gone,) and not found.stored


def test_towers_and_tables_are_not_the_text_model() -> None:
    extra = [StoredTensor(name, "bf16", 5, 10) for name in (
        "visual.blocks.0.attn.qkv.weight", "vision_tower.encoder.layers.0.fc1.weight", "model.layers.0.self_attn.rotary_emb.inv_freq",
        "multi_modal_projector.linear_1.bias")]  # fmt: skip
    found = join(MODEL, [*plain(MODEL), *extra], "safetensors")
    assert len(found.apart) == 3 and [t.name for t in found.beside] == [extra[2].name]
    assert sum(amount for _, amount in found.stored) == 2 * MODEL.parameters
