"""What a scenario names, found in the catalog and checked: the one place where names become records."""

from __future__ import annotations

import functools
from dataclasses import dataclass

from core.cards import MOST, Cards
from core.catalog import hardware, models, quants, runtimes
from core.catalog.hardware import Device
from core.catalog.quants import KvDtype, QuantScheme
from core.catalog.runtimes import Runtime
from core.errors import ScenarioError
from core.ir import ModelIR
from core.scenario import Scenario
from core.vision import tower_loaded


@dataclass(frozen=True, slots=True)
class Further:
    """Cards of another kind beside the first, with the catalog's record of it."""

    device: Device
    cards: Cards


@dataclass(frozen=True, slots=True)
class Setting:
    """The catalog records that a scenario names."""

    scenario: Scenario
    ir: ModelIR
    device: Device
    cpu: Device | None
    runtime: Runtime
    engine: str  # the runtime's id, or that of the runtime it is treated as
    backend: str
    quant: QuantScheme
    kv: KvDtype
    notes: tuple[str, ...] = ()
    ran: bool = False  # a run that took place: it held its users, whatever the catalog thinks
    others: tuple[Further, ...] = ()
    vision: bool = False  # the engine holds the model's vision tower

    @property
    def on_cpu(self) -> bool:
        return self.device.kind == "cpu"

    @property
    def graphs(self) -> bool:
        wanted = self.scenario.deployment.cuda_graphs
        return self.runtime.cuda_graphs if wanted is None else wanted


@functools.lru_cache(maxsize=4096)
def _native_kv(runtime: str) -> KvDtype:
    return quants.kv_dtype("f16" if runtime == "model" else runtime)


def settle(scenario: Scenario, *, strict: bool = True) -> Setting:
    """The records that the scenario names. Raises CatalogError for an unknown name.

    `strict` raises ScenarioError where the runtime does not run the quantisation on this device; measured runs are
    taken as they are (`strict=False`), since they did run.
    """
    notes: list[str] = []
    scenario = _one_card(scenario, notes)
    ir = models.ir(scenario.model)
    device = hardware.device(scenario.system.device)
    runtime = runtimes.runtime(scenario.runtime).at(scenario.runtime_version, scenario.runtime_date)
    engine = runtime.treated_as or runtime.id
    while (above := runtimes.runtimes()[engine].treated_as) is not None:
        engine = above
    others = tuple(Further(hardware.device(cards.device), cards) for cards in scenario.system.others)
    _check_kinds(scenario, device, others)
    try:
        backend: str = scenario.backend or _backend(runtime, device, others, notes)
    except ScenarioError:
        if strict:
            raise
        backend = next(iter(runtime.backends))
    if backend == "cpu" and device.kind != "cpu":
        name = scenario.system.cpu or (hardware.system(scenario.system.profile).cpu if scenario.system.profile else None)
        if name is not None:
            device, others = hardware.device(name, "cpu"), ()  # the engine's CPU build ignores the cards
        elif strict:
            raise ScenarioError(f"On the CPU the {device.name} does nothing: name the CPU as the device, or as cpu beside it.")
    if strict:
        for one in (device, *(further.device for further in others)):
            if (scenario.backend is not None and scenario.backend in runtime.backends) or (others and one is not device):
                runtimes.check_backend(backend, one.vendor, one.kind, one.name)
            _check_device(one, quant_of(scenario), runtime)
        if (scenario.deployment.experts_on_cpu or 0) > 0 and all(block.mlp.kind != "moe" for block in ir.blocks):
            raise ScenarioError(f"{ir.id} has no experts to keep on the CPU; set gpu_layers instead.")
    quant = _quant(scenario, ir, runtime, backend, device)
    if strict:
        runtimes.check_supported(runtime, backend, quant.container, quant.kernel_class, quant.name)
    wanted = scenario.deployment.kv_dtype
    kv = _native_kv(runtime.default_kv_dtype) if wanted in (None, "auto") else quants.kv_dtype(str(wanted))
    cpu_name = scenario.system.cpu
    if cpu_name is None and scenario.system.profile:
        cpu_name = hardware.system(scenario.system.profile).cpu
    cpu = hardware.device(cpu_name) if cpu_name else None
    vision = tower_loaded(scenario, ir, runtime, strict=strict)
    return Setting(scenario, ir, device, cpu, runtime, engine, backend, quant, kv, tuple(notes), not strict, others, vision)


