"""Which words of a launch command change from one scenario to another: what to add, change and leave out."""

from __future__ import annotations

import shlex

from core.answer import Estimate
from core.errors import RoofcastError
from core.estimate import launch
from core.launch_flags import table_of

_EXPORT, _PARAMETER, _FROM = "export ", "PARAMETER ", "FROM "


def flags_of(command: str, runtime: str) -> dict[str, str]:
    """The flags, variables and parameters of a written command, each with its value ("" for a switch)."""
    table = table_of(runtime)
    found: dict[str, str] = {}
    for line in command.split("\n"):
        if line.startswith(_EXPORT):
            name, _, amount = line.removeprefix(_EXPORT).partition("=")
            found[name] = shlex.split(amount)[0] if amount else ""
        elif line.startswith(_FROM):
            found["FROM"] = line.removeprefix(_FROM)
        elif line.startswith(_PARAMETER):
            name, _, amount = line.removeprefix(_PARAMETER).partition(" ")
            found[name] = amount
        elif not line.startswith("#") and table is not None:
            found |= _words(line)
    return found


def _words(line: str) -> dict[str, str]:
    found: dict[str, str] = {}
    try:
        words = shlex.split(line)
    except ValueError:
        return {}
    at = 0
    while at < len(words):
        word = words[at]
        at += 1
        name, equals, amount = word.partition("=")
        if name.isupper() and equals and "-" not in name:
            found[name] = amount
        elif word.startswith("-") and len(word) > 1 and not word[1].isdigit():
            follows = words[at] if at < len(words) and not words[at].startswith("-") else ""
            found[name] = amount if equals else follows
            at += bool(follows and not equals)
    return found


def flag_changes(before: Estimate, after: Estimate) -> tuple[str, ...]:
    """What to do to the command of `before` so that it starts `after`: "change -c 8192 to -c 4096", "add -fa on".

    Empty where both are started alike, or where no command can be written; another runtime needs another command.
    """
    if before.resolved["runtime"] != after.resolved["runtime"]:
        return ()
    try:
        old, new = (flags_of(launch(found), found.resolved["runtime"]) for found in (before, after))
    except RoofcastError:
        return ()
    told = []
    for name in dict.fromkeys((*old, *new)):
        was, becomes = (f"{name} {flags[name]}".strip() if name in flags else None for flags in (old, new))
        if was == becomes:
            continue
        if was is None:
            told.append(f"add {becomes}")
        elif becomes is None:
            told.append(f"leave out {was}")
        else:
            told.append(f"change {was} to {becomes}")
    return tuple(told)
