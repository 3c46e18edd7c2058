"""`roofcast calibrate`, `refit`, `versions` and `drift`: what own runs do, from a terminal."""

from __future__ import annotations

import contextlib
from dataclasses import asdict, astuple
from typing import Annotated, Any

import typer

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def calibrate(json: Json = False) -> None:
    """Shows what your own runs do: error before and after, and which two runs to measure next.

    roofcast calibrate
    """
    from core.calibrate import curve, fleet, left_out, own_records
    from core.calibrate_next import next_runs
    from core.calibrate_simulate import read_curve
    from core.cli_lists import Entry, table
    from core.errors import RunError

    correction, records = fleet(), own_records()
    if correction is None:
        raise RunError("There is no fitted correction to calibrate; make one with `roofcast validate --full`.")
    worth, after = left_out(correction, records), curve(correction, records)
    following = next_runs(correction, records)
    if json:
        each = [dict(zip(("device", "metric", "runs", "before", "after"), astuple(w), strict=True)) for w in worth]
        steps = [{"what": one.what, "command": one.command, "doubt_now": one.now, "doubt_after": one.left} for one in following]
        _print_json({"runs": len(records), "leave_one_out": each, "curve": after, "next": steps})
        return
    if not worth:
        typer.echo("None of your own runs can calibrate anything yet; `roofcast runs import` and `roofcast bench` bring some.")
        with contextlib.suppress(RunError):
            typer.echo(_promise(read_curve()))
        return
    cells = [
        {"Machine": w.device.split("?")[0], "What": w.metric, "Runs": f"{w.runs:,}", "Before": f"{w.before:.1%}",
         "After": "–" if w.after is None else f"{w.after:.1%}"}
        for w in worth
    ]  # fmt: skip
    typer.echo("Median absolute error on your own runs, each predicted by the others alone")
    typer.echo(table([Entry(line, {}) for line in cells]))
    for one in following:
        typer.echo(f"\nMeasure next: {one.what} (doubt {one.now:.0%} → {one.left:.0%})\n  {one.command}")


def _promise(found: list[dict[str, Any]]) -> str:
    """What five own runs are worth on machines that were left out."""
    ours = [line for line in found if (line["split"], line["how"], line["models"]) == ("source", "drawn", "any")]
    told = {(line["kind"], line["k"]): line["median"] for line in ours}
    parts = [f"{kind} {told[kind, 0]:.0%} → {told[kind, 5]:.0%}" for kind in ("decode", "prefill", "serving") if (kind, 5) in told]
    return f"On machines that were left out, five runs brought the median error down: {', '.join(parts)}."


def refit(json: Json = False) -> None:
    """Fits again with your own runs in it (minutes), and uses the version only where honest splits say that it is better.

    Does nothing where nothing is new, so it can run every day.
    """
    from core.calibrate_refit import refit as fit

    outcome = fit(tell=lambda text: typer.echo(text, err=True))
    name = None if outcome.version is None else outcome.version.name
    if json:
        _print_json({"version": name, "promoted": outcome.promoted, "why": outcome.why})
    else:
        typer.echo(f"Version {name}: {outcome.why}.")


versions_app = typer.Typer(invoke_without_command=True, no_args_is_help=False)


@versions_app.callback()
def versions(ctx: typer.Context, json: Json = False) -> None:
    """Lists the versions that were fitted here, and which is in use."""
    if ctx.invoked_subcommand:
        return
    from core import registry
    from core.cli_lists import Entry, table
    from core.correction import shipped

    base, now = shipped(), registry.chosen()
    listed = registry.versions()
    if json:
        _print_json({"in_use": now, "shipped": base.version if base else None, "versions": [dict(v.about) for v in listed]})
        return
    first = {"": "→" if now == registry.SHIPPED else "", "Version": "shipped", "Made": base.version if base else ""}
    rows = [{**first, "Own runs": "", "Why": ""}]
    for v in listed:
        stale = "" if base and v.base == base.version else "of an older shipped fit; "
        rows.append({"": "→" if v.name == now else "", "Version": v.name, "Made": str(v.about.get("date", ""))[:10],
                     "Own runs": f"{v.about.get('own_runs', '')}", "Why": f"{stale}{v.about.get('why', '')}"})  # fmt: skip
    typer.echo(table([Entry(row, {}) for row in rows]))


@versions_app.command("use")
def use(name: Annotated[str, typer.Argument(help="A version's name or how it begins; “shipped” for the shipped one.")]) -> None:
    """Puts a version into use."""
    from core import registry

    typer.echo(f"In use: {registry.use(name, 'chosen by hand')}.")


@versions_app.command("undo")
def undo() -> None:
    """Goes back to the version that was in use before."""
    from core import registry

    typer.echo(f"In use: {registry.undo()}.")


@versions_app.command("compare")
def compare(
    first: Annotated[str, typer.Argument(help="A version's name; “shipped” for the shipped one.")],
    second: Annotated[str, typer.Argument(help="Another.")],
    json: Json = False,
) -> None:
    """Sets two versions side by side: what they were made of, and their errors on your own runs."""
    from core.calibrate_compare import compared
    from core.cli_lists import Entry, table

    rows = compared(first, second)
    if json:
        _print_json(rows)
    else:
        typer.echo(table([Entry({key: str(cell) for key, cell in row.items()}, {}) for row in rows]))


def drift(json: Json = False) -> None:
    """Shows rolling errors of your runs by machine and version, and asks for a refit where one has grown.

    Also counts how often “fits” was right.
    """
    from core.calibrate import fleet, own_records
    from core.cli_lists import Entry, table
    from core.drift import FROM, feasibility, watch
    from core.errors import RunError

    correction, records = fleet(), own_records()
    if correction is None:
        raise RunError("There is no fitted correction to watch; make one with `roofcast validate --full`.")
    streams, fits = watch(correction, records), feasibility(records)
    if json:
        plain = [{**asdict(s), "rolling": [list(point) for point in s.rolling]} for s in streams]
        counts = {"fits_and_ran": fits.fitted, "refused_and_failed": fits.refused, "false_positive": fits.false_positive,
                  "false_negative": fits.false_negative, "wrong": list(fits.wrong)}  # fmt: skip
        _print_json({"streams": plain, "feasibility": counts})
        return
    if not streams:
        typer.echo(f"Drift is watched from {FROM} own runs of a machine on; there are {len(records)} runs in all.")
    else:
        rows = [
            {"": "!" if s.alarm else "", "Machine": s.device.split("?")[0], "Runtime": f"{s.runtime} {s.version}".strip(),
             "What": s.metric, "Runs": f"{s.runs:,}", "Median error": f"{s.error:.1%}", "Limit": f"{s.limit:.0%}",
             "By chance": f"{s.chance:.2g}"}
            for s in streams
        ]  # fmt: skip
        typer.echo(table([Entry(row, {}) for row in rows]))
        if any(s.alarm for s in streams):
            typer.echo("A refit is asked for; `roofcast refit` makes it.")
    told = f"{fits.fitted} ran as said, {fits.refused} failed as said, {fits.false_positive} were said to fit and failed"
    typer.echo(f"Does it fit: {told}, {fits.false_negative} ran although they were said not to fit.")


def _print_json(found: Any) -> None:
    import json

    from core.response import finite

    typer.echo(json.dumps(finite(found), indent=2, ensure_ascii=False, allow_nan=False))
