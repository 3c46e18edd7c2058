"""Imports tables of public runs into data/runs: `python -m harness.import_corpus FOLDER … [--out data/runs]`.

A FOLDER holds runs*.csv.gz (columns of core.runs with source, licence and notes) or memory_runs.csv.gz. Each source has a
folder under `--out` with a source.toml; rows of a source without one are left out. Reruns write the same bytes. After a
change of the catalog, the same command without a FOLDER brings the names of the records up to date.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from core.catalog.files import DATA
from core.errors import RoofcastError, RunError
from core.predict import write_whole
from core.records import SCHEMA_VERSION, RunRecord, read_record
from core.run_files import write_records
from core.run_sources import RunSource, read_sources
from core.scenario_id import identified
from harness.import_memory import memory_row
from harness.import_merge import merged
from harness.import_roof import beyond_datasheet, held_against_memory
from harness.import_rules import cleaned, dropped, facts, unfit

REPORT = "IMPORT.md"
UNRESOLVED = "not one scenario: a name or a layout that the catalog does not know"
TABLES = ("runs*.csv.gz", "memory_runs.csv.gz")


@dataclass(slots=True)
class Account:
    """What became of the rows: by reason, by rule and by source."""

    read: Counter[str] = field(default_factory=Counter)
    dropped: Counter[tuple[str, str]] = field(default_factory=Counter)
    cleaned: Counter[str] = field(default_factory=Counter)
    unfit: Counter[str] = field(default_factory=Counter)
    unresolved: Counter[str] = field(default_factory=Counter)
    merged: Counter[str] = field(default_factory=Counter)
    written: Counter[str] = field(default_factory=Counter)


def rows_of(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a gzipped CSV file as text. Raises RunError when it cannot be read."""
    try:
        with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
            yield from csv.DictReader(file)
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise RunError(f"{path.name} cannot be read ({error}); give a gzipped CSV file of runs.") from error


def record_of(row: dict[str, Any], slug: str, source: RunSource, account: Account) -> RunRecord:
    """A row of a source as a record. Raises RunError where a cell cannot be used."""
    raw_notes = row["notes"]
    row, rules = cleaned(row)
    account.cleaned.update(rules)
    row = facts(row)
    names = identified(row)
    row = held_against_memory(row)
    reason = unfit({**row, "raw_notes": raw_notes}) or beyond_datasheet(row)
    if not names["scenario_id"]:
        reason = reason or UNRESOLVED
        account.unresolved[names.pop("why")] += 1
    names.pop("why", None)
    if reason:
        account.unfit[reason] += 1
    return read_record({
        **{column: cell for column, cell in row.items() if column != "source_license"},
        **names,
        "licence": row["source_license"],
        "origin": source.origin or slug,
        "fit": not reason,
        "fit_reason": reason,
        "schema_version": SCHEMA_VERSION,
    })  # fmt: skip


def point_of(row: dict[str, Any], slug: str, source: RunSource, account: Account) -> RunRecord:
    """A point of memory as a record. Raises RunError where a cell cannot be used."""
    found = memory_row(row)
    reason = found["sanity_flag"]
    account.unfit.update([reason] if reason else [])
    return read_record({
        **{column: cell for column, cell in found.items() if column != "source_license"},
        "licence": found["source_license"],
        "origin": source.origin or slug,
        "fit": not reason,
        "fit_reason": reason,
        "schema_version": SCHEMA_VERSION,
    })  # fmt: skip


def imported(folders: list[Path], sources: dict[str, RunSource], account: Account) -> dict[str, list[RunRecord]]:
    """The records of every table in `folders`, by the folder of their source; re-posts are merged. Raises RunError."""
    tables = [path for folder in folders for name in TABLES for path in sorted(folder.glob(name))]
    if not tables:
        raise RunError(f"{folders[0]} holds none of {', '.join(TABLES)}; give the folder of the tables to import.")
    slug_of = {name: slug for slug, source in sources.items() for name in source.names}
    records: list[tuple[str, RunRecord]] = []
    for path in tables:
        for row in rows_of(path):
            name = row["source"]
            account.read[name] += 1
            slug = slug_of.get(name)
            reason = dropped(row) or ("" if slug else "no source.toml names it")
            if reason or slug is None:
                account.dropped[name, reason] += 1
                continue
            make = point_of if "measured_kind" in row else record_of
            records.append((slug, make(row, slug, sources[slug], account)))
    found: dict[str, list[RunRecord]] = {}
    for slug, record in merged(records, account.merged):
        found.setdefault(slug, []).append(record)
        account.written[record.source] += 1
    return found


