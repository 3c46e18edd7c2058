"""Result files of benchmarks as run records: the one door for the command line, the pages and the harness.

`import_bytes` finds out by what a file holds which tool wrote it. What a file does not tell (many name no GPU) is `given` by
the columns of core.runs. A row that cannot be used is refused by one sentence; a file without a usable row is refused whole.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from core.errors import RoofcastError, RunError
from core.importers import llama_cpp, servers, tables
from core.importers.document import Document, Row, Rows, document
from core.records import COLUMNS, RunRecord, read_record
from core.run_artifact import is_run_file, open_run
from core.runs import INPUT_COLUMNS, METRIC_COLUMNS
from core.scenario_id import identified

SOURCE = "own runs"
GIVEN = (*INPUT_COLUMNS, "driver", "os", "machine", "power_limit_w", "source", "origin", "licence")


@dataclass(frozen=True, slots=True)
class Refused:
    """A row that was not taken: where it stands, and why in one sentence."""

    where: str
    why: str


@dataclass(frozen=True, slots=True)
class Imported:
    """What a file gave. `signer`: who signed it, for a run file of the harness."""

    name: str
    kind: str
    records: tuple[RunRecord, ...]
    refused: tuple[Refused, ...] = ()
    signer: str = ""


class NothingTaken(RunError):
    """A file in which no row can be used; `refused` says why, row by row."""

    def __init__(self, sentence: str, refused: tuple[Refused, ...]) -> None:
        super().__init__(sentence)
        self.refused = refused


class UnknownFile(RunError):
    """A file that no importer knows; it may be a table with columns of its own."""


# Kind of a result file, and what finds its rows: none in a file of another kind.
IMPORTERS: tuple[tuple[str, Callable[[Document], Rows]], ...] = (
    ("llama-bench", llama_cpp.llama_bench),
    ("llama-batched-bench", llama_cpp.batched_bench),
    ("vllm bench serve or SGLang bench_serving", servers.serving),
    ("vllm bench latency or throughput", servers.vllm_offline),
    ("GuideLLM", servers.guidellm),
    ("Ollama", servers.ollama),
    ("records of runs", tables.records),
)


def import_bytes(raw: bytes, name: str, given: Mapping[str, Any] | None = None, fill: bool = False) -> Imported:
    """The runs of a result file; `given` columns go before what the file says, or with `fill` stand only where a row says nothing.

    Raises RunError, one sentence: for a file that no importer knows, and for one in which no row can be used.
    """
    told = {column: cell for column, cell in (given or {}).items() if cell not in (None, "")}
    for column in told:
        if column not in GIVEN:
            raise RunError(f"A run has no column '{column}' that can be given; they are {', '.join(GIVEN)}.")
    if is_run_file(raw):
        return _signed(raw, name)
    if table := tables.table_of(raw, name):
        return _taken(name, *table, told, fill)
    found = document(raw, name)
    for kind, rows_of in IMPORTERS:
        if rows := rows_of(found):
            return _taken(name, kind, rows, told, fill)
    known = ", ".join(kind for kind, _ in IMPORTERS[:-1])
    raise UnknownFile(f"{name} is no result that Roofcast knows; it reads {known}, run files of `roofcast bench`, and tables of runs.")


def _taken(name: str, kind: str, rows: Rows, told: Mapping[str, Any], fill: bool) -> Imported:
    records: dict[str, RunRecord] = {}
    refused: list[Refused] = []
    for where, read in rows:
        try:
            row = read()
            record = finished(row, missing(row, told) if fill else told, f"{name}, {where}")
            records.setdefault(record.run_id, record)
        except RoofcastError as error:
            refused.append(Refused(where, str(error)))
    if not records:
        why = refused[0] if refused else Refused("", "It has no rows.")
        raise NothingTaken(f"{name}{', ' if why.where else ''}{why.where}: {why.why}", tuple(refused))
    return Imported(name, kind, tuple(records.values()), tuple(refused))


def missing(row: Row, told: Mapping[str, Any]) -> Row:
    """What is told of a row that says nothing of it. A machine or a model that the row names by another column is none to be told."""
    said = {column for column, cell in row.items() if cell not in (None, "")}
    for names in (("gpu_name", "cpu_name"), ("model_id", "model_name_raw")):
        if said.intersection(names):
            said |= {*names, *(("gpu_count",) if "cpu_name" in said and "gpu_name" not in said else ())}
    return {column: cell for column, cell in told.items() if column not in said}


def finished(row: Row, told: Mapping[str, Any], source_path: str) -> RunRecord:
    """A row as a record with the catalog's names. Raises RunError where something is missing that a run needs."""
    row = {**row, **told}
    _worked_out(row)
    notes = row.get("notes") or []
    parts = [*([notes] if isinstance(notes, str) else notes), *([row["placed"]] if row.get("placed") else [])]
    row["notes"] = "; ".join(dict.fromkeys(parts))
    for what, columns in (("the model", ("model_id", "model_name_raw")), ("the engine", ("runtime",))):
        if not any(row.get(column) for column in columns):
            raise RunError(f"The file does not tell {what}; give {columns[0]}.")
    if not row.get("gpu_name") and not row.get("cpu_name"):
        raise RunError("The file does not tell on which machine it ran; give gpu_name and gpu_count, or cpu_name.")
    if not any(row.get(column) for column in (*METRIC_COLUMNS, "memory_gib", "failure")):
        raise RunError("Nothing was measured: the row has no figure of speed or memory.")
    names = identified(row)
    if why := names.pop("why", ""):
        raise RunError(why)
    reason = (
        row.get("fit_reason") or row.get("unfit") or row.get("sanity_flag") or ("speculative decoding" if "SPECDEC" in row["notes"] else "")
    )
    source = row.get("source") or SOURCE
    return read_record({
        **{column: cell for column, cell in row.items() if column in COLUMNS and column != "run_id"},
        **names,
        "source": source, "origin": row.get("origin") or row.get("machine") or source, "source_path": source_path,
        "fit": not reason, "fit_reason": reason, "schema_version": 1,
    })  # fmt: skip


def _worked_out(row: Row) -> None:
    """Rates that follow once the lengths and the batch are known, of tools that tell neither."""
    try:
        output, batch = float(row.get("output_tokens") or 0), float(row.get("concurrency") or 0)
    except ValueError:
        return  # the record says what is wrong with them
    if row.get("load_kind") == "static_batch" and row.get("latency_ms_mean") and not row.get("decode_toks_sec"):
        if not (row.get("prompt_tokens") and output and batch):
            raise RunError("The file does not tell the load; give prompt_tokens, output_tokens and concurrency (the batch).")
        row["output_toks_sec"] = batch * output / row["latency_ms_mean"] * 1e3
    if row.get("requests_per_s"):
        if not (row.get("prompt_tokens") and output):
            raise RunError("The file does not tell the lengths; give prompt_tokens and output_tokens.")
        row["output_toks_sec"] = row["requests_per_s"] * output


def _signed(raw: bytes, name: str) -> Imported:
    """The records of a run file, whose figures nobody may change on the way."""
    opened = open_run(raw, name)
    records = []
    for record in opened.run.records:
        names = {} if record.memory_kind else {k: v for k, v in identified(record.model_dump()).items() if k != "why"}
        records.append(record.model_copy(update={**names, "source_path": f"{name}, signed by {opened.signer}"}))
    return Imported(name, "run file", tuple(records), (), opened.signer)


__all__ = ["GIVEN", "IMPORTERS", "Imported", "NothingTaken", "Refused", "UnknownFile", "finished", "import_bytes", "missing"]
