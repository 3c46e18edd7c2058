"""`roofcast model`: one model of the catalog, the Hub or a GGUF file, with where each figure comes from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import typer

SHOWN = 60  # characters of a field's value


def show_model(
    name: Annotated[str, typer.Argument(metavar="ID|URL|PATH", help="owner/name[@revision], a link, a GGUF file, or a catalog name.")],
    change: Annotated[list[str] | None, typer.Option("--set", help="Set a field of its config by hand: num_hidden_layers=40.")] = None,
    offline: Annotated[bool, typer.Option("--offline", help="Never ask the network; ROOFCAST_OFFLINE=1 says the same.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Reads any model of the Hugging Face Hub or any GGUF file, and shows what is known of it.

    A gated model needs HF_TOKEN. Only headers are fetched; --model takes the name that is shown.

    roofcast model Qwen/Qwen3-8B
    """
    from core.cli_show import working
    from core.hub_names import read_change
    from core.model_facts import facts

    changes: dict[str, Any] = {}
    for text in change or ():
        changes.update(read_change(text))
    with working(f"Reading {name}"):
        found = facts(name, changes, no_network=offline)
    if json:
        import json as writer

        typer.echo(writer.dumps(found, indent=2, ensure_ascii=False, allow_nan=False))
    else:
        typer.echo("\n".join(lines(found)))


def lines(found: Mapping[str, Any]) -> Iterator[str]:
    """The facts as aligned text."""
    from core.units import show

    yield f"{found['id']}  ({found['family']}, from {found['source']})"
    active = f", {found['active_parameters']:,} active" if found["active_parameters"] < found["parameters"] else ""
    rows = [("Parameters", f"{found['parameters']:,}{active}")]
    if found["prediction_module_parameters"]:
        rows.append(("Prediction module", f"{found['prediction_module_parameters']:,} more"))
    if found.get("published_parameters"):
        rows.append(("Published", f"{found['published_parameters']:,}, counting {found['published_covers']}"))
    rows.append(("Layers", ", ".join(f"{count} {kind}" for kind, count in found["blocks"].items())))
    rows.append(("KV cache", f"{show(found['kv_bytes_per_token'], 'B')} a token at 16 bits"))
    if found["state_bytes_per_sequence"]:
        rows.append(("State", f"{show(found['state_bytes_per_sequence'], 'B')} a sequence"))
    exact = "exact, by the header" if found["weights_from"] == "header" else "by the layout"
    rows.append(("Weights", f"{show(found['weights_bytes'], 'B')} as {found['weights_quant']}, {exact}"))
    if "file_bytes" in found:
        rows.append(("Files", f"{show(found['file_bytes'], 'B')} in {len(found['files'])} ({found['file_bytes']:,} bytes)"))
        total = sum(found["dtypes_bytes"].values()) or 1
        rows.append(("Types", ", ".join(f"{dtype} {amount / total:.1%}" for dtype, amount in found["dtypes_bytes"].items())))
    if tower := found.get("vision_tower"):
        said = "; ".join(filter(None, (tower["weights_from"], tower.get("origin"), *tower["assumed"].values())))
        rows.append(("Vision tower", f"{tower['parameters']:,} parameters more, {show(tower['weights_bytes'], 'B')} ({said})"))
    if found.get("vision_files"):
        rows.append(("Vision files", ", ".join(found["vision_files"])))
    for title, text in rows:
        yield f"  {title:<18}{text}"
    yield "\nFields"
    width = max(len(name) for name in found["fields"])
    for name, field in found["fields"].items():
        value = str(field["value"])
        yield f"  {name:<{width}}  {value if len(value) <= SHOWN else value[: SHOWN - 1] + '…'}  ({field['origin']})"
    for title, texts in (("Assumed", [f"{name}: {note}" for name, note in found["assumed"].items()]), ("Notes", found["notes"])):
        if texts:
            yield f"\n{title}"
            yield from (f"  {text}" for text in texts)
    yield f'\nAsk about it with --model "{found["id"]}"'
