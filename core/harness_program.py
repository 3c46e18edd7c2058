"""The harness as a program of its own: how it is started. It stands above the core, which never imports it."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from core.errors import RunError
from core.this_machine import MachineFacts, path, read_machine

_NEEDED = ("psutil", "aiohttp")
_LONGEST_S = 180.0  # that looking at a machine and measuring it may take


def command(words: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """The command and its environment. Raises RunError where the harness is not installed."""
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise RunError(f"Measuring needs {' and '.join(missing)}; run pip install 'roofcast[harness]'.")
    root = str(Path(__file__).resolve().parents[1])
    others = os.environ.get("PYTHONPATH", "")
    variables = {**os.environ, "PYTHONPATH": f"{root}{os.pathsep}{others}" if others else root}
    return [sys.executable, "-m", "harness", *words], variables


def look_at_machine(measure: bool = False) -> MachineFacts:
    """Detects this machine and stores the facts; with `measure` also what its memory and matrix units reach (seconds).

    Raises RunError where that fails, CatalogError for a file of facts that is wrong.
    """
    words, variables = command(["machine", *(["--measure"] if measure else [])])
    before = path().stat().st_mtime_ns if path().is_file() else 0
    try:
        done = subprocess.run(words, env=variables, capture_output=True, text=True, timeout=_LONGEST_S, errors="replace", check=False)
    except (OSError, subprocess.SubprocessError) as error:
        raise RunError(f"This machine cannot be looked at ({error}); try `roofcast bench machine`.") from error
    # A processor that nobody knows is stored, and a failure all the same: what a system of it would need is said later.
    facts = read_machine() if path().is_file() and path().stat().st_mtime_ns > before else None
    if facts is None:
        said = [line.removeprefix("roofcast: ") for line in done.stderr.splitlines() if line.strip()]
        raise RunError(said[-1] if said else "Nothing could be read of this machine; try `roofcast bench machine`.")
    return facts
