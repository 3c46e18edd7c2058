"""Builds in a link and on a command line: a letter each, every one a scenario's query. Nothing but query fields and JSON is read."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from core import choices
from core.catalog import own_hardware
from core.catalog.hardware import Device
from core.cli_options import OPTIONS, read_scenario
from core.compare import MOST
from core.errors import RoofcastError, ScenarioError
from core.inputs import knob_of, written
from core.scenario import PARTS, Scenario, System, from_flat, scenario

SLOTS = ("a", "b", "c", "d")  # parameters of a link, in the order of the builds
_KNOBS = {*PARTS, "model", "runtime", "backend", "runtime_version", "runtime_date"}
_FLAGS = {flag.lstrip("-"): option.knob for option in OPTIONS for flags in option.flags for flag in flags.split("/")}
_LONGEST = 1_000_000  # characters of a file


def to_link(builds: Sequence[Scenario]) -> dict[str, str]:
    """The parameters of a link that holds all builds."""
    return {slot: asked.to_query() for slot, asked in zip(SLOTS, builds, strict=False)}


def from_link(parameters: Mapping[str, str]) -> tuple[list[Scenario], list[str]]:
    """The builds of a link, and a sentence for each that could not be read."""
    found, wrong = [], []
    for slot in SLOTS:
        if text := parameters.get(slot, ""):
            try:
                found.append(from_query(text))
            except RoofcastError as error:
                wrong.append(f"Build {slot.upper()} of the link was left out: {error}")
    return found, wrong


def from_query(query: str) -> Scenario:
    """The scenario of a page's address or of `Scenario.to_query`; names may be aliases, what is no knob is passed over.

    An address leaves out what a page opens with. Raises RoofcastError, one sentence.
    """
    try:
        given = dict(parse_qsl(query.lstrip("?"), max_num_fields=100))
    except ValueError:
        raise ScenarioError("The link sets too many fields to be one of a scenario.") from None
    found = _exact(given)
    if "profile" in found:
        found = {**choices.profile_knobs(found["profile"]), **found}
    elif "instance" in found:
        found = {**choices.instance_knobs(found["instance"]), **found}
    return from_flat({"model": choices.default_model(), "device": choices.default_device(), **found})


def _exact(given: Mapping[str, str]) -> dict[str, Any]:
    runtime = str(given.get("runtime", choices.RUNTIME))
    found = {knob: choices.exact(knob, text, runtime) for knob, text in given.items() if knob in _KNOBS and text}
    return {knob: item for knob, item in found.items() if item not in (choices.AUTO, choices.CUSTOM, choices.NONE)}


def added(known: Sequence[Scenario], new: Sequence[Scenario]) -> tuple[list[Scenario], int]:
    """The builds with more of them, and the place of the last that came. What is there already is not added twice; where there is no
    room, the last of those known give way.
    """
    fresh = [asked for asked in dict.fromkeys(new) if asked not in known][:MOST]
    builds = [*known[: MOST - len(fresh)], *fresh]
    return builds, builds.index(new[-1]) if new[-1] in builds else len(builds) - 1


def removed(known: Sequence[Scenario], place: int, shown: int) -> tuple[list[Scenario], int]:
    """The builds without one of them, and the place of the one that was `shown`, or of the first where it is gone."""
    builds = [asked for n, asked in enumerate(known) if n != place]
    return builds, shown - 1 if shown > place else 0 if shown == place else shown


def on_device(asked: Scenario, device: Device) -> Scenario:
    """The same question on another device, what only the old machine had left open; with llama.cpp where the runtime does not suit it."""
    machine = System(device=own_hardware.listed(device), count=asked.system.count if device.kind == "gpu" and not device.unified else 1)
    degrees: dict[str, Any] = dict.fromkeys(("tp", "mlp_tp", "pp", "dp", "ep", "cp", "gpu_layers", "experts_on_cpu"))
    if choices.suiting_backend(asked.runtime, machine.device) is None:
        degrees |= {"runtime": choices.RUNTIME, "quant": None, "kv_dtype": None}
    return asked.with_(system=machine, backend=None, **degrees)


def with_model(asked: Scenario, model: str) -> Scenario:
    """The same question of another model, stored as its runtime does unasked."""
    return asked.with_(model=model, quant=None)


def place_of(letter: str, count: int) -> int:
    """The place of a build's letter among so many; the first for a letter that is none, the last for one beyond."""
    return min(SLOTS.index(letter) if letter in SLOTS else 0, max(count, 1) - 1)


