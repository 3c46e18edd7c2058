"""Sources of measured runs: who measured, where it stands, under what licence, and what to beware of (source.toml)."""

from __future__ import annotations

import tomllib
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from core.errors import RunError

SOURCE_FILE = "source.toml"


class RunSource(BaseModel):
    """One folder of runs. `names`: what rows of an import call it; `origin`: shared by sources that are not independent; `crowd`:
    its rows were measured on many people's machines."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str = Field(min_length=1)
    url: str = Field(pattern="^https?://")
    licence: str = Field(min_length=1)
    method: str = Field(min_length=1)
    traps: list[str]
    names: list[str] = Field(min_length=1)
    origin: str = ""
    crowd: bool = False


def read_source(folder: Path) -> RunSource:
    """The source that a folder of runs describes. Raises RunError when it is missing or wrong."""
    path = folder / SOURCE_FILE
    try:
        return RunSource.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise RunError(f"{folder.name} holds no {SOURCE_FILE}; say there who measured and under what licence.") from None
    except (OSError, ValueError) as error:
        what = error.errors()[0] if isinstance(error, ValidationError) else None
        text = f"field '{'.'.join(str(p) for p in what['loc'])}': {what['msg']}" if what else str(error)
        raise RunError(f"{folder.name}/{SOURCE_FILE} cannot be read ({text}); correct it and try again.") from error


def read_sources(folder: Path) -> dict[str, RunSource]:
    """Every source under a folder of runs, by the name of its folder. Raises RunError for a wrong one."""
    return {path.parent.name: read_source(path.parent) for path in sorted(folder.glob(f"*/{SOURCE_FILE}"))}
