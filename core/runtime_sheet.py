"""A runtime's fact sheet: the defaults that it starts with, who says so, and what held before which version."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from core.catalog.files import source
from core.catalog.runtimes import FACTS, Runtime, Version, runtime
from core.units import show


def record(entry: Runtime) -> dict[str, Any]:
    """The sheet as plain data: base units, sources by their key."""
    return {
        "as_of": entry.as_of,
        "defaults": {name: fact.model_dump(exclude_none=True, exclude_defaults=True) for name, fact in entry.facts.items()},
        "vision": {
            "tower": entry.vision,
            "flag": entry.vision_flag,
            "cut_by_tensor_parallel": entry.vision_shards,
            "source": entry.vision_source,
            "note": entry.vision_note,
        },
        "versions": [version.model_dump(exclude_none=True) for version in entry.versions],
        "sources": list(entry.sources),
    }


def lines(entry: Runtime) -> list[str]:
    """The sheet for people."""
    newest = f"{entry.name} as of {entry.as_of}" if entry.as_of else f"{entry.name}, the newest that is described"
    told = [f"{newest}: what it starts with"]
    told += [f"  {text}" for text in _facts({name: fact.model_dump() for name, fact in entry.facts.items()})]
    told.append(f"  {_vision(entry)}")
    for version in sorted(entry.versions, key=lambda v: (v.from_date or "", v.from_version or ""), reverse=True):
        told += ["", f"Before {_when(version)}: {version.note or 'other defaults'}"]
        told += [f"  {text}" for text in _facts(version.before.get("facts", {}))]
        told += [f"  {key.replace('_', ' ')}: {_plain(old)}" for key, old in version.before.items() if key != "facts"]
        told.append(f"  ({source(version.source).title})")
    if entry.treated_as:
        told += ["", f"Speed is estimated as that of {runtime(entry.treated_as).name}{'' if entry.described else ', and so is all else'}."]
    return told


def _vision(entry: Runtime) -> str:
    does = {"default": "loaded with the model", "flag": "loaded when told to", "no": "not loaded"}[entry.vision]
    cut = "cut by tensor parallel" if entry.vision_shards else None
    cited = None if entry.vision_source is None else source(entry.vision_source)
    guess = "a guess" if cited is not None and cited.guess else None
    said = "; ".join(filter(None, (entry.vision_flag, cut, entry.vision_note, cited.title if cited else None, guess)))
    return f"vision tower: {does}{f' ({said})' if said else ''}"


def _facts(facts: Mapping[str, Mapping[str, Any] | None]) -> list[str]:
    found = []
    for name, fact in facts.items():
        unit, title = FACTS[name]
        if not fact:
            found.append(f"{title}: none")
            continue
        cited = source(str(fact["source"]))
        guess = "a guess" if fact.get("guess") or cited.guess else None
        said = "; ".join(text for text in (fact.get("flag"), fact.get("note"), cited.title, guess) if text)
        found.append(f"{title}: {show(float(fact['value']), unit).strip()} ({said})")
    return found


def _when(version: Version) -> str:
    return " or ".join(text for text in (version.from_version, version.from_date) if text)


def _plain(old: Any) -> str:
    return "yes" if old is True else "no" if old is False else ", ".join(map(str, old)) if isinstance(old, list) else str(old)
