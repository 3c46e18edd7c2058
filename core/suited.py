"""What goes together: the runtimes, weights and KV cache types that make sense for a model on a device."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np

from core.catalog import models, quants, runtimes
from core.catalog.hardware import Device
from core.catalog.quants import QuantScheme
from core.catalog.runtimes import Runtime
from core.choices import AUTO, quant_names
from core.errors import RoofcastError
from core.goal import Goal
from core.ir import ModelIR
from core.scenario import Deployment, Scenario, System
from core.setting import settle
from core.weights import weight_table

NO_INT8 = 10.0  # compute capability from which engines have no INT8 kernels, though the cards could (vLLM, INT8 W8A8)


@functools.cache
def _most_measured() -> tuple[tuple[str, ...], frozenset[str], Mapping[str, int]]:
    """Of the runtimes that share kernels and audience the one that most runs stand behind (the catalog's order without runs), the
    first of each audience among them, and the runs by device and engine."""
    from core.correction import shipped

    correction = shipped()
    counts = correction.core.known.counts if correction is not None else {"engine": {}, "setup": {}}
    runs = {key: sum(n for name, n in counts["engine"].items() if name.split("|")[0] == key) for key in runtimes.runtimes()}
    best: dict[tuple[str, str], str] = {}
    for key, entry in runtimes.runtimes().items():
        if entry.treated_as is None:
            kind = (entry.engine, entry.audience)
            best[kind] = max(best.get(kind, key), key, key=lambda name: runs[name])
    first = {audience: max((key for (_, a), key in best.items() if a == audience), key=lambda name: runs[name]) for _, audience in best}
    return tuple(best.values()), frozenset(first.values()), counts["setup"]


def runtimes_for(goal: Goal, device: Device) -> list[Runtime]:
    """The runtimes that are asked for, where they run on the device; unasked one of each sort: the usual one of each audience, and
    others where they were measured on this very device. Raises CatalogError for an unknown one."""
    sorts, usual, runs = _most_measured()
    found = []
    for entry in [runtimes.runtime(name) for name in goal.runtimes or sorts]:
        try:
            backend = runtimes.backend_for(entry, device.vendor, device.kind)
        except RoofcastError:
            continue
        if goal.runtimes or entry.id in usual or f"{device.id}|{entry.id}|{backend}" in runs:
            found.append(entry)
    return found


def weights_for(model: str, runtime: str, device: Device, wanted: tuple[str, ...] = ()) -> tuple[str, ...]:
    """The quantisations that make sense: those asked for, or those that the runtime names and the device's arithmetic suits,
    without any that another of the same kernels matches in size and loss. Ids of the catalog, as the model resolves them."""
    capability = device.compute_capability if device.vendor == "NVIDIA" else None
    fp8, int8, fp4 = (getattr(device, name) is not None for name in ("fp8_tflops", "int8_tops", "fp4_tflops"))
    if float(capability or 0) >= NO_INT8:
        int8 = False
    backend = runtimes.backend_for(runtimes.runtime(runtime), device.vendor, device.kind)
    return _weights_for(model, runtime, backend, capability, (fp8, int8, fp4), device.name, wanted)


_ALIKE: dict[tuple[Any, ...], tuple[str, ...]] = {}


def _weights_for(
    model: str, runtime: str, backend: str, capability: str | None, rates: tuple[bool, ...], device: str, wanted: tuple[str, ...]
) -> tuple[str, ...]:
    """Devices with the same arithmetic get the same answer, looked up once."""
    key = (model, runtime, backend, capability, rates, wanted)
    if key not in _ALIKE:
        if len(_ALIKE) > 4096:
            _ALIKE.clear()
        _ALIKE[key] = _looked_up(model, runtime, backend, device, rates, wanted)
    return _ALIKE[key]


def _looked_up(model: str, runtime: str, backend: str, device: str, rates: tuple[bool, ...], wanted: tuple[str, ...]) -> tuple[str, ...]:
    entry, ir = runtimes.runtime(runtime), models.ir(model)
    native, known = ir.native_quant, quants.quants()
    stated = [name for name in quant_names(runtime, backend) if name in known and not known[name].guess]
    names = list(wanted) or [AUTO, *(_named(entry) or stated)]
    if not wanted and moe(ir):
        names = [name for name in names if name not in entry.dense_only]
    found: dict[str, bool] = {}
    for name in names:
        try:
            asked = Deployment(quant=None if name == AUTO else name)
            scheme = settle(Scenario(model=model, system=System(device=device), runtime=runtime, deployment=asked)).quant
        except RoofcastError:
            continue
        suits = bool(wanted) or name == AUTO or scheme.id == native or _suits(scheme.kernel_class, rates)
        suits = suits and not (backend == "cpu" and not wanted and _by_lookup(ir, scheme))
        if suits and scheme.kernel_class != "f32" and scheme.container in entry.backends[backend].containers:  # type: ignore[index]
            found[scheme.id] = True
    return tuple(found) if wanted else _undominated(ir, list(found))


def _named(entry: Runtime) -> list[str]:
    """The quantisations that a runtime's record names one by one; none where it names ranges of them."""
    for name in entry.runs:
        try:
            quants.quant(name)
        except RoofcastError:
            return []
    return list(entry.runs)


def _suits(kernel: str, rates: tuple[bool, ...]) -> bool:
    """Whether a device computes in the format: eight and four bits of floats only where it has such arithmetic. A model's own
    format and weights that are expanded before use suit every device; MXFP4 is nobody's choice but a model's maker's."""
    fp8, int8, fp4 = rates
    needs = {"fp8": fp8, "fp8_block": False, "int8": int8, "nvfp4": fp4, "mxfp4": False}
    return needs.get(kernel, True)


def moe(ir: ModelIR) -> bool:
    """Whether a model has experts."""
    return any(block.mlp.kind == "moe" for block in ir.blocks)


def _by_lookup(ir: ModelIR, scheme: QuantScheme) -> bool:
    """Whether weights are looked up in a codebook, as i-quants below four bits: slower on a CPU than their size tells, as their author
    says (ggml-org/llama.cpp pull request 5747, mozilla-ai/llamafile pull request 464)."""
    return scheme.kernel_class == "gguf_iq" and weight_table(ir, scheme.id).bits_per_weight < 4


def _undominated(ir: ModelIR, schemes: list[str]) -> tuple[str, ...]:
    """Without quantisations that another of the same container and kernels beats in size or loss and matches in the other."""
    known = [(scheme, weight_table(ir, scheme).bytes, loss(ir.id, scheme)) for scheme in schemes]
    kept = []
    for n, (scheme, size, lost) in enumerate(known):
        kind = quants.quant(scheme)
        for other, (rival, its_size, its_loss) in enumerate(known):
            like = quants.quant(rival)
            if n == other or (kind.container, kind.kernel_class) != (like.container, like.kernel_class):
                continue
            if np.isnan(lost) and np.isnan(its_loss):  # of two that nobody measured size tells nothing
                beaten = its_size == size and other < n
            else:
                beaten = its_size <= size and not its_loss > lost and not np.isnan(its_loss)
                beaten = beaten and (its_size < size or its_loss != lost or other < n)
            if beaten:
                break
        else:
            kept.append(scheme)
    return tuple(kept)


def loss(model: str, quant: str) -> float:
    """What a quantisation loses against full precision, as a share of a task's score; NaN where nobody measured it."""
    from core.quality import quality
    from core.quantity import value

    return float(value(quality(model, quant).loss))


def caches_for(goal: Goal, runtime: str, device: Device) -> tuple[str | None, ...]:
    """KV cache types: those asked for that the runtime has, or its own and the one of about eight bits that suits the device's
    arithmetic. `None` is its own."""
    entry = runtimes.runtime(runtime)
    if goal.kv_dtypes:
        wanted = {quants.kv_dtype(name).id for name in goal.kv_dtypes}
        return tuple(name if name != entry.default_kv_dtype else None for name in entry.kv_dtypes if name in wanted)
    sizes = {name: quants.kv_dtype(name).bytes_per_element for name in entry.kv_dtypes}
    halved = [name for name, size in sizes.items() if 1.0 <= size < 1.25 and name != entry.default_kv_dtype]
    floats = device.fp8_tflops is not None
    kinds = [quants.kv_dtype(name) for name in halved]
    return (None, *[kind.id for kind in kinds if not kind.guess and (floats or not kind.format.startswith("fp8"))][:1])
