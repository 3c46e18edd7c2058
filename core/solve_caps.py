"""How many users at once, and with how much room each: the choices where a goal leaves them open."""

from __future__ import annotations

import numpy as np

from core.goal import Goal

AT_ONCE = 2 ** np.arange(11)  # sequences of one replica
_POWERS = 2 ** np.arange(40)

Arrays = dict[str, np.ndarray]


def rooms(goal: Goal, longest: int) -> np.ndarray:
    """Tokens of context to choose from, ascending: the least that is wanted, powers of two, and the longest of the model."""
    between = [room for room in _POWERS.tolist() if goal.context < room < longest]
    return np.unique([goal.context, *between, max(longest, goal.context)])


def capped(goal: Goal, longest: int, arrays: Arrays) -> tuple[Arrays, np.ndarray | None, np.ndarray | None]:
    """Candidates, once for each number of users at once and each room that the goal leaves open, which are the arrays after them.

    `None` where the goal says it: then the candidates are as they were.
    """
    batches = AT_ONCE if goal.open_users else None
    choices = rooms(goal, longest) if goal.objective == "context" else None
    each, size = (1 if batches is None else len(batches)) * (1 if choices is None else len(choices)), len(arrays["row"])
    wide = arrays if each == 1 else {name: np.repeat(places, each) for name, places in arrays.items()}
    batch = None if batches is None else np.tile(np.repeat(batches, each // len(batches)), size)
    room = None if choices is None else np.tile(choices, each // len(choices) * size)
    return wide, batch, room
