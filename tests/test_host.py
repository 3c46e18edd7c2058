"""What the user knows of the machine: cables, sockets, shares of RAM, bandwidths as stated and as measured."""

from __future__ import annotations

from typing import Any

import pytest

from core.answer import Estimate
from core.catalog import hardware, links
from core.catalog.hardware import READ_SHARE
from core.columns import columns
from core.errors import CatalogError, ScenarioError
from core.estimate import estimate
from core.quantity import Quantity
from core.scenario import from_flat
from core.setting import settle
from core.units import GB, GIB

QWEN, R1 = "Qwen/Qwen3-8B", "deepseek-ai/DeepSeek-R1"


def asked(**knobs: Any) -> Estimate:
    return estimate(from_flat({"model": QWEN, "quant": "Q4_K_M", **knobs}))


def leaves(number: Any) -> dict[str, Quantity]:
    return {leaf.name: leaf for leaf in number.leaves()}


def bandwidth(**knobs: Any) -> Quantity:
    rate = columns(settle(from_flat({"model": QWEN, "quant": "Q4_K_M", **knobs}))).gpu.bandwidth
    assert isinstance(rate, Quantity)
    return rate


# ---------------------------------------------------------------- cables


@pytest.mark.parametrize(
    ("name", "gbit"),
    [("thunderbolt 3", 22), ("TB4", 32), ("usb4", 32), ("thunderbolt-5", 64), ("oculink", 63), ("oculink 1", 31.5), ("pcie-3.0-x1", 7.84)],
)
def test_a_cable_carries_what_was_announced(name: str, gbit: float) -> None:
    fact = links.host_link(name).fact("bandwidth_gb_s")
    assert fact is not None and fact.value * 8 / GB == pytest.approx(gbit, rel=1e-3)


def test_a_link_between_hosts_is_no_cable_of_a_card() -> None:
    assert links.link("thunderbolt-4").bandwidth_gb_s == 5, "what joins two computers carries the whole line rate"
    with pytest.raises(CatalogError, match="between a device and its host; choose one of thunderbolt 3"):
        links.host_link("nvlink-4")


def test_a_slower_cable_is_never_faster() -> None:
    names = ("pcie-3.0-x1", "thunderbolt-3", "thunderbolt-4", "thunderbolt-5", "pcie-4.0-x16")
    answers = [asked(device="RTX 3090", host_link=name, prompt_tokens=4096) for name in names]
    for metric in ("tpot", "ttft"):
        times = [answer.metric(metric) for answer in answers]
        assert times == sorted(times, reverse=True)
    loads = [answer.loading.value for answer in answers]
    assert loads == sorted(loads, reverse=True)


def test_a_cable_costs_logits_and_hidden_states() -> None:
    """151,936 logits of 4 bytes a token over 4 GB/s × 0.8 are 0.19 ms, and 10 µs each way."""
    slot, cable = asked(device="RTX 3090"), asked(device="RTX 3090", host_link="thunderbolt-4")
    more = cable.metric("tpot") - slot.metric("tpot")
    assert more == pytest.approx(151936 * 4 / 3.2e9 + 4096 * 4 / 3.2e9 + 20e-6, rel=0.01)
    assert slot.loading is None and cable.loading.value == pytest.approx(cable.device.parts[0].amount.value / 3.2e9)


def test_streamed_experts_pass_the_cable() -> None:
    knobs = {"model": "Qwen/Qwen3-30B-A3B", "device": "RTX 3060", "ram_gb": 64, "prompt_tokens": 2048}
    slot, cable = asked(**knobs), asked(**knobs, host_link="thunderbolt-3")
    assert slot.feasibility == cable.feasibility == "with_offload"
    assert cable.metric("ttft") > 3 * slot.metric("ttft")


def test_tensor_ranks_talk_over_the_slower_cable() -> None:
    knobs = {"device": "RTX 4090", "count": 2, "runtime": "vllm", "quant": "AWQ-INT4", "tp": 2}
    slot, cable = asked(**knobs), asked(**knobs, host_link="oculink")
    assert cable.metric("tpot") > slot.metric("tpot")
    assert cable.resolved["link"] == "OCuLink (PCIe 4.0 ×4)"


# ---------------------------------------------------------------- sockets


