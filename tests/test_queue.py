"""The queue of own runs: acknowledged means kept, also when the process is killed in the middle of a write."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pandas as pd
import pytest

from core.corpus import open_corpus
from core.errors import RunError
from core.queue import EXPORT, LOCK, Queue
from core.records import read_record

ROOT = Path(__file__).resolve().parents[1]
ROW = {"model_id": "Qwen/Qwen3-8B", "gpu_name": "RTX 4090", "runtime": "llama.cpp", "quant": "Q4_K_M"}


def run(speed):
    return read_record({**ROW, "decode_toks_sec": speed})


def test_a_run_is_taken_once(tmp_path):
    queue = Queue(tmp_path)
    first = queue.put([run(1), run(2)])
    again = queue.put([run(2), run(3), run(3)])
    assert first.taken == (run(1).run_id, run(2).run_id) and not first.known
    assert again.taken == (run(3).run_id,) and again.known == (run(2).run_id, run(3).run_id)
    assert queue.records() == [run(1), run(2), run(3)] and queue.waiting() == 3


def test_the_export_is_what_the_corpus_reads(tmp_path):
    queue = Queue(tmp_path)
    assert queue.export() is None, "nothing has come"
    queue.put([run(1), run(2)])
    out = queue.export()
    assert out is not None and out.name == EXPORT and queue.waiting() == 0 and queue.export() is None
    corpus = open_corpus([out.parent])
    assert not corpus.problems and sorted(corpus.table("runs")["decode_toks_sec"]) == [1, 2]
    queue.put([run(3)])
    queue.export()
    assert len(pd.read_parquet(out)) == 3


def test_what_is_forgotten_is_gone_everywhere(tmp_path):
    queue = Queue(tmp_path)
    queue.put([run(1), run(2)])
    out = queue.export()
    assert queue.forget([run(1).run_id, "0" * 16]) == 1
    assert list(pd.read_parquet(out)["decode_toks_sec"]) == [2]
    assert queue.forget([run(2).run_id]) == 1 and not out.exists() and queue.records() == []


def test_only_one_worker_writes(tmp_path):
    queue = Queue(tmp_path)
    queue.put([run(1)])
    with queue._alone(), pytest.raises(RunError, match="Another process"):
        queue.export()
    assert (tmp_path / LOCK).exists() and queue.export() is not None, "a lock that nobody holds is not in the way"


def test_threads_take_every_run_once(tmp_path):
    receipts = []

    def put():
        receipts.append(Queue(tmp_path).put([run(n + 1) for n in range(10)]))

    threads = [threading.Thread(target=put) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(receipts) == 6 and sum(len(receipt.taken) for receipt in receipts) == 10 == len(Queue(tmp_path).records())


def test_a_folder_that_cannot_be_written_says_so(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="ROOFCAST_HOME"):
        Queue(tmp_path / "file").put([run(1)])


_WRITER = """
import sys
from pathlib import Path
from core.queue import Queue
from core.records import read_record
queue, n = Queue(Path(sys.argv[1])), 0
while True:
    n += 1
    receipt = queue.put([read_record({**%r, "decode_toks_sec": n})])
    print(receipt.taken[0], flush=True)
    if n %% 3 == 0:
        queue.export()
"""


def test_kill_9_loses_nothing_that_was_acknowledged(tmp_path):
    """A writer is killed at moments of its work; each id that it had printed must be there, and the queue goes on."""
    for kill_after in (1, 8):
        folder = tmp_path / str(kill_after)
        writer = subprocess.Popen([sys.executable, "-c", _WRITER % ROW, str(folder)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        told = [writer.stdout.readline().strip() for _ in range(kill_after)]
        os.kill(writer.pid, signal.SIGKILL)
        told += writer.stdout.read().split()
        writer.wait()
        queue = Queue(folder)
        kept = [record.run_id for record in queue.records()]
        assert kept[: len(told)] == told and len(kept) <= len(told) + 1
        queue.put([run(1e6)])
        out = queue.export()
        assert set(pd.read_parquet(out)["run_id"]) == {*kept, run(1e6).run_id}
        assert [path.name for path in out.parent.iterdir()] == [EXPORT]
