"""What the laws of estimates are tried on: models, cards, engines and loads."""

from __future__ import annotations

import math
from typing import Any

from hypothesis import strategies as st

from core.quantity import value
from core.scenario import Scenario, from_flat

LLAMA, SMALL = "meta-llama/Llama-3.1-8B-Instruct", "TinyLlama/TinyLlama-1.1B-Chat-v1.0"
WINDOWED, MIXTURE, LATENT = "google/gemma-2-9b-it", "Qwen/Qwen3-30B-A3B", "deepseek-ai/DeepSeek-V2-Lite"
LARGE = "meta-llama/Llama-3.3-70B-Instruct"
MODELS = (LLAMA, SMALL, WINDOWED, MIXTURE, LATENT)
CARDS = ("RTX 4090", "RTX 3090", "H100 SXM5 80GB", "A100 SXM4 80GB", "Tesla T4")
# Runtime and a quantisation of it.
LOCALS = (("llama.cpp", "Q4_K_M"), ("llama.cpp", "Q8_0"), ("llama.cpp", "F16"), ("ollama", "Q4_K_M"))
SERVERS = (("vllm", "BF16"), ("sglang", "BF16"))
ENGINES = LOCALS + SERVERS

SLACK = 1e-9

model_names = st.sampled_from(MODELS)
cards = st.sampled_from(CARDS)
engines, servers = st.sampled_from(ENGINES), st.sampled_from(SERVERS)
arrivals = st.sampled_from(("closed", "static", "saturated"))
prompts = st.integers(1, 4096)
outputs = st.integers(2, 1024)
users = st.sampled_from((1, 2, 3, 5, 8, 17, 32, 64, 128, 300))


def ask(model: str, device: str = "H100 SXM5 80GB", engine: tuple[str, str] = ("vllm", "BF16"), **knobs: Any) -> Scenario:
    runtime, quant = engine
    if runtime in ("vllm", "sglang") and device == "Tesla T4":
        quant = "FP16"  # Turing has no BF16
    return from_flat({"model": model, "device": device, "runtime": runtime, "quant": quant, **knobs})


def num(x: Any) -> float:
    return float(value(x))


def near(a: float, b: float, rel: float = 1e-9) -> bool:
    return a == b or (math.isnan(a) and math.isnan(b)) or math.isclose(a, b, rel_tol=rel, abs_tol=1e-12)
