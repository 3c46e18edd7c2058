"""Quantile forests as plain arrays: fitted with quantile-forest, shipped and answered without any pickled object.

A leaf keeps the residuals that fell into it; a quantile is that of all leaves that a row falls into, every tree weighing alike
(Meinshausen 2006).
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

QUANTILES = (0.1, 0.5, 0.9)
TREES = 60
LEAF = 1  # runs in a leaf, at least
KEPT = 3  # residuals kept of a leaf, spread over its order
FEATURES_TRIED = 0.35
_NO_CUT = -2.0  # threshold of a leaf, as scikit-learn has it


@dataclass(frozen=True, slots=True)
class Forest:
    """Arrays of all trees end to end. `left`, `right`: child nodes, -1 in a leaf; `leaf`: a leaf's row in `held`, shape
    (leaves, KEPT): its residuals in ascending order."""

    roots: np.ndarray
    feature: np.ndarray
    threshold: np.ndarray
    left: np.ndarray
    right: np.ndarray
    leaf: np.ndarray
    held: np.ndarray

    def arrays(self) -> dict[str, np.ndarray]:
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    def packed(self) -> dict[str, np.ndarray]:
        """What cannot be worked out: `feature`, -1 in a leaf, `threshold` of the other nodes, `roots` and `held`.

        Nodes stand in the order of a walk that goes left first, so the rest follows from which of them are leaves.
        """
        inner = self.left >= 0
        feature = np.where(inner, self.feature, -1).astype(np.int16)
        return {"roots": self.roots, "feature": feature, "threshold": self.threshold[inner], "held": self.held}

    @classmethod
    def unpacked(cls, roots: np.ndarray, feature: np.ndarray, threshold: np.ndarray, held: np.ndarray) -> Forest:
        """The forest of `packed`. Raises ValueError where the arrays are no whole trees."""
        nodes = np.arange(len(feature), dtype=np.int32)
        inner = feature >= 0
        level = np.cumsum(np.where(inner, 1, -1))  # falls by one over each whole tree, and over each child's part of one
        if not len(feature) or level[-1] != -len(roots) or len(threshold) != inner.sum() or len(held) != (~inner).sum():
            raise ValueError("its trees are not whole")
        at = nodes[inner].astype(np.int64)
        low, count = int(level.min()) - 1, len(nodes)
        places = np.sort((level - low) * count + nodes)
        ends = places[np.searchsorted(places, (level[at] - 1 - low) * count + at)] % count  # the last node of each left child
        left, right, leaf = (np.full(count, -1, np.int32), np.full(count, -1, np.int32), np.zeros(count, np.int32))
        left[inner], right[inner], leaf[~inner] = at + 1, ends + 1, np.arange(len(held))
        cuts = np.full(count, _NO_CUT, np.float32)
        cuts[inner] = threshold
        return cls(roots, np.where(inner, feature, 0).astype(np.int16), cuts, left, right, leaf, held)

    def leaves(self, features: np.ndarray) -> np.ndarray:
        """Leaf of each row in each tree, shape (rows, trees)."""
        x = np.ascontiguousarray(features, dtype=np.float32)
        rows, trees = len(x), len(self.roots)
        node = np.repeat(self.roots, rows)  # tree by tree, whose nodes lie together
        row = np.tile(np.arange(rows), trees)
        on_the_way = np.arange(len(node))
        for _ in range(200):
            at = node[on_the_way]
            left = self.left[at]
            inner = left >= 0
            on_the_way, at, left = on_the_way[inner], at[inner], left[inner]
            if not len(at):
                break
            goes_left = x[row[on_the_way], self.feature[at]] <= self.threshold[at]
            node[on_the_way] = np.where(goes_left, left, self.right[at])
        return self.leaf[node].reshape(trees, rows).T

    def quantiles(self, features: np.ndarray, quantiles: tuple[float, ...] = QUANTILES) -> np.ndarray:
        """Residuals at these quantiles, shape (rows, quantiles)."""
        found = np.empty((len(features), len(quantiles)))
        for first in range(0, len(features), 2048):
            some = self.held[self.leaves(features[first : first + 2048])]
            found[first : first + 2048] = np.quantile(some.reshape(len(some), -1), quantiles, axis=1, method="linear").T
        return found


def fit_forest(
    features: np.ndarray, residual: np.ndarray, weight: np.ndarray, seed: int = 0, *, trees: int = TREES, leaf: int = LEAF
) -> Forest:
    """A forest on residuals. Deterministic. What quantile-forest adds to a fitted forest, the arrays hold themselves."""
    from sklearn.ensemble import ExtraTreesRegressor

    return _fit(ExtraTreesRegressor, features, residual, weight, seed, trees, leaf)[0]


def fit_with_unseen(features: np.ndarray, residual: np.ndarray, weight: np.ndarray, seed: int = 0) -> tuple[Forest, np.ndarray]:
    """A forest on residuals, and the median that each row gets from trees that have not seen it (NaN where all have)."""
    from quantile_forest import ExtraTreesQuantileRegressor

    forest, model = _fit(ExtraTreesQuantileRegressor, features, residual, weight, seed, TREES, LEAF, max_samples_leaf=None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # rows that every tree has seen get NaN, as documented
        unseen = np.asarray(model.predict(np.ascontiguousarray(features, dtype=np.float32), quantiles=[0.5], oob_score=True)).reshape(-1)
    return forest, unseen


def _fit(
    kind: Any, features: np.ndarray, residual: np.ndarray, weight: np.ndarray, seed: int, trees: int, leaf: int, **more: Any
) -> tuple[Forest, Any]:
    x = np.ascontiguousarray(features, dtype=np.float32)
    model = kind(
        n_estimators=trees, min_samples_leaf=leaf, max_features=FEATURES_TRIED, bootstrap=True, random_state=seed, n_jobs=2, **more
    )
    model.fit(x, residual, sample_weight=weight)
    return _flatten(model, x, residual), model


def _flatten(model: Any, x: np.ndarray, residual: np.ndarray) -> Forest:
    parts: dict[str, list[np.ndarray]] = {name: [] for name in ("feature", "threshold", "left", "right", "leaf", "held")}
    roots, nodes, leaves = [], 0, 0
    for tree, in_bag in zip(model.estimators_, model.estimators_samples_, strict=True):
        t = tree.tree_
        inner = t.children_left >= 0
        ends = np.flatnonzero(~inner)
        place = np.full(t.node_count, -1)
        place[ends] = np.arange(len(ends))
        fell = place[tree.apply(x[in_bag])]
        parts["held"].append(_keep(fell, residual[in_bag], len(ends)))
        parts["feature"].append(np.where(inner, t.feature, 0))
        parts["threshold"].append(t.threshold)
        parts["left"].append(np.where(inner, t.children_left + nodes, -1))
        parts["right"].append(np.where(inner, t.children_right + nodes, -1))
        parts["leaf"].append(np.where(inner, 0, place + leaves))
        roots.append(nodes)
        nodes, leaves = nodes + t.node_count, leaves + len(ends)
    kinds = {"feature": np.int16, "threshold": np.float32, "left": np.int32, "right": np.int32, "leaf": np.int32, "held": np.float16}
    joined: Mapping[str, np.ndarray] = {name: np.concatenate(part).astype(kinds[name]) for name, part in parts.items()}
    return Forest(roots=np.array(roots, dtype=np.int32), **joined)


def _keep(leaf: np.ndarray, residual: np.ndarray, leaves: int) -> np.ndarray:
    """KEPT residuals of each leaf, evenly spread over its order; shape (leaves, KEPT)."""
    order = np.lexsort((residual, leaf))
    leaf, residual = leaf[order], residual[order]
    first = np.searchsorted(leaf, np.arange(leaves))
    size = np.maximum(np.searchsorted(leaf, np.arange(leaves), side="right") - first, 1)
    at = (np.arange(KEPT)[None, :] + 0.5) / KEPT * size[:, None] - 0.5
    low = np.clip(np.floor(at), 0, size[:, None] - 1)
    high = np.minimum(low + 1, size[:, None] - 1)
    share = np.clip(at - low, 0, 1)
    held = residual[np.minimum(first[:, None] + low.astype(int), len(residual) - 1)]
    above = residual[np.minimum(first[:, None] + high.astype(int), len(residual) - 1)]
    return np.asarray(held * (1 - share) + above * share)
