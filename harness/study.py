"""Studies: TOML files that say what to measure as matrices, and what is expected of it."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from core.catalog.files import DATA
from core.errors import RunError
from core.records import COLUMNS
from harness import synthetic
from harness.engines import engines
from harness.engines.base import OPTIONS, Point

FOLDER = DATA / "studies"
CELLS = frozenset({*COLUMNS, *OPTIONS})
_LISTS = ("args",)  # cells that are lists themselves
MOST = 100_000  # points of a study


class Expectation(BaseModel):
    """What a study is to show. `kind` names the test (harness.expectations), `figures` its limits."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str
    says: str = Field(min_length=1)  # in a sentence
    figures: dict[str, Any] = {}


class Study(BaseModel):
    """One file of studies. A matrix gives a point for each combination of its lists; `defaults` stand in all of them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    title: str = Field(min_length=1)
    objective: str = Field(min_length=1)
    defaults: dict[str, Any] = {}
    matrix: list[dict[str, Any]] = Field(min_length=1)
    expect: list[Expectation] = []

    def points(self, only: Mapping[str, str] | None = None) -> list[Point]:
        """The points in the file's order, each once; `only`: cells that must hold these texts. Raises RunError."""
        found: dict[str, Point] = {}
        for matrix in self.matrix:
            for cells in _combinations({**self.defaults, **matrix}):
                full = _filled(cells)
                key = key_of(full)
                if all(str(full.get(name, "")).lower() == text.lower() for name, text in (only or {}).items()):
                    found.setdefault(key, Point(self.name, key, full))
                if len(found) > MOST:
                    raise RunError(f"The study {self.name} has more than {MOST:,} points; leave some lists shorter.")
        return list(found.values())


def _combinations(matrix: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    names = list(matrix)
    lists = [cell if isinstance(cell, list) and name not in _LISTS else [cell] for name, cell in matrix.items()]
    for cells in itertools.product(*lists):
        yield dict(zip(names, cells, strict=True))


def _filled(cells: Mapping[str, Any]) -> dict[str, Any]:
    """Cells with the names of others in them filled in: "{model}-{quant}.gguf"; {models} is the folder of synthetic ones."""
    known = {**{name: cell for name, cell in cells.items() if not isinstance(cell, list)}, "models": str(synthetic.folder())}
    known["model"] = str(cells.get("model_id", "")).split("/")[-1]

    def fill(text: Any) -> Any:
        try:
            return text.format(**known) if isinstance(text, str) else text
        except (KeyError, IndexError, ValueError) as error:
            raise RunError(f"The cell '{text}' names {error}, which the point does not have.") from error

    return {name: fill(cell) for name, cell in cells.items()}


def key_of(cells: Mapping[str, Any]) -> str:
    """A name for a point that hangs on its cells alone, wherever the user's folders are."""
    plain = {name: cell for name, cell in cells.items() if name not in ("file", "program", "timeout_s")}
    plain["file"] = str(cells.get("file", "")).rpartition("/")[2]
    digest = hashlib.sha256(json.dumps(plain, sort_keys=True, default=str).encode()).hexdigest()[:10]
    told = [cells.get("engine", ""), str(cells.get("model_id") or cells.get("model_name_raw") or "").split("/")[-1], cells.get("quant", "")]
    slug = re.sub(r"[^a-z0-9.]+", "-", "-".join(str(word) for word in told if word).lower()).strip("-.")
    return f"{slug[:60]}-{digest}"


def read_study(name: str) -> Study:
    """A study by its name in data/studies or by its file. Raises RunError, one sentence."""
    path = Path(name) if name.endswith(".toml") else FOLDER / f"{name}.toml"
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
        study = Study.model_validate({"name": path.stem, **raw})
    except FileNotFoundError:
        raise RunError(f"There is no study '{name}'; there are {', '.join(names())}, or give a TOML file.") from None
    except ValidationError as error:
        first = error.errors()[0]
        raise RunError(f"{path.name}: '{'.'.join(str(p) for p in first['loc'])}' is wrong ({first['msg']}).") from error
    except (OSError, ValueError) as error:
        raise RunError(f"{path.name} cannot be read ({error}).") from error
    for matrix in (study.defaults, *study.matrix):
        check_cells(matrix, path.name)
    return study


def check_cells(cells: Mapping[str, Any], where: str) -> None:
    """Raises RunError for a cell that no point has, or an engine that is none."""
    for name in cells:
        if name not in CELLS:
            raise RunError(f"{where}: a point has no cell '{name}'; it has the columns of a run and {', '.join(OPTIONS)}.")
    listed = cells.get("engine", [])
    for name in listed if isinstance(listed, list) else [listed]:
        if name not in engines():
            raise RunError(f"{where}: there is no engine '{name}' to measure with; there are {', '.join(engines())}.")


def names() -> list[str]:
    """The studies that are shipped."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))
