"""Detecting a machine, from what programs and libraries are known to answer; micro probes with drivers made up."""

import sys
from pathlib import Path

import pytest

from core.catalog.hardware import device
from core.errors import RunError
from harness import machine, micro, micro_gpu
from harness.machine import amd, apple, cpu_name, detect, engines, nominal, nvidia, overridden


@pytest.fixture(autouse=True)
def _home(tmp_path, monkeypatch):
    monkeypatch.setenv("ROOFCAST_HOME", str(tmp_path))


def answering(**answers):
    """Programs that print what is given by their name, and nothing else."""
    return lambda command: answers.get(command[0].rpartition("/")[2].replace("-", "_"), "")


SMI = """NVIDIA H100 80GB HBM3, 81559, 550.54.15, 700.00, 5, 16
NVIDIA H100 80GB HBM3, 81559, 550.54.15, [N/A], 5, 16
| NVIDIA-SMI 550.54.15    Driver Version: 550.54.15    CUDA Version: 12.4     |
"""


def test_nvidia_smi_where_the_library_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)
    gpus, driver, cuda = nvidia(answering(nvidia_smi=SMI))
    assert [gpu.name for gpu in gpus] == ["NVIDIA H100 80GB HBM3"] * 2 and (driver, cuda) == ("550.54.15", "12.4")
    assert gpus[0].memory_gib == pytest.approx(79.65, abs=0.01) and gpus[0].power_limit_w == 700 and gpus[1].power_limit_w is None
    assert (gpus[0].pcie_generation, gpus[0].pcie_lanes) == (5, 16)
    assert nvidia(answering()) == ([], "", "")


class FakeNvml:
    @staticmethod
    def __getattr__(name):
        answers = {
            "nvmlInit": lambda: None, "nvmlDeviceGetCount": lambda: 1, "nvmlDeviceGetHandleByIndex": lambda i: i,
            "nvmlSystemGetCudaDriverVersion": lambda: 12080, "nvmlSystemGetDriverVersion": lambda: b"570.1",
            "nvmlDeviceGetName": lambda d: "NVIDIA GeForce RTX 4090", "nvmlDeviceGetMaxPcieLinkGeneration": lambda d: 4,
            "nvmlDeviceGetMaxPcieLinkWidth": lambda d: 16, "nvmlDeviceGetMemoryInfo": lambda d: type("M", (), {"total": 24 * 2**30})(),
            "nvmlDeviceGetEnforcedPowerLimit": lambda d: (_ for _ in ()).throw(RuntimeError("Not Supported")),
        }  # fmt: skip
        return answers[name]


def test_nvml_goes_first(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml())
    (gpu,), driver, cuda = nvidia(answering(nvidia_smi=SMI))
    assert (gpu.name, gpu.memory_gib, gpu.power_limit_w, driver, cuda) == ("NVIDIA GeForce RTX 4090", 24, None, "570.1", "12.8")


def test_amd_by_the_kernel_and_rocm_smi(tmp_path):
    for at, vendor in enumerate(("0x1002", "0x1002", "0x8086")):
        card = tmp_path / f"card{at}" / "device"
        card.mkdir(parents=True)
        (card / "vendor").write_text(vendor)
        (card / "mem_info_vram_total").write_text(str(192 * 2**30))
    said = '{"card0": {"Card Series": "AMD Instinct MI300X"}, "card1": {"Card Series": "AMD Instinct MI300X"}, "system": {}}'
    found = amd(answering(rocm_smi=said), tmp_path)
    assert [(gpu.name, gpu.memory_gib) for gpu in found] == [("Instinct MI300X", 192)] * 2 and device(found[0].name).id == "mi300x"
    assert amd(answering(rocm_smi="not json"), tmp_path) == []


def test_an_apple_gpu_has_its_number_of_cores():
    gpu = apple("Apple M4 Max", answering(system_profiler='{"SPDisplaysDataType": [{"sppci_cores" : "32"}]}'))
    assert device(gpu.name).id == "m4-max-32core" and apple("Apple M4", answering()).name == "Apple M4"


@pytest.mark.parametrize(
    ("seen", "bought"), [(23.4, 24), (125.6, 128), (15.5, 16), (31.3, 32), (7.7, 8), (503.7, 512), (62.7, 64), (0.9, 0.9)]
)
def test_memory_is_what_was_bought(seen, bought):
    assert nominal(seen) == bought


def test_engines_by_their_programs_and_packages():
    found = engines(answering(llama_server="version: 5410 (2bb60ae4)\nbuilt with gcc", ollama="ollama version is 0.9.2\n"))
    assert found["llama.cpp"] == "b5410 (2bb60ae4)" and found["ollama"] == "0.9.2"


