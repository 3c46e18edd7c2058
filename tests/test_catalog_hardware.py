"""Devices and systems: every figure has a source, names resolve to the right card or are refused."""

from __future__ import annotations

import pytest

from core.catalog import files, hardware, links
from core.errors import CatalogError
from core.units import GB, GIB, HOUR, TFLOP

# Names in the measured runs, and the record each one means.
NAMES_IN_RUNS = {
    "Radeon 8060S": "ryzen-ai-max-395",
    "H100 80GB SXM": "h100-sxm5-80gb",
    "H100 SXM": "h100-sxm5-80gb",
    "H100 80GB PCIe": "h100-pcie-80gb",
    "H100 PCIe": "h100-pcie-80gb",
    "H100 NVL": "h100-nvl-94gb",
    "B200 180GB SXM": "b200-sxm-180gb",
    "B300 288GB SXM": "b300-sxm-288gb",
    "A100 40GB SXM": "a100-sxm4-40gb",
    "A100 80GB": "a100-sxm4-80gb",
    "A100 80GB SXM": "a100-sxm4-80gb",
    "A100 SXM 80GB": "a100-sxm4-80gb",
    "A100 80GB PCIe": "a100-pcie-80gb",
    "A100 PCIe 80GB": "a100-pcie-80gb",
    "H200 141GB SXM": "h200-sxm-141gb",
    "H200": "h200-sxm-141gb",
    "H200 NVL 141GB": "h200-nvl-141gb",
    "MI300X 192GB": "mi300x",
    "MI325X 256GB": "mi325x",
    "MI355X 288GB": "mi355x",
    "MI350X 288GB": "mi350x",
    "MI250 128GB": "mi250",
    "Instinct MI50": "mi50-16gb",
    "RTX 3090 24GB": "rtx-3090",
    "Gaudi2 96GB": "gaudi-2",
    "GH200 96GB": "gh200-96gb",
    "GH200 144GB": "gh200-144gb",
    "GB200 192GB NVL72": "gb200",
    "GB300 288GB NVL72": "gb300",
    "RTX PRO 6000 Blackwell Server 96GB": "rtx-pro-6000-blackwell-server",
    "RTX PRO 6000 Blackwell": "rtx-pro-6000-blackwell-workstation",
    "RTX PRO 4500 Blackwell 32GB": "rtx-pro-4500-blackwell",
    "Intel Max 1550 128GB": "max-1550",
    "L40S 48GB": "l40s",
    "L40 48GB": "l40",
    "L4 24GB": "l4",
    "A40 48GB": "a40",
    "RTX 6000 Ada 48GB": "rtx-6000-ada",
    "RTX A6000 48GB": "rtx-a6000",
    "RTX A4000 16GB": "rtx-a4000",
    "RTX A5000 24GB": "rtx-a5000",
    "RTX 4090 48GB": "rtx-4090-48gb",
    "RTX 4090 24GB": "rtx-4090",
    "RTX 4000 Ada 20GB": "rtx-4000-ada",
    "GB10 (DGX Spark)": "dgx-spark",
    "Arc A770": "arc-a770-16gb",
    "Arc Pro B60 24GB": "arc-pro-b60",
    "Arc Pro B60 Dual 48GB": "arc-pro-b60",
    "Arc Pro B70 32GB": "arc-pro-b70",
    "Arc Pro B50 16GB": "arc-pro-b50",
    "RTX 3060": "rtx-3060-12gb",
    "RTX 4060 Ti": "rtx-4060-ti-8gb",
    "RTX 3080": "rtx-3080-10gb",
    "RTX 3050": "rtx-3050-8gb",
    "RTX 5060 Ti": "rtx-5060-ti-16gb",
    "RTX 2060": "rtx-2060",
    "Tesla P100": "tesla-p100-pcie-16gb",
    "Tesla V100": "tesla-v100-pcie-16gb",
    "Tesla T4": "t4",
    "RTX 3080 Laptop": "rtx-3080-laptop-16gb",
    "RTX 3050 Ti Laptop": "rtx-3050-laptop-4gb",
    "Radeon 780M": "radeon-780m",
    "Jetson Orin (unspecified)": "jetson-agx-orin-64gb",
}


