"""`roofcast bundle`: opens a file that reproduces a result; `estimate --bundle` writes one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from core.answer import Estimate
    from core.bundle_replay import Replay


def write_bundle(found: Estimate, where: Path) -> None:
    """Writes the bundle of an estimate, whole or not at all. Raises RunError where the file cannot be written."""
    from core.bundle import bundle
    from core.predict import write_whole

    write_whole(where, bundle(found).to_json())
    typer.echo(f"The bundle is written to {where}; `roofcast bundle {where}` opens it.", err=True)


def open_bundle(
    file: Annotated[Path, typer.Argument(help="A bundle, as `roofcast estimate --bundle` or a page wrote it.")],
    store: Annotated[bool, typer.Option("--store", help="Keep its model and devices on this machine, to ask on.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Makes the estimate of a bundle again, and says where its numbers differ here and why.

    roofcast estimate --model "qwen3 8b" --gpu "RTX 4090" --bundle result.json

    roofcast bundle result.json
    """
    from core.bundle import MAX_BYTES, read
    from core.bundle_replay import replay
    from core.bundle_store import store as keep
    from core.errors import RunError

    try:
        with file.open("rb") as opened:
            raw = opened.read(MAX_BYTES + 1)
    except OSError as error:
        raise RunError(f"{file} cannot be read ({error.strerror or error}); give the path of a bundle.") from None
    found = replay(read(raw, file.name))
    stored = keep(found) if store else []
    if json:
        _print_json(found)
        return
    from core.cli_show import show_estimate

    show_estimate(found.found)
    typer.echo("\n".join(["", *lines(found), *stored]))


def lines(found: Replay) -> list[str]:
    """How the numbers stand to those of the file, as text."""
    told = ["Against the file", *(f"  {sentence}" for sentence in (found.sentence, *found.why, *found.notes))]
    moved = [row for row in found.rows if not row.same]
    if moved:
        wide = [max(len(getattr(row, name)) for row in moved) for name in ("title", "there", "here")]
        told += ["", f"  {'':<{wide[0]}}  {'in the file':<{wide[1]}}  {'here':<{wide[2]}}"]
        told += [f"  {row.title:<{wide[0]}}  {row.there:<{wide[1]}}  {row.here:<{wide[2]}}  {row.change}".rstrip() for row in moved]
    return told


def _print_json(found: Replay) -> None:
    import json
    from dataclasses import asdict

    from core.response import response

    told = {
        "same": found.same, "sentence": found.sentence, "why": list(found.why), "notes": list(found.notes),
        "numbers": [asdict(row) for row in found.rows], "estimate": response(found.found),
    }  # fmt: skip
    typer.echo(json.dumps(told, indent=2, ensure_ascii=False, allow_nan=False))
