"""How far the errors of one machine's runs go together: variances of the components, from runs that a fit had not seen.

The variances are the most likely ones (restricted to what `core.calibrate_kernel` lists, each held toward nothing) for the log
residuals of left-out groups, a group being one device of one origin. Lines that no component explains weigh less (Student-t).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from core.calibrate_kernel import Points, components, covariance, names, own_variance, stacked

METRICS = ("decode", "prefill", "TTFT", "TPOT", "latency", "output rate", "total rate")
FREEDOM = 4.0  # of the Student-t
FARTHEST = 2.5  # log residual at which one is cut
MOST_SHIFT = float(np.log(4.0))  # an own offset beyond four times is no calibration
FLOOR = 1e-4  # variance of noise, at least
SMALL = 3e-4  # variance below which a component is left out
_USUAL, _HOLD = -6.0, 0.02  # log variance toward which each is held, and how firmly
ROUNDS, STEPS = 2, 60


@dataclass(frozen=True, slots=True)
class Prior:
    """`variances` by component, `noise` by metric: of log residuals."""

    variances: Mapping[str, float]
    noise: Mapping[str, float]

    def noise_of(self, metrics: Sequence[str] | np.ndarray) -> np.ndarray:
        return np.array([self.noise[metric] for metric in metrics]) + FLOOR


@dataclass(frozen=True, slots=True)
class Group:
    """Lines of one machine: points, log residuals (slower above 0), metrics."""

    points: Points
    off: np.ndarray
    metrics: np.ndarray


@dataclass(frozen=True, slots=True)
class Posterior:
    """What some runs say of their machine: `weighed` and `inverse` solve the normal equations of `points`."""

    points: Points
    weighed: np.ndarray
    inverse: np.ndarray
    prior: Prior

    def shift(self, asked: Points) -> np.ndarray:
        """Log of how much slower the asked points are than the fleet's prediction, at most MOST_SHIFT either way."""
        return np.clip(covariance(asked, self.points, self.prior.variances) @ self.weighed, -MOST_SHIFT, MOST_SHIFT)

    def known(self, asked: Points) -> np.ndarray:
        """Variance of the asked points that the runs explain."""
        across = covariance(asked, self.points, self.prior.variances)
        return np.einsum("ij,jk,ik->i", across, self.inverse, across)

    def doubt(self, asked: Points) -> np.ndarray:
        """Standard deviation that is left of what it was without the runs, 1 where they say nothing; a run's own noise stays."""
        whole = own_variance(asked, self.prior.variances, of_run=True)
        with np.errstate(all="ignore"):
            left = np.sqrt(np.clip(whole - self.known(asked), 0.0, None) / whole)
        return np.where(whole > 0, np.clip(left, 0.0, 1.0), 1.0)


def posterior(group: Group, prior: Prior, rounds: int = 6) -> Posterior:
    """What a machine's lines say, each weighing less the less the others bear it out."""
    off = np.clip(group.off, -FARTHEST, FARTHEST)
    noise, between = prior.noise_of(group.metrics), covariance(group.points, group.points, prior.variances)
    weight = np.ones(len(off))
    inverse = np.linalg.inv(between + np.diag(noise))
    for _ in range(rounds if len(off) > 2 else 0):
        weight = _weights(inverse, inverse @ off)
        inverse = np.linalg.inv(between + np.diag(noise / weight))
    return Posterior(group.points, inverse @ off, inverse, prior)


def _weights(inverse: np.ndarray, weighed: np.ndarray) -> np.ndarray:
    """Student-t weights, from what each line is off when the others predict it."""
    own = np.diag(inverse)
    return np.minimum(1.0, (FREEDOM + 1) / (FREEDOM + weighed**2 / own))


def left_one_out(group: Group, prior: Prior) -> np.ndarray:
    """Log residual of each line as all runs but its own predict it: what calibrating is worth here, said honestly."""
    found = np.array(group.off, dtype=float)
    for run in np.unique(group.points.run):
        ours = group.points.run == run
        rest = np.flatnonzero(~ours)
        if len(rest):
            others = Group(group.points.take(rest), group.off[rest], group.metrics[rest])
            found[ours] -= posterior(others, prior).shift(group.points.take(np.flatnonzero(ours)))
    return found


