"""Telemetry: recorded answers of NVML, amdsmi, ioreg and RAPL come out in the right units, and nothing that is missing stops a run."""

import subprocess
import sys
import threading
from types import SimpleNamespace

import psutil
import pytest

from harness.telemetry import Telemetry, sources
from harness.telemetry_devices import AmdSmi, Nvml, apple_figures
from harness.telemetry_host import Engine, Host, Rapl


class Recorded:
    """A source that answers with what was recorded, one reading after another."""

    name = "rec"
    counters = frozenset({"energy_j"})

    def __init__(self, *readings):
        self.readings = list(readings)

    def read(self):
        found = self.readings.pop(0)
        if isinstance(found, Exception):
            raise found
        return found


def sampled(*readings):
    telemetry = Telemetry([Recorded(*readings)])
    for _ in readings:
        telemetry.sample()
    return telemetry


def test_what_goes_up_and_down_and_what_only_grows():
    found = sampled({"power_w": 100, "energy_j": 5000}, {"power_w": 300, "energy_j": 5030}, {"power_w": 200, "energy_j": 5050}).summary()
    assert found["rec.power_w"] == {"mean": 200, "p50": 200, "p95": 290, "max": 300, "min": 100}
    assert found["rec.energy_j"]["total"] == 50 and found["rec.energy_j"]["per_s"] > 0


def test_a_source_that_breaks_falls_silent():
    telemetry = sampled({"power_w": 1}, KeyError("libamd_smi.so"), {"power_w": 3})
    assert telemetry.trace()["rec.power_w"] == [1, None, None] and telemetry.summary()["rec.power_w"]["max"] == 1


def test_a_figure_that_comes_late_has_its_place_in_time():
    trace = sampled({"a": 1.23456789}, {"a": 2, "b": 5}, {"b": 6, "a": float("nan")}).trace()
    assert trace["rec.a"] == [1.235, 2, None] and trace["rec.b"] == [None, 5, 6] and len(trace["t"]) == 3


def test_it_reads_while_the_block_runs():
    seen = threading.Event()

    class Counting:
        name, counters, times = "c", frozenset(), 0

        def read(self):
            self.times += 1
            if self.times >= 3:
                seen.set()
            return {"n": self.times}

    with Telemetry([Counting()], rate_hz=200) as telemetry:
        assert seen.wait(10)
    assert not telemetry._thread.is_alive() and telemetry.summary()["c.n"]["max"] >= 3


# ---- NVML, amdsmi, ioreg: as they answer


class FakeNvml:
    NVML_CLOCK_SM, NVML_CLOCK_MEM, NVML_TEMPERATURE_GPU, NVML_PCIE_UTIL_TX_BYTES, NVML_PCIE_UTIL_RX_BYTES = 1, 2, 0, 0, 1
    nvmlClocksThrottleReasonGpuIdle = 1

    def __init__(self, reasons=0, energy=True):
        self.reasons, self.energy = reasons, energy

    def __getattr__(self, name):
        answers = {
            "nvmlDeviceGetHandleByIndex": lambda index: index,
            "nvmlDeviceGetUtilizationRates": lambda d: SimpleNamespace(gpu=97, memory=61),
            "nvmlDeviceGetMemoryInfo": lambda d: SimpleNamespace(used=20 * 2**30),
            "nvmlDeviceGetPowerUsage": lambda d: 412_345,
            "nvmlDeviceGetTotalEnergyConsumption": self._energy,
            "nvmlDeviceGetClockInfo": lambda d, kind: {1: 2520, 2: 10501}[kind],
            "nvmlDeviceGetTemperature": lambda d, kind: 71,
            "nvmlDeviceGetCurrentClocksThrottleReasons": lambda d: self.reasons,
            "nvmlDeviceGetPcieThroughput": lambda d, way: 1_000_000 * (way + 1),
        }
        return answers[name]

    def _energy(self, device):
        if not self.energy:
            raise RuntimeError("Not Supported")
        return 123_456_789


def test_nvml_in_our_units():
    found = Nvml(FakeNvml(), 0).read()
    assert found == {
        "util_percent": 97, "memory_util_percent": 61, "memory_used_gib": 20, "power_w": 412.345, "energy_j": 123456.789, "sm_mhz": 2520,
        "memory_mhz": 10501, "temperature_c": 71, "throttled": 0, "pcie_tx_gb_s": 1.024, "pcie_rx_gb_s": 2.048,
    }  # fmt: skip


