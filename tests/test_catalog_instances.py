"""Cloud instances: as the sources list them, each to be estimated or refused with its reason; prices of the user's own."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from typer.testing import CliRunner

from core import choices
from core.catalog import hardware, instances
from core.catalog.instances import Instance, instance, usable
from core.cli import app
from core.cli_options import read_scenario
from core.errors import CatalogError, ScenarioError
from core.estimate import estimate
from core.quantity import value
from core.units import GIB, HOUR

MODEL = "llama 3.1 8b"


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("ROOFCAST_HOME", str(tmp_path))
    (tmp_path / "instances").mkdir()
    return tmp_path / "instances"


# Read off the providers' tables that data/catalog/instances.csv cites, row by row.
GOLDEN = [
    ("p4d.24xlarge", "a100-sxm4-40gb", 8, 96, 1152, 21.957642, "us-east-1", "2026-07-20"),
    ("p5.4xlarge", "h100-sxm5-80gb", 1, 16, 256, 6.88, "us-east-1", "2026-07-20"),
    ("g6e.48xlarge", "l40s", 8, 192, 1536, 30.13118, "us-east-1", "2026-07-20"),
    ("p6-b300.48xlarge", "b300-sxm-288gb", 8, 192, 4096, 142.416, "us-east-1", "2026-07-20"),
    ("Standard_ND96isr_MI300X_v5", "mi300x", 8, 96, 1850, 48.0, "eastus2", "2026-06-18"),
    ("Standard_NC6s_v3", "tesla-v100-pcie-16gb", 1, 6, 112, 3.06, "eastus", "2026-06-18"),
    ("a2-ultragpu-4g", "a100-sxm4-80gb", 4, 48, 680, 20.275192, "us-central1", "2026-08-06"),
    ("gpu_1x_gh200", "gh200-96gb", 1, 64, 432, 2.29, "us-east-1", "2026"),
    ("1x_RTX4090_SECURE", "rtx-4090", 1, 16, 62, 0.74, "any", "2026-09-25"),
    ("a4-highgpu-8g", "b200-sxm-180gb", 8, 224, 3968, None, None, "2026-08-06"),  # no price was published where we looked
]


@pytest.mark.parametrize("row", GOLDEN, ids=[row[0] for row in GOLDEN])
def test_rows_are_those_of_the_sources(row: tuple[object, ...]) -> None:
    found = instance(str(row[0]))
    assert (found.type, found.device, found.count, found.vcpus, found.ram_gb, found.usd_per_h, found.region, found.date) == row


def test_there_are_all_of_them() -> None:
    rows = instances.instances()
    assert len(rows) >= 196
    assert {"AWS", "Azure", "GCP", "Lambda", "RunPod"} <= {row.provider for row in rows}
    assert len({row.label for row in rows}) == len(rows)


def test_every_instance_is_a_device_or_says_why_not() -> None:
    for row in instances.instances():
        if row.unsupported:
            with pytest.raises(CatalogError, match="cannot be estimated"):
                usable(row.label)
        else:
            assert row.count and hardware.device(str(row.device)).id == row.device
            assert usable(row.label) == row


@pytest.mark.parametrize(
    "name", ["inf1.xlarge", "inf2.48xlarge", "trn1.32xlarge", "trn2.48xlarge", "dl2q.24xlarge", "g5g.metal", "g6f.large"]
)
def test_what_no_runtime_runs_is_listed_as_not_supported_yet(name: str) -> None:
    assert "not supported yet" in str(instance(name).unsupported)


def test_the_newest_price_on_demand_is_the_one_meant() -> None:
    assert instance("gpu_8x_a100").usd_per_h == 15.92  # of 2026; the table of 2025 says 10.32
    assert instance("gpu_8x_a100, on demand, us-east-1, 2025").usd_per_h == 10.32


def test_an_unknown_name_gets_suggestions() -> None:
    with pytest.raises(CatalogError, match=r"p4d\.24xlarge"):
        instance("p4d.24xlrge")


def test_the_scenario_carries_price_and_memory_with_their_source() -> None:
    asked = read_scenario({"model": MODEL, "instance": "g5.xlarge"})
    assert (asked.system.device, asked.system.count, asked.system.instance) == ("A10G", 1, "g5.xlarge")
    found = estimate(asked)
    assert value(found.money["usd_per_h"]) == pytest.approx(1.006 / HOUR)
    assert found.money["usd_per_h"].source.key == "karpenter-aws"
    assert found.resolved["cost_basis"] == "rented"
    assert found.host is None or value(found.host.limit) <= 16 * GIB
    same = estimate(asked.with_(usd_per_h=1.006))
    assert same.money["usd_per_h"].source.key == "karpenter-aws"
    other = estimate(asked.with_(count=2))  # no longer that machine, so neither its price nor its RAM
    assert value(other.money["usd_per_h"]) != pytest.approx(1.006 / HOUR)
    own = estimate(asked.with_(usd_per_h=0.5))
    assert own.money["usd_per_h"].source.key == "user"


@pytest.mark.parametrize("knob", [{"device": "L4"}, {"count": 2}])
def test_another_machine_beside_the_instance_is_refused(knob: dict[str, object]) -> None:
    with pytest.raises(ScenarioError, match=r"g5\.xlarge has 1 × A10G"):
        read_scenario({"model": MODEL, "instance": "g5.xlarge", **knob})


def test_prices_of_ones_own(home: Path) -> None:
    (home / "spot.csv").write_text(
        "# what we pay\nprovider,type,usd_per_h,terms,region,date\nAWS,p4d.24xlarge,9.5,spot,eu-west-1,2026-10-01\n"
        "AWS,inf2.xlarge,0.3,spot,eu-west-1,2026-10-01\n"
    )
    (home / "colo.csv").write_text("provider,type,device,count,ram_gb,usd_per_h,terms\nOurs,box-1,RTX 4090,4,256,1.9,reserved\n")
    spot = instance("p4d.24xlarge, spot, eu-west-1, 2026-10-01")
    assert (spot.usd_per_h, spot.device, spot.count, spot.ram_gb, spot.source) == (9.5, "a100-sxm4-40gb", 8, 1152, instances.OWN)
    assert instance("p4d.24xlarge").usd_per_h == 21.957642  # the type alone still means the price on demand
    assert usable("box-1").device == "rtx-4090"
    assert "box-1" in choices.instance_names()
    assert instance("inf2.xlarge, spot, eu-west-1, 2026-10-01").unsupported
    paid = spot.paid(None)
    assert paid is not None and paid.kind == "user"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("provider,type,usd_per_h\nAWS,p4d.24xlarge,cheap\n", "line 2: usd_per_h"),
        ("provider,type,usd_per_h\nAWS,p4d.24xlarge,-1\n", "line 2: usd_per_h"),
        ("provider,type\nAWS,p4d.24xlarge\n", "usd_per_h is missing"),
        ("provider,type,usd_per_h\nAWS,x9.large,1\n", "name the device"),
        ("provider,type,device,usd_per_h\nAWS,x9.large,RTX 4090,1\n", "count is missing"),
        ("provider,type,device,count,usd_per_h\nAWS,x9.large,GTX 9999,1,1\n", "No device"),
        ("provider,kind,usd_per_h\nAWS,p4d.24xlarge,1\n", "has a column 'kind'"),
        ("provider,type,usd_per_h\nAWS,p4d.24xlarge,1,2\n", "4 cells for 3 columns"),
        ("", "needs the columns provider and type"),
    ],
)
def test_a_bad_file_is_a_sentence_and_the_rest_still_reads(home: Path, text: str, said: str) -> None:
    (home / "bad.csv").write_text(text)
    (home / "good.csv").write_text("provider,type,usd_per_h,terms\nAWS,p5.4xlarge,3,reserved\n")
    assert [said in problem for problem in instances.problems()] == [True]
    assert instance("p5.4xlarge, reserved").usd_per_h == 3


def test_the_shipped_file_has_no_empty_source() -> None:
    path = Path(instances.files.CATALOG / "instances.csv")
    rows = list(csv.DictReader(line for line in path.read_text().splitlines() if not line.startswith("#")))
    assert all(row["source"] in instances.files.sources() for row in rows)
    assert set(rows[0]) == set(Instance.model_fields) - {"label"}


def test_the_command_lists_and_refuses() -> None:
    run = CliRunner()
    listed = run.invoke(app, ["instances", "p4d.24xlarge"])
    assert "8 × A100 SXM4 40GB" in listed.output and "21.96" in listed.output and "2026-07-20" in listed.output
    assert "not supported yet" in run.invoke(app, ["instances", "inferentia2"]).output
    refused = run.invoke(app, ["estimate", "--model", MODEL, "--instance", "inf2.xlarge"])
    assert refused.exit_code == 2 and "not supported yet" in refused.output
