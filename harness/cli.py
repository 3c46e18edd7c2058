"""`roofcast bench`: measure with real engines, write synthetic models, describe this machine, report on studies."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from core.cli import Group
from core.cli import main as core_main
from core.errors import RunError

app = typer.Typer(
    cls=Group, add_completion=False, pretty_exceptions_enable=False, invoke_without_command=True, no_args_is_help=True,
    context_settings={"help_option_names": ["--help", "-h"]},
    help="Measures with real engines: studies, single points, this machine. Every run is signed and joins your own runs.",
)  # fmt: skip

_Set = Annotated[list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Sets a cell of the point, or a fact; again for more.")]
_Only = Annotated[list[str] | None, typer.Option("--only", metavar="NAME=VALUE", help="Only points whose cell is this; again for more.")]
_Repeats = Annotated[int | None, typer.Option(help="Exactly so many repeats. (default: 10, up to 30 until the median is tight)", min=1)]


@app.callback()
def _root(
    ctx: typer.Context,
    listed: Annotated[bool, typer.Option("--list", help="Names engines and studies, and says what is missing here.")] = False,
    synthetic: Annotated[
        str, typer.Option("--synthetic", metavar="SIZE", help="Writes models of random weights: 135m, 1b, 3b or a name.")
    ] = "",
    quant: Annotated[
        list[str] | None, typer.Option("--quant", help="With --synthetic: only these. (default: F16, Q8_0, Q4_0, Q4_K_M)")
    ] = None,
    checkpoint: Annotated[bool, typer.Option("--checkpoint", help="With --synthetic: a folder without weights, for vLLM.")] = False,
) -> None:
    if listed:
        _list()
    elif synthetic:
        _synthetic(synthetic, quant, checkpoint)
    elif ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help())


def _list() -> None:
    from harness import study
    from harness.engines import engines

    typer.echo("Engines")
    for engine in engines().values():
        missing = engine.missing()
        typer.echo(f"  {engine.name:<20} {engine.about}" + (f"\n{'':<23}not here: {missing}" if missing else ""))
    typer.echo("\nStudies")
    for name in study.names():
        found = study.read_study(name)
        expected = f"{len(found.expect)} expected result{'s' if len(found.expect) != 1 else ''}"
        typer.echo(f"  {name:<20} {found.title}: {len(found.points()):,} points, {expected}")


def _synthetic(size: str, quants: list[str] | None, checkpoint: bool) -> None:
    from harness.synthetic import QUANTS, write_checkpoint, write_synthetic

    if checkpoint:
        typer.echo(str(write_checkpoint(size)))
        return
    for name in quants or QUANTS:
        with _bar(f"{size} {name}") as tell:
            path = write_synthetic(size, name, tell=tell)
        typer.echo(f"{path} ({path.stat().st_size / 1e9:.2f} GB)")


@app.command()
def run(
    study: Annotated[str, typer.Argument(help="A study's name (see --list) or a TOML file.")],
    only: _Only = None,
    given: _Set = None,
    repeats: _Repeats = None,
    limit: Annotated[int | None, typer.Option(help="At most so many points that are not done yet.", min=1)] = None,
    retry: Annotated[bool, typer.Option("--retry", help="Runs points that failed again.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Runs also what is predicted not to fit.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Says what would run and what would be skipped.")] = False,
    seed: Annotated[int | None, typer.Option(help="Of prompts and arrivals. (default: drawn for each point, and recorded)")] = None,
) -> None:
    """Runs a study; what is done already is left, so it can be interrupted and called again.

    roofcast bench run synthetic --only engine=llama-bench
    """
    from harness.engines.base import Point
    from harness.study import check_cells, key_of, read_study
    from harness.sweep import latest, skips

    found = read_study(study)
    changes = _pairs(given)
    check_cells(changes, "--set")
    points = found.points(_pairs(only))
    if changes:
        points = [Point(p.study, key_of(cells), cells) for p in points if (cells := {**p.cells, **changes})]
    if not points:
        raise RunError(f"No point of {study} is left; --only names cells and their values as the file has them.")
    facts = _facts()
    if limit is not None:
        points = [p for p in points if latest(p) is None][:limit]
    if dry_run:
        for point in points:
            why = "is done" if latest(point) else skips(point, facts, force)
            typer.echo(f"{point.key}  {why or 'would run'}")
        return
    _run(points, facts, repeats, retry, force, seed)


@app.command()
def one(
    engine: Annotated[str, typer.Argument(help="What to measure with (see --list).")],
    given: _Set = None,
    repeats: _Repeats = None,
    force: Annotated[bool, typer.Option("--force", help="Also where it is predicted not to fit.")] = False,
    seed: Annotated[int | None, typer.Option(help="Of prompts and arrivals.")] = None,
) -> None:
    """Measures a single point.

    roofcast bench one llama-bench --set file=qwen3-8b-q4_k_m.gguf --set prompt_tokens=512 --set output_tokens=128
    """
    from harness.engines.base import Point
    from harness.study import check_cells, key_of

    cells: dict[str, Any] = {"engine": engine, **_pairs(given)}
    check_cells(cells, "--set")
    _run([Point("single", key_of(cells), cells)], _facts(), repeats, True, force, seed, again=True)


def _run(points: list[Any], facts: Any, repeats: int | None, retry: bool, force: bool, seed: int | None, again: bool = False) -> None:
    from harness.stats import Repeats
    from harness.sweep import Options, run_points

    often = Repeats() if repeats is None else Repeats(repeats, repeats)
    marks = {"done": "✓", "failed": "✗", "skipped": "–", "before": "·"}
    seen = {"n": 0}
    with _progress(len(points)) as (advance, inner, say):

        def tell(event: str, text: str) -> None:
            if event == "starts":
                inner(0, often.most, text)
                return
            seen["n"] += 1
            advance()
            if event != "before":
                say(f"{marks[event]} {text}")

        options = Options(often, retry, force, seed, tell=tell, progress=lambda done, of: inner(done, of, None), again=again)
        account = run_points(points, facts, options)
    told = f"{len(account.done)} measured, {len(account.failed)} failed, {len(account.skipped)} skipped"
    typer.echo(f"{told}, {len(account.before)} were done before.")
    if not account.done and not account.before and not account.failed:
        raise typer.Exit(1)


@app.command()
def report(
    study: Annotated[str, typer.Argument(help="A study's name or TOML file.")],
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Tests what a study was to show with the runs there are.

    roofcast bench report synthetic
    """
    from harness.expectations import verdicts
    from harness.study import read_study
    from harness.sweep import figures, finished_runs

    found = read_study(study)
    files = finished_runs(found.name)
    told = verdicts(found, files)
    if json:
        import json as writer

        content = {"study": found.name, "runs": [f.model_dump(mode="json", exclude_defaults=True, exclude={"telemetry"}) for f in files],
                   "expected": [{"says": v.says, "holds": v.holds, "told": v.told} for v in told]}  # fmt: skip
        typer.echo(writer.dumps(content, indent=1, ensure_ascii=False))
        return
    typer.echo(f"{found.title}: {found.objective}\n{len(files)} of {len(found.points()):,} points have runs.")
    for file in files:
        record = file.records[0]
        typer.echo(f"  {file.point}: {record.failure.replace('_', ' ') or figures(file)}")
    for verdict in told:
        typer.echo(f"\n{verdict.says} It {verdict.word}.")
        typer.echo("\n".join(f"  {line}" for line in verdict.told))