def _one_card(scenario: Scenario, notes: list[str]) -> Scenario:
    """The scenario of the one card that a split of "none" takes; any other scenario as it is.

    Raises ScenarioError for a card that is not there.
    """
    system, deploy = scenario.system, scenario.deployment
    at = deploy.main_gpu or 0
    if at >= system.devices:
        raise ScenarioError(f"main_gpu {at} is no card of this machine; its cards are numbered 0 to {system.devices - 1}.")
    if deploy.split != "none" or system.devices == 1:
        return scenario
    notes.append(f"One card alone, as the split says: the other {system.devices - 1} do nothing here.")
    alone: dict[str, object] = {"count": 1, "others": ()}
    if at >= system.count:
        cards = next(cards for place, cards in enumerate(system.others)
                     if at < system.count + sum(other.count for other in system.others[: place + 1]))  # fmt: skip
        alone |= {"device": cards.device, "host_link": cards.host_link, "device_memory_gib": cards.memory_gib, "profile": None,
                  "measured_bandwidth_gb_s": None, "device_bandwidth_gb_s": None}  # fmt: skip
    return scenario.model_copy(update={"system": system.model_copy(update=alone)})


def _backend(runtime: Runtime, device: Device, others: tuple[Further, ...], notes: list[str]) -> str:
    """The backend that suits all devices: the first one's own, else the first of the runtime's that runs on all of them."""
    own = runtimes.backend_for(runtime, device.vendor, device.kind)
    if not others:
        return own
    devices = [device, *(further.device for further in others)]
    for backend in dict.fromkeys([own, *runtime.backends]):
        try:
            for one in devices:
                runtimes.check_backend(backend, one.vendor, one.kind, one.name)
        except ScenarioError:
            continue
        if backend != own:
            notes.append(f"{backend} is the backend of {runtime.name} that runs on all of these devices; a build with several is faster.")
        return backend
    raise ScenarioError(f"{runtime.name} has no backend that runs on all of {', '.join(one.name for one in devices)}: take one of them.")


def _check_kinds(scenario: Scenario, device: Device, others: tuple[Further, ...]) -> None:
    """Raises ScenarioError for devices that no machine has together."""
    kinds, system = [device, *(further.device for further in others)], scenario.system
    if others and any(one.kind == "cpu" for one in kinds):
        raise ScenarioError("A CPU is no card among cards: name the cards as devices, and the CPU as cpu beside them.")
    if others and system.devices > MOST:
        raise ScenarioError(f"Cards of several kinds in one box are at most {MOST} (they are {system.devices}).")
    if system.gpu_share_gib is not None and not any(one.unified and one.kind != "cpu" for one in kinds):
        raise ScenarioError(f"{device.name} has memory of its own, no share of RAM: say device_memory_gib instead of gpu_share_gib.")


def quant_of(scenario: Scenario) -> QuantScheme | None:
    """The quantisation that the scenario names, if any."""
    return None if scenario.deployment.quant is None else quants.quant(scenario.deployment.quant)


def _check_device(device: Device, quant: QuantScheme | None, runtime: Runtime) -> None:
    """Raises ScenarioError where a server's kernels need a newer NVIDIA card than this one."""
    capability = _capability(device)
    if quant is None or capability is None or runtime.audience != "server":
        return
    needs = 7.5 if quant.kernel_class.startswith(("fp8", "nvfp4", "mxfp4", "w4a16")) else 8.0 if quant.id == "BF16" else 0.0
    if capability < needs:
        raise ScenarioError(
            f"{runtime.name} runs {quant.name} on NVIDIA cards of compute capability {needs} or more; "
            f"{device.name} has {capability}. Choose FP16, or llama.cpp with a GGUF quantisation."
        )


def _capability(device: Device) -> float | None:
    """The CUDA compute capability, None for other makers' devices."""
    try:
        return float(device.compute_capability or "") if device.vendor == "NVIDIA" else None
    except ValueError:
        return None


def _quant(scenario: Scenario, ir: ModelIR, runtime: Runtime, backend: str, device: Device) -> QuantScheme:
    containers = runtime.backends[backend].containers if backend in runtime.backends else []  # type: ignore[index]
    first = containers[0] if containers else None
    asked = scenario.deployment.quant
    if asked is None:
        if first == "gguf" and ir.stored_as and quants.quant(ir.stored_as).container == "gguf":
            return quants.quant(ir.stored_as)  # a GGUF file runs as it is
        native = ir.native_quant if runtime.audience == "server" else None
        if ir.native_quant and first == "gguf" and quants.quant(ir.native_quant).kernel_class == "mxfp4":
            return quants.quant("MXFP4", "gguf")  # published in a format that GGUF carries as it is
        if native and runtimes.supports(runtime, backend, quants.quant(native).container, quants.quant(native).kernel_class):
            return quants.quant(native)
        capability = _capability(device)
        usual = "FP16" if runtime.default_quant == "BF16" and capability is not None and capability < 8 else runtime.default_quant
        return quants.quant(usual, first)  # type: ignore[arg-type]
    found = quants.quant(asked, first)  # type: ignore[arg-type]
    native_scheme = quants.quant(ir.native_quant) if ir.native_quant else None
    if native_scheme and native_scheme.kernel_class[:3] == found.kernel_class[:3] and native_scheme.container == found.container:
        return native_scheme  # "MXFP4" or "FP8" of a model published in it means its own mixture
    return found
