"""How a model outside the catalog is named, and what people paste, as one of those names.

    owner/name@revision                the safetensors of a Hub repository
    owner/name/path/file.gguf@revision one GGUF file of it (of a split file, the first)
    local/file.gguf@digest             a GGUF file of this machine, by the SHA-256 of its header

A revision is a commit (12 digits or more), branch or tag; without one it is "main" as last fetched. Behind any name of a
model, the catalog's too, fields of its config may be set by hand: `name?num_hidden_layers=40&head_dim=128`.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from core.errors import HubError, ScenarioError

LOCAL = "local"
HUB_HOSTS = frozenset({"huggingface.co", "www.huggingface.co", "hf.co"})
_REPO = re.compile(r"[A-Za-z0-9_][\w.-]{0,95}(?:/[A-Za-z0-9_][\w.-]{0,95})?")
_REVISION = re.compile(r"[A-Za-z0-9][\w./+-]{0,200}")
_FILE = re.compile(r"[^\\@?#:\x00-\x1f]{1,400}\.gguf", re.IGNORECASE)
_TAG = re.compile(r"[\w.-]{1,60}")
_WHAT = "Give owner/name, a huggingface.co link, or the path or link of a GGUF file."


@dataclass(frozen=True, slots=True)
class Target:
    """What a pasted text means. `tag` is a quantisation of a GGUF repository, as Ollama writes it ("…:Q4_K_M")."""

    repo: str = ""
    file: str | None = None
    tag: str | None = None
    revision: str | None = None
    path: Path | None = None  # a local file; the other fields are empty


def endpoint() -> str:
    """Address of the Hub: HF_ENDPOINT, or huggingface.co."""
    return (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")


def hub_name(repo: str, file: str | None, revision: str) -> str:
    """The name of a model at a revision."""
    return f"{repo}{'/' + file if file else ''}@{revision[:12]}"


def is_hub_name(text: str) -> bool:
    """Whether a model's name can only be one of these, never the catalog's."""
    return "/" in text and ("@" in text or text.lower().endswith(".gguf"))


def is_repo(text: str) -> bool:
    """Whether a model's name is written owner/name."""
    return "/" in text and _REPO.fullmatch(text) is not None


def parse(text: str, *, local: bool = True) -> Target:
    """What a pasted id, link or path means; `local=False` refuses paths. Raises HubError where it is none of them."""
    text = text.strip()
    if not text or len(text) > 1000:
        raise HubError(f"That names no model. {_WHAT}")
    path = Path(text).expanduser()
    if is_path(text) or (local and text.lower().endswith(".gguf") and "://" not in text and path.is_file()):
        if not local:
            raise HubError(f"'{text}' is a path, which cannot be read from here. Give owner/name or a huggingface.co link.")
        return Target(path=path)
    return _checked(_from_link(text) if is_link(text) else _from_name(text), text)


def is_path(text: str) -> bool:
    """Whether a text can only be a path of this machine."""
    return text.startswith(("/", "./", "../", "~", ".\\", "..\\")) or re.match(r"[A-Za-z]:[\\/]", text) is not None


def is_link(text: str) -> bool:
    """Whether a text is an address, with or without its scheme."""
    return "://" in text or text.split("/")[0].lower() in HUB_HOSTS


