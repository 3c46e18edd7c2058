"""DeciLM's unlike layers."""

from __future__ import annotations

from typing import Any

import pytest

from core.catalog.models import ir
from core.errors import ScenarioError
from core.ir_build import build_ir

WHOLE = {"attention": {"n_heads_in_group": 2}, "ffn": {"ffn_mult": 1.5}}


def config(*blocks: Any) -> dict[str, Any]:
    return {
        "model_type": "nemotron-nas",
        "hidden_size": 512,
        "num_hidden_layers": len(blocks),
        "num_attention_heads": 8,
        "num_key_value_heads": None,
        "intermediate_size": None,
        "vocab_size": 100,
        "max_position_embeddings": 2048,
        "tie_word_embeddings": False,
        "block_configs": list(blocks),
    }


def test_layers_without_attention_keep_no_cache() -> None:
    model = ir("nvidia/Llama-3_3-Nemotron-Super-49B-v1")
    cached = {b.attention.kind: sum(len(c.layers) for c in model.blocks if c.attention.kind == b.attention.kind) for b in model.blocks}
    assert cached == {"full": 49, "none": 31}
    assert sum(len(b.layers) * b.attention.kv_elements_per_token for b in model.blocks) == 49 * 2 * 8 * 128


def test_widths_are_rounded_up_and_each_layer_has_its_own() -> None:
    model = build_ir(config(WHOLE, {"attention": {"no_op": True}, "ffn": {"ffn_mult": 0.7}}), "unlike")
    # 2 x 1.5 x 512 / 3 = 512, and 2 x 0.7 x 512 / 3 = 238.9: the next multiple of 256.
    assert [(b.attention.kind, b.attention.kv_heads, b.mlp.intermediate) for b in model.blocks] == [("full", 4, 512), ("none", 0, 256)]


def test_a_matrix_in_place_of_a_part_is_counted() -> None:
    linear = {"attention": {"replace_with_linear": True}, "ffn": {"replace_with_linear": True}}
    idle = {"attention": {"no_op": True}, "ffn": {"no_op": True}}
    with_matrices, without = build_ir(config(WHOLE, linear), "linear"), build_ir(config(WHOLE, idle), "idle")
    assert with_matrices.parameters - without.parameters == 2 * (512 * 512 + 512)


@pytest.mark.parametrize(
    ("block", "words"),
    [
        (7, r"block_configs\[1\]"),
        ({"attention": {}, "ffn": {"ffn_mult": 1}}, "n_heads_in_group"),
        ({"attention": {"n_heads_in_group": 3}, "ffn": {"ffn_mult": 1}}, "divisor"),
        ({"attention": {"n_heads_in_group": 2}, "ffn": {"ffn_mult": "wide"}}, "ffn_mult"),
        ({"attention": {"n_heads_in_group": 2}}, r"block_configs\[1\]"),
    ],
)
def test_nonsense_is_refused_in_one_sentence(block: Any, words: str) -> None:
    with pytest.raises(ScenarioError, match=words):
        build_ir(config(WHOLE, block), "broken")
