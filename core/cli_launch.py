"""What `roofcast parse` prints: the scenario of a pasted launch command, what was not understood, and the command written back."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from core.cli_options import OPTIONS, read_scenario
from core.errors import ScenarioError
from core.launch_flags import HARMLESS
from core.launch_parse import Parsed, parse

if TYPE_CHECKING:
    from core.scenario import Scenario

_PROMPT = 512  # asked where the command, as any server's, says nothing of prompts
_OPTION = {option.knob: option.flags[0] for option in OPTIONS}


def pasted(command: str) -> Parsed:
    """The command, or what stands on standard input for "-", as it was understood. Raises ScenarioError."""
    return parse(sys.stdin.read() if command == "-" else command)


def asked(parsed: Parsed, knobs: Mapping[str, Any]) -> Scenario:
    """The scenario of a command on the machine and under the load that the options name. Raises RoofcastError."""
    given = {**parsed.fields, **{knob: amount for knob, amount in knobs.items() if amount is not None}}
    if "model" not in given:
        how = "read it in by roofcast model ID, or name one alike with --model"
        raise ScenarioError(f"The model '{parsed.model_text}' is not in the catalog: {how}.")
    if parsed.version is not None:
        given.setdefault("runtime_version", parsed.version)
    if "prompt_tokens" not in given:
        room = (given.get("max_context") or _PROMPT * 4) - given.get("context_depth", 0)
        given["prompt_tokens"] = max(1, min(_PROMPT, room // 2))
    given.setdefault("output_tokens", max(1, min(128, (given.get("max_context") or _PROMPT * 4) - given["prompt_tokens"])))
    return read_scenario(given)


def record(parsed: Parsed) -> dict[str, Any]:
    """Plain data for --json."""
    return {
        "runtime": parsed.runtime,
        "runtime_version": parsed.version,
        "model_text": parsed.model_text,
        "scenario": parsed.fields,
        "not_modelled": [{"what": what, "why": why} for what, why in parsed.not_modelled],
        "unknown": list(parsed.unknown),
        "notes": list(parsed.notes),
        "command": parsed.command(),
    }


def lines(parsed: Parsed) -> list[str]:
    """For people: each knob with its option, then what changes nothing, then the command written back."""
    order = sorted(parsed.fields, key=lambda knob: knob != "model")
    found = [f"{_OPTION.get(knob, knob):<20} {parsed.fields[knob]}" for knob in order]
    if parsed.version:
        found.append(f"{_OPTION['runtime_version']:<20} {parsed.version}")
    if "model" not in parsed.fields:
        found.insert(0, f"{'--model':<20} ? ({parsed.model_text})")
    found += ["", *parsed.notes] if parsed.notes else []
    told = [f"  {what}: {why}" for what, why in parsed.not_modelled if why != HARMLESS]
    quiet = [what for what, why in parsed.not_modelled if why == HARMLESS]
    if told:
        found += ["", "Not modelled", *told]
    if quiet:
        found += ["", f"Without effect on memory or speed: {', '.join(quiet)}"]
    if parsed.unknown:
        found += ["", f"Unknown, and so left out: {', '.join(parsed.unknown)}"]
    return [*found, "", "Written back", *(f"  {line}" for line in parsed.command().split("\n"))]
