"""Answers on a terminal: plain aligned text, with colour where there is a terminal."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from core.errors import ScenarioError
from core.quantity import Quantity, value
from core.response import SMALL_SHARE, launch_or_none

if TYPE_CHECKING:
    from core.answer import Estimate, Memory

WIDTH = 80
SHOWN_RUNS = 3
BAR = 24  # characters of a full bar

METRICS = {
    "ttft": "First token (TTFT)",
    "tpot": "Each next token (TPOT)",
    "decode_rate": "Writing, each user",
    "prefill_rate": "Reading a prompt, alone",
    "latency": "Whole answer",
    "output_rate": "Output of all users",
    "total_rate": "Output and prompts of all users",
    "batch": "Sequences decoding together",
}


def _console() -> Console:
    console = Console(highlight=False)
    return Console(highlight=False, width=min(console.width, 100) if console.is_terminal else WIDTH)


@contextlib.contextmanager
def working(what: str) -> Iterator[None]:
    """A spinner on the terminal while something long runs; nothing where output is piped."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield
        return
    with console.status(f"{what} …"):
        yield


def shown(number: Any, unit: str = "") -> str:
    from core.units import show

    return show(float(value(number)), number.unit if isinstance(number, Quantity) else unit)


# ---- one estimate


def show_estimate(answer: Estimate) -> None:
    """The answer in a sentence, then the numbers, the memory bill, what holds it back, warnings, and the command."""
    from core.words import answer_sentence, span

    out = _console()
    colour = {"in_vram": "green", "with_offload": "yellow", "insufficient_memory": "red"}[answer.feasibility]
    out.print(Text(answer_sentence(answer), style=f"bold {colour}"))
    for reason in answer.reasons:
        out.print(reason.text)
    if answer.runs:
        _speed(out, answer)
    among = answer.scenario.system.count
    for memory in (*(answer.cards or (answer.device,)), answer.host):
        if memory is not None:
            _memory(out, memory, "" if answer.cards else span(answer, "memory_peak", "B", digits=3, among=among))
    if answer.runs:
        _limits(out, answer)
        _shares(out, answer)
        _money(out, answer)
        _faster(out, answer)
        _quality(out, answer)
        _evidence(out, answer)
    else:
        _nearest(out, answer)
    notes = [reason.text for reason in answer.warnings] + list(answer.notes)
    if notes:
        _head(out, "Mind")
        for note in notes:
            _item(out, note)
    command = launch_or_none(answer)
    if command:
        _head(out, "Start it with")
        out.print(Text(command), soft_wrap=True)


def _head(out: Console, title: str, note: str = "") -> None:
    out.print()
    out.print(Text(title, style="bold").append(f"  {note}" if note else "", style="not bold dim"))


def _rows(out: Console, rows: Sequence[tuple[str, str, str]]) -> None:
    """Lines of a name, a number and something more."""
    left = max(len(row[0]) for row in rows)
    right = max(len(row[1]) for row in rows)
    for name, number, more in rows:
        out.print(Text(f"  {name:<{left}}  {number:>{right}}").append(f"  {more}" if more else "", style="dim"))


def _item(out: Console, text: str) -> None:
    out.print(Padding(Text(text), (0, 0, 0, 2)))


def _speed(out: Console, answer: Estimate) -> None:
    load = answer.scenario.workload
    users = f"{load.concurrency:,} user{'s' if load.concurrency > 1 else ''}"
    asked = f"{load.prompt_tokens:,} tokens in, {load.output_tokens:,} out"
    if load.context_depth:
        asked += f", {load.context_depth:,} cached before"
    if load.arrival == "open":
        asked += f", {load.request_rate_per_s:g} requests a second"
    elif load.arrival == "saturated":
        asked += ", as many users as fit"
    else:
        asked += f", {users}{' in one batch' if load.arrival == 'static' else ''}"
    from core.words import span

    _head(out, "Speed", f"{asked} ({'ranges: p10–p90' if answer.bands else answer.label})")
    single = load.concurrency == 1 and load.arrival == "closed"
    skip = {"output_rate", "total_rate", "batch"} if single else set()
    units = {name: number.unit for name, number in answer.metrics.items() if isinstance(number, Quantity)}
    _rows(out, [
        (title, shown(answer.metrics[name]), span(answer, name, units.get(name, ""))) for name, title in METRICS.items() if name not in skip
    ])  # fmt: skip


def _quality(out: Console, answer: Estimate) -> None:
    from core.quality import quality

    _head(out, "Quality")
    _item(out, quality(answer.ir.id, answer.resolved["quant"]).sentence)


def _bar(share: float) -> str:
    return "█" * max(round(share * BAR), 1) if share > 0.002 else ""