def value(name: str, field: str) -> float:
    fact = hardware.device(name).fact(field)
    assert fact is not None
    return fact.value


def test_every_device_validates_and_there_are_at_least_the_251_asked_for() -> None:
    assert len(hardware.devices()) >= 251


@pytest.mark.parametrize("device", hardware.devices().values(), ids=lambda d: d.id)
def test_record_is_sound(device: hardware.Device) -> None:
    assert {device.source, *device.sources.values()} <= set(files.sources())
    for alternative in device.alternatives:
        assert alternative.source in files.sources()
        assert alternative.field in hardware.FACTS
        assert getattr(device, alternative.field) is not None
    for field in (*device.sources, *device.guess, *device.notes):
        assert field in hardware.Device.model_fields, field
        assert getattr(device, field) is not None or field in device.notes
    assert device.interconnect is None or device.interconnect in links.links()
    assert device.memory_bandwidth_gb_s is not None
    for field in hardware.FACTS:
        fact = device.fact(field)
        if fact is not None:
            assert fact.source is not None
            assert fact.kind == ("assumption" if fact.source.guess else "datasheet")


def test_a_figure_is_not_credited_to_a_source_that_says_another() -> None:
    for device in hardware.devices().values():
        for other in device.alternatives:
            if other.note is None:
                assert other.source != device.sources.get(other.field, device.source), (device.id, other.field)


def test_every_device_answers_to_its_id_and_name() -> None:
    for device in hardware.devices().values():
        kind = "cpu" if device.kind == "cpu" else "gpu"
        assert hardware.device(device.id).id == device.id
        assert hardware.device(device.name, kind).id == device.id


@pytest.mark.parametrize(("name", "expected"), NAMES_IN_RUNS.items())
def test_name_in_runs_resolves(name: str, expected: str) -> None:
    assert hardware.device(name).id == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("4090", "rtx-4090"),  # never the laptop card
        ("rtx4090", "rtx-4090"),
        ("NVIDIA GeForce RTX 4090", "rtx-4090"),
        ("RTX 4090 24 GB", "rtx-4090"),
        ("RTX 4090 48GB", "rtx-4090-48gb"),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", "rtx-4090-laptop"),
        ("3060", "rtx-3060-12gb"),
        ("H100", "h100-sxm5-80gb"),
        ("NVIDIA H100 80GB HBM3", "h100-sxm5-80gb"),  # as nvidia-smi prints it
        ("NVIDIA A100-SXM4-80GB", "a100-sxm4-80gb"),
        ("NVIDIA GH200 480GB", "gh200-96gb"),  # the 480 GB are the Grace's
        ("M4 Max", "m4-max-40core"),
        ("Apple M3 Max (30-core GPU)", "m3-max-30core"),
        ("RTX 4060 Ti 16GB", "rtx-4060-ti-16gb"),
        ("AMD Instinct MI300X", "mi300x"),
        ("Strix Halo", "ryzen-ai-max-395"),
        ("raspberry-pi-5", "raspberry-pi-5"),
    ],
)
def test_short_names_mean_the_card_that_people_mean(name: str, expected: str) -> None:
    assert hardware.device(name).id == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("AMD Ryzen 9 5950X 16-Core Processor (znver3)", "ryzen-9-5950x"),
        ("11th Gen Intel Core i7-1165G7 @ 2.80GHz (tigerlake)", "core-i7-1165g7"),
        ("Intel Xeon CPU E5-2690 v4 @ 2.60GHz (broadwell)", "xeon-e5-2690-v4"),
        ("Intel Xeon CPU E5-2690 0 @ 2.90GHz (sandybridge)", "xeon-e5-2690"),
        ("Raspberry Pi 4B (Cortex-A72)", "raspberry-pi-4"),
        ("Apple M4 Max 12P+4E", "apple-m4-max-cpu"),
        ("AMD Ryzen AI Max+ 395", "ryzen-ai-max-plus-395-cpu"),
        ("AMD Ryzen 9 7940HS w/ Radeon 780M Graphics (znver4)", "ryzen-9-7940hs"),
    ],
)
def test_cpu_names_resolve_as_operating_systems_print_them(name: str, expected: str) -> None:
    assert hardware.device(name, "cpu").id == expected


