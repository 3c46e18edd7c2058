"""Three answers to one goal on each side: the least that meets it, what meets it surely, and what has room to grow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from core.answer import Level
from core.batch import groups
from core.calibrate import in_effect
from core.catalog.models import ir
from core.corrected import correct, support_of
from core.correction import Correction
from core.errors import CatalogError
from core.features import traits
from core.goal import SIDES, Goal, Side
from core.scenario import Scenario
from core.solve import Progress, solve
from core.solve_gates import first_missed, load_ratios
from core.solve_passes import TIMES, Arrays, Rough, outcome
from core.solved import GATES, Candidate, Solved, TierName
from core.units import show

GROWTH = 2.0  # of the load, or of one person's context, that headroom has room for
FARTHEST = 32.0  # times the load up to which is looked for what gives way
STEPS = 26
TIERS: Mapping[TierName, tuple[str, str]] = {
    "minimum": ("Minimum viable", "The best of those that meet the targets by the median estimate."),
    "balanced": ("Balanced", "The best of those that meet them at the slow end of the ranges, too."),
    "headroom": (
        "Headroom",
        "The best of those that do so with twice the load; for one person, or as many as it serves, with twice the context.",
    ),
}


@dataclass(frozen=True, slots=True)
class Option:
    """What one tier comes to on one side. `candidate`: under the load as asked; None where nothing passes, and then `why` says what
    came nearest. `gives_way`: what breaks first as the load grows, in a sentence."""

    side: Side
    tier: TierName
    candidate: Candidate | None
    gives_way: str = ""
    why: str = ""


@dataclass(frozen=True, slots=True)
class Tiered:
    """The options by side and tier, and what was solved for each tier."""

    goal: Goal
    options: Mapping[tuple[Side, TierName], Option]
    solved: Mapping[TierName, Solved]

    @property
    def sides(self) -> list[Side]:
        """The sides that the goal looks at, in the order of pages."""
        return [side for side in SIDES if side in self.goal.hardware and (side != "owned" or self.goal.owned is not None)]


def goals(goal: Goal) -> dict[TierName, Goal]:
    """The goal of each tier."""
    sure = goal.with_(sure=True)
    return {"minimum": goal, "balanced": sure, "headroom": grown(sure)}


def grown(goal: Goal, by: float = GROWTH) -> Goal:
    """The goal with so many times the load; one person's conversations grow instead, as far as a model of the goal allows."""
    if goal.request_rate_per_s is not None:
        return goal.with_(request_rate_per_s=goal.request_rate_per_s * by)
    if goal.users > 1:
        return goal.with_(users=int(np.ceil(goal.users * by)))
    longest = max(int(ir(model).max_context) for model in goal.models)
    return goal.with_(context_tokens=max(min(int(goal.context * by), longest), goal.context))


def tiers(goal: Goal, progress: Progress | None = None) -> Tiered:
    """Minimum, balanced and headroom on every side that the goal looks at. Raises as `solve`."""
    tell = progress or (lambda share, what: None)
    correction = _correction()
    solved: dict[TierName, Solved] = {}
    wanted, shared = goals(goal), dict[object, Rough]()
    for number, (tier, asked) in enumerate(wanted.items()):
        solved[tier] = solve(asked, _part(tell, number, len(wanted), TIERS[tier][0]), shared=shared)
    found = Tiered(goal, {}, solved)
    options = {(side, tier): _option(goal, side, tier, solved[tier], correction) for side in found.sides for tier in TIERS}
    tell(1.0, "Done")
    return replace(found, options=options)


def _part(tell: Progress, number: int, whole: int, title: str) -> Progress:
    return lambda share, what: tell((number + share) / (whole + 0.3), f"{title}: {what[:1].lower()}{what[1:]}")


def _correction() -> Correction:
    found = in_effect()
    if found is None:
        raise CatalogError("The fitted correction is missing from data/fitted; restore it from the repository.")
    return found


def _option(goal: Goal, side: Side, tier: TierName, solved: Solved, correction: Correction) -> Option:
    first = next((candidate for candidate in solved.ranked if candidate.side == side), None)
    if first is None:
        alone = solved if goal.hardware == (side,) else solve(solved.goal.with_(hardware=(side,)))
        misses = [gone for gone in alone.rejected if gone.sentence]
        nearest = max(misses, key=lambda gone: list(GATES).index(gone.gate), default=None)  # the farthest that any came
        return Option(side, tier, None, why=nearest.sentence if nearest else "There is no such machine to choose from.")
    restated = first if solved.goal == goal else under(goal, first, correction)
    return Option(side, tier, restated, gives_way(goal, restated, correction))


# ---------------------------------------------------------------- one candidate under other loads


