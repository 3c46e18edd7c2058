"""Engines as processes of their own, none of which outlives the harness: not after an error, Ctrl-C, or a kill."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from core.errors import RunError

_GUARD = Path(__file__).with_name("guard.py")
GRACE_S = 5.0  # between asking a process to end and ending it
_STOP_S = 15.0  # for the guard to end everything
_MISSING = (126, 127)


@dataclass(frozen=True, slots=True)
class Finished:
    """A command that ended. `code`: its exit code, 128 + n where signal n ended it."""

    code: int
    out: str
    err: str
    seconds: float
    timed_out: bool = False

    @property
    def said(self) -> str:
        return f"{self.out}\n{self.err}".strip()


class Running:
    """A command that runs. What it says goes to files, so that it never waits for a reader."""

    def __init__(self, command: Sequence[str], variables: Mapping[str, str] | None = None, folder: Path | None = None) -> None:
        """Starts it. Raises RunError where there is no such program."""
        self._out = tempfile.TemporaryFile()  # noqa: SIM115 - closed in `close`
        self._err = tempfile.TemporaryFile()  # noqa: SIM115
        read, self._pipe = os.pipe()
        os.set_inheritable(read, True)
        self.command, self.started = tuple(command), time.monotonic()
        environment = {**os.environ, **(variables or {})}
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(_GUARD), str(read), str(GRACE_S), *command],
            stdin=subprocess.DEVNULL, stdout=self._out, stderr=self._err, env=environment, cwd=folder,
            pass_fds=(read,), start_new_session=True,
        )  # fmt: skip
        os.close(read)

    def alive(self) -> bool:
        return self._process.poll() is None

    def processes(self) -> list[psutil.Process]:
        """The command's own processes, for telemetry."""
        try:
            return psutil.Process(self._process.pid).children(recursive=True)
        except psutil.Error:
            return []

    def wait(self, timeout: float | None) -> bool:
        """Waits for its end; whether it came in time."""
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            return False
        return True

    def said(self) -> tuple[str, str]:
        """What it has printed so far, on standard output and on standard error."""
        return _text(self._out), _text(self._err)

    def stop(self) -> Finished:
        """Ends it with everything that it started; what it said."""
        over = not self.alive()
        if self._pipe >= 0:
            os.close(self._pipe)
            self._pipe = -1
        if not self.wait(GRACE_S + _STOP_S):
            self._process.kill()
            self._process.wait()
        out, err = self.said()
        seconds = time.monotonic() - self.started
        return Finished(self._process.returncode if over else 0, out, err, seconds)

    def close(self) -> None:
        self.stop()
        self._out.close()
        self._err.close()


def _text(file: object) -> str:
    raw = os.pread(file.fileno(), 64 * 2**20, 0)  # type: ignore[attr-defined]
    return raw.decode("utf-8", errors="replace")


@contextlib.contextmanager
def started(command: Sequence[str], variables: Mapping[str, str] | None = None) -> Iterator[Running]:
    """A command that runs within the block and no longer. Raises RunError where there is no such program."""
    running = Running(command, variables)
    try:
        yield running
    finally:
        running.close()


def run(command: Sequence[str], timeout: float | None = None, variables: Mapping[str, str] | None = None) -> Finished:
    """Runs a command to its end. Raises RunError where there is no such program; a failure is in the result."""
    with started(command, variables) as running:
        in_time = running.wait(timeout)
        found = running.stop()
    if found.code in _MISSING and not found.out and len(found.err.splitlines()) == 1:
        raise RunError(f"{command[0]} cannot be started ({found.err.strip().rpartition(': ')[2]}); install it, or say where it is.")
    return found if in_time else Finished(124, found.out, found.err, found.seconds, timed_out=True)


def serving(url: str) -> list[psutil.Process]:
    """The processes behind an address of this machine: who listens there, and all that it started. Empty where nobody may tell."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        listening = [c for c in psutil.net_connections("tcp") if c.status == psutil.CONN_LISTEN and c.laddr and c.laddr.port == port]
        first = [psutil.Process(pid) for pid in {c.pid for c in listening} if pid]
        return list({p for one in first for p in (one, *one.children(recursive=True))})
    except psutil.Error:
        return []
