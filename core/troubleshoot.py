"""From a symptom to fixes: every change that might help is estimated, ranked by what it does, with the flags to change.

A measured number of the user's is held against the expected range by `core.diagnosis`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from core import changes
from core.advice import Option, beside, try_all
from core.answer import Estimate
from core.catalog import runtimes
from core.changes import Change
from core.compare import shown
from core.crossing import DRAWN
from core.errors import RoofcastError
from core.flag_changes import flag_changes
from core.nearest import nearest_fits
from core.placement import Placement, placement
from core.quantity import value
from core.scenario import Scenario
from core.sweep import answer
from core.units import show
from core.upgrades import upgrades
from core.vision import tokens_needed
from core.waterfall_words import factor

Symptom = Literal["memory", "ttft", "decode", "throughput", "uneven"]
SYMPTOMS: dict[Symptom, str] = {
    "memory": "Out of memory",
    "ttft": "Slow first token",
    "decode": "Slow writing",
    "throughput": "Low throughput",
    "uneven": "Uneven GPUs",
}
# What a symptom is measured by; memory and uneven devices are judged by bytes.
METRIC: dict[Symptom, str] = {"ttft": "ttft", "decode": "decode_rate", "throughput": "output_rate"}
MOST = 8


@dataclass(frozen=True, slots=True)
class Fix:
    """One change with what it does, in words, and what to change in the command. `cost`: what it costs beside, in words."""

    change: Change
    scenario: Scenario
    before: str
    after: str
    effect: str
    sure: bool
    flags: tuple[str, ...]
    cost: str


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What is expected of the scenario under this symptom, and the fixes, best first. `unsure`: too little to be told apart."""

    symptom: Symptom
    found: Estimate
    sentence: str
    hints: tuple[str, ...]
    fixes: tuple[Fix, ...]
    unsure: tuple[Fix, ...]
    tried: int


def look(scenario: Scenario, symptom: Symptom) -> Diagnosis:
    """What is expected under a symptom, at once and without fixes. Raises what `core.sweep.answer` raises."""
    found = answer(scenario)
    if symptom == "memory":
        sentence, hints = _memory_sentence(found), _hints(found, symptom)
    elif symptom == "uneven":
        laid = _laid(scenario)
        alone = scenario.system.devices < 2
        sentence = "There is one device: nothing can be uneven." if alone else _uneven_sentence(found, laid)
        hints = () if alone else _busy(found, laid)
    else:
        sentence, hints = _expected(found, symptom, METRIC[symptom]), _hints(found, symptom)
    return Diagnosis(symptom, found, sentence, hints, (), (), 0)


def troubleshoot(scenario: Scenario, symptom: Symptom, *, progress: Callable[[float], None] | None = None) -> Diagnosis:
    """Fixes for a symptom, ranked by the estimator. Raises what `core.sweep.answer` raises."""
    seen = look(scenario, symptom)
    found = seen.found
    if symptom == "memory":
        return _memory(seen, progress)
    if symptom == "uneven":
        return _uneven(seen, progress)
    metric = METRIC[symptom]
    listed = list(_changes(scenario, found, symptom))
    options = try_all(scenario, listed, metric, progress=progress)
    ranked = sorted(_mildest(options), key=lambda o: (o.change.bought, o.change.less, -o.gain))
    fixes = [_fix(found, option, metric) for option in ranked]
    sure, unsure = [fix for fix in fixes if fix.sure], tuple(fix for fix in fixes if not fix.sure)
    return replace(seen, fixes=_nearest_too(found, sure), unsure=unsure[:MOST], tried=len(listed))


def _changes(scenario: Scenario, found: Estimate, symptom: Symptom) -> Iterator[Change]:
    """What might help against a symptom of speed."""
    if symptom == "throughput":
        yield from changes.more_users(scenario)
    if symptom == "ttft":
        yield from changes.kept_prefix(scenario)
        yield from changes.fewer_users(scenario)
    yield from changes.settings(scenario, found)
    yield from changes.shorter(scenario)
    yield from (change for change in upgrades(scenario, found) if change.lever in ("cards", "ram"))


_MILD = ("quant", "context", "users")  # what costs more the further it goes, the mildest first


def _mildest(options: Sequence[Option]) -> list[Option]:
    """One option of each kind: the mildest that surely helps where going further costs more, else the best."""
    kinds: dict[tuple[str, ...], list[Option]] = {}
    for option in options:
        knobs = sorted(option.change.knobs) if option.change.lever in ("engine", "cards") else []
        kinds.setdefault((option.change.lever, *knobs), []).append(option)
    kept = []
    for (lever, *_), ours in kinds.items():
        sure = [option for option in ours if option.sure]
        kept.append(sure[0] if sure and lever in _MILD else max(sure or ours, key=lambda option: option.gain))
    return kept


