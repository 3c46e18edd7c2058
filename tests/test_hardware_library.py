"""The library of devices: every figure with its source, what differs, roofs that keep the physics, and the price's place and date."""

from __future__ import annotations

import pytest

from core.catalog import hardware, instances, own_hardware
from core.catalog.hardware import FACTS
from core.hardware_library import MOST, changed, compared, everything, facts, find, hourly, matching, roofs, row
from core.units import significant

OWN = "RTX 4090?name=My card&memory_bandwidth_gb_s=950"


def test_every_figure_of_every_device_has_a_source_that_is_named() -> None:
    for device in hardware.devices().values():
        for fact in facts(device):
            amount = getattr(device, fact.field)
            assert (fact.used is None) == (amount is None or amount == "")
            assert fact.used is None or (fact.used.source and fact.used.shown)


def test_guesses_are_marked_and_conflicts_stand_beside() -> None:
    marked = conflicts = 0
    for device in hardware.devices().values():
        told = {fact.field: fact for fact in facts(device)}
        for field in set(device.guess) & set(told):
            assert told[field].used is not None and told[field].used.guess  # type: ignore[union-attr]
            marked += 1
        for other in device.alternatives:
            if other.field in told:
                conflicts += 1
                assert any(said.shown.startswith(significant(other.value)) for said in told[other.field].others)
    assert marked > 100 and conflicts > 30


def test_a_figure_stands_as_its_record_has_it() -> None:
    told = {fact.field: fact for fact in facts(hardware.device("MI250X"))}
    assert told["memory_bandwidth_gb_s"].used.shown == "3,277 GB/s"  # type: ignore[union-attr]
    assert told["memory_bandwidth_gb_s"].others[0].shown == "3,200 GB/s"
    assert told["fp8_tflops"].used is None


def test_a_row_keeps_unknown_figures_empty() -> None:
    line = row(hardware.device("RTX 3090"))
    assert line["FP8"] is None and line["GB"] == 24


def test_the_price_is_the_lowest_of_a_whole_machine_with_place_and_date() -> None:
    price, where = hourly(hardware.device("A100 SXM4 40GB"))
    known = [i for i in instances.instances() if i.device == "a100-sxm4-40gb" and i.usd_per_h and i.count and not i.host_extra]
    assert price == min(i.usd_per_h / i.count for i in known if i.terms == "on demand")  # type: ignore[operator]
    assert any(where == ", ".join(filter(None, (i.provider, i.type, i.date))) for i in known)
    assert hourly(hardware.device("T4"))[0] != 0.35  # that is the accelerator without its host


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [("4090", "rtx-4090", "rtx-4080"), ("hopper", "h100-sxm5-80gb", "a100-sxm4-80gb"), ("apple ultra", "m3-ultra-80", "rtx-4090")],
)
def test_search(text: str, inside: str, outside: str) -> None:
    found = {device.id for device in matching(hardware.devices().values(), text)}
    assert outside not in found
    assert inside in found or any(inside.split("-")[1] in name for name in found)


def test_filters_narrow() -> None:
    found = matching(hardware.devices().values(), "", ["AMD"], ["workstation"])
    assert found and {(d.vendor, d.device_class) for d in found} == {("AMD", "workstation")}


def test_only_what_differs_from_the_first_is_marked() -> None:
    pair = [hardware.device("RTX 4090"), hardware.device("RTX 3090")]
    lines = {line.title: line for line in compared(pair)}
    assert lines["Memory"].marks == (False, False)
    assert lines["Memory bandwidth"].marks == (False, True)
    assert all(not any(line.marks) for line in compared([pair[0], pair[0]]))


def test_a_change_is_told_field_by_field() -> None:
    own = hardware.device(OWN)
    assert changed(own, hardware.device("RTX 4090")) == [
        ("name", "GeForce RTX 4090", "My card"),
        ("memory bandwidth", "1,008 GB/s", "950 GB/s"),
    ]


def test_roofs_rise_to_the_peak_and_stay() -> None:
    for device in hardware.devices().values():
        points = roofs([device])
        if not points:
            continue
        rates = [point["tflops"] for point in points]
        assert rates == sorted(rates)
        peak = next(getattr(device, field) for field in ("bf16_tflops", "fp16_tflops", "fp32_tflops") if getattr(device, field))
        assert max(rates) <= peak * (1 + 1e-12)
        slope = device.fact("memory_bandwidth_gb_s").value / 1e12  # type: ignore[union-attr]
        assert all(point["tflops"] <= slope * point["intensity"] * (1 + 1e-12) for point in points)


def test_names_of_a_link_become_devices_or_sentences() -> None:
    found, wrong = find(["rtx-4090", "4090", "nothing like it", OWN])
    assert [device.name for device in found] == ["GeForce RTX 4090", "My card"] and len(wrong) == 1
    many, told = find(list(hardware.devices())[:9])
    assert len(many) == MOST and "At most" in told[0]


def test_own_devices_come_first() -> None:
    listed = everything([OWN, "no device"])
    assert own_hardware.is_own(listed[0]) and len(listed) == len(hardware.devices()) + 1
    assert set(FACTS) >= {fact.field for fact in facts(listed[0]) if fact.field.endswith(("_tflops", "_tops"))}
