"""The validation as plain data: what `roofcast validate --json` prints, and what the page and the HTML report show."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from core import coverage, terms
from core.gates import Gate, cards, gates, populations, table, thresholds
from core.scores import MOST_POINTS, SLICES, Choice, Scores, versions

SPLIT_NAMES = {
    "row": "neighbouring rows (easy)",
    "configuration": "unseen configuration",
    "model": "unseen model",
    "device": "unseen device",
    "device family": "unseen device family",
    "source": "unseen source",
    "time": "later than anything seen",
}
NOISE = (
    "Not all of the error is ours: rows that are identical in every column already differ by 4.7 % (decode) and 13 % (prefill, "
    "TTFT), and two people who measure the same thing differ by about 16 %."
)
EASY = (
    "The row split is the easy one: neighbours of a judged row, from the same sweep, stay in the fit. It flatters the error "
    "several times over and is shown only because the launch gates are defined on it."
)
METHOD = (
    "Every prediction was made by a fit that had not seen the run it is judged by, nor any run of the same held-out "
    "group. No row is left out because its prediction is bad."
)
FEASIBILITY = (
    "All these runs ran, so “insufficient memory” is wrong for each of them. The opposite mistake, “fits” for what does "
    "not, cannot be seen here: nobody publishes the runs that failed."
)
EXPORT = "roofcast-validation.csv"
BY = ("size", "batch", "context", "device", "runtime", "quant", "year")


def share(amount: float | None) -> str:
    """A share as people read it: 14 %, 4.7 %, ×12 (beyond ten times)."""
    if amount is None or not math.isfinite(amount):
        return "unknown"
    if amount >= 10:
        return f"×{amount + 1:,.0f}"
    return f"{100 * amount:.1f}\N{NO-BREAK SPACE}%" if amount < 0.0995 else f"{100 * amount:.0f}\N{NO-BREAK SPACE}%"


def off_by(log_ratio: float | None) -> str:
    """A log ratio as a direction and factor: 1.8× too high."""
    if log_ratio is None:
        return "unknown"
    factor = math.exp(abs(log_ratio))
    return "right on the median" if factor < 1.005 else f"{factor:.3g}× too {'high' if log_ratio > 0 else 'low'}"


def headline(lines: Sequence[Mapping[str, Any]]) -> str:
    """The state of things in one sentence."""
    found = {(line["population"], line["split"]): line["median"] for line in lines}
    told = [
        f"within {share(found[('decode', split)])} {what} never seen before"
        for split, what in (("model", "for a model"), ("device", "on a device"))
        if ("decode", split) in found
    ]
    if not told:
        return "No decode speed was judged."
    sentence = f"Half of all decode speeds are predicted {', '.join(told)}"
    ttft = found.get(("TTFT under load", "model"))
    return f"{sentence}; the first token under load within {share(ttft)} for a new model." if ttft is not None else f"{sentence}."


def target_cells(lines: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The cells of the table of targets: population, split, median, mean, before_median, targets in percent, met_median, met_mean."""
    cells = []
    for line in lines:
        if line["target_median"] is None:
            continue
        cells.append({**line, **{f"met_{name}": 100 * line[name] <= line[f"target_{name}"] for name in ("median", "mean")}})
    return cells


def average_error(scores: Scores, split: str = "model") -> dict[str, Any]:
    """Median and mean absolute error over all metrics' rows of a split."""
    found = scores.summary(Choice(split))
    return found[0] if found else {}


def gate_rows(listed: Sequence[Gate]) -> list[dict[str, Any]]:
    """Gates as rows of a table."""
    return [
        {
            "family": gate.family,
            "gate": gate.name,
            "found": gate.found,
            "limit": gate.limit,
            "status": gate.status,
            "rows": gate.n,
            "population": gate.population,
            "split": gate.split,
            "statistic": gate.statistic,
            "note": gate.note,
        }
        for gate in listed
    ]


