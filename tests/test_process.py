"""No engine outlives the harness: after its end, an error, a time limit, Ctrl-C or a kill; not even what it sent away from itself."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from core.errors import RunError
from harness import process
from harness.failures import failure, kind_of
from harness.process import Finished, run, started

ROOT = Path(__file__).resolve().parents[1]
# An engine that starts a worker, and a daemon that leaves its session; each writes its number. `{}`: what it does then.
_ENGINE = """
import os, subprocess, sys, time
folder = {folder!r}
def note(name, pid):
    path = os.path.join(folder, name)
    open(path + ".part", "w").write(str(pid))
    os.rename(path + ".part", path)
worker = subprocess.Popen([sys.executable, "-I", "-S", "-c", "import signal, time; {ignore}; time.sleep(600)"])
if os.fork() == 0:
    os.setsid()
    if os.fork():
        os._exit(0)
    note("daemon", os.getpid())
    time.sleep(600)
    os._exit(0)
note("worker", worker.pid); note("engine", os.getpid())
while not os.path.exists(os.path.join(folder, "daemon")):
    time.sleep(0.005)
print("ready", flush=True)
{then}
"""


def engine(folder, then="time.sleep(600)", ignore="pass"):
    return [sys.executable, "-I", "-S", "-c", _ENGINE.format(folder=str(folder), then=then, ignore=ignore)]


def pids(folder):
    """The numbers of the engine's three processes, once it has written them."""
    names = ("engine", "worker", "daemon")
    for _ in range(6000):
        if all((folder / name).exists() for name in names):
            return [int((folder / name).read_text()) for name in names]
        time.sleep(0.01)
    raise AssertionError("the engine did not start")


def all_gone(numbers):
    for _ in range(6000):
        if not [n for n in numbers if psutil.pid_exists(n) and psutil.Process(n).status() != psutil.STATUS_ZOMBIE]:
            return True
        time.sleep(0.01)
    return False


def test_nothing_stays_after_the_block(tmp_path):
    with started(engine(tmp_path)) as running:
        numbers = pids(tmp_path)
        assert running.alive() and set(numbers) <= {one.pid for one in running.processes()}
    assert all_gone(numbers)


def test_nothing_stays_after_its_own_end_or_a_crash(tmp_path):
    found = run(engine(tmp_path, "print('done'); sys.exit(3)"))
    assert found.code == 3 and "done" in found.out and all_gone(pids(tmp_path))
    (tmp_path / "b").mkdir()
    assert run(engine(tmp_path / "b", "os.abort()")).code == 128 + signal.SIGABRT and all_gone(pids(tmp_path / "b"))


def test_nothing_stays_after_a_time_limit_though_it_will_not_end(tmp_path, monkeypatch):
    monkeypatch.setattr(process, "GRACE_S", 0.2)
    found = run(engine(tmp_path, ignore="signal.signal(signal.SIGTERM, signal.SIG_IGN)"), timeout=1.0)
    assert found.timed_out and failure(found).kind == "timeout" and all_gone(pids(tmp_path))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_nothing_stays_when_the_harness_is_ended(tmp_path, number):
    code = f"import sys; from harness.process import run; run({engine(tmp_path)!r})"
    harness = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=ROOT,
        stderr=subprocess.DEVNULL,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # whoever started the tests may have it ignored
    )
    numbers = pids(tmp_path)
    os.kill(harness.pid, number)
    harness.wait(60)
    assert all_gone(numbers)


def test_what_it_says_is_kept_however_much():
    found = run([sys.executable, "-c", "import sys; print('x' * 300_000); sys.stderr.write('y' * 300_000)"])
    assert found.code == 0 and len(found.out) == 300_001 and len(found.err) == 300_000


def test_a_program_that_is_not_there_is_one_sentence():
    with pytest.raises(RunError, match="no-such-engine cannot be started"):
        run(["no-such-engine"])


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("ggml_backend_cuda_buffer_type_alloc_buffer: allocating 9000 MiB on device 0: cudaMalloc failed: out of memory", "out_of_memory"),
        ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB", "out_of_memory"),
        ("ValueError: No available memory for the cache blocks. Try increasing `gpu_memory_utilization`", "out_of_memory"),
        ("ggml_vulkan: vk::Device::allocateMemory: ErrorOutOfDeviceMemory", "out_of_memory"),
        ("Error: model requires more system memory (9.2 GiB) than is available (3.1 GiB)", "out_of_memory"),
        ("ValueError: Loading it requires you to execute the configuration file ... set the option `trust_remote_code=True`",
         "trust_remote_code"),
        ("error loading model: unknown model architecture: 'nextgen'", "unsupported"),
        ("ValueError: Unknown quantization method: awq2", "unsupported"),
        ("pydantic: The quantization method fp8 is not supported for the current GPU", "unsupported"),
        ("everything went well", ""),
    ],
)  # fmt: skip
def test_why_it_failed(said, kind):
    assert kind_of("loading\n" + said + "\nTraceback below\n") == kind


def test_without_words_the_exit_code_tells():
    assert failure(Finished(137, "", "", 1.0)).kind == "out_of_memory"
    assert failure(Finished(1, "", "oops", 1.0), server=True).kind == "server_died"
    assert failure(Finished(1, "", "oops", 1.0)).kind == "other" and str(failure(Finished(1, "", "a\noops", 1.0))) == "other: oops"
