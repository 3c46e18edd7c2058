"""What a quantisation costs in quality: measured on the model, else on its family, else pooled over models, else unknown.

A loss is a share of a task's score (0.01 is one point of a hundred), always from the model's own full precision and never below 0.
A mean KL divergence is preferred, turned into a score; then scores of tasks; then perplexities, each against its own table's.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from core.catalog import models, quants
from core.catalog.files import source
from core.catalog.quality import Measured, measured, metrics, most_nats, score_per_nat, tiers
from core.errors import RoofcastError
from core.formulas.quality import mean_loss, nats_of_perplexities, never_better, relative_score_lost, score_lost, score_of_nats
from core.quantity import Quantity, total, value
from core.resolve import name_keys

FULL = "full precision"
Level = Literal["full precision", "as published", "measured", "family", "pooled", "unknown"]
LEVELS: tuple[Level, ...] = ("full precision", "as published", "measured", "family", "pooled", "unknown")
_PREFERRED = ("kld", "accuracy", "relative", "log_ratio", "perplexity")
_BEYOND = "unacceptable"
_FEW = 5  # models; below them the spread is that of all, else from p10 to p90
_SURE = 1.96
_FULL = ("f32", "f16", "bf16")  # kernel classes of full precision
_SAME_SIZE = 0.02  # of ln parameters


@dataclass(frozen=True, slots=True)
class Quality:
    """A loss with where it is known from. `loss`, `low`, `high`: shares of a task's score, NaN where unknown."""

    model: str
    quant: str
    level: Level
    loss: Quantity | float
    low: float
    high: float
    rows: tuple[Measured, ...] = ()  # what stands behind the loss

    @property
    def tier(self) -> str:
        """negligible, acceptable, concerning, unacceptable, or unknown."""
        return tier_of(float(value(self.loss)))

    @property
    def on(self) -> tuple[str, ...]:
        """The models behind the loss, each once."""
        return tuple(dict.fromkeys(row.model for row in self.rows))

    @property
    def sentence(self) -> str:
        """What people are told: "Q4_K_M loses about 0.8 points of a task's score (…)." """
        if self.level == "full precision":
            return f"{self.quant} is full precision: nothing is lost."
        if self.level == "as published":
            return f"{self.quant} is how its makers publish the model: nothing is lost."
        if self.level == "unknown":
            return f"What {self.quant} loses was not measured on any model we know of."
        lost = points(float(value(self.loss)))
        said = f"{self.quant} loses about {lost}" if lost != "nothing" else f"{self.quant} loses nothing that was measured"
        span = "" if self.level == "measured" and self._divergence else f", {_span(self.low, self.high)}"
        return f"{said} of a task's score ({self._where}{self._divergence}{span}): {self.tier}."

    @property
    def _where(self) -> str:
        names = [name.rsplit("/", 1)[-1] for name in self.on]
        if self.level == "pooled":
            whose = f"{len(names)} other models" if len(names) > 1 else f"{names[0]} alone"
            return f"measured on {whose}, none of this family"
        also = ", of the same family" if self.level == "family" else ""
        return f"measured on {names[0]}{also}"

    @property
    def _divergence(self) -> str:
        found = [row.value for row in self.rows if row.metric == "kld"]
        return f", KLD {np.mean(found):.2g} nats" if found and self.level != "pooled" else ""


def quality_dict(found: Quality) -> dict[str, Any]:
    """Plain data for JSON: losses in points of a task's score (None unknown), and every measurement behind them."""

    def in_points(loss: float) -> float | None:
        return None if math.isnan(loss) else round(100 * loss, 3)

    behind = [
        {"model": row.model, "quant": row.named or row.quant, "metric": metrics()[row.metric].title, "value": row.value,
         "baseline": row.baseline, "source": source(row.source).title, "url": source(row.source).url,
         "licence": source(row.source).licence}
        for row in found.rows
    ]  # fmt: skip
    return {
        "quant": found.quant,
        "level": found.level,
        "tier": found.tier,
        "loss_points": in_points(float(value(found.loss))),
        "low_points": in_points(found.low),
        "high_points": in_points(found.high),
        "sentence": found.sentence,
        "measurements": behind,
    }


def points(loss: float) -> str:
    """A loss as people read it: "0.8 points", "1 point", "nothing"."""
    amount = f"{100 * loss:.1f}" if loss < 0.0995 else f"{100 * loss:.0f}"
    return "nothing" if float(amount) == 0 else f"{amount} points"


