"""A scenario inside its model as a spreadsheet that a spreadsheet can check: what adds up is a formula, not a number.

Sheets: the scenario; prefill and decode operation by operation, with sums; layer by layer, from these sums; the tensors.
"""

from __future__ import annotations

import io
import math
from typing import Any

from xlsxwriter import Workbook
from xlsxwriter.utility import xl_range, xl_rowcol_to_cell

from core.answer import Estimate
from core.ir import ModelIR
from core.model_stack import kind_names
from core.model_tensors import TENSOR_COLUMNS, tensor_rows
from core.quantity import value
from core.step_table import OUTSIDE, PHASES, Line, Table, step_table
from core.words import answer_sentence

EXPORT = "roofcast-steps.xlsx"
TYPE = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
STEP_COLUMNS = ("Kind of layer", "Layers", "Operation", "FLOP", "Bytes moved", "Bytes sent", "Time (s)", "Share of the step", "Limited by")
LAYER_COLUMNS = ("Layer", "Kind of layer", "FLOP", "Bytes moved", "Bytes sent", "Time (s)")
_SUMMED = ("flop", "bytes", "sent", "seconds")
_FIRST = 3  # column of the first number in a step's sheet


def steps_sheet(estimate: Estimate) -> bytes:
    """The whole workbook, as an .xlsx file."""
    told = io.BytesIO()
    # Names may come from anyone's link: no text becomes a formula or an address.
    with Workbook(told, {"in_memory": True, "strings_to_formulas": False, "strings_to_urls": False, "nan_inf_to_errors": True}) as book:
        writer = _Writer(book)
        writer.about(estimate)
        tables = {title: step_table(estimate, phase) for phase, title in PHASES.items()}
        for title, table in tables.items():
            writer.step(title, table)
        for title, table in tables.items():
            writer.layers(title, table, estimate.ir)
        writer.tensors(estimate)
    return told.getvalue()


