"""The IR of models whose layers are not all attention: recurrent mixers, one-part layers, shared and compressed caches."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.catalog.models import ir
from core.errors import ScenarioError
from core.ir import Attention, ModelIR
from core.ir_build import build_ir
from core.ir_families import FAMILIES

SMALL: dict[str, Any] = {
    "hidden_size": 64,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "intermediate_size": 96,
    "vocab_size": 100,
    "max_position_embeddings": 2048,
    "tie_word_embeddings": False,
    "num_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 8,
    "shared_expert_intermediate_size": 8,
    "moe_shared_expert_intermediate_size": 8,
    "linear_num_value_heads": 4,
    "linear_num_key_heads": 2,
    "mamba_num_heads": 4,
    "mamba_head_dim": 8,
    "ssm_state_size": 16,
    "n_groups": 2,
    "sliding_window": 32,
    "q_lora_rank": 24,
    "kv_lora_rank": 16,
    "qk_nope_head_dim": 8,
    "qk_rope_head_dim": 4,
    "v_head_dim": 8,
    "index_n_heads": 2,
    "index_head_dim": 8,
    "o_groups": 2,
    "o_lora_rank": 8,
    "hc_mult": 2,
    "compress_ratios": [0, 4, 128, 4, 0],
    "full_attn_idxs": [1, 3],
    "num_heads": 4,
    "state_size": 16,
    "share_q_dim": 24,
    "share_expert_dim": 8,
    "expert_ffn_hidden_size": 8,
    "zero_expert_num": 2,
    "linear_attn_config": {"num_heads": 4, "head_dim": 8, "short_conv_kernel_size": 4, "kda_layers": [1, 2, 3]},
}
TYPES: dict[str, dict[str, Any]] = {
    "nemotron_h": {"hybrid_override_pattern": "M*E-"},
    "granitemoehybrid": {"layer_types": ["mamba", "attention", "mamba", "mamba"]},
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1},
    "minimax": {"attn_type_list": [0, 0, 0, 1]},
    "zamba2": {"hybrid_layer_ids": [1, 3], "use_shared_attention_adapter": True},
    "rwkv7": {f"{part}_low_rank_dim": 8 for part in ("decay", "a", "v", "gate")},
    "step3p5": {"layer_types": ["full_attention", "sliding_attention"] * 2, "attention_other_setting": {"num_attention_heads": 6}},
}
# v_head_dim belongs to latent attention only.
LATENT = ("kimi_linear", "glm_moe_dsa", "deepseek_v32", "longcat_flash")


def small(kind: str, **changes: Any) -> dict[str, Any]:
    config = {**SMALL, "model_type": kind, **TYPES.get(kind, {})}
    if kind not in LATENT:
        del config["v_head_dim"]
    return {**config, **changes}


def attention(model: ModelIR, kind: str) -> Attention:
    return next(b.attention for b in model.blocks if b.attention.kind == kind)


def layers(model: ModelIR) -> list[str]:
    return [next(b.name for b in model.blocks if n in b.layers) for n in range(model.layers)]


def kv_elements(model: ModelIR) -> int:
    return sum(len(b.layers) * b.attention.kv_elements_per_token for b in model.blocks)


@pytest.mark.parametrize(
    ("model_id", "total", "linear", "attending"),
    [
        ("Qwen/Qwen3-Next-80B-A3B-Instruct", 79_674_391_296, 36, 12),
        ("Qwen/Qwen3.5-35B-A3B", 34_660_610_688, 30, 10),  # 34.66 B as llama.cpp counts it
        ("Qwen/Qwen3.6-27B", 26_895_998_464, 48, 16),
        ("Qwen/Qwen3.5-397B-A17B", 396_346_350_336, 45, 15),
        ("Qwen/Qwen3.5-4B", 4_205_751_296, 24, 8),  # 4.20575 B as llama.cpp counts it
        ("nvidia/Nemotron-H-8B-Base-8K", 8_100_852_736, 24, 4),
        ("ibm-granite/granite-4.0-h-small", 32_207_337_984, 36, 4),
        ("LiquidAI/LFM2-1.2B", 1_170_340_608, 10, 6),
        ("moonshotai/Kimi-Linear-48B-A3B-Instruct", 49_122_681_728, 20, 7),
        ("deepseek-ai/DeepSeek-V4-Flash", 284_334_567_511, 0, 43),
        ("google/gemma-4-26B-A4B-it", 25_233_141_790, 0, 30),  # 25.2331 B as llama.cpp counts it
        ("Deci/DeciLM-7B", 7_043_551_232, 0, 32),
        ("google/recurrentgemma-2b", 2_682_862_080, 18, 8),
        ("arcee-ai/Trinity-Mini", 26_123_974_400, 0, 32),
        ("inclusionAI/Ling-1T", 999_705_328_640, 0, 80),
        ("MiniMaxAI/MiniMax-M3", 426_174_572_928, 0, 60),
        ("moonshotai/Kimi-K3", 2_779_481_795_168, 69, 24),
        ("nvidia/Llama-3_3-Nemotron-Super-49B-v1", 49_867_145_216, 0, 49),  # 31 layers have no attention
    ],
)
def test_totals_and_kinds(model_id: str, total: int, linear: int, attending: int) -> None:
    model = ir(model_id)
    assert model.parameters == total
    counts = {
        kind: sum(
            len(b.layers) for b in model.blocks if (b.attention.kind == "linear") == (kind == "linear") and b.attention.kind != "none"
        )
        for kind in ("linear", "other")
    }
    assert (counts["linear"], counts["other"]) == (linear, attending)


def test_a_recurrent_layer_keeps_a_state_and_no_cache() -> None:
    delta = attention(ir("Qwen/Qwen3.5-35B-A3B"), "linear")
    assert (delta.heads, delta.kv_heads, delta.kv_elements_per_token) == (32, 0, 0)
    # 32 value heads of 128 x 128, and three steps of 2 x 16 x 128 + 32 x 128 channels.
    assert delta.state_elements == 32 * 128 * 128 + 3 * 8192
    mamba = attention(ir("nvidia/NVIDIA-Nemotron-3-Nano-30B-A3B-BF16"), "linear")
    assert (mamba.heads, mamba.state_elements) == (64, 64 * 64 * 128 + 3 * (64 * 64 + 2 * 8 * 128))
    assert attention(ir("LiquidAI/LFM2-1.2B"), "linear").state_elements == 2 * 2048
    assert all(b.attention.state_elements == 0 for b in ir("Qwen/Qwen3-8B").blocks)


def test_qwen_gates_its_full_layers_and_repeats_one_to_predict() -> None:
    model = ir("Qwen/Qwen3-Next-80B-A3B-Instruct")
    assert layers(model)[:8] == ["linear+moe"] * 3 + ["full+moe"] + ["linear+moe"] * 3 + ["full+moe"]
    assert next(t for t in model.tensors if t.role == "attn_q").shape == (2 * 16 * 256, 2048)
    assert model.mtp_parameters == 1_650_471_424
    assert kv_elements(model) == 12 * 2 * 2 * 256


def test_every_layer_of_nemotron_h_is_one_part() -> None:
    model = ir("nvidia/NVIDIA-Nemotron-3-Super-120B-A12B-BF16")
    assert {b.name for b in model.blocks} == {"linear+none", "none+moe", "full+none"}
    assert kv_elements(model) == 8 * 2 * 2 * 128
    latent = [t for t in model.tensors if t.role == "ffn_up_exps" and t.layer is not None]
    assert {t.shape for t in latent} == {(512, 2688, 1024)}
    for block in model.blocks:
        norms = [t for t in model.tensors if t.layer == block.layers[0] and t.role in ("attn_norm", "ffn_norm")]
        assert len(norms) == 1
    words = {"M": "mamba", "*": "attention", "E": "moe", "-": "mlp"}
    config = small("nemotron_h")
    del config["num_hidden_layers"], config["hybrid_override_pattern"]
    assert build_ir({**config, "layers_block_type": [words[c] for c in "M*E-"]}, "n").blocks == (build_ir(small("nemotron_h"), "n").blocks)


def test_gemma4_has_two_head_widths_and_late_layers_without_keys() -> None:
    model = ir("google/gemma-4-E2B-it")
    assert layers(model).count("full+dense") + layers(model).count("full+dense 2") == 7
    own = [b for b in model.blocks if not b.attention.kv_shared]
    assert sum(len(b.layers) for b in own) == 15
    assert {b.mlp.intermediate for b in own} == {6144}
    assert {b.mlp.intermediate for b in model.blocks if b.attention.kv_shared} == {12288}
    assert kv_elements(model) == 2 * (12 * 256 + 3 * 512)
    assert {t.layer for t in model.tensors if t.role == "attn_k"} == set(range(15))
    table = next(t for t in model.tensors if t.role == "per_layer_token_embd")
    assert (table.group, table.shape) == ("embedding", (262144, 35 * 256))
    full = attention(ir("google/gemma-4-31B-it"), "full")
    assert (full.kv_heads, full.head_dim) == (4, 512)
    # Where keys serve as values too, the weights are one and the cache still holds both.
    assert len({t.layer for t in ir("google/gemma-4-31B-it").tensors if t.role == "attn_v"}) == 50
    assert full.kv_elements_per_token == 2 * 4 * 512


def test_sparse_attention_has_an_indexer_that_several_layers_may_share() -> None:
    model = ir("zai-org/GLM-5.2")
    assert {b.attention.attended for b in model.blocks} == {2048}
    assert {b.attention.index_heads for b in model.blocks} == {0, 32}
    indexed = [b for b in model.blocks if b.attention.index_elements]
    assert sum(len(b.layers) for b in indexed) == len({t.layer for t in model.tensors if t.role == "indexer_proj"} - {None})
    assert {b.attention.kv_elements_per_token for b in model.blocks} == {512 + 64, 512 + 64 + 128}
    assert {b.attention.attended for b in ir("deepseek-ai/DeepSeek-V3").blocks} == {0}


def test_a_compressed_cache_adds_its_share_of_a_token() -> None:
    model = ir("deepseek-ai/DeepSeek-V4-Flash")
    assert "not counted" in model.assumed["compress_ratios"]
    # Of entries that stand for four tokens each the indexer chooses 512; of those that stand for 128 all are read.
    assert {(b.attention.index_elements, b.attention.attended) for b in model.blocks} == {(0, 0), (32, 2048)}
    assert kv_elements(model) == 2 * 512 + 21 * (512 + 128) // 4 + 20 * 512 // 128
    assert attention(model, "sliding").window == 128
    assert model.mtp_parameters == 6_610_048_891
    assert model.native_quant == "MXFP4"


def test_every_mixer_is_cut_by_its_heads() -> None:
    for kind in ("qwen3_next", "qwen3_5", "nemotron_h", "lfm2", "kimi_linear", "granitemoehybrid"):
        model = build_ir(small(kind), kind)
        block = next(b for b in model.blocks if b.attention.kind == "linear")
        mixing = [t for t in model.tensors if t.layer == block.layers[0] and t.group == "attention"]
        assert mixing and sum(t.elements for t in mixing if t.shard == "heads") > 0.8 * sum(t.elements for t in mixing)


HYBRIDS = sorted(
    name
    for name, family in FAMILIES.items()
    if family.mixer != "no"
    or family.indexer != "no"
    or family.window in ("gemma4", "step")
    or family.qkv in ("compressed", "narrow")
    or family.moe == "shortcut"
)
junk = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 300),
    st.text("ME*-x", max_size=5),
    st.floats(),
    st.lists(st.one_of(st.integers(-2, 200), st.sampled_from(["mamba", "full_attention", "moe", "?"])), max_size=6),
    st.dictionaries(st.sampled_from(["num_heads", "kda_layers", "head_dim"]), st.integers(-1, 9), max_size=3),
)


@settings(max_examples=400, deadline=None)
@given(
    st.sampled_from(HYBRIDS),
    st.dictionaries(
        st.sampled_from(
            [
                *SMALL,
                "layer_types",
                "hybrid_override_pattern",
                "layers_block_type",
                "num_kv_shared_layers",
                "global_head_dim",
                "attention_k_eq_v",
                "num_global_key_value_heads",
                "hidden_size_per_layer_input",
                "use_double_wide_mlp",
                "moe_latent_size",
                "indexer_types",
                "num_hash_layers",
                "block_auto_adjust_ff_dim",
                "conv_L_cache",
                "full_attention_interval",
                "num_nextn_predict_layers",
                "time_step_rank",
                "mamba_d_ssm",
                "expand",
                "attn_layer_period",
                "attn_type_list",
                "hybrid_layer_ids",
                "num_mem_blocks",
                "moe_layers_enum",
                "attention_other_setting",
                "head_size",
                "attention_hidden_size",
                "altup_num_inputs",
            ]
        ),
        junk,
        max_size=5,
    ),
)
def test_nonsense_is_refused_in_one_sentence(family: str, changes: dict[str, Any]) -> None:
    try:
        model = build_ir(small(family, **changes), "junk")
    except ScenarioError as error:
        assert "junk" in str(error)
    else:
        assert model.parameters > 0 and min(min(t.shape) for t in model.tensors) > 0
        assert len({t.name for t in model.tensors}) == len(model.tensors)


@pytest.mark.parametrize("family", HYBRIDS)
def test_the_small_config_of_each_type_is_valid(family: str) -> None:
    assert build_ir(small(family), family).parameters > 0


@pytest.mark.parametrize(
    ("kind", "changes", "words"),
    [
        ("nemotron_h", {"hybrid_override_pattern": "MxE-"}, "letters M, E"),
        ("nemotron_h", {"num_hidden_layers": 7}, "4 layers of its pattern"),
        ("qwen3_next", {"layer_types": ["sliding_attention"] * 4}, "recurrent layer or full attention"),
        ("granitemoehybrid", {"layer_types": None}, "which layers are recurrent"),
        ("kimi_linear", {"linear_attn_config": None}, "linear_attn_config"),
        ("kimi_linear", {"linear_attn_config": {"num_heads": 0}}, "linear_attn_config.num_heads"),
        ("gemma4", {"num_kv_shared_layers": 4}, "fewer than the 4 layers"),
        ("deepseek_v4", {"compress_ratios": [4]}, "an entry for layer"),
        ("deepseek_v4", {"o_groups": 3}, "o_groups"),
        ("falcon_h1", {"mamba_head_dim": None, "mamba_d_ssm": 30}, "divisor of the mixer's width 30"),
        ("step3p5", {"attention_other_setting": {"num_attention_heads": 5, "num_attention_groups": 2}}, "attention_other_setting"),
        ("step3p5", {"moe_layers_enum": "1,x"}, "moe_layers_enum"),
        ("zamba2", {"hybrid_layer_ids": []}, "hybrid_layer_ids"),
        ("zamba2", {"hybrid_layer_ids": [9]}, "a part of the 4 layers"),
        ("rwkv7", {"head_size": 60}, "head_size"),
    ],
)
def test_refusals_name_the_field(kind: str, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ScenarioError, match=words):
        build_ir(small(kind, **changes), "broken")
