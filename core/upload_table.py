"""An uploaded file as a table of text: CSV of any separator, Parquet, JSON lines or an array of objects.

DuckDB reads CSV and Parquet where it can reach nothing (`core.untrusted.locked_down`); no cell is ever executed or part of a
query. What cannot be read is refused by one sentence, what cannot be read of it by one a row.
"""

from __future__ import annotations

import csv
import io
import json
import re
import tempfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from core.errors import RunError
from core.importers import Refused
from core.importers.document import Document, document
from core.units import show
from core.untrusted import MAX_BYTES, locked_down

MAX_ROWS = 20_000
MAX_COLUMNS = 300
MAX_UNPACKED = 512 * 2**20  # bytes that a Parquet file may hold uncompressed
MAX_REJECTS = 1000
_SEPARATORS = ";\t|,"
# First bytes → what people call such a file, and what to do instead.
_OTHER_FILES = (
    (b"PK\x03\x04", "an archive or an Excel workbook", "Unpack it, or save the sheet as CSV"),
    (b"\xd0\xcf\x11\xe0", "an Excel workbook of the old form", "Save the sheet as CSV"),
    (b"%PDF", "a PDF", "Give the file that the benchmark wrote"),
    (b"\x89PNG", "a picture", "Give the file that the benchmark wrote"),
    (b"\xff\xd8\xff", "a picture", "Give the file that the benchmark wrote"),
    (b"7z\xbc\xaf", "an archive", "Unpack it"),
    (b"\x28\xb5\x2f\xfd", "an archive (zstd)", "Unpack it"),
    (b"BZh", "an archive (bzip2)", "Unpack it"),
    (b"\xfd7zXZ", "an archive (xz)", "Unpack it"),
)
_HTML = re.compile(rb"^\s*(<!doctype html|<html|<head|<\?xml)", re.I)


@dataclass(frozen=True, slots=True)
class Sheet:
    """A table as it stands in a file: `rows[i]` are a row's cells by column, found at `places[i]` ("line 3", "entry 2")."""

    name: str
    kind: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    places: tuple[str, ...]
    refused: tuple[Refused, ...] = ()
    separator: str = ""

    def column(self, name: str) -> list[str]:
        """The cells of a column, top to bottom."""
        at = self.header.index(name)
        return [row[at] for row in self.rows]


def unpacked(raw: bytes, name: str) -> tuple[bytes, str]:
    """The file's bytes, out of gzip where it is so packed, and its name. Raises RunError for what can be no table of runs."""
    if len(raw) > MAX_BYTES:
        raise RunError(f"{name} has {show(len(raw), 'B')}; at most {show(MAX_BYTES, 'B')} are read. Split it.")
    if raw[:2] == b"\x1f\x8b":
        raw, name = _gunzipped(raw, name), name.removesuffix(".gz")
    if not raw.strip():
        raise RunError(f"{name} is empty; it needs a header and a row for each run.")
    for start, what, instead in _OTHER_FILES:
        if raw.startswith(start):
            raise RunError(f"{name} is {what}, not a table of runs. {instead} and try again.")
    if b"\0" in raw[:8192] and raw[:4] != b"PAR1" and raw[:2] not in (b"\xff\xfe", b"\xfe\xff"):
        raise RunError(f"{name} holds binary data, no table of runs. Give the file that the benchmark wrote, or save it as CSV.")
    if _HTML.match(raw[:512]):
        raise RunError(f"{name} is a web page, not a table of runs. Download the file itself (on GitHub: “Raw”) and try again.")
    return raw, name


def _gunzipped(raw: bytes, name: str) -> bytes:
    """Unpacked as far as is allowed, so that a small file cannot fill the memory."""
    try:
        engine = zlib.decompressobj(wbits=31)
        found = engine.decompress(raw, MAX_BYTES + 1)
    except zlib.error as error:
        raise RunError(f"{name} cannot be unpacked ({error}); give the file itself.") from error
    if len(found) > MAX_BYTES:
        raise RunError(f"{name} unpacks to more than {show(MAX_BYTES, 'B')}, the most that is read. Split it.")
    return found