def as_controls(asked: Scenario) -> dict[str, Any]:
    """Every knob of a scenario as the lists and fields of a page write it; None for what it leaves open.

    Raises RoofcastError for a name that the catalog does not have.
    """
    known = {knob: written(knob_of(asked, knob)) for knob in sorted(_KNOBS)}
    named = ("model", "device", "cpu", "profile", "instance", "runtime", "quant", "kv_dtype", "host_link", "others")
    exact = {knob: choices.exact(knob, str(known[knob]), asked.runtime) for knob in named if known[knob]}
    vision = None if known["vision"] is None else str(known["vision"]).lower()
    return {**{knob: item if item != "" else None for knob, item in known.items()}, **exact, "vision": vision}


# ---------------------------------------------------------------- from a command line


def read_builds(texts: Sequence[str], common: Mapping[str, Any]) -> list[Scenario]:
    """The builds that a command line names, each a link of a page, a JSON file of a scenario, or changes to the `common` options.

    Where the common options make a scenario of their own and only one build is named, they are the first. Raises RoofcastError.
    """
    found = [asked for text in texts for asked in _read(text, common)]
    given = {knob: amount for knob, amount in common.items() if amount is not None}
    if len(found) < 2 and "model" in given and any(knob in given for knob in ("device", "profile", "instance", "cpu")):
        found.insert(0, read_scenario(common))
    if not 2 <= len(found) <= MOST:
        raise ScenarioError(
            f"Name two to {MOST} builds (there are {len(found)}): changes to the options such as 'gpu=RTX 4090,count=2', "
            "a link of a page, or a file with a scenario."
        )
    return found


def _read(text: str, common: Mapping[str, Any]) -> list[Scenario]:
    stripped = text.strip()
    if re.match(r"(https?:/)?/|\?", stripped) and (query := urlsplit(stripped).query):
        found, wrong = from_link(dict(parse_qsl(query)))
        if wrong:
            raise ScenarioError(wrong[0])
        return found or [from_query(query)]
    changes = _changes(stripped)
    if changes is not None:
        # A machine that a build names replaces the common one whole.
        machine = {"device", "profile", "instance", "cpu"} & set(changes)
        kept = {knob: item for knob, item in common.items() if not (machine and knob in ("device", "profile", "instance", "cpu"))}
        return [read_scenario({**kept, **changes})]
    return [_file(stripped)]


def _changes(text: str) -> dict[str, Any] | None:
    """Text such as "gpu=RTX 4090,count=2" as knobs, None for what is no such text. A comma parts two where an option's name follows."""
    names = "|".join(sorted(map(re.escape, {*_FLAGS, *_KNOBS}), key=len, reverse=True))
    if not re.match(rf"-*(?:{names})=", text):
        return None
    found: dict[str, Any] = {}
    for part in re.split(rf",\s*(?=-*(?:{names})=)", text):
        name, _, amount = part.partition("=")
        plain = name.strip().lstrip("-")
        found[_FLAGS.get(plain, plain)] = amount.strip()
    return {knob: _typed(knob, amount) for knob, amount in found.items()}


def _typed(knob: str, amount: str) -> Any:
    kind = next((option.kind for option in OPTIONS if option.knob == knob), str)
    try:
        return amount if kind in (str, bool) else kind(amount)
    except ValueError:
        flag = next(option.flags[0] for option in OPTIONS if option.knob == knob)
        raise ScenarioError(f"{flag.lstrip('-')} must be a {'whole ' if kind is int else ''}number (it is '{amount}').") from None


def _file(name: str) -> Scenario:
    """The scenario of a JSON file: a scenario itself, or what `roofcast estimate --json` printed."""
    path = Path(name).expanduser()
    if not path.is_file():
        raise ScenarioError(f"'{name}' is no file, no link and no change such as 'gpu=RTX 4090,count=2'.")
    try:
        with path.open(encoding="utf-8") as file:
            raw = json.loads(file.read(_LONGEST))
    except (OSError, ValueError, RecursionError) as error:
        raise ScenarioError(f"{name} holds no JSON that can be read ({error}).") from None
    if isinstance(raw, dict) and isinstance(raw.get("scenario"), dict):
        raw = raw["scenario"]
    if not isinstance(raw, dict):
        raise ScenarioError(f"{name} holds no scenario: an object with model and system is expected.")
    return scenario(raw)
