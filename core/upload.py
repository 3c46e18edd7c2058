"""Runs that a person brings: from bytes to records beside their predictions, with every row that was left out and why.

`read` looks at a file, `taken` makes runs of it by what its columns mean, `judged` sets predictions beside them. Nothing here
stores anything.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from core.catalog.files import DATA
from core.catalog.hardware import device
from core.correction import Correction
from core.errors import RoofcastError, RunError
from core.importers import IMPORTERS, Imported, NothingTaken, Refused, UnknownFile, finished, import_bytes, missing
from core.predict import predict_runs
from core.records import RunRecord
from core.run_artifact import is_run_file
from core.runs import METRIC_COLUMNS, read_run
from core.upload_check import at_the_roof, flag, known
from core.upload_columns import Meaning, carried_units, decimal_of, guesses, number_in, targets
from core.upload_table import Sheet, as_csv, sheet_of, text_of, unpacked

_LENGTHS = ("prompt_tokens", "output_tokens", "context_depth")
TABLES = ("records of runs",)  # kinds of importers that read plain tables, whose columns are shown instead
# What a file may leave to be said once for all its rows.
ASKED = ("gpu_name", "gpu_count", "cpu_name", "runtime", "model_name_raw", "quant", "concurrency", "prompt_tokens", "output_tokens")


@dataclass(frozen=True, slots=True)
class Upload:
    """What a file gave. `flags`: run_id → what is doubtful; `before`: run_id → where the same run stands already; `notes`: sentences;
    `signer`: who signed it, for a run file of the harness."""

    name: str
    kind: str
    records: tuple[RunRecord, ...]
    refused: tuple[Refused, ...] = ()
    flags: Mapping[str, str] = field(default_factory=dict)
    before: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    signer: str = ""

    def fresh(self, confirmed: Sequence[str] = ()) -> tuple[RunRecord, ...]:
        """The runs that can be kept: new ones, of the flagged only those that are confirmed, which say so from then on."""
        kept = []
        for record in self.records:
            if record.run_id in self.before or (record.run_id in self.flags and record.run_id not in confirmed):
                continue
            doubt = self.flags.get(record.run_id)
            kept.append(record.model_copy(update={"sanity_flag": f"confirmed by its owner: {doubt}"}) if doubt else record)
        return tuple(kept)


def read(raw: bytes, name: str) -> Sheet | str:
    """The table that a file holds; of a benchmark's own result file its kind, which `taken_from_result` reads.

    Raises RunError, one sentence, for a file that is neither.
    """
    raw, name = unpacked(raw, name)
    if is_run_file(raw):
        return "run file"
    if raw[:4] != b"PAR1":
        found = text_of(raw, name)
        for kind, rows_of in IMPORTERS:
            if kind not in TABLES and rows_of(found):
                return kind
    return sheet_of(raw, name)


def from_result(
    raw: bytes, name: str, given: Mapping[str, Any] | None = None, session: Sequence[RunRecord] = (), fill: bool = False
) -> Upload:
    """The runs of a benchmark's result file. `given` and `fill` as `core.importers.import_bytes` has them, whose RunError is raised."""
    raw, name = unpacked(raw, name)
    found = import_bytes(raw, name, given, fill)
    return _checked(found, session, ())


def from_any(raw: bytes, name: str, given: Mapping[str, Any] | None = None) -> Upload:
    """The runs of any file as it stands: a result, a table in the columns of records, or one whose columns are guessed. Raises RunError."""
    raw, name = unpacked(raw, name)
    try:
        return from_result(raw, name, given)
    except UnknownFile:
        found = read(raw, name)
        if isinstance(found, Sheet):
            return from_sheet(found, None, given)
        raise