def _from_link(text: str) -> Target:
    try:
        parts = urlsplit(text if "://" in text else f"https://{text}")
    except ValueError:
        parts = urlsplit("none:")
    if parts.scheme == "hf":
        return _from_name(f"{parts.netloc}{unquote(parts.path)}")
    if parts.scheme not in ("http", "https") or parts.netloc.lower() not in {*HUB_HOSTS, urlsplit(endpoint()).netloc}:
        raise HubError(f"'{text}' is no link to the Hub. Give a huggingface.co link, or download the file and give its path.")
    pieces = [unquote(piece) for piece in parts.path.split("/") if piece]
    if pieces[:1] == ["models"]:
        pieces = pieces[1:]
    if pieces[:1] in (["datasets"], ["spaces"]):
        raise HubError(f"'{text}' is no model but a {pieces[0][:-1]} of the Hub. {_WHAT}")
    at = next((i for i, piece in enumerate(pieces[:3]) if i and piece in ("tree", "blob", "resolve", "raw")), None)
    if at is None:
        return _from_name("/".join(pieces))
    revision, file = pieces[at + 1 : at + 2], pieces[at + 2 :]
    if revision == ["refs"] and len(file) > 2:  # refs/pr/1
        revision, file = ["/".join([*revision, *file[:2]])], file[2:]
    name = file[-1].lower() if file else ""
    # Any other file of a repository stands for the repository.
    return Target("/".join(pieces[:at]), "/".join(file) if name.endswith(".gguf") else None, None, "".join(revision) or None)


def _from_name(text: str) -> Target:
    name, _, revision = text.partition("@")
    if name.lower().endswith(".gguf"):
        pieces = name.split("/")
        if pieces[0] == LOCAL and len(pieces) == 2:
            return Target(LOCAL, pieces[1], None, revision or None)
        return Target("/".join(pieces[:2]), "/".join(pieces[2:]), None, revision or None)
    repo, _, tag = name.rstrip("/").partition(":")
    return Target(repo, None, tag or None, revision or None)


def _checked(found: Target, text: str) -> Target:
    bad = (
        not _REPO.fullmatch(found.repo)
        or ".." in found.repo
        or (found.file is not None and (not _FILE.fullmatch(found.file) or _climbs(found.file)))
        or (found.tag is not None and not _TAG.fullmatch(found.tag))
        or (found.revision is not None and (not _REVISION.fullmatch(found.revision) or _climbs(found.revision)))
    )
    if bad:
        shown = "".join(c if c.isprintable() else "?" for c in (text if len(text) <= 80 else text[:77] + "..."))
        raise HubError(f"'{shown}' is no name of a model on the Hub. {_WHAT}")
    return found


def _climbs(path: str) -> bool:
    return any(piece in ("", ".", "..") for piece in path.split("/"))


def folder_of(repo: str) -> str:
    """The name of a repository's folder in the store."""
    return quote(repo.replace("/", "--"), safe="-_.")


# ---- fields set by hand


def split_changes(name: str) -> tuple[str, dict[str, Any]]:
    """A model's name and the fields set by hand behind it. Raises ScenarioError where they cannot be read."""
    base, mark, query = name.partition("?")
    if not mark:
        return name, {}
    changes: dict[str, Any] = {}
    for field, text in parse_qsl(query, keep_blank_values=True):
        changes.update(read_change(f"{field}={text}"))
    if not changes:
        raise ScenarioError(f"'{name}' sets no field; write field=value behind the '?', or leave it out.")
    return base.strip(), changes


def with_changes(name: str, changes: dict[str, Any]) -> str:
    """The name of a model with these fields set by hand, in the order of their names."""
    said = {field: str(value).lower() if isinstance(value, bool) else value for field, value in sorted(changes.items())}
    return f"{name}?{urlencode(said)}" if changes else name


def read_change(text: str) -> dict[str, Any]:
    """One "field=value" of a config: a whole number, a number, true, false, or a word. Raises ScenarioError."""
    field, mark, value = (part.strip() for part in text.partition("="))
    if not mark or not re.fullmatch(r"[A-Za-z_]\w{0,60}", field) or not re.fullmatch(r"[\w.+-]{1,60}", value):
        raise ScenarioError(f"'{text}' sets no field of a config; write it as field=value, such as num_hidden_layers=40.")
    if value.lower() in ("true", "false"):
        return {field: value.lower() == "true"}
    for kind in (int, float):
        try:
            return {field: kind(value)}
        except ValueError:
            continue
    return {field: value}
