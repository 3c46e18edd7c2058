"""Quantities that were worked out by hand or read from documents, each with its reason."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from laws import ask, num

from core.catalog import models
from core.columns import columns, plain
from core.estimate import estimate
from core.formulas.economics import cost_per_million
from core.formulas.ops import attended_pairs, attention_flop, distinct_experts, linear_flop
from core.formulas.queueing import closed_rate, open_wait
from core.memory import cache_of_sequence
from core.plan import make_plan
from core.setting import settle
from core.units import HOUR


def _layer_elements(model: str) -> float:
    return sum(t.elements for t in models.ir(model).tensors if t.layer is not None and t.group not in ("norm", "mtp"))


def _attention_flop(model: str, pairs: float) -> float:
    found = 0.0
    for block in models.ir(model).blocks:
        a, layers = block.attention, len(block.layers)
        found += layers * attention_flop(pairs=pairs, heads=a.heads, key_width=a.head_dim, value_width=a.v_head_dim)
    return found


def _kv(model: str, kv_dtype: str, tp: int = 1, tokens: int = 4096) -> float:
    """Bytes of one sequence on one rank, as the estimator's memory has it."""
    scenario = ask(model, "H200 SXM 141GB", count=16, tp=tp, kv_dtype=kv_dtype)
    c = plain(columns(settle(scenario)))
    return float(cache_of_sequence(make_plan(models.ir(model), c), c, tokens, ""))


QUANTITIES = {
    "layers_flop_full_square": lambda model, tokens: (
        linear_flop(tokens=tokens, elements=_layer_elements(model)) + _attention_flop(model, tokens**2)
    ),
    "layers_flop_causal": lambda model, tokens: (
        linear_flop(tokens=tokens, elements=_layer_elements(model))
        + _attention_flop(model, attended_pairs(start=0.0, tokens=float(tokens), window=1e12))
    ),
    "kv_bytes_per_token": lambda model, kv_dtype: _kv(model, kv_dtype) / 4096,
    "kv_bytes_at": lambda model, kv_dtype, tokens: _kv(model, kv_dtype, tokens=tokens),
    "kv_rank_bytes_per_token": lambda model, kv_dtype, tp: _kv(model, kv_dtype, tp) / 4096,
    "distinct_experts": distinct_experts,
    "all_reduce_sent": lambda model, device, tp: sum(
        num(op.sent) for op in estimate(ask(model, device, count=8, tp=tp)).decode.step.ops if op.name == "all-reduce"
    ),
    "sent": lambda model, device, tp: sum(num(op.sent) for op in estimate(ask(model, device, tp=tp)).decode.step.ops),
    "open_wait": open_wait,
    "cost_per_million": lambda usd_per_h, tokens_per_s: cost_per_million(rate=usd_per_h / HOUR, tokens=tokens_per_s),
    "closed_rate": closed_rate,
    "largest_pool_share": lambda model, device, fraction: (lambda answer: num(answer.device.taken) / num(answer.device.limit))(
        estimate(ask(model, device, ("vllm", "FP8"), memory_fraction=fraction))
    ),
}
GOLDEN = json.loads((Path(__file__).parents[1] / "data" / "golden" / "estimates.json").read_text())["cases"]


@pytest.mark.parametrize("case", GOLDEN, ids=lambda c: "-".join(map(str, (c["quantity"], *c["inputs"].values()))))
def test_golden(case: dict[str, Any]) -> None:
    found = float(QUANTITIES[case["quantity"]](**case["inputs"]))
    assert math.isclose(found, case["expected"], rel_tol=case["tolerance"], abs_tol=0.0), case["why"]
