"""Measured runs as DuckDB views over the run files where they stand: Parquet, CSV and JSONL, of every schema version.

A session takes its own cursor (`Corpus.cursor`): DuckDB connections are not shared between threads. A file that cannot be
read is named in `Corpus.problems` and skipped; the rest still reads.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd

from core.catalog.files import DATA, home
from core.corpus_views import VIEWS, VIEWS_SQL
from core.errors import RunError
from core.records import COLUMNS, SCHEMA_VERSION, TEXT_COLUMNS, RunRecord, read_record
from core.run_files import SCHEMA, table_of
from core.scenario_id import identified

SHIPPED = DATA / "runs"
SUFFIXES = (".parquet", ".jsonl", ".csv")
_LIMITS: dict[str, str | bool | int | float | list[str]] = {
    "memory_limit": "1GB",
    "threads": 2,
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
}


def user_folder() -> Path:
    """Where a user's own runs stand: the folder `runs` of ROOFCAST_HOME, else of the platform's place for data."""
    return home() / "runs"


@dataclass(slots=True)
class Corpus:
    """An open corpus. `files`: what was read; `problems`: a sentence for each file that was not."""

    connection: duckdb.DuckDBPyConnection
    files: list[Path] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """A session's own connection to the views."""
        return self.connection.cursor()

    def table(self, view: str) -> pd.DataFrame:
        """A view as a table. Raises RunError for a name that is no view."""
        if view not in VIEWS:
            raise RunError(f"There is no view '{view}' of runs; the views are {', '.join(VIEWS)}.")
        return self.cursor().view(view).df()

    def close(self) -> None:
        self.connection.close()


def open_corpus(folders: Iterable[Path] | None = None) -> Corpus:
    """The views over the run files in `folders` and below (None: what is shipped, and the user's own).

    The views are those of core.corpus_views. A missing or empty folder is no error: the
    views are then empty. Raises nothing for a bad file; see `problems`.
    """
    corpus = Corpus(duckdb.connect(":memory:", config=_LIMITS))
    in_place: list[Path] = []
    others: list[RunRecord] = []
    for path in _files((SHIPPED, user_folder()) if folders is None else folders):
        try:
            if _reads_in_place(corpus.connection, path):
                in_place.append(path)
            else:
                others.extend(_upgraded(path))
            corpus.files.append(path)
        except RunError as error:
            corpus.problems.append(str(error))
    _create_views(corpus.connection, in_place, others)
    return corpus


def _files(folders: Iterable[Path]) -> Iterator[Path]:
    """Run files of the folders, each once, in order of their names; hidden and temporary ones are passed over."""
    seen = set()
    for folder in folders:
        for path in sorted(Path(folder).rglob("*")) if Path(folder).is_dir() else ():
            hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
            if path.suffix in SUFFIXES and path.is_file() and not hidden and path.resolve() not in seen:
                seen.add(path.resolve())
                yield path


def _reads_in_place(connection: duckdb.DuckDBPyConnection, path: Path) -> bool:
    """Whether a file holds records of today's schema as DuckDB reads them. Raises RunError when it cannot be read."""
    if path.suffix != ".parquet":
        return False
    try:
        relation = connection.read_parquet(str(path))
        known = {field.name: field.type for field in relation.limit(0).to_arrow_table().schema}
        if not set(COLUMNS) >= set(known) or "schema_version" not in known:
            return False
        versions = relation.aggregate("min(schema_version), max(schema_version), bit_xor(hash(columns(*)))").fetchall()[0]
    except duckdb.Error as error:
        raise RunError(f"{path.name} in {path.parent.name} cannot be read as Parquet ({_first_line(error)}); it is skipped.") from error
    return versions[:2] == (SCHEMA_VERSION, SCHEMA_VERSION) and all(SCHEMA.field(n).type == t for n, t in known.items())


def _upgraded(path: Path) -> list[RunRecord]:
    """The records of a file that is not of today's schema, or is text. Raises RunError, naming the file and the row."""
    found = []
    for number, row in enumerate(_rows(path), start=1):
        try:
            named = row if row.get("scenario_id") else {**row, **_names(row)}
            found.append(read_record(named))
        except RunError as error:
            raise RunError(f"{path.name} in {path.parent.name}, row {number}: {error} The file is skipped.") from error
    return found


def _names(row: dict[str, Any]) -> dict[str, str]:
    names = identified(row)
    names.pop("why", None)
    return names


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a file as they stand. Raises RunError when it cannot be read."""
    try:
        if path.suffix == ".parquet":
            yield from pd.read_parquet(path).to_dict("records")  # type: ignore[misc]
        elif path.suffix == ".jsonl":
            for line in path.read_text(encoding="utf-8").splitlines():
                if line.strip():
                    yield dict(json.loads(line))
        else:
            with path.open(encoding="utf-8-sig", newline="") as file:
                for row in csv.DictReader(file, restkey="", restval=""):
                    yield {str(name).strip().lower(): cell for name, cell in row.items() if name}
    except (OSError, ValueError, TypeError, csv.Error) as error:
        raise RunError(f"{path.name} in {path.parent.name} cannot be read ({_first_line(error)}); it is skipped.") from error


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or ["no reason given"])[0][:160]


def _create_views(connection: duckdb.DuckDBPyConnection, in_place: list[Path], others: list[RunRecord]) -> None:
    connection.from_arrow(table_of(others)).create("upgraded")
    if in_place:
        connection.read_parquet([str(path) for path in in_place], union_by_name=True).create_view("in_place")
        connection.execute("create view every_record as select * from upgraded union all by name select * from in_place")
    else:
        connection.execute("create view every_record as select * from upgraded")
    connection.execute(VIEWS_SQL)


def runs_table(corpus: Corpus | None = None, view: str = "runs") -> pd.DataFrame:
    """The runs as a table with the columns of `core.records.COLUMNS`, in order of source, path and run_id.

    Unknown text is "", unknown numbers NaN, so that a row reads with `core.runs.read_run` as its source's own row does.
    Raises RunError for a view that is not there.
    """
    opened = corpus or open_corpus()
    table = opened.table(view)[list(COLUMNS)]
    table[list(TEXT_COLUMNS)] = table[list(TEXT_COLUMNS)].astype(object).where(table[list(TEXT_COLUMNS)].notna(), "")
    return table.sort_values(["source", "source_path", "run_id"], ignore_index=True)


_POINT = {"measured_kind": "memory_kind", "value_gib": "memory_gib", "model_id": "model_name_raw", "backend": "runtime",
          "backend_version": "runtime_version", "batch_size": "concurrency"}  # fmt: skip
_POINT_COLUMNS = ("source", "source_path", "quant", "kv_dtype", "gpu_name", "gpu_count", "tp", "context_tokens", "notes")


def memory_points(corpus: Corpus | None = None) -> list[dict[str, str]]:
    """Measured points of memory as text cells, in the columns that core.memory_check reads."""
    table = runs_table(corpus, "memory")
    names = {**_POINT, **{name: name for name in _POINT_COLUMNS}}
    columns = {name: ["" if cell != cell else str(cell) for cell in table[column]] for name, column in names.items()}
    return [dict(zip(columns, cells, strict=True)) for cells in zip(*columns.values(), strict=True)]
