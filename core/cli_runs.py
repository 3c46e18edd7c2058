"""`roofcast runs`: whose measured runs are known, where they disagree, and what they cover."""

from __future__ import annotations

from typing import Any

import pandas as pd

from core.cli_lists import Entry
from core.corpus import SHIPPED, Corpus
from core.run_sources import read_sources
from core.units import significant

LIMIT = 40  # lines of a view


def sources(corpus: Corpus) -> list[Entry]:
    """Every source with what it holds and under what licence, largest first."""
    described = {name: source for source in read_sources(SHIPPED).values() for name in source.names}
    found = corpus.cursor().execute(
        "select source, origin, any_value(licence), count(*) filter (memory_kind is null), count(memory_kind),"
        " count(*) filter (fit and memory_kind is null) from records group by source, origin order by count(*) desc, source"
    )
    entries = []
    for name, origin, licence, runs, points, fitted in found.fetchall():
        source = described.get(name)
        shown = source.licence if source else licence or "your own"
        cells = {"Source": name.strip(), "Runs": f"{runs:,}", "Fitted": f"{fitted:,}", "Points of memory": f"{points:,}", "Licence": shown}
        record = {"source": name, "origin": origin, "runs": runs, "fitted": fitted, "memory_points": points, "licence": shown}
        if source:
            record |= {"title": source.title, "url": source.url, "method": source.method, "traps": source.traps}
        entries.append(Entry(cells, record))
    return entries


def _entries(table: pd.DataFrame, columns: dict[str, str]) -> list[Entry]:
    """Lines of a view: `columns` are its columns and their headings."""
    return [Entry({head: _cell(line[name]) for name, head in columns.items()}, line) for line in _plain(table)]


def _plain(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [
        {str(name): cell.tolist() if hasattr(cell, "tolist") else cell for name, cell in line.items()} for line in table.to_dict("records")
    ]


def _cell(amount: Any) -> str:
    if isinstance(amount, list):
        return ", ".join(amount)
    return significant(amount, 3) if isinstance(amount, float) else f"{amount:,}" if isinstance(amount, int) else str(amount)


def conflicts(corpus: Corpus) -> list[Entry]:
    """Where independent sources measured nearly the same, widest disagreement first."""
    table = corpus.table("alike").sort_values("spread", ascending=False, ignore_index=True)
    table["percent"] = (100 * table["spread"]).round().astype(int)
    return _entries(
        table,
        {"model": "Model", "device": "Device", "engine": "Runtime", "scheme": "Quant", "metric": "Metric", "lowest": "Lowest",
         "highest": "Highest", "percent": "Apart, %", "who": "Who"},
    )  # fmt: skip


def coverage(corpus: Corpus) -> list[Entry]:
    """How many runs there are of each model on each device with each runtime, most first."""
    table = corpus.table("coverage").sort_values(["runs", "model", "device"], ascending=[False, True, True], ignore_index=True)
    return _entries(
        table, {"model": "Model", "device": "Device", "engine": "Runtime", "runs": "Runs", "fitted": "Fitted", "origins": "Origins"}
    )