def _memory(out: Console, memory: Memory, taken: str) -> None:
    """The bill of a memory; `taken` is the range of what the engine will take of each device, where there is one."""
    whole = max(float(value(x)) for x in (memory.limit, memory.peak, memory.taken))
    _head(out, f"Memory of {memory.name}" if memory.place == "device" else "Host memory")
    when = {"now": "", "peak": "at the peak", "reserved": "set aside"}
    rows: list[tuple[str, str, str]] = []
    for part in memory.parts:
        amount = float(value(part.amount))
        if amount > 0:
            rows.append((part.name, shown(part.amount), f"{_bar(amount / whole)} {when[part.when]}".strip()))
    for name in ("needed", "taken", "peak", "limit"):
        title = {"needed": "needed now", "taken": "engine will take", "limit": "usable"}.get(name, name)
        rows.append((title, shown(getattr(memory, name)), taken if name == "taken" and memory.place == "device" else ""))
    headroom = float(value(memory.headroom))
    short = headroom < 0
    rows.append(("short" if short else "headroom", shown(abs(headroom), "B"), "does not fit" if short else ""))
    # Long rows would wrap into the next name: the bar gives way.
    names, numbers = max(len(r[0]) for r in rows), max(len(r[1]) for r in rows)
    room = out.width - names - numbers - 6
    _rows(out, [(a, b, c[:room]) for a, b, c in rows])


def _limits(out: Console, answer: Estimate) -> None:
    most, longest = float(value(answer.limits["max_batch"])), float(value(answer.limits["max_context"]))
    users = answer.scenario.workload.concurrency
    tokens = float(value(answer.limits["kv_tokens"]))
    if answer.loading is not None:
        _head(out, "Start")
        _rows(out, [("copying the weights", shown(answer.loading), "over the link to the host, the disk aside")])
    _head(out, "Room for")
    _rows(out, [
        ("tokens of cache in all", f"{tokens:,.0f}" if tokens < 1e12 else "any number", "on each replica"),
        ("sequences of this context", f"{most:,.0f}" if most < 1e9 else "any number", ""),
        (f"context with {users:,} user{'s' if users > 1 else ''}", f"{longest:,.0f}", "tokens"),
    ])  # fmt: skip


def _shares(out: Console, answer: Estimate) -> None:
    from core.answer import BOUNDS

    decode, first = answer.decode.step.shares(), answer.first_token_shares
    listed = [k for k in BOUNDS if max(decode.get(k, 0.0), first.get(k, 0.0)) >= SMALL_SHARE]
    listed.sort(key=lambda k: -decode.get(k, 0.0))
    if not listed:
        return
    title = "What holds it back"
    left = max(len(title) - 2, *(len(BOUNDS[k]) for k in listed))
    out.print()
    out.print(Text(f"{title:<{left + 2}}", style="bold").append("  first token  each next", style="not bold dim"))
    for key in listed:
        line = f"  {BOUNDS[key]:<{left}}  {_percent(first.get(key)):>11}  {_percent(decode.get(key)):>9}  "
        out.print(Text(line.rstrip()))


def _percent(share: float | None) -> str:
    return "–" if not share or share < 0.0005 else f"{share:.0%}"


def _money(out: Console, answer: Estimate) -> None:
    _head(out, "Money and energy")
    _rows(out, [
        ("while running", shown(answer.money["usd_per_h"]), answer.resolved["cost_basis"]),
        ("a million output tokens", shown(answer.money["usd_per_million"]), ""),
        ("a month of 720 h", shown(answer.money["usd_per_month"]), ""),
        ("power", shown(answer.metrics["power"]), ""),
        ("energy of an output token", shown(answer.metrics["energy_per_token"]), ""),
    ])  # fmt: skip


def _faster(out: Console, answer: Estimate) -> None:
    """A better way to deal the layers out to cards that are not alike."""
    from core.faster_split import faster_split

    found = faster_split(answer.scenario) if answer.cards else None
    if found is not None:
        _head(out, "Faster")
        _item(out, f"{found.change}: {found.outcome}.")


def _evidence(out: Console, answer: Estimate) -> None:
    """What to trust, what the runs know of each part, and the three nearest of them."""
    from core.evidence import nearest
    from core.trust import NAMES, UNITS, what_to_trust
    from core.units import show

    near = nearest(answer.scenario, corrected=answer.version is not None)
    trust = what_to_trust(answer, near)
    _head(out, "What to trust", answer.label)
    for name, part in (("speed", trust.speed), ("tail", trust.tail), ("memory", trust.memory)):
        _item(out, f"{name}: {part.word}. {part.text}")
    if answer.support:
        _item(out, "runs know: " + ", ".join(f"{name} {level}" for name, level in answer.support.by.items()))
    _head(out, "Nearest measured runs", "distance 1: errors part by a tenth")
    for run in near[:SHOWN_RUNS]:
        ratios = [f"{NAMES[m]} {show(run.measured[m], UNITS[m])}" + (f" (ours ×{run.ratios[m]:.2f})" if m in run.ratios else "")
                  for m in run.measured]  # fmt: skip
        _item(out, f"{run.distance:.1f}  {run.what}: {', '.join(ratios)}")
        out.print(Padding(Text(f"{run.differs} · {run.source}", style="dim"), (0, 0, 0, 7)))


def _nearest(out: Console, answer: Estimate) -> None:
    from core.nearest import nearest_fits

    found = nearest_fits(answer.scenario)
    if found:
        _head(out, "What would fit")
    for option in found:
        _item(out, f"{option.change}: {option.outcome}.")


