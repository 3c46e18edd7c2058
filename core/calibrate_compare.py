"""Two versions side by side: what they were made of, and how far off they are on one's own runs."""

from __future__ import annotations

from typing import Any

import numpy as np

from core import registry
from core.calibrate import own_records
from core.correction import Correction, shipped
from core.errors import CatalogError
from core.upload import judged
from core.upload_tables import title


def _of(name: str) -> tuple[Correction, dict[str, Any]]:
    if name == registry.SHIPPED:
        found = shipped()
        if found is None:
            raise CatalogError("There is no shipped fit; make one with `roofcast validate --full`.")
        return found, {"version": "shipped"}
    of = registry.version(name)
    return registry.load(of), dict(of.about)


def compared(first: str, second: str) -> list[dict[str, Any]]:
    """One row a fact: what, and each version's side. Errors are medians over own runs without any shift by them; a refit knows its
    own runs, so its figure flatters it. Raises CatalogError."""
    (one, about_one), (two, about_two) = _of(first), _of(second)
    rows = [
        {"what": what, "first": about_one.get(key, ""), "second": about_two.get(key, "")}
        for what, key in (("version", "version"), ("made", "date"), ("refitted from", "base"), ("own runs", "own_runs"), ("judged", "why"))
    ]
    records = own_records()
    errors = [_errors(correction, records) for correction in (one, two)]
    for column in sorted(set(errors[0]) & set(errors[1])):
        sides = [f"{float(np.median(found[column])):.1%}" for found in errors]
        what = f"median error of {title(column)} on {len(errors[0][column])} own runs"
        rows.append({"what": what, "first": sides[0], "second": sides[1]})
    return rows


def _errors(correction: Correction, records: Any) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for one in judged(records, correction)[0]:
        found.setdefault(one.column, []).append(abs(one.off))
    return found
