"""A noisy machine is told from a quiet one, and the benchmark's own work from that of others."""

import subprocess
import sys
import time
from collections import namedtuple

import psutil
import pytest

from harness import noise
from harness.noise import NoiseWatch
from harness.process import serving

Times = namedtuple("Times", "user nice system idle iowait irq softirq steal guest guest_nice")


@pytest.fixture
def clock(monkeypatch):
    """A processor whose times are set by hand: `said` is (user, idle, steal, our own)."""
    said = {"user": 0.0, "idle": 0.0, "steal": 0.0, "own": 0.0}
    monkeypatch.setattr(noise.psutil, "cpu_times", lambda: Times(said["user"], 0, 0, said["idle"], 0, 0, 0, said["steal"], 0, 0))
    monkeypatch.setattr(noise, "_own", lambda _: said["own"])

    def passes(**seconds):
        for name, amount in seconds.items():
            said[name] += amount

    return passes


def watched(clock, before, meanwhile, spread=None):
    clock(user=0)
    start = noise._Times.now()
    clock(**before)
    watch = NoiseWatch.__new__(NoiseWatch)
    watch._engine = lambda: ()
    watch.start = noise._Times.now()
    watch.before = watch.start.others_since(start)
    clock(**meanwhile)
    return watch.found(spread or {})


def test_our_own_work_is_no_noise(clock):
    found = watched(clock, {"user": 0.02, "idle": 0.98}, {"user": 9.5, "own": 9.4, "idle": 0.5})
    assert not found.flags and found.load_of_others == pytest.approx(0.01) and found.steal == 0


@pytest.mark.parametrize(
    ("before", "meanwhile", "spread", "flag"),
    [
        ({"user": 0.5, "idle": 0.5}, {"user": 1, "own": 1, "idle": 9}, {}, "50% of the processor busy just before"),
        ({"idle": 1}, {"user": 6, "own": 4, "idle": 4}, {}, "20% of the processor busy meanwhile"),
        ({"idle": 1}, {"user": 5, "own": 5, "idle": 4, "steal": 1}, {}, "host took away 10%"),
        ({"idle": 1}, {"user": 5, "own": 5, "idle": 5}, {"decode_toks_sec": 0.23, "ttft_ms": 0.05}, "23% (decode_toks_sec)"),
    ],
)
def test_noise_is_named(clock, before, meanwhile, spread, flag):
    found = watched(clock, before, meanwhile, spread)
    assert len(found.flags) == 1 and flag in found.flags[0]


def test_what_children_used_is_ours():
    before = noise._own(())
    busy = "import time\nend = time.process_time() + 0.2\nwhile time.process_time() < end: pass"
    subprocess.run([sys.executable, "-c", busy], check=True)
    ended = noise._own(())
    assert ended - before >= 0.15  # the kernel counts in ticks of 10 ms
    child = subprocess.Popen([sys.executable, "-c", busy + "\nprint(flush=True)\ntime.sleep(60)"], stdout=subprocess.PIPE)
    child.stdout.readline()
    alive = noise._own(())
    child.kill()
    child.wait()
    assert alive - ended >= 0.15  # the kernel counts in ticks of 10 ms


def test_a_server_at_an_address_of_this_machine_is_the_engine_whoever_started_it():
    """Its work was once taken for that of other programs, so that no run against one's own server was trusted."""
    script = "import socket, time\ns = socket.create_server(('127.0.0.1', 0))\nwhile time.process_time() < 0.3: pass\n"
    script += "print(s.getsockname()[1], flush=True)\ntime.sleep(60)"
    server = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    try:
        port = int(server.stdout.readline())
        assert [process.pid for process in serving(f"http://127.0.0.1:{port}/v1")] == [server.pid]
        ours = psutil.Process(server.pid).cpu_times()
        twice = noise._own([psutil.Process(server.pid)]) - noise._own(())
        assert ours.user + ours.system > 0.25 and abs(twice) < 0.15, "a process that is a child, too, counts once"
    finally:
        server.kill()
        server.wait()
    assert serving(f"http://127.0.0.1:{port}") == []


def test_a_watch_of_this_machine_sees_something():
    watch = NoiseWatch(look_s=0.05)
    time.sleep(0.05)
    found = watch.found({})
    assert found.load_of_others is None or 0 <= found.load_of_others <= 1
