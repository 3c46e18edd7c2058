"""Which experts a launch command keeps in host memory: --n-cpu-moe, --override-tensor, and KTransformers' share of each layer."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from core.catalog import models
from core.errors import ScenarioError
from core.launch_words import ALL_LAYERS

if TYPE_CHECKING:
    from core.launch_heard import Heard

_PATTERN = 200  # characters of a tensor pattern
_PARTS = ("gate", "up", "down")


def experts_in_host_memory(heard: Heard) -> None:
    """How many layers keep their experts in host memory: the scenario counts those with experts, the flag all from the first."""
    words = heard.words
    patterns = [part for given in words.get("overrides") or () for part in re.split(r"[,;](?=[^,;]*=)", given)]
    first = ALL_LAYERS if words.get("all_experts") else words.get("experts_on_cpu") or 0
    if first < 0:
        raise ScenarioError(f"--n-cpu-moe counts layers from the first, 0 or more (it is {first}); correct the command.")
    model = heard.fields.get("model")
    moe = moe_layers(model)
    if first and moe == []:
        heard.not_modelled.append(("--n-cpu-moe", f"{model} has no experts"))
        return
    away = {(n, part) for n in moe or () if n < first for part in _PARTS}
    kept: set[tuple[int, str]] = set()  # by a pattern before: of several that match a tensor, the first decides
    for pattern, place in (p.rpartition("=")[::2] for p in patterns if "=" in p):
        on_cpu = place.strip().upper() == "CPU"
        matched = _matched(pattern, moe if moe is not None else [0, ALL_LAYERS - 1], others=not on_cpu)
        if not on_cpu:
            heard.not_modelled.append(("--override-tensor", f"{pattern}={place}: which card holds a tensor is not estimated"))
            kept |= matched
        elif not matched:
            heard.not_modelled.append(("--override-tensor", f"{pattern}=CPU: only experts in host memory are estimated"))
        elif moe is not None:
            away |= matched - kept
        elif len(matched - kept) == 2 * len(_PARTS):
            first = ALL_LAYERS
        else:
            heard.not_modelled.append(("--override-tensor", f"{pattern}=CPU: which layers it means follows from the model, not known here"))
    if moe is None:
        if first:
            heard.fields["experts_on_cpu"] = heard.launch["experts_on_cpu"] = first
    elif away:
        count = max(1, round(len(away) / len(_PARTS)))  # gate, up and down of a layer are alike in size
        heard.fields["experts_on_cpu"] = count
        heard.launch["experts_on_cpu"] = moe[count - 1] + 1
        if away != {(n, part) for n in moe[:count] for part in _PARTS}:
            held = f"{len(away)} of {len(moe) * len(_PARTS)} matrices of experts"
            heard.notes.append(f"{held} stay in host memory: estimated as all those of the first {count} layers that have experts.")


def moe_layers(model: str | None) -> list[int] | None:
    """The layers that have experts, None for a model that is not known."""
    return None if model is None else sorted(n for block in models.ir(model).blocks if block.mlp.kind == "moe" for n in block.layers)


def _matched(pattern: str, layers: list[int], *, others: bool) -> set[tuple[int, str]]:
    """Layers and parts of their experts that a tensor pattern matches; none where it matches `others` that it must not."""
    if len(pattern) > _PATTERN or re.search(r"\)[*+{]|[*+}][*+{]|\.\*.*\.\*.*\.\*.*\.\*", pattern):
        return set()  # might take for ever to match
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise ScenarioError(f"The tensor pattern '{pattern}' is no regular expression ({error}); correct it.") from None
    beside = ["token_embd.weight", "output.weight", *(f"blk.{n}.attn_q.weight" for n in layers)]
    if not others and any(compiled.search(name) for name in beside):
        return set()
    return {(n, part) for n in layers for part in _PARTS if compiled.search(f"blk.{n}.ffn_{part}_exps.weight")}


def experts_of_layers(heard: Heard, kept: int) -> None:
    """KTransformers keeps some experts of every layer on the GPU; as many bytes are estimated as whole layers."""
    heard.launch["gpu_experts"] = kept
    model = heard.fields.get("model")
    moe = [block for block in models.ir(model).blocks if block.mlp.kind == "moe"] if model else []
    if not moe:
        heard.not_modelled.append(("--kt-num-gpu-experts", f"{model or heard.model_text} has no experts that are known"))
        return
    layers, experts = sum(len(block.layers) for block in moe), moe[0].mlp.experts
    away = round(layers * (1 - min(kept, experts) / experts))
    heard.fields["experts_on_cpu"] = away
    heard.notes.append(f"{kept} of {experts} experts of each layer on the GPU are estimated as all experts of {layers - away} layers.")
