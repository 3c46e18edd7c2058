"""Many different scenarios fast: those of one model and one kind of load share array passes.

`groups` sorts scenarios into such passes and `run` answers one; `numbers_of` gives the metrics of each scenario as
`core.estimate.numbers` does, and `candidates` those of combinations × numeric knobs.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from core.columns import columns, form, load_amounts, plain, stack, take
from core.errors import RoofcastError, ScenarioError
from core.ir import ModelIR
from core.machine import Columns
from core.memory import Fit
from core.pipeline import metrics_from, one_pass
from core.plan import Plan
from core.scenario import Arrival, Scenario, Workload
from core.serving import Served
from core.setting import settle

CHUNK = 8192  # scenarios per array pass: arrays of this size stay in the cache

DEFAULT_SIZE = Workload().image_size

_Option = tuple[ModelIR, Columns]  # all of a scenario but its load, as plain columns


@dataclass(frozen=True, slots=True)
class Group:
    """Scenarios for one array pass: they share the model, the arrival, whether a host takes part, and how many kinds of card.

    `index` holds their positions in the sequence that they came from. `c` holds their plain columns: arrays along the
    group where they differ, numbers where not.
    """

    ir: ModelIR
    arrival: Arrival
    index: np.ndarray
    c: Columns

    def __len__(self) -> int:
        return len(self.index)

    def take(self, places: np.ndarray) -> Group:
        """The scenarios at these places of the group, in this order; a place may be named more than once."""
        return replace(self, index=self.index[places], c=take(self.c, places))

    def repeat(self, times: int) -> Group:
        """The group laid end to end `times` times: one pass for several values of a knob."""
        return self.take(np.tile(np.arange(len(self)), times))

    def spread(self, amount: Any) -> np.ndarray:
        """A number of the pass (of an operation, say) for each scenario, whether it differs between them or not."""
        return np.broadcast_to(np.asarray(amount, dtype=float), len(self))


@functools.lru_cache(maxsize=8192)
def _option(scenario: Scenario, strict: bool) -> _Option | str:
    """The columns of a scenario whose load is of no account but for its arrival, or the sentence that says why there are none."""
    try:
        setting = settle(scenario, strict=strict)
        return setting.ir, plain(columns(setting))
    except RoofcastError as error:
        return str(error)


@functools.lru_cache(maxsize=64)
def _any_load(arrival: Arrival, images: int, image_size: str) -> Workload:
    return Workload(arrival=arrival, request_rate_per_s=1.0 if arrival == "open" else None, images=images, image_size=image_size)


def groups(scenarios: Sequence[Scenario], *, strict: bool = True) -> tuple[list[Group], dict[int, str]]:
    """The scenarios in groups of at most CHUNK, and for each that cannot be the sentence that says why, by position."""
    failed: dict[int, str] = {}
    members: dict[tuple[str, Arrival, tuple[Any, ...]], list[tuple[int, _Option]]] = {}
    for position, scenario in enumerate(scenarios):
        arrival = scenario.workload.arrival
        images, size = scenario.workload.images, scenario.workload.image_size
        option = _option(scenario.model_copy(update={"workload": _any_load(arrival, images, size if images else DEFAULT_SIZE)}), strict)
        if isinstance(option, str):
            failed[position] = option
        else:
            ir, c = option
            members.setdefault((ir.id, arrival, form(c)), []).append((position, option))
    found = []
    for (_, arrival, _), alike in members.items():
        for first in range(0, len(alike), CHUNK):
            some = alike[first : first + CHUNK]
            options = {id(option): option for _, option in some}
            order = {key: place for place, key in enumerate(options)}
            c = take(stack([c for _, c in options.values()]), np.array([order[id(option)] for _, option in some]))
            loads = [load_amounts(scenarios[position].workload) for position, _ in some]
            for name in loads[0]:
                setattr(c, name, np.array([load[name] for load in loads]))
            c.prompt = c.prompt + c.image_tokens
            found.append(Group(some[0][1][0], arrival, np.array([position for position, _ in some]), c))
    return found, failed


def run(group: Group, knobs: Mapping[str, np.ndarray] | None = None) -> tuple[Plan, Fit, Served]:
    """One pass over the group. `knobs` are arrays along the group that replace columns (tp, users, prompt, …)."""
    plan, found, served, _ = _run(group, knobs or {})
    return plan, found, served


def _run(group: Group, knobs: Mapping[str, np.ndarray]) -> tuple[Plan, Fit, Served, Columns]:
    c = Columns(**{**vars(group.c), **{name: np.asarray(amounts, dtype=float) for name, amounts in knobs.items()}})
    if "prompt" in knobs:
        c.prompt = c.prompt + c.image_tokens
    with np.errstate(all="ignore"):  # unknown figures are NaN
        return *one_pass(group.ir, c, group.arrival), c


def metrics_of(group: Group, knobs: Mapping[str, np.ndarray] | None = None) -> dict[str, np.ndarray]:
    """The metrics of `core.estimate.numbers` and "headroom" (bytes of the fullest device), each an array along the group."""
    _, found, served, c = _run(group, knobs or {})
    with np.errstate(all="ignore"):
        table = {**metrics_from(c, found, served, group.arrival), "headroom": found.headroom}
        return {name: group.spread(amount) for name, amount in table.items()}


def numbers_of(scenarios: Sequence[Scenario], *, strict: bool = False) -> list[dict[str, float] | str]:
    """For each scenario what `core.estimate.numbers` gives, or the sentence with which it fails."""
    found, failed = groups(scenarios, strict=strict)
    answers: list[dict[str, float] | str] = [failed.get(position, "") for position in range(len(scenarios))]
    for group in found:
        table = metrics_of(group)
        table.pop("headroom")
        for position, *amounts in zip(group.index.tolist(), *(column.tolist() for column in table.values()), strict=True):
            answers[position] = dict(zip(table, amounts, strict=True))
    return answers


def candidates(
    options: Sequence[Scenario], index: np.ndarray, knobs: Mapping[str, np.ndarray], *, strict: bool = True
) -> dict[str, np.ndarray]:
    """Metrics of many candidates in array passes.

    `options` are the combinations of categorical knobs (device, runtime, quantisation, KV dtype); `index[i]` names candidate i's;
    `knobs` are arrays of numeric columns that replace the options' (tp, pp, dp, ep, users, prompt, output, depth, …).
    Returns the metrics and "headroom" (bytes of the fullest device), each an array as long as `index`.
    Raises ScenarioError for an option that cannot be.
    """
    found, failed = groups(options, strict=strict)
    for sentence in failed.values():
        raise ScenarioError(sentence)
    answers: dict[str, np.ndarray] = {}
    for group in found:
        place = np.full(len(options), -1)
        place[group.index] = np.arange(len(group))
        ours = np.flatnonzero(place[index] >= 0)
        for first in range(0, len(ours), CHUNK):
            rows = ours[first : first + CHUNK]
            some = metrics_of(group.take(place[index[rows]]), {name: np.asarray(amounts)[rows] for name, amounts in knobs.items()})
            for name, amounts in some.items():
                answers.setdefault(name, np.full(len(index), np.nan))[rows] = amounts
    return answers
