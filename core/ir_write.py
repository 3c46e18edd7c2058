"""Writes a model's tensors in order of execution, each under the name, layer and block it belongs to."""

from __future__ import annotations

from core.ir import Group, Shard, Tensor
from core.ir_family import LLAMA_NAMES
from core.ir_fields import Fields
from core.ir_layers import Shape

# Where a layer's two parts sum over ranks: their bias is added once, on each rank alike.
_SUMMED = frozenset({"attn_output", "ffn_down", "ssm_out"})


class Writer:
    """Appends tensors to `made`."""

    def __init__(self, fields: Fields, shape: Shape) -> None:
        self.fields, self.family, self.shape = fields, fields.family, shape
        self.names = {**LLAMA_NAMES, **self.family.names}
        self.made: list[Tensor] = []
        # Prefix of the names, layer, block, and the group that overrides a tensor's own.
        self.place: tuple[str, int | None, str | None, Group | None] = ("", None, None, None)

    def add(self, role: str, shape: tuple[int, ...], group: Group, shard: Shard, *, bias: bool = False, suffix: str = ".weight") -> None:
        prefix, layer, block, over = self.place
        name = prefix + self.names[role]
        self.made.append(Tensor(name + suffix, shape, over or group, role, shard, layer, block))
        if bias:
            cut: Shard = "replicated" if role in _SUMMED else shard
            # The bias of a stacked expert tensor is (experts, out); that of a convolution (channels).
            size = shape[:1] if "conv" in role else shape[:-1]
            self.made.append(Tensor(name + ".bias", size, over or group, f"{role}_bias", cut, layer, block))

    def norm(self, role: str, size: int) -> None:
        if self.family.norm != "none":
            self.add(role, (size,), "norm", "replicated")
            if self.family.norm == "layer":
                prefix, layer, block, over = self.place
                name = prefix + self.names[role] + ".bias"
                self.made.append(Tensor(name, (size,), over or "norm", f"{role}_bias", "replicated", layer, block))
