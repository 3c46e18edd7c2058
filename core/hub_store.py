"""Where fetched models stand on this machine: one file a model and revision, in the folder `hub` of ROOFCAST_HOME.

hub/owner--name/<commit>/model.json.gz          the safetensors
hub/owner--name/<commit>/<file>.gguf.json.gz    one GGUF file
hub/owner--name/refs/<branch or tag>            the commit it was at when it was last fetched
"""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Callable, MutableMapping
from pathlib import Path
from urllib.parse import quote, unquote

from pydantic import ValidationError

from core.catalog.files import home
from core.errors import HubError, RunError
from core.hub_model import SCHEMA, HubModel
from core.hub_names import Target, folder_of, hub_name, parse

MAIN = "main"
_MOST_HELD = 20  # models of a session


def store_folder() -> Path:
    """The folder `hub` of ROOFCAST_HOME, else of the platform's place for data."""
    return home() / "hub"


def _place(repo: str, revision: str, file: str | None) -> Path:
    return store_folder() / folder_of(repo) / revision / f"{quote(file, safe='-_. ') if file else 'model'}.json.gz"


def _ref(repo: str, revision: str) -> Path:
    return store_folder() / folder_of(repo) / "refs" / quote(revision, safe="-_")


def save(model: HubModel, ref: str | None) -> None:
    """Stores a model, and the branch or tag that led to it. Raises HubError where the disk refuses."""
    from core.predict import write_bytes_whole

    text = json.dumps(model.model_dump(mode="json"), separators=(",", ":"))
    try:
        place = _place(model.repo, model.revision, model.file)
        place.parent.mkdir(parents=True, exist_ok=True)
        write_bytes_whole(place, gzip.compress(text.encode(), mtime=0))
        if ref and not model.revision.startswith(ref):
            place = _ref(model.repo, ref)
            place.parent.mkdir(parents=True, exist_ok=True)
            write_bytes_whole(place, model.revision.encode())
    except (OSError, RunError) as error:
        raise HubError(f"What was fetched cannot be kept in {store_folder()} ({error}); set ROOFCAST_HOME to another folder.") from error


def commit_of(repo: str, revision: str | None) -> str | None:
    """The commit that a branch, a tag or the start of a commit means in the store, or None."""
    folder = store_folder() / folder_of(repo)
    wanted = revision or MAIN
    try:
        if re.fullmatch(r"[0-9a-f]{7,64}", wanted):
            found = sorted(entry.name for entry in folder.iterdir() if entry.name.startswith(wanted))
            if found:
                return found[0]
        return _ref(repo, wanted).read_text().strip()
    except (OSError, UnicodeDecodeError):
        return None


def stored_files(repo: str) -> list[tuple[str, str]]:
    """(commit, name) of each stored GGUF file of a repository, sorted."""
    end = ".json.gz"
    places = (store_folder() / folder_of(repo)).glob(f"*/*{end}")
    found = ((place.parent.name, unquote(place.name[: -len(end)])) for place in places)
    return sorted((commit, name) for commit, name in found if name.lower().endswith(".gguf"))


IN_PROCESS: dict[str, HubModel] = {}
_WHERE: list[Callable[[], MutableMapping[str, HubModel]]] = [lambda: IN_PROCESS]


def of_session(where: Callable[[], MutableMapping[str, HubModel]]) -> None:
    """Says where models live that are held without being stored: by default this process, with the pages each visitor's session."""
    _WHERE[:] = [where]


def hold(model: HubModel) -> None:
    """Makes a model known by its name as long as the session lasts, without storing it; of many the oldest go."""
    held = _WHERE[0]()
    held[model.id] = model
    while len(held) > _MOST_HELD:
        del held[next(iter(held))]


def find(target: Target) -> HubModel | None:
    """The model that the session holds or that is stored, or None: not fetched, of an older schema, or damaged."""
    if target.revision and (held := _WHERE[0]().get(hub_name(target.repo, target.file, target.revision))):
        return held
    revision = commit_of(target.repo, target.revision)
    if revision is None or not re.fullmatch(r"[0-9a-f]{7,64}", revision):
        return None
    try:
        raw = json.loads(gzip.decompress(_place(target.repo, revision, target.file).read_bytes()))
        return HubModel.model_validate(raw) if raw.get("schema_version") == SCHEMA else None
    except (OSError, EOFError, ValueError, AttributeError, ValidationError, zlib.error):
        return None


def find_named(name: str) -> HubModel | None:
    """The stored model under the name that a scenario gives, or None."""
    try:
        return find(parse(name, local=False))
    except HubError:
        return None
