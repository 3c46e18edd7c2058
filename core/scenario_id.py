"""Which scenario a run measured: the catalog's ids for its names, and one hash for the same question asked."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from core.errors import RoofcastError
from core.runs import Run, read_run

_NOT_ASKED = ("runtime_version", "runtime_date", "costs")  # what may differ between two runs of one scenario


def scenario_id(run: Run) -> str:
    """16 hex digits, equal for runs that measured one scenario, whoever wrote it how; versions and dates do not count."""
    asked = {name: part for name, part in run.scenario.to_dict().items() if name not in _NOT_ASKED}
    said = [asked, run.asks, run.systems, run.decode_is, run.disaggregated, run.unmodelled]
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:16]


def identified(row: Mapping[str, Any]) -> dict[str, str]:
    """Columns `model`, `device`, `engine`, `scenario_id` of a row; where it is no scenario all are empty and `why` says so."""
    try:
        run = read_run(row)
    except RoofcastError as error:
        return {"model": "", "device": "", "engine": "", "scenario_id": "", "why": str(error)}
    asked = run.scenario
    return {"model": asked.model, "device": asked.system.device, "engine": asked.runtime, "scenario_id": scenario_id(run)}
