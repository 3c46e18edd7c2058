"""The run record: one measured run in one versioned schema, immutable, named by a hash of what it says.

Text columns hold names and labels, number columns plain numbers in the unit of their suffix; what is not known is empty.
Parquet, CSV and JSONL files of runs carry the same names. A correction is a new record that names the old one (`corrects`).
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from core.errors import RunError
from core.runs import INPUT_COLUMNS, METRIC_COLUMNS

SCHEMA_VERSION = 1
FAILURES = ("out_of_memory", "trust_remote_code", "unsupported", "timeout", "server_died", "other")  # why a run gave no figures
MEMORY_KINDS = ("weights_buffer", "kv_buffer", "compute_buffer", "process_peak", "total_reserved", "ram_peak")


def _text(cell: Any) -> Any:
    """A label as stripped text; an empty cell or NaN as ""."""
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return ""
    return str(cell).strip()


def _number(cell: Any) -> Any:
    """A number; an empty cell or NaN as None."""
    if cell is None or (isinstance(cell, str) and not cell.strip()):
        return None
    return None if isinstance(cell, float) and math.isnan(cell) else cell


Text = Annotated[str, BeforeValidator(_text)]
Number = Annotated[Annotated[float, Field(allow_inf_nan=False)] | None, BeforeValidator(_number)]
Positive = Annotated[Annotated[float, Field(ge=0, allow_inf_nan=False)] | None, BeforeValidator(_number)]
Id = Annotated[str, BeforeValidator(_text), Field(pattern=r"^([0-9a-f]{16})?$")]


class RunRecord(BaseModel):
    """One measured run, or one measured point of memory (`memory_kind` set). Frozen; unknown fields are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = 1
    run_id: Id = ""  # filled with the content's hash
    corrects: Id = ""  # run_id of the record that this one replaces

    # Provenance
    source: Annotated[Text, Field(min_length=1)]
    origin: Text = ""  # who measured: sources that share it are not independent
    source_path: Text = ""
    licence: Text = ""
    run_date: Text = ""
    quality_tier: Annotated[Text, Field(pattern="^[ABC]?$")] = ""  # A logs or controlled, B reported with method, C weak
    sanity_flag: Text = ""  # what is doubtful about the run
    also_in: Text = ""  # where else the same measurement stands, "; " between
    fit: bool = True  # False: not for fitting; it is still judged
    fit_reason: Text = ""

    # What ran: the columns that core.runs reads
    model_id: Text = ""
    model_name_raw: Text = ""
    params_b: Positive = None
    active_params_b: Positive = None
    is_moe: Positive = None
    quant: Text = ""
    weights_gib: Positive = None  # of the file, as reported
    kv_dtype: Text = ""
    runtime: Text = ""
    runtime_version: Text = ""
    gpu_name: Text = ""
    gpu_count: Positive = None
    cpu_name: Text = ""
    ram_gb: Positive = None
    tp: Positive = None
    pp: Positive = None
    dp: Positive = None
    ep: Positive = None
    n_gpu_layers: Number = None
    flash_attn: Text = ""
    n_batch: Positive = None
    n_ubatch: Positive = None
    threads: Positive = None
    load_kind: Text = ""
    concurrency: Positive = None
    request_rate: Positive = None
    prompt_tokens: Positive = None
    output_tokens: Positive = None
    context_depth: Positive = None
    prefix_cached_tokens: Positive = None
    max_num_batched_tokens: Positive = None
    gpu_memory_fraction: Positive = None
    context_tokens: Positive = None  # of a point of memory: what the engine provided for, or the input, as `notes` say
    notes: Text = ""  # launch facts in the words of core.run_notes

    # The machine beyond the catalog
    driver: Text = ""
    os: Text = ""
    machine: Id = ""  # hash that tells machines apart, never a serial number
    power_limit_w: Positive = None  # a device, where it was capped

    # What the names resolved to when the record was made; empty where nothing fits
    model: Text = ""
    device: Text = ""
    engine: Text = ""
    backend: Text = ""
    scheme: Text = ""  # how the weights are stored
    scenario_id: Id = ""  # the same question asked: equal for runs that measured one scenario

    # What was measured
    prefill_toks_sec: Positive = None
    decode_toks_sec: Positive = None
    output_toks_sec: Positive = None
    total_toks_sec: Positive = None
    ttft_ms_mean: Positive = None
    ttft_ms_p50: Positive = None
    ttft_ms_p95: Positive = None
    ttft_ms_p99: Positive = None
    tpot_ms_mean: Positive = None
    tpot_ms_p50: Positive = None
    tpot_ms_p95: Positive = None
    tpot_ms_p99: Positive = None
    latency_ms_mean: Positive = None
    latency_ms_p50: Positive = None
    latency_ms_p95: Positive = None
    latency_ms_p99: Positive = None
    vram_peak_gib: Positive = None
    power_w: Positive = None
    stddev_rel: Positive = None  # relative spread of the run's own repeats

    # A run that gave no figures
    failure: Annotated[Literal["", "out_of_memory", "trust_remote_code", "unsupported", "timeout", "server_died", "other"],
                       BeforeValidator(_text)] = ""  # fmt: skip

    # A point of memory
    memory_kind: Annotated[
        Literal["", "weights_buffer", "kv_buffer", "compute_buffer", "process_peak", "total_reserved", "ram_peak"],
        BeforeValidator(_text),
    ] = ""
    memory_gib: Positive = None

    def model_post_init(self, _: Any) -> None:
        """Names the record by its content. Raises ValueError where a given run_id does not fit it."""
        found = content_hash(self)
        if self.run_id and self.run_id != found:
            raise ValueError(f"run_id {self.run_id} does not fit the record's content ({found}); a change makes a new record")
        object.__setattr__(self, "run_id", found)