def coverage_rows(lines: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Coverage and width of p10–p90 by population and split."""
    keys = ("population", "split", "n", "groups", "covered", "each_covered", "below", "above", "width")
    return [{key: line[key] for key in keys} for line in lines]


def results(scores: Scores) -> dict[str, Any]:
    """What a version keeps for later comparison, to be written into its `fit.json` under "results"."""
    keep = ("population", "split", "n", "groups", "median", "mean", "bias", "near", "each_median", "each_covered", "width")
    return {
        "cards": cards(gates(scores, table(scores))),
        "table": [{key: line[key] for key in keep} for line in table(scores)],
    }


def version_rows(scores: Scores, earlier: Sequence[Mapping[str, Any]] | None = None) -> list[dict[str, Any]]:
    """Median errors of the uncorrected estimate, of each earlier version that kept its results, and now, one line each."""
    found = []
    for version in versions() if earlier is None else earlier:
        for line in version.get("results", {}).get("table", ()):
            found.append({"version": str(version.get("version", "?"))[:8], "date": version.get("date"), **line})
    present = {key: scores.fit.get(key) for key in ("version", "date")}
    for line in table(scores):
        before = {"population": line["population"], "split": line["split"], "median": line["before_median"], "mean": line["before_mean"]}
        found.append({"version": "uncorrected", "date": None, **before})
        found.append({"version": f"{str(present['version'] or 'now')[:8]} (now)", "date": present["date"], **line})
    keep = ("version", "date", "population", "split", "median", "mean", "each_covered")
    return [{key: line.get(key) for key in keep} for line in found]


def by_slice(scores: Scores, choice: Choice, slices: Sequence[str] = BY, most: int = 15) -> dict[str, list[dict[str, Any]]]:
    """Errors by each slice, its `most` largest values."""
    return {name: scores.summary(choice, name)[:most] for name in slices if name in SLICES}


def report(scores: Scores) -> dict[str, Any]:
    """Everything, as plain data for JSON."""
    lines = table(scores)
    listed = gates(scores, lines)
    honest = [split for split in scores.splits if split != "row"]
    return {
        "headline": headline(lines),
        "notes": [METHOD, NOISE, EASY],
        "fit": scores.fit,
        "counts": scores.counts,
        "cards": {**cards(listed), "average_error": average_error(scores)},
        "gates": gate_rows(listed),
        "thresholds": [
            {"population": t.population, "split": t.split, "accepted": t.accepted, "noise": t.noise, "now": t.now, "broken": t.broken}
            for t in thresholds(scores, lines)
        ],
        "populations": {p.name: p.what for p in populations().values()},
        "table": list(lines),
        "metrics": {split: scores.summary(Choice(split), "metric") for split in scores.splits},
        "baselines": {
            name: {split: scores.baselines(p.choice(split)) for split in honest}
            for name, p in populations().items()
            if any(line["target_median"] for line in lines if line["population"] == name)
        },
        "by": {metric: by_slice(scores, Choice("model", {"metric": [metric]})) for metric in scores.metrics},
        "coverage_histogram": {
            metric: {split: coverage.histogram(scores.groups(Choice(split, {"metric": [metric]}))) for split in honest}
            for metric in ("decode", "prefill", "TTFT", "TPOT")
        },
        "worst_slices": {split: terms.explained_slices(scores, Choice(split)) for split in honest if split in ("model", "source")},
        "feasibility": {"said": scores.feasibility(), "wrongly_refused": scores.refused(), "note": FEASIBILITY},
        "versions": version_rows(scores),
    }


# ---- What charts and tables of the page need beyond the figures


def scatter_points(scores: Scores, choice: Choice, most: int = MOST_POINTS) -> Any:
    """At most `most` points of predicted against measured, with a few columns in words."""
    points = scores.sample(choice, most)
    inside = (points["measured"] >= points["p10"]) & (points["measured"] <= points["p90"])
    points["state"] = inside.map({True: "inside p10–p90", False: "outside"})
    points["machine"] = points["device_count"].astype(str) + " × " + points["device"]
    points["load"] = (
        points["concurrency"].map("{:,.0f} at once".format)
        + points["prompt_tokens"].map(", {:,.0f} tokens in".format)
        + points["context_depth"].map(lambda depth: f", {depth:,.0f} cached" if depth > 0 else "")
    )
    return points


def scatter_lines(points: Any) -> list[dict[str, Any]]:
    """Corners of the lines “exact” and “25 % off”, over the points' range."""
    low = float(min(points["measured"].min(), points["p50"].min())) / 1.3
    high = float(max(points["measured"].max(), points["p50"].max())) * 1.3
    lines = (("exact", "exact", 1.0), ("25 % off", "high", 1.25), ("25 % off", "low", 0.75))
    return [{"kind": kind, "line": line, "measured": end, "predicted": end * factor} for kind, line, factor in lines for end in (low, high)]


def histogram_rows(scores: Scores, choice: Choice) -> list[dict[str, Any]]:
    """`coverage.histogram` with words for its bins."""
    return [
        {**line, "middle": (line["from"] + line["to"]) / 2, "text": f"{line['from']:.0%} – {line['to']:.0%}"}
        for line in coverage.histogram(scores.groups(choice))
    ]


def term_rows(scores: Scores, choice: Choice, line: dict[str, Any]) -> list[dict[str, Any]]:
    """Each term of one of the worst slices freed alone, and everything by one factor."""
    rows = scores.shares(terms.slice_choice(choice, line), most=5000)
    freed = terms.free_terms(rows, line["metric"])
    every = [terms.free_all(rows, line["metric"])] if freed else []
    names = {**terms.NAMES, "all": "everything by one factor"}
    return [{"name": names[f.term], "removed": f.removed, "factor": f.factor, "after": f.after} for f in (*freed, *every)]


def run_numbers(run: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A judged run's predictions by split, from easy to hard."""
    order = list(SPLIT_NAMES)
    found = sorted(run["scores"], key=lambda line: order.index(line["split"]) if line["split"] in order else len(order))
    return [
        {
            "Judged on": SPLIT_NAMES.get(line["split"], line["split"]),
            "p10": line["p10"],
            "p50": line["p50"],
            "p90": line["p90"],
            "Error": share(line["ape"]),
            "Off by": off_by(line["log_ratio"]),
            "Inside": "yes" if line["inside"] else "no",
            "Support": line["support"],
        }
        for line in found
    ]


def run_shares(run: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What the analytic step's time of a run is made of, the largest first."""
    shares = {terms.NAMES[name]: 100 * float(run[f"share_{name}"] or 0.0) for name in terms.TERMS}
    return [{"Term": name, "Share (%)": part} for name, part in sorted(shares.items(), key=lambda item: -item[1]) if part > 0.05]


def percent(table: Any, columns: Sequence[str]) -> Any:
    """A copy of a table with shares as percent."""
    found = table.copy()
    for column in columns:
        if column in found:
            found[column] = 100 * found[column].astype(float)
    return found


def held(scores: Scores, choice: Choice, least: int = 5) -> list[dict[str, Any]]:
    """Held-out groups of at least `least` rows by the share of their runs inside p10–p90 ("held"), the least first."""
    groups = [{**group, "held": group["covered"] / group["n"]} for group in scores.groups(choice) if group["n"] >= least]
    return sorted(groups, key=lambda group: (group["held"], -group["n"]))
