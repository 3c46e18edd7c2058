"""What would fit: one change at a time to a scenario that does not, tried through the estimator."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from core import choices
from core.answer import Estimate
from core.calibrate import remembered
from core.catalog import hardware, quants, runtimes
from core.errors import RoofcastError
from core.estimate import estimate
from core.quantity import value
from core.scenario import Scenario
from core.setting import settle
from core.sweep import answer
from core.units import show
from core.weights import weight_table

_CONTEXTS = (0.75, 0.5, 0.25, 0.125)
_CARDS = (2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 72)
_RAM_GB = (32, 64, 96, 128, 192, 256, 384, 512, 768, 1024)


@dataclass(frozen=True, slots=True)
class Nearest:
    """One thing that fits: what changed, in words and as knobs, and its answer."""

    change: str
    knobs: dict[str, Any]
    scenario: Scenario
    answer: Estimate

    @property
    def outcome(self) -> str:
        """How it would run, in a few words."""
        room = show(float(value(self.answer.device.headroom)), "B")
        rate, first = (show(self.answer.metric(name), unit) for name, unit in (("decode_rate", "tok/s"), ("ttft", "s")))
        where = "partly in host memory" if self.answer.feasibility == "with_offload" else f"{room} to spare"
        return f"{where}, {rate} for each user, first token in {first}"


def _tried(scenario: Scenario, knobs: dict[str, Any], change: str, *, whole: bool = False) -> Nearest | None:
    """The changed scenario where it runs; with `whole` only where nothing is left to host memory."""
    try:
        changed = scenario.with_(**knobs)
        found = estimate(changed)
    except RoofcastError:
        return None
    good = found.feasibility == "in_vram" if whole else found.runs
    return Nearest(change, knobs, changed, answer(changed)) if good else None  # the speeds that people see after a click


def _first(options: Iterable[Nearest | None]) -> Iterator[Nearest]:
    for option in options:
        if option is not None:
            yield option
            return


def smaller_quants(scenario: Scenario) -> list[tuple[float, str]]:
    """Smaller quantisations of the same kind that this runtime runs, with their bytes, largest first."""
    setting = settle(scenario)
    own = weight_table(setting.ir, setting.quant.id).bytes
    found: list[tuple[float, str]] = []
    for name in choices.quant_names(setting.runtime.name, setting.backend):
        if name == choices.AUTO or (scheme := quants.quants()[name]).container != setting.quant.container:
            continue
        if scheme.guess or "K_XL" in name or name.startswith(("TQ", "QAT")):
            continue  # marked approximations and trained-in formats that this model may not come in
        try:
            size = weight_table(setting.ir, name).bytes
        except RoofcastError:
            continue
        if size < 0.99 * own:
            found.append((size, name))
    return sorted(found, reverse=True)


def _quants(scenario: Scenario) -> Iterator[Nearest | None]:
    for size, name in smaller_quants(scenario):
        yield _tried(scenario, {"quant": name}, f"Store the weights as {name} ({show(size, 'B')})")


def _contexts(scenario: Scenario) -> Iterator[Nearest | None]:
    """A shorter context: the depth goes first, then the prompt."""
    load = scenario.workload
    if (fixed := scenario.deployment.max_context) is not None and fixed > load.context:
        yield _tried(
            scenario,
            {"max_context": load.context},
            f"Start with a context of {load.context:,} tokens, what this load needs",
        )
    for share in _CONTEXTS:
        knobs = {
            "prompt_tokens": max(1, int(load.prompt_tokens * share)),
            "context_depth": int(load.context_depth * share),
            "prefix_cached_tokens": 0,
            "max_context": None,
        }
        context = knobs["prompt_tokens"] + knobs["context_depth"] + load.output_tokens  # type: ignore[operator]
        yield _tried(scenario, knobs, f"Shorten the context to {context:,} tokens")


def _users(scenario: Scenario) -> Iterator[Nearest | None]:
    users = scenario.workload.concurrency
    while users > 1:
        users //= 2
        knobs: dict[str, Any] = {"concurrency": users}
        if scenario.deployment.max_sequences is not None:
            knobs["max_sequences"] = users
        yield _tried(scenario, knobs, "Serve one user at a time" if users == 1 else f"Serve {users:,} users at once")


def _kv(scenario: Scenario) -> Iterator[Nearest | None]:
    runtime = runtimes.runtime(scenario.runtime)
    for name in ("q8_0", "fp8", "q4_0"):
        if name in runtime.kv_dtypes:
            yield _tried(scenario, {"kv_dtype": name}, f"Store the KV cache as {quants.kv_dtype(name).name}")


def _cards(scenario: Scenario) -> Iterator[Nearest | None]:
    device = hardware.device(scenario.system.device)
    if device.unified or device.kind == "cpu":
        return
    most = max(_CARDS) if device.device_class == "datacenter" else 8
    for count in _CARDS:
        if scenario.system.count < count <= most:
            more = count - scenario.system.count
            knobs = {"count": count, "profile": None, "instance": None, **dict.fromkeys(("tp", "mlp_tp", "pp", "dp", "ep"))}
            of_it = f"{count} of it" if scenario.system.others else f"{count} in all"
            yield _tried(scenario, knobs, f"Add {'one' if more == 1 else more} {device.name}, {of_it}", whole=True)


def _memory(scenario: Scenario) -> Iterator[Nearest | None]:
    """More host memory: for what is offloaded, or the whole of a unified memory."""
    device = hardware.device(scenario.system.device)
    runtime = runtimes.runtime(scenario.runtime)
    if not (device.unified or device.kind == "cpu" or runtime.offload != "none"):
        return
    word = "memory" if device.unified or device.kind == "cpu" else "RAM, and keep there what does not fit the card"
    for size in _RAM_GB:
        if size > (scenario.system.ram_gb or 0):
            knobs = {"ram_gb": float(size), "gpu_layers": None, "experts_on_cpu": None}
            yield _tried(scenario, knobs, f"Take {size} GB of {word}")


def _automatic(scenario: Scenario) -> Iterator[Nearest | None]:
    deploy = scenario.deployment
    if deploy.gpu_layers is not None or deploy.experts_on_cpu is not None:
        yield _tried(scenario, {"gpu_layers": None, "experts_on_cpu": None}, "Leave it to the runtime what stays in host memory")
    if deploy.memory_fraction is not None:
        yield _tried(scenario, {"memory_fraction": None}, "Leave the memory fraction to the runtime")


def _offloading_runtime(scenario: Scenario) -> Iterator[Nearest | None]:
    """A runtime that keeps in host memory what does not fit, where this one does not."""
    if runtimes.runtime(scenario.runtime).offload == "layers":
        return
    knobs = {
        "runtime": choices.RUNTIME,
        "quant": choices.default_quant(choices.RUNTIME, None, scenario.model),
        "backend": None,
        "kv_dtype": None,
        "tp": None,
        "mlp_tp": None,
        "pp": None,
        "dp": None,
        "ep": None,
        "memory_fraction": None,
        "token_budget": None,
    }
    yield _tried(scenario, knobs, f"Run it with {choices.RUNTIME} at {knobs['quant']} and keep the rest in host memory")


def _larger_device(scenario: Scenario) -> Iterator[Nearest | None]:
    """The smallest device of the same maker and class, or of the datacenter, on which it fits."""
    own = hardware.device(scenario.system.device)
    listed = [
        d
        for d in hardware.devices().values()
        if d.vendor == own.vendor
        and d.kind == own.kind
        and d.device_class in (own.device_class, "datacenter")
        and (d.memory_gb or 0) > (own.memory_gb or 0)
        and (d.launch_year or 0) >= (own.launch_year or 0) - 2
    ]
    listed.sort(key=lambda d: (d.memory_gb or 0, d.cloud_usd_per_h is None and d.price_usd is None, -(d.launch_year or 0)))
    for device in listed[:24]:
        knobs: dict[str, Any] = {"device": device.name, "profile": None, "instance": None, "device_memory_gib": None,
                                 "device_bandwidth_gb_s": None, "measured_bandwidth_gb_s": None, "gpu_share_gib": None}  # fmt: skip
        if own.unified or own.kind == "cpu":
            knobs["ram_gb"] = None
        yield _tried(scenario, knobs, f"Take {device.name} ({device.memory_gb:g} GB) instead", whole=True)


@remembered(maxsize=64)
def nearest_fits(scenario: Scenario) -> tuple[Nearest, ...]:
    """The smallest change of each kind with which it runs: settings first, then hardware. Empty where none does."""
    settings = (_automatic, _quants, _kv, _contexts, _users)
    machines = (_offloading_runtime, _cards, _memory, _larger_device)
    return tuple(option for kind in (*settings, *machines) for option in _first(kind(scenario)))
