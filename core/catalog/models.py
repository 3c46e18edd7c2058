"""The models of the catalog: records, names people type, and their IR; and, under their own names, those of the Hub.

A bare `owner/name` means the catalog's model of that id, else the one that `core.hub.fetch` stored. A name with "@" or
ending in ".gguf" always means the stored one (core/hub_names.py). Nothing here asks the network.
"""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from core.catalog.files import CATALOG, CatalogRecord, read, record, source
from core.errors import CatalogError
from core.hub_names import is_hub_name, is_repo, split_changes, with_changes
from core.ir import ModelIR
from core.ir_build import build_ir
from core.quantity import Quantity, leaf

if TYPE_CHECKING:
    from core.hub_model import HubModel

# What a published total counts; only "weights" can be compared with the sum of the IR's tensors.
Covers = Literal[
    "weights",  # the tensors of the text model, with its prediction modules if it has any
    "text and vision",
    "text, vision and audio",
    "a copy of the tied head",
    "attention masks stored as tensors",
    "packed elements",  # several weights in one stored number
    "an undeclared prediction module",
    "undeclared prediction modules",
    "an estimate",
]


class Alternative(CatalogRecord):
    """A field on which two sources disagree, and why the record has the value it has."""

    field: str
    used: Any
    other: Any
    other_source: str
    why: str


class ModelRecord(CatalogRecord):
    """One file of data/catalog/models. `config` has the field names of Hugging Face's config.json."""

    id: str
    source: str
    source_path: str | None = None
    revision: str | None = None
    licence: str | None = None  # of the model
    partial: bool = False  # the source did not hold every field
    published_parameters: int | None = None
    published_source: str | None = None
    published_covers: Covers | None = None
    published_active: int | None = None
    published_active_source: str | None = None
    aliases: tuple[str, ...] = ()
    note: str | None = None
    config: dict[str, Any]
    guess: tuple[str, ...] = ()  # config fields that no document was at hand for
    derived: tuple[str, ...] = ()  # config fields that follow from the published total
    alternatives: tuple[Alternative, ...] = ()


@functools.cache
def models() -> dict[str, ModelRecord]:
    """Every model by its id, in the order of ids. Raises CatalogError for a file that holds nonsense."""
    found: dict[str, ModelRecord] = {}
    for path in sorted((CATALOG / "models").glob("*.json"), key=lambda p: p.name.lower()):
        entry = record(ModelRecord, read(path), path.name)
        if path.stem != entry.id.replace("/", "--"):
            wanted = entry.id.replace("/", "--") + ".json"
            raise CatalogError(f"{path.name} holds the model '{entry.id}'; rename the file to {wanted}.")
        found[entry.id] = entry
    return found


def ir(model_id: str) -> ModelIR:
    """The IR of a model, by id or any name that `model` resolves."""
    # A commit never changes, so a name that holds one is its own key.
    return _ir(model_id if model_id in models() or _COMMIT.search(model_id) else _id_of(model_id))


_COMMIT = re.compile(r"@[0-9a-f]{12}(?:\?|$)")


def _id_of(name: str) -> str:
    return model(name).id if "/" in name or "?" in name else _catalog_id(name)


@functools.lru_cache(maxsize=256)
def _catalog_id(name: str) -> str:
    return model(name).id


@functools.lru_cache(maxsize=256)
def _ir(model_id: str) -> ModelIR:
    base, changes = split_changes(model_id)
    if base in models():
        return build_ir(models()[base].config, model_id, changes)
    return _stored(base).ir(changes)


def _stored(name: str) -> HubModel:
    """The model of the Hub under a name. Raises CatalogError where it was not fetched."""
    from core.hub_store import find_named  # brings in what catalog names never need

    held = find_named(name)
    if held is None:
        raise CatalogError(f"'{name}' was not fetched to this machine; run `roofcast model {name}` once.")
    return held


