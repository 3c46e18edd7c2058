"""The validation as one HTML file that needs no network: tables that sort, and predicted against measured as drawings."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from core.report import SPLIT_NAMES, off_by, scatter_points, share
from core.scores import Choice, Scores

_STYLE = """
:root { color-scheme: light dark; --line: color-mix(in srgb, currentColor 20%, transparent); }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1080px; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; line-height: 1.3; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-size: 0.87rem; font-variant-numeric: tabular-nums; }
th, td { padding: 0.25rem 0.6rem; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; }
th { cursor: pointer; white-space: nowrap; } td.n { text-align: right; } td.n, td.s { white-space: nowrap; }
.cards { display: flex; flex-wrap: wrap; gap: 2rem; } .cards b { display: block; font-size: 1.6rem; }
.met { color: light-dark(#00704f, #2FBF97); font-weight: 600; } .missed { color: light-dark(#b04a00, #F0804A); font-weight: 600; }
.plots { display: flex; flex-wrap: wrap; gap: 1rem; } figure { margin: 0; } svg { font-size: 11px; } .muted { opacity: 0.75; }
"""
# A click on a heading sorts by that column: numbers as numbers, and again the other way.
_SCRIPT = """
document.querySelectorAll('th').forEach(th => th.addEventListener('click', () => {
  const body = th.closest('table').tBodies[0], i = th.cellIndex, down = th.dataset.down !== '1';
  th.dataset.down = down ? '1' : '0';
  const key = row => { const c = row.cells[i]; return c.dataset.v === undefined ? c.textContent : parseFloat(c.dataset.v); };
  [...body.rows].sort((a, b) => { const x = key(a), y = key(b);
    return (x > y ? 1 : x < y ? -1 : 0) * (down ? 1 : -1); }).forEach(row => body.append(row));
}));
"""
_INSIDE, _OUTSIDE = "#0072B2", "#E69F00"
_POINTS = 1500  # of one drawing


def page(report: Mapping[str, Any], scores: Scores) -> str:
    """The file's text."""
    cards = report["cards"]
    numbers = {"Gates": cards["total"], "Met": cards["met"], "Missed": cards["missed"], "Not judged": cards["not_judged"],
               "Average error": share(cards["average_error"].get("mean")), "Judged numbers": f"{report['counts']['rows']:,}"}  # fmt: skip
    parts = [
        f"<h1>{escape(report['headline'])}</h1>",
        *(f"<p>{escape(note)}</p>" for note in report["notes"]),
        f'<div class="cards">{"".join(f"<div>{name}<b>{found}</b></div>" for name, found in numbers.items())}</div>',
        "<h2>How far off, by what the fit had never seen</h2>",
        _table(("What", "Judged on", "Rows", "Groups", "Median", "Mean", "Target", "Before", "p90", "Bias (ln)", "Within 25 %",
                "R² (ln)", "R²", "Median, groups weighing 1", "Inside p10–p90, groups", "rows", "Width"), map(_figures, report["table"])),
        "<h2>Gates</h2>",
        _table(("Status", "Gate", "Found", "Limit", "Rows", "Family", "Note"), map(_gate, report["gates"])),
        "<h2>Predicted and measured, unseen model</h2>",
        f'<div class="plots">{"".join(_plot(scores, metric) for metric in scores.metrics)}</div>',
        '<p class="muted">Both axes logarithmic. Dots lie inside p10–p90, triangles outside. '
        f"At most {_POINTS:,} points of a metric are drawn, in turn from every source, runtime and device.</p>",
    ]  # fmt: skip
    for split, lines in report["worst_slices"].items():
        parts += [
            f"<h2>Worst slices, {escape(SPLIT_NAMES.get(split, split))}</h2>",
            _table(("Metric", "Source", "Runtime", "Kind of device", "Rows", "Median", "Off by", "Term freed", "Removes",
                    "One factor removes"), map(_slice, lines)),
        ]  # fmt: skip
    parts += [
        "<h2>Against simpler ways of predicting</h2>",
        _table(("What", "Judged on", "Way", "Rows", "Median", "Mean", "Ours there, median", "Ours there, mean"), _baselines(report)),
        "<h2>Fits or not?</h2>",
        f"<p>{escape(report['feasibility']['note'])}</p>",
        _table(("Said of runs that ran", "Runs"), ([_text(x["feasibility"]), _count(x["runs"])] for x in report["feasibility"]["said"])),
    ]
    body = "\n".join(parts)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>Roofcast: how wrong are the estimates?</title><style>{_STYLE}</style></head>\n"
        f"<body>{body}<script>{_SCRIPT}</script></body></html>\n"
    )


def _table(header: Sequence[str], rows: Any) -> str:
    head = "".join(f"<th>{escape(text)}</th>" for text in header)
    body = "".join(f"<tr>{''.join(cells)}</tr>" for cells in rows)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _text(text: Any) -> str:
    short = ' class="s"' if len(str(text)) < 45 else ""
    return f"<td{short}>{escape(str(text))}</td>"


def _cell(amount: float | None, shown: str) -> str:
    return f'<td class="n" data-v="{-1 if amount is None else amount}">{escape(shown)}</td>'


def _count(amount: int | None) -> str:
    return _cell(amount, "" if amount is None else f"{amount:,}")


def _share(amount: float | None) -> str:
    return _cell(amount, "" if amount is None else share(amount))


def _plain(amount: float | None, form: str = ".3g") -> str:
    return _cell(amount, "" if amount is None else f"{amount:{form}}")


def _figures(line: Mapping[str, Any]) -> list[str]:
    target = "" if line["target_median"] is None else f"{line['target_median']:g} / {line['target_mean']:g} %"
    return [
        _text(line["population"]), _text(SPLIT_NAMES.get(line["split"], line["split"])), _count(line["n"]), _count(line["groups"]),
        _share(line["median"]), _share(line["mean"]), _text(target), _share(line["before_median"]), _share(line["p90"]),
        _plain(line["bias"], "+.2f"), _share(line["near"]), _plain(line["r2_log"]), _plain(line["r2"]), _share(line["each_median"]),
        _share(line["each_covered"]), _share(line["covered"]), _plain(line["width"], ".2f"),
    ]  # fmt: skip


def _gate(line: Mapping[str, Any]) -> list[str]:
    mark = {"met": '<td class="met">✓ met</td>', "missed": '<td class="missed">✗ missed</td>'}.get(line["status"], _text(line["status"]))
    return [mark, _text(line["gate"]), _plain(line["found"]), _text(line["limit"]), _count(line["rows"]), _text(line["family"]),
            _text(line["note"])]  # fmt: skip


def _slice(line: Mapping[str, Any]) -> list[str]:
    return [*(_text(line[key]) for key in ("metric", "source", "runtime", "device_class")), _count(line["n"]), _share(line["median"]),
            _text(off_by(line["bias"])), _text(line["cause"]), _share(line["removed"]), _share(line["removed_all"])]  # fmt: skip


def _baselines(report: Mapping[str, Any]) -> list[list[str]]:
    return [
        [_text(name), _text(SPLIT_NAMES.get(split, split)), _text(line["name"]), _count(line["n"]), _share(line["median"]),
         _share(line["mean"]), _share(line["ours_median"]), _share(line["ours_mean"])]
        for name, splits in report["baselines"].items()
        for split, lines in splits.items()
        for line in lines
    ]  # fmt: skip


def _plot(scores: Scores, metric: str, side: int = 320, edge: int = 44) -> str:
    """Predicted against measured as SVG; empty where nothing was judged."""
    points = scatter_points(scores, Choice("model", {"metric": [metric]}), _POINTS)
    if points.empty:
        return ""
    ends = [float(f(points[["measured", "p50"]].to_numpy())) for f in (lambda x: x.min(), lambda x: x.max())]
    low, high = math.log10(ends[0] / 1.2), math.log10(ends[1] * 1.2)

    def at(amount: float) -> float:
        return (math.log10(amount) - low) / (high - low) * side

    marks = []
    for line in points.to_dict("records"):
        x, y = edge + at(line["measured"]), side - at(line["p50"])
        title = escape(f"{line['source']}: {line['model']}, {line['machine']}, {line['runtime']}, {line['quant']}: "
                       f"{line['measured']:.4g} measured, {line['p50']:.4g} predicted")  # fmt: skip
        if line["state"] == "outside":
            shape = f'<path d="M{x:.1f} {y - 3:.1f}l2.8 5h-5.6z" fill="{_OUTSIDE}" fill-opacity=".7">'
            marks.append(f"{shape}<title>{title}</title></path>")
        else:
            marks.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2" fill="{_INSIDE}" fill-opacity=".6"><title>{title}</title></circle>')
    ticks = []
    for power in range(math.ceil(low), math.floor(high) + 1):
        place, shown = at(10.0**power), f"{10.0**power:g}"
        ticks.append(f'<text x="{edge + place:.0f}" y="{side + 16}" text-anchor="middle" fill="currentColor">{shown}</text>')
        ticks.append(f'<text x="{edge - 5}" y="{side - place + 4:.0f}" text-anchor="end" fill="currentColor">{shown}</text>')
    unit = escape(str(points["unit"].iloc[0]))
    return (
        f'<figure><svg width="{side + edge + 8}" height="{side + 40}" role="img" aria-label="{escape(metric)}, predicted against measured">'
        f'<rect x="{edge}" width="{side}" height="{side}" fill="none" stroke="currentColor" stroke-opacity=".25"/>'
        f'<path d="M{edge} {side}L{edge + side} 0" stroke="currentColor" stroke-opacity=".5"/>{"".join(marks)}{"".join(ticks)}'
        f'<text x="{edge + side / 2:.0f}" y="{side + 34}" text-anchor="middle" fill="currentColor">'
        f"{escape(metric)}, measured, {unit}</text></svg></figure>"
    )
