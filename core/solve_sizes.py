"""How many machines a candidate needs: the numbers that are worth a look, and the search for the fewest that hold."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from core.goal import Goal


def sizes(goal: Goal, most: int) -> np.ndarray:
    """Numbers of machines from one up to `most`, ascending: of several that leave each machine as many users the fewest."""
    many = np.arange(1, most + 1)
    if goal.request_rate_per_s is not None or goal.open_users:
        return many
    return np.unique(-(-goal.users // -(-goal.users // many)))


@dataclass(slots=True)
class Bracket:
    """Between which places of the sizes the fewest lies that holds, arrays along candidates. More machines never fail where fewer hold."""

    low: np.ndarray  # the most that is known to fail; -1: none is
    high: np.ndarray  # the fewest that is known to hold; beyond `top`: none is
    top: np.ndarray  # the most that there may be
    step: np.ndarray  # how far the next look goes where one side is unknown

    @classmethod
    def at(cls, place: np.ndarray, holds: np.ndarray, top: np.ndarray) -> Bracket:
        """After one look at a place each."""
        return cls(np.where(holds, -1, place), np.where(holds, place, top + 1), top.copy(), np.ones(len(place), dtype=int))

    @property
    def open(self) -> np.ndarray:
        """Places of the candidates whose number is not settled."""
        return np.flatnonzero(self.high - self.low > 1)

    def points(self, at: np.ndarray, many: int) -> np.ndarray:
        """Where to look next, `many` places for each candidate of `at` in ascending order: evenly between both sides, or ever
        farther from the known one."""
        low, high, top = (side[at][:, None] for side in (self.low, self.high, self.top))
        steps = self.step[at][:, None] * 2 ** np.arange(many)
        between = low + np.clip((high - low) * np.arange(1, many + 1) // (many + 1), 1, high - low - 1)
        down, up = np.maximum(high - steps[:, ::-1], 0), np.minimum(low + steps, top)
        return np.where(high > top, up, np.where(low < 0, down, between))

    def learn(self, at: np.ndarray, points: np.ndarray, holds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Takes in which points hold. Returns the candidates for which fewer hold now, and where that stands among the points laid
        end to end."""
        many = points.shape[1]
        first = np.where(holds.any(axis=1), holds.argmax(axis=1), many)
        better, worse = np.flatnonzero(first < many), np.flatnonzero(first > 0)
        self.low[at[worse]] = np.maximum(self.low[at[worse]], points[worse, first[worse] - 1])
        self.high[at[better]] = points[better, first[better]]
        self.step[at] *= 2**many
        return at[better], better * many + first[better]
