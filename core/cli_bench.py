"""`roofcast bench`: hands over to the harness, a program of its own that stands above the core."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import typer

from core.errors import RunError

_NEEDED = ("psutil", "aiohttp")


def bench(ctx: typer.Context) -> None:
    """Measures with real engines on this machine; `roofcast bench --help` says how, `--list` with what."""
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise RunError(f"Measuring needs {' and '.join(missing)}; run pip install 'roofcast[harness]'.")
    root = str(Path(__file__).resolve().parents[1])
    others = os.environ.get("PYTHONPATH", "")
    variables = {**os.environ, "PYTHONPATH": f"{root}{os.pathsep}{others}" if others else root}
    command = [sys.executable, "-m", "harness", *ctx.args]
    if os.name == "posix":
        os.execve(sys.executable, command, variables)  # it takes this process's place, and its signals
    raise typer.Exit(subprocess.call(command, env=variables))
