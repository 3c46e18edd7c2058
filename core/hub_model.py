"""A model read from the Hub or from a GGUF file: its config, what its header lists, and the IR that follows."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from typing import Any

from pydantic import BaseModel, ConfigDict

from core.catalog.quants import formats, quant
from core.hub_names import hub_name, with_changes
from core.ir import ModelIR
from core.ir_build import build_ir
from core.stored import Container, Joined, StoredTensor, join
from core.units import show
from core.weights import tensor_formats

SCHEMA = 1  # of the stored file; raise it when what is stored changes
_PLAIN = {"bf16": "BF16", "f16": "FP16", "f32": "FP32"}


class HubModel(BaseModel):
    """What was read of one model at one revision. Nothing of it depends on who asked, or with which token."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: int = SCHEMA
    repo: str  # "owner/name", or "local"
    revision: str  # the commit; of a local file the SHA-256 of its header
    file: str | None = None  # the GGUF file
    container: Container
    config: dict[str, Any]
    tensors: tuple[StoredTensor, ...] = ()
    files: tuple[str, ...] = ()  # that hold the weights
    file_bytes: int = 0  # of all of them together
    quant: str | None = None  # catalog id of a GGUF file's quantisation
    vision: tuple[str, ...] = ()  # mmproj files beside it
    tower_bytes: int = 0  # of the tensors of the one that an engine would be given
    notes: tuple[str, ...] = ()
    was: str | None = None  # of a model that came in a bundle: what it was called where that was made

    @property
    def id(self) -> str:
        """The name that a scenario gives."""
        return hub_name(self.repo, self.file, self.revision)

    @property
    def dtypes(self) -> dict[str, int]:
        """Bytes by type, most first."""
        sizes = Counter[str]()
        for tensor in self.tensors:
            sizes[tensor.dtype] += tensor.bytes
        return dict(sizes.most_common())

    def ir(self, changes: dict[str, Any] | None = None) -> ModelIR:
        """The IR with the file's exact bytes; fields set by hand make them unknown again.

        Raises ScenarioError where the config is incomplete or wrong.
        """
        return self.read(changes)[0]

    def read(self, changes: dict[str, Any] | None = None) -> tuple[ModelIR, Joined | None]:
        """The IR, and how the header's tensors lie in it; None without a header or with fields set by hand."""
        built = build_ir(self.config, with_changes(self.id, changes or {}), changes)
        if not self.tensors or changes:
            if changes and self.tensors:
                built = replace(built, assumed={**built.assumed, "weights": "bytes by the layout: fields are set by hand"})
            return built, None
        joined = join(built, self.tensors, self.container)
        built = with_tower(built, joined, self.tower_bytes)
        stored_as = self.quant if self.container == "gguf" else built.native_quant or _plain(built, joined)
        if stored_as is None and joined.stored and (alike := _of_bits(built, joined)):
            stored_as, told = alike, f"taken as {quant(alike).name}, by the header's bytes: the published format is not in the catalog"
            built = replace(built, native_quant=alike, assumed={**built.assumed, "quantization_config": told})
        if not joined.stored or stored_as is None:
            why = f"the header has no '{joined.missing[0]}'" if joined.missing else "the catalog does not have its quantisation"
            return replace(built, assumed={**built.assumed, "weights": f"bytes by the layout: {why}"}), joined
        if "model_type" in built.assumed and (different := self.difference(built, joined)):
            built = replace(built, assumed={**built.assumed, "parameters": different})
        labels = tensor_formats(built, quant(stored_as))
        stored = tuple(
            (_format(dtype, label, self.container), amount) for (dtype, amount), label in zip(joined.stored, labels, strict=True)
        )
        return replace(built, stored=stored, stored_as=stored_as), joined

    def difference(self, built: ModelIR, joined: Joined) -> str | None:
        """A sentence where the header lists other parameters than the layout; None where it does not or they are packed."""
        if _plain(built, joined) is None:
            return None
        outside = sum(tensor.elements for part in (joined.apart, joined.beside) for tensor in part)
        listed = sum(tensor.elements for tensor in self.tensors) - outside
        known = built.parameters + (built.mtp_parameters if listed > built.parameters else 0)
        return None if listed == known else f"the header lists {listed:,} parameters, the layout {known:,} ({listed / known - 1:+.2%})"


SOUND = re.compile(r"audio|talker|token2wav")


def with_tower(built: ModelIR, joined: Joined, of_file: int = 0) -> ModelIR:
    """The IR with the exact bytes of its vision tower; of one that cannot be laid out they are named."""
    held = of_file or sum(tensor.bytes for tensor in joined.apart if not SOUND.search(tensor.name))
    if not held:
        return built
    if built.tower is not None:
        return replace(built, tower=replace(built.tower, stored_bytes=held))
    why = built.assumed.get("vision_config", "the vision tower is left out: the config does not describe it")
    return replace(built, assumed={**built.assumed, "vision_config": f"{why}; its files hold {show(float(held), 'B')} of it"})


def _plain(built: ModelIR, joined: Joined) -> str | None:
    """The catalog's id of unquantised weights, by the type of most bytes; None for a quantisation that it does not have."""
    sizes = Counter[str]()
    for dtype, amount in joined.stored:
        sizes[dtype] += amount
    if not sizes or built.native_quant or "quantization_config" in built.assumed:
        return None
    return _PLAIN.get(sizes.most_common(1)[0][0])


def _of_bits(built: ModelIR, joined: Joined) -> str | None:
    """The catalog's weight-only quantisation of about as many bits as the layers' matrices take; None where they take 16."""
    inside = [
        (tensor.elements, amount, dtype)
        for tensor, (dtype, amount) in zip(built.tensors, joined.stored, strict=True)
        if len(tensor.shape) > 1 and tensor.group in ("attention", "mlp", "experts", "shared_experts")
    ]
    bits = 8 * sum(amount for _, amount, _ in inside) / max(1, sum(elements for elements, _, _ in inside))
    if bits < 6.5:
        return "W4A16"
    if bits < 12:
        return "FP8" if any(dtype.startswith("f8") for _, _, dtype in inside) else "INT8-WO"
    return None


def _format(dtype: str, label: str, container: Container) -> str:
    """The catalog's storage format: the header's own type where it says all, else what the scheme names."""
    return dtype if dtype in _PLAIN or (container == "gguf" and dtype in formats()) else label
