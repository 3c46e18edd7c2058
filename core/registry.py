"""Versions of the correction that were fitted here: each in a folder of ROOFCAST_HOME/versions, never changed, named by its content.

Which of them is in use stands in one small file beside them, with every earlier choice, so that any choice can be taken back.
"""

from __future__ import annotations

import functools
import hashlib
import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from core.catalog.files import home
from core.correction import Correction, save, shipped
from core.errors import CatalogError, RunError
from core.predict import write_whole

SHIPPED = "shipped"
FILES = ("correction.json", "correction.npz")
ABOUT, CHOICES, WANTED = "about.json", "choices.jsonl", "wanted.json"


@dataclass(frozen=True, slots=True)
class Version:
    """One fit that was made here. `about`: what it was made of and how it was judged; `promoted`: whether the gate let it through."""

    name: str
    folder: Path
    about: Mapping[str, Any] = field(default_factory=dict)

    @property
    def base(self) -> str:
        """The shipped version that it was refitted from."""
        return str(self.about.get("base", ""))

    @property
    def promoted(self) -> bool:
        return bool(self.about.get("promoted"))


def folder() -> Path:
    """Where versions stand."""
    return home() / "versions"


def versions() -> list[Version]:
    """Every version that was made here, oldest first; what is none is passed over."""
    found = [Version(path.parent.name, path.parent, _json(path)) for path in folder().glob(f"*/{ABOUT}")]
    return sorted((v for v in found if v.about), key=lambda v: (str(v.about.get("date", "")), v.name))


def version(name: str) -> Version:
    """The version of this name, or the only one that begins so. Raises CatalogError."""
    found = [v for v in versions() if v.name.startswith(name.strip().lower())]
    if len(found) == 1:
        return found[0]
    there = ", ".join(v.name for v in versions()) or "none yet: `roofcast refit` makes one"
    raise CatalogError(f"{'Several versions begin' if found else 'No version begins'} with '{name}'; there are {there}.")


def keep(correction: Correction, about: Mapping[str, Any]) -> Version:
    """Stores a fit as a version; the same content is stored once. Raises CatalogError where it cannot be written."""
    place = folder()
    try:
        place.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=place, prefix=".making-") as made:
            draft = Path(made) / "version"
            save(correction, draft)
            prints = {name: _print(draft / name) for name in FILES}
            told = json.dumps({"files": prints, "inputs": about.get("inputs", "")}, sort_keys=True)
            name = hashlib.sha256(told.encode()).hexdigest()[:12]
            if (place / name).is_dir():
                return version(name)
            now = datetime.now(UTC).isoformat(timespec="seconds")
            write_whole(draft / ABOUT, json.dumps({"version": name, "date": now, **about, "files": prints}, indent=1) + "\n")
            for path in draft.iterdir():
                path.chmod(0o444)
            draft.rename(place / name)
    except (OSError, RunError) as error:
        raise CatalogError(f"The version cannot be stored in {place} ({error}); set ROOFCAST_HOME to another folder.") from error
    return version(name)


def load(of: Version) -> Correction:
    """The correction that a version holds. Raises CatalogError where a file of it was changed."""
    for name, stands in dict(of.about.get("files", {})).items():
        if not (of.folder / name).is_file() or _print(of.folder / name) != stands:
            raise CatalogError(f"{name} of version {of.name} is not as it was stored; use another with `roofcast versions use`.")
    found = shipped(of.folder)
    if found is None:
        raise CatalogError(f"Version {of.name} holds no correction; use another with `roofcast versions use`.")
    return Correction(of.name, found.core, found.trust, found.bands)


# ---- Which is in use


def choices() -> list[dict[str, Any]]:
    """Every choice of a version, oldest first: name, when, why."""
    try:
        text = (folder() / CHOICES).read_text(encoding="utf-8")
    except OSError:
        return []
    found = []
    for line in text.splitlines():
        try:
            found.append(dict(json.loads(line)))
        except (ValueError, TypeError):
            continue
    return found


def chosen() -> str:
    """The name of the version in use, or SHIPPED."""
    listed = choices()
    return str(listed[-1].get("version", SHIPPED)) if listed else SHIPPED


def use(name: str, why: str) -> str:
    """Puts a version (or SHIPPED) into use; returns its name. Raises CatalogError."""
    if name != SHIPPED:
        of = version(name)
        load(of)
        name = of.name
    now = datetime.now(UTC).isoformat(timespec="seconds")
    lines = [*choices(), {"version": name, "when": now, "why": why}]
    try:
        folder().mkdir(parents=True, exist_ok=True)
        write_whole(folder() / CHOICES, "".join(json.dumps(line) + "\n" for line in lines))
    except (OSError, RunError) as error:
        raise CatalogError(f"The choice cannot be stored in {folder()} ({error}).") from error
    return name


def undo() -> str:
    """Goes back to what was in use before the present version; returns its name. Raises CatalogError where there was none."""
    listed = [str(line.get("version", SHIPPED)) for line in choices()]
    if not listed:
        raise CatalogError("Nothing was ever chosen here: the shipped version is in use.")
    return use(listed[-2] if len(listed) > 1 else SHIPPED, f"taken back: {listed[-1]}")


def in_use() -> Correction | None:
    """The version in use; None where that is the shipped one, or one that was refitted from another shipped fit than today's."""
    name = chosen()
    if name == SHIPPED:
        return None
    try:
        of = version(name)
        now = shipped()
        return _loaded(str(of.folder), of.name) if now is not None and of.base == now.version else None
    except CatalogError:
        return None


@functools.lru_cache(maxsize=2)
def _loaded(place: str, name: str) -> Correction:
    return load(Version(name, Path(place), _json(Path(place) / ABOUT)))


# ---- A refit that something asked for


def want(reasons: list[str]) -> None:
    """Asks for a refit; the next `roofcast refit` makes it. Raises CatalogError."""
    kept = sorted({*wanted(), *reasons})
    try:
        folder().mkdir(parents=True, exist_ok=True)
        write_whole(folder() / WANTED, json.dumps(kept, indent=1) + "\n")
    except (OSError, RunError) as error:
        raise CatalogError(f"The request cannot be stored in {folder()} ({error}).") from error


def wanted() -> list[str]:
    """Why a refit is asked for; empty where none is."""
    try:
        found = json.loads((folder() / WANTED).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return [str(reason) for reason in found] if isinstance(found, list) else []


def done() -> None:
    """The refit that was asked for is made."""
    (folder() / WANTED).unlink(missing_ok=True)


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _print(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
