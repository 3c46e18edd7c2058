"""A model's tensors as rows of a table, with their sums by group, and as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Any

from core.catalog.quants import format_named, quant
from core.inspect_model import GROUPS, Row
from core.ir import ModelIR, Tensor
from core.model_stack import kind_names
from core.units import GIB
from core.weights import tensor_bytes, tensor_formats


def tensor_rows(model: ModelIR, quant_id: str) -> list[Row]:
    """Tensors that are alike, in order of execution: group, kind of layer, name, shape, how many, format, bytes, share in percent."""
    scheme = quant(quant_id)
    if model.stored and scheme.id == model.stored_as:
        stored: Iterable[tuple[str, int]] = model.stored
    else:
        stored = [(name, tensor_bytes(t, name)) for t, name in zip(model.tensors, tensor_formats(model, scheme), strict=True)]
    names = kind_names(model)
    merged: dict[tuple[Any, ...], Row] = {}
    for tensor, (form, size) in zip(model.tensors, stored, strict=True):
        key = (tensor.group, tensor.block, tensor.role, tensor.shape, form)
        row = merged.setdefault(key, {
            "Group": GROUPS[tensor.group], "Kind of layer": names.get(tensor.block or "", ""), "Name": _any_layer(tensor),
            "Shape": " × ".join(f"{n:,}" for n in tensor.shape), "Count": 0, "Format": format_named(form).title,
            "Parameters": 0, "Bytes": 0, "Counted": tensor.group != "mtp",
        })  # fmt: skip
        row["Count"] += 1
        row["Parameters"] += tensor.elements
        row["Bytes"] += size
    merged |= _tower_rows(model)
    counted = sum(row["Bytes"] for row in merged.values() if row["Counted"]) or 1
    return [
        {**row, "Share (%)": 100 * row["Bytes"] / counted if row["Counted"] else None, "GiB": row["Bytes"] / GIB} for row in merged.values()
    ]


def _tower_rows(model: ModelIR) -> dict[tuple[Any, ...], Row]:
    """The vision tower's tensors, as it is loaded: no quantisation of the language model reaches it."""
    tower = model.tower
    merged: dict[tuple[Any, ...], Row] = {}
    for tensor in () if tower is None else tower.tensors:
        assert tower is not None
        row = merged.setdefault((tensor.role, tensor.shape, tensor.block, tensor.layer is None and tensor.name), {
            "Group": GROUPS["vision"], "Kind of layer": "", "Name": _any_layer(tensor), "Shape": " × ".join(f"{n:,}" for n in tensor.shape),
            "Count": 0, "Format": "16 bits" if tower.stored_bytes is None else "as stored", "Parameters": 0, "Bytes": 0, "Counted": False,
        })  # fmt: skip
        row["Count"] += 1
        row["Parameters"] += tensor.elements
        row["Bytes"] += round(tensor.elements * tower.bytes / tower.parameters)
    return merged


def _any_layer(tensor: Tensor) -> str:
    return tensor.name if tensor.layer is None else tensor.name.replace(f".{tensor.layer}.", ".N.", 1)


def group_rows(rows: Sequence[Row]) -> list[Row]:
    """The sums of `tensor_rows` by group, and the total: of the language model, without prediction modules."""
    names = list(dict.fromkeys(row["Group"] for row in rows))
    counted = {row["Group"] for row in rows if row["Counted"]}
    found = {name: _sum(name, [row for row in rows if row["Group"] == name]) for name in names}
    beside = [{**found[name], "Group": f"{name}, beside the total"} for name in names if name not in counted]
    return [*(found[name] for name in names if name in counted), _sum("Total", [row for row in rows if row["Counted"]]), *beside]


def _sum(name: str, rows: Sequence[Row]) -> Row:
    share = sum(row["Share (%)"] or 0.0 for row in rows) if any(row["Counted"] for row in rows) else None
    return {"Group": name, "Tensors": sum(r["Count"] for r in rows), "Parameters": sum(r["Parameters"] for r in rows),
            "Bytes": sum(r["Bytes"] for r in rows), "GiB": sum(r["GiB"] for r in rows), "Share (%)": share}  # fmt: skip


def as_csv(rows: Sequence[Row], columns: Sequence[str]) -> str:
    """Rows as CSV text with these columns. What a spreadsheet would take for a formula gets an apostrophe before it."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(columns)
    writer.writerows([_cell(row.get(column)) for column in columns] for row in rows)
    return text.getvalue()


def _cell(item: Any) -> Any:
    return f"'{item}" if isinstance(item, str) and item[:1] in ("=", "+", "-", "@", "\t", "\r") else "" if item is None else item


EXPORT = "roofcast-tensors.csv"
TENSOR_COLUMNS = ("Group", "Kind of layer", "Name", "Shape", "Count", "Format", "Parameters", "Bytes", "Share (%)")


def tensors_csv(model: ModelIR, quant_id: str) -> str:
    """The tensor list for a spreadsheet: a line each, and no line with sums, so that any column can be added up."""
    return as_csv(tensor_rows(model, quant_id), TENSOR_COLUMNS)