class _Writer:
    """Writes the sheets, and knows in which cells the sums of each step stand."""

    def __init__(self, book: Workbook) -> None:
        self.book = book
        self.bold = book.add_format({"bold": True, "top": 1})
        self.head = book.add_format({"bold": True, "bottom": 1})
        self.share = book.add_format({"num_format": "0.00%"})
        self.bold_share = book.add_format({"num_format": "0.00%", "bold": True, "top": 1})
        self.sums: dict[tuple[str, str], int] = {}  # (phase, section) → its row
        self.totals: dict[str, int] = {}

    def about(self, estimate: Estimate) -> None:
        sheet = self.book.add_worksheet("Scenario")
        sheet.set_column(0, 0, 24)
        sheet.set_column(1, 1, 110)
        rows = [
            ("Answer", answer_sentence(estimate)),
            ("Scenario as a link's query", estimate.scenario.to_query()),
            ("Prefill, Decode", "One step on one device (the slowest), all layers of a kind together. Bold rows are sums by formula."),
            ("… by layer", "The mean layer of each kind: the kind's sum divided by its layers. Layers in host memory are not told apart."),
            ("Learned", "What measured runs add to or take from the step's time, beyond its operations."),
            ("Tensors", "Weights as the scenario stores them; a prediction module is not counted in the total."),
        ]
        for at, (name, text) in enumerate(rows):
            sheet.write_string(at, 0, name, self.head)
            sheet.write_string(at, 1, text)

    def header(self, name: str, columns: tuple[str, ...], widths: dict[int, int]) -> Any:
        sheet = self.book.add_worksheet(name)
        sheet.freeze_panes(1, 0)
        sheet.set_column(0, len(columns) - 1, 16)
        for column, width in widths.items():
            sheet.set_column(column, column, width)
        for column, title in enumerate(columns):
            sheet.write_string(0, column, title, self.head)
        return sheet

    def step(self, title: str, table: Table) -> None:
        sheet = self.header(title, STEP_COLUMNS, {0: 34, 2: 30, 8: 34})
        rows = sum(len(section.lines) + 1 for section in table.sections) + (table.learned is not None)
        end, row = rows + 1, 1  # the total's row
        share = _FIRST + len(_SUMMED)
        for section in table.sections:
            first = row
            for line in section.lines:
                self.texts(sheet, row, section.name, section.layers, line)
                for place, amount in enumerate(_numbers(line), _FIRST):
                    sheet.write_number(row, place, amount)
                self.of_total(sheet, row, share, end, line, self.share)
                row += 1
            self.texts(sheet, row, section.name, section.layers, section.sum, "sum of the above")
            for place, amount in enumerate(_numbers(section.sum), _FIRST):
                sheet.write_formula(row, place, f"=SUM({xl_range(first, place, row - 1, place)})", self.bold, amount)
            self.of_total(sheet, row, share, end, section.sum, self.bold_share)
            self.sums[title, section.name] = row
            row += 1
        parts = [self.sums[title, section.name] for section in table.sections]
        if table.learned is not None:
            self.texts(sheet, row, "", 0, table.learned)
            sheet.write_number(row, share - 1, table.learned.seconds)
            self.of_total(sheet, row, share, end, table.learned, self.share)
            parts.append(row)
        sheet.write_string(end, 0, table.whole.name, self.bold)
        for place, amount in enumerate(_numbers(table.whole), _FIRST):
            cells = "+".join(xl_rowcol_to_cell(part, place) for part in parts)
            sheet.write_formula(end, place, f"={cells}", self.bold, amount)
        self.of_total(sheet, end, share, end, table.whole, self.bold_share)
        self.totals[title] = end
        sheet.write_string(end + 1, 0, "As the estimate has it")
        for place, amount in enumerate(_numbers(table.whole), _FIRST):
            sheet.write_number(end + 1, place, amount)
        sheet.write_string(end + 2, 0, "Difference")
        for place in range(_FIRST, share):
            cells = f"{xl_rowcol_to_cell(end, place)}-{xl_rowcol_to_cell(end + 1, place)}"
            sheet.write_formula(end + 2, place, f"={cells}", None, 0.0)

    def texts(self, sheet: Any, row: int, kind: str, layers: int, line: Line, name: str = "") -> None:
        form = self.bold if name else None
        sheet.write_string(row, 0, kind, form)
        if layers:
            sheet.write_number(row, 1, layers, form)
        sheet.write_string(row, 2, name or line.name, form)
        sheet.write_string(row, _FIRST + len(_SUMMED) + 1, line.bound, form)

    def of_total(self, sheet: Any, row: int, column: int, end: int, line: Line, form: Any) -> None:
        time, whole = xl_rowcol_to_cell(row, column - 1), xl_rowcol_to_cell(end, column - 1, row_abs=True)
        sheet.write_formula(row, column, f"={time}/{whole}", form, line.share / 100 if math.isfinite(line.share) else 0.0)

    def layers(self, title: str, table: Table, model: ModelIR) -> None:
        """Each layer by its number; the numbers refer to the sums of its kind."""
        sheet = self.header(f"{title} by layer", LAYER_COLUMNS, {1: 34})
        names = kind_names(model)
        kinds = {layer: (names[block.name], len(block.layers)) for block in model.blocks for layer in block.layers}
        sums = {section.name: section.sum for section in table.sections}
        row = 1
        for layer in sorted(kinds):
            name, count = kinds[layer]
            sheet.write_number(row, 0, layer)
            self.refer(sheet, row, title, name, count, sums)
            row += 1
        sheet.write_string(row, 0, "")
        self.refer(sheet, row, title, OUTSIDE, 1, sums)
        end = row + 1
        if table.learned is not None:
            sheet.write_string(end, 1, table.learned.name)
            cell = xl_rowcol_to_cell(self.totals[title] - 1, _FIRST + 3)
            sheet.write_formula(end, 5, f"='{title}'!{cell}", None, table.learned.seconds)
            end += 1
        sheet.write_string(end, 0, table.whole.name, self.bold)
        sheet.write_string(end, 1, "", self.bold)
        for place, amount in enumerate(_numbers(table.whole), 2):
            sheet.write_formula(end, place, f"=SUM({xl_range(1, place, end - 1, place)})", self.bold, amount)

    def refer(self, sheet: Any, row: int, title: str, name: str, count: int, sums: dict[str, Line]) -> None:
        sheet.write_string(row, 1, name)
        at = self.sums.get((title, name))
        for place, amount in enumerate(_numbers(sums[name]) if at is not None else (), _FIRST):
            sheet.write_formula(row, place - 1, f"='{title}'!{xl_rowcol_to_cell(at or 0, place)}/{count}", None, amount / count)

    def tensors(self, estimate: Estimate) -> None:
        sheet = self.header("Tensors", TENSOR_COLUMNS, {1: 34, 2: 46, 3: 22})
        rows = tensor_rows(estimate.ir, estimate.resolved["quant"])
        rows = [row for row in rows if row["Counted"]] + [row for row in rows if not row["Counted"]]
        counted = sum(bool(row["Counted"]) for row in rows)
        end = counted + 1
        for at, row in enumerate(rows, 1):
            line = at if at < end else at + 1
            for column, name in enumerate(TENSOR_COLUMNS):
                if name == "Share (%)":
                    if row["Counted"]:
                        part, whole = xl_rowcol_to_cell(line, column - 1), xl_rowcol_to_cell(end, column - 1, row_abs=True)
                        sheet.write_formula(line, column, f"=100*{part}/{whole}", None, row[name])
                elif isinstance(row[name], str):
                    sheet.write_string(line, column, row[name])
                else:
                    sheet.write_number(line, column, row[name])
        sheet.write_string(end, 0, "Total", self.bold)
        for name in ("Count", "Parameters", "Bytes"):
            column = TENSOR_COLUMNS.index(name)
            amount = sum(row[name] for row in rows[:counted])
            sheet.write_formula(end, column, f"=SUM({xl_range(1, column, counted, column)})", self.bold, amount)


def _numbers(line: Line) -> tuple[float, float, float, float]:
    """FLOP, bytes moved, bytes sent and seconds; what is unknown counts nothing."""
    found = (float(value(line.flop)), float(value(line.bytes)), float(value(line.sent)), line.seconds)
    flop, moved, sent, seconds = (amount if math.isfinite(amount) else 0.0 for amount in found)
    return flop, moved, sent, seconds
