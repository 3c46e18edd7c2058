"""The queue of a user's own runs: what is acknowledged is on the disk, whatever happens next.

One SQLite file (WAL, synchronous=FULL) in ROOFCAST_HOME. `put` returns after the commit, and a run that is there already is
not taken twice. One worker at a time writes what has come as Parquet into the folder of own runs, where the corpus reads it.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from core.catalog.files import home
from core.errors import RunError
from core.records import RunRecord, read_record
from core.run_files import write_records

FILE, LOCK, EXPORT = "queue.sqlite", "queue.lock", "queue.parquet"
BUSY_S = 30.0  # how long a writer waits for another one
_TABLE = """
create table if not exists run (
    place integer primary key autoincrement,
    run_id text not null unique,
    record text not null,
    taken text not null,
    exported integer not null default 0
)
"""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What `put` acknowledges: run_ids that are new, and those that were there before."""

    taken: tuple[str, ...]
    known: tuple[str, ...]


class Queue:
    """The queue in a folder (None: ROOFCAST_HOME). Safe to use from several processes and threads."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = home() if folder is None else folder
        self.path = self.folder / FILE

    def put(self, records: Iterable[RunRecord]) -> Receipt:
        """Takes records, all or none; when it returns they are on the disk. Raises RunError where they cannot be written."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        taken: list[str] = []
        known: list[str] = []
        with self._opened() as database:
            for record in records:
                said = {**record.model_dump(exclude_defaults=True), "schema_version": record.schema_version}
                text = json.dumps(said, sort_keys=True, ensure_ascii=False, allow_nan=False)
                new = database.execute(
                    "insert into run (run_id, record, taken) values (?, ?, ?) on conflict (run_id) do nothing",
                    (record.run_id, text, now),
                ).rowcount
                (taken if new else known).append(record.run_id)
        return Receipt(tuple(taken), tuple(dict.fromkeys(known)))

    def records(self) -> list[RunRecord]:
        """Every run that was ever taken, in the order of their coming. Raises RunError."""
        if not self.path.is_file():
            return []
        with self._opened("begin") as database:
            rows = database.execute("select record from run order by place").fetchall()
        return [read_record(json.loads(text)) for (text,) in rows]

    def waiting(self) -> int:
        """How many runs have been taken and not exported."""
        if not self.path.is_file():
            return 0
        with self._opened("begin") as database:
            return int(database.execute("select count(*) from run where not exported").fetchone()[0])

    def export(self) -> Path | None:
        """Writes every run as Parquet where the corpus reads own runs; None where there is nothing new.

        Killed anywhere, it leaves the old file or the new one, and the next call ends what this one began.
        Raises RunError, also while another worker is at it.
        """
        if not self.waiting():
            return None
        with self._alone():
            with self._opened("begin") as database:
                rows = database.execute("select place, record from run order by place").fetchall()
            out = self.folder / "runs" / EXPORT
            out.parent.mkdir(parents=True, exist_ok=True)
            for left in out.parent.glob(f".{EXPORT}.*"):
                left.unlink()  # of a worker that was killed
            write_records(out, [read_record(json.loads(text)) for _, text in rows])
            with self._opened() as database:
                database.execute("update run set exported = 1 where place <= ?", (rows[-1][0],))
        return out

    def forget(self, run_ids: Iterable[str]) -> int:
        """Deletes a user's own runs, also from the export; how many there were. Raises RunError."""
        with self._opened() as database:
            gone = sum(database.execute("delete from run where run_id = ?", (run_id,)).rowcount for run_id in run_ids)
            if gone:
                database.execute("update run set exported = 0")
                left = database.execute("select count(*) from run").fetchone()[0]
        if gone and not left:
            (self.folder / "runs" / EXPORT).unlink(missing_ok=True)
        elif gone:
            self.export()
        return gone

    @contextlib.contextmanager
    def _opened(self, begin: str = "begin immediate") -> Iterator[sqlite3.Connection]:
        """A connection with one transaction, committed at the end. Raises RunError for a file that cannot be used."""
        connection: sqlite3.Connection | None = None
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(self.path, timeout=BUSY_S, isolation_level=None)
            connection.execute("pragma synchronous = full")
            if not connection.execute("select count(*) from sqlite_master where name = 'run'").fetchone()[0]:
                connection.execute("pragma journal_mode = wal")
                connection.execute(_TABLE)
            connection.execute(begin)
            yield connection
            connection.execute("commit")
        except (sqlite3.Error, OSError) as error:
            raise RunError(f"The queue {self.path} cannot be used ({error}); set ROOFCAST_HOME to a folder that can be written.") from error
        finally:
            if connection is not None:
                connection.close()  # what was not committed is rolled back

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Only one worker at a time, held by a lock that ends with the process. Raises RunError."""
        lock = sqlite3.connect(self.folder / LOCK, timeout=0, isolation_level=None)
        try:
            lock.execute("begin exclusive")
        except sqlite3.Error:
            lock.close()
            raise RunError("Another process is writing the runs; try again when it is done.") from None
        try:
            yield
        finally:
            lock.close()
