"""`roofcast compare` and `roofcast sweep`: builds side by side, and over one or two knobs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from core.cli_options import asks

if TYPE_CHECKING:
    from core.compare import Comparison
    from core.crossing import Crossings
    from core.grid import Axis
    from core.scenario import Scenario
    from core.waterfall import Waterfall

WIDE = 44  # characters of a cell
_BUILDS = typer.Argument(
    None,
    metavar="BUILD...",
    help="Changes to the options, as in 'gpu=RTX 4090,count=2'; a link of a page; or a JSON file of a scenario.",
    show_default=False,
)
Csv = Annotated[Path | None, typer.Option("--csv", help="Write CSV to this file; - prints it.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def _print_json(found: Any) -> None:
    import json

    typer.echo(json.dumps(found, indent=2, ensure_ascii=False, allow_nan=False))


def _write_csv(where: Path, text: str) -> None:
    if str(where) == "-":
        typer.echo(text, nl=False)
        return
    from core.predict import write_whole

    write_whole(where, text)
    typer.echo(f"Written to {where}.", err=True)


# ---------------------------------------------------------------- compare


@asks
def compare(
    knobs: dict[str, Any],
    builds: list[str] | None = _BUILDS,  # type: ignore[assignment]
    explain: Annotated[str | None, typer.Option(help="The number whose difference from A to B is explained; none: no.")] = None,
    order: Annotated[str | None, typer.Option(help="Inputs to swap one after the other, as in device,quant.")] = None,
    api_input: Annotated[float | None, typer.Option(help="An API's price of a million input tokens, $, to compare with.")] = None,
    api_output: Annotated[float | None, typer.Option(help="Its price of a million output tokens, $.")] = None,
    csv: Csv = None,
    json: Json = False,
) -> None:
    """Two to four builds side by side: speed, memory, power, cost, quality; and which input explains the difference.

    roofcast compare --model "llama 3.3 70b" --quant Q4_K_M "gpu=RTX 3090,count=2" "gpu=RTX 4090,count=2"
    """
    from core import compare_rows
    from core.builds import read_builds
    from core.cli_show import working
    from core.compare import compare as compared

    asked = read_builds(builds or [], knobs)
    with working("Comparing"):
        found = compared(asked)
        why = _explained(found, explain, order)
        api = _against_api(found, api_input, api_output)
    if csv:
        _write_csv(csv, compare_rows.comparison_csv(found))
    if json:
        told = compare_rows.comparison_dict(found) | {"explained": why and compare_rows.waterfall_dict(why), "api": api}
        _print_json(told)
    elif not csv:
        _show(found, why, api)


def _explained(found: Comparison, metric: str | None, order: str | None) -> Waterfall | None:
    """What explains the difference of the first two; None where they do not both run, or nothing is asked for."""
    from core.compare_rows import EDGE
    from core.waterfall import waterfall

    if metric == "none":
        return None
    one, other = found.builds[0], found.builds[1]
    outside = {name: inside for inside, (name, _) in EDGE.items()}
    many = max(b.scenario.workload.concurrency for b in found.builds) > 1
    asked = outside.get(metric, metric.replace("-", "_")) if metric else "output_rate" if many else "decode_rate"
    if not (one.runs and other.runs) and metric is None:
        return None
    return waterfall(one.scenario, other.scenario, asked, order.split(",") if order else None)


def _against_api(found: Comparison, price_in: float | None, price_out: float | None) -> list[dict[str, Any]] | None:
    if price_in is None and price_out is None:
        return None
    from core.hosted import against_api
    from core.response import plain

    first, second = price_in or 0.0, price_out if price_out is not None else price_in or 0.0
    lines = []
    for one in found.builds:
        if one.runs and one.found is not None:
            told = against_api(one.found, first, second, name=one.name)
            lines.append({
                "build": one.name, "own_usd_per_million": plain(told.own), "own_p10": plain(told.ends[0]), "own_p90": plain(told.ends[1]),
                "api_usd_per_million": plain(told.api), "use": told.use, "break_even_use": told.break_even, "sentence": told.sentence,
            })  # fmt: skip
    return lines


def _show(found: Comparison, why: Waterfall | None, api: list[dict[str, Any]] | None) -> None:
    from core.cli_show import text_table

    typer.echo(found.sentence)
    for one in found.builds:
        typer.echo(f"  {one.name}  {one.what}{f': {one.why}' if one.why else ''}")
    names = [one.name for one in found.builds]
    if found.inputs:
        text_table(["What differs", *names], [[entry.title, *map(_cut, texts)] for entry, texts in found.inputs], False)
    for group in dict.fromkeys(line.group for line in found.lines):
        rows = [
            [line.title, *(_cut(" ".join(filter(None, (cell.text, f"({cell.span})" if cell.span else "", cell.note if line.key == "needed"
             else "")))) for cell in line.cells), line.verdict]
            for line in found.lines if line.group == group
        ]  # fmt: skip
        widest = max(len(row[-1]) for row in rows)
        text_table([group, *names, ""], [[*row[:-1], row[-1].ljust(widest)] for row in rows], False)
    for one in found.builds:
        if one.found is not None:
            typer.echo(f"\n{one.name}: {_trust(one.found)}", nl=False)
    typer.echo("")
    if why is not None:
        _show_waterfall(why, names)
    for line in api or ():
        typer.echo(f"\n{line['sentence']}")


def _trust(found: Any) -> str:
    from core.evidence import nearest
    from core.trust import what_to_trust

    told = what_to_trust(found, nearest(found.scenario, corrected=found.version is not None))
    parts = {"speed": told.speed, "tail": told.tail, "memory": told.memory} if found.runs else {"memory": told.memory}
    return ", ".join(f"{name} {part.word}" for name, part in parts.items())


def _cut(text: str) -> str:
    return text if len(text) <= WIDE else text[: WIDE - 1] + "…"


def _show_waterfall(found: Waterfall, names: list[str]) -> None:
    from core.cli_show import text_table
    from core.waterfall_words import amount, factor, how, title

    heading = f"Why {title(found.metric)}: {names[0]} {amount(found, found.start)} → {names[1]} {amount(found, found.end)}"
    rows = [
        [bar.title, _cut(f"{bar.before} → {bar.after}"), amount(found, bar.amount, sign=True), factor(bar.factor),
         "" if bar.sure else "too little to be sure of"]
        for bar in found.bars
    ]  # fmt: skip
    text_table([heading, "", "", "", ""], rows, False)
    for sentence in how(found):
        typer.echo(sentence)


# ---------------------------------------------------------------- sweep


@asks
def sweep(
    knobs: dict[str, Any],
    over: Annotated[
        list[str] | None, typer.Option("--over", help="A knob and its values: users=1..64, quant=Q4_K_M,Q8_0; twice for two.")
    ] = None,
    against: Annotated[list[str] | None, typer.Option("--against", help="Another build beside it, written as for compare.")] = None,
    metric: Annotated[str | None, typer.Option(help="What is shown of several builds or two knobs. (default: decode_rate)")] = None,
    csv: Csv = None,
    json: Json = False,
) -> None:
    """The same question for many values of one knob or two, and where the lines of two builds cross.

    roofcast sweep --model "llama 3.1 8b" --gpu "RTX 3090" --over users=1..64 --against "runtime=vllm,quant=AWQ-INT4"
    """
    from core.builds import SLOTS, read_builds
    from core.cli_options import read_scenario
    from core.cli_show import working
    from core.compare_rows import EDGE, sweep_csv, sweep_rows
    from core.crossing import DRAWN, crossings
    from core.errors import ScenarioError
    from core.grid import axis, records

    if not over or len(over) > 2:
        raise ScenarioError("Say one knob to sweep, or two, with --over, as in --over users=1..64.")
    first = read_scenario(knobs)
    asked = [first, *(read_builds([text], knobs)[-1] for text in against or ())]
    if len(asked) > len(SLOTS):
        raise ScenarioError(f"A sweep takes up to {len(SLOTS)} builds ({len(asked)} were named).")
    axes = [axis(text, first) for text in over]
    outside = {name: inside for inside, (name, _) in EDGE.items()}
    drawn = outside.get(metric or "", (metric or "decode_rate").replace("-", "_"))
    if drawn not in DRAWN:
        raise ScenarioError(f"There is no metric '{metric}' to sweep; choose one of {', '.join(DRAWN)}.")
    named = list(zip((slot.upper() for slot in SLOTS), asked, strict=False))
    with working(f"Estimating over {' and '.join(one.title for one in axes)}"):
        found = records(named, *axes)
        crossed = {}
        if len(axes) == 1 and axes[0].numeric:
            crossed = {name: crossings(first, other, axes[0], drawn, (named[0][0], name)) for name, other in named[1:]}
    if csv:
        _write_csv(csv, sweep_csv(found))
    if json:
        _print_json({"records": sweep_rows(found), "crossings": [_crossing_dict(name, one) for name, one in crossed.items()]})
    elif not csv:
        _show_sweep(found, axes, named, drawn, metric is not None, crossed)


def _crossing_dict(name: str, found: Crossings) -> dict[str, Any]:
    at = [{"at": cross.at, "better_from_there": cross.better} for cross in found.found]
    return {"builds": ["A", name], "crossings": at, "too_close_to_call": found.ties, "sentence": found.sentence}


def _show_sweep(
    found: list[dict[str, Any]],
    axes: list[Axis],
    named: list[tuple[str, Scenario]],
    drawn: str,
    chosen: bool,
    crossed: dict[str, Crossings],
) -> None:
    from core.cli_show import text_table
    from core.compare import build
    from core.compare_tables import not_running
    from core.crossing import DRAWN

    for name, asked in named:
        typer.echo(f"{name}  {build(asked, name).what}")
    first = axes[0]
    if len(axes) == 2:
        for name, _ in named:
            cells = {(row[first.knob], row[axes[1].knob]): _amount(row, drawn) for row in found if row["build"] == name}
            heading = f"{name}: {DRAWN[drawn].title}"
            rows = [[f"{value}", *(cells[value, other] for other in axes[1].values)] for value in first.values]
            text_table([f"{heading}; {first.title} ↓ {axes[1].title} →", *map(str, axes[1].values)], rows, False)
        return
    shown = [drawn] if chosen or len(named) > 1 else ["decode_rate", "ttft", "output_rate", "memory_peak", "usd_per_million"]
    heads = [DRAWN[key].title if len(named) == 1 else f"{name}: {DRAWN[key].title}" for name, _ in named for key in shown]
    rows = []
    for value in first.values:
        own = [row for row in found if row[first.knob] == value]
        rows.append([f"{value:,}" if isinstance(value, int) else f"{value}", *(_amount(row, key) for row in own for key in shown)])
    text_table([first.title[0].upper() + first.title[1:], *heads], rows, False)
    for one in crossed.values():
        typer.echo(f"\n{one.sentence}")
    for sentence in not_running(found, first, [build(asked, name) for name, asked in named]):
        typer.echo(f"\n{sentence}")


def _amount(row: dict[str, Any], key: str) -> str:
    from core.compare import shown
    from core.crossing import DRAWN

    if row["error"]:
        return "–"
    return shown(float(row[key]), DRAWN[key].unit) if row["fits"] else "does not fit"