@pytest.mark.parametrize(("reasons", "throttled"), [(0, 0), (1, 0), (4, 1), (5, 1)])
def test_an_idle_clock_is_no_throttling(reasons, throttled):
    assert Nvml(FakeNvml(reasons), 0).read()["throttled"] == throttled


def test_a_card_without_a_figure_gives_the_others():
    found = Nvml(FakeNvml(energy=False), 0).read()
    assert "energy_j" not in found and found["power_w"] == 412.345


def test_amdsmi_in_our_units():
    smi = SimpleNamespace(
        AmdSmiMemoryType=SimpleNamespace(VRAM=0), AmdSmiClkType=SimpleNamespace(GFX=0, MEM=4),
        AmdSmiTemperatureType=SimpleNamespace(HOTSPOT=1), AmdSmiTemperatureMetric=SimpleNamespace(CURRENT=0),
        amdsmi_get_gpu_activity=lambda d: {"gfx_activity": 88, "umc_activity": 40, "mm_activity": "N/A"},
        amdsmi_get_gpu_memory_usage=lambda d, kind: 64 * 2**30,
        amdsmi_get_power_info=lambda d: {"current_socket_power": "N/A", "average_socket_power": 305},
        amdsmi_get_energy_count=lambda d: {"energy_accumulator": 4_000_000, "counter_resolution": 15.3, "timestamp": 1},
        amdsmi_get_clock_info=lambda d, kind: {"clk": 2100 if kind == 0 else 1300, "min_clk": 500},
        amdsmi_get_temp_metric=lambda d, kind, metric: 64,
    )  # fmt: skip
    found = AmdSmi(smi, object(), 1).read()
    assert found["power_w"] == 305 and found["energy_j"] == pytest.approx(61.2) and found["memory_used_gib"] == 64
    assert (found["sm_mhz"], found["memory_mhz"], found["temperature_c"], found["util_percent"]) == (2100, 1300, 64, 88)


def test_ioreg_in_our_units():
    said = '"PerformanceStatistics" = {"In use system memory"=3221225472,"Device Utilization %"=94,"Tiler Utilization %"=90}'
    assert apple_figures(said) == {"util_percent": 94, "memory_used_gib": 3} and apple_figures("nothing") == {}


# ---- the host


@pytest.fixture
def rapl(tmp_path):
    """Two packages, and the memory of the first."""
    for zone, name in (("intel-rapl:0", "package-0"), ("intel-rapl:0:0", "dram"), ("intel-rapl:1", "package-1")):
        folder = tmp_path / zone
        folder.mkdir()
        (folder / "name").write_text(name + "\n")
        (folder / "max_energy_range_uj").write_text("262143328850\n")
        (folder / "energy_uj").write_text("262143000000\n")
    return tmp_path


def test_rapl_goes_on_where_its_counter_wraps(rapl):
    source = Rapl(rapl)
    assert source.counters == {"package_0_j", "package_0_dram_j", "package_1_j"}
    before = source.read()["package_0_j"]
    (rapl / "intel-rapl:0" / "energy_uj").write_text("671150\n")
    assert source.read()["package_0_j"] - before == pytest.approx(1.0)


def test_rapl_that_may_not_be_read_is_left_out(tmp_path):
    with pytest.raises(OSError):
        Rapl(tmp_path)


def test_the_engine_is_watched_with_all_its_processes():
    child = subprocess.Popen(
        [sys.executable, "-c", "x = bytearray(64 * 2**20); print(flush=True); import time; time.sleep(60)"], stdout=subprocess.PIPE
    )
    child.stdout.readline()
    process = psutil.Process(child.pid)
    source = Engine(lambda: [process])
    found = source.read()
    child.kill()
    child.wait()
    assert found["ram_gib"] > 64 / 1024 and found["processes"] == 1
    assert source.read()["processes"] == 0, "one that ended is no error"


def test_this_machine_can_be_read():
    found = sources()
    assert any(isinstance(source, Host) for source in found)
    with Telemetry(found, rate_hz=100) as telemetry:
        pass
    assert telemetry.summary()["host.ram_used_gib"]["mean"] > 0
