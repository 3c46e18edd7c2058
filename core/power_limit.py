"""A power limit on the devices (`nvidia-smi -pl`): slower arithmetic, somewhat slower reading, less power."""

from __future__ import annotations

from typing import Any

from core.catalog.assumptions import assume
from core.errors import ScenarioError
from core.formulas.power import limited_bandwidth, limited_clock, limited_peak, limited_share
from core.machine import Columns, user
from core.quantity import Quantity
from core.setting import Setting


def limit_power(setting: Setting, gpu: Columns, rated: Quantity, idle: Quantity, busy: Quantity, facts: dict[str, Any]) -> Quantity:
    """Slows `gpu` (cited rates, changed in place) to what the scenario's power limit leaves and returns the share of the rated
    power drawn under load. Without a limit nothing changes.

    Raises ScenarioError where the device's rated power is not known.
    """
    asked = setting.scenario.system.device_power_w
    if asked is None:
        return busy
    if not rated.value > 0:
        raise ScenarioError(
            f"A power limit says nothing of {setting.device.name}, whose rated power is not known: add `tdp_w` to the device, or leave "
            "the limit out."
        )
    limit = user("power limit of a device", asked, "W", rated.value)
    clock = limited_clock(limit=limit, rated=rated, idle=idle, named="clock that the power limit leaves")
    follows = assume("bandwidth_follows_clock", **facts)
    gpu.bandwidth = limited_bandwidth(bandwidth=gpu.bandwidth, clock=clock, follows=follows, named="memory bandwidth under the limit")
    for name in ("peak", "peak_few", "attention_peak"):
        setattr(gpu, name, limited_peak(peak=getattr(gpu, name), clock=clock, named="peak under the power limit"))
    return limited_share(busy=busy, limit=limit, rated=rated, named="power under load, share of the rating")
