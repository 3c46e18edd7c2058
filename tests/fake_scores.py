"""Made-up score files of the shipped schema: a world of runs with known errors, of any size."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd

SPLITS = {  # split → (column whose groups are held out, spread of the log error)
    "row": ("row", 0.10),
    "configuration": ("configuration", 0.15),
    "model": ("geometry", 0.22),
    "device": ("device", 0.30),
    "device family": ("device_family", 0.36),
    "source": ("source", 0.42),
    "time": ("year", 0.34),
}
METRICS = {  # metric → (unit, its rows' share, a time?, how much harder than decode)
    "decode": ("tok/s", 0.26, False, 1.0),
    "prefill": ("tok/s", 0.16, False, 1.5),
    "output rate": ("tok/s", 0.14, False, 0.9),
    "total rate": ("tok/s", 0.08, False, 0.9),
    "TTFT": ("ms", 0.12, True, 1.8),
    "TPOT": ("ms", 0.12, True, 0.9),
    "latency": ("ms", 0.06, True, 1.0),
    "memory": ("GiB", 0.04, False, 0.3),
    "power": ("W", 0.02, False, 0.8),
}
_MODELS = (  # catalog id, billions of parameters, of which active
    ("Qwen/Qwen3-0.6B", 0.6, 0.6), ("meta-llama/Llama-3.2-1B-Instruct", 1.24, 1.24), ("Qwen/Qwen3-4B", 4.0, 4.0),
    ("meta-llama/Llama-3.1-8B-Instruct", 8.0, 8.0), ("Qwen/Qwen3-8B", 8.2, 8.2), ("Qwen/Qwen3-14B", 14.8, 14.8),
    ("Qwen/Qwen3-32B", 32.8, 32.8), ("meta-llama/Llama-3.3-70B-Instruct", 70.6, 70.6),
    ("Qwen/Qwen3-30B-A3B", 30.5, 3.3), ("openai/gpt-oss-120b", 117.0, 5.1), ("deepseek-ai/DeepSeek-R1", 671.0, 37.0),
)  # fmt: skip
_DEVICES = (  # catalog id, family, class
    ("rtx-4090", "Ada", "NVIDIA consumer"), ("rtx-3090", "Ampere", "NVIDIA consumer"), ("rtx-5090", "Blackwell", "NVIDIA consumer"),
    ("h100-sxm5-80gb", "Hopper", "NVIDIA datacenter"), ("h200-sxm-141gb", "Hopper", "NVIDIA datacenter"),
    ("a100-sxm4-80gb", "Ampere", "NVIDIA datacenter"), ("mi300x", "CDNA3", "AMD datacenter"),
    ("rx-7900-xtx", "RDNA3", "AMD consumer"), ("m4-max-40core", "M4", "apple"), ("ryzen-9-7950x", "Zen 4", "cpu"),
)  # fmt: skip
SHARES = ("weights", "kv", "activations", "compute", "interconnect", "host", "overhead", "waiting")
LOST = ("lab-9", "ollama")  # source and runtime of a slice whose fixed costs are taken four times too small


def rows_table(rows: int, seed: int = 0) -> pd.DataFrame:
    """`rows` judged (run, metric) lines; the runs of `LOST` are slow because of their overhead alone."""
    rng = np.random.default_rng(seed)

    def pick(options: Any, p: Any = None) -> np.ndarray:
        return np.asarray(options, dtype=object)[rng.choice(len(options), rows, p=p)]

    metric = pick(list(METRICS), [found[1] for found in METRICS.values()])
    model, device = rng.integers(0, len(_MODELS), rows), rng.integers(0, len(_DEVICES), rows)
    server = np.isin(metric, ["output rate", "total rate", "TTFT", "TPOT"])
    ids, sizes, active = (np.asarray(column, dtype=object)[model] for column in zip(*_MODELS, strict=True))
    names, families, classes = (np.asarray(column, dtype=object)[device] for column in zip(*_DEVICES, strict=True))
    shares = rng.dirichlet([4, 1.5, 0.3, 1, 0.3, 0.2, 1, 0.3], rows)
    measured = np.exp(rng.normal(4.0, 1.2, rows))
    source = pick([f"lab-{n}" for n in range(10)])
    runtime = np.where(server, pick(["vllm", "sglang", "tensorrt-llm"]), pick(["llama.cpp", "ollama", "ik_llama.cpp"]))
    quant = np.where(server, pick(["BF16", "FP8", "AWQ"]), pick(["Q4_K_M", "Q8_0"]))
    backend = pd.Series(classes).map({"apple": "metal", "cpu": "cpu", "AMD datacenter": "rocm", "AMD consumer": "rocm"}).fillna("cuda")
    found = pd.DataFrame(
        {
            "row": np.arange(rows),
            "run_id": [f"{n // 2:016x}" for n in range(rows)],
            "metric": metric,
            "unit": [METRICS[name][0] for name in metric],
            "measured": measured,
            "source": source,
            "source_path": "tables/results.md",
            "model": ids,
            "geometry": ids,
            "parameters_b": sizes.astype(float),
            "active_b": active.astype(float),
            "device": names,
            "device_family": families,
            "device_class": classes,
            "device_count": pick([1, 1, 1, 2, 4, 8]).astype(int),
            "runtime": runtime,
            "backend": backend,
            "quant": quant,
            "kernel_class": np.where(np.isin(quant, ["BF16", "FP8"]), "dense", "dequantised"),
            "arrival": np.where(server, "closed", "static"),
            "concurrency": np.where(server, 2 ** rng.integers(1, 9, rows), 1),
            "prompt_tokens": pick([128, 512, 1024, 2048, 4096, 8192]).astype(int),
            "output_tokens": pick([32, 128, 256, 1024]).astype(int),
            "context_depth": pick([0, 0, 0, 4096, 16384]).astype(int),
            "year": np.where(rng.random(rows) < 0.03, np.nan, rng.integers(2023, 2027, rows).astype(float)),
            "fitted": rng.random(rows) < 0.9,
        }
    )
    found["configuration"] = found["device"] + " " + found["model"] + " " + found["quant"] + " " + found["runtime"]
    error = rng.normal(0, 0.55, rows)
    found["analytic"] = measured * np.exp(error - 0.2)
    found["roofline"] = measured * np.exp(rng.normal(0.1, 0.8, rows))
    found["bandwidth"] = measured * np.exp(rng.normal(0, 0.9, rows))
    found["mean"] = found.groupby("metric")["measured"].transform("mean")
    found["planner"] = np.where(rng.random(rows) < 0.3, measured * np.exp(rng.normal(0, 1.1, rows)), np.nan)
    for place, name in enumerate(SHARES):
        found[f"share_{name}"] = shares[:, place]
    found["feasibility"] = pick(["in_vram", "with_offload", "insufficient_memory"], [0.93, 0.05, 0.02])
    return found


def scores_table(rows: pd.DataFrame, seed: int = 1) -> pd.DataFrame:
    """One line per row and split. Intervals hold 80 % of rows; a group's error is half its own, half the rows'."""
    rng = np.random.default_rng(seed)
    hard = rows["metric"].map({name: found[3] for name, found in METRICS.items()}).to_numpy(dtype=float)
    time = rows["metric"].map({name: found[2] for name, found in METRICS.items()}).to_numpy(dtype=bool)
    lost = ((rows["source"] == LOST[0]) & (rows["runtime"] == LOST[1])).to_numpy()
    slow = np.where(time, -1, 1) * np.log1p(3 * rows["share_overhead"].to_numpy()) * lost
    parts = []
    for split, (column, spread) in SPLITS.items():
        groups = rows[column].fillna(0).astype(str)
        codes, names = pd.factorize(groups)
        error = spread * hard * (0.7 * rng.normal(size=len(names))[codes] + 0.7 * rng.normal(size=len(rows)))
        half = 1.2816 * spread * hard
        p50 = rows["measured"].to_numpy() * np.exp(error + slow)
        parts.append(
            pd.DataFrame(
                {
                    "row": rows["row"],
                    "split": split,
                    "fold": codes % 10,
                    "group": groups,
                    "p10": p50 * np.exp(-half),
                    "p50": p50,
                    "p90": p50 * np.exp(half),
                    "support": np.asarray(["seen", "near", "far"], dtype=object)[rng.choice(3, len(rows), p=[0.5, 0.3, 0.2])],
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


FIT = {
    "version": "0123456789abcdef",
    "date": "2026-11-21",
    "libraries": {"numpy": "2.4.6", "quantile-forest": "1.4.1"},
    "parameters": {"trees": 200},
    "seconds_fit": 412.0,
    "seconds_predict": 11.2,
    "runs": 20_000,
    "rows": 40_000,
    "left_out": {"tier C": 311, "speculative decoding": 84},
}


def write(folder: Path, rows: int = 6000, seed: int = 0) -> Path:
    """Writes rows.parquet, scores.parquet and fit.json; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    found = rows_table(rows, seed)
    with duckdb.connect() as con:
        for name, table in (("rows", found), ("scores", scores_table(found, seed + 1))):
            con.from_df(table).write_parquet(str(folder / f"{name}.parquet"), compression="zstd")
    (folder / "fit.json").write_text(json.dumps(FIT))
    return folder
