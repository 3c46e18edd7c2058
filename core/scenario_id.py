"""Which scenario a run measured: the catalog's ids for its names, and one hash for the same question asked."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from core.cards import JOIN
from core.errors import RoofcastError
from core.runs import Run, read_run
from core.setting import settle

_NOT_ASKED = ("runtime_version", "runtime_date", "costs")  # what may differ between two runs of one scenario


def scenario_id(run: Run) -> str:
    """16 hex digits, equal for runs that measured one scenario, whoever wrote it how; versions and dates do not count."""
    asked = {name: part for name, part in run.scenario.to_dict().items() if name not in _NOT_ASKED}
    asked.get("workload", {}).pop("equal_lengths", None)  # lengths that vary around one mean are no other question
    said = [asked, run.asks, run.systems, run.decode_is, run.disaggregated, run.unmodelled]
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:16]


NAMES = ("model", "device", "engine", "backend", "scheme", "scenario_id")


def identified(row: Mapping[str, Any]) -> dict[str, str]:
    """The columns NAMES of a row; where it is no scenario of the catalog all are empty and `why` says so."""
    try:
        run = read_run(row)
        setting = settle(run.scenario, strict=False)
    except RoofcastError as error:
        return {**dict.fromkeys(NAMES, ""), "why": str(error)}
    devices = JOIN.join([setting.device.id, *(further.device.id for further in setting.others)])
    found = (setting.ir.id, devices, setting.runtime.id, setting.backend, setting.quant.id, scenario_id(run))
    return dict(zip(NAMES, found, strict=True))