_HASHED = (
    "source", *INPUT_COLUMNS, *METRIC_COLUMNS, "params_b", "active_params_b", "weights_gib", "stddev_rel",
    "memory_kind", "memory_gib", "context_tokens", "failure",
)  # fmt: skip
COLUMNS = tuple(RunRecord.model_fields)
TEXT_COLUMNS = tuple(name for name in COLUMNS if name in ("memory_kind", "failure") or RunRecord.model_fields[name].annotation is str)
NUMBER_COLUMNS = tuple(name for name in COLUMNS if name not in TEXT_COLUMNS and name not in ("schema_version", "fit"))


def content_hash(record: RunRecord) -> str:
    """16 hex digits over the canonical JSON of inputs, metrics and source: the same run has the same name everywhere."""
    said = {name: found for name in _HASHED if (found := getattr(record, name)) not in (None, "")}
    text = json.dumps(said, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _from_plain_table(raw: dict[str, Any]) -> dict[str, Any]:
    """Version 0: a row of a plain table of runs, as people write it by hand; columns that are no record's are left out."""
    kept = {name: cell for name, cell in raw.items() if name in COLUMNS and name not in ("run_id", "schema_version")}
    kept.setdefault("licence", raw.get("source_license", ""))
    if not _text(kept.get("source")):
        kept["source"] = "own runs"
    return {**kept, "schema_version": 1}


# version → what makes a record of it one of the next version
UPGRADES: Mapping[int, Callable[[dict[str, Any]], dict[str, Any]]] = MappingProxyType({0: _from_plain_table})


def read_record(raw: Mapping[str, Any], upgrades: Mapping[int, Callable[[dict[str, Any]], dict[str, Any]]] = UPGRADES) -> RunRecord:
    """A record of any version as one of today's; without `schema_version` it is a row of a plain table.

    Raises RunError for a version that is not known and for what does not fit the schema.
    """
    row: dict[str, Any] = {str(name): cell for name, cell in raw.items()}
    version = _version_of(row)
    if version > SCHEMA_VERSION:
        raise RunError(f"The record has schema version {version}, newer than {SCHEMA_VERSION}; update Roofcast to read it.")
    while version < SCHEMA_VERSION:
        if version not in upgrades:
            raise RunError(
                f"The record has schema version {version}, which nothing reads; known are {sorted(upgrades)} and {SCHEMA_VERSION}."
            )
        row = upgrades[version](row)
        version = _version_of(row)
    try:
        return RunRecord.model_validate({**row, "schema_version": SCHEMA_VERSION})
    except ValidationError as error:
        first = error.errors()[0]
        spot = ".".join(str(part) for part in first["loc"]) or "The record"
        raise RunError(f"{spot} is wrong: {first['msg']} (it is {str(first['input'])[:60]!r}).") from error


def _version_of(row: Mapping[str, Any]) -> int:
    stated = _number(row.get("schema_version"))
    try:
        return 0 if stated is None else int(float(stated))
    except ValueError:
        raise RunError(f"schema_version must be a whole number (it is '{stated}').") from None