def test_sockets_count_as_far_as_the_engine_uses_them() -> None:
    knobs = {"device": "EPYC 9654", "model": R1, "ram_gb": 768}
    one, unaware, spread, alone = (asked(**{**knobs, **more}) for more in (
        {}, {"sockets": 2}, {"sockets": 2, "numa": "distribute"}, {"sockets": 2, "numa": "isolate", "ram_gb": 1536}))  # fmt: skip
    assert unaware.metric("tpot") == pytest.approx(one.metric("tpot"), rel=0.05), "an engine that is not told reads as fast as from one"
    assert alone.metric("tpot") == pytest.approx(one.metric("tpot"), rel=0.01)
    assert 1.3 < one.metric("tpot") / spread.metric("tpot") < 1.6
    assert spread.metric("prefill_rate") > unaware.metric("prefill_rate") > one.metric("prefill_rate")
    assert spread.metric("power") == pytest.approx(2 * one.metric("power"))
    assert "numa_unset" in [w.code for w in unaware.warnings] and "numa_unset" not in [w.code for w in spread.warnings]
    share = leaves(spread.metrics["tpot"])["further socket bandwidth"]
    assert share.kind == "assumption" and share.source is not None and share.source.guess


def test_isolated_on_one_socket_half_the_memory_is_left() -> None:
    spread, alone = (asked(device="EPYC 9654", sockets=2, ram_gb=64, numa=numa) for numa in ("distribute", "isolate"))
    assert alone.device.limit.value == pytest.approx(spread.device.limit.value / 2)


def test_a_host_s_sockets_help_offloaded_layers() -> None:
    knobs = {"model": R1, "device": "RTX 4090", "cpu": "EPYC 9654", "ram_gb": 768}
    one, two = asked(**knobs), asked(**knobs, sockets=2, numa="distribute")
    assert one.feasibility == two.feasibility == "with_offload" and two.metric("tpot") < one.metric("tpot")


# ---------------------------------------------------------------- bandwidths


def test_a_measured_bandwidth_stands_for_a_datasheet_s() -> None:
    stated, measured = bandwidth(device="RTX 3090", device_bandwidth_gb_s=900), bandwidth(device="RTX 3090", measured_bandwidth_gb_s=828)
    assert stated.value == pytest.approx(900 * GB) and measured.value == pytest.approx(828 / READ_SHARE * GB) == pytest.approx(900 * GB)
    assert measured.kind == stated.kind == "user"
    both = bandwidth(device="RTX 3090", device_bandwidth_gb_s=100, measured_bandwidth_gb_s=828)
    assert both.value == measured.value, "what was measured goes before what was stated"


@pytest.mark.parametrize("device", ["Ryzen 9 7950X", "M4 Max", "Radeon 780M"])
def test_ram_is_the_memory_of_what_has_none_of_its_own(device: str) -> None:
    assert bandwidth(device=device, ram_bandwidth_gb_s=60, ram_gb=64).value == pytest.approx(60 * GB)
    assert bandwidth(device=device, measured_ram_bandwidth_gb_s=55.2, ram_gb=64).value == pytest.approx(60 * GB)
    assert bandwidth(device="RTX 3090", ram_bandwidth_gb_s=60).value == bandwidth(device="RTX 3090").value


def test_a_bandwidth_of_all_sockets_is_shared_among_them() -> None:
    told = bandwidth(device="EPYC 9654", sockets=2, numa="distribute", ram_bandwidth_gb_s=921.6)
    assert told.value == pytest.approx(bandwidth(device="EPYC 9654", sockets=2, numa="distribute").value)


def test_the_answer_says_which_figures_are_the_user_s() -> None:
    answer = asked(device="RTX 3090", measured_bandwidth_gb_s=828, pcie_gb_s=12)
    told = next(warning.text for warning in answer.warnings if warning.code == "own_figures")
    assert "memory bandwidth of GeForce RTX 3090 828 GB/s as measured, which stands for 900 GB/s" in told and "host link 12 GB/s" in told
    assert "own_figures" not in [warning.code for warning in asked(device="RTX 3090").warnings]
    wrong = asked(device="RTX 3090", measured_bandwidth_gb_s=99_999).warnings
    assert any("more than the 936.2 GB/s" in warning.text for warning in wrong)
    assert not any("datasheet: check" in warning.text for warning in answer.warnings)


# ---------------------------------------------------------------- shares of RAM