def _span(low: float, high: float) -> str:
    first, last = (f"{100 * end:.1f}" if high < 0.0995 else f"{100 * end:.0f}" for end in (low, high))
    return f"{first} to {last} points"


def tier_of(loss: float) -> str:
    """The tier of a loss; a bound belongs to the worse tier."""
    if math.isnan(loss):
        return "unknown"
    return next((name for name, bound in tiers().items() if loss < bound), _BEYOND)


# ---- The ladder


@functools.lru_cache(maxsize=4096)
def quality(model: str, quant: str) -> Quality:
    """What `quant` costs `model`. Both are ids or names of the catalog; a model that the catalog lacks is known by its name alone.

    Raises CatalogError for a quantisation that is not in the catalog.
    """
    scheme = quants.quant(quant)
    if scheme.kernel_class in _FULL:
        return Quality(model, scheme.id, "full precision", 0.0, 0.0, 0.0)
    if scheme.kernel_class == _native_kernel(model):
        return Quality(model, scheme.id, "as published", 0.0, 0.0, 0.0)
    return looked_up(_exact(model), scheme.id)


def looked_up(model: str, quant: str, without: frozenset[str] = frozenset()) -> Quality:
    """As `quality` for exact ids, from measurements alone; those on models in `without` are not looked at."""
    known = {name: rows for name, rows in _usable().get(quant, {}).items() if name not in without}
    if model in known:
        return _answer(model, quant, "measured", [known[model]])
    family, size = family_of(model), _size(model)
    kin = [rows for name, rows in known.items() if rows[0].family == family]
    if kin:
        nearest = min(kin, key=lambda rows: (abs(_size(rows[0].model) - size), rows[0].model))
        return _answer(model, quant, "family", [nearest], kin if len(kin) > 1 else list(known.values()))
    if known:
        return _answer(model, quant, "pooled", list(known.values()))
    return Quality(model, quant, "unknown", math.nan, math.nan, math.nan)


def losses(pairs: Iterable[tuple[str, str]]) -> dict[str, np.ndarray]:
    """Columns for many (model, quant): loss, low, high (shares, NaN unknown) and level (place in LEVELS). Raises as `quality`."""
    found = [quality(model, quant) for model, quant in pairs]
    columns = {name: np.array([float(value(getattr(one, name))) for one in found]) for name in ("loss", "low", "high")}
    return {**columns, "level": np.array([LEVELS.index(one.level) for one in found], dtype=int)}


def siblings(model: str) -> frozenset[str]:
    """Measured models of the same family and size, itself among them: finetunes, which lose alike."""
    family, size = family_of(model), _size(model)
    return frozenset(row.model for row in measured() if row.family == family and abs(_size(row.model) - size) < _SAME_SIZE) | {model}


def composite(model: str, quant: str) -> Measured | None:
    """The capacity planner's score of this model and quantisation, None where it has none."""
    wanted, stored = _exact(model), quants.quant(quant)
    for row in measured():
        same = row.quant == stored.id or (stored.kernel_class in _FULL[1:] and quants.quant(row.quant).kernel_class in _FULL[1:])
        if row.metric == "composite" and row.model == wanted and same:
            return row
    return None


def _answer(model: str, quant: str, level: Level, each: Sequence[Sequence[Measured]], others: Sequence[Sequence[Measured]] = ()) -> Quality:
    """The mean over models, each by its own rows. The spread is that of one model's measurements, else of `others` or the models."""
    alone = [_loss_of(rows) for rows in each]
    loss = alone[0].loss if len(alone) == 1 else _mean([one.loss for one in alone], f"loss of {quant}, mean of {len(alone)} models")
    ends = [alone[0].low, alone[0].high] if len(alone) == 1 else []
    amounts = [float(value(one.loss)) for one in ([_loss_of(rows) for rows in others] or alone)]
    if len(amounts) > 1:
        ends += list(np.quantile(amounts, (0.1, 0.9)) if len(amounts) >= _FEW else (min(amounts), max(amounts)))
    named = never_better(loss=loss, named=f"loss of {quant} on {model.rsplit('/', 1)[-1]}")
    behind = tuple(row for rows in each for row in rows)
    return Quality(model, quant, level, named, max(float(min(ends)), 0.0), max(float(max(ends)), 0.0), behind)


