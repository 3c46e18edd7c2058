"""From a launch command to the scenario it runs: what `core.launch` writes, and what people paste.

Every word ends up in a knob, among what is not modelled (with why), or among what is unknown: nothing is dropped silently.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from core.errors import ScenarioError
from core.launch import LaunchKnobs, launch_command
from core.launch_flags import HARMLESS, Flag, Table, tables
from core.launch_heard import Heard, understand
from core.launch_shell import Call, Script, program_name, read_shell
from core.scenario import Scenario, from_flat

_ON_OFF = frozenset({"true", "false", "on", "off", "0", "1"})
_NULL = ("null", "~")
_LISTS = ("tensor_split", "layer_partition", "overrides", "visible", "devices", "model", "file")  # whose commas do not part several values
_SIGNED = re.compile(r"-\d")
# Commands that stand beside a launch and say nothing of it.
_BESIDE = frozenset(
    ["cd", "source", "pip", "git", "mkdir", "wait", "sleep", "echo", "cat", "curl", "wget", "hf", "huggingface-cli", "clear"]
)


@dataclass(frozen=True, slots=True)
class Parsed:
    """What a command says. `fields` are flat scenario knobs; the machine is the user's to say."""

    runtime: str
    fields: dict[str, Any]
    model_text: str
    not_modelled: tuple[tuple[str, str], ...]  # what stands in the command, and why it changes nothing here
    unknown: tuple[str, ...]
    notes: tuple[str, ...]
    knobs: LaunchKnobs
    version: str | None = None  # that a container's image names

    def command(self) -> str:
        """The command written back from what was understood."""
        return launch_command(self.knobs)

    def scenario(self, **machine: Any) -> Scenario:
        """The scenario on a machine (`device`, `count`, `ram_gb` …), whose knobs win. Raises ScenarioError."""
        given = {**self.fields, **{name: amount for name, amount in machine.items() if amount is not None}}
        if "model" not in given:
            raise ScenarioError(f"The model '{self.model_text}' is not in the catalog: read it in by roofcast model ID, or name one alike.")
        if self.version is not None:
            given.setdefault("runtime_version", self.version)
        return from_flat(given)


def parse(text: str) -> Parsed:
    """What a pasted launch command, script or Modelfile means. Raises ScenarioError, one sentence, where it cannot be read."""
    script = _modelfile(text) or read_shell(text)
    found: list[tuple[Table, str, Call, list[str]]] = []
    beside: list[str] = []
    for call in script.calls:
        match = _program(call)
        if match is not None:
            found.append((*match[:2], call, match[2]))
        elif call.words and program_name(call.words[0]) not in _BESIDE:
            beside.append(call.words[0])
    if not found:
        raise ScenarioError(_nothing_starts(script, beside))
    runtimes = sorted({table.runtime for table, *_ in found})
    if len(runtimes) > 1 or (len(found) > 1 and runtimes != ["ollama"]):
        raise ScenarioError(f"The text starts {len(found)} servers ({', '.join(runtimes)}); paste one of them.")
    reader = _Reader(found[0][0])
    for _, program, call, words in found:
        reader.variables(call, program)
        if call.around:
            reader.notes.append(f"What starts the command is left aside: {'; '.join(call.around)}.")
        if call.image:
            reader.notes.append("Of the container's own options only its variables and devices are read.")
        reader.line(_fork(reader, words), program)
    reader.files(script, found[0][1])
    reader.unknown += [f"the command {name}" for name in beside]
    return reader.parsed(found[0][2])


def _nothing_starts(script: Script, beside: Sequence[str]) -> str:
    known = ", ".join(table.commands[0] for table in tables().values() if not table.extends)
    image = next((call.image for call in script.calls if call.image), None)
    what = f"The image {image}" if image else f"'{beside[0]}'" if beside else "The text"
    return f"{what} starts no runtime whose command line is known; known are {known} and their containers."


def _modelfile(text: str) -> Script | None:
    """A Modelfile pasted alone."""
    if not re.match(r"(?:[ \t]*(?:#[^\n]*)?\n)*[ \t]*FROM[ \t]+\S", text, re.I):
        return None
    return Script([Call(["ollama", "create"])], {"Modelfile": text})