def test_this_machine_is_found_without_naming_it(monkeypatch):
    facts = detect(asking=answering())
    assert facts.cores and facts.threads and facts.ram_gb and facts.os and len(facts.machine) == 16
    text = facts.model_dump_json()
    import getpass
    import socket

    assert getpass.getuser() not in text or getpass.getuser() in ("root", "user")
    assert socket.gethostname() not in text
    assert detect(asking=answering()).machine == facts.machine


def test_everything_can_be_set_by_hand():
    facts = overridden({"cpu": "x", "cores": 2}, {"cpu": "AMD EPYC 9354", "ram_gb": "256", "gpu": "RTX 4090", "gpu_count": "2"})
    assert facts.cpu == "AMD EPYC 9354" and facts.ram_gb == 256 and [gpu.name for gpu in facts.gpus] == ["RTX 4090"] * 2
    cards = [{"name": "RTX 3090", "memory_gib": 24.0}]
    kept = overridden({"gpus": [machine.Gpu.model_validate(card) for card in cards]}, {"gpu_count": "4"})
    assert len(kept.gpus) == 4 and kept.gpus[0].memory_gib == 24
    assert overridden({"gpus": kept.gpus}, {"gpu": ""}).gpus == ()


@pytest.mark.parametrize(
    ("given", "says"), [({"speed": "9"}, "no fact 'speed'"), ({"ram_gb": "-1"}, "ram_gb is wrong"), ({"gpu_count": "two"}, "numbers")]
)
def test_a_wrong_override_is_one_sentence(given, says):
    with pytest.raises(RunError, match=says):
        overridden({"gpus": [machine.Gpu(name="RTX 4090")]}, given)


def test_a_processor_has_its_name():
    assert cpu_name(answering(lscpu="Model name:   Neoverse-V2\n"))


# ---- micro probes


def test_bandwidth_is_that_of_the_fastest_pass(monkeypatch):
    clock = iter([0.0, 0.5, 1.0, 1.25, 2.0, 2.5])
    monkeypatch.setattr(micro.time, "perf_counter", lambda: next(clock))
    assert micro.best(lambda: None, passes=3) == 0.25


def test_every_number_of_threads_reads_the_whole_array():
    found = micro.read_bandwidth((1, 2), size=2**22, passes=2)
    assert set(found) == {1, 2} and all(rate > 0 for rate in found.values())


def test_the_array_is_larger_than_any_cache(tmp_path):
    for at, size in enumerate(("48K", "2048K", "480M")):
        (tmp_path / f"index{at}").mkdir()
        (tmp_path / f"index{at}" / "size").write_text(size + "\n")
    assert micro.cache_bytes(tmp_path) == 480 * 2**20 and micro.cache_bytes(Path("/nowhere")) == 0


def test_the_rate_of_an_engines_kernels():
    """A prefill of 200 tok/s of 1.1 billion weights is 440 GFLOP/s."""
    assert micro.kernel_rate(200.0, 1.1e9) == pytest.approx(0.44)
    assert micro.matrix_rates(size=64, passes=1)["fp32"] > 0


class FakeDriver:
    """Two devices; copies are noted, and what was allocated must be freed."""

    def __init__(self, count=2, fails=False):
        self.count, self.fails, self.copied, self.held, self.device = count, fails, [], set(), None

    def devices(self):
        return self.count

    def use(self, device):
        self.device = device

    def pinned(self, size):
        return self.allocated(size, "host")

    def allocated(self, size, kind=None):
        if self.fails:
            raise micro_gpu.DriverError("out of memory")
        address = len(self.held) + 1000
        self.held.add((address, kind == "host"))
        return address

    def copy(self, to, source, size, way):
        self.copied.append((to, source, size, way))

    def wait(self):
        pass

    def free(self, address, host):
        self.held.remove((address, host))


def test_copies_to_from_within_and_between_devices():
    driver = FakeDriver()
    found = micro_gpu.copies(lambda work: (work(), 0.5)[1], driver, size=10**9)
    assert found == {"host_to_device": 16, "device_to_host": 16, "within_device": 32, "device_to_device": 16}
    assert not driver.held and {way for *_, way in driver.copied} == set(found)


def test_without_a_device_there_are_no_copies():
    assert micro_gpu.copies(micro.best, FakeDriver(count=0)) == {} and micro_gpu.copies(micro.best, FakeDriver(fails=True)) == {}
    with pytest.raises(micro_gpu.DriverError):
        micro_gpu.Cuda(("no-such-library.so",))
