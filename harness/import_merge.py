"""Re-posts of one measurement: kept once, at its origin, with the other places in `also_in`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from core.records import RunRecord
from core.runs import METRIC_COLUMNS

_DIGITS = 4
# Settings that make another run of the same scenario, where both places state them.
_SETTINGS = (
    "runtime_version",
    "run_date",
    "flash_attn",
    "n_batch",
    "n_ubatch",
    "threads",
    "kv_dtype",
    "cpu_name",
    "ram_gb",
    "weights_gib",
    "power_limit_w",
)


def _key(record: RunRecord) -> tuple[object, ...]:
    """The scenario and what was measured of it, to four significant digits."""
    asked = record.scenario_id or "|".join((record.model_id, record.model_name_raw, record.gpu_name, record.cpu_name, record.quant))
    load = (record.load_kind, record.concurrency, record.prompt_tokens, record.output_tokens, record.context_depth)
    metrics = tuple(None if (found := getattr(record, name)) is None else f"{found:.{_DIGITS}g}" for name in METRIC_COLUMNS)
    if record.memory_kind:
        return (record.run_id,)
    return (asked, load, metrics)


def _digits(record: RunRecord) -> int:
    """Significant digits over all metrics: two machines may both reach "42 tok/s"."""
    return sum(
        len(f"{found:.{_DIGITS}g}".split("e")[0].replace(".", "").strip("0")) for name in METRIC_COLUMNS if (found := getattr(record, name))
    )


def _same(one: RunRecord, other: RunRecord) -> bool:
    """Whether two records of one key are one measurement: within a source its settings are equal, across none differs."""
    pairs = [(getattr(one, name), getattr(other, name)) for name in _SETTINGS]
    if one.source == other.source:
        return all(a == b for a, b in pairs)
    return all(a == b for a, b in pairs if a not in (None, "") and b not in (None, ""))


def merged(records: Iterable[tuple[str, RunRecord]], counts: Counter[str]) -> list[tuple[str, RunRecord]]:
    """The records in their order without re-posts; `counts` gets their number by source that repeats.

    The origin is the record that says most; of equals the first.
    """
    groups: dict[tuple[object, ...], list[list[tuple[str, RunRecord]]]] = {}
    order: list[list[tuple[str, RunRecord]]] = []
    for item in records:
        places = groups.setdefault(_key(item[1]), [])
        home = next(
            (group for group in places if _same(group[0][1], item[1]) and (item[1].memory_kind or _digits(item[1]) >= _DIGITS)), None
        )
        if home is None:
            home = []
            places.append(home)
            order.append(home)
        home.append(item)
    kept = []
    for group in order:
        first = max(group, key=lambda item: len(item[1].model_dump(exclude_defaults=True)))
        rest = [item for item in group if item is not first]
        counts.update(record.source for _, record in rest)
        places_of = dict.fromkeys(f"{record.source}: {record.source_path}" for _, record in rest)
        kept.append((first[0], first[1].model_copy(update={"also_in": "; ".join(places_of)}) if rest else first[1]))
    return kept