def _record(held: HubModel) -> ModelRecord:
    return ModelRecord(
        id=held.id,
        source="model-files",
        source_path="/".join((held.repo, held.file or "config.json")),
        revision=held.revision,
        config=held.config,
        note="; ".join(held.notes) or None,
    )


# ---- names ---------------------------------------------------------------------------------------------------------

# "8x7b", "a3b", "v0.1", "70b", "3.1", "llama"
_TOKEN = re.compile(r"\d+x\d+(?:\.\d+)?b|a\d+(?:\.\d+)?b|v\d+(?:\.\d+)*|\d+(?:\.\d+)?[bmte](?![a-z0-9])|\d+(?:\.\d+)*|[a-z]+")
_SIZE = re.compile(r"(\d+x)?\d+(\.\d+)?[bm]")
# Words that tell a tuning from its base but never one size or generation from another.
_SOFT = frozenset({"instruct", "chat", "it", "base", "hf", "meta", "pt", "inst"})
_RELEASE = re.compile(r"v[01](\.\d+)?|\d{4}")  # a revision or a date, as in "v0.1" and "2507"; "v3" is a generation


def _tokens(text: str) -> tuple[str, ...]:
    return tuple(_TOKEN.findall(re.sub(r"(?<=\d)_(?=\d)", ".", text.lower())))


def _key(text: str) -> str:
    return " ".join(_tokens(text))


def _hard(tokens: Iterable[str]) -> Counter[str]:
    return Counter(t for t in tokens if t not in _SOFT)


class _Hit(NamedTuple):
    id: str
    more: tuple[str, ...]  # telling words that were not asked for
    releases: tuple[str, ...]  # revisions and dates that were not asked for
    soft: int  # how many words of tuning differ


class _Names:
    """The catalog's names, ready to be matched."""

    def __init__(self, entries: Iterable[ModelRecord]) -> None:
        self.exact: dict[str, set[str]] = {}
        self.rows: list[tuple[str, str, tuple[str, ...], Counter[str]]] = []  # id, org, tokens, hard tokens
        for entry in entries:
            for name in (entry.id, *entry.aliases):
                org, slash, short = name.rpartition("/")
                for text in {name, short}:
                    # An id goes before a short name that another one happens to share.
                    self.exact.setdefault(_key(text), set()).add(entry.id)
                tokens = _tokens(short)
                self.rows.append((entry.id, org.lower() if slash else "", tokens, _hard(tokens)))

    def same(self, text: str) -> list[str]:
        return sorted(self.exact.get(_key(text), ()))

    def containing(self, text: str) -> list[_Hit]:
        """Names with all the telling words of `text`, nearest first."""
        org, slash, short = text.rpartition("/")
        asked = _tokens(short)
        hard, soft = _hard(asked), {t for t in asked if t in _SOFT}
        if not hard:
            return []
        hits = []
        for model_id, owner, tokens, own in self.rows:
            if (slash and owner != org.lower()) or hard - own:
                continue
            more = sorted((own - hard).elements())
            releases = tuple(t for t in more if _RELEASE.fullmatch(t))
            hits.append(
                _Hit(
                    model_id,
                    tuple(t for t in more if t not in releases),
                    releases,
                    len(soft ^ {t for t in tokens if t in _SOFT}),
                )
            )
        # Of releases alike in all else the newest, behind one without any.
        hits.sort(key=lambda hit: hit.releases, reverse=True)
        return sorted(hits, key=lambda hit: (len(hit.more), hit.soft, len(hit.releases)))


@functools.cache
def _names() -> _Names:
    return _Names(models().values())


