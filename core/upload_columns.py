"""What the columns of an uploaded table mean: the facts of a run, guesses by name and numbers, units, and cells as numbers.

A guess is shown before it is used and can be set otherwise; no guess looks at a prediction.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

from core.catalog.files import CATALOG, CatalogRecord, read, record
from core.errors import RunError
from core.upload_table import Sheet

# Unit as people write it → factor to the unit of the record's column, by kind of amount, the record's own first.
UNITS: dict[str, dict[str, float]] = {
    "time": {"ms": 1.0, "s": 1e3, "µs": 1e-3},
    "memory": {"GiB": 1.0, "GB": 1e9 / 2**30, "MiB": 2.0**-10, "MB": 1e6 / 2**30},
    "ram": {"GB": 1.0, "GiB": 1.0, "MiB": 2.0**-10},  # as vendors count: 16 GiB are sold as 16 GB
    "rate": {"tok/s for each user": 1.0, "tok/s in all": 1.0},
    "speed": {"tok/s": 1.0},
    "power": {"W": 1.0, "kW": 1e3, "mW": 1e-3},
}
_SPELLED = {
    "ms": "ms", "millisecond": "ms", "milliseconds": "ms", "msec": "ms", "s": "s", "sec": "s", "secs": "s", "second": "s", "seconds": "s",
    "us": "µs", "µs": "µs", "μs": "µs", "microseconds": "µs", "gib": "GiB", "gb": "GB", "mib": "MiB", "mb": "MB", "g": "GB",
    "w": "W", "watt": "W", "watts": "W", "kw": "kW", "mw": "mW",
    "tok/s": "tok/s", "tokens/s": "tok/s", "t/s": "tok/s", "tps": "tok/s", "token/s": "tok/s", "tokens/sec": "tok/s", "tok/sec": "tok/s",
}  # fmt: skip
_FROM_S = {"tpot": 1.0, "ttft": 30.0}  # of times without a unit: below it the middle one is in seconds
_LATENCY_S, _MIB = 300.0, 3000.0


class _Target(CatalogRecord):
    column: str
    title: str
    kind: Literal["", "time", "memory", "ram", "rate", "speed", "power"] = ""
    text: bool = False
    words: tuple[str, ...] = ()


class _Time(CatalogRecord):
    name: str
    title: str
    stem: str


class _File(CatalogRecord):
    speed: str
    time: tuple[_Time, ...]
    target: tuple[_Target, ...]


@dataclass(frozen=True, slots=True)
class Target:
    """A fact of a run that a column may hold. `words`: regular expressions over a header in plain words."""

    column: str
    title: str
    kind: str
    words: tuple[str, ...]
    text: bool = False

    @property
    def units(self) -> Mapping[str, float]:
        """Unit → factor, the record's own first; none for names and counts."""
        return UNITS.get(self.kind, {})


@functools.cache
def targets() -> dict[str, Target]:
    """Every fact by its column, in the order in which they are tried. Raises CatalogError for a wrong file."""
    file = record(_File, read(CATALOG / "upload.toml"), "upload.toml")
    found = [target for time in file.time for target in _of_time(time)]
    found += [Target(t.column, t.title, t.kind, tuple(w.replace("{speed}", file.speed) for w in t.words), t.text) for t in file.target]
    return {target.column: target for target in found}


def _of_time(time: _Time) -> Iterator[Target]:
    """A time's mean and percentiles; without a word for it, what was measured counts as the median."""
    stem = f"(?:{time.stem})"
    for kind, title, word in (
        ("mean", "mean", "(?:mean|avg|average)"),
        ("p95", "95th percentile", "p95"),
        ("p99", "99th percentile", "p99"),
    ):
        yield Target(f"{time.name}_ms_{kind}", f"{time.title}, {title}", "time", (f"{word} {stem}", f"{stem} {word}"))
    middle = "(?:median|p50|50th|50 percentile|50)?"
    yield Target(f"{time.name}_ms_p50", f"{time.title}, median", "time", (f"{middle} ?{stem}", f"{stem} ?{middle}"))


LEFT_OUT = ""


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a column of the file is taken for. `target`: a record's column, "" where it is left out; `why`: how that was guessed."""

    name: str
    target: str
    unit: str = ""
    why: str = ""

    @property
    def stored(self) -> str:
        """The record's column that is filled: output of all users together has one of its own."""
        return "output_toks_sec" if self.target == "decode_toks_sec" and self.unit == "tok/s in all" else self.target

    def to(self, target: str, unit: str = "") -> Meaning:
        """Taken for something else, as the user says. Raises RunError for what is no fact of a run or no unit of it."""
        if not target:
            return Meaning(self.name, LEFT_OUT, "", "set by you")
        known = targets().get(target)
        if known is None:
            raise RunError(f"A run has no fact '{target}'; choose one of the list.")
        if unit and unit not in known.units:
            raise RunError(f"{known.title} is not counted in {unit}; choose {', '.join(known.units) or 'no unit'}.")
        return Meaning(self.name, target, unit or next(iter(known.units), ""), "set by you")


