"""CSV files of strangers, read where they can reach nothing: a locked-down DuckDB that sees one private folder."""

from __future__ import annotations

import tempfile
from pathlib import Path

import duckdb
import pandas as pd

from core.errors import RunError
from core.predict import check_header, column_name

MAX_BYTES = 64 * 2**20
MAX_REJECTS = 1000  # rows that are named; of more only the number is of use


def read_untrusted_csv(raw: bytes, name: str = "The file") -> tuple[pd.DataFrame, list[str]]:
    """The rows of an uploaded CSV of runs, all cells as text, and a sentence for each row that could not be read.

    Column names come back stripped and in lower case. Raises RunError for a file that is too large, empty, not UTF-8, no
    CSV, or without the columns that a run needs.
    """
    if len(raw) > MAX_BYTES:
        raise RunError(f"{name} has {len(raw) / 2**20:.0f} MiB; at most {MAX_BYTES // 2**20} are read. Split it.")
    if not raw.strip():
        raise RunError(f"{name} is empty; it needs a header and a row for each run.")
    if b"\0" in raw:
        raise RunError(f"{name} is not a CSV file: it holds binary data. Save it as CSV and try again.")
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError:
        raise RunError(f"{name} is not in UTF-8; save it as CSV in UTF-8 and try again.") from None
    with tempfile.TemporaryDirectory(prefix="roofcast-upload-") as folder:
        path = Path(folder) / "upload.csv"
        path.write_bytes(raw)
        with locked_down(folder) as connection:
            table, rejects = _read(connection, path, name)
    table.columns = pd.Index([column_name(str(column)) for column in table.columns])
    check_header(list(table.columns), name)
    return table, rejects


def locked_down(folder: str) -> duckdb.DuckDBPyConnection:
    """A connection that reads `folder` alone, loads no extension, and whose settings nobody can change."""
    connection = duckdb.connect(
        ":memory:",
        config={
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "memory_limit": "512MB",
            "threads": 1,
        },
    )
    connection.execute("set allowed_directories = ?", [[folder + "/"]])
    connection.execute("set enable_external_access = false")
    connection.execute("set lock_configuration = true")
    return connection


def _read(connection: duckdb.DuckDBPyConnection, path: Path, name: str) -> tuple[pd.DataFrame, list[str]]:
    try:
        table = connection.execute(
            "select * from read_csv(?, header = true, all_varchar = true, store_rejects = true, rejects_limit = ?)",
            [str(path), MAX_REJECTS],
        ).df()
        wrong = connection.execute("select line, any_value(error_type::varchar) from reject_errors group by line order by line").fetchall()
    except duckdb.Error as error:
        reason = (str(error).splitlines() or ["no reason given"])[0][:160].replace(str(path), name)
        raise RunError(f"{name} cannot be read as CSV ({reason}).") from error
    table = table.astype(object).where(table.notna(), "")
    return table, [f"{name}, line {line}: {str(kind).lower()}; the row is left out." for line, kind in wrong]
