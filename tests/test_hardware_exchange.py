"""Devices to and from JSON: what is written is read back; two foreign forms are read with what was assumed; nonsense is a sentence."""

from __future__ import annotations

import json
from typing import Any

import pytest

from core.catalog import hardware
from core.catalog.own_hardware import built, is_own
from core.errors import CatalogError
from core.hardware_exchange import MAX_BYTES, export, read
from core.scenario import from_flat

# `hardware_profiles` of the estimator's specification, section 3.3.
PROFILE = {
    "hardware_id": "dual-4090-epyc",
    "gpus": [{"sku": "RTX 4090", "count": 2, "vram_gb": 24, "mem_bw_gbps": 1008, "fp16_tflops": 82, "pcie_gen": 4, "pcie_lanes": 16}],
    "interconnect": {"type": "pcie", "bw_gbps": 31.5, "latency_us": 2.5},
    "cpu": {"sku": "EPYC 9354", "cores": 32, "mem_bw_gbps": 205, "numa_nodes": 2},
    "ram_gb": 256,
    "storage": {"type": "nvme", "read_gbps": 7},
}
# Figures of an H100, and of a whole rack, in the form of Mantile's configurations.
MANTILE: dict[str, Any] = {
    "name": "NVIDIA H100 SXM5 (80GB)", "manufacturer": "NVIDIA", "compute": {"fp16": 989.0, "bf16": 989.0, "fp8": 1979.0, "int8": 0.0},
    "memory": [{"type": "HBM3", "capacity_gb": 80.0, "bandwidth_gbps": 3350.0}], "interconnect_bandwidth_gbps": 900.0,
    "interconnect_latency_us": 0.3, "chips_per_node": 1, "nodes_per_cluster": 1,
}  # fmt: skip
RACK = {**MANTILE, "name": "A rack of 72", "compute": {"bf16": 180000.0}, "chips_per_node": 72,
        "memory": [{"type": "HBM", "capacity_gb": 13824.0, "bandwidth_gbps": 589824.0}]}  # fmt: skip
FLAT = {"name": "Older form", "bf16_tflops": 500.0, "hbm_capacity_gb": 64.0, "hbm_bandwidth_gbps": 2000.0}


def load(entry: Any) -> Any:
    return read(json.dumps(entry).encode())


def test_what_is_written_is_read_back() -> None:
    devices = [
        hardware.device("RTX 4090"),
        built("RTX 4090", {"name": "Mine", "memory_gb": 48, "unified": True, "price_usd": None}),
        built("", {"name": "New", "vendor": "X", "device_class": "npu", "kind": "npu", "arch": "a", "family": "a", "memory_gb": 8,
                   "memory_bandwidth_gb_s": 100}),
    ]  # fmt: skip
    assert read(export(devices).encode()).devices == devices


def test_a_hardware_profile_becomes_a_machine() -> None:
    found = load(PROFILE)
    device = found.devices[0]
    assert is_own(device) and device.fp16_tflops == 82  # the file's figure, beside the catalog's 165.2
    machine = found.systems["dual-4090-epyc"]
    scenario = from_flat({"model": "m", **machine})
    assert (scenario.system.count, scenario.system.ram_gb, scenario.system.ram_bandwidth_gb_s) == (2, 256, 205)
    assert (scenario.system.cpu, scenario.system.link) == ("EPYC 9354", "pcie-4.0-x16")
    assert any("storage" in note for note in found.notes)


def test_a_profile_that_says_what_the_catalog_says_is_the_shipped_device() -> None:
    gpu = {key: amount for key, amount in PROFILE["gpus"][0].items() if key != "fp16_tflops"}  # type: ignore[index,union-attr]
    assert load({**PROFILE, "gpus": [gpu]}).devices == [hardware.device("RTX 4090")]


def test_mantiles_configuration_is_compared_with_the_shipped_device() -> None:
    found = load(MANTILE)
    device = found.devices[0]
    assert "base=H100 SXM5 80GB&" in device.id and device.bf16_tflops == 989
    assert device.int8_tops == hardware.device("H100 SXM").int8_tops  # its 0 means that nobody said
    assert not found.systems


def test_a_rack_counted_as_one_is_taken_apart() -> None:
    found = load(RACK)
    device = found.devices[0]
    assert (device.memory_gb, device.memory_bandwidth_gb_s, device.bf16_tflops) == (192, 8192, 2500)
    assert found.systems["A rack of 72"]["count"] == 72
    assert any("all 72 chips together" in note for note in found.notes)


def test_the_older_flat_form_is_read() -> None:
    device = load(FLAT).devices[0]
    assert (device.memory_gb, device.memory_bandwidth_gb_s, device.bf16_tflops) == (64, 2000, 500)


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"not json", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[]", "between 1 and"),
        (b"[1]", "between 1 and"),
        (b"3", "between 1 and"),
        (b"{}", "none of the forms"),
        (b'{"format": "roofcast-hardware-1"}', "list of devices"),
        (b'{"base": "RTX 4090", "set": [1]}', "must be an object"),
        (b'{"base": 3, "set": {}}', "must be text"),
        (b'{"base": "RTX 4090", "set": {"memory_gb": {"a": 1}}}', "Memory"),
        (b'{"base": "RTX 4090", "set": {"memory_gb": -1}}', "must be more than 0"),
        (b'{"gpus": []}', "the list of gpus is empty"),
        (b'{"gpus": [{"count": 2}]}', "has no sku"),
        (b'{"gpus": [{"sku": "RTX 4090", "count": 1e9}]}', "whole number"),
        (b'{"gpus": [{"sku": "RTX 4090"}], "ram_gb": "much"}', "must be numbers"),
        (b'{"name": "x", "compute": {}, "memory": []}', "missing"),
        (b'{"name": "x", "compute": [], "memory": [{"capacity_gb": "a", "bandwidth_gbps": 1}]}', "must be a number"),
        (b" " * (MAX_BYTES + 1), "at most"),
        (b"[" * 100_000, "not JSON"),
    ],
)
def test_nonsense_is_one_sentence(raw: bytes, said: str) -> None:
    with pytest.raises(CatalogError) as error:
        read(raw)
    assert said in str(error.value) and "\n" not in str(error.value)
