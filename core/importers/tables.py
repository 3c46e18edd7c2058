"""Plain tables of runs: CSV, JSON lines and Parquet in the columns of core.records."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import duckdb

from core.errors import RunError
from core.importers.document import Document, Row, Rows
from core.records import COLUMNS
from core.runs import METRIC_COLUMNS, REQUIRED_COLUMNS
from core.untrusted import MAX_BYTES, locked_down, read_untrusted_csv


def table_of(raw: bytes, name: str) -> tuple[str, Rows] | None:
    """Kind and rows of a table of runs; None where the file is none. Raises RunError for one that cannot be read."""
    if raw[:4] == b"PAR1":
        return "Parquet of runs", _parquet(raw, name)
    header = {cell.strip().strip('"').lower() for cell in raw[:4096].decode("utf-8-sig", "replace").split("\n", 1)[0].split(",")}
    if all(header & set(pair) for pair in REQUIRED_COLUMNS) and header & set(METRIC_COLUMNS):
        return "CSV of runs", _csv(raw, name)
    return None


def _csv(raw: bytes, name: str) -> Rows:
    table, rejects = read_untrusted_csv(raw.removeprefix(b"\xef\xbb\xbf"), name)
    rows = [{str(key): cell for key, cell in row.items()} for row in table.to_dict("records")]
    return [*((f"row {at}", partial(dict, row)) for at, row in enumerate(rows, 1)), *(("", partial(_refuse, why)) for why in rejects)]


def _refuse(why: str) -> NoReturn:
    raise RunError(why)


def _parquet(raw: bytes, name: str) -> Rows:
    if len(raw) > MAX_BYTES:
        raise RunError(f"{name} has {len(raw) / 2**20:.0f} MiB; at most {MAX_BYTES // 2**20} are read. Split it.")
    with tempfile.TemporaryDirectory(prefix="roofcast-upload-") as folder:
        path = Path(folder) / "upload.parquet"
        path.write_bytes(raw)
        try:
            with locked_down(folder) as connection:
                rows = connection.execute("select * from read_parquet(?)", [str(path)]).df().to_dict("records")
        except duckdb.Error as error:
            why = (str(error).splitlines() or ["no reason given"])[0][:160].replace(str(path), name)
            raise RunError(f"{name} cannot be read as Parquet ({why}).") from error
    known = [{str(key): cell for key, cell in row.items() if cell is not None and cell == cell} for row in rows]
    return [(f"row {at}", partial(dict, row)) for at, row in enumerate(known, 1)]


def records(document: Document) -> Rows:
    """Objects as rows, by the columns that records have."""
    needed = set(METRIC_COLUMNS) | {"memory_gib"}
    found = [(where, e) for where, e in document.objects if needed & set(e) and all(set(pair) & set(e) for pair in REQUIRED_COLUMNS)]
    return [(where, partial(_row, entry)) for where, entry in found]


def _row(entry: Any) -> Row:
    return {key: cell for key, cell in entry.items() if key in COLUMNS}
