"""Writes run files: scrubbed of what names people and machines, signed, whole or not at all, and never over another."""

from __future__ import annotations

import getpass
import os
import re
import socket
from collections.abc import Iterable, Mapping
from pathlib import Path

from core.catalog.files import home
from core.errors import RunError
from core.importers.document import file_name
from core.predict import write_bytes_whole
from core.run_artifact import SUFFIX, Opened, RunFile, open_run, seal
from harness.sign import signing_key

_MAC = re.compile(r"\b(?:[0-9A-Fa-f]{2}[:-]){5}[0-9A-Fa-f]{2}\b")
_UUID = re.compile(r"\b(?:GPU-|MIG-)?[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", re.I)
_ADDRESS = re.compile(r"\b(?!127\.0\.0\.1\b|0\.0\.0\.0\b)(?:\d{1,3}\.){3}\d{1,3}\b")
_TOKEN = re.compile(r"\b(?:hf_|sk-)\w{8,}|(?<=[Bb]earer )\S+")
_FOLDER = re.compile(r"(?<![\w.:/-])(?:~|[A-Za-z]:)?(?:[/\\][\w.+@ -]+)*[/\\](?=[\w.+@-])")
LONGEST = 2000  # characters of an engine's last words


def bench_folder() -> Path:
    """Where run files stand, a folder a study."""
    return home() / "bench"


def scrub(text: str) -> str:
    """Text without what names a person, a machine or a place on it: users, hosts, folders, addresses, serial numbers, tokens."""
    text = _TOKEN.sub("<token>", text)
    text = re.sub(r"(?<=\w)://", "\0", text)  # links are no folders
    text = _FOLDER.sub("", text).replace("\0", "://")
    for pattern, word in ((_MAC, "<mac>"), (_UUID, "<id>"), (_ADDRESS, "<address>")):
        text = pattern.sub(word, text)
    for name, word in _names().items():
        text = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", word, text)
    return text


def _names() -> dict[str, str]:
    """What this user and this host are called, where the names tell anything."""
    found = {}
    for read, word in ((getpass.getuser, "<user>"), (socket.gethostname, "<host>")):
        try:
            name = read()
        except (OSError, KeyError, ImportError):
            continue
        if len(name) > 2 and name not in ("root", "localhost"):
            found[name] = word
    return found


def scrubbed(words: Iterable[str]) -> tuple[str, ...]:
    """A command without folders and names; of a model's file only its own name is kept."""
    return tuple(scrub(file_name(word) if word.lower().endswith(".gguf") else word) for word in words)


def last_words(text: str) -> str:
    """The end of what an engine said, scrubbed."""
    return scrub(text.strip()[-LONGEST:])


def write_run(run: RunFile, name: str, trace: Mapping[str, list[float | None]] | None = None, folder: Path | None = None) -> Path:
    """Writes a run file of this name below `folder` (None: bench in ROOFCAST_HOME, by study); returns where it is.

    Raises RunError where it cannot be written, or where one stands: run files are never modified.
    """
    out = (bench_folder() / (run.study or "single") if folder is None else folder) / f"{name}{SUFFIX}"
    if out.exists():
        raise RunError(f"{out} is there already, and run files are never modified; give another name.")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"{out.parent} cannot be made ({error.strerror or error}); set ROOFCAST_HOME to another folder.") from error
    write_bytes_whole(out, seal(run, signing_key(), dict(trace or {})))
    os.chmod(out, 0o444)
    return out


def read_run_file(path: Path) -> Opened:
    """What a run file holds. Raises RunError where it is missing, or was changed by a byte."""
    try:
        return open_run(path.read_bytes(), path.name)
    except OSError as error:
        raise RunError(f"{path} cannot be read ({error.strerror or error}).") from error