def model(name: str) -> ModelRecord:
    """The model that a name means: an id, an alias, or words such as "llama 3.1 8b".

    Raises CatalogError with suggestions where no model, or more than one, carries all the words: never another size.
    """
    entries, text = models(), name.strip()
    if text in entries:
        return entries[text]
    base, changes = split_changes(text)
    if changes:
        entry = model(base)
        return entry.model_copy(update={"id": with_changes(entry.id, changes), "config": {**entry.config, **changes}})
    if is_hub_name(text):
        return _record(_stored(text))
    if is_repo(text):
        from core.hub_store import find_named

        if held := find_named(text):
            return _record(held)
    same = _names().same(text)
    if len(same) == 1:
        return entries[same[0]]
    hits = _names().containing(text)
    nearest = [hit for hit in hits if len(hit.more) == len(hits[0].more)]
    sizes = {tuple(t for t in hit.more if _SIZE.fullmatch(t)) for hit in hits}
    if nearest and len({hit.more for hit in nearest}) == 1 and (not nearest[0].more or len(sizes) == 1):
        return entries[nearest[0].id]
    raise _unknown(name, [hit.id for hit in (nearest if len(nearest) > 1 else hits)])


def _unknown(name: str, candidates: list[str]) -> CatalogError:
    near = list(dict.fromkeys(candidates))[:3] or [entry.id for entry in _fuzzy(name, 3)]
    if len(dict.fromkeys(candidates)) > 1:
        return CatalogError(f"'{name}' names more than one model in the catalog. Did you mean {_either(near)}? Give the full name.")
    hint = f" Did you mean {_either(near)}?" if near else " List what there is with `roofcast models`."
    return CatalogError(f"No model '{name}' in the catalog.{hint}")


def _either(ids: list[str]) -> str:
    return ids[0] if len(ids) == 1 else ", ".join(ids[:-1]) + " or " + ids[-1]


def _fuzzy(text: str, limit: int) -> list[ModelRecord]:
    from rapidfuzz import fuzz, process

    entries = models()
    found = process.extract(
        _key(text),
        {entry.id: _key(entry.id.rpartition("/")[2]) for entry in entries.values()},
        scorer=fuzz.token_sort_ratio,
        limit=limit,
        score_cutoff=55,
    )
    return [entries[model_id] for _, _, model_id in found]


def search_models(text: str, limit: int = 20) -> list[ModelRecord]:
    """Models for a search box, best first: those with all the words, nearest first, then names that look alike.

    An empty text lists the catalog.
    """
    entries = models()
    if not text.strip():
        return list(entries.values())[:limit]
    ranked = dict.fromkeys(_names().same(text))
    ranked.update(dict.fromkeys(hit.id for hit in _names().containing(text)))
    words = text.lower().split()
    ranked.update(dict.fromkeys(i for i in entries if all(word in i.lower() for word in words)))
    if len(ranked) < limit:
        ranked.update(dict.fromkeys(entry.id for entry in _fuzzy(text, limit)))
    return [entries[model_id] for model_id in list(ranked)[:limit]]


# ---- figures -------------------------------------------------------------------------------------------------------

_UNITS = {
    "max_position_embeddings": "tok",
    "n_positions": "tok",
    "seq_length": "tok",
    "sliding_window": "tok",
    "attention_chunk_size": "tok",
}


def config_quantity(entry: ModelRecord, field: str) -> Quantity:
    """A number of a model's config as a cited leaf. Raises CatalogError when the record has no such number."""
    amount = entry.config.get(field)
    if isinstance(amount, bool) or not isinstance(amount, int | float):
        raise CatalogError(f"The record of {entry.id} has no number '{field}'; see its file in data/catalog/models.")
    where = " at ".join(part for part in (entry.source_path, entry.revision) if part)
    notes = [part for part in (where, entry.note) if part]
    cited = source(entry.source)
    if field in entry.derived:
        notes.append("follows from the published number of parameters")
    return leaf(
        f"{entry.id} {field}",
        amount,
        _UNITS.get(field, ""),
        "model_config",
        source(entry.source, guess=cited.guess or field in entry.guess, note="; ".join(notes) or cited.note),
    )
