"""The one way through on given columns: plan, memory, serving, metrics. Floats, arrays or cited numbers, as the columns are."""

from __future__ import annotations

from typing import Any

from core.formulas.activations import over_devices
from core.formulas.economics import energy_per_token, power_draw
from core.ir import ModelIR
from core.machine import Columns
from core.memory import Fit, fit
from core.plan import Plan, make_plan
from core.scenario import Arrival
from core.serving import Served, _load, serve, solve_batch


def one_pass(ir: ModelIR, c: Columns, arrival: Arrival) -> tuple[Plan, Fit, Served]:
    """The pipeline once, on plain columns."""
    plan = make_plan(ir, c)
    found = fit(plan, c)
    load = _load(c, found, arrival)
    batch, residual = solve_batch(plan, c, found, load, arrival)
    return plan, found, serve(plan, c, found, arrival, batch, residual)


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
        "memory_peak": over_devices(each=found.taken, devices=devices, named="memory over all devices"),
        "power": power,
        "energy_per_token": energy_per_token(power=power, rate=served.output_rate, named="energy per token"),
    }
