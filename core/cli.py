"""The command line: the same functions as the pages, from a terminal.

Nothing heavy is imported before a command needs it: `roofcast --help` and `roofcast models` answer at once.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from core.cli_bench import bench
from core.cli_bundle import open_bundle, write_bundle
from core.cli_calibrate import calibrate, drift, refit, versions_app
from core.cli_compare import compare, sweep
from core.cli_import import forget_runs, import_runs
from core.cli_models import show_model
from core.cli_options import asks, read_scenario
from core.cli_plan import plan
from core.cli_suggest import suggest
from core.errors import RoofcastError

QUIT = 130  # what shells expect after Ctrl-C


class Group(TyperGroup):
    """Turns what a user may cause into one sentence and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
            return result
        except RoofcastError as error:
            typer.echo(f"roofcast: {error}", err=True)
            raise typer.Exit(2) from None
        except KeyboardInterrupt:
            raise typer.Exit(QUIT) from None
        except BrokenPipeError:
            # The reader has gone, as in `roofcast models | head`; Python's last flush must not complain either.
            with contextlib.suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(0) from None


app = typer.Typer(
    cls=Group,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
    help="Predicts whether a model fits a machine, how fast it runs for how many users, and what holds it back.",
)

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Text = Annotated[str, typer.Argument(help="What to look for; without it everything is listed.")]


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import PackageNotFoundError, version

        try:
            typer.echo(f"roofcast {version('roofcast')}")
        except PackageNotFoundError:
            typer.echo("roofcast (not installed)")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")] = False,
) -> None:
    pass


def _print_json(found: Any) -> None:
    import json

    typer.echo(json.dumps(found, indent=2, ensure_ascii=False, allow_nan=False))


@app.command()
@asks
def estimate(
    knobs: dict[str, Any],
    analytic: Annotated[bool, typer.Option("--analytic", help="By the physics alone, uncorrected by measured runs.")] = False,
    bundle: Annotated[Path | None, typer.Option("--bundle", help="Write a file that reproduces this result elsewhere.")] = None,
    json: Json = False,
) -> None:
    """Does it fit, how fast is it, and what holds it back?

    roofcast estimate --model "llama 3.1 8b" --gpu "RTX 4090" --quant Q4_K_M --context 8192
    """
    asked = read_scenario(knobs)
    from core.sweep import answer

    found = answer(asked, analytic=analytic)
    if bundle:
        write_bundle(found, bundle)
    if json:
        from core.response import response

        _print_json(response(found))
    else:
        from core.cli_show import show_estimate

        show_estimate(found)


@app.command()
@asks
def explain(
    knobs: dict[str, Any],
    number: Annotated[str, typer.Option(help="Which number; a wrong name lists them.")] = "decode_rate",
    depth: Annotated[int, typer.Option(help="How many levels to show.", min=1)] = 12,
) -> None:
    """Shows how a number came about: every formula as it ran, down to the sources.

    roofcast explain --model "llama 3.1 8b" --gpu "RTX 4090" --number kv_cache
    """
    asked = read_scenario(knobs)
    from core.cli_show import number_named
    from core.quantity import explain as tree
    from core.sweep import answer

    typer.echo(tree(number_named(answer(asked), number), depth))


@app.command("parse")
@asks
def parse_command(
    knobs: dict[str, Any],
    command: Annotated[str, typer.Argument(metavar="COMMAND", help="The command in quotes; - reads it from standard input.")],
    answer: Annotated[bool, typer.Option("--estimate", help="Estimate it, on the machine that --gpu and its kin name.")] = False,
    json: Json = False,
) -> None:
    """Reads the command that starts a runtime: what it sets, what is not modelled, what is unknown.

    roofcast parse "vllm serve Qwen/Qwen3-32B -tp 2 --max-model-len 32k" --gpu L40S --estimate
    """
    from core import cli_launch

    parsed = cli_launch.pasted(command)
    if not answer:
        if json:
            _print_json(cli_launch.record(parsed))
        else:
            typer.echo("\n".join(cli_launch.lines(parsed)))
        return
    asked = cli_launch.asked(parsed, knobs)
    from core.sweep import answer as estimated

    found = estimated(asked)
    if json:
        from core.response import response

        _print_json({**cli_launch.record(parsed), "estimate": response(found)})
    else:
        from core.cli_show import show_estimate

        typer.echo("\n".join([*cli_launch.lines(parsed), ""]))
        show_estimate(found)


@app.command()
def models(text: Text = "", json: Json = False) -> None:
    """Lists and searches the models."""
    from core import cli_lists

    _listed(cli_lists.models(text), text, "model", json)


app.command("model")(show_model)
app.command("compare")(compare)
app.command("sweep")(sweep)
app.command("bundle")(open_bundle)
app.command("calibrate")(calibrate)
app.command("refit")(refit)
app.command("drift")(drift)
app.add_typer(versions_app, name="versions")
app.command("suggest")(suggest)
app.command("plan")(plan)


