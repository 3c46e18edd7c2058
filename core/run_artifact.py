"""The run file: what one benchmark measured, with its surroundings and its trace, signed (Ed25519) and never changed.

JSON lines: what was measured, the trace of telemetry where there is one, and the signature over every byte before it. The
schema has no place for a prompt or an answer, and none for the name of a host or a user.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any, Literal

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from core.errors import RunError
from core.records import RunRecord
from core.this_machine import MachineFacts

SUFFIX = ".run"
FORMAT: Literal["roofcast run"] = "roofcast run"
MAX_BYTES = 64 * 2**20


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


NOISY = "noisy machine"  # how the flag of a run begins that was measured while the machine was not quiet


class Noise(_Part):
    """How quiet the machine was: `flags` are sentences, empty where nothing speaks against the figures."""

    load_before: float | None = None  # share of the processor that others kept busy just before
    load_of_others: float | None = None  # the same, while it ran
    steal: float | None = None  # share of the time that the host took away
    spread: dict[str, float] = {}  # coefficient of variation of the repeats, by metric
    flags: tuple[str, ...] = ()


class RunFile(_Part):
    """One benchmark: the runs that it measured, and the points of memory that it showed beside."""

    format: Literal["roofcast run"] = FORMAT
    version: Literal[1] = 1
    records: tuple[RunRecord, ...] = Field(min_length=1)
    started: str = Field(pattern=r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}")
    seconds: float = Field(ge=0)
    study: str = ""
    point: str = ""  # of the study
    tool: str  # what measured: llama-bench, load …
    command: tuple[str, ...] = ()
    repeats: dict[str, tuple[float, ...]] = {}  # by metric, in the unit of its column
    extra: dict[str, float] = {}  # figures that a record has no column for: ITL, energy, requests …
    predicted: dict[str, float] = {}  # what Roofcast said before it ran, by column of the records
    machine: MachineFacts = MachineFacts()
    noise: Noise = Noise()
    error: str = ""  # of a run that failed: what the engine said last
    telemetry: dict[str, dict[str, float]] = {}  # source.name -> mean, p50, max …


@dataclass(frozen=True, slots=True)
class Opened:
    """A run file whose signature holds. `signer` tells keys apart (16 hex digits); `trace`: name -> samples, "t" in seconds."""

    run: RunFile
    signer: str
    trace: dict[str, list[float | None]]


def _line(content: Any) -> bytes:
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode() + b"\n"


def signer_of(key: Ed25519PublicKey) -> str:
    """16 hex digits that tell a key from others."""
    return hashlib.sha256(key.public_bytes_raw()).hexdigest()[:16]


def seal(run: RunFile, key: Ed25519PrivateKey, trace: dict[str, list[float | None]] | None = None) -> bytes:
    """The bytes of a run file, signed."""
    body = _line(run.model_dump(mode="json", exclude_defaults=True) | {"format": FORMAT, "version": run.version})
    if trace:
        body += _line({"trace": trace})
    return body + _line({"ed25519": key.sign(body).hex(), "key": key.public_key().public_bytes_raw().hex()})


def is_run_file(raw: bytes) -> bool:
    """Whether the bytes look like a run file, whatever its signature says."""
    return raw[:1] == b"{" and b'"format":"roofcast run"' in raw[: raw.find(b"\n") if b"\n" in raw else len(raw)]


def open_run(raw: bytes, name: str = "The run file") -> Opened:
    """What a run file holds. Raises RunError for a file that is no run file, or that was changed by a single byte."""
    if len(raw) > MAX_BYTES:
        raise RunError(f"{name} has {len(raw) / 2**20:.0f} MiB; a run file has at most {MAX_BYTES // 2**20}.")
    body, line = raw[: raw.rfind(b"\n", 0, len(raw) - 1) + 1], raw[raw.rfind(b"\n", 0, len(raw) - 1) + 1 :]
    signer = _signer(body, line, name)
    try:
        first, *rest = body.splitlines()
        content = json.loads(first)
        run = RunFile.model_validate(content)
        trace = json.loads(rest[0])["trace"] if rest else {}
    except ValidationError as error:
        wrong = error.errors()[0]
        spot = ".".join(str(part) for part in wrong["loc"])
        raise RunError(f"{name} cannot be read: '{spot}' is wrong ({wrong['msg']}); a newer Roofcast may have written it.") from error
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise RunError(f"{name} is signed, but it is no run file.") from error
    return Opened(run, signer, trace)


def _signer(body: bytes, line: bytes, name: str) -> str:
    """Who signed `body`. The line must be written as `seal` writes it, so that no byte of it can differ unseen."""
    try:
        signed = json.loads(line)
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(signed["key"]))
        if _line({"ed25519": bytes.fromhex(signed["ed25519"]).hex(), "key": key.public_bytes_raw().hex()}) != line:
            raise ValueError("written otherwise")
        key.verify(bytes.fromhex(signed["ed25519"]), body)
    except InvalidSignature:
        raise RunError(f"{name} is not as it was signed: something in it was changed; take the file that the harness wrote.") from None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise RunError(f"{name} has no valid signature at its end; take the file that the harness wrote.") from error
    return signer_of(key)
