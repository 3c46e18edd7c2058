"""One file that reproduces a result: the scenario, what it names in full, the versions behind it, and its main numbers with ranges.

A shipped model or device is told too, so that whoever opens the file sees where their own facts differ. What a file says is checked
here; `core.bundle_replay` asks its question again.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from core.answer import Estimate
from core.catalog import hardware, instances, own_hardware
from core.catalog.files import edition
from core.catalog.hardware import Device
from core.catalog.models import model, models
from core.catalog.own_hardware import FIELDS
from core.errors import ScenarioError
from core.hub_model import HubModel
from core.hub_names import split_changes, with_changes
from core.hub_store import find_named
from core.ir import ModelIR
from core.model_cache import ranges
from core.response import estimates, finite
from core.scenario import Scenario, scenario
from core.scenario import sentence as scenario_sentence
from core.sweep import answer

FORMAT = "roofcast-bundle-1"
MAX_MB = 4
MAX_BYTES = MAX_MB * 10**6
_LONGEST = 1000  # characters of a name
_MOST_TENSORS, _MOST_BYTES = 100_000, 10**15


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Spread(_Part):
    """A number with its range; None where it is unknown."""

    p10: float | None = None
    p50: float | None = None
    p90: float | None = None
    p95: float | None = None


class Made(_Part):
    """What the result was made with, and when."""

    roofcast: str = Field(max_length=100)
    correction: str | None = Field(None, max_length=100)  # None: by physics alone
    own_runs: int = Field(0, ge=0)  # of its author's, behind the numbers; they are not in the file
    catalog: str = Field(max_length=100)  # hash of its files
    facts_until: str = Field(max_length=10)  # newest date that stands in them
    date: str = Field(max_length=40)


class Model(_Part):
    """The model: what its IR is built from (a shipped one's config, or what was `read` of files), and the IR to look at."""

    name: str = Field(min_length=1, max_length=_LONGEST)
    config: dict[str, Any] | None = None
    read: HubModel | None = None
    ir: dict[str, Any]

    @field_validator("read")
    @classmethod
    def _within_reason(cls, read: HubModel | None) -> HubModel | None:
        if read is not None:
            if len(read.tensors) > _MOST_TENSORS:
                raise ValueError(f"a model must have at most {_MOST_TENSORS:,} tensors")
            sizes = [size for _, size in read if isinstance(size, int)]
            sizes += [size for tensor in read.tensors for size in (tensor.elements, tensor.bytes, tensor.copies)]
            if not all(0 <= size <= _MOST_BYTES for size in sizes):
                raise ValueError("a tensor's size must lie between 0 and 10^15")
        return read


class Bundle(_Part):
    """The file. `devices`: each device's facts by the name that the scenario gives; `numbers` by the keys of `roofcast estimate --json`.

    `analytic` are the medians by physics alone: where they are the same elsewhere and `numbers` are not, the correction is why.
    """

    format: Literal["roofcast-bundle-1"]
    made: Made
    scenario: dict[str, Any]
    model: Model
    devices: dict[str, dict[str, Any]] = Field(min_length=1, max_length=40)
    instance: dict[str, Any] | None = None
    feasibility: str = Field(max_length=40)
    resolved: dict[str, Any]
    numbers: dict[str, Spread] = Field(max_length=100)
    analytic: dict[str, float | None] = Field(max_length=100)

    def asked(self) -> Scenario:
        """The scenario as it was asked, names and all."""
        return scenario(self.scenario)

    def to_json(self) -> str:
        return json.dumps(self.model_dump(mode="json", exclude_none=True), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


# ---------------------------------------------------------------- out


def bundle(found: Estimate) -> Bundle:
    """A result as a bundle. Raises what `core.sweep.answer` raises."""
    asked = exact(found.scenario)
    named = [name for name in device_names(asked) if name]
    rented = instances.instance(asked.system.instance) if asked.system.instance else None
    bare = answer(found.scenario, analytic=True)
    return Bundle(
        format=FORMAT,
        made=Made(roofcast=roofcast_version(), correction=found.version, own_runs=found.own_runs, catalog=edition().name,
                  facts_until=edition().newest, date=datetime.now(UTC).strftime("%Y-%m-%d")),
        scenario=asked.to_dict(),
        model=_model(asked.model, found.ir),
        devices={name: record_of(hardware.device(name)) for name in named},
        instance=None if rented is None else rented.model_dump(mode="json", exclude_none=True),
        feasibility=found.feasibility,
        resolved=finite(found.resolved),
        numbers={key: Spread(**spread) for key, spread in estimates(found).items()},
        analytic={key: spread["p50"] for key, spread in estimates(bare).items()},
    )  # fmt: skip


def exact(asked: Scenario) -> Scenario:
    """The scenario with names that hold elsewhere: a model's with its revision, a device of one's own written out."""

    def written(name: str) -> str:
        device = hardware.device(name)
        return device.id if own_hardware.is_own(device) else name

    system = asked.system
    others = tuple(cards.model_copy(update={"device": written(cards.device)}) for cards in system.others)
    return asked.with_(
        model=model(asked.model).id,
        device=written(system.device),
        others=others,
        cpu=written(system.cpu) if system.cpu else None,
    )


def device_names(asked: Scenario) -> Iterator[str]:
    """Every device that a scenario names, the first kind first."""
    yield asked.system.device
    yield from (cards.device for cards in asked.system.others)
    if asked.system.cpu:
        yield asked.system.cpu


def record_of(device: Device) -> dict[str, Any]:
    """A device's facts, without their sources; defaults are left out."""
    return device.model_dump(mode="json", include=set(FIELDS), exclude_defaults=True)


def file_name(asked: Scenario) -> str:
    """What the file is called: "roofcast-qwen3-8b-geforce-rtx-4090.json"."""
    parts = (split_changes(asked.model)[0].rpartition("/")[2].partition("@")[0], asked.system.device.partition("?")[0])
    plain = "-".join("".join(c if c.isalnum() or c == "." else "-" for c in part.casefold()) for part in parts)
    return f"roofcast-{'-'.join(filter(None, plain.split('-')))[:80]}.json"


@cache
def roofcast_version() -> str:
    """The installed version of Roofcast."""
    try:
        return version("roofcast")
    except PackageNotFoundError:
        return "not installed"


def _model(name: str, ir: ModelIR) -> Model:
    base, _ = split_changes(name)
    if base in models():
        return Model(name=name, config=models()[base].config, ir=layout(ir))
    return Model(name=name, read=find_named(base), ir=layout(ir))


def layout(ir: ModelIR) -> dict[str, Any]:
    """The IR as plain data: kinds of layers, and the tensors with their shapes, those of many layers in one line."""
    tensors: Counter[tuple[Any, ...]] = Counter()
    for tensor in ir.tensors:
        name = tensor.name if tensor.layer is None else tensor.name.replace(f".{tensor.layer}.", ".*.", 1)
        tensors[name, tensor.shape, tensor.group, tensor.shard, tensor.block] += 1
    blocks = [asdict(block) | {"layers": ranges(block.layers)} for block in ir.blocks]
    told = ("kind", "layers", "width", "heads", "inner", "patch", "merge", "parameters", "stored_bytes")
    tower = None if ir.tower is None else {name: getattr(ir.tower, name) for name in told}
    return {
        "model_type": ir.model_type, "layers": ir.layers, "hidden": ir.hidden, "vocab": ir.vocab, "max_context": ir.max_context,
        "parameters": ir.parameters, "active_parameters": ir.active_parameters, "tied_embeddings": ir.tied_embeddings,
        "published_as": ir.native_quant or ir.native_dtype, "stored_bytes": sum(size for _, size in ir.stored) or None, "blocks": blocks,
        "vision_tower": tower,
        "tensors": [
            {"name": name, "shape": list(shape), "group": group, "split_by": shard, "block": block, "count": count}
            for (name, shape, group, shard, block), count in tensors.items()
        ],
        "assumed": dict(ir.assumed),
    }  # fmt: skip


# ---------------------------------------------------------------- in


def read(raw: bytes, name: str = "The file") -> Bundle:
    """The bundle that a file holds, checked field by field. Raises ScenarioError, one sentence."""
    if len(raw) > MAX_BYTES:
        raise ScenarioError(f"{name} has {len(raw):,} bytes; a bundle has at most {MAX_BYTES:,}.")
    try:
        found = json.loads(raw.decode("utf-8-sig"), parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise ScenarioError(f"{name} is not JSON in UTF-8; save the bundle again and try once more.") from None
    if not isinstance(found, dict) or "format" not in found:
        raise ScenarioError(f"{name} is no bundle: its “format” must be “{FORMAT}”. “Save as a bundle” under any estimate writes one.")
    if found["format"] != FORMAT:
        raise ScenarioError(f"{name} has the format {str(found['format'])[:60]!r}; this Roofcast reads {FORMAT!r}: update it.")
    try:
        checked = Bundle.model_validate(found)
    except ValidationError as error:
        at = ".".join(str(part) for part in error.errors()[0]["loc"])[:120]
        raise ScenarioError(f"{name} is a bundle with a wrong field “{at}”: {scenario_sentence(error)[:300]}") from None
    except RecursionError:
        raise ScenarioError(f"{name} is no bundle: its fields are nested without end.") from None
    try:
        asked = checked.asked()
    except ScenarioError as error:
        made = checked.made.roofcast
        hint = "" if made == roofcast_version() else f" It was made by Roofcast {made}, this is {roofcast_version()}."
        raise ScenarioError(f"{name} asks what cannot be asked: {error}{hint}") from None
    missing = [device for device in device_names(asked) if device not in checked.devices]
    if missing:
        raise ScenarioError(f"{name} lacks the facts of “{missing[0][:80]}”; save the bundle again.")
    if asked.model != checked.model.name or (checked.model.config is None) == (checked.model.read is None):
        raise ScenarioError(f"{name} must hold one description of the model that its scenario names; save the bundle again.")
    return checked


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no number that JSON has")


def carried(told: Model) -> HubModel:
    """The model of a bundle as one that was read of files, under a name of its own content.

    The name that it had elsewhere proves nothing here: the hash keeps it from standing for another's model.
    """
    base, _ = split_changes(told.name)
    read = told.read or HubModel(repo="", revision="", container="none", config=told.config or {})
    was = read.was or (f"{read.repo}{'/' + read.file if read.file else ''}@{read.revision}" if read.repo else base)
    bare = read.model_dump(mode="json", exclude={"repo", "revision", "file", "notes", "was"})
    digest = hashlib.sha256(json.dumps([was, bare], sort_keys=True).encode()).hexdigest()
    short = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in was.partition("@")[0].rpartition("/")[2])
    notes = (*read.notes[:20], f"from a bundle, where it was called {base}; nobody checked it against the Hub")
    file = f"{short.removesuffix('.gguf')}.gguf" if read.file else None
    return read.model_copy(update={"repo": f"bundle/{short.strip('.-')[:90] or 'model'}", "file": file, "revision": digest, "was": was,
                                   "notes": tuple(dict.fromkeys(notes))})  # fmt: skip


def renamed(told: Model, base: str) -> str:
    """The scenario's name of the model, fields set by hand and all, with another base."""
    return with_changes(base, split_changes(told.name)[1])
