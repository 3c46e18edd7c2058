"""What is known of one model, each figure with where it comes from: the catalog's, the Hub's or a file's."""

from __future__ import annotations

from typing import Any

from core.catalog.models import ir, model, models
from core.catalog.quants import quant
from core.errors import HubError
from core.hub_model import SOUND, HubModel
from core.hub_names import is_hub_name, is_link, is_path, is_repo, split_changes, with_changes
from core.ir import ModelIR
from core.ir_build import built
from core.ir_fields import Fields
from core.ir_tower import Tower
from core.stored import Joined, StoredTensor
from core.weights import weight_table

CACHE_BYTES = 2  # an element of a 16-bit KV cache


def facts(
    text: str, changes: dict[str, Any] | None = None, *, token: str | None = None, no_network: bool = False, local: bool = True
) -> dict[str, Any]:
    """A model's facts as plain data, units in the names. An id, a link or a path is fetched; other names are the catalog's.

    `changes` are fields set by hand, beside those behind the name; behind a link's "?" stands the link's own query.

    Where the Hub does not give a model that the catalog has, the catalog's stands in, and `notes` says why.
    Raises HubError, CatalogError or ScenarioError.
    """
    base, behind = (text.strip(), {}) if is_link(text.strip()) else split_changes(text.strip())
    changes = {**behind, **(changes or {})}
    if not _of_the_hub(base):
        return _of_catalog(with_changes(base, changes), [])
    from core.hub import fetch

    try:
        held = fetch(base, token, local=local, no_network=no_network)
    except HubError as error:
        if base not in models():
            raise
        return _of_catalog(with_changes(base, changes), [f"the catalog's record, since the Hub did not give it: {error}"])
    return _of_hub(held, changes)


def known(name: str) -> dict[str, Any]:
    """The facts of a model that is here already, as `facts` gives them; nothing asks the network.

    Raises CatalogError for a name that is neither the catalog's nor fetched, ScenarioError for fields that cannot be set.
    """
    from core.hub_store import find_named

    base, changes = split_changes(name.strip())
    held = find_named(base) if base not in models() and (is_hub_name(base) or is_repo(base)) else None
    return _of_hub(held, changes) if held is not None else _of_catalog(name.strip(), [])


def _of_the_hub(name: str) -> bool:
    return is_link(name) or is_path(name) or is_hub_name(name) or is_repo(name.partition(":")[0]) or name.lower().endswith(".gguf")


def _of_catalog(name: str, notes: list[str]) -> dict[str, Any]:
    entry = model(name)
    base, changes = split_changes(entry.id)
    fields = Fields(models()[base].config if base in models() else entry.config, entry.id, changes)
    built(fields)
    found = _common(ir(entry.id), fields, "catalog")
    for names, origin in ((entry.guess, "a guess"), (entry.derived, "follows from the published total")):
        if "vision_config" in names and "vision_tower" in found:
            found["vision_tower"]["origin"] = origin
        for field in set(names) & found["fields"].keys() - changes.keys():
            found["fields"][field]["origin"] = f"catalog, {origin}"
    if entry.published_parameters:
        found["published_parameters"] = entry.published_parameters
        found["published_covers"] = entry.published_covers
    found["source"] = entry.source
    found["notes"] += notes + ([entry.note] if entry.note else [])
    return found


def _of_hub(held: HubModel, changes: dict[str, Any]) -> dict[str, Any]:
    made, joined = held.read(changes)
    fields = Fields(held.config, made.id, changes)
    built(fields)
    found = _common(made, fields, "the file's metadata" if held.container == "gguf" else "config.json")
    found["revision"], found["source"] = held.revision, f"{held.repo}/{held.file or 'config.json'}"
    found["notes"] += held.notes
    if held.tensors:
        found.update(file_bytes=held.file_bytes, files=list(held.files), dtypes_bytes=held.dtypes, quant=made.stored_as)
    if joined is not None:
        found["notes"] += _about(held, made, joined)
    if held.vision:
        found["vision_files"] = list(held.vision)
    return found


def _about(held: HubModel, made: ModelIR, joined: Joined) -> list[str]:
    """How the header's tensors lie in the layout, where that is not plain."""
    said = []
    # Of a vision tower that is laid out the bytes are counted with it.
    apart = tuple(t for t in joined.apart if made.tower is None or SOUND.search(t.name))
    for part, what in ((apart, "towers of other senses"), (joined.beside, "tensors that the layout does not have")):
        if part:
            said.append(f"{_bytes(part):,} bytes are {what} ({_names(part)}), not counted")
    if joined.by_share:
        said.append(f"{joined.by_share:,} bytes were matched by layer, not by name: the checkpoint fuses or renames tensors")
    if different := held.difference(made, joined):
        said.append(different)
    return said


def _bytes(tensors: tuple[StoredTensor, ...]) -> int:
    return sum(tensor.bytes for tensor in tensors)


def _names(tensors: tuple[StoredTensor, ...]) -> str:
    largest = sorted(tensors, key=lambda tensor: -tensor.bytes)
    return largest[0].name + (f" and {len(tensors) - 1} more" if len(tensors) > 1 else "")


def _common(made: ModelIR, fields: Fields, source: str) -> dict[str, Any]:
    stored_as = made.stored_as or made.native_quant or {"float16": "FP16", "float32": "FP32"}.get(made.native_dtype, "BF16")
    weights = weight_table(made, stored_as).bytes
    return {
        "id": made.id,
        "family": made.model_type,
        "parameters": made.parameters,
        "active_parameters": made.active_parameters,
        "prediction_module_parameters": made.mtp_parameters,
        "layers": made.layers,
        "blocks": {block.name: len(block.layers) for block in made.blocks},
        "kv_bytes_per_token": kv_bytes(made),
        "state_bytes_per_sequence": sum(b.attention.state_elements * b.attention.state_bytes_each * len(b.layers) for b in made.blocks),
        "max_context_tokens": made.max_context,
        "weights_bytes": weights,
        "weights_quant": quant(stored_as).id,
        "weights_from": "header" if made.stored else "layout",
        "fields": {name: {"value": value, "origin": origin} for name, (value, origin) in fields.origins(source).items()},
        "assumed": dict(made.assumed),
        "notes": [],
        **({} if made.tower is None else {"vision_tower": tower_facts(made.tower)}),
    }


def tower_facts(tower: Tower) -> dict[str, Any]:
    """A vision tower's facts, units in the names."""
    return {
        "kind": tower.kind,
        "parameters": tower.parameters,
        "layers": tower.layers,
        "weights_bytes": tower.bytes,
        "weights_from": "16 bits an element" if tower.stored_bytes is None else "header",
        "assumed": dict(tower.assumed or {}),
    }


def kv_bytes(made: ModelIR) -> int:
    """Bytes that a token adds to a 16-bit KV cache, in all layers, before any split."""
    return CACHE_BYTES * sum(block.attention.kv_elements_per_token * len(block.layers) for block in made.blocks)