def test_a_chip_name_is_its_gpu_unless_a_cpu_is_asked_for() -> None:
    assert hardware.device("Apple M4").kind == "gpu"
    assert hardware.device("Apple M4", "cpu").kind == "cpu"


def test_unknown_name_is_refused_with_suggestions() -> None:
    with pytest.raises(CatalogError, match=r"^No device 'RTX 9090' in the catalog\. Did you mean .*'GeForce RTX 4090'"):
        hardware.device("RTX 9090")
    with pytest.raises(CatalogError, match="No device 'abacus' in the catalog"):
        hardware.device("abacus")
    with pytest.raises(CatalogError, match="name is empty"):
        hardware.device(" ")


def test_wrong_memory_size_is_not_taken_for_the_nearest_card() -> None:
    with pytest.raises(CatalogError, match="No device 'RTX 4090 16GB'"):
        hardware.device("RTX 4090 16GB")


@pytest.mark.parametrize(("name", "candidate"), [("A100", "A100 SXM4 40GB"), ("RX 7900", "XTX"), ("7900", "XTX")])
def test_ambiguous_name_lists_the_cards(name: str, candidate: str) -> None:
    with pytest.raises(CatalogError, match=f"'{name}' fits several devices: .*{candidate}"):
        hardware.device(name)


def test_two_cards_on_one_board_are_not_one_device() -> None:
    with pytest.raises(CatalogError, match="No device"):
        hardware.device("Radeon AI PRO R9700 + RX 9060 XT")


def test_search_finds_parts_of_names() -> None:
    assert "rtx-4090" in [d.id for d in hardware.search_devices("4090")]
    assert {"mi300x", "mi300a"} <= {d.id for d in hardware.search_devices("mi300")}
    assert len(hardware.search_devices("rtx", limit=5)) == 5
    assert {d.kind for d in hardware.search_devices("m4", kind="cpu")} == {"cpu"}


@pytest.mark.parametrize(
    ("name", "field", "expected"),
    [
        ("H100 SXM", "memory_bandwidth_gb_s", 3350 * GB),  # HBM3, five stacks: datasheet
        ("H100 SXM", "bf16_tflops", 989.4 * TFLOP),  # 1,979 with sparsity, halved
        ("RTX 3090", "memory_bandwidth_gb_s", 936.2 * GB),  # 19.5 Gb/s × 384 bit
        ("RTX 3090", "fp16_tflops", 71.16 * TFLOP),  # half the 142 of FP16 accumulation
        ("RTX 3090", "fp16_acc16_tflops", 142.3 * TFLOP),
        ("A100 80GB", "memory_bandwidth_gb_s", 2039 * GB),
        ("RTX PRO 6000 Blackwell Server", "memory_bandwidth_gb_s", 1597 * GB),  # kernel constants are shares of this
        ("RTX 4090 48GB", "memory_bandwidth_gb_s", 1008 * GB),  # more chips, same bus
        ("M4 Max", "memory_bandwidth_gb_s", 546 * GB),
        ("M1 7-core", "fp16_tflops", 7 * 0.326 * TFLOP),  # by GPU core
    ],
)
def test_golden_figures(name: str, field: str, expected: float) -> None:
    assert value(name, field) == pytest.approx(expected, rel=2e-3)


def test_both_peaks_of_the_4090_are_kept() -> None:
    fact = hardware.device("RTX 4090").fact("fp16_tflops")
    assert fact is not None and fact.source is not None and fact.source.note is not None
    assert fact.value == pytest.approx(165.2e12)
    assert fact.kind == "assumption"
    assert "82.0 TFLOP/s" in fact.source.note and "dual-4090-epyc" in fact.source.note


