"""What a scenario names, found in the catalog and checked: the one place where names become records."""

from __future__ import annotations

import functools
from dataclasses import dataclass

from core.catalog import hardware, models, quants, runtimes
from core.catalog.hardware import Device
from core.catalog.quants import KvDtype, QuantScheme
from core.catalog.runtimes import Runtime
from core.errors import ScenarioError
from core.ir import ModelIR
from core.scenario import Scenario


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
    ir = models.ir(scenario.model)
    device = hardware.device(scenario.system.device)
    runtime = runtimes.runtime(scenario.runtime).at(scenario.runtime_version, scenario.runtime_date)
    engine = runtime.treated_as or runtime.id
    while (above := runtimes.runtimes()[engine].treated_as) is not None:
        engine = above
    notes: list[str] = []
    try:
        backend: str = scenario.backend or runtimes.backend_for(runtime, device.vendor, device.kind)
    except ScenarioError:
        if strict:
            raise
        backend = next(iter(runtime.backends))
    if backend == "cpu" and device.kind != "cpu":
        name = scenario.system.cpu or (hardware.system(scenario.system.profile).cpu if scenario.system.profile else None)
        if name is not None:
            device = hardware.device(name, "cpu")  # the engine's CPU build ignores the card
        elif strict:
            raise ScenarioError(f"On the CPU the {device.name} does nothing: name the CPU as the device, or as cpu beside it.")
    if strict:
        if scenario.backend is not None and scenario.backend in runtime.backends:
            runtimes.check_backend(backend, device.vendor, device.kind, device.name)
        _check_device(device, quant_of(scenario), runtime)
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
    return Setting(scenario, ir, device, cpu, runtime, engine, backend, quant, kv, tuple(notes), not strict)


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
