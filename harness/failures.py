"""Why an engine gave no figures, from what it said last: classes that feasibility can count."""

from __future__ import annotations

import re

from harness.process import Finished
from harness.record import last_words

_KILLED = 137  # by the kernel where memory ran out

_SIGNS = (
    ("trust_remote_code", r"trust[_-]remote[_-]code|contains custom code which must be executed"),
    (
        "out_of_memory",
        r"out of memory|OutOfMemory|ErrorOutOfDeviceMemory|failed to allocate|unable to allocate|cannot allocate memory|cudaMalloc failed|"
        r"Insufficient Memory|No available memory for the cache blocks|larger than the (?:maximum number of tokens|available KV cache)|"
        r"KV cache .{0,60}is needed.{0,80}larger than|bad_alloc|\bMemoryError\b|failed to fit params|"
        r"more system memory \(.*\) than is available|CUBLAS_STATUS_ALLOC_FAILED|less than desired GPU memory utilization",
    ),
    (
        "unsupported",
        r"unknown (?:model architecture|quantization|pre-tokenizer|type)|quantization method .{0,80}not supported|unsupported|"
        r"not supported|does not support|Unrecognized (?:model|configuration)|invalid choice|illegal instruction|"
        r"only supported|No module named|not compiled with|does not recognize this architecture|invalid ggml type|"
        r"requires compute capability",
    ),
)  # fmt: skip


class Failure(Exception):
    """A run that failed: its class (core.records.FAILURES) and the engine's last words, scrubbed."""

    def __init__(self, kind: str, words: str) -> None:
        super().__init__(kind, words)
        self.kind, self.words = kind, words

    def __str__(self) -> str:
        return f"{self.kind.replace('_', ' ')}: {self.words.splitlines()[-1][:300] if self.words else 'it said nothing'}"


def failure(found: Finished, *, server: bool = False) -> Failure:
    """The class of a command that failed; `server`: it should have gone on."""
    words = last_words(found.said)
    if found.timed_out:
        return Failure("timeout", words)
    return Failure(kind_of(found.said) or _by_code(found.code, server), words)


def kind_of(said: str) -> str:
    """The class that words tell; "" where they tell none. Of several signs the last line that shows one counts."""
    for line in reversed(said.splitlines()[-400:]):
        for kind, sign in _SIGNS:
            if re.search(sign, line, re.IGNORECASE):
                return kind
    return ""


def _by_code(code: int, server: bool) -> str:
    if code == _KILLED:
        return "out_of_memory"
    return "server_died" if server else "other"