def _fix(found: Estimate, option: Option, metric: str) -> Fix:
    after = answer(option.scenario)
    unit = DRAWN[metric].unit
    effect = "runs now" if option.runs_now else f"{factor(option.gain)} better"
    before = "does not run" if option.runs_now else shown(option.before, unit)
    flags = flag_changes(found, after)
    return Fix(option.change, option.scenario, before, shown(option.after, unit), effect, option.sure, flags, option.note)


# ---------------------------------------------------------------- what is expected

_HINTS: dict[Symptom, tuple[str, ...]] = {
    "ttft": (
        "The first request after a start is slower: weights are read from disk, kernels compiled, graphs captured.",
        "A reasoning model writes its thoughts first: the first token that is shown comes long after the first that is written.",
    ),
    "decode": ("Measured per user or for all together? Ours is what one user sees, without the wait for the first token.",),
    "throughput": ("A load test must keep enough requests in flight: throughput is limited by the client where it sends one by one.",),
    "memory": (
        "Ours counts this model alone: a desktop, a browser or another model on the same device takes its share.",
        "llama.cpp provides for all slots (-np) at once, vLLM takes a fixed share of the card whatever the model needs.",
    ),
    "uneven": (),
}


def _hints(found: Estimate, symptom: Symptom) -> tuple[str, ...]:
    told = list(_HINTS[symptom])
    shares = found.decode.step.shares() if symptom != "ttft" else found.first_token_shares
    if symptom in ("ttft", "decode", "throughput") and found.runs and shares:
        from core.answer import BOUNDS

        key = max(shares, key=lambda name: shares[name])
        told.insert(0, f"What holds it back most is {BOUNDS[key]}: {shares[key]:.0%} of the {'wait' if symptom == 'ttft' else 'step'}.")
    told += [
        reason.text for reason in found.warnings if reason.code in ("users_wait", "overloaded", "devices_idle", "beyond_model_context")
    ]
    return tuple(told)


def _expected(found: Estimate, symptom: Symptom, metric: str) -> str:
    if not found.runs:
        short = found.reasons[0].text if found.reasons else "It does not fit."
        return f"By our estimate it does not even run: {short[0].lower()}{short[1:]}"
    unit = DRAWN[metric].unit
    low, high = found.bands.get(metric, (None, None))
    ends = "" if low is None or high is None else f", between {shown(low, unit)} and {shown(high, unit)} in 8 of 10 cases"
    what = {"ttft": "the first token after", "decode": "each user to see", "throughput": "all users together to get"}[symptom]
    return f"For this setup we expect {what} {shown(found.metric(metric), unit)}{ends}."


# ---------------------------------------------------------------- out of memory