def _program(call: Call) -> tuple[Table, str, list[str]] | None:
    """The table and command that a call starts, and the words after it."""
    words = list(call.words)
    folder = words[0] if words else ""
    if words:
        words[0] = program_name(words[0])
        if re.fullmatch(r"python[\d.]*|py", words[0]):
            words = ["python", *words[1:]]
            while len(words) > 1 and words[1] in ("-u", "-O", "-B"):
                del words[1]
        elif words[0].endswith(".llamafile"):
            return tables()["llamafile"], "llamafile", (["-m", words[0]] if "-m" not in words else []) + words[1:]
    best: tuple[Table, str, int] | None = None
    for table in tables().values():
        for command in table.commands:
            starts = command.split()
            longer = best is None or len(starts) > best[2] or (len(starts) == best[2] and best[0].extends and not table.extends)
            if words[: len(starts)] == starts and longer:
                best = (table, command, len(starts))
    if best is not None:
        fork = next((t for t in tables().values() if t.extends == best[0].runtime and t.folder and t.folder in folder), best[0])
        return fork, best[1], words[best[2] :]
    if call.image is not None:
        image = re.sub(r"[:@][^/]*$", "", call.image).removeprefix("docker.io/")
        for table in tables().values():
            if image in table.images:
                return table, table.commands[0], [word for word in call.words if word]
    return None


def _fork(reader: _Reader, words: list[str]) -> list[str]:
    """The words; where one is a flag of a fork alone, the reader goes on as that fork."""
    for table in tables().values():
        if table.extends == reader.table.runtime and set(words) & set(table.hints):
            reader.table = table
    return words


