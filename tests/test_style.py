"""Style and types, so that one command checks everything."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LONGEST = 450  # lines of a file of ours


def check(*words: str) -> None:
    result = subprocess.run([sys.executable, "-m", *words], cwd=ROOT, text=True, capture_output=True)
    assert result.returncode == 0, result.stdout + result.stderr


def test_ruff() -> None:
    check("ruff", "check", "--output-format", "concise", ".")


def test_types() -> None:
    check("mypy")


def test_files_stay_readable() -> None:
    ours = [path for folder in ("core", "pages", "harness") for path in (ROOT / folder).rglob("*.py")]
    long = {path.name: n for path in ours if (n := len(path.read_text(encoding="utf-8").splitlines())) > LONGEST}
    assert not long


def test_nothing_names_a_machine() -> None:
    """Paths of one machine help nobody else."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, text=True, capture_output=True).stdout.split("\n")
    private = re.compile(r"(?<![\w.])/(?:work|home|root|Users)/\w")
    found = []
    for name in filter(None, listed):
        path = ROOT / name
        if path.suffix in (".py", ".md", ".toml", ".json", "") and path.is_file() and path.stat().st_size < 2_000_000:
            found += [f"{name}: {m[0]}" for m in private.finditer(path.read_text(encoding="utf-8", errors="ignore"))]
    assert not found