@app.command()
def machine(
    given: _Set = None,
    measure: Annotated[bool, typer.Option("--measure", help="Measures memory, matrix units and copies, too (seconds).")] = False,
    kernels: Annotated[str, typer.Option("--kernels", metavar="SIZE", help="Measures llama.cpp's own kernels on a synthetic model.")] = "",
    forget: Annotated[bool, typer.Option("--forget", help="Forgets what was found or set before.")] = False,
) -> None:
    """Finds out what machine this is, and stores it for `roofcast bench` and the pages; any fact can be set by hand.

    roofcast bench machine --measure --set "cpu=AMD EPYC 9354"
    """
    from core.this_machine import MachineFacts, read_machine, system_of, write_machine
    from harness.machine import detect, measured, overridden
    from harness.noise import NoiseWatch

    old = None if forget else read_machine()
    facts = detect()
    if old is not None:  # what was measured stays until it is measured again
        kept = {name: getattr(old, name) for name in MachineFacts.model_fields if name.startswith("measured_")}
        facts = facts.model_copy(update=kept)
    if measure:
        watch = NoiseWatch()
        facts = measured(facts)
        facts = facts.model_copy(update={"measured_doubt": " and ".join(watch.found({}).flags)})
    if facts.measured_doubt:
        typer.echo(f"What was measured is not to be trusted: {facts.measured_doubt}. Measure again when the machine is quiet.", err=True)
    if kernels:
        facts = facts.model_copy(update={"measured_tflops": {**facts.measured_tflops, **_kernels(kernels)}})
    changes = _pairs(given)
    if changes:
        facts = overridden(facts.model_dump() | {"gpus": list(facts.gpus)}, changes)
    assert isinstance(facts, MachineFacts)
    typer.echo(f"Stored in {write_machine(facts)}:")
    for name, amount in facts.model_dump(exclude_defaults=True).items():
        typer.echo(f"  {name:<26} {_shown(amount)}")
    system = system_of(facts)
    typer.echo("As a system: " + ", ".join(f"{name} {amount}" for name, amount in system.model_dump(exclude_defaults=True).items()))


