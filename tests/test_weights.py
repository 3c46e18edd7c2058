"""Bytes of weights: against published files, and what must hold for every model and quantisation."""

from __future__ import annotations

import functools
import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.catalog.files import DATA
from core.catalog.quants import format_named, formats, quant, quants
from core.errors import CatalogError
from core.ir import ModelIR, Tensor
from core.ir_build import build_ir
from core.quantity import total
from core.units import GIB
from core.weights import tensor_bytes, tensor_formats, weight_parts, weight_table

GOLDEN = json.loads((DATA / "golden" / "gguf_sizes.json").read_text(encoding="utf-8"))


@functools.cache
def model(name: str) -> ModelIR:
    return build_ir(GOLDEN["models"][name], name)


def dense(hidden: int, layers: int, kv_heads: int, intermediate: int, tied: bool) -> ModelIR:
    config = GOLDEN["models"]["Llama-3.1-8B"] | {
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": hidden // 64,
        "head_dim": 64,
        "num_key_value_heads": kv_heads,
        "intermediate_size": intermediate,
        "tie_word_embeddings": tied,
        "vocab_size": 5000,
    }
    return build_ir(config, "drawn")


def named(ir: ModelIR, quant_id: str, role: str) -> list[str]:
    return [f for t, f in zip(ir.tensors, tensor_formats(ir, quant(quant_id)), strict=True) if t.role == role]


@pytest.mark.parametrize("case", GOLDEN["cases"], ids=lambda c: f"{c['model']} {c['quant']}")
def test_published_sizes(case: dict[str, Any]) -> None:
    table = weight_table(model(case["model"]), case["quant"])
    if "bits_per_weight" in case:
        assert table.bits_per_weight == pytest.approx(case["bits_per_weight"], rel=case["tolerance"])
        assert table.bytes / GIB == pytest.approx(case["gib"], rel=0.01)
    else:
        assert table.bytes / GIB == pytest.approx(case["gib"], rel=case["tolerance"])


def test_golden_cites_every_case() -> None:
    assert {case["source"] for case in GOLDEN["cases"]} <= GOLDEN["sources"].keys()
    assert len(GOLDEN["cases"]) > 70


def test_more_bits_pattern() -> None:
    """Layers of Llama 3.1 8B whose attn_v is Q6_K in Q4_K_M: the first and last four, and every third between."""
    high = [i for i, f in enumerate(named(model("Llama-3.1-8B"), "Q4_K_M", "attn_v")) if f == "q6_k"]
    assert high == [0, 1, 2, 3, 6, 9, 12, 15, 18, 21, 24, 27, 28, 29, 30, 31]


def test_fallbacks_of_odd_rows() -> None:
    ir = model("Qwen2.5-0.5B, head stored")
    assert set(named(ir, "Q4_K_S", "attn_q")) == {"q5_0"}
    assert set(named(ir, "IQ3_M", "ffn_up")) == {"iq4_nl"}
    assert named(ir, "Q4_K_M", "output") == ["q8_0"]
    assert set(named(dense(512, 2, 4, 1000, False), "Q4_K_S", "ffn_down")) == {"f16"}


def test_router_norms_and_biases_stay_f32_in_gguf() -> None:
    ir = model("gpt-oss-120b")
    for role in ("ffn_gate_inp", "attn_norm", "ffn_down_exps_bias", "attn_sinks"):
        assert set(named(ir, "Q4_K_M", role)) == {"f32"}


def test_eight_experts_rule() -> None:
    config = GOLDEN["models"]["Llama-3.1-8B"] | {
        "model_type": "mixtral",
        "num_local_experts": 8,
        "num_experts_per_tok": 2,
        "sliding_window": None,
    }
    ir = build_ir(config, "eight experts")
    assert set(named(ir, "Q4_K_M", "attn_v")) == {"q8_0"}
    assert set(named(ir, "Q4_K_M", "attn_k")) == {"q8_0"}
    assert set(named(ir, "Q4_K_M", "attn_output")) == {"q5_k"}
    assert set(named(ir, "F16", "attn_v")) == {"f16"}


@pytest.mark.parametrize("name", ["AWQ-INT4", "GPTQ-INT4", "FP8", "NVFP4", "W4A16", "INT8"])
def test_safetensors_leave_embeddings_and_head_at_16_bits(name: str) -> None:
    ir = model("Llama-3.1-8B")
    table = weight_table(ir, name)
    assert table.where(group=("embedding", "head")) == 2 * 2 * ir.vocab * ir.hidden
    assert table.where(group="norm") == 2 * sum(t.elements for t in ir.tensors if t.group == "norm")
    assert table.where(group=("attention", "mlp")) < 1.1 * sum(t.elements for t in ir.tensors if t.group in ("attention", "mlp"))


def test_awq_bits() -> None:
    """4 bits, 16 per 128 for the scale, 4 per 128 for the zero: 4.15625."""
    ir = model("Llama-3.1-8B")
    elements = sum(t.elements for t in ir.tensors if t.group == "mlp")
    assert weight_table(ir, "AWQ").where(group="mlp") * 8 / elements == 4.15625


