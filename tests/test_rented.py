"""Cloud instances in a table and in a sentence: every price once, what cannot be estimated with its reason."""

from __future__ import annotations

import pytest

from core.catalog import hardware, instances
from core.rented import devices_words, estimate_knobs, matching, providers, rented, sentence, table


def test_a_device_names_the_machines_that_are_rented_with_it() -> None:
    lines = rented(hardware.device("A100 SXM4 40GB"))
    assert "p4d.24xlarge" in {line["Instance"] for line in lines}
    each = [line["$/h"] / int(line["Devices"].split(" × ")[0]) for line in lines if line["$/h"] is not None]
    assert each == sorted(each) and [line["$/h"] is None for line in lines] == sorted(line["$/h"] is None for line in lines)
    assert all("not supported yet" in line["Estimate"] for line in rented(hardware.device("AWS Trainium2")))
    assert rented(hardware.device("Apple M4 Max (40-core GPU)")) == []


def test_the_table_holds_every_price_and_filters_narrow_it() -> None:
    assert len(table(matching(""))) == len(instances.instances())
    assert {row.provider for row in matching("h100", ["Azure"])} == {"Azure"} <= set(providers())
    assert {row.type.split(".")[0] for row in matching("neuron")} == {"inf2", "trn1", "trn1n", "trn2", "inf1"} & {
        row.type.split(".")[0] for row in instances.instances()
    }


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "p5.48xlarge",
            "p5.48xlarge of AWS: 8 × H100 SXM5 80GB, 192 vCPU, 2,048 GB of RAM; $55.04 an hour on demand, us-east-1, 2026-07-20.",
        ),
        ("inf2.xlarge", "It cannot be estimated: AWS Neuron chips are not supported yet"),
        ("g6f.large", "a share of one L4"),
        ("dl2q.24xlarge", "no price was published where we looked"),
    ],
)
def test_a_machine_is_a_sentence(name: str, said: str) -> None:
    found = instances.instance(name)
    assert said in sentence(found)
    assert bool(estimate_knobs(found)) == (not found.unsupported)


def test_the_way_to_an_estimate_carries_the_whole_machine() -> None:
    found = estimate_knobs(instances.instance("g6e.12xlarge"))
    assert found == {"instance": "g6e.12xlarge", "device": "L40S", "count": "4", "ram_gb": "384.0", "usd_per_h": "10.49264"}


def test_every_machine_names_its_devices_or_has_none() -> None:
    assert all(bool(devices_words(row)) == (row.device is not None) for row in instances.instances())
