"""Links and measured collectives: sources, units, and known times."""

from __future__ import annotations

import pytest

from core.catalog import files, hardware, links
from core.errors import CatalogError
from core.units import GB, MIB, US


def predicted(c: links.Collective, size: float) -> float:
    """Seconds of the saturating form, written out as the file states it."""
    bracket = 1 + (c.half_bytes / size) ** c.exponent
    return c.latency_us * US + c.traffic_factor * size / (c.bus_bandwidth_gb_s * GB) * bracket


def time_of(family: str, op: links.Operation, n: int, size: float) -> float:
    found = links.collective(family, op, n)
    assert found is not None
    return predicted(found, size)


@pytest.mark.parametrize("entry", links.links().values(), ids=lambda e: e.id)
def test_link_is_sound(entry: links.Link) -> None:
    assert {entry.source, *entry.sources.values()} <= set(files.sources())
    for field in ("bandwidth_gb_s", "latency_us"):
        fact = entry.fact(field)
        if entry.id == "none":
            assert fact is None
        else:
            assert fact is not None and fact.source is not None
            assert fact.kind == ("assumption" if fact.source.guess else "datasheet")


@pytest.mark.parametrize(
    ("name", "gb_s"),
    [
        ("nvlink-4", 450),  # 900 GB/s are both directions
        ("nvlink-5", 900),
        ("nvlink-3-bridge", 56.25),  # 112.5 both directions
        ("pcie-4.0-x16", 31.5),  # 16 GT/s × 16 × 128/130 ÷ 8
        ("pcie-3.0-x16", 15.75),
        ("ethernet-100", 12.5),
        ("infinity-fabric-4", 448),  # seven links of 64
    ],
)
def test_bandwidth_is_of_one_direction(name: str, gb_s: float) -> None:
    fact = links.link(name).fact("bandwidth_gb_s")
    assert fact is not None
    assert fact.value == pytest.approx(gb_s * GB)


def test_the_seed_profile_gives_latency_of_pcie_4() -> None:
    fact = links.link("pcie-4.0-x16").fact("latency_us")
    assert fact is not None and fact.value == pytest.approx(2.5 * US) and fact.kind == "datasheet"


def test_unknown_link_is_refused() -> None:
    with pytest.raises(CatalogError, match="No link 'string'"):
        links.link("string")


@pytest.mark.parametrize("entry", links.collectives(), ids=lambda c: f"{c.system}-{c.op}-{c.devices}")
def test_collective_is_sound(entry: links.Collective) -> None:
    assert entry.source in files.sources()
    assert entry.link in links.links()
    assert hardware.devices()[entry.device].family == entry.family
    n = entry.devices
    factor = {"all_reduce": 2 * (n - 1) / n}.get(entry.op, 1.0 if entry.op.startswith("moe") else (n - 1) / n)
    assert entry.traffic_factor == pytest.approx(factor, abs=1e-5)
    times = [predicted(entry, 4.0**k) for k in range(5, 15)]
    assert times == sorted(times)


@pytest.mark.parametrize(
    ("family", "n", "microseconds"),
    [
        ("Hopper", 8, 13),
        ("Blackwell dc", 8, 15),
        ("Ampere", 8, 21.5),
        ("Blackwell RTX", 8, 132),
        ("Ada", 8, 583),  # a node without useful peer access
    ],
)
def test_all_reduce_of_one_mebibyte(family: str, n: int, microseconds: float) -> None:
    """As measured with the best library; the fitted form is near, except on the bad node, whose error it states."""
    found = links.collective(family, "all_reduce", n)
    assert found is not None
    measured = found.fact("measured_at_1_mib_us")
    assert measured is not None and measured.kind == "measured"
    assert measured.value == pytest.approx(microseconds * US, rel=0.05)
    if found.poor_topology:
        assert found.median_error > 0.2
    else:
        assert time_of(family, "all_reduce", n, MIB) == pytest.approx(measured.value, rel=0.12)


def test_hopper_beats_pcie_and_more_devices_cost_more() -> None:
    assert time_of("Hopper", "all_reduce", 8, MIB) < time_of("Blackwell RTX", "all_reduce", 8, MIB)
    for n, more in ((2, 4), (4, 8)):
        assert time_of("Hopper", "all_reduce", n, MIB) < time_of("Hopper", "all_reduce", more, MIB)


def test_collective_is_found_by_device_family_or_link() -> None:
    assert links.collective("h200_sxm", "all_reduce", 8).system == "h200_sxm"  # type: ignore[union-attr]
    assert links.collective("h200-sxm-141gb", "all_reduce", 8).system == "h200_sxm"  # type: ignore[union-attr]
    assert links.collective("Hopper", "all_reduce", 8).system == "h100_sxm"  # type: ignore[union-attr]
    assert links.collective("nvlink-4", "all_reduce", 8).system == "h100_sxm"  # type: ignore[union-attr]


def test_a_node_with_poor_topology_does_not_speak_for_its_link() -> None:
    assert links.collective("Ada", "all_reduce", 8) is not None
    assert links.collective("pcie-4.0-x16", "all_reduce", 8) is None


def test_what_was_not_measured_is_none() -> None:
    assert links.collective("RDNA3", "all_reduce", 2) is None
    assert links.collective("Hopper", "all_reduce", 3) is None
    found = links.collective("Hopper", "moe_dispatch", 8)
    assert found is not None and found.fact("measured_at_1_mib_us") is None


def test_moe_dispatch_of_a_decode_batch_takes_tens_of_microseconds() -> None:
    """128 tokens a rank, 8 experts of hidden size 7168, BF16: 60 to 110 µs with low-latency kernels."""
    size = 128 * 8 * 7168 * 2
    assert 50 * US < time_of("Hopper", "moe_dispatch_low_latency", 8, size) < 120 * US


def test_fits_carry_their_error() -> None:
    fact = links.collective("Hopper", "all_reduce", 8).fact("latency_us")  # type: ignore[union-attr]
    assert fact.kind == "fitted" and "median error is 6%" in fact.source.note  # type: ignore
    with pytest.raises(CatalogError, match="no figure 'speed'"):
        links.collective("Hopper", "all_reduce", 8).fact("speed")  # type: ignore[union-attr]