def test_fp8_tiles_are_counted_whole() -> None:
    tensor = Tensor("w", (130, 257), "mlp", "ffn_up", "columns")
    assert tensor_bytes(tensor, "fp8_block") == 130 * 257 + 2 * 3 * 4
    assert tensor_bytes(tensor, "fp8") == 130 * 257 + 4
    experts = Tensor("w", (8, 128, 128), "experts", "ffn_up_exps", "experts")
    assert tensor_bytes(experts, "nvfp4") == 8 * (128 * 128 // 16 * 9 + 8)
    assert tensor_bytes(experts, "int8") == 8 * 128 * (128 + 4)


def test_mxfp4_is_for_experts_only_where_there_are_experts() -> None:
    ir = model("gpt-oss-20b")
    assert set(named(ir, "MXFP4", "ffn_up_exps")) == {"mxfp4"}
    assert set(named(ir, "MXFP4", "attn_q")) == {"bf16"}
    assert set(named(model("Llama-3.1-8B"), "MXFP4", "attn_q")) == {"mxfp4"}


def test_all_experts_are_weights() -> None:
    ir = model("Qwen3-30B-A3B")
    assert weight_table(ir, "BF16").where(group="experts") == 2 * 128 * 48 * 3 * 768 * 2048


def test_multi_token_prediction_is_apart() -> None:
    ir = model("DeepSeek-R1")
    table = weight_table(ir, "FP8-BLOCK")
    assert ir.mtp_parameters > 1e10
    assert table.where(group="mtp") > 1e10
    assert table.bytes == table.where() == sum(float(p) for p in weight_parts(table))
    assert table.elements == ir.parameters


def test_where_and_unknown() -> None:
    ir = model("Llama-3.1-8B")
    table = weight_table(ir, "q4km")
    assert table is weight_table(ir, "Q4_K - Medium")
    assert table.where(shard="vocab") == table.where(group=("embedding", "head"))
    assert table.where(block=ir.blocks[0].name) + table.where(block=None, group=("embedding", "head")) < table.bytes
    with pytest.raises(CatalogError, match="Q4_K_M"):
        weight_table(ir, "Q4_K_MM")


@settings(max_examples=60, deadline=None)
@given(
    hidden=st.sampled_from([512, 640, 896, 1024]),
    layers=st.integers(1, 24),
    kv_heads=st.sampled_from([1, 2]),
    intermediate=st.sampled_from([1000, 1408, 2048, 2736]),
    tied=st.booleans(),
    name=st.sampled_from(sorted(quants())),
)
def test_any_model_in_any_quantisation(hidden: int, layers: int, kv_heads: int, intermediate: int, tied: bool, name: str) -> None:
    ir = dense(hidden, layers, kv_heads, intermediate, tied)
    scheme = quant(name)
    table = weight_table(ir, name)
    chosen = tensor_formats(ir, scheme)
    assert all(f.partition(":")[0] in formats() for f in chosen)
    assert all(format_named(f).fits(t.shape[-1]) for t, f in zip(ir.tensors, chosen, strict=True) if scheme.recipe is not None)
    assert 1 < table.bits_per_weight <= 32
    assert table.bytes == sum(tensor_bytes(t, f) for t, f in zip(ir.tensors, chosen, strict=True))
    assert table.elements == ir.parameters
    assert sum(table.where(group=g) for g in {t.group for t in ir.tensors}) == table.bytes
    assert table.bytes >= min(format_named(f).bits for f in chosen) / 8 * ir.parameters * (1 - 1e-12)
    cited = total(weight_parts(table), "weights")
    assert cited.unit == "B" and math.isclose(cited.value, table.bytes, rel_tol=1e-12)
    assert all(leaf.source is not None for leaf in cited.leaves())


@settings(max_examples=20, deadline=None)
@given(hidden=st.sampled_from([512, 1024, 1536]), layers=st.integers(1, 40), tied=st.booleans())
def test_more_bits_are_never_smaller(hidden: int, layers: int, tied: bool) -> None:
    ir = dense(hidden, layers, 2, 2048, tied)
    for ladder in (
        ("Q2_K_S", "Q2_K", "Q3_K_S", "Q3_K_M", "Q3_K_L", "Q4_K_S", "Q4_K_M", "Q5_K_S", "Q5_K_M", "Q6_K", "Q8_0", "F16"),
        ("IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ2_M"),
        ("IQ3_XS", "IQ3_S", "IQ3_M", "IQ4_XS"),
        ("Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0"),
        ("W4A16", "AWQ-INT4", "AWQ-INT4-G64", "AWQ-INT4-G32", "FP8", "INT8", "GPTQ-INT8", "FP16", "FP32"),
        ("MLX-2bit", "MLX-3bit", "MLX-4bit", "MLX-5bit", "MLX-6bit", "MLX-8bit", "MLX-BF16"),
        ("EXL3-2.0bpw", "EXL3-2.25bpw", "EXL3-4.0bpw", "EXL3-8.0bpw"),
    ):
        sizes = [weight_table(ir, name).bytes for name in ladder]
        assert sizes == sorted(sizes), ladder
