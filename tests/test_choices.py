"""What can be chosen, and names from links."""

from __future__ import annotations

import pytest

from core import choices
from core.catalog import hardware, models, runtimes
from core.errors import RoofcastError
from core.estimate import estimate
from core.scenario import from_flat


def test_every_listed_name_is_found_again() -> None:
    names = choices.model_names()
    assert len(names) == len(models.models())
    assert len({models.model(name).id for name in names}) == len(names)
    assert len({hardware.device(name).id for name in choices.device_names()}) == len(hardware.devices())
    assert choices.default_model() in names
    assert choices.default_device() in choices.device_names()


@pytest.mark.parametrize("runtime", [entry.name for entry in runtimes.runtimes().values() if not entry.treated_as])
def test_default_quant_is_listed(runtime: str) -> None:
    assert choices.default_quant(runtime) in choices.quant_names(runtime)


def test_listed_quants_run() -> None:
    for runtime, device in (("llama.cpp", "RTX 4090"), ("vLLM", "H100 SXM")):
        backend = choices.suiting_backend(runtime, device)
        for quant in choices.quant_names(runtime, backend):
            knobs = {"model": "Llama-3.1-8B-Instruct", "device": device, "runtime": runtime}
            estimate(from_flat(knobs if quant == choices.AUTO else {**knobs, "quant": quant}))


@pytest.mark.parametrize(
    ("knob", "text", "meant"),
    [
        ("model", "llama 3.1 8b instruct", "Llama-3.1-8B-Instruct"),
        ("device", "4090", "GeForce RTX 4090"),
        ("runtime", "vllm", "vLLM"),
        ("quant", "q4_k_m", "Q4_K_M"),
        ("prompt_tokens", "2048", 2048),
        ("flash_attention", "0", False),
        ("backend", "cuda", "cuda"),
        ("cpu", "auto", "auto"),
    ],
)
def test_exact(knob: str, text: str, meant: object) -> None:
    assert choices.exact(knob, text) == meant


@pytest.mark.parametrize(
    ("knob", "text"),
    [("model", "zzz"), ("device", "zzz"), ("quant", "FP7"), ("backend", "zzz"), ("tp", "0"), ("ram_gb", "-1")],
)
def test_nonsense_is_refused_in_one_sentence(knob: str, text: str) -> None:
    with pytest.raises(RoofcastError) as refused:
        choices.exact(knob, text)
    assert str(refused.value).strip().endswith((".", "?"))


def test_profile_sets_device_count_and_ram() -> None:
    assert choices.profile_knobs("dual-4090-epyc")["count"] == 2
