"""The shipped scores on a terminal: gates, errors by what was never seen, intervals, and the worst slices with their causes."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from core.cli_show import text_table
from core.report import SPLIT_NAMES, off_by, share

_SHOWN = ("configuration", "model", "device", "source")


def show_scores(report: Mapping[str, Any], *, markdown: bool = False) -> None:
    """The report of `core.report.report` as text."""
    write = sys.stdout.write
    write(f"{report['headline']}\n")
    for note in report["notes"]:
        write(f"{note}\n")
    cards = report["cards"]
    write(
        f"\n{cards['total']} gates: {cards['met']} met, {cards['missed']} missed, {cards['not_judged']} not judged. "
        f"Average error {share(cards['average_error'].get('mean'))} on unseen models.\n"
    )
    _targets(report, markdown)
    rows = [
        [f"{line['gate']}", {"met": "met", "missed": "MISSED"}.get(line["status"], line["status"]), _number(line["found"]), line["limit"]]
        for line in report["gates"]
        if not line["population"] or line["split"] == "row"
    ]
    text_table(["Other gates", "Status", "Found", "Limit"], rows, markdown)
    _intervals(report, markdown)
    for split, lines in report["worst_slices"].items():
        slices = [
            [" · ".join(str(line[key]) for key in ("source", "runtime", "device_class", "metric")), f"{line['n']:,}", share(line["median"]),
             off_by(line["bias"]), line["cause"], share(line["removed"]) if line["removed"] is not None else ""]
            for line in lines
        ]  # fmt: skip
        text_table([f"Worst slices, {SPLIT_NAMES[split]}", "Rows", "Median", "Off by", "Term", "removes"], slices, markdown)
    _every(report, markdown)
    if report["fit"].get("seconds_fit"):
        write(f"\nFitted in {report['fit']['seconds_fit']:.0f} s, predicted in {report['fit'].get('seconds_predict', 0):.0f} s.\n")
    for line in report["thresholds"]:
        if line["broken"]:
            write(
                f"\nWORSE: {line['population']}, {SPLIT_NAMES[line['split']]}: {share(line['now'])} where {share(line['accepted'])} "
                f"± {share(line['noise'])} was accepted.\n"
            )


def _targets(report: Mapping[str, Any], markdown: bool) -> None:
    """The table that binds: median / mean, before and after, against the target."""
    by = {(line["population"], line["split"]): line for line in report["table"] if line["target_median"] is not None}
    rows = []
    for population in dict.fromkeys(name for name, _ in by):
        for label, keys in (("before", ("before_median", "before_mean")), ("after", ("median", "mean")), ("target", None)):
            cells = [f"{population}, {label}"]
            for split in _SHOWN:
                line = by.get((population, split))
                if line is None:
                    cells.append("")
                elif keys is None:
                    cells.append(f"{line['target_median']:g} / {line['target_mean']:g} %")
                else:
                    cells.append(" / ".join(share(line[key]) for key in keys))
            rows.append(cells)
    text_table(["Median / mean absolute error", *(SPLIT_NAMES[split] for split in _SHOWN)], rows, markdown)


def _every(report: Mapping[str, Any], markdown: bool) -> None:
    rows = [
        [f"{line['population']}, {SPLIT_NAMES.get(line['split'], line['split'])}", f"{line['n']:,}", f"{line['groups']:,}",
         share(line["median"]), share(line["mean"]), share(line["p90"]), f"{line['bias']:+.2f}", share(line["near"]),
         _number(line["r2_log"]), _number(line["r2"]), share(line["each_median"]), share(line["each_mean"])]
        for line in report["table"]
    ]  # fmt: skip
    header = [
        "All judged rows",
        "Rows",
        "Groups",
        "Median",
        "Mean",
        "p90",
        "Bias (ln)",
        "In 25 %",
        "R² (ln)",
        "R²",
        "Median, groups",
        "Mean, groups",
    ]
    text_table(header, rows, markdown)


def _intervals(report: Mapping[str, Any], markdown: bool) -> None:
    rows = [
        [f"{line['population']}, {SPLIT_NAMES.get(line['split'], line['split'])}", share(line["each_covered"]), share(line["covered"]),
         share(line["below"]), share(line["above"]), f"{line['width']:.2f}"]
        for line in report["table"]
        if line["target_median"] is not None or line["population"] == "memory"
    ]  # fmt: skip
    text_table(["p10–p90 holds (80 ± 3 %)", "Groups", "Rows", "Below", "Above", "Width p90/p10"], rows, markdown)
    for metric, splits in report["coverage_histogram"].items():
        bins = [f"{line['from']:.0%}" for line in next(iter(splits.values()), [])]
        hist = [
            [f"{metric}, {SPLIT_NAMES.get(split, split)}", *(f"{line['groups']} ({line['chance']:.0f})" for line in lines)]
            for split, lines in splits.items()
        ]
        text_table(["Groups by their coverage from (by chance)", *bins], hist, markdown)


def _number(amount: float | None) -> str:
    return "" if amount is None else f"{amount:.3g}"
