"""`roofcast suggest`: what to run a model with on a cloud instance or on one's own machine, and why."""

from __future__ import annotations

from typing import Annotated, Any

import typer


def suggest(
    model: Annotated[
        str, typer.Option("--model", "-m", help="The model, as people call it or by its Hugging Face id.", show_default=False)
    ],
    instance: Annotated[str | None, typer.Option("--instance", help="A cloud instance (see roofcast instances).")] = None,
    gpu: Annotated[str | None, typer.Option("--gpu", "-g", help="Your own machine's device, instead of an instance.")] = None,
    count: Annotated[int | None, typer.Option("--count", "-n", help="How many of them.", min=1, max=4096)] = None,
    ram: Annotated[float | None, typer.Option("--ram", help="Host memory in GB; on a Mac its unified memory.")] = None,
    system: Annotated[str | None, typer.Option("--system", help="A shipped machine (see roofcast hardware).")] = None,
    prompt_tokens: Annotated[int, typer.Option("--prompt-tokens", "-p", min=1, help="Tokens of a prompt.")] = 512,
    output_tokens: Annotated[int, typer.Option("--output-tokens", "-o", min=1, help="Tokens of an answer.")] = 256,
    tp: Annotated[
        int | None, typer.Option("--tp", min=1, help="Set by hand: tensor parallel. Risks are named, nothing is refused.")
    ] = None,
    quant: Annotated[str | None, typer.Option("--quant", "-q", help="Set by hand: quantisation.")] = None,
    context: Annotated[int | None, typer.Option("--context", "-c", min=1, help="Set by hand: longest context.")] = None,
    users: Annotated[int | None, typer.Option("--users", "-u", min=1, help="Set by hand: requests at once.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Suggests tensor parallelism, quantisation, longest context and users at once, with a sentence of why for each.

    roofcast suggest --model "mistral 7b instruct v0.3" --instance g5.xlarge
    """
    from core import recommend_words as words
    from core.catalog.quants import quant as quant_named
    from core.recommend import Form, form_of, model_named
    from core.recommend import suggest as suggested

    found = suggested(model_named(model), _target(instance, gpu, count, ram, system), prompt_tokens, output_tokens)
    by_hand = {"tp": tp, "quant": quant_named(quant).id if quant else None, "max_context": context, "concurrency": users}
    changes = {name: amount for name, amount in by_hand.items() if amount is not None}
    warnings: list[str] = []
    if changes:
        start = form_of(found.setup) if found.setup else Form(1, None, prompt_tokens + output_tokens, 1, prompt_tokens, output_tokens)
        form = Form(**{**{name: getattr(start, name) for name in Form.__dataclass_fields__}, **changes})
        warnings = words.advice(found, form)
    if json:
        import json as writer

        from core.response import finite

        typer.echo(writer.dumps(finite({**words.as_dict(found), "warnings": warnings}), indent=2, ensure_ascii=False, allow_nan=False))
    else:
        _show(found, warnings)


def _target(instance: str | None, gpu: str | None, count: int | None, ram: float | None, system: str | None) -> Any:
    from core.catalog import hardware
    from core.errors import ScenarioError
    from core.recommend import instance_target, own_system, own_target
    from core.solve_machines import profiled

    if sum(given is not None for given in (instance, gpu, system)) != 1:
        raise ScenarioError("Say which machine with one of --instance, --gpu and --system, as in --instance g5.xlarge.")
    if instance is not None:
        return instance_target(instance)
    if system is not None:
        return own_target(profiled(hardware.system(system)))
    return own_target(own_system(str(gpu), count or 1, ram))


def _show(found: Any, warnings: list[str]) -> None:
    from rich.text import Text

    from core import recommend_words as words
    from core.cli_show import _console, _head, _item, launch_or_none

    out = _console()
    out.print(Text(words.headline(found), style="bold green" if found.feasible else "bold yellow" if found.setup else "bold red"))
    if not found.feasible:
        out.print(words.reason(found))
    if found.feasible:
        _setup(out, found, found.setup, None)
    else:
        if found.smaller:
            _head(out, f"Option A: {found.smaller.quant} on {found.target.label}")
            _setup(out, found, found.smaller, None)
        if found.larger:
            target, setup = found.larger
            price = f", ${target.usd_per_h:.2f} an hour" if target.usd_per_h else ""
            option = "Option B" if found.smaller else "The nearest that holds it"
            _head(out, f"{option}: {setup.quant} on {target.label}{price}", "full precision, nothing lost")
            _setup(out, found, setup, target)
        if not found.larger:
            out.print("No instance of the catalog holds it in full precision.")
    if warnings:
        _head(out, "Mind, for what you set")
        for text in warnings:
            _item(out, text)
    command = launch_or_none(found.setup.answer) if found.setup else None
    if command:
        _head(out, "Start it with")
        out.print(Text(command), soft_wrap=True)


def _setup(out: Any, found: Any, setup: Any, target: Any) -> None:
    from rich.padding import Padding
    from rich.text import Text

    from core import recommend_words as words

    for line in words.fields(found, setup, target):
        out.print(Text(f"  {line.name}: {line.shown}", style="bold"))
        out.print(Padding(Text(line.why), (0, 0, 0, 4)))
