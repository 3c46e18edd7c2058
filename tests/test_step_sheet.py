"""The spreadsheet of a step: its sums are formulas, and computed anew they give what the estimate says."""

from __future__ import annotations

import io
import math
import re
from typing import Any

import pytest
from openpyxl import Workbook, load_workbook
from test_step_table import slower

from core.answer import Estimate
from core.estimate import estimate
from core.quantity import value
from core.scenario import from_flat
from core.step_sheet import steps_sheet


@pytest.fixture(scope="module", params=["offloaded", "apart", "learned"])
def told(request: pytest.FixtureRequest) -> Estimate:
    if request.param == "apart":
        split = {"tp": 4, "dp": 2, "mlp_tp": 8}
        return estimate(from_flat({"model": "DeepSeek-V3", "device": "H200 SXM", "count": 8, "runtime": "sglang", "quant": "FP8", **split}))
    found = estimate(from_flat({"model": "gpt-oss-120b", "device": "RTX 4090", "ram_gb": 128}))
    return slower(found, 1.3) if request.param == "learned" else found


def computed(book: Workbook, sheet: str, cell: str) -> float:
    """A cell as a spreadsheet computes it: sums, and sums, differences, products and quotients of cells."""
    content = book[sheet][cell.replace("$", "")].value
    if not (isinstance(content, str) and content.startswith("=")):
        return float(content or 0)
    if ranged := re.fullmatch(r"=SUM\(([A-Z]+\d+:[A-Z]+\d+)\)", content):
        return math.fsum(computed(book, sheet, one.coordinate) for (one,) in book[sheet][ranged[1]])
    terms = re.findall(r"([-+*/=])(?:'([^']+)'!)?([A-Z]+\$?\d+|\d+)", content)
    assert "".join(sign + (f"'{other}'!" if other else "") + term for sign, other, term in terms) == content
    found = 0.0
    for sign, other, term in terms:
        amount = float(term) if term.isdigit() else computed(book, other or sheet, term)
        found = {"=": amount, "+": found + amount, "-": found - amount, "*": found * amount, "/": found / amount if amount else 0.0}[sign]
    return found


def test_formulas_give_what_the_estimate_says(told: Estimate) -> None:
    raw = steps_sheet(told)
    book, shown = load_workbook(io.BytesIO(raw)), load_workbook(io.BytesIO(raw), data_only=True)
    formulas = 0
    for sheet in book.worksheets:
        for row in sheet.iter_rows():
            for cell in row:
                if isinstance(cell.value, str) and cell.value.startswith("="):
                    formulas += 1
                    said = shown[sheet.title][cell.coordinate].value
                    assert computed(book, sheet.title, cell.coordinate) == pytest.approx(said, abs=1e-3)  # the difference of large sums
    assert formulas > 200
    for title, phase in (("Prefill", told.prefill), ("Decode", told.decode)):
        amounts = {name: float(value(amount)) for name, amount in (("D", phase.flop), ("E", phase.bytes), ("G", phase.step.time))}
        end = next(row[0].row for row in book[title].iter_rows() if row[0].value == "Whole step")
        by_layer = book[f"{title} by layer"]
        assert sum(isinstance(row[0].value, int) for row in by_layer.iter_rows()) == told.ir.layers
        for column, amount in amounts.items():
            assert computed(book, title, f"{column}{end}") == pytest.approx(amount, rel=1e-9)
            other = {"D": "C", "E": "D", "G": "F"}[column]
            assert computed(book, by_layer.title, f"{other}{by_layer.max_row}") == pytest.approx(amount, rel=1e-9)
            assert computed(book, title, f"{column}{end + 2}") == pytest.approx(0, abs=amount * 1e-9)
    tensors = book["Tensors"]
    total = next(row[0].row for row in tensors.iter_rows() if row[0].value == "Total")
    assert computed(book, "Tensors", f"G{total}") == told.ir.parameters


def test_a_name_is_no_formula() -> None:
    knobs: dict[str, Any] = {"model": "Qwen3-8B", "device": "=1+1?base=RTX 4090&memory_bandwidth_gb_s=950"}
    book = load_workbook(io.BytesIO(steps_sheet(estimate(from_flat(knobs)))))
    assert book["Scenario"]["B1"].data_type == "s" and "=1+1" in book["Scenario"]["B1"].value
