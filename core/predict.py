"""Predictions for a file of runs: every row back in its order, with a predicted value for each metric it may hold."""

from __future__ import annotations

import csv
import gzip
import io
import itertools
import math
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import RoofcastError, RunError
from core.runs import INPUT_COLUMNS, METRIC_COLUMNS, REQUIRED_COLUMNS, Run, read_run
from core.scenario import Scenario
from core.units import GIB

if TYPE_CHECKING:
    from core.corrected import Answer
    from core.correction import Correction

ERROR_COLUMN = "error"
AT_ONCE = 16_384  # rows answered together
_MARK = "\ufeff"  # a byte order mark
_TAILS = ("_p95", "_p99")  # percentiles above the median need a model of arrivals: left empty


SUPPORT_COLUMN = "support"  # how much the runs behind the correction know of the row: seen, near or far


def prediction_column(metric: str, percentile: int = 50) -> str:
    return f"pred_{metric}_p{percentile}"


PREDICTION_COLUMNS = (
    *(prediction_column(metric) for metric in METRIC_COLUMNS),
    *(prediction_column(metric, end) for metric in METRIC_COLUMNS for end in (10, 90)),
)
_SPEEDS = ("ttft", "tpot", "prefill_rate", "decode_rate")
_PREFILL_ONLY = ("decode_", "output_", "total_", "tpot_", "latency_")
_DECODE_ONLY = ("prefill_", "ttft_", "total_", "latency_")


@dataclass(frozen=True, slots=True)
class Prediction:
    """What is predicted of one row: metric column → value in the column's unit. `error` is empty or one sentence."""

    metrics: Mapping[str, float] = field(default_factory=dict)
    error: str = ""
    run: Run | None = None
    low: Mapping[str, float] = field(default_factory=dict)  # p10, with a correction
    high: Mapping[str, float] = field(default_factory=dict)  # p90
    support: str = ""


@dataclass(frozen=True, slots=True)
class Summary:
    """How a file went: rows, rows predicted, rows by error sentence."""

    rows: int
    predicted: int
    errors: Mapping[str, int]


def _answers(scenarios: Sequence[Scenario]) -> list[Mapping[str, float] | str]:
    """Each estimate's metrics as plain numbers, or the sentence that says why there are none.

    What a measured run used is not refused: it did run, even where the catalog thinks it unsupported or too large.
    """
    from core import batch, estimate  # late: the estimate need not load to read a file

    def why(scenario: Scenario) -> str:
        reasons = estimate.estimate(scenario, strict=False).reasons
        unknown = "Its speed is unknown: nobody published the device's figures that decide it."
        return reasons[0].text if reasons else unknown

    return [
        found if isinstance(found, str) or any(math.isfinite(found.get(name, math.nan)) for name in _SPEEDS) else why(scenario)
        for scenario, found in zip(scenarios, batch.numbers_of(scenarios, strict=False), strict=True)
    ]


def _corrected(scenarios: Sequence[Scenario], correction: Correction) -> list[Answer | Mapping[str, float] | str]:
    """As `_answers`, with p10, p90 and support where a correction knows the speeds."""
    from core.corrected import Answer, answers

    found = answers(scenarios, correction)
    unknown = [
        place
        for place, answer in enumerate(found)
        if not isinstance(answer, Answer) or not any(math.isfinite(answer.metrics.get(name, math.nan)) for name in _SPEEDS)
    ]
    merged: list[Answer | Mapping[str, float] | str] = list(found)
    for place, sentence in zip(unknown, _answers([scenarios[place] for place in unknown]), strict=True):
        merged[place] = sentence
    return merged


def predict_runs(runs: Sequence[Run | str], correction: Correction | None = None) -> list[Prediction]:
    """Predictions of runs in their order, together: equal questions are answered once. A sentence in a run's place is its error.

    Without a correction they are analytic.
    """
    asked = [run.scenario if isinstance(run, Run) and not run.unmodelled else None for run in runs]
    scenarios = list(dict.fromkeys(scenario for scenario in asked if scenario is not None))
    answered = _answers(scenarios) if correction is None else _corrected(scenarios, correction)
    found = dict(zip(scenarios, answered, strict=True))
    return [_prediction(run, "" if scenario is None else found[scenario]) for run, scenario in zip(runs, asked, strict=True)]


def _prediction(run: Run | str, found: Answer | Mapping[str, float] | str) -> Prediction:
    if isinstance(run, str):
        return Prediction(error=run)
    if isinstance(found, str):
        return Prediction(error=run.unmodelled or found, run=run)
    if isinstance(found, Mapping):
        return Prediction(_known(metrics_of(run, found)), "", run)
    ends = [_known(metrics_of(run, {**found.metrics, **{k: pair[end] for k, pair in found.bands.items()}})) for end in (0, 1)]
    banded = [c for c in ends[0] if c in ends[1] and ends[0][c] != ends[1][c]]  # a rate over a time swaps the ends
    low = {column: min(ends[0][column], ends[1][column]) for column in banded}
    high = {column: max(ends[0][column], ends[1][column]) for column in banded}
    return Prediction(_known(metrics_of(run, found.metrics)), "", run, low, high, found.support)


