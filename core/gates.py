"""The gates: targets from `data/catalog/gates.toml` against the scores, each met, missed or not judged.

Thresholds are something else: the errors of the scores that were last accepted, and by how much chance moves them. A
gate may be missed and is reported; a broken threshold means that the estimates became worse, and fails the build.
"""

from __future__ import annotations

import functools
import json
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from core.catalog.files import DATA
from core.errors import CatalogError, RunError
from core.predict import write_whole
from core.scores import Choice, Scores

GATES = DATA / "catalog" / "gates.toml"
THRESHOLDS = DATA / "fitted" / "thresholds.json"
HONEST = ("configuration", "model", "device", "device family", "source", "time")
OWN = "Targets by what was never seen"
COVERS = "Intervals: share of runs inside p10–p90, each group weighing 1"

LEAST_NOISE = 0.005  # a share: less is rounding, and a split of one group knows no chance

Status = Literal["met", "missed", "not judged"]
_SHARES = {"median", "mean", "p90", "near", "covered", "each_median", "each_mean", "each_covered", "width"}


@dataclass(frozen=True, slots=True)
class Population:
    """Rows that are judged together."""

    name: str
    metrics: tuple[str, ...]
    load: str | None
    what: str

    def choice(self, split: str, **filters: list[str]) -> Choice:
        load = {"load": [self.load]} if self.load else {}
        return Choice(split, {"metric": list(self.metrics), **load, **filters})


@dataclass(frozen=True, slots=True)
class Gate:
    """A limit and what was found. Errors and coverage are in percent, R² and counts as they are; `found` None: not judged."""

    family: str
    name: str
    found: float | None
    low: float | None = None
    high: float | None = None
    n: int | None = None
    population: str | None = None
    split: str | None = None
    statistic: str | None = None
    note: str = ""

    @property
    def status(self) -> Status:
        if self.found is None:
            return "not judged"
        good = (self.low is None or self.found >= self.low) and (self.high is None or self.found <= self.high)
        return "met" if good else "missed"

    @property
    def limit(self) -> str:
        """The limit as people write it."""
        unit = " %" if self.statistic in _SHARES else ""
        if self.low is not None and self.high is not None:
            return f"{self.low:g} – {self.high:g}{unit}"
        return f"≤ {self.high:g}{unit}" if self.high is not None else f"≥ {self.low:g}{unit}"


@functools.lru_cache(maxsize=1)
def targets() -> dict[str, Any]:
    """The targets as they stand in the catalog. Raises CatalogError."""
    try:
        found = tomllib.loads(GATES.read_text())
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise CatalogError(f"{GATES.name} cannot be read ({error}).") from error
    for key in ("population", "targets", "coverage", "gate"):
        if key not in found:
            raise CatalogError(f"{GATES.name} has no [{key}].")
    return found


@functools.lru_cache(maxsize=1)
def populations() -> dict[str, Population]:
    """Population by name."""
    return {
        item["name"]: Population(item["name"], tuple(item["metrics"]), item.get("load"), item["what"]) for item in targets()["population"]
    }


@functools.lru_cache(maxsize=2)
def table(scores: Scores) -> tuple[dict[str, Any], ...]:
    """Every population on every split: the figures of `Scores.summary`, those of the analytic estimate as `before_…`, and targets."""
    aims = {(item["population"], split): aim for item in targets()["targets"] for split, aim in item.items() if split != "population"}
    lines = []
    for population in populations().values():
        for split in scores.splits:
            choice = population.choice(split)
            for line in scores.summary(choice):
                before = scores.baseline(choice, "analytic")
                aim = aims.get((population.name, split), {})
                lines.append(
                    {
                        "population": population.name,
                        "split": split,
                        **{key: item for key, item in line.items() if key not in ("slice", "place")},
                        "before_median": before["median"],
                        "before_mean": before["mean"],
                        "target_median": aim.get("median"),
                        "target_mean": aim.get("mean"),
                    }
                )
    return tuple(lines)


def gates(scores: Scores, lines: Iterable[Mapping[str, Any]] | None = None) -> list[Gate]:
    """Every gate. `lines` are those of `table`, where they are at hand."""
    found = {(line["population"], line["split"]): line for line in (table(scores) if lines is None else lines)}
    listed: list[Gate] = []
    for item in targets()["targets"]:
        for split in (key for key in item if key != "population"):
            line = found.get((item["population"], split), {})
            for statistic in ("median", "mean"):
                name = f"{item['population']}, unseen {split}, {statistic}"
                listed.append(_gate(OWN, name, line, statistic, None, item[split][statistic], item["population"], split))
    aim = targets()["coverage"]
    for name in aim["populations"]:
        for split in aim["splits"]:
            line = found.get((name, split), {})
            listed.append(_gate(COVERS, f"{name}, unseen {split}", line, "each_covered", aim["low"], aim["high"], name, split))
    return listed + [_other(scores, item, found) for item in targets()["gate"]]


