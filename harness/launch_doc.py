"""Writes docs/launch.md from the golden commands: `python -m harness.launch_doc`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from core.launch_flags import HARMLESS
from core.launch_parse import parse
from core.predict import write_whole

ROOT = Path(__file__).resolve().parents[1]
DOCUMENT = ROOT / "docs" / "launch.md"
GOLDEN = ROOT / "data" / "golden" / "launch.json"

_HEAD = """# Launch commands, read and written back

Written by `python -m harness.launch_doc` from `data/golden/launch.json`; a test holds both to it. Each command was pasted as its
document has it. `roofcast parse "COMMAND"` does the same with yours, and so does "Paste a command" on the page.
"""


def text() -> str:
    """The document."""
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))
    read = sum(bool(case["read"]) for case in golden["commands"])
    count = f"\n{len(golden['commands'])} commands; {read} were read in the document that is named, the others set down from memory.\n"
    return _HEAD + count + "".join("\n".join(_case(case)) for case in golden["commands"])


def _case(case: dict[str, Any]) -> Iterator[str]:
    parsed = parse(case["command"])
    where = case["read"] or f"{case['source']}, not opened: set down from memory"
    yield f"\n## {case['title']}\n"
    yield f"Source: [{where}]({case['source']}).\n"
    yield f"```\n{case['command']}\n```\n"
    yield "| Knob | Value |\n|---|---|"
    yield from (f"| {knob} | {amount} |" for knob, amount in parsed.fields.items())
    if parsed.version:
        yield f"| runtime_version | {parsed.version} |"
    yield ""
    yield from (f"- {note}" for note in parsed.notes)
    yield from (f"- Not modelled: `{what}`, {why}." for what, why in parsed.not_modelled if why != HARMLESS)
    quiet = [f"`{what}`" for what, why in parsed.not_modelled if why == HARMLESS]
    if quiet:
        yield f"- Without effect on memory or speed: {', '.join(quiet)}."
    if parsed.unknown:
        yield f"- Unknown, and so left out: {', '.join(parsed.unknown)}."
    yield f"\nWritten back:\n\n```\n{parsed.command()}\n```\n"


def main() -> None:
    """Renews the document."""
    write_whole(DOCUMENT, text())


if __name__ == "__main__":
    main()