def resolved_again(record: RunRecord) -> RunRecord:
    """A record with the names of today's catalog. What it is called and what it measured stay as they are."""
    if record.memory_kind:
        return record
    row = record.model_dump()
    names = identified(row)
    names.pop("why", None)
    reason = record.fit_reason
    if not names["scenario_id"]:
        reason = reason or UNRESOLVED
    elif reason == UNRESOLVED:
        reason = beyond_datasheet(row)
    return record.model_copy(update={**names, "fit": not reason, "fit_reason": reason})


def resolve_again(out: Path) -> int:
    """Writes every runs.parquet under `out` with the catalog's names of today; returns how many records changed."""
    changed = 0
    for path in sorted(out.glob("*/runs.parquet")):
        records = [read_record({str(name): cell for name, cell in row.items()}) for row in pd.read_parquet(path).to_dict("records")]
        found = [resolved_again(record) for record in records]
        changed += sum(new != old for new, old in zip(found, records, strict=True))
        write_records(path, found)
    return changed


def report(account: Account) -> str:
    """The account as Markdown: what was read, left out, cleaned, merged and not fitted, and why."""

    def table(title: str, head: str, lines: list[tuple[Any, ...]]) -> list[str]:
        columns = head.count("|") + 1
        rule = "|---" * (columns - 1) + "|---:|"
        return [f"## {title}", "", f"| {head} |", rule, *(f"| {' | '.join(str(cell) for cell in line)} |" for line in lines), ""]

    def counted(counts: Counter[str]) -> list[tuple[Any, ...]]:
        return sorted(counts.items(), key=lambda item: (-item[1], item[0]))

    read, written = sum(account.read.values()), sum(account.written.values())
    lines = [
        "# What the import kept",
        "",
        f"{read:,} rows read, {written:,} records written; {sum(account.dropped.values()):,} left out, "
        f"{sum(account.merged.values()):,} merged as re-posts. Written by `python -m harness.import_corpus`.",
        "",
    ]
    left_out = [(name, why, n) for (name, why), n in sorted(account.dropped.items())]
    lines += table("Left out", "Source | Why | Rows", left_out)
    lines += table("Cleaned, by inputs alone", "Rule | Rows", counted(account.cleaned))
    lines += table("Judged but not fitted", "Reason | Rows", counted(account.unfit))
    lines += table("Not one scenario of the catalog", "Why | Rows", counted(account.unresolved))
    lines += table("Merged re-posts", "Source that repeats | Rows", counted(account.merged))
    by_source = [(name, account.read[name], account.written[name]) for name in sorted(account.read)]
    lines += table("By source", "Source | Read | Written", by_source)
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m harness.import_corpus", description=(__doc__ or "").split("\n")[0])
    parser.add_argument(
        "folder",
        type=Path,
        nargs="*",
        help="folder of runs*.csv.gz or memory_runs.csv.gz; without one, shipped records get the catalog's names of today",
    )
    parser.add_argument("--out", type=Path, default=DATA / "runs", help="folder of sources (default: %(default)s)")
    asked = parser.parse_args(arguments)
    account = Account()
    try:
        if not asked.folder:
            print(f"{resolve_again(asked.out):,} records have other names than before.")
            return 0
        found = imported(asked.folder, read_sources(asked.out), account)
        for slug, records in sorted(found.items()):
            for name, part in (("runs", [r for r in records if not r.memory_kind]), ("memory", [r for r in records if r.memory_kind])):
                if part:
                    write_records(asked.out / slug / f"{name}.parquet", part)
        write_whole(asked.out / REPORT, report(account))
    except RoofcastError as error:
        print(f"import_corpus: {error}", file=sys.stderr)
        return 2
    print(report(account))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
