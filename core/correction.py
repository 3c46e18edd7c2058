"""The fitted correction: constants, forests on what they leave, and intervals that are calibrated on groups left out.

`Correction.of(scenarios)` gives what the estimator needs of it: scales of the steps' terms, factors on the two steps and on the
first token, and the width of each metric's interval. It reads no runs and never calls the estimator's answers back into a fit.
"""

from __future__ import annotations

import functools
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from core.answer import Level
from core.catalog.files import DATA
from core.constants import Constants
from core.errors import CatalogError
from core.features import RIVALS, TERMS, Table, Traits, total_of
from core.forests import Forest
from core.support import Known

PARTS = ("decode", "prefill", "first_token")
FOLDER = DATA / "fitted"
# Metrics whose errors behave alike share the calibration of their intervals.
BAND_OF = {
    "decode_rate": "decode", "prefill_rate": "prefill", "ttft": "first token", "tpot": "served", "latency": "served",
    "output_rate": "served", "total_rate": "served",
}  # fmt: skip
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

    `scales`: by term. `steps[part]`: log factors, shape (scenarios, 3): low, middle, high. `near`: `Known.nearness`.
    """

    scales: Mapping[str, np.ndarray]
    steps: Mapping[str, np.ndarray]
    near: np.ndarray


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
        return Factors(scales, steps, near)


@dataclass(frozen=True, slots=True)
class Bands:
    """Conformal widths of intervals: class of metric → for each nearness of the evidence (log faster, log slower) than p50.

    They are the 10 % and 90 % quantiles of what runs did whose whole group was left out, each group weighing alike.
    """

    table: Mapping[str, Sequence[tuple[float, float]]]

    def widths(self, metric: str, near: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Log widths toward faster (below 0) and slower of an estimate's metric, arrays along `near`."""
        found = np.asarray(self.table[BAND_OF[metric]])[near]
        return found[:, 0], found[:, 1]


@dataclass(frozen=True, slots=True)
class Correction:
    """A fitted version. `version` is the hash of what made it."""

    version: str
    core: Core
    trust: Mapping[str, Sequence[float]]
    bands: Bands

    def support(self, table: Table, at: int) -> Level:
        """How much the runs know of a scenario as a whole."""
        return self.core.known.support(table.traits[at], {name: column[at] for name, column in table.numbers.items()}).level


def save(correction: Correction, folder: Path) -> None:
    """Writes correction.npz (forests) and correction.json (all else) into `folder`, each whole or not at all."""
    from core.predict import write_bytes_whole  # late: files of predictions are made with a correction

    arrays = {f"{part}.{name}": a for part, forest in correction.core.forests.items() for name, a in forest.arrays().items()}
    raw = io.BytesIO()
    np.savez_compressed(raw, **arrays)  # type: ignore[arg-type]
    core = correction.core
    plain = {
        "version": correction.version,
        "trust": correction.trust,
        "bands": correction.bands.table,
        "kinds": core.encoding.kinds,
        "effects": core.constants.effects,
        "runs": core.constants.counts,
        "known": {"counts": core.known.counts, "loads": core.known.loads},
    }
    folder.mkdir(parents=True, exist_ok=True)
    write_bytes_whole(folder / "correction.npz", raw.getvalue())
    write_bytes_whole(folder / "correction.json", (json.dumps(plain, indent=1, sort_keys=True) + "\n").encode())


@functools.lru_cache(maxsize=2)
def shipped(folder: Path = FOLDER) -> Correction | None:
    """The correction that comes with Roofcast, None where none is there. Raises CatalogError for files that are none."""
    if not (folder / "correction.json").is_file():
        return None
    try:
        plain = json.loads((folder / "correction.json").read_text(encoding="utf-8"))
        with np.load(folder / "correction.npz", allow_pickle=False) as stored:
            names = Forest.__dataclass_fields__
            forests = {part: Forest(**{n: stored[f"{part}.{n}"] for n in names}) for part in PARTS if f"{part}.roots" in stored}
        core = Core(
            Constants(plain["effects"], plain["runs"]),
            Encoding({name: tuple(kinds) for name, kinds in plain["kinds"].items()}),
            forests,
            Known(plain["known"]["counts"], plain["known"]["loads"]),
        )
        return Correction(plain["version"], core, plain["trust"], Bands(plain["bands"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CatalogError(f"The correction in {folder} cannot be read ({error}); make it again with roofcast validate --full.") from error