def teaching(
    candidates: Points,
    targets: Points,
    noise: np.ndarray,
    prior: Prior,
    most: int,
    seen: Points | None = None,
    weight: np.ndarray | None = None,
) -> tuple[list[int], list[float]]:
    """Candidates in the order in which measuring them lessens the doubt about the targets most, each after those before it, and that
    doubt (standard deviation) before and after each.

    `noise`: variance of each candidate's line; `weight`: how much each target counts, None: all alike; `seen`: lines that are measured
    already, as precise as the candidates on average.
    """
    both = stacked([candidates, targets.questions()])
    counts = np.ones(len(targets)) if weight is None else weight
    held = covariance(both, both, prior.variances)
    if seen is not None and len(seen):
        across = covariance(both, seen, prior.variances)
        inner = covariance(seen, seen, prior.variances) + np.eye(len(seen)) * float(noise.mean())
        held = held - across @ np.linalg.solve(inner, across.T)
    n = len(candidates)
    own = own_variance(both, prior.variances)[n:]

    def doubt() -> float:
        return float(np.sqrt(np.average(np.clip(np.diag(held)[n:], 0.0, own), weights=counts)))

    order, doubts = list[int](), [doubt()]
    for _ in range(min(most, n)):
        whole = np.diag(held)[:n] + noise
        gain = (counts[:, None] * held[n:, :n] ** 2).sum(axis=0) / np.maximum(whole, 1e-9)
        gain[order] = -1.0
        best = int(np.argmax(gain))
        order.append(best)
        held = held - np.outer(held[:, best], held[:, best]) / whole[best]
        doubts.append(doubt())
    return order, doubts


# ---- Estimating it


def fit_prior(groups: Sequence[Group]) -> Prior:
    """The most likely variances. Each group counts by the root of its lines. Deterministic."""
    from scipy.optimize import minimize

    listed = names()
    place = {metric: n for n, metric in enumerate(METRICS)}
    held = []
    for group in groups:
        matrices = np.array([matrix for _, matrix in components(group.points, group.points)])
        off = np.clip(group.off, -FARTHEST, FARTHEST)
        held.append((matrices, off, np.array([place[m] for m in group.metrics]), len(off) ** -0.5))
    weights = [np.ones(len(off)) for _, off, _, _ in held]
    at = np.full(len(listed) + len(METRICS), -5.0)

    def loss(x: np.ndarray) -> tuple[float, np.ndarray]:
        variance = np.exp(x)
        total, slope = _HOLD * float(((x - _USUAL) ** 2).sum()), np.zeros_like(x)
        for (matrices, off, metric, counts), weight in zip(held, weights, strict=True):
            whole = np.tensordot(variance[: len(listed)], matrices, 1)
            whole[np.diag_indices(len(off))] += (variance[len(listed) + metric] + FLOOR) / weight
            inverse = np.linalg.inv(whole)
            weighed = inverse @ off
            total += counts * float(0.5 * off @ weighed + 0.5 * np.linalg.slogdet(whole)[1])
            change = inverse - np.outer(weighed, weighed)
            slope[: len(listed)] += counts * 0.5 * np.tensordot(matrices, change, 2)
            slope[len(listed) :] += counts * 0.5 * np.bincount(metric, np.diag(change) / weight, len(METRICS))
        return total, slope * variance + 2 * _HOLD * (x - _USUAL)

    for turn in range(ROUNDS):
        at = minimize(loss, at, jac=True, method="L-BFGS-B", bounds=[(-12, 2)] * len(at), options={"maxiter": STEPS}).x
        if turn < ROUNDS - 1:
            variance = np.exp(at)
            for n, (matrices, off, metric, _) in enumerate(held):
                whole = np.tensordot(variance[: len(listed)], matrices, 1)
                inverse = np.linalg.inv(whole + np.diag((variance[len(listed) + metric] + FLOOR) / weights[n]))
                weights[n] = _weights(inverse, inverse @ off)
    found = dict(zip((*listed, *METRICS), np.exp(at).round(6).tolist(), strict=True))
    return Prior({name: found[name] for name in listed if found[name] > SMALL}, {metric: found[metric] for metric in METRICS})
