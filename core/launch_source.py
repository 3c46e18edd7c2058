"""What a command loads of a model that was fetched: from its name to a repository, a revision or a file, and back."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Any

from core.errors import HubError
from core.gguf_tower import tower_file
from core.hub_model import HubModel
from core.hub_names import LOCAL, Target, endpoint, is_hub_name, is_link, parse, split_changes
from core.hub_store import MAIN, commit_of, find, stored_files


def load_knobs(model_id: str, runtime_id: str) -> dict[str, Any]:
    """Launch knobs by which a runtime loads this model; only those of a fetched model, or one with fields set by hand, differ."""
    name, changes = split_changes(model_id)
    knobs: dict[str, Any] = {"model": name}
    if changes:
        said = ", ".join(f"{field}={amount}" for field, amount in changes.items())
        knobs["notes"] = (f"Set by hand, and so in no published checkpoint: {said}. Put your own in the model's place.",)
    held = find(parse(name, local=False)) if is_hub_name(name) else None
    if held is None:
        return knobs
    if held.was is not None:  # a bundle's: what its maker's command loads
        known = parse(held.was, local=False)
        held = held.model_copy(update={"repo": known.repo, "file": known.file, "revision": known.revision or ""})
    if held.file is None and not held.revision:
        return knobs | {"model": held.repo}
    if held.file is None:
        return knobs | {"model": held.repo, "revision": held.revision}
    base = PurePosixPath(held.file).name
    if tower := tower_file(held.vision):
        knobs["mmproj"] = PurePosixPath(tower).name
    knobs["model"] = base if held.repo == LOCAL else held.repo
    if held.repo == LOCAL:
        return knobs | {"file": f"./{base}" if runtime_id == "ollama" else base}
    newest = commit_of(held.repo, MAIN) == held.revision
    if runtime_id == "ollama":
        knobs["file"] = f"hf.co/{held.repo}:{_tag(held) or base}"
        return knobs if newest else knobs | {"revision": held.revision}
    if not newest:
        return knobs | {"url": f"{endpoint()}/{held.repo}/resolve/{held.revision}/{held.file}"}
    if tag := _tag(held):
        return knobs | {"repository": f"{held.repo}:{tag}"}
    return knobs | {"repository": held.repo, "repository_file": held.file}


def _tag(held: HubModel) -> str | None:
    """The quantisation that names this file among those of its repository that are here; None where the file's name must."""
    if held.quant is None or not _names(held.quant, held.file or ""):
        return None
    return held.quant


def _names(tag: str, file: str) -> bool:
    return re.search(rf"(?<![a-z0-9]){re.escape(tag)}(?![a-z0-9_])", file, re.IGNORECASE) is not None


def loaded(repository: str | None = None, file: str | None = None, *, revision: str | None = None) -> HubModel | None:
    """The fetched model that a command loads, or None: `repository` is "owner/name" or "owner/name:quant", `file` one of its
    files, a link, or a path of the machine that it runs on."""
    if file and is_link(file):
        return _find(file)
    if repository is None:
        return _of_files(LOCAL, lambda name: name == re.split(r"[/\\]", file or "")[-1])
    repo, _, tag = re.sub(r"^(?:https?://)?(?:hf\.co|huggingface\.co)/", "", repository).partition(":")
    if file or tag.lower().endswith(".gguf"):
        wanted = file or tag
        return _of_files(repo, lambda name: name == wanted or PurePosixPath(name).name == wanted)
    if tag:
        return _of_files(repo, lambda name: _names(tag, name))
    return _find(f"{repo}@{revision}" if revision else repo)


def _find(text: str) -> HubModel | None:
    try:
        return find(parse(text, local=False))
    except HubError:
        return None


def _of_files(repo: str, fits: Any) -> HubModel | None:
    """The one stored GGUF file that fits, the branch's newest where several commits hold it."""
    found = [(commit, file) for commit, file in stored_files(repo) if fits(file)]
    newest = [pair for pair in found if pair[0] == commit_of(repo, None)]
    chosen = newest if newest else found
    return find(Target(repo, chosen[0][1], None, chosen[0][0])) if len(chosen) == 1 else None
