"""The fitted correction: constants, forests on what they leave, and intervals that are calibrated on groups left out.

`Correction.of(scenarios)` gives what the estimator needs of it: scales of the steps' terms, factors on the two steps and on the
first token, and the width of each metric's interval. It reads no runs and never calls the estimator's answers back into a fit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from core.answer import Support
from core.constants import Constants
from core.features import RIVALS, TERMS, Table, Traits, total_of
from core.forests import Forest
from core.support import NEARNESS, TOGETHER, Known

PARTS = ("decode", "prefill", "first_token")
# Metrics whose errors behave alike share the calibration of their intervals.
CLASSES = {
    "decode": "decode", "prefill": "prefill", "TTFT": "TTFT", "TPOT": "served", "output rate": "served", "total rate": "served",
    "latency": "served",
}  # fmt: skip
NARROWEST = 0.02  # log half-width below which no interval goes
_ONE_HOT = ("runtime", "backend", "family", "kernel_class", "attention", "quant")


@dataclass(frozen=True, slots=True)
class Encoding:
    """Columns of the forests' feature matrix: kinds that had their own column at the fit."""

    kinds: Mapping[str, tuple[str, ...]]

    @classmethod
    def of(cls, traits: Sequence[Traits], least: int = 20) -> Encoding:
        """Kinds of which at least so many scenarios were seen."""
        found = {}
        for name in _ONE_HOT:
            kinds, counts = np.unique([getattr(t, name) for t in traits], return_counts=True)
            found[name] = tuple(str(kind) for kind, count in zip(kinds, counts, strict=True) if count >= least)
        return cls(found)

    def matrix(self, table: Table, scales: Mapping[str, np.ndarray]) -> np.ndarray:
        """Physical features first, then kinds; shape (scenarios, features), finite."""
        columns: list[np.ndarray] = []
        with np.errstate(all="ignore"):
            for terms in (table.decode, table.prefill):
                before, after = total_of(terms), total_of(terms, scales)
                columns += [np.log(before), np.log(after / before)]
                shared = {term: terms[term] * scales[term] for term in TERMS}
                rivals = {term for pair in RIVALS for term in pair}
                columns += [np.maximum(shared[a], shared[b]) / after for a, b in RIVALS]
                columns += [shared[term] / after for term in TERMS if term not in rivals]
                columns += [np.log((shared["compute"] + shared["experts_compute"]) / (shared["weights"] + shared["experts"]))]
        columns += list(table.numbers.values())
        columns.append(np.array([t.age for t in table.traits]))
        columns.append(np.array([float(t.unified) for t in table.traits]))
        for name, kinds in self.kinds.items():
            held = np.array([getattr(t, name) for t in table.traits])
            columns += [(held == kind).astype(float) for kind in kinds]
        x = np.column_stack(columns)
        return np.clip(np.nan_to_num(x, nan=0.0, posinf=60.0, neginf=-60.0), -1e6, 1e6)


@dataclass(frozen=True, slots=True)
class Factors:
    """What a correction says of some scenarios, arrays along them.

    `scales`: by term. `steps[part]`: log factors, shape (scenarios, 3): low, middle, high. `spread`: see `Bands`.
    """

    scales: Mapping[str, np.ndarray]
    steps: Mapping[str, np.ndarray]
    evidence: np.ndarray


@dataclass(frozen=True, slots=True)
class Core:
    """What is refitted for every fold: constants, forests, and what their runs have seen."""

    constants: Constants
    encoding: Encoding
    forests: Mapping[str, Forest]
    known: Known

    def factors(self, table: Table, trust: Mapping[str, Sequence[float]] | None = None) -> Factors:
        """`trust[part][nearness]`: the share of a forest's word that is taken, by how near the evidence is; all without."""
        scales = self.constants.scales(table.traits)
        x = self.encoding.matrix(table, scales)
        near = self.known.nearness(table.traits)
        steps = {}
        for part in PARTS:
            word = self.forests[part].quantiles(x) if part in self.forests else np.zeros((len(x), 3))
            share = np.ones(len(x)) if trust is None else np.asarray(trust[part])[near]
            middle = word[:, 1] * share
            # The forest's own spread stays whole: what is not believed of its middle is doubt, not knowledge.
            steps[part] = np.column_stack([middle + (word[:, 0] - word[:, 1]), middle, middle + (word[:, 2] - word[:, 1])])
        spread = np.column_stack([steps[part][:, 2] - steps[part][:, 0] for part in PARTS])
        return Factors(scales, steps, np.column_stack([self.known.evidence(table.traits), near, spread]))


EVIDENCE = len(TOGETHER) + 1 + len(PARTS)


@dataclass(frozen=True, slots=True)
class Bands:
    """How far an interval is widened beyond the three runs: forests on conformal scores, by class of metric and side.

    The score of a run is how far, in log, it lay beyond the low (high) run of the pipeline; its 90 % quantile given the evidence
    is added on that side. `shift[class]` makes it hold on groups left out of that fit too.
    """

    low: Mapping[str, Forest]
    high: Mapping[str, Forest]
    shift: Mapping[str, tuple[float, float]]

    def widen(self, kind: str, evidence: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Log widths to add below and above, arrays along the rows of `evidence`."""
        down, up = self.shift[kind]
        return self.low[kind].quantiles(evidence, (0.9,))[:, 0] + down, self.high[kind].quantiles(evidence, (0.9,))[:, 0] + up


@dataclass(frozen=True, slots=True)
class Correction:
    """A fitted version. `version` is the hash of what made it."""

    version: str
    core: Core
    trust: Mapping[str, Sequence[float]]
    bands: Bands
    facts: Mapping[str, Any] = field(default_factory=dict)

    def support(self, table: Table, at: int) -> Support:
        return self.core.known.support(table.traits[at], {name: column[at] for name, column in table.numbers.items()})


assert len(NEARNESS) == 5