def units_of(target: str) -> tuple[str, ...]:
    """Units in which a fact may be given; none for a name or a count."""
    return tuple(targets()[target].units) if target in targets() else ()


# ---- Guesses


def guesses(sheet: Sheet) -> tuple[Meaning, ...]:
    """What each column is taken for, at most one column for a fact: the first that fits it best."""
    decimal = decimal_of(sheet)
    exact = {name: plain for name in sheet.header if (plain := name.strip().lower()) in targets()}
    found: dict[str, str] = dict(exact)
    taken = set(exact.values())
    for target in targets().values():
        for name in sheet.header:
            if name not in found and target.column not in taken and _named(name, target):
                found[name] = target.column
                taken.add(target.column)
    if "prompt_tokens" not in taken and "context_depth" not in taken:
        context = next((name for name in sheet.header if _CONTEXT.fullmatch(_words(name)[0])), "")
        found.update({context: "context_depth"} if context and context not in found else {})
    for column, words in _BARE.items():
        bare = next((name for name in sheet.header if name not in found and re.fullmatch(words, _words(name)[0])), "")
        if bare and column not in taken and _all_numbers(sheet.column(bare), decimal):
            found[bare] = column
    meanings = [_guess(sheet, name, found.get(name, LEFT_OUT), name in exact, decimal) for name in sheet.header]
    return tuple(meanings)


_CONTEXT = re.compile(r"(?:context|ctx)(?: (?:len|length|size|tokens))?")
_BARE = {"prompt_tokens": "in|inputs?|prompts?", "output_tokens": "out|outputs?"}  # these names may also head a column of texts
_TPS = re.compile(r"\b(?:tokens?|toks?|t) (?:per )?(?:s|sec|secs|seconds?)\b")


