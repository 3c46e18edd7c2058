"""Two models side by side: what they amount to, and every field of their configs."""

from __future__ import annotations

from typing import Any

from core.inspect_model import Inspected, Row
from core.model_stack import cards
from core.units import show


def diff_rows(left: Inspected, right: Inspected) -> list[Row]:
    """One row a figure or field: `Left` and `Right` as text, and whether they differ."""
    rows = [_row("Figures", name, a, b) for (name, a), (_, b) in zip(_figures(left), _figures(right), strict=True)]
    rows += _kinds(left, right)
    fields = {**left.facts["fields"], **right.facts["fields"]}
    for name in sorted(fields, key=lambda key: (key != "model_type", key)):
        rows.append(_row("Config", name, _field(left, name), _field(right, name)))
    return rows


def _row(part: str, name: str, left: str, right: str) -> Row:
    return {"Part": part, "What": name, "Left": left, "Right": right, "Differs": left != right}


def _figures(found: Inspected) -> list[tuple[str, str]]:
    facts = found.facts
    return [
        ("Parameters", f"{facts['parameters']:,}"),
        ("Active parameters", f"{facts['active_parameters']:,}"),
        ("Prediction module", f"{facts['prediction_module_parameters']:,}"),
        ("Vision tower", f"{facts['vision_tower']['parameters']:,}" if "vision_tower" in facts else "–"),
        ("Layers", f"{facts['layers']:,}"),
        ("Longest context", f"{facts['max_context_tokens']:,} tokens"),
        ("KV cache a token, 16 bits", f"{facts['kv_bytes_per_token']:,} B"),
        ("State a sequence", show(facts["state_bytes_per_sequence"], "B")),
        ("Weights as published", f"{show(facts['weights_bytes'], 'B')} ({facts['weights_quant']})"),
    ]


def _kinds(left: Inspected, right: Inspected) -> list[Row]:
    """Kinds of layers that either has: how many, and what each is made of."""
    told = [{card.title: card for card in cards(found.ir).values()} for found in (left, right)]
    rows = []
    for title in dict.fromkeys([*told[0], *told[1]]):
        one, other = (side.get(title) for side in told)
        for what, field in (("layers", "layers"), ("attention", "attention"), ("feed-forward", "mlp")):
            a, b = ("–" if card is None else str(getattr(card, field)) for card in (one, other))
            rows += [_row("Layers", f"{title}: {what}", a, b)] if (a or b) and (what == "layers" or (one and other)) else []
    return rows


def _field(found: Inspected, name: str) -> str:
    field: Any = found.facts["fields"].get(name)
    return "–" if field is None else str(field["value"])