def text_of(raw: bytes, name: str) -> Document:
    """The file as text, UTF-8 or UTF-16. Raises RunError."""
    try:
        return document(raw, name)
    except RunError as error:
        if "no text in UTF-8" not in str(error):
            raise
        raise RunError(f"{name} is not in UTF-8 (some letters are stored otherwise); save it as “CSV UTF-8” and try again.") from None


def sheet_of(raw: bytes, name: str) -> Sheet:
    """The table in a file's unpacked bytes. Raises RunError, one sentence, for a file without one."""
    if raw[:4] == b"PAR1":
        return _parquet(raw, name)
    found = text_of(raw, name)
    if found.text.lstrip()[:1] in ("{", "["):
        return _objects(found)
    return _csv(found)


# ---- CSV


def _csv(found: Document) -> Sheet:
    text, name = found.text.lstrip("\ufeff"), found.name
    first = next(line for line in text.splitlines() if line.strip())
    separator = max(_SEPARATORS, key=lambda mark: (first.count(mark), mark == ","))
    if not first.count(separator):
        raise RunError(f"{name} has one column only: its first line is “{_short(first)}”; a table of runs has a column for each fact.")
    header = [cell.strip() for cell in next(csv.reader([first], delimiter=separator))]
    _check_header(header, name)
    with tempfile.TemporaryDirectory(prefix="roofcast-upload-") as folder:
        path = Path(folder) / "upload.csv"
        path.write_bytes(text.encode("utf-8"))
        with locked_down(folder) as connection:
            rows, wrong = _read_csv(connection, path, name, separator, len(header))
    refused = [Refused(f"line {line}", _why(kind, len(header))) for line, kind in wrong]
    places = _lines(text, rows, {line for line, _ in wrong})
    return _limited(Sheet(name, "CSV", tuple(header), tuple(rows), tuple(places), tuple(refused), separator))


def _read_csv(
    connection: duckdb.DuckDBPyConnection, path: Path, name: str, separator: str, columns: int
) -> tuple[list[tuple[str, ...]], list[tuple[int, str]]]:
    """Rows as text, and (line, kind) of those that could not be read."""
    names = {f"c{at}": "VARCHAR" for at in range(columns)}
    try:
        found = connection.execute(
            "select * from read_csv(?, header = true, columns = ?, auto_detect = false, delim = ?, quote = '\"', escape = '\"',"
            " store_rejects = true, rejects_limit = ?, max_line_size = 1048576, parallel = false)",
            [str(path), names, separator, MAX_REJECTS],
        ).fetchmany(MAX_ROWS + 1)
        wrong = connection.execute("select line, any_value(error_type::varchar) from reject_errors group by line order by line").fetchall()
    except duckdb.Error as error:
        reason = (str(error).splitlines() or ["no reason given"])[0][:160].replace(str(path), name)
        raise RunError(f"{name} cannot be read as CSV ({reason}).") from error
    return [tuple("" if cell is None else str(cell) for cell in row) for row in found], [(int(line), str(kind)) for line, kind in wrong]


def _why(kind: str, columns: int) -> str:
    told = {
        "TOO MANY COLUMNS": f"The row has more cells than the header's {columns}; quote cells that hold the separator.",
        "MISSING COLUMNS": f"The row has fewer cells than the header's {columns}.",
        "UNQUOTED VALUE": "A quoted cell is not closed, or goes on after its quote.",
        "LINE SIZE OVER MAXIMUM": "The line is longer than 1 MiB.",
        "INVALID ENCODING": "The line is not UTF-8.",
    }
    return told.get(kind.upper(), f"The row cannot be read ({kind.lower()}).")


def _lines(text: str, rows: Sequence[tuple[str, ...]], wrong: set[int]) -> list[str]:
    """Where each row begins: the lines that are left when header, empty and unreadable ones are taken away."""
    free = [number for number, line in enumerate(text.splitlines(), 1) if line.strip() and number not in wrong][1:]
    places, at = [], 0
    for row in rows:
        places.append(f"line {free[at]}" if at < len(free) else "the last line")
        at += 1 + sum(cell.count("\n") for cell in row)
    return places


