"""What a GGUF header says of its architecture: the keys without their prefix, and the tensors by layer."""

from __future__ import annotations

from typing import Any

from core.errors import HubError
from core.gguf import GgufHeader, Length


class Parts:
    """A header's keys without the architecture, and its tensors by layer; `name` is what errors call the file."""

    def __init__(self, header: GgufHeader, name: str) -> None:
        self.header, self.name = header, name
        self.shapes = {tensor.name: tensor.shape for tensor in header.tensors}
        self.layers: dict[int, set[str]] = {}
        for tensor in header.tensors:
            block, _, rest = tensor.name.partition(".")
            number, _, part = rest.partition(".")
            if block == "blk" and number.isdigit():
                self.layers.setdefault(int(number), set()).add(part)

    def number(self, key: str) -> Any:
        """A key's value; of one number a layer the first that is not 0."""
        value = self.header.get(key)
        if isinstance(value, list):
            return next((item for item in value if item), None)
        return None if isinstance(value, Length) else value

    def need(self, key: str) -> int:
        """Raises HubError where the key is missing or no whole number of at least 1."""
        value = self.number(key)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise HubError(
                f"'{self.name}' lacks the key '{self.header.architecture}.{key}', without which its layout is unknown; "
                "convert it again with a current llama.cpp."
            )
        return value

    def each(self, key: str, layers: int) -> list[int]:
        """A key's number in each layer, whether it is written once or a layer; 0 where it is missing."""
        value = self.header.get(key)
        listed = value if isinstance(value, list) else [value] * layers
        return [item if isinstance(item, int) else 0 for item in (*listed, *[0] * layers)][:layers]

    def has(self, *parts: str) -> bool:
        """Whether any layer has one of these tensors."""
        return any(part in held for held in self.layers.values() for part in parts)

    def holds(self, layer: int, *prefixes: str) -> bool:
        """Whether a layer has a tensor that begins like one of these."""
        return any(part.startswith(prefixes) for part in self.layers.get(layer, ()))

    def shape(self, part: str) -> tuple[int, ...]:
        """The shape of a tensor in the first layer that has it; empty where none does."""
        first = min((layer for layer, held in self.layers.items() if part in held), default=None)
        return () if first is None else self.shapes[f"blk.{first}.{part}"]
