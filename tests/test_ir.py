"""The IR: parameters, active parameters, KV cache, layer kinds and refusals."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.catalog.files import DATA
from core.catalog.models import ir, models
from core.errors import ScenarioError
from core.ir import ModelIR
from core.ir_build import build_ir
from core.ir_families import FAMILIES

GOLDEN = json.loads((DATA / "golden" / "parameters.json").read_text())["cases"]

LLAMA: dict[str, Any] = {
    "model_type": "llama",
    "hidden_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 96,
    "vocab_size": 100,
    "max_position_embeddings": 2048,
    "tie_word_embeddings": False,
}
MLA = {"kv_lora_rank": 16, "q_lora_rank": 24, "qk_nope_head_dim": 8, "qk_rope_head_dim": 4, "v_head_dim": 6}


def group(model: ModelIR, name: str) -> int:
    return sum(t.elements for t in model.tensors if t.group == name)


def kinds(model: ModelIR) -> list[str]:
    """Block name of each layer."""
    return [next(b.name for b in model.blocks if layer in b.layers) for layer in range(model.layers)]


def windows(model: ModelIR) -> list[int | None]:
    return [next(b.attention.window for b in model.blocks if layer in b.layers) for layer in range(model.layers)]


def kv_elements(model: ModelIR) -> int:
    return sum(len(b.layers) * b.attention.kv_elements_per_token for b in model.blocks)


def measured(model: ModelIR, case: dict[str, Any]) -> float:
    match case["quantity"]:
        case "parameters":
            return model.parameters
        case "parameters_with_mtp":
            return model.parameters + model.mtp_parameters
        case "active_parameters":
            return model.active_parameters
        case "active_parameters_without_embedding":
            return model.active_parameters - group(model, "embedding")
        case "bf16_bytes":
            return 2 * model.parameters
        case "embedding_bf16_bytes":
            return 2 * group(model, "embedding")
        case "attention_bf16_bytes_per_layer":
            return 2 * group(model, "attention") / model.layers
        case "mlp_bf16_bytes_per_layer":
            return 2 * group(model, "mlp") / model.layers
        case "kv_bytes":
            return kv_elements(model) * case["tokens"] * case["bytes_per_element"]
    raise AssertionError(case["quantity"])


@pytest.mark.parametrize("case", GOLDEN, ids=lambda c: f"{c['model'].split('/')[1]}-{c['quantity']}")
def test_golden(case: dict[str, Any]) -> None:
    assert measured(ir(case["model"]), case) == pytest.approx(case["expected"], rel=case["tolerance"]), case["why"]


# ---- layer kinds ---------------------------------------------------------------------------------------------------


def test_gemma3_has_five_sliding_layers_to_one_full() -> None:
    model = ir("google/gemma-3-27b-it")
    assert windows(model)[:12] == [1024] * 5 + [None] + [1024] * 5 + [None]
    assert sum(w is None for w in windows(model)) == 10


def test_gemma2_and_gpt_oss_alternate_from_a_sliding_layer() -> None:
    assert windows(ir("google/gemma-2-9b"))[:4] == [4096, None, 4096, None]
    assert windows(ir("openai/gpt-oss-20b"))[:4] == [128, None, 128, None]
    assert any(t.role == "attn_sinks" for t in ir("openai/gpt-oss-20b").tensors)


def test_llama4_is_chunked_in_three_of_four_layers_and_interleaves_experts() -> None:
    maverick, scout = ir("meta-llama/Llama-4-Maverick-17B-128E-Instruct"), ir("meta-llama/Llama-4-Scout-17B-16E")
    assert windows(maverick)[:4] == [8192, 8192, 8192, None]
    assert [k.split("+")[1].split()[0] for k in kinds(maverick)][:4] == ["dense", "moe", "dense", "moe"]
    assert {b.mlp.kind for b in scout.blocks} == {"moe"}


def test_deepseek_starts_dense_and_has_a_prediction_module() -> None:
    model = ir("deepseek-ai/DeepSeek-V3")
    assert kinds(model) == ["mla+dense"] * 3 + ["mla+moe"] * 58
    assert {t.layer for t in model.tensors if t.group == "mtp"} == {None}
    assert model.native_quant == "FP8-BLOCK"
    roles = {t.role: t for t in model.tensors if t.layer == 10}
    assert roles["attn_kv_a_mqa"].shard == roles["attn_q_a"].shard == roles["ffn_gate_inp"].shard == "replicated"
    assert roles["attn_kv_b"].shard == roles["attn_q_b"].shard == "heads"
    assert roles["ffn_up_exps"].shape == (256, 2048, 7168)


def test_mistral_slides_by_its_class_default_and_not_when_null() -> None:
    sizes = {**LLAMA, "model_type": "mistral", "max_position_embeddings": 32768}
    assert windows(build_ir(sizes, "m")) == [4096] * 3
    assert windows(build_ir({**sizes, "sliding_window": None}, "m")) == [None] * 3
    # A window that the context cannot fill is none.
    assert windows(build_ir({**sizes, "sliding_window": 32768}, "m")) == [None] * 3


def test_qwen2_slides_only_when_switched_on() -> None:
    sizes = {**LLAMA, "model_type": "qwen2", "sliding_window": 512, "max_window_layers": 2}
    assert windows(build_ir(sizes, "q")) == [None] * 3
    assert windows(build_ir({**sizes, "use_sliding_window": True}, "q")) == [None, None, 512]


def test_layer_types_go_before_the_family_rule() -> None:
    types = ["sliding_attention", "full_attention", "sliding_attention"]
    listed = {**LLAMA, "sliding_window": 64, "layer_types": types}
    assert kinds(build_ir(listed, "l")) == ["sliding+dense", "full+dense", "sliding+dense"]
    with pytest.raises(ScenarioError, match="linear_attention"):
        build_ir({**listed, "layer_types": ["linear_attention"] * 3}, "l")


def test_sparse_step_and_dense_exceptions() -> None:
    sizes = {
        **LLAMA,
        "model_type": "qwen3_moe",
        "num_hidden_layers": 4,
        "num_experts": 8,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 32,
        "decoder_sparse_step": 2,
        "mlp_only_layers": [3],
    }
    assert [k.split("+")[1] for k in kinds(build_ir(sizes, "q"))] == ["dense", "moe", "dense", "dense"]


def test_kv_heads_may_differ_by_layer() -> None:
    model = build_ir({**LLAMA, "model_type": "deci", "num_key_value_heads_per_layer": [4, 2, 1]}, "d")
    assert [b.attention.kv_heads for b in model.blocks] == [4, 2, 1]
    assert len({b.name for b in model.blocks}) == 3
    assert kv_elements(model) == 2 * 16 * (4 + 2 + 1)


def test_mimo_v2_has_other_heads_in_sliding_layers() -> None:
    model = ir("XiaomiMiMo/MiMo-V2-Flash")
    full, sliding = (next(b for b in model.blocks if b.attention.kind == kind) for kind in ("full", "sliding"))
    assert (full.attention.kv_heads, sliding.attention.kv_heads) == (4, 8)
    assert full.attention.kv_elements_per_token == 4 * (192 + 128)


# ---- tensors -------------------------------------------------------------------------------------------------------


def test_tied_embeddings_have_no_head_and_absent_means_the_family_default() -> None:
    silent = {k: v for k, v in LLAMA.items() if k != "tie_word_embeddings"}
    untied, tied = build_ir(silent, "l"), build_ir({**silent, "model_type": "gemma", "head_dim": 16}, "g")
    assert not untied.tied_embeddings and group(untied, "head") == 6400
    assert tied.tied_embeddings and group(tied, "head") == 0
    assert "tie_word_embeddings" in untied.assumed and "tie_word_embeddings" in tied.assumed
    assert "tie_word_embeddings" not in build_ir(LLAMA, "l").assumed


def test_text_config_is_read_with_what_stands_beside_it() -> None:
    text = {k: v for k, v in LLAMA.items() if k not in ("model_type", "tie_word_embeddings")}
    nested = {
        "model_type": "qwen3_vl",
        "tie_word_embeddings": True,
        "dtype": "float16",
        "text_config": {**text, "model_type": "qwen3_vl_text", "head_dim": 16},
    }
    model = build_ir(nested, "q")
    assert (model.model_type, model.tied_embeddings, model.native_dtype) == ("qwen3", True, "float16")


def test_order_of_execution() -> None:
    model = build_ir(LLAMA, "l")
    first = [t.role for t in model.tensors if t.layer == 0]
    assert first == [
        "attn_norm",
        "attn_q",
        "attn_k",
        "attn_v",
        "attn_output",
        "ffn_norm",
        "ffn_gate",
        "ffn_up",
        "ffn_down",
    ]
    assert model.tensors[0].role == "token_embd"
    assert [t.role for t in model.tensors[-2:]] == ["output_norm", "output"]
    layers = [t.layer for t in model.tensors if t.layer is not None]
    assert layers == sorted(layers) and set(layers) == {0, 1, 2}
    assert {t.role: t.shard for t in model.tensors if t.layer == 0} == {
        "attn_norm": "replicated",
        "attn_q": "heads",
        "attn_k": "kv_heads",
        "attn_v": "kv_heads",
        "attn_output": "heads",
        "ffn_norm": "replicated",
        "ffn_gate": "columns",
        "ffn_up": "columns",
        "ffn_down": "columns",
    }


def test_biases_of_summed_layers_are_not_cut() -> None:
    roles = {t.role: t.shard for t in ir("microsoft/phi-2").tensors if t.layer == 0}
    assert roles["attn_q_bias"] == "heads" and roles["ffn_up_bias"] == "columns"
    assert roles["attn_output_bias"] == roles["ffn_down_bias"] == "replicated"


@pytest.mark.parametrize("model_id", sorted(models()))
def test_every_catalog_model_builds_consistently(model_id: str) -> None:
    model = ir(model_id)
    assert sorted(layer for b in model.blocks for layer in b.layers) == list(range(model.layers))
    names = {b.name for b in model.blocks}
    assert len(names) == len(model.blocks)
    assert len({t.name for t in model.tensors}) == len(model.tensors)
    for tensor in model.tensors:
        assert (tensor.block in names) == (tensor.layer is not None)
        assert min(tensor.shape) > 0
    assert 0 < model.active_parameters <= model.parameters
    assert model.tied_embeddings == (group(model, "head") == 0)
    assert model.max_context >= 256


# ---- properties ----------------------------------------------------------------------------------------------------


@st.composite
def llamas(draw: st.DrawFn) -> dict[str, Any]:
    kv = draw(st.integers(1, 8))
    heads = kv * draw(st.integers(1, 4))
    return {
        "model_type": draw(st.sampled_from(["llama", "qwen2", "mistral", "granite"])),
        "hidden_size": draw(st.integers(1, 512)),
        "num_hidden_layers": draw(st.integers(1, 12)),
        "num_attention_heads": heads,
        "num_key_value_heads": kv,
        "head_dim": draw(st.integers(1, 128)),
        "intermediate_size": draw(st.integers(1, 2048)),
        "vocab_size": draw(st.integers(1, 5000)),
        "max_position_embeddings": draw(st.integers(1, 10**6)),
        "tie_word_embeddings": draw(st.booleans()),
    }


@settings(max_examples=60, deadline=None)
@given(llamas())
def test_a_valid_llama_builds_with_the_sum_that_its_sizes_give(config: dict[str, Any]) -> None:
    model = build_ir(config, "small")
    h, heads, kv, d = (config[k] for k in ("hidden_size", "num_attention_heads", "num_key_value_heads", "head_dim"))
    bias = (heads + 2 * kv) * d if config["model_type"] == "qwen2" else 0
    layer = 2 * h * heads * d + 2 * h * kv * d + 3 * h * config["intermediate_size"] + 2 * h + bias
    tables = config["vocab_size"] * h * (1 if config["tie_word_embeddings"] else 2)
    assert model.parameters == config["num_hidden_layers"] * layer + tables + h
    assert sum(t.elements for t in model.tensors) == model.parameters == model.active_parameters
    assert kv_elements(model) == config["num_hidden_layers"] * 2 * kv * d


@settings(max_examples=30, deadline=None)
@given(llamas())
def test_doubling_layers_doubles_layer_parameters_and_kv(config: dict[str, Any]) -> None:
    one = build_ir(config, "one")
    two = build_ir({**config, "num_hidden_layers": 2 * config["num_hidden_layers"]}, "two")

    def in_layers(model: ModelIR) -> int:
        return sum(t.elements for t in model.tensors if t.layer is not None)

    assert in_layers(two) == 2 * in_layers(one)
    assert two.parameters - in_layers(two) == one.parameters - in_layers(one)
    assert kv_elements(two) == 2 * kv_elements(one)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 16), st.integers(1, 16), st.integers(0, 3))
def test_active_parameters_count_the_chosen_experts(experts: int, top_k: int, shared: int) -> None:
    config = {
        **LLAMA,
        **MLA,
        "model_type": "deepseek_v3",
        "n_routed_experts": experts,
        "num_experts_per_tok": top_k,
        "moe_intermediate_size": 32,
        "n_shared_experts": shared,
        "first_k_dense_replace": 1,
    }
    if top_k > experts:
        with pytest.raises(ScenarioError, match="num_experts_per_tok"):
            build_ir(config, "d")
        return
    model = build_ir(config, "d")
    assert model.parameters - model.active_parameters == 2 * (experts - top_k) * 3 * 64 * 32
    assert group(model, "shared_experts") == 2 * 3 * 64 * 32 * shared


junk = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 300),
    st.floats(allow_nan=True),
    st.text(max_size=5),
    st.lists(st.integers(-2, 9), max_size=4),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(sorted(FAMILIES)),
    st.dictionaries(
        st.sampled_from(
            [
                *LLAMA,
                *MLA,
                "head_dim",
                "layer_types",
                "sliding_window",
                "sliding_window_pattern",
                "num_experts",
                "num_experts_per_tok",
                "moe_intermediate_size",
                "moe_layer_freq",
                "mlp_only_layers",
                "text_config",
                "quantization_config",
                "num_key_value_heads_per_layer",
                "torch_dtype",
                "attn_config",
                "hybrid_layer_pattern",
                "no_rope_layers",
                "use_sliding_window",
            ]
        ),
        junk,
        max_size=6,
    ),
)
def test_nonsense_is_refused_in_one_sentence(family: str, changes: dict[str, Any]) -> None:
    config = {
        **LLAMA,
        **MLA,
        "num_experts": 4,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 8,
        "shared_expert_intermediate_size": 8,
        "intermediate_size_mlp": 8,
        "model_type": family,
        **changes,
    }
    try:
        model = build_ir(config, "junk")
    except ScenarioError as error:
        assert "junk" in str(error)
    else:
        assert model.parameters > 0 and min(min(t.shape) for t in model.tensors) > 0


# ---- refusals ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model_type": "mamba3", "mamba_d_state": 16}, "'mamba3'.*not supported.*'mamba_d_state'.*like name are mamba, mamba2, jamba"),
        ({"model_type": "bert", "architectures": ["BertForMaskedLM"]}, "BertForMaskedLM.*does not generate text"),
        ({"model_type": None}, "model_type"),
        ({"hidden_size": None}, "hidden_size"),
        ({"intermediate_size": None}, "intermediate_size"),
        ({"vocab_size": None}, "vocab_size"),
        ({"num_hidden_layers": 0}, "num_hidden_layers = 0"),
        ({"num_hidden_layers": 10**9}, "num_hidden_layers"),
        ({"hidden_size": -64}, "hidden_size = -64"),
        ({"hidden_size": "64"}, "hidden_size = '64'.*whole number"),
        ({"hidden_size": 64.5}, "hidden_size"),
        ({"num_key_value_heads": 3}, "num_key_value_heads = 3.*divisor"),
        ({"hidden_size": 66}, "head_dim"),
        ({"tie_word_embeddings": "yes"}, "tie_word_embeddings"),
    ],
)
def test_refusals_name_the_field(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ScenarioError, match=words):
        build_ir({**LLAMA, **change}, "broken")


def test_the_published_format_is_named_by_the_quantisation_catalog() -> None:
    import tomllib

    known = set(tomllib.loads((DATA / "catalog" / "quants" / "schemes.toml").read_text()))
    found = {ir(model_id).native_quant for model_id in models()} - {None}
    assert found and found <= known


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ({"quant_method": "fp8", "weight_block_size": [128, 128]}, "FP8-BLOCK"),
        ({"quant_method": "awq", "bits": 4, "group_size": 128}, "AWQ-INT4"),
        ({"quant_method": "gptq", "bits": 4, "group_size": 32}, "GPTQ-INT4-G32"),
        ({"quant_method": "mxfp4"}, "MXFP4"),
        ({"quant_method": "modelopt", "quant_algo": "NVFP4", "ignore": ["lm_head"]}, "NVFP4"),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, "BNB-INT4"),
        ({"quant_method": "somethingnew"}, None),
    ],
)
def test_quantization_configs(raw: dict[str, Any], expected: str | None) -> None:
    model = build_ir({**LLAMA, "quantization_config": raw}, "l")
    assert model.native_quant == expected
    assert ("quantization_config" in model.assumed) == (expected is None)
