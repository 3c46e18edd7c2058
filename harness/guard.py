"""Runs a command and sees to it that nothing of it stays: `python guard.py PIPE GRACE COMMAND…`, a process between harness and engine.

PIPE is the number of a pipe's end that the harness holds open. When it closes, for whatever reason (the harness is done, was
interrupted or killed), or when the command ends, everything that the command started is asked to end, and GRACE seconds later
ended. It imports nothing of ours.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import subprocess
import sys
import time

_SUBREAPER, _DEATH_SIGNAL = 36, 1  # of prctl(2)


def _adopt() -> None:
    """On Linux: what the command's processes leave behind becomes our child, also where they called setsid."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_SUBREAPER, 1, 0, 0, 0)


def _before() -> None:
    """In the child before the command starts: should we be killed, it dies with us."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)


def _descendants() -> list[int]:
    """Processes below us, on Linux."""
    parents: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat") as file:
                    parent = int(file.read().rpartition(")")[2].split()[1])
            except (OSError, ValueError, IndexError):
                continue
            parents.setdefault(parent, []).append(int(name))
    found, todo = [], [os.getpid()]
    while todo:
        children = parents.get(todo.pop(), [])
        found += children
        todo += children
    return found


def _reap() -> None:
    while True:
        try:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                return
        except ChildProcessError:
            return


def _signal_all(number: int, group: int) -> bool:
    """Sends a signal to everything below us; whether there was anything."""
    if sys.platform == "linux":
        below = _descendants()
        for pid in below:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue
        return bool(below)
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def _end_all(group: int, grace: float) -> None:
    for number, seconds in ((signal.SIGTERM, grace), (signal.SIGKILL, 5.0)):
        end = time.monotonic() + seconds
        told = False
        while time.monotonic() < end:
            _reap()
            if not _signal_all(0 if told else number, group):
                return
            told = number == signal.SIGTERM  # asked once; ended as often as new ones appear
            time.sleep(0.02)


def main(arguments: list[str]) -> int:
    pipe, grace, command = int(arguments[0]), float(arguments[1]), arguments[2:]
    _adopt()
    asked = []
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: asked.append(True))
    os.set_inheritable(pipe, False)
    try:
        child = subprocess.Popen(command, start_new_session=True, preexec_fn=_before)
    except OSError as error:
        print(f"{command[0]}: {error.strerror or error}", file=sys.stderr)
        return 127 if isinstance(error, FileNotFoundError) else 126
    code = None
    while not asked and code is None:
        try:
            if select.select([pipe], [], [], 0.05)[0]:
                break  # nobody writes into it: it is readable once it is closed
        except InterruptedError:
            continue
        code = child.poll()
    _end_all(child.pid, grace)
    if code is None:
        return 128 + signal.SIGTERM
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