def _known(columns: Mapping[str, float]) -> dict[str, float]:
    return {column: amount for column, amount in columns.items() if math.isfinite(amount) and amount >= 0}


def metrics_of(run: Run, found: Mapping[str, float]) -> dict[str, float]:
    """An estimate's metrics as the columns of `run` mean them, for the columns that apply to it.

    A static batch's prefill rate is that of the whole batch (B × prompt over the time to the first token), as every
    source that reports it means it. Decode is one sequence's, except where the row's tool sums (`run.decode_is`).
    """
    load = run.scenario.workload

    def get(name: str) -> float:
        return float(found.get(name, math.nan))

    prefill = get("prefill_rate")
    if load.arrival == "static" and load.concurrency > 1 and get("ttft") > 0:
        prefill = load.concurrency * load.prompt_tokens / get("ttft")
    one, system = get("decode_rate"), get("output_rate") * run.systems
    decode = {"one": one, "batch": one * load.concurrency, "system": system}[run.decode_is]
    out = {
        "prefill_toks_sec": prefill,
        "decode_toks_sec": decode,
        "output_toks_sec": system,
        "total_toks_sec": get("total_rate") * run.systems,
        "vram_peak_gib": get("memory_peak") * run.systems / GIB,
        "power_w": get("power") * run.systems,
    }
    for name in ("ttft", "tpot", "latency"):
        for kind in ("mean", "p50"):
            out[f"{name}_ms_{kind}"] = get(name) * 1e3
    skip = {"prefill": _PREFILL_ONLY, "decode": _DECODE_ONLY, "both": ()}[run.asks]
    return {metric: out[metric] for metric in METRIC_COLUMNS if metric in out and not metric.startswith(skip)}


# ---- Files


@dataclass(frozen=True, slots=True)
class Table:
    """A file of runs as it stands: its cells (bytes that are no UTF-8 as surrogates), and how its text was written.

    Every row has the header's length; `ragged` holds what was wrong with those that had not, by place.
    """

    header: list[str]
    rows: list[list[str]]
    ragged: Mapping[int, str] = field(default_factory=dict)
    mark: bool = False  # a byte order mark stood first
    line_end: str = "\n"


def read_table(path: str | Path) -> tuple[list[str], list[list[str]]]:
    """Column names and rows of a CSV file (.csv or .csv.gz). Raises RunError as `load_table` does, and for ragged rows."""
    table = load_table(path)
    for place, sentence in table.ragged.items():
        raise RunError(f"{Path(path).name}, row {place + 1}: {sentence}")
    return [column_name(text) for text in table.header], table.rows


def load_table(path: str | Path) -> Table:
    """A CSV file of runs (.csv or .csv.gz).

    Raises RunError for a file that is missing, not such a table, empty, or without the columns that a run needs.
    """
    path = Path(path)
    if path.is_dir():
        raise RunError(f"{path} is a folder; give a CSV file of runs.")
    try:
        raw = path.read_bytes()
        raw = gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
        text = raw.decode("utf-8", errors="surrogateescape")
    except FileNotFoundError:
        raise RunError(f"There is no file {path}; give a CSV file of runs.") from None
    except (OSError, EOFError, gzip.zlib.error) as error:  # type: ignore[attr-defined]
        raise RunError(f"{path.name} cannot be read ({error}); give a CSV file of runs, plain or gzipped.") from error
    mark = text.startswith(_MARK)
    text = text.removeprefix(_MARK)
    if "\0" in text:
        raise RunError(f"{path.name} is not a CSV file: it holds binary data. Save it as CSV and try again.")
    if not text.strip():
        raise RunError(f"{path.name} is empty; it needs a header and a row for each run.")
    header, rows, ragged = _parse(text, path.name)
    return Table(header, rows, ragged, mark, _line_end(text))


def _line_end(text: str) -> str:
    """How the header's line ends: CRLF, or LF."""
    end = text.find("\n", len(text) - len(text.lstrip()))
    return "\r\n" if end > 0 and text[end - 1] == "\r" else "\n"


def _parse(text: str, name: str) -> tuple[list[str], list[list[str]], dict[int, str]]:
    lines = csv.reader(io.StringIO(text, newline=""))
    rows: list[list[str]] = []
    ragged: dict[int, str] = {}
    header: list[str] | None = None
    try:
        for cells in lines:
            if not cells:
                continue
            if header is None:
                header = cells
                continue
            if len(cells) != len(header):
                ragged[len(rows)] = _ragged(len(cells), len(header))
                cells = (cells + [""] * len(header))[: len(header)]
            rows.append(cells)
    except csv.Error as error:
        raise RunError(f"{name} is not a CSV file ({error}).") from error
    assert header is not None
    check_header(header, name)
    return header, rows, ragged


def _ragged(cells: int, columns: int) -> str:
    had = f"The row has {cells} cell{'' if cells == 1 else 's'} where the header has {columns}"
    if cells > columns:
        return f"{had}: the first {columns} are kept, the rest is dropped; quote cells that hold commas."
    return f"{had}: the missing ones are left empty."


