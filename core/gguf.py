"""The header of a GGUF file: its metadata and its tensors with exact types and bytes, read in order from any stream.

Only the header is read, never a tensor, so a stream may be the start of a remote file that grows as it is read.
"""

from __future__ import annotations

import itertools
import math
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from core.errors import HubError

MAGIC = b"GGUF"
MAX_HEADER = 256 * 2**20  # bytes; the largest vocabularies take about 20 MB
MAX_TENSORS, MAX_KEYS = 1_000_000, 100_000
MAX_DEPTH = 4  # of arrays in arrays
MAX_ITEMS = 4_000_000  # of an array of texts
KEPT = 4096  # longest array whose items are kept: one a layer, not one a token


class Type(NamedTuple):
    """A tensor type of ggml: `bytes` for each block of `elements` along a row."""

    name: str
    elements: int
    bytes: int


# ggml's numbers (ggml.h, enum ggml_type); names as data/catalog/quants/formats.toml has them.
TYPES: dict[int, Type] = {
    0: Type("f32", 1, 4), 1: Type("f16", 1, 2), 2: Type("q4_0", 32, 18), 3: Type("q4_1", 32, 20),
    6: Type("q5_0", 32, 22), 7: Type("q5_1", 32, 24), 8: Type("q8_0", 32, 34), 9: Type("q8_1", 32, 40),
    10: Type("q2_k", 256, 84), 11: Type("q3_k", 256, 110), 12: Type("q4_k", 256, 144), 13: Type("q5_k", 256, 176),
    14: Type("q6_k", 256, 210), 15: Type("q8_k", 256, 292), 16: Type("iq2_xxs", 256, 66), 17: Type("iq2_xs", 256, 74),
    18: Type("iq3_xxs", 256, 98), 19: Type("iq1_s", 256, 50), 20: Type("iq4_nl", 32, 18), 21: Type("iq3_s", 256, 110),
    22: Type("iq2_s", 256, 82), 23: Type("iq4_xs", 256, 136), 24: Type("i8", 1, 1), 25: Type("i16", 1, 2),
    26: Type("i32", 1, 4), 27: Type("i64", 1, 8), 28: Type("f64", 1, 8), 29: Type("iq1_m", 256, 56),
    30: Type("bf16", 1, 2), 34: Type("tq1_0", 256, 54), 35: Type("tq2_0", 256, 66), 39: Type("mxfp4", 32, 17),
    40: Type("nvfp4", 64, 36),
}  # fmt: skip

# general.file_type (llama.h, enum llama_ftype): the quantisation in our catalog's ids.
FILE_TYPES: dict[int, str] = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K", 11: "Q3_K_S", 12: "Q3_K_M",
    13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S", 17: "Q5_K_M", 18: "Q6_K", 19: "IQ2_XXS", 20: "IQ2_XS",
    21: "Q2_K_S", 22: "IQ3_XS", 23: "IQ3_XXS", 24: "IQ1_S", 25: "IQ4_NL", 26: "IQ3_S", 27: "IQ3_M", 28: "IQ2_S",
    29: "IQ2_M", 30: "IQ4_XS", 31: "IQ1_M", 32: "GGUF-BF16", 36: "TQ1_0", 37: "TQ2_0", 38: "MXFP4_MOE",
}  # fmt: skip

_SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
_STRING, _ARRAY = 8, 9


class Stream(Protocol):
    """What the header is read from: a file opened for reading bytes, or a remote one."""

    def read(self, size: int, /) -> bytes: ...


class Length(int):
    """Stands for an array too long to keep: how many items it has."""


@dataclass(frozen=True, slots=True)
class GgufTensor:
    """One tensor; `shape` is (…, out, in), as safetensors write it. `bytes` is exact, without padding behind it."""

    name: str
    shape: tuple[int, ...]
    type: str
    offset: int  # from the start of the tensors
    bytes: int

    @property
    def elements(self) -> int:
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """What a GGUF file says of itself. Arrays of `metadata` longer than `KEPT` are their `Length`."""

    metadata: dict[str, Any]
    tensors: tuple[GgufTensor, ...]
    data_start: int  # bytes before the first tensor

    @property
    def file_bytes(self) -> int:
        """Where the last tensor ends: a file that is shorter was cut."""
        return self.data_start + max((t.offset + t.bytes for t in self.tensors), default=0)

    @property
    def architecture(self) -> str:
        return str(self.metadata.get("general.architecture", ""))

    @property
    def is_vision(self) -> bool:
        """Whether the file is a vision or audio tower (mmproj) and not a language model."""
        return self.architecture == "clip" or self.metadata.get("general.type") == "mmproj"

    @property
    def splits(self) -> int:
        """How many files the model is cut into; 1 where it is whole."""
        count = self.metadata.get("split.count", 1)
        return count if isinstance(count, int) and count > 0 else 1

    def get(self, key: str, default: Any = None) -> Any:
        """A key of the architecture ("block_count"), or `default`."""
        return self.metadata.get(f"{self.architecture}.{key}", default)


