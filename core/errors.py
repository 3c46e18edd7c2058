"""Errors that a user may see: one sentence each that says what was wrong, what was expected and what to do."""

from __future__ import annotations


class RoofcastError(Exception):
    """Base of every error that is shown to a user as its sentence, without a traceback."""


class CatalogError(RoofcastError):
    """A catalog file holds nonsense, or a name is not in the catalog."""


class ScenarioError(RoofcastError):
    """The question cannot be asked: an input is out of range, or a split is not legal."""


class RunError(RoofcastError):
    """A measured run cannot be read or turned into a scenario."""


class HubError(RoofcastError):
    """A model on the Hub, or a file of one, cannot be had or read."""