def test_a_share_of_ram_is_the_gpu_s_and_the_rest_the_cpu_s() -> None:
    knobs = {"device": "Ryzen AI Max+ 395 (Radeon 8060S, Strix Halo)", "ram_gb": 128, "model": "openai/gpt-oss-120b"}
    answer = asked(**knobs, gpu_share_gib=96)
    assert answer.feasibility == "in_vram" and answer.device.limit.value == 96 * GIB
    small = asked(**knobs, gpu_share_gib=48)
    assert small.feasibility == "with_offload" and small.host is not None
    assert small.host.limit.value == pytest.approx(80 * GIB * 0.9)
    assert small.metric("tpot") > answer.metric("tpot")


def test_more_than_the_system_gives_unasked_is_said() -> None:
    """Linux lets an AMD GPU map half of RAM: 59 GiB of 64 need it, 5 GiB do not."""
    knobs = {"device": "Strix Halo", "ram_gb": 128}
    device = hardware.device("Ryzen AI Max+ 395 (Radeon 8060S, Strix Halo)").name
    big, little = (asked(**{**knobs, "device": device, "model": model}) for model in ("meta-llama/Llama-3.3-70B-Instruct", QWEN))
    huge = asked(**{**knobs, "device": device, "model": "Qwen/Qwen3-235B-A22B", "quant": "Q2_K"})
    assert "share_of_ram" in [w.code for w in huge.warnings] and "ttm.pages_limit" in " ".join(w.text for w in huge.warnings)
    assert all("share_of_ram" not in [w.code for w in answer.warnings] for answer in (big, little))
    told = asked(**{**knobs, "device": device, "model": "Qwen/Qwen3-235B-A22B", "quant": "Q2_K", "gpu_share_gib": 110})
    assert "share_of_ram" not in [w.code for w in told.warnings]


def test_a_card_has_no_share_of_ram() -> None:
    with pytest.raises(ScenarioError, match="say device_memory_gib instead"):
        asked(device="RTX 3090", gpu_share_gib=20)


# ---------------------------------------------------------------- threads


def test_more_threads_are_never_slower_and_never_beat_all_cores() -> None:
    whole = asked(device="Ryzen 9 7950X", prompt_tokens=512)
    answers = [asked(device="Ryzen 9 7950X", prompt_tokens=512, threads=threads) for threads in (1, 2, 4, 8, 16, 64)]
    for metric in ("tpot", "ttft"):
        times = [answer.metric(metric) for answer in answers]
        assert times == sorted(times, reverse=True) and times[0] > 2 * times[-1]
        assert times[-1] == times[-2] == whole.metric(metric), "all sixteen cores are what the figures describe"


def test_threads_draw_what_one_was_measured_to_draw() -> None:
    own = "Ryzen 9 7950X?thread_bandwidth_gb_s=9.2"
    assert bandwidth(device=own, threads=3).value == pytest.approx(3 * 9.2 / READ_SHARE * GB)
    assert bandwidth(device=own, threads=16).value == bandwidth(device=own).value, "no more than the memory gives"
    guessed = leaves(bandwidth(device="Ryzen 9 7950X", threads=1))["thread bandwidth"]
    assert guessed.kind == "assumption"


def test_two_sockets_have_twice_the_cores() -> None:
    one, two = (
        asked(device="EPYC 9354", numa="distribute", sockets=many, threads=64, prompt_tokens=2048).metric("ttft") for many in (1, 2)
    )
    assert two < one


@pytest.mark.parametrize(
    ("knobs", "code"),
    [
        ({"device": "Core i9-13900K", "threads": 8}, "threads_no_effect"),  # its cores are not alike
        ({"device": "RTX 3090", "gpu_layers": 20, "threads": 8}, "threads_no_effect"),  # nobody named the processor
        ({"device": "Ryzen 9 7950X", "threads": 32}, "threads_beyond_cores"),
    ],
)
def test_threads_that_change_nothing_say_so(knobs: dict[str, Any], code: str) -> None:
    assert code in [reason.code for reason in asked(**knobs).warnings]
    assert asked(**knobs).metric("tpot") == asked(**{**knobs, "threads": None}).metric("tpot")


def test_threads_of_the_host_hold_back_layers_left_there() -> None:
    box = {"device": "RTX 3090", "cpu": "Ryzen 9 7950X", "gpu_layers": 10}
    assert asked(**box, threads=1).metric("tpot") > 1.5 * asked(**box).metric("tpot")
