"""Which arithmetic runs: runtime × backend × kind of weights × device family × tokens in the step → the peak that applies."""

from __future__ import annotations

import functools
from typing import Any, Literal

from pydantic import Field

from core.catalog.files import CATALOG, CatalogRecord, read, record


class KernelRule(CatalogRecord):
    """One line of the kernel table. `compute` and `otherwise` name peaks: fp32, fp16, bf16, fp8, int8, fp4."""

    when: dict[str, str | list[str]] = Field(default_factory=dict)
    compute: str
    otherwise: list[str] = Field(default_factory=list)
    share: float = 1.0
    cap_tflops: float | None = None
    few_up_to: float = Field(default=0, ge=0)  # tokens in the step up to which another kernel runs; 0: the same for any
    few_compute: str | None = None
    few_share: float = 1.0
    reads: Literal["as stored", "widened"] = "as stored"  # what the kernel reads from memory
    source: str
    note: str | None = None


@functools.cache
def kernel_rules() -> list[KernelRule]:
    """The kernel table in file order."""
    raw = read(CATALOG / "kernels" / "kernels.toml")["rules"]
    return [record(KernelRule, row, f"kernels.toml, rule {n + 1}") for n, row in enumerate(raw)]


def kernel(**facts: Any) -> KernelRule:
    """The rule that holds for these facts (engine, audience, backend, kernel_class, family, kind)."""
    best: KernelRule | None = None
    for rule in kernel_rules():
        holds = all(facts.get(k) in w if isinstance(w, list) else facts.get(k) == w for k, w in rule.when.items())
        if holds and (best is None or len(rule.when) >= len(best.when)):
            best = rule
    assert best is not None, "the first rule has no conditions"
    return best