@app.command()
def hardware(text: Text = "", json: Json = False) -> None:
    """Lists and searches devices and shipped machines."""
    from core import cli_lists

    devices, systems = cli_lists.devices(text), cli_lists.systems(text)
    if json:
        _print_json({"devices": [d.record for d in devices], "systems": [s.record for s in systems]})
        return
    if devices or not systems:
        _listed(devices, text, "device", json)
    if systems:
        typer.echo("\nShipped machines (--system)" if devices else "Shipped machines (--system)")
        _listed(systems, text, "machine", json)


@app.command()
def instances(text: Text = "", json: Json = False) -> None:
    """Lists and searches cloud instances: devices, RAM, price, region and date; why some cannot be estimated yet."""
    from core import cli_lists
    from core.catalog.instances import problems

    for problem in problems():
        typer.echo(f"roofcast: {problem}", err=True)
    _listed(cli_lists.instances(text), text, "cloud instance", json)


@app.command()
def runtimes(text: Text = "", json: Json = False) -> None:
    """Lists and searches the runtimes; of one alone its defaults too, with what held before which version."""
    from core import cli_lists, runtime_sheet

    _listed(cli_lists.runtimes(text), text, "runtime", json)
    if not json and (one := cli_lists.one_runtime(text)):
        typer.echo("\n" + "\n".join(runtime_sheet.lines(one)))


@app.command()
def quants(text: Text = "", json: Json = False) -> None:
    """Lists and searches the quantisations."""
    from core import cli_lists

    _listed(cli_lists.quants(text), text, "quantisation", json)


def _listed(found: list[Any], text: str, what: str, json: bool) -> None:
    from core.cli_lists import table
    from core.errors import CatalogError

    if json:
        _print_json([entry.record for entry in found])
    elif found:
        typer.echo(table(found))
    else:
        raise CatalogError(f"No {what} in the catalog is called anything like '{text}'.")


runs_app = typer.Typer(invoke_without_command=True, no_args_is_help=False)
app.add_typer(runs_app, name="runs")
runs_app.command("import")(import_runs)
runs_app.command("forget")(forget_runs)


@runs_app.callback()
def runs(
    ctx: typer.Context,
    conflicts: Annotated[bool, typer.Option("--conflicts", help="Where independent sources disagree.")] = False,
    coverage: Annotated[bool, typer.Option("--coverage", help="Runs by model, device and runtime.")] = False,
    json: Json = False,
) -> None:
    """Lists the sources of measured runs, shipped and your own, with their licences; imports result files of benchmarks."""
    if ctx.invoked_subcommand:
        return
    from core import cli_runs
    from core.cli_lists import table
    from core.corpus import open_corpus

    corpus = open_corpus()
    found = (cli_runs.conflicts if conflicts else cli_runs.coverage if coverage else cli_runs.sources)(corpus)
    for problem in corpus.problems:
        typer.echo(f"roofcast: {problem}", err=True)
    if json:
        _print_json([entry.record for entry in found])
    elif not found:
        typer.echo("No measured runs are known.")
    else:
        shown = found if not (conflicts or coverage) else found[: cli_runs.LIMIT]
        typer.echo(table(shown))
        if len(shown) < len(found):
            typer.echo(f"… and {len(found) - len(shown):,} more; --json lists them all.")


@app.command()
def predict(
    runs: Annotated[Path, typer.Argument(help="A CSV file of runs in the corpus's columns, plain or gzipped.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Where the rows and predictions go (.csv, .csv.gz).")],
) -> None:
    """Predicts every run of a file: its rows come back with pred_<metric>_p50 and error beside them."""
    from core.cli_show import working
    from core.predict import predict_file

    with working(f"Predicting {runs.name}"):
        summary = predict_file(runs, out)
    typer.echo(f"{summary.predicted:,} of {summary.rows:,} rows predicted; written to {out}.")
    for sentence, count in list(summary.errors.items())[:10]:
        typer.echo(f"{count:>7,}  {sentence}")
    if len(summary.errors) > 10:
        typer.echo(f"         … and {len(summary.errors) - 10:,} more reasons, in the column error.")


