"""Vision towers: language model and tower against published totals, and what unknown kinds become."""

from __future__ import annotations

from typing import Any

import pytest

from core.catalog.models import ir, models
from core.ir_build import build_ir
from core.ir_tower import LeftOut, read_tower

# The total counts what else: scales beside FP8 weights, or towers for sound and the unused key and value weights of a shared cache.
BESIDE = {
    "mistralai/Devstral-Small-2-24B-Instruct-2512": 560,
    "moonshotai/Kimi-K3": 2_677_920,  # the vectors of its attention residuals, which the config does not describe
}
SOUND = ("google/gemma-4-E2B-it", "google/gemma-4-E4B-it", "google/gemma-4-12B-it")
# The catalog has the language model's fields alone.
NO_TOWER = ("google/gemma-3n-E2B-it", "google/gemma-3n-E4B-it", "stepfun-ai/step3", "stepfun-ai/Step-3.7-Flash",
            "stepfun-ai/Step-3.7-Flash-FP8", "microsoft/Phi-3.5-vision-instruct", "microsoft/Phi-4-multimodal-instruct")  # fmt: skip


def counted_with_vision() -> list[str]:
    seeing = [e.id for e in models().values() if e.published_parameters and "vision" in (e.published_covers or "")]
    return [model_id for model_id in seeing if model_id not in (*SOUND, *NO_TOWER)]


def test_language_model_and_tower_are_the_published_total_to_the_last_element() -> None:
    ids = counted_with_vision()
    assert len(ids) >= 33
    for model_id in ids:
        built, total = ir(model_id), models()[model_id].published_parameters or 0
        assert built.tower is not None, model_id
        # Qwen3.5's totals hold the prediction module too.
        assert total - built.parameters - built.tower.parameters - BESIDE.get(model_id, 0) in (0, built.mtp_parameters), model_id


def test_towers_whose_total_holds_more_leave_room_for_it() -> None:
    for model_id in SOUND[:2]:
        built, total = ir(model_id), models()[model_id].published_parameters or 0
        assert built.tower is not None and 0 < built.tower.parameters < total - built.parameters


# Models that the catalog does not have: the published total, the model whose layout the language part is, elements beyond that, and
# the tower's fields. LLaVA's vocabulary has 64 rows more than Llama's, in the table and in the head.
OTHERS: list[tuple[int, str, int, str, dict[str, Any]]] = [
    (7_063_427_072, "meta-llama/Llama-2-7b-hf", 2 * 64 * 4096, "llava", {
        "model_type": "clip_vision_model", "hidden_size": 1024, "image_size": 336, "intermediate_size": 4096, "num_attention_heads": 16,
        "num_hidden_layers": 24, "patch_size": 14}),
    (10_292_777_472, "zai-org/GLM-4-9B-0414", 0, "glm4v", {
        "depth": 24, "hidden_size": 1536, "num_heads": 12, "image_size": 336, "patch_size": 14, "spatial_merge_size": 2,
        "temporal_patch_size": 2, "out_hidden_size": 4096, "intermediate_size": 13696}),
    (16_407_657_776, "moonshotai/Moonlight-16B-A3B-Instruct", 0, "kimi_vl", {
        "model_type": "moonvit", "hidden_size": 1152, "intermediate_size": 4304, "num_attention_heads": 16, "num_hidden_layers": 27,
        "patch_size": 14, "init_pos_emb_height": 64, "init_pos_emb_width": 64, "merge_kernel_size": [2, 2]}),
]  # fmt: skip


@pytest.mark.parametrize(("total", "language", "more", "kind", "vision"), OTHERS, ids=lambda item: item if isinstance(item, str) else "")
def test_other_families_are_their_published_totals(total: int, language: str, more: int, kind: str, vision: dict[str, Any]) -> None:
    tower = read_tower({"model_type": kind, "vision_config": vision}, ir(language).hidden)
    assert tower is not None and not tower.assumed
    # Less what steers the choice of experts: a few vectors.
    assert ir(language).parameters + more + tower.parameters == pytest.approx(total, rel=2e-7)


def test_a_kind_without_a_total_at_hand_says_so() -> None:
    tower = read_tower({"model_type": "kimi_k3", "vision_config": OTHERS[2][4]}, 2048)
    assert tower is not None and "not held against" in (tower.assumed or {})["layout"]


def test_a_text_model_has_no_tower() -> None:
    assert ir("meta-llama/Llama-3.1-8B-Instruct").tower is None
    assert ir("google/gemma-3-1b-it").tower is None
    assert read_tower({"model_type": "llama", "vision_config": {}}, 4096) is None


VIT: dict[str, Any] = {
    "model_type": "newest_vit", "hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096,
    "patch_size": 14, "spatial_merge_size": 2,
}  # fmt: skip


def test_an_unknown_kind_is_laid_out_by_its_fields_and_says_so() -> None:
    tower = read_tower({"model_type": "newest", "vision_config": VIT}, 2048)
    assert tower is not None and tower.assumed is not None and "newest_vit" in tower.assumed["model_type"]
    layer = 4 * 1024 * 1024 + 4 * 1024 + 2 * 1024 * 4096 + 4096 + 1024 + 4 * 1024
    assert tower.parameters == 24 * layer + 3 * 14 * 14 * 1024 + 1024 + 4 * 1024 * 2048 + 2048


@pytest.mark.parametrize("field", ["hidden_size", "num_hidden_layers", "patch_size"])
def test_a_kind_without_the_needed_fields_is_left_out(field: str) -> None:
    vision = {key: item for key, item in VIT.items() if key != field}
    with pytest.raises(LeftOut, match=field):
        read_tower({"model_type": "newest", "vision_config": vision}, 2048)


def test_what_is_left_out_is_named_and_the_language_model_stays() -> None:
    config = {
        **models()["meta-llama/Llama-3.1-8B-Instruct"].config,
        "vision_config": {"model_type": "timm_wrapper", "architecture": "mobilenetv5_300m_enc"},
        "audio_config": {"hidden_size": 1536},
    }
    built = build_ir(config, "some/model")
    assert built.tower is None and "left out" in built.assumed["vision_config"] and "sound" in built.assumed["audio_config"]
    assert built.parameters == ir("meta-llama/Llama-3.1-8B-Instruct").parameters


def test_a_nonsense_size_is_left_out() -> None:
    with pytest.raises(LeftOut, match="patch_size"):
        read_tower({"model_type": "qwen3_vl", "vision_config": {**VIT, "model_type": "qwen3_vl", "patch_size": -3}}, 2048)


@pytest.mark.parametrize("field", ["hidden_size", "num_attention_heads", "num_position_embeddings", "image_size", "patch_size"])
@pytest.mark.parametrize("junk", [[[1]], {"a": 1}, [None], [1, 2], "x", -1, True, []])
def test_nonsense_leaves_the_tower_out(field: str, junk: Any) -> None:
    vision = {"model_type": "clip_vision_model", "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
              "num_attention_heads": 4, "patch_size": 14, "image_size": 56, field: junk}  # fmt: skip
    with pytest.raises(LeftOut, match=field):
        read_tower({"vision_config": vision}, 64)
