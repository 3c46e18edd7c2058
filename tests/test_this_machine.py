"""The machine at hand as a system and as a run's columns."""

import pytest

from core.catalog.hardware import device
from core.errors import CatalogError
from core.runs import scenario_from_run
from core.scenario import Scenario
from core.setting import settle
from core.this_machine import Gpu, MachineFacts, path, read_machine, run_columns, system_of, write_machine

VIRTUAL = MachineFacts(os="Linux 6.1", cpu="Intel(R) Xeon(R) Processor", cores=2, threads=2, ram_gb=24,
                       measured_bandwidth_gb_s=60.0, measured_thread_bandwidth_gb_s=31.0,
                       measured_tflops={"fp32": 0.27, "bf16": 0.4})  # fmt: skip
CARDS = MachineFacts(cpu="AMD EPYC 9354 32-Core Processor", ram_gb=128, driver="550.54", machine="0123456789abcdef",
                     gpus=(Gpu(name="NVIDIA H100 80GB HBM3", memory_gib=79.6),) * 2)  # fmt: skip


@pytest.fixture(autouse=True)
def _home(tmp_path, monkeypatch):
    monkeypatch.setenv("ROOFCAST_HOME", str(tmp_path))


def test_facts_come_back_as_they_were_stored():
    assert read_machine() is None
    write_machine(VIRTUAL)
    assert read_machine() == VIRTUAL
    path().write_text('{"cpu": 3, "hostname": "box"}')
    with pytest.raises(CatalogError, match="detect the machine again"):
        read_machine()


@pytest.mark.parametrize("facts", [VIRTUAL, CARDS, MachineFacts(cpu="AMD Ryzen 7 7800X3D 8-Core Processor", ram_gb=64)])
def test_system_and_columns_mean_one_machine(facts):
    system = system_of(facts)
    settle(Scenario(model="Qwen/Qwen3-8B", system=system))  # a question can be asked of it
    row = {**run_columns(facts), "model_id": "Qwen/Qwen3-8B", "runtime": "llama.cpp"}
    asked = scenario_from_run(row).system
    assert device(asked.device) == device(system.device) and (asked.count, asked.ram_gb) == (system.count, system.ram_gb)


def test_an_unknown_processor_is_what_was_measured_of_it():
    own = device(system_of(VIRTUAL).device)
    assert own.name == "Intel(R) Xeon(R) Processor, 2 cores" and own.measured_bandwidth_gb_s == 60 and own.bf16_tflops == 0.4
    assert own.cpu_cores == 2 and own.thread_bandwidth_gb_s == 31
    with pytest.raises(CatalogError, match="--measure"):
        system_of(VIRTUAL.model_copy(update={"measured_bandwidth_gb_s": None}))


def test_what_was_measured_goes_before_the_datasheet():
    facts = MachineFacts(cpu="Xeon Platinum 8480+", ram_gb=24, measured_bandwidth_gb_s=48.0)
    assert device(system_of(facts).device).measured_bandwidth_gb_s == 48.0
    assert system_of(facts.model_copy(update={"measured_bandwidth_gb_s": None})).device == "Xeon Platinum 8480+"


@pytest.mark.parametrize(("cpu", "cores"), [("Xeon Platinum 8480+", 8), ("Core i9-13900K", None)])
def test_cores_that_are_not_alike_are_not_counted(cpu, cores):
    facts = MachineFacts(cpu=cpu, cores=8, ram_gb=24, measured_bandwidth_gb_s=48.0)
    assert device(system_of(facts).device).cpu_cores == cores


def test_a_cards_other_memory_is_told_and_its_own_is_not():
    assert system_of(CARDS).device_memory_gib is None
    half = CARDS.model_copy(update={"gpus": (Gpu(name="NVIDIA H100 80GB HBM3", memory_gib=39.5),)})
    assert system_of(half).device_memory_gib == 39.5


def test_cards_of_two_kinds_are_one_machine():
    facts = MachineFacts(
        ram_gb=64, gpus=(Gpu(name="RTX 4090"), Gpu(name="RTX 3090", memory_gib=20.0), Gpu(name="RTX 3090", memory_gib=20.0))
    )
    system = system_of(facts)
    assert [(cards.device, cards.count, cards.memory_gib) for cards in system.others] == [("GeForce RTX 3090", 2, 20.0)]
    row = {**run_columns(facts), "model_id": "Qwen/Qwen3-8B", "runtime": "llama.cpp"}
    assert (row["gpu_name"], row["gpu_count"]) == ("GeForce RTX 4090 + 2x GeForce RTX 3090", 3)
    asked = scenario_from_run(row).system
    assert asked.devices == 3 and [device(cards.device).name for cards in asked.others] == ["GeForce RTX 3090"]