# ---- explain


def numbers_of(answer: Estimate) -> dict[str, Quantity]:
    """Every number of an answer that explains itself, by the name `--number` takes."""
    found: dict[str, Any] = {**answer.metrics, **answer.money, **answer.limits}
    for memory in (answer.device, answer.host):
        if memory is None:
            continue
        prefix = "" if memory.place == "device" else "host_"
        for part in memory.parts:
            found[prefix + part.name.lower().replace(" ", "_")] = part.amount
        for name in ("needed", "taken", "peak", "limit", "headroom"):
            found[prefix + name] = getattr(memory, name)
    for n, memory in enumerate(answer.cards, 1):
        found |= {f"card_{n}_{name}": getattr(memory, name) for name in ("needed", "taken", "peak", "limit", "headroom")}
    if answer.loading is not None:
        found["loading"] = answer.loading
    for name in ("prefill", "decode"):
        phase = getattr(answer, name)
        found[f"{name}_step"] = phase.step.time
        for figure in ("flop", "bytes", "intensity", "ridge", "mfu", "mbu"):
            found[f"{name}_{figure}"] = getattr(phase, figure)
    return {name: number for name, number in found.items() if isinstance(number, Quantity)}


def number_named(answer: Estimate, name: str) -> Quantity:
    """The number of this name. Raises ScenarioError that lists the names there are."""
    found = numbers_of(answer)
    key = name.strip().lower().replace("-", "_").replace(" ", "_")
    if key not in found:
        raise ScenarioError(f"This estimate has no number '{name}'; choose one of {', '.join(found)}.")
    return found[key]


# ---- errors against runs

_METRICS = ("decode", "prefill", "output rate", "total rate", "TTFT", "TPOT", "latency", "memory", "power")
_TITLES = {"source": "Source", "runtime": "Runtime", "device_class": "Device class", "metric": "Metric"}


def show_report(report: Mapping[str, Any], *, markdown: bool = False) -> None:
    """Tables of the median error by slice, the ten worst slices, and what was left out."""
    write = sys.stdout.write
    left_out = sum(report["excluded"].values())
    failed = sum(report["errors"].values())
    write(f"{report['judged']:,} of {report['rows']:,} rows judged; {left_out:,} left out by rule, {failed:,} could not be predicted.\n")
    write("Median error of the analytic, uncorrected estimate; in brackets the number of runs.\n")
    overall = [
        [str(x["metric"]), f"{x['n']:,}", _error(x["median"]), _error(x["p90"]), f"{x['bias']:+.2f}"] for x in report["by"]["metric"]
    ]
    text_table(["Metric", "Runs", "Median", "90th percentile", "Bias (ln)"], overall, markdown)
    for key in ("device_class", "runtime", "source"):
        header, rows = _pivot(report["by"][key], key)
        text_table(header, rows, markdown)
    worst = [[" · ".join(str(line[k]) for k in ("source", "runtime", "device_class", "metric")), f"{line['n']:,}",
              _error(line["median"]), f"{line['bias']:+.2f}"] for line in report["worst"]]  # fmt: skip
    text_table(["Ten worst slices", "Runs", "Median", "Bias (ln)"], worst, markdown)
    if report["errors"]:
        write("\nCould not be predicted:\n")
        for sentence, count in sorted(report["errors"].items(), key=lambda item: -item[1])[:10]:
            write(f"{count:>7,}  {sentence}\n")


def _error(share: float) -> str:
    return f"{share:.0%}" if share < 10 else f"×{share + 1:,.0f}"


def _pivot(lines: Sequence[Mapping[str, Any]], key: str) -> tuple[list[str], list[list[str]]]:
    """Slices as rows, metrics as columns; the largest slice first."""
    cells: dict[str, dict[str, Mapping[str, Any]]] = {}
    for line in lines:
        cells.setdefault(str(line[key]), {})[str(line["metric"])] = line
    metrics = [m for m in _METRICS if any(m in found for found in cells.values())]
    order = sorted(cells, key=lambda name: (-sum(line["n"] for line in cells[name].values()), name))

    def cell(line: Mapping[str, Any] | None) -> str:
        return f"{_error(line['median'])} ({line['n']:,})" if line else ""

    rows = [[name, *(cell(cells[name].get(m)) for m in metrics)] for name in order]
    return [_TITLES[key], *metrics], rows


def text_table(header: Sequence[str], rows: Sequence[Sequence[str]], markdown: bool) -> None:
    """A table with its first column to the left, in plain text or Markdown."""
    write = sys.stdout.write
    write("\n")
    if not rows:
        return
    if markdown:
        write(f"| {' | '.join(header)} |\n|---|{'---:|' * (len(header) - 1)}\n")
        for row in rows:
            write(f"| {' | '.join(cell.replace('|', '/') for cell in row)} |\n")
        return
    widths = [max(len(row[i]) for row in (header, *rows)) for i in range(len(header))]
    for row in (header, *rows):
        cells = [row[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True))]
        write("  ".join(cells).rstrip() + "\n")
