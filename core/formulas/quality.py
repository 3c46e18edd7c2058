"""What a quantisation loses, as a share of a task's score (0.01 is one point of a hundred)."""

from __future__ import annotations

import numpy as np

from core.quantity import formula
from core.units import Count


@formula("definition")
def score_lost(*, baseline: Count, quantised: Count) -> Count:
    """How much lower the quantised model scores than the same model before; below 0 where it happens to score higher."""
    return baseline - quantised


@formula("definition")
def relative_score_lost(*, relative: Count) -> Count:
    """A loss that is stated as a share of the model's own score: as a share of the whole scale it is at most this."""
    return relative * 1.0


@formula("definition")
def nats_of_perplexities(*, quantised: Count, baseline: Count) -> Count:
    """How much less likely, in nats a token, the quantised model finds the text: on the model's own text the KL divergence."""
    return np.log(quantised / baseline)


@formula("points-per-nat")
def score_of_nats(*, nats: Count, score_per_nat: Count, most: Count) -> Count:
    """What a divergence from the full-precision model costs in a task's score; from `most` nats on answers are guesses."""
    return np.minimum(nats, most) * score_per_nat


@formula("definition")
def mean_loss(*, losses: Count, count: Count) -> Count:
    """The mean of losses, each weighing the same."""
    return losses / count


@formula("definition")
def never_better(*, loss: Count) -> Count:
    """No quantisation is credited above its own full-precision baseline: a gain is chance, or another model."""
    return np.maximum(loss, 0.0)
