"""A runtime's fact sheet: every default with its source, every version with what held before it."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from core.catalog.runtimes import FACTS, runtimes
from core.cli import app
from core.runtime_sheet import lines, record


@pytest.mark.parametrize("name", sorted(runtimes()))
def test_every_default_and_every_version_is_told(name: str) -> None:
    entry = runtimes()[name]
    text = "\n".join(lines(entry))
    assert all(FACTS[fact][1] in text for fact in entry.facts)
    assert text.count("Before ") == len(entry.versions) == len(record(entry)["versions"])
    assert ("estimated as that of" in text) == bool(entry.treated_as)
    assert {"default": "loaded with the model", "flag": "loaded when told to", "no": "not loaded"}[entry.vision] in text


def said(*words: str) -> str:
    result = CliRunner().invoke(app, ["runtimes", *words], terminal_width=200)
    assert result.exit_code == 0, result.stderr
    return str(result.stdout)


def test_a_name_shows_the_sheet_and_a_search_the_list_alone() -> None:
    text = said("llama.cpp")
    assert "llama.cpp, the newest that is described" in text and "ik_llama.cpp" in text
    assert "memory fraction: 0.900" in said("vllm").split("Before 0.18.0")[1]
    assert "what it starts with" not in said()
