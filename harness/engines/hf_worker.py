"""Times transformers: `python hf_worker.py JSON` prints seconds to the first token and for the rest, a repeat each."""

from __future__ import annotations

import json
import sys
import time
from typing import Any

_DTYPES = {"BF16": "bfloat16", "FP16": "float16", "FP32": "float32"}


def main(asked: dict[str, Any]) -> dict[str, Any]:
    """Loads the model and runs it: one warm-up, then `repeats` of prompt and answer, greedily and without a text."""
    import torch
    import transformers

    torch.manual_seed(asked["seed"])
    if asked["threads"]:
        torch.set_num_threads(asked["threads"])
    kind = asked["dtype"].upper()
    if kind not in _DTYPES:
        raise SystemExit(f"transformers is measured unquantised: dtype {kind} is not supported, give {', '.join(_DTYPES)}")
    device = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    trust = {"trust_remote_code": True} if asked["trust_remote_code"] else {}
    dtype = {"dtype" if int(transformers.__version__.split(".")[0]) >= 5 else "torch_dtype": getattr(torch, _DTYPES[kind])}
    if asked["random_weights"]:
        config = transformers.AutoConfig.from_pretrained(asked["model"], **trust)
        model = transformers.AutoModelForCausalLM.from_config(config, **dtype, **trust)
    else:
        model = transformers.AutoModelForCausalLM.from_pretrained(asked["model"], **dtype, **trust)
    model = model.to(device).eval()
    wait = torch.cuda.synchronize if device == "cuda" else torch.mps.synchronize if device == "mps" else (lambda: None)
    first, rest = [], []
    with torch.inference_mode():
        for repeat in range(asked["repeats"] + 1):
            tokens = torch.randint(0, model.config.vocab_size, (asked["batch"], asked["prompt"]), device=device)
            wait()
            start = time.perf_counter()
            out = model(tokens, use_cache=True, logits_to_keep=1)
            step = out.logits[:, -1].argmax(-1, keepdim=True)
            wait()
            middle = time.perf_counter()
            for _ in range(asked["output"] - 1):
                out = model(step, past_key_values=out.past_key_values, use_cache=True)
                step = out.logits[:, -1].argmax(-1, keepdim=True)
            wait()
            end = time.perf_counter()
            if repeat:
                first.append(middle - start)
                rest.append(end - middle)
    peak = torch.cuda.max_memory_reserved() / 2**30 if device == "cuda" else None
    return {"first_s": first, "rest_s": rest, "version": transformers.__version__, "peak_gib": peak, "device": device}


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))))
