"""Matrix rates through an engine's own kernels: the prefill of a synthetic model, counted in FLOP of its matrices."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from core.catalog.models import ir
from harness import micro, synthetic
from harness.engines import Point, Session, engine
from harness.stats import Repeats

_PROMPT, _REPEATS = 256, Repeats(3, 3)


def linear_weights(model_id: str) -> float:
    """Weights that every token of a prompt is multiplied with: those of the layers. Embedding and head see one token or none."""
    return float(sum(t.elements for t in ir(model_id).tensors if t.layer is not None and t.group != "mtp" and len(t.shape) > 1))


def kernel_rates(
    size: str = "135m",
    quants: Iterable[str] = synthetic.QUANTS,
    *,
    threads: int | None = None,
    tell: Callable[[str], None] = lambda text: None,
) -> dict[str, float]:
    """TFLOP/s by quantisation of llama.cpp's prefill here. Writes the synthetic files that are not there.

    Raises Failure where llama-bench fails, RunError where it is not installed.
    """
    model_id = synthetic.model_of(size)
    found = {}
    for quant in quants:
        tell(quant)
        file = synthetic.write_synthetic(size, quant)
        cells = {"file": str(file), "prompt_tokens": _PROMPT, "output_tokens": 0, "threads": threads}
        result = engine("llama-bench").measure(Point("micro", quant, cells), Session(repeats=_REPEATS))
        rate = next(row["prefill_toks_sec"] for row in result.rows if row.get("prefill_toks_sec"))
        found[f"llama.cpp {quant}"] = float(f"{micro.kernel_rate(rate, linear_weights(model_id)):.3g}")
    return found
