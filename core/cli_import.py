"""`roofcast runs import` and `forget`: result files of benchmarks into a user's own runs, and out again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from core.errors import RunError

if TYPE_CHECKING:
    from core.upload import Upload

SHOWN = 20  # runs and refusals of a file that are printed


def import_runs(
    files: Annotated[list[Path], typer.Argument(metavar="FILE…", help="Results of llama-bench, vllm bench, SGLang, GuideLLM, Ollama …")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be taken; store nothing.")] = False,
    given: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="COLUMN=VALUE", help="What the file does not tell, such as gpu_name=H100; again for more."),
    ] = None,
    this_machine: Annotated[bool, typer.Option("--this-machine", help="It ran here: on what `roofcast bench machine` found.")] = False,
    confirm: Annotated[bool, typer.Option("--confirm", help="Take runs, too, that the device cannot reach by its datasheet.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Reads result files of benchmarks, and tables of runs, as runs of your own.

    roofcast runs import bench.json --dry-run
    """
    told = _told(given or [], this_machine)
    found, problems = [], []
    for file in files:
        try:
            found.append(_read(file, told))
        except RunError as error:
            problems.append(str(error))
    records = list({r.run_id: r for one in found for r in one.fresh([*one.flags] if confirm else [])}.values())
    receipt = _store(records) if found and not dry_run else None
    if json:
        refused = [{"file": one.name, "where": row.where, "why": row.why} for one in found for row in one.refused]
        doubtful = [{"run_id": name, "why": why} for one in found for name, why in one.flags.items()]
        content = {"runs": [r.model_dump(exclude_defaults=True) for one in found for r in one.records], "refused": refused,
                   "doubtful": doubtful, "problems": problems, "stored": None if receipt is None else list(receipt.taken)}  # fmt: skip
        import json as writer

        typer.echo(writer.dumps(content, indent=2, ensure_ascii=False, allow_nan=False))
    else:
        for one in found:
            typer.echo("\n".join(_lines(one, confirm)))
        if receipt is not None:
            before = sum(len(one.before) for one in found)
            known = f", {before} were there before" if before else ""
            typer.echo(f"{len(receipt.taken)} new runs are stored{known}; `roofcast runs` lists them.")
        elif found:
            typer.echo("Nothing is stored: --dry-run.")
    for problem in problems:
        typer.echo(f"roofcast: {problem}", err=True)
    if problems:
        raise typer.Exit(2)


def _read(file: Path, told: dict[str, Any]) -> Upload:
    """What a file gives. Raises RunError."""
    from core.upload import from_any

    try:
        return from_any(file.read_bytes(), file.name, told)
    except OSError as error:
        raise RunError(f"{file} cannot be read ({error.strerror or error}); give the file that a benchmark wrote.") from error


def forget_runs(run_ids: Annotated[list[str], typer.Argument(metavar="RUN_ID…", help="The 16 digits that name a run.")]) -> None:
    """Deletes stored runs of your own."""
    from core.queue import Queue

    gone = Queue().forget(run_ids)
    if not gone:
        raise RunError("None of these runs is stored; `roofcast runs import --dry-run --json` shows the run_id of each.")
    typer.echo(f"{gone} run{'s are' if gone > 1 else ' is'} deleted.")


def _told(given: list[str], this_machine: bool) -> dict[str, Any]:
    told: dict[str, Any] = {}
    if this_machine:
        from core.this_machine import read_machine, run_columns

        facts = read_machine()
        if facts is None:
            raise RunError("Nobody has looked at this machine yet; run `roofcast bench machine` first.")
        told.update(run_columns(facts))
    for text in given:
        column, equals, cell = text.partition("=")
        if not equals:
            raise RunError(f"--set needs COLUMN=VALUE, such as gpu_name=H100 (it is '{text}').")
        told[column.strip()] = cell.strip()
    return told


def _store(records: list[Any]) -> Any:
    from core.queue import Queue

    queue = Queue()
    receipt = queue.put(records)
    queue.export()
    return receipt


def _lines(one: Upload, confirm: bool) -> list[str]:
    """What a file gave, for people."""
    from core.upload_tables import figures

    signed = f", signed by {one.signer}" if one.signer else ""
    found = [f"{one.name}: {len(one.records)} run{'s' if len(one.records) > 1 else ''} of {one.kind}{signed}"]
    for record in one.records[:SHOWN]:
        cards = f"{record.gpu_count:.0f} × " if record.gpu_count and record.gpu_count > 1 else ""
        what = f"{record.model or record.model_name_raw} {record.scheme} on {cards}{record.device.split('?')[0]}, {record.engine}"
        doubt = f" ({record.fit_reason})" if record.fit_reason else ""
        found.append(f"  {what}; {_load(record)}: {figures(record)}{doubt}")
    if len(one.records) > SHOWN:
        found.append(f"  … and {len(one.records) - SHOWN} more")
    found += [f"  {note}" for note in one.notes]
    taken = "taken all the same" if confirm else "not taken; --confirm takes it"
    found += [f"  doubtful, {taken}: {why}" for why in one.flags.values()]
    found += [f"  left out, {row.where}: {row.why}" if row.where else f"  left out: {row.why}" for row in one.refused[:SHOWN]]
    return found


def _load(record: Any) -> str:
    lengths = [f"{amount:.0f} {word}" for amount, word in ((record.prompt_tokens, "in"), (record.output_tokens, "out")) if amount]
    depth = [f"at depth {record.context_depth:.0f}"] if record.context_depth else []
    users = f"{record.concurrency:.0f} users" if (record.concurrency or 1) > 1 else "one user"
    rate = f"{record.request_rate:g} requests/s" if record.request_rate else users
    return ", ".join([*lengths, *depth, f"batch of {record.concurrency:.0f}" if record.load_kind == "static_batch" else rate])
