"""A model of every family through the hub: what differs from a published figure says why."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_hub import running
from hub_check import rows, table


def test_models_of_every_family(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("HF_TOKEN", "ROOFCAST_OFFLINE", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_TOKEN_PATH", str(tmp_path / "none"))
    monkeypatch.setenv("ROOFCAST_HOME", str(tmp_path))
    with running() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.address)
        found = list(rows(hub, largest=18e9))  # the largest ones take the longest and show nothing else
    shown = table(found)
    assert len(found) >= 40 and len({row.family for row in found}) >= 25, shown
    assert not [row for row in found if row.misses and not row.why], shown
    assert sum(bool(row.published_bytes) for row in found) >= 5 and sum(bool(row.measured_kv) for row in found) >= 3, shown
