"""Imports what quantisations were measured to lose: `python -m harness.import_quality FOLDER [--report FILE]`.

FOLDER holds quality_*.csv.gz (source, licence, model_id, quant, metric, value, baseline_value …); FILE is the text of the capacity
planner's report, whose appendix D is read. Writes data/catalog/quality/measured.csv and prints what was left out, and why.
Names of quantisations are those of the catalog; a row that fits none, or has no baseline of its own, tells of no loss.
"""

from __future__ import annotations

import argparse
import csv
import io
import re
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.catalog.quality import MEASURED, Measured
from core.catalog.quants import quant
from core.errors import CatalogError, RoofcastError, RunError
from core.predict import write_whole
from core.quality import FULL, family_of
from core.resolve import find_model
from harness.import_corpus import rows_of
from harness.import_rules import FORBIDDEN

Row = dict[str, str]
REPORT = "tr133"

# ---- Names, as the sources write them

_SOURCES = (
    (r"examples/perplexity/README", "llama-cpp-perplexity"),
    (r"quantize README", "llama-cpp-quantize-2023"),
    (r"PR #1684", "llama-cpp-1684"),
    (r"matt-c1", "llama-3-quant-comparison"),
    (r"QwenLM/Qwen3 docs", "qwen2-docs"),
    (r"QwenLM/Qwen README", "qwen-readme"),
    (r"intel/auto-round", "auto-round"),
    (r"TensorRT-Model-Optimizer", "model-optimizer"),
    (r"ikawrakow/mistral", "ikawrakow-mistral"),
    (r"Artefact2", "artefact2-kld"),
    (r"ik_llama.cpp", "ik-llama-threads"),
    (r"edge-llm-bench", "edge-llm-bench-quality"),
    (r"chimeraforge", "tr125"),
)
_MODELS = {
    "LLaMA-1 7B": "huggyllama/llama-7b", "LLaMA-1 13B": "huggyllama/llama-13b",
    "V1-7B": "huggyllama/llama-7b", "V1-13B": "huggyllama/llama-13b", "V1-30B": "huggyllama/llama-30b", "V1-65B": "huggyllama/llama-65b",
    "V2-7B": "meta-llama/Llama-2-7b-hf", "V2-13B": "meta-llama/Llama-2-13b-hf", "V2-70B": "meta-llama/Llama-2-70b-hf",
    "Llama3.1-8B-I": "meta-llama/Llama-3.1-8B-Instruct", "Qwen2.5-7B-I": "Qwen/Qwen2.5-7B-Instruct",
}  # fmt: skip
# The report's names: what Ollama serves under them, and the base model whose full precision stands beside it.
_PLANNED = {
    "gpt2": ("openai-community/gpt2", "openai-community/gpt2"),
    "llama3.2-1b": ("meta-llama/Llama-3.2-1B-Instruct", "meta-llama/Llama-3.2-1B"),
    "llama3.2-3b": ("meta-llama/Llama-3.2-3B-Instruct", "meta-llama/Llama-3.2-3B"),
    "llama3.1-8b": ("meta-llama/Llama-3.1-8B-Instruct", ""),
    "qwen2.5-1.5b": ("Qwen/Qwen2.5-1.5B-Instruct", "Qwen/Qwen2.5-1.5B"),
    "phi-2": ("microsoft/phi-2", "microsoft/phi-2"),
}
_METRICS = (  # words of a metric → id, and what makes its value a share of 1
    (r"^KLD mean", "kld", 1.0),
    (r"^KLD median", "kld_median", 1.0),
    (r"^KLD q99", "kld_q99", 1.0),
    (r"^RMS delta-p", "rms_dp", 0.01),
    (r"^same top-1", "top1", 0.01),
    (r"^top token differs", "top1_differs", 1.0),
    (r"^ln\(PPL", "log_ratio", 1.0),
    (r"^perplexity", "perplexity", 1.0),
    (r"^MMLU relative loss", "mmlu_relative", 0.01),
    (r"^MMLU\+ARC-C .*rescored", "mmlu_arc", 1.0),
    (r"^(?:avg|average) of 11 tasks %", "average", 0.01),
    (r"^average\(MMLU,C-Eval,IFEval\)", "three_tasks", 0.01),
    (r"^(?:avg|average)\b", "average", 1.0),
    (r"^MMLU(?: %| 5-shot %|$)", "mmlu", 0.01),
    (r"^mmlu \(lm-eval, fraction\)|^mmlu_llama", "mmlu", 1.0),
    (r"^(?:BERTScore|ROUGE|BLEU|coherence|unique 4-gram|.*Coherence|.*BERTScore|.*BLEU)", "text", 1.0),
    (r"fraction", "task", 1.0),
    (r"", "task", 0.01),
)
_OUT = (  # quantisations that the catalog has no name for
    (r"K-cache", "a quantised KV cache, not quantised weights"),
    (r"--pure|^PURE|mix-|smol-", "a mixture of the author's own, no file type"),
    (r"alg_ext|Tuning|^q\dks$|^q4km$|iters|^Ours W[23]|^q3ks", "a tuning that files of that name do not have"),
    (r"opt-rtn", "an older edition of the same table's figures"),
    (
        r"W[23]G|G-1|HQQ|Omniquant|RTN W4|MXFP4/8 mix|MXFP4 (?:ocp|rceil)|W4A8|fp4 \(transformers\)|_KT$|W2G32",
        "no such quantisation in the catalog",
    ),
)
_AS = (  # label → name in the catalog
    (r"^(?:bf16|fp16|f16|fp32)\b.*", FULL),
    (r"^AWQ W4G128$|^INT4 AWQ.*|^AWQ$", "AWQ-INT4"),
    (r"^GPTQ\*? W4G128$|^Int4 \(GPTQ\)$|^GPTQ-Int4$", "GPTQ-INT4"),
    (r"^Int8 \(GPTQ\)$|^GPTQ-Int8$", "GPTQ-INT8"),
    (r"^Ours W4G128$", "AUTOROUND-INT4"),
    (r"^8bit \(transformers\)$", "BNB-INT8"),
    (r"^4bitnf4 \(transformers\)$", "BNB-INT4"),
    (r"^FP8_BLOCK RTN$", "FP8-BLOCK"),
    (r"^mxfp4 g32 RTN$", "MXFP4-ALL"),
    (r"^nvfp4\s+g16 RTN$", "NVFP4"),
    (r"^unsloth/UD-(\w+)$", r"\1"),
    (r"^(?:bartowski|ubergarm)/(\w+)$", r"\1"),
    (r"^Optimized RTN (\w+)$", r"\1"),
    (r"^(\w+)(?: \((?:GGUF|imatrix .*|ikawrakow improved)\))?$", r"\1"),
)


