"""What a user's own runs add to a correction: their machine's shifts of the steps, and how much narrower its intervals are.

The shifts act on the factors of the two steps and of the first token, on scenarios of the machine alone; the width that stays of an
interval was measured by doing the same with machines that were left out (`core.calibrate_simulate`).
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from core.calibrate_kernel import points_of
from core.calibrate_prior import Posterior, Prior
from core.correction import FOLDER, Factors
from core.errors import CatalogError
from core.features import Table

FILE = "few_shot.json"
KNOTS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)  # of the doubt that is left
ASKING: dict[str, dict[str, float]] = {  # by class of interval: how much of it hangs on which step
    "decode": {"decode": 1.0},
    "prefill": {"prefill": 1.0},
    "first token": {"prefill": 1.0, "first": 1.0},
    "served": {"decode": 0.85, "prefill": 0.15},
}
PART_OF = {"decode": "decode", "prefill": "prefill", "first": "first_token"}  # step → part of the correction


@dataclass(frozen=True, slots=True)
class Narrowing:
    """By class of interval how much of its width stays, at KNOTS of the doubt that is left."""

    factors: Mapping[str, Sequence[float]]

    def at(self, kind: str, doubt: np.ndarray) -> np.ndarray:
        """Of each doubt; the whole width where nothing was learned."""
        return np.where(doubt < 1.0, np.interp(doubt, KNOTS, self.factors[kind]), 1.0)


@dataclass(frozen=True, slots=True)
class FewShot:
    """What was learned from machines that were left out. `version`: of the correction that left them out."""

    version: str
    prior: Prior
    narrowing: Narrowing


@functools.lru_cache(maxsize=2)
def few_shot(folder: Path = FOLDER) -> FewShot | None:
    """What ships of it; None where nothing is there. Raises CatalogError for a file that is none."""
    path = folder / FILE
    if not path.is_file():
        return None
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
        if tuple(plain["knots"]) != KNOTS or set(plain["narrowing"]) != set(ASKING):
            raise ValueError("its intervals are of another kind")
        return FewShot(plain["version"], Prior(plain["variances"], plain["noise"]), Narrowing(plain["narrowing"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CatalogError(f"{path} cannot be read ({error}); make it again with `python -m harness.few_shot`.") from error


@dataclass(frozen=True, slots=True)
class Own:
    """Own runs by device, as a correction holds them. `name`: hash of the runs; `runs`: how many of each device."""

    name: str
    machines: Mapping[str, Posterior]
    runs: Mapping[str, int]
    narrowing: Narrowing

    def applied(self, table: Table, factors: Factors) -> Factors:
        """The factors with this machine's shifts on the scenarios that run on it; others stay as they are, to the bit."""
        devices = np.array([traits.device for traits in table.traits], dtype=object)
        if not set(devices.tolist()) & set(self.machines):
            return factors
        shifts = {part: np.zeros(len(devices)) for part in PART_OF.values()}
        narrow = {kind: np.ones(len(devices)) for kind in ASKING}
        for device, known in self.machines.items():
            at = np.flatnonzero(devices == device)
            if not len(at):
                continue
            asked = points_of(table, at)
            for step, part in PART_OF.items():
                shifts[part][at] = known.shift(asked.asking(**{step: 1.0}))
            for kind, on in ASKING.items():
                narrow[kind][at] = self.narrowing.at(kind, known.doubt(asked.asking(**on)))
        steps = {part: step + shifts[part][:, None] if part in shifts else step for part, step in factors.steps.items()}
        return replace(factors, steps=steps, own=shifts, narrow=narrow)

    def runs_of(self, device: str) -> int:
        """How many own runs stand behind an answer on this device."""
        return self.runs.get(device, 0)