def _gate(family: str, name: str, line: Mapping[str, Any], statistic: str, low: float | None, high: float | None,
          population: str, split: str) -> Gate:  # fmt: skip
    amount = line.get(statistic)
    if amount is not None and statistic in _SHARES:
        amount = 100 * amount
    note = "" if line else "no judged rows"
    return Gate(family, name, amount, low, high, line.get("n"), population, split, statistic, note)


def _other(scores: Scores, item: Mapping[str, Any], found: Mapping[tuple[str, str], Mapping[str, Any]]) -> Gate:
    low, high = item.get("at_least"), item.get("at_most")
    if "count" in item:
        return Gate(item["family"], item["name"], scores.counts[item["count"]], low, high, statistic="count")
    if "measured_as" in item:
        given = scores.fit.get("figures", {}).get(item["measured_as"])
        percent = "median" if item["measured_as"].endswith("_median") else "figure"
        if not given:
            return Gate(item["family"], item["name"], None, low, high, statistic=percent, note="the fit reports no such figure")
        return Gate(item["family"], item["name"], given["value"], low, high, given.get("n"), statistic=percent, note=item.get("note", ""))
    line = found.get((item["population"], item["split"]), {})
    if "size" in item:
        sliced = scores.summary(populations()[item["population"]].choice(item["split"], size=[item["size"]]))
        line = sliced[0] if sliced else {}
    found_gate = _gate(item["family"], item["name"], line, item["statistic"], low, high, item["population"], item["split"])
    return replace(found_gate, note=found_gate.note or item.get("note", ""))


def cards(listed: Iterable[Gate]) -> dict[str, int]:
    """total, met, missed, not_judged."""
    statuses = [gate.status for gate in listed]
    return {
        "total": len(statuses),
        "met": statuses.count("met"),
        "missed": statuses.count("missed"),
        "not_judged": statuses.count("not judged"),
    }


# ---- Thresholds


@dataclass(frozen=True, slots=True)
class Threshold:
    """An accepted error (a share), how far chance moves it, and the error now."""

    population: str
    split: str
    accepted: float
    noise: float
    now: float | None

    @property
    def broken(self) -> bool:
        return self.now is None or self.now > self.accepted + max(self.noise, LEAST_NOISE)


def thresholds(scores: Scores, lines: Iterable[Mapping[str, Any]] | None = None, path: Path | None = None) -> list[Threshold]:
    """Median errors of the honest splits against those last accepted; empty where none were. Raises RunError."""
    path = path or THRESHOLDS
    if not path.is_file():
        return []
    try:
        accepted = json.loads(path.read_text())["thresholds"]
        now = {(line["population"], line["split"]): line["median"] for line in (table(scores) if lines is None else lines)}
        return [
            Threshold(item["population"], item["split"], item["median"], item["noise"], now.get((item["population"], item["split"])))
            for item in accepted
        ]
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(f"{path.name} cannot be read; accept the scores again with `roofcast validate --accept`.") from error


def accept(scores: Scores, path: Path | None = None) -> int:
    """Takes the present errors of the honest splits as the thresholds; returns how many. Raises RunError."""
    found = []
    for item in targets()["targets"]:
        population = populations()[item["population"]]
        for split in HONEST:
            errors = scores.errors(population.choice(split))
            if not errors.empty:
                median = float(errors["ape"].median())
                noise = 2 * spread_of_median(errors["ape"].to_numpy(), errors["held_out"].to_numpy())
                found.append({"population": population.name, "split": split, "median": round(median, 5), "noise": round(noise, 5)})
    text = {"what": "Median absolute errors (shares) last accepted; noise is two standard errors over held-out groups",
            "fit": scores.fit.get("version"), "thresholds": found}  # fmt: skip
    write_whole(path or THRESHOLDS, json.dumps(text, indent=1) + "\n")
    return len(found)


def spread_of_median(errors: np.ndarray, groups: np.ndarray, draws: int = 200, seed: int = 0) -> float:
    """Standard error of the median when groups are drawn anew (bootstrap over groups, not rows: rows of a group go together)."""
    names, codes = np.unique(groups, return_inverse=True)
    order = np.argsort(errors, kind="stable")
    errors, codes = errors[order], codes[order]
    rng = np.random.default_rng(seed)
    medians = []
    for _ in range(draws):
        times = np.bincount(rng.integers(0, len(names), len(names)), minlength=len(names))
        upto = np.cumsum(times[codes])
        medians.append(errors[np.searchsorted(upto, upto[-1] / 2)])
    return float(np.std(medians))