class Left(Exception):
    """Why a row is left out."""


@dataclass(frozen=True)
class Found:
    """What became of the rows."""

    rows: list[Measured]
    read: int
    left: Counter[tuple[str, str]]


def quant_of(label: str, bpw: str) -> str:
    """The catalog's id of a quantisation, FULL for full precision. Raises Left."""
    for pattern, why in _OUT:
        if re.search(pattern, label):
            raise Left(why)
    try:
        if label.endswith("(Exl2)") and not label.startswith("fp16"):
            return quant(f"exl2 {float(bpw):.1f}bpw").id
        name = next((match.expand(name) for pattern, name in _AS if (match := re.match(pattern, label, re.IGNORECASE))), label)
        return FULL if name == FULL else quant(name).id
    except (CatalogError, ValueError):
        raise Left("no such quantisation in the catalog") from None


def model_of(name: str) -> str:
    """The catalog's id of a model; as published where the catalog lacks it. Raises Left for what names none."""
    name = re.sub(r" \(.*\)$", "", name)
    if name in _MODELS:
        return _MODELS[name]
    try:
        match = find_model(name)
        if match.how != "alias":
            return match.id
    except RunError:
        pass
    if "/" in name:
        return name
    raise Left("a model that cannot be told")


def record_of(row: Row) -> Measured:
    """A row of a table. Raises Left."""
    if FORBIDDEN.search(row["licence"]):
        raise Left(f"its licence forbids it: {row['licence']}")
    if "inconsist" in row["notes"]:
        raise Left("a figure that its source contradicts")
    key = next((key for pattern, key in _SOURCES if re.search(pattern, row["source"])), None)
    if key is None:
        raise Left("a source that data/catalog/sources/quality.toml does not name")
    if "n=10 " in f"{row['metric']} ":
        raise Left("ten questions")
    label, model = row["quant"], model_of(row["model_id"])
    stored = quant_of(label, row["bpw"])
    metric, factor = next((found, factor) for pattern, found, factor in _METRICS if re.search(pattern, row["metric"]))

    def share(cell: str) -> float | None:
        return round(float(cell) * factor, 8) if cell else None

    value, baseline = share(row["value"]), share(row["baseline_value"])
    if value is None:
        raise Left("nothing was measured")
    if stored == FULL:
        raise Left("full precision: the baseline of its table's other rows")
    stated = re.search(r"[Bb]aseline (?:is |= )?(Q8_0)", row["notes"])
    if stated and stored == stated[1]:
        raise Left("the baseline of its table's other rows")
    named = label if re.sub(r"[\W_]", "", label).lower() != re.sub(r"[\W_]", "", stored).lower() else ""
    return Measured(
        model=model, family=family_of(model), quant=stored, metric=metric, value=value, baseline=baseline,
        baseline_quant=stated[1] if stated else "", uncertainty=share(row["value_uncertainty"]), named=named, source=key,
        place=row["source_path"].split(":")[0] if not row["source_path"].startswith("http") else "",
        note=row["metric"] if metric in ("task", "text", "average", "perplexity") else "",
    )  # fmt: skip