def column_name(text: str) -> str:
    """The column that a header's cell names: case and surrounding spaces do not matter."""
    return text.strip().lower()


def check_header(header: list[str], name: str) -> None:
    """Raises RunError when columns that a run needs are missing, or a name stands twice."""
    names = [column_name(text) for text in header]
    missing = [" or ".join(pair) for pair in REQUIRED_COLUMNS if not set(pair) & set(names)]
    if missing:
        raise RunError(f"{name} lacks the column{'s' if len(missing) > 1 else ''} {', '.join(missing)}, which runs need.")
    known = {*INPUT_COLUMNS, *METRIC_COLUMNS}
    twice = sorted({column for column in names if column in known and names.count(column) > 1})
    twice += sorted({text for text in header if text.strip() and header.count(text) > 1})
    if twice:
        raise RunError(f"{name} holds the column {_shown(twice[0])} twice; rename or remove one.")


def predict_rows(
    header: list[str], rows: Iterable[list[str]], ragged: Mapping[int, str] | None = None, correction: Correction | None = None
) -> Iterator[Prediction]:
    """Predictions in the rows' order, AT_ONCE of them together, analytic without a correction. `ragged` rows get their sentence alone."""
    names = [column_name(text) for text in header]
    places = [(column, names.index(column)) for column in INPUT_COLUMNS if column in names]

    def asked(number: int, cells: list[str]) -> Run | str:
        if ragged and number in ragged:
            return ragged[number]
        try:
            return read_run({column: cells[place] for column, place in places})
        except RoofcastError as error:
            return str(error)

    numbered = enumerate(rows)
    while runs := [asked(number, cells) for number, cells in itertools.islice(numbered, AT_ONCE)]:
        yield from predict_runs(runs, correction)


def _shown(text: str) -> str:
    """Text for a screen: bytes that were no UTF-8 as "?"."""
    return text.encode("utf-8", errors="replace").decode("utf-8")


def _cell(metric: str, amounts: Mapping[str, float]) -> str:
    return "" if metric.endswith(_TAILS) or metric not in amounts else f"{amounts[metric]:.6g}"


def predict_file(path: str | Path, out: str | Path) -> Summary:
    """Writes `path`'s rows with `pred_<metric>_p50`, `_p10`, `_p90` for every metric column, `support` and `error` to `out`.

    `out` is .csv or .csv.gz. Predictions are corrected by the fit in effect where there is one.

    The output is written whole or not at all. Raises RunError for a bad file, or an `out` that is the input itself.
    """
    path, out = Path(path), Path(out)
    table = load_table(path)
    header, rows = table.header, table.rows
    added = [*PREDICTION_COLUMNS, SUPPORT_COLUMN, ERROR_COLUMN]
    taken = {column_name(text) for text in header}
    clash = [column for column in added if column in taken]
    if clash:
        raise RunError(f"{path.name} already holds the column {clash[0]}; remove earlier predictions and try again.")
    if out.resolve() == path.resolve() or (out.exists() and out.samefile(path)):
        raise RunError(f"{out} is the file of runs itself; give another name for the predictions.")
    if out.is_dir() or not out.parent.is_dir():
        raise RunError(f"{out} cannot be written: {'it is a folder' if out.is_dir() else f'there is no folder {out.parent}'}.")
    text = io.StringIO(newline="")
    text.write(_MARK if table.mark else "")
    writer = csv.writer(text, lineterminator=table.line_end)
    writer.writerow([*header, *added])
    from core.calibrate import in_effect  # late: it need not load to read a file

    errors: dict[str, int] = {}
    predicted = 0
    for cells, prediction in zip(rows, predict_rows(header, rows, table.ragged, in_effect()), strict=True):
        middles = [_cell(metric, prediction.metrics) for metric in METRIC_COLUMNS]
        ends = [_cell(metric, end) for metric in METRIC_COLUMNS for end in (prediction.low, prediction.high)]
        writer.writerow([*cells, *middles, *ends, prediction.support, prediction.error])
        if prediction.error:
            sentence = _shown(prediction.error)
            errors[sentence] = errors.get(sentence, 0) + 1
        predicted += bool(prediction.metrics)
    write_whole(out, text.getvalue())
    return Summary(len(rows), predicted, dict(sorted(errors.items(), key=lambda item: -item[1])))


def write_whole(out: Path, text: str) -> None:
    """Writes a text file whole or not at all, gzipped where its name ends in .gz. Raises RunError."""
    raw = text.encode("utf-8", errors="surrogateescape")
    write_bytes_whole(out, gzip.compress(raw, mtime=0) if out.suffix == ".gz" else raw)


def write_bytes_whole(out: Path, raw: bytes) -> None:
    """Writes a file whole or not at all: beside its place, then renamed. Raises RunError."""
    temporary = ""
    try:
        with tempfile.NamedTemporaryFile(dir=out.parent, prefix=f".{out.name}.", delete=False) as file:
            temporary = file.name
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)
        os.replace(temporary, out)
    except OSError as error:
        if temporary and os.path.exists(temporary):
            os.unlink(temporary)
        raise RunError(f"{out} cannot be written ({error.strerror or error}).") from error
