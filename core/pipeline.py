"""The one way through on given columns: plan, memory, serving, metrics. Floats, arrays or cited numbers, as the columns are."""

from __future__ import annotations

from typing import Any

import numpy as np

from core.formulas.activations import over_devices
from core.formulas.economics import energy_per_token, power_draw
from core.ir import ModelIR
from core.machine import Columns
from core.memory import Fit, fit
from core.picked import solved
from core.plan import Plan, make_plan
from core.quantity import total, value
from core.scenario import Arrival
from core.serving import Served, _load, serve, solve_batch


def one_pass(ir: ModelIR, c: Columns, arrival: Arrival) -> tuple[Plan, Fit, Served]:
    """The pipeline once, on plain columns. The memory is that of those in flight."""
    plan = make_plan(ir, c)
    found = fit(plan, c)
    load = _load(c, found, arrival)
    batch, residual = solve_batch(plan, c, found, load, arrival)
    served = serve(plan, c, found, arrival, batch, residual)
    flying = in_flight(c, arrival, batch)
    return plan, found if flying is c else fit(plan, flying), served


def in_flight(c: Columns, arrival: Arrival, batch: Any) -> Columns:
    """The columns with those in flight as users: they hold the memory, and under an open or full load the load itself decides
    how many they are. Slots that an engine was started with for its users stay.
    """
    if arrival not in ("open", "saturated"):
        return c
    slots = (np.asarray(c.slots_follow_users) > 0) & (np.asarray(c.sequences_given) == 0)
    users = np.where(slots, value(c.users), np.ceil(batch) * value(c.dp))
    users = users if np.ndim(users) else float(users)
    cited = solved("requests in flight", users, "", "batch that the load leads to × replicas", c.count)
    return Columns(**{**vars(c), "users": cited})


def _over_all(c: Columns, found: Fit) -> Any:
    """Memory taken over all devices."""
    if not found.cards:
        return over_devices(each=found.taken, devices=c.count, named="memory over all devices")
    each = [over_devices(each=held.taken, devices=card.devices, named=f"memory over all {card.name}")
            for card, held in zip(c.cards, found.cards, strict=True)]  # fmt: skip
    return total(each, "memory over all devices")


def metrics_from(c: Columns, found: Fit, served: Served, arrival: Arrival) -> dict[str, Any]:
    """What users and owners see, in base units: s, tok/s, bytes, W, J."""
    devices = c.count
    power = power_draw(rated=c.tdp, idle=c.idle, busy=c.busy, share=c.load_share, count=devices, named="power")
    return {
        "ttft": served.ttft,
        "tpot": served.tpot,
        "latency": served.latency,
        "prefill_rate": served.prefill_rate,
        "decode_rate": served.decode_rate,
        "output_rate": served.output_rate,
        "total_rate": served.total_rate,
        "batch": served.batch,
        "memory_peak": _over_all(c, found),
        "power": power,
        "energy_per_token": energy_per_token(power=power, rate=served.output_rate, named="energy per token"),
    }
