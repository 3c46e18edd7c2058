"""The catalog of quantisations: layouts, names, sources."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.catalog.files import source
from core.catalog.quants import (
    Format,
    QuantScheme,
    format_named,
    formats,
    kv_dtype,
    kv_dtypes,
    quant,
    quants,
    recipe_book,
    search_quants,
)
from core.errors import CatalogError

# Bits per weight as the formats' authors state them.
STATED_BITS = {
    "f32": 32, "f16": 16, "bf16": 16, "fp8": 8, "q4_0": 4.5, "q4_1": 5.0, "q5_0": 5.5, "q5_1": 6.0, "q8_0": 8.5,
    "q2_k": 2.625, "q3_k": 3.4375, "q4_k": 4.5, "q5_k": 5.5, "q6_k": 6.5625, "iq1_s": 1.5625, "iq1_m": 1.75,
    "iq2_xxs": 2.0625, "iq2_xs": 2.3125, "iq2_s": 2.5625, "iq3_xxs": 3.0625, "iq3_s": 3.4375, "iq4_nl": 4.5,
    "iq4_xs": 4.25, "tq1_0": 1.6875, "tq2_0": 2.0625, "mxfp4": 4.25, "nvfp4": 4.5, "int4_g128": 4.15625,
    "int4_g32": 4.625, "int4_g128_sym": 4.125, "mlx_4": 4.5, "mlx_8": 8.5, "mlx_3": 3.5, "nf4": 4.5, "iq2_k": 2.375,
    "iq3_k": 3.4375, "iq4_k": 4.5, "iq4_ks": 4.25,
}  # fmt: skip

# Every label that the measured runs carry, and the scheme it means.
RUN_LABELS = {
    "FP16": "FP16", "FP8": "FP8", "Q4_K_M": "Q4_K_M", "NVFP4": "NVFP4", "BF16": "BF16", "MXFP4": "MXFP4",
    "Q4_K_XL": "Q4_K_XL", "Q8_K_XL": "Q8_K_XL", "MLX-4bit": "MLX-4bit", "AWQ-INT4": "AWQ-INT4", "Q4_0": "Q4_0",
    "Q8_0": "Q8_0", "Q6_K": "Q6_K", "Q6_K_XL": "Q6_K_XL", "Q5_K_M": "Q5_K_M", "Q3_K_M": "Q3_K_M",
    "GPTQ-INT4": "GPTQ-INT4", "INT4-WO": "INT4-WO", "Q4_K_S": "Q4_K_S", "Q3_K_S": "Q3_K_S", "Q2_K": "Q2_K",
    "GPTQ-INT8": "GPTQ-INT8", "Q3_K_XL": "Q3_K_XL", "IQ2_XXS": "IQ2_XXS", "IQ3_XXS": "IQ3_XXS", "F16": "F16",
    "W4A16": "W4A16", "Q5_K_S": "Q5_K_S", "AUTOROUND-INT4": "AUTOROUND-INT4", "W8A8": "INT8", "IQ3_M": "IQ3_M",
    "Q3_K_L": "Q3_K_L", "INT8": "INT8", "IQ4_NL": "IQ4_NL", "Q2_K_XL": "Q2_K_XL", "Q5_K_XL": "Q5_K_XL",
    "exl3-6.0bpw-mcg": "EXL3-6.0bpw", "W4A16-g128": "W4A16", "INT4": "INT4-WO", "IQ4_XS_R8": "IQ4_XS",
    "IQ3_XS": "IQ3_XS", "Q4_1": "Q4_1", "Q5_0": "Q5_0", "Q5_1": "Q5_1", "F32": "F32",
    "exl3-4.0bpw-mul1": "EXL3-4.0bpw", "IQ4_K_R4": "IQ4_K", "IQ3_K": "IQ3_K", "MLX-8bit": "MLX-8bit",
    "QAT-INT2/4/8": "QAT-INT2/4/8", "Q2_K_R4": "Q2_K", "IQ2_K_R4": "IQ2_K", "EXL2-4.0bpw": "EXL2-4.0bpw",
    "llama.cpp GGUF (alesha-pro fork)": "GGUF-Q4-UNKNOWN", "IQ4_XS": "IQ4_XS", "BNB-INT8": "BNB-INT8",
    "EXL2-3.0bpw": "EXL2-3.0bpw", "exl3-6.0bpw-mul1": "EXL3-6.0bpw", "IQ2_XS_R4": "IQ2_XS", "BNB-INT4": "BNB-INT4",
    "EXL2-8.0bpw": "EXL2-8.0bpw", "EXL2-5.0bpw": "EXL2-5.0bpw", "EXL2-2.5bpw": "EXL2-2.5bpw", "IQ2_M": "IQ2_M",
}  # fmt: skip


@pytest.mark.parametrize("name", STATED_BITS)
def test_bits_follow_from_the_layout(name: str) -> None:
    assert formats()[name].bits == STATED_BITS[name]


def test_every_format_is_cited_and_plausible() -> None:
    for stored in formats().values():
        assert 1 < stored.bits <= 32, stored.id
        assert source(stored.source).title
        if stored.element_bits is not None:
            assert stored.bits >= stored.element_bits, stored.id


def test_every_scheme_names_what_exists() -> None:
    for scheme in quants().values():
        assert scheme.cite().title
        if scheme.recipe is not None:
            assert scheme.recipe in recipe_book().recipes and scheme.container == "gguf", scheme.id
        for name in (scheme.tensors or {}).values():
            assert format_named(name).bits > 1
    for recipe in recipe_book().recipes.values():
        for name in (recipe.base, recipe.output, recipe.token_embd or recipe.base, *(r.format for r in recipe.rules)):
            assert name in formats()
    for pair in recipe_book().fallback.items():
        assert set(pair) <= formats().keys()


def test_dynamic_mixes_are_guesses() -> None:
    assert all(quant(f"UD-Q{n}_K_XL").cite().guess for n in (2, 3, 4, 5, 6, 8))
    assert not quant("Q4_K_M").cite().guess
    assert not quant("AWQ-INT4").cite().guess


@pytest.mark.parametrize("label", RUN_LABELS)
def test_labels_of_runs(label: str) -> None:
    assert quant(label).id == RUN_LABELS[label]
    assert quant(label.lower().replace("_", "-")).id == RUN_LABELS[label]


def test_every_id_resolves_to_itself() -> None:
    for key, scheme in quants().items():
        assert quant(key) == scheme and scheme.id == key
    for key in kv_dtypes():
        assert kv_dtype(key).id == key


def test_an_alias_means_one_scheme_a_container() -> None:
    seen: dict[tuple[str, str], str] = {}
    for scheme in quants().values():
        for name in {re.sub(r"[-_ ]", "", n.lower()) for n in (scheme.id, *scheme.aliases)}:
            assert seen.setdefault((scheme.container, name), scheme.id) == scheme.id, name


def test_container_decides_where_a_name_means_two() -> None:
    assert quant("MXFP4").container == "safetensors"
    assert quant("MXFP4", "gguf").id == "MXFP4_MOE"
    assert quant("FP16", "gguf").id == "F16"
    assert quant("BF16", "gguf").id == "GGUF-BF16"
    assert quant("AWQ", "gguf").id == "AWQ-INT4"


@given(st.integers(10, 120))
def test_exllama_widths_come_from_the_name(tenths: int) -> None:
    scheme = quant(f"exl3-{tenths / 10}bpw")
    assert scheme.tensors is not None
    assert format_named(scheme.tensors["linear"]).bits == pytest.approx(tenths / 10)
    assert quant(scheme.id) == scheme


@pytest.mark.parametrize("name", ["Q4_K_MM", "exl3-99bpw", "", "OTHER"])
def test_unknown_quantisation_is_one_sentence_with_help(name: str) -> None:
    with pytest.raises(CatalogError, match="nearest are"):
        quant(name)


def test_unknown_names_the_nearest() -> None:
    with pytest.raises(CatalogError, match="Q4_K_M"):
        quant("Q4_K_MM")
    with pytest.raises(CatalogError, match="q8_0"):
        kv_dtype("q8_1")
    with pytest.raises(CatalogError):
        format_named("q4_z")


def test_search() -> None:
    assert search_quants("q4km")[0].id == "Q4_K_M"
    assert "AWQ-INT4" in [s.id for s in search_quants("awq")[:3]]
    assert search_quants("zzzzqqqq") == []


@pytest.mark.parametrize(
    ("name", "expected"),
    [("auto", 2), ("FP16", 2), ("auto (BF16)", 2), ("bfloat16", 2), ("default", 2), ("f32", 4), ("fp8", 1), ("FP8", 1),
     ("fp8_e4m3", 1), ("q8_0", 34 / 32), ("q4_0", 18 / 32), ("q5_1", 24 / 32), ("q8_0/q8_0", 34 / 32), ("f16/f16", 2),
     ("q8_0/q4_0", 26 / 32), ("INT8", 1), ("turbo3-symmetric-on", 3 / 8), ("tq3.5bit", 3.5 / 8), ("q8", 34 / 32)],
)  # fmt: skip
def test_kv_bytes(name: str, expected: float) -> None:
    assert kv_dtype(name).bytes_per_element == expected
    assert kv_dtype(name).cited.value == expected


def test_kv_pair_keeps_its_sides() -> None:
    pair = kv_dtype("q8_0/q4_0")
    assert (pair.key_bytes, pair.value_bytes) == (34 / 32, 18 / 32)
    assert kv_dtype("turbo4").cited.source.guess  # type: ignore[union-attr]


def test_kv_pairs_of_guesses_are_guesses() -> None:
    assert kv_dtype("f16/turbo3").guess


def test_records_refuse_nonsense() -> None:
    with pytest.raises(ValueError):
        Format(id="x", title="x", block_elements=0, block_bytes=1, source="ieee754")
    with pytest.raises(ValueError, match="either"):
        QuantScheme(id="x", name="x", container="gguf", kernel_class="f16", source="ieee754")
