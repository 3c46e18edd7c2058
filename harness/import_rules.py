"""What an importer does to a row before it becomes a record: what never ships, what is cleaned, what is not for fitting.

A rule that looks at inputs alone may drop or clean a row. One that looks at what was measured only keeps the row out of
fitting (`fit`): it stays among those that are judged.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from core.catalog.models import ir
from core.resolve import container_of, find_model, find_runtime
from core.run_notes import plain_notes, plain_version
from core.runs import METRIC_COLUMNS
from harness.import_memory import dropped_point

Row = dict[str, Any]

FORBIDDEN = re.compile(r"(?i)\bBY-N[CD]\b|\bND\b|site terms|terms of (?:use|service)|all rights reserved")
NOT_SHIPPED = {
    "llama.cpp discussion #15013 (second-hand)": "second-hand quotes of posts, rounded; the posts themselves were not seen",
    "llama.cpp discussion #4167 (second-hand)": "second-hand quotes of posts, rounded; the posts themselves were not seen",
    "public file ": "no address that could be cited",
    "public file (public file )": "no address that could be cited, and Ollama's own estimates before loading",
    "public notebook ": "no address that could be cited",
}
_MOVED_TAG = "deepseek-r1:8b"
_OS = re.compile(r"\b(Linux|Windows|Darwin|FreeBSD)\b")
_POWER_LIMIT = re.compile(r"power[- ]limit(?:ed)?\s(\d+(?:\.\d+)?)\s?W/GPU|\[(\d+)W TDP Run")
_OF_TDP = re.compile(r"TDP\((\d+)W\).*power capped to (\d+)%")
_MXFP4_BITS = 8.0  # between MXFP4 with 16-bit attention (about 5) and 16 bits: a file above it is no MXFP4


def dropped(row: Row) -> str:
    """Why a row never becomes a record; empty when it does."""
    if reason := NOT_SHIPPED.get(row["source"]):
        return reason
    if FORBIDDEN.search(row["source_license"]):
        return f"its licence forbids it: {row['source_license']}"
    if row.get("measured_kind"):
        return dropped_point(row)
    if row["source"] == "microsoft_splitwise" and _OF_TDP.search(row["notes"]):
        return "computed, not measured: under the power cap TTFT is 1.3 times and TPOT the same in every pair"
    return "" if any(row[column] for column in METRIC_COLUMNS) else "nothing was measured"


def _gpt_oss_is_bf16(row: Row) -> Row:
    """A gpt-oss file called MXFP4 whose size is that of 16 bits a weight."""
    size, billions = row.get("weights_gib"), row.get("params_b")
    if row["quant"] != "MXFP4" or "gpt-oss" not in row["model_id"] or not size or not billions:
        return {}
    return {"quant": "BF16"} if float(size) * 2**30 * 8 > _MXFP4_BITS * float(billions) * 1e9 else {}


def _name_says_awq(row: Row) -> Row:
    """A checkpoint whose name says AWQ is not stored in 16 bits."""
    return {"quant": "AWQ"} if row["quant"] == "BF16" and re.search(r"(?i)-awq\b", row["model_name_raw"]) else {}


def _mlx_mxfp4(row: Row) -> Row:
    """MLX converts every matrix to MXFP4; only gpt-oss comes with 16-bit attention from its publisher."""
    if row["quant"] != "MXFP4" or "gpt-oss" in row["model_id"].lower() or not row["runtime"]:
        return {}
    return {"quant": "MLX-MXFP4"} if container_of(find_runtime(row["runtime"]).id) == "mlx" else {}


def _renamed_tag(row: Row) -> Row:
    """Ollama's tag moved from the distillation on Llama to the one on Qwen3 at the end of May 2025."""
    if row["model_name_raw"] != _MOVED_TAG or row["run_date"] < "2025-06":
        return {}
    return {"model_id": "deepseek-ai/DeepSeek-R1-0528-Qwen3-8B"}


_BLOCK = 16  # tokens of vLLM's cache that are kept or not together; of a prompt at least one token is computed


