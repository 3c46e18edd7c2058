"""From a name as people and tools write it to the one device it means."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from rapidfuzz import fuzz, process

from core.errors import CatalogError

# Words that vendors and tools put around a model name and that never tell two devices apart.
_NOISE = frozenset(
    {
        "nvidia",
        "geforce",
        "amd",
        "radeon",
        "intel",
        "apple",
        "tesla",
        "instinct",
        "quadro",
        "corporation",
        "corp",
        "inc",
        "gpu",
        "graphics",
        "generation",
        "edition",
        "chip",
        "r",
        "tm",
    }
)
_CPU_NOISE = frozenset({"cpu", "processor"})
_BRANDS = frozenset({"rtx", "gtx", "rx", "arc"})  # people leave them out: "4090"
_CPU_WORDS = frozenset(
    {
        "core",
        "ryzen",
        "epyc",
        "xeon",
        "threadripper",
        "cpu",
        "processor",
        "pentium",
        "celeron",
        "opteron",
        "phenom",
        "athlon",
        "raspberry",
        "pi",
        "i3",
        "i5",
        "i7",
        "i9",
        "cortex",
        "graviton",
        "kirin",
        "ampereone",
    }
)
_MEMORY = re.compile(r"^(\d+)(?:gb|gib)$")


@dataclass(frozen=True)
class Named:
    """What the resolver needs to know of a device."""

    id: str
    name: str
    aliases: tuple[str, ...]
    memory_gb: float | None
    cpu: bool


@dataclass
class Index:
    """Keys of one group of devices (accelerators, or CPUs), exact ones before derived ones."""

    exact: dict[str, str] = field(default_factory=dict)
    derived: dict[str, set[str]] = field(default_factory=dict)
    sequences: list[tuple[tuple[str, ...], str]] = field(default_factory=list)


def tokens(text: str, cpu: bool = False) -> tuple[str, ...]:
    """The words of a name that matter, lower case: vendor words are dropped, "24 GB" and "24GB" are one word."""
    spaced = re.sub(r"\((?:r|tm|c)\)|[®™]", " ", text.lower())
    spaced = re.sub(r"(\d)\s*(gb|gib)\b", r"\1\2 ", spaced)
    spaced = re.sub(r"\b(\d+)[\s-]*c(?:ores?)?\b", r"\1core", spaced)
    words = re.findall(r"[a-z0-9+.]+", spaced)
    noise = _NOISE | _CPU_NOISE if cpu else _NOISE
    return tuple(w.strip(".") for w in words if w not in noise and w.strip("."))


def _without_memory(words: tuple[str, ...]) -> tuple[tuple[str, ...], float | None]:
    sizes = [float(m[1]) for w in words if (m := _MEMORY.match(w))]
    return tuple(w for w in words if not _MEMORY.match(w)), sizes[0] if len(sizes) == 1 else None


def _without_brand(words: tuple[str, ...]) -> tuple[str, ...]:
    return words[1:] if len(words) > 1 and words[0] in _BRANDS else words


class Resolver:
    """Finds a device by id, name, alias or an unambiguous short form; never guesses between two cards."""

    def __init__(self, devices: Iterable[Named]) -> None:
        """Raises CatalogError when two devices of one group claim the same name or alias."""
        self.devices: dict[str, Named] = {d.id: d for d in devices}
        self.accelerators, self.cpus = Index(), Index()
        for device in self.devices.values():
            self._add(self.cpus if device.cpu else self.accelerators, device)

    def _add(self, index: Index, device: Named) -> None:
        for text in (device.id, device.name, *device.aliases):
            words = tokens(text, device.cpu)
            key = "".join(words)
            other = index.exact.setdefault(key, device.id)
            if other != device.id:
                raise CatalogError(
                    f"Devices '{other}' and '{device.id}' both answer to '{text}' in data/catalog/hardware; "
                    "take the alias from one of them."
                )
            if device.cpu:
                index.sequences.append((words, device.id))
            bare, _ = _without_memory(words)
            for form in {words, bare, _without_brand(words), _without_brand(bare)}:
                if form:
                    index.derived.setdefault("".join(form), set()).add(device.id)

    def find(self, text: str, kind: str | None = None) -> str:
        """The id of the device that `text` names.

        `kind` "cpu" looks among CPUs only, "gpu" or "npu" among accelerators only; without it accelerators come first.
        Raises CatalogError with suggestions for an unknown name, or with the candidates for an ambiguous one.
        """
        if not text.strip():
            raise CatalogError("The device name is empty; give a name such as 'RTX 4090' or 'M4 Max'.")
        if text in self.devices and (kind is None or (kind == "cpu") == self.devices[text].cpu):
            return text
        if kind != "cpu" and (found := self._lookup(self.accelerators, tokens(text), text)):
            return found
        if kind in (None, "cpu"):
            words = tokens(text, cpu=True)
            says_cpu = kind == "cpu" or bool(_CPU_WORDS & set(tokens(text)))
            if not says_cpu:
                self._refuse_partial(text, "gpu")  # "7900" is several cards before it is a Ryzen
            if found := self._lookup(self.cpus, words, text):
                return found
            if found := self._contained(words, text, 1 if says_cpu else 2):
                return found
        self._refuse_partial(text, kind)
        raise CatalogError(self._unknown(text, kind))

    def _lookup(self, index: Index, words: tuple[str, ...], text: str) -> str | None:
        key = "".join(words)
        if not key:
            return None
        if found := index.exact.get(key):
            return found
        bare, size = _without_memory(words)
        if size is None:
            return self._only(index.derived.get(key, set()), text)
        candidates = index.derived.get("".join(bare), set()) | {index.exact.get("".join(bare), "")}
        same = {d for d in candidates if d and round(self.devices[d].memory_gb or 0) == size}
        return self._only(same, text)

    def _contained(self, words: tuple[str, ...], text: str, shortest: int) -> str | None:
        """A CPU whose model number stands in a longer text, as operating systems print it; the longest match wins.

        Of one word, only a model number counts; matches shorter than `shortest` words do not.
        """
        best: dict[str, int] = {}
        for sequence, device in self.cpus.sequences:
            n = len(sequence)
            if n < shortest or (n == 1 and not any(c.isdigit() for c in sequence[0])):
                continue
            for start in range(len(words) - n + 1):
                after = words[start + n] if start + n < len(words) else ""
                if words[start : start + n] == sequence and not re.fullmatch(r"v\d", after):
                    best[device] = max(best.get(device, 0), n)
        longest = max(best.values(), default=0)
        return self._only({d for d, n in best.items() if n == longest}, text)

    def _only(self, found: set[str], text: str) -> str | None:
        if len(found) > 1:
            raise CatalogError(self._ambiguous(found, text))
        return next(iter(found), None)

    def _ambiguous(self, found: Iterable[str], text: str) -> str:
        names = sorted(f"'{self.devices[d].name}'" for d in found)
        shown = ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
        return f"The device name '{text}' fits several devices: {shown}. Give the full name of one of them."

    def _refuse_partial(self, text: str, kind: str | None) -> None:
        wanted = set(tokens(text, cpu=kind == "cpu"))
        if not wanted or not any(any(c.isdigit() for c in w) for w in wanted):
            return
        found = [d.id for d in self.devices.values() if (kind is None or (kind == "cpu") == d.cpu) and wanted <= set(tokens(d.name, d.cpu))]
        if len(found) > 1:
            raise CatalogError(self._ambiguous(found, text))

    def _unknown(self, text: str, kind: str | None) -> str:
        near = [self.devices[d].name for d in self.search(text, 3, kind, cutoff=70)]
        if not near:
            return f"No device '{text}' in the catalog. Search by model number, or describe your own device."
        listed = ", ".join(f"'{n}'" for n in near)
        return f"No device '{text}' in the catalog. Did you mean {listed}?"

    def search(self, text: str, limit: int, kind: str | None = None, cutoff: float = 55) -> list[str]:
        """Ids by closeness of name, id or alias to `text`, best first."""
        if not text.strip():
            return list(self.devices)[:limit]
        plain = " ".join(tokens(text, cpu=kind == "cpu")) or text.lower()
        choices: dict[tuple[str, int], str] = {
            (d.id, i): " ".join(tokens(label, d.cpu))
            for d in self.devices.values()
            if kind is None or (kind == "cpu") == d.cpu
            for i, label in enumerate((d.name, d.id, *d.aliases))
        }
        ranked = process.extract(plain, choices, scorer=_closeness, limit=limit * 6, score_cutoff=cutoff)
        seen: dict[str, None] = {}
        for _, _, (device, _) in ranked:
            seen.setdefault(device)
        return list(seen)[:limit]


def _closeness(a: str, b: str, **options: float | None) -> float:
    """0 to 100: spelling of the whole name, and of its words in any order; a part that is whole counts nearly full."""
    if not a or not b:
        return 0.0
    whole = max(fuzz.ratio(a, b), fuzz.token_sort_ratio(a, b), fuzz.ratio(a.replace(" ", ""), b.replace(" ", "")))
    inside = 90.0 if set(a.split()) <= set(b.split()) else 0.0
    return max(whole, inside - 0.1 * max(len(b) - len(a), 0))
