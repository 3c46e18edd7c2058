"""From what stands in a terminal to the words of each command: quotes, continued lines, variables, files written in place,
`sudo` and its kin, and containers. Nothing is run, and only variables that the text sets are expanded."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, field

from core.errors import ScenarioError

LONGEST = 20_000  # characters of a pasted text
# "cat > file <<EOF", "cat <<EOF > file" and "tee file <<EOF", each with its lines.
_MARK = r"<<-?[ \t]*(['\"]?)(?P<{0}>\w+)\{1}"
_HEREDOC = re.compile(
    r"^[^\n<>]*(?:(?:>{1,2}|\btee\b)[ \t]*(?P<before>[^\s<>]+)[ \t]*" + _MARK.format("end1", 2)
    + "|" + _MARK.format("end2", 4) + r"[ \t]*>{1,2}[ \t]*(?P<after>[^\s<>]+))[^\n]*\n(?P<body>.*?)^[ \t]*(?:(?P=end1)|(?P=end2))[ \t]*$",
    re.M | re.S,
)  # fmt: skip
# echo -e "key: value\\n…" > file, which writes it in one line
_ECHOED = re.compile(
    r"^[ \t]*(?:(?P<plain>echo)|echo[ \t]+-e|printf)[ \t]+(?P<quote>['\"])(?P<body>.*?)(?P=quote)[ \t]*>{1,2}[ \t]*(?P<file>[^\s<>&|;]+)",
    re.M | re.S,
)
_VARIABLE = re.compile(r"\$(?:([A-Za-z_]\w*)|\{([A-Za-z_]\w*)(?::?-([^{}$]*))?\})")
_ASSIGNED = re.compile(r"^(?:\$env:)?([A-Za-z_][A-Za-z0-9_]*)\s*=(.*)$", re.S)
# Words before a program that start it, and whether they may matter to what it does.
_STARTERS = {
    **dict.fromkeys(["sudo", "nohup", "time", "exec", "env", "export", "set", "command", "stdbuf", "setsid", "run"], False),
    **dict.fromkeys(["nice", "uv", "uvx", "poetry", "pixi", "conda", "distrobox", "toolbox", "trtllm-llmapi-launch"], False),
    **dict.fromkeys(["numactl", "taskset", "srun", "mpirun", "mpiexec", "apptainer", "singularity", "mlx.launch"], True),
}
_STARTER_VALUES = {
    "-n",
    "-c",
    "-np",
    "-N",
    "--with",
    "--python",
    "-p",
    "-u",
    "--ntasks",
    "--nodes",
    "--mpi",
    "--from",
    "--hostfile",
    "--hosts",
    "-w",
    "--nodelist",
    "--container-image",
    "--container-mounts",
    "--container-workdir",
    "--gres",
    "--partition",
}
# Options of `docker run` that take no value; all others take one.
_DOCKER_SWITCHES = frozenset(
    [
        "-d", "-i", "-t", "-it", "-ti", "-itd", "-dit", "-id", "-P", "--rm", "--detach", "--interactive", "--tty", "--init",
        "--privileged", "--read-only", "--publish-all", "--no-healthcheck", "--oom-kill-disable",
    ]
)  # fmt: skip


@dataclass(slots=True)
class Call:
    """One command: its words without what starts it, the variables it sees and what a container was given."""

    words: list[str]
    variables: dict[str, str] = field(default_factory=dict)
    image: str | None = None
    devices: str | None = None  # the container's --gpus: "all", "2" or "0,1"
    around: list[str] = field(default_factory=list)  # what starts it, where that may matter


@dataclass(slots=True)
class Script:
    """What was pasted: commands in order, and files that it writes itself (name → content)."""

    calls: list[Call]
    files: dict[str, str]


def read_shell(text: str) -> Script:
    """The commands of a pasted text. Raises ScenarioError where it is empty, too long or a quote stands open."""
    if not text.strip():
        raise ScenarioError("There is no command to read; paste the line that starts the runtime, such as: vllm serve Qwen/Qwen3-8B.")
    if len(text) > LONGEST:
        raise ScenarioError(f"The text has {len(text):,} characters, more than a command has; paste the command alone.")
    text = text.replace("\r\n", "\n").replace("\u00a0", " ").replace("\u201c", '"').replace("\u201d", '"')
    text = re.sub(r"(?<=\s)(?:\u2014|\u2013-?)(?=[A-Za-z])", "--", text)  # dashes that a page made one
    files: dict[str, str] = {}

    def keep(match: re.Match[str]) -> str:
        files[(match["before"] or match["after"]).strip("'\"")] = match["body"]
        return ""

    text = _HEREDOC.sub(keep, text)

    def keep_line(match: re.Match[str]) -> str:
        files[match["file"].strip("'\"")] = match["body"] if match["plain"] else match["body"].replace("\\n", "\n")
        return ""

    text = _ECHOED.sub(keep_line, text)
    if re.search(r"\b[A-Za-z]:\\", text):  # Windows paths: their backslashes quote nothing
        text = re.sub(r"(?<=[\w:.)-])\\(?=[\w.(-])", "/", text)
    text = re.sub(r"^[ \t]*(?:#|//|REM\b).*$", "", text, flags=re.M)
    text = re.sub(r"\s\d?>&\d?|&>>?", " >", text)
    text = "\n".join(map(_without_comment, text.split("\n")))
    text = re.sub(r"^[ \t]*(?:\$|>|%|PS>)[ \t]+", "", text, flags=re.M)  # the prompt, copied along
    text = re.sub(r"(?:\\|(?<=\s)`|(?<=\s)\^)[ \t]*\n\s*", " ", text.strip() + "\n")
    calls: list[Call] = []
    exported: dict[str, str] = {}
    used: set[str] = set()
    for words in _commands(text):
        call = _unwrapped(Call(_expanded(words, exported, used)))
        if call.words:
            seen = {name: content for name, content in exported.items() if name not in used}
            calls.append(Call(call.words, {**seen, **call.variables}, call.image, call.devices, call.around))
        else:
            exported.update(call.variables)
    if not calls and exported:
        calls.append(Call([], exported))
    return Script(calls, files)


def _expanded(words: list[str], known: dict[str, str], used: set[str]) -> list[str]:
    """The words with variables that the text itself sets in their place; `used` collects their names."""

    def content(match: re.Match[str]) -> str:
        name = match[1] or match[2]
        if name not in known:
            return match[0] if match[3] is None else match[3]  # ${TP:-4}: 4, where nothing sets it
        used.add(name)
        return known[name]

    return [_VARIABLE.sub(content, word) for word in words]


def _without_comment(line: str) -> str:
    """The line up to a comment that stands outside quotes."""
    for match in re.finditer(r"\s#\s", line):
        before = line[: match.start()]
        if before.count("'") % 2 == 0 and before.count('"') % 2 == 0:
            return before
    return line


def _commands(text: str) -> list[list[str]]:
    lexer = shlex.shlex(text, posix=True, punctuation_chars=";&|\n")
    lexer.whitespace, lexer.whitespace_split, lexer.commenters = " \t\r", True, ""
    found: list[list[str]] = [[]]
    try:
        for word in lexer:
            if word and not word.strip(";&|\n"):
                found.append([])
            else:
                found[-1].append(word)
    except ValueError:
        raise ScenarioError("A quote in the command is not closed; paste the whole command.") from None
    return [_without_redirects(words) for words in found if words]


def _without_redirects(words: list[str]) -> list[str]:
    kept: list[str] = []
    skip = False
    for word in words:
        if skip and not word.startswith((">", "-")):
            skip = False
        elif re.fullmatch(r"\d?>>?|<", word):
            skip = True
        elif not re.match(r"\d?>>?\S", word):
            kept.append(word)
    return kept


def _unwrapped(call: Call) -> Call:
    """The call without assignments, starters and container, which are read into it."""
    words = list(call.words)
    while words:
        assigned = _ASSIGNED.match(words[0])
        first = program_name(words[0])
        if assigned and not words[0].startswith("-"):
            call.variables[assigned[1]] = assigned[2].strip("'\"")
            words.pop(0)
        elif first in ("docker", "podman", "nerdctl"):
            words = _container(call, words)
        elif first in ("bash", "sh", "zsh") and len(words) > 2 and re.fullmatch(r"-\w*c", words[1]):
            inner = read_shell(words[2])
            last = inner.calls[-1] if inner.calls else Call([])
            call.variables.update(last.variables)
            call.image, call.devices = last.image or call.image, last.devices or call.devices
            words = last.words
            break
        elif first in _STARTERS and len(words) > 1:
            before = words
            words = words[1:]
            while words and (words[0].startswith("-") or re.fullmatch(r"(?:0x)?[\da-f]+(?:[,-]\d+)*", words[0])):
                words = words[2:] if words[0] in _STARTER_VALUES else words[1:]
            if _STARTERS[first]:
                call.around.append(" ".join(before[: len(before) - len(words)]))
        else:
            break
    return Call(words, call.variables, call.image, call.devices, call.around)


def program_name(word: str) -> str:
    """The program that a path names: "./build/bin/llama-server.exe" is llama-server."""
    name = re.split(r"[/\\]", word)[-1]
    return name.removesuffix(".exe")


def _container(call: Call, words: list[str]) -> list[str]:
    """The words that a container is given, with its variables, devices and image read into the call."""
    rest = words[1:]
    if rest[:1] == ["container"]:
        rest = rest[1:]
    if rest[:1] == ["exec"]:
        return [w for w in rest[1:] if not w.startswith("-")][1:]
    if rest[:1] != ["run"]:
        return []
    rest = rest[1:]
    while rest and rest[0].startswith("-"):
        name, equals, given = rest.pop(0).partition("=")
        if name in _DOCKER_SWITCHES:
            continue
        if not equals:
            if re.match(r"-[evp].", name):  # -eNAME=value
                name, given = name[:2], name[2:] + equals + given
            elif rest:
                given = rest.pop(0)
        if name in ("-e", "--env"):
            key, _, content = given.partition("=")
            call.variables[key] = content
        elif name == "--gpus":
            call.devices = given.strip("'\"").removeprefix("device=")
        elif name == "--entrypoint" and rest:
            rest = [rest[0], *shlex.split(given), *rest[1:]]
    if not rest:
        raise ScenarioError("The container command names no image; paste it up to its last word.")
    call.image = rest[0]
    return rest[1:] or [""]
