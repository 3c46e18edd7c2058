"""The fitted correction: constants, forests on what they leave, and intervals that are calibrated on groups left out.

`Correction.of(scenarios)` gives what the estimator needs of it: scales of the steps' terms, factors on the two steps and on the
first token, and the width of each metric's interval. It reads no runs and never calls the estimator's answers back into a fit.
"""

from __future__ import annotations

import functools
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from core.answer import Level
from core.bands import Bands
from core.catalog.files import DATA
from core.constants import Constants
from core.errors import CatalogError
from core.features import RIVALS, TERMS, Table, Traits, total_of
from core.forests import Forest
from core.support import NEARNESS, Known

if TYPE_CHECKING:
    from core.calibrate_own import Own

PARTS = ("decode", "prefill", "first_token")
FACTOR_OF = {"decode": "decode_factor", "prefill": "prefill_factor", "first_token": "ttft_factor"}  # the column it acts on
FOLDER = DATA / "fitted"
FELT = 0.05  # share of a step from which the host decides what is known
_ONE_HOT = ("runtime", "backend", "family", "kernel_class", "attention", "quant", "flavour")


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
        for name in _ONE_HOT:  # in this order however the kinds were read: a forest knows its features by position
            held = np.array([getattr(t, name) for t in table.traits])
            columns += [(held == kind).astype(float) for kind in self.kinds[name]]
        x = np.column_stack(columns)
        return np.clip(np.nan_to_num(x, nan=0.0, posinf=60.0, neginf=-60.0), -1e6, 1e6)


@dataclass(frozen=True, slots=True)
class Factors:
    """What a correction says of some scenarios, arrays along them.

    `scales`: by term. `steps[part]`: log factors, shape (scenarios, 3): low, middle, high. `near`: `Known.nearness`.
    `doubt`: what tells how far an estimate may be off, shape (scenarios, features). `terms[step]`: seconds of each term, scaled.
    Empty without own runs: `own[part]`, their part of the log factors; `narrow[kind]`, the share of an interval's width that stays.
    """

    scales: Mapping[str, np.ndarray]
    steps: Mapping[str, np.ndarray]
    near: np.ndarray
    doubt: np.ndarray
    terms: Mapping[str, Mapping[str, np.ndarray]]
    own: Mapping[str, np.ndarray] = field(default_factory=dict)
    narrow: Mapping[str, np.ndarray] = field(default_factory=dict)


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
        host = _host_shares(table, scales)
        near = np.where(np.maximum(*host.values()) > FELT, len(NEARNESS), self.known.nearness(table.traits))
        steps = {}
        for part in PARTS:
            word = self.forests[part].quantiles(x) if part in self.forests else np.zeros((len(x), 3))
            share = np.ones(len(x)) if trust is None else np.asarray(trust[part])[near]
            # A forest speaks of what the device does: no run with weights on the host was fitted.
            of_host = host["decode" if part == "decode" else "prefill"]
            middle = np.log(of_host + (1 - of_host) * np.exp(word[:, 1])) * share
            # The forest's own spread stays whole: what is not believed of its middle is doubt, not knowledge.
            steps[part] = np.column_stack([middle + (word[:, 0] - word[:, 1]), middle, middle + (word[:, 2] - word[:, 1])])
        spread = np.column_stack([steps[part][:, 2] - steps[part][:, 0] for part in PARTS])
        load = np.column_stack([table.numbers[name] for name in ("batch", "users", "prompt")])
        kinds = np.array([(t.age, t.audience == "server", t.backend == "cpu", t.unified) for t in table.traits], dtype=float)
        strange = near > NEARNESS.index("setup")  # first, for it has a factor of its own (core.bands)
        doubt = np.column_stack([strange, self.known.evidence(table.traits), near, spread, load, kinds.reshape(len(near), -1)])
        assumed = {"decode": table.decode, "prefill": table.prefill}
        terms = {step: {term: time * scales[term] for term, time in of.items()} for step, of in assumed.items()}
        return Factors(scales, steps, near, np.nan_to_num(doubt), terms)


def _host_shares(table: Table, scales: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The host's share of either step's time, arrays along the scenarios."""
    with np.errstate(all="ignore"):
        return {
            name: np.clip(np.nan_to_num(terms["host"] / total_of(terms, scales)), 0.0, 1.0)
            for name, terms in (("decode", table.decode), ("prefill", table.prefill))
        }


@dataclass(frozen=True, slots=True)
class Correction:
    """A fitted version. `version` is the hash of what made it; `own`: what a user's runs add to it."""

    version: str
    core: Core
    trust: Mapping[str, Sequence[float]]
    bands: Bands
    own: Own | None = None

    def factors(self, table: Table) -> Factors:
        """What it says of the scenarios of a table."""
        fleet = self.core.factors(table, self.trust)
        return fleet if self.own is None else self.own.applied(table, fleet)

    def support(self, table: Table, at: int) -> Level:
        """How much the runs know of a scenario as a whole."""
        return self.core.known.support(table.traits[at], {name: column[at] for name, column in table.numbers.items()}).level


def save(correction: Correction, folder: Path) -> None:
    """Writes correction.npz (forests) and correction.json (all else) into `folder`, each whole or not at all."""
    from core.predict import write_bytes_whole  # late: files of predictions are made with a correction

    forests = {**correction.core.forests, **{f"band {kind}": forest for kind, forest in correction.bands.forests.items()}}
    arrays = {f"{key}.{name}": a for key, forest in forests.items() for name, a in forest.packed().items()}
    raw = io.BytesIO()
    np.savez_compressed(raw, **arrays)  # type: ignore[arg-type]
    core = correction.core
    plain = {
        "version": correction.version,
        "trust": correction.trust,
        "bands": correction.bands.factors,
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

            def forest(key: str) -> Forest:
                return Forest.unpacked(**{name: stored[f"{key}.{name}"] for name in ("roots", "feature", "threshold", "held")})

            forests = {part: forest(part) for part in PARTS if f"{part}.roots" in stored}
            bands = Bands({kind: forest(f"band {kind}") for kind in plain["bands"]}, plain["bands"])
        core = Core(
            Constants(plain["effects"], plain["runs"]),
            Encoding({name: tuple(kinds) for name, kinds in plain["kinds"].items()}),
            forests,
            Known(plain["known"]["counts"], plain["known"]["loads"]),
        )
        return Correction(plain["version"], core, plain["trust"], bands)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CatalogError(f"The correction in {folder} cannot be read ({error}); make it again with roofcast validate --full.") from error
