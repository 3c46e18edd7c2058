"""Every way to measure, by its name."""

from __future__ import annotations

import functools

from core.errors import RunError
from harness.engines import hf, llama_cpp, ollama, server, vllm
from harness.engines.base import Engine, Point, Result, Session


@functools.cache
def engines() -> dict[str, Engine]:
    """Engines by name, in the order in which they are listed."""
    makers = (*llama_cpp.ENGINES, server.OpenAiServer, *vllm.ENGINES, *ollama.ENGINES, *hf.ENGINES)
    found: list[Engine] = [make() for make in makers]
    return {engine.name: engine for engine in found}


def engine(name: str) -> Engine:
    """The engine of this name. Raises RunError with the names there are."""
    try:
        return engines()[name]
    except KeyError:
        raise RunError(f"There is no engine '{name}' to measure with; there are {', '.join(engines())}.") from None


__all__ = ["Engine", "Point", "Result", "Session", "engine", "engines"]
