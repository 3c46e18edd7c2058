"""Measured losses of quality, from data/catalog/quality: who measured what of which quantisation of which model."""

from __future__ import annotations

import csv
import functools
import statistics
from collections.abc import Mapping
from typing import Literal

from pydantic import Field, ValidationError

from core.catalog.files import CATALOG, CatalogRecord, read, record, source
from core.errors import CatalogError
from core.quantity import Quantity, leaf

Kind = Literal["kld", "accuracy", "relative", "log_ratio", "perplexity", "composite", "other"]
FOLDER = CATALOG / "quality"
MEASURED = FOLDER / "measured.csv"


class Metric(CatalogRecord):
    """What was measured. `questions`: how many answers a score stands on, where its rows do not say how sure they are."""

    id: str
    title: str
    kind: Kind
    rank: int = 0
    questions: int | None = Field(default=None, gt=0)


class Measured(CatalogRecord):
    """One row: scores as shares of 1, divergences in nats a token, perplexities as they are."""

    model: str  # id in the catalog, or as published where the catalog lacks it
    family: str
    quant: str  # id in the catalog
    metric: str
    value: float
    baseline: float | None = None  # the same model in `baseline_quant`, by the same people with the same metric
    baseline_quant: str = ""  # empty: full precision
    uncertainty: float | None = Field(default=None, ge=0)  # half of a 95 % interval, unit of the value
    named: str = ""  # the quantisation as the source calls it, where that says more
    confounded: bool = False  # the baseline is another model: shown, never turned into a loss
    source: str
    place: str = ""
    note: str = ""

    @property
    def cited(self) -> Quantity:
        """The value as a cited leaf."""
        return self._leaf(self.value, self.named or self.quant)

    @property
    def cited_baseline(self) -> Quantity:
        """What it is held against, as a cited leaf. Raises CatalogError where there is none."""
        if self.baseline is None:
            raise CatalogError(f"The {self.metric} of {self.model} in {self.quant} has no baseline.")
        return self._leaf(self.baseline, self.baseline_quant or "full precision")

    def _leaf(self, amount: float, what: str) -> Quantity:
        note = "; ".join(filter(None, (self.place, self.note, source(self.source).note)))
        name = f"{metrics()[self.metric].title} of {self.model.rsplit('/', 1)[-1]}, {what}"
        return leaf(name, amount, "", "measured", source(self.source, note=note or None))


@functools.cache
def metrics() -> Mapping[str, Metric]:
    """Every metric by its id."""
    raw = read(FOLDER / "quality.toml")["metric"]
    return {key: record(Metric, {"id": key, **entry}, f"quality.toml, metric '{key}'") for key, entry in raw.items()}


@functools.cache
def tiers() -> Mapping[str, float]:
    """Tier → largest loss in it, from small to large; beyond the last a loss is unacceptable."""
    return {name: bound for name, bound in read(FOLDER / "quality.toml")["tiers"].items() if name != "source"}


@functools.cache
def measured() -> tuple[Measured, ...]:
    """Every row, in the file's order. Raises CatalogError where one holds nonsense."""
    try:
        with MEASURED.open(encoding="utf-8", newline="") as file:
            lines = list(csv.DictReader(file))
    except OSError as error:
        raise CatalogError(f"The catalog file {MEASURED.name} cannot be read ({error}); restore it from the repository.") from error
    found = []
    for number, line in enumerate(lines, 2):
        try:
            row = Measured.model_validate({key: cell for key, cell in line.items() if cell != ""})
        except ValidationError as error:
            first = error.errors()[0]
            raise CatalogError(f"{MEASURED.name}, line {number}: {'.'.join(map(str, first['loc']))} is wrong ({first['msg']}).") from error
        if row.metric not in metrics():
            raise CatalogError(f"{MEASURED.name}, line {number}: no metric '{row.metric}' in quality.toml; give one of them.")
        source(row.source)
        found.append(row)
    return tuple(found)


@functools.cache
def most_nats() -> float:
    """The divergence from which answers are guesses, nats a token."""
    return float(read(FOLDER / "quality.toml")["translation"]["most"])


@functools.cache
def score_per_nat() -> Quantity:
    """Share of a task's score that a nat a token costs, as a fitted leaf with its range over quantisations."""
    told = read(FOLDER / "quality.toml")["translation"]
    nats = {(row.quant, "imatrix" in row.named): row.value for row in measured() if row.model == told["nats_of"] and row.metric == "kld"}
    ratios = []
    for row in measured():
        if row.model != told["score_of"] or row.metric != told["metric"] or row.baseline is None:
            continue
        near = nats.get((row.quant, True), nats.get((row.quant, False)))  # files of that date were made with a matrix
        if near is not None and told["least"] <= near <= told["most"]:
            ratios.append((row.baseline - row.value) / near)
    if len(ratios) < 3:
        raise CatalogError("quality.toml, translation: fewer than 3 quantisations have both metrics; name other models.")
    ends = statistics.quantiles(ratios, n=10, method="inclusive")
    cited = source("points-per-nat", low=ends[0], high=ends[-1], note=f"the median of {len(ratios)} quantisations")
    return leaf("score lost per nat", statistics.median(ratios), "", "fitted", cited)