class _Reader:
    """Reads numbers, texts and arrays, and counts the bytes. Raises HubError at the end of the stream."""

    def __init__(self, stream: Stream, name: str) -> None:
        self.stream, self.name, self.at = stream, name, 0

    def wrong(self, what: str) -> HubError:
        return HubError(f"'{self.name}' is not a GGUF file that can be read: {what}. Give the path or link of a whole GGUF file.")

    def bytes(self, size: int) -> bytes:
        if size > MAX_HEADER - self.at:
            raise self.wrong(f"its header claims more than {MAX_HEADER // 2**20} MiB")
        parts, missing = [], size
        while missing:
            part = self.stream.read(missing)
            if not part:
                raise HubError(f"'{self.name}' is truncated: it ends within its header, after {self.at:,} bytes. Download it again.")
            parts.append(part)
            missing -= len(part)
            self.at += len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def number(self, code: str) -> Any:
        return struct.unpack(code, self.bytes(struct.calcsize(code)))[0]

    def text(self) -> str:
        return self.bytes(self.number("<Q")).decode("utf-8", errors="replace")

    def value(self, kind: int, depth: int = 0) -> Any:
        if kind in _SCALARS:
            return self.number(_SCALARS[kind])
        if kind == _STRING:
            return self.text()
        if kind != _ARRAY or depth >= MAX_DEPTH:
            raise self.wrong(f"a value of unknown kind {kind}")
        items, count = self.number("<I"), self.number("<Q")
        if count <= KEPT:
            return [self.value(items, depth + 1) for _ in range(count)]
        if items in _SCALARS:
            self.bytes(count * struct.calcsize(_SCALARS[items]))
        else:
            skip: Callable[[], Any] = self._skip_text if items == _STRING else lambda: self.value(items, depth + 1)
            if count > MAX_ITEMS:
                raise self.wrong("an array of more items than a header can hold")
            for _ in range(count):
                skip()
        return Length(count)

    def _skip_text(self) -> None:
        self.bytes(self.number("<Q"))


def read_gguf(stream: Stream, name: str) -> GgufHeader:
    """The header at the start of `stream`; `name` is what errors call the file.

    Raises HubError where it is no GGUF file, of another byte order or version, wrong, or ends too early.
    """
    reader = _Reader(stream, name)
    start = stream.read(4)
    if start != MAGIC:
        raise reader.wrong("it does not begin with 'GGUF'")
    reader.at = 4
    version = reader.number("<I")
    if version not in (2, 3):
        big = version in (2 << 24, 3 << 24)
        raise reader.wrong("it is big-endian" if big else f"version {version} is not known (2 and 3 are)")
    tensors, keys = reader.number("<Q"), reader.number("<Q")
    if tensors > MAX_TENSORS or keys > MAX_KEYS:
        raise reader.wrong(f"{tensors:,} tensors and {keys:,} keys are more than any file has")
    metadata: dict[str, Any] = {}
    for _ in range(keys):
        key = reader.text()
        metadata[key] = reader.value(reader.number("<I"))
    alignment = metadata.get("general.alignment", 32)
    if not isinstance(alignment, int) or isinstance(alignment, bool) or not 1 <= alignment <= 2**20:
        raise reader.wrong(f"an alignment of {alignment}")
    infos = [_info(reader) for _ in range(tensors)]
    data_start = -(-reader.at // alignment) * alignment
    return GgufHeader(metadata, tuple(_sized(infos, reader)), data_start)


def _info(reader: _Reader) -> tuple[str, tuple[int, ...], int, int]:
    name, dimensions = reader.text(), reader.number("<I")
    if dimensions > 8:
        raise reader.wrong(f"the tensor '{name}' has {dimensions} dimensions")
    sizes = [reader.number("<Q") for _ in range(dimensions)]
    return name, tuple(reversed(sizes)), reader.number("<I"), reader.number("<Q")


def _sized(infos: list[tuple[str, tuple[int, ...], int, int]], reader: _Reader) -> list[GgufTensor]:
    """Tensors with their bytes. A type that is not known takes what lies before the next tensor."""
    starts = sorted(offset for *_, offset in infos)
    following = dict(itertools.pairwise(starts))
    made = []
    for name, shape, number, offset in infos:
        elements = math.prod(shape)
        known = TYPES.get(number)
        if known is None:
            if offset not in following:
                raise reader.wrong(f"its last tensor '{name}' has the unknown type {number}")
            made.append(GgufTensor(name, shape, f"type {number}", offset, following[offset] - offset))
            continue
        if shape and shape[-1] % known.elements:
            raise reader.wrong(f"the rows of '{name}' do not divide into blocks of {known.name}")
        made.append(GgufTensor(name, shape, known.name, offset, elements // known.elements * known.bytes))
    return made
