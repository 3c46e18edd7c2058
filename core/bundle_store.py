"""What a bundle brought, kept on this machine, where its owner asks for it."""

from __future__ import annotations

from core.bundle import device_names
from core.bundle_replay import Replay
from core.catalog import hardware, own_hardware
from core.catalog.own_hardware import may_store
from core.errors import CatalogError
from core.hub_model import HubModel
from core.hub_names import split_changes
from core.hub_store import find_named, save

__all__ = ["brought", "may_store", "store"]


def brought(found: Replay) -> bool:
    """Whether there is anything that could be stored: the file's model, or devices that are nobody's shipped ones."""
    return _held(found) is not None or bool(_devices(found))


def store(found: Replay) -> list[str]:
    """Stores the model and the devices of an opened bundle; a sentence for each. Raises CatalogError on a shared server, HubError."""
    if not may_store():
        raise CatalogError("Nothing is stored here, for others use this server too; the bundle lives in this session.")
    told = []
    model = _held(found)
    if model is not None:
        save(model, None)
        told.append(f"The model is stored as {model.id}.")
    for name in _devices(found):
        device = hardware.device(name)
        own_hardware.store(device)
        told.append(f"{device.name} is stored.")
    return told


def _held(found: Replay) -> HubModel | None:
    held = find_named(split_changes(found.scenario.model)[0])
    return held if held is not None and held.was is not None else None


def _devices(found: Replay) -> list[str]:
    named = dict.fromkeys(device_names(found.scenario))
    return [name for name in named if own_hardware.is_own(hardware.device(name)) and not own_hardware.saved_named(name)]