def _words(name: str) -> tuple[str, str]:
    """A header in plain words, and the unit that it names ("" where it names none)."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    inside = re.search(r"[\[(]\s*([^\])]+?)\s*[\])]\s*$", spaced)
    unit = _SPELLED.get(inside[1].lower().replace(" ", ""), "") if inside else ""
    bare = spaced[: inside.start()] if inside else spaced
    plain = _TPS.sub("tps", re.sub(r"[^a-z0-9µ]+", " ", bare.lower()).strip())
    if not unit and (last := re.search(r" (ms|s|sec|secs|seconds|us|gib|gb|mib|mb|w)$", plain)):
        unit, plain = _SPELLED[last[1]], plain[: last.start()].strip()
    if inside and not unit:
        plain = f"{plain} {_TPS.sub('tps', re.sub(r'[^a-z0-9]+', ' ', inside[1].lower()).strip())}".strip()
    if unit == "tok/s":
        plain, unit = f"{plain} tps".strip(), ""
    return plain, unit


def _named(name: str, target: Target) -> bool:
    plain, unit = _words(name)
    if unit and unit not in target.units:
        return False
    return any(re.fullmatch(words, plain) for words in target.words)


def _guess(sheet: Sheet, name: str, target: str, exact: bool, decimal: str) -> Meaning:
    if not target:
        return Meaning(name, LEFT_OUT, "", "no fact of a run is called that")
    known = targets()[target]
    if not known.units:
        return Meaning(name, target, "", "by its name")
    first = next(iter(known.units))
    if exact:
        return Meaning(name, target, first, "by its name")
    plain, unit = _words(name)
    if first.startswith("tok/s"):
        return Meaning(name, target, *_speed(sheet, plain, first))
    if unit in known.units:
        note = "; GB is taken as 10⁹ bytes, choose GiB where the tool divides by 1024" if unit == "GB" and "GiB" in known.units else ""
        return Meaning(name, target, unit, f"the name says {unit}{note}")
    return Meaning(name, target, *_by_size(known, _numbers(sheet.column(name), decimal), first))


def _speed(sheet: Sheet, plain: str, first: str) -> tuple[str, str]:
    if first == "tok/s":
        return first, "by its name"
    if re.search(r"\b(?:user|request|req|seq|sequence|stream|each|decode|tg\d*|eval)\b", plain):
        return "tok/s for each user", "the name says for each"
    if re.search(r"\b(?:total|aggregate|all|system|throughput|output)\b", plain):
        return "tok/s in all", "the name says in all"
    users = [name for name in sheet.header if _named(name, targets()["concurrency"])]
    if users and any(amount > 1 for amount in _numbers(sheet.column(users[0]), ".")):
        return "tok/s in all", "a guess: there are several users, and tools mostly count them together"
    return "tok/s for each user", "there is one user"


def _by_size(known: Target, amounts: Sequence[float], first: str) -> tuple[str, str]:
    """A unit by how large the numbers are, where no name says it."""
    positive = [amount for amount in amounts if amount > 0]
    if not positive:
        return first, "a guess: the name says no unit"
    middle = median(positive)
    if known.kind == "time":
        unit = "s" if middle < _FROM_S.get(known.column.split("_")[0], _LATENCY_S) else "ms"
    elif known.kind in ("memory", "ram"):
        unit = "MiB" if middle > _MIB else first
    else:
        unit = first
    return unit, f"a guess by the size of the numbers (the middle one is {middle:,.4g})"


# ---- Cells


def decimal_of(sheet: Sheet) -> str:
    """ "," where the file writes 3,14 for three and a bit, else "."."""
    comma = point = 0
    for row in sheet.rows[:500]:
        for cell in row:
            text = cell.strip()
            comma += bool(re.fullmatch(r"-?\d{1,3}(?:\.\d{3})+,\d+|-?\d+,(?:\d{1,2}|\d{4,})", text))
            point += bool(re.fullmatch(r"-?\d{1,3}(?:,\d{3})+\.\d+|-?\d+\.(?:\d{1,2}|\d{4,})", text))
    return "," if comma > point else "."


_CELL = re.compile(r"^([+-]?[\d.,][\d.,\s'’]*(?:(?<=\d)[eE][+-]?\d+)?)\s*([^\d\s.,].*)?$")


def plain_number(text: str, decimal: str) -> float:
    """A number as people write it. Raises ValueError."""
    bare = re.sub(r"[\s'’]", "", text)
    bare = bare.replace(".", "").replace(",", ".") if decimal == "," and "," in bare else bare
    if decimal == "." and re.fullmatch(r"[+-]?\d{1,3}(?:,\d{3})+(?:\.\d+)?", bare):
        bare = bare.replace(",", "")
    return float(bare)


def _numbers(cells: Sequence[str], decimal: str) -> list[float]:
    found = []
    for cell in cells:
        try:
            found.append(plain_number(cell.strip(), decimal))
        except ValueError:
            continue
    return [amount for amount in found if math.isfinite(amount)]


def _all_numbers(cells: Sequence[str], decimal: str) -> bool:
    return 0 < sum(bool(cell.strip()) for cell in cells) == len(_numbers(cells, decimal))


def carried_units(cells: Sequence[str]) -> set[str]:
    """Units that cells of a column carry behind their numbers, as the table of units writes them."""
    return {_SPELLED[found[2].strip().lower()] for cell in cells[:5000] if (found := _CELL.match(cell.strip())) and found[2]
            and found[2].strip().lower() in _SPELLED}  # fmt: skip


def number_in(cell: str, meaning: Meaning, decimal: str, mixed: bool) -> float | None:
    """A cell in the record's unit; None where it says nothing. `mixed`: other cells of the column carry units of several kinds.

    Raises RunError: what stands there and what was expected.
    """
    known, text = targets()[meaning.target], cell.strip()
    if not text or text.lower() in ("nan", "null", "none", "n/a", "na", "-", "–", "—", "#n/a"):
        return None
    if text[0] in "=@" or re.match(r"[+-][a-z(]", text, re.I):
        raise RunError(f"“{meaning.name}” holds a formula (“{text[:40]}”), not a number; save the file with values.")
    found = _CELL.match(text)
    try:
        amount = plain_number(found[1] if found else text, decimal)
    except ValueError:
        raise RunError(f"“{meaning.name}” must be a number (it is “{text[:40]}”).") from None
    unit, carried = meaning.unit, (found[2] or "").strip() if found else ""
    if carried:
        spelled = _SPELLED.get(carried.lower(), "")
        fits = spelled in known.units or (spelled == "tok/s" and any(u.startswith("tok/s") for u in known.units))
        if not fits:
            raise RunError(f"“{meaning.name}” is {text[:40]}, which is no {_expected(known)}.")
        unit = spelled if spelled in known.units else unit
    elif mixed:
        raise RunError(f"“{meaning.name}” is {text[:40]} without a unit, while other rows of the column carry different ones; add it.")
    if not math.isfinite(amount):
        raise RunError(f"“{meaning.name}” must be a finite number (it is “{text[:40]}”).")
    if amount < 0 and meaning.target != "n_gpu_layers":
        raise RunError(f"“{meaning.name}” must not be negative (it is {text[:40]}).")
    return amount * known.units.get(unit, 1.0)


def _expected(known: Target) -> str:
    if not known.units:
        return "plain number"
    return "tok/s" if next(iter(known.units)).startswith("tok/s") else f"amount in {', '.join(known.units)}"