def from_sheet(
    sheet: Sheet, meanings: Sequence[Meaning] | None = None, given: Mapping[str, Any] | None = None, session: Sequence[RunRecord] = (),
    decimal: str = "",
) -> Upload:  # fmt: skip
    """The runs of a table by what its columns mean (None: as guessed). `given` stands where a row says nothing.

    Raises NothingTaken where no row can be used, RunError where two columns mean the same.
    """
    meanings = guesses(sheet) if meanings is None else meanings
    told = {column: cell for column, cell in (given or {}).items() if cell not in (None, "")}
    used = [(at, meaning) for at, meaning in enumerate(meanings) if meaning.target]
    _once_each(sheet, used)
    decimal = decimal or decimal_of(sheet)
    carried = {at: carried_units([row[at] for row in sheet.rows]) for at, _ in used}
    mixed = {at for at, units in carried.items() if len(units) > 1}
    records: dict[str, RunRecord] = {}
    refused, twice = list(sheet.refused), 0
    for cells, place in zip(sheet.rows, sheet.places, strict=True):
        try:
            row = _row(cells, used, decimal, mixed)
            record = finished(row, missing(row, told), f"{sheet.name}, {place}")
        except RoofcastError as error:
            refused.append(Refused(place, str(error)))
            continue
        twice += record.run_id in records
        records.setdefault(record.run_id, record)
    order = sorted(refused, key=lambda one: [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", one.where)])
    if not records:
        raise NothingTaken(_nothing(sheet, order), tuple(order))
    notes = _notes(sheet, meanings, decimal, [meanings[at].name for at in mixed], twice)
    return _checked(Imported(sheet.name, sheet.kind, tuple(records.values()), tuple(order)), session, notes)


def one_run(row: Mapping[str, Any], session: Sequence[RunRecord] = ()) -> Upload:
    """A single run as a form says it, in the columns of core.records. Raises RunError."""
    record = finished({column: cell for column, cell in row.items() if cell not in (None, "")}, {}, "typed in")
    return _checked(Imported("The form", "one run", (record,)), session, ())


def measured_in(column: str, amount: float, unit: str) -> dict[str, float]:
    """A figure that was typed in this unit, as the columns of a record have it. Raises RunError."""
    meaning = Meaning(targets()[column].title, column).to(column, unit)
    return {meaning.stored: float(f"{amount * targets()[column].units[meaning.unit]:.10g}")}


def on_device(row: Mapping[str, Any]) -> dict[str, Any]:
    """A typed row whose device may be a processor, and whose lengths of zero say nothing. Raises CatalogError."""
    kept = {column: cell for column, cell in row.items() if cell not in (None, "") and not (column in _LENGTHS and not cell)}
    name = str(kept.get("gpu_name", ""))
    if name and device(name).kind == "cpu":
        kept["cpu_name"] = name
        for column in ("gpu_name", "gpu_count"):
            kept.pop(column, None)
    return kept


def _row(cells: Sequence[str], used: Sequence[tuple[int, Meaning]], decimal: str, mixed: set[int]) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for at, meaning in used:
        cell = cells[at]
        if targets()[meaning.target].text:
            row[meaning.stored] = _label(cell, meaning)
        else:
            amount = number_in(cell, meaning, decimal, at in mixed)
            row[meaning.stored] = amount if amount is None else float(f"{amount:.10g}")
    return row


def _label(cell: str, meaning: Meaning) -> str:
    text = " ".join(cell.split())
    if text[:1] in ("=", "@") or (text[:1] in "+-" and len(text) > 1 and not text[1].isdigit()):
        raise RunError(f"“{meaning.name}” holds a formula (“{text[:40]}”), not a name; save the file with values.")
    if len(text) > 200:
        raise RunError(f"“{meaning.name}” holds {len(text):,} letters; at most 200 are read.")
    return text


def _once_each(sheet: Sheet, used: Sequence[tuple[int, Meaning]]) -> None:
    seen: dict[str, str] = {}
    for _, meaning in used:
        if meaning.stored in seen:
            title = targets()[meaning.stored].title
            raise RunError(f"{sheet.name}: “{seen[meaning.stored]}” and “{meaning.name}” are both taken for {title}; leave one out.")
        seen[meaning.stored] = meaning.name


def _nothing(sheet: Sheet, refused: Sequence[Refused]) -> str:
    why = refused[0]
    rest = len(refused) - 1
    more = f" The other {f'{rest:,} rows' if rest > 1 else 'row'} cannot be used either." if rest else ""
    return f"{sheet.name}, {why.where}: {why.why}{more}"


def _notes(sheet: Sheet, meanings: Sequence[Meaning], decimal: str, mixed: Sequence[str], twice: int) -> tuple[str, ...]:
    """What was assumed of the file, in sentences."""
    notes = []
    separators = {";": "semicolons", "\t": "tabs", "|": "bars"}
    if sheet.separator in separators:
        notes.append(f"The columns are parted by {separators[sheet.separator]}.")
    if decimal == ",":
        notes.append("A comma is read as the decimal mark: 3,14 is a little more than three.")
    if mixed:
        notes.append(f"Cells of {', '.join(f'“{name}”' for name in mixed)} carry different units; each is read by its own.")
    if left := [meaning.name for meaning in meanings if not meaning.target]:
        shown = ", ".join(f"“{name}”" for name in left[:6]) + (f" and {len(left) - 6:,} more" if len(left) > 6 else "")
        notes.append(f"{len(left):,} of the {len(meanings):,} columns are left out: {shown}.")
    if twice:
        notes.append(
            f"{twice:,} row{'s stand' if twice > 1 else ' stands'} twice in the file and {'are' if twice > 1 else 'is'} taken once."
        )
    return tuple(notes)


def _checked(found: Imported, session: Sequence[RunRecord], notes: tuple[str, ...]) -> Upload:
    runs = [record for record in found.records if not record.memory_kind and not record.failure]
    roofs = at_the_roof([read_run(record.model_dump()) for record in runs])
    flags = {record.run_id: text for record, roof in zip(runs, roofs, strict=True) if (text := flag(record, roof))}
    if len(flags) > 1 and 2 * len(flags) > len(runs):
        notes = (*notes, "Most runs are faster than their hardware allows: look at the units, and at who is counted (one user or all).")
    return Upload(found.name, found.kind, found.records, found.refused, flags, known(found.records, session), notes, found.signer)


# ---- Beside the prediction


@dataclass(frozen=True, slots=True)
class Judged:
    """One measured figure beside what was predicted of it, in the unit of its column. `off`: predicted over measured, less one."""

    record: RunRecord
    column: str
    measured: float
    predicted: float
    low: float | None
    high: float | None

    @property
    def off(self) -> float:
        return self.predicted / self.measured - 1

    @property
    def inside(self) -> bool | None:
        """Whether the range held it; None where there is none."""
        return None if self.low is None or self.high is None else self.low <= self.measured <= self.high


def judged(records: Sequence[RunRecord], correction: Correction | None) -> tuple[list[Judged], dict[str, str]]:
    """Every figure beside its prediction, and for each run without one the sentence that says why (by run_id)."""
    runs = [record for record in records if not record.memory_kind and not record.failure]
    found: list[Judged] = []
    failed: dict[str, str] = {}
    predictions = predict_runs([read_run(record.model_dump()) for record in runs], correction)
    for record, prediction in zip(runs, predictions, strict=True):
        if prediction.error:
            failed[record.run_id] = prediction.error
        for column in METRIC_COLUMNS:
            measured, predicted = getattr(record, column), prediction.metrics.get(column)
            if measured and predicted:
                found.append(Judged(record, column, measured, predicted, prediction.low.get(column), prediction.high.get(column)))
    return found, failed


# ---- To download


_TEMPLATE = (
    "model_id", "gpu_name", "gpu_count", "runtime", "runtime_version", "quant", "concurrency", "prompt_tokens", "output_tokens",
    "context_depth", "decode_toks_sec", "prefill_toks_sec", "ttft_ms_p50", "tpot_ms_p50", "output_toks_sec", "vram_peak_gib",
)  # fmt: skip
TEMPLATE_NAME, EXAMPLE_NAME = "roofcast-runs-template.csv", "roofcast-runs-example.csv"


def template() -> str:
    """An empty table with the columns that say most of a run."""
    return as_csv(_TEMPLATE, [])


@functools.cache
def example() -> str:
    """A few runs as a table, to try the page with: figures typed by hand, not measured."""
    return (DATA / "catalog" / "upload_example.csv").read_text(encoding="utf-8")
