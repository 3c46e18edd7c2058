"""A model of every family through the hub: what differs from a published figure says why."""

from __future__ import annotations

from fake_hub import FakeHub
from hub_check import DOCUMENT, rows, table


def test_models_of_every_family(hub: FakeHub) -> None:
    found = list(rows(hub, largest=9e9))  # the largest ones take the longest and show nothing else
    shown = table(found)
    assert len(found) >= 40 and len({row.family for row in found}) >= 25, shown
    assert not [row for row in found if row.misses and not row.why], shown
    document = DOCUMENT.read_text(encoding="utf-8")
    stale = [line for line in shown.split("\n") if line.startswith("| ") and line not in document]
    assert not stale, f"run `python tests/hub_check.py --write`: {stale[0]}"
    assert sum(bool(row.published_bytes) for row in found) >= 5 and sum(bool(row.measured_kv) for row in found) >= 3, shown
