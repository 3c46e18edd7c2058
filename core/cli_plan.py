"""`roofcast plan`: what to run on a device for a rate of requests and a budget, as the capacity planner TR133 asks it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from core.planner import Plan

ALTERNATIVES = 4


def plan(
    model_size: Annotated[str | None, typer.Option("--model-size", help="Size of the planner's models: 0.5b, 1b, 1.5b, 3b, 8b.")] = None,
    model: Annotated[list[str] | None, typer.Option("--model", "-m", help="Or any models by name; may be given several times.")] = None,
    request_rate: Annotated[float, typer.Option("--request-rate", min=0.0001, max=1e6, help="Requests a second, at random.")] = 1.0,
    budget: Annotated[float | None, typer.Option("--budget", min=0.01, help="US dollars a month of 720 hours.")] = None,
    latency_slo: Annotated[float | None, typer.Option("--latency-slo", min=1, help="Milliseconds within which 95 % are answered.")] = None,
    quality_target: Annotated[
        float | None,
        typer.Option("--quality-target", min=0, max=1, help="The planner's composite where it was measured, else the share that is kept."),
    ] = None,
    hardware: Annotated[str, typer.Option("--hardware", help="The device (see --list-hardware), or any that the catalog knows.")] = (
        "RTX 4080 12GB"
    ),
    runtime: Annotated[list[str] | None, typer.Option("--runtime", "-r", help="Engines to try. (default: ollama, vllm, tgi)")] = None,
    prices: Annotated[
        str, typer.Option("--prices", help="tr133: the planner's rates; roofcast: purchase or rent by the catalog.")
    ] = "tr133",
    usd_per_hour: Annotated[float | None, typer.Option("--usd-per-hour", min=0, help="What an hour of the device costs you.")] = None,
    prompt_tokens: Annotated[int, typer.Option("--prompt-tokens", "-p", min=1, help="Tokens of a prompt.")] = 200,
    output_tokens: Annotated[int, typer.Option("--output-tokens", "-o", min=1, help="Tokens of an answer.")] = 128,
    context: Annotated[int, typer.Option("--context", "-c", min=2, help="Tokens that each request has room for.")] = 2048,
    utilisation: Annotated[float, typer.Option("--utilisation", min=0.05, max=0.99, help="Share of what can be served.")] = 0.7,
    list_hardware: Annotated[bool, typer.Option("--list-hardware", help="The devices that the planner has rates for.")] = False,
    list_models: Annotated[bool, typer.Option("--list-models", help="The models that it plans with by size.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Plans capacity: the cheapest configuration of a size of model for a rate of requests, then the one that loses least.

    roofcast plan --model-size 3b --request-rate 2 --budget 50
    """
    from core.cli_show import working
    from core.errors import ScenarioError
    from core.planner import RUNTIMES, Request, models_of_size, plan_dict
    from core.planner import plan as planned

    if list_hardware or list_models:
        _list(hardware=list_hardware, models=list_models)
        return
    if prices not in ("tr133", "roofcast"):
        raise ScenarioError(f"--prices must be tr133 or roofcast (it is '{prices}').")
    if not model_size and not model:
        raise ScenarioError("Say which models with --model-size, as in --model-size 3b, or with --model.")
    names = _models(model) if model else models_of_size(str(model_size))
    request = Request(
        names, request_rate, latency_slo, quality_target, hardware, budget, prices, usd_per_hour,  # type: ignore[arg-type]
        prompt_tokens, output_tokens, max(context, prompt_tokens + output_tokens), tuple(runtime or RUNTIMES), utilisation,
    )  # fmt: skip
    with working("Looking through configurations"):
        found = planned(request)
    if json:
        import json as writer

        typer.echo(writer.dumps(plan_dict(found), indent=2, ensure_ascii=False, allow_nan=False))
    else:
        show(found)


def _models(names: list[str]) -> tuple[str, ...]:
    from core.catalog import models

    return tuple(dict.fromkeys(models.model(name).id for name in names))


def _list(*, hardware: bool, models: bool) -> None:
    from core.cli_show import text_table
    from core.planner import hardware_list, model_list

    if hardware:
        rows = [[name, f"{memory:g}", f"{bandwidth:,.0f}", f"{rate:.3f}", f"{rate * 720:,.2f}"]
                for name, memory, bandwidth, rate in hardware_list()]  # fmt: skip
        text_table(["Device", "Memory, GB", "GB/s", "USD an hour", "USD a month"], rows, False)
    if models:
        text_table(["Name", "Model", "Billions of parameters"], [[name, full, f"{size:.2f}"] for name, full, size in model_list()], False)


def show(found: Plan) -> None:
    """The recommendation, the next ones, the warnings, and what was turned away."""
    from rich.text import Text

    from core.cli_show import _console, _head, _item, launch_or_none, text_table
    from core.planner import sentence
    from core.sweep import answer

    out = _console()
    first = found.options[0] if found.options else None
    out.print(Text(sentence(found), style="bold green" if first else "bold red"))
    out.print(f"Prices: {found.price_is}.")
    if first is not None:
        rows = [_row(option) for option in found.options[: 1 + ALTERNATIVES]]
        text_table(["Model", "Quant", "Engine", "N", "GB", "Quality", "tok/s", "p95 ms", "Busy", "USD/month"], rows, False)
        out.print("Quality: the planner's composite, or what is kept of the model's own full precision (with %).")
        notes = [*first.warnings, first.known.sentence] if first.known.sentence not in " ".join(first.warnings) else first.warnings
        _head(out, "Mind")
        for note in notes:
            _item(out, note)
    if found.rejected:
        _head(out, "Turned away")
        for gone in found.rejected:
            _item(out, f"{gone.count:,} by {gone.what}. {gone.sentence}".strip())
    command = launch_or_none(answer(first.candidate.scenario)) if first else None
    if command:
        _head(out, "Start it with")
        out.print(Text(command), soft_wrap=True)


def _row(option: Any) -> list[str]:
    from core.planner import option_dict
    from core.words import model_name

    told = option_dict(option)
    quality = "unknown" if told["quality"] is None else f"{told['quality']:.3g}" if option.score is not None else f"{told['quality']:.1%}"
    return [
        model_name(told["model"]), told["quant"], told["backend"], str(told["n_agents"]), f"{told['vram_gb']:.1f}", quality,
        f"{told['throughput_tps']:.0f}", f"{told['p95_latency_ms']:,}", f"{told['utilisation']:.0%}", f"{told['monthly_cost']:,.2f}",
    ]  # fmt: skip
