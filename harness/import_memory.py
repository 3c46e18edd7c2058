"""Points of memory as rows of runs: one measured number each, with what its notes say of the launch."""

from __future__ import annotations

import re
from typing import Any

Row = dict[str, Any]

# The facts that a point's notes state, in the words by which core.memory_check knows them; everything else stays behind.
_FACTS = (
    r"n_ctx=\d+", r"n_batch=\d+", r"n_ubatch=\d+", r"n_seq_max=\d+", r"flash_attn=\w+", r"mla_attn=\d", r"attn_max_b=\d+",
    r"fused_moe=\d", r"RECURRENT", r"GPU-resident part only", r"\bFLAG\b", r"CPU_Mapped", r"(?:CUDA|ROCm|Vulkan|SYCL)\d",
    r"(?<!\()\bCPU\b", r"type \d[\w.]*B\b", r"\([\d.]+ BPW\)", r"bits/weight [\d.]+", r"model (?:file|size) [\d.]+ GiB",
    r"mode=(?:pp|tg)\d+", r"fa=(?:True|False)", r"prompt=\d+ gen=\d+", r"mem util=[\d.]+", r"spec=None",
    r"prefill \d+ \+ decode \d+", r"INPUT length", r"generat(?:e|ing) \d+ tokens", r"torch peak", r"prompt \d+, \d+ new tokens",
    r"preallocate[sd]", r"full-sequence logits", r"transcribed by hand", r"non-torch", r"CUDA graphs?", r"activation",
    r"\butil [\d.]+", r"batched tokens \d+", r"summed over GPUs", r"PER CARD", r"sum over GPUs", r"largest per-GPU",
)  # fmt: skip
_LONGEST_NAME = 100  # a longer cell holds a piece of a log


def memory_row(row: Row) -> Row:
    """A point in the columns of runs."""
    found = [m for text in _FACTS if (m := re.search(text, row["notes"]))]
    return {
        "source": row["source"],
        "source_path": row["source_path"],
        "source_license": row["source_license"],
        "model_id": "",
        "model_name_raw": row["model_id"].strip(),
        "params_b": row["params_b"],
        "quant": row["quant"].strip(),
        "kv_dtype": row["kv_dtype"].strip(),
        "runtime": row["backend"],
        "runtime_version": row["backend_version"].strip(),
        "gpu_name": row["gpu_name"].strip(),
        "gpu_count": row["gpu_count"],
        "tp": row["tp"],
        "context_tokens": row["context_tokens"],
        "concurrency": row["batch_size"],
        "memory_kind": row["measured_kind"],
        "memory_gib": row["value_gib"],
        "notes": "; ".join(m[0] for m in sorted(found, key=lambda m: m.start())),
        "sanity_flag": "double count or truncated log" if "FLAG" in row["notes"] else "",
    }


def dropped_point(row: Row) -> str:
    """Why a point is left out; empty when it is not."""
    if "PRE-LOAD ESTIMATE" in row["notes"]:
        return "an engine's own estimate before loading, not a measurement"
    if len(row["model_id"]) > _LONGEST_NAME:
        return "a piece of a log where the model's name belongs"
    if row["gpu_name"].startswith("@"):
        return "a person's name where the device's belongs"
    return ""