class _Reader:
    """Reads words, variables and files into settings, by one table."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self.words: dict[str, Any] = {}
        self.positional: str | None = None
        self.not_modelled: list[tuple[str, str]] = []
        self.unknown: list[str] = []
        self.notes: list[str] = []
        self.said_by: dict[str, Flag] = {}  # the flag behind each of `words`

    def line(self, words: list[str], program: str) -> None:
        """The words after a command."""
        at = 0
        while at < len(words):
            word = words[at]
            at += 1
            if word.startswith("-") and word not in ("-", "--") and not _SIGNED.match(word):
                at += self._flag(word, words[at:], program)
            elif self.positional is None and self.table.model == "positional":
                self.positional = word
            elif word not in ("-", "--") and word != self.positional:
                self.unknown.append(word)

    def _flag(self, word: str, rest: list[str], program: str) -> int:
        """One flag; how many of the words after it belong to it."""
        name, equals, given = word.partition("=")
        if level := re.fullmatch(r"(-O)(\d|\{.*)", word):
            name, equals, given = level[1], "=", level[2]
        found = self.table.find(name, program)
        if found is None:
            parent = self.table.find(name.partition(".")[0], program) if "." in name else None
            taken = not equals and bool(rest) and (not rest[0].startswith("-") or bool(_SIGNED.match(rest[0])))
            shown = f"{name} {given if equals else rest[0] if taken else ''}".strip()
            if parent is not None:
                self.not_modelled.append((shown, parent[0].why or "no part of the estimate"))
            else:
                self.unknown.append(shown)
            return int(taken)
        flag, denied = found
        values, used = _values(flag, name, [given] if equals else None, rest)
        if denied:
            flipped = not flag.meaning(name, values[0] if values else "") if flag.knob else None
            self._set(flag, name, flipped, "")
        elif flag.takes == "nothing":
            self.setting(flag, name, values[0] if values else "", program)
        else:
            self.setting(flag, name, " ".join(values), program)
        return used

    def setting(self, flag: Flag, name: str, spelled: str, program: str) -> None:
        """One setting, wherever it stood."""
        if spelled.startswith("{") and name.startswith("-") and flag.why != HARMLESS:
            self._json(flag, name, spelled, program)
            return
        if flag.knob is None:
            self.not_modelled.append((name if flag.why == HARMLESS else f"{name} {spelled}".strip(), flag.why or ""))
            return
        if "bench" in program and flag.knob not in _LISTS and "," in spelled:
            self.notes.append(f"{name} names several values; the first is taken.")
            spelled = spelled.split(",")[0]
        if flag.repeats:
            self.words.setdefault(flag.knob, []).append(spelled)
            return
        self._set(flag, name, flag.meaning(name, spelled), spelled)

    def _set(self, flag: Flag, name: str, meaning: Any, spelled: str) -> None:
        if flag.knob is None:
            self.not_modelled.append((name, flag.why or ""))
        elif meaning is None:
            default = "is the runtime's default, or leaves it to the checkpoint"
            self.notes.append(f"{name} {flag.note}." if (flag.note or "").startswith(f"{spelled} ") else f"{name} {spelled} {default}.")
            if self.said_by.get(flag.knob) is flag:  # said twice: the last counts
                del self.words[flag.knob]
                del self.said_by[flag.knob]
        else:
            self.words[flag.knob] = meaning
            self.said_by[flag.knob] = flag

    def _json(self, flag: Flag, name: str, spelled: str, program: str) -> None:
        try:
            content = json.loads(spelled)
        except (ValueError, RecursionError):
            raise ScenarioError(f"{name} needs a JSON object in quotes, such as '{{\"key\": 1}}' (it is {spelled[:60]}).") from None
        rest: list[str] = []
        for key, amount in _leaves(content):
            inner = self.table.find(f"{name}.{key}", program)
            if inner is not None and inner[0].knob:
                self.setting(inner[0], f"{name}.{key}", amount, program)
            else:
                rest.append(key)
        if rest:
            self.not_modelled.append((f"{name} ({', '.join(rest)})", flag.why or "no part of the estimate"))

    def variables(self, call: Call, program: str) -> None:
        """Environment variables of a call."""
        for name, content in call.variables.items():
            found = self.table.find(name, program)
            if found is None:
                self.unknown.append(f"the variable {name}")
            else:
                self.setting(found[0], name, content, program)

    def files(self, script: Script, program: str) -> None:
        """Files that the script writes for the runtime: a Modelfile, or YAML options."""
        wanted = self.words.pop("options_file", None)
        for name, body in script.files.items():
            if self.table.runtime == "ollama":
                self._pairs(_modelfile_lines(body), program)
            elif name.rpartition("/")[2] == str(wanted).rpartition("/")[2]:
                line = dict(self.words)
                self._pairs(_yaml_leaves(body), program)
                if self.table.runtime != "tensorrt-llm":  # whose file goes before its line
                    self.words |= line
                wanted = None
            else:
                self.unknown.append(f"the file {name}")
        if wanted is not None:
            self.not_modelled.append((str(wanted), "the file's content is not part of the command: paste it with the command"))

    def _pairs(self, pairs: Iterator[tuple[str, str]], program: str) -> None:
        for key, content in pairs:
            if key == "FROM":
                self.words[key] = content
                continue
            named = key if self.table.find(key, program) else f"--{key}"  # in some files a key is the flag without its dashes
            found = self.table.find(named, program)
            parents = (self.table.find(above, program) for above in (key.rpartition(".")[0], named.partition(".")[0]))
            if found is None:
                parent = next(filter(None, parents), None)
                if parent is None:
                    self.unknown.append(f"{key} {content}".strip())
                else:
                    self.not_modelled.append((key, parent[0].why or "no part of the estimate"))
            elif content in _NULL and content not in found[0].values:
                self.notes.append(f"{key} is left to the runtime's default.")
            elif found[1]:
                self._set(found[0], named, not found[0].meaning(named, content) if found[0].knob else None, content)
            else:
                self.setting(found[0], named, content, program)

    def parsed(self, call: Call) -> Parsed:
        """What was read, as scenario fields and launch knobs."""
        heard = Heard(self.table, self.words, self.positional, call.devices)
        understand(heard)
        if call.devices == "all":
            self.notes.append("All devices of the machine are shown to the container.")
        fields = heard.fields
        same = {f: v for f, v in fields.items() if f in LaunchKnobs.__dataclass_fields__ and f != "model"}
        launch = {**same, **{k: v for k, v in heard.launch.items() if v is not None}}
        launch.setdefault("model", heard.model_text)
        knobs = LaunchKnobs(**{**launch, "device_count": fields.get("count", 1), "keep_defaults": True})
        load = [name for name in ("prompt_tokens", "output_tokens", "context_depth", "concurrency") if name in fields]
        if load:
            self.notes.append("What the tool asks for is taken as the load; a server's command does not say it.")
        self._refuse_what_no_scenario_holds(fields)
        version = re.search(r":.*?\b(v?\d+\.\d+(?:\.\d+)?\w*|b\d{4,})", call.image or "")
        return Parsed(
            self.table.runtime, fields, heard.model_text, (*dict.fromkeys([*self.not_modelled, *heard.not_modelled]),),
            tuple(dict.fromkeys(self.unknown)), tuple(dict.fromkeys([*self.notes, *heard.notes])), knobs,
            version[1] if version else None,
        )  # fmt: skip

    def _refuse_what_no_scenario_holds(self, fields: dict[str, Any]) -> None:
        try:
            from_flat({"model": "any", "device": "any", **fields})
        except ScenarioError as error:
            knob, _, rule = str(error).partition(" ")
            flag = self.said_by.get(knob)
            raise ScenarioError(f"{flag.names[0] if flag else knob} {rule}") from error


def _values(flag: Flag, name: str, given: list[str] | None, rest: list[str]) -> tuple[list[str], int]:
    """The values of a flag and how many words they took. Raises ScenarioError where one is missing."""
    if given is not None:
        return given, 0
    follows = rest[0] if rest and (not rest[0].startswith("-") or _SIGNED.match(rest[0])) else None
    if flag.takes == "nothing":
        return ([follows], 1) if follows in _ON_OFF else ([], 0)
    if flag.takes == "words":
        count = next((i for i, word in enumerate(rest) if word.startswith("-") and not _SIGNED.match(word)), len(rest))
        return rest[:count], count
    if flag.alone is not None and (follows is None or follows.split(",")[0] not in (*flag.values, *flag.unset)):
        return [flag.alone], 0
    if follows is None:
        if flag.knob is None:
            return [], 0
        raise ScenarioError(f"{name} needs a value and none follows it; complete the command.")
    return [follows], 1


def _leaves(content: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(content, dict):
        for key, inner in content.items():
            yield from _leaves(inner, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, content if isinstance(content, str) else json.dumps(content)


def _yaml_leaves(body: str) -> Iterator[tuple[str, str]]:
    """Dotted keys and values of plain nested YAML; items of lists are passed over, their key stands for them."""
    sections: list[tuple[int, str]] = []
    lines = [line for line in body.split("\n") if line.strip() and not line.lstrip().startswith("#")]
    for at, line in enumerate(lines):
        match = re.match(r"(\s*)([\w.-]+)\s*:\s*(.*?)\s*(?:\s#.*)?$", line)
        if match is None:
            continue
        depth = len(match[1])
        sections = [(indent, key) for indent, key in sections if indent < depth]
        name = ".".join([*(key for _, key in sections), match[2]])
        below = lines[at + 1] if at + 1 < len(lines) else ""
        if match[3].startswith("{"):
            for inner, content in re.findall(r"([\w.-]+)[\"']?\s*:\s*([^,{}]+)", match[3]):
                yield f"{name}.{inner}", content.strip().strip("'\"")
        elif match[3] or below.lstrip().startswith("-"):
            yield name, match[3].strip("'\"")
        elif len(below) - len(below.lstrip()) <= depth:
            yield name, "null"
        else:
            sections.append((depth, match[2]))


def _modelfile_lines(body: str) -> Iterator[tuple[str, str]]:
    """A Modelfile's instructions, PARAMETER by the parameter's own name."""
    for line in re.sub(r'""".*?"""', "…", body, flags=re.S).split("\n"):
        head, _, rest = line.strip().partition(" ")
        if not head or head.startswith("#"):
            continue
        if head.upper() == "PARAMETER":
            name, _, content = rest.strip().partition(" ")
            yield name.lower(), content.strip().strip("\"'")
        else:
            yield head.upper(), rest.strip()
