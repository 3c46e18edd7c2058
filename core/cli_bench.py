"""`roofcast bench`: hands over to the harness, a program of its own that stands above the core."""

from __future__ import annotations

import os
import subprocess

import typer


def bench(ctx: typer.Context) -> None:
    """Measures with real engines on this machine; `roofcast bench --help` says how, `--list` with what."""
    from core.harness_program import command

    words, variables = command(ctx.args)
    if os.name == "posix":
        os.execve(words[0], words, variables)  # it takes this process's place, and its signals
    raise typer.Exit(subprocess.call(words, env=variables))