@app.command()
def verify(files: Annotated[list[Path], typer.Argument(metavar="FILE…", help="Run files.")]) -> None:
    """Checks the signatures of run files: one changed byte is found."""
    from core.run_artifact import signer_of
    from harness.record import read_run_file
    from harness.sign import signing_key

    mine = signer_of(signing_key().public_key())
    wrong = 0
    for file in files:
        try:
            opened = read_run_file(file)
            typer.echo(f"{file.name}: unchanged, signed by {'you' if opened.signer == mine else opened.signer}")
        except RunError as error:
            wrong += 1
            typer.echo(f"roofcast: {error}", err=True)
    if wrong:
        raise typer.Exit(1)


# ---- Helpers


def _kernels(size: str) -> dict[str, float]:
    from harness.failures import Failure
    from harness.micro_kernels import kernel_rates

    try:
        return kernel_rates(size, tell=lambda quant: typer.echo(f"llama.cpp's kernels for {quant} …", err=True))
    except Failure as error:
        raise RunError(f"llama-bench gave no rate ({error}).") from error


def _pairs(given: list[str] | None) -> dict[str, str]:
    found = {}
    for text in given or []:
        name, equals, cell = text.partition("=")
        if not equals:
            raise RunError(f"'{text}' is no NAME=VALUE, such as threads=8.")
        found[name.strip()] = cell.strip()
    return found


def _shown(amount: Any) -> str:
    if isinstance(amount, list | tuple):
        return "; ".join(_shown(one) for one in amount)
    if isinstance(amount, dict):
        return ", ".join(f"{name} {_shown(one)}" for name, one in amount.items())
    return f"{amount:.6g}" if isinstance(amount, float) else str(amount)


def _facts() -> Any:
    """The machine as it was stored; detected and stored where nobody has."""
    from core.this_machine import read_machine, write_machine
    from harness.machine import detect

    facts = read_machine()
    if facts is None:
        facts = detect()
        write_machine(facts)
    return facts


@contextmanager
def _bar(title: str) -> Iterator[Callable[[int, int], None]]:
    """A bar for one long work, where there is a terminal."""
    with _progress(1) as (_, inner, _say):
        yield lambda done, of: inner(done, of, title)


@contextmanager
def _progress(points: int) -> Iterator[tuple[Callable[[], None], Callable[[int, int, str | None], None], Callable[[str], None]]]:
    """Two bars: points, and repeats of the present one; lines go above them. Without a terminal only the lines."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    bars = Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=console,
                    transient=True, disable=not sys.stderr.isatty())  # fmt: skip
    with bars:
        whole = bars.add_task("points", total=points, visible=points > 1)
        part = bars.add_task("", total=None)

        def inner(done: int, of: int, title: str | None) -> None:
            bars.update(part, completed=done, total=of, **({"description": title[-50:]} if title else {}))  # type: ignore[arg-type]

        def say(text: str) -> None:
            bars.console.print(text, markup=False, highlight=False, soft_wrap=True) if not bars.disable else typer.echo(text)

        yield lambda: bars.advance(whole), inner, say


def main() -> None:
    """What `python -m harness` and `roofcast bench` run: no traceback reaches a user."""
    core_main(lambda: app(prog_name="roofcast bench"))
