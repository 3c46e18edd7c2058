"""A bundle's question asked again here: the estimate, where its numbers part from those in the file, and why."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from core.answer import Estimate, label
from core.bundle import Bundle, Spread, carried, device_names, layout, record_of, renamed, roofcast_version
from core.cards import Cards
from core.catalog import hardware, instances, own_hardware
from core.catalog.files import edition
from core.catalog.hardware import Device
from core.catalog.instances import Instance
from core.catalog.models import ir, models
from core.errors import CatalogError, RoofcastError, ScenarioError
from core.hardware_library import heading
from core.hub_names import split_changes
from core.hub_store import find_named, hold
from core.response import estimates, finite
from core.scenario import Scenario
from core.sweep import answer
from core.units import show
from core.words import FITS

SAME = 2e-5  # relative: numbers are written with six digits
SHOWN = {
    "decode_toks_sec": ("Decode, each user", "tok/s", 1.0), "ttft_ms": ("First token (TTFT)", "s", 1e-3),
    "tpot_ms": ("Each next token (TPOT)", "s", 1e-3), "prefill_toks_sec": ("Prefill", "tok/s", 1.0),
    "latency_ms": ("Whole answer", "s", 1e-3), "output_toks_sec": ("Output of all users", "tok/s", 1.0),
    "total_toks_sec": ("Output and prompts", "tok/s", 1.0), "vram_peak_gb": ("Memory of all devices", "B", 1e9),
    "ram_peak_gb": ("Host memory", "B", 1e9),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Beside:
    """One number as the file has it and as it is here, for people; `same`: neither it nor its range moved."""

    title: str
    there: str
    here: str
    change: str
    same: bool


@dataclass(frozen=True, slots=True)
class Replay:
    """What became of a bundle: the estimate of `scenario` here, the numbers side by side, why they part, and what was put in place of
    what this machine does not have (`notes`). Sentences each.
    """

    scenario: Scenario
    found: Estimate
    rows: tuple[Beside, ...]
    why: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def same(self) -> bool:
        return all(row.same for row in self.rows)

    @property
    def sentence(self) -> str:
        """How the numbers here stand to those of the file."""
        if self.same:
            return "Every number is the same as in the file, range and all."
        moved = [row for row in self.rows if not row.same]
        return f"{len(moved)} of {len(self.rows)} numbers differ from those in the file: {_most(moved)}."


def _most(moved: list[Beside]) -> str:
    row = moved[0]
    there, here = (text.partition(" (")[0] for text in (row.there, row.here))
    told = f"{row.title}: {there} there and {here} here" if there != here else f"{row.title} has another range"
    return told + (f", {len(moved) - 1} more below" if len(moved) > 1 else "")


def replay(told: Bundle) -> Replay:
    """Asks a bundle's question here. A model that is not here is held for the session (`core.hub_store.hold`), never stored.

    Raises what `core.sweep.answer` raises, and ScenarioError for a model that no layout fits.
    """
    notes: list[str] = []
    asked = told.asked()
    asked = _with_model(told, asked, notes)
    asked = _with_devices(told, asked, notes)
    asked = _with_instance(told, asked, notes)
    bare = answer(asked, analytic=True)
    found = bare if told.made.correction is None else answer(asked)
    rows = tuple(_beside(told, found))
    facts = [*_facts(told, asked), *_resolved(told, found)]
    return Replay(asked, found, rows, tuple(_why(told, found, bare, rows, facts)), tuple(notes))


# ---------------------------------------------------------------- what this machine does not have


def _with_model(told: Bundle, asked: Scenario, notes: list[str]) -> Scenario:
    base, _ = split_changes(told.model.name)
    known = find_named(base)
    if base in models() or (known is not None and told.model.read is not None and _content(known) == _content(told.model.read)):
        return asked
    if told.model.read is None and told.model.config is None:
        raise ScenarioError(f"The bundle does not hold the model {base}; save it again.")
    model = carried(told.model)
    try:
        made = model.ir(split_changes(told.model.name)[1])
    except RoofcastError:
        raise
    except (ArithmeticError, AttributeError, IndexError, KeyError, TypeError, ValueError, MemoryError) as error:
        raise ScenarioError(f"The bundle's model {base} is damaged: its config describes no layers ({type(error).__name__}).") from None
    hold(model)
    other = "holds something else under that name" if known is not None else "does not have it"
    notes.append(f"The model is the file's: this machine {other}. Here it is called {made.id} as long as this session lasts.")
    return asked.with_(model=renamed(told.model, model.id))


def _content(read: Any) -> dict[str, Any]:
    return dict(read.model_dump(exclude={"notes"}))


def _with_devices(told: Bundle, asked: Scenario, notes: list[str]) -> Scenario:
    system = asked.system
    names = {name: _device(name, told.devices[name], notes) for name in dict.fromkeys(device_names(asked))}
    changes: dict[str, Any] = {}
    if names[system.device] != system.device:
        changes["device"] = names[system.device]
    if any(names[cards.device] != cards.device for cards in system.others):
        changes["others"] = tuple(_renamed(cards, names[cards.device]) for cards in system.others)
    if system.cpu and names[system.cpu] != system.cpu:
        changes["cpu"] = names[system.cpu]
    return asked.with_(**changes) if changes else asked


def _renamed(cards: Cards, name: str) -> Cards:
    return cards.model_copy(update={"device": name})


def _device(name: str, record: Mapping[str, Any], notes: list[str]) -> str:
    """What names the device here: as there, or its whole record where the catalog does not have it."""
    try:
        hardware.device(name)
        return name
    except CatalogError as error:
        try:
            made = own_hardware.built("", {field: amount for field, amount in record.items() if field in own_hardware.FIELDS})
        except CatalogError as wrong:
            raise CatalogError(f"{name.partition('?')[0]} is not known here, and the file does not make up for it: {wrong}") from error
        notes.append(f"{made.name} is not known here: its facts are the file's.")
        return made.id


def _with_instance(told: Bundle, asked: Scenario, notes: list[str]) -> Scenario:
    name = asked.system.instance
    if name is None:
        return asked
    try:
        instances.usable(name)
        return asked
    except CatalogError as error:
        try:
            rented = Instance.model_validate(told.instance or {})
        except ValueError:
            raise CatalogError(f"{error} The file does not say what it costs; take the instance out of it.") from None
    notes.append(f"The instance {name[:80]} is not known here: its RAM and its price ({rented.price_is}) are the file's.")
    known = {"ram_gb": asked.system.ram_gb, "usd_per_h": asked.costs.usd_per_h}
    return asked.with_(instance=None, **{knob: getattr(rented, knob) if said is None else said for knob, said in known.items()})


# ---------------------------------------------------------------- side by side


def _beside(told: Bundle, found: Estimate) -> list[Beside]:
    here = {key: Spread(**spread) for key, spread in estimates(found).items()}
    rows = []
    if told.feasibility != found.feasibility:
        named: Mapping[str, str] = FITS  # type: ignore[assignment]
        rows.append(Beside("Fits", named.get(told.feasibility, told.feasibility), named[found.feasibility], "", False))
    for key, (title, unit, factor) in SHOWN.items():
        then, now = told.numbers.get(key, Spread()), here[key]
        if then.p50 is None and now.p50 is None:
            continue
        ends = [(then.p10, now.p10), (then.p50, now.p50), (then.p90, now.p90)]
        rows.append(Beside(title, _shown(then, unit, factor), _shown(now, unit, factor), _change(then.p50, now.p50),
                           all(_near(a, b) for a, b in ends)))  # fmt: skip
    return rows


def _shown(spread: Spread, unit: str, factor: float) -> str:
    if spread.p50 is None:
        return "unknown"
    middle = show(spread.p50 * factor, unit)
    if spread.p10 is None or spread.p90 is None:
        return middle
    low, high = show(spread.p10 * factor, unit), show(spread.p90 * factor, unit)
    same = len({text.rpartition(" ")[2] for text in (low, middle, high)}) == 1
    return f"{middle} ({low.rpartition(' ')[0] if same else low}–{high.rpartition(' ')[0] if same else high})"


def _change(then: float | None, now: float | None) -> str:
    if then is None or now is None or not then or _near(then, now):
        return ""
    return f"{now / then - 1:+.1%}" if abs(now / then - 1) < 10 else f"× {now / then:.3g}"


def _near(a: float | None, b: float | None) -> bool:
    if a is None or b is None:
        return a is b
    return math.isclose(a, b, rel_tol=SAME, abs_tol=1e-12)


# ---------------------------------------------------------------- why


def _facts(told: Bundle, asked: Scenario) -> list[str]:
    """Each fact of the model, the devices and the instance that is another one here."""
    found = []
    base, _ = split_changes(told.model.name)
    if told.model.config is not None and base in models():
        theirs, ours = told.model.config, models()[base].config
        differing = sorted(field for field in {**theirs, **ours} if ours.get(field) != theirs.get(field))[:5]
        found += [f"{base}: {field} {_there_and_here(theirs.get(field), ours.get(field))}" for field in differing]
    if not found:
        theirs, ours = told.model.ir, layout(ir(asked.model))
        differing = [field for field in _TOTALS if ours[field] != theirs.get(field)]
        found += [f"{base}, read by this version: {_words(field)} {_there_and_here(theirs.get(field), ours[field])}" for field in differing]
    for name, record in told.devices.items():
        try:
            found += _device_facts(hardware.device(name), record)
        except CatalogError:
            continue
    if told.instance is not None and asked.system.instance:
        price, now_price = told.instance.get("usd_per_h"), instances.instance(asked.system.instance).usd_per_h
        if price != now_price:
            found.append(f"{asked.system.instance}: an hour, in dollars, {_there_and_here(price, now_price)}")
    return found


def _device_facts(device: Device, record: Mapping[str, Any]) -> list[str]:
    here = record_of(device)
    differing = [field for field in own_hardware.FIELDS if here.get(field) != record.get(field)]
    told = []
    for field in differing:
        name = f"{heading(field)[0].lower()}{heading(field)[1:]}"
        told.append(f"{device.name}: {name} {_there_and_here(record.get(field), here.get(field), _unit(field))}")
    return told


def _unit(field: str) -> str:
    return f" {hardware.FACTS[field][3]}" if field in hardware.FACTS else ""


def _there_and_here(there: Any, here: Any, unit: str = "") -> str:
    return f"is {_text(there)}{unit if there is not None else ''} there and {_text(here)}{unit if here is not None else ''} here."


def _words(field: str) -> str:
    return field.replace("_", " ")


_TOTALS = ("layers", "parameters", "active_parameters", "stored_bytes")
_NAMES = ("model", "device", "others", "layers_of_cards", "stages_of_cards", "device_memory", "cost_basis", "link")


def _resolved(told: Bundle, found: Estimate) -> list[str]:
    """Knobs that nobody set and that are another value here: the runtime's defaults, or what was searched."""
    here: dict[str, Any] = finite(found.resolved)
    known = [knob for knob in here if knob in told.resolved and knob not in _NAMES and not _alike(told.resolved[knob], here[knob])]
    return [f"{_words(knob).capitalize()}, as it was used, {_there_and_here(told.resolved[knob], here[knob])}" for knob in known]


