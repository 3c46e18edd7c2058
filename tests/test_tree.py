"""A number's tree, level by level."""

from __future__ import annotations

import pytest

from core import tree
from core.estimate import estimate
from core.quantity import Quantity
from core.scenario import from_flat
from core.sweep import answer

FOUND = estimate(from_flat({"model": "Llama-3.1-8B-Instruct", "device": "RTX 4090", "concurrency": 4}))


def rate() -> Quantity:
    number = FOUND.metrics["decode_rate"]
    assert isinstance(number, Quantity)
    return number


def test_formula_with_its_numbers() -> None:
    shown = tree.level(rate())
    assert shown.formula == "1 / per_token"
    assert shown.numbers.startswith("1 / ")
    assert "per_token" not in shown.numbers
    assert shown.lines[0].opens


@pytest.mark.parametrize("metric", FOUND.metrics)
def test_every_way_leads_to_a_source(metric: str) -> None:
    root = FOUND.metrics[metric]
    assert isinstance(root, Quantity)
    node, path = root, []
    while node.formula is not None:
        key = next(key for key, child in reversed(node.inputs.items()) if isinstance(child, Quantity))
        path.append(key)
        node = tree.at(root, path)
    shown = tree.level(node)
    assert shown.source is not None
    assert shown.kind


def test_sum_lists_its_largest_part_first() -> None:
    shown = tree.level(FOUND.device.needed)
    shares = [line.share or 0 for line in shown.lines]
    assert shares == sorted(shares, reverse=True)
    assert sum(shares) == pytest.approx(1)


def test_wrong_path_stops_where_it_breaks() -> None:
    assert tree.at(rate(), ["per_token", "no such input"]) is tree.at(rate(), ["per_token"])


def test_guesses_are_marked_and_come_first() -> None:
    found = tree.guesses(rate())
    marked = [bool(leaf.source and leaf.source.guess) for leaf in found]
    assert any(marked)
    assert marked == sorted(marked, reverse=True)


def test_only_what_the_user_said_has_a_default_to_go_back_to() -> None:
    """A fitted constant keeps the assumed one, but nobody had set it."""
    corrected = answer(FOUND.scenario).metrics["decode_rate"]
    leaves = [leaf for leaf in corrected.leaves() if leaf.source is not None and leaf.source.default is not None]
    assert {leaf.kind for leaf in leaves} == {"user", "fitted"}
    assert all(bool(tree.level(leaf).default) == (leaf.kind == "user") for leaf in leaves)


def test_names_for_people() -> None:
    assert tree.title("memory_time") == "memory time"
    assert tree.title("attn_q of full+dense (q4_k)") == "attn_q of full+dense (q4_k)"
    assert tree.amount(3.0, "tok") == "3 tok"
