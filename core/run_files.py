"""Run records to and from Parquet: one fixed schema, rows in order of their run_id, the same bytes every time."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from core.predict import write_bytes_whole
from core.records import COLUMNS, NUMBER_COLUMNS, TEXT_COLUMNS, RunRecord

SCHEMA = pa.schema(
    [
        (
            name,
            pa.string()
            if name in TEXT_COLUMNS
            else pa.float64()
            if name in NUMBER_COLUMNS
            else pa.bool_()
            if name == "fit"
            else pa.int32(),
        )
        for name in COLUMNS
    ]
)


def table_of(records: Iterable[RunRecord]) -> pa.Table:
    """Records as an Arrow table in order of run_id; empty text and unknown numbers are null."""
    rows = sorted((record.model_dump() for record in records), key=lambda row: row["run_id"])
    plain = [{name: None if cell == "" else cell for name, cell in row.items()} for row in rows]
    return pa.Table.from_pylist(plain, schema=SCHEMA)


def write_records(path: Path, records: Iterable[RunRecord]) -> None:
    """Writes records as Parquet (zstd), whole or not at all. Raises RunError."""
    buffer = io.BytesIO()
    pq.write_table(table_of(records), buffer, compression="zstd", compression_level=9, write_statistics=False)
    write_bytes_whole(path, buffer.getvalue())
