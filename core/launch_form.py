"""A pasted launch command as the form takes it: exact values of its controls, and what is to be told beside them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from core import choices
from core.errors import RoofcastError
from core.launch_flags import HARMLESS
from core.launch_parse import Parsed, parse

# What a command decides: a knob that it leaves out goes back to the runtime's default.
_DECIDES = (
    "quant", "kv_dtype", "backend", "tp", "mlp_tp", "pp", "dp", "ep", "cp", "split", "gpu_layers", "experts_on_cpu", "max_context",
    "max_sequences", "token_budget", "micro_batch", "memory_fraction", "cuda_graphs", "threads", "runtime_version", "tensor_split",
    "main_gpu", "numa", "vision",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Filled:
    """`controls`: values by knob, None for the default. The rest are sentences and words to show, in this order of weight."""

    controls: dict[str, Any]
    refused: tuple[str, ...]
    unknown: tuple[str, ...]
    not_modelled: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]
    quiet: tuple[str, ...] = ()  # words without effect on memory or speed


def fill(text: str, further: int = 0) -> Filled:
    """The form's values for a pasted command, on a machine that has `further` cards of other kinds beside those that the form counts.

    Raises ScenarioError, one sentence, where it cannot be read.
    """
    parsed: Parsed = parse(text)
    fields = dict(parsed.fields)
    if further and "count" in fields:
        fields["count"] = max(1, fields["count"] - further)
    if parsed.version is not None:
        fields["runtime_version"] = parsed.version
    controls: dict[str, Any] = dict.fromkeys(_DECIDES)
    controls["flash_attention"] = True
    refused: list[str] = []
    runtime = parsed.runtime
    for knob, amount in fields.items():
        try:
            controls[knob] = choices.exact(knob, str(amount).lower() if isinstance(amount, bool) else f"{amount}", runtime)
        except RoofcastError as error:
            refused.append(str(error))
    told = tuple((what, why) for what, why in parsed.not_modelled if why != HARMLESS)
    quiet = tuple(what for what, why in parsed.not_modelled if why == HARMLESS)
    return Filled(controls, tuple(refused), parsed.unknown, told, parsed.notes, quiet)
