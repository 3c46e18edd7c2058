"""Numbers that remember where they come from.

A `Quantity` is either a leaf (a source) or the result of a formula (its inputs). A `@formula` takes floats, NumPy arrays
along one axis of candidates, or quantities, and gives the same kind back: floats in, float out; any Quantity in, Quantity out.
A Quantity has no arithmetic: what is added, scaled or compared is so inside a formula, and no trail is lost.
"""

from __future__ import annotations

import ast
import functools
import inspect
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_type_hints

import numpy as np

from core.units import show

LeafKind = Literal["datasheet", "model_config", "user", "assumption", "measured", "fitted", "solved", "constant"]


@dataclass(frozen=True, slots=True)
class Source:
    """Where a leaf's value stands.

    `guess` says that nobody has a document for it; `low`/`high` is the plausible range of an assumption (same unit as the value);
    `default` is what a `user` leaf would be if the user had not set it.
    """

    key: str
    title: str
    url: str | None = None
    licence: str | None = None
    note: str | None = None
    guess: bool = False
    low: float | None = None
    high: float | None = None
    default: float | None = None


@dataclass(frozen=True, slots=True)
class Formula:
    """A pure function of numbers with the document it comes from."""

    name: str
    unit: str
    reference: str
    equation: str | None
    meaning: str
    text: str  # the body as it runs
    units: Mapping[str, str]
    body: Callable[..., Any] = field(repr=False)


@dataclass(frozen=True, slots=True, eq=False)
class Quantity:
    """A number with a name and a unit, and either a source (`kind`, `source`) or a formula and its inputs."""

    name: str
    value: Any
    unit: str
    kind: LeafKind | None = None
    source: Source | None = None
    formula: Formula | None = None
    inputs: Mapping[str, Any] = field(default_factory=dict)

    def __float__(self) -> float:
        return float(self.value)

    def __str__(self) -> str:
        return f"{self.name} = {show(float(self.value), self.unit)}"

    def __bool__(self) -> bool:
        raise TypeError(f"'{self.name}' is a cited quantity: compare its .value, or choose inside a formula")

    def walk(self) -> Iterator[Quantity]:
        """This quantity and everything below it, each object once, parents first."""
        seen: set[int] = set()
        stack: list[Quantity] = [self]
        while stack:
            node = stack.pop()
            if id(node) in seen:
                continue
            seen.add(id(node))
            yield node
            stack.extend(child for child in reversed(list(node.inputs.values())) if isinstance(child, Quantity))

    def leaves(self) -> list[Quantity]:
        """The sources of this number, each once."""
        return [node for node in self.walk() if node.formula is None]


FORMULAS: dict[str, Formula] = {}


def value(x: Any) -> Any:
    """The bare number of a quantity; anything else as it is."""
    return x.value if isinstance(x, Quantity) else x


def _unit_of(hint: Any) -> str:
    return getattr(hint, "__metadata__", ("",))[0]


def _body_text(body: Callable[..., Any]) -> str:
    """The expression after `return`, as written. Formulas are one `return` long; anything else is refused at import."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(body)))
    function = tree.body[0]
    assert isinstance(function, ast.FunctionDef)
    statements = [s for s in function.body if not (isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant))]
    if len(statements) != 1 or not isinstance(statements[0], ast.Return) or statements[0].value is None:
        raise TypeError(f"formula {body.__name__} must be a docstring and one return")
    return ast.unparse(statements[0].value).replace("np.", "")


def formula(reference: str, *, eq: str | None = None) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Make a function of keyword numbers a cited formula.

    `reference` is a key of data/catalog/sources.toml, or "definition" where the formula defines its own name.
    Raises TypeError at import when the body is more than a docstring and one return.
    """

    def decorate(body: Callable[..., Any]) -> Callable[..., Any]:
        hints = get_type_hints(body, include_extras=True)
        units = {name: _unit_of(hint) for name, hint in hints.items() if name != "return"}
        record = Formula(
            name=body.__name__,
            unit=_unit_of(hints["return"]),
            reference=reference,
            equation=eq,
            meaning=inspect.getdoc(body) or "",
            text=_body_text(body),
            units=units,
            body=body,
        )
        FORMULAS[f"{body.__module__.rsplit('.', 1)[-1]}.{body.__name__}"] = record

        @functools.wraps(body)
        def call(*, named: str | None = None, **inputs: Any) -> Any:
            cited = False
            for x in inputs.values():
                if type(x) is Quantity:
                    cited = True
                    break
            if not cited:
                return body(**inputs)
            result = body(**{key: value(x) for key, x in inputs.items()})
            return Quantity(named or record.name, result, record.unit, formula=record, inputs=inputs)

        call.formula = record  # type: ignore[attr-defined]
        return call

    return decorate


def total(parts: Iterable[Any], name: str = "total", unit: str | None = None) -> Any:
    """The sum of parts. Quantities in, Quantity out (unit of the first), with the parts as inputs."""
    listed = list(parts)
    quantities = [p for p in listed if isinstance(p, Quantity)]
    amount = functools.reduce(lambda a, b: a + b, (value(p) for p in listed), 0.0)
    if not quantities:
        return amount
    names: dict[str, Any] = {}
    for part in listed:
        label = part.name if isinstance(part, Quantity) else "constant"
        key, n = label, 2
        while key in names:
            key, n = f"{label} ({n})", n + 1
        names[key] = part
    shown = Formula("total", unit or quantities[0].unit, "definition", None, "The sum of its parts.", " + ".join(names), {}, total)
    return Quantity(name, amount, shown.unit, formula=shown, inputs=names)


def leaf(name: str, amount: Any, unit: str, kind: LeafKind, source: Source) -> Quantity:
    """A cited number that comes from outside. Made in `catalog`, `scenario` and `columns` only."""
    return Quantity(name, amount, unit, kind=kind, source=source)


def explain(quantity: Quantity, depth: int = 12) -> str:
    """The tree below a number as text: each formula as it ran, each leaf with its source; repeated parts are named once."""
    lines: list[str] = []
    seen: set[int] = set()

    def number(x: Any, unit: str) -> str:
        return show(float(x), unit) if np.ndim(x) == 0 else f"{np.size(x)} values"

    def visit(node: Any, label: str, level: int) -> None:
        pad = "  " * level
        if not isinstance(node, Quantity):
            lines.append(f"{pad}{label} = {number(node, '')}")
            return
        title = node.name if label in ("", node.name) else f"{label} ({node.name})"
        lines.append(f"{pad}{title} = {number(node.value, node.unit)}")
        if node.formula is None:
            source = node.source
            if source is not None:
                mark = " — a guess" if source.guess else ""
                span = ""
                if source.low is not None and source.high is not None:
                    span = f", plausible {number(source.low, node.unit)} to {number(source.high, node.unit)}"
                note = f"; {source.note}" if source.note else ""
                lines.append(f"{pad}  [{node.kind}] {source.title}{mark}{span}{note}")
            if id(node) not in seen and level < depth:
                seen.add(id(node))
                for key, child in node.inputs.items():
                    visit(child, key, level + 1)
            return
        if id(node) in seen:
            lines.append(f"{pad}  (explained above)")
            return
        seen.add(id(node))
        where = node.formula.reference + (f", {node.formula.equation}" if node.formula.equation else "")
        lines.append(f"{pad}  = {node.formula.text}    [{where}]")
        if level >= depth:
            lines.append(f"{pad}  … deeper parts are left out here")
            return
        for key, child in node.inputs.items():
            visit(child, key, level + 1)

    visit(quantity, "", 0)
    return "\n".join(lines)