@dataclass(frozen=True, slots=True)
class _Loss:
    loss: Any
    low: float
    high: float


def _loss_of(rows: Sequence[Measured]) -> _Loss:
    """The loss that the rows of one model and quantisation tell, and how sure they are."""
    parts = [_row_loss(row) for row in rows]
    loss = parts[0].loss if len(parts) == 1 else _mean([part.loss for part in parts], f"mean of {len(parts)} measurements")
    middle = [float(value(part.loss)) for part in parts]
    low = min([float(np.mean([part.low for part in parts])), *middle])
    high = max([float(np.mean([part.high for part in parts])), *middle])
    return _Loss(loss, low, high)


def _row_loss(row: Measured) -> _Loss:
    kind = metrics()[row.metric].kind
    if kind in ("accuracy", "relative"):
        loss = (
            relative_score_lost(relative=row.cited) if kind == "relative" else score_lost(baseline=row.cited_baseline, quantised=row.cited)
        )
        middle, sure = float(value(loss)), _half_width(row)
        return _Loss(loss, middle - sure, middle + sure)
    rate = score_per_nat()
    if kind == "perplexity":
        nats = nats_of_perplexities(quantised=row.cited, baseline=row.cited_baseline, named="divergence by perplexities")
    else:
        nats = row.cited
    loss = score_of_nats(nats=nats, score_per_nat=rate, most=most_nats(), named=f"score lost, {row.quant}")
    source = rate.source
    assert source is not None and source.low is not None and source.high is not None
    amount = min(float(value(nats)), most_nats())
    return _Loss(loss, amount * source.low, amount * source.high)


def _half_width(row: Measured) -> float:
    """Half of a 95 % interval of a score: as stated, else of so many right and wrong answers."""
    if row.uncertainty is not None:
        return row.uncertainty
    asked = metrics()[row.metric].questions
    share = row.value if metrics()[row.metric].kind == "accuracy" else 0.5
    return _SURE * math.sqrt(share * (1 - share) / asked) if asked else 0.0


def _mean(parts: Sequence[Any], name: str) -> Any:
    return mean_loss(losses=total(parts, "sum of losses"), count=len(parts), named=name)


# ---- What is measured, and by what it is found


@functools.cache
def _usable() -> dict[str, dict[str, tuple[Measured, ...]]]:
    """Quantisation → model → the rows that tell its loss: of the preferred kind, of the broadest score in each source."""
    every: dict[tuple[str, str], list[Measured]] = {}
    for row in measured():
        if metrics()[row.metric].kind in _PREFERRED and not row.confounded:
            every.setdefault((row.quant, row.model), []).append(row)
    found: dict[str, dict[str, tuple[Measured, ...]]] = {}
    for (quant, model), rows in every.items():
        kind = min((metrics()[row.metric].kind for row in rows), key=_PREFERRED.index)
        alike = [row for row in rows if metrics()[row.metric].kind == kind]
        broadest = {source: max(metrics()[r.metric].rank for r in alike if r.source == source) for source in {r.source for r in alike}}
        found.setdefault(quant, {})[model] = tuple(row for row in alike if metrics()[row.metric].rank == broadest[row.source])
    return found


@functools.lru_cache(maxsize=4096)
def family_of(model: str) -> str:
    """A model's line and generation by its name: "llama 3" of Llama-3.1-8B-Instruct, "qwen 2" of Qwen2.5-7B."""
    words = name_keys(model)[1].split("-")
    line: list[str] = []
    for word in words:
        if word[0].isdigit():
            sized = word[-1].isalpha()
            return " ".join([*line, *([] if sized else [word.split(".")[0]])])
        line.append(word)
    return " ".join(line)


@functools.lru_cache(maxsize=4096)
def _size(model: str) -> float:
    """ln of the parameters; 0 for a model that is not in the catalog."""
    try:
        return math.log(models.ir(model).parameters)
    except RoofcastError:
        return 0.0


def _exact(model: str) -> str:
    try:
        return models.model(model).id.split("@")[0].split("?")[0]
    except RoofcastError:
        return model


def _native_kernel(model: str) -> str | None:
    try:
        own = models.ir(model).native_quant
        return quants.quant(own).kernel_class if own else None
    except RoofcastError:
        return None
