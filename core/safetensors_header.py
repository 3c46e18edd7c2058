"""The header of a safetensors file: names, types and exact bytes of its tensors, without the tensors.

Read from a stream as GGUF headers are, rather than by huggingface_hub's own parser: that one takes the whole answer into
memory, which is the file itself where a server ignores ranges.
"""

from __future__ import annotations

import json
import math

from core.errors import HubError
from core.gguf import Stream
from core.stored import StoredTensor

MAX_HEADER = 100_000_000  # bytes; the format's own limit


def read_safetensors(stream: Stream, name: str) -> tuple[tuple[StoredTensor, ...], int]:
    """The tensors that the header at the start of `stream` lists, and the bytes of the file that it describes.

    Raises HubError where it is none, or ends too early.
    """
    size = int.from_bytes(_exactly(stream, 8, name), "little")
    if not 2 <= size <= MAX_HEADER:
        raise HubError(f"'{name}' is not a safetensors file: it does not begin with the length of a header.")
    try:
        header = json.loads(_exactly(stream, size, name))
        found = tuple(
            StoredTensor(key, str(info["dtype"]).lower(), math.prod(_sizes(info["shape"])), _span(info["data_offsets"]))
            for key, info in header.items()
            if key != "__metadata__"
        )
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise HubError(f"'{name}' is not a safetensors file: its header cannot be read. Download or publish it again.") from None
    return found, 8 + size + sum(tensor.bytes for tensor in found)


def _sizes(shape: list[int]) -> list[int]:
    if any(isinstance(size, bool) or not isinstance(size, int) or size < 0 for size in shape):
        raise ValueError("shape")
    return shape


def _span(offsets: list[int]) -> int:
    start, end = _sizes(offsets)
    if end < start:
        raise ValueError("data_offsets")
    return end - start


def _exactly(stream: Stream, size: int, name: str) -> bytes:
    parts, missing = [], size
    while missing:
        part = stream.read(missing)
        if not part:
            raise HubError(f"'{name}' is truncated: it ends within its header. Download or publish it again.")
        parts.append(part)
        missing -= len(part)
    return b"".join(parts)
