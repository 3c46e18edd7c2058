"""Stated memory totals that nobody can reproduce: shown beside what we estimate, never a gate."""

from __future__ import annotations

from typing import Any

from core.catalog.files import DATA, read
from core.estimate import estimate
from core.quantity import value
from core.scenario import from_flat
from core.units import GB


def open_cases() -> list[dict[str, Any]]:
    """Each case with its stated total and ours (GB, all devices): what the load needs, and what the engine takes of the assumed card.

    The `fraction` is the share of that card's memory that would explain the stated total.
    """
    content = read(DATA / "golden" / "open_cases.json")
    rows = []
    for case in content["cases"]:
        answer = estimate(from_flat({**content["assumed"], **case["knobs"]}))
        devices = answer.scenario.system.count
        limit = float(value(answer.device.limit)) * devices / GB
        rows.append(
            {
                "name": case["name"],
                "stated_gb": case["stated_gb"],
                "needed_gb": float(value(answer.device.peak)) * devices / GB,
                "taken_gb": float(value(answer.device.taken)) * devices / GB,
                "fraction": case["stated_gb"] / limit,
                "device": content["assumed"]["device"],
            }
        )
    return rows
