"""The command that starts a runtime as a scenario has it: the exact flags, to be pasted into a shell."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from core.catalog.runtimes import runtime
from core.errors import ScenarioError
from core.launch_flags import Flag, Table, table_of
from core.launch_words import ALL_LAYERS, LaunchKnobs, Said, gguf, say

__all__ = ["ALL_LAYERS", "LaunchKnobs", "launch_command"]

_OPTIONS = "options.yaml"


def launch_command(resolved: LaunchKnobs | Mapping[str, Any]) -> str:
    """Shell lines that start the runtime as resolved; keys of a mapping that are no launch knob are passed over.

    A runtime whose command line is not described gets a comment instead of a command.
    Raises CatalogError for an unknown runtime and ScenarioError for a name that no shell line should hold.
    """
    if isinstance(resolved, LaunchKnobs):
        knobs = resolved
    else:
        known = {field.name for field in fields(LaunchKnobs)}
        knobs = LaunchKnobs(**{k: v for k, v in resolved.items() if k in known and v is not None})
    names = (knobs.model, knobs.quant, knobs.kv_dtype, knobs.file, knobs.repository, knobs.repository_file, knobs.url, knobs.revision)
    for text in (*names, *knobs.notes):
        # Knobs may come from a link that someone else made, and the result is pasted into a shell.
        if text and (text.startswith("-") or not text.isprintable()):
            raise ScenarioError(f"No launch command can be written for the name {text!r}; give a plain name.")
    entry = runtime(knobs.runtime)
    table = table_of(entry.id)
    if table is None:
        return f"# {entry.name}'s command line is not described yet: no launch command is written for it."
    said = say(knobs, entry.at(knobs.runtime_version), table)
    flags = [flag for flag in table.to_write() if said.words.get(flag.knob or "") is not None]
    known = {str(flag.knob) for flag in flags if flag.known_at(knobs.runtime_version)}
    for flag in flags:
        if flag.knob not in known and flag.to_version is None:
            said.comments.append(f"{flag.names[0]} is left out: it came with {entry.name} {flag.from_version}.")
    return "\n".join([*(f"# {line}" for line in said.comments), *_lines(said, knobs, table)])


@dataclass(slots=True)
class _Spelled:
    """What the flags of a table say, by where it stands."""

    line: list[str] = field(default_factory=list)
    variables: dict[str, str] = field(default_factory=dict)
    file: dict[str, str] = field(default_factory=dict)


def _spelled(words: Mapping[str, Any], table: Table, only: tuple[Flag, ...]) -> _Spelled:
    found, done = _Spelled(), set()
    for flag in only:
        meaning = words.get(flag.knob or "")
        if meaning is None or flag.knob in done:
            continue
        name = flag.names[0]
        if flag.kind == "switch":
            if meaning != flag.sets and not (table.negates and name.startswith("--")):
                continue
            text = "true" if meaning else "false"
            spelled = [name] if meaning == flag.sets else [f"--no-{name.lstrip('-')}"]
        else:
            said = flag.spelling(meaning)
            if said is None:
                continue
            text, spelled = said, [name, said]
        done.add(flag.knob)
        if name.startswith("-"):
            found.line += spelled
        elif name.isupper():
            found.variables[name] = text
        else:
            found.file[name] = text
    return found


def _lines(said: Said, knobs: LaunchKnobs, table: Table) -> list[str]:
    flags = tuple(flag for flag in table.to_write() if flag.known_at(knobs.runtime_version))
    if table.runtime == "ollama":
        return _ollama(_spelled(said.words, table, flags), knobs)
    written: list[str] = []
    spelled = _spelled(said.words, table, flags)
    if spelled.file:
        spelled = _spelled({**said.words, "options_file": _OPTIONS}, table, flags)
        written = [f"cat > {_OPTIONS} <<'EOF'", *_nested(spelled.file), "EOF"]
    start = [*said.start, *f"{table.folder}{table.commands[0]}".split()]
    if table.model == "positional":
        start.append(said.words["model"])
    variables = "".join(f"{key}={shlex.quote(text)} " for key, text in spelled.variables.items())
    return [*written, variables + shlex.join([*start, *spelled.line])]


def _nested(settings: Mapping[str, str]) -> list[str]:
    """YAML of dotted keys; those of one section stand together in the table."""
    lines: list[str] = []
    section = ""
    for key, text in settings.items():
        head, dot, tail = key.partition(".")
        if dot and head != section:
            lines.append(f"{head}:")
        section = head if dot else ""
        lines.append(f"  {tail}: {text}" if dot else f"{key}: {text}")
    return lines


def _ollama(spelled: _Spelled, knobs: LaunchKnobs) -> list[str]:
    file = gguf(knobs)
    made = knobs.name.lower()
    if knobs.file is not None:
        last = file.rsplit("/", 1)[-1].lower()
        # What a library's name loads must not be made under that name again.
        made = last.removesuffix(".gguf") if last.endswith(".gguf") else f"{last.replace(':', '-')}-own"
    loads = file if knobs.file is not None else f"./{file}"
    return [
        *(f"export {key}={shlex.quote(text)}" for key, text in spelled.variables.items()),
        "ollama serve &",
        "cat > Modelfile <<'EOF'",
        f"FROM {loads}",
        *(f"PARAMETER {key} {text}" for key, text in spelled.file.items()),
        "EOF",
        shlex.join(["ollama", "create", made, "-f", "Modelfile"]),
        shlex.join(["ollama", "run", made]),
    ]
