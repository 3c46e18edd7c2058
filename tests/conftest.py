"""What all tests share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_hub import FakeHub, running
from hypothesis import settings

# The same examples every time, so that a run says something about the code; `HYPOTHESIS_PROFILE=search` looks further.
settings.register_profile("steady", derandomize=True, deadline=None)
settings.register_profile("search", deadline=None, max_examples=500)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "steady"))


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeHub]:
    """A hub on loopback that is asked instead of the real one, with an empty store and without a token."""
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "ROOFCAST_OFFLINE", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_TOKEN_PATH", str(tmp_path / "none"))
    monkeypatch.setenv("ROOFCAST_HOME", str(tmp_path / "home"))
    with running() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.address)
        yield server