@app.command()
def validate(
    runs: Annotated[Path | None, typer.Option("--runs", help="With --analytic: a CSV file of measured runs, plain or gzipped.")] = None,
    analytic: Annotated[bool, typer.Option("--analytic", help="Judge the analytic estimate, uncorrected, on --runs.")] = False,
    full: Annotated[bool, typer.Option("--full", help="Fit and score everything again first (minutes).")] = False,
    check: Annotated[bool, typer.Option("--check", help="Fit one fold of every split again: is it what is shipped? (Minutes.)")] = False,
    accept: Annotated[bool, typer.Option("--accept", help="Take the present errors as those that later ones must not exceed.")] = False,
    json: Json = False,
    html: Annotated[Path | None, typer.Option("--html", help="Write the report to this file, one page that needs no network.")] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the tables as Markdown.")] = False,
) -> None:
    """Shows how far predictions of runs that the fit had not seen lie from what was measured.

    Exits with 1 where an error got worse than was accepted by more than chance, or with --check where the runs make another fit.
    """
    if analytic:
        _validate_analytic(runs, json, markdown)
        return
    if check:
        _check_fit()
        return
    from core.cli_scores import show_scores
    from core.cli_show import working
    from core.errors import RunError

    if runs:
        raise RunError("A file of runs is judged by the analytic estimate only; add --analytic.")
    if full:
        from core.fit import fit_all

        with working("Fitting and scoring every split"):
            fit_all()
    from core import gates
    from core.report import report as report_of
    from core.scores import scores

    found = scores()
    if accept:
        typer.echo(f"{gates.accept(found)} errors accepted as thresholds.", err=True)
    with working("Reading the scores"):
        report = report_of(found)
    if html:
        from core.predict import write_whole
        from core.report_html import page

        write_whole(html, page(report, found))
        typer.echo(f"The report is written to {html}.", err=True)
    if json:
        from core.response import finite

        _print_json(finite(report))
    elif not html:
        show_scores(report, markdown=markdown)
    if any(line["broken"] for line in report["thresholds"]):
        raise typer.Exit(1)


def _check_fit() -> None:
    from core.cli_show import working
    from core.fit_check import refit_first_folds

    with working("Fitting a fold of every split"):
        found = refit_first_folds(tell=lambda _: None)
    for one in found:
        said = "" if one.same else "  differs: make the fit again with `roofcast validate --full`"
        typer.echo(f"{one.split:<14} {one.lines:>6,} lines moved by {one.median:.2%} (median), {one.p90:.2%} (90th percentile){said}")
    if not all(one.same for one in found):
        raise typer.Exit(1)


def _validate_analytic(runs: Path | None, json: bool, markdown: bool) -> None:
    from core.cli_show import show_report, working
    from core.errors import RunError
    from core.validate import analytic_report

    if runs is None:
        raise RunError("The analytic estimate is judged on a file of runs; give one with --runs.")
    with working(f"Estimating the runs of {runs.name}"):
        report = analytic_report(runs)
    if json:
        from core.response import finite

        _print_json(finite(report))
    else:
        show_report(report, markdown=markdown)


@app.command("open-cases")
def open_() -> None:
    """Shows stated memory totals that cannot be reproduced beside what we estimate; they are no gate."""
    from core.open_cases import open_cases

    typer.echo(f"{'case (vLLM, BF16, assumed on an H100)':<40} {'stated':>9} {'needed':>9} {'taken':>9}")
    for row in open_cases():
        typer.echo(f"{row['name']:<40} {row['stated_gb']:>6.1f} GB {row['needed_gb']:>6.1f} GB {row['taken_gb']:>6.1f} GB")
    typer.echo("The totals were stated without card, fraction or method: a server takes a share of whatever card it gets.")


_PASSED_ON = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
app.command("bench", context_settings=_PASSED_ON, add_help_option=False)(bench)


@app.command("app", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def start(ctx: typer.Context) -> None:
    """Starts the pages in a browser; further options go to Streamlit, such as --server.port 8600."""
    root = Path(__file__).resolve().parents[1]
    if not (root / "app.py").is_file():
        from core.errors import CatalogError

        raise CatalogError("The pages are not installed here; start them from a checkout with `pip install -e .`.")
    command = [sys.executable, "-m", "streamlit", "run", str(root / "app.py"), *ctx.args]
    os.chdir(root)  # where .streamlit/config.toml stands
    if os.name == "posix":
        os.execv(sys.executable, command)  # the server takes this process's place, and its signals
    raise typer.Exit(subprocess.call(command))


def main(start: Callable[[], object] = app) -> None:
    """What the console script runs (`start` of another one, that of the harness): no traceback reaches a user."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal without "µ" gets "?" instead of an error
    warnings.simplefilter("ignore", RuntimeWarning)  # of unknown numbers in arrays: the answer says "unknown" itself
    try:
        start()
    except KeyboardInterrupt:
        sys.exit(QUIT)
    except Exception as error:
        if os.environ.get("ROOFCAST_DEBUG"):
            raise
        typer.echo(
            f"roofcast: This is a fault of Roofcast, not yours ({type(error).__name__}: {error}). "
            "Run it again with ROOFCAST_DEBUG=1 and report what it prints.",
            err=True,
        )
        sys.exit(1)


if __name__ == "__main__":
    main()
