"""The order of layers: folded, it is still every layer of the model."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from core.catalog.models import ir, models
from core.ir import ModelIR
from core.model_stack import Group, Run, attention_words, cards, kind_names, stack


def unfolded(groups: list[Group]) -> list[str]:
    return [run.kind for group in groups for _ in range(group.times) for run in group.runs for _ in range(run.times)]


def test_a_pattern_is_folded() -> None:
    sliding, full = "sliding+dense", "full+dense"
    assert stack(ir("google/gemma-3-27b-it")) == [
        Group(10, (Run(sliding, 5), Run(full, 1)), 0, 59),
        Group(1, (Run(sliding, 2),), 60, 61),
    ]


def test_every_model_keeps_all_its_layers() -> None:
    for name in models():
        model = ir(name)
        groups, kinds = stack(model), {layer: block.name for block in model.blocks for layer in block.layers}
        assert unfolded(groups) == [kinds[layer] for layer in range(model.layers)], name
        assert [group.first for group in groups] == [0, *(group.last + 1 for group in groups[:-1])] and groups[-1].last == model.layers - 1
        told = cards(model)
        assert len(set(kind_names(model).values())) == len(model.blocks) and all(card.attention or card.mlp for card in told.values()), name


def test_kinds_that_sound_alike_say_in_what_they_differ() -> None:
    """None by a block's own name, which says nothing to a reader: "feed-forward (none+dense 5)"."""
    many = kind_names(ir("nvidia/Llama-3_3-Nemotron-Super-49B-v1")).values()
    assert {"full attention + feed-forward, 28,672 wide", "feed-forward, 2,816 wide"} < set(many)
    for name in models():
        assert not [kind for key, kind in kind_names(ir(name)).items() if f"({key})" in kind], name


@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=60))
def test_folding_loses_nothing(kinds: list[str]) -> None:
    unfolded_groups = unfolded(stack(of_kinds(kinds)))
    assert unfolded_groups == kinds


def of_kinds(kinds: list[str]) -> ModelIR:
    model = ir("Qwen/Qwen3-8B")
    blocks = [
        replace(model.blocks[0], name=kind, layers=tuple(n for n, k in enumerate(kinds) if k == kind)) for kind in dict.fromkeys(kinds)
    ]
    return replace(model, layers=len(kinds), blocks=tuple(blocks))


def test_sparse_attention_says_what_chooses() -> None:
    lines = {attention_words(block.attention) for name in ("zai-org/GLM-5.2", "MiniMaxAI/MiniMax-M3") for block in ir(name).blocks}
    assert any(line.endswith("attends to 2,048 tokens that its indexer of 32 heads chose") for line in lines)
    assert any(line.endswith("that an earlier layer's indexer chose") for line in lines)
    assert any(line.startswith("Sparse attention: 64 heads") and "2,176 tokens" in line for line in lines)
