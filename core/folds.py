"""Honest splits: what is left out together, never rows of one sweep. Groups are by geometry, die and origin, not by name."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from core.features import Traits

# Split → number of folds. "row" is the easy one: neighbours of a tested run stay in training.
FOLDS = {"row": 5, "configuration": 5, "model": 10, "device": 10, "device family": 10, "source": 10, "time": 1}
HONEST = ("configuration", "model", "device", "source")
NEW_FROM = "2026"  # the time split tests runs from this year on


def groups(lines: pd.DataFrame, traits: Sequence[Traits], versions: Sequence[str]) -> dict[str, np.ndarray]:
    """For each split the group of every line (see `core.observations`). `versions`: of each scenario's software."""
    at = lines["place"].to_numpy()

    def named(names: list[str]) -> np.ndarray:
        return np.array(names, dtype=object)[at]

    configuration = [
        "|".join((t.device, str(t.count), t.model, t.quant, t.runtime, t.backend, version))
        for t, version in zip(traits, versions, strict=True)
    ]
    return {
        "row": lines["run_id"].astype(str).to_numpy(dtype=object),
        "configuration": named(configuration),
        "model": named([t.geometry for t in traits]),
        "device": named([t.device for t in traits]),
        "device family": named([t.family for t in traits]),
        "source": lines["origin"].astype(str).to_numpy(dtype=object),
        "time": lines["date"].str[:4].to_numpy(dtype=object),
    }


def assign(group: np.ndarray, split: str, seed: int = 0) -> np.ndarray:
    """The fold in which each line is tested; -1 where it only trains (the time split's older runs)."""
    if split == "time":
        return np.where((group >= NEW_FROM) & (group != ""), 0, -1)
    names = sorted(set(group.tolist()))
    order = np.random.default_rng(seed).permutation(len(names))
    fold = {names[name]: place % FOLDS[split] for place, name in enumerate(order)}
    return np.array([fold[name] for name in group])
