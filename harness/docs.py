"""Writes the measured figures of the documents: `python -m harness.docs` renews docs/errors.md and the table in README.md."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

from core.cli_scores import show_scores
from core.errors import RoofcastError
from core.predict import write_whole
from core.report import report
from core.scores import scores
from harness import examples

ROOT = Path(__file__).resolve().parents[1]
ERRORS = ROOT / "docs" / "errors.md"
README = ROOT / "README.md"
_BLOCK = re.compile(r"(<!-- errors -->\n).*?(<!-- /errors -->)", re.S)

_HEAD = """# How wrong Roofcast is

Written by `python -m harness.docs` from the shipped scores (`data/fitted/validation`) and estimates; `roofcast validate` prints the
same, the page "How wrong are we?" lets you ask further. `roofcast validate --full` fits and scores everything again.

"""
_EXAMPLES = """
## The same scenarios by physics alone, and corrected

By `python -m harness.examples`. "Measured", "interpolated" and "unmeasured" say what stands behind a speed.

"""


def main() -> None:
    """Renews both files. Raises RoofcastError where there are no scores or the README has no place for them."""
    told = io.StringIO()
    with contextlib.redirect_stdout(told):
        show_scores(report(scores()), markdown=True)
    text = told.getvalue()
    table = re.search(r"^\| Median / mean absolute error.*?\n\n", text + "\n\n", re.S | re.M)
    readme = README.read_text(encoding="utf-8")
    if table is None or not _BLOCK.search(readme):
        raise RoofcastError("README.md has no <!-- errors --> block, or the report no table of targets; put it back.")
    write_whole(ERRORS, _HEAD + text + _EXAMPLES + "\n".join(examples.lines()) + "\n")
    write_whole(README, _BLOCK.sub(lambda found: found[1] + "\n" + table[0] + found[2], readme))


if __name__ == "__main__":
    main()