def test_every_published_disagreement_is_kept() -> None:
    kept = sum(len(d.alternatives) for d in hardware.devices().values())
    assert kept >= 36
    note = hardware.device("RTX PRO 6000 Blackwell Server").fact("memory_bandwidth_gb_s").source.note  # type: ignore
    assert "1,792 GB/s" in note


def test_a_peak_that_nobody_published_is_none() -> None:
    assert hardware.device("Tesla P40").fact("fp16_tflops") is None
    assert hardware.device("H100").fact("fp4_tflops") is None


def test_the_pcie_link_of_a_card_is_in_the_catalog() -> None:
    assert hardware.device("RTX 3090").interconnect == "nvlink-3-bridge"  # the bridge has to be bought
    assert hardware.device("RTX 3090").pcie_link == "pcie-4.0-x16"
    assert hardware.device("M4 Max").pcie_link is None
    assert {d.pcie_link for d in hardware.devices().values()} - {None} <= set(links.links())


def test_prices_are_guesses_in_dollars_and_cloud_prices_per_second() -> None:
    price = hardware.device("RTX 4090").fact("price_usd")
    assert price is not None and price.unit == "USD" and price.value == 1599 and price.kind == "assumption"
    cloud = hardware.device("H100").fact("cloud_usd_per_h")
    assert cloud is not None and cloud.unit == "USD/s" and cloud.value * HOUR == pytest.approx(6.88)


@pytest.mark.parametrize(
    ("name", "gib"),
    [
        ("H100", 79.2),  # what the driver offers
        ("L40S", 44.5),  # ECC takes its share
        ("A10G", 22.4),
        ("B300", 268.59375),  # marketed as 288 decimal GB
        ("RTX 4090", 24.0),  # marketing figure read as GiB
        ("MI300X", 192.0),
    ],
)
def test_usable_memory(name: str, gib: float) -> None:
    memory = hardware.device(name).usable_memory()
    assert memory.unit == "B"
    assert memory.value == pytest.approx(gib * GIB)


def test_usable_memory_of_a_shared_memory_chip_of_unknown_size_is_refused() -> None:
    with pytest.raises(CatalogError, match="how much memory 'Iris Xe' has"):
        hardware.device("Iris Xe").usable_memory()


def test_unknown_figure_is_refused() -> None:
    with pytest.raises(CatalogError, match="no figure 'speed'"):
        hardware.device("H100").fact("speed")


def test_cpus_have_a_peak_marked_as_a_guess() -> None:
    for device in hardware.devices().values():
        if device.kind == "cpu":
            peak = device.fact("fp32_tflops")
            assert peak is not None and peak.kind == "assumption", device.id


@pytest.mark.parametrize("profile", hardware.systems().values(), ids=lambda s: s.id)
def test_system_is_sound(profile: hardware.SystemProfile) -> None:
    assert profile.device in hardware.devices()
    assert hardware.devices()[profile.cpu].kind == "cpu"
    assert profile.link in links.links()
    assert profile.host_link is None or profile.host_link in links.links()
    assert (profile.count == 1) == (profile.link == "none")
    assert {profile.source, *profile.sources.values()} <= set(files.sources())
    assert profile.fact("ram_gb").value == profile.ram_gb * GIB
    assert hardware.system(profile.name.upper()).id == profile.id


def test_the_seed_profile_is_as_written() -> None:
    profile = hardware.system("dual-4090-epyc")
    assert (profile.device, profile.count, profile.link, profile.cpu) == ("rtx-4090", 2, "pcie-4.0-x16", "epyc-9354")
    assert (profile.ram_gb, profile.ram_bandwidth_gb_s, profile.storage_read_gb_s) == (256, 205, 7)
    assert (profile.cpu_cores, profile.numa_nodes) == (32, 2)
    assert profile.fact("ram_bandwidth_gb_s").kind == "datasheet"


def test_at_least_25_systems_and_an_unknown_one_is_refused() -> None:
    assert len(hardware.systems()) >= 25
    with pytest.raises(CatalogError, match="No system 'abacus'"):
        hardware.system("abacus")
