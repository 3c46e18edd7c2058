"""Writes docs/uploads.md: what files that are no good tables of runs get from the upload page. `python -m harness.uploads` renews it."""

from __future__ import annotations

import functools
import gzip
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from core import upload
from core.errors import RunError
from core.importers import NothingTaken, Refused
from core.predict import write_whole
from core.upload_table import MAX_BYTES, MAX_UNPACKED

ROOT = Path(__file__).resolve().parents[1]
DOCUMENT = ROOT / "docs" / "uploads.md"
HEADER = "model,gpu,runtime,quant,prompt tokens,output tokens,decode tok/s,ttft (ms)"
GOOD = "Qwen/Qwen3-8B,RTX 4090,llama.cpp,Q4_K_M,512,128,130,55"


@dataclass(frozen=True, slots=True)
class Bad:
    """A file that is no good: what is wrong with it, its name, and its bytes. `page`: what the page says before it is even sent."""

    what: str
    name: str
    raw: Callable[[], bytes]
    page: str = ""


def _csv(*rows: str, header: str = HEADER) -> bytes:
    return "\n".join([header, *rows, ""]).encode()


def _with(cell: str, other: str) -> str:
    """The good row with another cell in place of one."""
    return ",".join(other if part == cell else part for part in GOOD.split(","))


def _wide() -> bytes:
    extra = [f"sensor {n}" for n in range(42)]
    return _csv(",".join([GOOD, *("7" for _ in extra)]), header=",".join([HEADER, *extra]))


@functools.cache
def _bomb() -> bytes:
    """Little more than a thousandth of what it unpacks to."""
    return gzip.compress(HEADER.encode() + b"\n" + b"0," * (MAX_BYTES // 2 + 1), compresslevel=6)


@functools.cache
def _parquet_bomb() -> bytes:
    """Less than a thousandth of what it unpacks to."""
    part, out = pa.table({"model": ["x" * 2**20] * 16}), io.BytesIO()
    with pq.ParquetWriter(out, part.schema, compression="zstd", use_dictionary=False, write_statistics=False) as writer:
        for _ in range(MAX_UNPACKED // 2**24 + 1):
            writer.write_table(part)
    return out.getvalue()


BAD: tuple[Bad, ...] = (
    Bad("Another encoding (Windows-1252)", "latin.csv", lambda: _csv(_with("Qwen/Qwen3-8B", "Qwén")).decode().encode("cp1252")),
    Bad("50 columns, 42 of them of no run", "wide.csv", _wide),
    Bad("Formulas in cells", "formulas.csv", lambda: _csv(_with("130", "=SUM(A1:A9)"), _with("RTX 4090", "=cmd|'/C calc'!A0"))),
    Bad("200 MB", "large.csv", lambda: bytes(200 * 10**6), "File must be 64.0MB or smaller."),
    Bad("A zip bomb in gzip", "bomb.csv.gz", _bomb),
    Bad("A zip bomb in Parquet", "bomb.parquet", _parquet_bomb),
    Bad("A zip archive or an Excel workbook", "runs.xlsx", lambda: b"PK\x03\x04" + bytes(60)),
    Bad("A web page", "results.csv", lambda: b"<!DOCTYPE html>\n<html><body>Not Found</body></html>"),
    Bad("Semicolons between the cells", "semicolons.csv", lambda: _csv(GOOD).replace(b",", b";")),
    Bad("Decimal commas", "commas.csv", lambda: _csv(GOOD).replace(b",", b";").replace(b"130", b"1.130,5")),
    Bad("Nothing in it", "empty.csv", lambda: b"\n  \n"),
    Bad("A header without rows", "header.csv", lambda: _csv()),
    Bad("A column twice", "twice.csv", lambda: _csv(f"{GOOD},9", header=f"{HEADER},GPU")),
    Bad("SQL in cells", "sql.csv", lambda: _csv(GOOD.replace("Qwen/Qwen3-8B", "x'); DROP TABLE runs; --"))),
    Bad("Binary data", "binary.csv", lambda: bytes(range(256)) * 8),
    Bad("NaN for what was measured", "nan.csv", lambda: _csv(GOOD.replace(",130,55", ",NaN,nan"))),
    Bad("Negative times", "negative.csv", lambda: _csv(GOOD, _with("55", "-55"))),
    Bad("Units mixed in a column", "mixed.csv", lambda: _csv(_with("55", "55 ms"), _with("55", "0.06 s"), _with("55", "70"))),
    Bad("Rows that are too short or too long", "ragged.csv", lambda: _csv(GOOD, "a,b", f"{GOOD},7,7")),
    Bad("Text without columns", "prose.txt", lambda: b"I ran the model and it was quite fast.\n"),
    Bad("Broken JSON", "broken.json", lambda: b'{"model": "Qwen3-8B", "decode_toks_sec": '),
)  # fmt: skip


def answer(bad: Bad) -> list[str]:
    """What a file gets: one sentence where it is refused, else what was taken of it and a sentence for each row that was not."""
    try:
        sheet = upload.read(bad.raw(), bad.name)
        assert not isinstance(sheet, str)
        found = upload.from_sheet(sheet)
    except RunError as error:
        refused = error.refused if isinstance(error, NothingTaken) else ()
        return [str(error), *_each(refused if len(refused) > 1 else ())]
    taken = f"Read: {len(found.records)} run{'s' if len(found.records) != 1 else ''}."
    return [taken, *found.notes, *_each(found.refused)]


def _each(refused: Sequence[Refused]) -> list[str]:
    return [f"Left out, {row.where}: {row.why}" for row in refused]


def document() -> str:
    """The page of documentation."""
    lines = [
        "# What files get on the upload page",
        "",
        "A file that cannot be used is refused by one sentence; of one that can, each row that cannot is named with its line and the",
        "reason. Written by `python -m harness.uploads`, which makes each of these files and reads it as the page “Your runs” does. That",
        "the page says these very words is watched in Chromium: `pytest tests/test_browser_runs.py -k bad` drops them all on it.",
        "",
    ]
    for bad in BAD:
        lines += [f"**{bad.what}** (`{bad.name}`)", "", *(f"- {_plain(text)}" for text in ([bad.page] if bad.page else answer(bad))), ""]
    return "\n".join(lines)


def _plain(text: str) -> str:
    """Text in which Markdown sees no markup."""
    return "".join(f"\\{letter}" if letter in "\\`*_[]<>|" else letter for letter in text)


if __name__ == "__main__":
    write_whole(DOCUMENT, document())