def with_baselines(rows: Iterable[Measured]) -> tuple[list[Measured], int]:
    """Rows that lack a baseline take the Q8_0 of the same table; returns those that have one, and how many have none."""
    listed = list(rows)
    key = [(row.source, row.place, row.model, row.metric, row.note) for row in listed]
    least = {at: row.value for at, row in zip(key, listed, strict=True) if row.quant == "Q8_0" and row.baseline is None}
    found = []
    for at, row in zip(key, listed, strict=True):
        if row.baseline is not None:
            found.append(row)
        elif at in least and row.quant != "Q8_0":
            found.append(row.model_copy(update={"baseline": least[at], "baseline_quant": "Q8_0"}))
    return found, len(listed) - len(found)


def planned(text: str) -> list[Measured]:
    """The composite scores of the report's appendix D: full precision of base models, quantisations of instruct models."""
    part = text.split("Appendix D: Full Quality Lookup Table")[-1].split("Appendix E")[0]
    lines = re.findall(r"^([\w.-]+) (FP16|I?Q\d_\w+) (0\.\d+) ", part, re.MULTILINE)
    if not lines:
        raise RunError("The report has no appendix D with a quality table; give the text of TR133 with --report.")
    scores = {(name, stored): float(score) for name, stored, score in lines}
    found = []
    for (name, stored), score in scores.items():
        served, base = _PLANNED[name]
        full = stored == "FP16"
        least = scores.get((name, "FP16"), scores.get((name, "Q8_0")))
        own = not base or full  # an instruct model against itself, or no comparison at all
        model = base if full else served
        found.append(Measured(
            model=model, family=family_of(model), quant=stored, metric="composite", value=score,
            baseline=None if full or (not base and stored == "Q8_0") else least, baseline_quant="" if base or full else "Q8_0",
            confounded=not own, source=REPORT, place="appendix D",
        ))  # fmt: skip
    return found


def imported(tables: Iterable[Path], report: Path | None) -> Found:
    """Every row that tells of a loss. Raises RunError for a file that cannot be read."""
    found, left, read = [], Counter[tuple[str, str]](), 0
    for path in tables:
        for row in rows_of(path):
            read += 1
            try:
                found.append(record_of(row))
            except Left as why:
                left[row["source"], str(why)] += 1
    found, without = with_baselines(found)
    left["all", "no baseline in its own table"] = without
    if report is not None:
        try:
            found += planned(report.read_text(encoding="utf-8"))
        except OSError as error:
            raise RunError(f"{report.name} cannot be read ({error}); give the text of the report.") from error
    found.sort(key=lambda r: (r.source, r.place, r.model.lower(), r.metric, r.note, r.quant, r.named))
    return Found(found, read, left)


def as_csv(rows: Iterable[Measured]) -> str:
    """The rows as CSV with a column for each field; empty cells for what is unknown."""
    out = io.StringIO()
    columns = list(Measured.model_fields)
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        cells: list[Any] = [getattr(row, column) for column in columns]
        writer.writerow(["" if cell is None or cell is False else cell for cell in cells])
    return out.getvalue()


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m harness.import_quality", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folder", type=Path, help="folder of quality_*.csv.gz")
    parser.add_argument("--report", type=Path, help="text of the capacity planner's report")
    parser.add_argument("--out", type=Path, default=MEASURED, help="(default: %(default)s)")
    asked = parser.parse_args(arguments)
    try:
        tables = sorted(asked.folder.glob("quality_*.csv.gz"))
        if not tables:
            raise RunError(f"{asked.folder} holds no quality_*.csv.gz; give the folder of the tables to import.")
        found = imported(tables, asked.report)
        write_whole(asked.out, as_csv(found.rows))
    except RoofcastError as error:
        print(f"import_quality: {error}", file=sys.stderr)
        return 2
    print(f"{found.read:,} rows read, {len(found.rows):,} written.")
    for (name, why), count in sorted(found.left.items()):
        print(f"{count:>5}  {name[:60]}: {why}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
