"""The import of measured losses: what becomes of names, licences and baselines."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path

import pytest

from core.catalog.quality import MEASURED, measured
from harness.import_quality import Left, as_csv, imported, main, model_of, planned, quant_of

COLUMNS = (
    "source", "source_path", "licence", "model_id", "params_b", "quant", "bpw", "size_gib", "metric", "value", "baseline_value",
    "value_uncertainty", "notes",
)  # fmt: skip
README = "llama.cpp examples/perplexity/README.md"
APPENDIX = """Appendix D: Full Quality Lookup Table

llama3.2-3b FP16 0.538 -- (baseline)
llama3.2-3b Q4_K_M 0.624 Negligible
llama3.1-8b Q8_0 0.635 -- (no FP16 baseline)
llama3.1-8b Q2_K 0.590 Acceptable vs Q8_0

Appendix E: Pipeline Configuration
"""


def table(folder: Path, *rows: dict[str, str]) -> Path:
    path = folder / "quality_made_up.csv.gz"
    with gzip.open(path, "wt", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, restval="")
        writer.writeheader()
        writer.writerows({"source": README, "licence": "MIT", "model_id": "meta-llama/Meta-Llama-3-8B", **row} for row in rows)
    return path


def test_rows_become_shares_with_their_own_baseline(tmp_path: Path) -> None:
    path = table(
        tmp_path,
        {"quant": "q4_K_M (imatrix WT 10m tokens)", "metric": "KLD mean vs f16 (wikitext2)", "value": "0.03", "baseline_value": "0"},
        {"quant": "Q6_K", "metric": "MMLU %", "value": "64", "baseline_value": "65"},
        {"quant": "Q4_0", "metric": "perplexity wikitext2", "value": "6.5"},
        {"quant": "Q8_0", "metric": "perplexity wikitext2", "value": "6.0"},
        {"quant": "IQ3_M", "metric": "MMLU %", "value": "60"},
    )
    found = imported([path], None)
    rows = {(row.quant, row.metric): row for row in found.rows}
    assert rows["Q4_K_M", "kld"].named.startswith("q4_K_M (imatrix")
    assert (rows["Q6_K", "mmlu"].value, rows["Q6_K", "mmlu"].baseline) == (0.64, 0.65)
    assert (rows["Q4_0", "perplexity"].baseline, rows["Q4_0", "perplexity"].baseline_quant) == (6.0, "Q8_0")
    assert len(rows) == 3 and sum(found.left.values()) == 2  # Q8_0 is the baseline, the bare MMLU has none


def test_a_licence_that_forbids_it_keeps_a_row_out(tmp_path: Path) -> None:
    path = table(tmp_path, {"quant": "Q4_0", "metric": "MMLU %", "value": "60", "baseline_value": "61", "licence": "CC BY-ND 4.0"})
    found = imported([path], None)
    assert not found.rows and any("licence" in why for _, why in found.left)


@pytest.mark.parametrize(
    ("label", "found"),
    [
        ("GPTQ* W4G128", "GPTQ-INT4"), ("Ours W4G128", "AUTOROUND-INT4"), ("Int8 (GPTQ)", "GPTQ-INT8"), ("bartowski/Q4_K_S", "Q4_K_S"),
        ("unsloth/UD-Q4_K_XL", "Q4_K_XL"), ("Optimized RTN q3_k_m", "Q3_K_M"), ("nvfp4  g16 RTN", "NVFP4"), ("IQ4_K_R4", "IQ4_K"),
        ("4bitnf4 (transformers)", "BNB-INT4"), ("bf16 (transformers)", "full precision"), ("Q4_0 (ikawrakow improved)", "Q4_0"),
    ],
)  # fmt: skip
def test_names_of_quantisations(label: str, found: str) -> None:
    assert quant_of(label, "4.0") == found


@pytest.mark.parametrize("label", ["Q4_K --pure (tok/out q8_0)", "AWQ W3G128", "Q8_0 + K-cache q8_0", "AutoRound+alg_ext q4_k_m", "IQ2_KT"])
def test_what_the_catalog_does_not_name_is_left_out(label: str) -> None:
    with pytest.raises(Left):
        quant_of(label, "")


def test_names_of_models() -> None:
    assert model_of("V2-70B") == "meta-llama/Llama-2-70b-hf"
    assert model_of("Qwen/Qwen-7B-Chat") == "Qwen/Qwen-7B-Chat"  # not in the catalog, and still told by its name
    with pytest.raises(Left):
        model_of("Ours")


def test_the_report_scores_base_models_beside_instruct_ones() -> None:
    full, q4, q8, q2 = planned(APPENDIX)
    assert (full.model, full.baseline, full.confounded) == ("meta-llama/Llama-3.2-3B", None, False)
    assert (q4.model, q4.baseline, q4.confounded) == ("meta-llama/Llama-3.2-3B-Instruct", 0.538, True)
    assert (q8.baseline, q2.baseline, q2.baseline_quant, q2.confounded) == (None, 0.635, "Q8_0", False)


def test_a_rerun_writes_the_same_bytes_and_errors_are_sentences(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table(tmp_path, {"quant": "Q6_K", "metric": "MMLU %", "value": "64", "baseline_value": "65"})
    report, out = tmp_path / "report.txt", tmp_path / "measured.csv"
    report.write_text(APPENDIX)
    assert main([str(tmp_path), "--report", str(report), "--out", str(out)]) == 0
    first = out.read_bytes()
    assert main([str(tmp_path), "--report", str(report), "--out", str(out)]) == 0 and out.read_bytes() == first
    report.write_text("nothing")
    assert main([str(tmp_path), "--report", str(report), "--out", str(out)]) == 2
    assert "appendix D" in capsys.readouterr().err


def test_the_shipped_table_is_what_the_importer_writes() -> None:
    assert as_csv(measured()) == MEASURED.read_text(encoding="utf-8")