def under(goal: Goal, candidate: Candidate, correction: Correction | None = None) -> Candidate:
    """The same machines and configuration under the load of another goal."""
    scenario = candidate.scenario.model_copy(
        update={"workload": goal.workload(candidate.machines, candidate.scenario.workload.concurrency)}
    )
    table, bands, support = _looked_at(goal, [scenario], correction or _correction())
    metrics = {name: float(table[name][0]) for name in candidate.metrics}
    times = {name: float(table[f"{name} asked"][0]) for name in TIMES}
    return replace(candidate, scenario=scenario, metrics=metrics, bands=bands[0], support=support[0], times=times,
                   load=float(table["load"][0]), fits="with_offload" if table["offloaded"][0] else "in_vram")  # type: ignore[arg-type]  # fmt: skip


def gives_way(goal: Goal, candidate: Candidate, correction: Correction | None = None) -> str:
    """Which target or memory breaks first as the load grows, or one person's conversation, and where; in a sentence."""
    correction = correction or _correction()
    if goal.request_rate_per_s is None and candidate.scenario.workload.concurrency * candidate.machines == 1:
        return _as_context_grows(goal, candidate, correction)
    factors = np.geomspace(1.0, FARTHEST, STEPS)
    base = candidate.scenario.workload
    if base.request_rate_per_s is not None:
        loads = [base.model_copy(update={"request_rate_per_s": base.request_rate_per_s * factor}) for factor in factors]
    else:
        users = np.unique(np.ceil(base.concurrency * factors).astype(int))
        factors, loads = users / base.concurrency, [base.model_copy(update={"concurrency": int(n)}) for n in users]
    scenarios = [candidate.scenario.model_copy(update={"workload": load}) for load in loads]
    if candidate.scenario.deployment.max_sequences is not None:  # an engine that was started for so many is started for more
        scenarios = [one.with_(max_sequences=-(-one.workload.concurrency // candidate.dp)) for one in scenarios]
    place, gate = _first_broken(goal, scenarios, candidate, correction)
    if place is None:
        return f"Nothing gives way up to {FARTHEST:.0f} times the load."
    whole = goal.request_rate_per_s * factors[place] if goal.request_rate_per_s else candidate.machines * loads[place].concurrency
    at = f"{show(whole, '1/s', 2)[:-4]} requests a second" if goal.request_rate_per_s else f"{whole:,.0f} users at once"
    return f"First to give way is the {gate}, at about {at} ({factors[place]:.2g} times the load)."


def _as_context_grows(goal: Goal, candidate: Candidate, correction: Correction) -> str:
    longest = int(ir(candidate.scenario.model).max_context)
    base = candidate.scenario
    least = base.deployment.max_context or goal.context
    lengths = np.unique(np.geomspace(least, max(longest, least + 1), STEPS).astype(int))
    scenarios = []
    for tokens in lengths.tolist():
        depth = max(tokens - base.workload.prompt_tokens - base.workload.output_tokens, 0)
        scenarios.append(base.model_copy(update={
            "workload": base.workload.model_copy(update={"context_depth": depth}),
            "deployment": base.deployment.model_copy(update={"max_context": tokens}),
        }))  # fmt: skip
    place, gate = _first_broken(goal, scenarios, candidate, correction)
    if place is None:
        return f"Nothing gives way up to the {longest:,} tokens of context that the model was made for."
    return f"First to give way is the {gate}, at a conversation of about {float(f'{lengths[place]:.2g}'):,.0f} tokens."


def _first_broken(goal: Goal, scenarios: Sequence[Scenario], candidate: Candidate, correction: Correction) -> tuple[int | None, str]:
    """The first scenario that misses a gate which the candidate itself passes, and the gate's name."""
    table, _, _ = _looked_at(goal, scenarios, correction)
    ratios = {"memory": np.where(table["fits"], 0.0, 2.0), **load_ratios(goal, table, np.full(len(scenarios), float(candidate.machines)))}
    ratios = {gate: ratio for gate, ratio in ratios.items() if ratio[0] <= 1 + 1e-9}
    missed, names = first_missed(ratios, len(scenarios))
    broken = np.flatnonzero(missed >= 0)
    return (int(broken[0]), GATES[names[missed[broken[0]]]]) if len(broken) else (None, "")


_Bands = Mapping[str, tuple[float, float]]


def _looked_at(goal: Goal, scenarios: Sequence[Scenario], correction: Correction) -> tuple[Arrays, list[_Bands], list[Level]]:
    """Any scenarios as gates look at them; one that cannot be does not fit."""
    parts, _ = groups(scenarios)
    table: Arrays = {}
    bands: list[_Bands] = [{}] * len(scenarios)
    support: list[Level] = ["far"] * len(scenarios)
    for group in parts:
        found = correct(group, [traits(scenarios[place]) for place in group.index], correction)
        one = outcome(goal, group, found.c, found.found, found.served)
        for name, (low, high) in found.ends.items():
            one |= {f"{name} low": low, f"{name} high": high}
        for name, amounts in one.items():
            unknown = np.full(len(scenarios), np.nan if amounts.dtype.kind == "f" else False, dtype=amounts.dtype)
            table.setdefault(name, unknown)[group.index] = amounts
        for n, place in enumerate(group.index):
            bands[place], support[place] = found.bands(n), support_of(correction, found.table, n).level
    return table, bands, support
