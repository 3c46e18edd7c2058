"""One model for the inspector: what is known of it, its totals as cited numbers, and how they agree with what was published."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from core import choices
from core.catalog.files import source, sources
from core.catalog.models import ir
from core.catalog.quants import quant, quants
from core.errors import RoofcastError
from core.hub_names import read_change, split_changes, with_changes
from core.ir import ModelIR
from core.model_facts import known
from core.quantity import Quantity, leaf, total
from core.units import significant
from core.weights import weight_parts, weight_table

Row = dict[str, Any]
GROUPS = {
    "embedding": "Embedding",
    "attention": "Attention",
    "mlp": "Feed-forward",
    "router": "Router",
    "experts": "Experts",
    "shared_experts": "Shared experts",
    "norm": "Norms",
    "head": "Output head",
    "mtp": "Prediction module",
    "vision": "Vision tower",
}


@dataclass(frozen=True, slots=True)
class Inspected:
    """A model that is here: its facts as plain data, and its layout."""

    facts: Row
    ir: ModelIR

    @property
    def published_as(self) -> str:
        """The catalog's id of the quantisation that its makers published."""
        return str(self.facts["weights_quant"])


def inspect_model(name: str) -> Inspected:
    """What is known of a model of the catalog or one that was fetched. Never asks the network. Raises as `model_facts.known`."""
    facts = known(name)
    return Inspected(facts, ir(facts["id"]))


def model_option(linked: str | None) -> str | None:
    """The name by which a model that a link names stands among the options; None where it names none."""
    try:
        return choices.exact("model", linked) if linked else None
    except RoofcastError:
        return None


def model_options(linked: str | None = None) -> list[str]:
    """The catalog's models, and before them one that a link names beside it: fetched, or with fields set by hand."""
    names, name = choices.model_names(), model_option(linked)
    return names if name is None or name in names else [name, *names]


def quant_options(found: Inspected) -> list[str]:
    """Quantisations to weigh a model in: as published first, then the catalog's."""
    return [found.published_as, *(name for name in quants() if name != found.published_as and "UNKNOWN" not in name)]


def parameters(model: ModelIR, *, active: bool = False) -> Quantity:
    """Parameters by group of tensors; `active` counts of the experts only those that one token passes through."""
    cited = source("tensor-shapes", note=model.id)
    counts: dict[str, float] = {}
    for tensor in model.tensors:
        if tensor.group == "mtp":
            continue
        used = tensor.elements
        if active and tensor.group == "experts":
            used = used * model.block(tensor.block).mlp.top_k // tensor.shape[0]
        counts[tensor.group] = counts.get(tensor.group, 0) + used
    name = "active parameters" if active else "parameters"
    found: Quantity = total([leaf(GROUPS[group].lower(), float(n), "", "model_config", cited) for group, n in counts.items()], name)
    return found


def weights(model: ModelIR, quant_id: str) -> Quantity:
    """Bytes of all weights in a quantisation, cited down to formats and shapes."""
    found: Quantity = total(weight_parts(weight_table(model, quant_id)), f"weights as {quant(quant_id).id}")
    return found


def published_check(found: Inspected) -> tuple[str, str]:
    """How the parameters compare with the published total: a mark ("exact", "explained", "differs", "unknown") and a sentence."""
    said = found.facts.get("published_parameters")
    if not said:
        return "unknown", "No published total is at hand for this model."
    if any(note.endswith("set by you") or ", set by you" in note for note in found.ir.assumed.values()):
        return "explained", f"Published: {said:,}; fields are set by hand, so the total is another one."
    ours, module = found.ir.parameters, found.ir.mtp_parameters
    tower = 0 if found.ir.tower is None else found.ir.tower.parameters
    beside = {"the prediction module": module, "the vision tower": tower}
    for more in ((), ("the prediction module",), ("the vision tower",), tuple(beside)):
        if said == ours + sum(beside[what] for what in more):
            told = " and ".join(f"{what}'s {beside[what]:,}" for what in more)
            return "exact", f"Equals the published total of {said:,}{f', with {told}' if told else ''}."
    nearest = min((ours, ours + module), key=lambda amount: abs(amount - said))
    part = abs(said / nearest - 1)
    share = f"{part:.2%}" if part >= 1e-4 else "less than 0.01%"
    than = " than here with the prediction module" if nearest != ours else ""
    gap = f"The published total is {said:,}: {abs(said - nearest):,} {'more' if said > nearest else 'fewer'}{than} ({share})"
    covers = found.facts.get("published_covers")
    if covers and covers != "weights":
        return "explained", f"{gap}, for it counts {covers}."
    if found.ir.native_quant and part < 1e-3:
        return "explained", f"{gap}. Totals of quantised checkpoints often count scales too, which would be of this order."
    return "differs", f"{gap}. Nothing at hand explains it."


def headline(found: Inspected) -> str:
    """The model in a sentence."""
    model = found.ir
    active = f", {short(model.active_parameters)} of them active for a token," if model.active_parameters < model.parameters else ""
    tower = "" if model.tower is None else f", and a vision tower of {short(model.tower.parameters)}"
    return f"{model.id} has {short(model.parameters)} parameters{active} in {model.layers} layers{tower}"


def context(model: ModelIR) -> Quantity:
    """The longest context, in tokens, as the config says."""
    return leaf("longest context", float(model.max_context), "tok", "model_config", source("tensor-shapes", note=model.id))


def short(count: float) -> str:
    """A count of parameters as people say it: "8.19 B", "413 M"."""
    step, letter = next(((step, letter) for step, letter in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")) if count >= step), (1, ""))
    return f"{significant(count / step)} {letter}".strip()


def set_by_hand(name: str, text: str) -> str:
    """The model's name with one more field of its config set by hand, "num_hidden_layers=40".

    Raises ScenarioError where it cannot be read or the model would make no sense with it.
    """
    base, changes = split_changes(name)
    changed = with_changes(base, {**changes, **read_change(text)})
    known(changed)
    return changed


def as_published(name: str) -> str:
    """The model's name without what was set by hand."""
    return split_changes(name)[0]


def field_rows(found: Inspected) -> list[Row]:
    """Every field that was read: its value, where it comes from, and in which of five ways."""
    return [
        {
            "Field": name,
            "Value": str(field["value"]),
            "From": (way := _way(field["origin"])),
            "Origin": "" if way == field["origin"] else field["origin"],
        }
        for name, field in found.facts["fields"].items()
    ]


def record_source(found: Inspected) -> str:
    """Who says what the fields say: the title of the catalog's source, or the file that was read."""
    key = str(found.facts["source"])
    return sources()[key].title if key in sources() else key


def _way(origin: str) -> str:
    if "set by you" in origin:
        return "by hand"
    if origin.startswith("assumed") or "a guess" in origin:
        return "assumed"
    return "derived" if "follows from" in origin else "catalog" if origin.startswith("catalog") else "the model's files"