def _alike(a: Any, b: Any) -> bool:
    return _near(a, b) if isinstance(a, int | float) and isinstance(b, int | float) else a == b


def _text(amount: Any) -> str:
    if amount is None:
        return "unknown"
    if isinstance(amount, bool):
        return "yes" if amount else "no"
    if isinstance(amount, int | float):
        return f"{amount:,.10g}" if abs(amount) < 1e15 else f"{amount:.6g}"
    return f"“{str(amount)[:60]}”"


def _why(told: Bundle, found: Estimate, bare: Estimate, rows: tuple[Beside, ...], facts: list[str]) -> list[str]:
    """What explains the difference: changed facts one by one, then the versions; nothing where there is no difference."""
    if all(row.same for row in rows):
        return facts
    here = estimates(bare)
    physics = all(_near(amount, here[key]["p50"]) for key, amount in told.analytic.items() if key in here)
    made, why = told.made, list(facts)
    if physics:
        why.append("Physics and facts give the same numbers here: what differs is the correction by measurements alone.")
    if made.correction != found.version:
        why.append(f"There: {label(made.correction)}. Here: {found.label}.")
    if made.own_runs:
        why.append(f"There, {made.own_runs} runs of its maker's own machine shifted the numbers; a bundle does not hold them.")
    if found.own_runs:
        why.append(f"Here, {found.own_runs} runs of your own machine shift them.")
    if not physics:
        if made.roofcast != roofcast_version():
            why.append(f"It was made by Roofcast {made.roofcast}; this is {roofcast_version()}.")
        if made.catalog != edition().name:
            why.append(f"Its catalog knew facts up to {made.facts_until}; the one here is another, with facts up to {edition().newest}.")
        elif not facts:
            why.append("Facts and catalog are the same, so this version computes otherwise, or the numbers in the file were changed.")
    return why
