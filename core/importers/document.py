"""A result file as text, objects and tables: what importers look at. Nothing in it is executed, whatever it claims to be."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from core.errors import RunError

MAX_BYTES = 64 * 2**20
Object = Mapping[str, Any]
Row = dict[str, Any]  # by the columns of core.records
Rows = list[tuple[str, Callable[[], Row]]]  # where each stands, and what reads it or raises RunError: why it cannot be used


@dataclass
class Document:
    """A file of text. `objects`: its JSON objects, each with its place; `tables`: its Markdown tables, each line by column."""

    name: str
    text: str

    @cached_property
    def objects(self) -> list[tuple[str, Object]]:
        """JSON objects of the whole file, of its array, or one after another with other lines between."""
        try:
            whole = json.loads(self.text)
        except (ValueError, RecursionError):
            return list(_scattered(self.text))
        items = whole if isinstance(whole, list) else [whole]
        return [(f"entry {at}", item) for at, item in enumerate(items, 1) if isinstance(item, dict)]

    @cached_property
    def tables(self) -> list[list[tuple[str, dict[str, str]]]]:
        found: list[list[tuple[str, dict[str, str]]]] = []
        header: list[str] | None = None
        for number, line in enumerate(self.text.splitlines(), 1):
            if not line.lstrip().startswith("|"):
                header = None
                continue
            cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
            if header is None:
                header = cells
                found.append([])
            elif not all(re.fullmatch(r":?-+:?", cell) for cell in cells):
                found[-1].append((f"line {number}", dict(zip(header, cells, strict=False))))
        return [table for table in found if table]

    @cached_property
    def csv(self) -> list[tuple[str, dict[str, str]]]:
        """Rows of a CSV file by the columns of its header; none where the text is no such file."""
        try:
            reader = csv.DictReader(io.StringIO(self.text.strip(), newline=""), restkey="", restval="")
            return [(f"row {at}", {str(k): str(v) for k, v in row.items() if k}) for at, row in enumerate(reader, 1)]
        except csv.Error:
            return []


def _scattered(text: str) -> Iterator[tuple[str, Object]]:
    decoder, at = json.JSONDecoder(), 0
    starts = re.compile(r"\{")
    while found := starts.search(text, at):
        begins = text.rfind("\n", 0, found.start()) + 1
        if text[begins : found.start()].strip(" \t[,}") and at <= begins:
            at = text.find("\n", found.start()) + 1 or len(text)  # a brace in a line of prose
            continue
        try:
            item, at = decoder.raw_decode(text, found.start())
        except (ValueError, RecursionError):
            at = text.find("\n", found.start()) + 1 or len(text)
            continue
        if isinstance(item, dict):
            yield f"line {text.count(chr(10), 0, found.start()) + 1}", item


def document(raw: bytes, name: str) -> Document:
    """A result file as a document. Raises RunError for one that is too large, empty or no text."""
    if len(raw) > MAX_BYTES:
        raise RunError(f"{name} has {len(raw) / 2**20:.0f} MiB; at most {MAX_BYTES // 2**20} are read. Leave its details out.")
    try:
        text = raw.decode("utf-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError:
        raise RunError(f"{name} is no text in UTF-8; give the file that the benchmark wrote.") from None
    if "\0" in text:
        raise RunError(f"{name} holds binary data; give the file that the benchmark wrote.")
    if not text.strip():
        raise RunError(f"{name} is empty; the benchmark wrote nothing into it.")
    return Document(name, text)


# ---- Cells


def number(entry: Object, *keys: str) -> float | None:
    """The first of these entries that is a number of zero or more, also where it is written as text; else None."""
    for key in keys:
        cell = entry.get(key)
        if isinstance(cell, bool) or cell is None:
            continue
        try:
            amount = float(cell)
        except (TypeError, ValueError):
            continue
        if math.isfinite(amount) and amount >= 0:
            return amount
    return None


def text(entry: Object, *keys: str) -> str:
    """The first of these entries that is text with something in it, on one line; else ""."""
    for key in keys:
        cell = entry.get(key)
        if isinstance(cell, str) and cell.strip():
            return " ".join(cell.split())[:200]
    return ""


def numbers(entry: Object, key: str) -> list[float]:
    """A list of numbers; what is none is left out."""
    cells = entry.get(key)
    if not isinstance(cells, list):
        return []
    return [float(c) for c in cells if isinstance(c, int | float) and not isinstance(c, bool) and math.isfinite(c) and c >= 0]


def percentile(samples: list[float], percent: float) -> float | None:
    return float(np.percentile(samples, percent)) if samples else None


def file_name(path: str) -> str:
    """The last part of a path of any system; of a person's folders nothing is kept."""
    return re.split(r"[/\\]", path.strip().rstrip("/\\"))[-1]


def date_of(stamp: str) -> str:
    """YYYY-MM-DD of a time stamp as tools write it; "" where there is none."""
    found = re.match(r"(20\d{2})-?(\d{2})-?(\d{2})", stamp.strip())
    return "-".join(found.groups()) if found else ""