# ---- Parquet and JSON


def _parquet(raw: bytes, name: str) -> Sheet:
    with tempfile.TemporaryDirectory(prefix="roofcast-upload-") as folder:
        path = Path(folder) / "upload.parquet"
        path.write_bytes(raw)
        try:
            with locked_down(folder) as connection:
                asked = "select coalesce(sum(total_uncompressed_size), 0) from parquet_metadata(?)"
                held = (connection.execute(asked, [str(path)]).fetchone() or (0,))[0]
                if held > MAX_UNPACKED:
                    raise RunError(f"{name} unpacks to {show(held, 'B')}; at most {show(MAX_UNPACKED, 'B')} are read. Split it.")
                found = connection.execute("select * from read_parquet(?) limit ?", [str(path), MAX_ROWS + 1])
                header = [str(column[0]) for column in found.description or ()]
                rows = found.fetchall()
        except duckdb.Error as error:
            reason = (str(error).splitlines() or ["no reason given"])[0][:160].replace(str(path), name)
            raise RunError(f"{name} cannot be read as Parquet ({reason}).") from error
    _check_header(header, name)
    cells = tuple(tuple(_cell(cell) for cell in row) for row in rows)
    return _limited(Sheet(name, "Parquet", tuple(header), cells, tuple(f"row {at}" for at in range(1, len(cells) + 1))))


def _objects(found: Document) -> Sheet:
    objects = found.objects
    if not objects:
        raise RunError(f"{found.name} looks like JSON, but no object in it can be read; it may be cut off.")
    header = list(dict.fromkeys(str(key) for _, entry in objects[: MAX_ROWS + 1] for key in entry))
    _check_header(header, found.name)
    rows = tuple(tuple(_cell(entry.get(key)) for key in header) for _, entry in objects[: MAX_ROWS + 1])
    return _limited(Sheet(found.name, "JSON", tuple(header), rows, tuple(place for place, _ in objects[: MAX_ROWS + 1])))


def _cell(cell: Any) -> str:
    """A value as the text that a CSV would hold."""
    if cell is None or (isinstance(cell, float) and cell != cell):
        return ""
    if isinstance(cell, bool):
        return "1" if cell else "0"
    if isinstance(cell, float):
        return repr(cell)
    if isinstance(cell, (dict, list, tuple)):
        return json.dumps(cell, default=str)[:200]
    return str(cell)


# ---- Both


def _check_header(header: Sequence[str], name: str) -> None:
    if len(header) > MAX_COLUMNS:
        raise RunError(f"{name} has {len(header):,} columns; at most {MAX_COLUMNS} are read. Leave out those that say nothing of the run.")
    seen: set[str] = set()
    for at, column in enumerate(header, 1):
        plain = column.strip().lower()
        if not plain:
            raise RunError(f"{name} has no name for its column {at}; give each column one.")
        if plain in seen:
            raise RunError(f"{name} holds the column “{_short(column)}” twice; rename or remove one.")
        seen.add(plain)
    if all(re.fullmatch(r"\s*-?[\d.,]+\s*", column) for column in header):
        raise RunError(f"{name} begins with numbers; its first line must name the columns.")


def _limited(sheet: Sheet) -> Sheet:
    if len(sheet.rows) > MAX_ROWS:
        raise RunError(f"{sheet.name} has more than {MAX_ROWS:,} rows, the most that is read at once. Split it.")
    if not sheet.rows and not sheet.refused:
        raise RunError(f"{sheet.name} has a header, but no row below it.")
    return sheet


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}…"


def as_csv(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table as CSV text, for a template to download."""
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return out.getvalue()


__all__ = ["MAX_BYTES", "MAX_ROWS", "Sheet", "as_csv", "sheet_of", "text_of", "unpacked"]