def _repeated_prompt(row: Row) -> Row:
    """One campaign sends the same prompt again and again: its curves hold 44 ms at the median and 398 ms for the first request.

    vLLM keeps prefixes unless told not to, and no run was; of a recurrent state it keeps none.
    """
    if not _is("lotto_4x3090_archive", runtime="(?i)^vllm", source_path="#(?:orch|tli-real)/")(row) or not row["prompt_tokens"]:
        return {}
    model = find_model(row["model_id"], row["model_name_raw"])
    if any(block.attention.kind == "linear" for block in ir(model.id).blocks):
        return {}
    return {"prefix_cached_tokens": (float(row["prompt_tokens"]) - 1) // _BLOCK * _BLOCK}


def _held_back(row: Row) -> Row:
    """InferenceX's published launch scripts hold new requests back, so that prompts share a step (benchmarks/ at its GitHub address).

    SGLang looks for requests every 10 steps, or every 30 where at least 16 users ask: half of that passes on average. TensorRT-LLM
    waits 20 steps for more prompts with Llama 70B at 1k tokens in and out on fewer than eight cards.
    """
    if not _is("inferencex_via_aiconfigurator", runtime="(?i)sglang|tensorrt")(row) or "prefill" in row["notes"]:
        return {}
    model, quant, users, cards = row["model_id"], row["quant"], _number(row, "concurrency"), _number(row, "tp")
    steps = 0.0
    if re.search("(?i)tensorrt", row["runtime"]):
        if "Llama-3.1-70B" in model and _number(row, "prompt_tokens") == _number(row, "output_tokens") == 1024 and cards < 8:
            steps = 20
    elif re.match("B[23]00", row["gpu_name"]) and re.search("DeepSeek-R1|Qwen3.5", model):
        always = {("Qwen3.5", "NVFP4", "B200"): 30, ("Qwen3.5", "FP8", "B300"): 10}
        known = [every for (name, weights, card), every in always.items()
                 if name in model and quant == weights and row["gpu_name"].startswith(card)]  # fmt: skip
        if "DeepSeek" in model and quant == "FP8" and cards == 4:
            known = [10]
        steps = (known[0] if known else 30 if users >= 16 else 10) / 2
    return {"notes": f"{row['notes']}; held back {steps:g} steps"} if steps else {}


CLEANING: dict[str, Callable[[Row], Row]] = {
    "gpt-oss labelled MXFP4 whose file has 16 bits a weight: quant is BF16": _gpt_oss_is_bf16,
    "MXFP4 on MLX of a model that is not published in it: every matrix has 4.25 bits": _mlx_mxfp4,
    "a checkpoint named AWQ under the label BF16: quant is AWQ": _name_says_awq,
    "deepseek-r1:8b since June 2025: the distillation on Qwen3 8B": _renamed_tag,
    "InferenceX on engines launched to hold requests back: the steps that its scripts say": _held_back,
    "one prompt repeated on vLLM, which keeps prefixes: all but its last block is cached": _repeated_prompt,
}


def cleaned(row: Row) -> tuple[Row, list[str]]:
    """The row with its labels set right, and by which rules."""
    used = []
    for rule, change in CLEANING.items():
        if changes := change(row):
            row = {**row, **changes}
            used.append(rule)
    return row, used


def facts(row: Row) -> Row:
    """The row's free text as columns: launch facts, operating system, power limit. The text itself stays behind."""
    notes, version = row["notes"], row["runtime_version"]
    limit = _POWER_LIMIT.search(f"{notes} {version}")
    share = _OF_TDP.search(notes)
    watts = next(filter(None, limit.groups())) if limit else float(share[1]) * float(share[2]) / 100 if share else None
    system = _OS.search(version)
    return {
        **row,
        "notes": plain_notes(notes),
        "runtime_version": plain_version(version),
        "os": system[1] if system else "",
        "power_limit_w": watts,
    }


@dataclass(frozen=True, slots=True)
class Unfit:
    """A reason not to fit a row. `looks` at "inputs", or at what was "measured"."""

    reason: str
    looks: str
    holds: Callable[[Row], bool]


def _number(row: Row, column: str) -> float:
    return float(row.get(column) or "nan")


_DIE_GB = 64.0  # of an MI250's 128


def _one_die_or_two(row: Row) -> bool:
    """Mixtral's 93 GB ran on one MI250 and Llama 3 70B's 141 GB on two, so those were cards; of smaller ones nothing is known."""
    if "MI250" not in row["gpu_name"]:
        return False
    return 2.0 * _number(row, "params_b") <= _DIE_GB * _number(row, "gpu_count")


def _queue_limited(row: Row) -> bool:
    """The server took fewer sequences at once than the stated users: the time per token is of a smaller batch."""
    cells = [row.get(name) for name in ("ttft_ms_p50", "tpot_ms_p50", "output_tokens")]
    if row["load_kind"] != "concurrency" or not all(cells):
        return False
    ttft, tpot, output = (float(cell) for cell in cells if cell)
    return ttft > 1.5 * output * tpot


def _is(source: str, **cells: str) -> Callable[[Row], bool]:
    """Whether the row is of this source and its cells hold these texts (regular expressions)."""
    return lambda row: row["source"] == source and all(re.search(text, str(row.get(name, ""))) for name, text in cells.items())


UNFIT = (
    Unfit("tier C", "inputs", lambda row: row["quality_tier"] == "C"),
    Unfit("speculative decoding", "inputs", lambda row: "SPECDEC" in row["notes"] or "SPECULATIVE" in row["notes"]),
    Unfit("agentic turns with cached prefixes", "inputs", lambda row: row["notes"].startswith("AGENTIC")),
    Unfit("KV cache off", "inputs", lambda row: bool(re.search(r"(?i)KV cache (?:disabled|off)", row["notes"]))),
    Unfit("flagged as doubtful", "inputs", lambda row: bool(row["sanity_flag"])),
    Unfit("the tag meant two models in that year", "inputs",
          lambda row: row["model_name_raw"] == _MOVED_TAG and row["run_date"] in ("", "2025")),
    Unfit("a card or one of its two dies: not stated, and the model fits either (MI250)", "inputs", _one_die_or_two),
    Unfit("the step was derived from (input + output) / time on many cards", "inputs",
          _is("QwenLM/Qwen3 (docs)", model_id="235B", runtime="(?i)sglang")),
    Unfit("expert loop of transformers", "inputs",
          lambda row: row["runtime"].lower() == "transformers" and str(row["is_moe"]) in ("1", "1.0")),
    Unfit("128 tokens out at prompts of 8k and more under load: the median time per token is one of two modes", "inputs",
          lambda row: row["source"] == "inferencex_experimental" and _number(row, "prompt_tokens") >= 8000),
    Unfit("ten to fifty times below the roofline: an early multi-GPU build with a batch of 64", "measured",
          _is("argonne_llm_inference_bench", runtime="(?i)llama", notes="layer-split multi-GPU")),
    Unfit("the card ran in a slow power state (58 W on average), as its rates show", "measured",
          lambda row: "slow GPU state" in str(row.get("raw_notes"))),
    Unfit("repeats of one condition differ by 2 to 5 times", "measured", _is("KrisDcosta/edge-llm-bench", cpu_name="Apple M4")),
    Unfit("five to nine times below the roofline: the blank precision is not BF16, or the run is another", "measured",
          _is("nvidia_aiconfigurator_gap_analysis", gpu_name="GB200", model_id="Qwen3-32B", raw_notes="precision blank")),
    Unfit("TTFT above 1.5 times the time of the answer: fewer sequences ran than users asked", "measured", _queue_limited),
)  # fmt: skip


def unfit(row: Row) -> str:
    """Why a row is not for fitting: the first reason that holds; empty when it may be fitted."""
    return next((rule.reason for rule in UNFIT if rule.holds(row)), "")