def _memory_changes(scenario: Scenario, found: Estimate) -> Iterator[Change]:
    deploy, load = scenario.deployment, scenario.workload
    entry = runtimes.runtime(scenario.runtime)
    yield from changes.caches(scenario)
    if deploy.max_context is not None and deploy.max_context > (needed := tokens_needed(scenario, found.ir)):
        yield Change("engine", f"Start with a context of {needed:,} tokens, what this load needs", {"max_context": needed})
    context = int(found.resolved["max_context"])
    for part in (2, 4):
        if context // part > load.output_tokens:
            room = context // part
            prompt = max(1, min(load.prompt_tokens, room - load.output_tokens))
            knobs = {"max_context": room, "prompt_tokens": prompt, "context_depth": 0,
                     "prefix_cached_tokens": min(load.prefix_cached_tokens, prompt)}  # fmt: skip
            yield Change("context", f"Start with a context of {room:,} tokens", knobs, less=True)
    seats = int(found.resolved["max_sequences"])
    for few in dict.fromkeys((seats // 2, seats // 4, 1)):
        if 1 <= few < seats:
            yield Change("engine", f"Provide for {few:,} sequences at once", {"max_sequences": few}, less=few < load.concurrency)
    yield from changes.quantisations(scenario)
    yield from changes.offloads(scenario, found)
    if entry.offload == "layers" and deploy.gpu_layers is None:
        for kept in (0.75, 0.5):
            layers = int(found.ir.layers * kept)
            yield Change("offload", f"Keep {found.ir.layers - layers} of {found.ir.layers} layers in host memory", {"gpu_layers": layers})
    for name in ("micro_batch", "token_budget"):
        size = found.resolved[name]
        if size is not None and size > 256 and (name == "token_budget") == (entry.audience == "server"):
            yield Change("engine", f"Take {size // 4:,} tokens in a step", {name: size // 4})
    if entry.cuda_graphs and deploy.cuda_graphs is not False and entry.audience == "server":
        yield Change("engine", "Capture no graphs (eager mode)", {"cuda_graphs": False})
    if not deploy.flash_attention and entry.flash_attention:
        yield Change("engine", "Turn flash attention on", {"flash_attention": True})
    if entry.reserve == "fraction":
        own = found.resolved["memory_fraction"] or 0.9
        for share in (0.95, 0.8):
            if abs(share - own) > 0.01:
                yield Change("engine", f"Let it take {share:.0%} of the memory", {"memory_fraction": share})
    yield from changes.splits(scenario)
    yield from (change for change in upgrades(scenario, found) if change.lever in ("cards", "ram"))


def _memory(seen: Diagnosis, progress: Callable[[float], None] | None) -> Diagnosis:
    """Changes that leave more of the fullest device free: settings first, then smaller weights, then what is slower, less or bought."""
    scenario, found = seen.found.scenario, seen.found
    listed = list(_memory_changes(scenario, found))
    ranked: list[tuple[tuple[float, ...], Fix]] = []
    for done, change in enumerate(listed, 1):
        try:
            after = answer(scenario.with_(**change.knobs))
            if change.lever == "quant" and after.runs and not _starts(after):
                change = _shorter_too(change, after)
                after = answer(scenario.with_(**change.knobs))
        except RoofcastError:
            continue
        finally:
            if progress:
                progress(done / len(listed))
        claimed = "memory_fraction" in change.knobs
        freed = _held(found, claimed) - _held(after, claimed)
        if not (freed > 0.02 * float(value(found.device.limit)) if _starts(found) else _starts(after)):
            continue
        slower = after.metric("decode_rate") / found.metric("decode_rate") if found.runs else 1.0
        effect = "it fits then" if not _starts(found) else f"{show(freed, 'B')} less"
        cost = "; ".join(filter(None, (_cost(found, after), beside(scenario, after.scenario, change))))
        fix = Fix(change, after.scenario, _of(found, claimed), _of(after, claimed), effect, True, flag_changes(found, after), cost)
        weights = change.lever == "quant"
        ranked.append(((change.bought, change.less, slower < 0.8, weights, done if weights else -freed), fix))
    fixes = [fix for _, fix in sorted(ranked, key=lambda item: item[0])]
    return replace(seen, fixes=_nearest_too(found, fixes), tried=len(listed))


def _starts(found: Estimate) -> bool:
    """Whether it runs, and a server's cache holds one conversation of the length that it is started with: without it none starts."""
    server = runtimes.runtime(found.scenario.runtime).audience == "server" and found.scenario.deployment.max_context is not None
    return found.runs and not (server and float(value(found.limits["max_batch"])) < 1)


def _shorter_too(change: Change, after: Estimate) -> Change:
    """A change after which no conversation of the length asked fits, with the longest that does; itself where the load needs more."""
    room = int(float(value(after.limits["max_context"]))) // 1024 * 1024
    if room < tokens_needed(after.scenario, after.ir):
        return change
    knobs = {**change.knobs, "max_context": room}
    return replace(change, text=f"{change.text}, with a context of {room:,} tokens", knobs=knobs, less=True)


def _held(found: Estimate, claimed: bool) -> float:
    """Bytes of the fullest device: what the load needs at its peak, or what the engine claims."""
    return float(value(found.device.taken if claimed else found.device.peak))


def _of(found: Estimate, claimed: bool) -> str:
    return f"{show(_held(found, claimed), 'B')} of {show(float(value(found.device.limit)), 'B')}"


def _nearest_too(found: Estimate, fixes: Sequence[Fix]) -> tuple[Fix, ...]:
    """The fixes; where it does not run, the nearest things that fit with them."""
    listed = list(fixes)
    if not found.runs:
        known = {fix.scenario for fix in listed}
        for near in nearest_fits(found.scenario):
            if near.scenario not in known and _starts(near.answer):
                speed = f"then {show(near.answer.metric('decode_rate'), 'tok/s')} for each user"
                change = Change("machine", near.change, near.knobs)
                listed.append(Fix(change, near.scenario, "does not fit", _of(near.answer, False), "it fits then", True,
                                  flag_changes(found, near.answer), speed))  # fmt: skip
    return tuple(listed[:MOST])


def _cost(found: Estimate, after: Estimate) -> str:
    if not after.runs:
        return "still does not fit"
    speed = show(after.metric("decode_rate"), "tok/s")
    if not found.runs:
        return f"then {speed} for each user"
    ratio = after.metric("decode_rate") / found.metric("decode_rate")
    return "no slower" if ratio > 0.97 else f"writes at {speed} instead of {show(found.metric('decode_rate'), 'tok/s')}"


def _memory_sentence(found: Estimate) -> str:
    room = float(value(found.device.headroom))
    if found.runs and room >= 0:
        limit = float(value(found.device.limit))
        return (
            f"By our estimate it fits with {show(room, 'B')} of {show(limit, 'B')} to spare on the fullest device: look for what else "
            "takes memory there, for a longer context or more sequences than stated here; or make room."
        )
    if found.runs:
        context = int(found.resolved["max_context"])
        return f"The weights fit, but not the cache of one conversation of {context:,} tokens: {show(-room, 'B')} too much in all."
    return found.reasons[0].text if found.reasons else "It does not fit."


# ---------------------------------------------------------------- uneven devices


def _uneven(seen: Diagnosis, progress: Callable[[float], None] | None) -> Diagnosis:
    """Splits that are evener or faster."""
    scenario, found = seen.found.scenario, seen.found
    listed = list(changes.splits(scenario))
    laid = _laid(scenario)
    fixes = []
    for done, change in enumerate(listed, 1):
        if progress:
            progress(done / len(listed))
        try:
            after = answer(scenario.with_(**change.knobs))
        except RoofcastError:
            continue
        there = _laid(after.scenario)
        if not after.runs or there is None:
            continue
        evener = laid is None or _gap(there) < _gap(laid) - 0.01 * there.limit
        faster = not found.runs or after.metric("decode_rate") > found.metric("decode_rate") * 1.03
        if evener or faster:
            cost = f"{show(after.metric('decode_rate'), 'tok/s')} for each user, {show(after.metric('output_rate'), 'tok/s')} in all"
            effect, flags = "evener" if evener else "faster", flag_changes(found, after)
            fix = Fix(change, after.scenario, _filled(laid), _filled(there), effect, True, flags, cost)
            fixes.append((_gap(there), -after.metric("decode_rate"), fix))
    fixes.sort(key=lambda item: item[:2])
    return replace(seen, fixes=tuple(fix for *_, fix in fixes[:MOST]), tried=len(listed))


def _laid(scenario: Scenario) -> Placement | None:
    try:
        return placement(scenario)
    except RoofcastError:
        return None


def _gap(found: Placement) -> float:
    """Bytes between the fullest and the emptiest device; a device left idle holds nothing."""
    held = [rank.held for rank in found.ranks] + [0.0] * found.idle
    return max(held) - min(held)


def _filled(found: Placement | None) -> str:
    if found is None:
        return "unknown"
    held = [rank.held for rank in found.ranks] + [0.0] * found.idle
    return f"{show(min(held), 'B')} to {show(max(held), 'B')} a device"


def _uneven_sentence(found: Estimate, laid: Placement | None) -> str:
    if laid is None:
        return "This cannot be laid out."
    held = [rank.held for rank in laid.ranks]
    fullest = max(range(len(held)), key=held.__getitem__)
    text = f"The devices hold {_filled(laid)}"
    if laid.idle:
        return f"{text}: {laid.idle} of {laid.idle + len(held)} are not used by this split."
    if max(held) - min(held) < 0.02 * laid.limit:
        return f"{text}: they are filled evenly."
    stage = f" of stage {laid.ranks[fullest].stage + 1}" if laid.degrees["pp"] > 1 else ""
    return f"{text}; device {fullest}{stage} is the fullest, for {_why_fuller(laid, fullest)}."


def _why_fuller(laid: Placement, fullest: int) -> str:
    """The part in which the fullest device exceeds the emptiest most."""
    full, empty = laid.ranks[fullest], min(laid.ranks, key=lambda rank: rank.held)
    more = {name: full.parts.get(name, 0.0) - empty.parts.get(name, 0.0) for name in full.parts}
    name = max(more, key=lambda key: more[key])
    layers = f", {len(full.layers)} layers instead of {len(empty.layers)}" if len(full.layers) != len(empty.layers) else ""
    return f"it holds {show(more[name], 'B')} more of {name} than device {empty.device}{layers}"


def _busy(found: Estimate, laid: Placement | None) -> tuple[str, ...]:
    if laid is None:
        return ()
    stages, count = laid.degrees["pp"], found.scenario.system.count
    if stages > 1 and not runtimes.runtime(found.resolved["runtime"]).pipelined_decode:
        return (
            f"The layers are dealt out over {stages} devices, which work one after the other: while a token is written each is busy about "
            f"1/{stages} of the time. That is how this split works, no fault. More devices hold more, they do not write faster.",
        )
    if found.resolved["ep"] and found.resolved["ep"] > 1:
        return ("Experts are dealt out over the devices: those that prompts happen to choose more often are busier.",)
    return () if laid.idle == 0 else (f"{laid.idle} of {count} devices do nothing: raise TP, PP or DP to their number.",)
