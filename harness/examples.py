"""The example scenarios before and after the correction: `python -m harness.examples` prints them as a Markdown table."""

from __future__ import annotations

from typing import Any

from core.evidence import nearest
from core.scenario import from_flat
from core.sweep import answer
from core.trust import NAMES, UNITS, what_to_trust
from core.units import show
from core.words import ranged

EXAMPLES: tuple[dict[str, Any], ...] = (
    {"model": "meta-llama/Llama-3.1-8B-Instruct", "device": "rtx-4090", "runtime": "llama.cpp", "quant": "Q4_K_M"},
    {"model": "meta-llama/Llama-3.3-70B-Instruct", "device": "rtx-3090", "count": 2, "runtime": "llama.cpp", "quant": "Q4_K_M",
     "prompt_tokens": 8064},
    {"model": "meta-llama/Llama-3.3-70B-Instruct", "device": "rtx-3090", "runtime": "llama.cpp", "quant": "Q4_K_M", "ram_gb": 64},
    {"model": "deepseek-ai/DeepSeek-R1", "device": "h200-sxm-141gb", "count": 8, "runtime": "vllm", "quant": "FP8", "concurrency": 64,
     "arrival": "closed"},
    {"model": "Qwen/Qwen3-30B-A3B", "device": "m4-max-40core", "runtime": "mlx", "quant": "MLX-4bit"},
    {"model": "openai/gpt-oss-120b", "device": "rtx-4090", "runtime": "llama.cpp", "quant": "MXFP4_MOE", "ram_gb": 128},
    {"model": "mistralai/Mistral-7B-Instruct-v0.3", "device": "a10g", "runtime": "vllm"},
    {"model": "TinyLlama/TinyLlama-1.1B-Chat-v1.0", "device": "raspberry-pi-5", "runtime": "llama.cpp", "quant": "Q4_K_M"},
)  # fmt: skip
METRICS = (("decode_rate", "tok/s"), ("ttft", "s"), ("output_rate", "tok/s"))


def lines() -> list[str]:
    """The table, one line a scenario. Raises as `core.estimate.estimate` does."""
    found = ["| Scenario | | Physics and datasheets | Corrected (10th–90th percentile) | Trust | Nearest measured run |",
             "|---|---|---|---|---|---|"]  # fmt: skip
    for knobs in EXAMPLES:
        scenario = from_flat(knobs)
        before, after = answer(scenario, analytic=True), answer(scenario)
        near = nearest(scenario, 1, corrected=True)
        trust = what_to_trust(after, near)
        told = [f"{knobs['model'].split('/')[-1]}, {knobs.get('count', 1)} × {knobs['device']}, {knobs['runtime']}"]
        if near:
            run = near[0]
            measured = ", ".join(f"{NAMES[name]} {show(amount, UNITS[name])}" for name, amount in run.measured.items())
            told.append(f"{run.what}: {measured} (differs in {run.differs}; {run.source})")
        for place, (metric, unit) in enumerate(METRICS):
            first = place == 0
            found.append(
                f"| {told[0] if first else ''} | {metric.replace('_', ' ')} | {show(before.metric(metric), unit)} | "
                f"{ranged(after, metric, unit)} | {trust.speed.word if first else ''} | {told[1] if first and near else ''} |"
            )
    return found


if __name__ == "__main__":
    print("\n".join(lines()))
